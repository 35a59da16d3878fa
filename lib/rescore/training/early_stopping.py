"""Training in stages, of which validation picks the best."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from rescore.errors import RescoreError
from rescore.files import atomic_write, read_any_json
from rescore.training.weights import load_weights, save_weights


def stopped_at_best(
    blank: nn.Module, train_to: Callable[[int, Path], nn.Module], loss: Callable[[], float], stops: Sequence[int], folder: Path
) -> None:
    """Leave in `blank` the weights with the least validation loss at the `stops`; one that is not finite counts as infinite.

    Args:
        train_to: train_to(steps, folder) goes on to so many steps and returns the model to keep.
        loss: of `blank`, with the weights that were put into it.
        folder: keeps what is done: the same call after an interruption goes on behind it.

    Raises RescoreError, which says what to remove, where what it keeps is damaged.
    """
    weights, notes = folder / "best.safetensors", folder / "stages.json"
    done = _noted(notes) if notes.exists() else []
    for stop in stops[len(done) :]:
        save_weights(folder / "latest.safetensors", train_to(stop, folder / "training"))
        load_weights(folder / "latest.safetensors", blank, folder)
        value = loss()
        best = min((past for past in done if math.isfinite(past)), default=math.inf)  # NaN has no order
        if not done or value < best:
            save_weights(weights, blank)
        done.append(value)
        atomic_write(notes, json.dumps(done))
    load_weights(weights, blank, folder)


def _noted(notes: Path) -> list[float]:
    """The losses that are kept there. Raises RescoreError for a file that is damaged or holds something else."""
    try:
        done = read_any_json(notes)
        if not isinstance(done, list) or not all(isinstance(value, float) for value in done):
            raise RescoreError(f"{notes}: not a list of losses")
    except RescoreError as error:
        raise RescoreError(f"{error}. Remove {notes.parent} to train again") from None
    return done
