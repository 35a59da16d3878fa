"""Configs: read a YAML file into a pydantic model with clear errors, and hash what a job's numbers depend on."""

import difflib
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from rescore.domain import check_one_of
from rescore.errors import RescoreError
from rescore.files import Loader, load_yaml
from rescore.settings import Settings

SCALES = ("smoke", "laptop", "gpu", "paper")
REPORTED = tuple(scale for scale in SCALES if scale != "smoke")
"""Whose references a report of all shows: smoke's numbers mean nothing but "unchanged", and its pages are as many."""
THREADS_PER_GPU = 4  # what a job on one does on the CPU besides, such as metrics, is slow in one
MEMORY_PER_GPU = 8000  # MiB: a process of torch and CUDA takes more than 2000, whatever the network
RESOURCES = frozenset({"threads", "gpu", "mem_mb", "runtime", "priority"})

M = TypeVar("M", bound=BaseModel)


def run_command(scale: str, results: Path | str = "results", root: Path | None = None, target: str = "") -> str:
    """The command that makes the results of a scale, for messages about missing ones.

    Args:
        results, root: where results and papers lie; the usual places need no option.
        target: of the DAG, such as a paper; empty for all.
    """
    base = "" if root in (None, Path.cwd()) else f"{root}/"
    words = ["snakemake", *(["--snakefile", f"{base}Snakefile"] if base else [])]
    words += [] if scale == "laptop" else ["--profile", f"{base}profiles/{scale}"]
    words += [target] if target else []  # before --config, which takes all that follows
    words += [] if str(results) == "results" else ["--config", f"results={results}"]
    return shlex.join(words)


class Resources(Settings):
    """What a process is given.

    Args:
        threads: torch threads; also what Snakemake counts against its cores. Not given: 1, or `THREADS_PER_GPU` for each GPU.
        gpu: GPUs, 0 to run on the CPU.
        mem_mb: memory of the host in MiB. Not given: 2000, or `MEMORY_PER_GPU` for each GPU.
        runtime: minutes.
        priority: processes with a higher one start first.
    """

    unhashed: ClassVar[frozenset[str]] = RESOURCES
    """Fields of which no hash depends, so that a change of them re-runs nothing: they do not say what is computed. `gpu` moves
    numbers all the same, for networks run in bf16 on one; the records' `device` says so. Subclasses may add to it."""

    threads: int = Field(1, ge=1)
    gpu: int = Field(0, ge=0)
    mem_mb: int = Field(2000, ge=1)
    runtime: int = Field(60, ge=1)
    priority: int = 0

    @model_validator(mode="before")
    @classmethod
    def _a_gpu_has_threads_and_memory(cls, content: Any) -> Any:
        gpu = content.get("gpu") if isinstance(content, dict) else None
        if isinstance(gpu, int) and gpu > 0:
            return {"threads": THREADS_PER_GPU * gpu, "mem_mb": MEMORY_PER_GPU * gpu} | content
        return content


@dataclass(frozen=True)
class Step:
    """One section of a job, for one subject (a data set, a process) where the paper's sections have such.

    `str(step)` names it within the job.
    """

    section: str
    subject: str | None = None

    def __str__(self) -> str:
        return self.section if self.subject is None else f"{self.subject} {self.section}"


class JobConfig(Resources):
    """One job: its resources, and the sections that it runs one after another.

    Args:
        measure: sections of the paper's `jobs.py`; or by subject, such as a data set, those to run for it.
        on_request: it is no part of a run of everything: it runs when it, or a file of it, is asked for by name, and is
            collected from then on.
        candidate: the job measures under this candidate protocol, one of the config's `candidates`, and its records say so.
        instead: settings of the config that are others in this job, spelled as there, such as a shorter table on a network of
            larger images. What it measures has other keys than the other jobs' records: of another data set, say.

    Attributes:
        subjects_of: by section the `Literal` of its subjects, where not every subject has all sections.
    """

    subjects_of: ClassVar[Mapping[str, Any]] = {}
    unhashed = RESOURCES | {"on_request", "instead"}  # what is `instead` is hashed as the settings that it changes

    on_request: bool = False
    measure: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    candidate: str | None = None
    instead: dict[str, Any] = {}

    @model_validator(mode="after")
    def _sections_fit_their_subjects(self) -> "JobConfig":
        for step in self.steps if self.subjects_of else ():
            allowed = [section for section, subjects in self.subjects_of.items() if step.subject in get_args(subjects)]
            if step.section not in allowed:
                where = "measure" if step.subject is None else f"measure.{step.subject}"
                raise ValueError(f"{where}: {step.section}; allowed: {', '.join(allowed)}")
        return self

    @property
    def steps(self) -> list[Step]:
        if isinstance(self.measure, dict):
            return [Step(section, subject) for subject, sections in self.measure.items() for section in sections]
        return [Step(section) for section in self.measure]


