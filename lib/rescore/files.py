"""Files that are either whole or absent, and what text, JSON, YAML, arrays or tensors they hold."""

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rescore.errors import RescoreError, os_error_text

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a user's share of it, a file as large as files may be
KINDS = {str: "a text", int: "a whole number", float: "a finite number", list: "a list", dict: "an object"}
"""What a key of a JSON file may be declared to be."""
SHOWN = 60  # characters of a wrong value


@contextmanager
def naming_file(path: Path | str) -> Iterator[None]:
    """What the system refuses within, which only reads or writes `path`, is one error: the file and the reason."""
    try:
        yield
    except FileNotFoundError:
        raise RescoreError(f"{path}: no such file") from None
    except OSError as error:
        raise RescoreError(os_error_text(error) if error.filename else f"{path}: {os_error_text(error)}") from None


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it over `path`, on error remove it.

    Raises RescoreError, which names `path`, or the folder that is in its way, where it cannot be written: on a full disk, too.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))
        os.close(handle)
        temporary = Path(name)
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
    except OSError as error:
        place = _refused_place(error, path)
        if place is None:
            raise
        raise RescoreError(f"{place}: {error.strerror}") from None
    finally:
        if temporary is not None:
            with suppress(OSError):  # of two errors the first tells more
                temporary.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _refused_place(error: OSError, path: Path) -> Path | None:
    """The file or folder that could not be written for `path`; None for an error of what the caller does besides."""
    named = error.filename2 or error.filename  # of a rename that to which
    if named is None:
        return path if error.errno in FULL else None  # of a write nothing is named
    place = Path(os.fsdecode(named))
    if place.parent == path.parent and place.name.startswith(_prefix(path)):
        return path
    return place if place in (path, *path.parents) else None


def atomic_write(path: Path | str, content: str | bytes) -> None:
    """Write `content` to `path` atomically. Raises RescoreError as `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def append_line(path: Path | str, line: str) -> None:
    """Add a line to a file, behind one that a kill has cut. Raises RescoreError where it cannot be written."""
    with naming_file(path), open(path, "ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read() == b"\n" else f"\n{line}"
        stream.write(f"{line}\n".encode())


def read_text(path: Path | str, encoding: str = "utf-8") -> str:
    """A file of UTF-8 text. Raises RescoreError, with the reason, for one that cannot be read or is no such text."""
    try:
        with naming_file(path):
            return Path(path).read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise RescoreError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def save_arrays(path: Path | str, arrays: Mapping[str, Any], compressed: bool = False) -> None:
    """Write an npz atomically. Raises RescoreError as `atomic_path`."""
    import numpy as np  # here, for much of the command line needs files and no arrays

    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        (np.savez_compressed if compressed else np.savez)(stream, **arrays)


def read_arrays(path: Path | str, names: Sequence[str] = ()) -> dict[str, "np.ndarray"]:
    """All arrays of an npz of ours by their names; `rescore.data.damage.reading` is for those of users.

    Args:
        names: those that it must have.

    Raises:
        RescoreError: no such file, one that is damaged or no npz, or that lacks one of the names.
    """
    import numpy as np

    try:
        with naming_file(path), np.load(path) as stored:
            arrays = dict(stored)
    except (RescoreError, MemoryError):
        raise
    except Exception as error:  # zipfile and numpy raise many kinds
        raise RescoreError(f"{path}: not an npz of arrays ({' '.join(str(error).split()) or type(error).__name__})") from None
    if missing := [name for name in names if name not in arrays]:
        raise RescoreError(f"{path}: no array {', '.join(missing)}; it has {', '.join(arrays) or 'none'}")
    return arrays


def save_tensors(path: Path | str, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors (safetensors) atomically. Raises RescoreError as `atomic_path`."""
    from safetensors import SafetensorError  # here, for it imports torch
    from safetensors.torch import save_file

    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(whole, temporary, dict(metadata) if metadata else None)
        except SafetensorError as error:  # a full disk, too
            raise RescoreError(f"{path}: {error}") from None


def load_tensors(path: Path | str) -> dict[str, "Tensor"]:
    """All tensors of a safetensors file by their names. Raises RescoreError for one that is missing, damaged or no such."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with naming_file(path):
            open(path, "rb").close()  # safetensors maps a file into memory, and says of a folder that it is no device
            return load_file(path)
    except SafetensorError as error:
        raise RescoreError(f"{path}: not a safetensors file ({error})") from None


def read_json(
    path: Path | str, keys: Mapping[str, type] | None = None, optional: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """A JSON file of one object.

    Args:
        keys: that it must have, each with its kind, one of `KINDS`; it may have others.
        optional: keys that it may lack, or have as null, with their kinds.

    Raises:
        RescoreError: the file cannot be read, is cut short, holds something else, lacks a key, or a key is of another kind.
    """
    content = read_any_json(path)
    keys, optional = keys or {}, optional or {}
    if not isinstance(content, dict) or (missing := [key for key in keys if key not in content]):
        found = f"no {', '.join(missing)}" if isinstance(content, dict) else type(content).__name__
        raise RescoreError(f"{path}: expected an object{' with ' * bool(keys)}{', '.join(keys)}; found {found}")
    for key, kind in {**optional, **keys}.items():
        value = content.get(key)
        if not (is_kind(value, kind) or (value is None and key not in keys)):
            raise RescoreError(f"{path}, key {key}: {_short(value)} is not {KINDS[kind]}")
    return content


def read_any_json(path: Path | str) -> Any:
    """What a JSON file holds. Raises RescoreError for one that cannot be read or is none."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # of numbers of too many digits, too
        raise RescoreError(f"{path}: not JSON: {error}") from None


def is_kind(value: object, kind: type) -> bool:
    """Whether what JSON has given is of one of `KINDS`; a whole number is a finite one, too, and true and false are none."""
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # which NaN is not
    return isinstance(value, kind)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def sha256(path: Path | str) -> str:
    """Hex digest of a file's content. Raises RescoreError for one that cannot be read."""
    with naming_file(path), open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's parser is ten times as fast
    """YAML in which a key may not appear twice, and a text that looks like a date or a number is one."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        _refuse_repeated_keys(node, set())
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # what PyYAML's own conversions raise
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise yaml.MarkedYAMLError(problem=f"{node.value!r} is no {kind}", problem_mark=node.start_mark) from None


def _refuse_repeated_keys(node: yaml.Node | None, known: set[int]) -> None:
    """Raise MarkedYAMLError for the second of two keys; `known` are the ids of nodes looked at, which aliases reach again."""
    if isinstance(node, yaml.CollectionNode) and id(node) not in known:
        known.add(id(node))
        seen = []
        for part in node.value:
            if isinstance(part, tuple):
                key, part = part
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key.value!r} appears twice", problem_mark=key.start_mark)
                seen.append(key.value)
            _refuse_repeated_keys(part, known)


class ConfigLoader(Loader):
    """YAML in which `1e-3` is a number, as in YAML 1.2; PyYAML's 1.1 reads it as text, for it has no point."""


ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)[eE][-+]?[0-9]+\Z"), list("-+.0123456789")
)


def load_yaml(path: Path, loader: type[yaml.SafeLoader] = Loader) -> Any:
    """The content of a YAML file. Raises RescoreError, with the line, for what is no YAML or no file."""
    try:
        with naming_file(path), open(path, encoding="utf-8") as stream:
            return yaml.load(stream, loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else path
        raise RescoreError(f"{where}: {getattr(error, 'problem', None) or error}") from None
