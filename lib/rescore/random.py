"""Seeds and streams. Every random stream is named, so that a draw never depends on what else was drawn before it."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


def derive_seed(*names: object) -> int:
    """A 63-bit seed from any printable names, e.g. `derive_seed("mg", "eval", seed, run)`; stable over platforms."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def small_seed(*names: object) -> int:
    """`derive_seed` in 31 bits, for libraries that take no more: OpenMM's seeds are C's signed int. Also of most networks."""
    return derive_seed(*names) % 2**31


def make_generator(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded by `derive_seed(*names)`."""
    return torch.Generator(device=device).manual_seed(derive_seed(*names))


def seeded(make: Callable[[], Made], seed: int) -> Made:
    """`make()`, such as a network, with weights that depend on the seed only; torch's own seed stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed keeps a formatted stack for each kind of device, for good
        return make()


def fill_normal(out: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Fill out[i] with standard normals of generators[i], in place: row i never depends on how rows are batched."""
    for row, generator in zip(out, generators, strict=True):
        row.normal_(generator=generator)
    return out


def fill_uniform(out: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Fill out[i] with uniforms on [0, 1) of generators[i], in place; else as `fill_normal`."""
    for row, generator in zip(out, generators, strict=True):
        row.uniform_(generator=generator)
    return out


LEAST_BLOCK, BLOCK_NUMBERS = 16, 4096


class Streams:
    """The noise of a batch of samples, each of which has its own, named by its seed and its index alone.

    Rows of a batch are samples first, first + 1, ..., first + n - 1 of the first seed, then those of the next. However samples
    are put into batches, and whatever other seeds there are, a sample sees the same numbers. They are drawn for blocks of
    samples, whose size depends on the shape of a state only, by a generator each: a batch draws its blocks whole and takes its
    rows.

    Args:
        seeds: as `derive_seed` gives them.
        n: samples of each seed in this batch.
        first: the index of the first one.
    """

    def __init__(self, seeds: Sequence[int], n: int, first: int = 0, device: torch.device | str = "cpu"):
        self.seeds, self.n, self.first, self.device = tuple(seeds), n, first, torch.device(device)
        self._generators: dict[int, list[list[torch.Generator]]] = {}

    @classmethod
    def like(cls, generator: torch.Generator, n: int, first: int = 0) -> "Streams":
        """Of the seed that a generator was made with, on its device."""
        return cls([generator.initial_seed()], n, first, generator.device)

    @classmethod
    def named(cls, *names: object, n: int, first: int = 0, device: torch.device | str = "cpu") -> "Streams":
        """Of one seed with these names."""
        return cls([derive_seed(*names)], n, first, device)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """The next standard normals of each sample, (rows, *state)."""
        return self._draw(
            shape, lambda block, generator: torch.randn(block, generator=generator, dtype=dtype, device=self.device)
        )

    def integers(self, high: int, shape: Sequence[int], dtype: torch.dtype = torch.int64) -> Tensor:
        """The next whole numbers from 0 to high - 1 of each sample."""
        return self._draw(shape, lambda block, its: torch.randint(high, block, generator=its, device=self.device, dtype=dtype))

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """The next numbers in [0, 1) of each sample."""
        return self._draw(
            shape, lambda block, generator: torch.rand(block, generator=generator, dtype=dtype, device=self.device)
        )

    def _draw(self, shape: Sequence[int], draw: Callable[[tuple[int, ...], torch.Generator], Tensor]) -> Tensor:
        rows, *state = shape
        of_each, rest = divmod(rows, self.n * len(self.seeds))
        if rest or not of_each:
            raise ValueError(f"streams of {len(self.seeds)} times {self.n} samples, asked for {rows}")
        if of_each > 1:  # several rows next to each other are of one sample
            return self._draw((rows // of_each, of_each, *state), draw).flatten(0, 1)
        block = max(LEAST_BLOCK, BLOCK_NUMBERS // max(1, math.prod(state)))
        skipped = self.first % block
        parts = []
        for generators in self._of(block):
            numbers = torch.cat([draw((block, *state), generator) for generator in generators])
            parts.append(numbers[skipped : skipped + self.n])
        return torch.cat(parts)

    def _of(self, block: int) -> list[list[torch.Generator]]:
        """By seed, a generator for each block of this size that the batch touches."""
        if block not in self._generators:
            blocks = range(self.first // block, (self.first + self.n - 1) // block + 1)
            self._generators[block] = [
                [make_generator(seed, block, i, device=self.device) for i in blocks] for seed in self.seeds
            ]
        return self._generators[block]


Noise = torch.Generator | Streams
"""Where random numbers come from: streams of single samples, or one generator for a whole batch."""


def normal(
    shape: Sequence[int], noise: Noise, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normals of this shape."""
    if isinstance(noise, Streams):
        return noise.normal(shape, dtype).to(device)
    return torch.randn(tuple(shape), generator=noise, dtype=dtype, device=device)


def integers(
    high: int, shape: Sequence[int], noise: Noise, device: torch.device | str = "cpu", dtype: torch.dtype = torch.int64
) -> Tensor:
    """Whole numbers from 0 to high - 1."""
    if isinstance(noise, Streams):
        return noise.integers(high, shape, dtype).to(device)
    return torch.randint(high, tuple(shape), generator=noise, device=device, dtype=dtype)


def host_uniform(n: int, noise: Noise) -> Tensor:
    """n numbers uniform in [0, 1), (n,) float64 on the CPU, without waiting for a GPU.

    What a generator on a GPU draws lies there, and to read it the host waits for all that is queued before it. Where the
    generator stands is known here: seed and position name a generator on the CPU, and the position moves on.
    """
    if isinstance(noise, Streams):
        return noise.uniform((n,), torch.float64).cpu()
    return torch.rand(n, generator=_on_host(noise), dtype=torch.float64)


def host_integers(high: int, n: int, noise: Noise) -> Tensor:
    """n whole numbers from 0 to high - 1, (n,) on the CPU; else as `host_uniform`."""
    if isinstance(noise, Streams):
        return noise.integers(high, (n,)).cpu()
    return torch.randint(high, (n,), generator=_on_host(noise))


def _on_host(generator: torch.Generator) -> torch.Generator:
    if generator.device.type == "cpu":
        return generator
    position = generator.get_offset()
    generator.set_offset(position + 4)  # CUDA counts in fours
    return make_generator("host", generator.initial_seed(), position)