class SectionSettings(Settings):
    """Settings that only some sections read: a change of them runs those anew and no others.

    Attributes:
        sections: their names; by default the one that the field of `Config` is named like.
    """

    sections: ClassVar[tuple[str, ...]] = ()


class PaperConfig(Settings):
    """One paper at one scale.

    A paper's `config.Config` narrows `jobs` to its own job model and adds settings: those of sections are `SectionSettings`,
    all others are shared by all sections.

    Args:
        protocol_version: raised by hand when the code changes in a way that alters records: every job runs again.
        jobs: the jobs by name; a name is a part of a path.
        candidates: candidate protocols by name, each the settings that differ from the main ones, spelled as here. Only jobs
            that name one depend on it; `paper.yaml` says which printed numbers it may explain, and where it comes from.
    """

    by_subject: ClassVar[tuple[str, ...]] = ("datasets",)
    """Shared settings that hold an entry for each subject: a step depends on its own subject's alone, and where the entry has
    `SectionSettings`, on its own section's."""

    section_versions: ClassVar[Mapping[str, int]] = {}
    """By section, raised by hand when its code changes in a way that alters its numbers alone: only jobs with it run again."""
    protocol_version: int = 3
    jobs: Mapping[str, JobConfig] = {}
    candidates: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _candidates_are_settings(self) -> "PaperConfig":
        for name, changes in self.candidates.items():
            self._changed(changes, f"candidates.{name}", "a candidate")
        for name, job in self.jobs.items():
            self._changed(job.instead, f"jobs.{name}.instead", "a single job")
            if job.candidate is not None and job.candidate not in self.candidates:
                allowed = ", ".join(nearest_first(job.candidate, self.candidates)) or "(none)"
                raise ValueError(f"jobs.{name}.candidate: {job.candidate} is unknown; allowed: {allowed}")
        return self

    def under(self, job: str) -> Self:
        """The config as a job has it: with its own settings, and then with those of its candidate."""
        one = self.jobs[job]
        own = self._changed(one.instead, f"jobs.{job}.instead", "a single job")
        candidate = {} if one.candidate is None else self.candidates[one.candidate]
        return own._changed(candidate, f"candidates.{one.candidate}", "a candidate")

    def _changed(self, changes: Mapping[str, Any], source: str, of: str) -> Self:
        """With these settings; raises ValueError, with their place `source`, for what is no setting `of` whoever has them."""
        if others := {"jobs", "candidates"} & changes.keys():
            raise ValueError(f"{source}: {', '.join(sorted(others))} is no setting of {of}; allowed: others")
        if not changes:
            return self
        main = {name: value for name, value in _given(self).items() if name not in ("jobs", "candidates")}
        try:
            changed = type(self).model_validate(_merged(main, changes) | {"jobs": {}})
        except ValidationError as error:
            lines = [_describe(type(self), problem, source) for problem in error.errors(include_url=False)]
            raise ValueError("; ".join(lines)) from None
        return changed.model_copy(update={"jobs": self.jobs, "candidates": self.candidates})

    @model_validator(mode="after")
    def _subjects_have_settings(self) -> "PaperConfig":
        for settings in (getattr(self, name) for name in self.by_subject if name in type(self).model_fields):
            for name, step in ((name, step) for name, job in self.jobs.items() for step in job.steps):
                if step.subject is not None and step.subject not in settings:
                    raise ValueError(f"jobs.{name}.measure: {step.subject} has no settings; allowed: {', '.join(settings)}")
        return self

    @model_validator(mode="after")
    def _sections_have_settings(self) -> "PaperConfig":
        """Settings of sections may be None at a scale that runs none of these."""
        none = {
            name: kind.sections or (name,)
            for name, field in type(self).model_fields.items()
            if getattr(self, name) is None
            for kind in _models(field.annotation)
            if issubclass(kind, SectionSettings)
        }
        for job, step in ((job, step) for job, settings in self.jobs.items() for step in settings.steps):
            for name in (name for name, sections in none.items() if step.section in sections):
                raise ValueError(f"jobs.{job}.measure: {step} needs the settings `{name}`")
        return self

    def job_dependencies(self, job: str) -> dict[str, Any]:
        """What the numbers of all sections of `job` depend on (it is hashed): its own settings and the shared ones."""
        settings = self.jobs[job]
        needs = self.model_dump(mode="json", exclude={"jobs", "candidates", *_section_fields(self)})
        subjects = {step.subject for step in settings.steps} - {None}
        for name in needs.keys() & {*self.by_subject} if subjects else ():
            needs[name] = {subject: value for subject, value in needs[name].items() if subject in subjects}
        unhashed = {*settings.unhashed, "measure", *(() if settings.candidate else ("candidate",))}
        return needs | {"job": settings.model_dump(mode="json", exclude=unhashed)}

    def step_dependencies(self, job: str, step: Step) -> dict[str, Any]:
        """What the numbers of one step depend on: those of the job, its subject's alone, and the section's own settings."""
        needs = self.job_dependencies(job) | {"section": step.section, "subject": step.subject}
        needs |= {"section_version": self.section_versions[step.section]} if step.section in self.section_versions else {}
        for name in self.by_subject if step.subject else ():
            if name in needs and step.subject in needs[name]:
                settings = getattr(self, name)[step.subject]
                others = {field for field, of in _section_fields(settings).items() if step.section not in of}
                needs[name] = settings.model_dump(mode="json", exclude=others)
        own = {name for name, of in _section_fields(self).items() if step.section in of}
        return needs | self.model_dump(mode="json", include=own)

    def job_trainings(self, job: str) -> Mapping[str, Any]:
        """The nodes of the DAG that train the models of `job`, by the paper's names; see `rescore.specs.model.Trainings`."""
        return {}

    def data_fingerprint(self, job: str) -> str:
        """Which data `job` would find now; a job runs again when this changes. Cheap: no download, no digest, no torch."""
        return ""


