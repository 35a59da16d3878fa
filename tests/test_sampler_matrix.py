"""The matrix: every public sampler with every process that the samplers' own table says it applies to, and what its job writes."""

import re

import pytest
from pinned import check_pinned

from rescore import samplers
from rescore.ledger.published import read_published
from rescore.papers import load_config, load_paper
from rescore.processes import CLD, Blurring, Isotropic

PAPER = load_paper("sampler_matrix")
methods, jobs = PAPER.module("methods"), PAPER.module("jobs")
KINDS = {"all": object, "isotropic": Isotropic, "isotropic, blurring": (Isotropic, Blurring), "CLD": CLD}
NOT_ROWS = {"Sampler", "within_budget", "langevin"}  # the base class, a helper, and a chain without a process
NOT_ROWS |= {"NaiveSampler", "MomentumSampler", "FlowMomentumSampler", "uniform_times"}  # of corruptions, which are no processes


def promised():
    """Sampler name -> process classes, from the table in the docstring of rescore.samplers."""
    table = {}
    for line in samplers.__doc__.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `") and not cells[1].startswith("corruptions"):
            for name in re.findall(r"`(\w+)`", cells[0]):
                table[name] = KINDS[cells[1]]
    return table


def constructor(make):
    """The public name behind a row."""
    made = getattr(make, "func", make)
    return "AnnealedLangevin" if made is methods.annealed_langevin else made.__name__


def test_every_public_sampler_is_a_row():
    public = set(samplers.__all__) - NOT_ROWS
    assert public == set(promised())
    assert public == {constructor(make) for make in methods.METHODS.values()}


@pytest.mark.parametrize("process", methods.PROCESSES)
def test_every_process_that_a_sampler_says_it_applies_to(process):
    accepted = {method for method, _ in jobs.cells(process)}
    kinds = promised()
    wanted = {m for m, make in methods.METHODS.items() if isinstance(methods.PROCESSES[process], kinds[constructor(make)])}
    assert accepted == wanted


def test_scales():
    assert read_published(PAPER.folder / "published.csv", "sampler_matrix") == []
    for scale in PAPER.scales:
        config = load_config(PAPER, scale)
        measured = [process for job in config.jobs.values() for process in job.processes]
        assert sorted(measured) == sorted(methods.PROCESSES)
    assert load_config(PAPER, "laptop").budgets == (5, 10, 20, 50, 100, 1000)


@pytest.fixture(scope="module")
def result():
    """The whole matrix at 5 and 10 evaluations."""
    config = load_config(PAPER, "smoke").model_copy(update={"samples": 2, "projections": 4})
    return jobs.measure(config.jobs["all"], config, None)


def test_every_cell_is_measured_or_has_a_reason(result):
    budgets = load_config(PAPER, "smoke").budgets
    wanted = {(m, p, b) for p in methods.PROCESSES for m, _ in jobs.cells(p) for b in budgets}
    rows = [row for row in result.measurements if row.metric == "sw2" and row.method != "exact draws"]
    measured = {(row.method, row.variant, row.protocol["budget"]) for row in rows}
    skipped = {(row["method"], row["variant"], row["nfe"]) for row in result.skipped}
    assert measured | skipped == wanted and not measured & skipped
    assert all(row["reason"] for row in result.skipped)
    assert all(row.nfe <= row.protocol["budget"] and row.stderr is not None for row in rows)
    # Five Langevin steps at two levels are ten evaluations.
    reasons = {(row["method"], row["nfe"]): row["reason"] for row in result.skipped}
    assert "5 evaluations are not enough: one step of this sampler takes 10" in reasons["annealed Langevin", 5]


def test_numbers_are_what_they_were(result):
    check_pinned("sampler_matrix", result.measurements, result)


def test_keys_are_unique_and_errors_belong_to_solvers(result):
    keys = [(row.method, row.variant, row.metric, row.nfe) for row in result.measurements]
    assert len(keys) == len(set(keys))
    assert {row.method for row in result.measurements if row.metric == "solver_rmse"} <= set(methods.DETERMINISTIC)


def test_equal_samplers_give_equal_numbers(result):
    """gDDIM of order 1 is DDIM on isotropic processes."""
    values = {(row.method, row.variant, row.metric, row.nfe): row.value for row in result.measurements}
    for process in ("VE", "VP", "cosine VP", "sub-VP"):
        for nfe in (5, 10):
            for metric in ("sw2", "solver_rmse"):
                assert values["gDDIM-1", process, metric, nfe] == pytest.approx(values["DDIM", process, metric, nfe], rel=1e-6)


def test_the_same_seeds_give_the_same_numbers(result):
    config = load_config(PAPER, "smoke").model_copy(update={"samples": 2, "projections": 4, "budgets": (5,)})
    job = config.jobs["all"].model_copy(update={"processes": ("VP",)})
    again = {(row.method, row.metric): row.value for row in jobs.measure(job, config, None).measurements if row.nfe == 5}
    before = {(row.method, row.metric): row.value for row in result.measurements if (row.variant, row.nfe) == ("VP", 5)}
    assert again == before
