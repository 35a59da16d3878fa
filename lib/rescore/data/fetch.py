"""Find or download a file whose content is known."""

import hashlib
import os
import shutil
import tempfile
import urllib.request
from functools import cache
from http.client import HTTPException
from pathlib import Path

from rescore.data.damage import disguise, reading
from rescore.errors import MissingData, RescoreError
from rescore.files import atomic_path
from rescore.progress import warn

TIMEOUT_SECONDS = 20


def data_folder() -> Path | None:
    """The folder that RESCORE_DATA names, or None when it is unset. Raises RescoreError if it is no folder."""
    value = os.environ.get("RESCORE_DATA")
    if not value:
        return None
    if not Path(value).is_dir():
        raise RescoreError(f"RESCORE_DATA={value}: no such folder; set it to the folder that holds the data sets, or unset it")
    return Path(value)


def cache_folder() -> Path:
    """Where downloads are kept: $RESCORE_CACHE, else ~/.cache/rescore, else, for a user without a home, a temporary folder."""
    if value := os.environ.get("RESCORE_CACHE"):
        return Path(value)
    try:
        return Path.home() / ".cache" / "rescore"
    except RuntimeError as error:  # HOME is unset and the user has no entry in the system's list
        return _temporary_folder(f"no home folder ({error})")


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
    """The cached copy of `url`, downloaded if need be. Raises MissingData if it cannot be had, RescoreError if it is wrong."""
    path = cache_folder() / name
    if not path.exists():
        path = writable_cache() / name
    if not path.exists():
        try:
            with atomic_path(path) as temporary:
                with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                    with open(temporary, "wb") as stream:
                        shutil.copyfileobj(response, stream)
                check(temporary, digest, source=url)
        except (OSError, HTTPException) as error:  # the second: a transfer that ends early
            raise MissingData(f"{name}: not under RESCORE_DATA, and {url} could not be downloaded ({error})") from None
    return check(path, digest)
