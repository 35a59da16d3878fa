"""The machine a job runs on: its name, the code's version, memory, and which GPUs are free."""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import rescore
from rescore.errors import RescoreError
from rescore.machine.locks import try_lock
from rescore.progress import warn

ROOT = Path(__file__).parents[3]
SLURM_GPUS = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")  # which GPUs a job, a step of it, was given


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


def version(root: Path | None = None) -> str:
    """`<release>+g<commit>[.dirty].torch<version>`; `<release>.torch<version>` outside a git checkout.

    Dirty: a file under lib/ or reproductions/ differs from the commit. Where git refuses, no commit is named and a warning
    says why.

    Args:
        root: the folder of the papers' reproductions/, None for the library's checkout. Of another the commit is its own, and
            the library's follows: `<release>+g<commit>[.dirty].lib+g<commit>[.dirty].torch<version>`.
    """
    import torch

    try:
        commit = _commits(root)
    except GitRefuses as error:
        warn(f"the version names no commit, for git refuses: {error}")
        commit = ""
    return f"{rescore.__version__}{commit}.torch{torch.__version__}"


class GitRefuses(Exception):
    """What git says where it does not do what is asked of it."""


def git_refusal(root: Path | None = None) -> str | None:
    """Why git names no commit of the papers at `root` now; None if it does, or outside a git checkout."""
    try:
        _commits(root)
    except GitRefuses as error:
        return str(error)
    return None


def _commits(root: Path | None) -> str:
    """Of the papers at `root`, then of the library where that is another checkout."""
    if root is None or root.resolve() == ROOT.resolve():
        return _commit(ROOT, "lib", "reproductions")
    library = _commit(ROOT, "lib")
    return _commit(root, "reproductions") + (f".lib{library}" if library else "")


def _commit(root: Path, *folders: str) -> str:
    """`+g<commit>[.dirty]`, "" outside a git checkout; dirty: a file in these folders differs from the commit."""
    if not (root / ".git").exists():
        return ""
    dirty = _git(root, "status", "--porcelain", "--", *folders)
    return f"+g{_git(root, 'rev-parse', '--short=7', 'HEAD')}{'.dirty' if dirty else ''}"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise GitRefuses(f"git: {error.strerror}") from None
    if done.returncode:
        raise GitRefuses(" ".join(done.stderr.split()) or f"git {arguments[0]} ends with {done.returncode}")
    return done.stdout.strip()


def peak_memory_mb() -> float:
    """Of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS counts bytes, Linux KiB


def peak_gpu_memory_mb(device: str) -> float:
    """Allocated by torch in this process so far, MiB; 0 on the CPU."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if device == "cuda" else 0.0


def free_memory(device: str) -> int:
    """Bytes that this process may still allocate: of the GPU, with what torch holds there unused; else of the machine."""
    import torch

    if device == "cuda":
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    available = [int(line.split()[1]) * 2**10 for line in lines if line.startswith("MemAvailable:")]
    return available[0] if available else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@contextmanager
def claim_gpus(count: int) -> Iterator[list[str]]:
    """Hold `count` GPUs of this machine that no other job of this user holds, waiting for them; torch sees only them.

    Snakemake limits how many GPUs are in use but does not say which. A lock file a GPU does, named by its UUID: two jobs
    may both call different cards 0. The system drops the lock when the process ends, however it ends. What Slurm has
    assigned is this job's alone and takes no lock, unless it is more than the job asks for. Call it before CUDA is
    initialised.

    Raises:
        RescoreError: the machine shows fewer GPUs, or a lock cannot be made.
    """
    if count == 0:
        yield []
        return
    gpus = visible_gpus()
    if len(gpus) < count:
        raise RescoreError(f"the job asks for {count} GPU, this machine shows {len(gpus)} ({', '.join(gpus) or 'none'})")
    with ExitStack() as locks:
        assigned = len(gpus) == count and any(os.environ.get(name) for name in SLURM_GPUS)
        held = list(gpus) if assigned else _lock_gpus(gpus, count, locks)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        yield held


def _lock_gpus(gpus: Mapping[str, str], count: int, locks: ExitStack) -> list[str]:
    folder = Path(tempfile.gettempdir())
    while True:
        held: list[str] = []
        for gpu, uuid in gpus.items():
            if len(held) < count and (lock := try_lock(folder / f"rescore-{os.getuid()}-{uuid}.lock")):
                locks.enter_context(lock)
                held.append(gpu)
        if len(held) == count:
            return held
        locks.close()  # hold none while waiting, so that two jobs never wait for each other
        time.sleep(1.0)


def visible_gpus() -> dict[str, str]:
    """The GPUs that CUDA shows: by the names that CUDA_VISIBLE_DEVICES takes, their UUIDs (or what stands for them).

    As CUDA reads that variable: what follows a name that is no device, such as -1, does not count; a device named twice is
    an error that leaves none.
    """
    known = _installed_gpus()
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        return {uuid: uuid for uuid in known.values()}
    found: dict[str, str] = {}
    for name in os.environ["CUDA_VISIBLE_DEVICES"].split(","):
        uuid = _uuid(name.strip(), known)
        if uuid is None:
            break
        if uuid in found.values():
            return {}
        found[name.strip()] = uuid
    return found


def _uuid(name: str, known: Mapping[str, str]) -> str | None:
    """Of a device of CUDA_VISIBLE_DEVICES, None if it is none; without nvidia-smi its own name stands for it."""
    if name.isdecimal():
        return known.get(str(int(name))) if known else f"index-{int(name)}"
    if name.startswith("GPU-"):  # or the beginning of a UUID, if it is of one device only
        full = [uuid for uuid in known.values() if uuid.startswith(name)] if known else [name]
        return full[0] if len(full) == 1 else None
    return name if name.startswith("MIG-") else None


def _installed_gpus() -> dict[str, str]:
    """Index -> UUID, as nvidia-smi says; none without it."""
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return {}
    return dict(line.split(", ") for line in lines if line.count(", ") == 1)
