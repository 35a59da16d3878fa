"""What follows from the printed equations: identity with DSM, minimisers, moments of losses, sigma_t = g(t), gamma."""

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.networks import NoisePrediction
from rescore.objectives import DSM, LCSS, UniformTimes, compare
from rescore.objectives.pointwise import dsm, explicit, gradient_of, lcs, lcss, probes, ssm_vr
from rescore.problems.gaussian import law_after, prior_law
from rescore.problems.score_norms import scaled_score_ratio
from rescore.processes import VE, LinearSDE, SubVP, grids
from rescore.processes.quadrature import gauss_hermite
from rescore.random import make_generator
from rescore.samplers import euler_maruyama, reverse_diffusion
from torch import Tensor, nn

from reproductions.lcss.checkerboard import density_mlp
from reproductions.lcss.config import Config
from reproductions.lcss.stability import score_mlp

VARIANCE = 1 / 12  # of the Gaussian data: that of a uniform pixel
GAMMAS = (0.5, 0.9, 1.0, 1.1, 2.0, 10.0)
DIMENSION = 64  # of the losses' moments
SLOPE = (0.7, 0.4)  # variance of the data and sigma of the minimisers
NODES = 8  # of Gauss-Hermite quadrature, exact for these polynomials
POINT = 0.7  # where eq. 11 is taken, for s = -x^3
BATCH = 200  # of the identity; no power of 2: a mean over one is exact in both, and hides that they round differently
GAMMA, SIGMA = Axes("gamma={gamma:g}"), Axes("sigma={sigma:g}")
SAMPLERS = {"VE": (VE(), reverse_diffusion), "subVP": (SubVP(), euler_maruyama)}


def theory(book: Book) -> None:
    """What needs no training."""
    for part in (identity, minimisers, lemma_1, loss_moments, literal_sigma, gamma_on_a_gaussian):
        part(book)


def exact(
    book: Book,
    table: str,
    dataset: str,
    method: str,
    variant: object,
    metric: str,
    value: Callable[[], float],
    **protocol: object,
) -> None:
    book.exact(table, dataset, method, variant, None, {"how": "exact"} | protocol, n=1, **{metric: value})


def identity(book: Book) -> None:
    """The largest difference of the gradients of LCSS and DSM from the same draws, relative to the largest entry."""
    for dtype in (torch.float64, torch.float32):
        name, seeds = str(dtype).removeprefix("torch."), book.config.seeds
        found = cache(lambda dtype=dtype, seeds=seeds: [gradient_differences(book.config, dtype, seed) for seed in seeds])
        for model in ("MLP, eq. 18", "MLP (VE), eq. 19", "MLP (subVP), eq. 19"):
            with book.cell("identity", "noise", "LCSS against DSM", f"{model}, {name}", None, {"dtype": name}, n=BATCH) as cell:
                if cell.todo:
                    cell.add("gradient_difference", [values[model] for values in found()])


def gradient_differences(config: Config, dtype: torch.dtype, seed: int) -> dict[str, float]:
    """By model, for one seed."""
    board, small = config.checkerboard, config.stability
    draws = make_generator("lcss", "identity", seed)
    network = density_mlp(board.width, seed).to(dtype)
    x, z = (torch.randn(BATCH, 2, generator=draws, dtype=dtype) for _ in range(2))
    score = gradient_of(lambda y: network(y)[:, 0])
    pair = [loss(score, x, z, board.sigma) for loss in (lcss, dsm)]
    found = {"MLP, eq. 18": compare.gradient_difference(*pair, network)}
    for name, (process, _) in SAMPLERS.items():
        bare = score_mlp(small.width, small.blocks, seed).to(dtype)
        nn.init.normal_(bare.last.weight, std=0.1, generator=make_generator("lcss", "last", seed))
        noise = NoisePrediction(bare, process)
        x0 = torch.randn(BATCH, 1, 8, 8, generator=draws, dtype=dtype)
        pair = [kind("sigma^2", UniformTimes())(noise, process, x0, make_generator("lcss", seed)) for kind in (LCSS, DSM)]
        found[f"MLP ({name}), eq. 19"] = compare.gradient_difference(*pair, noise)
    return found


def minimisers(book: Book) -> None:
    """a of the best linear score s = a x on N(0, S), by quadrature: every mean loss is a parabola in a."""
    variance, sigma = SLOPE
    z, w = gauss_hermite(NODES)
    pairs, weights = torch.cartesian_prod(z, z), torch.cartesian_prod(w, w).prod(1)
    x, noise = math.sqrt(variance) * pairs[:, :1], pairs[:, 1:]
    losses: dict[str, Callable] = {
        "explicit": lambda score: explicit(score, x),
        "DSM": lambda score: dsm(score, x, noise, sigma),
        "LCSS": lambda score: lcss(score, x, noise, sigma),
        "LCS": lambda score: lcs(score, x, sigma),
    }

    def slope(loss: Callable) -> float:
        low, zero, high = ((loss(lambda y, a=a: a * y) * weights).sum().item() for a in (-1.0, 0.0, 1.0))
        return (low - high) / (2 * (low + high - 2 * zero))

    place = partial(exact, book, "minimisers", "gaussian", variant="", metric="score_slope", variance=variance)
    for method, loss in losses.items():
        place(method, value=partial(slope, loss), sigma=sigma)
    place("score of the data", value=lambda: -1 / variance)


