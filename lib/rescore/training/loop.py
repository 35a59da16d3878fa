"""The one training loop: seeded, checkpointed atomically, resumed bit for bit after a kill."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rescore.errors import TrainingDiverged
from rescore.progress import progress, warn
from rescore.specs.training import TrainingConfig
from rescore.training.checkpoint import State, load_checkpoint, save_checkpoint
from rescore.training.ema import Net, averaged_copy

SKIPPED_IN_A_ROW = 20  # a rare overflow is passed over; so many on end are a divergence
LOOK_EVERY = 100  # steps after which the host waits for a GPU and reads losses
SAVING_SHARE = 0.05  # of the time that checkpoints of more than a second may take; a kill costs 20 times that second
SETTLING = 10  # steps of a process that its speed does not count: compilation, memory

Loss = Callable[[torch.Generator], Tensor]
"""loss(generator): the scalar to minimise, all its randomness drawn from `generator`."""


@dataclass(frozen=True)
class Adam:
    """Adam with a linear warm-up and a step-wise exponential decay: lr min(step / warmup, 1) decay ** (step // decay_every).

    Args:
        warmup: steps; the first one then has rate 0, as in Score-SDE's code. 0 is none.
        clip: the gradient is scaled down to this norm where it is larger; None leaves it.
    """

    steps: int
    lr: float
    weight_decay: float = 0.0
    decay: float = 1.0
    decay_every: int = 50
    warmup: int = 0
    clip: float | None = None

    @classmethod
    def of(cls, config: TrainingConfig) -> "Adam":
        """The optimiser that a config means."""
        names = "steps", "lr", "weight_decay", "decay", "decay_every", "warmup", "clip"
        return cls(**{name: getattr(config, name) for name in names})

    def lr_at(self, step: int) -> float:
        rise = min(step / self.warmup, 1.0) if self.warmup else 1.0
        return self.lr * rise * self.decay ** (step // self.decay_every)

    def optimizer(self, model: nn.Module) -> torch.optim.Adam:
        # One kernel for all parameters: on a CPU the loop over the parameters of a small network took a quarter of a step.
        return torch.optim.Adam(model.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def set_rate(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.lr_at(step)


def fit(
    model: nn.Module,
    loss: Loss,
    settings: Adam,
    generator: torch.Generator,
    folder: Path,
    checkpoint_every: int = 100,
    label: str = "train",
) -> Tensor:
    """Minimise `loss` in place and return its history, (steps,) float64.

    A step whose loss or gradient is not finite leaves the parameters as they are; its loss stands in the history as it is.
    The same call after an interruption resumes from the newest good checkpoint in `folder` and ends in the same bits;
    after the end it only loads the result.

    Args:
        model: trained in place.
        loss: see `Loss`.
        settings: optimiser and its length.
        generator: the only source of randomness; its state is part of a checkpoint.
        folder: where checkpoints live; nothing else may write there.
        checkpoint_every: steps between checkpoints; fewer are written where one takes more than a second (`SAVING_SHARE`).
        label: what the progress bar is called.

    Raises:
        TrainingDiverged: the loss or its gradient is not finite for `SKIPPED_IN_A_ROW` steps.
        RescoreError: every checkpoint in `folder` is damaged, or they are of another network or of a longer training.
    """
    history = torch.zeros(settings.steps, dtype=torch.float64)
    state = State(model, settings.optimizer(model), history, generator)
    minimise(state, _gradient_of(loss, generator), settings, folder, checkpoint_every, label)
    return history


def fit_averaged(
    model: Net, loss: Loss, settings: Adam, generator: torch.Generator, folder: Path, ema: float, label: str = "train"
) -> Net:
    """`fit` with a moving average of the weights, `averaged_copy(model, ema)`: that average, frozen."""
    history = torch.zeros(settings.steps, dtype=torch.float64)
    average = averaged_copy(model, ema)
    state = State(model, settings.optimizer(model), history, generator, average)
    minimise(state, _gradient_of(loss, generator), settings, folder, 1000, label)
    return average.module.requires_grad_(False)


def _gradient_of(loss: Loss, generator: torch.Generator) -> Callable[[int], Tensor]:
    def backward(step: int) -> Tensor:
        value = loss(generator)
        value.backward()
        return value.detach()

    return backward


def minimise(
    state: State,
    backward: Callable[[int], Tensor],
    settings: Adam,
    folder: Path,
    checkpoint_every: int,
    label: str,
    writes: bool = True,
    after: Callable[[int], None] = lambda steps: None,
    settling: int = SETTLING,
) -> None:
    """The loop of `fit`, for any `State`.

    On a GPU the host queues steps and does not wait for them: whether one was good is decided there, and looked at now and
    then.

    Args:
        backward: backward(step) adds the gradient of the step's loss to the parameters' and returns the loss. What it does may
            depend on the step and on `state` only.
        writes: whether this process writes checkpoints and shows a bar: one of several does.
        after: after(steps) is called after so many steps, in every process.
        settling: first steps of the process whose time `state.cost` does not count; 0 where something has warmed it up.
    """
    start = load_checkpoint(folder, state)
    parameters = list(state.model.parameters())
    device = parameters[0].device
    look_every = _looks_every(device)
    watch = _Watch(state, start, device, label, folder, writes)
    saved = _Saving()
    for step in progress(range(start, settings.steps), initial=start, total=settings.steps, desc=label, disable=not writes):
        began = time.perf_counter()
        settings.set_rate(state.optimizer, step)
        state.optimizer.zero_grad()
        loss = backward(step)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        good = torch.isfinite(loss) & torch.isfinite(norm)
        watch.note(step, loss, good)
        if settings.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
        _update(state, good)
        steps = step + 1
        last = steps == settings.steps
        saves = last or (steps % checkpoint_every == 0 and saved.due())
        if (
            saves or steps % look_every == 0 or steps == start + settling
        ):  # then what was queued is done, and its time is counted
            watch.look(steps)
        if step >= start + settling:
            state.cost["seconds"] = state.cost.get("seconds", 0.0) + time.perf_counter() - began
            state.cost["steps"] = state.cost.get("steps", 0) + 1
        after(steps)
        if writes and saves:
            with saved:
                save_checkpoint(folder, steps, state)


def _looks_every(device: torch.device) -> int:
    return 1 if device.type == "cpu" else LOOK_EVERY


def _update(state: State, good: Tensor) -> None:
    """A step of the optimiser and of the average, unless the loss or the gradient is not finite."""
    if good.device.type == "cpu":
        if good:
            state.optimizer.step()
            if state.ema is not None:
                state.ema.update_parameters(state.model)
        return
    fused: Any = state.optimizer  # whose type does not say what torch's gradient scaler sets,
    fused.found_inf = (~good).float()  # to have a fused optimiser leave all as it is
    fused.grad_scale = None
    state.optimizer.step()
    if state.ema is not None:
        state.ema.update_if(good, state.model)


class _Watch:
    """Losses and failed steps, kept where the training computes until one looks."""

    def __init__(self, state: State, start: int, device: torch.device, label: str, folder: Path, writes: bool):
        self.state, self.label, self.folder, self.writes = state, label, folder, writes
        steps = len(state.history)
        self.losses, self.good = state.history.to(device), torch.ones(steps, dtype=torch.bool, device=device)
        self.seen, self.skipped = start, 0
        if state.ema is not None and device.type != "cpu":
            state.ema.count_on(device)

    def note(self, step: int, loss: Tensor, good: Tensor) -> None:
        self.losses[step], self.good[step] = loss, good

    def look(self, steps: int) -> None:
        """Bring the losses to `state.history`; warn of each step that failed. Raises RescoreError for too many on end."""
        since = slice(self.seen, steps)
        self.state.history[since] = self.losses[since].cpu()
        for step, good in zip(range(self.seen, steps), self.good[since].tolist(), strict=True):
            self.skipped = 0 if good else self.skipped + 1
            if not good and self.writes:
                loss = self.state.history[step].item()
                warn(f"{self.label}: the loss is {loss:g} or its gradient is not finite at step {step}: no update")
            if self.skipped == SKIPPED_IN_A_ROW:
                raise TrainingDiverged(
                    f"{self.label}: diverged: no finite loss or gradient in {self.skipped} steps up to step {step}; "
                    f"checkpoints up to it are in {self.folder}"
                )
        self.seen = steps


class _Saving:
    """When checkpoints are due; a `with` block around writing one takes its time."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock, self.took, self.ended = clock, 0.0, clock()

    def due(self) -> bool:
        """Whether writing another would keep to `SAVING_SHARE` of the time; one that takes less than a second always may."""
        return self.took < 1.0 or self.clock() - self.ended >= self.took / SAVING_SHARE

    def __enter__(self) -> None:
        self.began = self.clock()

    def __exit__(self, *_: object) -> None:
        self.ended = self.clock()
        self.took = self.ended - self.began
