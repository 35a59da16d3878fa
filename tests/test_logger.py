"""`snakemake --logger rescore`: lines of progress, and the time left by what jobs cost when the reference was made."""

import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from reports import hostile_suite
from rescore.cli import main
from rescore.config import job_hash
from rescore.errors import RescoreError
from rescore.ledger.cost import COLUMNS, COST, MODELS, cost_by_rule, kept_costs, run_costs
from rescore.ledger.diff import read_diff
from rescore.ledger.records import write_records
from rescore.ledger.reference import read_reference
from rescore.papers import find_papers, load_config, load_paper
from rescore.report.source import read_results
from rescore.workflow.suite import load_suite
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_logger_plugin_rescore import RENEWED, Forecast, LogHandler, ReportSoFar, verdicts, words

JOB = "mg-grad"
REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "paper"
HEADER = "paper,job,seconds,cpu_seconds,function_evaluations,peak_memory_mb,peak_gpu_memory_mb\n"
COSTS = HEADER + "pis,mg,80.0,60.0,1,9.0,\npis,funnel,50.0,40.0,1,9.0,\n(models),ab12,130.0,100.0,,9.0,\n"


@pytest.fixture
def costs(tmp_path):
    path = tmp_path / "results" / "reference" / "laptop" / COST
    path.parent.mkdir(parents=True)
    path.write_text(COSTS)
    return path


def test_costs_have_the_names_of_rules(costs):
    assert cost_by_rule(costs) == {("pis_measure", "mg"): 60, ("pis_measure", "funnel"): 40, ("model", "ab12"): 100}


def test_time_left_is_what_is_left_of_the_cost_at_the_pace_so_far(costs):
    # 60 + 40 of PIS, the mean 50 for its third job, 100 for the model, nothing for an unknown rule
    forecast = Forecast(cost_by_rule(costs), {"pis_measure": 3, "model": 1, "figures": 1})
    assert forecast.seconds_left(7.0) is None, "nothing is done"
    forecast.finish("pis_measure", "mg")
    assert forecast.seconds_left(30.0) == pytest.approx(30 * 190 / 60)
    forecast.finish("pis_measure", "unheard of")
    assert forecast.seconds_left(55.0) == pytest.approx(55 * 140 / 110)
    for rule, job in (("pis_measure", "funnel"), ("model", "ab12"), ("figures", "")):
        forecast.finish(rule, job)
    assert forecast.seconds_left(125.0) == 0


def test_too_little_done_foretells_nothing(costs):
    forecast = Forecast(cost_by_rule(costs), {"model": 99, "pis_measure": 1})
    forecast.finish("pis_measure", "funnel")
    assert forecast.seconds_left(40.0) is None
    assert Forecast({}, {"model": 1}).seconds_left(40.0) is None


def test_durations_are_read_as_one_says_them():
    assert [words(seconds) for seconds in (0.4, 89, 95, 719, 7200, 12_000)] == [
        "0 s",
        "89 s",
        "2 min",
        "12 min",
        "2 h 0 min",
        "3 h 20 min",
    ]


def told(handler, capsys, event=None, level=logging.INFO, message="", **of):
    record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    vars(record).update({} if event is None else {"event": event}, **of)
    handler.emit(record)
    return capsys.readouterr().err


