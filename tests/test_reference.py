"""The committed reference: how a run, or one paper of it, becomes one."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from ledger_case import record
from rescore.errors import RescoreError
from rescore.ledger import reference as module
from rescore.ledger.cost import COST, MODELS, kept_costs
from rescore.ledger.diff import read_diff
from rescore.ledger.gate import gate, gate_reference
from rescore.ledger.records import Record, read_records, write_skipped
from rescore.ledger.reference import accept, parse_version, read_reference, skipped_rows
from rescore.papers import find_papers
from rescore.report.source import read_results
from test_gate import SECOND, save

DIRTY = "0.1.0+gabc1234.dirty.torch2.11.0"


@pytest.fixture
def reference(tmp_path) -> Path:
    return tmp_path / "reference" / "laptop"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_paper(text: str, name: str) -> str:
    """Verdicts or claims of the paper toy, with the same rows once more for another paper."""
    head, *rows = text.splitlines(keepends=True)
    return head + "".join(sorted(rows + [name + row.removeprefix("toy") for row in rows], key=lambda row: row.split(",")[0]))


def run_of_two(folder: Path, toy: float, other: float) -> Path:
    """A run of the papers `other` and `toy`, whose statuses follow the number of toy."""
    save(folder, record(value=toy), SECOND, record(paper="other", value=other))
    for name in ("diff.csv", "claims.csv"):
        (folder / name).write_text(with_paper((folder / name).read_text(), "other"))
    return folder


def assert_same_tables(reference: Path, run: Path) -> None:
    """Of verdicts a reference keeps ten digits."""
    assert (reference / "claims.csv").read_bytes() == (run / "claims.csv").read_bytes()
    pd.testing.assert_frame_equal(read_diff(reference / "diff.csv"), read_diff(run / "diff.csv"), rtol=1e-9, atol=0)


def test_versions_are_read_in_parts():
    assert parse_version("0.1.0+gabc1234.dirty.torch2.15.0+cpu") == {
        "release": "0.1.0",
        "commit": "abc1234",
        "dirty": ".dirty",
        "torch": "2.15.0+cpu",
    }
    assert parse_version("0.1.0.torch2.11.0")["commit"] is None
    own = {"release": "0.1.0", "commit": "abc1234", "torch": "2.11.0"}  # papers in a repository of their own
    for library, dirty in ((".lib+gdef5678", None), (".lib+gdef5678.dirty", ".dirty")):
        assert parse_version(f"0.1.0+gabc1234{library}.torch2.11.0") == own | {"dirty": dirty}
    assert parse_version("0.1.0.lib+gdef5678.torch2.11.0") == own | {"commit": None, "dirty": None}
    with pytest.raises(RescoreError, match="expected <release>"):
        parse_version("0.1.0")


def test_a_reference_keeps_ten_digits(tmp_path, reference):
    run = save(tmp_path / "laptop", record(value=1.2345678901234567, seconds=3.14159))
    accept(run, reference)
    (kept,) = read_reference(reference)
    assert (kept.value, kept.seconds) == (1.23456789, 3.14)
    verdicts = [read_diff(folder / "diff.csv").iloc[0] for folder in (run, reference)]
    assert [row["measured"] for row in verdicts] == [1.2345678901234567, 1.23456789]
    assert [row["published"] for row in verdicts] == [verdicts[0]["published"]] * 2
    assert not gate(run, reference).moved


def test_accept_keeps_one_file_a_paper_and_nothing_of_papers_that_are_gone(tmp_path, reference):
    run = run_of_two(tmp_path / "laptop", -1.0, -2.0)
    assert accept(run, reference) == "abc1234"
    files = {"records/toy.csv", "records/other.csv", "diff.csv", "claims.csv"}
    assert contents(reference).keys() == files
    assert read_reference(reference) == read_records(run / "records.csv")
    assert_same_tables(reference, run)
    before = contents(reference)
    accept(run, reference)
    assert contents(reference) == before
    accept(save(tmp_path / "laptop", record()), reference)
    assert contents(reference).keys() == files - {"records/other.csv"}


def test_accept_takes_one_clean_commit_of_each_paper(tmp_path, reference, monkeypatch):
    run = save(tmp_path / "laptop", record(), SECOND)
    accept(run, reference)
    before = contents(reference)
    for records, problem in (
        ((record(version=DIRTY),), "uncommitted changes"),
        ((record(), record(nfe=7, version="0.1.0+gdef.torch2.11.0")), r"records of toy of 2 commits \(abc1234, def\)"),
        ((record(version="0.1.0.torch2.11.0"),), "outside a git checkout"),
        ((), "no records to accept"),
    ):
        with pytest.raises(RescoreError, match=problem):
            accept(save(tmp_path / "laptop", *records), reference)
    with (
        monkeypatch.context() as patch,
        pytest.raises(RescoreError, match="git refused, as the job's log says; now it says: no"),
    ):
        patch.setattr(module, "git_refusal", lambda root: "no")
        accept(save(tmp_path / "laptop", record(version="0.1.0.torch2.11.0")), reference)
    assert contents(reference) == before  # a refusal leaves the reference as it was
    assert accept(save(tmp_path / "laptop", record(version=DIRTY)), reference, allow_dirty=True) == "abc1234"


def test_accept_takes_no_broken_claim(tmp_path, reference):
    run = run_of_two(tmp_path / "laptop", -1.0, -2.0)
    accept(run, reference)
    text = (run / "claims.csv").read_text()
    (run / "claims.csv").write_text(text.replace("holds", "broken", 1))  # that of `other`
    with pytest.raises(RescoreError, match="1 broken claim: paper other, claim 'negative'"):
        accept(run, reference)
    accept(run, reference, paper="toy")


def test_accept_of_one_paper_leaves_the_others(tmp_path, reference):
    accept(run_of_two(tmp_path / "laptop", -1.0, -2.0), reference)
    before = contents(reference)
    run = run_of_two(tmp_path / "laptop", 1.0, 2.0)
    assert accept(run, reference, paper="toy") == "abc1234"
    after = contents(reference)
    assert after["records/other.csv"] == before["records/other.csv"] != after["records/toy.csv"]
    assert not gate(run, reference, "toy").moved
    for name in ("diff.csv", "claims.csv"):
        old, new = (text[name].decode().splitlines() for text in (before, after))
        assert [row for row in new if not row.startswith("toy")] == [row for row in old if not row.startswith("toy")]
        assert [row for row in new if row.startswith("toy")] != [row for row in old if row.startswith("toy")]
    accept(run, reference, paper="other")
    assert contents(reference).keys() == before.keys()
    assert_same_tables(reference, run)


def test_one_paper_needs_records(tmp_path, reference):
    run = save(tmp_path / "laptop", record(), SECOND)
    with pytest.raises(RescoreError, match="records.csv: no records of other to accept"):
        accept(run, reference, paper="other")


def test_one_paper_begins_a_reference(tmp_path, reference):
    """Of a scale without one: it holds this paper alone, and the next paper joins it."""
    run = run_of_two(tmp_path / "laptop", -1.0, -2.0)
    assert accept(run, reference, paper="toy") == "abc1234"
    assert contents(reference).keys() == {"records/toy.csv", "diff.csv", "claims.csv"}
    assert set(read_diff(reference / "diff.csv")["paper"]) == {"toy"} == {r.paper for r in read_reference(reference)}
    assert not gate(run, reference, "toy").moved
    (reference / "diff.csv").unlink()  # as if it had been stopped before its last file: nothing of others can be lost
    accept(run, reference, paper="toy")
    accept(run, reference, paper="other")
    whole = tmp_path / "whole" / "laptop"
    accept(run, whole)
    assert contents(reference) == contents(whole)


SKIPS = [
    {"paper": "other", "dataset": "lgcp", "reason": "no pines: /home/me/data/finpines.txt: see https://a.org/b/c"},
    {"paper": "toy", "method": "NUTS", "reason": "diverged: t = 0.5"},
]


def test_a_reference_keeps_what_was_skipped_without_a_machine_s_folders(tmp_path, reference):
    run = run_of_two(tmp_path / "laptop", -1.0, -2.0)
    write_skipped(run / "skipped.csv", SKIPS)
    accept(run, reference, paper="toy")
    assert skipped_rows(reference) == SKIPS[1:]
    accept(run, reference)
    kept = skipped_rows(reference)
    assert kept == [{**SKIPS[0], "reason": "no pines: .../finpines.txt: see https://a.org/b/c"}, SKIPS[1]]
    write_skipped(run / "skipped.csv", [])
    accept(run, reference, paper="toy")
    assert skipped_rows(reference) == kept[:1]
    accept(run, reference)
    assert skipped_rows(reference) == []
    (run / "skipped.csv").unlink()
    accept(run, reference)
    assert skipped_rows(reference) is None


def test_the_gate_tells_new_skips(tmp_path, reference):
    def moves() -> list[tuple]:
        return [
            tuple(line[name] for name in ("verdict", "what", "row", "reference", "fresh"))
            for line in gate(run, reference).moved
            if line["what"] == "skip"
        ]

    run = run_of_two(tmp_path / "laptop", -1.0, -2.0)
    write_skipped(run / "skipped.csv", SKIPS)
    accept(run, reference)
    assert moves() == []
    none = {"paper": "toy", "dataset": "sets", "reason": "none here"}
    write_skipped(run / "skipped.csv", [SKIPS[0] | {"reason": "another"}, none])
    assert moves() == [
        ("warn", "skip", "other/lgcp", "no pines: .../finpines.txt: see https://a.org/b/c", "another"),
        ("warn", "skip", "toy/NUTS", "diverged: t = 0.5", "none"),
        ("warn", "skip", "toy/sets", "none", "none here"),
    ]
    (reference / "skipped.csv").unlink()  # as older references are
    assert moves() == []
    save(run, record(paper="other", value=-2.0), record(value=-1.0))  # the second number of toy is gone
    write_skipped(run / "skipped.csv", [{"paper": "toy", "dataset": "mg", "reason": "none here"}])
    assert moves() == [("fail", "skip", "toy/mg", "none", "none here")]


def stopping(monkeypatch, of, name: str, last: Path) -> None:
    """A function of files raises KeyboardInterrupt before it writes this one."""
    original = getattr(of, name)

    def stopped(path, *content):
        if last in (path, *content):
            raise KeyboardInterrupt
        return original(path, *content)

    monkeypatch.setattr(of, name, stopped)


@pytest.mark.parametrize("last", ["records/toy.csv", "claims.csv", "diff.csv"])
def test_an_accept_that_cannot_write_leaves_the_old_reference(tmp_path, reference, monkeypatch, last):
    old, run = run_of_two(tmp_path / "laptop", -1.0, -2.0), tmp_path / "laptop"
    accept(old, reference)
    before = contents(reference)
    run_of_two(run, 1.0, 2.0)
    for name in ("write_records", "atomic_write"):
        stopping(monkeypatch, module, name, reference / ".new" / last)
    for paper in (None, "toy"):
        with pytest.raises(KeyboardInterrupt):
            accept(run, reference, paper=paper)
        assert contents(reference) == before
    monkeypatch.undo()
    (reference / ".new" / "records").mkdir(parents=True)  # of one that was killed
    (reference / ".new" / "records" / "gone.csv").write_text("of an older run")
    accept(run, reference)
    assert not gate(run, reference).moved and sorted(contents(reference)) == sorted(before)


@pytest.mark.parametrize("last", ["records/toy.csv", "claims.csv", "diff.csv"])
def test_a_half_written_reference_is_none(tmp_path, reference, monkeypatch, last):
    """Whatever file `accept` is stopped before, over an old reference: nothing takes the rest for a whole one."""
    accept(run_of_two(tmp_path / "laptop", -1.0, -2.0), reference)
    run = run_of_two(tmp_path / "laptop", 1.0, 2.0)
    stopping(monkeypatch, Path, "replace", reference / last)
    with pytest.raises(KeyboardInterrupt):
        accept(run, reference)
    monkeypatch.undo()
    uses = (lambda: read_reference(reference), lambda: gate(run, reference), lambda: accept(run, reference, paper="toy"))
    for use in uses:
        with pytest.raises(
            RescoreError, match="diff.csv: no such file; make it with `rescore accept --scale laptop --results /.*`"
        ):
            use()
    accept(run, reference)
    assert not gate(run, reference).moved


def spent(run: Path, paper: str, seconds: float, job: str = "mg") -> None:
    """One job's cost, as `rescore run` writes it."""
    cost = {"paper": paper, "job": job, "seconds": seconds, "cpu_seconds": seconds / 2, "function_evaluations": 7}
    cost |= {"peak_memory_mb": 9.0, "peak_gpu_memory_mb": None, "version": "v", "config_hash": "h"}
    (run / paper / job).mkdir(parents=True, exist_ok=True)
    (run / paper / job / "cost.json").write_text(json.dumps(cost))


