"""The gDDIM folder: facts of the paper on exact scores, a smoke-config run, and what its claims select."""

import math

import pytest
from ledger_case import record
from matplotlib.figure import Figure
from measuring import configured, measured
from pinned import check_pinned
from rescore import figures as draw
from rescore.errors import RescoreError
from rescore.experiments.book import Book
from rescore.figures import PaperResults
from rescore.ledger.claims import evaluate
from rescore.ledger.published import read_published
from rescore.ledger.records import Record
from rescore.papers import load_config, load_paper
from rescore.problems.flow import by_gddim, of_one_point
from rescore.processes import CLD
from rescore.processes.grids import quadratic
from rescore.samplers import euler_maruyama, gddim, gddim_stochastic
from trained_case import trained_models

PAPER = load_paper("gddim")
jobs, tables = PAPER.module("jobs"), PAPER.module("tables")


def one_point(name, n):
    """The problem, and n draws of its prior."""
    config = configured(PAPER, {"seeds": [0, 1], "samples": n, "jobs": {}})
    problem = jobs.Case.of(Book(config), "one_point", name).problem
    return problem, problem.start()[:n]


@pytest.mark.parametrize("name", ["DDPM", "BDM", "CLD"])
@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_one_stochastic_step_recovers_the_law_of_one_point(name, lam):
    """Prop. 8: with one data point the mean of a single step is exact, whatever lambda."""
    problem, u = one_point(name, 3)
    process = problem.process
    t0 = 0.3
    step = gddim_stochastic(process, [process.T, t0], lam)
    mean = step.A[0](u) + step.B[0](problem.score(u, process.T))
    x = process.embed(problem.points)
    residual = u - process.mean(process.T)(x)
    expected = process.mean(t0)(x) + process.Psi_hat(t0, process.T, lam)(residual)
    assert (mean - expected).abs().max() < 1e-9 * residual.abs().max()


def test_a_released_drift_has_other_marginals():
    """(1 + lam)/2 before the score is eq. 7.6 at lam = 0 and 1 only."""
    process = CLD()
    times = quadratic(process, 3)
    for lam, equal in ((0.0, True), (0.5, False), (1.0, True)):
        ours, released = euler_maruyama(process, times, lam), tables.released_euler_maruyama(process, times, lam)
        ratio = (released.B[0].values[1, 1] / ours.B[0].values[1, 1]).item()
        assert math.isclose(ratio, (1 + lam) / (1 + lam**2), rel_tol=1e-12)
        assert (ratio == 1) is equal


def test_one_step_recovers_the_point_under_r_alone():
    """Prop. 7: a step of any length under R_t is the exact flow, under L_t it is not; nor does the reference solver err."""
    problem, u = one_point("CLD", 4)
    process = problem.process
    exact = of_one_point(process, problem.points[0], u, process.eps)
    assert (by_gddim(process, problem.score, u, 20) - exact).abs().max() < 1e-10
    one = quadratic(process, 1)
    error = {factor: (gddim(process, one, factor=factor)(problem.score, u) - exact).abs().max() for factor in "RL"}
    assert error["R"] < 1e-9 and error["L"] > 1e3


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """What the smoke config measures on exact scores, with still fewer samples."""
    config = load_config(PAPER, "smoke")
    changes = {
        "factors": config.factors.model_copy(update={"nfes": (10, 20)}),
        "grid": config.grid.model_copy(update={"nfes": (10,), "long_nfe": 12}),
    }
    job = config.jobs["exact"].model_copy(update={"measure": ("recovery", "noise", "factors", "lambdas", "grid"), "models": ()})
    config = config.model_copy(update=changes | {"samples": 2, "samples_2d": 8, "reference_steps": 20, "jobs": {"exact": job}})
    return config, measured(PAPER, config, "exact", tmp_path_factory.mktemp("gddim"))


def test_smoke_run(smoke):
    config, result = smoke
    keys = [(m.table, m.dataset, m.method, m.variant, m.metric, m.nfe) for m in result.measurements]
    assert len(keys) == len(set(keys))
    assert {m.table for m in result.measurements} == {"prop7", "fig7.1", "7.1", "7.2", "7.3"}
    for m in result.measurements:
        assert math.isfinite(m.value) and m.stderr >= 0 and m.n_seeds == (1 if m.over == "exact" else len(config.seeds))
    recovered = [m for m in result.measurements if (m.metric, m.dataset, m.nfe) == ("recovery_rmse", "one_point", 1)]
    one_step = {m.variant: m.value for m in recovered}
    assert max(one_step[f"{name}, K=R"] for name in ("DDPM", "BDM", "CLD")) < 1e-9 and one_step["CLD, K=L"] > 1e3


