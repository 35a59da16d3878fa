"""Commands for who reads the results, and what a report marks as moved."""

import math
import os
import re
from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest
from conftest import ROOT
from ledger_case import record
from reports import data_of, hostile_suite, results_of
from rescore.cli import main
from rescore.commands.output import print_table
from rescore.ledger.records import read_records, write_records
from rescore.papers import find_papers
from rescore.report import pages
from rescore.report.moved import moved
from rescore.report.source import read_results


def test_moved_is_what_leaves_its_errors():
    before = [
        record(stderr=0.1, value=1.0),
        record(nfe=2, stderr=0.1, value=1.0),
        record(nfe=3, stderr=None, df=None, value=1.0),
        record(nfe=4, value=1.0),
        record(metric="train_time_ms", value=5.0),
    ]
    now = [
        record(stderr=0.1, value=1.28),
        record(nfe=2, stderr=0.1, value=1.30),
        record(nfe=3, stderr=None, df=None, value=1.001),
        record(nfe=5, value=1.0),
        record(metric="train_time_ms", value=50.0),
    ]
    evidence = {"a": "mg/HMC//error/10 = 1", "timed": "mg/HMC//train_time_ms/10 = 5"}
    claims = [
        [{"paper": "toy", "claim": name, "status": status, "evidence": text} for name, text in evidence.items()]
        for status in ("holds", "fails")
    ]
    found = moved(results_of(now, claims[1]), results_of(before, claims[0]), ["toy"])
    assert [(c.what, c.key and c.key[-1], c.before, c.after) for c in found] == [
        ("claim", None, "holds", "fails"),
        ("number", 3, 1.0, 1.001),
        ("number", 2, 1.0, 1.3),
        ("new", 5, None, 1.0),
        ("gone", 4, 1.0, None),
    ]
    assert found[2].sigmas == pytest.approx(0.3 / 0.02**0.5)


def test_moved_are_also_verdicts_and_protocols():
    results = [
        replace(results_of([one]), verdicts={one.key: {"status": status}})
        for one, status in ((record(), "off"), (record(protocol="runs=200"), "reproduced"))
    ]
    found = moved(results[1], results[0], ["toy"])
    told = [("verdict", "off", "reproduced"), ("protocol", "runs=100; steps=100", "runs=200")]
    assert [(c.what, c.before, c.after) for c in found] == told and not moved(*results, ["pis"])


def test_against_marks_what_moved(hostile, tmp_path):
    """Two numbers, of which one is printed: its cell says so."""
    earlier = [replace(r, value=r.value + 0.5 * (r.method == "HMC")) for r in read_records("results/laptop/records.csv")]
    write_records(tmp_path / "other" / "records.csv", earlier)
    assert main(["report", "--against", str(tmp_path / "other")]) == 0
    assert "2 numbers moved" in (hostile / "index.html").read_text()
    assert (hostile / "paper-toy.html").read_text().count('<span class="moved">moved</span>') == 1
    was = {card["k"][4]: card["was"]["v"] for card in data_of(hostile, "toy")["cards"] if "was" in card}
    assert was == {"": pytest.approx(0.24), "tuned": pytest.approx(0.3)}


def test_a_paper_that_the_reference_does_not_know_is_not_run(tmp_path):
    hostile_suite(tmp_path)
    config = tmp_path / "reproductions" / "toy" / "configs" / "paper.yaml"
    config.parent.mkdir()
    config.touch()
    found = read_results(ROOT / "results" / "reference" / "paper", find_papers(tmp_path), ROOT)
    assert [row["status"] for key, row in found.verdicts.items() if key[0] == "toy"] == 4 * ["not-run"]
    assert [row["claim"] for row in found.claims if row["paper"] == "toy"] == ["small <b>", "vague"]


def test_a_papers_numbers_are_of_the_day_of_its_last_job(tmp_path):
    results = hostile_suite(tmp_path)
    first, earlier = (results / "toy" / job / "records.csv" for job in ("mg", "zz"))
    write_records(earlier, [])
    os.utime(earlier, (0, 0))
    today = date.fromtimestamp(first.stat().st_mtime).isoformat()
    assert read_results(results, find_papers(tmp_path), tmp_path).made == {"toy": today}


