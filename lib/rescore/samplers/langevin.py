"""Langevin dynamics at one density, and annealed over the noise levels of a process (note eq. 17 and algorithm 1)."""

from collections.abc import Callable

from torch import Tensor

from rescore.domain import check_count, check_number
from rescore.errors import RescoreError
from rescore.processes import Isotropic
from rescore.processes.base import LinearSDE, require
from rescore.random import Noise, normal
from rescore.samplers.base import Denoise, Draw, Sampler, Times, require_finite
from rescore.samplers.method import method
from rescore.scores import Score


def langevin_step(u: Tensor, s: Tensor, z: Tensor, size: float | Tensor) -> Tensor:
    """u + size s + sqrt(2 size) z."""
    return u + size * s + (2 * size) ** 0.5 * z


def langevin(
    score: Callable[[Tensor], Tensor], u: Tensor, size: float, steps: int, generator: Noise, noise: float = 1.0
) -> Tensor:
    """`steps` unadjusted Langevin steps at a fixed density with this score; no process, no time. One evaluation per step.

    Args:
        noise: multiplies the noise: 0 is gradient ascent, what is not 1 does not keep the density.

    Raises Diverged for states that are not finite.
    """
    for _ in range(steps):
        z = normal(u.shape, generator, u.dtype, u.device)
        u = langevin_step(u, score(u), noise * z, size)
    require_finite(u, "langevin", f"after {steps} steps of {size:g}")
    return u


class AnnealedLangevin(Sampler):
    """For each of the N + 1 levels t_i of the grid, `steps_per_level` times u <- u + (a_i / 2) s(u, t_i) + sqrt(a_i) z.

    a_i = size Sigma_i / Sigma_last (note, algorithm 1). The NCSN code and NCSNv2 use u + a s + sqrt(2 a) z, so their
    "step_lr" is half of this `size`. Takes steps_per_level (N + 1) evaluations. Isotropic processes only.
    """

    stochastic = True
    evaluations_per_step: int

    def __init__(self, process: LinearSDE, times: Times, size: float, steps_per_level: int, denoise: Denoise = "none"):
        require(process, Isotropic, "annealed Langevin")
        super().__init__(process, times, denoise)
        if denoise == "mean":
            raise RescoreError("denoise 'mean': annealed Langevin allows none, euler, tweedie")
        check_number("annealed Langevin", "size", size, 0, brackets="()")
        check_count("annealed Langevin", "steps_per_level", steps_per_level)
        self.evaluations_per_step = steps_per_level
        variance = process.Sigma(self.grid).values
        sizes = size * variance / variance[-1]
        if not sizes.isfinite().all():
            raise RescoreError(
                f"annealed Langevin: its step sizes are not finite, for Sigma is {variance[-1]:g} at the last "
                f"time {self.times[-1]:g}; allowed are grids that end where there is noise"
            )
        self.sizes = sizes.tolist()

    @property
    def nfe(self) -> int:
        return self.evaluations_per_step * (self.steps + 1) + self._denoise_nfe

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        for t, size in zip(self.times, self.sizes, strict=True):
            for _ in range(self.evaluations_per_step):
                u = langevin_step(u, score(u, t), draw(u), size / 2)
        return u


annealed_langevin = method(applies=Isotropic, evaluations_per_step=lambda its: its.steps_per_level)(AnnealedLangevin)
