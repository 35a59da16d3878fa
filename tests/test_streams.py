"""A sample's noise depends on its seed and index: not on the batch, on other seeds, or on what is drawn beside it."""

import pytest
import torch
from rescore.collage import chain
from rescore.collage.maker import METHODS, Maker
from rescore.corruptions import Blur, Corruption, GaussianStart, GeometricNoise, Interpolated
from rescore.models.judge import draw
from rescore.problems import ExactProblem
from rescore.processes import CLD, VE, VP, Blurring, grids
from rescore.random import (
    BLOCK_NUMBERS,
    LEAST_BLOCK,
    Streams,
    derive_seed,
    integers,
    make_generator,
    normal,
    seeded,
    small_seed,
)
from rescore.samplers import (
    MomentumSampler,
    ancestral,
    annealed_langevin,
    ddim,
    euler_maruyama,
    gddim_stochastic,
    langevin,
    reverse_diffusion,
    sscs,
    uniform_times,
)

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
        parts.append(
            [streams.normal((size, *state), F64), streams.integers(5, (size, *state)), streams.normal((size, *state), F64)]
        )
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


def test_several_rows_of_a_sample_are_its_own():
    """As the pieces of a content that are drawn at once."""
    together = Streams.named("x", n=5).normal((15, 2))
    for first, n in ((0, 2), (2, 3)):
        part = Streams.named("x", n=n, first=first).normal((3 * n, 2))
        assert torch.equal(part, together[3 * first : 3 * (first + n)])


def test_uniform_numbers_fill_the_interval():
    u = Streams.named("x", n=4000).uniform((4000, 1), F64)
    assert 0 <= u.min() < 0.01 and 0.99 < u.max() < 1 and u.mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_batch_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="streams of 2 times 3 samples, asked for 5"):
        Streams([1, 2], 3).normal((5, 2))


def test_a_generator_serves_as_well():
    assert torch.equal(normal((3, 2), make_generator("x"), F64), torch.randn(3, 2, generator=make_generator("x"), dtype=F64))
    assert torch.equal(integers(9, (3,), make_generator("x")), torch.randint(9, (3,), generator=make_generator("x")))


STEPS = 5
SAMPLERS = {
    "em": (VP(), euler_maruyama),
    "ve": (VE(), reverse_diffusion),
    "ancestral": (VP(), ancestral),
    "eta": (VP(), ddim.where(eta=0.7)),
    "blurring": (Blurring((4, 4)), ancestral),
    "cld": (CLD(), euler_maruyama),
    "sscs": (CLD(), sscs),
    "gddim": (CLD(), gddim_stochastic.where(lam=0.5)),
    "langevin": (VE(), annealed_langevin.where(size=1e-4, steps_per_level=2)),
}


def blur() -> Corruption:
    start = GaussianStart(torch.zeros(1, 4, 4), torch.eye(16)[:3].reshape(3, 1, 4, 4))
    return Corruption(Blur((4, 4), 3, 2.0), Interpolated((0.0, 1.0), (0.01, 2.0)), GeometricNoise(0.01, 0.1, 0.5), start)


def sampler_of(name: str):
    if name == "momentum":
        return MomentumSampler(blur(), uniform_times(STEPS)), (1, 4, 4)
    process, make = SAMPLERS[name]
    return make(process, grids.quadratic(process, STEPS, 0.01)), (1, 4, 4)


@pytest.mark.parametrize("name", [*SAMPLERS, "momentum"])
def test_samples_do_not_depend_on_the_batch(name):
    """Start and noise: with batches of 1, 7 and 1000, and of a larger set the first ones."""
    sampler, shape = sampler_of(name)

    def score(u, t):
        return -u * (0.5 + t) + 0.1

    wanted = draw(sampler, score, shape, 20, make_generator("samples", 0)).x
    for batch, n in ((1, 20), (7, 20), (1000, 30)):
        assert torch.allclose(
            draw(sampler, score, shape, n, make_generator("samples", 0), batch=batch).x[:20], wanted, rtol=0, atol=1e-6
        )
    assert not torch.allclose(draw(sampler, score, shape, 20, make_generator("samples", 1)).x, wanted, atol=1e-2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_of_a_seed_do_not_depend_on_other_seeds(name):
    """With seeds (0,) and (0, 1, 2), through an exact problem."""
    process, make = SAMPLERS[name]
    sampler = make(process, grids.quadratic(process, STEPS, 0.01))

    def samples(*seeds: int):
        problem = ExactProblem.of_mixture("m", process, torch.ones(2, 1, 4, 4, dtype=F64) * 0.5, 0.3, ("start",), seeds, 7)
        return problem.run(sampler, problem.start(), "noise", name)

    alone, together = samples(0), samples(0, 1, 2)
    assert alone.shape == (1, 7, 1, 4, 4) and torch.allclose(together[:1], alone, rtol=0, atol=1e-12)
    assert not torch.allclose(together[1], together[2], atol=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_large_contents_do_not_depend_on_the_batch(method):
    process = VP()
    sampler = euler_maruyama(process, grids.quadratic(process, STEPS, 0.01))

    def score(u, t):
        return -u * (0.5 + t) + 0.1

    def contents(batch: int | None, n: int):
        maker = Maker(sampler, 1, score, score, score, 3.0, batch)
        return maker.chained(method, chain(4, 16, 4, 1), n, make_generator("wide", 0)).x

    wanted = contents(None, 9)
    for batch, n in ((1, 9), (7, 9), (1000, 12)):
        assert torch.allclose(contents(batch, n)[:9], wanted, rtol=0, atol=1e-6)


def test_langevin_takes_streams():
    u = torch.zeros(6, 2, dtype=F64)
    whole = langevin(lambda x: -x, u, 0.1, 4, Streams.named("x", n=6))
    part = langevin(lambda x: -x, u[:2], 0.1, 4, Streams.named("x", n=2))
    assert torch.equal(whole[:2], part)


def test_weights_by_a_seed_are_those_after_manual_seed_and_leave_its_state():
    torch.manual_seed(3)
    expected, state = torch.nn.Linear(4, 5).weight, torch.get_rng_state()
    waiting = len(torch.cuda._queued_calls)
    assert torch.equal(seeded(lambda: torch.nn.Linear(4, 5), 3).weight, expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(torch.cuda._queued_calls) == waiting, "each torch.manual_seed keeps a formatted stack for a GPU that never comes"


def test_seeds_are_the_same_on_every_machine():
    """Weights of networks, and OpenMM's chains, depend on them."""
    assert (derive_seed("mg", "eval", 0, 1), small_seed("mg", "eval", 0, 1)) == (6906730789172594966, 803391766)
    assert (derive_seed("lcss"), small_seed("lcss")) == (1247981258475887121, 768399889)
