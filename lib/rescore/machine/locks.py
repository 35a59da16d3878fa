"""Locks that the system drops when their process ends, however it ends."""

import errno
import fcntl
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from filelock import AcquireReturnProxy, FileLock, SoftFileLock, Timeout

from rescore.errors import RescoreError

WITHOUT_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # what file systems without flock say
NO_FLOCK = "its file system has no flock, whose locks end with their process; allowed are others, such as Lustre with -o flock"


def try_lock(path: Path | str) -> AcquireReturnProxy | None:
    """Hold a lock as long as the `with` of what is returned, or the process; None if another process holds it.

    Raises:
        RescoreError: the file cannot be made or opened.
    """
    try:
        return _acquire(path, 0)
    except Timeout:
        return None
    except OSError as error:
        raise RescoreError(f"{path}: cannot be locked: {error.strerror or error}") from None


def _acquire(path: Path | str, timeout: float) -> AcquireReturnProxy:
    lock = FileLock(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the next line refuses
        held = lock.acquire(timeout=timeout)
    if isinstance(lock, SoftFileLock):  # a file that outlives a killed process, for which the next one would wait for ever
        lock.release()
        raise OSError(errno.ENOSYS, NO_FLOCK)
    return held


@contextmanager
def waiting_lock(path: Path | str, what: str) -> Iterator[None]:
    """Hold a lock, waiting for it if need be; says on stderr that it waits for `what`.

    Raises:
        RescoreError: the file cannot be made or opened.
    """
    held = try_lock(path)
    if held is None:
        print(f"waiting for {what}", file=sys.stderr, flush=True)
        held = _acquire(path, -1)
    with held:
        yield


def folder_lock(folder: Path, what: str) -> AbstractContextManager[None]:
    """`waiting_lock` of a folder, by a hidden file beside it."""
    return waiting_lock(folder.with_name(f".{folder.name}.lock"), what)


def drop_stale_locks(folder: Path | str = ".snakemake") -> IO[str]:
    """Remove the lock that a killed Snakemake left in `folder`, so that the same command goes on without `--unlock`.

    Every Snakemake of this workflow shares a lock on `<folder>/alive` while it lives; whoever gets it alone knows that no
    other one lives, at least on this host: another host's lock is left to the user, and all are on a file system without flock.

    This lock is shared by many, which those of `filelock` are not.

    Returns:
        The open lock; keep it as long as the process.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    alive = open(folder / "alive", "a+")  # noqa: SIM115
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in WITHOUT_FLOCK:  # there is nothing to be known then, and locks are left to the user
            fcntl.flock(alive, fcntl.LOCK_SH)
        return alive
    alive.seek(0)
    stale = list(folder.glob("locks/*"))
    if not stale or alive.read() in ("", platform.node()):
        for path in stale:
            path.unlink()
        alive.truncate(0)
        alive.write(platform.node())  # whose locks there may be from now on
        alive.flush()
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive
