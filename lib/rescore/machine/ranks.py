"""Our own torchrun: how a command starts itself on several GPUs, and how a process knows that it is one of those. No torch."""

import ctypes
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

MARK = "RESCORE_TORCHRUN"
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


@dataclass(frozen=True)
class Rank:
    """A process among `size`; `local` is its number on its machine."""

    rank: int
    local: int
    size: int


def own_rank() -> Rank | None:
    """The rank of this process among those that `start_ranks` started; None in any other process.

    RANK, LOCAL_RANK and WORLD_SIZE alone mean nothing: schedulers and other launchers leave them in the environment.
    """
    run = os.environ.get(MARK)
    if not run or run != os.environ.get("TORCHELASTIC_RUN_ID"):
        return None
    return Rank(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))


def start_ranks(count: int, arguments: Sequence[str]) -> None:
    """Run `rescore` with these arguments in `count` processes of this machine and wait for them.

    Raises:
        CalledProcessError: one of them failed.
    """
    run = uuid.uuid4().hex
    # torchrun's --standalone, but with a name of our own, by which the processes know us
    meeting = ["--nnodes=1", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--rdzv-id={run}"]
    launcher = [sys.executable, "-m", "torch.distributed.run", *meeting, f"--nproc-per-node={count}"]
    command = [*launcher, "-m", "rescore", *arguments]
    subprocess.run(command, check=True, env=os.environ | {MARK: run}, preexec_fn=end_with_parent)


def end_with_parent() -> None:
    """Let the system end this process when its parent ends, even by kill -9: the parent holds its locks. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
