"""The DiffFlow paper's folder: configs, three models behind one face, early stopping, the status of every printed row."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from ledger_case import record
from measuring import book_of, configured
from rescore.config import read_yaml, step_hash
from rescore.data.images import load_images
from rescore.data.pixels import crop_to, dequantise, pad_to
from rescore.errors import Diverged, RescoreError
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.neural_sde import train as training
from rescore.papers import load_config, load_paper
from rescore.random import make_generator
from rescore.training import Adam
from rescore.training.early_stopping import stopped_at_best
from rescore.training.weights import parameter_count
from torch import nn

PAPER = load_paper("diffflow")
CONFIG = PAPER.module("config")
METHODS = PAPER.module("methods")


def sections(scale: str) -> set[str]:
    return {step.section for job in load_config(PAPER, scale).jobs.values() for step in job.steps}


def test_scales_and_their_jobs():
    assert sections("smoke") == sections("laptop") == set(PAPER.module("jobs").SECTIONS)
    assert sections("paper") == sections("laptop") - {"bits"}, "a small training of MNIST beside the laptop's U-Net"
    assert sections("gpu") == {"images"}
    laptop = load_config(PAPER, "laptop")
    planar = [step.subject for job in laptop.jobs.values() for step in job.steps if step.section == "planar"]
    assert sorted(planar) == sorted(PAPER.module("figures").SETS)
    assert laptop.sweep == (5, 10, 20, 50, 100)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sweep: [5, 10]", "sweep: [10, 5]", "must increase"),
        ("progressive: {2: 0.5, 3: 0.5}, window", "progressive: {3: 1.0}, window", "grids.progressive"),
        ("{rings: [planar],", "{ring: [planar],", r"jobs\.plane\.measure\.ring"),
        (
            "{rings: [planar],",
            "{rings: [tabular],",
            "jobs.plane: measure.rings: tabular; allowed: planar, cost, grids, sampling$",
        ),
        ("cost: {iterations: 14", "cost: {iterations: 0", "greater than 0"),
        ("tabular:\n", "tabula:\n", "tabula: unknown key; allowed: tabular"),
        ("ddpm: {steps: 20", "ddpm: {steps: 0", r"^\S+: plane.ddpm.steps: input should be greater than 0, not 0$"),
    ],
)
def test_a_bad_config_is_named(old, new, message, tmp_path):
    text = (PAPER.folder / "configs" / "smoke.yaml").read_text()
    assert old in text
    (tmp_path / "bad.yaml").write_text(text.replace(old, new))
    with pytest.raises(RescoreError, match=message):
        read_yaml(tmp_path / "bad.yaml", CONFIG.Config)


@pytest.mark.parametrize("settings", ["plane", "tabular", "images"])
def test_a_section_without_its_settings_is_named(settings):
    content = load_config(PAPER, "smoke").model_dump(mode="json") | {settings: None}
    content["jobs"].pop("mnist")  # which has images of its own
    with pytest.raises(RescoreError, match=f"needs the settings `{settings}`"):
        configured(PAPER, content)


def test_a_change_of_settings_runs_their_sections_anew():
    config = load_config(PAPER, "smoke")
    changed = config.model_copy(update={"cost": config.cost.model_copy(update={"timed": 9})})
    again = {
        str(step)
        for job in config.jobs
        for step in config.jobs[job].steps
        if step_hash(config, "diffflow", job, step) != step_hash(changed, "diffflow", job, step)
    }
    assert again == {"rings cost"}


def test_every_published_row_has_a_status():
    rows = read_published(PAPER.folder / "published.csv", "diffflow")
    table = diff([], rows, {"diffflow": PAPER})
    assert len(table) == 114 and (table["status"] == "not-run").all()
    assert not table["note"].str.startswith("no record").any()


def test_states_are_few_of_the_memory_with_the_adjoint_on_images():
    """Section 3.3.2 speaks of images and of all the memory in use: not of rings, nor of what graphs keep alone."""
    of = {"paper": "diffflow", "table": "text", "method": "DiffFlow", "variant": "", "nfe": None, "stderr": 0.0}
    rings = record(**of, dataset="rings", metric="states_percent_of_autograd", value=0.14)
    for value, status in ((5.2, "fails"), (4.8, "holds")):
        graphs = record(**of, dataset="digits", metric="states_percent_of_adjoint", value=9.0)
        records = [rings, graphs, record(**of, dataset="digits", metric="states_percent_of_training", value=value)]
        found = {line["claim"]: line["status"] for line in evaluate("diffflow", PAPER.module("claims").CLAIMS, records)}
        assert found["states-are-few"] == status
    (printed,) = (
        one for one in read_published(PAPER.folder / "published.csv", "diffflow") if one.metric == "states_percent_of_adjoint"
    )
    shown = diff(
        [*records, record(**of, dataset="rings", metric="states_percent_of_adjoint", value=1.0)], [printed], {"diffflow": PAPER}
    )
    assert shown["measured"].tolist() == [4.8]


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_the_ddpm_of_images_is_one_that_other_papers_train(scale):
    others = load_config(load_paper("deis"), scale).models
    assert load_config(PAPER, scale).models["vp"].key == others.get("vp-trained-here", others["vp"]).key


@pytest.mark.parametrize("steps", [5, 20])
def test_an_untrained_ddpm_is_ddim_of_a_standard_normal(steps):
    """v = 0 gives eps = R u and x_0 = m u, so that a step from angle a to b, tan a = R / m, multiplies u by cos(a - b)."""
    settings = CONFIG.DDPM(steps=1, batch=1, lr=1, width=8, blocks=1)
    model = METHODS.TrainedDDPM(METHODS.ddpm_network(settings, "x").requires_grad_(False), 100)
    process, start = model.model.process, torch.randn(50, 2, generator=make_generator("n"))
    angles = METHODS.ddpm_sampler(process, steps, True).times
    angles = torch.tensor([math.atan2(process.R(t).values, process.mean(t).values) for t in angles])
    x = model.sample(start, make_generator("n"), steps, deterministic=True)
    assert torch.allclose(x, start * angles.diff().cos().prod(), rtol=1e-5)


def test_three_models_of_about_90_000_parameters():
    """As the thesis asks of the compared models."""
    pair = METHODS.diffflow_pair(CONFIG.DiffFlow(steps=1, batch=1, lr=1), 2, "x")
    ddpm = METHODS.ddpm_network(CONFIG.DDPM(steps=1, batch=1, lr=1), "x")
    flow = METHODS.ffjord(2, CONFIG.FFJORD(steps=1, batch=1, lr=1).hidden, 0)
    assert [parameter_count(net) for net in (pair, ddpm, flow)] == [94868, 91262, 89234]


def test_the_rate_of_a_training_falls_to_a_tenth():
    """Whatever its length, also of one that is cut to fewer steps; a decay that is given stays."""
    fit = CONFIG.DDPM(steps=300, batch=1, lr=2)
    for steps, of in ((300, fit), (50, fit.lasting(50))):
        adam = Adam.of(of)
        assert (adam.steps, adam.lr, adam.clip, adam.decay_every) == (steps, 2, 1.0, 10)
        assert adam.lr_at(steps) == pytest.approx(0.2, rel=1e-12) and adam.lr_at(9) == 2 > adam.lr_at(10)
    assert CONFIG.DDPM(steps=300, batch=1, lr=2, decay=0.5).lasting(50).decay == 0.5


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    x = torch.randn(300, 2, generator=make_generator("models"))
    folder = tmp_path_factory.mktemp("models")
    fits = {
        "DiffFlow": CONFIG.DiffFlow(steps=3, batch=32, lr=1e-3, width=8, sampling_steps=6, progressive={3: 1.0}),
        "DDPM": CONFIG.DDPM(steps=3, batch=32, lr=1e-3, width=8, blocks=1, sampling_steps=6),
        "FFJORD": CONFIG.FFJORD(steps=2, batch=32, lr=1e-3, hidden=(8,), tolerance=1e-5),
    }
    return {name: METHODS.train(name, fit, x, folder / name, "test", name, "normal", 0) for name, fit in fits.items()}


@pytest.mark.parametrize("method", ["DiffFlow", "DDPM", "FFJORD"])
def test_models_share_one_face(models, method):
    model, x = models[method], torch.randn(40, 2, generator=make_generator("face"))
    assert model.log_prob(x, make_generator("probe"), 1e-3).shape == (40,)
    starts = [torch.randn(50, 2, generator=make_generator("z", seed)) for seed in (0, 0, 1)]
    samples = [model.sample(z, make_generator("s", 0)) for z in starts]
    assert samples[0].shape == (50, 2) and torch.equal(samples[0], samples[1]) and not torch.equal(samples[0], samples[2])
    path = model.trajectory(x, 4, make_generator("path"))
    assert path.shape == (5, 40, 2) and torch.equal(path[0], x)


def test_trajectories_end_where_they_should(models):
    """FFJORD's at its own latent; DDPM's at variance 1, whatever the data."""
    x = torch.randn(50, 2, generator=make_generator("ends"))
    flow = models["FFJORD"].model.eval()().transform
    with torch.no_grad():
        assert torch.allclose(models["FFJORD"].trajectory(x, 3, make_generator("a"))[-1], flow(x), atol=1e-4)
    spread = models["DDPM"].trajectory(torch.full((20_000, 2), 3.0), 4, make_generator("b"))[-1]
    assert spread.mean().abs() < 0.05 and abs(spread.std() - 1) < 0.02


def test_jacobian_of_ffjord_is_exact(models):
    """Its log-likelihood against the determinant of autograd's Jacobian."""
    model = models["FFJORD"]
    x = torch.randn(3, 2, generator=make_generator("jacobian"))
    flow = model.model.eval()().transform
    for point, found in zip(x, model.log_prob(x, None, 0.0), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0], point)
        base = torch.distributions.Normal(0, 1).log_prob(flow(point[None])[0]).sum()
        assert found.item() == pytest.approx((base + jacobian.det().abs().log()).item(), abs=1e-3)


