"""Factor graphs and composed scores against Gaussians, whose scores are known (thesis eqs. 4.5 to 4.7)."""

import math
from itertools import pairwise

import pytest
import torch
from collage_case import ar1
from rescore.collage import averaged_score, chain, composed_score, cycle, grid, side_by_side, tilings
from rescore.collage.cubemap import FACES, RINGS, cubemap, directions, equirectangular
from rescore.collage.graph import FactorGraph
from rescore.errors import RescoreError
from rescore.processes import VE, grids
from rescore.samplers import ddim, euler_maruyama, gddim, rhoab_deis
from torch import Tensor

GRAPHS = {
    "chain": chain(1, 24, 8, 4),
    "chain, wide overlap": chain(2, 18, 8, 6),
    "chain, narrow overlap": chain(3, 23, 8, 3),
    "cycle": cycle(2, 16, 6, 2),
    "cycle, half": cycle(1, 12, 4, 2),
    "grid": grid((8, 12), (4, 4), (2, 2)),
    "grid, uneven": grid((7, 8), (3, 4), (1, 2)),
    "tilings": tilings((8, 12), 4),
    "cubemap": cubemap(4),
}


def matrix(graph: FactorGraph, covariance: Tensor, s2: float) -> Tensor:
    """B with composed score -B u, for data N(0, covariance) with noise of variance s2 added (one channel)."""

    def score(patches: Tensor) -> callable:
        """Gaussian scores of pieces that are evaluated in the order of `patches`."""
        inverses = torch.stack(
            [(covariance[p][:, p] + s2 * torch.eye(len(p), dtype=torch.float64)).inverse() for p in patches.flatten(1)]
        )

        def evaluate(u: Tensor, t: float) -> Tensor:
            pieces = u.flatten(1).unflatten(0, (-1, len(inverses)))
            return -torch.einsum("nij,bnj->bni", inverses, pieces).reshape(u.shape)

        return evaluate

    composed = composed_score(graph, score(graph.factors), [score(group) for group in graph.variables])
    u = torch.eye(graph.positions, dtype=torch.float64).reshape(-1, 1, *graph.size)
    return -composed(u, 0.0).reshape(graph.positions, graph.positions)


def true(covariance: Tensor, s2: float) -> Tensor:
    return (covariance + s2 * torch.eye(len(covariance), dtype=torch.float64)).inverse()


def pairs(n: int, edges: list[tuple[int, int]]) -> FactorGraph:
    """Factors of two scalars each; the scalars with two or more of them are variables."""
    shared = [i for i in range(n) if sum(i in edge for edge in edges) > 1]
    return FactorGraph((n,), torch.tensor(edges), (torch.tensor(shared)[:, None],))


@pytest.mark.parametrize("name", GRAPHS)
def test_weights_of_every_position_sum_to_one(name):
    graph = GRAPHS[name]
    total = torch.zeros(graph.positions, dtype=torch.float64)
    total.index_add_(0, graph.factors.flatten(), torch.ones(graph.factors.numel(), dtype=torch.float64))
    for group, weights in zip(graph.variables, graph.weights, strict=True):
        total.index_add_(0, group.flatten(), weights.repeat_interleave(group[0].numel()))
    assert torch.equal(total, torch.ones_like(total))


@pytest.mark.parametrize(
    ("name", "factors", "degrees", "weights"),
    [
        ("chain", 5, [[2] * 4], [[-1] * 4]),
        ("chain, wide overlap", 6, [[2] * 5], [[-1] * 5]),
        ("cycle", 4, [[2] * 4], [[-1] * 4]),
        ("grid", 15, [[2] * 12, [2] * 10, [4] * 8], [[-1] * 12, [-1] * 10, [1] * 8]),
        ("tilings", 8, [[2] * 8], [[-1] * 8]),
        ("cubemap", 3, [[2] * 6], [[-1] * 6]),
    ],
)
def test_degrees_and_weights(name, factors, degrees, weights):
    graph = GRAPHS[name]
    assert len(graph.factors) == factors
    assert [d.tolist() for d in graph.degrees] == degrees
    assert [w.tolist() for w in graph.weights] == weights


