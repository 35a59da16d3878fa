"""Speed of the blur against a dense matrix, and of a Soft Score Matching step against denoising score matching."""

import time

import pytest
import torch
from rescore.corruptions import Blur, Corruption, GeometricNoise, Interpolated
from rescore.networks import make_network
from rescore.objectives import DSM, CleanPrediction, SoftScoreMatching
from rescore.processes import VE

pytestmark = pytest.mark.benchmark_suite

SIDE = 64
CELEBA = Blur((SIDE, SIDE), 80, 23.0)


def test_blur_of_a_batch_against_a_dense_matrix(benchmark):
    """128 images of 3 x 64 x 64: separable products against one (4096, 4096) matrix, at least 10 times faster."""
    x = torch.rand(128, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    C = CELEBA(5.0)
    matrix = torch.kron(C.rows, C.columns).float()
    flat = x.reshape(-1, SIDE**2)
    torch.testing.assert_close(C(x).reshape(flat.shape), flat @ matrix.T, rtol=0, atol=1e-4)
    dense = fastest(lambda: flat @ matrix.T)
    benchmark.pedantic(C, (x,), rounds=10, warmup_rounds=1)
    benchmark.extra_info["dense_over_separable"] = dense / benchmark.stats.stats.min
    assert benchmark.stats.stats.min < dense / 10


def test_blur_with_a_level_for_each_image(benchmark):
    """As in training: kernels of 128 levels, and their application; no more than the dense product of one level."""
    x = torch.rand(128, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    levels = torch.linspace(0.01, 23.0, 128, dtype=torch.float64)
    matrix, flat = torch.zeros(SIDE**2, SIDE**2), x.reshape(-1, SIDE**2)
    dense = fastest(lambda: flat @ matrix)
    benchmark.pedantic(lambda: CELEBA(levels)(x), rounds=5, warmup_rounds=1)
    benchmark.extra_info["dense_over_separable"] = dense / benchmark.stats.stats.min
    assert benchmark.stats.stats.min < dense


@pytest.mark.parametrize("name", ["soft", "clean"])
def test_a_step_against_denoising_score_matching(benchmark, name):
    """Loss and gradient of a small MLP on 128 digits, over those of DSM: a blur costs little beside a network."""
    network = make_network("mlp", {"width": 256}, 1, 8, 0)
    blur = Corruption(Blur((8, 8), 8, 4.5), Interpolated((0.2, 1.0), (0.01, 4.5)), GeometricNoise())
    x, generator = torch.rand(128, 1, 8, 8), torch.Generator().manual_seed(0)
    loss = {"soft": SoftScoreMatching(), "clean": CleanPrediction()}[name]

    def step(objective, process):
        network.zero_grad()
        objective(lambda u, t: network(u, 999 * t), process, x, generator).mean().backward()

    dsm = DSM(predicts="score")
    step(dsm, VE())
    reference = fastest(lambda: step(dsm, VE()))
    benchmark.pedantic(step, (loss, blur), rounds=20, warmup_rounds=2)
    benchmark.extra_info["over_dsm"] = benchmark.stats.stats.min / reference
    assert benchmark.stats.stats.min < 2 * reference


def fastest(work, rounds=10) -> float:
    """Seconds of the fastest of some rounds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
