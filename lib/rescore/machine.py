"""The machine a job runs on: its name, the code's version, memory, and which GPUs are free."""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import rescore
from rescore.errors import RescoreError
from rescore.locks import try_lock


def device_name(device: str) -> str:
    """The machine class: the GPU's name, or `cpu <model> <vector instructions>`."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"cpu {model} {torch.backends.cpu.get_cpu_capability()}"


def version() -> str:
    """`<release>+g<commit>[.dirty].torch<version>`; `<release>.torch<version>` outside a git checkout.

    Dirty: a file under lib/ or reproductions/ differs from the commit.
    """
    import torch

    root = Path(__file__).parents[2]
    commit = _git(root, "rev-parse", "--short=7", "HEAD") if (root / ".git").exists() else ""
    dirty = commit and _git(root, "status", "--porcelain", "--", "lib", "reproductions")
    return f"{rescore.__version__}{f'+g{commit}' if commit else ''}{'.dirty' if dirty else ''}.torch{torch.__version__}"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def peak_memory_mb() -> float:
    """Of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS counts bytes, Linux KiB


def peak_gpu_memory_mb(device: str) -> float:
    """Allocated by torch in this process so far, MiB; 0 on the CPU."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if device == "cuda" else 0.0


@contextmanager
def claim_gpus(count: int) -> Iterator[list[str]]:
    """Hold `count` GPUs of this machine that no other job holds, waiting for them; only they are visible to torch.

    Snakemake limits how many GPUs are in use but does not say which. A lock file a GPU does; the system drops the lock when
    the process ends, however it ends. Call it before CUDA is initialised.

    Raises:
        RescoreError: the machine has fewer GPUs.
    """
    if count == 0:
        yield []
        return
    gpus = _visible_gpus()
    if len(gpus) < count:
        raise RescoreError(f"the job asks for {count} GPU, this machine shows {len(gpus)} ({', '.join(gpus) or 'none'})")
    folder = Path(tempfile.gettempdir())
    held: dict[str, IO[str]] = {}
    try:
        while len(held) < count:
            for gpu in gpus:
                if gpu not in held and len(held) < count and (lock := try_lock(folder / f"rescore-gpu-{gpu}.lock")):
                    held[gpu] = lock
            if len(held) < count:
                while held:  # hold none while waiting, so that two jobs never wait for each other
                    held.popitem()[1].close()
                time.sleep(1.0)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        yield list(held)
    finally:
        for lock in held.values():
            lock.close()


def _visible_gpus() -> list[str]:
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []
