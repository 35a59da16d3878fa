"""What follows from the printed equations: identity with DSM, minimisers, moments of losses, sigma_t = g(t), gamma."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from reproductions.lcss.config import Config
from reproductions.lcss.networks import density_mlp, score_mlp
from reproductions.lcss.rows import Row
from rescore.networks import NoisePrediction
from rescore.objectives import DSM, LCSS, UniformTimes
from rescore.objectives.pointwise import dsm, explicit, gradient_of, lcs, lcss, probes, ssm_vr
from rescore.processes import VE, SubVP, grids
from rescore.processes.base import LinearSDE
from rescore.random import make_generator
from rescore.samplers import euler_maruyama, reverse_diffusion

VARIANCE = 1 / 12  # of the Gaussian data: that of a uniform pixel
GAMMAS = (0.5, 0.9, 1.0, 1.1, 2.0, 10.0)
DIMENSION = 64  # of the losses' moments
SLOPE = (0.7, 0.4)  # variance of the data and sigma of the minimisers
POINT = 0.7  # where eq. 11 is taken, for s = -x^3


def theory(config: Config) -> Iterator[Row]:
    yield from identity(config)
    yield from minimisers()
    yield from lemma_1()
    yield from loss_moments(config)
    yield from literal_sigma(config)
    yield from gamma_on_a_gaussian(config)


def _exact(table: str, dataset: str, method: str, variant: str, metric: str, value: float, **protocol: object) -> Row:
    return Row(table, dataset, method, variant, metric, [value], 1, {"how": "exact"} | protocol, "exact")


def relative_difference(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def gradient(losses: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())  # the score does not depend on the last bias of a log density
    return torch.cat([g.flatten() for g in torch.autograd.grad(losses.mean(), parameters, materialize_grads=True)])


def identity(config: Config) -> Iterator[Row]:
    """The largest difference of the gradients of LCSS and DSM from the same draws, relative to the largest entry."""
    n = 200  # no power of 2: a mean over one is exact in both, and hides that they round differently
    for dtype in (torch.float64, torch.float32):
        name = str(dtype).removeprefix("torch.")
        values: dict[str, list[float]] = {"MLP, eq. 18": [], "MLP (VE), eq. 19": [], "MLP (subVP), eq. 19": []}
        for seed in config.seeds:
            draws = make_generator("lcss", "identity", seed)
            network = density_mlp(config.checkerboard.width, seed).to(dtype)
            x, z = (torch.randn(n, 2, generator=draws, dtype=dtype) for _ in range(2))
            score = gradient_of(lambda y, f=network: f(y)[:, 0])
            sigma = config.checkerboard.sigma
            pair = [gradient(loss(score, x, z, sigma), network) for loss in (lcss, dsm)]
            values["MLP, eq. 18"].append(relative_difference(*pair))
            for key, process in (("MLP (VE), eq. 19", VE()), ("MLP (subVP), eq. 19", SubVP())):
                bare = score_mlp(config.stability.width, config.stability.blocks, seed).to(dtype)
                nn.init.normal_(bare.last.weight, std=0.1, generator=make_generator("lcss", "last", seed))
                network = NoisePrediction(bare, process)
                x0 = torch.randn(n, 1, 8, 8, generator=draws, dtype=dtype)
                pair = [
                    gradient(kind("sigma^2", UniformTimes())(network, process, x0, make_generator("lcss", seed)), network)
                    for kind in (LCSS, DSM)
                ]
                values[key].append(relative_difference(*pair))
        for variant, found in values.items():
            variant, metric = f"{variant}, {name}", "gradient_difference"
            yield Row("identity", "noise", "LCSS against DSM", variant, metric, found, n, {"dtype": name}, over="runs")


def hermite(nodes: int = 8) -> tuple[Tensor, Tensor]:
    """Points (n, 1) and weights (n,) of means under N(0, 1)."""
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    return torch.from_numpy(z)[:, None], torch.from_numpy(w / w.sum())


def minimisers() -> Iterator[Row]:
    """a of the best linear score s = a x on N(0, S), by quadrature: every mean loss is a parabola in a."""
    variance, sigma = SLOPE
    z, w = hermite()
    pairs, weights = torch.cartesian_prod(z[:, 0], z[:, 0]), torch.cartesian_prod(w, w).prod(1)
    x, noise = math.sqrt(variance) * pairs[:, :1], pairs[:, 1:]
    losses: dict[str, Callable] = {
        "explicit": lambda score: explicit(score, x),
        "DSM": lambda score: dsm(score, x, noise, sigma),
        "LCSS": lambda score: lcss(score, x, noise, sigma),
        "LCS": lambda score: lcs(score, x, sigma),
    }
    for method, loss in losses.items():
        low, zero, high = ((loss(lambda y, a=a: a * y) * weights).sum().item() for a in (-1.0, 0.0, 1.0))
        slope = (low - high) / (2 * (low + high - 2 * zero))
        yield _exact("minimisers", "gaussian", method, "", "score_slope", slope, variance=variance, sigma=sigma)
    yield _exact("minimisers", "gaussian", "score of the data", "", "score_slope", -1 / variance, variance=variance)


def lemma_1() -> Iterator[Row]:
    """What eq. 11 leaves out, over the regulariser of eq. 10, for s = -x^3."""
    x, (z, w) = torch.tensor([[POINT]], dtype=torch.float64), hermite()

    def cube(y: Tensor) -> Tensor:
        return -(y**3)

    for sigma in (0.1, 0.01):
        smoothed = (explicit(cube, x + sigma * z) * w).sum()
        regulariser = lcs(cube, x, sigma) - explicit(cube, x)
        gap = ((smoothed - lcs(cube, x, sigma)) / regulariser).item()
        yield _exact("eq. 11", "cubic score", "LCS", f"sigma={sigma:g}", "gap_over_regulariser", gap, x=POINT)


def loss_moments(config: Config) -> Iterator[Row]:
    """Mean and spread of sigma^2 times the losses of single samples at the true score of noised N(0, I), and the spread of
    their derivatives by the score's scale: what one sample tells a training."""
    settings, losses = config.theory, {"DSM": dsm, "LCSS": lcss, "SSM": ssm_vr}
    for sigma in settings.sigmas:
        found: dict[tuple[str, str], list[float]] = {}
        for seed in config.seeds:
            draws = make_generator("lcss", "moments", sigma, seed)
            x, z = (torch.randn(settings.draws, DIMENSION, generator=draws, dtype=torch.float64) for _ in range(2))
            v = probes(x, draws)
            for method, loss in losses.items():
                scale = torch.ones(settings.draws, 1, dtype=torch.float64, requires_grad=True)

                def score(y: Tensor, scale: Tensor = scale, sigma: float = sigma) -> Tensor:
                    return -scale * y / (1 + sigma**2)

                values = sigma**2 * (loss(score, x + sigma * z, v) if method == "SSM" else loss(score, x, z, sigma))
                slopes = torch.autograd.grad(values.sum(), scale)[0]
                for metric, value in (("loss_mean", values.mean()), ("loss_std", values.std()), ("slope_std", slopes.std())):
                    found.setdefault((method, metric), []).append(value.item())
        for (method, metric), values in found.items():
            protocol = {"dimension": DIMENSION, "lambda": "sigma^2", "probe": "gaussian", "score": "exact"}
            yield Row("moments", "gaussian", method, f"sigma={sigma:g}", metric, values, settings.draws, protocol, over="runs")


