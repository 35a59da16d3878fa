"""Code of a paper that cannot be used: what is wrong with it is told, with the place, and other papers go on."""

import html
import json
import shutil
import signal
import sys

import pytest
from conftest import ROOT
from ledger_case import record
from reports import no_assets
from rescore.cli import main
from rescore.errors import RescoreError
from rescore.ledger.cost import COLUMNS as COST
from rescore.ledger.records import write_records, write_skipped
from rescore.ledger.reference import read_reference
from rescore.papers import find_papers, load_config, load_paper
from rescore.workflow.paths import jobs_by_hash
from rescore.workflow.suite import load_suite

SOURCE = ROOT / "tests" / "data" / "new_paper"
NUMBER = "1/mixture/Half-score Euler/share=1/solver_rmse/10"
FAULTS = {
    "import": (
        "\nimport no_such_library\n",
        "line 2: cannot be imported: ModuleNotFoundError: No module named 'no_such_library'",
    ),
    "syntax": ("\n\ndef f(:\n", "line 3: cannot be imported: SyntaxError: invalid syntax"),
    "null": ("a = 1\0\n", "cannot be imported: SyntaxError: source code string cannot contain null bytes"),
    "exit": ("raise SystemExit(0)\n", "line 1: cannot be imported: SystemExit: 0"),
    "empty": ("", "has no "),
}
COMMANDS = {
    "report": (0, ["report"]),
    "report --so-far": (0, ["report", "--so-far"]),
    "show": (0, ["show", f"half_score/{NUMBER}"]),
    "run": (2, ["run", "half_score", "--job", "all"]),
    "train": (2, ["train", "half_score/x"]),
    "fetch": (2, ["fetch"]),
    "plan": (2, ["plan"]),
    "figures": (2, ["figures", "half_score"]),
    "accept": (2, ["accept"]),
    "accept --paper": (2, ["accept", "--paper", "half_score"]),
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two papers that differ in their names, and a run of both."""
    run = tmp_path / "results" / "smoke"
    for name in ("half_score", "other"):
        folder = tmp_path / "reproductions" / name
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("published.csv", "figures.py"):
            (folder / file).write_text((folder / file).read_text().replace("half_score", name))
        keys = {"paper": name, "dataset": "mixture", "method": "Half-score Euler", "metric": "solver_rmse", "scale": "smoke"}
        keys |= {"config_hash": next(iter(jobs_by_hash(load_paper(name, tmp_path), "smoke")))}
        write_records(run / name / "all" / "records.csv", [record(**keys, variant="share=1", nfe=10, value=0.2)])
        write_skipped(run / name / "all" / "skipped.csv", [])
        cost = dict.fromkeys(COST, 1.0) | {"paper": name, "job": "all", "version": "", "config_hash": ""}
        (run / name / "all" / "cost.json").write_text(json.dumps(cost))
        (run / name / "all" / "arrays.npz").touch()
    for module in [name for name in sys.modules if name.startswith(("reproductions.half_score", "reproductions.other"))]:
        del sys.modules[module]  # what is broken below is imported anew, as by a process of its own
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rescore.report.pages.write_assets", no_assets)
    jobs = [str(run / name / "all") for name in ("half_score", "other")]
    assert main(["collect", *jobs, "--scale", "smoke"]) == main(["tables", "--scale", "smoke"]) == 0
    return tmp_path


def break_code(root, paper, file, text):
    (root / "reproductions" / paper / file).write_text(text)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_config_s_code_that_fails_is_one_error(root, capsys, fault):
    text, told = FAULTS[fault]
    break_code(root, "half_score", "config.py", text)
    for name, (status, words) in COMMANDS.items():
        capsys.readouterr()
        assert main([*words, "--scale", "smoke"]) == status, name
        error = capsys.readouterr().err
        if status:
            last = error.splitlines()[-1]
            assert last.startswith(f"rescore: error: {root}/reproductions/half_score/config.py") and told in last, name
            traced = name == "run" and fault != "empty"  # for who writes that code
            assert (error.count("\n") == 1) is not traced and ("Traceback" in error) is traced, name


def test_the_report_says_why_a_paper_s_jobs_are_not_known(root):
    break_code(root, "other", "config.py", FAULTS["import"][0])
    assert main(["report", "--scale", "smoke"]) == 0
    pages = {name: (root / f"results/smoke/report/paper-{name}.html").read_text() for name in ("half_score", "other")}
    assert "Its jobs are not known" in pages["other"] and "line 2: cannot be imported: ModuleNotFoundError" in pages["other"]
    assert "Its jobs are not known" not in pages["half_score"]


@pytest.mark.parametrize("fault", FAULTS)
def test_another_paper_is_accepted(root, capsys, fault):
    break_code(root, "other", "config.py", FAULTS[fault][0])
    assert main(["accept", "--paper", "half_score", "--scale", "smoke"]) == 0
    assert [one.paper for one in read_reference(root / "results/reference/smoke")] == ["half_score"]
    assert main(["accept", "--scale", "smoke"]) == 2, "all papers"


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("paper.yaml", "name: Half a score\n", "paper.yaml: title: field required"),
        ("paper.yaml", "title: t\ncitation: c\nprotocols: [{match: {method: Eulr}}]\n", "match.method: 'Eulr' fits no row"),
        ("published.csv", "paper,table\n", "published.csv, line 1: missing column"),
    ],
)
def test_another_paper_is_shown_and_accepted_beside_one_that_cannot_be_read(root, capsys, file, text, told):
    break_code(root, "other", file, text)
    assert main(["accept", "--paper", "half_score", "--scale", "smoke"]) == 0
    capsys.readouterr()
    for words in (["show", f"half_score/{NUMBER}"], ["report"], ["report", "--reference"]):
        assert main([*words, "--scale", "smoke"]) == 0
        assert f"paper other is left out: {root}/reproductions/other/{file}" in capsys.readouterr().err
    for page in ("results/smoke/report", "results/report/smoke"):
        text = html.unescape((root / page / "index.html").read_text())
        assert "Left out" in text and told in text and not (root / page / "paper-other.html").exists()
    assert main(["show", f"other/{NUMBER}", "--scale", "smoke"]) == 2
    break_code(root, "half_score", file, text)
    assert main(["show", f"half_score/{NUMBER}", "--scale", "smoke"]) == 2, "none is left"


def test_trainings_of_a_paper_that_cannot_be_read_stay_in_the_reference(root, capsys):
    """Whether another paper still uses them is not known."""
    cost = root / "results" / "reference" / "smoke" / "cost.csv"
    assert main(["accept", "--scale", "smoke"]) == 0
    cost.write_text(cost.read_text() + "(models),0123456789ab,1.0,1.0,,1.0,0.0\n")
    break_code(root, "other", "configs/smoke.yaml", "samplse: 200\n")
    assert main(["accept", "--paper", "half_score", "--scale", "smoke"]) == 0 and "0123456789ab" in cost.read_text()
    shutil.copy(SOURCE / "configs" / "smoke.yaml", root / "reproductions/other/configs/smoke.yaml")
    assert main(["accept", "--paper", "half_score", "--scale", "smoke"]) == 0
    assert "0123456789ab" not in cost.read_text()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("module", "command"), [("jobs", "run"), ("figures", "figures")])
def test_other_modules_that_fail_are_one_error(root, capsys, module, command, fault):
    text, told = FAULTS[fault]
    if fault == "empty" and module == "figures":
        told = "unknown function of half_score/figures.py 'errors'"
    break_code(root, "half_score", f"{module}.py", text)
    capsys.readouterr()
    try:
        status = main([*COMMANDS[command][1], "--scale", "smoke"])
    except SystemExit as end:  # as a job ends
        status = end.code
    error = capsys.readouterr().err
    assert status == 2 and f"half_score/{module}.py" in error and told in error


def test_the_place_is_the_paper_s_own(root):
    """The last line of its code, in whichever of its files; not of a library that it calls."""
    paper = find_papers(root)["half_score"]
    break_code(root, "half_score", "config.py", "from reproductions.half_score.helper import x\n")
    break_code(root, "half_score", "helper.py", "import json\n\nx = json.loads('{')\n")
    with pytest.raises(
        RescoreError, match=r"half_score/helper.py, line 3: cannot be imported: JSONDecodeError: Expecting"
    ) as told:
        load_config(paper, "smoke")
    assert type(told.value.__cause__).__name__ == "JSONDecodeError"
    break_code(root, "half_score", "config.py", "Config = dict\n")
    with pytest.raises(RescoreError, match="config.py: Config is no rescore.config.PaperConfig"):
        load_config(paper, "smoke")


def test_an_error_of_the_library_keeps_its_words(root):
    break_code(root, "half_score", "helper.py", "from rescore.ledger.claims import row\nrow(place='x')\n")
    with pytest.raises(RescoreError, match="^row: unknown column place"):
        find_papers(root)["half_score"].module("helper")


def test_a_suite_can_leave_out_what_it_does_not_need(root):
    break_code(root, "other", "config.py", FAULTS["exit"][0])
    with pytest.raises(RescoreError, match="SystemExit"):
        load_suite({"scale": "smoke"}, root)
    suite = load_suite({"scale": "smoke"}, root, needed=["half_score"])
    assert list(suite.papers) == ["half_score"] and "SystemExit: 0" in suite.unusable["other"]


def test_a_model_of_another_paper_is_trained(root, capsys, monkeypatch):
    """A key says not whose it is, so one that is not found may be of a paper that cannot be read."""
    suite, key = load_suite({"scale": "smoke"}, ROOT), "deis/vp"
    monkeypatch.setattr("rescore.models.train._train_model", lambda suite, key, *_: print(key))
    shutil.copytree(ROOT / "reproductions" / "deis", root / "reproductions" / "deis")
    for name, text in (("bad.name", ""), ("half_score", "ttile: t\n"), ("other", "title: t\n")):
        (root / "reproductions" / name).mkdir(exist_ok=True)
        break_code(root, name, "paper.yaml", text)
    for name in (key, suite.model_key(key)):
        capsys.readouterr()
        assert main(["train", name, "--scale", "smoke"]) == 0
        assert capsys.readouterr().out == suite.model_key(key) + "\n"
    assert main(["train", "0123456789ab", "--scale", "smoke"]) == 2
    without = "without the papers bad.name, half_score, other, which cannot be read"
    assert without in capsys.readouterr().err


def test_commands_of_one_paper_ask_nothing_of_the_others(root, capsys):
    break_code(root, "other", "paper.yaml", "ttile: t\n")
    (root / "reproductions" / "Bad").mkdir()
    break_code(root, "Bad", "paper.yaml", "")
    for words in (
        ["diff"],
        ["claims"],
        ["explain"],
        ["cost"],
        ["compare", "--metric", "solver_rmse", "--dataset", "mixture"],
        ["plan"],
    ):
        assert main([*words, "--scale", "smoke", "--paper", "half_score"]) == 0, words
    assert main(["accept", "--scale", "smoke", "--paper", "half_score"]) == 0
    for words in (["gate"], ["gate", "--reference"], ["accept", "--judge-again"]):
        assert main([*words, "--scale", "smoke", "--paper", "half_score"]) == 0
    assert list(load_suite({"scale": "smoke", "papers": "half_score"}, root).papers) == ["half_score"]
    capsys.readouterr()
    assert main(["claims", "--scale", "smoke", "--paper", "halfscore"]) == 2
    assert "unknown paper 'halfscore'; allowed: half_score" in capsys.readouterr().err


def test_what_other_settings_measured_is_no_run_of_these(root, capsys):
    """Neither compared nor accepted; a paper whose config cannot be read is not asked."""
    assert main(["accept", "--scale", "smoke"]) == 0 == main(["gate", "--scale", "smoke"])
    config = root / "reproductions/half_score/configs/smoke.yaml"
    config.write_text(config.read_text() + "protocol_version: 99\n")
    for words in (["gate"], ["accept"], ["gate", "--paper", "half_score"], ["accept", "--paper", "half_score"]):
        capsys.readouterr()
        assert main([*words, "--scale", "smoke"]) == 2
        told = "results/smoke/records.csv: records measured under settings that the configs do not have now: 1 of half_score;"
        assert told in capsys.readouterr().err
    assert main(["gate", "--scale", "smoke", "--paper", "other"]) == 0 == main(["gate", "--scale", "smoke", "--reference"])
    config.write_text("samplse: 1\n")
    assert main(["gate", "--scale", "smoke"]) == 0


def test_a_reference_that_is_not_whole_is_not_another(root, capsys):
    """What an interrupted `accept` has left beside the results is not passed over for the one of the papers."""
    assert main(["accept", "--scale", "smoke"]) == 0
    elsewhere = root / "elsewhere"
    shutil.copytree(root / "results", elsewhere)
    (elsewhere / "reference" / "smoke" / "diff.csv").unlink()
    for words in (["gate"], ["gate", "--reference"], ["diff", "--reference"]):
        capsys.readouterr()
        assert main([*words, "--scale", "smoke", "--results", str(elsewhere)]) == 2
        assert f"{elsewhere}/reference/smoke/diff.csv: no such file" in capsys.readouterr().err
    shutil.rmtree(elsewhere / "reference")
    assert main(["gate", "--scale", "smoke", "--results", str(elsewhere)]) == 0


def run_job(capsys, *options):
    """The exit status of the job, and what it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["run", "half_score", "--job", "all", "--scale", "smoke", *options])
    return end.value.code, capsys.readouterr().err


