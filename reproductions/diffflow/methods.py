"""The three models of the plane behind one face: train, then `log_prob`, `sample` and `trajectory`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rescore.config import config_hash
from rescore.experiments.book import Book, Cell
from rescore.flows.density import ContinuousFlow, ffjord, fit_flow
from rescore.likelihood import flow_log_prob as process_log_prob
from rescore.machine.locks import folder_lock
from rescore.networks.mlp import MLP, MLPConfig
from rescore.networks.parametrise import NoisePrediction
from rescore.neural_sde import DiffFlowTraining, FourierMLP, NeuralSDE, Progressive, TrainedDiffFlow, train_diffflow
from rescore.objectives import DSM, score_of
from rescore.processes import VP, Isotropic, grids
from rescore.random import derive_seed, make_generator, seeded
from rescore.samplers import Sampler, ancestral, ddim
from rescore.training.loop import Adam, fit_averaged
from torch import Tensor

from reproductions.diffflow import config as settings
from reproductions.diffflow.config import EMA, T0


def diffflow_training(fit: settings.DiffFlow) -> DiffFlowTraining:
    schedule = Progressive(tuple(fit.progressive), tuple(fit.progressive.values()))
    times = {name: getattr(fit, name) for name in ("grid", "t0", "T", "beta", "sampling_steps")}
    return DiffFlowTraining(Adam.of(fit), schedule, fit.batch, ema=EMA, **times)


def diffflow_pair(fit: settings.DiffFlow, dim: int, *names: object) -> NeuralSDE:
    """Drift and score for points."""
    seeds = (derive_seed(*names, part) for part in ("drift", "score"))
    return NeuralSDE(*(seeded(lambda: FourierMLP(dim, fit.width, fit.layers), seed) for seed in seeds), fit.g)


def ddpm_sampler(process: Isotropic, steps: int, deterministic: bool) -> Sampler:
    """DDIM, or DDPM's ancestral sampling without the noise of its last step, on equal steps."""
    times = grids.uniform(process, steps, T0)
    return ddim(process, times) if deterministic else ancestral(process, times, denoise="mean")


def ddpm_network(fit: settings.DDPM, *names: object) -> NoisePrediction:
    """It predicts v, for a noise prediction of few iterations is not precise enough near T; the loss is that of the noise."""
    network = seeded(lambda: MLP(MLPConfig(width=fit.width, blocks=fit.blocks), (2,)), derive_seed(*names))
    return NoisePrediction(network, VP(), "steps", "v")


def beside_ddpm(protocol: Mapping[str, object]) -> dict[str, object]:
    """What a record of DiffFlow says of the DDPM that it is compared with."""
    return {f"ddpm_{name}": value for name, value in protocol.items()}


@dataclass(frozen=True)
class TrainedDDPM:
    """With the face of `rescore.neural_sde.DiffFlow`; samples are ancestral, or DDIM's."""

    model: NoisePrediction
    sampling_steps: int

    def log_prob(self, x: Tensor, generator: torch.Generator, tolerance: float) -> Tensor:
        process = self.model.process
        score = score_of(self.model, process)
        return process_log_prob(score, process, x, trace="exact", t0=T0, tolerance=tolerance).log_prob

    def sample(self, z: Tensor, generator: torch.Generator, steps: int | None = None, deterministic: bool = False) -> Tensor:
        return ddpm_sampler(self.model.process, steps or self.sampling_steps, deterministic)(self.model.score(), z, generator)

    def trajectory(self, x: Tensor, parts: int, generator: torch.Generator) -> Tensor:
        return self.model.process.path(x, [self.model.process.T * i / parts for i in range(parts + 1)], generator)


Made = TypeVar("Made")
Model = TrainedDiffFlow | TrainedDDPM | ContinuousFlow


def train(method: str, fit: settings.Fit, x: Tensor, folder: Path, *names: object) -> Model:
    """A model of points x by one of the methods; `names` name the seeds of weights and batches."""
    if method == "DiffFlow":
        return train_pair(fit, x, folder, *names)
    batches, label = make_generator(*names, "batches"), f"{method} {names[-2]}"
    if method == "FFJORD":
        flow = ffjord(2, fit.hidden, derive_seed(*names), fit.tolerance)
        fit_flow(flow, x, fit.batch, Adam.of(fit), batches, folder, label)
        return ContinuousFlow(flow)
    model, objective = ddpm_network(fit, *names), DSM()

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(x), (fit.batch,), generator=generator)
        return objective(model, model.process, x[rows], generator).mean()

    return TrainedDDPM(fit_averaged(model, loss, Adam.of(fit), batches, folder, EMA, label=label), fit.sampling_steps)


def train_pair(fit: settings.DiffFlow, x: Tensor, folder: Path, *names: object, **options: int) -> TrainedDiffFlow:
    """DiffFlow of points x, `names` as those of `train`; options as those of `train_diffflow`."""
    batches, label = make_generator(*names, "batches"), f"DiffFlow {names[-2]}"
    pair = diffflow_pair(fit, x.shape[1], *names)
    return train_diffflow(pair, x, diffflow_training(fit), batches, folder, label=label, **options)


def trained_once(book: Book, fit: settings.Fit, name: str, make: Callable[[Path], Made], *of: object) -> Made:
    """make(folder) in a folder that the sections of a scale share: the first that asks trains, the others load.

    Args:
        of: what the training follows from besides `fit` and its name.
    """
    folder = book.run.folder.parent / "diffflow" / config_hash(fit, *map(str, of)) / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, f"another section that trains {name}"):
        return make(folder)


def sweep(
    open_cell: Callable[[str, int], Cell], numbers: Sequence[int], metric: str, values: Callable[[int], Sequence[float]]
) -> None:
    """Tables 3.4 and 3.5: a distance for each N, and its ratio to that of the largest N, itself 1 whatever is drawn.

    Args:
        open_cell: open_cell(table, N).
        values: values(N), one a training.
    """
    for n in numbers:
        with open_cell("3.4", n) as cell:
            if cell.todo:
                cell.add(metric, values(n))
    for n in numbers:
        with open_cell("3.5", n) as cell:
            if cell.todo:
                ratios = np.divide(values(n), values(numbers[-1]))
                cell.exact(f"{metric}_degeneracy", 1.0, n=1) if n == numbers[-1] else cell.add(f"{metric}_degeneracy", ratios)