def test_a_reference_keeps_what_its_jobs_took_and_one_paper_changes_its_own(tmp_path, reference):
    run = run_of_two(tmp_path / "laptop", -1.0, -2.0)
    for paper in ("other", "toy"):
        spent(run, paper, 4.0)
    accept(run, reference)
    for paper in ("other", "toy"):
        spent(run, paper, 6.0)
    accept(run, reference, paper="toy")
    assert [(row["paper"], row["seconds"], row["cpu_seconds"]) for row in kept_costs(reference / COST)] == [
        ("other", "4.0", "2.0"),
        ("toy", "6.0", "3.0"),
    ]
    shown = read_results(reference, {}, ROOT).costs
    assert shown[["paper", "job", "seconds"]].values.tolist() == [["toy", "mg", 6.0], ["other", "mg", 4.0]]
    shutil.rmtree(run / "toy")
    shutil.rmtree(run / "other")
    accept(run, reference)
    assert not (reference / COST).exists(), "an older run says nothing of its costs"


def test_a_whole_reference_loses_no_paper_that_was_not_run(tmp_path, reference):
    """A run of some papers is not one of all; what a job that is gone took is not kept."""
    run, current = run_of_two(tmp_path / "laptop", -1.0, -2.0), {"toy": ["mg"], "other": ["mg"]}
    for job in ("mg", "renamed"):
        spent(run, "toy", 4.0, job)
    accept(run, reference, current=current)
    assert [row["job"] for row in kept_costs(reference / COST)] == ["mg"]
    before = contents(reference)
    save(run, record(value=1.0))
    with pytest.raises(RescoreError, match=r"no records of other, which the reference would lose; run all .* --paper"):
        accept(run, reference, current=current)
    assert contents(reference) == before
    accept(run, reference, current=current | {"other": []})
    assert "records/other.csv" not in contents(reference), "it has no jobs any more"


