"""The DiffFlow paper's folder: configs, three models behind one face, early stopping, the status of every printed row."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rescore.data.images import load_images
from rescore.data.pixels import dequantise
from rescore.errors import RescoreError
from rescore.experiments.run import Notebook, Run
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.papers import load_config, load_paper
from rescore.random import make_generator

PAPER = load_paper("diffflow")
CONFIG = PAPER.module("config")
METHODS = PAPER.module("methods")


def test_scales_and_their_jobs():
    kinds = {}
    for scale in ("smoke", "laptop", "gpu", "paper"):
        jobs = load_config(PAPER, scale).jobs.values()
        kinds[scale] = {part.kind for job in jobs for part in (job.parts if job.kind == "several" else (job,))}
    assert kinds["smoke"] == {"planar", "cost", "tabular", "images"}
    assert kinds["laptop"] == {"planar", "cost", "tabular", "images"} and kinds["gpu"] == {"images"}
    laptop = load_config(PAPER, "laptop")
    parts = [part for job in laptop.jobs.values() for part in (job.parts if job.kind == "several" else (job,))]
    planar = [part for part in parts if part.kind == "planar"]
    assert {name for part in planar for name in part.datasets} == set(PAPER.module("figures").SETS)
    assert laptop.sweep == (5, 10, 20, 50, 100)


def test_bad_config(tmp_path):
    text = (PAPER.folder / "configs" / "smoke.yaml").read_text()
    from rescore.config import read_yaml

    for old, new, message in (
        ("sweep: [5, 10]", "sweep: [10, 5]", "must increase"),
        ("kind: planar, datasets: [rings,", "kind: planar, datasets: [ring,", r"jobs\.plane\.datasets\.0"),
        ("kind: cost, iterations: 14", "kind: cost, iterations: 5", "greater than 10"),
    ):
        assert old in text
        (tmp_path / "bad.yaml").write_text(text.replace(old, new))
        with pytest.raises(RescoreError, match=message):
            read_yaml(tmp_path / "bad.yaml", CONFIG.Config)


def test_every_published_row_has_a_status():
    rows = read_published(PAPER.folder / "published.csv", "diffflow")
    table = diff([], rows, {"diffflow": PAPER})
    assert len(table) == 114 and (table["status"] == "not-run").all()
    assert not table["note"].str.startswith("no record").any()


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_the_ddpm_of_images_is_one_that_other_papers_train(scale):
    others = load_config(load_paper("deis"), scale).models["vp"]
    assert load_config(PAPER, scale).models["vp"].key == others.key


@pytest.mark.parametrize("steps", [5, 20])
def test_an_untrained_ddpm_is_ddim_of_a_standard_normal(steps):
    """v = 0 gives eps = R u and x_0 = m u, so that a step from angle a to b, tan a = R / m, multiplies u by cos(a - b)."""
    settings = CONFIG.DDPM(iterations=1, batch=1, lr=1, width=8, blocks=1)
    model = METHODS.TrainedDDPM(METHODS.ddpm_network(settings, "x").requires_grad_(False), 100)
    angles = METHODS.ddpm_sampler(model.process, steps, True).times
    angles = torch.tensor([math.atan2(model.process.R(t).values, model.process.mean(t).values) for t in angles])
    start = torch.randn(50, 2, generator=make_generator("n"))
    x = model.sample(50, make_generator("n"), steps, deterministic=True)
    assert torch.allclose(x, start * angles.diff().cos().prod(), rtol=1e-5)


def test_three_models_of_about_90_000_parameters():
    """As the thesis asks of the compared models."""
    pair = METHODS.diffflow_pair(CONFIG.DiffFlow(iterations=1, batch=1, lr=1), 2, "x")
    ddpm = METHODS.ddpm_network(CONFIG.DDPM(iterations=1, batch=1, lr=1), "x")
    flow = METHODS.ffjord(2, CONFIG.FFJORD(iterations=1, batch=1, lr=1).hidden, 0)
    assert [METHODS.parameters(net) for net in (pair, ddpm, flow)] == [94868, 91262, 89234]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    x = torch.randn(300, 2, generator=make_generator("models"))
    folder = tmp_path_factory.mktemp("models")
    fits = {
        "DiffFlow": (METHODS.train_diffflow_points, CONFIG.DiffFlow(iterations=3, batch=32, lr=1e-3, width=8, sampling_steps=6,
                                                                    steps=(3,), shares=(1.0,))),
        "DDPM": (METHODS.train_ddpm, CONFIG.DDPM(iterations=3, batch=32, lr=1e-3, width=8, blocks=1, sampling_steps=6)),
        "FFJORD": (METHODS.train_ffjord, CONFIG.FFJORD(iterations=2, batch=32, lr=1e-3, hidden=(8,), tolerance=1e-5)),
    }  # fmt: skip
    return {name: train(fit, x, folder / name, "test", name, "normal", 0) for name, (train, fit) in fits.items()}


@pytest.mark.parametrize("method", ["DiffFlow", "DDPM", "FFJORD"])
def test_models_share_one_face(models, method):
    model, x = models[method], torch.randn(40, 2, generator=make_generator("face"))
    assert model.log_prob(x, 1e-3, make_generator("probe")).shape == (40,)
    samples = [model.sample(50, make_generator("s", seed)) for seed in (0, 0, 1)]
    assert samples[0].shape == (50, 2) and torch.equal(samples[0], samples[1]) and not torch.equal(samples[0], samples[2])
    path = model.trajectory(x, 4, make_generator("path"))
    assert path.shape == (5, 40, 2) and torch.equal(path[0], x)


def test_trajectories_end_where_they_should(models):
    """FFJORD's at its own latent; DDPM's at variance 1, whatever the data."""
    x = torch.randn(50, 2, generator=make_generator("ends"))
    flow = models["FFJORD"].network.eval()().transform
    with torch.no_grad():
        assert torch.allclose(models["FFJORD"].trajectory(x, 3, make_generator("a"))[-1], flow(x), atol=1e-4)
    spread = models["DDPM"].trajectory(torch.full((20_000, 2), 3.0), 4, make_generator("b"))[-1]
    assert spread.mean().abs() < 0.05 and abs(spread.std() - 1) < 0.02


def test_jacobian_of_ffjord_is_exact(models):
    """Its log-likelihood against the determinant of autograd's Jacobian."""
    model = models["FFJORD"]
    x = torch.randn(3, 2, generator=make_generator("jacobian"))
    flow = model.network.eval()().transform
    for point, found in zip(x, model.log_prob(x, 0.0, None), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0], point)
        base = torch.distributions.Normal(0, 1).log_prob(flow(point[None])[0]).sum()
        assert found.item() == pytest.approx((base + jacobian.det().abs().log()).item(), abs=1e-3)


