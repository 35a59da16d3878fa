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


def test_extrapolation_errors_are_those_of_the_polynomial():
    """eps = tau^2: degree 2 is exact behind its warm start, degree 0 is off by tau^2 - t_i^2."""
    errors, grid = PAPER.module("errors"), grids.uniform(VP(), 5, 0.1)
    taus = errors.fine(grid, 4)
    assert len(taus) == 21 and torch.equal(taus[::4], grid) and taus[1].item() == pytest.approx(grid[0] + grid.diff()[0] / 4)
    noises = [torch.full((2, 3), t.item() ** 2, dtype=torch.float64) for t in taus]
    found = [errors.extrapolation_errors(VP(), grid, 4, noises, degree) for degree in (0, 1, 2)]
    starts = grid[:-1].repeat_interleave(4)
    assert torch.allclose(found[0], (starts**2 - taus[1:] ** 2)[:, None].expand(-1, 2), atol=1e-12)
    assert found[2][8:].max() < 1e-12 and found[2][4:8].min() > 1e-4, "the first two steps have degrees 0 and 1"
    assert torch.equal(found[1][:8], found[2][:8]) and found[1][8:].min() > 1e-4


def test_fit_errors_of_an_exact_and_of_a_shifted_network():
    errors = PAPER.module("errors")
    exact = errors.to_noise(VP(), errors.narrow(VP(), 0.05))

    def member(shift):
        return lambda x, level: (exact(x.double(), level[0].item() / 999) + shift).float()  # level is 999 t

    relative, scaled = errors.fit_errors(VP(), member(0.0), 0.05, 1.0, 3.0)
    assert relative < 1e-3 and scaled < 1e-3
    relative, scaled = errors.fit_errors(VP(), member(0.1), 0.05, 1.0, 3.0)
    assert scaled == pytest.approx(0.1, rel=1e-2) and 0 < relative < 0.5
    assert errors.fit_errors(VP(), member(0.1), 0.05, 4.0, 8.0)[0] < relative / 2, "the same shift of a larger eps"


def test_rivals_have_the_evaluations_of_their_cells_and_samplers_of_their_score():
    config = load_config(PAPER, "laptop").rivals
    images = torch.zeros(16, 1, 8, 8)
    cells = list(methods.rival_cells(config, VP(), 1e-3, images))
    fixed = [one for one in cells if one.sampler.nfe is not None]
    assert {one.sampler.nfe for one in fixed if one.method != "PNDM"} == set(config.nfes)
    assert {one.sampler.nfe for one in fixed if one.method == "PNDM"} == {8, 15, 20}
    assert {one.variant for one in cells if one.sampler.nfe is None} == {f"at most {n}" for n in config.nfes}
    assert len({(one.table, one.method, one.variant, one.sampler.nfe) for one in cells}) == len(cells) == 90
    fast = {
        (one.method, one.variant): one.sampler for one in fixed if one.method.startswith("FastDPM") and one.sampler.nfe == 20
    }
    assert len(fast) == 8 and {(one.steps, one.denoise) for one in fast.values()} == {(19, "tweedie")}
    assert {name: one.stochastic for (name, _), one in fast.items()} == {"FastDPM DDIM-rev": False, "FastDPM DDPM-rev": True}
    starts = {levels: (one.times[0], one.times[-1]) for (_, levels), one in fast.items()}
    assert starts.pop("STEP quadratic") == pytest.approx((0.801, 1e-3)) and set(starts.values()) == {(1.0, 1e-3)}
    for schedule, kappa in (("linear", 1.0), ("quadratic", 2.0)):
        assert fast["FastDPM DDPM-rev", f"VAR {schedule}"].times == grids.by_variances(VP(), 19, kappa, 1e-3).tolist()
    taylor = next(one for one in fixed if (one.method, one.variant, one.sampler.nfe) == ("Ito-Taylor", "uniform", 10))
    assert taylor.sampler.C[0] is not None and taylor.sampler.C[-1] is None
    score = lambda u, t: -0.5 * u / VP().Sigma(t).values.item()  # noqa: E731  eps = u / (2 sigma)
    one = next(one for one in fixed if (one.method, one.variant, one.sampler.nfe) == ("A-DDIM", "quadratic", 20))
    spread, plain = one.prepare(score).C[18].values.item(), one.sampler.C[18].values.item()  # not clipped, unlike early steps
    s, t = one.sampler.times[18:20]
    c = VP().R(t).values - VP().Psi(t, s).values * VP().R(s).values
    assert plain == pytest.approx(abs(c.item())) and one.prepare(score).C[-1] is None
    assert spread == pytest.approx(plain * (1 - 0.25) ** 0.5, rel=0.02), "images of 0: eps is half the noise"
    held = next(one for one in cells if one.method == "RK45" and one.variant == "at most 20")
    assert (held.sampler.most, held.sampler.times) == (20, [1.0, 1e-3])


def test_the_gain_of_a_grid_that_other_seeds_choose(monkeypatch, tmp_path):
    """FIDs by hand: uniform is best on average, but without the first seed quadratic is."""
    networks = PAPER.module("networks")
    fids = {"uniform": [1.0, 5.0, 5.0], "quadratic": [9.0, 4.0, 4.0]}

    class Models:
        data, repeats = "digits", [(0, 0), (1, 1), (2, 2)]
        spec = staticmethod(lambda name: type("Spec", (), {"protocol": {}}))
        process = staticmethod(lambda name: VP())

        def draw(self, one, training, seed):
            uniform = torch.equal(one.sampler.grid, grids.uniform(VP(), one.sampler.steps, t0=1e-3))
            return type("Drawn", (), {"x": fids["uniform" if uniform else "quadratic"][seed]})

        def judge(self, x, metrics):
            return {"fid": x}

    monkeypatch.setattr(networks, "TrainedModels", lambda book: Models())
    settings = {"best_grids": {"rows": [5], "grids": ["uniform", "quadratic"]}, "jobs": {"a": {"measure": ["best_grids"]}}}
    book = book_of(PAPER, configured(PAPER, SMALL | settings), "a", tmp_path)
    networks.best_grids(book)
    found = {row.metric: row for row in book.measurements if row.variant == "tAB1"}
    assert found["fid"].value == pytest.approx(11 / 3) and found["fid"].protocol["grid"] == "uniform"
    assert found["gain"].value == pytest.approx((8 - 1 - 1) / 3)
    assert found["gain_held_out"].value == pytest.approx((0 - 1 - 1) / 3), "0: without seed 0 the choice is quadratic"
