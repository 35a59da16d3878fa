"""The regression gate."""

import dataclasses
from pathlib import Path

import pytest
from ledger_case import paper, printed, record
from rescore.errors import RescoreError
from rescore.ledger.claims import Claim, below, evaluate, row, write_claims
from rescore.ledger.diff import diff, write_diff
from rescore.ledger.gate import gate
from rescore.ledger.records import Record, is_timed, write_records

CLAIMS = [Claim("negative", "The bias is negative.", "Table 1", below(row(nfe=100), 0.0))]
OTHER = {"device": "cpu B"}


def save(folder: Path, *records: Record) -> Path:
    """Records with their verdicts and claims, as a run leaves them."""
    write_records(folder / "records.csv", records)
    published = [printed(), printed(nfe=None)]
    write_diff(folder / "diff.csv", diff(records, published, paper()))
    write_claims(folder / "claims.csv", evaluate("toy", CLAIMS, records))
    return folder


def save_reference(folder: Path, *records: Record) -> Path:
    """The same as a committed reference, with one file of records a paper."""
    save(folder, *records)
    (folder / "records.csv").unlink()
    for name in {one.paper for one in records}:
        write_records(folder / "records" / f"{name}.csv", [one for one in records if one.paper == name])
    return folder


KEPT = (record(), record(nfe=None, value=-0.95))


def moved(tmp_path, *fresh: Record, reference=KEPT) -> list[tuple[str, str, str]]:
    report = gate(save(tmp_path / "laptop", *fresh), save_reference(tmp_path / "reference" / "laptop", *reference))
    assert report.failed == any(line["verdict"] == "fail" for line in report.moved)
    return [(line["verdict"], line["what"], line["row"].rpartition("/")[2]) for line in report.moved]


SECOND = record(nfe=None, value=-0.95)


def test_the_same_numbers_pass(tmp_path):
    harmless = {"seconds": 99.0, "version": "0.1.0+gfffffff.dirty.torch2.11.0"}
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
    assert set(unknown) == {
        ("fail", "stderr", "100"),
        ("fail", "df", "100"),
        ("fail", "verdict", "100"),
        ("fail", "claim", "negative"),
    }  # without an error nothing is decided


@pytest.mark.parametrize(
    "change", [OTHER, {"version": "0.1.0+gabc1234.torch2.12.0"}, {"version": "0.2.0+gabc1234.torch2.11.0"}]
)
def test_another_machine_or_version_is_compared_statistically(tmp_path, change):
    # 5 * hypot(0.03, 0.04) + 0.05 * 1 = 0.3
    reference = (record(stderr=0.03), SECOND)
    near = moved(tmp_path, record(value=-1.299, stderr=0.04, **change), SECOND, reference=reference)
    assert near == [("warn", "verdict", "100")]  # reproduced -> off
    assert ("fail", "value", "100") in moved(tmp_path, record(value=-1.301, stderr=0.04, **change), SECOND, reference=reference)


@pytest.mark.parametrize("error", [{"stderr": None}, {"stderr": 0.0, "over": "runs", "df": 3}])
def test_a_number_without_an_error_may_move_by_a_quarter_elsewhere(tmp_path, error):
    reference = (record(**error), SECOND)
    assert ("fail", "value", "100") not in moved(tmp_path, record(value=-1.249, **error, **OTHER), SECOND, reference=reference)
    assert ("fail", "value", "100") in moved(tmp_path, record(value=-1.251, **error, **OTHER), SECOND, reference=reference)
    zero = (record(value=0.0, **error), SECOND)
    assert ("fail", "value", "100") not in moved(tmp_path, record(value=0.0099, **error, **OTHER), SECOND, reference=zero)
    assert ("fail", "value", "100") in moved(tmp_path, record(value=0.0101, **error, **OTHER), SECOND, reference=zero)
    rounding = (record(value=4e-16, stderr=0.0), SECOND)
    assert ("fail", "value", "100") not in moved(
        tmp_path, record(value=0.9e-9, stderr=0.0, **OTHER), SECOND, reference=rounding
    )
    assert ("fail", "value", "100") in moved(tmp_path, record(value=1.1e-9, stderr=0.0, **OTHER), SECOND, reference=rounding)
    exact = (record(stderr=0.0), SECOND)
    assert ("fail", "value", "100") in moved(tmp_path, record(value=-1.051, stderr=0.0, **OTHER), SECOND, reference=exact)