def test_a_job_that_the_system_refuses_a_file_says_so_in_a_line(root, capsys):
    (root / "a file").touch()
    status, error = run_job(capsys, "--results", "a file")
    first, failed, repeat = error.splitlines()
    assert status == 2 and first.startswith("error: a file/smoke/runs") and first.endswith(": Not a directory")
    assert failed == "failed: half_score all" and repeat.endswith("--job all --results 'a file'"), "and there is no log"
    break_code(
        root, "half_score", "jobs.py", "def full(book):\n    raise OSError(28, 'No space left')\nSECTIONS = {'euler': full}\n"
    )
    log = root / "results/smoke/logs/half_score-all.log"
    log.parent.mkdir()
    log.touch()
    status, error = run_job(capsys)
    assert status == 2 and error.startswith("error: No space left\nfailed: half_score all\n  log: results/smoke/logs/")


def test_a_job_s_other_errors_keep_their_traceback(root, capsys):
    break_code(root, "half_score", "jobs.py", "def odd(book):\n    raise OSError('odd')\nSECTIONS = {'euler': odd}\n")
    status, error = run_job(capsys)
    assert status == 1 and error.startswith("Traceback")


def test_figures_that_are_interrupted_say_so_in_a_line(root, capfd):
    """As by Ctrl-C: processes that draw get it too, also of tests in a shell's background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    text = "import os, signal\ndef errors(found, out):\n    out.write_text('')\n"
    for paper, pids in (("half_score", "os.getpid(), os.getppid()"), ("other", "")):
        break_code(root, paper, "figures.py", f"{text}    for pid in [{pids}]:\n        os.kill(pid, signal.SIGINT)\n")
    capfd.readouterr()
    try:
        assert main(["figures", "half_score,other", "--processes", "2", "--scale", "smoke"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err == "rescore: interrupted\n"
