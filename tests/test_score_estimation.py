"""smld_sde: scores on a manifold, by density and of kernel densities against closed forms; NCSN's levels and ratios."""

import math
from functools import partial

import pytest
import torch
from measuring import book_of
from rescore.config import validated
from rescore.models.build import make_objective
from rescore.networks.ensemble import Ensemble
from rescore.objectives import DiscreteTimes
from rescore.papers import load_config, load_paper
from rescore.problems.score_norms import signal_to_noise
from rescore.processes import VE, VP, grids
from rescore.samplers import annealed_langevin
from rescore.scores import GaussianMixture
from rescore.specs.model import ModelSpec, Objective
from torch import nn

PAPER = load_paper("smld_sde")
CONFIG = load_config(PAPER, "smoke")
estimation, ncsn, encoding = (PAPER.module(name) for name in ("estimation", "ncsn", "encoding"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_score_of_the_noised_circle(noise):
    """That of the mixture of many points of the circle."""
    x = estimation.circle(20, noise, generator()).requires_grad_()
    angle = torch.arange(4000, dtype=torch.float64) * (2 * math.pi / 4000)
    points = torch.stack((angle.cos(), angle.sin()), 1)
    log_density = (-(x[:, None] - points).square().sum(2) / (2 * noise**2)).logsumexp(1)
    (score,) = torch.autograd.grad(log_density.sum(), x)
    assert torch.allclose(estimation.circle_score(x.detach(), noise), score, rtol=1e-9)


def test_circle_without_noise_is_a_circle():
    assert torch.allclose(estimation.circle(50, 0.0, generator()).norm(dim=1), torch.ones(50, dtype=torch.float64))


def test_relative_errors_of_known_networks():
    """s = 0 and s = 2 target with weights that leave one point out."""
    nets = [nn.Linear(2, 2, bias=False) for _ in range(2)]
    for net, factor in zip(nets, (0.0, 2.0), strict=True):
        net.weight.data = factor * torch.eye(2)
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [50.0, 50.0]], dtype=torch.float64)
    relative, rmse = estimation.relative_errors(Ensemble(nets), x, x, torch.tensor([1.0, 3.0, 0.0]))
    assert relative.tolist() == pytest.approx([1, 1])
    assert rmse.tolist() == pytest.approx([math.sqrt((5 + 3 * 10) / 4)] * 2)
    assert estimation.relative_errors(Ensemble(nets), x, 4 * x, torch.ones(3))[0].tolist() == pytest.approx([1, 0.25])


def test_noise_adds_to_the_widths_of_the_plane():
    """Far from the lighter mode the score is that of N((5, 5), (1 + noise^2) I)."""
    x = torch.tensor([[7.0, 6.0]], dtype=torch.float64)
    for noise, variance in ((0.0, 1.0), (1.0, 2.0)):
        assert estimation.plane(noise)(x, 0.0).tolist()[0] == pytest.approx([-2 / variance, -1 / variance], rel=1e-6)


def test_bands_hold_every_depth_once():
    """Three and six standard deviations from the heavier mode."""

    def names(depth: float) -> list[str]:
        return [name for name, (low, high) in estimation.BANDS.items() if low <= depth < high]

    depths = {-(d**2) / 2: name for d, name in ((0, "high"), (2.9, "high"), (3.1, "middle"), (5.9, "middle"), (6.1, "low"))}
    assert {depth: names(depth) for depth in depths} == {depth: [name] for depth, name in depths.items()}
    assert names(-1e4) == ["low"]


def test_explicit_matching_is_denoising_of_its_own_kernel_density(monkeypatch):
    """Eq. 12; with the score of another density it is not."""
    points = torch.tensor([[-2.0], [-1.7], [2.2], [1.5]], dtype=torch.float64)
    assert estimation.esm_is_dsm(points, 0.1) < 1e-12
    wider = estimation.kernel_density
    monkeypatch.setattr(estimation, "kernel_density", lambda of, width: wider(of, 1.1 * width))
    assert estimation.esm_is_dsm(points, 0.1) > 1e-3


