"""What the Snakefile calls for all papers together: models, figures, the ledger and the report. No torch."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rescore.config import SCALES, check_choice, validated
from rescore.data.images import images_at_hand
from rescore.data.weights import weights_at_hand
from rescore.errors import RescoreError
from rescore.papers import Paper, find_papers, find_root, load_config
from rescore.specs.model import Trainings
from rescore.workflow.options import Options
from rescore.workflow.paper_rules import NOTHING, PaperRules, place_options
from rescore.workflow.paths import JOB_FILES, LEDGER_FILES, ended_jobs, missing_data, model_folder
from rescore.workflow.rule_text import in_rule, in_shell


@dataclass(frozen=True)
class Suite:
    """All papers at one scale.

    Args:
        unusable: by paper that is left out, what is wrong with its paper.yaml or config.
    """

    options: Options
    root: Path
    papers: Mapping[str, PaperRules]
    unusable: Mapping[str, str] = field(default_factory=dict)

    @property
    def scale(self) -> str:
        return self.options.scale

    @property
    def folder(self) -> str:
        """results/<scale>, as a rule may hold it."""
        return f"{in_rule(self.options.results)}/{self.scale}"

    @property
    def own_rules(self) -> list[str]:
        """The rules.smk of the papers that have one: what the rules of every paper do not cover."""
        paths = (rules.paper.folder / "rules.smk" for rules in self.papers.values())
        return [str(path) for path in paths if path.is_file()]

    @property
    def job_files(self) -> list[str]:
        return [path for rules in self.papers.values() for path in rules.job_files]

    # the rule that draws the figures

    @property
    def figures(self) -> list[str]:
        return [path for rules in self.papers.values() for path in rules.figures.values()]

    def reported(self, report: Callable) -> list[str]:
        """The figures marked for the report with Snakemake's `report`, each with the caption that `rescore figures` leaves."""
        return [
            report(
                path,
                caption=str(Path(path).with_suffix(".rst").absolute()),
                category=rules.paper.meta.title,
                labels={"figure": name.replace("_", " ")},
            )
            for rules in self.papers.values()
            for name, path in rules.figures.items()
        ]

    def _figures_of(self, papers: Iterable[str], options: str = "") -> str:
        return self.command(f"figures {','.join(papers)}{options}")

    @property
    def draw(self) -> str:
        """Draw all figures by processes that import torch once: it takes as long as drawing those of a paper."""
        drawn = (name for name, rules in self.papers.items() if rules.figures)
        return self._figures_of(drawn, " --processes {threads}") + " 2>&1 | tee {log:q}"

    # the rule that trains a model

    @cached_property
    def models(self) -> Mapping[str, Trainings]:
        """All trainings that a job uses, by their key: papers that spell the same spec share one node."""
        configs = [rules.config for rules in self.papers.values() if rules.config]
        used = [of for config in configs for job in config.jobs for of in config.job_trainings(job).values()]
        return {of.key: of for of in used}

    @cached_property
    def wanted_models(self) -> frozenset[str]:
        """The keys of those that a run of everything uses."""
        return frozenset(
            of.key for rules in self.papers.values() for job in rules.wanted for of in rules.known.job_trainings(job).values()
        )

    @cached_property
    def model_names(self) -> Mapping[str, str]:
        """The key of each model that a job uses, by `<paper>/<name>`."""
        configs = {name: rules.config for name, rules in self.papers.items() if rules.config}
        return {
            f"{paper}/{name}": of.key
            for paper, config in configs.items()
            for job in config.jobs
            for name, of in config.job_trainings(job).items()
        }

    def model_key(self, name: str) -> str:
        """The key of a model named by it or by `<paper>/<name>`. Raises RescoreError for another name."""
        if (paper := name.partition("/")[0]) in self.unusable:
            raise RescoreError(self.unusable[paper])
        without = f", without the papers {', '.join(self.unusable)}, which cannot be read," if self.unusable else ""
        check_choice(f"model at scale {self.scale}{without}", name, [*self.model_names, *self.models])
        return self.model_names.get(name, name)

    @cached_property
    def short_models(self) -> list[str]:
        """The keys of those whose trainings take less time than the start of a process: they are trained in one."""
        return [key for key, of in self.models.items() if of.short and key in self.wanted_models]

    @property
    def model_pattern(self) -> str:
        """A regular expression for the wildcard `key`, of a model with a process of its own."""
        return "|".join(key for key in self.models if key not in self.short_models) or NOTHING

    @property
    def model_output(self) -> str:
        return str(model_folder(in_rule(self.options.results), self.scale, "{key}"))

    def within(self, runtime: int | Callable[[Any], int]) -> int | Callable[[Any], int]:
        """A runtime in minutes, or of wildcards, and at most `max_runtime`."""
        longest = self.options.max_runtime
        if longest is None:
            return runtime
        if callable(runtime):
            return lambda wildcards: min(runtime(wildcards), longest)
        return min(runtime, longest)

    def model_resource(self, name: str) -> Callable[[Any], int]:
        """`threads`, `gpu`, `mem_mb` or `runtime` of a model, for Snakemake to ask for."""
        return lambda wildcards: getattr(self.models[wildcards.key].spec, name)

    def model_priority(self, wildcards: Any) -> int:
        """The highest of the jobs that wait for the model."""
        return self._model_priorities[wildcards.key]

    @cached_property
    def _model_priorities(self) -> Mapping[str, int]:
        configs = [rules.config for rules in self.papers.values() if rules.config]
        waiting = [
            (of.key, max(of.spec.priority, config.jobs[job].priority))
            for config in configs
            for job in config.jobs
            for of in config.job_trainings(job).values()
        ]
        return {key: max(priority for its, priority in waiting if its == key) for key, _ in waiting}

    def forget_missing(self, workflow: Any) -> Callable[[Any], list[str]]:
        """An input function of the rules that train: it adds no input, but drops models as `forget`, where jobs are to run.

        Snakemake reads rules for much else, such as a dry run or a report, which shall change nothing.
        """

        def forget(wildcards: Any) -> list[str]:
            runs = workflow.executor_plugin is not None and workflow.is_main_process and not workflow.touch
            if runs:
                self.forget([key] if (key := wildcards.get("key")) else self.short_models, workflow.dryrun)
            return []

        return forget

    def forget(self, keys: Iterable[str], dry: bool = False) -> None:
        """Drop the models not trained for lack of data or weights which lie there now: so this run trains them.

        Those that are another user's stay.

        Args:
            dry: drop none, but say that a run will.
        """
        for key in filter(self._can_be_trained_now, keys):
            if dry:
                _say_once(f"model {key} was not trained for lack of data that are there now; a run that is not dry trains it")
            else:
                with suppress(OSError):
                    shutil.rmtree(model_folder(self.options.results, self.scale, key))

    def _can_be_trained_now(self, key: str) -> bool:
        """Whether a model was not trained for lack of what lies there now; not where one may not look."""
        spec = self.models[key].spec
        try:
            if not missing_data(model_folder(self.options.results, self.scale, key)):
                return False
            there = not spec.weights or weights_at_hand(spec.weights.source, spec.weights.name, spec.weights.sha256)
            return there and images_at_hand(spec.data, spec.split)
        except OSError:
            return False

    @property
    def train(self) -> str:
        """Train a model; its output is shown and kept in the log."""
        return self.command("train {wildcards.key}") + " 2>&1 | tee {log:q}"

    def short_model_outputs(self, directory: Callable) -> list[Any]:
        """The folders of the short models, marked with Snakemake's `directory`."""
        return [directory(self.model_output.format(key=key)) for key in self.short_models]

    @property
    def train_short(self) -> str:
        return self.command(f"train {' '.join(self.short_models)}") + " 2>&1 | tee {log:q}"

    def sources(self, pattern: str) -> list[str]:
        """The files of every paper with such a name (`*claims.py`), from the root: relative where that is the current one."""
        base = Path() if self.root == Path.cwd() else self.root
        paths = (path for rules in self.papers.values() for path in sorted(rules.paper.folder.glob(pattern)))
        return [in_rule(base / path.relative_to(self.root)) for path in paths if path.is_file()]

    @property
    def ledger_code(self) -> list[str]:
        """The code that makes verdicts and tables: they are cheap, so they follow it."""
        return sorted(map(in_rule, (Path(__file__).parents[1] / "ledger").glob("*.py")))

    def command(self, subcommand: str) -> str:
        """A command over the results of this scale; `subcommand` may hold a rule's `{input:q}` and the like."""
        options = f"--scale {self.scale}{place_options(self.options.results, self.root)}"
        return f"python -m rescore {subcommand} {in_shell(options)}"

    def logged(self, subcommand: str) -> str:
        """The same, its output kept in the rule's log and shown if it fails."""
        return f"{self.command(subcommand)} > {{log:q}} 2>&1 || (cat {{log:q}}; false)"

    @property
    def check_claims(self) -> str:
        """Fail, and say why, where a claim is broken."""
        return f"{self.command('claims')} 2> {{log:q}} > /dev/null || (cat {{log:q}}; false)"

    def finished_elsewhere(self, wildcards: Any, input: Iterable[str]) -> list[str]:
        """Files for `rescore collect` that are there already and not in `input`: of other papers' finished jobs.

        Also of papers that this run does not choose: the ledger is of all.
        """
        others = {name: paper for name, paper in find_papers(self.root, {}).items() if name not in self.papers}
        files = [str(path / JOB_FILES[key]) for path in ended_jobs(Path(self.folder), others).values() for key in LEDGER_FILES]
        return [path for path in [*self.job_files, *files] if path not in set(input) and Path(path).is_file()]

    def update_ledger(self, paper: str) -> str:
        """Bring ledger and figures up to date with a paper's jobs (`input.jobs`), show its tables, check its claims."""
        commands = [
            self.command("collect {input.jobs:q} {params.others:q}"),
            self.command("tables --allow-broken") + " > /dev/null",
            *([self._figures_of([paper])] if self.papers[paper].figures else []),
            f"cat {in_shell(shlex.quote(self.folder))}/tables/{paper}-*.md",
            self.command(f"claims --paper {paper}") + " > /dev/null",
        ]
        return " && ".join(commands)

    @property
    def report_code(self) -> list[str]:
        """The code and the templates of the report's pages, which follow them."""
        folder = Path(__file__).parents[1] / "report"
        return sorted(in_rule(path) for name in ("*.py", "templates/*.html", "static/*") for path in folder.glob(name))

    @property
    def report(self) -> str:
        """Make Snakemake's report of what the rule `everything` builds, inside the DAG, hence without its lock; then ours."""
        snakefile = shlex.quote(str(self.root / "Snakefile"))
        results = shlex.quote(f"results={json.dumps(self.options.results)}")  # `--config` reads YAML
        options = f"--snakefile {snakefile} --config scale={self.scale} papers={','.join(self.papers)} {results}"
        options += f" bundle={str(self.options.bundle).lower()}"  # the same DAG
        command = "python -m snakemake everything --report {output.workflow:q} --nolock --workflow-profile none --cores 1"
        pages = self.command("report")
        return f"({command} {in_shell(options)} && {pages}) > {{log:q}} 2>&1 || (cat {{log:q}}; false)"

    @property
    def report_so_far(self) -> str:
        """The command that reports on what has ended, as one types it."""
        return f"rescore report --so-far --scale {self.scale}{place_options(self.options.results, self.root)}"

    def print_summary(self) -> None:
        """The counts of verdicts and where the report is: the last words of a run."""
        folder = Path(self.options.results, self.scale)
        for path in (folder / "tables" / "summary.md", folder / "report" / "index.html"):
            if path.is_file():
                print(path.read_text() if path.suffix == ".md" else f"report: {path}")

    def log(self, rule: str) -> str:
        return f"{self.folder}/logs/{rule}.log"

    @property
    def shell_prefix(self) -> str:
        """Jobs use the Python that runs Snakemake, and their lines reach the log at once."""
        python = in_shell(shlex.quote(str(Path(sys.executable).parent)))
        return f"set -euo pipefail; export PATH={python}:$PATH PYTHONUNBUFFERED=1; "


