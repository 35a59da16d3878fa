"""`snakemake --logger rescore`: one line for each job that ends, with its verdicts and the time left by the reference's costs.

From the first verdicts on, a process beside the run writes the report of the jobs that have ended, `rescore report --so-far`.

Snakemake finds the plugin by the name of this package. Warnings and errors are shown as they are; bars of running jobs come
from the jobs themselves.
"""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from logging import WARNING, LogRecord
from pathlib import Path
from typing import Any

from rescore.ledger.cost import COST, cost_by_rule
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

KNOWN = 0.03  # of the whole cost: so much must be done before the rest is foretold
RENEWED = 300.0  # seconds between two reports of the jobs that have ended; writing one takes some seconds of one core


def words(seconds: float) -> str:
    """A duration as a reader says it: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class Forecast:
    """The time left, from what jobs cost when the reference was made and how fast this run spends that cost.

    Args:
        costs: CPU seconds by (rule, job), as `cost_by_rule` gives.
        planned: jobs to run by rule; what the reference does not know counts as its rule's mean, of an unknown rule nothing.
    """

    def __init__(self, costs: Mapping[tuple[str, str], float], planned: Mapping[str, int]):
        self.costs, self.means = costs, {}
        for name in {rule for rule, _ in costs}:
            known = [cost for (rule, _), cost in costs.items() if rule == name]
            self.means[name] = sum(known) / len(known)
        self.left = sum(self.means.get(rule, 0.0) * count for rule, count in planned.items())
        self.done = 0.0

    def finish(self, rule: str, job: str) -> None:
        cost = self.costs.get((rule, job), self.means.get(rule, 0.0))
        self.done += cost
        self.left = max(self.left - cost, 0.0)

    def seconds_left(self, elapsed: float) -> float | None:
        """None as long as too little is done to tell, or if nothing is known."""
        if not self.done or self.done < KNOWN * (self.done + self.left):
            return None
        return self.left * elapsed / self.done


def verdicts(outputs: Iterable[Path]) -> str:
    """What a job's records say of printed numbers: `3 printed numbers: 2 reproduced, 1 off`; empty if they are of none.

    Empty too for files that cannot be read: whoever reads them for the tables says why.
    """
    from rescore.errors import RescoreError
    from rescore.ledger.diff import STATUSES, diff  # seconds to import, while the jobs go on
    from rescore.ledger.published import load_published
    from rescore.ledger.records import collect_records
    from rescore.papers import find_papers

    try:
        records = collect_records(path for path in outputs if path.name == "records.csv")
        ours = find_papers(unusable={})
        papers = {name: ours[name] for name in {record.paper for record in records} if name in ours}
        found = Counter(diff(records, load_published(papers), papers)["status"]) if papers else Counter()
    except (RescoreError, OSError):
        return ""
    del found["not-run"]
    of = ", ".join(f"{found[status]} {status}" for status in STATUSES if found[status])
    return f"{found.total()} printed number{'s' * (found.total() > 1)}: {of}" if of else ""


def started(command: list[str]) -> subprocess.Popen[bytes]:
    """A process that says nothing."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class ReportSoFar:
    """The report of the jobs that have ended, which a process of its own writes while the others go on.

    Args:
        start: starts a command and gives its process.
        clock: seconds.
    """

    def __init__(self, start: Callable[[list[str]], Any] = started, clock: Callable[[], float] = time.monotonic):
        self.start, self.clock = start, clock
        self.writer: Any = None
        self.since = -float("inf")

    def renew(self, results: Path, scale: str) -> None:
        """Write it anew in results/<scale>/so-far, unless that has been done less than `RENEWED` ago."""
        if self.clock() - self.since >= RENEWED and (self.writer is None or self.writer.poll() is not None):
            command = [sys.executable, "-m", "rescore", "report", "--so-far", "--scale", scale, "--results", str(results)]
            self.writer, self.since, self.page = self.start(command), self.clock(), results / scale / "so-far" / "index.html"

    def news(self) -> str:
        """The page that has been written since this was asked last; empty without one."""
        if self.writer is None or self.writer.poll() != 0:
            return ""
        self.writer = None
        return f"report so far: {self.page}"

    def stop(self) -> None:
        if self.writer is not None:
            self.writer.terminate()


class LogHandler(LogHandlerBase):
    """Writes the lines to stderr."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.started: dict[int, tuple[str, str, float, list[Path]]] = {}
        self.ended: list[str] = []
        self.planned: Counter[str] = Counter()
        self.forecast: Forecast | None = None
        self.report = ReportSoFar()
        self.since = time.monotonic()

    def emit(self, record: LogRecord) -> None:
        event, of = getattr(record, "event", None), vars(record)
        if event == LogEvent.RUN_INFO:
            self.planned = Counter(of["stats"])
            self.say(f"{self.planned.pop('total', 0)} jobs")
        elif event == LogEvent.JOB_INFO:
            self.start(of)
        elif event == LogEvent.JOB_FINISHED:
            self.finish(of["job_id"])
        elif event == LogEvent.PROGRESS:
            self.progress(of["done"], of["total"])
        elif record.levelno >= WARNING:
            self.say(self.format(record))

    def start(self, job: Mapping[str, Any]) -> None:
        """Remember when a job started; the first one's output tells the results' folder and scale, and so the costs."""
        outputs = [Path(str(output)) for output in job["output"] or ()]
        name = next(iter((job["wildcards"] or {}).values()), "")
        self.started[job["jobid"]] = job["rule_name"], name, time.monotonic(), outputs
        if self.forecast is None:
            folders = [folder for output in outputs for folder in output.parents]
            known = (folder.parent / "reference" / folder.name / COST for folder in folders)
            self.forecast = Forecast(next((cost_by_rule(path) for path in known if path.is_file()), {}), self.planned)

    def finish(self, number: int) -> None:
        rule, job, since, outputs = self.started.pop(number, ("", "", self.since, []))
        name, seconds = re.sub("_measure$", "", rule).replace("_", " "), time.monotonic() - since
        of = verdicts(outputs)
        self.ended.append(f"{name} {job}".strip() + f", {words(seconds)}" + f" ({of})" * bool(of))
        if of:
            folder = next(path.parents[2] for path in outputs if path.name == "records.csv")
            self.report.renew(folder.parent, folder.name)
        if self.forecast:
            self.forecast.finish(rule, job)

    def progress(self, done: int, total: int) -> None:
        left = self.forecast.seconds_left(time.monotonic() - self.since) if self.forecast and done < total else None
        rest = "" if left is None else f"; about {words(left)} left"
        self.say(f"[{done}/{total}] {'; '.join(self.ended)}{rest}")
        self.ended.clear()
        if news := self.report.news():
            self.say(news)

    def close(self) -> None:
        self.report.stop()
        super().close()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
