"""torch as a process of ours uses it."""

import os

from rescore.config import Resources
from rescore.errors import RescoreError
from rescore.machine.ranks import own_rank

DETERMINISTIC = "RESCORE_DETERMINISTIC"
"""Set to 1, a job on a GPU takes deterministic kernels only: slower, and equal in each bit from run to run on one card."""


def prepare_torch(settings: Resources) -> str:
    """Set threads, determinism and a default seed; return the device: `cuda` if the job asks for a GPU, else `cpu`.

    On the CPU algorithms are deterministic. On a GPU the fastest are taken, cuDNN's found by trying them, unless
    RESCORE_DETERMINISTIC asks otherwise; a process of our torchrun computes on the GPU of its local rank from here on.

    Raises:
        RescoreError: the job asks for a GPU and torch sees none, or RESCORE_DETERMINISTIC is neither 0 nor 1.
    """
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    import torch

    chosen = os.environ.get(DETERMINISTIC) or "0"
    if chosen not in ("0", "1"):
        raise RescoreError(f"{DETERMINISTIC}={chosen}; allowed: 0, 1")
    exact = not settings.gpu or chosen == "1"
    torch.set_num_threads(settings.threads)
    # use_deterministic_algorithms, without its 7 s import of the compiler
    torch.set_deterministic_debug_mode("warn" if exact else "default")
    # that mode also writes NaN to all new memory, which no kernel of ours reads before it has written there: at width 128 that
    # took 4 % of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property of the module
    torch.manual_seed(0)  # jobs seed what they draw; this only keeps an oversight reproducible
    if not settings.gpu:
        return "cpu"
    if not torch.cuda.is_available():
        raise RescoreError(f"the job asks for {settings.gpu} GPU (gpu: {settings.gpu} in its config), but torch sees none")
    torch.backends.cudnn.benchmark = not exact
    if here := own_rank():
        torch.cuda.set_device(here.local)  # before anything is moved to "cuda", which is the current device
    return "cuda"