def output_variance(process: LinearSDE, make: Callable, steps: int, precision: Callable[[Tensor], Tensor], t0: float) -> float:
    """The variance of what `make`'s sampler leaves when the score is -precision(t) u: u -> (a - b precision) u + c z."""
    times = grids.uniform(process, steps, t0)
    sampler = make(process, times)
    variance = process.prior_covariance.values.item()
    rate = precision(times[:-1])
    for a, b, c, p in zip(*(_numbers(one, steps) for one in (sampler.A, sampler.B, sampler.C)), rate.tolist(), strict=True):
        variance = (a - b * p) ** 2 * variance + c**2
    return variance


def _numbers(operators: list, steps: int) -> list[float]:
    values = [float(operator.values) for operator in operators]
    return values[:steps]


def literal_sigma(config: Config) -> Iterator[Row]:
    """The reverse diffusion of N(0, S) under the minimiser of eq. 19 for three readings of x' and sigma_t."""
    steps, s = config.theory.steps, VARIANCE
    ve, subvp = VE(), SubVP()
    cases = {
        ("VE", "std of p_t"): (ve, reverse_diffusion, lambda t: 1 / (s + ve.Sigma(t).values)),
        ("VE", "sigma_t = g(t)"): (ve, reverse_diffusion, lambda t: 1 / (s + ve.GG(t).values)),
        ("subVP", "std of p_t"): (
            subvp, euler_maruyama, lambda t: 1 / (subvp.mean(t).values ** 2 * s + subvp.Sigma(t).values)),
        ("subVP", "std of p_t, mean x0"): (subvp, euler_maruyama, lambda t: 1 / (s + subvp.Sigma(t).values)),
        ("subVP", "sigma_t = g(t)"): (subvp, euler_maruyama, lambda t: 1 / (s + subvp.GG(t).values)),
    }  # fmt: skip
    for (name, reading), (process, make, precision) in cases.items():
        ratio = output_variance(process, make, steps, precision, process.eps) / s
        how = {"steps": steps, "sampler": make.__name__}
        yield _exact("sigma_t", "gaussian", "LCSS", f"{name}, {reading}", "variance_ratio", ratio, **how)
    half = torch.tensor(0.5, dtype=torch.float64)
    for name, process in (("VE", ve), ("subVP", subvp)):
        ratio = (process.GG(half).values.sqrt() / process.R(half).values).item()
        yield _exact("sigma_t", "gaussian", "LCSS", f"{name}, t=0.5", "g_over_std", ratio)


def gamma_on_a_gaussian(config: Config) -> Iterator[Row]:
    """Variance of the samples over that of the data, N(0, S): by the chain and in the limit of many steps."""
    process, s = VE(), VARIANCE
    for gamma in GAMMAS:
        ratio = output_variance(
            process, reverse_diffusion, config.theory.steps, lambda t, g=gamma: g / (s + process.Sigma(t).values), process.eps
        ) / s  # fmt: skip
        yield _exact("fig7", "gaussian", "LCSS", f"gamma={gamma:g}", "variance_ratio", ratio, steps=config.theory.steps)
        yield _exact("fig7", "gaussian", "closed form", f"gamma={gamma:g}", "variance_ratio", limit_ratio(process, gamma, s))


def limit_ratio(process: VE, gamma: float, s: float) -> float:
    """Var / S of the reverse VE diffusion under gamma times the score, sigma_min -> 0: 1 / (2 gamma - 1) for large sigma_max.

    With y = S + sigma^2 from Y down to S, dv/dy = 2 gamma v / y - 1 and v(Y) = sigma_max^2.
    """
    top = s + process.sigma_max**2
    start, power = process.sigma_max**2 * (s / top) ** (2 * gamma), 2 * gamma - 1
    rest = math.log(top / s) * s if power == 0 else s * (1 - (s / top) ** power) / power
    return (start + rest) / s
