"""Known pixels: replacement, reconstruction and outpainting, against Gaussians."""

import pytest
import torch
from collage_case import ar1
from rescore.collage import (
    chain,
    clipped_score,
    composed_score,
    cube_squares,
    from_the_middle,
    grid,
    outpaint,
    reconstructed_score,
    replaced_score,
    side_by_side,
)
from rescore.collage.cubemap import FACES, RINGS, directions
from rescore.errors import RescoreError
from rescore.processes import CLD, VP, grids
from rescore.samplers import ddim
from torch import Tensor

PROCESS = VP()


def gaussian(covariance: Tensor):
    """The score of N(0, covariance), diffused, on flattened states."""

    def score(u: Tensor, t: float) -> Tensor:
        m, variance = PROCESS.mean(t).values, PROCESS.Sigma(t).values
        precision = (m**2 * covariance + variance * torch.eye(len(covariance))).inverse().to(u)
        return -(u.flatten(1) @ precision).reshape(u.shape)

    return score


def clean(score, u: Tensor, t: float) -> Tensor:
    """x0(u, t)."""
    return (u + PROCESS.Sigma(t).values * score(u, t)) / PROCESS.mean(t).values


def states(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


MASK = torch.tensor([1.0, 0, 0, 1, 0, 0]).reshape(1, 1, 1, 6)
KNOWN = torch.tensor([0.5, 0, 0, -1, 0, 0], dtype=torch.float64).reshape(1, 1, 1, 6)


def test_replacement_replaces_the_known_pixels_of_x0_only():
    score, u = gaussian(ar1(6, 0.9)), states(3, 1, 1, 6)
    replaced = clean(replaced_score(PROCESS, score, KNOWN, MASK), u, 0.4)
    assert torch.allclose(replaced, torch.where(MASK.bool(), KNOWN, clean(score, u, 0.4)), rtol=1e-12, atol=1e-13)


def test_the_clip_bounds_x0_only():
    score, u = gaussian(ar1(6, 0.9)), states(3, 1, 1, 6)
    free = clean(score, u, 0.1)
    assert free.abs().max() > 0.5 > free.abs().min()
    assert torch.allclose(clean(clipped_score(PROCESS, score, 0.5), u, 0.1), free.clamp(-0.5, 0.5), rtol=1e-12)


def test_reconstruction_is_an_exact_line_search_along_the_gradient():
    """x0 of a Gaussian is linear, x0 = A u: the step is along A^T M (A u - known), and no other length leaves less."""
    score, u, t = gaussian(ar1(6, 0.9)), states(3, 1, 1, 6), 0.4
    before = clean(score, u, t)
    after = clean(reconstructed_score(PROCESS, score, KNOWN, MASK), u, t)
    A = clean(score, torch.eye(6, dtype=torch.float64).reshape(6, 1, 1, 6), t).reshape(6, 6).T
    gradient = (2 * ((before - KNOWN) * MASK).flatten(1) @ A).reshape(u.shape)
    step = ((before - after) / gradient).flatten(1)
    assert torch.allclose(step, step[:, :1].expand_as(step), rtol=1e-8)

    def left(w: Tensor) -> Tensor:
        return ((before - w.reshape(-1, 1, 1, 1) * gradient - KNOWN) * MASK).square().flatten(1).sum(1)

    best = left(step[:, 0])
    assert (
        (best < left(torch.zeros(3))).all()
        and (best <= left(1.01 * step[:, 0])).all()
        and (best <= left(0.99 * step[:, 0])).all()
    )


def test_pieces_that_are_apart_have_line_searches_of_their_own():
    """Two halves of a content, side by side, as each by itself; with one length for both they are not."""
    half, u, t = gaussian(ar1(3, 0.9)), states(4, 2, 1, 6), 0.4
    known, mask = 3 * states(1, 1, 1, 6).flip(-1), torch.tensor([1.0, 0, 1, 0, 1, 0]).reshape(1, 1, 1, 6)

    def each(u: Tensor, t: float) -> Tensor:
        """Channels apart too."""
        return half(u.reshape(-1, 3), t).reshape(u.shape)

    sides = [slice(0, 3), slice(3, 6)]
    alone = torch.cat([reconstructed_score(PROCESS, each, known[..., s], mask[..., s])(u[..., s], t) for s in sides], -1)
    apart = side_by_side(1, 6, 3)
    assert torch.allclose(reconstructed_score(PROCESS, each, known, mask, apart=apart)(u, t), alone, rtol=1e-9)
    assert not torch.allclose(reconstructed_score(PROCESS, each, known, mask)(u, t), alone, rtol=0.1)
    with pytest.raises(RescoreError, match="1 pieces that do not fill a content of \\(1, 6\\) once"):
        reconstructed_score(PROCESS, each, known, mask, apart=apart[:1])


def test_reconstruction_goes_through_a_composed_score_and_can_replace():
    graph = chain(1, 6, 4, 2)
    score = composed_score(graph, gaussian(ar1(4, 0.9)), gaussian(ar1(2, 0.9)))
    x0 = clean(reconstructed_score(PROCESS, score, KNOWN, MASK, replace=True), states(3, 1, 1, 6), 0.4)
    assert torch.allclose(x0[MASK.expand_as(x0).bool()], KNOWN[MASK.bool()].repeat(3), rtol=1e-12)
    with torch.inference_mode():
        inside = clean(reconstructed_score(PROCESS, score, KNOWN, MASK, replace=True), states(3, 1, 1, 6), 0.4)
    assert torch.equal(inside, x0)


@pytest.mark.parametrize("method", ["replacement", "reconstruction"])
def test_a_sampler_leaves_the_known_pixels_known(method):
    """From independent coordinates with all the noise gone, the known pixels end at their values."""
    make = {"replacement": replaced_score, "reconstruction": lambda *a: reconstructed_score(*a, replace=True)}[method]
    score = make(PROCESS, gaussian(torch.eye(6, dtype=torch.float64)), KNOWN, MASK)
    sampler = ddim(PROCESS, grids.quadratic(PROCESS, 20), denoise="tweedie")
    x = sampler(score, states(4, 1, 1, 6))
    assert torch.allclose(x[MASK.expand_as(x).bool()], KNOWN[MASK.bool()].repeat(4), rtol=0, atol=1e-10)
    free = sampler(gaussian(torch.eye(6, dtype=torch.float64)), states(4, 1, 1, 6))
    assert torch.allclose(x[..., 1:3], free[..., 1:3], rtol=0, atol=1e-10), "independent pixels take no notice"


def test_outpainting_keeps_what_is_there_and_counts_its_runs():
    graph, seen = chain(2, 24, 4, 2), []

    def watched(u: Tensor, t: float) -> Tensor:
        if t == 1.0:
            seen.append(len(u))
        return -u

    sampler = ddim(PROCESS, grids.quadratic(PROCESS, 4))
    both, runs, conditioned = outpaint(graph.size, graph.factors, sampler, watched, (3, 1), torch.Generator().manual_seed(0))
    assert both.shape == (3, 1, 2, 24) and (runs, conditioned) == (6, 5) and seen == [3] + [6] * 5
    seen.clear()
    _, one_by_one, _ = outpaint(
        graph.size, graph.factors, sampler, watched, (3, 1), torch.Generator().manual_seed(0), order=[[j] for j in range(11)]
    )
    assert one_by_one == 11 and seen == [3] * 11
    one = chain(2, 4, 4, 2)
    first, *_ = outpaint(one.size, one.factors, sampler, watched, (3, 1), torch.Generator().manual_seed(0))
    assert torch.equal(first, both[..., 10:14]), "the middle piece is generated first and stays as it is"


def lattice_case() -> tuple[torch.Tensor, list[list[int]], int]:
    return grid((24, 24), (8, 8), (4, 4)).factors, from_the_middle(5, 5), 24 * 24


def cube_case() -> tuple[torch.Tensor, list[list[int]], int]:
    return *cube_squares(8), 6 * 64


@pytest.mark.parametrize("case", [lattice_case, cube_case])
def test_an_order_of_squares_fills_the_content_half_a_square_at_a_time(case):
    """No two squares of a batch make the same position, and each knows at least half of itself."""
    squares, order, positions = case()
    assert sorted(j for group in order for j in group) == list(range(len(squares)))
    filled = torch.zeros(positions, dtype=torch.long)
    for step, group in enumerate(order):
        new = torch.zeros_like(filled)
        for square in squares[group].flatten(1):
            known = filled[square].sum().item()
            assert known == 0 if step == 0 else known >= 32
            new[square] += 1 - filled[square]
        assert new.max() == 1, f"batch {step} makes a position twice"
        filled += new
    assert filled.all()


def test_orders_start_in_the_middle():
    assert from_the_middle(4) == [[1], [0, 2], [3]] and from_the_middle(5) == [[2], [1, 3], [0, 4]]
    assert from_the_middle(3, 3) == [[4], [1, 3, 5, 7], [0, 2, 6, 8]] and from_the_middle(1, 4) == from_the_middle(4)


def test_squares_of_the_cube_lie_on_two_faces():
    """All edges but that of B and L are crossed, each by a square with half of either face."""
    squares, _ = cube_squares(4)
    crossed = {frozenset(FACES[k] for k in (square // 16).unique().tolist()) for square in squares[1:]}
    edges = {frozenset((left, right)) for ring in RINGS for left, right in zip(ring, ring[1:] + ring[0], strict=True)}
    assert len(edges) == 12 and edges - crossed == {frozenset("BL")} and len(crossed) == 11
    place = directions(4).flatten(0, 2)
    for square in squares[1:]:
        assert ((square // 16).flatten().bincount(minlength=6) == 8).sum() == 2
        steps = (place[square[:, 1:]] - place[square[:, :-1]]).norm(dim=-1)
        assert steps.max() <= 0.5 + 1e-12, "neighbours in the square are neighbours on the cube"
    with pytest.raises(RescoreError, match="faces of side 3; allowed: even sides"):
        cube_squares(3)


def test_outpainting_between_given_ends():
    graph = chain(1, 8, 4, 2)
    ends = torch.tensor([3.0, 3, 0, 0, 0, 0, -3, -3]).expand(2, 1, 1, 8)
    sampler = ddim(PROCESS, grids.quadratic(PROCESS, 10), denoise="tweedie")
    arguments = (graph.size, graph.factors, sampler, gaussian(ar1(4, 0.99).float()), (2, 1))
    x, runs, _ = outpaint(*arguments, torch.Generator().manual_seed(0), order=[[1]], given=(ends, ends[0, 0] != 0))
    assert runs == 1 and torch.equal(x[..., [0, 1, 6, 7]], ends[..., [0, 1, 6, 7]]), "what is given stays"
    assert not torch.equal(x[0, ..., 2:6], x[1, ..., 2:6])


def test_outpainting_gives_each_piece_its_condition():
    graph = chain(1, 8, 4, 2)
    conditions = {j: torch.full((1, 1, 1, 1), 10.0 * j) for j in range(3)}

    def pulled(u: Tensor, t: float, y: Tensor) -> Tensor:
        """The score of a point mass at y."""
        return (PROCESS.mean(t).values.item() * y - u) / PROCESS.Sigma(t).values.item()

    sampler = ddim(PROCESS, grids.quadratic(PROCESS, 4), denoise="tweedie")
    noise = torch.Generator().manual_seed(0)
    x, *_ = outpaint(graph.size, graph.factors, sampler, pulled, (2, 1), noise, conditions=conditions)
    assert torch.allclose(x[:, 0, 0], torch.tensor([0.0, 0, 10, 10, 10, 10, 20, 20]).expand(2, -1), atol=1e-3)


def test_bad_input_is_named():
    score, u = gaussian(torch.eye(6, dtype=torch.float64)), states(1, 1, 1, 6)
    with pytest.raises(RescoreError, match="CLD: allowed"):
        replaced_score(CLD(), score, KNOWN, MASK)
    with pytest.raises(RescoreError, match="does not fit"):
        replaced_score(PROCESS, score, KNOWN, torch.ones(1, 1, 1, 5))
    with pytest.raises(RescoreError, match="no gradient passes"):
        reconstructed_score(PROCESS, torch.no_grad()(score), KNOWN, MASK)(u, 0.5)
    sampler = ddim(PROCESS, grids.quadratic(PROCESS, 2))
    with pytest.raises(RescoreError, match="method 'copy'; allowed: replacement, reconstruction"):
        outpaint((1, 8), chain(1, 8, 4, 2).factors, sampler, score, (1, 1), torch.Generator(), method="copy")
    with pytest.raises(RescoreError, match="factor 3 is not there; allowed: 0 to 2"):
        outpaint((1, 8), chain(1, 8, 4, 2).factors, sampler, score, (1, 1), torch.Generator(), order=[[0], [3]])
    with pytest.raises(RescoreError, match="factor 2 has no condition"):
        outpaint((1, 8), chain(1, 8, 4, 2).factors, sampler, score, (1, 1), torch.Generator(), conditions={0: u, 1: u})
