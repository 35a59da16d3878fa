"""DEIS: the reference that errors are measured from, Prop. 4, the table's cells, and claims on a tiny run."""

import pytest
import torch
from conftest import ROOT
from ledger_case import record
from matplotlib.figure import Figure
from measuring import configured
from pinned import check_pinned
from rescore.data.digits import load_digits
from rescore.errors import RescoreError
from rescore.figures import PaperResults
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.ledger.records import Record, read_records
from rescore.papers import load_config, load_paper
from rescore.problems import ExactProblem
from rescore.problems.flow import by_rho_rk4
from rescore.processes import VP
from rescore.scores import GaussianMixture
from trained_case import records_of

PAPER = load_paper("deis")
methods, claims = (PAPER.module(name) for name in ("methods", "claims"))
PUBLISHED = read_published(PAPER.folder / "published.csv", "deis")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The smoke jobs, on three samples a seed where the score is exact, with fewer evaluations."""
    config = load_config(PAPER, "smoke")
    few = {name: dataset.model_copy(update={"samples": 3}) for name, dataset in config.datasets.items()}
    table = config.table.model_copy(update={"projections": 2, "rows": (5, 10)})
    fewer = {
        "likelihood": config.likelihood.model_copy(update={"nfes": (12, 24)}),
        "rivals": config.rivals.model_copy(update={"nfes": (10,)}),
        "best_grids": config.best_grids.model_copy(update={"rows": (5,)}),
    }
    config = config.model_copy(update={"datasets": few, "table": table, "reference_steps": 8, **fewer})
    wanted = {name: job for name, job in config.jobs.items() if not job.on_request}
    return records_of(PAPER, config, wanted, tmp_path_factory.mktemp("deis"))


def committed() -> list[Record]:
    """All rows of the smoke scale."""
    return read_records(ROOT / "results/reference/smoke/records/deis.csv", "smoke")


def test_numbers_are_what_they_were(records):
    check_pinned("deis", records)


def test_the_reference_on_digits():
    """50 steps, of the reference, against 150: far below any error that is measured from it."""
    problem = ExactProblem.of_points("digits_exact", VP(), load_digits(), ("test",), (0,), 4)
    coarse, fine = (by_rho_rk4(problem.process, problem.score, problem.start(), [1e-3], n)[0] for n in (50, 150))
    assert (coarse - fine).square().mean().sqrt() < 1e-5


@pytest.mark.parametrize("name", methods.TABLE_METHODS)
def test_point_masses_need_one_step_of_any_order(name):
    """Prop. 4: the noise prediction of a point is constant along the flow, so that every method of the table is exact."""
    process, point = VP(), torch.tensor([[0.4, -1.3]], dtype=torch.float64)
    score = GaussianMixture(process, point, 0.0)
    u = torch.tensor([[1.0, 2.0], [-0.3, 0.2]], dtype=torch.float64)
    method = methods.TABLE_METHODS[name]
    steps = method.order if "AB" in name else 1  # the fewest that the method takes
    start, end = 0.3, 1e-3  # from T, where rho is 150, rounding alone is 3e-9
    noise = (u - process.mean(start).values * point) / process.R(start).values
    exact = process.mean(end).values * point + process.R(end).values * noise
    times = torch.linspace(start, end, steps + 1, dtype=torch.float64)
    assert (method(process, times)(score, u) - exact).abs().max() < 1e-12


def test_cells_meet_the_printed_table():
    """Every printed cell finds a stand-in of its own method and number of evaluations."""
    rows = diff(committed(), PUBLISHED, {"deis": PAPER})
    table = rows[rows["table"] == "6.2"]
    assert len(table) == 50 and set(table["status"]) == {"indicative"}
    assert (rows[rows["table"] == "section-6.1"]["status"] == "indicative").all()
    rest = rows[~rows["table"].isin(["6.2", "section-6.1"])]
    assert (rest["status"] == "not-run").all() and (rest["note"] != "no record").all()
    assert len(rows) == len(PUBLISHED) == 60


def test_claims_find_their_records():
    lines = evaluate("deis", claims.CLAIMS, committed())
    elsewhere = {claim.name for claim in claims.IMAGES}  # test_mnist.py
    not_run = {line["claim"] for line in lines if line["status"] in ("not-run", "broken")}
    assert not_run == {*elsewhere, "best-grids-flatter-runge-kutta"}, "of one seed no other chooses a grid"
    assert {line["claim"] for line in lines} == {claim.name for claim in claims.CLAIMS}


def test_claims_on_table_6_2_hold_on_the_printed_numbers():
    """As if they were measured on each data set, by each of its metrics, almost without error."""
    places = (("6.2", "digits_exact", "sw2_flow"), ("6.2", "digits_exact", "solver_rmse"), ("6.2-grids", "digits", "fid"))
    places += (("6.2", "digits", "fid"), ("6.2", "cifar10", "fid"))
    printed = [(row.method, row.variant, row.nfe, float(row.value)) for row in PUBLISHED if row.table == "6.2"]
    columns = ("table", "dataset", "metric", "method", "variant", "nfe", "value")
    rows = [record(paper="deis", stderr=1e-4, **dict(zip(columns, at + of, strict=True))) for at in places for of in printed]
    lines = {line["claim"]: line["status"] for line in evaluate("deis", claims.CLAIMS, rows) if line["status"] != "not-run"}
    assert set(lines.values()) == {"holds"} and len(lines) == 26


def test_columns_have_the_orders_and_costs_that_the_chapter_states():
    """Eqs. 6.14 and 6.17: degree + 1, and the number of stages; iPNDM ignores that the transfer varies within a step."""
    stated = {"Euler": 1, "EI-score": 1, "DDIM": 1, "iPNDM": 2, "rho2Heun": 2, "rho3Kutta": 3, "rho4RK": 4}
    stated |= {f"{family}{r}": r + 1 for family in ("tAB", "rhoAB") for r in (1, 2, 3)}
    assert {name: method.order for name, method in methods.ORDERED.items()} == stated
    costs = {name: method.evaluations_per_step for name, method in methods.TABLE_METHODS.items()}
    assert costs == {name: stated[name] if name in ("rho2Heun", "rho3Kutta", "rho4RK") else 1 for name in methods.TABLE_METHODS}


SMALL = {"datasets": {"mixture1d": {"samples": 5}, "digits_exact": {"samples": 2}}}


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ({"mixture1d": ["tabel"]}, "measure.mixture1d: tabel; allowed: ingredients, orders, change"),
        ({"mixture1d": ["table"]}, "measure.mixture1d: table; allowed: ingredients, orders, change, extrapolation, likelihood"),
        ({"mixture1d_narrow": ["change"]}, "measure: mixture1d_narrow has no settings; allowed: mixture1d, digits_exact"),
        (["table"], "jobs.a: measure: table; allowed: trained"),
    ],
)
def test_a_job_measures_what_there_is(measure, message):
    with pytest.raises(RescoreError, match=message):
        configured(PAPER, SMALL | {"jobs": {"a": {"measure": measure}}})


def test_evaluations_of_likelihoods_are_whole_steps_of_every_method():
    """With 10 a method of 4 a step would take 8, under the name of 10."""
    with pytest.raises(RescoreError, match=r"likelihood\.nfes\.0: input should be a multiple of 12, not 10"):
        configured(PAPER, SMALL | {"jobs": {}, "likelihood": {"nfes": [10]}})


def test_configs():
    """Every scale measures Table 6.2 on a trained network; those with exact scores all experiments."""
    for scale in PAPER.scales:
        jobs = load_config(PAPER, scale).jobs.values()
        steps = list(dict.fromkeys(str(step) for job in jobs for step in job.steps))  # jobs may share out one section's cells
        exact = [
            "digits_exact table",
            "digits_exact ingredients",
            "digits_exact change",
            "mixture1d ingredients",
            "mixture1d orders",
            "mixture1d change",
            "mixture1d_narrow ingredients",
            "digits_exact extrapolation",
            "digits_exact tableaus",
            "mixture1d extrapolation",
            "mixture1d tableaus",
            "mixture1d likelihood",
        ]
        networks = ["rivals", "best_grids", "extrapolation_trained", "likelihood_trained", "tableaus_trained", "fitting"]
        wanted = ["trained", *(exact + networks if scale in ("smoke", "laptop") else [])]
        assert sorted(steps) == sorted(wanted)


def test_figures_show_what_was_measured(tmp_path):
    """The curves of the table are its records."""
    figures = PAPER.module("figures")
    found = PaperResults.open(tmp_path / "smoke", PAPER)
    vars(found).update(records=committed())
    ax = Figure().subplots()
    figures._columns(ax, found.select(table="6.2", dataset="digits_exact", metric="sw2"), "", "")
    drawn = {bars.get_label(): bars[0].get_ydata().tolist() for bars in ax.containers}
    for column in methods.TABLE_METHODS:
        rows = found.select(table="6.2", dataset="digits_exact", metric="sw2", **methods.place(column))
        assert drawn[column] == [row.value for row in rows] and len(rows) == 5
