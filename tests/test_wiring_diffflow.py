"""DiffFlow's jobs: stubs whose answers are known, and tiny runs, every number of which is kept."""

import math

import numpy as np
import pytest
import torch
from measuring import book_of, configured, measured
from pinned import check_pinned
from rescore.data.planar import planar_set
from rescore.errors import Diverged
from rescore.papers import load_config, load_paper
from rescore.random import derive_seed, make_generator
from trained_case import trained_models

PAPER = load_paper("diffflow")
METHODS, PLANAR, TABULAR, IMAGES = (PAPER.module(name) for name in ("methods", "planar", "tabular", "images"))
TINY = {
    "sweep": [2, 3],
    "tolerance": 0.1,
    "plane": {
        "samples": 20,
        "likelihoods": 10,
        "train_points": 200,
        "projections": 4,
        "diffflow": {"steps": 4, "batch": 16, "lr": 3e-3, "width": 8, "progressive": {2: 0.5, 3: 0.5}, "sampling_steps": 3},
        "ddpm": {"steps": 4, "batch": 16, "lr": 2e-3, "width": 8, "blocks": 1, "sampling_steps": 4},
    },
}


def smoke(**plane):
    content = load_config(PAPER, "smoke").model_dump(mode="json")
    return configured(PAPER, content | {"sweep": [2, 4], "seeds": [1, 2], "plane": content["plane"] | plane})


@pytest.mark.parametrize("job", ["plane", "rest", "more"])
def test_numbers_are_what_they_were(job, tmp_path):
    content = load_config(PAPER, "smoke").model_dump(mode="json")
    content |= TINY | {"plane": content["plane"] | TINY["plane"]}
    content["jobs"]["plane"]["measure"] = {"rings": ["planar"], "checkerboard": ["planar"]}
    content["jobs"]["more"]["measure"]["digits"].append("bits")  # of MNIST elsewhere
    config = configured(PAPER, content)
    result = measured(PAPER, config, job, tmp_path, trained_models(config, job, tmp_path / "models"))
    check_pinned(f"diffflow_{job}", result.measurements, result)


class StubModel:
    """Its log density is the first coordinate less 3; it samples a constant."""

    model = torch.nn.Linear(2, 1)

    def __init__(self, seed):
        self.seed, self.asked = seed, []

    def log_prob(self, x, generator, tolerance):
        self.asked.append(("log_prob", x, tolerance, generator.initial_seed()))
        return x[:, 0] - 3

    def elbo(self, x, generator):
        self.asked.append(("elbo", x, generator.initial_seed()))
        return x[:, 0] - 5

    def sample(self, z, generator, steps=None, **options):
        assert torch.equal(z, torch.randn(z.shape, generator=make_generator("diffflow", "samples", self.seed)))
        self.asked.append(("sample", len(z), generator.initial_seed(), steps, options))
        return torch.zeros(len(z), 2)

    def trajectory(self, x, parts, generator):
        return torch.stack([x] * (parts + 1))


@pytest.fixture
def plane(tmp_path, monkeypatch):
    """A book whose models are stubs, and the stubs by method and seed."""
    config, models = smoke(samples=40, likelihoods=30, train_points=500, projections=3), {}

    def train(method, fit, x, folder, *names):
        assert fit is {"DiffFlow": config.plane.diffflow, "DDPM": config.plane.ddpm, "FFJORD": config.plane.ffjord}[method]
        assert names == ("diffflow", method, "checkerboard", names[-1])
        assert folder.name == f"{method}-checkerboard-{names[-1]}"
        return models.setdefault((method, names[-1]), StubModel(names[-1]))

    monkeypatch.setattr(PLANAR, "train", train)
    return book_of(PAPER, config, "plane", tmp_path), models


def test_planar_numbers_are_those_of_test_draws(plane):
    book, models = plane
    PLANAR.measure(book, "checkerboard")
    problem = PLANAR.make_problem(book.config, "checkerboard")
    found = {(one.method, one.variant, one.metric, one.nfe): one for one in book.measurements if one.table == "fig3.5"}
    tests = {seed: problem.draws(seed, "test", 30) for seed in (1, 2)}
    raw = planar_set("checkerboard").sample(30, make_generator("diffflow", "checkerboard", 1, "test"))
    assert torch.equal(tests[1], problem.scale(raw).float())
    mean = np.mean([x[:, 0].mean().item() for x in tests.values()])
    sampling = {"DiffFlow": 5, "DDPM": 10, "FFJORD": None}
    zeros = torch.zeros(40, 2)
    for method, steps in sampling.items():
        assert found[method, "", "nll", None].value == pytest.approx(3 - mean, rel=1e-6)
        assert found[method, "", "nll", None].n_samples == 60 and found[method, "", "sw2", steps].n_samples == 80
        assert found[method, "", "sw2", steps].value == pytest.approx(np.mean([problem.distance(zeros, s) for s in (1, 2)]))
        off_support = planar_set("checkerboard").off_support(problem.scale.inverse(zeros))
        assert found[method, "", "off_support", steps].value == off_support
        first, second = models[method, 1].asked[:2]
        assert torch.equal(first[1], tests[1]) and first[2:] == (book.config.tolerance, derive_seed("diffflow", "probes", 1))
        assert second == ("sample", 40, derive_seed("diffflow", "samples", 1), None, {})
    assert found["DiffFlow", "ELBO", "nll", 5].value == pytest.approx(5 - mean, rel=1e-6)
    bound = next(call for call in models["DiffFlow", 2].asked if call[0] == "elbo")
    assert torch.equal(bound[1], tests[2]) and bound[2:] == (derive_seed("diffflow", "paths", 2),)
    ddim = [call[3] for call in models["DDPM", 1].asked if call[0] == "sample" and call[4] == {"deterministic": True}]
    assert ddim == [2, 4], "every distance is computed once"


