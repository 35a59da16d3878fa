"""What the theory of the paper promises of the optimal control: Theorems 3 and 4 without a sample, and eq. 5.8 by sampling."""

import math

import numpy as np
import torch
from rescore.control import ControlledSDE, MixtureControl
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.random import make_generator
from rescore.targets import GaussianMixture, gaussian, nine_modes

from reproductions.pis.euler_law import gaussian_ess, gaussian_w2, mixture_end, w2
from reproductions.pis.uncontrolled import estimated_control, log_weight_moment

MEAN, STD, DIM = 1.5, 0.6, 2  # of the Gaussian target, a coordinate
EXACT = "Euler with u*"
ERROR = Axes("error={error:g}")  # what |u - u*|^2 is: eps d in Theorem 3, eps / T in Theorem 4
DIMENSION = Axes("d={dim}")


def theorem_3(book: Book) -> None:
    """W2 of the end law to the target against the step size under u*, and against a constant error of the control."""
    config, settings = book.config, book.config.theorem_3
    line = GaussianMixture(nine_modes().means[:, 1:].unique(dim=0), nine_modes().std)  # mg is the product of two of it

    def on_mg(sde: ControlledSDE, error: float) -> float:
        return math.sqrt(2) * w2(mixture_end(sde, line), line)

    def on_gaussian(sde: ControlledSDE, error: float) -> float:
        return gaussian_w2(sde, MEAN, STD, DIM, error)

    def sweep(dataset: str, of, variant: str, cells: list[tuple[int, float]], x: list[float]) -> None:
        found = []
        for steps, error in cells:
            sde = ControlledSDE(steps, config.horizon, config.sigma)
            found.append(of(sde, error))
            book.exact("theorem 3", dataset, EXACT, ERROR(error=error), steps, sde.protocol, w2=found[-1].__float__)
        slope = float(np.polyfit(np.log(x), np.log(found), 1)[0])
        protocol = {"horizon": config.horizon, "points": len(x)}
        book.exact("theorem 3", dataset, EXACT, variant, None, protocol, slope=slope.__float__)

    sizes = [config.horizon / steps for steps in settings.steps]
    for dataset, of in (("gaussian", on_gaussian), ("mg", on_mg)):
        sweep(dataset, of, "step size", [(steps, 0.0) for steps in settings.steps], sizes)
    sweep("gaussian", on_gaussian, "error of the control", [(settings.fine, e) for e in settings.errors], list(settings.errors))


def theorem_4(book: Book) -> None:
    """ESS under u* + sqrt(eps / T), whose error is eps / T everywhere: exp(-eps) in continuous time."""
    config, settings = book.config, book.config.theorem_4
    for steps in settings.steps:
        sde = ControlledSDE(steps, config.horizon, config.sigma)
        for error in settings.errors:
            shift = math.sqrt(error / config.horizon)
            ess = gaussian_ess(sde, MEAN, STD, shift)
            book.exact("theorem 4", "gaussian", EXACT, ERROR(error=error), steps, sde.protocol, ess=ess.__float__)


def monte_carlo(book: Book) -> None:
    """Eq. 5.8 from a fixed number of trajectories, at t = 0 and x = 0, in rising dimension; the root of |u - u*|^2 / |u*|^2."""
    config, settings = book.config, book.config.monte_carlo
    sde = ControlledSDE(1, config.horizon, config.sigma)
    moment = log_weight_moment(sde, MEAN, STD)
    for dim in settings.dims:
        target, x = gaussian(torch.full((dim,), MEAN), STD), torch.zeros(dim, dtype=torch.float64)
        truth = MixtureControl(sde, target).on_grid(sde.times())(0, x[None])[0]

        def relative(seed: int, dim=dim, target=target, x=x, truth=truth) -> float:
            noise = torch.randn(settings.trajectories, dim, generator=make_generator("eq. 5.8", dim, seed))
            return ((estimated_control(sde, target, 0.0, x, noise) - truth).norm() / truth.norm()).item()

        protocol = {"trajectories": settings.trajectories, "horizon": config.horizon, "sigma2": round(config.sigma**2, 12)}
        with book.cell(
            "eq 5.8", "gaussian", "uncontrolled", DIMENSION(dim=dim), None, protocol, n=settings.trajectories
        ) as cell:
            if cell.todo:
                cell.add("control_error", [relative(seed) for seed in range(settings.repeats)])
                cell.exact("log_weight_moment", dim * moment)
