"""Exact problems: draws by seed, the exact flows against each other, distances of known clouds."""

import math

import pytest
import torch
from rescore.config import PaperConfig
from rescore.data.digits import load_digits
from rescore.errors import Diverged
from rescore.experiments.book import Book
from rescore.metrics import nearest
from rescore.models.evaluate import Sampling
from rescore.problems import ExactProblem, distances, flow
from rescore.problems.mixtures import nine_modes
from rescore.problems.runs import ExactRuns
from rescore.processes import CLD, VE, VP, Blurring, grids
from rescore.random import Streams, make_generator
from rescore.samplers import euler_maruyama, gddim, rhork_deis
from rescore.scores import EmpiricalData, GaussianMixture

F64 = torch.float64
LINE = torch.tensor([[-1.0], [0.3], [1.2]], dtype=F64)


def digits(process, n=2, **options) -> ExactProblem:
    return ExactProblem.of_points("digits", process, load_digits(), ("test", "start"), (4, 5), n, **options)


# --- problems ----------------------------------------------------------------------------------------------------------------


def test_starting_points_are_named_by_seed():
    problem = digits(CLD(), 3, dtype=torch.float32)
    start = problem.start()
    assert start.dtype == torch.float32 and start.shape == (6, 2, 1, 8, 8) and problem.size == 6
    one = CLD().prior_sample((3, 2, 1, 8, 8), Streams.named("test", "start", 5, n=3), torch.float32)
    assert torch.equal(start[3:], one)
    assert torch.equal(problem.by_seed(start)[1], one[:, 0])


def test_draws_of_points_are_points_and_those_of_p_t_are_not():
    problem = digits(VP(), 20)
    drawn = problem.draws("test", "draws")
    assert drawn.shape == (2, 20, 1, 8, 8) and not torch.equal(drawn[0], drawn[1])
    assert distances.off_data(drawn, problem.reference()) == [0, 0]
    noisy = problem.draws("test", "draws", t=0.01)
    sigma = VP().Sigma(0.01).values.item() ** 0.5
    assert distances.off_data(noisy, problem.reference()) == pytest.approx([sigma, sigma], rel=0.1)
    assert problem.reference() is problem.points and isinstance(problem.score, EmpiricalData)


def test_draws_of_a_mixture_lie_on_its_modes():
    problem = ExactProblem.of_mixture("m", CLD(), nine_modes(1.0), 0.1, ("test",), (0, 1), 500)
    drawn = problem.draws("test", "draws")
    assert drawn.shape == (2, 500, 2) and problem.shape == (2,)
    assert max(distances.off_modes(drawn, problem.modes, 0.4)) < 0.01
    assert min(distances.off_modes(drawn, problem.modes, 0.1)) == pytest.approx(math.exp(-0.5), abs=0.06)
    assert torch.equal(problem.reference("test", "draws"), drawn)


def test_nine_modes():
    assert sorted(nine_modes(5.0).tolist()) == sorted([[x, y] for x in (-5, 0, 5) for y in (-5, 0, 5)])
    a = 1 / math.sqrt(2)
    expected = {(0, 0), (a, 0), (-a, 0), (0, a), (0, -a)} | {(x, y) for x in (a / 2, -a / 2) for y in (a / 2, -a / 2)}
    turned = {tuple(round(value, 9) + 0.0 for value in mode) for mode in nine_modes(0.5, turned=True).tolist()}
    assert turned == {tuple(round(value, 9) + 0.0 for value in mode) for mode in expected}


# --- exact flows -------------------------------------------------------------------------------------------------------------


def test_quantiles_solve_the_flow():
    """On the line, against rho4RK with 300 steps in log rho."""
    process = VP()
    score = GaussianMixture(process, LINE, 0.1)
    u = torch.linspace(-3, 3, 25, dtype=F64)[:, None]
    for t in (0.3, 1e-3):
        by_steps = rhork_deis(process, grids.log_rho(process, 300, t), "rk4")(score, u)
        assert (flow.by_quantiles(score, u, process.T, t) - by_steps).abs().max() < 1e-5


def test_a_gaussian_is_scaled():
    """For N(mu, s^2) the flow from u_T is m_t mu + (u_T - m_T mu) sqrt(v_t / v_T), v the variance of u_t."""
    process, mu, s = VP(), 0.7, 0.2
    score = GaussianMixture(process, torch.tensor([[mu]], dtype=F64), s)
    u = torch.tensor([[-2.0], [0.1], [1.5]], dtype=F64)

    def moments(t):
        mean = process.mean(t).values
        return mean * mu, mean**2 * s**2 + process.Sigma(t).values

    (start, wide), (end, narrow) = moments(process.T), moments(1e-3)
    exact = end + (u - start) * (narrow / wide).sqrt()
    assert (flow.by_quantiles(score, u, process.T, 1e-3) - exact).abs().max() < 1e-13
    assert (flow.by_rho_rk4(process, score, u, [1e-3], 300)[0] - exact).abs().max() < 1e-7