def test_early_stopping_keeps_the_best_and_resumes(tmp_path):
    """Losses 3, 1, 2 at three stops: the second stays; a run that was killed after two goes on with the third."""
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


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([math.nan, 1.0, 2.0], 1),
        ([3.0, math.nan, 2.0], 2),
        ([2.0, math.nan, 3.0], 0),
        ([math.inf, 5.0, math.nan], 1),
        ([math.nan, math.inf], 0),
    ],
)
def test_early_stopping_passes_over_losses_that_are_not_finite(losses, best, tmp_path):
    """At one go, and where it is killed after every stop."""
    nets = [nn.Linear(1, 1) for _ in losses]
    for k, net in enumerate(nets):
        nn.init.constant_(net.weight, k)
    stops = list(range(len(losses)))
    for name, ends in (("whole", [len(stops)]), ("parts", [k + 1 for k in stops])):
        for end in ends:
            blank = nn.Linear(1, 1)
            stopped_at_best(
                blank,
                lambda stop, folder: nets[stop],
                lambda b=blank: losses[int(b.weight.item())],
                stops[:end],
                tmp_path / name,
            )
        assert blank.weight.item() == best


def test_stages_of_a_table_keep_the_schedule_of_the_whole_training(tmp_path, monkeypatch):
    """N = 3 in the first half of eight iterations and 5 in the second, though validation stops the training after four."""
    content = load_config(PAPER, "smoke").model_dump(mode="json")
    content["tabular"]["diffflow"] |= {"steps": 8, "progressive": {3: 0.5, 5: 0.5}}
    config, numbers = configured(PAPER, content), []
    times = training.DiffFlowTraining.times

    def noted(self, n, generator=None):
        numbers.append(n)
        return times(self, n, generator)

    monkeypatch.setattr(training.DiffFlowTraining, "times", noted)
    rows = torch.randn(40, 3, generator=make_generator("rows"))
    train_to, _, _ = PAPER.module("tabular").diffflow_trainer(config, rows, "diffflow", "DiffFlow", "x", 0)
    for stop in (4, 8):
        train_to(stop, tmp_path)
    assert numbers == [3, 3, 3, 3, 5, 5, 5, 5]


