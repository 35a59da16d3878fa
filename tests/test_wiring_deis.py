"""How DEIS's sections are wired: starting points, the exact flow, steps for a budget."""

import pytest
import torch
from measuring import book_of, configured
from rescore.papers import load_config, load_paper
from rescore.problems.flow import by_quantiles
from rescore.processes import VP, grids
from rescore.random import Streams

PAPER = load_paper("deis")
methods, jobs = PAPER.module("methods"), PAPER.module("jobs")
SMALL = {"seeds": [3, 4], "datasets": {"mixture1d": {"samples": 5}}}


def test_data_start_from_the_prior_of_each_seed_and_end_where_the_flow_takes_them(tmp_path):
    config = configured(PAPER, SMALL | {"jobs": {"a": {"measure": {"mixture1d": ["orders"]}}}})
    data = jobs.Data.of(book_of(PAPER, config, "a", tmp_path), "mixture1d")
    process = data.problem.process
    for seed, start in zip(config.seeds, data.start.split(5), strict=True):
        assert torch.equal(start, VP().prior_sample((5, 1), Streams.named("deis", "mixture1d", seed, n=5), torch.float64))
    exact = by_quantiles(data.problem.score, data.start, process.T, config.t0)
    assert torch.equal(data.end, exact.reshape(2, 5, 1))
    jobs.orders(data.book, "mixture1d")
    rows = {(row.method, row.variant): row for row in data.book.measurements}
    for steps in config.orders.steps:
        sampler = methods.TABLE_METHODS["tAB2"](process, grids.quadratic(process, steps, t0=config.t0))
        distance = (sampler(data.problem.score, data.start).reshape(2, 5) - data.end[..., 0]).abs()
        error = distance.median(1).values.mean().item()
        assert rows["tAB2", f"steps-{steps}"].value == pytest.approx(error, rel=1e-12)
    assert 0.5 < rows["DDIM", "order-1"].value < 1.6, "errors fall as the steps rise: a positive slope"


def test_cells_of_the_table_round_whole_steps_up():
    config = load_config(PAPER, "laptop")
    cells = [(one.variant or one.method, one.sampler) for one in methods.table_cells(config.table, VP(), config.t0)]
    assert len(cells) == 50 and [name for name, _ in cells[:10]] == list(methods.TABLE_METHODS)
    assert [sampler.nfe for name, sampler in cells if name == "rho3Kutta"] == [6, 12, 15, 21, 51]
    assert all((s.times[0], s.times[-1]) == (1.0, config.t0) for _, s in cells)
