"""Speed of processes, samplers and exact scores; one thread, so that ratios mean something on a busy machine."""

import resource
import time

import pytest
import torch
from peers import keep
from rescore.processes import CLD, VP, Blurring, grids
from rescore.samplers import (
    SSCS,
    GDDIMCorrected,
    PredictorCorrector,
    RungeKutta,
    ancestral,
    ddim,
    euler_maruyama,
    gddim,
    gddim_stochastic,
    ipndm,
    rhoab_deis,
    rhork_deis,
    tab_deis,
)
from rescore.scores import EmpiricalData
from torch import nn

pytestmark = pytest.mark.benchmark_suite

PROCESSES = {"vp": VP(), "cld": CLD(), "blurring": Blurring((32, 32))}
METHODS = {
    "em": (euler_maruyama, {}),
    "ancestral": (ancestral, {}),
    "pc": (PredictorCorrector, {}),
    "rk4": (RungeKutta, {"tableau": "rk4"}),
    "ddim": (ddim, {"eta": 1.0}),
    "tab3": (tab_deis, {"order": 3}),
    "rhoab3": (rhoab_deis, {"order": 3}),
    "rhork": (rhork_deis, {"tableau": "rk4"}),
    "ipndm": (ipndm, {}),
    "gddim": (gddim, {"order": 4}),
    "gddim-pc": (GDDIMCorrected, {"order": 3}),
    "gddim-stochastic": (gddim_stochastic, {"lam": 0.5}),
    "sscs": (SSCS, {}),
}
OUTSIDE = {("pc", "cld"), ("ddim", "cld"), ("rhoab3", "cld"), ("rhork", "cld"), ("sscs", "vp")}
OUTSIDE |= {(method, "blurring") for method in ("pc", "rhoab3", "rhork", "sscs")}
CASES = [(m, p) for m in METHODS for p in PROCESSES if (m, p) not in OUTSIDE]


@pytest.mark.parametrize(("method", "name"), CASES)
def test_coefficients_take_less_than_100_ms(benchmark, method, name):
    make, options = METHODS[method]
    times = grids.quadratic(PROCESSES[name], 50)
    make(PROCESSES[name], times, **options)
    benchmark.pedantic(make, (PROCESSES[name], times), options, rounds=5)
    assert benchmark.stats.stats.min < 0.1


@pytest.fixture(scope="module")
def network_seconds():
    """One evaluation of a convolutional network of 1 M parameters on 256 images of 3 x 32 x 32."""
    torch.set_num_threads(1)
    layers = [nn.Conv2d(3, 128, 3, padding=1), nn.SiLU()]
    for _ in range(7):
        layers += [nn.Conv2d(128, 128, 3, padding=1), nn.SiLU()]
    network = nn.Sequential(*layers, nn.Conv2d(128, 3, 3, padding=1))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(1e6, rel=0.1)
    with torch.inference_mode():
        start = time.perf_counter()
        network(torch.randn(256, 3, 32, 32))
    return time.perf_counter() - start


@pytest.mark.parametrize(("method", "name"), CASES)
def test_a_step_costs_at_most_5_per_cent_of_a_network(benchmark, network_seconds, method, name):
    """The sampler's own time per step, with a score that costs nothing."""
    make, options = METHODS[method]
    process, steps = PROCESSES[name], 10
    sampler = make(process, grids.quadratic(process, steps), **options)
    u = torch.randn(256, *process.state_shape((3, 32, 32)))
    score = torch.randn_like(u)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        benchmark.pedantic(sampler, (lambda u, t: score, u, generator), rounds=3)
    assert benchmark.stats.stats.min / steps < 0.05 * network_seconds


def test_empirical_score_is_near_its_matrix_products(benchmark):
    """50,000 points of dimension 3,072: within 3 times of the two products, in bounded memory."""
    points = torch.randn(50_000, 3072, generator=torch.Generator().manual_seed(0))
    u = torch.randn(64, 3072)
    score = EmpiricalData(VP(), points)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    benchmark.pedantic(score, (u, 0.5), rounds=3)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024
    products = min(_seconds(lambda: (u @ points.T) @ points) for _ in range(3))
    keep(benchmark, "the score of 50,000 points of dimension 3,072", "its two matrix products", products)
    assert benchmark.stats.stats.min < 3 * products
    assert grown < 100  # MiB; the points themselves are 586


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