def load_suite(config: Mapping[str, Any], root: Path | str | None = None, needed: Collection[str] | None = None) -> Suite:
    """Papers and their configs for what `snakemake --config` says; of papers that it does not choose nothing is asked.

    Args:
        needed: papers that have to be usable; others that are not are left out. None: all that are chosen.

    Raises:
        RescoreError: an unknown option, scale or paper, naming the allowed ones; a bad paper.yaml or config.
    """
    given = {key: "" if value is None else value for key, value in config.items()}  # `papers=` is read as None
    options = validated(Options, given, "--config")
    check_choice("scale", options.scale, SCALES)
    root = find_root(root)
    unusable: dict[str, str] = {}
    papers = find_papers(root, unusable)
    for name in (*options.papers, *(needed or ())):
        check_choice("paper", name, papers | unusable)
    asked = options.papers or papers | unusable
    required = asked if needed is None else needed
    unusable = {name: reason for name, reason in unusable.items() if name in asked}
    for name, reason in unusable.items():
        if name in required:
            raise RescoreError(reason)
    chosen = {name: papers[name] for name in asked if name in papers}
    rules = {}
    for name, paper in chosen.items():
        try:
            rules[name] = _rules(paper, options, root)
        except RescoreError as error:
            if name in required:
                raise
            unusable[name] = str(error)
    return Suite(options, root, rules, unusable)


def _rules(paper: Paper, options: Options, root: Path) -> PaperRules:
    config = load_config(paper, options.scale) if options.scale in paper.scales else None
    return PaperRules(paper, options.scale, options.results, root, config, options.bundle)


@cache
def _say_once(text: str) -> None:
    """Snakemake calls an input function more than once."""
    print(text, file=sys.stderr)


def failures(logs: Path | str, since: float) -> Iterable[str]:
    """The last words of what failed: of the logs written from `since` on, in seconds as `time.time` counts them.

    An older log may end in a failure too, of a job that this run does not need or has not come to.
    """
    for path in sorted(Path(logs).glob("*.log")):
        if path.stat().st_mtime < since:
            continue
        lines = path.read_text(errors="replace").splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith(("failed: ", "rescore: error: "))]
        if starts:
            yield "\n".join(lines[starts[-1] :])
