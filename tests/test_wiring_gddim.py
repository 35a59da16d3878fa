"""How gDDIM's sections are wired: which samplers on which models, what samples are compared with."""

import pytest
import torch
from measuring import book_of, configured
from rescore.models.evaluate import Sampling
from rescore.papers import load_config, load_paper
from rescore.problems.distances import off_data, off_modes
from rescore.problems.mixtures import nine_modes
from rescore.processes import CLD, VP
from rescore.processes.grids import quadratic
from rescore.random import make_generator
from rescore.samplers import euler_maruyama, gddim

PAPER = load_paper("gddim")
jobs, tables = PAPER.module("jobs"), PAPER.module("tables")
PROCESSES = {"vp": VP(), "bdm": jobs.PROCESSES["BDM"], "cld": CLD()}


class Models:
    """What `trained` asks of trained models: it keeps every sampling."""

    def __init__(self, names):
        self.names, self.samplings, self.floors, self.costs = names, [], [], 0

    def process(self, name):
        return PROCESSES[name]

    def measure(self, samplings, label):
        self.samplings += samplings

    def floor(self, table):
        self.floors.append(table)

    def training(self):
        self.costs += 1


def sampled(names, monkeypatch, tmp_path) -> Models:
    models = Models(names)
    monkeypatch.setattr(jobs, "TrainedModels", lambda book: models)
    jobs.trained(book_of(PAPER, load_config(PAPER, "smoke"), "exact", tmp_path))
    return models


def test_samplings_of_trained_models(monkeypatch, tmp_path):
    models = sampled(("vp", "bdm", "cld"), monkeypatch, tmp_path)
    assert models.floors == ["7.3"] and models.costs == 1
    assert {one.table for one in models.samplings} == {"7.1", "7.2", "7.3"}
    for one in models.samplings:
        process = models.process(one.model)
        assert one.sampler.process is process and (one.sampler.times[0], one.sampler.times[-1]) == (process.T, process.eps)
        if one.table != "7.3":
            assert one.model == "cld" and one.sampler.denoise == "euler" and one.protocol["grid"] == "quadratic"
        else:
            assert one.variant == {"vp": "DDPM", "bdm": "BDM", "cld": "CLD"}[one.model] and one.sampler.denoise == "none"
            assert one.protocol["grid"] == ("rho_power" if one.method == "2nd Heun" else "quadratic")
    assert {one.variant for one in models.samplings if one.table == "7.1"} == {"K=R", "K=L"}


def test_a_job_without_cld_has_table_7_3_alone(monkeypatch, tmp_path):
    models = sampled(("bdm",), monkeypatch, tmp_path)
    assert {(one.table, one.model) for one in models.samplings} == {("7.3", "bdm")}


def test_evaluations_are_what_the_cells_say():
    """The denoising step is one of them; rows that nobody printed have no long column."""
    config = load_config(PAPER, "laptop")
    for one in tables.factors(config.factors, CLD(), (1, 3)):
        assert one.sampler.nfe in config.factors.nfes and one.sampler.steps == one.sampler.nfe - 1
    long = {one.method for one in tables.grid(config.grid, "BDM", PROCESSES["bdm"]) if one.sampler.nfe == 1000}
    assert long == {"gDDIM", "Ancestral"}
    assert {one.sampler.nfe for one in tables.adaptive(config.grid, "CLD", CLD())} == {None}


@pytest.fixture
def book(tmp_path):
    config = configured(
        PAPER,
        {
            "seeds": [3, 4],
            "samples": 3,
            "samples_2d": 5,
            "projections": 8,
            "reference_steps": 8,
            "jobs": {"a": {"measure": ["grid"]}},
        },
    )
    return book_of(PAPER, config, "a", tmp_path)


def test_a_cell_holds_the_distances_of_a_samplers_data(book):
    """From the named draws of the prior, with the named noise, to the named reference."""
    case, process = jobs.Case.of(book, "mixture2d_grid", "CLD"), CLD()
    sampler = euler_maruyama(process, quadratic(process, 6), denoise="euler")
    case.measure([Sampling("7.2", "EM", "lam=1", "cld", sampler, {"lam": 1.0})], "", case.distances)
    generators = [make_generator("gddim", "mixture2d_grid", "CLD", "prior", seed) for seed in (3, 4)]
    start = torch.cat([process.prior_sample((5, 2, 2), generator, torch.float64) for generator in generators])
    u = sampler(case.problem.score, start, make_generator("gddim", "7.2", "mixture2d_grid", "EM", "lam=1", 6))
    x = u[:, 0].reshape(2, 5, 2)
    found = {row.metric: row for row in book.measurements}
    assert found["off_mode"].value == pytest.approx(sum(off_modes(x, nine_modes(1.0), 0.4)) / 2)
    assert (found["sw2"].nfe, found["sw2"].n_samples, found["sw2"].protocol["denoise"]) == (7, 10, "euler")
    digits = jobs.Case.of(book, "digits_exact", "DDPM")
    digits.measure([Sampling("7.3", "x", "", "vp", gddim(VP(), quadratic(VP(), 4)), {})], "", digits.distances)
    x = gddim(VP(), quadratic(VP(), 4))(digits.problem.score, digits.start).reshape(2, 3, 1, 8, 8)
    row = next(row for row in book.measurements if row.metric == "off_data")
    assert row.value == pytest.approx(sum(off_data(x, digits.problem.points)) / 2) and row.protocol["dtype"] == "float32"


