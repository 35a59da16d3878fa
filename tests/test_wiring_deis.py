"""How DEIS's sections are wired: starting points, the exact flow, steps for a budget."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from measuring import book_of, configured
from rescore.errors import Diverged
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


def book_of_grids(monkeypatch, tmp_path, fids, count=3, grid="quadratic"):
    """A book of two grids whose samples have these FIDs; without some its sampler diverges. The table's own is `grid`."""

    class Models:
        matched = staticmethod("digits/{}".format)
        data, over, repeats = "digits", "trainings", [(seed, seed) for seed in range(count)]
        spec = staticmethod(lambda name: type("Spec", (), {"protocol": {}}))
        process = staticmethod(lambda name: VP())

        def draw(self, one, training, seed):
            uniform = torch.equal(one.sampler.grid, grids.uniform(VP(), one.sampler.steps, t0=1e-3))
            name = "uniform" if uniform else "quadratic"
            if name not in fids:
                raise Diverged("made to")
            return type("Drawn", (), {"x": fids[name][seed]})

        def judge(self, x, metrics):
            return {"fid": x}

    Models.judge.protocol = lambda metric, x: {"features": f"those of a {metric} of {len(x)}"}
    monkeypatch.setattr(PAPER.module("networks"), "TrainedModels", lambda book: Models())
    settings = {"best_grids": {"rows": [5], "grids": ["uniform", "quadratic"]}, "jobs": {"a": {"measure": ["best_grids"]}}}
    settings["table"] = {"grid": grid}
    return book_of(PAPER, configured(PAPER, SMALL | settings), "a", tmp_path)


def test_a_grid_that_diverges_is_left_out_and_without_the_tables_there_is_no_gain(monkeypatch, tmp_path):
    networks = PAPER.module("networks")
    book = book_of_grids(monkeypatch, tmp_path / "one", {"uniform": [1.0, 5.0, 5.0]})
    networks.best_grids(book)
    assert {row.metric for row in book.measurements if row.variant == "tAB1"} == {"fid_uniform", "fid"}
    (skip,) = [one for one in book.skipped if one["variant"] == "tAB1"]
    assert skip["reason"] == "gain, gain_held_out: the table's grid, quadratic, diverged"
    book = book_of_grids(monkeypatch, tmp_path / "other", {"uniform": [1.0, 5.0, 5.0]}, grid="rho7")
    networks.best_grids(book)
    (skip,) = [one for one in book.skipped if one["variant"] == "tAB1"]
    assert skip["reason"] == "gain, gain_held_out: the table's grid, rho7, is none of best_grids.grids"
    book = book_of_grids(monkeypatch, tmp_path / "none", {})
    networks.best_grids(book)
    assert not book.measurements and all("diverged: on each grid" in one["reason"] for one in book.skipped)


@pytest.mark.parametrize("fails", ["flow_log_prob", "rho_log_prob"])
def test_a_likelihood_that_diverges_leaves_a_skip_and_a_second_run_makes_no_solve(monkeypatch, tmp_path, fails):
    """Once the first solve of the adaptive solver diverges, once that of a method; the others are kept."""
    networks, calls = PAPER.module("networks"), []
    solve = {name: getattr(networks, name) for name in ("flow_log_prob", "rho_log_prob")}

    def solved(name, *arguments):
        calls.append(name)
        if name == fails and calls.count(name) == 1:
            raise Diverged("made to")
        return solve[name](*arguments)

    class Models:
        matched = staticmethod("digits/{}".format)
        data = "digits"
        spec = staticmethod(lambda name: SimpleNamespace(protocol={}, objective=SimpleNamespace(t0=1e-3)))
        process = staticmethod(lambda name: VP())
        held_out = SimpleNamespace(images=torch.zeros(3, 1, 2, 2, dtype=torch.uint8), grey_levels=17)
        load = staticmethod(lambda name, seed: SimpleNamespace(network=SimpleNamespace(score=lambda: lambda u, t: -u)))

    monkeypatch.setattr(networks, "TrainedModels", lambda book: Models())
    for name in solve:
        monkeypatch.setattr(networks, name, partial(solved, name))
    settings = {
        "likelihood": {"nfes": [12], "tolerance": 0.1},
        "evaluation": {"likelihood_images": 2},
        "training_seeds": [0, 1],
        "jobs": {"a": {"measure": ["likelihood_trained"]}},
    }
    config = configured(PAPER, SMALL | settings)
    first = book_of(PAPER, config, "a", tmp_path)
    networks.likelihood_trained(first)
    methods_, reasons = {row.method for row in first.measurements}, {one["method"]: one["reason"] for one in first.skipped}
    of_deis = set(networks.LIKELIHOODS)
    if fails == "flow_log_prob":
        assert methods_ == of_deis and not [row for row in first.measurements if row.metric == "bpd_gap"]
        assert reasons.pop("dopri5") == "diverged: seed 0: made to"
        assert set(reasons) == of_deis and set(reasons.values()) == {"bpd_gap: the adaptive solver diverged: seed 0: made to"}
    else:
        assert reasons == {"rho2Heun": "diverged: made to"} and methods_ == of_deis - {"rho2Heun"} | {"dopri5"}
    assert calls.count("flow_log_prob") == 2, "one for each training"
    calls.clear()
    again = book_of(PAPER, config, "a", tmp_path)
    networks.likelihood_trained(again)
    numbers = [[(row.method, row.metric, row.value) for row in book.measurements] for book in (first, again)]
    assert not calls and numbers[0] == numbers[1] and again.skipped == first.skipped


def test_the_gain_of_a_grid_that_other_seeds_choose(monkeypatch, tmp_path):
    """FIDs by hand: uniform is best on average, but without the first seed quadratic is."""
    networks = PAPER.module("networks")
    fids = {"uniform": [1.0, 5.0, 5.0], "quadratic": [9.0, 4.0, 4.0]}

    book = book_of_grids(monkeypatch, tmp_path, fids)
    networks.best_grids(book)
    found = {row.metric: row for row in book.measurements if row.variant == "tAB1"}
    assert found["fid"].value == pytest.approx(11 / 3) and found["fid"].protocol["grid"] == "uniform"
    samples = book.config.evaluation.samples
    assert found["fid"].n_samples == 3 * samples, "of three trainings"
    assert {row.protocol["features"] for row in found.values()} == {f"those of a fid of {samples}"}
    assert found["gain"].value == pytest.approx((8 - 1 - 1) / 3)
    assert found["gain_held_out"].value == pytest.approx((0 - 1 - 1) / 3), "0: without seed 0 the choice is quadratic"


def test_of_one_seed_no_other_chooses_a_grid(monkeypatch, tmp_path):
    book = book_of_grids(monkeypatch, tmp_path, {"uniform": [1.0], "quadratic": [9.0]}, count=1)
    PAPER.module("networks").best_grids(book)
    found = {row.metric: row.value for row in book.measurements if row.variant == "tAB1"}
    assert found == {"fid_uniform": 1.0, "fid_quadratic": 9.0, "fid": 1.0, "gain": 8.0}
    (skip,) = [one for one in book.skipped if one["variant"] == "tAB1"]
    assert skip["reason"] == "gain_held_out: the other seeds choose, and there is one"
