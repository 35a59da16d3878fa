"""Commands for who reads the results, and what a report marks as moved."""

import re
from dataclasses import replace

import pytest
from ledger_case import record
from reports import data_of, results_of
from rescore.cli import main
from rescore.commands.output import print_table
from rescore.ledger.records import read_records, write_records
from rescore.report.moved import moved


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
    claims = [[{"paper": "toy", "claim": "a", "status": status}] for status in ("holds", "fails")]
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
    other = tmp_path / "other"
    earlier = [
        replace(r, value=r.value + (0.5 if r.variant == "tuned" else 0.0)) for r in read_records("results/laptop/records.csv")
    ]
    write_records(other / "records.csv", earlier)
    assert main(["report", "--against", str(other)]) == 0
    assert "1 numbers moved" in (hostile / "index.html").read_text()
    (card,) = [card for card in data_of(hostile, "toy")["cards"] if "was" in card]
    assert card["k"][4] == "tuned" and card["was"]["v"] == pytest.approx(0.3)


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
    assert main(["show", "toy/1/HMC"]) == 2
    assert "nearest: toy/1/mg/HMC/logz_bias/100, toy/1/mg/HMC/tuned/logz_bias/100" in capsys.readouterr().err
    assert main(["show", "foo"]) == 2
    assert "unknown number 'foo'; no name is near it" in capsys.readouterr().err


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