def test_flows_agree_on_digits():
    """Three solvers, each far below the errors that are measured from it; a stop on the way changes nothing."""
    problem = digits(VP())
    u, score, process = problem.start(), problem.score, problem.process
    fine = flow.by_rho_rk4(process, score, u, [process.eps], 150)[0]
    others = [
        flow.by_rho_rk4(process, score, u, [process.eps], 50)[0],
        flow.by_rho_rk4(process, score, u, [0.4, process.eps], 100)[1],
        flow.by_tolerance(process, score, u, 1e-8),
    ]
    for end in others:
        assert (end - fine).square().mean().sqrt() < 1e-5
    assert (flow.by_gddim(process, score, u, 800) - fine).square().mean().sqrt() < 1e-3


@pytest.mark.parametrize("process", [VP(), Blurring((8, 8), sigma_max=2.5), CLD()], ids=repr)
def test_the_flow_of_one_point(process):
    """The closed form is what the 3-step predictor gives, and one step under R_t (gDDIM, Prop. 7)."""
    point = load_digits()[0]
    problem = ExactProblem.of_points("one", process, point[None], ("test",), (0,), 3)
    u = problem.start()
    exact = flow.of_one_point(process, point, u, process.eps)
    assert (flow.by_gddim(process, problem.score, u, 20) - exact).abs().max() < 1e-9
    assert (gddim(process, grids.quadratic(process, 1))(problem.score, u) - exact).abs().max() < 1e-9


def test_traces_along_the_flow():
    """eps under R is constant on one point; the trace starts at the given states."""
    process = CLD()
    problem = ExactProblem.of_points("one", process, load_digits()[:1], ("test",), (0, 1), 2)
    u = problem.start()
    times, states, scores = flow.trace(gddim(process, grids.quadratic(process, 10), 3), problem.score, u)
    assert states.shape == scores.shape == (10, 4, 2, 1, 8, 8) and times[0] == process.T
    assert torch.equal(states[0], u) and torch.equal(scores[3], problem.score(states[3], times[3].item()))
    epsilon = torch.stack([-process.K(t, "R").T(s) for t, s in zip(times.tolist(), scores, strict=True)])
    assert (epsilon - epsilon[0]).abs().max() < 1e-9


# --- distances ---------------------------------------------------------------------------------------------------------------


def test_errors_are_distances_to_the_exact_end_points():
    """Per seed: the root mean square over points and coordinates, and the median of the points' own."""
    end = torch.zeros(2, 3, 2, dtype=F64)
    x = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [2.0, 2.0], [7.0, 7.0]]], dtype=F64)
    assert distances.solver_rmse(x, end) == pytest.approx([math.sqrt(27 / 6), math.sqrt(108 / 6)])
    assert distances.solver_median(x, end) == pytest.approx([1.0, 2.0])


def test_sides_of_a_boundary():
    x = torch.tensor([[1.0, 3.0, 2.0, -2.0], [1.0, -3.0, -1.0, -2.0]])[..., None]
    numbers = distances.sides(x, -0.8)
    assert numbers["weight_right"] == [0.75, 0.25] and numbers["weight_left"] == [0.25, 0.75]
    assert numbers["mean_right"] == [2.0, 1.0] and numbers["mean_left"] == [-2.0, -2.0]
    assert numbers["std_left"][1] == pytest.approx(math.sqrt(2 / 3)) and numbers["std_left"][0] == 0


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_nearest_points(dtype):
    """Against a search by hand, more than one chunk; a point of the data is at 0 exactly."""
    points = torch.randn(50, 1, 2, 3, generator=make_generator("points"), dtype=F64)
    x = torch.cat((torch.randn(1200, 1, 2, 3, generator=make_generator("x"), dtype=F64), points[7:8])).to(dtype)
    found, rows = nearest(x, points)
    all_of_them = (x.double().flatten(1)[:, None] - points.flatten(1)).square().sum(2).sqrt()
    torch.testing.assert_close(found, all_of_them.amin(1), rtol=1e-6, atol=1e-6)
    assert torch.equal(rows, all_of_them.argmin(1)) and rows[-1] == 7
    assert found[-1] == 0 or dtype == torch.float32
    with pytest.raises(Diverged, match="nearest"):
        nearest(torch.full((1, 6), math.nan), points)


def test_distances_take_one_set_for_all_seeds_or_one_a_seed():
    x = torch.zeros(2, 1, 2, dtype=F64)
    shared, own = torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=F64), torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]], dtype=F64)
    assert distances.off_data(x, shared) == pytest.approx([2 / math.sqrt(2)] * 2)
    assert distances.off_data(x, own) == pytest.approx([5 / math.sqrt(2), 2 / math.sqrt(2)])
    assert distances.off_modes(x, shared, 1.9) == [1, 1] and distances.off_modes(x, shared, 2.1) == [0, 0]
    assert distances.sw2(x, own, 8)[0] == pytest.approx(2.5 * distances.sw2(x, own, 8)[1], rel=0.8)
    assert distances.sw2(own, own, 8) == [0, 0]


