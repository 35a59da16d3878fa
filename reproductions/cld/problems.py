"""The two exact-score problems, the samplers that run on them, and statistics over seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rescore.metrics import sliced_wasserstein
from rescore.metrics.points import check_finite
from rescore.processes import CLD, VP, LinearSDE, grids
from rescore.random import make_generator
from rescore.samplers import SSCS, Sampler, ddim, euler_maruyama
from rescore.samplers.base import within_budget
from rescore.scores import GaussianMixture, Score

MAIN = CLD(eps0=0.0)  # M = 0.25, Gamma = 1, beta = 4, gamma = 0.04
GRIDS = {"US": grids.uniform, "QS": grids.quadratic_striding}
CLD_METHODS = {"EM": euler_maruyama, "SSCS": SSCS}
MODE_STD = 0.04
OFF_MODE = 4.0  # standard deviations


def nine_modes() -> Tensor:
    """Means of the paper's mixture: a 3x3 grid of spacing 1/2 turned by 45 degrees, (9, 2)."""
    axis = torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64)
    turn = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64) / math.sqrt(2)
    return torch.cartesian_prod(axis, axis) @ turn


def mixture_score(process: LinearSDE) -> GaussianMixture:
    """The exact score of the diffused mixture, weights 1/9, standard deviation 0.04."""
    return GaussianMixture(process, nine_modes(), MODE_STD)


def off_mode(x: Tensor) -> float:
    """The fraction of points further than 4 standard deviations from every mode; exp(-8) = 0.03 % for exact draws.

    Raises RescoreError for a point that is not finite.
    """
    check_finite(x, "off_mode")
    distance = torch.cdist(x, nine_modes().to(x)).amin(1)
    return (distance > OFF_MODE * MODE_STD).double().mean().item()


def cld_method(variant: str) -> tuple[Callable[..., Sampler], Callable[..., Tensor]]:
    """The sampler and the grid of a name in the paper, e.g. `SSCS-QS`."""
    method, striding = variant.split("-")
    return CLD_METHODS[method], GRIDS[striding]


def cld_sampler(variant: str, nfe: int) -> Sampler:
    """CLD's sampler of that name: nfe - 1 steps to t0 = 1e-3 and the denoising step."""
    method, grid = cld_method(variant)
    return within_budget(method, MAIN, grid, nfe, denoise="euler")


def vp_em(striding: str, nfe: int) -> Sampler:
    """Euler-Maruyama on VPSDE, as `cld_sampler`."""
    return within_budget(euler_maruyama, VP(), GRIDS[striding], nfe, denoise="euler")


def vp_ddim(nfe: int) -> Sampler:
    """Deterministic DDIM on VPSDE, quadratic steps to t0 = 1e-3."""
    return within_budget(ddim, VP(), grids.quadratic, nfe)


@dataclass(frozen=True)
class Problem:
    """A data distribution with an exact score for every process.

    Args:
        name: the `dataset` of its records.
        score: the exact score under a process.
        draw: (n, generator) -> data (n, *shape).
        metrics: name -> statistic of (generated, data).
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    score: Callable[[LinearSDE], Score]
    draw: Callable[[int, torch.Generator], Tensor]
    metrics: dict[str, Callable[[Tensor, Tensor], float]]

    def data(self, n: int, seeds: Sequence[int], name: str = "data") -> list[Tensor]:
        """Data draws for each seed."""
        return [self.draw(n, make_generator("cld", self.name, name, seed)) for seed in seeds]

    def start(self, process: LinearSDE, n: int, seeds: Sequence[int]) -> Tensor:
        """n prior draws for each seed, one batch; the same for every sampler of a process."""
        shape = (n, *process.state_shape(self.shape))
        generators = [make_generator("cld", self.name, type(process).__name__, "prior", seed) for seed in seeds]
        return torch.cat([process.prior_sample(shape, generator, self.dtype) for generator in generators])

    def generate(self, sampler: Sampler, score: Score, n: int, seeds: Sequence[int], label: str) -> list[Tensor]:
        """n generated data points for each seed; all seeds run as one batch."""
        start = self.start(sampler.process, n, seeds)
        out = sampler(score, start, make_generator("cld", self.name, label, *seeds))
        return list(sampler.process.project(out).split(n))

    def statistics(self, generated: Sequence[Tensor], data: Sequence[Tensor]) -> dict[str, list[float]]:
        """Each metric at each seed."""
        pairs = list(zip(generated, data, strict=True))
        return {metric: [of(*pair) for pair in pairs] for metric, of in self.metrics.items()}


def mixture() -> Problem:
    """The paper's toy: `sw2` to fresh draws, and the fraction of points off the modes."""
    exact = mixture_score(VP())
    return Problem(
        "mixture9",
        (2,),
        torch.float64,
        mixture_score,
        lambda n, generator: exact.sample(n, 0.0, generator),
        {"sw2": lambda x, y: sliced_wasserstein(x, y, projections=50), "off_mode": lambda x, _: off_mode(x)},
    )


def mean_and_stderr(values: Sequence[float]) -> tuple[float, float]:
    """The mean of independent values, one a seed, and its standard error."""
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1) / math.sqrt(len(array)))
