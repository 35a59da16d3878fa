"""How long a step of training takes, of several models in turn: what slows the machine down slows all of them."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn


def training_step(model: nn.Module, loss: Callable[[], Tensor], lr: float = 1e-4) -> Callable[[], None]:
    """A step of training: `loss()`, data included, its mean's gradient, Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def step() -> None:
        optimizer.zero_grad()
        loss().mean().backward()
        optimizer.step()

    return step


def interleaved(steps: Mapping[str, Callable[[], None]], rounds: int, device: str = "cpu") -> dict[str, np.ndarray]:
    """Seconds (rounds,) of each step, one of each in a round, in an order that rotates; a first round warms up.

    On a CPU with one thread, processor time: other processes do not count.
    """
    names, seconds = list(steps), {name: np.zeros(rounds) for name in steps}
    for i in range(-1, rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            started = _now(device)
            steps[name]()
            if i >= 0:
                seconds[name][i] = _now(device) - started
    return seconds


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