def test_relative_changes():
    a, b = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=F64), torch.tensor([[3.0, 9.0], [1.0, 2.0]], dtype=F64)
    assert distances.relative_changes([a, b, b]).tolist() == [[1, 0], [2, 0]]


# --- cells -------------------------------------------------------------------------------------------------------------------


class Settings(PaperConfig):
    """Of no paper."""


def runs_of(problem: ExactProblem) -> ExactRuns:
    return ExactRuns(Book(Settings()), problem, {"process": "VP", "dtype": "float64"}, stream=("paper",))


def test_a_cell_holds_what_a_sampler_makes_of_the_start():
    """With the noise of its stream and place; the cell counts the evaluations and says how they were spent."""
    runs = runs_of(ExactProblem.of_mixture("m", VP(), LINE, 0.1, ("test",), (0, 1), 5))
    sampler = euler_maruyama(VP(), grids.uniform(VP(), 7), denoise="euler")
    metrics = {"mean": lambda x: x.mean((1, 2)).tolist()}
    runs.measure([Sampling("t", "EM", "v", "", sampler, {"grid": "uniform"})], "", metrics, lambda one: one.method, more=1)
    x = sampler(runs.problem.score, runs.start, runs.problem.streams("paper", "t", "m", "EM", "v", 7)).reshape(2, 5, 1)
    (row,) = runs.book.measurements
    assert (row.table, row.dataset, row.method, row.variant, row.nfe) == ("t", "m", "EM", "v", 8)
    assert (row.n_seeds, row.n_samples) == (2, 10)
    assert row.matched == "m, VP, exact" and row.values == " ".join(f"{value:.10g}" for value in x.mean((1, 2)).tolist())
    assert row.value == pytest.approx(x.mean().item()) and runs.book.arrays["EM"] == x[0, 0, 0]
    how = {"t0": VP().eps, "denoise": "euler", "samples": 5, "grid": "uniform", "more": 1}
    assert row.protocol == {"process": "VP", "dtype": "float64"} | how
    assert runs.book.result.function_evaluations == 2 * 8 * 10


def test_a_sampler_that_diverges_is_skipped_with_its_reason():
    runs = runs_of(ExactProblem.of_mixture("m", VP(), LINE, 0.1, ("test",), (0, 1), 5))
    sampler = euler_maruyama(VP(), grids.uniform(VP(), 3))
    sampler.A[1] = sampler.A[1] * math.inf
    runs.measure([Sampling("t", "EM", "", "", sampler)], "", {"sw2": lambda x: pytest.fail("nothing to measure")})
    (row,) = runs.book.skipped
    assert runs.book.measurements == [] and row["method"] == "EM" and row["nfe"] == 3 and "diverged" in row["reason"]


def test_floors_of_points_and_of_a_mixture():
    """Draws of the points are at 0 from them, whatever is drawn; those of a mixture have errors in both metrics."""
    points = runs_of(digits(VP(), 20))
    points.floor("t", points.to_data(8, "test", "reference"), "test", "draws")
    found = {row.metric: row for row in points.book.measurements}
    assert (found["off_data"].value, found["off_data"].over, found["off_data"].n_samples) == (0, "exact", 1)
    assert "dtype" not in found["off_data"].protocol and found["sw2"].protocol["dtype"] == "float64" and found["sw2"].stderr > 0
    mixture = runs_of(ExactProblem.of_mixture("m", VP(), LINE, 0.1, ("test",), (0, 1), 500))
    metrics = mixture.to_data(8, "test", "reference", radius=0.1)
    mixture.floor("t", metrics, "test", "draws")
    found = {row.metric: row.value for row in mixture.book.measurements}
    assert found["off_mode"] == pytest.approx(math.erfc(math.sqrt(0.5)), abs=0.04)
    drawn = mixture.problem.draws("test", "draws")
    assert found["sw2"] == pytest.approx(sum(distances.sw2(drawn, mixture.problem.draws("test", "reference"), 8)) / 2)


def test_quantiles_have_no_limit():
    """N(0, 1) under VE from far out: the flow scales by the ratio of the standard deviations."""
    process, u = VE(), torch.tensor([[-120.0], [10.0], [60.0], [140.0]], dtype=torch.float64)
    score = GaussianMixture(process, torch.zeros(1, 1, dtype=torch.float64), 1.0)
    ratio = ((1 + process.Sigma(0.95).values) / (1 + process.Sigma(process.T).values)).sqrt()
    assert (flow.by_quantiles(score, u, process.T, 0.95) - u * ratio).abs().max() < 1e-11


@pytest.mark.parametrize("denoise", ["none", "tweedie", "euler"])
def test_the_end_of_one_point_is_denoised_as_asked(denoise):
    problem = ExactProblem.of_points("one", VP(), torch.tensor([[0.4, -1.3]], dtype=torch.float64), ("end",), (0,), 3)
    found = flow.exact_end(problem, problem.start(), 200, denoise)
    wanted = problem.by_seed(flow.by_gddim(problem.process, problem.score, problem.start(), 200, denoise))
    assert (found - wanted).abs().max() < 1e-6
