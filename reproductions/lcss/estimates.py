"""How noisy two ways around the trace are: draws of x' (eq. 19), and random probes with Hutchinson's bound (section 2.3)."""

from functools import cache, partial

import torch
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.objectives import LCSS, RepeatedTimes, compare
from rescore.objectives.hutchinson import probe_variance, trace_estimates
from rescore.objectives.pointwise import lcss, probes
from rescore.processes import VE
from rescore.random import make_generator
from rescore.scores import EmpiricalData
from torch import Tensor
from torch.func import jacrev, vmap

from reproductions.lcss.stability import TIMES, add_errors, train
from reproductions.lcss.theory import DIMENSION, SIGMA

DIMENSIONS = (64, 3072, 196_608)  # of the digits, of CIFAR-10, and of FFHQ at 256 pixels
PROBES = ("gaussian", "rademacher", "sphere")
DRAWS = Axes("sigma={sigma:g}, draws={draws}")
MEAN_OF, ONE_PROBE = Axes("sigma={sigma:g}, M={m}"), Axes("sigma={sigma:g}, M=1")


def one_draw(book: Book) -> None:
    """What more draws of x' do: to the noise of a training's signal at the exact score, and to trainings on the digits."""
    settings, seeds = book.config.one_draw, book.config.seeds
    for sigma in settings.sigmas:
        for draws in settings.draws:
            variant, how = DRAWS(sigma=sigma, draws=draws), {"dimension": DIMENSION, "lambda": "sigma^2", "score": "exact"}
            measured = partial(slope_std, sigma, draws, settings.points)
            book.repeat("draws", "gaussian", "LCSS", variant, None, how, seeds, settings.points, slope_std=measured)
            variances = [slope_variance(sigma, k) for k in (draws, 1)]
            numbers = {
                "slope_std": lambda found=variances: found[0] ** 0.5,
                "variance_at_equal_cost": lambda found=variances, k=draws: k * found[0] / found[1],
            }
            book.exact("draws", "gaussian", "closed form", variant, None, how, n=1, **numbers)
    small, many = book.config.stability.model_copy(update={"steps": settings.steps}), settings.trained
    trainings = {
        "draws=1": (1, small.batch),
        f"draws={many}": (many, small.batch),
        f"draws={many}, same cost": (many, max(1, small.batch // many)),
    }
    for variant, (draws, images) in trainings.items():
        its = small.model_copy(update={"batch": images})
        sizes = {"network": "mlp", "width": its.width, "blocks": its.blocks, "error_every": its.every}
        how = its.protocol | sizes | {"process": "VE", "sigma_max": its.sigma_max, "draws": draws}
        with book.cell("draws", "digits", "LCSS", variant, None, how, over="trainings") as cell:
            if cell.todo:
                objective = LCSS("sigma^2", RepeatedTimes(TIMES, draws))
                errors = train(f"LCSS, {variant}", objective, its, book.run.folder / variant, draws).errors.numpy()
                add_errors(cell, errors)


def slope_std(sigma: float, draws: int, points: int, seed: int) -> float:
    """Of sigma^2 times LCSS's loss with the mean of so many draws: the spread over data of its slope in the score's scale."""
    noise = make_generator("lcss", "draws", sigma, seed)
    x = torch.randn(points, DIMENSION, generator=noise, dtype=torch.float64)
    z = torch.randn(draws, *x.shape, generator=noise, dtype=torch.float64)
    found = compare.loss_moments(
        lambda score: sigma**2 * torch.stack([lcss(score, x, one, sigma) for one in z]).mean(0),
        lambda y: -y / (1 + sigma**2),
        points,
    )
    return found["slope_std"]


def slope_variance(sigma: float, draws: int) -> float:
    """The same in closed form: sigma^2 (s^T z / sigma + abs(s)^2) is a quadratic form u^T Q u of u = (x, z) in each coordinate.

    Its variance is 2 tr Q^2, of which 2 Q_xx^2 is of the data and no draw of x' makes less.
    """
    a = 1 / (1 + sigma**2)
    of_x, of_both, of_z = (a * sigma) ** 2, a * a * sigma**3 - a * sigma / 2, a * a * sigma**4 - a * sigma**2
    return DIMENSION * (2 * of_x**2 + (4 * of_both**2 + 2 * of_z**2) / draws)


def hutchinson(book: Book) -> None:
    """The error of random probes against the bound of section 2.3, and the inner product of eq. 16 in their place."""
    settings, seeds = book.config.hutchinson, book.config.seeds
    how = {"score": "exact", "data": "digits", "lambda": "sigma^2"}
    for sigma in settings.sigmas:
        states = {seed: cache(partial(state, sigma, settings.points, seed)) for seed in seeds}
        for method in PROBES:
            for m in settings.probes:
                with book.cell("hutchinson", "digits", method, MEAN_OF(sigma=sigma, m=m), None, how, n=settings.points) as cell:
                    if cell.todo:
                        cell.add_each([by_probes(method, m, states[seed]()[0], sigma, seed) for seed in seeds])
        for i, method in enumerate(("trace", "Stein")):
            with book.cell("hutchinson", "digits", method, SIGMA(sigma=sigma), None, how, n=settings.points) as cell:
                if cell.todo:
                    cell.add_each([spread(sigma, states[seed]()[i + 1]) for seed in seeds])
    for d in DIMENSIONS:  # the Jacobian of the score of N(0, I) is -I: a variance of 2 d about a trace of -d
        how = {"how": "closed form", "M": 1}
        book.exact("hutchinson", "gaussian", "gaussian", f"d={d}", None, how, n=1, relative_error=lambda d=d: (2 / d) ** 0.5)


def state(sigma: float, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of n noised digits, float64: the Jacobians A (n, d, d) of the exact score, their traces (n,) and s^T z / sigma (n,)."""
    images = to_unit(load_images("digits", "train").images).double().flatten(1)
    draws = make_generator("lcss", "hutchinson", sigma, seed)
    x = images[torch.randint(len(images), (n,), generator=draws)]
    z = torch.randn(x.shape, generator=draws, dtype=x.dtype)
    process = VE()
    of_all, t = EmpiricalData(process, images).with_gradients(), process.time_of_rho(sigma).item()
    u = x + sigma * z
    A = torch.cat([vmap(jacrev(lambda y: of_all(y[None], t)[0]))(part) for part in u.split(50)])
    return A, A.diagonal(dim1=1, dim2=2).sum(1), (of_all(u, t) * z).sum(1) / sigma


def by_probes(probe: str, m: int, A: Tensor, sigma: float, seed: int) -> dict[str, float]:
    """Errors of the mean of m probes, for each of A (n, d, d): over the bound abs(A)_F / sqrt(m), and over the mean trace.

    `error_over_bound` is a root mean square, `error_over_bound_exact` the same in closed form, `within_bound` a share.
    """
    n, d, _ = A.shape
    v = probes(A.new_empty(n * m, d), make_generator("lcss", "hutchinson", probe, m, sigma, seed), probe).reshape(n, m, d)
    trace, bound = A.diagonal(dim1=1, dim2=2).sum(1), A.square().sum((1, 2)).sqrt() / m**0.5
    found = trace_estimates(A, v)
    error = found - trace
    return {
        "error_over_bound": (error / bound).square().mean().sqrt().item(),
        "error_over_bound_exact": (probe_variance(A, probe) / m / bound.square()).mean().sqrt().item(),
        "within_bound": (error.abs() <= bound).double().mean().item(),
        "relative_error": (error.square().mean().sqrt() / trace.mean().abs()).item(),
        **spread(sigma, found),
    }


def spread(sigma: float, found: Tensor) -> dict[str, float]:
    """Mean and spread over noised digits of what stands for the trace, times sigma^2."""
    return {"trace_mean": sigma**2 * found.mean().item(), "trace_std": sigma**2 * found.std().item()}
