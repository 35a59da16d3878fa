"""What the rules of one paper need: jobs, paths, params and commands. No torch."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rescore.config import JobConfig, PaperConfig, job_hash
from rescore.errors import RescoreError
from rescore.papers import Paper
from rescore.workflow.paths import JOB_FILES, LEDGER_FILES, figure_folder, job_folder, log_path, model_folder
from rescore.workflow.rule_text import in_rule, in_shell

NOTHING = "(?!)"  # a regular expression that matches no text


def job_command(paper: str, scale: str, job: str, results: str = "results", root: Path | None = None) -> str:
    """The command that runs one job alone; a `root` that is the working directory needs no option."""
    return f"python -m rescore run {paper} measure --scale {scale} --job {job}{place_options(results, root)}"


def place_options(results: str, root: Path | None) -> str:
    """Where results and papers lie, as options of a command; none for the usual places."""
    options = {"--results": None if results == "results" else results, "--root": None if root in (None, Path.cwd()) else root}
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in options.items() if value is not None)


@dataclass(frozen=True)
class PaperRules:
    """What a paper's rules need, at one scale. A job's paths hold the wildcard `{job}`."""

    paper: Paper
    scale: str
    results: str
    root: Path
    config: PaperConfig | None  # None: the paper has no jobs at this scale
    bundle: bool = False

    @property
    def known(self) -> PaperConfig:
        """The config of a paper that has jobs at this scale."""
        assert self.config is not None, f"{self.name} has no jobs at scale {self.scale}"
        return self.config

    @property
    def _results(self) -> str:
        return in_rule(self.results)

    @property
    def name(self) -> str:
        return self.paper.name

    @property
    def jobs(self) -> list[str]:
        return list(self.config.jobs) if self.config else []

    @property
    def wanted(self) -> list[str]:
        """The jobs of a run of everything."""
        return [job for job in self.jobs if not self.known.jobs[job].on_request]

    def _job(self, wildcards: Any) -> JobConfig:
        return self.known.jobs[wildcards.job]

    # the rule that runs a job, or of a bundle all: then what a job needs is what one of them needs, and resources are the most

    @property
    def bundled(self) -> list[str]:
        """The jobs that share a process; none without `bundle`, or on GPUs."""
        jobs = self.wanted if self.bundle else []
        return [] if any(self.known.jobs[job].gpu for job in jobs) else jobs

    def _all(self, of: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
        return lambda wildcards: [of(SimpleNamespace(job=job)) for job in self.bundled]

    @property
    def bundle_outputs(self) -> list[str]:
        return [path.format(job=job) for job in self.bundled for path in self.outputs.values()]

    @property
    def bundle_logs(self) -> list[str]:
        return [self.job_log.format(job=job) for job in self.bundled]

    @property
    def bundle_hash(self) -> Callable[[Any], list[str]]:
        return self._all(self.hash)

    @property
    def bundle_data(self) -> Callable[[Any], list[str]]:
        return self._all(self.data)

    def bundle_models(self, wildcards: Any) -> list[str]:
        return list(dict.fromkeys(path for paths in self._all(self.models)(wildcards) for path in paths))

    def bundle_resource(self, name: str) -> int:
        """The most that one of the jobs asks for."""
        return max(getattr(self.known.jobs[job], name) for job in self.bundled)

    @property
    def run_bundle(self) -> str:
        """Run all jobs of the bundle; each job's log holds what all have said."""
        return self._run_jobs(" ".join(self.bundled))

    @property
    def job_pattern(self) -> str:
        """A regular expression for the wildcard `job`."""
        return "|".join(re.escape(job) for job in self.jobs if job not in self.bundled) or NOTHING

    @property
    def outputs(self) -> dict[str, str]:
        folder = job_folder(self._results, self.scale, self.name, "{job}")
        return {key: str(folder / name) for key, name in JOB_FILES.items()}

    @property
    def job_log(self) -> str:
        return str(log_path(self._results, self.scale, self.name, "{job}"))

    def hash(self, wildcards: Any) -> str:
        """What the job's numbers depend on: a job runs again when it changes."""
        return job_hash(self.known, self.name, wildcards.job)

    def data(self, wildcards: Any) -> str:
        """Which data there are now: a job that was skipped for lack of data runs once they appear.

        Raises RescoreError for a folder that this user may not enter.
        """
        try:
            return self.known.data_fingerprint(wildcards.job)
        except OSError as error:
            raise RescoreError(f"{error.filename}: {error.strerror}") from None

    def models(self, wildcards: Any) -> list[str]:
        """The folders of the trained models that the job uses."""
        trainings = self.known.job_trainings(wildcards.job).values()
        return [str(model_folder(self._results, self.scale, of.key)) for of in trainings]

    def threads(self, wildcards: Any) -> int:
        return self._job(wildcards).threads

    def priority(self, wildcards: Any) -> int:
        return self._job(wildcards).priority

    def gpu(self, wildcards: Any) -> int:
        return self._job(wildcards).gpu

    def mem_mb(self, wildcards: Any) -> int:
        return self._job(wildcards).mem_mb

    def runtime(self, wildcards: Any) -> int:
        return self._job(wildcards).runtime

    @property
    def run(self) -> str:
        """Run a job; its output is shown and kept in the log."""
        return self._run_jobs("{wildcards.job}")

    def _run_jobs(self, jobs: str) -> str:
        command = job_command(self.name, self.scale, jobs)
        return f"{command}{in_shell(place_options(self.results, self.root))} 2>&1 | tee {{log:q}}"

    @property
    def figures(self) -> dict[str, str]:
        """The paths of all figures by their names; none without jobs."""
        folder = figure_folder(self._results, self.scale, self.name)
        return {name: str(folder / f"{name}.png") for name in self.paper.meta.figures} if self.wanted else {}

    # what there is to build

    @property
    def job_files(self) -> list[str]:
        """What `rescore collect` reads: two files a job, of those `on_request` if they have run."""
        asked = [job for job in self.jobs if job not in self.wanted and Path(self.outputs["records"].format(job=job)).is_file()]
        return [self.outputs[key].format(job=job) for job in [*self.wanted, *asked] for key in LEDGER_FILES]
