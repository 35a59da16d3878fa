"""A sample's noise depends on its seed and index: not on the batch, on other seeds, or on what is drawn beside it."""

import pytest
import torch

from rescore.random import BLOCK_NUMBERS, LEAST_BLOCK, Streams, derive_seed, integers, make_generator, normal
from rescore.samplers import langevin

F64 = torch.float64
SHAPES = [(), (1,), (2,), (64,), (1, 8, 8), (3, 40, 40)]


@pytest.mark.parametrize("state", SHAPES)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_of_any_size_see_the_same_numbers(state, batch):
    n = 40
    whole = Streams.named("x", 3, n=n)
    wanted = [whole.normal((n, *state), F64), whole.integers(5, (n, *state)), whole.normal((n, *state), F64)]
    parts = []
    for first in range(0, n, batch):
        size = min(batch, n - first)
        streams = Streams.named("x", 3, n=size, first=first)
        parts.append([streams.normal((size, *state), F64), streams.integers(5, (size, *state)), streams.normal((size, *state), F64)])
    for i, values in enumerate(wanted):
        assert torch.equal(torch.cat([part[i] for part in parts]), values)


def test_other_seeds_alter_nothing():
    alone = Streams([derive_seed("x", 0)], 9).normal((9, 2))
    together = Streams([derive_seed("x", seed) for seed in (0, 1, 2)], 9).normal((27, 2)).reshape(3, 9, 2)
    assert torch.equal(together[0], alone) and not torch.equal(together[0], together[1])


@pytest.mark.parametrize("state", [(2,), (64,), (1000,)])
def test_numbers_are_standard_normal_and_independent(state):
    """Of samples, of blocks, and of successive draws."""
    n = 3000
    streams = Streams.named("x", n=n)
    first, second = streams.normal((n, *state), F64), streams.normal((n, *state), F64)
    for x in (first, second, first[1:] * first[:-1], first * second):
        assert abs(x.mean().item()) < 5 / x.numel() ** 0.5
    assert first.var().item() == pytest.approx(1, abs=7 / first.numel() ** 0.5)
    block = max(LEAST_BLOCK, BLOCK_NUMBERS // state[0])
    assert not torch.equal(first[:block], first[block : 2 * block]) and len(first.unique()) == first.numel()
    counts = Streams.named("x", n=n).integers(4, (n, *state)).flatten().bincount(minlength=4) / first.numel()
    assert counts.tolist() == pytest.approx([0.25] * 4, abs=5 / first.numel() ** 0.5)


def test_a_batch_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="streams of 2 times 3 samples, asked for 5"):
        Streams([1, 2], 3).normal((5, 2))


def test_a_generator_serves_as_well():
    assert torch.equal(normal((3, 2), make_generator("x"), F64), torch.randn(3, 2, generator=make_generator("x"), dtype=F64))
    assert torch.equal(integers(9, (3,), make_generator("x")), torch.randint(9, (3,), generator=make_generator("x")))


def test_langevin_takes_streams():
    u = torch.zeros(6, 2, dtype=F64)
    whole = langevin(lambda x: -x, u, 0.1, 4, Streams.named("x", n=6))
    part = langevin(lambda x: -x, u[:2], 0.1, 4, Streams.named("x", n=2))
    assert torch.equal(whole[:2], part)
