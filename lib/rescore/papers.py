"""Papers are found by their folders: reproductions/<paper>/paper.yaml."""

import importlib
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field, field_validator, model_validator

from rescore.config import SCALES, PaperConfig, check_choice, read_yaml
from rescore.errors import RescoreError
from rescore.files import ConfigLoader
from rescore.settings import Settings

RESERVED = (
    "all",
    "claims",
    "collect",
    "cost",
    "diff",
    "everything",
    "figures",
    "logs",
    "model",
    "models",
    "readme",
    "report",
    "runs",
    "short_models",
    "tables",
)
"""Names of folders under results/<scale>/ and of rules in the Snakefile."""

Value = str | int | float | bool


class ProtocolEntry(Settings):
    """How the published rows that `match` were made: facts the paper or its released settings state, and those we assume."""

    match: dict[str, Value | list[Value]] = {}
    stated: dict[str, Value] = {}
    assumed: dict[str, Value] = {}


class NotRunEntry(Settings):
    """Why the published rows that `match` are not run."""

    match: dict[str, Value | list[Value]] = {}
    reason: str = Field(min_length=1)


class StandIn(Settings):
    """Records that are shown beside published rows measured on something else: never judged.

    Args:
        match: the published rows.
        use: key columns of the record to show instead, e.g. `{dataset: digits, metric: sw2}`; the other columns are the row's.
            `nfe: null` is that of a sampler that chooses its evaluations.
    """

    match: dict[str, Value | list[Value]] = {}
    use: dict[str, Value | None] = Field(min_length=1)


REPEATS = ("runs", "trainings")  # what a candidate that `repeats` another protocol may change


class Candidate(Settings):
    """Another protocol under which the published rows that `match` may have been made, where the paper does not say.

    Args:
        name: of the config's `candidates` too, where its records come of jobs of their own.
        source: where it was found: the authors' code, a baseline's, an assumption.
        use: key columns of its record; the others are the row's. `{name}` stands for the candidate's name, `{variant}` and the
            like for what the row has there.
        protocol: what its record must say, over what `protocols` declare for the row.
        repeats: `main`, or a candidate of the same row, of which this is only more repeats: it has that one's protocol with the
            changes of `protocol` (`REPEATS`), and the two count as one protocol, of which the one with most repeats decides.
    """

    match: dict[str, Value | list[Value]] = {}
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")
    source: str = Field(min_length=1)
    use: dict[str, Value] = Field({"variant": "{variant}@{name}"}, min_length=1)
    protocol: dict[str, Value] = Field(min_length=1)
    repeats: str | None = None

    @model_validator(mode="after")
    def _repeats_change_numbers_of_repeats_alone(self) -> "Candidate":
        if self.repeats and (others := self.protocol.keys() - set(REPEATS)):
            raise ValueError(
                f"candidate {self.name}: protocol: {', '.join(sorted(others))} of one that repeats {self.repeats}; "
                f"allowed: {', '.join(REPEATS)}"
            )
        return self


class PaperMeta(Settings):
    """Content of a `paper.yaml`."""

    title: str
    citation: str
    url: str | None = None
    protocols: list[ProtocolEntry] = []
    candidates: list[Candidate] = []
    stand_ins: list[StandIn] = []
    not_run: list[NotRunEntry] = []
    figures: dict[str, str] = {}

    @field_validator("figures")
    @classmethod
    def _figures_are_functions(cls, figures: dict[str, str]) -> dict[str, str]:
        if wrong := [name for name in figures if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)]:
            raise ValueError(
                f"{wrong[0]!r}: a figure's name is that of its function, and of its file: use a-z, A-Z, 0-9 and '_'"
            )
        return figures


@dataclass(frozen=True)
class Paper:
    """A paper's folder and its `paper.yaml`."""

    name: str
    folder: Path
    meta: PaperMeta

    @property
    def scales(self) -> list[str]:
        """The scales for which the paper has a config file."""
        return [scale for scale in SCALES if self.config_path(scale).is_file()]

    def config_path(self, scale: str) -> Path:
        return self.folder / "configs" / f"{scale}.yaml"

    def module(self, name: str) -> ModuleType:
        """Import `reproductions.<paper>.<name>`.

        Raises RescoreError, with the place, if there is no such file, or its code fails; what it raised is the `__cause__`.
        """
        path = self.folder / f"{name}.py"
        if not path.is_file():
            raise RescoreError(f"{path}: no such file")
        use_root(self.folder.parents[1])
        try:
            return importlib.import_module(f"reproductions.{self.name}.{name}")
        except RescoreError:
            raise
        except (Exception, SystemExit) as error:
            what = error.msg if isinstance(error, SyntaxError) else error  # which ends in the file and line that `_place` gives
            place = _place(error, self.folder, path)
            raise RescoreError(f"{place}: cannot be imported: {type(error).__name__}: {what}") from error

    def value(self, module: str, name: str) -> Any:
        """What a module of the paper calls `name`; raises RescoreError as `module`, or if there is nothing of that name."""
        found = self.module(module)
        if not hasattr(found, name):
            raise RescoreError(f"{self.folder / f'{module}.py'}: has no {name}")
        return getattr(found, name)


