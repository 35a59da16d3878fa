"""DiffFlow's bits per dimension beside a diffusion model's: densities in closed form, noise of single images, stubs."""

import math
from types import SimpleNamespace

import pytest
import torch
from measuring import as_records, book_of, configured
from rescore.data.pixels import dequantise
from rescore.errors import MissingData
from rescore.ledger.claims import evaluate
from rescore.models.bits import ImageBits
from rescore.neural_sde import DiffFlow, DiffFlowTraining, ImageField, NeuralSDE, Progressive, draw_noise, l_beta
from rescore.papers import load_config, load_paper
from rescore.random import Streams, make_generator
from rescore.training.loop import Adam
from test_diffflow_variants import Linear
from torch import nn

PAPER = load_paper("diffflow")
BITS = PAPER.module("bits")
T0, T, N, G = 0.1, 1.3, 4, 0.5


def linear_flow(a: float, b: float) -> DiffFlow:
    training = DiffFlowTraining(Adam(1, 0.1), Progressive((N,), (1.0,)), 1, t0=T0, T=T, beta=0.8, sampling_steps=N)
    return DiffFlow(NeuralSDE(Linear(a), Linear(b), G), training)


def noise(n: int, first: int = 0) -> Streams:
    return Streams.named("likelihood", "test", 0, n=n, first=first)


IMAGES = torch.randint(256, (6, 1, 3, 2), generator=make_generator("pixels"), dtype=torch.uint8)


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (-0.7, 0.4)])
def test_bits_of_a_linear_flow(a, b):
    """dx/dt = c x, c = a - g^2 b / 2: log p(x) = log N(e^{c (T - t0)} x; 0, I) + d c (T - t0), and 128 levels to a unit."""
    x = dequantise(IMAGES, noise(6))[0].double().flatten(1)
    c, span = a - 0.5 * G**2 * b, T - T0
    log_prob = -0.5 * (x * math.exp(c * span)).square().sum(1) - 3 * math.log(2 * math.pi) + 6 * c * span
    found = BITS.pixel_bits(linear_flow(a, b), IMAGES, 256, noise(6), 1e-6)["flow"]
    assert torch.allclose(found, 7 - log_prob / (6 * math.log(2)), rtol=0, atol=1e-5)


def test_the_bound_of_no_fields_is_the_prior_of_a_random_walk():
    """f = s = 0: dB = -dF, so that minus the bound is -log N(x_N; 0, I), x_N = x_0 + sum of g sqrt(dt) dF."""
    its = noise(6)
    x = dequantise(IMAGES, its)[0]
    its.integers(2, x.shape)  # the probes of the ODE come first
    walk = draw_noise(x, N, its).double()
    end = x.double() + (G * l_beta(N, T0, T, 0.8).diff().sqrt()[:, None, None, None, None] * walk).sum(0)
    expected = 7 + (0.5 * end.square().flatten(1).sum(1) + 3 * math.log(2 * math.pi)) / (6 * math.log(2))
    found = BITS.pixel_bits(linear_flow(0.0, 0.0), IMAGES, 256, noise(6), 1e-3)["bound"]
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


def test_an_image_has_the_same_bits_in_any_batch():
    model = linear_flow(-0.7, 0.4)
    whole = BITS.pixel_bits(model, IMAGES, 256, noise(6), 1e-6)
    parts = [BITS.pixel_bits(model, IMAGES[i : i + 3], 256, noise(3, i), 1e-6) for i in (0, 3)]
    for kind, bits in whole.items():
        assert torch.allclose(bits, torch.cat([part[kind] for part in parts]), rtol=0, atol=5e-5), "up to the ODE's own steps"


def test_noise_of_paths():
    """Of streams each sample has its own, standard and independent from step to step; of a generator as it always was."""
    x = torch.zeros(5000, 2)
    paths = draw_noise(x, 3, Streams.named("paths", n=5000))
    assert paths.shape == (3, 5000, 2)
    covariance = torch.cov(paths.permute(0, 2, 1).flatten(0, 1).double())
    assert (covariance - torch.eye(6)).abs().max() < 0.06
    assert torch.equal(draw_noise(x, 3, make_generator("g")), torch.randn(3, 5000, 2, generator=make_generator("g")))


def test_the_gain_of_a_field():
    network, x = nn.Bilinear(1, 1, 1), torch.randn(2, 3, 1, 1, 1, generator=make_generator("x"))
    t = torch.tensor([0.25, 0.5])

    def called(x, levels):
        return network(x.flatten(1), levels[:, None])

    plain, scaled = (ImageField(called_module(called), 4.0, gain)(x, t) for gain in (1.0, 20.0))
    assert torch.equal(scaled, 20 * plain) and plain.abs().min() > 0
    assert torch.allclose(plain[1, 2], called(x[1, 2][None], torch.tensor([2.0])).reshape(1, 1, 1))


def called_module(function) -> nn.Module:
    module = nn.Module()
    module.forward = function
    return module


