"""Training of an ensemble with a record of every member's losses, and what counts as a spike of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rescore.networks.ensemble import Ensemble
from rescore.training.loop import Adam, fit

WINDOW, SPIKE = 100, 6.0  # a spike exceeds the median of the last WINDOW losses by SPIKE robust standard deviations


class Tracked(nn.Module):
    """An ensemble with what happened in its training, so that a checkpoint holds it.

    Attributes:
        losses: (steps, members).
        errors: (steps // every + 1, members): an error before the first step and after each `every`; of no rows without it.
        step: steps made.
    """

    losses: Tensor
    errors: Tensor
    step: Tensor

    def __init__(self, ensemble: Ensemble, steps: int, every: int | None = None):
        super().__init__()
        rows = steps // every + 1 if every else 0
        self.ensemble, self.every = ensemble, every
        self.register_buffer("losses", torch.zeros(steps, ensemble.size, dtype=torch.float64))
        self.register_buffer("errors", torch.zeros(rows, ensemble.size, dtype=torch.float64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def note(self, losses: Tensor, error: Callable[[], Tensor] | None = None) -> None:
        """Keep the losses (members,) of the step that begins; `error` is called where it is due."""
        step = int(self.step)
        self.losses[step] = losses.detach()
        if error and self.every and step % self.every == 0:
            self.errors[step // self.every] = error()
        self.step += 1


def train_ensemble(
    tracked: Tracked,
    losses: Callable[[torch.Generator], Tensor],
    error: Callable[[], Tensor],
    adam: Adam,
    generator: torch.Generator,
    folder: Path,
    label: str,
) -> Tracked:
    """Minimise the sum of the members' mean losses: without a clip each trains as it would alone. Resumes as `fit` does.

    Args:
        losses: one step's, (members * batch,), block by block.
        error: (members,).

    Raises RescoreError where the losses stay without a finite value.
    """
    steps, members = tracked.losses.shape

    def loss(draws: torch.Generator) -> Tensor:
        means = losses(draws).unflatten(0, (members, -1)).mean(1)
        tracked.note(means, error)
        return means.sum()

    fit(tracked, loss, adam, generator, folder, checkpoint_every=500, label=label)
    if tracked.every and steps % tracked.every == 0:
        tracked.errors[-1] = error()
    return tracked


def spikes(losses: np.ndarray) -> np.ndarray | None:
    """Spikes per 1000 steps of each member, from losses (steps, members); None where they are too few to tell."""
    if len(losses) <= WINDOW:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(losses[:-1], WINDOW, axis=0)
    middle = np.median(windows, axis=-1)
    spread = 1.4826 * np.median(np.abs(windows - middle[..., None]), axis=-1)
    return 1000 * (losses[WINDOW:] > middle + SPIKE * spread).mean(0)
