"""Table 5.3: posteriors of a decoder, the Gaussian that annealing starts from, averages over images, a user's decoder."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from measuring import book_of, configured, measured
from pinned import check_pinned
from rescore.control import PISNN, ControlledSDE, PISGrad
from rescore.errors import MissingData, RescoreError
from rescore.experiments.book import Result
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.ledger.records import read_records
from rescore.montecarlo import smc
from rescore.montecarlo.logz import averaged_over_targets
from rescore.networks.vae import VAE, bernoulli_log_likelihood, make_decoder, mlp_decoder
from rescore.papers import load_paper
from rescore.random import make_generator, seeded
from rescore.targets import FromGaussian, LatentPosterior, from_laplace
from rescore.targets.base import standard_normal_log_prob
from rescore.training import save_weights
from torch import nn

PAPER = load_paper("pis", ROOT)
vae, study = PAPER.module("vae"), PAPER.module("study")

# a linear decoder with Gaussian noise, whose log Z is known: x ~ N(b, W W^T + s^2 I)

NOISE = 0.7


def linear_posterior(dim: int = 3, pixels: int = 5) -> tuple[LatentPosterior, nn.Linear]:
    decoder = seeded(lambda: nn.Linear(dim, pixels), 4).double()
    x = torch.randn(pixels, generator=make_generator("x"), dtype=torch.float64)
    weight, bias = decoder.weight.detach(), decoder.bias.detach()
    covariance = weight @ weight.T + NOISE**2 * torch.eye(pixels, dtype=torch.float64)
    log_z = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x).item()

    def log_likelihood(mean, x):
        return -0.5 * ((x - mean) / NOISE).square().sum(-1) - len(x) * math.log(NOISE * math.sqrt(2 * math.pi))

    return LatentPosterior(decoder, dim, x, log_likelihood, log_z), decoder


def test_the_score_of_a_linear_decoder_is_its_closed_form():
    target, decoder = linear_posterior()
    z = torch.randn(2, 7, 3, dtype=torch.float64, generator=make_generator("z"))
    expected = -z + (target.observation - decoder(z)) @ decoder.weight / NOISE**2
    with torch.inference_mode():  # as flows are evaluated
        log_prob, score = target.log_prob_and_score(z.clone())
    torch.testing.assert_close(score, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_prob, target.log_prob(z))
    assert target.score(z.float()).dtype == torch.float32 and target.log_prob(z.float()).dtype == torch.float32


def test_seen_from_its_laplace_gaussian_a_gaussian_posterior_gives_log_z_exactly():
    target, _ = linear_posterior()
    e = 3 * torch.randn(50, 3, dtype=torch.float64, generator=make_generator("e"))
    log_weights = from_laplace(target).log_prob(e) - standard_normal_log_prob(e)
    np.testing.assert_allclose(log_weights, target.log_z, rtol=0, atol=1e-9)


def test_long_smc_from_another_gaussian_gives_log_z():
    target, _ = linear_posterior()
    factor = torch.tensor([[1.5, 0, 0], [0.4, 0.8, 0], [0, -0.3, 1.2]], dtype=torch.float64)
    moved = FromGaussian(target, torch.tensor([0.5, -0.5, 0.2]), factor)
    generators = [make_generator("long", run) for run in range(12)]
    schedule = smc.Annealing(20, 2, 5, (0.4,) * 4)
    log_z = smc.anneal(moved, schedule, 200, generators, dtype=torch.float64).log_z.numpy()
    error = log_z.std(ddof=1) / math.sqrt(len(log_z))
    assert 1e-4 < error < 0.05
    assert abs(log_z.mean() - target.log_z) < 4 * error
    x = torch.randn(4, 3, dtype=torch.float64, generator=make_generator("x of e"), requires_grad=True)
    (gradient,) = torch.autograd.grad(target.log_prob(moved.to_target(x)).sum(), x)
    torch.testing.assert_close(moved.score(x.detach()), gradient)


@pytest.mark.parametrize("policy", [PISNN, PISGrad])
def test_path_weights_of_a_posterior_are_unbiased(policy):
    target, _ = linear_posterior()
    sde, generator = ControlledSDE(5), make_generator("paths")
    random = policy(target, make_generator("policy"), 8).double()
    nn.init.normal_(random.state_network.body[-1].weight, std=0.05, generator=make_generator("last"))
    paths = sde.simulate(random, target, lambda: torch.randn(20_000, 3, dtype=torch.float64, generator=generator))
    ratio = (paths.log_w - target.log_z).exp()
    assert abs(ratio.mean().item() - 1) < 4 * ratio.std().item() / math.sqrt(len(ratio)) < 0.2


# the VAE


def test_the_negative_elbo_of_a_vae_that_knows_nothing():
    pixels, latent = 6, 2
    model = VAE(mlp_decoder(latent, pixels, 3), latent, pixels, 4)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    x = (torch.rand(5, pixels, generator=make_generator("pixels")) < 0.5).float()
    noise = torch.randn(5, latent, generator=make_generator("noise"))
    assert model.negative_elbo(x, noise).item() == pytest.approx(pixels * math.log(2), rel=1e-6)
    with torch.no_grad():
        model.encoder[-1].bias.copy_(torch.tensor([0.5, -1.0, math.log(0.3), math.log(2.0)]))
    kl = 0.5 * (0.25 + 1 + 0.09 + 4 - 2) - math.log(0.6)
    assert model.negative_elbo(x, noise).item() == pytest.approx(pixels * math.log(2) + kl, rel=1e-6)
    with torch.no_grad():  # logits of 2 everywhere
        model.decoder[-1].bias.fill_(2.0)
    per_pixel = x * math.log1p(math.exp(-2)) + (1 - x) * math.log1p(math.exp(2))
    assert model.negative_elbo(x, noise).item() == pytest.approx(per_pixel.sum(1).mean().item() + kl, rel=1e-6)


@pytest.mark.parametrize(("name", "pixels"), [("mlp", 64), ("conv", 784)])
def test_a_decoder_maps_each_latent_alone(name, pixels):
    decoder = seeded(lambda: make_decoder(name, 4, pixels, 8), 1)
    z = torch.randn(2, 3, 4, generator=make_generator("latents"))
    logits = decoder(z)
    assert logits.shape == (2, 3, pixels)
    torch.testing.assert_close(decoder(z[1, 2]), logits[1, 2], rtol=1e-5, atol=1e-6)


def test_an_unknown_decoder_names_those_there_are():
    with pytest.raises(RescoreError, match="unknown decoder 'cnn'; allowed: conv, mlp"):
        make_decoder("cnn", 4, 784, 8)


def test_averages_over_targets_are_those_of_the_table():
    estimates, truths = np.array([[1.0, 3.0], [4.0, 8.0], [9.0, 10.0]]), np.array([1.0, 7.0, 9.0])
    bias, std = np.array([1.0, -1.0, 0.5]), np.array([2.0, 4.0, 1.0]) / math.sqrt(2)
    found = averaged_over_targets(estimates, truths)
    assert found["logz_bias"] == pytest.approx((bias.mean(), bias.std(ddof=1) / math.sqrt(3)))
    assert found["logz_std"] == pytest.approx((std.mean(), std.std(ddof=1) / math.sqrt(3)))
    rmse = [math.hypot(np.delete(bias, k).mean(), np.delete(std, k).mean()) for k in range(3)]
    error = math.sqrt(2 / 3 * sum((one - np.mean(rmse)) ** 2 for one in rmse))
    assert found["logz_rmse"] == pytest.approx((math.hypot(bias.mean(), std.mean()), error))
    with pytest.raises(RescoreError, match=r"shape \(2, 5\): at least 3 targets"):
        averaged_over_targets(np.zeros((2, 5)), np.zeros(2))


# the sections

FLOW = {"family": "diagonal_affine", "steps": 3, "batch": 20}
VAE_SETTINGS = {
    "data": "digits",
    "images": 3,
    "runs": 2,
    "latent": 3,
    "hidden": 8,
    "training": {"steps": 4, "batch": 20},
    "truth": {"runs": 2, "particles": 20, "temperatures": 3, "leapfrogs": 2},
}
POSTERIORS = {
    "vae": VAE_SETTINGS,
    "pis": {"steps": 2, "batch": 10, "checkpoint_every": 2},
    "annealing": {"temperatures": 2, "hmc_steps": 2, "leapfrogs": 2, "step_sizes": [0.15, 0.1, 0.1, 0.05]},
    "aft": FLOW,
    "vi_nf": FLOW,
}


def settings(methods: list[str], **changes: object) -> dict[str, object]:
    datasets = {"vae_digits": POSTERIORS | {"vae": VAE_SETTINGS | changes}}
    return {"particles": 30, "steps": 4, "runs": 6, "datasets": datasets, "jobs": {"x": {"measure": {"vae_digits": methods}}}}


def run(folder: Path, methods: list[str], **changes: object) -> Result:
    return measured(PAPER, configured(PAPER, settings(methods, **changes)), "x", folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("vae")
    return folder, run(folder, ["truth", "nn", "grad", "smc", "aft", "vi_nf"])


def test_rows_are_those_of_the_table(tiny):
    result = tiny[1]
    logz = {"logz_bias", "logz_std", "logz_rmse"}
    rows = {}
    for row in result.measurements:
        assert (row.table, row.dataset) == ("5.3", "vae_digits")
        rows.setdefault((row.method, row.variant, row.nfe, row.over), set()).add(row.metric)
    assert rows == {
        ("SMC", "long-from-laplace", 6, "runs"): {"logz", "logz_std", "truth_error"},
        ("PIS", "NN", 4, "trainings"): logz,
        ("PIS", "RW-NN", 4, "trainings"): logz | {"ess"},
        ("PIS", "Grad", 4, "trainings"): logz,
        ("PIS", "RW-Grad", 4, "trainings"): logz | {"ess"},
        ("SMC", "2-temperatures", 8, "runs"): logz,
        ("AFT", "2-temperatures", 8, "trainings"): logz,
        ("VI-NF", "", None, "trainings"): logz,
        ("VI-NF", "RW", None, "trainings"): logz | {"ess"},
    }
    assert all(row.n_seeds == 3 for row in result.measurements) and result.skipped == []
    assert {row.n_samples for row in result.measurements if row.method == "PIS"} == {3 * 2 * 30}


def test_numbers_are_what_they_were(tiny):
    check_pinned("pis_vae", tiny[1].measurements, tiny[1])


def test_printed_rows_are_shown_but_never_judged():
    """Their keys are met by the committed numbers, and the decoder is another one."""
    records = read_records(ROOT / "results/reference/laptop/records/pis.csv", "laptop")
    rows = [row for row in read_published(PAPER.folder / "published.csv", "pis") if row.table == "5.3"]
    verdicts = diff(records, rows, {"pis": PAPER})
    assert len(rows) == 15 and set(verdicts["status"]) == {"indicative"}
    assert verdicts["note"].str.contains("decoder=trained here").all()


def test_bias_is_the_mean_over_images_of_the_distance_to_the_truth(tiny):
    result = tiny[1]
    errors = result.arrays["vae_digits/nn/RW-NN"]
    found = {row.metric: row.value for row in result.measurements if row.variant == "RW-NN"}
    assert errors.shape == (3, 2)
    assert found["logz_bias"] == pytest.approx(errors.mean(), rel=1e-12)
    assert found["logz_std"] == pytest.approx(errors.std(1, ddof=1).mean(), rel=1e-12)
    truth = result.arrays["vae_digits/truth/log_z"]
    spread = {row.metric: row.value for row in result.measurements if row.variant == "long-from-laplace"}
    assert spread["truth_error"] == pytest.approx(truth.std(1, ddof=1).mean() / math.sqrt(2), rel=1e-12)


def test_more_images_begin_with_the_same_ones(tiny, tmp_path):
    few, more = tiny[1].arrays, run(tmp_path, ["truth", "smc"], images=4).arrays
    assert np.array_equal(more["vae_digits/truth/images"][:3], few["vae_digits/truth/images"])
    for name in ("vae_digits/truth/log_z", "vae_digits/smc/2-temperatures"):
        np.testing.assert_allclose(more[name][:3], few[name], rtol=0, atol=1e-4)


def posteriors(folder: Path, **changes: object):
    return vae.Posteriors(book_of(PAPER, configured(PAPER, settings(["nn"], **changes)), "x", folder), "vae_digits")


def test_the_section_s_truth_of_a_linear_decoder_is_its_closed_form(tmp_path, monkeypatch):
    """Training, choice of images, mode and SMC, all of it: each particle's weight is Z, so the runs do not differ."""

    def log_likelihood(mean, x):
        return (-0.5 * ((x - mean) / NOISE).square() - math.log(NOISE * math.sqrt(2 * math.pi))).sum(-1, dtype=torch.float64)

    monkeypatch.setattr(vae, "make_decoder", lambda name, latent, pixels, hidden: nn.Linear(latent, pixels))
    monkeypatch.setattr(vae, "bernoulli_log_likelihood", log_likelihood)
    of = posteriors(tmp_path)
    weight, bias = of.decoder.weight.double(), of.decoder.bias.double()
    covariance = weight @ weight.T + NOISE**2 * torch.eye(64, dtype=torch.float64)
    expected = torch.distributions.MultivariateNormal(bias, covariance).log_prob(of.chosen.double()).numpy()
    assert expected.std() > 0.1, "each image has its own"
    np.testing.assert_allclose(of.truths, np.stack([expected, expected], 1), rtol=0, atol=1e-4)