def test_planar_problem_is_standard_and_knows_its_support():
    config = load_config(PAPER, "smoke")
    problem = PAPER.module("planar").make_problem(config, "checkerboard")
    assert problem.train.mean(0).abs().max() < 1e-5 and abs(problem.train.std() - 1) < 1e-3
    draws = problem.draws(0, "test", 500)
    assert problem.off_support(draws) < 0.01, "float32 rounds a point over an edge now and then"
    assert problem.distance(draws, 0) < 0.25 < problem.distance(draws + 1, 0)


def test_images_are_padded_and_cropped_again():
    images = torch.full((2, 1, 28, 27), 9, dtype=torch.uint8)
    padded = pad_to(images, 32)
    assert padded.shape == (2, 1, 32, 32) and padded.dtype == torch.uint8
    assert padded[:, :, 2:30, 2:29].min() == 9 and padded.sum() == 2 * 28 * 27 * 9
    assert torch.equal(crop_to(padded, (28, 27)), images)


def test_the_pixels_and_the_paths_of_images_have_streams_of_their_own(tmp_path, monkeypatch):
    """One seed for both would make the dequantisation noise a function of the trace's probes. And each part is what it says."""
    images, used = PAPER.module("images"), []
    content = load_config(PAPER, "smoke").model_dump(mode="json")
    content["jobs"] = {"rest": {"measure": {"digits": ["images"]}}}
    config = configured(PAPER, content)

    def noted(what, function, place):
        def call(*arguments, **options):
            generator = next(a for a in (*arguments, *options.values()) if isinstance(a, torch.Generator))
            used.append((what, generator.initial_seed(), arguments[place]))
            return function(*arguments, **options)

        return call

    for where, what, place in ((images, "dequantise", 0), (training, "elbo", 1), (training, "ode_log_prob", 1)):
        monkeypatch.setattr(where, what, noted(what, getattr(where, what), place))
    monkeypatch.setattr(images, "costs", lambda *_: None)
    book = book_of(PAPER, config, "rest", tmp_path)
    images.measure(book, "digits")
    assert [one.metric for one in book.measurements] == ["bpd", "bpd"], "no models to compare with: no FID"
    by_seed = {what: [seed for name, seed, _ in used if name == what] for what in ("dequantise", "elbo", "ode_log_prob")}
    train, *test = by_seed["dequantise"]
    assert by_seed["elbo"] == by_seed["ode_log_prob"] and len(test) == len(by_seed["elbo"]) == 2
    assert len({train, *test, *by_seed["elbo"]}) == 5, "training, and two seeds of pixels and of paths"
    (pixels, judged) = ([x for name, _, x in used if name == what] for what in ("dequantise", "elbo"))
    held_out = load_images("digits", "test").images[: config.images.test_images]
    assert torch.equal(pixels[1], held_out) and torch.equal(pixels[2], held_out), "the likelihood is that of held-out images"
    levels = dequantise(held_out, make_generator("diffflow", "digits", 0, "dequantise"), 17)[0]
    assert torch.equal(judged[0], levels)