def test_sizes_of_the_released_example():
    """Eleven squares of 64 that overlap by 32 make 64 x 384, the ratio 6 of FID+."""
    graph = chain(64, 384, 64, 32)
    assert graph.factors.shape == (11, 64, 64) and graph.variables[0].shape == (10, 64, 32)
    shared = [set(a.flatten().tolist()) & set(b.flatten().tolist()) for a, b in pairwise(graph.factors)]
    assert [set(own.flatten().tolist()) for own in graph.variables[0]] == shared and {len(own) for own in shared} == {64 * 32}
    assert graph.degrees[0].tolist() == [2] * 10


@pytest.mark.parametrize(("n", "width", "overlap"), [(9, 2, 1), (24, 8, 4), (24, 12, 6), (18, 8, 6)])
def test_a_chain_is_exact_at_t_0(n, width, overlap):
    covariance = ar1(n, 0.9)
    assert torch.allclose(matrix(chain(1, n, width, overlap), covariance, 0.0), covariance.inverse(), rtol=0, atol=2e-13)


def test_a_tree_is_exact_at_t_0():
    edges = [(0, 1), (0, 2), (0, 3), (3, 4), (3, 5), (5, 6), (5, 7)]
    precision = 2 * torch.eye(8, dtype=torch.float64)
    for a, b in edges:
        precision[a, b] = precision[b, a] = -0.45
    graph = pairs(8, edges)
    assert graph.degrees[0].tolist() == [3, 3, 3] and graph.weights[0].tolist() == [-2, -2, -2]
    assert torch.allclose(matrix(graph, precision.inverse(), 0.0), precision, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("s2", [0.0, 0.3, 4.0])
def test_independent_coordinates_are_exact_at_every_time(name, s2):
    graph = GRAPHS[name]
    covariance = torch.diag(torch.linspace(0.5, 2, graph.positions, dtype=torch.float64))
    assert torch.allclose(matrix(graph, covariance, s2), true(covariance, s2), rtol=0, atol=1e-14)


def ring(n: int, a: float) -> Tensor:
    """The covariance of precision I - a (both neighbours) on a ring, scaled to unit variance."""
    shift = torch.eye(n, dtype=torch.float64).roll(1, 1)
    covariance = (torch.eye(n) - a * (shift + shift.T)).inverse()
    return covariance / covariance[0, 0]


def bell(n: int) -> Tensor:
    """A smooth kernel, of no order that a chain with an overlap of 4 could have."""
    lags = torch.arange(n, dtype=torch.float64)[:, None] - torch.arange(n)
    return torch.exp(-(lags**2) / 18) + 1e-3 * torch.eye(n)


MISSED = {  # graph and covariance; the relative RMS error of the composed score under q_t at each of SIGMAS, to two digits
    "pairs": (chain(1, 9, 2, 1), ar1(9, 0.9), (0.0, 5.0e-2, 2.4e-1, 3.2e-1, 3.2e-1, 2.0e-1, 5.7e-2, 1.6e-2, 2.6e-4)),
    "windows": (chain(1, 24, 8, 4), ar1(24, 0.9), (0.0, 1.8e-6, 1.5e-3, 1.1e-2, 4.5e-2, 6.5e-2, 3.3e-2, 1.1e-2, 1.9e-4)),
    "ring": (cycle(1, 8, 2, 1), ring(8, 0.45), (2.8e-2, 3.4e-2, 8.1e-2, 1.3e-1, 1.7e-1, 1.1e-1, 3.0e-2, 8.1e-3, 1.3e-4)),
    "bell": (chain(1, 24, 8, 4), bell(24), (2.6e-1, 1.6e-1, 7.7e-2, 5.8e-2, 3.5e-2, 1.0e-2, 5.0e-3, 1.7e-3, 3.1e-5)),
}
SIGMAS = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 80.0)


@pytest.mark.parametrize("name", MISSED)
def test_noise_breaks_the_markov_property(name):
    """The error of a chain vanishes at both ends of time; a loop, and data of a higher order, keep one at t = 0."""
    graph, covariance, expected = MISSED[name]
    found = []
    for sigma in SIGMAS:
        exact = true(covariance, sigma**2)
        error = matrix(graph, covariance, sigma**2) - exact
        found.append(math.sqrt(max(0.0, (error @ exact.inverse() @ error).trace() / exact.trace())))
    assert found == pytest.approx(expected, rel=0.06, abs=1e-13)