def _place(error: BaseException, folder: Path, path: Path) -> str:
    """`<file>, line <n>` in the paper's folder that an error comes from, as far as it is known; else `path`."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [(file, line) for file, line in places if Path(file).is_relative_to(folder)]
    file, line = own[-1] if own else (str(path), None)
    return f"{file}, line {line}" if line else file


_modules: dict[str, dict[str, ModuleType]] = {}  # by root, those of `reproductions` that another root has put aside


def use_root(root: Path) -> None:
    """From here on `reproductions` is the package of this root; a root that was in use before finds its own modules again."""
    names = [name for name in sys.modules if name == "reproductions" or name.startswith("reproductions.")]
    now, loaded = str(root), {name: sys.modules[name] for name in names}
    if sys.path[0] != now:
        sys.path[:] = [now, *(place for place in sys.path if place != now)]
    before = next(
        (str(Path(file).resolve().parents[2]) for module in loaded.values() if (file := getattr(module, "__file__", None))), now
    )
    if before != now:
        _modules[before] = loaded
        for name in loaded:
            del sys.modules[name]
        sys.modules.update(_modules.pop(now, {}))


def find_root(root: Path | str | None = None) -> Path:
    """The folder that holds `reproductions/`: `root`, else the working directory, else the checkout this file lies in."""
    candidates = [Path(root)] if root is not None else [Path.cwd(), Path(__file__).parents[2]]
    for candidate in candidates:
        if (candidate / "reproductions").is_dir():
            return candidate.resolve()
    raise RescoreError(f"{candidates[0]}: no folder reproductions/ here; run in the repository or name it with --root")


def _paper_files(root: Path | str | None) -> dict[str, Path]:
    """Where the `paper.yaml` of each paper is, by name, sorted."""
    return {path.parent.name: path for path in sorted((find_root(root) / "reproductions").glob("*/paper.yaml"))}


def _read_paper(name: str, path: Path) -> Paper:
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in RESERVED:
        raise RescoreError(
            f"{path.parent}: a paper's name is a-z, 0-9 and '_', from a letter on, and not one of {', '.join(RESERVED)}"
        )
    return Paper(name, path.parent, read_yaml(path, PaperMeta))


def find_papers(root: Path | str | None = None, unusable: dict[str, str] | None = None) -> dict[str, Paper]:
    """All papers by name, sorted.

    Args:
        unusable: takes, by paper, what is wrong with its name or its paper.yaml, and the paper is left out.

    Raises:
        RescoreError: what is wrong in one of them, without `unusable`.
    """
    papers = {}
    for name, path in _paper_files(root).items():
        try:
            papers[name] = _read_paper(name, path)
        except RescoreError as error:
            if unusable is None:
                raise
            unusable[name] = str(error)
    return papers


def load_paper(name: str, root: Path | str | None = None) -> Paper:
    """One paper; raises RescoreError naming the known ones. Of the others nothing is read."""
    files = _paper_files(root)
    check_choice("paper", name, files)
    return _read_paper(name, files[name])


def load_config(paper: Paper, scale: str) -> Any:
    """The `config.Config` of a paper at a scale.

    Raises:
        RescoreError: unknown scale, a scale at which the paper has no config, or whatever is wrong in the file.
    """
    check_choice("scale", scale, SCALES)
    check_choice(f"scale for paper {paper.name}", scale, paper.scales)
    path = paper.config_path(scale)
    config = read_yaml(path, _config_class(paper), ConfigLoader)
    for job, settings in config.jobs.items():
        if not settings.steps:
            raise RescoreError(f"{path}: jobs.{job}.measure: no section; allowed: one or more")
        if not re.fullmatch("[a-z0-9][a-z0-9_.-]*", job):
            raise RescoreError(
                f"{path}: jobs.{job}: a job's name is a part of a path: use a-z, 0-9, '-', '_' and '.', "
                "from a letter or digit on"
            )
    for name in config.candidates:  # named, with a source, before it is run
        check_choice(f"candidate of {path}, which paper.yaml must declare,", name, [one.name for one in paper.meta.candidates])
    return config


def _config_class(paper: Paper) -> type[PaperConfig]:
    found = paper.value("config", "Config")
    if not (isinstance(found, type) and issubclass(found, PaperConfig)):
        raise RescoreError(f"{paper.folder / 'config.py'}: Config is no rescore.config.PaperConfig")
    return found