def test_each_fid_of_images_has_its_own_grid_and_noise(tmp_path, monkeypatch):
    """Table 3.3 with and without noise, then one N after another; the images of the figure are further samples."""
    images, asked = PAPER.module("images"), []
    here = SimpleNamespace(judge=lambda x, metrics: {"fid": x}, numbers=None)
    config = load_config(PAPER, "smoke")
    book = book_of(PAPER, config, "rest", tmp_path)
    pictures = images.Pictures(book, "digits")
    monkeypatch.setattr(images.Pictures, "judge", property(lambda self: here.judge))

    def model(self, seed):
        return SimpleNamespace(seed=seed, elbo=zeros, log_prob=zeros)

    def zeros(x, generator, **options):
        return torch.zeros(len(x))

    monkeypatch.setattr(images.Pictures, "model", model)

    def drawn(self, model, n, steps, generator, lam=1.0):
        asked.append((model.seed, n, steps, lam))
        return steps + 100 * (1 - lam)

    monkeypatch.setattr(images.Pictures, "drawn", drawn)
    found, shown = pictures.numbers(1)
    fids = {key: value for key, value in found.items() if key not in ("bound", "ode")}
    assert fids == {("3.3", 1.0, 5): 5, ("3.3", 0.0, 5): 105, ("3.4", 1.0, 5): 5, ("3.4", 1.0, 10): 10}
    assert shown == 5 and asked == [(1, 70, 5, 1.0), (1, 70, 5, 0.0), (1, 70, 5, 1.0), (1, 70, 10, 1.0), (1, 16, 5, 1.0)]


def test_a_model_that_diverges_leaves_its_cell_out(tmp_path, monkeypatch):
    images = PAPER.module("images")
    book = book_of(PAPER, load_config(PAPER, "smoke"), "rest", tmp_path)
    found = {seed: ({"bound": 4.0 + seed, "ode": Diverged(f"seed {seed}")}, None) for seed in (0, 1)}
    monkeypatch.setattr(images.Pictures, "_numbers", lambda self, seed: found[seed])
    images.likelihoods(images.Pictures(book, "digits"))
    assert [(one.variant, one.value) for one in book.measurements] == [("ELBO", 4.5)]
    assert [(row["variant"], row["reason"]) for row in book.skipped] == [("", "diverged: seed 0")]


SAID_ELSEWHERE = {"DiffFlow": {"sampling_steps"}, "DDPM": {"sampling_steps"}, "FFJORD": set(), "Flow": set(), "NAF": set()}
"""Fields whose number stands in a record's column or beside how it is judged."""


@pytest.mark.parametrize("name", SAID_ELSEWHERE)
def test_a_record_tells_every_setting_of_a_training(name):
    kind = getattr(CONFIG, name)
    fit = kind(steps=100, batch=8, lr=0.1, weight_decay=0.1)
    changes = {"grid": "L_beta", "progressive": {7: 1.0}, "hidden": (9,), "monotonic": (9,), "clip": None}
    for field in kind.model_fields.keys() - SAID_ELSEWHERE[name]:
        value = changes[field] if field in changes else 2 * getattr(fit, field) or 2
        other = kind(**fit.model_dump() | {field: value})
        assert other.of_points() != fit.of_points(), field


def test_a_rate_falls_over_the_steps_that_a_job_has_instead():
    config = load_config(PAPER, "smoke")
    other = config._changed({"plane": {"diffflow": {"steps": 40}}}, "jobs.a.instead", "a single job")
    ours, theirs = other.plane.diffflow, config.plane.diffflow
    assert ours.decay == pytest.approx(0.1 ** (10 / 40)) and theirs.decay == pytest.approx(0.1 ** (10 / theirs.steps))
    assert ours.model_copy(update={"steps": theirs.steps, "decay": theirs.decay}) == theirs
