"""Gaussian laws: data that are Gaussian, where they are at time t, and what a sampler makes of them, without sampling error.

The score is affine there and every step of a one-step sampler too, so that mean and covariance follow exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from rescore.corruptions import Corruption
from rescore.corruptions.process import Clean
from rescore.cost.evaluations import note
from rescore.errors import RescoreError
from rescore.metrics import PROJECTIONS
from rescore.processes import LinearSDE
from rescore.samplers import PredictorCorrector, Sampler
from rescore.samplers.base import Draw
from rescore.samplers.langevin import langevin_step
from rescore.scores import Score

Process = LinearSDE | Corruption
Step = Callable[[Tensor, Draw], Tensor]
"""(states, source of noise) -> states, affine in both."""


@dataclass(frozen=True)
class GaussianLaw:
    """N(mean, covariance) of a state whose coordinates fall into d groups of p that do not depend on each other.

    p = 1 are independent coordinates, p = 2 the pairs (x, v) of CLD, d = 1 is a law with any covariance.

    Args:
        mean: (p, d): a state of `shape`, flattened.
        covariance: (d, p, p), of each group.
        shape: of a state.
    """

    mean: Tensor
    covariance: Tensor
    shape: tuple[int, ...]

    @classmethod
    def independent(cls, mean: Tensor, variances: Tensor) -> GaussianLaw:
        """Independent coordinates; both arguments have the shape of a state."""
        return cls(mean.double().reshape(1, -1), variances.double().reshape(-1, 1, 1), tuple(mean.shape))

    @classmethod
    def full(cls, mean: Tensor, covariance: Tensor) -> GaussianLaw:
        """Any covariance: (D, D) for a mean (*shape) of D numbers."""
        return cls(mean.double().reshape(-1, 1), covariance.double()[None], tuple(mean.shape))

    @classmethod
    def principal(cls, points: Tensor) -> tuple[GaussianLaw, Tensor]:
        """The law with mean and covariance of points (n, ...) on its principal axes, independent (D,); and these as columns."""
        x = points.double().flatten(1)
        variances, axes = torch.linalg.eigh(torch.cov(x.T, correction=0))
        return cls.independent(x.mean(0) @ axes, variances.clamp_min(0)), axes

    @property
    def variances(self) -> Tensor:
        """Of every coordinate, (*shape)."""
        return self.covariance.diagonal(dim1=1, dim2=2).T.reshape(self.shape)

    @cached_property
    def _precision(self) -> Tensor:
        return 1 / self.covariance if self._single else torch.linalg.inv(self.covariance)

    @property
    def _single(self) -> bool:
        """Whether coordinates are independent."""
        return self.mean.shape[0] == 1  # not `len`, which torch defines in Python

    def score(self, u: Tensor) -> Tensor:
        """grad log density at u (batch, *shape); the covariance has full rank."""
        note(u.shape[0])
        residual, precision = self._groups(u) - self.mean.to(u), self._precision.to(u)
        product = precision[:, 0, 0] * residual if self._single else torch.einsum("dpq,bqd->bpd", precision, residual)
        return -product.reshape(u.shape)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws (n, *shape), float64."""
        values, axes = torch.linalg.eigh(self.covariance)
        root = axes * values.clamp_min(0).sqrt()[:, None]
        z = torch.randn(n, *self.mean.shape, generator=generator, dtype=torch.float64)
        return self._states(self.mean + torch.einsum("dpq,bqd->bpd", root, z))

    def after(self, step: Step, draws: int = 2) -> GaussianLaw:
        """The law of step(u, draw) for u of this law and standard noise, drawn at most `draws` times.

        The step acts on one batch: the mean, and what a unit of each component of u and of each draw adds, in all groups.
        """
        p, d = self.mean.shape
        of_state, of_draws = _units(p, d, draws)
        drawn = iter(of_draws)

        def draw(like: Tensor) -> Tensor:
            noise = next(drawn, None)
            if noise is None:
                raise RescoreError(f"Gaussian law: the step draws noise more than {draws} times")
            return noise.reshape(like.shape)

        end = step(self._states(self.mean + of_state), draw)
        groups = self._groups(end)
        response = groups[1:] - groups[0]
        if p == 1:  # the general case in fewer operations: chains of thousands of steps are short ones
            variances = response[0, 0].square() * self.covariance[:, 0, 0] + response[1:, 0].square().sum(0)
            covariance = variances[:, None, None]
        else:
            gain, noise = response[:p].permute(2, 0, 1), response[p:].permute(2, 0, 1)
            covariance = gain.mT @ self.covariance @ gain + noise.mT @ noise
        return GaussianLaw(groups[0], covariance, tuple(end.shape[1:]))

    def scaled(self, scale: float, shift: float | Tensor = 0.0) -> GaussianLaw:
        """The law of scale u + shift."""
        moved = scale * self.mean + torch.as_tensor(shift, dtype=torch.float64).expand(self.shape).reshape(self.mean.shape)
        return GaussianLaw(moved, scale**2 * self.covariance, self.shape)

    @property
    def expected_norm(self) -> float:
        """E|u| = (4 pi)^-1/2 int_0^inf (1 - E exp(-t |u|^2)) t^-3/2 dt, by the trapezoidal rule in log t."""
        if self._single:
            variances, squares = self.covariance[:, 0, 0], self.mean[0].square()
        else:
            variances, axes = torch.linalg.eigh(self.covariance)
            variances = variances.clamp_min(0).flatten()
            squares = torch.einsum("dpq,pd->dq", axes, self.mean).square().flatten()  # of the mean, on the same axes
        step = 0.5
        y = torch.arange(-36, 36, step, dtype=torch.float64) - (variances + squares).sum().log()
        t = y.exp()[:, None]
        damped = 1 + 2 * t * variances
        log_transform = -(0.5 * damped.log() + t * squares / damped).sum(1)
        return ((-torch.expm1(log_transform) * (-y / 2).exp()).sum() * step / math.sqrt(4 * math.pi)).item()

    def _states(self, groups: Tensor) -> Tensor:
        return groups.reshape(groups.shape[:1] + self.shape)

    def _groups(self, states: Tensor) -> Tensor:
        return states.reshape(states.shape[:1] + self.mean.shape)


