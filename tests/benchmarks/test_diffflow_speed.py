"""One training step by the stochastic adjoint against plain back-propagation; one thread, CPU seconds."""

import time
from collections.abc import Callable

import pytest
import torch
from peers import keep
from rescore.cost.saved_bytes import SavedBytes
from rescore.neural_sde import FourierMLP, NeuralSDE, adjoint_loss, draw_noise, l_beta, path_loss
from rescore.random import make_generator, seeded

pytestmark = pytest.mark.benchmark_suite

BATCH = 500
SLOWER, LIGHTER = 1.6, 4


def problem(n: int) -> tuple[NeuralSDE, Callable[[Callable], None]]:
    """The pair of the reproduction and a step: loss and gradient of one batch."""
    model = NeuralSDE(*(seeded(lambda: FourierMLP(2, 88), seed) for seed in (1, 2)), 0.2)
    generator = make_generator("benchmark")
    x = torch.randn(BATCH, 2, generator=generator)
    noise = draw_noise(x, n, generator)

    def step(loss: Callable) -> None:
        model.zero_grad()
        loss(model, x, l_beta(n), noise).mean().backward()

    return model, step


@pytest.mark.benchmark(timer=time.process_time)
def test_adjoint_step_is_at_most_1_6_times_back_propagation(benchmark):
    """N = 100 on points; the two take turns, so that a busy machine slows both."""
    _, step = problem(100)
    step(adjoint_loss), step(path_loss)
    plain = []

    def before() -> None:
        began = time.process_time()
        step(path_loss)
        plain.append(time.process_time() - began)

    benchmark.pedantic(lambda: step(adjoint_loss), setup=before, rounds=5)
    ratio = benchmark.stats.stats.min / min(plain)
    keep(benchmark, "a DiffFlow step by the stochastic adjoint, N = 100", "back-propagation", min(plain))
    assert ratio <= SLOWER


def test_adjoint_memory_is_at_most_a_quarter(benchmark):
    """N = 200: the most bytes that graphs hold at any moment of a step."""
    model, step = problem(200)

    def peak(loss: Callable) -> int:
        with SavedBytes(model) as saved:
            step(loss)
        return saved.peak

    ours, plain = benchmark.pedantic(lambda: (peak(adjoint_loss), peak(path_loss)), rounds=1)
    benchmark.extra_info |= {"adjoint_bytes": ours, "plain_bytes": plain}
    print(f"adjoint {ours / 1e6:.1f} MB, plain {plain / 1e6:.1f} MB, ratio {ours / plain:.3f}")
    assert ours * LIGHTER <= plain