def test_the_entropy_and_the_floor_of_standardised_data(plane):
    """h(z) = h(x) - sum log std; of the checkerboard h(x) = log 32."""
    book, _ = plane
    PLANAR.measure(book, "checkerboard")
    raw = planar_set("checkerboard").sample(500, make_generator("diffflow", "checkerboard", "train"))
    expected = math.log(32) - raw.std(0, correction=0).log().sum().item()
    found = {(one.method, one.metric): one for one in book.measurements}
    assert found["entropy of the data", "nll"].value == pytest.approx(expected, rel=1e-12)
    assert expected < math.log(32), "the board is wider than a unit"
    floor, problem = found["exact draws", "sw2"], PLANAR.make_problem(book.config, "checkerboard")
    values = [problem.distance(problem.draws(seed, "floor", 40), seed) for seed in (1, 2)]
    assert floor.value == pytest.approx(np.mean(values)) and (floor.n_samples, floor.over, floor.df) == (80, "runs", 1)
    assert book.arrays["samples/checkerboard/data"].shape == (40, 2)


def test_a_sweep_is_relative_to_its_largest_number_which_is_exact(tmp_path):
    """At the largest N the ratio is 1 whatever is drawn; before it, it has the error of its trainings."""
    book, values = book_of(PAPER, smoke(), "plane", tmp_path), {2: [2.0, 4.0], 4: [1.0, 2.0], 8: [1.0, 1.0]}

    def open_cell(table, n):
        return book.cell(table, "digits", "DDIM", "", n, n=70, over="trainings")

    METHODS.sweep(open_cell, (2, 4, 8), "fid", values.get)
    assert [(m.table, m.metric, m.nfe, m.value, m.stderr, m.over, m.n_samples) for m in book.measurements] == [
        ("3.4", "fid", 2, 3.0, 1.0, "trainings", 140),
        ("3.4", "fid", 4, 1.5, 0.5, "trainings", 140),
        ("3.4", "fid", 8, 1.0, 0.0, "trainings", 140),
        ("3.5", "fid_degeneracy", 2, 3.0, 1.0, "trainings", 140),
        ("3.5", "fid_degeneracy", 4, 1.5, 0.5, "trainings", 140),
        ("3.5", "fid_degeneracy", 8, 1.0, 0.0, "exact", 1),
    ]


def test_a_sweep_whose_largest_number_diverges_has_no_ratio(tmp_path):
    book = book_of(PAPER, smoke(), "plane", tmp_path)

    def values(n):
        if n == 4:
            raise Diverged("too far")
        return [1.0, 2.0]

    METHODS.sweep(lambda table, n: book.cell(table, "digits", "DDIM", "", n), (2, 4), "fid", values)
    assert [(m.table, m.nfe) for m in book.measurements] == [("3.4", 2)]
    assert [(row["table"], row["nfe"]) for row in book.skipped] == [("3.4", 4), ("3.5", 2), ("3.5", 4)]


def test_tabular_nll_is_in_the_units_of_the_data(monkeypatch, tmp_path):
    """-log p(x) = log_scale - log p(z): of the test rows, with the scale of the train rows."""
    generator = make_generator("table")
    parts = [torch.randn(50, 3, generator=generator, dtype=torch.float64) * scale for scale in (2.0, 3.0, 4.0)]
    from rescore.data.tabular import Tabular

    monkeypatch.setattr(TABULAR, "load_tabular", lambda name: Tabular(name, *parts))
    seen, validated_on = [], []

    def trainer(config, train, *names):
        return None, lambda x: seen.append(x) or torch.full((len(x),), -7.0), None

    for name in ("flow_trainer", "diffflow_trainer"):
        monkeypatch.setattr(TABULAR, name, trainer)
    monkeypatch.setattr(
        TABULAR, "stopped_at_best", lambda blank, train_to, loss, stops, folder: validated_on.append((loss(), stops))
    )
    book = book_of(PAPER, smoke(), "rest", tmp_path)
    TABULAR.measure(book, "wine")
    std = parts[0].std(0, correction=0)
    assert [(one.method, one.variant, one.n_samples) for one in book.measurements] == [
        ("DiffFlow", "ODE", 20),
        ("RealNVP", "", 20),
        ("MAF", "", 20),
        ("NSF", "", 20),
    ]
    for one in book.measurements:
        assert one.value == pytest.approx(7.0 + std.log().sum().item(), rel=1e-6)
    assert len(validated_on) == 8 and all(loss == 7.0 and stops == [2, 4] for loss, stops in validated_on)
    z = {name: ((part - parts[0].mean(0)) / std).float()[:10] for name, part in (("validation", parts[1]), ("test", parts[2]))}
    assert torch.allclose(seen[0], z["validation"]) and torch.allclose(seen[1], z["test"])


def test_missing_tables_are_skipped_by_their_printed_name(monkeypatch, tmp_path):
    from rescore.errors import MissingData

    def load(name):
        raise MissingData(f"{name} is nowhere")

    monkeypatch.setattr(TABULAR, "load_tabular", load)
    book = book_of(PAPER, smoke(), "rest", tmp_path)
    TABULAR.measure(book, "power")
    assert book.skipped == [{"table": "3.1", "dataset": "POWER", "reason": "power is nowhere"}]
