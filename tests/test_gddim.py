"""The gDDIM folder: facts of the paper on exact scores, a smoke-config run, and what its claims select."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pinned import check_pinned

from rescore.ledger.claims import evaluate
from rescore.ledger.published import read_published
from rescore.ledger.records import Record
from rescore.papers import load_config, load_paper
from rescore.processes import CLD
from rescore.processes.grids import quadratic
from rescore.samplers import euler_maruyama, gddim, gddim_stochastic

PAPER = load_paper("gddim", Path(__file__).parents[1])
jobs, problems = PAPER.module("jobs"), PAPER.module("problems")


@pytest.mark.parametrize("name", ["DDPM", "BDM", "CLD"])
@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_one_stochastic_step_recovers_the_law_of_one_point(name, lam):
    """Prop. 8: with one data point the mean of a single step is exact, whatever lambda."""
    problem = problems.one_point(name)
    process = problem.process
    u = problem.start((0,), 3)
    t0 = 0.3
    step = gddim_stochastic(process, [process.T, t0], lam)
    mean = step.A[0](u) + step.B[0](problem.score(u, process.T))
    x = process.embed(problem.exact(0, 1)[:1])
    residual = u - process.mean(process.T)(x)
    expected = process.mean(t0)(x) + process.Psi_hat(t0, process.T, lam)(residual)
    assert (mean - expected).abs().max() < 1e-9 * residual.abs().max()


def test_a_released_drift_has_other_marginals():
    """(1 + lam)/2 before the score is eq. 7.6 at lam = 0 and 1 only."""
    process = CLD()
    times = quadratic(process, 3)
    for lam, equal in ((0.0, True), (0.5, False), (1.0, True)):
        ours, released = euler_maruyama(process, times, lam), PAPER.module("tables").released_euler_maruyama(process, times, lam)
        ratio = (released.B[0].values[1, 1] / ours.B[0].values[1, 1]).item()
        assert math.isclose(ratio, (1 + lam) / (1 + lam**2), rel_tol=1e-12)
        assert (ratio == 1) is equal


def test_the_reference_solution_is_exact_on_one_point():
    """Against the closed form, and so is a step of any length under R_t but not under L_t."""
    problem = problems.one_point("CLD")
    process, u = problem.process, problem.start((0,), 4)
    exact = jobs._one_point_flow(problem, u)
    assert (problem.solve(u, 20) - exact).abs().max() < 1e-10
    one = quadratic(process, 1)
    error = {factor: (gddim(process, one, factor=factor)(problem.score, u) - exact).abs().max() for factor in "RL"}
    assert error["R"] < 1e-9 and error["L"] > 1e3


def test_traces_along_the_flow():
    """eps under R is constant on one point; the trace starts at the given states."""
    problem = problems.one_point("CLD")
    u = problem.start((0, 1), 2)
    times, states, scores = problem.trace(u, 10)
    assert states.shape == scores.shape == (10, 2, 4, 1, 8, 8) and times[0] == problem.process.T
    torch.testing.assert_close(states[0].transpose(0, 1), u)
    epsilon = -problem.process.K(times, "R").T(scores)
    assert (epsilon - epsilon[0]).abs().max() < 1e-9
    under_l = -problem.process.K(times, "L").T(scores)
    assert (under_l - under_l[0])[:, 1].abs().max() > 0.1


@pytest.fixture(scope="module")
def smoke():
    """The smoke config's records, made in this process with still fewer samples."""
    smaller = {"samples": 2, "samples_2d": 8, "reference_steps": 20, "factor_nfes": (10, 20)}
    smaller |= {"grid_nfes": (10,), "long_nfe": 12}
    config = load_config(PAPER, "smoke").model_copy(update=smaller)
    job = config.jobs["exact"].model_copy(update={"models": ()})
    return config, job, jobs.measure(job, config, None)


