"""Score-SDE's predictors on the discrete chain of the grid, the Langevin corrector, and both together.

The chain's forward step from t_{i-1} to t_i is u -> Psi u + N(0, Q) with the process's exact Psi and Q: sqrt(1 - beta_i)
and beta_i for VP, 1 and sigma_i^2 - sigma_{i-1}^2 for VE.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.processes import VE, Isotropic, grids
from rescore.processes.base import LinearSDE, require
from rescore.processes.operators import Operator
from rescore.samplers.base import Denoise, Draw, OneStep, Sampler, Times
from rescore.samplers.em import euler_maruyama
from rescore.samplers.langevin import langevin_step
from rescore.samplers.method import method
from rescore.scores import Score


@method()
def reverse_diffusion(process: LinearSDE, times: Times, denoise: Denoise = "none") -> OneStep:
    """u <- (2 I - Psi) u + Q s + Q^{1/2} z: the reverse SDE discretised like the forward one (note, fig. 16)."""
    times = grids.check(process, times)
    psi, q = process.Psi(times[:-1], times[1:]), process.Q(times[:-1], times[1:])
    return OneStep(process, times, 2 * psi.identity() - psi, q, q.cholesky(), denoise)


@method(order=1)
def probability_flow(process: LinearSDE, times: Times, denoise: Denoise = "none") -> OneStep:
    """u <- (2 I - Psi) u + Q s / 2: the discrete probability flow (note eqs. 63-65)."""
    times = grids.check(process, times)
    psi, q = process.Psi(times[:-1], times[1:]), process.Q(times[:-1], times[1:])
    return OneStep(process, times, 2 * psi.identity() - psi, 0.5 * q, None, denoise)


@method()
def ancestral(
    process: LinearSDE, times: Times, variance: Literal["posterior", "forward"] = "posterior", denoise: Denoise = "none"
) -> OneStep:
    """u <- Psi^-1 (u + Q s) + noise, the mean of p(u_{i-1} | u_i, x) at the predicted x.

    variance: "posterior" draws with the covariance of that law (note eq. 51 for VE; blurring diffusion), "forward" with Q (note
    eqs. 37 and 39, DDPM).
    """
    times = grids.check(process, times)
    s, t = times[:-1], times[1:]
    inverse, q = process.Psi(t, s), process.Q(s, t)
    if variance == "forward":
        covariance = q
    elif variance == "posterior":
        covariance = posterior_covariance(process, s, t)
    else:
        raise RescoreError(f"ancestral variance {variance!r}: allowed are 'posterior' and 'forward'")
    return OneStep(process, times, inverse, inverse @ q, covariance.cholesky(), denoise)


def posterior_covariance(process: LinearSDE, s: Tensor, t: Tensor) -> Operator:
    """The covariance of u_t given u_s and x, t < s: Sigma_t Psi^T Sigma_s^-1 Q Psi^-T with Psi = Psi(s, t)."""
    psi = process.Psi(s, t)
    return process.Sigma(t) @ psi.T @ process.Sigma(s).inv() @ process.Q(s, t) @ psi.inv().T


class PredictorCorrector(Sampler):
    """A predictor step per grid step, with `corrector_steps` Langevin steps at each level (note, algorithms 2 and 3).

    The corrector's step at level t_i is e = 2 a_i (snr |z| / |s|)^2 with batch means of the norms; a_i = Psi(t_i, t_{i-1})^2 is
    1 for VE and 1 - beta_i for VP. The chain's step into the lowest level t_0 is that from the data, at time 0. Isotropic
    processes only. A score of 0 leaves the step without a size: the states are not finite then.

    Args:
        predictor: a method that makes a `OneStep`, e.g. `reverse_diffusion`; None leaves u as it is (corrector only).
        snr: the target signal-to-noise ratio r.
        corrector_steps: M; the sampler takes (1 + M) evaluations per step, M without a predictor.
        corrector_first: correct at t_i before predicting t_{i-1} (the authors' code), so that the predictor's mean comes last;
            False corrects at t_{i-1} after predicting (the printed algorithms).
        correct_last: correct at t0 too, with corrector_first, before what `denoise` does there.
    """

    stochastic = True

    def __init__(
        self,
        process: LinearSDE,
        times: Times,
        predictor: Callable[..., OneStep] | None = reverse_diffusion,
        snr: float = 0.16,
        corrector_steps: int = 1,
        corrector_first: bool = True,
        denoise: Denoise = "none",
        correct_last: bool = False,
    ):
        require(process, Isotropic, "predictor-corrector")
        super().__init__(process, times, denoise)
        if denoise == "mean" and not (predictor and corrector_first):
            raise RescoreError("denoise 'mean': allowed with a predictor and corrector_first, where the predictor comes last")
        if correct_last and (denoise == "mean" or not corrector_first):
            raise RescoreError("correct_last: allowed with corrector_first and denoise 'none', 'euler' and 'tweedie'")
        self.predictor = predictor(process, times, denoise="mean" if denoise == "mean" else "none") if predictor else None
        self.evaluations_per_step = corrector_steps + (predictor is not None)
        if not self.evaluations_per_step:
            raise RescoreError("predictor-corrector: neither a predictor nor corrector steps; allowed are at least one of them")
        self.snr, self.corrector_steps, self.corrector_first = snr, corrector_steps, corrector_first
        self.common_step = corrector_steps > 0
        self.correct_last = correct_last
        below = torch.cat((self.grid[1:], torch.zeros(1, dtype=torch.float64)))
        self.signal = (process.Psi(self.grid, below).values ** 2).tolist()

    @property
    def _denoise_nfe(self) -> int:
        return super()._denoise_nfe + self.correct_last * self.corrector_steps

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        for i in range(self.steps):
            if self.corrector_first:
                u = self.correct(i, score, u, draw)
            if self.predictor:
                u = self.predictor.step(i, score, u, draw)
            if not self.corrector_first:
                u = self.correct(i + 1, score, u, draw)
        return self.correct(self.steps, score, u, draw) if self.correct_last else u

    def correct(self, i: int, score: Score, u: Tensor, draw: Draw) -> Tensor:
        """The corrector steps at times[i]."""
        for _ in range(self.corrector_steps):
            s, z = score(u, self.times[i]), draw(u)
            size = 2 * self.signal[i] * (self.snr * _norm(z) / _norm(s)) ** 2
            u = langevin_step(u, s, z, size)
        return u


predictor_corrector = method(
    applies=Isotropic, evaluations_per_step=lambda its: its.corrector_steps + (its.predictor is not None)
)(PredictorCorrector)


def score_sde_sampler(process: LinearSDE, times: Times, snr: float, corrector_steps: int = 1) -> Sampler:
    """Score-SDE's for images (Table 3): reverse diffusion with the corrector on VE, Euler-Maruyama on others.

    As in the authors' `get_pc_sampler`, an update starts at each of the times, also at the last, t0, where it goes down to the
    data without noise: on VE to sigma 0, which removes all of the noise there (Tweedie's estimate). Theirs are of N times
    from T to eps, uniform(process, N - 1), and take N evaluations, (1 + `corrector_steps`) N on VE. Their Euler steps are all
    of 1 / N; these keep to the clock, which is the same where N eps = T, as for their N = 1000 on VP and sub-VP.
    """
    if isinstance(process, VE):
        return PredictorCorrector(
            process, times, snr=snr, corrector_steps=corrector_steps, denoise="tweedie", correct_last=True
        )
    return euler_maruyama(process, times, denoise="euler")


def _norm(v: Tensor) -> Tensor:
    """The batch mean of the norms."""
    return torch.linalg.vector_norm(v.flatten(1), dim=1).mean()