def test_an_adaptive_cell_stands_at_the_evaluations_it_took(book):
    case = jobs.Case.of(book, "digits_exact", "DDPM")
    (one, *_) = tables.adaptive(book.config.grid, "DDPM", VP())
    case.measure([one], "", case.distances)
    taken = one.sampler.solve(case.problem.score, case.start).nfe
    assert {row.nfe for row in book.measurements} == {taken} and taken > 7


def test_phases_go_from_fully_mixed_to_one_mode():
    """Of four far points under VP: nearly equal weights at T, one of nearly 1 at the end; mixing lies between."""
    paths = PAPER.module("paths")
    points = paths.dirac_mixtures()["four_points"]
    problem = paths.ExactProblem.of_points("four_points", VP(), points, ("test",), (0, 1), 6)
    rates, which, times = paths.phases_of(problem, 60)
    assert rates.shape == which.shape == (59, 12) and len(times) == 60
    assert (which[0] == 0).all() and (which[-1] == 2).all() and (which.diff(dim=0) >= 0).double().mean() > 0.98
    assert (which == 1).any(0).all() and rates[which == 1].mean() > 5 * rates[0].mean()


def test_one_score_gives_another():
    """Prop. 8 as it is written, on one digit; on all digits it is no identity."""
    paths, process = PAPER.module("paths"), CLD()
    points = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 1, 2, 3)
    for data, bound in ((points[:1], 1e-8), (points, None)):
        error = paths.recovery_error(process, paths.EmpiricalData(process, data), 5, "CLD", 0)
        assert error < bound if bound else error > 1e-3


def test_change_along_a_path_is_that_of_the_channels_that_enter():
    paths, process = PAPER.module("paths"), CLD()
    times = torch.tensor([0.8, 0.5, 0.2], dtype=torch.float64)
    eps = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for factor in "RL":
        scores = torch.stack([-process.K(t, factor).T.inv()(eps) for t in times.tolist()])
        noise = paths.noise_along(process, factor, times, scores)
        assert torch.allclose(noise, eps[:, paths.CHANNELS[factor]].expand(3, -1, -1, -1), atol=1e-9)
        assert paths.spread(noise) < 1e-9
    assert paths.spread(torch.tensor([0.0, 2.0]).reshape(2, 1, 1)) == pytest.approx(1.0)


def test_correctors_and_predictors_take_the_same_evaluations():
    config = load_config(PAPER, "laptop")
    cells = list(tables.corrected(config.corrected, CLD()))
    assert {one.sampler.nfe for one in cells} == set(config.corrected.nfes)
    assert {type(one.sampler).__name__ for one in cells if one.method == "predictor-corrector"} == {"GDDIMCorrected"}
    held = list(tables.held(config.held, "DDPM", VP()))
    assert [one.variant for one in held] == [f"DDPM, at most {nfe}" for nfe in config.held.nfes]
    assert [(one.sampler.most, one.sampler.times) for one in held] == [(nfe, [1.0, VP().eps]) for nfe in config.held.nfes]


def test_a_phase_that_a_seed_never_enters_has_no_rate(monkeypatch, tmp_path):
    """Not a rate of 0, which would speak for the claims on fig. 7.2; the share is 0."""
    paths, config = PAPER.module("paths"), load_config(PAPER, "smoke")
    states = config.samples * len(config.seeds)
    which = torch.full((3, states), 1)
    which[0], which[2, : config.samples] = 0, 2  # the second seed ends before one mode dominates
    found = torch.ones(3, states), which, torch.tensor([0.9, 0.5, 0.1, 0.01])
    monkeypatch.setattr(paths, "phases_of", lambda problem, steps: found)
    book = book_of(PAPER, config, "more", tmp_path)
    paths.phases(book)
    rows = {(row.variant, row.metric): row.value for row in book.measurements if row.dataset == "four_points"}
    assert rows["fully mixed", "noise_rate"] == rows["mixing", "noise_rate"] == 1 and ("one mode", "noise_rate") not in rows
    assert rows["one mode", "share"] == pytest.approx(1 / 6)
    reasons = {(one["dataset"], one["variant"], one["reason"]) for one in book.skipped}
    assert ("four_points", "one mode", "noise_rate: no state of a seed is in this phase") in reasons and len(reasons) == 2
