"""Exact scores of diffused data, and the change between score and noise prediction.

A score is a function (u, t) -> grad_u log p_t(u), for u of shape (batch, *state) and one time t (a float); it keeps the
shape and dtype of u. The classes here also give the exact `log_prob` and exact draws `sample` of u_t.

References:
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.errors import RescoreError
from rescore.processes.base import Factor, LinearSDE, gaussian_log_prob
from rescore.processes.isotropic import Isotropic
from rescore.processes.operators import Operator

Score = Callable[[Tensor, float], Tensor]


def to_noise(process: LinearSDE, score: Score, factor: Factor = "R") -> Score:
    """The noise prediction eps(u, t) = -K_t^T score(u, t) (thesis eq. 7.4), K = R_t or L_t."""
    root = lru_cache(4096)(lambda t: -process.K(t, factor).T)
    return lambda u, t: root(t)(score(u, t))


def to_score(process: LinearSDE, noise: Score, factor: Factor = "R") -> Score:
    """The score -K_t^{-T} eps(u, t) of a noise prediction trained with K = R_t or L_t."""
    root = lru_cache(4096)(lambda t: -process.K(t, factor).T.inv())
    return lambda u, t: root(t)(noise(u, t))


def on_process(score: Score, source: Isotropic, target: Isotropic) -> Score:
    """The score of the same data under another isotropic process, from that under `source`.

    With t' the time at which `source` has the ratio sigma / m of `target` at t, and c = m_source(t') / m_target(t), c u_t is
    a draw of source's marginal at t': the score is c score(c u, t'). Times that `source` does not reach are taken at its ends.
    """

    @lru_cache(4096)
    def clock(t: float) -> tuple[float, float]:
        time = min(max(source.time_of_rho(target.rho(t)).item(), 0.0), source.T)
        return time, (source.mean(time).values / target.mean(t).values).item()

    def evaluate(u: Tensor, t: float) -> Tensor:
        time, c = clock(t)
        return c * score(c * u, time)

    return evaluate


class GaussianMixture:
    """Data from sum_k w_k N(mu_k, diag(std_k^2)), diffused by a process: p_t is a mixture of N(m_t e(mu_k), C_k).

    Args:
        process: the forward process.
        means: (K, *data).
        stds: (K,), or (K, *data) with one per coordinate; in DCT coordinates for blurring diffusion. 0 is a point mass.
        weights: (K,), normalised here; equal if None.

    Raises RescoreError for shapes that do not fit.
    """

    def __init__(self, process: LinearSDE, means: Tensor, stds: Tensor | float, weights: Tensor | None = None):
        k = len(means)
        stds = torch.as_tensor(stds, dtype=torch.float64)
        stds = stds.expand(k) if stds.ndim == 0 else stds
        weights = torch.as_tensor(torch.ones(k) if weights is None else weights, dtype=torch.float64)
        if stds.shape not in ((k,), means.shape) or weights.shape != (k,):
            raise RescoreError(
                f"mixture of {k} means: stds must have shape ({k},) or {tuple(means.shape)}, not {tuple(stds.shape)}; "
                f"weights ({k},), not {tuple(weights.shape)}"
            )
        self.process = process
        self.means = process.embed(means.to(torch.float64))
        self.weights = weights / weights.sum()
        self.covariance = process.data_covariance(stds**2, stds.ndim - 1)
        self._at = lru_cache(4096)(self._components)

    def _components(self, t: float) -> tuple[Tensor, Operator, Operator, Tensor]:
        """Of the components of p_t: means (K, 1, *state), covariances, precisions, and log weights less normalisers (K, 1)."""
        mean = self.process.mean(t)
        covariance = (mean @ self.covariance @ mean.T + self.process.Sigma(t)).unsqueeze(1)
        state = tuple(self.means.shape[1:])
        normaliser = covariance.logdet(state) + math.prod(state) * math.log(2 * math.pi)
        return mean(self.means).unsqueeze(1), covariance, covariance.inv(), self.weights.log()[:, None] - 0.5 * normaliser

    def _log_joint(self, u: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """log w_k N_k(u), (K, batch), and each component's C_k^-1 (u - mean_k), (K, batch, *state)."""
        means, _, precision, log_constant = self._at(t)
        residual = u - means.to(u)
        pull = precision(residual)
        return log_constant.to(u) - 0.5 * (residual * pull).flatten(2).sum(2), pull

    def log_prob(self, u: Tensor, t: float) -> Tensor:
        """log p_t(u), shape (batch,)."""
        note(len(u))
        return self._log_joint(u, t)[0].logsumexp(0)

    def __call__(self, u: Tensor, t: float) -> Tensor:
        """The score at u, the shape of u."""
        note(len(u))
        log_joint, pull = self._log_joint(u, t)
        posterior = log_joint.softmax(0)
        return -(posterior.reshape(posterior.shape + (1,) * (u.ndim - 1)) * pull).sum(0)

    def sample(self, n: int, t: float, generator: torch.Generator) -> Tensor:
        """Exact draws of u_t, (n, *state), float64."""
        means, covariance, *_ = self._at(t)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, *means.shape[2:], generator=generator, dtype=torch.float64)
        return means[k, 0] + covariance.cholesky()[k, 0](noise)