def test_an_adaptive_solver_may_take_other_evaluations_elsewhere(tmp_path):
    protocol = "evaluations={}; runs=100; steps=100"
    reference = (record(nfe=110, protocol=protocol.format(100)), SECOND)
    for nfe, evaluations, expected in (
        (120, 119, []),
        (140, 100, [("fail", "record", "110"), ("warn", "record", "140")]),
        (110, 121, [("fail", "protocol", "110")]),
    ):
        fresh = record(nfe=nfe, protocol=protocol.format(evaluations), **OTHER)
        found = moved(tmp_path, fresh, SECOND, reference=reference)
        assert [line for line in found if line[1] in ("record", "protocol", "value")] == expected
    # on the same machine it may not, and values are compared all the same
    assert ("fail", "record", "110") in moved(
        tmp_path, record(nfe=120, protocol=protocol.format(100)), SECOND, reference=reference
    )
    far = record(nfe=120, value=-2.0, protocol=protocol.format(100), **OTHER)
    assert ("fail", "value", "110") in moved(tmp_path, far, SECOND, reference=reference)


def test_the_nearest_evaluations_elsewhere_are_the_same_number(tmp_path):
    """100 is 101 and 104 is 105: were 100 taken for 105, both values would have moved by 2."""
    reference = (record(nfe=100), record(nfe=104, value=-3.0), SECOND)
    fresh = [record(nfe=nfe, value=value, **OTHER) for nfe, value in ((101, -1.0), (105, -3.0))]
    found = moved(tmp_path, *fresh, SECOND, reference=reference)
    assert [line for line in found if line[1] in ("record", "value")] == []


def test_one_number_elsewhere_stands_for_one_of_the_reference(tmp_path):
    """101 is near 100 and 102; the second is gone, which must not be hidden by the first."""
    reference = (record(nfe=100), record(nfe=102), SECOND)
    found = moved(tmp_path, record(nfe=101, **OTHER), SECOND, reference=reference)
    assert [line for line in found if line[1] == "record"] == [("fail", "record", "102")]


def test_a_training_may_be_of_another_machine_elsewhere(tmp_path):
    reference = (record(protocol="runs=100; trained_on=cpu a"), SECOND)
    for protocol, change, expected in (
        ("runs=100; trained_on=cpu b", OTHER, False),
        ("runs=100; trained_on=cpu b", {}, True),
        ("runs=200; trained_on=cpu b", OTHER, True),
    ):
        lines = moved(tmp_path, record(protocol=protocol, **change), SECOND, reference=reference)
        assert (("fail", "protocol", "100") in lines) == expected


def test_a_number_without_evaluations_is_not_one_with_others(tmp_path):
    reference, fresh = (record(nfe=110), SECOND), record(nfe=None, dataset=SECOND.dataset, method="new", **OTHER)
    found = moved(
        tmp_path, dataclasses.replace(fresh, method=reference[0].method, variant=reference[0].variant), reference=reference
    )
    assert ("fail", "record", "110") in found


def test_missing_rows_fail_and_new_rows_warn(tmp_path):
    assert moved(tmp_path, record(), SECOND, record(nfe=7)) == [("warn", "record", "7")]
    assert moved(tmp_path, record()) == [("fail", "record", "logz_bias"), ("warn", "verdict", "logz_bias")]


def test_another_protocol_or_count_fails_and_another_config_warns(tmp_path):
    changed = record(protocol="runs=100; steps=99", n_samples=5, n_seeds=2, config_hash="x")
    assert moved(tmp_path, changed, SECOND) == [
        ("fail", "n_samples", "100"),
        ("fail", "n_seeds", "100"),
        ("fail", "protocol", "100"),
        ("warn", "config_hash", "100"),
    ]


def test_another_kind_of_error_fails(tmp_path):
    """The same spread over runs of one training says something else than over trainings."""
    assert moved(tmp_path, record(over="runs"), SECOND) == [("fail", "over", "100")]