@lru_cache(64)
def _units(p: int, d: int, draws: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Batches (1 + p + p draws, p, d), a unit of each component in all groups: rows 1 to p of the state, p of each draw."""
    batches = torch.zeros(1 + draws, 1 + p + p * draws, p, d, dtype=torch.float64)
    for i, batch in enumerate(batches):
        batch[1 + p * i : 1 + p + p * i] = torch.eye(p, dtype=torch.float64)[:, :, None]
    return batches[0], tuple(batches[1:])


# --- under a process ---------------------------------------------------------------------------------------------------------


def prior_law(process: LinearSDE, shape: tuple[int, ...]) -> GaussianLaw:
    """The prior of a process for data of this shape."""
    at_rest = torch.zeros(shape, dtype=torch.float64)
    root = process.prior_covariance.cholesky()
    return _as_state(GaussianLaw.independent(at_rest, at_rest), process).after(lambda u, draw: root(draw(u)), draws=1)


def law_at(process: Process, data: GaussianLaw, t: float) -> GaussianLaw:
    """The law of u_t for these data, which stand in the process's own coordinates (`LinearSDE.rotate`)."""
    if isinstance(process, Corruption):
        corrupt, sigma = process.C(t), process.sigma(t).item()
        return data.after(lambda x, draw: corrupt(x) + sigma * draw(x), draws=1)
    mean, root = process.mean(t), process.L(t)
    return _as_state(data, process).after(lambda u, draw: mean(u) + root(draw(u)), draws=1)


def data_law(process: LinearSDE, law: GaussianLaw) -> GaussianLaw:
    """The law of the data part of a state of this law: of CLD's states the first coordinate of every group."""
    if law.shape == process.state_shape(law.shape):
        return law
    return GaussianLaw(law.mean[:1], law.covariance[:, :1, :1], law.shape[1:])


def exact_score(process: Process, data: GaussianLaw) -> Score:
    """(u, t) -> grad log p_t(u) for these data."""
    law = lru_cache(4096)(partial(law_at, process, data))
    return lambda u, t: law(t).score(u)


def score_on_axes(process: LinearSDE, data: GaussianLaw) -> Score:
    """`exact_score` of data with any covariance (`GaussianLaw.full`), under CLD too.

    On their principal axes coordinates do not depend on each other, nor do the velocities there.
    """
    values, axes = torch.linalg.eigh(data.covariance[0])
    center = data.mean[:, 0] @ axes
    exact = exact_score(process, GaussianLaw.independent(center, values.clamp_min(0)))

    def score(u: Tensor, t: float) -> Tensor:
        turned = u.reshape(len(u), *process.state_shape((len(axes),))) @ axes.to(u)
        return (exact(turned, t) @ axes.to(u).T).reshape(u.shape)

    return score


def linear_law(sampler: Sampler, score: Score, shape: tuple[int, ...]) -> GaussianLaw:
    """N(0, A A^T): what a deterministic sampler of any order makes of the prior where the score is linear, data (*shape).

    A is its response to a unit of each component of a state. Raises RescoreError for a sampler that draws noise.
    """
    if sampler.stochastic:
        raise RescoreError(f"linear law: {type(sampler).__name__} draws noise; allowed: deterministic samplers")
    state = sampler.process.state_shape(shape)
    units = torch.eye(math.prod(state), dtype=torch.float64).reshape(-1, *state)
    response = sampler.process.project(sampler(score, sampler.process.prior_covariance.cholesky()(units))).flatten(1)
    return GaussianLaw.full(torch.zeros(shape), response.T @ response)


def clean_prediction(process: Corruption, data: GaussianLaw) -> Clean:
    """(x_t, t) -> E[x_0 | x_t] for data with any covariance (`GaussianLaw.full`): mean + Cov C^T Cov_t^-1 (x_t - mean_t)."""
    covariance, units = data.covariance[0], torch.eye(len(data.mean), dtype=torch.float64)

    @lru_cache(4096)
    def at(t: float) -> tuple[Tensor, Tensor]:
        law = law_at(process, data, t)
        C = process.C(t)(data._states(units)).flatten(1).T
        return law.mean[:, 0], torch.linalg.solve(law.covariance[0], C @ covariance)

    def predict(x: Tensor, t: float) -> Tensor:
        note(len(x))
        mean, gain = at(t)
        return (data.mean[:, 0] + (x.flatten(1) - mean) @ gain).reshape(x.shape)

    return predict


def law_after(sampler: Sampler, score: Score, start: GaussianLaw) -> GaussianLaw:
    """The exact law of what a sampler makes of draws of `start` when its score (or clean prediction) is affine.

    A Langevin corrector's step size has expectations in place of the norms' batch means, its limit for a large batch.

    Raises RescoreError for a sampler whose steps look at more than one score.
    """
    law = start
    if sampler.predicts == "clean prediction":
        chain: Any = sampler
        for i in range(sampler.steps - 1):
            law = law.after(partial(chain.advance, i, score), draws=1)
        return law.after(lambda x, draw: score(x, sampler.times[-2]), draws=0)
    corrector = sampler if isinstance(sampler, PredictorCorrector) else None
    predictor: Any = corrector.predictor if corrector else sampler
    if predictor and not hasattr(predictor, "step"):
        raise RescoreError(f"Gaussian law: {type(sampler).__name__} is not a one-step sampler")
    for i in range(sampler.steps):
        if corrector and corrector.corrector_first:
            law = _corrected(corrector, i, score, law)
        if predictor:
            law = law.after(partial(predictor.step, i, score))
        if corrector and not corrector.corrector_first:
            law = _corrected(corrector, i + 1, score, law)
    if corrector and corrector.correct_last:
        law = _corrected(corrector, corrector.steps, score, law)
    return law if sampler.denoise in ("none", "mean") else law.after(lambda u, draw: sampler.last(score, u), draws=0)


def _corrected(sampler: PredictorCorrector, i: int, score: Score, law: GaussianLaw) -> GaussianLaw:
    """Behind the corrector steps at times[i]."""
    t, unit = sampler.times[i], _expected_noise_norm(law.shape)
    for _ in range(sampler.corrector_steps):
        norm = law.after(lambda u, draw: score(u, t), draws=0).expected_norm
        step = partial(_langevin, score, t, 2 * sampler.signal[i] * (sampler.snr * unit / norm) ** 2)
        law = law.after(step, draws=1)
    return law


@lru_cache(64)
def _expected_noise_norm(shape: tuple[int, ...]) -> float:
    """E|z| of standard noise: the same at every step."""
    return GaussianLaw.independent(torch.zeros(shape), torch.ones(shape)).expected_norm


def _langevin(score: Score, t: float, size: float, u: Tensor, draw: Draw) -> Tensor:
    return langevin_step(u, score(u, t), draw(u), size)


def _as_state(data: GaussianLaw, process: LinearSDE) -> GaussianLaw:
    """Data with zero velocities where the process has some."""
    shape = process.state_shape(data.shape)
    if shape == data.shape:
        return data
    if data.mean.shape[0] > 1:
        raise RescoreError(f"Gaussian law: data under {type(process).__name__} have independent coordinates")
    covariance = torch.zeros(len(data.covariance), 2, 2, dtype=torch.float64)
    covariance[:, :1, :1] = data.covariance
    return GaussianLaw(torch.cat((data.mean, torch.zeros_like(data.mean))), covariance, shape)


class GaussianProblem:
    """Gaussian data, and what samplers that start from the prior make of them.

    Args:
        data: in the processes' own coordinates.

    Attributes:
        score: of a process, its exact score; one for all samplers, since it keeps the laws that it meets.
    """

    def __init__(self, data: GaussianLaw):
        self.data = data
        self.score = cache(partial(exact_score, data=data))

    def after(self, sampler: Sampler, score: Score | None = None) -> GaussianLaw:
        """The law of the data part of a sampler's result; with the exact score of its process if no other is given."""
        process = sampler.process
        return data_law(process, law_after(sampler, score or self.score(process), prior_law(process, self.data.shape)))


# --- distances ---------------------------------------------------------------------------------------------------------------


def squared_wasserstein(a: GaussianLaw, b: GaussianLaw) -> Tensor:
    """The squared 2-Wasserstein distance of every group, (d,)."""
    values, axes = torch.linalg.eigh(a.covariance)
    root = (axes * values.clamp_min(0).sqrt()[:, None]) @ axes.mT
    cross = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp_min(0).sqrt().sum(1)
    spread = (a.covariance + b.covariance).diagonal(dim1=1, dim2=2).sum(1) - 2 * cross
    return (a.mean - b.mean).square().sum(0) + spread.clamp_min(0)


def frechet(a: GaussianLaw, b: GaussianLaw) -> float:
    """FID's formula: the squared 2-Wasserstein distance."""
    return squared_wasserstein(a, b).sum().item()


def kl_divergence(a: GaussianLaw, b: GaussianLaw) -> Tensor:
    """KL(a || b) of every group, (d,)."""
    precision, shift = torch.linalg.inv(b.covariance), (a.mean - b.mean).T
    square = (precision * a.covariance.mT).sum((1, 2)) + torch.einsum("dp,dpq,dq->d", shift, precision, shift)
    return (square - len(a.mean) + torch.logdet(b.covariance) - torch.logdet(a.covariance)) / 2


def sliced_wasserstein(
    a: GaussianLaw, b: GaussianLaw, axes: Tensor | None = None, seed: int = 0, projections: int = PROJECTIONS
) -> float:
    """`rescore.metrics.sliced_wasserstein` of infinitely many draws, over the same directions.

    Args:
        axes: columns are the axes that the laws' coordinates stand on, where the distance is that of points off them.
    """
    import ot  # slow to import

    size = a.mean.numel()
    directions = torch.as_tensor(ot.sliced.get_random_projections(size, projections, seed=seed))
    directions = directions if axes is None else axes.T @ directions
    slices = directions.reshape(*a.mean.shape, -1)
    mean = torch.einsum("pd,pdn->n", a.mean - b.mean, slices)
    first, second = (torch.einsum("pdn,dpq,qdn->n", slices, law.covariance, slices).clamp_min(0).sqrt() for law in (a, b))
    return (mean**2 + (first - second) ** 2).mean().sqrt().item()
