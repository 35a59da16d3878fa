"""The regression gate."""

import dataclasses
from pathlib import Path

import pytest
from test_ledger import paper, printed, record

from rescore.errors import RescoreError
from rescore.ledger.claims import Claim, below, evaluate, row, write_claims
from rescore.ledger.diff import diff, write_diff
from rescore.ledger.gate import accept, gate, parse_version
from rescore.ledger.records import Record, read_records, write_records

CLAIMS = [Claim("negative", "The bias is negative.", "Table 1", below(row(nfe=100), 0.0))]
OTHER = {"device": "cpu B"}


def save(folder: Path, *records: Record) -> Path:
    """Records with their verdicts and claims, as a run leaves them."""
    write_records(folder / "records.csv", records)
    published = [printed(), printed(nfe=None)]
    write_diff(folder / "diff.csv", diff(records, published, paper()))
    write_claims(folder / "claims.csv", evaluate("toy", CLAIMS, records))
    return folder


def moved(tmp_path, *fresh: Record, reference=(record(), record(nfe=None, value=-0.95))) -> list[tuple[str, str, str]]:
    report = gate(save(tmp_path / "laptop", *fresh), save(tmp_path / "reference" / "laptop", *reference))
    assert report.failed == any(line["verdict"] == "fail" for line in report.moved)
    return [(line["verdict"], line["what"], line["row"].rpartition("/")[2]) for line in report.moved]


SECOND = record(nfe=None, value=-0.95)


def test_the_same_numbers_pass(tmp_path):
    harmless = dict(seconds=99.0, version="0.1.0+gfffffff.dirty.torch2.11.0")
    assert moved(tmp_path, record(**harmless), dataclasses.replace(SECOND, **harmless)) == []
    assert moved(tmp_path, record(value=-1.0 - 0.9e-6), SECOND) == []


def test_one_changed_number_fails(tmp_path):
    assert moved(tmp_path, record(value=-1.0 - 1.1e-6), SECOND) == [("fail", "value", "100")]


def test_near_zero_the_tolerance_is_absolute(tmp_path):
    zero = (record(value=0.0), SECOND)
    assert moved(tmp_path, record(value=0.9e-12), SECOND, reference=zero) == []
    assert moved(tmp_path, record(value=1.1e-12), SECOND, reference=zero) == [("fail", "value", "100")]


def test_a_standard_error_that_moved_fails(tmp_path):
    assert moved(tmp_path, record(stderr=0.0100001), SECOND) == [("fail", "stderr", "100")]
    unknown = moved(tmp_path, record(stderr=None), SECOND)
    assert set(unknown) == {("fail", "stderr", "100"), ("fail", "claim", "negative")}  # without an error it is inconclusive


@pytest.mark.parametrize("change", [OTHER, {"version": "0.1.0+gabc1234.torch2.12.0"},
                                    {"version": "0.2.0+gabc1234.torch2.11.0"}])
def test_another_machine_or_version_is_compared_statistically(tmp_path, change):
    # 5 * hypot(0.03, 0.04) + 0.05 * 1 = 0.3
    reference = (record(stderr=0.03), SECOND)
    near = moved(tmp_path, record(value=-1.299, stderr=0.04, **change), SECOND, reference=reference)
    assert near == [("warn", "verdict", "100")]  # reproduced -> off
    assert ("fail", "value", "100") in moved(tmp_path, record(value=-1.301, stderr=0.04, **change), SECOND, reference=reference)


def test_a_time_only_warns(tmp_path):
    before = record(protocol="clock=wall", stderr=0.01)
    assert moved(tmp_path, dataclasses.replace(before, value=-1.1), SECOND, reference=(before, SECOND)) == []
    assert moved(tmp_path, dataclasses.replace(before, value=-3.0), SECOND, reference=(before, SECOND))[0][:2] == ("warn", "value")


def test_missing_rows_fail_and_new_rows_warn(tmp_path):
    assert moved(tmp_path, record(), SECOND, record(nfe=7)) == [("warn", "record", "7")]
    assert moved(tmp_path, record()) == [("fail", "record", "logz_bias"), ("warn", "verdict", "logz_bias")]


