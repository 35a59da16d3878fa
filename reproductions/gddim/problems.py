"""The exact-score problems of this paper: a process, the exact score of some data under it, and draws to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.data.digits import load_digits
from rescore.processes import CLD, VP, Blurring, LinearSDE
from rescore.processes.grids import quadratic
from rescore.random import make_generator
from rescore.samplers import Sampler, gddim
from rescore.samplers.base import Denoise
from rescore.scores import EmpiricalData, GaussianMixture, Score

# Blur of at most 10 pixels on 32x32, as in the released code, is 2.5 pixels on 8x8: the same fraction of the image.
PROCESSES: Mapping[str, LinearSDE] = {"DDPM": VP(), "BDM": Blurring((8, 8), sigma_max=2.5), "CLD": CLD()}
MODE_STD = 0.1
GAUSSIAN_STD = 0.5


@dataclass(frozen=True)
class Problem:
    """Data `dataset` under the process `name`.

    Args:
        score: its exact score.
        data: shape of one data point.
        dtype: of the states.
        modes: (K, d) centres of the mixture, else None.
    """

    dataset: str
    name: str
    process: LinearSDE
    score: Score
    data: tuple[int, ...]
    dtype: torch.dtype
    modes: Tensor | None = None

    def start(self, seeds: tuple[int, ...], n: int) -> Tensor:
        """n draws of the prior for each seed, (seeds * n, *state); the same for every sampler."""
        shape = (n, *self.process.state_shape(self.data))
        generators = [make_generator("gddim", self.dataset, self.name, "prior", seed) for seed in seeds]
        return torch.cat([self.process.prior_sample(shape, generator, self.dtype) for generator in generators])

    def exact(self, seed: int, n: int) -> Tensor:
        """What samples are compared with, (m, *data): all digits, or n fresh draws of the mixture."""
        if isinstance(self.score, EmpiricalData):
            return load_digits()
        return self.process.project(self.score.sample(n, 0.0, make_generator("gddim", self.dataset, "exact", seed)))

    def draws(self, seed: int, n: int) -> Tensor:
        """n exact draws of the data, (n, *data): the distance that no sampler can beat."""
        generator = make_generator("gddim", self.dataset, "draws", seed)
        if isinstance(self.score, EmpiricalData):
            digits = load_digits()
            return digits[torch.randint(len(digits), (n,), generator=generator)]
        return self.process.project(self.score.sample(n, 0.0, generator))

    def solve(self, u: Tensor, steps: int, denoise: Denoise = "none") -> Tensor:
        """The probability flow from u by the 3-step predictor on a fine grid, which counts as exact."""
        return self._solver(steps, denoise)(self.score, u)

    def trace(self, u: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Times (steps,) and along that solution the states and scores, each (steps, 2, n, *data), of CLD."""
        path: list[tuple[Tensor, Tensor]] = []

        def recorded(u: Tensor, t: float) -> Tensor:
            path.append((u, score := self.score(u, t)))
            return score

        solver = self._solver(steps, "none")
        solver(recorded, u)
        states, scores = (torch.stack(values).transpose(1, 2) for values in zip(*path, strict=True))
        return solver.grid[:-1], states, scores

    def _solver(self, steps: int, denoise: Denoise) -> Sampler:
        return gddim(self.process, quadratic(self.process, steps), 3, denoise=denoise)


def digits(name: str) -> Problem:
    """`digits_exact`: the empirical distribution of the 8x8 digits."""
    process = PROCESSES[name]
    points = load_digits().float()
    return Problem("digits_exact", name, process, EmpiricalData(process, points), tuple(points.shape[1:]), torch.float32)


def mixture() -> Problem:
    """`mixture2d_grid`: nine equal modes at {-1, 0, 1}^2 of standard deviation 0.1 under CLD."""
    axis = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    modes = torch.cartesian_prod(axis, axis)
    score = GaussianMixture(PROCESSES["CLD"], modes, MODE_STD)
    return Problem("mixture2d_grid", "CLD", PROCESSES["CLD"], score, (2,), torch.float64, modes)


def one_point(name: str) -> Problem:
    """`one_point`: a single image, the first digit."""
    process = PROCESSES[name]
    points = load_digits()[:1]
    return Problem("one_point", name, process, EmpiricalData(process, points), tuple(points.shape[1:]), torch.float64)


def gaussian(name: str) -> Problem:
    """`gaussian`: N(x, 0.5^2 I) around that image."""
    process = PROCESSES[name]
    means = load_digits()[:1]
    score = GaussianMixture(process, means, GAUSSIAN_STD)
    return Problem("gaussian", name, process, score, tuple(means.shape[1:]), torch.float64)