def test_smoke_run(smoke):
    config, job, result = smoke
    keys = [(m.table, m.dataset, m.method, m.variant, m.metric, m.nfe) for m in result.measurements]
    assert len(keys) == len(set(keys))
    assert {m.table for m in result.measurements} == {"prop7", "fig7.1", "7.1", "7.2", "7.3"}
    for m in result.measurements:
        assert math.isfinite(m.value) and m.stderr >= 0 and m.n_seeds == (1 if m.over == "exact" else len(config.seeds))
    recovered = [m for m in result.measurements if (m.metric, m.dataset, m.nfe) == ("recovery_rmse", "one_point", 1)]
    one_step = {m.variant: m.value for m in recovered}
    assert max(one_step[f"{name}, K=R"] for name in ("DDPM", "BDM", "CLD")) < 1e-9 and one_step["CLD, K=L"] > 1e3


def test_numbers_are_what_they_were(smoke):
    check_pinned("gddim", smoke[2].measurements, smoke[2])


def test_same_seed_same_records(smoke):
    config, job, result = smoke
    again = jobs.measure(job.model_copy(update={"measure": ("lambdas",)}), config, None)
    wanted = [(m.table, m.method, m.variant, m.nfe, m.value) for m in result.measurements if m.table == "7.2"]
    assert [(m.table, m.method, m.variant, m.nfe, m.value) for m in again.measurements] == wanted


def test_claims_select_records(smoke):
    """At smoke scale some cells are missing, but no claim may be ambiguous, and the exact ones hold."""
    _, _, result = smoke
    records = [
        Record("gddim", m.table, m.dataset, m.method, m.variant, m.metric, m.nfe, m.value, m.stderr, m.df, m.over, m.n_seeds,
               m.n_samples, "", "smoke", "cpu", m.seconds, "0", "0")
        for m in result.measurements
    ]  # fmt: skip
    rows = {line["claim"]: line["status"] for line in evaluate("gddim", PAPER.module("claims").CLAIMS, records)}
    assert len(rows) >= 7 and "broken" not in rows.values()
    for name in ("one-step-recovery", "one-step-needs-r", "noise-constant", "noise-flat-on-data"):
        assert rows[name] == "holds"
    assert rows["fifty-times-euler"] == "not-run"


def test_the_long_column_is_another_one():
    with pytest.raises(ValueError, match="long_nfe"):
        PAPER.module("config").Config(jobs={}, grid_nfes=(10, 20), long_nfe=20)


def test_laptop_covers_the_printed_rows():
    """Every printed cell's evaluations are in the laptop config, and every claim's lambda."""
    config = load_config(PAPER, "laptop")
    printed = read_published(PAPER.folder / "published.csv", "gddim")
    assert len(printed) == 75
    assert {row.nfe for row in printed if row.table in ("7.1", "section-7.1")} <= set(config.factor_nfes)
    assert {row.nfe for row in printed if row.table == "7.3"} <= {*config.grid_nfes, config.long_nfe}
    assert {row.variant for row in printed if row.table == "7.2"} == {f"lam={lam:g}" for lam in config.lambdas}


def test_exact_draws_of_the_digits_are_data():
    """`off_data` of draws of the data is 0 whatever is drawn, without an error; their sw2 has one."""
    config = load_config(PAPER, "smoke")
    points = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem = SimpleNamespace(
        name="CLD", dataset="digits_exact", dtype=torch.float64, modes=None, exact=lambda seed, n: points,
        draws=lambda seed, n: points[torch.randint(5, (n,), generator=torch.Generator().manual_seed(seed))],
    )  # fmt: skip
    book = jobs.Book(config=config)
    book.floor("7.1", problem, 5)
    found = {m.metric: (m.over, m.df) for m in book.measurements}
    assert found == {"off_data": ("exact", None), "sw2": ("runs", 1)}
    assert [m.value for m in book.measurements if m.metric == "off_data"] == [0.0]
