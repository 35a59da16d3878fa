"""Paths and commands as the text of Snakemake's rules, in which braces mean something."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def in_shell(command: str) -> str:
    """A command as text of a rule's `shell`, in which a brace is doubled."""
    return command.replace("{", "{{").replace("}", "}}")


def in_rule(path: Path | str) -> str:
    """A path as a rule may hold it: in one, `{...}` is a wildcard and `<...>` a variable, and nothing escapes them.

    A folder named with such is reached by a link in `.snakemake` of the working directory; other paths stay as they are.
    """
    path = Path(path)
    odd = [number for number, part in enumerate(path.parts, 1) if set(part) & set("{}<>")]
    if not odd:
        return str(path)
    folder = Path(os.path.abspath(Path(*path.parts[: odd[-1]])))  # noqa: PTH100 - links of the user's stay as named
    rest = path.parts[odd[-1] :]
    folder.mkdir(parents=True, exist_ok=True)  # Snakemake makes no folder through a link to nothing
    link = Path(".snakemake", "links", hashlib.sha256(os.fsencode(folder)).hexdigest()[:12])
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(folder, target_is_directory=True)
    return str(link.joinpath(*rest))
