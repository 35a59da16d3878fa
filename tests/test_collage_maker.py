"""Contents of every graph by every method, from pieces whose scores are known."""

from dataclasses import replace

import pytest
import torch
from collage_case import ar1
from rescore.collage import (
    METHODS,
    LongSeries,
    Maker,
    chain,
    connected,
    from_strokes,
    inpainted,
    on_a_cube,
    side_by_side,
    tiled,
)
from rescore.errors import RescoreError
from rescore.processes import VP, grids
from rescore.random import Streams
from rescore.samplers import AdaptiveFlow, ddim
from torch import Tensor


@pytest.fixture
def maker():
    """Of pieces that are all 0.3."""
    process = VP()

    def score(u: Tensor, t: float) -> Tensor:
        return (0.3 * process.mean(t).values.item() - u) / process.Sigma(t).values.item()

    sampler = ddim(process, [1.0, 0.5, 1e-3], denoise="tweedie")
    return Maker(sampler, 1, score, score, score, differentiable_part=score, quarter=score)


def test_a_maker_counts_the_passes_of_a_fixed_grid(maker):
    adaptive = replace(maker, sampler=AdaptiveFlow(maker.sampler.process, [1.0, 1e-3]))
    contents = torch.Generator().manual_seed(0)
    assert maker.outpaint("replacement", (1, 4), side_by_side(1, 4, 4), 1, contents).passes == maker.sampler.nfe == 3
    with pytest.raises(RescoreError, match="AdaptiveFlow has no number of evaluations"):
        adaptive.outpaint("replacement", (1, 4), side_by_side(1, 4, 4), 1, contents)


def test_a_run_of_reconstruction_has_a_way_back_where_something_is_there(maker):
    """The left two of twelve columns are known: of five pieces from the middle out, the first run sees nothing of them."""
    known = torch.zeros(1, 12, dtype=torch.bool)
    known[:, :2] = True
    graph, x = chain(1, 12, 4, 2), torch.full((2, 1, 1, 12), 0.3)
    made = maker.outpaint("reconstruction", graph.size, graph.factors, 2, torch.Generator().manual_seed(0), given=(x, known))
    runs = 3
    assert made.passes == 3 * (runs + runs - 1)


def test_one_piece_is_a_chain_and_one_condition_is_that_of_all(maker):
    noise = torch.Generator().manual_seed(0)
    told = replace(maker, piece=lambda u, t, y: maker.piece(u, t), part=lambda u, t, y: maker.part(u, t))
    x = told.chained("Baseline", chain(1, 4, 4, 2), 3, noise, {0: torch.zeros(1, 1)}).x
    assert torch.allclose(x, torch.full((3, 1, 1, 4), 0.3), atol=1e-5)
    told = replace(told, piece=maker.piece)
    x = told.chained("DiffCollage", chain(1, 8, 4, 2), 3, noise, shared=torch.zeros(1, 1)).x
    assert torch.allclose(x, torch.full((3, 1, 1, 8), 0.3), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_contents_of_every_graph_and_method_are_those_of_their_pieces(method, maker):
    """Passes: three a run, a way back in each run of reconstruction but the first that has nothing before it."""
    noise = torch.Generator().manual_seed(0)
    made = {"tiled": tiled(maker, method, (12, 12), 4, 3, noise), "cube": on_a_cube(maker, method, 4, 2, 3, noise)}
    for x, _ in made.values():
        assert torch.allclose(x, torch.full_like(x, 0.3), atol=1e-5)
    runs = {"tiled": 5, "cube": 5} if method in ("Replacement", "Reconstruction") else {"tiled": 1, "cube": 1}
    back = {name: (n - 1) * (method == "Reconstruction") for name, n in runs.items()}
    assert {name: one.passes for name, one in made.items()} == {name: 3 * (n + back[name]) for name, n in runs.items()}
    assert made["tiled"].x.shape == (3, 1, 12, 12)


@pytest.mark.parametrize("method", METHODS)
def test_batches_change_neither_contents_under_conditions_nor_the_passes(method, maker):
    """Each content under a condition of its own: what its pieces are, 0.1, 0.2 or 0.3."""
    process = maker.sampler.process

    def score(u: Tensor, t: float, y: Tensor) -> Tensor:
        wanted = y.reshape(-1, *[1] * (u.ndim - 1))
        return (wanted * process.mean(t).values.item() - u) / process.Sigma(t).values.item()

    maker, graph, y = replace(maker, piece=score, part=score, differentiable=score), chain(2, 16, 4, 2), torch.arange(1, 4) / 10
    conditions = dict.fromkeys(range(len(graph.factors)), y[:, None])
    whole, parts = (
        replace(maker, batch=batch).chained(method, graph, 3, torch.Generator().manual_seed(0), conditions, y[:, None])
        for batch in (None, 2)
    )
    assert torch.allclose(whole.x, y[:, None, None, None].expand_as(whole.x), atol=1e-5)
    assert torch.equal(whole.x, parts.x) and whole.passes == parts.passes


def test_independent_pieces_have_the_condition_of_the_factor_that_they_cover(maker):
    process = maker.sampler.process

    def score(u: Tensor, t: float, y: Tensor) -> Tensor:
        return (y.reshape(-1, 1, 1, 1) * process.mean(t).values.item() - u) / process.Sigma(t).values.item()

    graph = chain(1, 16, 4, 2)
    conditions = {j: torch.tensor([[j / 10]]) for j in range(len(graph.factors))}
    x, _ = replace(maker, piece=score).chained("Baseline", graph, 1, torch.Generator().manual_seed(0), conditions)
    assert torch.allclose(x[0, 0, 0, ::4], torch.tensor([0.0, 0.2, 0.4, 0.6]), atol=1e-5)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "Averaging"])