def test_images_are_compared_one_by_one(tmp_path, monkeypatch):
    """Bits by hand: two samplings of four images; errors are those between images, of differences image by image."""
    content = load_config(PAPER, "smoke").model_dump(mode="json")
    content["evaluation"] |= {"likelihood_images": 4, "samplings": 2, "tolerance": 0.5}
    content["training_seeds"] = [3]
    config = configured(PAPER, content)
    seen, base = [], torch.tensor([1.0, 2.0, 3.0, 6.0])

    def theirs(model, images, levels, noise, tolerance, draws, batch):
        seen.append(("DDPM", model, noise(0, 4).seeds, len(images), levels, tolerance, draws))
        return ImageBits(base, base + 1, 7)

    def ours(model, images, levels, noise, tolerance):
        seen.append(("DiffFlow", model, noise.seeds, len(images), levels, tolerance))
        shift = torch.tensor([0.1, 0.1, 0.1, 0.5]) * (1 if len(seen) < 2 else 3)
        return {"flow": base - shift, "bound": base + 2}

    models = SimpleNamespace(
        names=("vp",),
        load=lambda *of: of,
        spec=lambda name: SimpleNamespace(protocol={"network": "theirs"}),
        process=lambda name: PAPER.module("methods").VP(),
        draw=lambda one, *seeds: SimpleNamespace(x=torch.zeros(70, 1, 8, 8)),
    )
    book = book_of(PAPER, config, "rest", tmp_path)
    here = BITS.Pictures(book, "digits")
    here.rivals = models
    monkeypatch.setattr(BITS, "image_bits", theirs)
    monkeypatch.setattr(BITS, "pixel_bits", ours)
    monkeypatch.setattr(BITS.Pictures, "model", lambda self, seed: ("model", seed))
    monkeypatch.setattr(BITS.Pictures, "drawn", lambda self, model, n, *_: torch.zeros(n, 1, 8, 8))
    BITS.compare(book, here)
    found = {(one.method, one.variant): one for one in book.measurements}
    assert set(found) == {(m, v) for m in ("DiffFlow", "DiffFlow less DDPM") for v in ("", "ELBO")} | {
        ("DDPM", "L_s"),
        ("DDPM", "L_s (ODE)"),
    }
    less = found["DiffFlow less DDPM", ""]  # (-0.2, -0.2, -0.2, -1.0) over samplings
    assert (less.value, less.stderr) == (pytest.approx(-0.4), pytest.approx(0.2)) and (less.df, less.n_samples) == (3, 8)
    assert found["DDPM", "L_s (ODE)"].value == 3.0 and found["DDPM", "L_s"].value == 4.0
    assert found["DDPM", "L_s"].stderr == pytest.approx(math.sqrt(14 / 12))
    assert found["DiffFlow less DDPM", "ELBO"].value == pytest.approx(1.0)
    assert {one.over for one in found.values()} == {"samplings"} and {one.n_seeds for one in found.values()} == {1}
    assert found["DiffFlow", ""].nfe == 5 and found["DDPM", "L_s"].nfe is None
    noises = {method: [call[2] for call in seen if call[0] == method] for method in ("DiffFlow", "DDPM")}
    expected = [tuple(Streams.named("likelihood", "digits", k, n=1).seeds) for k in range(2)]
    assert noises == {"DiffFlow": expected, "DDPM": expected}, "the same pixels for both, others for each sampling"
    assert {call[1] for call in seen} == {("model", 3), ("vp", 3)} and {call[3:6] for call in seen} == {(4, 17, 0.5)}
    _check_claims(as_records(PAPER, SimpleNamespace(measurements=book.measurements)))


def _check_claims(records) -> None:
    """The claim speaks of the one network: its error is that between images."""
    from dataclasses import replace

    claims = [claim for claim in PAPER.module("claims").CLAIMS if claim.name.startswith("mnist-")]
    for spread, status in ((0.01, ("holds", "fails", "holds")), (10.0, ("inconclusive",) * 3)):
        there = [replace(one, dataset="mnist", stderr=spread) for one in records]
        assert tuple(row["status"] for row in evaluate("diffflow", claims, there)) == status


def test_without_mnist_there_is_a_reason(tmp_path, monkeypatch):
    def load(name, split):
        raise MissingData(f"{name} is nowhere")

    monkeypatch.setattr(BITS, "load_images", load)
    book = book_of(PAPER, load_config(PAPER, "smoke"), "more", tmp_path)
    BITS.measure(book, "mnist")
    assert book.skipped == [{"table": "3.2", "dataset": "mnist", "reason": "mnist is nowhere"}] and not book.measurements


@pytest.mark.parametrize("other", ["deis", "gddim", "smld_sde"])
def test_the_network_of_mnist_is_the_one_of_other_papers(other):
    nodes = [load_config(load_paper(name), "laptop").job_trainings("mnist")["vp@mnist"] for name in ("diffflow", other)]
    assert nodes[0].key == nodes[1].key


def test_the_likelihood_is_that_of_score_sdes_images():
    """As many images, samplings and the same tolerance as in Score-SDE's folder, so that DDPM's number is the same."""
    ours, theirs = (load_config(load_paper(name), "laptop").under("mnist").evaluation for name in ("diffflow", "smld_sde"))
    fields = ("likelihood_images", "samplings", "tolerance")
    assert [getattr(ours, field) for field in fields] == [getattr(theirs, field) for field in fields]