def test_numbers_are_what_they_were(smoke):
    check_pinned("gddim", smoke[1].measurements, smoke[1])


def test_the_image_beside_one_step_is_where_it_began(smoke):
    config, result = smoke
    for name in jobs.PROCESSES:
        problem = jobs.Case.of(Book(config), "one_point", name).problem
        assert (result.arrays[f"recovery/start, {name}"] == problem.process.project(problem.start())[0, 0].numpy()).all()


def test_same_seed_same_records(smoke, tmp_path):
    config, result = smoke
    job = config.jobs["exact"].model_copy(update={"measure": ("lambdas",)})
    again = measured(PAPER, config.model_copy(update={"jobs": {"exact": job}}), "exact", tmp_path)
    wanted = [(m.table, m.method, m.variant, m.nfe, m.value) for m in result.measurements if m.table == "7.2"]
    assert [(m.table, m.method, m.variant, m.nfe, m.value) for m in again.measurements] == wanted


def records_of(result):
    return [
        Record(
            "gddim",
            m.table,
            m.dataset,
            m.method,
            m.variant,
            m.metric,
            m.nfe,
            m.value,
            m.stderr,
            m.df,
            m.over,
            m.n_seeds,
            m.n_samples,
            "",
            "smoke",
            "cpu",
            m.seconds,
            "0",
            "0",
        )
        for m in result.measurements
    ]


def test_claims_select_records(smoke):
    """At smoke scale some cells are missing, but no claim may be ambiguous, and the exact ones hold."""
    claims = PAPER.module("claims").CLAIMS
    rows = {line["claim"]: line["status"] for line in evaluate("gddim", claims, records_of(smoke[1]))}
    assert set(rows) == {claim.name for claim in claims} and "broken" not in rows.values()
    for name in ("one-step-recovery", "one-step-needs-r", "noise-constant", "noise-flat-on-data"):
        assert rows[name] == "holds"
    assert rows["fifty-times-euler"] == "not-run"


def test_claims_on_the_tables_hold_on_the_printed_numbers():
    """As if they were measured on each data set, by each of its metrics, almost without error; `>100` as 100, Heun as RK45."""
    places = [("digits", "fid"), ("mnist", "fid"), ("mixture2d_grid", "off_mode"), ("digits_exact", "off_data")]
    places += [(dataset, metric) for dataset in ("digits_exact", "mixture2d_grid") for metric in ("sw2", "solver_rmse")]
    rows = []
    for row in read_published(PAPER.folder / "published.csv", "gddim"):
        if row.table in ("7.1", "7.2", "7.3"):
            keys = [{"method": row.method, "variant": row.variant, "nfe": row.nfe}]
            if row.method == "Prob.Flow RK45":
                keys += [keys[0] | {"method": "Prob.Flow Heun"}]
                keys += [keys[0] | {"variant": tables.AT_MOST(process=row.variant, nfe=row.nfe), "nfe": None}]
            of = {"paper": "gddim", "table": row.table, "value": float(row.value.lstrip(">")), "stderr": 1e-4}
            rows += [record(**of, **key, dataset=dataset, metric=metric) for key in keys for dataset, metric in places]
    lines = evaluate("gddim", PAPER.module("claims").CLAIMS, rows)
    found = {line["claim"]: line["status"] for line in lines if line["status"] != "not-run"}
    of_distances = {"l-breaks-down", "fifty-suffice", "samplers-meet"}  # their bounds are no FIDs
    assert {name for name, status in found.items() if status != "holds"} == of_distances and len(found) == 43


def test_the_long_column_is_another_one():
    with pytest.raises(RescoreError, match="grid: long_nfe: 20 is already one of nfes"):
        configured(PAPER, {"jobs": {}, "grid": {"nfes": [10, 20], "long_nfe": 20}})


