"""The three models of the plane behind one face: train, then `log_prob`, `sample` and `trajectory`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from reproductions.diffflow import config as settings
from rescore.experiments.book import Cell
from rescore.flows.density import ffjord, fit_flow, flow_log_prob, flow_sample
from rescore.likelihood import flow_log_prob as process_log_prob
from rescore.networks.mlp import MLP, MLPConfig
from rescore.networks.parametrise import NoisePrediction
from rescore.neural_sde import (
    DiffFlowTraining, FourierMLP, NeuralSDE, Progressive, draw_noise, elbo, ode_log_prob, seeded, train_diffflow,
)  # fmt: skip
from rescore.objectives import DSM, score_of
from rescore.processes import VP, Isotropic, grids
from rescore.random import derive_seed, make_generator
from rescore.samplers import Sampler, ancestral, ddim
from rescore.training.loop import Adam, fit_averaged

EMA = 0.999
EVERY = 10  # iterations between changes of the learning rate
T0 = 1e-3  # where the times of DDPM end


class Model(Protocol):
    """A trained model. `steps` of sampling; a model that takes its own steps has none."""

    network: nn.Module

    def log_prob(self, x: Tensor, tolerance: float, generator: torch.Generator) -> Tensor: ...

    def sample(self, n: int, generator: torch.Generator, steps: int | None = None) -> Tensor: ...

    def trajectory(self, x: Tensor, parts: int, generator: torch.Generator) -> Tensor: ...


def adam(fit: settings.Fit) -> Adam:
    return Adam(fit.iterations, fit.lr, clip=1.0, decay=0.1 ** (EVERY / fit.iterations), decay_every=EVERY)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# --- DiffFlow ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainedDiffFlow:
    """`seconds`: of the whole training, over interruptions."""

    network: NeuralSDE
    training: DiffFlowTraining
    sampling_steps: int
    seconds: float

    def log_prob(self, x: Tensor, tolerance: float, generator: torch.Generator) -> Tensor:
        ends = self.training.t0, self.training.T
        return ode_log_prob(self.network, x, *ends, generator, rtol=tolerance, atol=tolerance).log_prob

    def elbo(self, x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        return elbo(self.network, x, self.training.times(steps), generator)

    def sample(self, n: int, generator: torch.Generator, steps: int | None = None) -> Tensor:
        z = torch.randn(n, 2, generator=generator)
        return self.network.sample(z, self.training.times(steps or self.sampling_steps), generator)

    def trajectory(self, x: Tensor, parts: int, generator: torch.Generator) -> Tensor:
        steps = parts * -(-self.sampling_steps // parts)
        states = self.network.trajectory(x, self.training.times(steps), draw_noise(x, steps, generator))
        return states[:: steps // parts]


def diffflow_training(fit: settings.DiffFlow) -> DiffFlowTraining:
    return DiffFlowTraining(adam(fit), Progressive(fit.steps, fit.shares), fit.batch, fit.grid, fit.t0, fit.T, fit.beta, EMA)


def diffflow_pair(fit: settings.DiffFlow, dim: int, *names: object) -> NeuralSDE:
    """Drift and score for points."""
    seeds = (derive_seed(*names, part) for part in ("drift", "score"))
    return NeuralSDE(*(seeded(lambda: FourierMLP(dim, fit.width, fit.layers), seed) for seed in seeds), fit.g)


def train_diffflow_points(fit: settings.DiffFlow, x: Tensor, folder: Path, *names: object) -> TrainedDiffFlow:
    """`names` name the seeds of weights and batches."""
    training, generator = diffflow_training(fit), make_generator(*names, "batches")
    trained = train_diffflow(diffflow_pair(fit, 2, *names), x, training, generator, folder, label=f"DiffFlow {names[-2]}")
    return TrainedDiffFlow(trained.model, training, fit.sampling_steps, trained.seconds_per_step * fit.iterations)


# --- DDPM and DDIM -----------------------------------------------------------------------------------------------------------


def ddpm_sampler(process: Isotropic, steps: int, deterministic: bool) -> Sampler:
    """DDIM, or DDPM's ancestral sampling without the noise of its last step, on equal steps."""
    times = grids.uniform(process, steps, T0)
    return ddim(process, times) if deterministic else ancestral(process, times, denoise="mean")