def test_weights_are_of_the_decoder_whose_posterior_they_were_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(vae.Posteriors, "target", lambda self, image: None)
    others = [{}, {"latent": 5}, {"hidden": 7}, {"training": {"steps": 9}}]
    folders = [
        vae.ImageStudy(posteriors(tmp_path, **one), image, {}).training_folder("nn", 0, {"steps": 2})
        for one in others
        for image in (0, 1)
    ]
    assert len(set(folders)) == 8


def test_a_killed_truth_goes_on_at_its_next_image(tmp_path, monkeypatch, capsys):
    of, made = posteriors(tmp_path, images=4), []

    def truth(self, image):
        if image == 2 and made == [0, 1]:
            raise KeyboardInterrupt
        made.append(image)
        return np.full(2, float(image))

    monkeypatch.setattr(vae.Posteriors, "_truth", truth)
    with pytest.raises(KeyboardInterrupt):
        _ = of.truths
    expected = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    made.append("killed")
    assert posteriors(tmp_path, images=4).truths.tolist() == expected and made == [0, 1, "killed", 2, 3]
    (path,) = (of.folder("truth")).glob("*.npz")
    path.write_bytes(path.read_bytes()[:40])
    assert posteriors(tmp_path, images=4).truths.tolist() == expected and made[5:] == [0, 1, 2, 3]
    assert f"{path}: not an npz of arrays (" in capsys.readouterr().err


