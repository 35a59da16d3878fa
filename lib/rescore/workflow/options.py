"""The options of `snakemake --config`."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from rescore.settings import Settings


def _names(value: Any) -> Any:
    names = [name for name in value.split(",") if name] if isinstance(value, str) else value
    if not names:
        raise ValueError("no name; allowed: names of papers, with commas, or no such option for all")
    return names


def _folder(value: Any) -> Any:
    """A folder's name as one spelling; `--config` reads 2024 as a number."""
    if value == "":
        raise ValueError("no name; allowed: a folder, or the name of one to make")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return os.path.normpath(value) if isinstance(value, str) else value


def _no_file(value: str) -> str:
    """A folder, or the name of one that can be made."""
    if files := [path for path in (Path(value), *Path(value).parents) if path.is_file()]:
        raise ValueError(f"there is a file {files[0]}; allowed: a folder, or the name of one to make")
    return value


class Options(Settings):
    """What `snakemake --config` takes.

    Args:
        scale: one of `SCALES`.
        papers: names, comma-separated; not given: all.
        results: the folder for results, relative to the working directory.
        bundle: all jobs of a paper run in one process: for jobs that take less time than its start. Should one fail, the cells
            of the others are kept.
        max_runtime: minutes, the longest time that a scheduler gives: what asks for more is cut off and goes on at its retry.
    """

    scale: str = "laptop"
    papers: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    results: Annotated[str, BeforeValidator(_folder), AfterValidator(_no_file)] = "results"
    bundle: bool = False
    max_runtime: Annotated[int, Field(ge=1)] | None = None
