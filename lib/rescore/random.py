"""Seeds. Every random stream is named, so that a draw never depends on what else was drawn before it."""

import hashlib

import torch
from torch import Tensor


def derive_seed(*names: object) -> int:
    """A 63-bit seed from any printable names, e.g. `derive_seed("mg", "eval", seed, run)`; stable over platforms."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def make_generator(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded by `derive_seed(*names)`."""
    return torch.Generator(device=device).manual_seed(derive_seed(*names))


def fill_normal(out: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Fill out[i] with standard normals of generators[i], in place: row i never depends on how rows are batched."""
    for row, generator in zip(out, generators, strict=True):
        row.normal_(generator=generator)
    return out