def test_networks_learn_the_score_of_a_gaussian(tmp_path):
    """s = -x / 4 of N(0, 4 I) by sliced score matching; every member is a network of its own."""
    settings = CONFIG.bands.model_copy(update={"width": 16, "steps": 400, "batch": 128, "lr": 1e-2})
    probe = 2 * torch.randn(500, 2, generator=generator(), dtype=torch.float64)
    error = partial(estimation.relative_errors, x=probe, target=-probe / 4, weights=torch.ones(500))
    tracked = estimation.fitted(
        book_of(PAPER, CONFIG, "all", tmp_path),
        "gaussian",
        settings,
        2,
        lambda n, draws: 2 * torch.randn(n, 2, generator=draws),
        estimation.sliced,
        lambda ensemble: error(ensemble)[0],
    )
    assert (tracked.errors[0] > 0.5).all() and (tracked.errors[-1] < 0.1).all()
    assert tracked.errors[-1][0] != tracked.errors[-1][1]


# --- NCSN -----------------------------------------------------------------------------------------------------------------


def test_levels_are_geometric_sigmas_each_as_likely():
    objective = make_objective(Objective(weighting="sigma^2", levels=10))
    assert objective.times == DiscreteTimes.evenly(10) and objective.weighting == "sigma^2"
    t, weight = objective.times.draw(VE(0.02, 2.0), 20_000, generator())
    sigma = VE(0.02, 2.0).Sigma(torch.unique(t)).values.sqrt()
    assert len(sigma) == 10 and sigma[[0, -1]].tolist() == pytest.approx([0.02, 2.0])
    assert (sigma[1:] / sigma[:-1]).tolist() == pytest.approx([100 ** (1 / 9)] * 9)
    assert (weight == 1).all() and torch.unique(t, return_counts=True)[1].min() > 1800


def test_levels_are_said_and_younger_than_the_keys():
    spec = CONFIG.models["ncsn"]
    without = spec.model_copy(update={"objective": spec.objective.model_copy(update={"levels": None})})
    assert spec.protocol["train_levels"] == 10 and "train_levels" not in without.protocol and spec.key != without.key
    assert "levels" not in without.model_dump(mode="json")["objective"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": {"levels": 4, "importance": True}}, "levels: allowed are dsm, lcss, ssm and fd_ssm without"),
        ({"objective": {"levels": 4}, "process": {"name": "VP"}}, "objective.levels: the process VP .* allowed: VE"),
        ({"objective": {"levels": 1}}, "levels"),
        ({"objective": {"name": "hsm", "levels": 4}}, "levels: allowed are dsm, lcss, ssm and fd_ssm without"),
        ({"objective": {"name": "ssm", "reduction": "mean"}}, "reduction: mean is for dsm and lcss; allowed with ssm: sum"),
        ({"objective": {"name": "ssm"}, "gpu": 1}, "gpu: ssm differentiates twice, .* allowed: 0, or fd_ssm"),
    ],
)
def test_levels_that_cannot_be(changes, message):
    content = {"data": "digits", "process": {"name": "VE"}, "network": {"name": "mlp"}, "steps": 1}
    with pytest.raises(Exception, match=message):
        validated(ModelSpec, content | changes, "spec")


def test_the_ratio_is_constant_for_one_image():
    """There |s| = |z| / sigma, so a |s| / |2 sqrt(a) z'| is sqrt(size) / (2 sigma_last) at each level, of means of norms."""
    process, image = VE(0.02, 2.0), torch.full((1, 1, 8, 8), 0.3)
    data = ncsn.NoisedImages(process, image, lambda u, t: (image - u) / process.Sigma(t).values.to(u))
    sampler = annealed_langevin(process, grids.uniform(process, 4, 0.0), 8e-5, 1)
    signal, noise = signal_to_noise(sampler, data, 2000, generator()).mean(2)
    assert (signal / noise).tolist() == pytest.approx([math.sqrt(8e-5) / (2 * 0.02)] * 5, rel=0.02)


