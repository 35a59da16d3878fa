"""What users' files are when they are not what they should be: one clear error that names the file."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.errors import MissingData, RescoreError

if TYPE_CHECKING:
    import numpy as np

HEAD = 1024  # bytes of a file that are looked at
POINTER = b"version https://git-lfs.github.com/spec/"
PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml[^>]*>\s*<!doctype html)", re.IGNORECASE)


def disguise(path: Path | str) -> str | None:
    """What has come in place of a file's content: nothing, a pointer of Git LFS, or an HTML page; None if neither."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return None
    if not head:
        return "the file is empty"
    if head.startswith(POINTER):
        return "the file is a pointer of Git LFS (`git lfs pull` fetches its content)"
    if PAGE.match(head.removeprefix(codecs.BOM_UTF8)):
        return "the file is an HTML page, such as a login or an error leaves under the name of a download"
    return None


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Whatever fails within, which only reads `path` or what was read from it, is a RescoreError: `path: not <what> (<why>)`.

    Readers of formats raise errors of any kind for damaged files. A file that is not there is MissingData.
    """
    try:
        yield
    except (RescoreError, MemoryError):
        raise
    except FileNotFoundError as error:
        if error.filename is not None and Path(error.filename) != Path(path):
            raise
        raise MissingData(f"{path}: no such file") from None
    except Exception as error:
        why = disguise(path) or " ".join(str(error).split()) or type(error).__name__
        raise RescoreError(f"{path}: not {what} ({why}); replace it") from None


def read_text(path: Path, what: str) -> str:
    """A text file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises MissingData if it is not there, RescoreError if it is in another encoding, or if it is in `disguise`.
    """
    with reading(path, what):
        content = path.read_bytes()
        if why := disguise(path):
            raise ValueError(why)
        marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return content.decode("utf-16" if content.startswith(marks) else "utf-8-sig")


def check_labels(labels: "np.ndarray", n: int, source: object) -> "np.ndarray":
    """Labels as (n,) int64. Raises RescoreError, which starts with `source`, for another length or kind, NaN or fractions."""
    import numpy as np

    labels = np.asarray(labels)
    if labels.dtype.kind not in "iuf" or labels.shape != (n,):
        raise RescoreError(f"{source}: labels {labels.dtype} {labels.shape}; allowed: whole numbers ({n},)")
    fits = np.abs(labels) < 2**31  # which NaN is not; it would be cast to anything
    whole = np.where(fits, labels, 0).astype(np.int64)
    wrong = np.flatnonzero(~fits | (whole != labels) | (whole < 0))
    if len(wrong):
        raise RescoreError(f"{source}: label {labels[wrong[0]]} of image {wrong[0]}; allowed: 0, 1, 2, ...")
    return whole


def check_numbers(table: "np.ndarray", columns: int | None, source: object) -> "np.ndarray":
    """`table` if it is (n, columns) finite numbers, n >= 1; raises RescoreError, which starts with `source`, otherwise."""
    import numpy as np

    table = np.asarray(table)
    if table.dtype.kind not in "iuf" or table.ndim != 2 or not table.size or columns not in (None, table.shape[1]):
        raise RescoreError(f"{source}: a table {table.dtype} {table.shape}; allowed: numbers, (n, {columns or 'd'}), n >= 1")
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise RescoreError(f"{source}: {table[row, column]} in row {row}, column {column}; allowed: finite numbers")
    return table
