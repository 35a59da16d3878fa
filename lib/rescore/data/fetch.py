"""Find or download a file whose content is known."""

import hashlib
import os
import shutil
import urllib.request
from http.client import HTTPException
from pathlib import Path

from rescore.errors import MissingData, RescoreError
from rescore.files import atomic_path

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
    """Where downloads are kept: $RESCORE_CACHE, else ~/.cache/rescore."""
    return Path(os.environ.get("RESCORE_CACHE") or Path.home() / ".cache" / "rescore")


def check(path: Path, digest: str, source: str | None = None) -> Path:
    """Return `path` if its SHA-256 is `digest`; raises RescoreError otherwise: it names both digests and `source` or the path.

    A digest `md5:...` is an MD5, of a publisher who gives no other.
    """
    algorithm, _, expected = digest.rpartition(":")
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, algorithm or "sha256").hexdigest()
    _compare(found, expected, source or path, algorithm or "sha256")
    return path


def check_content(content: bytes, digest: str, source: Path) -> bytes:
    """As `check`, for what was read, or unpacked, from `source`."""
    _compare(hashlib.sha256(content).hexdigest(), digest, source)
    return content


def _compare(found: str, digest: str, source: str | Path, algorithm: str = "sha256") -> None:
    if found != digest:
        raise RescoreError(
            f"{source}: wrong checksum ({algorithm} {found}, expected {digest}); the file is cut short or is another "
            "version: remove or replace it and run again"
        )


def download(url: str, digest: str, name: str) -> Path:
    """The cached copy of `url`, downloaded if need be. Raises MissingData if it cannot be had, RescoreError if it is wrong."""
    path = cache_folder() / name
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
