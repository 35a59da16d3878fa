"""Independent repeats of an estimate, kept on disk as they come."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rescore.domain import check_count
from rescore.errors import RescoreError
from rescore.files import read_arrays, save_arrays
from rescore.progress import progress, warn

Repeat = Callable[[range], dict[str, np.ndarray]]
"""repeat(which): results of the runs `which`, each an array with one row a run. A run may depend on its number alone."""


def repeat_runs(repeat: Repeat, runs: int, together: int, path: Path, label: str = "runs") -> dict[str, np.ndarray]:
    """Call `repeat` on batches of at most `together` runs and join the results, each (runs, ...).

    Finished batches are kept in `path` (npz): after an interruption the same call goes on behind them. Where more runs are kept
    than are asked for, the first ones are returned, and all stay there.

    Raises RescoreError unless runs and together are at least 1.
    """
    check_count(label, "runs", runs)
    check_count(label, "together", together)
    done = _load(path)
    n_done = min((len(rows) for rows in done.values()), default=0)
    bar = progress(total=runs, initial=min(n_done, runs), desc=label)
    while n_done < runs:
        batch = repeat(range(n_done, min(n_done + together, runs)))
        done = {name: np.concatenate((done[name], rows)) for name, rows in batch.items()} if done else batch
        bar.update(len(next(iter(batch.values()))))
        n_done = min(len(rows) for rows in done.values())
        save_arrays(path, done)
    bar.close()
    return {name: rows[:runs] for name, rows in done.items()}


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        return read_arrays(path)
    except RescoreError as error:
        warn(f"{error}: its runs are made again")
        return {}