def test_a_wider_overlap_misses_by_a_higher_power_of_the_noise():
    """Of a chain of the first order the error at little noise is of order sigma^(2 overlap), 7.7 of 8 between these two."""
    covariance = ar1(24, 0.9)
    errors = [(matrix(chain(1, 24, 8, 4), covariance, s**2) - true(covariance, s**2)).abs().max() for s in (0.02, 0.04)]
    assert torch.log2(errors[1] / errors[0]).item() == pytest.approx(8, abs=0.5)


@pytest.mark.parametrize(
    ("sigma", "kl"), [(0.1, 7.437224508e-4), (0.5, 3.758618727e-2), (1, 3.332349240e-2), (2, 9.051348963e-3)]
)
def test_kl_of_a_chain_is_the_conditional_information(sigma, kl):
    """Three neighbours of correlation 0.9: KL(q_t | p_t) = -log(1 - r^2) / 2, r their partial correlation given the middle."""
    covariance, s2 = ar1(3, 0.9), sigma**2
    B, S_t = matrix(chain(1, 3, 2, 1), covariance, s2), covariance + s2 * torch.eye(3, dtype=torch.float64)
    direct = 0.5 * ((B @ S_t).trace() - 3 - B.logdet() - S_t.logdet())
    r = (0.81 - 0.81 / (1 + s2)) / (1 + s2 - 0.81 / (1 + s2))
    assert direct.item() == pytest.approx(-0.5 * math.log(1 - r * r), rel=1e-10)
    assert direct.item() == pytest.approx(kl, rel=1e-8)


@pytest.mark.parametrize(
    ("sigma", "kl"), [(0.1, 0.0052), (0.3, 0.139), (0.5, 0.304), (1, 0.337), (2, 0.122), (5, 0.0080), (10, 6.0e-4)]
)
def test_kl_of_nine_in_pairs(sigma, kl):
    covariance, s2 = ar1(9, 0.9), sigma**2
    B, S_t = matrix(chain(1, 9, 2, 1), covariance, s2), covariance + s2 * torch.eye(9, dtype=torch.float64)
    assert (0.5 * ((B @ S_t).trace() - 9 - B.logdet() - S_t.logdet())).item() == pytest.approx(kl, rel=0.01)


def test_error_of_small_and_large_noise():
    covariance, graph = ar1(9, 0.9), chain(1, 9, 2, 1)

    def error(s2: float) -> float:
        return (matrix(graph, covariance, s2) - true(covariance, s2)).abs().max().item()

    assert error(1e-6) / 1e-6 == pytest.approx(40.4, rel=2e-3)
    assert error(300.0**2) * 300**4 == pytest.approx(0.80995, rel=1e-4)


@pytest.mark.parametrize(("a", "expected"), [(0.3, 4.6e-4), (0.45, 5.2e-2), (0.49, 6.9e-1)])
def test_a_loop_is_not_exact(a, expected):
    covariance = ring(8, a)
    error = matrix(cycle(1, 8, 2, 1), covariance, 0.0) - covariance.inverse()
    assert error.abs().max().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("rho", "width", "length", "eta", "errors"),
    [
        (0.9, 2, 9, 0, (0.113, 0.185, 0.599)),
        (0.5, 2, 9, 0, (0.006, 0.023, 0.125)),
        (0.9, 4, 24, 0, (0.074, 0.103, 0.421)),
        (0.9, 2, 9, 4, (0.153, None, 0.263)),
    ],
)
def test_covariance_at_the_end_of_the_flow(rho, width, length, eta, errors):
    """Composed dynamics du = -sigma score dsigma from sigma 80 to 1e-3 in closed steps: far correlations come out too weak.

    The loss is smaller where neighbours depend less on each other, where pieces overlap more, and with noise (eta > 0).
    """
    covariance, graph = ar1(length, rho), chain(1, length, width, width // 2)
    ends = torch.linspace(80**0.2, 1e-3**0.2, 201, dtype=torch.float64) ** 5
    P = covariance + 6400 * torch.eye(length)
    for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):

        def rate(s: float, P: Tensor) -> Tensor:
            B = matrix(graph, covariance, s * s)
            return (1 + eta**2) * s * (B @ P + P @ B) - 2 * eta**2 * s * torch.eye(length)

        h = b - a
        k1 = rate(a, P)
        k2 = rate(a + h / 2, P + h / 2 * k1)
        k3 = rate(a + h / 2, P + h / 2 * k2)
        P = P + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(b, P + h * k3))
    error = (P - covariance).abs()
    found = error.diagonal().max().item(), error.diagonal(1).max().item(), error.max().item()
    assert all(b is None or abs(a - b) < 2e-3 for a, b in zip(found, errors, strict=True)), found
    if (rho, width) == (0.9, 2):
        assert P[0, 4].item() == pytest.approx({0: 0.066, 4: 0.462}[eta], abs=1e-3), "of 0.656"


