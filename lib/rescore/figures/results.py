"""A paper's results at one scale, which its figures are drawn from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rescore.config import PaperConfig
from rescore.errors import RescoreError
from rescore.figures.sheets import NOT_MEASURED, add_notes, sheet
from rescore.files import read_arrays
from rescore.ledger.published import Published, read_published
from rescore.ledger.records import Record, collect_records, matcher, read_skipped
from rescore.papers import Paper, load_config
from rescore.workflow.paths import JOB_FILES, job_folder

Row = TypeVar("Row", Record, Published)


@dataclass(frozen=True)
class PaperResults:
    """What a paper's finished jobs left at one scale: what a figure is drawn from.

    Args:
        folder: results/<scale>.
    """

    folder: Path
    paper: Paper
    config: PaperConfig

    @classmethod
    def open(cls, folder: Path | str, paper: Paper) -> "PaperResults":
        """Of results/<scale>; raises RescoreError if the paper has no config for that scale."""
        return cls(Path(folder), paper, load_config(paper, Path(folder).name))

    @property
    def scale(self) -> str:
        return self.folder.name

    def file(self, job: str, kind: str) -> Path:
        """One of `rescore.workflow.paths.JOB_FILES` of a job."""
        return job_folder(self.folder.parent, self.scale, self.paper.name, job) / JOB_FILES[kind]

    def _files(self, kind: str) -> list[Path]:
        return [path for job in self.config.jobs if (path := self.file(job, kind)).is_file()]

    @cached_property
    def records(self) -> list[Record]:
        return collect_records(self._files("records"), self.scale)

    @cached_property
    def published(self) -> list[Published]:
        """The paper's printed numbers."""
        return read_published(self.paper.folder / "published.csv", self.paper.name)

    def select(self, **columns: object) -> list[Record]:
        """The records whose key columns have these values, or one of these if a list is given, in the order of their nfe."""
        return select(self.records, **columns)

    def one(self, **columns: object) -> Record | None:
        """The only such record, or None. Raises RescoreError if there are several."""
        found = self.select(**columns)
        if len(found) > 1:
            raise RescoreError(f"figure of {self.paper.name}: {len(found)} records have {columns}; allowed: one")
        return found[0] if found else None

    @property
    def trained_data(self) -> str | None:
        """The data set of the trained networks, None where there are none: it has the floors `real images`.

        Of several that of the config's first model: `<name>@<data set>` have figures of their own.
        """
        measured = {record.dataset: None for record in self.records if record.method == "real images"}
        models = getattr(self.config, "models", {}).values()
        return next((spec.data for spec in models if spec.data in measured), next(iter(measured), None))

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of all jobs by name."""
        arrays: dict[str, np.ndarray] = {}
        for path in self._files("arrays"):
            try:
                arrays |= read_arrays(path)
            except RescoreError as error:
                raise RescoreError(f"{error}; remove it and run the job again") from None
        return arrays

    def jobs_of(self, subject: str, sections: Iterable[str] | None = None) -> list[str]:
        """The jobs that run one of these sections, or any, for a subject."""
        wanted = None if sections is None else set(sections)
        run = {name: {step.section for step in job.steps if step.subject == subject} for name, job in self.config.jobs.items()}
        return [name for name, of in run.items() if (of if wanted is None else of & wanted)]

    def why_missing(self, subject: str, sections: Iterable[str] | None = None) -> str:
        """Why these sections left nothing for a subject: the reason that a job gave, else the jobs that would fill the gap."""
        jobs = self.jobs_of(subject, sections)
        for path in (self.file(job, "skipped") for job in jobs):
            for row in read_skipped(path) if path.is_file() else ():
                if row.get("dataset", subject) == subject:
                    return f"skipped: {row['reason']}"
        return f"not run: {'jobs' if len(jobs) > 1 else 'job'} {join_names(jobs)}" if jobs else NOT_MEASURED

    def named_arrays(self, names: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Those arrays of these names that there are, by their labels: what `image_rows` draws."""
        return {label: self.arrays[name] for label, name in names.items() if name in self.arrays}

    @contextmanager
    def sheet(
        self, out: Path, n: int, columns: int, size: tuple[float, float], *notes: str, **subplots: Any
    ) -> Iterator[tuple[Figure, list[Axes]]]:
        """`rescore.figures.sheets.sheet` with the scale and these notes below it."""
        with sheet(out, n, columns, size, **subplots) as (figure, axes):
            yield figure, axes
            if n:
                add_notes(figure, f"Scale {self.scale}. {notes[0] if notes else ''}".rstrip(), *notes[1:])


def select(rows: Iterable[Row], **columns: object) -> list[Row]:
    """The rows, measured or printed, whose key columns have these values, or one of these if a list is given, by their nfe."""
    return sorted(filter(matcher(columns), rows), key=lambda row: row.nfe or 0)


def join_names(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