def test_a_job_runs_again_once_its_images_are_there(monkeypatch):
    images = {"mnist": False, "digits": True}
    monkeypatch.setattr(PAPER.module("config"), "images_at_hand", lambda data, split: images[data])
    mnist = POSTERIORS | {"vae": VAE_SETTINGS | {"data": "mnist"}}
    job = {"x": {"measure": {"vae_mnist": ["nn"]}}, "y": {"measure": {"vae_digits": ["nn"]}}}
    of = configured(PAPER, settings(["nn"]) | {"datasets": {"vae_mnist": mnist, "vae_digits": POSTERIORS}, "jobs": job})
    assert (of.data_fingerprint("x"), of.data_fingerprint("y")) == ("absent", "present")
    images["mnist"] = True
    assert of.data_fingerprint("x") == "present"


def test_pixels_are_drawn_with_their_grey_level_as_probability(tmp_path):
    of = posteriors(tmp_path)
    images = vae.load_images("digits", "train").images.flatten(1)
    drawn = of.binary("train")
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert (drawn[images == 0] == 0).all() and (drawn[images == 255] == 1).all()
    half = drawn[(images > 100) & (images < 155)]
    share = (images[(images > 100) & (images < 155)] / 255).mean().item()
    assert abs(half.mean().item() - share) < 4 * 0.5 / math.sqrt(len(half))


