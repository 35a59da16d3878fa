"""Find or download a file whose content is known."""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from rescore.data.damage import disguise, reading
from rescore.errors import MissingData, RescoreError
from rescore.files import atomic_path
from rescore.machine.locks import waiting_lock
from rescore.progress import ByteBar, progress, warn

TIMEOUT_SECONDS = (10, 20)  # for a connection, and between two pieces of what comes
RETRIES = 2  # of a transfer that breaks off, one second later, then two
CHUNK_BYTES = 2**16
BAR_AFTER_SECONDS = 1.0


def data_folder() -> Path | None:
    """The folder that RESCORE_DATA names, or None when it is unset. Raises RescoreError if it is none that may be read."""
    value = os.environ.get("RESCORE_DATA")
    if not value:
        return None
    folder = Path(os.path.expanduser(value))  # noqa: PTH111 - a `~` without a home stays; Path.expanduser raises
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a folder above may not be entered
        raise RescoreError(f"RESCORE_DATA={value}: no such folder; set it to the folder that holds the data sets, or unset it")
    if not _may_be_read(folder):
        raise RescoreError(f"RESCORE_DATA={value}: may not be read; change its permissions, or name another folder")
    return folder


def _may_be_read(folder: Path) -> bool:
    """Whether this user may list a folder and open its files; of one that is not there, whether one may see that."""
    nearest = next((place for place in (folder, *folder.parents) if os.path.exists(place)), folder)  # noqa: PTH110 - as above
    if not os.path.isdir(nearest):  # noqa: PTH112 - as above
        return True
    return os.access(nearest, os.R_OK | os.X_OK if nearest == folder else os.X_OK)


def cache_folder() -> Path:
    """Where downloads are kept: $RESCORE_CACHE, else ~/.cache/rescore.

    A temporary folder for a user without a home, or who may not read that one.
    """
    try:
        folder = Path(os.environ.get("RESCORE_CACHE") or "~/.cache/rescore").expanduser()
    except RuntimeError as error:  # HOME is unset and the user has no entry in the system's list
        return _temporary_folder(f"no home folder ({error})")
    return folder if _may_be_read(folder) else _temporary_folder(f"the cache {folder} may not be read")


def writable_cache() -> Path:
    """The cache folder if one can write in it, else a temporary folder: what is at hand needs no place to be kept."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # permissions alone do not say it: file systems can be read-only
    except OSError as error:
        return _temporary_folder(f"the cache {folder} cannot be written ({error.strerror or error})")
    return folder


@cache
def _temporary_folder(reason: str) -> Path:
    """One of this process, removed at its end; the first call warns."""
    folder = tempfile.TemporaryDirectory(prefix="rescore-")
    _temporary_folders.append(folder)  # kept alive: it is removed with its object
    warn(f"{reason}: downloads and prepared data are kept for this process only; set RESCORE_CACHE to a folder to keep them")
    return Path(folder.name)


_temporary_folders: list[tempfile.TemporaryDirectory] = []


def check(path: Path, digest: str, source: str | None = None) -> Path:
    """Return `path` if its SHA-256 is `digest`; raises RescoreError otherwise: it names both digests and `source` or the path.

    A digest `md5:...` is an MD5, of a publisher who gives no other.
    """
    algorithm, _, expected = digest.rpartition(":")
    with reading(path, "a file that can be read"), open(path, "rb") as stream:
        found = hashlib.file_digest(stream, algorithm or "sha256").hexdigest()
    _compare(found, expected, source or path, algorithm or "sha256", disguise(path))
    return path


def check_content(content: bytes, digest: str, source: Path) -> bytes:
    """As `check`, for what was read, or unpacked, from `source`."""
    _compare(hashlib.sha256(content).hexdigest(), digest, source, why=disguise(source))
    return content


def _compare(found: str, digest: str, source: str | Path, algorithm: str = "sha256", why: str | None = None) -> None:
    if found != digest:
        raise RescoreError(
            f"{source}: wrong checksum ({algorithm} {found}, expected {digest}); "
            f"{why or 'the file is cut short or is another version'}: remove or replace it and run again"
        )


def download(url: str, digest: str, name: str) -> Path:
    """The cached copy of `url`, downloaded if need be.

    Raises MissingData if it cannot be had, RescoreError if it is wrong or finds no place on a full disk.
    """
    path = cache_folder() / name
    if not path.exists():
        path = writable_cache() / name
    if not path.exists():
        try:
            with alone(path):
                if not path.exists():  # it may have come while we waited
                    with atomic_path(path) as temporary:
                        transfer(url, temporary, digest)
        except OSError as error:
            raise MissingData(f"{name}: not at hand, and {url} could not be downloaded ({reason(error)})") from None
    return check(path, digest)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one process at a time makes `path`, a file of the cache; the others wait.

    Where no lock can be had (another user's in a shared cache) they work at the same time: whole files take each other's place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with suppress(RescoreError):
            stack.enter_context(waiting_lock(path.with_name(f".{path.name}.lock"), f"another process that fetches {path.name}"))
        yield


def transfer(url: str, path: Path, digest: str | None = None) -> None:
    """Download `url` to `path`, in place of what is there; a transfer that breaks off is tried again.

    Args:
        digest: as of `check`; None: the caller checks.

    Raises:
        OSError: no connection, an answer other than the file, or no place for it.
        RescoreError: the file has another digest; nothing is left at `path`.
    """
    import pooch  # slow to import

    def once(url: str, output: str, pup: pooch.Pooch) -> None:
        with progress(kind=ByteBar, desc=url.rpartition("/")[2], delay=BAR_AFTER_SECONDS) as bar:
            options = {"timeout": TIMEOUT_SECONDS, "headers": {"Accept-Encoding": "identity"}, "hooks": {"response": _packed}}
            pooch.HTTPDownloader(bar, CHUNK_BYTES, **options)(url, output, pup)
        if digest is not None:
            check(Path(output), digest, source=url)  # before pooch does, whose error does not say what has come instead

    pooch.get_logger().setLevel("WARNING")  # what it would tell is in the bar and in errors
    path.unlink(missing_ok=True)
    urls, digests = {path.name: url}, {path.name: digest}
    pooch.create(path.parent, base_url="", urls=urls, registry=digests, retry_if_failed=RETRIES).fetch(
        path.name, downloader=once
    )


def _packed(response: Any, **_: Any) -> None:
    """Keep a packed file packed: some servers call the .gz of a file its encoding, which requests would undo."""
    response.raw.headers.pop("Content-Encoding", None)


def reason(error: BaseException) -> str:
    """Why a transfer failed, in one line; of requests' long errors of a connection, the system's own words."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    return " ".join(str(inner or error).split()) or type(error).__name__


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of a file in an archive. Raises KeyError for a name that is not there, RescoreError for no file."""
    stream = archive.extractfile(name)
    if stream is None:
        raise RescoreError(f"{archive.name!r}: {name} is not a file")
    return stream.read()
