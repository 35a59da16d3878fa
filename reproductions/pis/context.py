"""What every method of Table 5.1 gets, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reproductions.pis.config import Config, Dataset
from rescore.config import config_hash
from rescore.control import ControlledSDE
from rescore.experiments.book import Run
from rescore.random import make_generator
from rescore.experiments.repeat import repeat_runs
from rescore.targets import Target

SHOWN = 2000  # points kept for a figure

Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Context:
    """What every method gets."""

    dataset: str
    target: Target
    config: Config
    run: Run

    @property
    def settings(self) -> Dataset:
        return self.config.datasets[self.dataset]

    @property
    def runs_per_seed(self) -> int:
        return self.config.runs // len(self.config.seeds)

    def sde(self, method: str) -> ControlledSDE:
        return ControlledSDE(self.config.steps, self.config.horizon, self.settings.sigma.get(method, self.config.sigma))

    def generator(self, *names: object) -> torch.Generator:
        return make_generator(self.dataset, *names, device=self.run.device)

    def training_folder(self, method: str, seed: int, settings: Mapping[str, object]) -> Path:
        """Keyed by what the trained weights depend on alone: another number of runs or particles reuses them."""
        needs = {"dataset": self.dataset, "side": self.settings.side, "seed": seed, "settings": settings}
        key = config_hash(needs, method, str(self.config.protocol_version))
        return self.run.folder.parent / f"{self.dataset}-{method}-seed{seed}-{key}"

    def repeat(self, method: str, seed: int, n: int, one: Callable[[list[torch.Generator]], Rows], runs: int) -> Rows:
        """`one` over `runs` runs of n particles, resumable. Run r depends on (data set, method, seed, r) alone."""
        # Enough rows in a batch to keep a core busy, few enough to stay in its cache.
        together = max(1, min(10_000 // n, 1_000_000 // (n * self.target.dim)))
        label = f"{self.dataset} {method} seed {seed}: runs"
        path = self.run.folder / f"{self.dataset}-{method}-seed{seed}.npz"
        return repeat_runs(
            lambda which: one([self.generator(method, "run", seed, r) for r in which]), runs, together, path, label
        )


@dataclass(frozen=True)
class Estimates:
    """Estimates of log Z of one row of the table, (seeds, runs), and the protocol they were made under.

    `trained`: each seed is a training; else there is one seed and nothing is trained.
    """

    method: str
    variant: str
    nfe: int | None
    log_z: np.ndarray
    protocol: Mapping[str, object]
    n_particles: int
    trained: bool
    ess: np.ndarray | None = None


@dataclass
class Outcome:
    """What a method measured: rows of the table, metrics of chains, computed numbers (variant, metric, value), figure data."""

    estimates: list[Estimates] = field(default_factory=list)
    chains: list[tuple[str, str, np.ndarray, Mapping[str, object]]] = field(default_factory=list)
    computed: list[tuple[str, str, float, Mapping[str, object]]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def shown(x: Tensor) -> np.ndarray:
    """(..., d) to at most SHOWN points of the first two dimensions, float32."""
    return x.reshape(-1, x.shape[-1])[:SHOWN, :2].float().cpu().numpy()