def test_laptop_covers_the_printed_rows():
    """Every printed cell's evaluations are in the laptop config, and every claim's lambda."""
    config = load_config(PAPER, "laptop")
    printed = read_published(PAPER.folder / "published.csv", "gddim")
    assert len(printed) == 75
    assert {row.nfe for row in printed if row.table in ("7.1", "section-7.1")} <= set(config.factors.nfes)
    assert {row.nfe for row in printed if row.table == "7.3"} <= {*config.grid.nfes, config.grid.long_nfe}
    assert {row.variant for row in printed if row.table == "7.2"} == {tables.LAM(lam=lam) for lam in config.lambdas.values}


def test_exact_draws_of_the_digits_are_data(smoke):
    """`off_data` of draws of the data is 0 whatever is drawn, without an error; their sw2 has one."""
    for table in ("7.1", "7.3"):
        rows = [m for m in smoke[1].measurements if (m.table, m.dataset, m.method) == (table, "digits_exact", "exact draws")]
        assert {m.metric: (m.over, m.df) for m in rows} == {"off_data": ("exact", None), "sw2": ("runs", 1)}
        assert [m.value for m in rows if m.metric == "off_data"] == [0.0]


def test_the_printed_numbers_of_ddim_are_those_of_table_6_2():
    """A claim and the README quote them; DEIS's folder has the table."""
    deis = load_paper("deis")
    printed = {
        row.variant or row.method: row.value
        for row in read_published(deis.folder / "published.csv", "deis")
        if (row.table, row.dataset, row.metric, row.nfe) == ("6.2", "cifar10", "fid", 10)
    }
    (claim,) = (claim for claim in PAPER.module("claims").CLAIMS if claim.name == "image-steps-help")
    assert claim.source == f"Tables 6.2 and 7.3 (printed {printed['tAB3']} and {printed['DDIM']})"
    assert f"VP's multistep {printed['tAB3']}, far from DDIM's {printed['DDIM']};" in (PAPER.folder / "README.md").read_text()


def test_figures_show_what_was_measured(smoke, tmp_path):
    """The curves of a panel are its records, those of RK45 at the evaluations it took."""
    figures, found = PAPER.module("figures"), PaperResults(tmp_path / "smoke", PAPER, smoke[0])
    vars(found).update(records=records_of(smoke[1]))
    ax, rows = Figure().subplots(), found.select(table="7.3", metric="off_data", variant=["CLD", "CLD, tolerance 0.01"])
    figures._samplers(ax, rows, "CLD", figures.CEILING)
    drawn = {bars.get_label(): [tuple(point) for point in bars[0].get_xydata().tolist()] for bars in ax.containers}
    assert set(drawn) == {"gDDIM", "gDDIM, q=1", "EM", "Ancestral", "Prob.Flow Heun", "Prob.Flow RK45"}
    for method, points in drawn.items():
        assert points == [(row.nfe, min(row.value, figures.CEILING)) for row in draw.select(rows, method=method)]


def test_paths_and_rivals(tmp_path):
    """The sections of networks and of figs. 7.1 and 7.2 at smoke scale: what is exact holds."""
    config = load_config(PAPER, "smoke")
    result = measured(PAPER, config, "more", tmp_path, trained_models(config, "more", tmp_path))
    rows = {line["claim"]: line["status"] for line in evaluate("gddim", PAPER.module("claims").CLAIMS, records_of(result))}
    assert "broken" not in rows.values()
    assert rows["one-score-gives-all"] == rows["one-score-gives-all-on-vp"] == "holds"
    rates = {m.variant: m.value for m in result.measurements if (m.dataset, m.metric) == ("ten_digits", "noise_rate")}
    assert 3 * rates["fully mixed"] < rates["mixing"] > 3 * rates["one mode"]
    assert {m.table for m in result.measurements} == {"fig7.1", "fig7.2", "prop8", "7.4.1", "7.3"} and not result.skipped
    shares = [m.value for m in result.measurements if (m.dataset, m.metric) == ("ten_digits", "share")]
    assert len(shares) == 3 and sum(shares) == pytest.approx(1.0) and min(shares) > 0
    off = {m.dataset: m.value for m in result.measurements if m.table == "prop8" and m.variant == "CLD"}
    assert off["one_point"] < 1e-8 and off["digits_exact"] > 0.1
