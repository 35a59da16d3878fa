"""From a network of images and noise levels to the noise prediction eps(u, t) = -K_t^T score(u, t) of a process.

References:
    Score-SDE: arXiv:2011.13456.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.domain import check_one_of
from rescore.machine.precision import float32
from rescore.networks.base import once
from rescore.networks.embeddings import LABELS
from rescore.processes.base import Factor, LinearSDE, Time, as_time
from rescore.processes.isotropic import VE, VP, DiscreteVP, Isotropic, VariancePreserving
from rescore.scores import Score, to_score

LEVELS: dict[str, Callable[[LinearSDE, Tensor], Tensor]] = {
    "time": lambda process, t: t,
    "steps": lambda process, t: (LABELS - 1) * t,  # the index of DDPM's 1000 steps
    "labels": lambda process, t: _label(process, t, LABELS),
    "labels/2": lambda process, t: _label(process, t, 2 * LABELS) / 2,
    "chain": lambda process, t: _chain_index(process, t, LABELS),
    "chain/2": lambda process, t: _chain_index(process, t, 2 * LABELS) / 2,
    "sigma": lambda process, t: process.R(t).values,
}


@lru_cache
def ddpm_chain(process: VP, steps: int = LABELS) -> DiscreteVP:
    """DDPM's chain of 1000 betas, or of as many `steps`, of which `process` is the limit (Score-SDE, appendix C)."""
    return DiscreteVP(torch.linspace(process.beta_min / steps, process.beta_max / steps, steps, dtype=torch.float64))


def _chain_index(process: LinearSDE, t: Tensor, steps: int) -> Tensor:
    """The index of the step of DDPM's chain of so many steps whose ratio of noise to signal is nearest."""
    vp = cast(VP, process)  # `NoisePrediction` allows this level for no other
    return (steps * ddpm_chain(vp, steps).time_of_rho(vp.rho(t))).round().clamp(1, steps) - 1


def _label(process: LinearSDE, t: Tensor, count: int) -> Tensor:
    """NCSN++'s label of the nearest of so many geometric sigmas, 0 the largest."""
    return ((count - 1) * (1 - t / process.T)).round()


def state_channels(process: LinearSDE, channels: int) -> int:
    """The channels of a state as an image: twice those of the data for CLD (Dockhorn et al., section 5)."""
    return math.prod(process.state_shape((channels,)))


class NoisePrediction(nn.Module):
    """eps(u, t) for states u of a process, from a network of (images, levels).

    A state becomes an image: in pixels for blurring diffusion, x and v as channels for CLD. A network that gives a score
    becomes eps by -K_t^T. `perturb(x, t, generator, model.factor)` gives pairs (u, eps) to train on.

    Where autocast is on, it reaches the network only: the DCT, levels and coefficients stay in the dtype of u.

    Args:
        network: called as network(images, levels), with one level per image; its output has the shape of the images.
        process: the forward process.
        level: what the network calls its noise level: "steps" is 999 t (DDPM, DDPM++), "time" is t (CLD's NCSN++), "sigma"
            the standard deviation of the noise, of isotropic processes only (NCSN, NCSNv2, NCSN++), "labels" the label
            round(999 (1 - t / T)) of VE's discrete levels, 0 the largest sigma (NCSN++ trained on them), "chain" the index of
            the step of DDPM's chain whose ratio of noise to signal is nearest, 0 the least noise (VP; DDPM trained on them).
        output: what it gives: "noise", "score" (NCSN, NCSNv2, and NCSN++, which divide by sigma), or of variance-preserving
            processes "v" = m_t eps - R_t u_0 (Salimans and Ho 2022), from which eps = R_t u + m_t v: the larger the noise, the
            less of it has to be learnt, and the u_0 that follows, m_t u - R_t v, is never divided by a small m_t.
        factor: K_t, "R" or "L".

    Raises RescoreError for other choices.
    """

    times_on_host = True  # coefficients are of the CPU (`rescore.objectives.network.times_for`)

    def __init__(
        self,
        network: nn.Module,
        process: LinearSDE,
        level: Literal["steps", "time", "sigma", "labels", "chain"] = "steps",
        output: Literal["noise", "score", "v"] = "noise",
        factor: Factor = "R",
    ):
        super().__init__()
        name, kind = type(self).__name__, type(process).__name__
        levels = (
            ("time", "steps")
            + isinstance(process, Isotropic) * ("sigma",)
            + isinstance(process, VE) * ("labels",)
            + isinstance(process, VP) * ("chain",)
        )
        check_one_of(f"network {name}: level for {kind}", level, levels)
        outputs = ("noise", "score", "v") if isinstance(process, VariancePreserving) else ("noise", "score")
        check_one_of(f"network {name}: output for {kind}", output, outputs)
        check_one_of(f"network {name}: factor", factor, ("R", "L"))
        self.network, self.process = network, process
        self.level: str = level
        self.output, self.factor = output, factor

    def on_doubled_chain(self) -> Self:
        """The same network for a chain of 2000 levels in place of its 1000: level i is i / 2 to it (Score-SDE Table 1).

        Raises RescoreError for a network of no discrete levels.
        """
        check_one_of(f"network {type(self).__name__}: level on a doubled chain", self.level, ("labels", "chain"))
        doubled = copy.copy(self)
        doubled.level = f"{self.level}/2"
        return doubled

    def evaluate(self, u: Tensor, t: Time) -> Tensor:
        """The network's output for states (batch, *state) at one time or one per state; an image, in the dtype of u."""
        note(len(u))
        with float32(u):
            images = self.process.unrotate(u).flatten(1, 1 + len(self.process.state_shape(())))
            times = as_time(once(t) if isinstance(t, Tensor) else t)
            levels = LEVELS[self.level](self.process, times).to(device=u.device, dtype=u.dtype)
        return self.network(images, levels.expand(len(u))).to(u.dtype)

    def forward(self, u: Tensor, t: Time) -> Tensor:
        """eps, the shape of u, at one time or one per state."""
        images = self.evaluate(u, t).reshape(u.shape)
        with float32(u):
            out = self.process.rotate(images)
            match self.output:
                case "score":
                    return -self.process.K(t, self.factor).T(out)
                case "v":
                    return self.process.R(t)(u) + self.process.mean(t)(out)
            return out

    def score(self) -> Score:
        """(u, t) -> score, differentiable in u; t is a float."""
        return to_score(self.process, self, self.factor)