def trained(run: Path, **seconds: float) -> None:
    """What two trainings of each model took, together."""
    for key, took in seconds.items():
        for seed in "01":
            about = run / "models" / key / seed / "about.json"
            about.parent.mkdir(parents=True, exist_ok=True)
            about.write_text(json.dumps({"seconds": took / 2, "cpu_seconds": took / 4}))


def test_one_paper_brings_what_its_models_took_and_models_out_of_use_leave(tmp_path, reference):
    run = run_of_two(tmp_path / "laptop", -1.0, -2.0)
    trained(run, a=2.0, b=4.0, gone=6.0)
    accept(run, reference)
    shutil.rmtree(run / "models" / "a")
    trained(run, b=8.0, new=10.0)
    accept(run, reference, paper="toy", current={MODELS: {"a", "b", "new"}})
    took = [("a", "2.0"), ("b", "8.0"), ("new", "10.0")]
    assert [(row["job"], row["seconds"]) for row in kept_costs(reference / COST)] == took


# --- a run of some jobs


def of_job(job: str, commit: str = "aaaaaaa", **changes: object) -> Record:
    return record(config_hash=job * 12, version=f"0.1.0+g{commit}.torch2.11.0", **changes)


def test_jobs_that_were_not_run_again_stay_as_the_reference_has_them(tmp_path, reference):
    """By the hash of their config: a job that was run goes whole, one whose config has changed is left out and counted."""
    old = [
        of_job("a", method="A"),
        of_job("a", method="gone", nfe=1),
        of_job("b", method="B", nfe=2),
        of_job("c", method="C", nfe=3),
    ]
    run = save(tmp_path / "laptop", *old, of_job("b", method="B", paper="other", nfe=2))
    write_skipped(run / "skipped.csv", [skipped_row(method) for method in ("A", "S")])
    accept(run, reference)
    jobs = {"toy": {"a" * 12: "one", "1" * 12: "one", "b" * 12: "two"}}
    new = [of_job("1", "bbbbbbb", method="A", value=3.0)]
    records, skipped, stale = module.with_rest(new, [skipped_row("N")], reference, jobs)
    assert [(one.method, one.value) for one in records] == [("A", 3.0), ("B", -1.0)] and stale == 1
    assert [row["method"] for row in skipped] == ["N", "S"], "A has a number now"