def presence(at_hand: bool) -> str:
    """What a `data_fingerprint` says of one data set."""
    return "present" if at_hand else "absent"


def _given(settings: Any) -> Any:
    """Settings as plain values, without the defaults of single ones, which may follow from others that change."""
    if isinstance(settings, BaseModel):
        return {
            name: _given(value)
            for name, value in settings
            if name in settings.model_fields_set or isinstance(value, BaseModel | Mapping)
        }
    if isinstance(settings, Mapping):
        return {name: _given(value) for name, value in settings.items()}
    return [_given(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _merged(main: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`main` with the changes, which go into its mappings."""
    both = {
        name: _merged(main[name], value)
        for name, value in changes.items()
        if isinstance(value, Mapping) and isinstance(main.get(name), Mapping)
    }
    return {**main, **changes, **both}


def _section_fields(settings: Settings) -> dict[str, tuple[str, ...]]:
    """By the name of a field with settings of sections, those sections."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {name: value.sections or (name,) for name, value in values.items() if isinstance(value, SectionSettings)}


def read_yaml(path: Path, model: type[M], loader: type[yaml.SafeLoader] = Loader) -> M:
    """Read `path` as a `model`; raises RescoreError with one line for each problem."""
    content = load_yaml(path, loader)
    return validated(model, {} if content is None else content, str(path))


def validated(model: type[M], content: Any, source: str) -> M:
    """`content` as a `model`.

    Raises:
        RescoreError: one line for each problem: `source`, the dotted key, what is wrong and, for an unknown key, the
            allowed ones, nearest first.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # a default that follows from other settings is missing where these are wrong: they are what is named
        lines = [_describe(model, problem, source) for problem in problems if problem["type"] != "default_factory_not_called"]
        raise RescoreError("\n".join(lines)) from None


def typed_settings(of: type, settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Free settings with the types that the dataclass `of` declares: text of a number is a number.

    What it does not declare, and a choice of several, stays as it is, for its constructor to refuse.

    Raises:
        RescoreError: `source`, the setting, and what is wrong with it.
    """
    hints, typed = get_type_hints(of), dict(settings)
    for name, value in settings.items():
        if name in hints and get_origin(hints[name]) is not Literal:
            try:
                typed[name] = TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                message = error.errors(include_url=False)[0]["msg"]
                raise RescoreError(f"{source}: setting {name}: {message[0].lower()}{message[1:]}, not {value!r}") from None
    return typed


def _describe(model: type[BaseModel], problem: Mapping[str, Any], source: str) -> str:
    location = problem["loc"]
    unknown = problem["type"] == "extra_forbidden"
    key, models = _walk(model, location[:-1] if unknown else location)
    if not unknown:
        got = "" if problem["type"] == "missing" or isinstance(problem["input"], dict) else f", not {problem['input']!r}"
        message = problem["msg"].removeprefix("Value error, ")
        return f"{source}: {'.'.join(key) or '(top level)'}: {message[0].lower()}{message[1:]}{got}"
    name = str(location[-1])
    allowed = nearest_first(name, {field for candidate in models for field in candidate.model_fields})
    return f"{source}: {'.'.join([*key, name])}: unknown key; allowed: {', '.join(allowed)}"


def _walk(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow a pydantic error's location: the keys as the file spells them, and the models that it leads to."""
    keys, here = [], [model]
    for part in location:
        fields = [candidate.model_fields[part].annotation for candidate in here if part in candidate.model_fields]
        if tagged := [] if fields else [candidate for candidate in here if part in _tags(candidate)]:
            here = tagged  # the tag of a union: not a key of the file
            continue
        keys.append(str(part))
        here = [found for annotation in fields for found in _models(annotation)] if fields else here
    return keys, here


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside `dict[str, Settings]`, `list[A | B]` and the like."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [found for argument in get_args(annotation) for found in _models(argument)]


def _tags(model: type[BaseModel]) -> set[Any]:
    literals = [field.annotation for field in model.model_fields.values() if get_origin(field.annotation) is Literal]
    return {model.__name__}.union(*map(get_args, literals))


def nearest_first(name: str, allowed: Any) -> list[str]:
    """`allowed` as a list, the ones most like `name` first: for error messages."""
    return sorted(set(allowed), key=lambda other: (-difflib.SequenceMatcher(None, name, other).ratio(), other))


def check_choice(what: str, name: Any, allowed: Any) -> None:
    """As `check_one_of` for a name among many: RescoreError `unknown <what> <name>; allowed: ...`, the nearest first."""
    if name not in allowed:
        check_one_of(f"unknown {what}", name, nearest_first(str(name), allowed))


def config_hash(model: BaseModel | Mapping[str, Any], *extra: str) -> str:
    """12 hex digits of the SHA-256 of the canonical JSON of `model` and `extra`; a job's resources do not count."""
    if isinstance(model, BaseModel):
        model = model.model_dump(mode="json", exclude=set(getattr(model, "unhashed", ())))
    text = json.dumps([model, *extra], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def step_hash(config: PaperConfig, paper: str, job: str, step: Step) -> str:
    """The hash of what a step of `job` depends on: the name of its run folder."""
    return config_hash(config.under(job).step_dependencies(job, step), paper)


def job_hash(config: PaperConfig, paper: str, job: str) -> str:
    """The hash of what `job` depends on, with its own name: it runs again when this changes."""
    config = config.under(job)
    steps = [step_hash(config, paper, job, step) for step in config.jobs[job].steps]
    return config_hash(config.job_dependencies(job) | {"steps": steps}, paper, job)
