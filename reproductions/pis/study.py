"""One target of Table 5.1: what every method gets, and how its repeated estimates of log Z become rows."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from rescore.config import config_hash
from rescore.control import ControlledSDE
from rescore.experiments.book import Book
from rescore.experiments.repeat import repeat_runs
from rescore.ledger.records import Over, under_candidate
from rescore.machine.locks import folder_lock
from rescore.montecarlo.logz import bias_std_rmse, logz_statistics, of_retrained_runs, trainings_statistics
from rescore.random import make_generator
from rescore.targets import LogGaussianCox
from rescore.targets.base import Target
from rescore.targets.named import make_target
from rescore.training import Adam, Loss, fit
from rescore.training.ensemble import Tracked
from torch import Tensor, nn

from reproductions.pis.config import Dataset, Short

TABLE = "5.1"
RETRAINED = "retrained-runs"  # the candidate by which each run is a training of its own
MEDIAN = "median"  # the candidate that takes medians over runs, so that single outliers do not set S
SHOWN = 2000  # points kept for a figure
TRAINING_VERSION = 2
"""Raised by hand when the code changes so that a policy or a flow gets other weights: all are trained again.

`protocol_version`, which the texts of records raise too, leaves them.
"""

Arrays = dict[str, np.ndarray]


def shown(x: Tensor) -> np.ndarray:
    """(..., d) to at most SHOWN points of the first two dimensions, float32."""
    return x.reshape(-1, x.shape[-1])[:SHOWN, :2].float().cpu().numpy()


class Study:
    """A target with its settings, named random streams and trainings.

    Attributes:
        groups: policies that were trained together, by their folder.
    """

    table = TABLE  # of its rows

    def __init__(self, book: Book, dataset: str):
        self.book, self.config, self.dataset = book, book.config, dataset
        self.settings: Dataset = self.config.datasets[dataset]
        self.target = make_target(dataset, self.settings.side)
        self.groups: dict[Path, Tracked] = {}

    def shortened(self, steps: int, short: Short, table: str, target: Target | None = None) -> "Study":
        """The same with N = `steps`, a shorter training, rows in another table, and another target if one is given."""
        other = copy(self)
        other.config = self.config.model_copy(update={"steps": steps})
        training = self.settings.pis.model_copy(update={"steps": short.train_steps, "batch": short.batch})
        other.settings = self.settings.model_copy(update={"pis": training})
        other.table = table
        if target is not None:
            other.target, other.dataset = target, target.name
        return other

    def sde(self, policy: str) -> ControlledSDE:
        return ControlledSDE(self.config.steps, self.config.horizon, self.settings.sigma.get(policy, self.config.sigma))

    def generator(self, *names: object) -> torch.Generator:
        return make_generator(self.dataset, *names, device=self.book.run.device)

    def points(self, *shape: int) -> Tensor:
        """A buffer for (*shape, d)."""
        return torch.empty(*shape, self.target.dim, device=self.book.run.device)

    def arrays(self, method: str, arrays: Arrays) -> Arrays:
        """Under the names that figures know."""
        return {f"{self.dataset}/{method}/{name}": array for name, array in arrays.items()}

    def training_folder(self, method: str, seed: int | str, settings: Mapping[str, object]) -> Path:
        """Keyed by what the trained weights depend on alone: another number of runs or particles reuses them."""
        needs = {"dataset": self.dataset, "side": self.settings.side, "seed": seed, "settings": settings}
        key = config_hash(needs, method, str(TRAINING_VERSION))
        return self.book.run.folder.parent / f"{self.dataset}-{method}-seed{seed}-{key}"

    def train(
        self,
        method: str,
        seed: int | str,
        model: nn.Module,
        loss: Loss,
        adam: Adam,
        needs: Mapping[str, object],
        checkpoint_every: int = 100,
    ) -> np.ndarray:
        """Train the model, or load what was trained before, and freeze it; the history of its loss."""
        generator, folder = self.generator(method, "train", seed), self.training_folder(method, seed, needs)
        label = f"{self.dataset} {method} seed {seed}: training"
        with folder_lock(folder, label):  # the job of a candidate may want the same weights
            history = fit(model, loss, adam, generator, folder, checkpoint_every, label=label)
        model.requires_grad_(False)
        return history.numpy()

    def row(
        self,
        method: str,
        variant: str,
        nfe: int | None,
        protocol: Mapping[str, object],
        runs: "Runs",
        estimate: str,
        weights: bool = False,
        arrays: Callable[[], Arrays] = dict,
        also: Mapping[str, Callable[[int], float]] = MappingProxyType({}),
    ) -> None:
        """A row of the table: the statistics of one estimate of log Z over the runs.

        Args:
            weights: also their effective sample size.
            also: other numbers of the row by metric, each of a training seed.
            arrays: for figures, kept with this row.
        """
        trainings = len(runs.seeds)
        over: Over = "trainings" if trainings > 1 else "samplings" if runs.trained else "runs"
        repeats = trainings if trainings > 1 else runs.total
        grid = {"side": self.settings.side} if isinstance(self.target, LogGaussianCox) else {}
        protocol = {"runs": runs.total, "particles": runs.n} | grid | protocol
        n = runs.n * runs.total // repeats
        place = self.table, self.dataset, method, variant, nfe, protocol
        with self.book.cell(*place, n=n, over=over, matched=runs.matched(protocol)) as cell:
            if cell.todo:
                found = runs.results[estimate], self.target.log_z, runs.results["ess"] if weights else None
                if trainings > 1:
                    for metric, values in trainings_statistics(*found).items():
                        cell.add(metric, values.tolist())
                else:
                    for metric, (value, stderr) in logz_statistics(*found).items():
                        cell.estimate(metric, value, stderr, repeats, seeds=trainings)
                for metric, of in also.items():
                    cell.add(metric, [of(seed) for seed in runs.seeds], n=1)
                cell.arrays |= self.arrays(runs.name, arrays())
        if self.target.log_z is None or self.table != TABLE or not self._is_repeated:
            return
        others = {MEDIAN: ({"statistic": MEDIAN}, partial(bias_std_rmse, robust=True))}
        if trainings >= 3:
            others[RETRAINED] = ({"spread": "trainings"}, of_retrained_runs)
        for name, (change, statistics) in others.items():
            with self.book.cell(
                TABLE, self.dataset, method, under_candidate(variant, name), nfe, protocol | change, n=n, over=over
            ) as cell:
                if cell.todo:
                    for metric, (value, stderr) in statistics(runs.results[estimate], self.target.log_z).items():
                        cell.estimate(metric, value, stderr, repeats, seeds=trainings)

    @property
    def _is_repeated(self) -> bool:
        """Whether the job has the main protocol, with as many or more repeats."""
        candidate = self.book.run.candidate
        return candidate is None or self.config.candidates[candidate].keys() <= {"seeds", "runs"}


@dataclass
class Runs:
    """Independent runs of a method, made when a row first asks for them. Run r depends on (data set, name, seed, r) alone.

    Args:
        name: of the method, in random streams and arrays.
        n: particles of a run.
        one: (seed, a generator for each run) -> results by name, each (runs, ...).
        trained: each seed is a training, and the runs are shared out among them; else there is one seed, 0.
        total: runs in all; the config's if None.
    """

    study: Study
    name: str
    n: int
    one: Callable[[int, list[torch.Generator]], Arrays]
    trained: bool = False
    total: int | None = None

    def __post_init__(self):
        self.total = self.total or self.study.config.runs

    @property
    def seeds(self) -> Sequence[int]:
        return self.study.config.seeds if self.trained else (0,)

    def matched(self, protocol: Mapping[str, object]) -> str:
        """Of the rows that are estimated from these runs: their protocols differ in the estimator alone."""
        made = {name: value for name, value in protocol.items() if name != "estimator"}
        return f"{self.study.dataset}/{self.name}, {config_hash(made)}"

    @cached_property
    def results(self) -> Arrays:
        """By name, each (seeds, runs, ...)."""
        found = [self._of(seed) for seed in self.seeds]
        return {name: np.stack([arrays[name] for arrays in found]) for name in found[0]}

    def _of(self, seed: int) -> Arrays:
        study = self.study
        # Enough rows in a batch to keep a core busy, few enough to stay in its cache.
        together = max(1, min(10_000 // self.n, 1_000_000 // (self.n * study.target.dim)))
        stem = f"{study.dataset}-{self.name}" if study.table == TABLE else f"{study.dataset}-{self.name}-{study.config.steps}"
        path = study.book.journal.place(f"{stem}-seed{seed}")
        label = f"{study.dataset} {self.name} seed {seed}: runs"

        def batch(which: range) -> Arrays:
            return self.one(seed, [study.generator(self.name, "run", seed, r) for r in which])

        return repeat_runs(batch, self.total // len(self.seeds), together, path, label)