def test_early_stopping_keeps_the_best_and_resumes(tmp_path):
    """Losses 3, 1, 2 at three stops: the second stays; a run that was killed after two goes on with the third."""
    stopped_at_best = PAPER.module("tabular").stopped_at_best
    losses, trained = {10: 3.0, 20: 1.0, 30: 2.0}, []
    blank = nn.Linear(1, 1)

    def train_to(stop: int, folder) -> nn.Module:
        trained.append(stop)
        net = nn.Linear(1, 1)
        nn.init.constant_(net.weight, stop)
        return net

    def loss() -> float:
        return losses[int(blank.weight.item())]

    stopped_at_best(blank, train_to, loss, [10, 20], tmp_path)
    stopped_at_best(blank, train_to, loss, [10, 20, 30], tmp_path)
    assert blank.weight.item() == 20 and trained == [10, 20, 30]
    assert json.loads((tmp_path / "stages.json").read_text()) == [3.0, 1.0, 2.0]


def test_planar_problem_is_standard_and_knows_its_support():
    config = load_config(PAPER, "smoke")
    problem = PAPER.module("planar").Problem("checkerboard", config)
    assert problem.train.mean(0).abs().max() < 1e-5 and abs(problem.train.std() - 1) < 1e-3
    draws = problem.draws(0, "test", 500)
    assert problem.off_support(draws) < 0.01, "float32 rounds a point over an edge now and then"
    assert problem.distance(draws, 0) < 0.25 < problem.distance(draws + 1, 0)


def test_images_are_padded_before_they_are_dequantised():
    """A constant border would have no density."""
    padded = PAPER.module("images")._pad(torch.full((2, 1, 28, 27), 9, dtype=torch.uint8), 32)
    assert padded.shape == (2, 1, 32, 32) and padded.dtype == torch.uint8
    assert padded[:, :, 2:30, 2:29].min() == 9 and padded.sum() == 2 * 28 * 27 * 9