def test_both_dynamics_take_as_many_evaluations_of_the_least_and_of_all_noises(monkeypatch, tmp_path):
    """From pixels in [-1, 1]; a step of 2e-5 on [0, 1] is 8e-5 there, half of which multiplies the score."""
    asked: dict[str, list[float]] = {}
    kept: dict[str, dict] = {}

    class Models:
        matched = staticmethod("digits/{}".format)
        names, data, over, repeats = ("ncsn",), "digits", "trainings", [(0, 0), (1, 1)]
        train = held_out = type("Images", (), {"shape": (1, 8, 8), "images": torch.zeros(9, 1, 8, 8, dtype=torch.uint8)})
        judge, config = None, CONFIG

        def __init__(self, book):
            pass

        def process(self, name):
            return VE(0.02, 2.0)

        def spec(self, name):
            return CONFIG.models[name]

        def load(self, name, training):
            return type("Loaded", (), {"score": staticmethod(self.score), "process": self.process(name)})

        def score(self, u, t):
            asked.setdefault(current[0], []).append(t)
            starts.append(u)
            return torch.zeros_like(u)

    current, starts = [""], []

    def judge_samples(cell, judge, draws, array):
        current[0] = cell._key["method"]
        starts.clear()
        drawn = draws[1]()
        kept[current[0]] = {"start": starts[0], "nfe": (cell.nfe, drawn.nfe), "last": drawn.x}

    for name, value in {
        "TrainedModels": Models,
        "judge_samples": judge_samples,
        "floor": lambda *_: None,
        "ratio": lambda *_: 1.0,
    }.items():
        monkeypatch.setattr(ncsn, name, value)
    ncsn.ncsn(book_of(PAPER, CONFIG, "ncsn", tmp_path))
    assert {name: len(times) for name, times in asked.items()} == {"NCSN": 20, "Langevin": 20}
    assert {one["nfe"] for one in kept.values()} == {(20, 20)}
    assert set(asked["Langevin"]) == {0.0} and asked["NCSN"][::2] == pytest.approx([i / 9 for i in range(9, -1, -1)])
    assert torch.equal(kept["NCSN"]["start"], kept["Langevin"]["start"]) and kept["NCSN"]["start"].abs().max() <= 1
    assert kept["NCSN"]["start"].std().item() == pytest.approx(1 / math.sqrt(3), rel=0.05)
    moved = (kept["Langevin"]["last"] - kept["Langevin"]["start"]).square().mean().item()
    assert moved == pytest.approx(20 * 8e-5, rel=0.05), "sqrt(a) z in each of 20 steps, for a score of 0"


# --- encoding -------------------------------------------------------------------------------------------------------------


def test_the_code_of_a_gaussian_is_its_standardised_value():
    """On N(0, s) data the flow keeps x over its standard deviation, there and back; the trace has no part in it."""
    process, s, t0 = VP(), 0.09, 1e-5
    score = GaussianMixture(process, torch.zeros(1, 2, dtype=torch.float64), s**0.5)
    x = torch.randn(7, 2, generator=generator(), dtype=torch.float64)
    spread = {t: (s * process.mean(t).values ** 2 + process.Sigma(t).values).sqrt().item() for t in (t0, 1.0)}
    z = encoding.encode(score, process, x, 1e-8, t0)
    assert torch.allclose(z, x * spread[1.0] / spread[t0], rtol=1e-6)
    assert torch.allclose(encoding.decode(score, process, z, 1e-8, t0), x, rtol=1e-6)


def test_correlation_is_over_the_coordinates_of_each_image():
    a = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]])
    b = torch.stack((2 * a[0] + 9, -a[1]))
    assert encoding.correlation(a, a) == pytest.approx(1) and encoding.correlation(a, b) == pytest.approx(0)


def test_halfway_is_on_the_great_circle():
    a, b = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, 4.0]]])
    assert encoding.halfway(a, b).flatten().tolist() == pytest.approx([3 / math.sqrt(2)] * 2)
    assert torch.allclose(encoding.halfway(a, a), a)


@pytest.mark.parametrize("networks", [3, 5])
def test_the_error_of_a_mean_over_pairs_is_that_over_networks(networks):
    """For effects that add up, a_i + a_j, the mean over pairs is twice that of a, and so is its error."""
    effects = torch.randn(networks, generator=generator(), dtype=torch.float64)
    assert encoding.of_pairs(lambda a, b: (a + b).item(), list(effects)) == pytest.approx((2 * effects).tolist())
    product = encoding.of_pairs(lambda a, b: (a * b).item(), list(torch.arange(1.0, networks + 1)))
    pairs = [i * j for i in range(1, networks + 1) for j in range(1, i)]
    assert sum(product) / networks == pytest.approx(sum(pairs) / len(pairs))