def test_another_protocol_or_count_fails_and_another_config_warns(tmp_path):
    changed = record(protocol="runs=100; steps=99", n_samples=5, n_seeds=2, config_hash="x")
    assert moved(tmp_path, changed, SECOND) == [("fail", "n_samples", "100"), ("fail", "n_seeds", "100"),
                                                ("fail", "protocol", "100"), ("warn", "config_hash", "100")]


def test_changed_statuses_fail_on_the_same_machine_class(tmp_path):
    strict = moved(tmp_path, record(value=1.0), SECOND)
    assert {("fail", "verdict", "100"), ("fail", "claim", "negative"), ("fail", "value", "100")} == set(strict)


def test_changed_statuses_warn_on_another_machine_class(tmp_path):
    reference = (record(value=-0.905), SECOND)
    loose = moved(tmp_path, record(value=-0.87, **OTHER), SECOND, reference=reference)
    assert loose == [("warn", "verdict", "100")]
    near_zero = (record(value=-0.03), SECOND)
    assert moved(tmp_path, record(value=-0.01, **OTHER), SECOND, reference=near_zero) == [("warn", "claim", "negative")]


def test_one_paper_alone(tmp_path):
    other = record(paper="other")
    fresh = save(tmp_path / "laptop", record(), SECOND)
    reference = save(tmp_path / "reference" / "laptop", record(), SECOND, other)
    assert gate(fresh, reference).failed
    report = gate(fresh, reference, "toy")
    assert not report.moved and report.compared == 2


def test_a_missing_reference_names_the_command(tmp_path):
    save(tmp_path / "smoke", record())
    with pytest.raises(RescoreError, match="records.csv: no such file; make it with `rescore accept --scale smoke`"):
        gate(tmp_path / "smoke", tmp_path / "reference" / "smoke")
    with pytest.raises(RescoreError, match="make it with `snakemake --profile profiles/gpu`"):
        gate(tmp_path / "gpu", tmp_path / "reference" / "gpu")


def test_versions_are_read_in_parts():
    assert parse_version("0.1.0+gabc1234.dirty.torch2.15.0+cpu") == {
        "release": "0.1.0", "commit": "abc1234", "dirty": ".dirty", "torch": "2.15.0+cpu"}
    assert parse_version("0.1.0.torch2.11.0")["commit"] is None
    with pytest.raises(RescoreError, match="expected <release>"):
        parse_version("0.1.0")


def test_a_reference_keeps_ten_digits(tmp_path):
    fresh = save(tmp_path / "laptop", record(value=1.2345678901234567, seconds=3.14159))
    accept(fresh, tmp_path / "reference" / "laptop")
    (kept,) = read_records(tmp_path / "reference" / "laptop" / "records.csv")
    assert (kept.value, kept.seconds) == (1.23456789, 3.14)
    assert not gate(fresh, tmp_path / "reference" / "laptop").moved


def test_accept_copies_one_clean_commit(tmp_path):
    reference = tmp_path / "reference" / "laptop"
    fresh = save(tmp_path / "laptop", record(), SECOND)
    assert accept(fresh, reference) == "abc1234"
    assert read_records(reference / "records.csv") == read_records(fresh / "records.csv")
    assert not gate(fresh, reference).moved
    dirty = "0.1.0+gabc1234.dirty.torch2.11.0"
    for records, problem in (
        ((record(version=dirty),), "uncommitted changes"),
        ((record(), record(nfe=7, version="0.1.0+gdef.torch2.11.0")), r"records of 2 commits \(abc1234, def\)"),
        ((record(version="0.1.0.torch2.11.0"),), "outside a git checkout"),
        ((), "no records to accept"),
    ):
        with pytest.raises(RescoreError, match=problem):
            accept(save(tmp_path / "laptop", *records), reference)
    assert len(read_records(reference / "records.csv")) == 2  # a refusal leaves the reference as it was
    assert accept(save(tmp_path / "laptop", record(version=dirty)), reference, allow_dirty=True) == "abc1234"
