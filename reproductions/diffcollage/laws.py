"""Contents whose law is known, from exact scores of their pieces, by every sampler that section 4.4.2 names."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from rescore.collage import FactorGraph, chain, composed_score
from rescore.experiments.book import Book
from rescore.metrics.maps import total_variation
from rescore.problems.gaussian import GaussianLaw, frechet, law_after, linear_law, prior_law, score_on_axes
from rescore.processes import CLD, VP, LinearSDE, grids
from rescore.progress import progress
from rescore.random import Streams, derive_seed, make_generator
from rescore.samplers import Method, Sampler, ddim, gddim, rhoab_deis, rhork_deis, within_budget
from rescore.scores import GaussianMixture, Score
from torch import Tensor

GAUSSIAN, MODES = "Gaussian chain", "mode chain"  # the contents
VP_PROCESS, CLD_PROCESS = VP(), CLD()
SAMPLERS: dict[tuple[str, str], tuple[LinearSDE, Method]] = {  # by method and variant of the records
    ("DDIM", ""): (VP_PROCESS, ddim),
    ("DDIM", "eta=1"): (VP_PROCESS, ddim.where(eta=1.0)),
    ("DEIS", ""): (VP_PROCESS, rhoab_deis.where(order=3)),
    ("rho2Midpoint", ""): (VP_PROCESS, rhork_deis.where(tableau="midpoint2")),
    ("gDDIM", ""): (CLD_PROCESS, gddim.where(order=2)),
}
LIMIT = {VP_PROCESS: rhoab_deis.where(order=3), CLD_PROCESS: gddim.where(order=2)}  # of many steps: the probability flow

LENGTH, WIDTH, OVERLAP = 48, 8, 4  # of the Gaussian chain
COLUMNS, WIDE, SHARED, FAR = 12, 2, 1, 6  # of the mode chain, and a distance that no piece spans
CENTRES = torch.tensor([[0.0, 1.0], [3**0.5 / 2, -0.5], [-(3**0.5) / 2, -0.5]], dtype=torch.float64)
STD, STAY = 0.15, 0.8  # around a centre; the probability that the next column has the same one
STEP = torch.full((3, 3), (1 - STAY) / 2, dtype=torch.float64).fill_diagonal_(STAY)


def samplers(book: Book, name: str) -> None:
    """Every sampler at several numbers of evaluations, on the same composed score."""
    {GAUSSIAN: gaussian_chain, MODES: mode_chain}[name](book)


def size_of(process: LinearSDE, size: Sequence[int]) -> tuple[int, ...]:
    """The shape of data whose states are contents (channels, *size): one channel, or the two halves of a state."""
    return (1, *size)[len(process.state_shape(())) :]


def each_sampler(book: Book) -> list[tuple[tuple[str, str], Sampler]]:
    """All samplers within each number of evaluations."""
    config = book.config
    grid = partial(grids.quadratic, t0=config.t0)
    evaluations = config.samplers.evaluations
    return [(key, within_budget(make, process, grid, n)) for key, (process, make) in SAMPLERS.items() for n in evaluations]


def about(sampler: Sampler) -> dict[str, object]:
    process = "cld" if sampler.process is CLD_PROCESS else "vp"
    return {
        "process": process,
        "grid": "quadratic",
        "t0": sampler.times[-1],
        "denoise": sampler.denoise,
        "score": "exact pieces",
    }


# --- Gaussian ----------------------------------------------------------------------------------------------------------------


def gaussian_chain(book: Book) -> None:
    """Squared 2-Wasserstein distances, a coordinate, to the data and to where the composed flow ends; nothing is drawn."""
    settings, graph = book.config.samplers, chain(1, LENGTH, WIDTH, OVERLAP)
    k = torch.arange(LENGTH, dtype=torch.float64)
    data = GaussianLaw.full(torch.zeros(LENGTH), settings.correlation ** (k[:, None] - k).abs())
    score = cache(partial(composed_gaussian, graph=graph, covariance=data.covariance[0]))

    @cache
    def limit(process: LinearSDE) -> GaussianLaw:
        many = LIMIT[process](process, grids.quadratic(process, settings.limit, book.config.t0))
        return linear_law(many, score(process), size_of(process, graph.size))

    for (method, variant), sampler in progress(each_sampler(book), desc=GAUSSIAN):
        protocol = about(sampler) | {"correlation": settings.correlation, "piece": WIDTH, "overlap": OVERLAP, "length": LENGTH}
        with book.cell("samplers", GAUSSIAN, method, variant, sampler.nfe, protocol) as cell:
            if cell.todo:
                law = law_of(sampler, score(sampler.process), size_of(sampler.process, graph.size))
                cell.exact("frechet", frechet(law, data) / LENGTH)
                if not sampler.stochastic:
                    cell.exact("to_flow", frechet(law, limit(sampler.process)) / LENGTH, limit=settings.limit)


def composed_gaussian(process: LinearSDE, graph: FactorGraph, covariance: Tensor) -> Score:
    """The composed score of a stationary Gaussian content (1, length): its pieces of one width are alike."""

    def piece(width: int) -> Score:
        shape = size_of(process, (1, width))
        return score_on_axes(process, GaussianLaw.full(torch.zeros(shape), covariance[:width, :width]))

    width, overlap = (patches.shape[-1] for patches in (graph.factors, graph.variables[0]))
    return composed_score(graph, piece(width), piece(overlap))


def law_of(sampler: Sampler, score: Score, shape: tuple[int, ...]) -> GaussianLaw:
    """What a sampler makes of its prior where the score is linear."""
    if not sampler.stochastic:
        return linear_law(sampler, score, shape)
    start = prior_law(sampler.process, shape)
    return law_after(sampler, score, GaussianLaw.full(torch.zeros(shape), start.variances.flatten().diag()))


# --- modes -------------------------------------------------------------------------------------------------------------------


def mode_chain(book: Book) -> None:
    """Columns near three centres, which follow each other by a Markov chain: how often each pair of centres stands where."""
    config, n = book.config, book.config.samplers.samples
    graph = chain(2, COLUMNS, WIDE, SHARED)
    score = cache(lambda process: composed_score(graph, *(mode_pieces(process, width) for width in (WIDE, SHARED))))

    def noise(*names: object) -> Streams:
        return Streams([derive_seed("diffcollage", "samplers", *names, seed) for seed in config.seeds], n)

    def fill(method: str, variant: str, nfe: int | None, protocol: dict[str, object], draw: Callable[[], Tensor]) -> None:
        protocol = protocol | {"piece": WIDE, "overlap": SHARED, "columns": COLUMNS, "stay": STAY}
        with book.cell("samplers", MODES, method, variant, nfe, protocol, n=n) as cell:
            if cell.todo:
                cell.add_each([pair_errors(x) for x in draw().unflatten(0, (len(config.seeds), n))])

    fill("exact draws", "", None, {}, lambda: torch.cat([draw_modes(n, seed) for seed in config.seeds]))
    for (method, variant), sampler in progress(each_sampler(book), desc=MODES):
        process = sampler.process

        def run(sampler: Sampler = sampler, process: LinearSDE = process, of: str = f"{method} {variant}") -> Tensor:
            state = process.state_shape(size_of(process, graph.size))
            start = process.prior_sample((n * len(config.seeds), *state), noise("start"), torch.float64)
            x = process.project(sampler(score(process), start, noise(of, sampler.steps)))
            return x.reshape(len(x), *graph.size)

        fill(method, variant, sampler.nfe, about(sampler), run)


def mode_pieces(process: LinearSDE, width: int) -> GaussianMixture:
    """The law of `width` neighbouring columns: a Gaussian for each of the 3^width rows of centres."""
    rows = torch.cartesian_prod(*[torch.arange(len(CENTRES))] * width).reshape(-1, width)
    weights = STEP[rows[:, :-1], rows[:, 1:]].prod(1) / len(CENTRES)
    return GaussianMixture(process, CENTRES[rows].mT.reshape(-1, *size_of(process, (2, width))), STD, weights)


def draw_modes(n: int, seed: int) -> Tensor:
    """Contents (n, 2, COLUMNS) of the chain itself."""
    generator = make_generator("diffcollage", "samplers", "exact draws", seed)
    rows = [torch.randint(len(CENTRES), (n,), generator=generator)]
    for _ in range(COLUMNS - 1):
        rows.append(torch.multinomial(STEP[rows[-1]], 1, generator=generator)[:, 0])
    x = CENTRES[torch.stack(rows, 1)].mT
    return x + STD * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def pair_errors(x: Tensor) -> dict[str, float]:
    """How far contents (n, 2, COLUMNS) are from the law of pairs.

    The total variation of pairs of centres, next to each other and FAR apart; the share of columns further than 4 standard
    deviations from every centre.
    """
    distances = torch.cdist(x.mT, CENTRES)
    nearest = distances.argmin(-1)
    found = {}
    for name, lag in (("neighbours", 1), ("far", FAR)):
        pairs = nearest[:, :-lag] * len(CENTRES) + nearest[:, lag:]
        shares = torch.bincount(pairs.flatten(), minlength=len(CENTRES) ** 2).double() / pairs.numel()
        found[f"tv_{name}"] = total_variation(shares.reshape(STEP.shape), STEP.matrix_power(lag) / len(CENTRES)).item()
    return found | {"off_mode": (distances.amin(-1) > 4 * STD).double().mean().item()}
