"""Training of a network on data in a fixed order.

Everything random in step k, the order of the data included, is a pure function of (seed, step, part of the batch): a resumed
training goes on in the same bits, and one that several processes share makes the same steps as one alone.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rescore.errors import RescoreError
from rescore.machine.hardware import peak_gpu_memory_mb, peak_memory_mb
from rescore.machine.precision import autocast
from rescore.networks.device import compile_bare
from rescore.random import derive_seed, make_generator
from rescore.specs.training import NetworkTraining
from rescore.training.checkpoint import State
from rescore.training.distributed import World, world
from rescore.training.ema import Net, averaged_copy
from rescore.training.loop import LOOK_EVERY, Adam, minimise
from rescore.training.weights import save_weights

Forward = Callable[[Tensor, Tensor], Tensor]
Losses = Callable[[Forward, Tensor, torch.Generator], Tensor]
"""losses(network, rows, generator): one loss, (n,), for each of the data points with the indices `rows` (n,), on the CPU.

All its randomness (flips, times, noise) comes from `generator`, which lives on the device of the training. For example
`lambda network, rows, g: objective(network, process, images(rows, g), g)`.
"""


CLOCKS: Mapping[str, Callable[[], float]] = {"wall_seconds": time.perf_counter, "cpu_seconds": time.process_time}
"""By their names in `State.cost`; its `seconds` are those of steps alone, without a process's first."""


@dataclass(frozen=True)
class Training:
    """What a training of a network is, but for the network and its losses.

    Args:
        adam: optimiser and its length.
        data: the number of data points.
        batch: data points per step, over all processes.
        seed: of the order and of all noise.
        ema: see `averaged_copy`.
        parts: a batch is split into so many equal parts, shared out among the processes. It decides the noise and the
            memory; the number of processes does not. It must be a multiple of that number.
    """

    adam: Adam
    data: int
    batch: int
    seed: int
    ema: float = 0.9999
    parts: int = 1

    @classmethod
    def of(cls, config: NetworkTraining, data: int, seed: int, parts: int = 1) -> "Training":
        """The training that a config means."""
        return cls(Adam.of(config), data, config.batch, seed, config.ema, parts=parts)


@dataclass(frozen=True)
class Trained(Generic[Net]):
    """What a training gives.

    Attributes:
        network: the averaged network, frozen, in evaluation mode.
        history: the losses of the raw network, (steps,) float64.
        images_per_second: over all processes, without each run's first steps; NaN if there are none besides.
        peak_memory_mb, peak_gpu_memory_mb: of this process, the largest of all runs, MiB.
        earlier_seconds, earlier_cpu_seconds: what earlier runs took, each up to the checkpoint that the next went on from.
        snapshots: files of the average after so many steps, without the last.
    """

    network: Net
    history: Tensor
    images_per_second: float
    peak_memory_mb: float
    peak_gpu_memory_mb: float
    earlier_seconds: float = 0.0
    earlier_cpu_seconds: float = 0.0
    snapshots: Mapping[int, Path] = field(default_factory=dict)


class _Clocks:
    """The time of this run into the cost of a state, on top of what the checkpoint that it goes on from says.

    Attributes:
        earlier: by clock that of the runs before, seconds; of checkpoints that do not say it 0.
    """

    def __init__(self, cost: dict[str, float]):
        self.cost, self.began = cost, {name: clock() for name, clock in CLOCKS.items()}

    @cached_property
    def earlier(self) -> dict[str, float]:  # first asked for once the checkpoint is loaded
        return {name: self.cost.get(name, 0.0) for name in CLOCKS}

    def note(self) -> None:
        for name, clock in CLOCKS.items():
            self.cost[name] = self.earlier[name] + clock() - self.began[name]