def test_the_same_weights_from_a_file_are_the_same_decoder(tiny, tmp_path, monkeypatch):
    folder, result = tiny
    trained = posteriors(folder).decoder
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    path = tmp_path / "mine.safetensors"
    save_weights(path, trained)
    decoder = {"file": "mine.safetensors", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    theirs = run(tmp_path, ["truth", "nn"], decoder=decoder)
    for name in ("vae_digits/truth/log_z", "vae_digits/nn/RW-NN"):
        np.testing.assert_array_equal(theirs.arrays[name], result.arrays[name])
    protocols = {row.protocol["decoder"] for row in theirs.measurements}
    assert protocols == {f"file {decoder['sha256'][:8]}"}
    assert {row.protocol["decoder"] for row in result.measurements} == {"trained here"}


def test_a_decoder_that_is_not_there_is_skipped_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    result = run(tmp_path, ["nn"], decoder={"file": "mine.safetensors", "sha256": "0" * 64})
    (skipped,) = result.skipped
    assert skipped["dataset"] == "vae_digits" and skipped["reason"].startswith(f"{tmp_path / 'mine.safetensors'}: no such file")
    assert result.measurements == []


@pytest.mark.parametrize("content", ["pickle", "other"])
def test_a_file_of_something_else_is_one_clear_error(tmp_path, content):
    path, decoder = tmp_path / "mine.safetensors", mlp_decoder(3, 64, 8)
    if content == "pickle":
        torch.save(decoder.state_dict(), path)
        message = "not a safetensors file of plain weights"
    else:
        save_weights(path, mlp_decoder(3, 64, 9))
        message = r"not the weights of this decoder: it has \{'0.bias': \(9,\)"
    with pytest.raises(RescoreError, match=message) as error:
        vae.load_decoder(path, decoder)
    assert len(str(error.value).splitlines()) == 1 and str(path) in str(error.value)
    with pytest.raises(RescoreError, match="wrong checksum"):
        vae.find_decoder(str(path), "0" * 64)


def test_without_the_images_the_rows_are_skipped_with_the_reason(tmp_path, monkeypatch):
    def missing(*_: object) -> None:
        raise MissingData("mnist: nowhere to be had")

    monkeypatch.setattr(vae, "load_images", missing)
    result = run(tmp_path, ["truth", "grad"])
    assert result.skipped == [{"dataset": "vae_digits", "reason": "mnist: nowhere to be had"}]


def test_too_many_images_and_methods_without_a_meaning_are_clear_errors(tmp_path):
    with pytest.raises(RescoreError, match=r"datasets.vae_digits.vae.images: 10000; allowed: at most 359"):
        run(tmp_path, ["truth"], images=10_000)
    with pytest.raises(RescoreError, match="unknown method of vae_digits 'nuts'; allowed: "):
        run(tmp_path, ["nuts"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "mnist"}, "datasets.vae_digits.vae: mnist; allowed: data: digits"),
        ({"network": "conv"}, "network: conv makes images of 28x28; allowed with digits: mlp"),
        ({"decoder": {"file": "x", "sha256": "12"}}, "datasets.vae_digits.vae.decoder.sha256: string should match pattern"),
    ],
)
def test_settings_that_do_not_fit_name_the_key(changes, message):
    with pytest.raises(RescoreError) as error:
        configured(PAPER, settings(["nn"], **changes))
    assert message in str(error.value) and len(str(error.value).splitlines()) == 1


def test_a_bernoulli_likelihood_has_every_pixel():
    x = torch.tensor([1.0, 0.0, 1.0])
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, -1.0, 0.5]])
    p = torch.sigmoid(logits.double())
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum(-1)
    torch.testing.assert_close(bernoulli_log_likelihood(logits, x), expected, rtol=1e-6, atol=1e-6)