def test_lines_of_a_run(costs, capsys, monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr("snakemake_logger_plugin_rescore.time.monotonic", lambda: now.time)
    handler = LogHandler(SimpleNamespace(), None)
    folder = costs.parents[2] / "laptop"
    assert told(handler, capsys, LogEvent.RUN_INFO, stats={"pis_measure": 2, "model": 1, "total": 3}) == "3 jobs\n"
    job = {"jobid": 4, "rule_name": "pis_measure", "wildcards": {"job": "mg"}, "output": [str(folder / "pis/mg/records.csv")]}
    assert told(handler, capsys, LogEvent.JOB_INFO, **job) == "", "a job that starts is no line"
    model = {"jobid": 5, "rule_name": "model", "wildcards": {"key": "ab12"}, "output": [str(folder / "models/ab12")]}
    told(handler, capsys, LogEvent.JOB_INFO, **model)
    now.time = 130.0
    assert told(handler, capsys, LogEvent.JOB_FINISHED, job_id=4) == ""
    assert told(handler, capsys, LogEvent.PROGRESS, done=1, total=3) == "[1/3] pis mg, 30 s; about 70 s left\n"
    now.time = 220.0
    told(handler, capsys, LogEvent.JOB_FINISHED, job_id=5)
    assert told(handler, capsys, LogEvent.PROGRESS, done=3, total=3) == "[3/3] model ab12, 2 min\n"
    assert told(handler, capsys, LogEvent.SHELLCMD, message="python -m rescore") == ""
    assert told(handler, capsys, level=logging.ERROR, message="a job failed") == "a job failed\n"


def test_a_run_s_costs_are_those_of_its_jobs_and_of_all_seeds_of_a_model(tmp_path):
    job = {"paper": "pis", "job": "mg", "seconds": 2.04, "cpu_seconds": 1.0, "function_evaluations": 7}
    job |= {"peak_memory_mb": 9.0, "peak_gpu_memory_mb": None, "version": "v", "config_hash": "h"}
    for copied in ("mg", "mg.bak"):  # a copy of a job's folder is no other job
        (tmp_path / "pis" / copied).mkdir(parents=True, exist_ok=True)
        (tmp_path / "pis" / copied / "cost.json").write_text(json.dumps(job))
    for key, seed, about in (
        ("ab", 0, {"seconds": 3.0, "cpu_seconds": 2.5, "peak_memory_mb": 5.0}),
        ("ab", 1, {"seconds": 4.0, "cpu_seconds": 3.5, "peak_memory_mb": 6.0}),
        ("published", 0, {}),
    ):
        (tmp_path / "models" / key / str(seed)).mkdir(parents=True)
        (tmp_path / "models" / key / str(seed) / "about.json").write_text(json.dumps(about))
    model, measured = run_costs(tmp_path)
    assert (model["paper"], model["job"], model["seconds"], model["cpu_seconds"]) == (MODELS, "ab", 7.0, 6.0)
    assert model["peak_memory_mb"] == 6.0 and measured["job"] == "mg" and measured["seconds"] == 2.0


def test_a_cost_file_that_is_cut_short_is_one_error(costs):
    costs.write_text(COSTS[:-3])
    with pytest.raises(RescoreError, match="cut short"):
        kept_costs(costs)


@pytest.fixture
def ended(tmp_path):
    """A run at scale paper of which one job of PIS has ended, with the reference's records of Table 5.1's `mg`."""
    records = [record for record in read_reference(REFERENCE) if record.paper == "pis" and record.dataset == "mg"]
    path = tmp_path / "results" / "paper" / "pis" / JOB / "records.csv"
    path.parent.mkdir(parents=True)
    write_records(path, records)
    frame = read_diff(REFERENCE / "diff.csv")
    found = Counter(frame[(frame["paper"] == "pis") & (frame["dataset"] == "mg")]["status"])
    assert found["reproduced"] and found["off"], "the test needs several verdicts"
    return path, found


class Started:
    """Stands for processes: the commands, and the exit status of the last, None while it runs."""

    def __init__(self):
        self.commands, self.status, self.now = [], None, 0.0

    def __call__(self, command):
        self.commands.append(command)
        return SimpleNamespace(poll=lambda: self.status, terminate=lambda: self.commands.append("terminated"))


def test_a_job_s_line_has_its_verdicts(ended, capsys):
    path, found = ended
    handler, started = LogHandler(SimpleNamespace(), None), Started()
    handler.report = ReportSoFar(started)
    told(handler, capsys, LogEvent.RUN_INFO, stats={"pis_measure": 1, "total": 1})
    job = {"jobid": 1, "rule_name": "pis_measure", "wildcards": {"job": "mg"}, "output": [path, path.with_name("cost.json")]}
    told(handler, capsys, LogEvent.JOB_INFO, **job)
    told(handler, capsys, LogEvent.JOB_FINISHED, job_id=1)
    results = path.parents[3]
    assert started.commands[0][1:] == f"-m rescore report --so-far --scale paper --results {results}".split()
    of = f"{found.total()} printed numbers: {found['reproduced']} reproduced, {found['off']} off"
    said = told(handler, capsys, LogEvent.PROGRESS, done=1, total=1)
    assert f"[1/1] pis mg, 0 s ({of}" in said and "report" not in said
    started.status = 0
    page = f"report so far: {results}/paper/so-far/index.html\n"
    assert told(handler, capsys, LogEvent.PROGRESS, done=1, total=1).endswith(page)
    assert page not in told(handler, capsys, LogEvent.PROGRESS, done=1, total=1), "said once"


def test_one_report_so_far_at_a_time_and_not_often():
    started = Started()
    report = ReportSoFar(started, lambda: started.now)
    report.stop()
    for started.now, status, count in (
        (0, None, 1),
        (1, None, 1),
        (RENEWED, None, 1),
        (RENEWED, 0, 2),
        (2 * RENEWED - 1, 0, 2),
    ):
        started.status = status
        report.renew(Path("results"), "laptop")
        assert len(started.commands) == count, started.now
    started.status = 1
    assert report.news() == "", "it failed"
    started.status = None
    report.stop()
    assert started.commands[-1] == "terminated"


def test_what_cannot_be_read_has_no_verdicts(ended):
    path, _ = ended
    path.write_text(path.read_text()[:-5])
    assert verdicts([path]) == verdicts([path.with_name("none")]) == verdicts([path.parents[1] / "records.csv"]) == ""


def test_verdicts_so_far(ended, capsys):
    path, found = ended
    options = ["--scale", "paper", "--results", str(path.parents[3])]
    assert main(["diff", "--so-far", "--paper", "pis", *options]) == 0
    out, err = capsys.readouterr()
    assert err == "so far: 1 job has ended\n"
    assert f"{found['reproduced']} reproduced, {found['off']} off" in out and f"; {found.total()} in all" in out
    assert main(["diff", "--so-far", "--paper", "cld", *options]) == 2
    assert "no job of cld has ended there yet" in capsys.readouterr().err
    assert main(["diff", "--so-far", "--reference", *options]) == 2


def test_report_so_far(ended, capsys):
    """Of the job that has ended; the figures and the verdicts of an earlier run are not its."""
    path, found = ended
    folder, options = path.parents[2], ["--scale", "paper", "--results", str(path.parents[3])]
    digest = job_hash(load_config(load_paper("pis"), "paper"), "pis", JOB)
    path.with_name("cost.json").write_text(
        json.dumps(dict.fromkeys(COLUMNS, 1.0) | {"paper": "pis", "job": JOB, "version": "", "config_hash": digest})
    )
    path.with_name("skipped.csv").write_text("paper,dataset,reason\npis,lgcp,no pines\n")
    for old in ("diff.csv", "claims.csv", "records.csv", "skipped.csv"):
        (folder / old).write_text("of before")
    (folder / "figures" / "pis").mkdir(parents=True)
    (folder / "figures" / "pis" / "rings.png").write_text("")
    assert main(["report", "--so-far", *options]) == 0
    page, err = capsys.readouterr()
    assert page == f"{folder}/so-far/index.html\n" and err == "so far: 1 job has ended\n"
    frame = read_diff(folder / "so-far" / "data" / "diff.csv")
    assert {name: n for name, n in frame["status"].value_counts().items() if name != "not-run"} == found
    assert "no pines" in set(frame["note"])
    wanted = sum(len(rules.wanted) for rules in load_suite({"scale": "paper"}).papers.values())
    text = (folder / "so-far" / "paper-pis.html").read_text()
    assert f"So far: 1 job has ended, {wanted - 1} have not." in text and "Some figures have not been drawn yet" in text
    overview = (folder / "so-far" / "index.html").read_text()
    assert "The run has not ended" in overview and "<h2>Not run yet</h2>" in overview and "in 1 job<" in overview
    assert main(["report", "--so-far", "--reference", *options]) == 2
    assert "--so-far is of a run that goes on" in capsys.readouterr().err


def test_a_folder_of_a_job_that_is_gone_or_was_of_other_settings_is_none(ended, capsys):
    """A renamed job's folder stays, and its numbers are the new one's; other settings are to be run again."""
    path, found = ended
    folder, options = path.parents[2], ["--scale", "paper", "--results", str(path.parents[3])]
    shutil.copytree(path.parent, folder / "pis" / "mg-renamed")
    shutil.copy(path, folder / "records.csv")
    assert set(read_results(folder, find_papers(), Path()).jobs.values()) == {JOB}
    assert main(["diff", "--so-far", "--paper", "pis", *options]) == 0
    out, err = capsys.readouterr()
    assert err == "so far: 1 job has ended\n" and f"; {found.total()} in all" in out
    cost = {"paper": "pis", "job": JOB, "version": "", "config_hash": "0123456789ab"}
    path.with_name("cost.json").write_text(json.dumps(dict.fromkeys(COLUMNS, 1.0) | cost))
    assert main(["diff", "--so-far", "--paper", "pis", *options]) == 2
    assert "no job of pis has ended there yet" in capsys.readouterr().err


def test_the_report_of_a_run_takes_the_place_of_the_one_so_far(tmp_path, monkeypatch, capsys):
    folder = hostile_suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--so-far"]) == 0 and (folder / "so-far" / "paper-toy.html").is_file()
    assert main(["report", "--out", str(tmp_path / "elsewhere")]) == 0 and (folder / "so-far").is_dir()
    assert main(["report"]) == 0 and not (folder / "so-far").exists()
    assert "So far:" not in (folder / "report" / "index.html").read_text()
