"""Speed of a training step of DDPM++ for CIFAR-10: as `rescore.networks` places it, against plain float32 eager."""

import copy
import time
from collections.abc import Callable

import pytest
import torch
from rescore.networks import autocast, make_network, place
from torch import Tensor, nn

pytestmark = pytest.mark.benchmark_suite

WARMUP, ROUNDS = 3, {"cpu": 3, "cuda": 20}


def training_step(network: nn.Module, batch: int, device: str, fast: bool) -> Callable[[], float]:
    """One step of noise prediction with Adam at the rate of the paper; waits for the device."""
    draws = torch.Generator(device=device).manual_seed(0)
    x, noise = torch.randn(2, batch, 3, 32, 32, generator=draws, device=device)
    level = 999 * torch.rand(batch, generator=draws, device=device)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)

    def prediction() -> Tensor:
        if not fast:
            return network(x, level)
        with autocast(device):
            return network(x, level)

    def step() -> float:
        loss = (prediction().float() - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def fastest(step: Callable[[], float], rounds: int, timer: Callable[[], float]) -> float:
    seconds = []
    for _ in range(rounds):
        start = timer()
        step()
        seconds.append(timer() - start)
    return min(seconds)


@pytest.mark.parametrize(("device", "batch", "faster"), [("cpu", 8, 0.9), ("cuda", 128, 3.0)])
def test_training_step_of_ddpmpp_against_float32_eager(benchmark, device, batch, faster):
    """Same weights, data and optimiser. On a CPU both are float32 eager, so that the ratio guards `place` alone."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    # With one thread, processor seconds are those of a quiet machine; a GPU works outside of them.
    timer = time.process_time if device == "cpu" else time.perf_counter
    plain = make_network("ddpmpp", {"dropout": 0.0}, 3, 32, seed=0).to(device)
    placed = place(copy.deepcopy(plain), device)
    theirs, ours = training_step(plain, batch, device, fast=False), training_step(placed, batch, device, fast=True)
    for _ in range(WARMUP if device == "cuda" else 1):
        assert ours() == pytest.approx(theirs(), rel=0.05), "the two take the same steps"
    baseline = fastest(theirs, ROUNDS[device], timer)
    benchmark.pedantic(ours, rounds=1, warmup_rounds=0)  # for the report; the ratio below uses the same timer for both
    seconds = fastest(ours, ROUNDS[device], timer)
    ratio = baseline / seconds
    benchmark.extra_info |= {"eager_seconds": baseline, "seconds": seconds, "ratio": ratio}
    print(f"{device}: eager {baseline:.4f} s, placed {seconds:.4f} s, ratio {ratio:.2f}, {batch / seconds:.0f} images/s")
    assert ratio >= faster
