"""Table 2: the cost of one iteration of each objective, taken turn by turn."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from reproductions.lcss.checkerboard import METHODS, draw_checkerboard, objective
from reproductions.lcss.config import Checkerboard, Timing
from reproductions.lcss.networks import density_mlp
from rescore.networks import make_network
from rescore.objectives.pointwise import dsm, fd_ssm, gradient_of, lcss, probes, ssm_vr
from rescore.random import derive_seed, make_generator

SIGMAS = (0.01, 50.0)  # of NCSNv2's levels; they do not matter to the time


def checkerboard_steps(board: Checkerboard, timing: Timing, device: str) -> dict[str, Callable[[], None]]:
    """An iteration of the published MLP for each objective: draw, loss, gradient, Adam."""
    return {method: _checkerboard_step(method, board, timing, device) for method in METHODS}


def _checkerboard_step(method: str, board: Checkerboard, timing: Timing, device: str) -> Callable[[], None]:
    network, draws = density_mlp(board.width, 0).to(device), make_generator("lcss", "timing", device=device)
    loss, score = objective(method, board), gradient_of(lambda y: network(y)[:, 0])
    return _step(network, lambda: loss(score, draw_checkerboard(timing.batch, draws), draws))


def image_steps(timing: Timing, device: str) -> dict[str, Callable[[], None]]:
    """An iteration of NCSNv2 on random images for each objective, all on noised images with lambda = sigma^2."""
    return {method: _image_step(method, timing, device) for method in METHODS}


def _image_step(method: str, timing: Timing, device: str) -> Callable[[], None]:
    shape = (timing.images, 3, timing.side, timing.side)
    network = make_network("ncsnv2", {"width": timing.width}, 3, timing.side, derive_seed("lcss") % 2**31).to(device)
    draws = make_generator("lcss", "timing", device=device)
    x0 = torch.rand(shape, generator=draws, device=device)

    def losses() -> Tensor:
        low, high = (torch.tensor(sigma, device=device).log() for sigma in SIGMAS)
        sigma = (low + (high - low) * torch.rand(timing.images, generator=draws, device=device)).exp()
        wide, z = sigma.reshape(-1, 1, 1, 1), torch.randn(shape, generator=draws, device=device)

        def score(x: Tensor) -> Tensor:
            return network(x, sigma)

        if method in ("DSM", "LCSS"):
            return sigma**2 * (dsm if method == "DSM" else lcss)(score, x0, z, wide)
        if method == "SSM":
            return sigma**2 * ssm_vr(score, x0 + wide * z, probes(z, draws))
        return sigma**2 * fd_ssm(score, x0 + wide * z, probes(z, draws, "sphere"))

    return _step(network, losses)


def _step(network: nn.Module, losses: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        losses().mean().backward()
        optimizer.step()

    return step


def interleaved(steps: dict[str, Callable[[], None]], rounds: int, device: str) -> dict[str, np.ndarray]:
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