def lumpy(u: Tensor, t: float) -> Tensor:
    """A score that depends on every position of a patch and on where it is in the patch."""
    flat = u.flatten(1)
    ramp = torch.linspace(1, 2, flat.shape[1], dtype=u.dtype)
    return (torch.sin(flat * ramp) * (1 + t) + flat.square().mean(1, keepdim=True)).reshape(u.shape)


def contents(graph: FactorGraph, batch: int = 3, channels: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, *graph.size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", GRAPHS)
def test_batched_is_looped_and_chunked(name):
    graph = GRAPHS[name]
    u = contents(graph)
    looped = torch.zeros_like(u).flatten(2)
    for patches, weights in [
        (graph.factors, torch.ones(len(graph.factors))),
        *zip(graph.variables, graph.weights, strict=True),
    ]:
        for patch, weight in zip(patches, weights.tolist(), strict=True):
            piece = u.flatten(2)[:, :, patch.flatten()].reshape(3, 2, *patch.shape)
            looped[:, :, patch.flatten()] += weight * lumpy(piece, 0.3).flatten(2)
    for chunk in (None, 1, 7, 1000):
        assert torch.allclose(
            composed_score(graph, lumpy, chunk=chunk)(u, 0.3), looped.reshape(u.shape), rtol=1e-13, atol=1e-13
        )


def test_chunks_bound_the_calls():
    graph, sizes = chain(1, 24, 4, 2), []

    def watched(u: Tensor, t: float) -> Tensor:
        sizes.append(len(u))
        return u

    composed_score(graph, watched, chunk=9)(contents(graph, batch=3), 0.0)
    assert max(sizes) == 9 and sum(sizes) == 3 * (11 + 10)
    sizes.clear()
    composed_score(graph, watched)(contents(graph, batch=3), 0.0)
    assert sizes == [33, 30], "the factors are one call, the variables another"


def test_turning_a_cycle_turns_its_score():
    graph = cycle(2, 18, 6, 3)
    u, score = contents(graph), composed_score(graph, lumpy)
    for k in (3, 6, 15):
        assert torch.allclose(score(u.roll(k, -1), 0.2), score(u, 0.2).roll(k, -1), rtol=1e-13, atol=1e-13)


def test_a_grid_of_one_row_is_a_chain():
    one, row = grid((4, 16), (4, 4), (2, 2)), chain(4, 16, 4, 2)
    assert torch.equal(one.factors, row.factors) and torch.equal(one.variables[0], row.variables[0])
    u = contents(row)
    assert torch.equal(composed_score(one, lumpy)(u, 0.1), composed_score(row, lumpy)(u, 0.1))


def test_one_factor_is_the_model():
    graph = chain(2, 6, 6, 3)
    u = contents(graph)
    assert graph.variables == () and torch.equal(composed_score(graph, lumpy)(u, 0.4), lumpy(u, 0.4))


def test_averages():
    """The mean of a score that is the same everywhere is that score, overlapping or side by side."""
    graph = chain(2, 16, 4, 2)
    u = contents(graph)
    assert torch.allclose(averaged_score(graph.size, graph.factors, lambda u, t: -u)(u, 0.0), -u, rtol=1e-15)
    tiles = averaged_score(graph.size, side_by_side(2, 16, 4), lumpy)(u, 0.1)
    assert torch.equal(tiles, torch.cat([lumpy(part, 0.1) for part in u.split(4, -1)], -1))


def test_conditions_reach_their_factors():
    graph = chain(1, 8, 4, 2)
    levels = {j: torch.full((1, 1, 1, 1), float(j), dtype=torch.float64) for j in range(3)}

    def conditional(u: Tensor, t: float, y: Tensor) -> Tensor:
        return y.expand(u.shape)

    for chunk in (None, 2):
        score = composed_score(graph, conditional, lambda u, t: torch.zeros_like(u), levels, chunk=chunk)
        assert score(contents(graph, channels=1), 0.0)[1, 0, 0].tolist() == [0, 0, 1, 1, 3, 3, 2, 2]
    per_sample = {j: torch.tensor([10.0 * j, -j], dtype=torch.float64).reshape(2, 1, 1, 1) for j in range(3)}
    score = composed_score(graph, conditional, lambda u, t: torch.zeros_like(u), per_sample)
    assert score(contents(graph, batch=2, channels=1), 0.0)[:, 0, 0, 4].tolist() == [30, -3]


@pytest.mark.parametrize("make", [euler_maruyama, ddim, rhoab_deis, gddim])
def test_every_sampler_takes_it(make):
    """One factor: composed sampling is the sampling of the model, bit for bit."""
    process = VE(sigma_max=5.0)
    sampler = make(process, grids.rho_power(process, 8))
    u = process.prior_sample((2, 1, 1, 6), torch.Generator().manual_seed(0), torch.float64)

    def model(u: Tensor, t: float) -> Tensor:
        return -u / (1 + process.Sigma(t).values.item())

    ends = [sampler(s, u, torch.Generator().manual_seed(1)) for s in (model, composed_score(chain(1, 6, 6, 3), model))]
    assert torch.equal(*ends)


def test_rings_of_the_cube_are_closed_and_upright():
    """Neighbours in a ring are neighbours on the cube, also over its end, and no ring mirrors a face."""
    side = 6
    points = directions(side).flatten(0, 2)
    for ring in cubemap(side).factors:
        steps = points[ring.roll(-1, 1)] - points[ring]
        assert steps.norm(dim=-1).max().item() <= 2 / side + 1e-12, "a step is one pixel, or round an edge"
        right, down = (points[ring.roll(-1, axis)] - points[ring] for axis in (1, 0))
        inner = torch.arange(4 * side) % side < side - 1
        turn = torch.linalg.cross(right[:-1, inner], down[:-1, inner])
        outward = (turn * points[ring[:-1, inner]]).sum(-1)
        assert (outward < 0).all() or (outward > 0).all()
        assert (outward < 0).all() == (torch.linalg.cross(points[1] - points[0], points[side] - points[0]) @ points[0] < 0)


def test_nested_rings_are_independent_coordinates():
    """A cube whose rings are composed on cycles: exact where all coordinates are independent."""
    side = 4
    ring = composed_score(cycle(side, 4 * side, 4, 2), lambda u, t: -u / (1 + t))
    cube = cubemap(side)
    u = contents(cube, channels=1)
    assert torch.allclose(composed_score(cube, ring, lambda u, t: -u / (1 + t))(u, 0.5), -u / 1.5, rtol=1e-13)


def test_equirectangular():
    """The middle of each face is seen where it lies, and a function of the direction is rendered as that function."""
    names = torch.arange(6).reshape(6, 1, 1).expand(6, 9, 9)
    picture = equirectangular(names, 32)
    seen = {"F": (16, 32), "R": (16, 48), "L": (16, 16), "B": (16, 0), "U": (1, 20), "D": (30, 20)}
    assert all(picture[where] == FACES.index(name) for name, where in seen.items())
    assert set("".join(RINGS)) == set(FACES)
    side, height = 64, 40
    unit = directions(side) / directions(side).norm(dim=-1, keepdim=True)
    latitude = math.pi * (0.5 - (torch.arange(height)[:, None] + 0.5) / height)
    longitude = math.pi * ((torch.arange(2 * height) + 0.5) / height - 1)
    x, z = latitude.cos() * longitude.sin(), latitude.cos() * longitude.cos()
    expected = torch.stack([x, latitude.sin().expand_as(x), z])
    assert (equirectangular(unit.movedim(-1, 0), height) - expected).abs().max().item() < 2 / side


ONE = torch.zeros(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(1, 4, 8, 4), "factor 0: a piece larger than the content"),
        (lambda: chain(1, 23, 8, 4), "do not fill 23; allowed lengths: 4 \\+ n x 4"),
        (lambda: chain(1, 24, 8, 8), "overlap by 8; allowed: 1 to 7"),
        (lambda: cycle(1, 8, 6, 2), "factor 0: a piece larger than the content"),
        (lambda: cycle(1, 13, 6, 2), "a multiple of 4"),
        (lambda: grid((4, 4), (8, 4), (2, 2)), "grid, rows: factor 0: a piece larger"),
        (lambda: grid((12, 12), (6, 6), (4, 4)), "at most half"),
        (lambda: tilings((8, 10), 4), "allowed: an even side"),
        (lambda: FactorGraph((4,), torch.tensor([[0, 1], [2, 3]])), "factor 1: no chain of overlaps leads from factor 0"),
        (
            lambda: FactorGraph((3,), torch.tensor([[0, 1], [1, 2]])),
            r"overlaps do not match at position \(1,\), held by factor 0",
        ),
        (
            lambda: FactorGraph((3,), torch.tensor([[0, 1], [1, 2]]), (torch.tensor([[2]]),)),
            "variable 0: 1 factors hold all of it",
        ),
        (lambda: FactorGraph((3,), torch.tensor([[0, 1], [1, 3]])), "factor 1: its patch reaches outside"),
        (lambda: FactorGraph((3,), torch.tensor([[0, 1]])), r"no factor holds position \(2,\)"),
        (lambda: FactorGraph((2,), torch.tensor([[0, 1, 1]])), "factor 0: a piece larger than the content"),
        (
            lambda: composed_score(chain(1, 8, 4, 2), lumpy, lumpy, dict.fromkeys(range(4), ONE)),
            "condition of factor 3: there is no",
        ),
        (lambda: composed_score(chain(1, 8, 4, 2), lumpy, lumpy, {0: ONE, 2: ONE}), "factor 1 has no condition"),
        (lambda: composed_score(chain(1, 8, 4, 2), lumpy, None, {0: ONE, 1: ONE, 2: ONE}), "a score of their own"),
        (lambda: composed_score(chain(1, 8, 4, 2), lumpy, [lumpy, lumpy]), "2 scores of variables; allowed: 1"),
        (lambda: composed_score(chain(1, 8, 4, 2), lumpy)(torch.zeros(2, 1, 1, 9), 0.0), r"allowed: \(batch, channels, 1, 8\)"),
        (lambda: averaged_score((4,), torch.tensor([[0, 1]]), lumpy), "no patch holds position 2"),
        (lambda: side_by_side(1, 7, 2), "a multiple of 2"),
        (lambda: equirectangular(torch.zeros(5, 4, 4), 8), "allowed: \\(..., 6, side, side\\)"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(RescoreError, match=message):
        make()


def test_variables_have_conditions_of_their_own():
    """Scores y u: the weight of each position is the sum of its factors' conditions less that of its variable."""
    graph, u = chain(1, 8, 4, 2), torch.ones(2, 1, 1, 8, dtype=torch.float64)

    def score(patches: Tensor, t: float, y: Tensor) -> Tensor:
        return patches * y[:, :, None, None]

    factors = {j: torch.tensor([[float(10**j)], [2.0 * 10**j]], dtype=torch.float64) for j in range(3)}
    variables = {0: torch.tensor([[0.5]]).double(), 1: torch.tensor([[0.25]]).double()}
    found = composed_score(graph, score, score, factors, shared=[variables])(u, 0.5)[:, 0, 0]
    assert found[0].tolist() == [1, 1, 10.5, 10.5, 109.75, 109.75, 100, 100]
    assert found[1].tolist() == [2, 2, 21.5, 21.5, 219.75, 219.75, 200, 200]
    with pytest.raises(RescoreError, match="shared conditions of 0 groups of variables; allowed: 1"):
        composed_score(graph, score, score, factors, shared=[])
    with pytest.raises(RescoreError, match="variable 1 has no condition"):
        composed_score(graph, score, score, factors, shared=[{0: variables[0]}])
    with pytest.raises(RescoreError, match="condition of variable 2: there is no such variable"):
        composed_score(graph, score, score, factors, shared=[variables | {2: variables[0]}])