def test_the_pixels_and_the_paths_of_an_image_job_have_streams_of_their_own(tmp_path, monkeypatch):
    """One seed for both would make the dequantisation noise a function of the trace's probes. And each part is what it says."""
    images, used = PAPER.module("images"), []
    job = next(part for part in load_config(PAPER, "smoke").jobs["rest"].parts if part.kind == "images")
    config = load_config(PAPER, "smoke").model_copy(update={"seeds": (0, 1)})

    def noted(what, function, place):
        def call(*arguments, **options):
            generator = next(a for a in (*arguments, *options.values()) if isinstance(a, torch.Generator))
            used.append((what, generator.initial_seed(), arguments[place]))
            return function(*arguments, **options)

        return call

    for what, place in (("dequantise", 0), ("elbo", 1), ("ode_log_prob", 1)):
        monkeypatch.setattr(images, what, noted(what, getattr(images, what), place))
    monkeypatch.setattr(images, "_cost", lambda *_: None)
    run = Run("diffflow", "smoke", "rest", tmp_path, "0", "cpu", 1)
    images.measure(Notebook(), job.model_copy(update={"samples": 0}), config, run)
    by_seed = {what: [seed for name, seed, _ in used if name == what] for what in ("dequantise", "elbo", "ode_log_prob")}
    train, *test = by_seed["dequantise"]
    assert by_seed["elbo"] == by_seed["ode_log_prob"] and len(test) == len(by_seed["elbo"]) == 2
    assert len({train, *test, *by_seed["elbo"]}) == 5, "training, and two seeds of pixels and of paths"
    (pixels, judged) = ([x for name, _, x in used if name == what] for what in ("dequantise", "elbo"))
    held_out = load_images("digits", "test").images[: job.test_images]
    assert torch.equal(pixels[1], held_out) and torch.equal(pixels[2], held_out), "the likelihood is that of held-out images"
    levels = dequantise(held_out, make_generator("diffflow", "digits", 0, "dequantise"), 17)[0]
    assert torch.equal(judged[0], levels)


def test_a_ratio_of_a_number_to_itself_is_exact(monkeypatch):
    """At the largest N the degeneracy is 1 whatever is drawn; before it, it has the error of its trainings."""
    planar, images, config = PAPER.module("planar"), PAPER.module("images"), load_config(PAPER, "smoke")
    first, last = config.sweep[0], config.sweep[-1]
    ratios = iter((2.0, 4.0, 6.0))

    def evaluate(problem, model, seed):
        key = ("DDPM", "3.5", "L_s", "sw2_degeneracy")
        return {(*key, first): next(ratios), (*key, last): 1.0}

    monkeypatch.setattr(planar, "train", lambda *_: [SimpleNamespace(method="DDPM")])
    monkeypatch.setattr(planar, "evaluate", evaluate)
    monkeypatch.setattr(planar, "keep_figures", lambda *_: None)
    book = Notebook()
    planar.measure_set(book, "checkerboard", config.model_copy(update={"seeds": (0, 1, 2)}), None)
    found = {m.nfe: (m.value, m.over, m.df) for m in book.measurements if m.metric == "sw2_degeneracy"}
    assert found == {first: (4.0, "trainings", 2), last: (1.0, "exact", None)}
    (floor,) = (m for m in book.measurements if m.method == "exact draws")
    assert (floor.over, floor.n_seeds, floor.df) == ("runs", 3, 2)

    book, job = Notebook(), SimpleNamespace(dataset="digits", samples=70)
    fids = {("3.5", "DDIM", "", "fid_degeneracy", n): values for n, values in ((5, [2.0, 4.0]), (20, [1.0, 1.0]))}
    images._record(book, job, 20, fids | {("3.4", "DDIM", "", "fid", 20): [9.0, 11.0]}, {})
    assert [(m.metric, m.nfe, m.value, m.stderr, m.over, m.n_samples) for m in book.measurements] == [
        ("fid_degeneracy", 5, 3.0, 1.0, "trainings", 140), ("fid_degeneracy", 20, 1.0, 0.0, "exact", 1),
        ("fid", 20, 10.0, 1.0, "trainings", 140),
    ]  # fmt: skip
