"""Speed and memory of composed scores; one thread, so that ratios mean something on a busy machine."""

import json
import time
import tracemalloc
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from peers import keep
from rescore.collage import FactorGraph, chain, composed_score
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

pytestmark = pytest.mark.benchmark_suite


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
    keep(benchmark, f"the score of a collage of {n} pieces", "two calls of its network", bare)
    assert benchmark.stats.stats.min < 1.1 * bare


def test_memory_is_linear_and_a_chunk_bounds_it(benchmark, tmp_path):
    """MiB of the tensors alive at once in a call. (The process's own peak holds what imports and the allocator once took.)"""
    cases = ((100, None), (400, None), (400, 100), (1600, 100))
    peak = benchmark.pedantic(lambda: {case: _peak(*case, tmp_path / "trace.json") for case in cases}, rounds=1)
    benchmark.extra_info |= {str(case): megabytes for case, megabytes in peak.items()}
    print(peak)
    assert peak[400, None] < 1.05 * 4 * peak[100, None]
    assert peak[400, 100] < 1.05 * peak[100, None] / 4 + CONTENTS * _content_size(400)  # 100 patches, 25 of each content
    assert peak[1600, 100] < peak[400, 100] + CONTENTS * (_content_size(1600) - _content_size(400))


def test_a_graph_takes_memory_linear_in_its_nodes(benchmark):
    """MiB, of what numpy allocates; its tensors are as many positions as are asked for."""
    peak = benchmark.pedantic(lambda: {n: _graph_peak(n) for n in (400, 1600)}, rounds=1)
    print(peak)
    assert peak[1600] < 1.05 * 4 * peak[400]


BATCH, SIDE = 4, 16
CONTENTS = 3  # the sum so far, the next one and the patches' share of it


def _chain(n: int) -> FactorGraph:
    return chain(SIDE, n * SIDE - (n - 1) * SIDE // 2, SIDE, SIDE // 2)


def _content_size(n: int) -> float:
    return BATCH * SIDE * (n + 1) * SIDE / 2 * 4 / 2**20


def _peak(n: int, chunk: int | None, trace: Path) -> float:
    network = nn.Sequential(nn.Conv2d(1, 128, 3, padding=1), nn.SiLU(), nn.Conv2d(128, 1, 3, padding=1))
    score = composed_score(_chain(n), lambda u, t: network(u), chunk=chunk)
    u = torch.randn(BATCH, 1, SIDE, (n + 1) * SIDE // 2)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        score(u, 0.5)
    profiled.export_chrome_trace(str(trace))
    steps = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    changes = (event["args"]["Bytes"] for event in sorted(steps, key=lambda event: event["ts"]))
    return max(accumulate(changes)) / 2**20


def _graph_peak(n: int) -> float:
    tracemalloc.start()
    _chain(n)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
