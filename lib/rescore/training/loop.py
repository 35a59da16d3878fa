"""The one training loop: seeded, checkpointed atomically, resumed bit for bit after a kill."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.progress import progress, warn
from rescore.training.checkpoint import State, load_checkpoint, save_checkpoint
from rescore.training.ema import averaged_copy

SKIPPED_IN_A_ROW = 20  # a rare overflow is passed over; so many on end are a divergence
SETTLING = 10  # steps of a process that its speed does not count: compilation, memory

Loss = Callable[[torch.Generator], Tensor]
"""loss(generator): the scalar to minimise, all its randomness drawn from `generator`."""


@dataclass(frozen=True)
class Adam:
    """Adam with a linear warm-up and a step-wise exponential decay: lr min(step / warmup, 1) decay ** (step // decay_every).

    Args:
        warmup: steps; the first one then has rate 0, as in Score-SDE's code. 0 is none.
        clip: the gradient is scaled down to this norm where it is larger; None leaves it.
        beta1, beta2, eps: Adam's own.
    """

    steps: int
    lr: float
    weight_decay: float = 0.0
    decay: float = 1.0
    decay_every: int = 50
    warmup: int = 0
    clip: float | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def lr_at(self, step: int) -> float:
        rise = min(step / self.warmup, 1.0) if self.warmup else 1.0
        return self.lr * rise * self.decay ** (step // self.decay_every)

    def optimizer(self, model: nn.Module) -> torch.optim.Adam:
        fused = True if next(model.parameters()).is_cuda else None
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(
            model.parameters(), lr=self.lr, betas=betas, eps=self.eps, weight_decay=self.weight_decay, fused=fused
        )


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
        checkpoint_every: steps between checkpoints.
        label: what the progress bar is called.

    Raises:
        RescoreError: the loss or its gradient is not finite for `SKIPPED_IN_A_ROW` steps, every checkpoint in `folder` is
            damaged, or they are of another network or of a longer training.
    """
    history = torch.zeros(settings.steps, dtype=torch.float64)
    state = State(model, settings.optimizer(model), history, generator)
    minimise(state, _gradient_of(loss, generator), settings, folder, checkpoint_every, label)
    return history


def fit_averaged(
    model: nn.Module, loss: Loss, settings: Adam, generator: torch.Generator, folder: Path, ema: float,
    checkpoint_every: int = 1000, label: str = "train",
) -> nn.Module:  # fmt: skip
    """`fit` with a moving average of the weights, `averaged_copy(model, ema)`: that average, frozen."""
    history = torch.zeros(settings.steps, dtype=torch.float64)
    state = State(model, settings.optimizer(model), history, generator, averaged_copy(model, ema))
    minimise(state, _gradient_of(loss, generator), settings, folder, checkpoint_every, label)
    return state.ema.module.requires_grad_(False)


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
) -> None:
    """The loop of `fit`, for any `State`.

    Args:
        backward: backward(step) adds the gradient of the step's loss to the parameters' and returns the loss. What it does may
            depend on the step and on `state` only.
        writes: whether this process writes checkpoints and shows a bar: one of several does.
    """
    start = load_checkpoint(folder, state)
    parameters = list(state.model.parameters())
    skipped = 0
    for step in progress(range(start, settings.steps), initial=start, total=settings.steps, desc=label, disable=not writes):
        began = time.perf_counter()
        for group in state.optimizer.param_groups:
            group["lr"] = settings.lr_at(step)
        state.optimizer.zero_grad()
        loss = backward(step)
        state.history[step] = loss.item()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if torch.isfinite(loss) and torch.isfinite(norm):
            if settings.clip is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
            state.optimizer.step()
            if state.ema is not None:
                state.ema.update_parameters(state.model)
            skipped = 0
        else:
            skipped += 1
            if writes:
                warn(f"{label}: the loss is {loss.item():g} or its gradient is not finite at step {step}: no update")
            if skipped == SKIPPED_IN_A_ROW:
                raise RescoreError(f"{label}: diverged: no finite loss or gradient in {skipped} steps up to step {step}; "
                                   f"checkpoints up to it are in {folder}")
        if step >= start + SETTLING:
            state.cost["seconds"] = state.cost.get("seconds", 0.0) + time.perf_counter() - began
            state.cost["steps"] = state.cost.get("steps", 0) + 1
        if writes and ((step + 1) % checkpoint_every == 0 or step + 1 == settings.steps):
            save_checkpoint(folder, step + 1, state)
