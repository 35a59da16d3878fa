"""Code of a paper that cannot be used: what is wrong with it is told, with the place, and other papers go on."""

import html
import json
import shutil
import signal

import pytest
from conftest import ROOT
from ledger_case import record
from reports import no_assets
from rescore.cli import main
from rescore.errors import RescoreError
from rescore.ledger.cost import COLUMNS as COST
from rescore.ledger.records import write_records, write_skipped
from rescore.ledger.reference import read_reference
from rescore.papers import find_papers, load_config
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
        write_records(run / name / "all" / "records.csv", [record(**keys, variant="share=1", nfe=10, value=0.2)])
        write_skipped(run / name / "all" / "skipped.csv", [])
        cost = dict.fromkeys(COST, 1.0) | {"paper": name, "job": "all", "version": "", "config_hash": ""}
        (run / name / "all" / "cost.json").write_text(json.dumps(cost))
        (run / name / "all" / "arrays.npz").touch()
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
    suite = load_suite({"scale": "smoke"}, root, needed="half_score")
    assert list(suite.papers) == ["half_score"] and "SystemExit: 0" in suite.unusable["other"]


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
