"""Speed and memory of composed scores; one thread, so that ratios mean something on a busy machine."""

import subprocess
import sys
import time

import pytest
import torch
from torch import Tensor, nn

from rescore.collage import chain, composed_score

pytestmark = pytest.mark.benchmark_suite


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def convolutions() -> nn.Module:
    layers = [nn.Conv2d(3, 64, 3, padding=1), nn.SiLU()]
    for _ in range(3):
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(64, 3, 3, padding=1))


@pytest.mark.parametrize("n", [5, 41])
def test_composing_costs_at_most_a_tenth(benchmark, n):
    """A chain of n pieces against two calls of the network on as many patches, cut out already."""
    network, side = convolutions(), 16
    graph = chain(side, n * side - (n - 1) * side // 2, side, side // 2)
    u = torch.randn(2, 3, *graph.size)
    pieces, parts = torch.randn(2 * n, 3, side, side), torch.randn(2 * (n - 1), 3, side, side // 2)

    def score(u: Tensor, t: float) -> Tensor:
        return network(u)

    composed = composed_score(graph, score)
    with torch.inference_mode():
        composed(u, 0.5)
        benchmark.pedantic(composed, (u, 0.5), rounds=7)
        bare = min(_seconds(lambda: (network(pieces), network(parts))) for _ in range(7))
    assert benchmark.stats.stats.min < 1.1 * bare


MEMORY = """
import resource, sys, torch
from rescore.collage import chain, composed_score
torch.set_num_threads(1)
n, chunk, side = int(sys.argv[1]), eval(sys.argv[2]), 16
network = torch.nn.Sequential(torch.nn.Conv2d(1, 128, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(128, 1, 3, padding=1))
graph = chain(side, n * side - (n - 1) * side // 2, side, side // 2)
score = composed_score(graph, lambda u, t: network(u), chunk=chunk)
u = torch.randn(4, 1, *graph.size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    score(u, 0.5)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_is_linear_and_a_chunk_bounds_it(benchmark):
    """MiB above what the process has before the call."""
    cases = ((100, None), (400, None), (400, 100), (1600, 100))
    grown = benchmark.pedantic(lambda: {case: _memory(*case) for case in cases}, rounds=1)
    benchmark.extra_info |= {str(case): megabytes for case, megabytes in grown.items()}
    print(grown)
    assert grown[400, None] < 1.2 * 4 * grown[100, None]
    assert grown[400, 100] < grown[400, None] / 2
    assert grown[1600, 100] < 1.5 * grown[400, 100] + 20


def _memory(n: int, chunk: int | None) -> float:
    command = [sys.executable, "-c", MEMORY, str(n), repr(chunk)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