@pytest.mark.parametrize(("before", "after", "fails"), [("vp", "vp", 0), ("vp", "ve", 1), ("vp", "", 1), ("", "vp", 0)])
def test_another_label_of_what_was_repeated_fails_where_the_reference_has_one(tmp_path, before, after, fails):
    """Claims compare records of one label repeat by repeat; references of earlier code have none."""
    values = ("-1.0 -1.1 -0.9 -1.0", "")
    reference, fresh = (record(df=3, matched=of, values=values[not of]) for of in (before, after))
    assert moved(tmp_path, fresh, SECOND, reference=(reference, SECOND)) == [("fail", "matched", "100")] * fails


def test_changed_statuses_fail_on_the_same_machine_class(tmp_path):
    strict = moved(tmp_path, record(value=1.0), SECOND)
    assert {("fail", "verdict", "100"), ("fail", "claim", "negative"), ("fail", "value", "100")} == set(strict)


def test_what_was_not_run_before_is_new(tmp_path):
    """Claim and verdict on a number that the reference lacks: no regression, whatever they say; the other way round is one."""
    known, new = (record(nfe=None, value=-0.95),), (*(record(nfe=None, value=-0.95),), record(value=1.0))
    assert set(moved(tmp_path / "new", *new, reference=known)) == {
        ("warn", "record", "100"),
        ("warn", "verdict", "100"),
        ("warn", "claim", "negative"),
    }
    assert ("fail", "claim", "negative") in moved(tmp_path / "lost", *known, reference=new)


def test_changed_statuses_warn_on_another_machine_class(tmp_path):
    reference = (record(value=-0.905), SECOND)
    loose = moved(tmp_path, record(value=-0.87, **OTHER), SECOND, reference=reference)
    assert loose == [("warn", "verdict", "100")]
    near_zero = (record(value=-0.03), SECOND)
    assert moved(tmp_path, record(value=-0.01, **OTHER), SECOND, reference=near_zero) == [("warn", "claim", "negative")]


@pytest.mark.parametrize("change", [{}, OTHER])
def test_a_claim_that_breaks_fails_on_any_machine(tmp_path, change):
    second = record(dataset="funnel")  # the claim asks for the one record of 100 evaluations
    assert ("fail", "claim", "negative") in moved(tmp_path, record(**change), SECOND, second)


def test_times_may_move_and_so_may_claims_on_them(tmp_path):
    """A ratio of times is a record like any other, but two runs of one commit do not give the same."""
    claim = Claim("fast", "It is faster.", "Table 2", below(row(metric="train_time_ratio"), 1.0))
    folders = []
    for write, name, value in ((save, "fresh", 0.9), (save_reference, "reference", 1.1)):
        timed = record(metric="train_time_ratio", value=value)
        folders.append(write(tmp_path / name / "laptop", timed))
        write_claims(folders[-1] / "claims.csv", evaluate("toy", [claim], [timed]))
        write_diff(folders[-1] / "diff.csv", diff([timed], [printed(metric="train_time_ratio", value="0.9")], paper()))
    report = gate(*folders)
    assert [(line["verdict"], line["what"]) for line in report.moved] == [("warn", "claim"), ("warn", "verdict")]
    assert not is_timed("mixing_time") and is_timed("images_per_second")


def test_one_paper_alone(tmp_path):
    other = record(paper="other")
    fresh = save(tmp_path / "laptop", record(), SECOND)
    reference = save_reference(tmp_path / "reference" / "laptop", record(), SECOND, other)
    assert gate(fresh, reference).failed
    report = gate(fresh, reference, "toy")
    assert not report.moved and report.compared == 2


def test_a_missing_reference_names_the_command(tmp_path):
    save(tmp_path / "smoke", record())
    with pytest.raises(RescoreError, match="diff.csv: no such file; make it with `rescore accept --scale smoke --results /.*`"):
        gate(tmp_path / "smoke", tmp_path / "reference" / "smoke")
    with pytest.raises(RescoreError, match="make it with `snakemake --profile profiles/gpu --config results=/.*`"):
        gate(tmp_path / "gpu", tmp_path / "reference" / "gpu")