def test_a_skip_of_the_reference_goes_where_this_run_skips_the_same_or_has_a_number(tmp_path, reference):
    """A skip names only the columns that apply: a whole data set, or a paper."""
    run = save(tmp_path / "laptop", of_job("a", method="A"), of_job("b", method="B", dataset="funnel", nfe=2))
    rows = [{"paper": "toy", "reason": "old", **of} for of in ({"dataset": "mg"}, {"dataset": "cifar10"}, {"table": "7"}, {})]
    write_skipped(run / "skipped.csv", rows)
    accept(run, reference)
    jobs = {"toy": {"a" * 12: "one", "b" * 12: "two"}}
    now = [{"paper": "toy", "table": "7", "reason": "new"}]
    _, skipped, _ = module.with_rest([of_job("a", method="A", dataset="mg")], now, reference, jobs)
    assert skipped == [*now, {"paper": "toy", "dataset": "cifar10", "reason": "old"}]


def skipped_row(method: str) -> dict[str, str]:
    columns = {"paper": "toy", "table": "1", "dataset": "mg", "method": method, "variant": "NN", "metric": "", "nfe": "100"}
    return {**columns, "reason": "no data"}


def test_jobs_of_a_paper_may_be_of_several_commits_where_that_is_said(tmp_path, reference):
    run = save(tmp_path / "laptop", of_job("a", "aaaaaaa", method="A"), of_job("b", "bbbbbbb", method="B", nfe=2))
    with pytest.raises(RescoreError, match=r"of toy of 2 commits .*run all its jobs at one, or give --several-commits"):
        accept(run, reference)
    assert accept(run, reference, several_commits=True) == "aaaaaaa, bbbbbbb"
    run = save(tmp_path / "laptop", of_job("a", "aaaaaaa", method="A"), of_job("a", "bbbbbbb", method="B", nfe=2))
    with pytest.raises(RescoreError, match="of one job of toy of 2 commits"):
        accept(run, reference, several_commits=True)


def test_what_jobs_took_that_were_not_run_again_stays(tmp_path, reference):
    run = save(tmp_path / "laptop", of_job("a", method="A"))
    for job in ("one", "two", "gone"):
        spent(run, "toy", 5.0, job)
    accept(run, reference)
    shutil.rmtree(run / "toy")
    spent(run, "toy", 7.0, "one")
    accept(run, reference, paper="toy", current={"toy": ["one", "two"], MODELS: []}, several_commits=True)
    assert {row["job"]: float(row["seconds"]) for row in kept_costs(reference / COST)} == {"one": 7.0, "two": 5.0}


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_the_committed_verdicts_and_claims_are_those_of_the_committed_records(scale):
    """A changed claim, published number or rule of judging has to be followed by `rescore accept --judge-again`."""
    report = gate_reference(ROOT / "results" / "reference" / scale, find_papers(ROOT))
    assert [(line["row"], line["reference"], line["fresh"]) for line in report.moved if line["verdict"] == "fail"] == []
    assert report.compared > 1000