def test_numbers_of_a_page_are_short():
    shown = {None: "", math.nan: "", 3.0: "3", 1234567.0: "1234567", 0.25: "0.25", "text": "text", 7: "7"}
    assert [pages._show(value) for value in shown] == [*shown.values()]


def test_only_one_scale_is_compared_with_another_run_of_it(hostile, tmp_path, capsys):
    write_records(tmp_path / "paper" / "records.csv", [record(scale="paper")])
    assert main(["report", "--against", "paper"]) == 2
    assert "--against paper is of scale paper, which is not shown; allowed: laptop" in capsys.readouterr().err


def test_show_prints_one_card(hostile, capsys):
    assert main(["show", "toy/1/mg/HMC/logz_bias/100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "toy/1/mg/HMC/logz_bias/100" and lines[1].startswith("indicative: ")
    told = dict(line.split(maxsplit=1) for line in lines[3:] if re.match(r"[a-z]+ +\S", line))
    assert told["measured"] == "-0.260 ± 0.010 (over 4 trainings)" and told["published"] == "-0.25" and told["delta"] == "-0.01"
    assert told["log"] == "results/laptop/logs/toy-mg.log" and told["job"] == "mg"
    assert "  sampler=<u>exact</u>, measured (not recorded)" in lines and "  toy/1/mg/HMC/tuned" not in lines
    after = dict(pairwise(lines))
    assert (after["stated and met:"], after["assumed:"]) == ("  runs=100", "  steps=100")
    assert main(["show", "toy/1/HMC"]) == 2
    assert "nearest: toy/1/mg/HMC/logz_bias/100, toy/1/mg/HMC/tuned/logz_bias/100" in capsys.readouterr().err
    assert main(["show", "foo"]) == 2
    assert "unknown number 'foo'; no name is near it" in capsys.readouterr().err
    path = "results/laptop/records.csv"
    write_records(path, [replace(one, protocol=one.protocol.replace("steps=100", "steps=50")) for one in read_records(path)])
    assert main(["show", "toy/1/mg/HMC/logz_bias/100"]) == 0
    assert "  steps=100, measured 50 (assumed)" in capsys.readouterr().out.splitlines()


def test_compare_takes_several_metrics_and_formats(hostile, capsys):
    arguments = ["compare", "--metric", "logz_bias", "--dataset", "mg", "--paper", "toy", "--method", "HMC", "--format"]
    printed = {}
    for style in ("text", "csv", "md", "html", "latex"):
        assert main([*arguments, style]) == 0
        printed[style] = capsys.readouterr().out
    assert printed["csv"].splitlines()[1].startswith("logz_bias,HMC,tuned,toy,1,100,-0.2,0.02,,")
    assert printed["md"].startswith("### logz_bias on mg\n\n| method") and printed["html"].count("<tr>") == 3
    assert (
        r"% logz_bias on mg" in printed["latex"] and r"\toprule" in printed["latex"] and "NUTS" not in "".join(printed.values())
    )
    assert main([*arguments[:-1], "--format", "pdf"]) == 2
    assert "unknown format 'pdf'" in capsys.readouterr().err
    assert main([*arguments[:-2], "HMCC"]) == 2
    assert "unknown method for metric logz_bias on mg 'HMCC'; allowed: HMC" in capsys.readouterr().err


def test_diff_filters(hostile, capsys):
    assert main(["diff", "--status", "not-run", "--table", "1"]) == 0
    assert "0 indicative, 1 not-run; 1 in all" in capsys.readouterr().out
    assert main(["diff", "--table", "2"]) == 2
    assert "unknown table '2'; allowed: 1" in capsys.readouterr().err


def test_columns_of_numbers_stand_to_the_right(capsys):
    cells = {"number": (1.5, 12345.0, None), "bound": ("<=3", "=0.2", ">100"), "unit": ("1.2 h", "", "62 M")}
    cells |= {"share": ("3/5", "4/5", ""), "error": ("0.1 ± 0.2", "1", "2"), "note": ("", "", "")}
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    print_table(list(cells), rows, style="pipe")
    _, rules, _, second, _ = capsys.readouterr().out.splitlines()
    assert " 12345 " in second, "whole, and no 1.234e+04"
    right = [rule.endswith(":") for rule in rules.strip("|").split("|")]
    assert [name for name, one in zip(cells, right, strict=True) if one] == ["number", "bound", "unit"]
