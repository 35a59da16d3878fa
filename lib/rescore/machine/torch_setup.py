"""torch as a process of ours uses it."""

import os

from rescore.config import Resources
from rescore.errors import RescoreError


def prepare_torch(settings: Resources) -> str:
    """Set threads, determinism and a default seed; return the device: `cuda` if the job asks for a GPU, else `cpu`.

    Raises:
        RescoreError: the job asks for a GPU and torch sees none.
    """
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    import torch

    torch.set_num_threads(settings.threads)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms, without its 7 s import of the compiler
    torch.manual_seed(0)  # jobs seed what they draw; this only keeps an oversight reproducible
    if not settings.gpu:
        return "cpu"
    if not torch.cuda.is_available():
        raise RescoreError(f"the job asks for {settings.gpu} GPU (gpu: {settings.gpu} in its config), but torch sees none")
    torch.backends.cudnn.benchmark = False
    return "cuda"
