"""Train DiffFlow (thesis algorithm 1): fixed or random grids, fixed or progressive N, Adam, a moving average.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.errors import RescoreError
from rescore.neural_sde.adjoint import adjoint_loss
from rescore.neural_sde.grids import Progressive, hat_l_beta, l_beta
from rescore.neural_sde.likelihood import elbo, ode_log_prob
from rescore.neural_sde.loss import draw_noise, on_new_paths, path_loss
from rescore.neural_sde.model import NeuralSDE
from rescore.random import Noise
from rescore.training.checkpoint import State
from rescore.training.ema import averaged_copy
from rescore.training.loop import SETTLING, Adam, minimise

GRIDS = ("L_beta", "hat L_beta")
GRADIENTS = {"adjoint": adjoint_loss, "autograd": path_loss}


@dataclass(frozen=True)
class DiffFlowTraining:
    """How a DiffFlow model is trained.

    Args:
        adam: iterations and learning rate; the released code has 1e-2 for points, x 0.95 every two epochs, clip 1.
        schedule: N of each iteration.
        batch: data per iteration, drawn with replacement.
        grid: "L_beta", fixed times, or "hat L_beta", fresh ones in each iteration.
        t0, T, beta: of the grid; the released code has 0.001, 0.05, 0.9 for points.
        ema: decay of the average of the weights, with its ramp.
        gradient: "adjoint" keeps the states only, "autograd" every intermediate value.
        sampling_steps: N of the grid that the model is sampled and judged on, where no other is asked for.

    Raises RescoreError for another grid or gradient, or a batch below 1.
    """

    adam: Adam
    schedule: Progressive
    batch: int
    grid: Literal["L_beta", "hat L_beta"] = "hat L_beta"
    t0: float = 0.001
    T: float = 0.05
    beta: float = 0.9
    ema: float = 0.999
    gradient: Literal["adjoint", "autograd"] = "adjoint"
    sampling_steps: int = 30

    def __post_init__(self):
        for name, value, allowed in (("grid", self.grid, GRIDS), ("gradient", self.gradient, tuple(GRADIENTS))):
            check_one_of(f"DiffFlow training: {name}", value, allowed)
        if self.batch < 1:
            raise RescoreError(f"DiffFlow training: batch {self.batch}; allowed are 1 or more")

    def times(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """A grid of n steps: L_beta's, or with a generator, under "hat L_beta", a random one."""
        if self.grid == "hat L_beta" and generator is not None:
            return hat_l_beta(n, generator, self.t0, self.T, self.beta)
        return l_beta(n, self.t0, self.T, self.beta)


@dataclass(frozen=True)
class DiffFlow:
    """A pair of SDEs on the times that it is trained on."""

    model: NeuralSDE
    training: DiffFlowTraining

    def log_prob(self, x: Tensor, generator: Noise | None = None, tolerance: float = 1e-5) -> Tensor:
        """log p(x) by the ODE, (n,); see `ode_log_prob`."""
        ends = self.training.t0, self.training.T
        return ode_log_prob(self.model, x, *ends, generator, tolerance=tolerance).log_prob

    def elbo(self, x: Tensor, generator: Noise, steps: int | None = None, times: Tensor | None = None) -> Tensor:
        """An unbiased estimate of a bound of log p(x), (n,), on the grid of so many steps or on given times."""
        return elbo(self.model, x, self._times(steps) if times is None else times, generator)

    def sample(
        self, z: Tensor, generator: torch.Generator, steps: int | None = None, lam: float = 1.0, last: str = "tweedie"
    ) -> Tensor:
        """Data from draws z of the prior, both (n, *data); see `NeuralSDE.sample`."""
        return self.model.sample(z, self._times(steps), generator, lam, last)

    def trajectory(self, x: Tensor, parts: int, generator: torch.Generator) -> Tensor:
        """States of the forward SDE from data x, parts + 1 of them, equally many steps apart: (parts + 1, n, *data)."""
        steps = parts * -(-self.training.sampling_steps // parts)
        states = self.model.trajectory(x, self._times(steps), draw_noise(x, steps, generator))
        return states[:: steps // parts]

    def _times(self, steps: int | None) -> Tensor:
        return self.training.times(steps or self.training.sampling_steps)


@dataclass(frozen=True)
class TrainedDiffFlow(DiffFlow):
    """The averaged model, the loss of each iteration (iterations,), and the seconds of an iteration."""

    losses: Tensor
    seconds_per_step: float


def train_diffflow(
    model: NeuralSDE,
    data: Tensor,
    settings: DiffFlowTraining,
    generator: torch.Generator,
    folder: Path,
    checkpoint_every: int = 1000,
    label: str = "DiffFlow",
    stop: int | None = None,
    settling: int = SETTLING,
) -> TrainedDiffFlow:
    """Minimise the mean loss per dimension on batches of `data` (n, *data); resumes from `folder` after an interruption.

    Per dimension, so that one clip of the gradient serves points and images; Adam itself does not notice.

    Args:
        stop: iterations after which this call ends, of the `settings.adam.steps` that the schedule's shares are of; None: all.
            A later call with a later stop goes on from `folder`.
        settling: first iterations that `seconds_per_step` leaves out. Under a progressive N these are the cheapest: 0 counts
            all, where something has warmed the process up.

    Raises RescoreError as `path_loss` and `rescore.training.fit`.
    """
    loss_of, whole = GRADIENTS[settings.gradient], settings.adam.steps
    adam = settings.adam if stop is None else replace(settings.adam, steps=stop)
    history = torch.zeros(adam.steps, dtype=torch.float64)
    average = averaged_copy(model, settings.ema)
    state = State(model, settings.adam.optimizer(model), history, generator, average)

    def backward(step: int) -> Tensor:
        rows = torch.randint(len(data), (settings.batch,), generator=generator, device=generator.device)
        x = data[rows.to(data.device)]
        times = settings.times(settings.schedule.at(step, whole), generator)
        loss = on_new_paths(loss_of, model, x, times, generator).mean()
        (loss / x[0].numel()).backward()
        return loss.detach()

    minimise(state, backward, adam, folder, checkpoint_every, label, settling=settling)
    cost = state.cost.get("seconds", 0.0) / max(1, state.cost.get("steps", 0))
    return TrainedDiffFlow(average.module.requires_grad_(False), settings, history, cost)