@dataclass(frozen=True)
class TrainedDDPM:
    network: NoisePrediction
    sampling_steps: int
    process = VP()

    def log_prob(self, x: Tensor, tolerance: float, generator: torch.Generator) -> Tensor:
        score = score_of(self.network, self.process)
        return process_log_prob(score, self.process, x, trace="exact", t0=T0, rtol=tolerance, atol=tolerance).log_prob

    def sample(self, n: int, generator: torch.Generator, steps: int | None = None, deterministic: bool = False) -> Tensor:
        """Ancestral sampling, or DDIM."""
        sampler = ddpm_sampler(self.process, steps or self.sampling_steps, deterministic)
        return sampler(self.network.score(), torch.randn(n, 2, generator=generator), generator)

    def trajectory(self, x: Tensor, parts: int, generator: torch.Generator) -> Tensor:
        """Exact draws at parts + 1 times on one path of noise for each point, from 0 to T."""
        states, times = [x], [self.process.T * i / parts for i in range(parts + 1)]
        for s, t in zip(times, times[1:], strict=False):
            noise = torch.randn(x.shape, generator=generator)
            states.append(self.process.Psi(t, s)(states[-1]) + self.process.Q(t, s).cholesky()(noise))
        return torch.stack(states)


def ddpm_network(fit: settings.DDPM, *names: object) -> NoisePrediction:
    """It predicts v, for a noise prediction of few iterations is not precise enough near T; the loss is that of the noise."""
    network = seeded(lambda: MLP(MLPConfig(width=fit.width, blocks=fit.blocks), (2,)), derive_seed(*names))
    return NoisePrediction(network, TrainedDDPM.process, "steps", "v")


def train_ddpm(fit: settings.DDPM, x: Tensor, folder: Path, *names: object) -> TrainedDDPM:
    model, objective = ddpm_network(fit, *names), DSM()

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(x), (fit.batch,), generator=generator)
        return objective(model, model.process, x[rows], generator).mean()

    average = fit_averaged(model, loss, adam(fit), make_generator(*names, "batches"), folder, EMA, label=f"DDPM {names[-2]}")
    return TrainedDDPM(average, fit.sampling_steps)


# --- FFJORD ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainedFFJORD:
    network: nn.Module

    def log_prob(self, x: Tensor, tolerance: float, generator: torch.Generator) -> Tensor:
        return flow_log_prob(self.network, x)

    def sample(self, n: int, generator: torch.Generator, steps: int | None = None) -> Tensor:
        return flow_sample(self.network, n, generator)

    @torch.no_grad()
    def trajectory(self, x: Tensor, parts: int, generator: torch.Generator) -> Tensor:
        flow = self.network.eval()().transform
        states = [x]
        for i in range(1, parts + 1):
            flow.t1 = torch.tensor(i / parts)
            states.append(flow(x))
        return torch.stack(states)


def train_ffjord(fit: settings.FFJORD, x: Tensor, folder: Path, *names: object) -> TrainedFFJORD:
    flow = ffjord(x.shape[1], fit.hidden, derive_seed(*names), fit.tolerance)
    fit_flow(flow, x, fit.batch, adam(fit), make_generator(*names, "batches"), folder, f"FFJORD {names[-2]}")
    return TrainedFFJORD(flow)


# --- all ---------------------------------------------------------------------------------------------------------------------

TRAINERS: dict[str, Callable[..., Model]] = {"DiffFlow": train_diffflow_points, "DDPM": train_ddpm, "FFJORD": train_ffjord}


def fits(plane: settings.Plane) -> dict[str, settings.Fit]:
    """The settings of the models of the plane, by method."""
    return {"DiffFlow": plane.diffflow, "DDPM": plane.ddpm, "FFJORD": plane.ffjord}


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