class EmpiricalData:
    """The empirical distribution of a data set, diffused by a process (thesis eq. 7.15).

    The softmax over points is streamed over chunks, so memory is the data plus (batch, chunk) and (batch, *data); the work
    is two matrix products per chunk. Logits are of size |u|^2 / Sigma_t: use float64 points where digits matter.

    Args:
        process: the forward process.
        points: (n, *data); its dtype and device are those of the computation.
        chunk: points per chunk.
    """

    def __init__(self, process: LinearSDE, points: Tensor, chunk: int = 4096):
        self.process = process
        self.points = process.rotate(points).flatten(1)
        self.data = tuple(points.shape[1:])
        self.squares = self.points.square().sum(1)
        self.chunk = chunk
        self._at = lru_cache(4096)(self._coefficients)

    def _coefficients(self, t: float) -> tuple[Operator, Operator, Operator, Operator]:
        """m_t, Sigma_t^-1, m_t^T Sigma_t^-1, and the data coordinates' part of m_t^T Sigma_t^-1 m_t."""
        mean, precision = self.process.mean(t), self.process.Sigma(t).inv()
        pull = mean.T @ precision
        return mean, precision, pull, (pull @ mean).corner()

    def _bias(self, points: Tensor, squares: Tensor, precision: Operator) -> Tensor:
        """-e_k^T A e_k / 2 for the A of the data coordinates, (chunk,)."""
        if precision.values.ndim == 0:
            return squares * (-0.5 * precision.values.item())
        return points.square() @ (-0.5 * precision.values.to(points)).expand(self.data).reshape(-1)

    def _posterior(self, u: Tensor, t: float) -> tuple[Tensor, Tensor, Operator, Operator]:
        """E[e(x) | u_t = u] in state shape, log sum_k exp(logit_k), m_t and Sigma_t^-1."""
        mean, precision, pull, data_precision = self._at(t)
        query = self.process.marginal(pull(u)).flatten(1).to(self.points)
        top = torch.full((len(u), 1), -math.inf, dtype=query.dtype, device=query.device)
        total, moment = torch.zeros_like(top), torch.zeros_like(query)
        for points, squares in zip(self.points.split(self.chunk), self.squares.split(self.chunk), strict=True):
            logits = torch.addmm(self._bias(points, squares, data_precision), query, points.T)
            new_top = torch.maximum(top, logits.amax(1, keepdim=True))
            scale, weights = (top - new_top).exp(), logits.sub_(new_top).exp_()
            total = total * scale + weights.sum(1, keepdim=True)
            moment = torch.addmm(moment.mul_(scale), weights, points)
            top = new_top
        expected = (moment / total).reshape(len(u), *self.data).to(u)
        return self.process.augment(expected), (top + total.log())[:, 0].to(u), mean, precision

    def __call__(self, u: Tensor, t: float) -> Tensor:
        """The score at u, the shape of u."""
        note(len(u))
        expected, _, mean, precision = self._posterior(u, t)
        return precision(mean(expected) - u)

    def with_gradients(self) -> Score:
        """The same score of an isotropic process, which passes gradients: a softmax over all points, memory (batch, n)."""

        def score(u: Tensor, t: float) -> Tensor:
            note(len(u))
            m, variance = self.process.mean(t).values.item(), self.process.Sigma(t).values.item()
            points, squares = self.points.to(u), self.squares.to(u)
            weights = torch.softmax((m * u.flatten(1) @ points.T - m**2 / 2 * squares) / variance, 1)
            return (m * (weights @ points).reshape(u.shape) - u) / variance

        return score

    def log_prob(self, u: Tensor, t: float) -> Tensor:
        """log p_t(u), shape (batch,)."""
        note(len(u))
        log_total = self._posterior(u, t)[1]
        return gaussian_log_prob(u, self.process.Sigma(t)) + log_total - math.log(len(self.points))

    def sample(self, n: int, t: float, generator: torch.Generator) -> Tensor:
        """Exact draws of u_t, (n, *state)."""
        k = torch.randint(len(self.points), (n,), generator=generator, device=self.points.device)
        u = self.process.augment(self.points[k].reshape(n, *self.data))
        noise = torch.randn(u.shape, generator=generator, dtype=u.dtype, device=u.device)
        return self.process.mean(t)(u) + self.process.L(t)(noise)
