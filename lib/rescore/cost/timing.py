"""How long steps take beside each other, where the machine's speed drifts."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

Step = Callable[[], None]


def interleaved(steps: Mapping[str, Step], rounds: int, device: str = "cpu") -> dict[str, np.ndarray]:
    """Seconds (rounds,) of each step, one of each in a round, in an order that rotates; a first round warms up.

    Ratios within a round do not see a drift of the machine's speed. See `clock` for what is timed.
    """
    names, seconds = list(steps), {name: np.zeros(rounds) for name in steps}
    for i in range(-1, rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            started = _now(device)
            steps[name]()
            if i >= 0:
                seconds[name][i] = _now(device) - started
    return seconds


def training_step(network: nn.Module, losses: Callable[[], Tensor], lr: float = 1e-4) -> Step:
    """An iteration of training: the losses (n,) of a batch, the gradient of their mean, Adam."""
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    def step() -> None:
        optimizer.zero_grad()
        losses().mean().backward()
        optimizer.step()

    return step


def iteration_seconds(
    trained: Mapping[str, tuple[nn.Module, Callable[[], Tensor]]], rounds: int, device: str = "cpu"
) -> dict[str, float]:
    """Of networks and the losses of their batches the median seconds of a `training_step`, `interleaved`."""
    steps = {name: training_step(network, losses) for name, (network, losses) in trained.items()}
    return {name: float(np.median(seconds)) for name, seconds in interleaved(steps, rounds, device).items()}


def clock(device: str) -> str:
    """`processor` time on a CPU with one thread, where other processes do not count; else `wall`."""
    return "processor" if device == "cpu" and torch.get_num_threads() == 1 else "wall"


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.process_time() if clock(device) == "processor" else time.perf_counter()