def test_what_is_between_two_given_squares(method, maker):
    graph = chain(4, 16, 4, 2)
    given = torch.full((3, 1, 4, 16), 0.7)
    x, _ = connected(maker, method, graph, given, torch.Generator().manual_seed(0))
    assert (x[..., :4] == 0.7).all() and (x[..., -4:] == 0.7).all()
    assert torch.allclose(x[..., 4:-4], torch.full((3, 1, 4, 8), 0.3), atol=1e-5)


@pytest.mark.parametrize("how", ["Split", "Outpainted", "DiffCollage"])
def test_known_pixels_stay(how, maker):
    noise, given = torch.Generator().manual_seed(0), torch.full((3, 1, 4, 16), 0.7)
    mask = torch.rand(1, 1, 4, 16, generator=noise) < 0.3
    x, _ = inpainted(maker, how, "Replacement", chain(4, 16, 4, 2), given, mask, noise)
    assert (x[:, :, mask[0, 0]] == 0.7).all() and torch.allclose(x[:, :, ~mask[0, 0]], torch.tensor(0.3), atol=1e-5)


@pytest.mark.parametrize(("kind", "ways"), [("Replacement", 1), ("Reconstruction", 2)])
@pytest.mark.parametrize("how", ["Split", "DiffCollage"])
def test_each_evaluation_of_reconstruction_has_its_way_back(how, kind, ways, maker):
    mask = torch.ones(1, 1, 4, 16, dtype=torch.bool)
    made = inpainted(maker, how, kind, chain(4, 16, 4, 2), torch.zeros(3, 1, 4, 16), mask, torch.Generator().manual_seed(0))
    assert made.passes == ways * maker.sampler.nfe


def test_split_squares_know_nothing_of_each_other(maker):
    """Whatever is known of the second square, the first is the same, by each way."""
    graph, mask = chain(4, 8, 4, 2), torch.rand(1, 1, 4, 8, generator=torch.Generator().manual_seed(1)) < 0.5
    x = torch.zeros(3, 1, 4, 8)
    other = torch.cat((x[..., :4], torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(2))), -1)

    def bent(u: Tensor, t: float) -> Tensor:
        """Of no Gaussian: the length of a step depends on the states."""
        return maker.piece(u, t) - 0.3 * u**3

    bent_maker = replace(maker, piece=bent, differentiable=bent)
    for kind in ("Replacement", "Reconstruction"):
        first, second = (
            inpainted(bent_maker, "Split", kind, graph, given, mask, torch.Generator().manual_seed(0)).x for given in (x, other)
        )
        assert torch.allclose(first[..., :4], second[..., :4], atol=1e-6)
        assert (first[..., 4:] - second[..., 4:]).abs().max() > 0.01


