"""In which precision a network is computed on a GPU: bf16 where it is asked for, true float32 where an error is controlled."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch

_full = ContextVar("full precision", default=False)


def autocast(device: torch.device | str) -> AbstractContextManager:
    """bf16 matrix products and convolutions on a GPU (the parameters stay float32); nothing on a CPU or in `full_precision`.

    The parametrisations of `rescore.networks` let it reach the bare network only: what is outside it stays in float32.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16) if kind == "cuda" and not _full.get() else nullcontext()


def float32(like: torch.Tensor) -> AbstractContextManager:
    """Operations on the device of `like` in the dtype of their inputs, inside `autocast` too."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if kind in ("cpu", "cuda") else nullcontext()  # `meta` has none


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 with all its bits, for likelihoods and adaptive solvers: neither bf16, whoever asks for it inside, nor TF32.

    cuDNN's convolutions are in TF32 (10 bits) unless one says otherwise. A solver with a tolerance of 1e-5 would take rounding
    for error, and smaller steps for it.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    token = _full.set(True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
        _full.reset(token)
