"""DEIS: the exact solutions that errors are measured from, Prop. 4, the table's cells, and claims on a tiny run."""

import pytest
import torch
from pinned import check_pinned
from trained_case import records_of

from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.papers import load_config, load_paper
from rescore.processes import VP, grids
from rescore.random import make_generator
from rescore.samplers import rhork_deis
from rescore.scores import GaussianMixture

PAPER = load_paper("deis")
problems, jobs, claims = (PAPER.module(name) for name in ("problems", "jobs", "claims"))
PUBLISHED = read_published(PAPER.folder / "published.csv", "deis")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The smoke jobs, on three samples a seed where the score is exact."""
    config = load_config(PAPER, "smoke")
    few = {name: dataset.model_copy(update={"samples": 3}) for name, dataset in config.datasets.items()}
    config = config.model_copy(update={"datasets": few, "projections": 2, "reference_steps": 8})
    return records_of(PAPER, config, config.jobs, tmp_path_factory.mktemp("deis"))


def test_numbers_are_what_they_were(records):
    check_pinned("deis", records)


def test_quantiles_solve_the_flow():
    """On the line, against rho4RK with 300 steps in log rho."""
    process = VP()
    score = problems.make_score("mixture1d", process)
    u = torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    by_quantiles = problems.solve(process, score, u, [0.3, 1e-3], 0)
    by_steps = [rhork_deis(process, grids.log_rho(process, 300, t), "rk4")(score, u) for t in (0.3, 1e-3)]
    for a, b in zip(by_quantiles, by_steps, strict=True):
        assert (a - b).abs().max() < 1e-5


def test_a_gaussian_is_scaled():
    """For N(mu, s^2) the flow from u_T is m_t mu + (u_T - m_T mu) sqrt(v_t / v_T), v the variance of u_t."""
    process, mu, s = VP(), 0.7, 0.2
    score = GaussianMixture(process, torch.tensor([[mu]], dtype=torch.float64), s)
    u = torch.tensor([[-2.0], [0.1], [1.5]], dtype=torch.float64)

    def moments(t):
        mean = process.mean(t).values
        return mean * mu, mean**2 * s**2 + process.Sigma(t).values

    (start, wide), (end, narrow) = moments(process.T), moments(1e-3)
    exact = end + (u - start) * (narrow / wide).sqrt()
    assert (problems.solve(process, score, u, [1e-3], 0)[0] - exact).abs().max() < 1e-13


def test_the_reference_on_digits():
    """50 steps, of the reference, against 150: far below any error that is measured from it."""
    process = VP()
    score = problems.make_score("digits_exact", process)
    u = process.prior_sample((4, 1, 8, 8), make_generator("test"), torch.float64)
    coarse, fine = (problems.solve(process, score, u, [1e-3], n)[0] for n in (50, 150))
    assert (coarse - fine).square().mean().sqrt() < 1e-5


@pytest.mark.parametrize("name", problems.TABLE_METHODS)
def test_point_masses_need_one_step_of_any_order(name):
    """Prop. 4: the noise prediction of a point is constant along the flow, so that every method of the table is exact."""
    process, point = VP(), torch.tensor([[0.4, -1.3]], dtype=torch.float64)
    score = GaussianMixture(process, point, 0.0)
    u = torch.tensor([[1.0, 2.0], [-0.3, 0.2]], dtype=torch.float64)
    stages, make = problems.TABLE_METHODS[name]
    steps = int(name[-1]) + 1 if "AB" in name else 1  # the fewest that the method takes
    start, end = 0.3, 1e-3  # from T, where rho is 150, rounding alone is 3e-9
    noise = (u - process.mean(start).values * point) / process.R(start).values
    exact = process.mean(end).values * point + process.R(end).values * noise
    times = torch.linspace(start, end, steps + 1, dtype=torch.float64)
    assert (make(process, times)(score, u) - exact).abs().max() < 1e-12


def test_cells_meet_the_printed_table(records):
    """Every printed cell finds a stand-in of its own method and number of evaluations."""
    rows = diff(records, PUBLISHED, {"deis": PAPER})
    table = rows[rows["table"] == "6.2"]
    assert len(table) == 50 and set(table["status"]) == {"indicative"}
    assert (rows[rows["table"] == "section-6.1"]["status"] == "indicative").all()
    rest = rows[~rows["table"].isin(["6.2", "section-6.1"])]
    assert (rest["status"] == "not-run").all() and (rest["note"] != "no record").all()
    assert len(rows) == len(PUBLISHED) == 60


def test_claims_find_their_records(records):
    lines = evaluate("deis", claims.CLAIMS, records)
    assert [line["claim"] for line in lines if line["status"] in ("not-run", "broken")] == []
    assert len(lines) >= 7


def test_configs():
    for scale in PAPER.scales:
        assert load_config(PAPER, scale).jobs