def test_connected_contents_are_under_their_conditions():
    """Point masses at y: what is not given is at the mean of its factors' conditions, less the variable's; ends stay."""
    process = VP()
    sampler = ddim(process, grids.quadratic(process, 6), denoise="tweedie")

    def at(u: Tensor, t: float, y: Tensor) -> Tensor:
        m, variance = process.mean(t).values.item(), process.Sigma(t).values.item()
        return (m * y[:, :, None, None] - u) / variance

    maker, graph, x = Maker(sampler, 1, at, at, at), chain(1, 12, 4, 2), torch.zeros(2, 1, 1, 12)
    x[..., :4], x[..., -4:] = 0.7, -0.7
    factors = {j: torch.full((1, 1), value) for j, value in enumerate((0.1, 0.1, 0.2, 0.4, 0.4))}
    shared = {i: torch.full((1, 1), value) for i, value in enumerate((0.1, 0.1, 0.2, 0.4))}
    made = connected(maker, "DiffCollage", graph, x, torch.Generator().manual_seed(0), factors, [shared]).x[:, 0, 0]
    expected = torch.tensor([0.7] * 4 + [0.1 + 0.2 - 0.1] * 2 + [0.2 + 0.4 - 0.2] * 2 + [-0.7] * 4)
    assert torch.allclose(made, expected.expand(2, -1), atol=1e-5)
    made = connected(maker, "Replacement", graph, x, torch.Generator().manual_seed(0), factors).x[0, 0, 0]
    assert torch.allclose(made[4:8], torch.tensor([0.1, 0.1, 0.2, 0.2]), atol=1e-5)


def test_contents_from_strokes():
    """N(0, 1) data stay where they are on the flow: m x + R z of strokes x at the time where it begins, by both ways alike."""
    process = VP()
    times = grids.quadratic(process, 200)
    late = ddim(process, times[times <= 0.5])
    maker, graph = Maker(late, 1, lambda u, t: -u, lambda u, t: -u, None, bound=50.0), chain(1, 16, 4, 2)
    x = torch.linspace(-3, 3, 400)[:, None, None, None].expand(400, 1, 1, 16)
    made = {how: from_strokes(maker, how, graph, x, torch.Generator().manual_seed(0)) for how in ("Split", "DiffCollage")}
    assert torch.allclose(made["Split"].x, made["DiffCollage"].x, atol=1e-4) and made["Split"].passes == late.nfe < 200
    m, root = (of(late.times[0]).values.item() for of in (process.mean, process.R))
    rest = made["DiffCollage"].x - m * x
    assert rest.mean().abs() < 0.04 and rest.std().item() == pytest.approx(root, rel=0.03)
    few = from_strokes(replace(maker, batch=7), "DiffCollage", graph, x[:20], torch.Generator().manual_seed(0)).x
    assert torch.allclose(few, made["DiffCollage"].x[:20], atol=1e-4), "a content depends on its seed and index alone"
    with pytest.raises(RescoreError, match="unknown how"):
        from_strokes(maker, "Outpainted", graph, x, torch.Generator())


def test_denoising_a_long_series_directly_is_exact_where_the_score_is_known_at_every_length():
    """Chains of standard deviation y: the flow of the long law itself, from the same noise, in closed form.

    So what the naive baseline loses is the network's, at lengths that it has not seen; what pieces lose is not.
    """
    process, y, length = VP(), torch.tensor([[0.5], [1.0]], dtype=torch.float64), 24

    def variances(t: float, eigenvalues: Tensor) -> Tensor:
        return process.mean(t).values.item() ** 2 * y**2 * eigenvalues + process.Sigma(t).values.item()

    def score(u: Tensor, t: float, y: Tensor) -> Tensor:
        clean = (y.double() ** 2)[..., None, None] * ar1(u.shape[-1], 0.9) * process.mean(t).values.item() ** 2
        noisy = clean + process.Sigma(t).values.item() * torch.eye(u.shape[-1], dtype=torch.float64)
        return -torch.linalg.solve(noisy, u.double().mT).mT.to(u)

    times = grids.quadratic(process, 300)
    maker = Maker(ddim(process, times, denoise="none"), 1, score, score, score, bound=1e3)
    start = process.prior_sample((2, 1, 1, length), Streams.like(torch.Generator().manual_seed(3), 2, 0)).double()
    eigenvalues, basis = torch.linalg.eigh(ar1(length, 0.9))
    grown = (variances(times[-1].item(), eigenvalues) / variances(times[0].item(), eigenvalues)).sqrt()
    exact = (start @ basis * grown[:, None, None]) @ basis.T
    errors = {}
    for method, any_length in (("Baseline", True), ("Baseline", False), ("DiffCollage", True)):
        made = LongSeries(maker, 8, 4, 5, any_length).make(method, y, torch.Generator().manual_seed(3))
        assert made.x.shape == exact.shape and made.passes == 300
        errors[method, any_length] = (made.x - exact).square().mean().sqrt().item()
    assert errors["Baseline", True] < 0.01
    assert min(errors["Baseline", False], errors["DiffCollage", True]) > 0.05