def batch_rows(data: int, batch: int, seed: int, step: int) -> Tensor:
    """Indices (batch,) of one step. Shuffled passes over 0 .. data - 1 follow each other; a batch may straddle two."""
    first = step * batch
    passes = range(first // data, (first + batch - 1) // data + 1)
    rows = torch.cat([_shuffled(data, seed, epoch) for epoch in passes])
    start = first - passes[0] * data
    return rows[start : start + batch]


@lru_cache(4)
def _shuffled(data: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(data, generator=make_generator("order", seed, epoch))


def train_network(
    network: Net,
    losses: Losses,
    settings: Training,
    folder: Path,
    device: torch.device | str = "cpu",
    checkpoint_every: int = 1000,
    label: str = "train",
    snapshots: int | None = None,
) -> Trained[Net]:
    """Minimise the mean of `losses` and average the parameters; interruptions as in `rescore.training.fit`.

    On a GPU the network is compiled and runs in bfloat16 with channels last, on the CPU in its own dtype as it is. Started by
    `torchrun`, the processes share the parts of every batch; the first one writes the checkpoints. The network is moved to
    `device` and trained in place.

    Args:
        snapshots: the average is kept every so many steps, in `folder`.

    Raises:
        RescoreError: `parts` does not divide the batch or is no multiple of the number of processes; the loss diverges; no
            checkpoint in `folder` is good, or they are of another network.
    """
    with world(device) as here, torch.random.fork_rng([here.device] if here.device.type == "cuda" else []):
        if settings.batch % settings.parts or settings.parts % here.size:
            raise RescoreError(
                f"{label}: parts = {settings.parts}: it has to divide the batch, {settings.batch}, and to be a multiple of the "
                f"number of processes, {here.size}"
            )
        network.to(here.device).train()
        if here.device.type == "cuda":
            network.to(memory_format=torch.channels_last)
        average = averaged_copy(network, settings.ema)
        history = torch.zeros(settings.adam.steps, dtype=torch.float64)
        state = State(network, settings.adam.optimizer(network), history, ema=average)
        clocks = _Clocks(state.cost)
        backward = _backward(network, losses, settings, here)
        last, writes = settings.adam.steps, here.rank == 0
        kept = (
            {n: folder / "snapshots" / f"step-{n:08d}.safetensors" for n in range(snapshots, last, snapshots)}
            if snapshots
            else {}
        )

        def keep(steps: int) -> None:
            clocks.note()
            if steps % LOOK_EVERY == 0 or steps in (1, last):  # a peak only grows: no need to ask at every step
                cost = state.cost
                cost["memory_mb"] = max(cost.get("memory_mb", 0.0), peak_memory_mb())
                cost["gpu_memory_mb"] = max(cost.get("gpu_memory_mb", 0.0), peak_gpu_memory_mb(here.device.type))
            if steps in kept and writes:
                save_weights(kept[steps], average.module)

        minimise(state, backward, settings.adam, folder, checkpoint_every, label, writes, keep)
    steps, seconds = state.cost.get("steps", 0), state.cost.get("seconds", 0.0)
    return Trained(
        network=average.module.eval(),
        history=state.history,
        images_per_second=steps * settings.batch / seconds if steps else float("nan"),
        peak_memory_mb=state.cost["memory_mb"],
        peak_gpu_memory_mb=state.cost["gpu_memory_mb"],
        earlier_seconds=clocks.earlier["wall_seconds"],
        earlier_cpu_seconds=clocks.earlier["cpu_seconds"],
        snapshots=kept,
    )


def _backward(network: nn.Module, losses: Losses, settings: Training, here: World) -> Callable[[int], Tensor]:
    """backward(step): the gradient of the mean loss of the step's batch, over all processes."""
    on_gpu = here.device.type == "cuda"
    model: nn.Module = network
    if on_gpu:
        compile_bare(network)
    if here.size > 1:
        model = DistributedDataParallel(model, broadcast_buffers=False)
    mine = range(here.rank, settings.parts, here.size)

    def forward(u: Tensor, t: Tensor) -> Tensor:
        with autocast(here.device):
            return model(u, t).to(u.dtype)

    def backward(step: int) -> Tensor:
        rows = batch_rows(settings.data, settings.batch, settings.seed, step).chunk(settings.parts)
        total = torch.zeros((), device=here.device)
        for part in mine:
            names = (settings.seed, step, part)
            # Torch's own function also writes down a stack for each kind of device that is not there.
            seed_torch = torch.manual_seed if on_gpu else torch.default_generator.manual_seed
            seed_torch(derive_seed("dropout", *names))
            generator = make_generator("noise", *names, device=here.device)
            # Only the last part sends the summed gradient to the other processes.
            with model.no_sync() if isinstance(model, DistributedDataParallel) and part != mine[-1] else nullcontext():
                loss = losses(forward, rows[part], generator).mean() / len(mine)
                loss.backward()
            total = total + loss.detach()
        return here.mean(total)

    return backward
