"""The command line, on a throwaway paper in a temporary folder."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import types

import pytest
from conftest import ROOT
from ledger_case import record
from rescore.cli import main
from rescore.ledger.claims import read_claims
from rescore.ledger.diff import read_diff
from rescore.ledger.published import COLUMNS as PUBLISHED_COLUMNS
from rescore.ledger.records import read_records, write_records, write_skipped

PUBLISHED = (
    ",".join(PUBLISHED_COLUMNS)
    + """
toy,1,mg,PIS,NN,logz_bias,100,-1.0,,target,Table 1,
toy,1,funnel,PIS,NN,logz_bias,100,-0.5,,target,Table 1,
toy,1,lgcp,VI-NF,,logz_bias,,-92.4,,target,Table 1,
"""
)
CLAIMS = """
from rescore.ledger.claims import Claim, row, smaller
CLAIMS = [Claim("mg-harder", "MG is harder than the funnel.", "Table 1",
                smaller(row(dataset="funnel"), row(dataset="mg"), by=abs))]
"""
COST = (
    '{"paper": "toy", "job": "mg", "seconds": 2.5, "function_evaluations": 10, "peak_memory_mb": 100.0, '
    '"peak_gpu_memory_mb": 0.0, "version": "0.1.0.torch2.11", "config_hash": "a"}'
)


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A root with one paper, and the results of its two jobs."""
    folder = tmp_path / "reproductions" / "toy"
    folder.mkdir(parents=True)
    (folder / "paper.yaml").write_text("title: A toy\ncitation: none\nprotocols: [{stated: {runs: 100}}]\n")
    (folder / "published.csv").write_text(PUBLISHED)
    (folder / "claims.py").write_text(CLAIMS)
    (tmp_path / "README.md").write_text("# Toy\n<!-- results:start -->\n<!-- results:end -->\n")
    results = tmp_path / "results" / "laptop" / "toy"
    write_records(results / "mg" / "records.csv", [record()])
    write_records(results / "funnel" / "records.csv", [record(dataset="funnel", value=-0.9)])
    write_skipped(results / "mg" / "skipped.csv", [])
    write_skipped(results / "funnel" / "skipped.csv", [{"paper": "toy", "dataset": "lgcp", "reason": "no pines here"}])
    (results / "mg" / "cost.json").write_text(COST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def collected(suite, capsys):
    assert (
        main(
            [
                "collect",
                "results/laptop/toy/mg",
                "results/laptop/toy/funnel/records.csv",
                "results/laptop/toy/funnel/skipped.csv",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out == "2 records, 1 skipped: results/laptop\n"
    return suite


def failure(capsys, *arguments: str) -> str:
    """The one message of a command that must end with 2."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    text = capsys.readouterr().err
    assert text.startswith("rescore: error: ") and text.count("\n") == 1
    return text


def test_collect_joins_records_and_skips(collected, capsys):
    assert [r.dataset for r in read_records("results/laptop/records.csv")] == ["funnel", "mg"]
    assert "no pines here" in (collected / "results/laptop/skipped.csv").read_text()
    assert "unknown kind of file 'cost.json'" in failure(capsys, "collect", "results/laptop/toy/mg/cost.json")
    assert "duplicate key" in failure(capsys, "collect", "results/laptop/toy/mg", "results/laptop/records.csv")
    assert "nothing to collect: no PATH is given" in failure(capsys, "collect")
    assert "results/laptop/toi: no such file or folder" in failure(capsys, "collect", "results/laptop/toi")
    assert "in results of scale 'smoke'" in failure(capsys, "collect", "--scale", "smoke", "results/laptop/toy/mg")
    assert len(read_records("results/laptop/records.csv")) == 2  # as it was


def test_diff_prints_and_writes(collected, capsys):
    capsys.readouterr()
    assert main(["diff", "--paper", "toy", "--out", "results/laptop/diff.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 reproduced, 1 off, 0 imprecise, 0 indicative, 1 not-run; 3 in all"
    table = [line for line in lines if line.startswith("toy")]
    assert len(table) == 3 and "nan" not in "".join(table) and "<NA>" not in "".join(table)
    frame = read_diff("results/laptop/diff.csv")
    assert list(frame["status"]) == ["reproduced", "off", "not-run"] and frame["note"][2] == "no pines here"


def test_claims_prints_and_writes(collected, capsys):
    assert main(["claims", "--out", "results/laptop/claims.csv"]) == 0
    (line,) = read_claims("results/laptop/claims.csv")
    assert line["status"] == "holds" and line["margin"] == pytest.approx(0.1)
    assert "1 holds, 0 fails, 0 inconclusive, 0 not-run, 0 broken; 1 in all" in capsys.readouterr().out


def test_a_broken_claim_fails_when_all_else_is_written(collected, capsys):
    (collected / "reproductions/toy/claims.py").write_text(
        CLAIMS + "CLAIMS.append(Claim('vague', 'All agree.', 'Table 1', smaller(row(paper='toy'), row(dataset='mg'))))\n"
    )
    folder = collected / "results" / "laptop"
    assert "error: 1 broken claim: paper toy, claim 'vague': toy selects 2 records: " in failure(capsys, "tables")
    assert [line["status"] for line in read_claims(folder / "claims.csv")] == ["holds", "broken"]
    assert (folder / "diff.csv").is_file() and "broken" in (folder / "tables" / "summary.md").read_text()
    assert main(["tables", "--allow-broken"]) == 0
    assert "claim 'vague'" in failure(capsys, "claims")
    assert "claim 'vague'" in failure(capsys, "accept") and not (collected / "results" / "reference").exists()


@pytest.mark.parametrize(
    ("text", "claim", "evidence"),
    [
        (CLAIMS + "CLAIMS += CLAIMS\n", "mg-harder", "2 claims have this name"),
        (
            "import nothing_of_this_name\n",
            "claims.py",
            r"it gives no claims: .*/toy/claims.py, line 1: cannot be imported: ModuleNotFoundError: No module named "
            "'nothing_of_this_name'",
        ),
        ("CLAIMS = [\n", "claims.py", r"it gives no claims: .*/toy/claims.py, line 1: cannot be imported: SyntaxError: "),
        ("raise SystemExit", "claims.py", r"it gives no claims: .*/toy/claims.py, line 1: cannot be imported: SystemExit: "),
        ("", "claims.py", r"it gives no claims: .*/toy/claims.py: has no CLAIMS"),
        ("CLAIMS = [3]\n", "claims.py", "it gives no claims: AttributeError: "),
    ],
)
def test_unusable_claims_are_one_broken_row_and_the_rest_is_written(collected, capsys, text, claim, evidence):
    (collected / "reproductions/toy/claims.py").write_text(text)
    other = collected / "reproductions" / "zoo"
    other.mkdir()
    (other / "paper.yaml").write_text("title: Another\ncitation: none\n")
    (other / "published.csv").write_text(",".join(PUBLISHED_COLUMNS) + "\n")
    (other / "claims.py").write_text(CLAIMS)
    assert re.search(f"error: 1 broken claim: paper toy, claim '{claim}': {evidence}", failure(capsys, "tables"))
    rows = read_claims("results/laptop/claims.csv")
    assert [(row["paper"], row["claim"], row["status"]) for row in rows] == [
        ("toy", claim, "broken"),
        ("zoo", "mg-harder", "not-run"),
    ]
    folder = collected / "results" / "laptop"
    assert list(read_diff(folder / "diff.csv")["status"]) == ["reproduced", "off", "not-run"]
    assert (folder / "tables" / "summary.md").is_file()
    assert f"claim '{claim}'" in failure(capsys, "claims")


def test_tables_compare_and_cost(collected, capsys):
    assert main(["tables"]) == 0
    tables = collected / "results" / "laptop" / "tables"
    assert {path.name for path in tables.iterdir()} == {"toy-1.md", "summary.md"}
    assert "(-92.4) –" in (tables / "toy-1.md").read_text()
    capsys.readouterr()
    assert main(["compare", "--metric", "logz_bias", "--dataset", "mg"]) == 0
    assert "runs=100; steps=100" in capsys.readouterr().out
    unended = collected / "results" / "laptop" / "toy" / "unended"
    unended.mkdir()
    (unended / "cost.json").write_text(COST.replace('"mg"', '"unended"'))
    assert main(["cost"]) == 0
    assert capsys.readouterr().out.endswith("1 job, 2 s\n")


def test_gate_sees_one_changed_number(collected, capsys):
    for command in ("diff", "claims"):
        assert main([command, "--out", f"results/laptop/{command}.csv"]) == 0
    assert "rescore accept --scale laptop" in failure(capsys, "gate")
    assert main(["accept"]) == 0 and main(["gate"]) == 0
    assert capsys.readouterr().out.endswith("2 numbers compared; 0 failed, 0 warnings\n")
    records = read_records("results/laptop/records.csv")
    changed = dataclasses.replace(records[0], value=records[0].value * (1 + 2e-6))
    write_records("results/laptop/records.csv", [changed, records[1]])
    assert main(["gate"]) == 1
    out = capsys.readouterr().out
    assert "toy/1/funnel/PIS/NN/logz_bias/100" in out and "-0.9000018" in out and out.endswith("1 failed, 0 warnings\n")


def test_accept_takes_one_paper(collected, capsys):
    for command in ("diff", "claims"):
        main([command, "--out", f"results/laptop/{command}.csv"])
    assert "unknown paper 'toi'; allowed: toy" in failure(capsys, "accept", "--paper", "toi")
    assert main(["accept", "--paper", "toy"]) == 0  # of a scale without a reference: it begins one
    assert "no pines here" in (collected / "results/reference/laptop/skipped.csv").read_text()
    assert main(["accept"]) == 0 and main(["accept", "--paper", "toy"]) == 0
    assert capsys.readouterr().out.endswith("accepted the run of toy at commit abc1234\n")


def test_readme_follows_the_reference(collected, capsys):
    for command in ("diff", "claims"):
        main([command, "--out", f"results/laptop/{command}.csv"])
    main(["accept"])
    assert main(["readme", "--check"]) == 1 and "differ" in capsys.readouterr().err
    assert main(["readme"]) == 0 and main(["readme", "--check"]) == 0
    assert "of `toy` at scale `laptop`" in (collected / "README.md").read_text()


def test_bad_input_is_one_error_naming_what_is_allowed(collected, capsys):
    assert "unknown paper 'toi'; allowed: toy" in failure(capsys, "diff", "--paper", "toi")
    assert "unknown paper 'toi'; allowed: toy" in failure(capsys, "claims", "--paper", "toi")
    assert "unknown scale 'huge'; allowed: " in failure(capsys, "diff", "--scale", "huge")
    for command in ("diff", "claims", "explain", "gate"):
        told = failure(capsys, command, "--paper", "pis", "--scale", "gpu", "--reference", "--root", str(ROOT))
        assert "unknown scale for paper pis 'gpu'; allowed: " in told, command
    assert "unknown metric 'fid'; allowed: logz_bias" in failure(capsys, "compare", "--metric", "fid", "--dataset", "mg")
    assert "allowed: lgcp, funnel, mg" in failure(capsys, "compare", "--metric", "logz_bias", "--dataset", "cifar10")
    assert "no folder reproductions/" in failure(capsys, "diff", "--root", "results")
    (collected / "README.md").write_text("nothing\n")
    assert "README.md: the line <!-- results:start -->" in failure(capsys, "readme")


def test_verdicts_and_tables_are_those_of_the_records_beside_them(collected, capsys):
    """Also where what follows `collect` is stopped, or a table has been renamed."""
    folder = collected / "results" / "laptop"
    assert main(["tables"]) == 0 and main(["accept"]) == 0
    (folder / "tables" / "toy-old.md").write_text("a table that is gone")
    write_records(folder / "toy" / "mg" / "records.csv", [record(value=-9.0)])
    assert main(["collect", "results/laptop/toy/mg", "results/laptop/toy/funnel"]) == 0
    assert not (folder / "diff.csv").exists() and not (folder / "claims.csv").exists()
    for command in ("accept", "gate"):
        assert "results/laptop/diff.csv: no such file; make it with `snakemake`" in failure(capsys, command)
    assert main(["show", "toy/1/mg/PIS/NN/logz_bias/100"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("off: ")
    assert main(["tables"]) == 0
    assert sorted(path.name for path in (folder / "tables").iterdir()) == ["summary.md", "toy-1.md"]


def test_what_cannot_be_written_is_one_error(collected, capsys):
    assert "results: Is a directory" in failure(capsys, "diff", "--out", "results")
    assert "README.md: File exists" in failure(capsys, "claims", "--out", "README.md/claims.csv")
    shutil.rmtree("results/laptop/tables", ignore_errors=True)
    (collected / "results" / "laptop" / "tables").write_text("a file in place of a folder")
    assert "results/laptop/tables: File exists" in failure(capsys, "tables")
    assert len(read_records("results/laptop/records.csv")) == 2


@pytest.mark.parametrize(
    "command",
    [
        ("diff",),
        ("claims",),
        ("tables",),
        ("cost",),
        ("gate",),
        ("accept",),
        ("compare", "--metric", "logz_bias", "--dataset", "mg"),
    ],
)
def test_missing_results_name_the_command_that_makes_them(suite, capsys, command):
    assert "`snakemake --profile profiles/paper`" in failure(capsys, *command, "--scale", "paper")


@pytest.fixture
def referenced(collected, capsys):
    """The reference of the run, which is gone."""
    assert main(["tables"]) == main(["accept"]) == 0
    shutil.rmtree(collected / "results" / "laptop")
    capsys.readouterr()
    return collected


READING = {
    ("diff",): "1 reproduced, 1 off, 0 imprecise, 0 indicative, 1 not-run; 3 in all",
    (
        "claims",
    ): "1 of 1 claims on numbers with an error are decided; if all their margins were 0, chance would decide at most 0.0. "
    "At a false discovery rate of 5 % (Benjamini-Hochberg) 1 are.",
    ("compare", "--metric", "logz_bias", "--dataset", "mg"): "PIS NN toy 1 100 -1 0.01 -1.0 1e-06 runs=100; steps=100",
    ("cost",): "1 job, 2 s",
}


@pytest.mark.parametrize(("command", "last"), READING.items(), ids=lambda value: value[0])
def test_without_a_run_the_reference_is_read(referenced, capsys, monkeypatch, command, last):
    assert main(list(command)) == 0
    printed = capsys.readouterr()
    missing = "*/*/cost.json" if command == ("cost",) else "records.csv"
    told = f"the committed reference results/reference/laptop, for there is no run: no results/laptop/{missing}"
    assert printed.err.splitlines()[0] == told
    assert " ".join(printed.out.splitlines()[-1].split()) == last
    elsewhere = referenced / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # the reference is that of the papers
    assert main([*command, "--root", str(referenced)]) == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert again.err == printed.err.replace(" results/reference", f" {referenced}/results/reference")
    assert "no such file" in failure(capsys, *command, "--root", str(referenced), "--scale", "paper")


def test_the_reference_is_read_on_demand(referenced, capsys):
    write_records("results/laptop/records.csv", [record(value=5.0)])
    assert main(["diff"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and printed.out.endswith("0 reproduced, 1 off, 0 imprecise, 0 indicative, 2 not-run; 3 in all\n")
    assert main(["diff", "--reference"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "the committed reference results/reference/laptop\n"
    assert (
        printed.out.endswith("1 reproduced, 1 off, 0 imprecise, 0 indicative, 1 not-run; 3 in all\n")
        and "no pines here" in printed.out
    )
    assert "unknown paper 'toi'; allowed: toy" in failure(capsys, "diff", "--reference", "--paper", "toi")
    assert "reference/smoke/diff.csv: no such file; make it with `rescore accept" in failure(
        capsys, "diff", "--reference", "--scale", "smoke"
    )


def test_gate_without_a_run(referenced, capsys):
    assert failure(capsys, "gate") == (
        "rescore: error: results/laptop/records.csv: no such file: there is no run to compare with the reference; make one "
        "with `snakemake`, or check the reference by itself with --reference\n"
    )
    assert main(["gate", "--reference"]) == 0
    told = "verdicts and claims of results/reference/laptop derived again"
    assert capsys.readouterr().out == f"4 {told}; 0 failed, 0 warnings\n"
    claims = referenced / "results" / "reference" / "laptop" / "claims.csv"
    claims.write_text(claims.read_text().replace(",holds,", ",fails,"))
    published = referenced / "reproductions" / "toy" / "published.csv"
    published.write_text(PUBLISHED + "toy,1,new,PIS,NN,logz_bias,100,-1.0,,target,Table 1,\n")
    other = referenced / "reproductions" / "zoo"  # the reference does not cover it
    other.mkdir()
    (other / "paper.yaml").write_text("title: Another\ncitation: none\n")
    (other / "published.csv").write_text(PUBLISHED.replace("toy", "zoo"))
    assert main(["gate", "--reference"]) == 1
    *_, failed, warned, last = capsys.readouterr().out.splitlines()
    assert failed.split() == ["fail", "toy/mg-harder", "claim", "fails", "holds"]
    assert warned.split() == ["warn", "toy/1/new/PIS/NN/logz_bias/100", "verdict", "none", "not-run"]
    assert last == f"4 {told}; 1 failed, 1 warnings"
    records = (claims.parent / "records" / "toy.csv").read_bytes()
    assert main(["accept", "--judge-again", "--paper", "toy"]) == 0
    assert capsys.readouterr().out == "results/reference/laptop: verdicts and claims of toy judged again\n"
    assert main(["gate", "--reference"]) == 0 and capsys.readouterr().out == f"5 {told}; 0 failed, 0 warnings\n"
    assert (claims.parent / "records" / "toy.csv").read_bytes() == records
    assert main(["accept", "--judge-again"]) == 0, "now it covers the other paper too"
    assert main(["gate", "--reference"]) == 0 and "\n8 " in capsys.readouterr().out
    before = {path: path.read_bytes() for path in claims.parent.glob("*.csv")}
    (other / "claims.py").write_text("CLAIMS = [1]")
    assert "broken" in failure(capsys, "accept", "--judge-again")
    assert {path: path.read_bytes() for path in claims.parent.glob("*.csv")} == before


def test_figures_need_results(suite, capsys):
    assert "unknown scale for paper toy 'laptop'; allowed: (none)" in failure(capsys, "figures", "toy")
    (suite / "reproductions/toy/configs").mkdir()
    (suite / "reproductions/toy/configs/laptop.yaml").touch()
    assert "results/laptop/toy/*/arrays.npz: no such file; make them with `snakemake`" in failure(capsys, "figures", "toy")
    assert "--processes" in failure(capsys, "figures", "toy", "--processes", "0")
    assert "figures toy,toy: names of figures follow one paper, not 2" in failure(capsys, "figures", "toy,toy", "histogram")


@pytest.mark.parametrize("told, used", [(None, "passive"), ("active", "active")])
def test_threads_that_wait_sleep_unless_told_otherwise(monkeypatch, told, used):
    """Set before a job imports torch, whose threads read it once (`test_imports`: a command by itself imports none)."""
    seen = []
    stand_in = types.ModuleType("rescore.experiments.run")
    stand_in.main_run = lambda args: seen.append(os.environ["OMP_WAIT_POLICY"])
    monkeypatch.setitem(sys.modules, "rescore.experiments.run", stand_in)
    monkeypatch.setenv("OMP_WAIT_POLICY", told or "")
    if told is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main(["run", "pis", "measure", "--scale", "smoke", "--job", "mg"]) == 0
    assert seen == [used]


def test_run_and_figure_pass_their_options_on(monkeypatch):
    seen = []
    stand_in = types.ModuleType("rescore.experiments.run")
    stand_in.main_run = seen.append
    stand_in.main_figures = seen.append
    monkeypatch.setitem(sys.modules, "rescore.experiments.run", stand_in)
    assert main(["run", "pis", "measure", "--scale", "smoke", "--job", "mg"]) == 0
    assert main(["figures", "pis", "rings", "--scale", "smoke", "--results", "elsewhere"]) == 0
    assert (seen[0].paper, seen[0].function, seen[0].scale, seen[0].jobs) == ("pis", "measure", "smoke", ["mg"])
    assert (seen[0].root, str(seen[0].results)) == (None, "results")
    assert (seen[1].papers, seen[1].names, str(seen[1].results)) == (["pis"], ["rings"], "elsewhere")
    with pytest.raises(SystemExit) as stop:
        main(["run", "pis", "measure"])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["run", "toy", "--job", "mg"], "; finished cells are kept: the same command goes on from there"),
        (["train", "toy/x"], "; checkpoints are kept: the same command goes on from there"),
        (["claims"], ""),
    ],
)
def test_an_interrupted_command_says_so_in_a_line(suite, capsys, monkeypatch, command, kept):
    def interrupt(*_):
        raise KeyboardInterrupt

    for module in ("rescore.experiments.run", "rescore.models.train"):
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(main_run=interrupt, main_train=interrupt))
    monkeypatch.setattr("rescore.commands.ledger.claim_rows", interrupt)
    assert main(command) == 130
    assert capsys.readouterr().err == f"rescore: interrupted{kept}\n"


def test_names_that_the_terminal_cannot_write_are_spelled_by_number(suite):
    """In a process of its own, as the encoding is read when Python starts."""
    path = suite / "reproductions/toy/published.csv"
    path.write_text(
        path.read_text(encoding="utf-8").replace("funnel,PIS", "f\u00fcnnel \u2192 \U0001f600,PIS"), encoding="utf-8"
    )
    options = {"cwd": suite, "capture_output": True, "text": True, "encoding": "ascii", "errors": "strict"}
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    main(["collect", "results/laptop/toy/mg"])
    command = [sys.executable, "-m", "rescore", "diff"]
    done = subprocess.run(command, env=environment, **options)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"f\xfcnnel \u2192 \U0001f600" in done.stdout
    done = subprocess.run([*command, "--table", "\u00fc"], env=environment, **options)
    assert done.returncode == 2 and r"\xfc" in done.stderr and "Traceback" not in done.stderr