def lemma_1(book: Book) -> None:
    """What eq. 11 leaves out, over the regulariser of eq. 10, for s = -x^3."""
    x, (z, w) = torch.tensor([[POINT]], dtype=torch.float64), gauss_hermite(NODES)

    def cube(y: Tensor) -> Tensor:
        return -(y**3)

    def gap(sigma: float) -> float:
        smoothed, curved = (explicit(cube, x + sigma * z[:, None]) * w).sum(), lcs(cube, x, sigma)
        return ((smoothed - curved) / (curved - explicit(cube, x))).item()

    for sigma in (0.1, 0.01):
        exact(book, "eq. 11", "cubic score", "LCS", SIGMA(sigma=sigma), "gap_over_regulariser", partial(gap, sigma), x=POINT)


def loss_moments(book: Book) -> None:
    """Mean and spread of sigma^2 times the losses of single samples at the true score of noised N(0, I).

    Also the spread of their derivatives by the score's scale: what one sample tells a training.
    """
    config, draws = book.config, book.config.theory.draws
    protocol = {"dimension": DIMENSION, "lambda": "sigma^2", "probe": "gaussian", "score": "exact"}
    for sigma in config.theory.sigmas:
        for method in ("DSM", "LCSS", "SSM"):
            with book.cell("moments", "gaussian", method, SIGMA(sigma=sigma), None, protocol, n=draws) as cell:
                if cell.todo:
                    cell.add_each([moments_of(method, sigma, draws, seed) for seed in config.seeds])


def moments_of(method: str, sigma: float, n: int, seed: int) -> dict[str, float]:
    """From n draws, the same for every method."""
    draws = make_generator("lcss", "moments", sigma, seed)
    x, z = (torch.randn(n, DIMENSION, generator=draws, dtype=torch.float64) for _ in range(2))
    losses = {
        "DSM": lambda score: sigma**2 * dsm(score, x, z, sigma),
        "LCSS": lambda score: sigma**2 * lcss(score, x, z, sigma),
        "SSM": lambda score: sigma**2 * ssm_vr(score, x + sigma * z, probes(x, draws)),
    }
    return compare.loss_moments(losses[method], lambda y: -y / (1 + sigma**2), n)


def variance_ratio(name: str, steps: int, spread: Callable[[float], Tensor], gamma: float = 1.0) -> float:
    """Variance of what a process's sampler leaves over that of the data, N(0, S), under the score -gamma u / spread(t)."""
    process, method = SAMPLERS[name]
    sampler = method(process, grids.uniform(process, steps))
    law = law_after(sampler, lambda u, t: -gamma / spread(t) * u, prior_law(process, (1,)))
    return law.variances.item() / VARIANCE


def literal_sigma(book: Book) -> None:
    """The reverse diffusion of N(0, S) under the minimiser of eq. 19 for three readings of x' and sigma_t."""
    steps = book.config.theory.steps
    for name, (process, method) in SAMPLERS.items():
        for reading, spread in readings(process).items():
            value = partial(variance_ratio, name, steps, spread)
            exact(
                book,
                "sigma_t",
                "gaussian",
                "LCSS",
                f"{name}, {reading}",
                "variance_ratio",
                value,
                steps=steps,
                sampler=method.name,
            )
        ratio = process.GG(0.5).values.sqrt() / process.R(0.5).values
        exact(book, "sigma_t", "gaussian", "LCSS", f"{name}, t=0.5", "g_over_std", ratio.item)


def readings(process: LinearSDE) -> dict[str, Callable[[float], Tensor]]:
    """The variance of x' as a function of t; the mean of VE's kernel is x0 anyway."""
    own_mean = {"std of p_t, mean x0": lambda t: VARIANCE + process.Sigma(t).values}
    return ({} if isinstance(process, VE) else own_mean) | {
        "std of p_t": lambda t: process.mean(t).values ** 2 * VARIANCE + process.Sigma(t).values,
        "sigma_t = g(t)": lambda t: VARIANCE + process.GG(t).values,
    }


def gamma_on_a_gaussian(book: Book) -> None:
    """Variance of the samples over that of the data, N(0, S): by the chain and in the limit of many steps."""
    steps, process = book.config.theory.steps, SAMPLERS["VE"][0]
    for gamma in GAMMAS:
        place = partial(exact, book, "fig7", "gaussian", variant=GAMMA(gamma=gamma), metric="variance_ratio")
        chain = partial(variance_ratio, "VE", steps, lambda t: VARIANCE + process.Sigma(t).values, gamma)
        place("LCSS", value=chain, steps=steps)
        place("closed form", value=partial(scaled_score_ratio, process, gamma, VARIANCE))
