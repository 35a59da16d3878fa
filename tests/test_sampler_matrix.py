"""The matrix: every public sampler with every process that the samplers' own table gives it, and what its job writes."""

import re
from functools import partial

import pytest
from measuring import book_of, measured
from pinned import check_pinned
from rescore import samplers
from rescore.errors import Diverged, RescoreError
from rescore.ledger.published import read_published
from rescore.papers import load_config, load_paper
from rescore.processes import CLD, Blurring, Isotropic, LinearSDE
from rescore.samplers import Method

PAPER = load_paper("sampler_matrix")
methods = PAPER.module("methods")
KINDS = {"all": LinearSDE, "isotropic": Isotropic, "isotropic, blurring": (Isotropic, Blurring), "CLD": CLD}


def promised():
    """Sampler name -> process classes, from the table in the docstring of rescore.samplers."""
    table = {}
    for line in samplers.__doc__.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `") and not cells[1].startswith("corruptions"):
            for name in re.findall(r"`(\w+)`", cells[0]):
                table[name] = KINDS[cells[1]]
    return table


def public():
    """The methods that rescore.samplers offers, by name."""
    return {name: getattr(samplers, name) for name in samplers.__all__ if isinstance(getattr(samplers, name), Method)}


def test_every_public_method_is_a_row_and_applies_to_what_its_table_says():
    assert {name: method.applies for name, method in public().items()} == promised()
    assert {method.make for method in public().values()} == {method.make for method in methods.METHODS.values()}


@pytest.mark.parametrize("process", methods.PROCESSES.values(), ids=methods.PROCESSES)
def test_a_method_refuses_what_it_does_not_apply_to_and_nothing_else(process):
    for name, method in methods.METHODS.items():
        make = method.where(**methods.options(name, process))
        if method.applies_to(process):
            assert isinstance(make(process, methods.grid(process, 4)), samplers.Sampler)
        else:
            with pytest.raises(RescoreError, match="does not apply to"):
                make(process, methods.grid(process, 4))


def test_scales():
    assert read_published(PAPER.folder / "published.csv", "sampler_matrix") == []
    for scale in PAPER.scales:
        config = load_config(PAPER, scale)
        subjects = [step.subject for job in config.jobs.values() for step in job.steps]
        assert sorted(subjects) == sorted(methods.PROCESSES)
    assert load_config(PAPER, "laptop").budgets == (5, 10, 20, 50, 100, 1000)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The whole matrix at 5 and 10 evaluations."""
    config = load_config(PAPER, "smoke").model_copy(update={"samples": 2, "projections": 4})
    return measured(PAPER, config, "all", tmp_path_factory.mktemp("matrix"))


def test_every_cell_is_measured_or_has_a_reason(result):
    budgets = load_config(PAPER, "smoke").budgets
    applied = [
        (m, p) for p, process in methods.PROCESSES.items() for m, make in methods.METHODS.items() if make.applies_to(process)
    ]
    wanted = {(m, p, b) for m, p in applied for b in budgets}
    rows = [row for row in result.measurements if row.metric == "sw2" and row.method != "exact draws"]
    found = {(row.method, row.variant, row.protocol["budget"]) for row in rows}
    skipped = {(row["method"], row["variant"], row["nfe"]) for row in result.skipped}
    assert found | skipped == wanted and not found & skipped
    assert all(row["reason"] for row in result.skipped)
    assert all(row.nfe <= row.protocol["budget"] and row.stderr is not None for row in rows)
    # Five Langevin steps at two levels are ten evaluations.
    reasons = {(row["method"], row["nfe"]): row["reason"] for row in result.skipped}
    assert "5 evaluations are not enough: one step of this sampler takes 10" in reasons["annealed Langevin", 5]


def test_a_budget_gets_the_tightest_tolerance_that_it_pays_for(tmp_path):
    """Budgets about what the tolerances take; here the loosest is dearer than the next, and so is nobody's."""
    jobs, config = PAPER.module("jobs"), load_config(PAPER, "smoke").model_copy(update={"samples": 2})
    make, taken = methods.METHODS["adaptive SDE"], {}
    column = jobs.Column.of(book_of(PAPER, config, "all", tmp_path), "VP")
    problem = column.problem
    for tolerance in (1.0, 0.1, 0.01):
        sampler = make(problem.process, [1.0, 1e-3], tolerance=tolerance)
        assert sampler.atol == sampler.tolerance == tolerance
        noise = problem.streams("matrix", "adaptive SDE", "VP", tolerance)
        taken[tolerance] = sampler.solve(problem.score, column.start, noise)
    loosest, loose, tight = (found.nfe for found in taken.values())
    assert loose < loosest < tight
    budgets = {"budgets": (loose - 1, loose, loosest, tight), "tolerances": (1.0, 0.1, 0.01, 1e-4)}
    column = jobs.Column.of(book_of(PAPER, config.model_copy(update=budgets), "all", tmp_path), "VP")
    jobs.adaptive(column, "adaptive SDE", make, partial(column.run, metrics={"mean": lambda x: x.flatten(1).mean(1).tolist()}))
    rows = {row.protocol["tolerance"]: row for row in column.book.measurements}
    assert {tolerance: (row.nfe, row.protocol["budget"]) for tolerance, row in rows.items()} == {
        0.1: (loose, loose),
        0.01: (tight, tight),
    }
    for tolerance, row in rows.items():
        assert row.value == pytest.approx(taken[tolerance].u.mean().item(), rel=1e-9)
    assert [(row["nfe"], row["reason"]) for row in column.book.skipped] == [
        (loose - 1, f"its loosest tolerance 1 takes {loosest} evaluations"),
        (loosest, f"no listed tolerance takes more than {loose} and at most {loosest} evaluations"),
    ]


def test_tolerances_and_budgets_may_stand_in_any_order(tmp_path):
    """The loosest is tried first, wherever it stands; else what the dearest takes would end the search before it."""
    jobs, config = PAPER.module("jobs"), load_config(PAPER, "smoke").model_copy(update={"samples": 2})

    def found(budgets, tolerances):
        rows, order = [], {"budgets": budgets, "tolerances": tolerances}
        book = book_of(PAPER, config.model_copy(update=order), "all", tmp_path)
        run = lambda one, solve: rows.append((dict(one.protocol), solve().nfe))  # noqa: E731
        jobs.adaptive(jobs.Column.of(book, "VP"), "RK45", methods.METHODS["RK45"], run)
        return rows, book.skipped

    rows, skipped = found((40, 120), (0.1, 1e-6))
    assert found((120, 40), (1e-6, 0.1)) == (rows, skipped) and len(rows) == len(skipped) == 1


def test_a_tolerance_that_diverges_costs_only_its_own_budgets(tmp_path):
    """A solution that is not finite at the loosest tolerance leaves the tighter ones; where all do, each budget says so."""
    jobs, config = PAPER.module("jobs"), load_config(PAPER, "smoke").model_copy(update={"samples": 2})
    make = methods.METHODS["adaptive SDE"]

    def broken(process, times, *, tolerance, **options):
        sampler = make(process, times, tolerance=tolerance, **options)
        if tolerance >= bad:
            sampler.solve = lambda score, u, generator: (_ for _ in ()).throw(Diverged(f"not finite at {tolerance:g}"))
        return sampler

    for bad, kept in ((1.0, 0.1), (0.1, None)):
        budgets = {"budgets": (1, 500), "tolerances": (1.0, 0.1)}
        book = book_of(PAPER, config.model_copy(update=budgets), "all", tmp_path / f"{bad:g}")
        column = jobs.Column.of(book, "VP")
        jobs.adaptive(
            column, "adaptive SDE", broken, partial(column.run, metrics={"mean": lambda x: x.flatten(1).mean(1).tolist()})
        )
        assert [row.protocol["tolerance"] for row in book.measurements] == ([kept] if kept else [])
        reason = "its loosest tolerance 1 diverged: not finite at 1"
        assert [(row["nfe"], row["reason"]) for row in book.skipped] == [(n, reason) for n in ((1,) if kept else (1, 500))]


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


def test_the_same_seeds_give_the_same_numbers(result, tmp_path):
    config = load_config(PAPER, "smoke").model_copy(update={"samples": 2, "projections": 4, "budgets": (5,)})
    job = config.jobs["all"].model_copy(update={"measure": {"VP": ("column",)}})
    rows = measured(PAPER, config.model_copy(update={"jobs": {"all": job}}), "all", tmp_path).measurements
    again = {(row.method, row.metric): row.value for row in rows if row.nfe == 5}
    before = {(row.method, row.metric): row.value for row in result.measurements if (row.variant, row.nfe) == ("VP", 5)}
    assert again == before
