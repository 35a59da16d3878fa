"""Files that are either whole or absent, and what JSON or YAML they hold."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

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


def save_arrays(path: Path | str, arrays: Mapping[str, Any], compressed: bool = False) -> None:
    """Write an npz atomically."""
    import numpy as np  # here, for much of the command line needs files and no arrays

    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        (np.savez_compressed if compressed else np.savez)(stream, **arrays)


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
        with open(path, encoding="utf-8") as stream:
            return yaml.load(stream, loader)
    except FileNotFoundError:
        raise RescoreError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else path
        raise RescoreError(f"{where}: {getattr(error, 'problem', None) or error}") from None
