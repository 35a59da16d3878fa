"""Files that are either whole or absent, and what JSON they hold."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rescore.errors import RescoreError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it over `path`, on error remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes private files
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself must survive a crash
        finally:
            os.close(directory)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path | str, content: str | bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def read_json(path: Path | str, keys: Sequence[str] = (), numbers: Iterable[str] = ()) -> dict[str, Any]:
    """A JSON file of one object.

    Args:
        keys: that it must have; it may have others.
        numbers: keys whose values, where they are there and not null, are numbers.

    Raises:
        RescoreError: the file is cut short, holds something else or lacks a key.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # of text that is not UTF-8 too
        raise RescoreError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict) or (missing := [key for key in keys if key not in content]):
        found = f"no {', '.join(missing)}" if isinstance(content, dict) else type(content).__name__
        raise RescoreError(f"{path}: expected an object{' with ' * bool(keys)}{', '.join(keys)}; found {found}")
    for key in numbers:
        value = content.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RescoreError(f"{path}, key {key}: {value!r} is not a number")
    return content


def sha256(path: Path | str) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
