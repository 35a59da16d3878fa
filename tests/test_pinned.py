"""Pinned numbers on another machine class: rounding passes, a method or a metric that is wrong does not."""

import csv
from types import SimpleNamespace

import pinned
import pytest
from pinned import FOLDER, check_pinned


def rows(name: str = "sampler_matrix", wrong: float = 1.0, column: str = "", **where: str) -> list[SimpleNamespace]:
    """The measurements of a pinned file; those `where` times `wrong`, in one column or in both."""
    with open(FOLDER / f"{name}.csv", newline="") as stream:
        kept = [row for row in csv.DictReader(stream) if not row["table"].startswith("(")]
    found = []
    for row in kept:
        factor = wrong if all(row[key] == text for key, text in where.items()) else 1.0
        scaled = {key: factor if column in ("", key) else 1.0 for key in pinned.NUMBERS}
        numbers = {key: float(row[key]) * scaled[key] if row[key] else None for key in pinned.NUMBERS}
        found.append(SimpleNamespace(**{key: text or None for key, text in row.items()} | numbers))
    return found


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """elsewhere(kept) pins these, and from then on the machine is of another class."""

    def pin(kept: list[SimpleNamespace]) -> None:
        monkeypatch.setattr(pinned, "FOLDER", tmp_path)
        monkeypatch.setenv("RESCORE_PIN", "1")
        check_pinned("kept", kept)
        monkeypatch.delenv("RESCORE_PIN")
        monkeypatch.setattr(pinned, "device_name", lambda device: "another machine")

    return pin


@pytest.mark.parametrize("column", ["value", ""])
def test_one_method_times_ten_is_caught_elsewhere(elsewhere, column):
    """Each is less than a tenth of the numbers, and of the values alone only half of its own."""
    right = rows()
    sizes = {method: sum(row.method == method for row in right) for method in sorted({row.method for row in right})}
    wrong = {method: rows(wrong=10.0, column=column, method=method) for method, n in sizes.items() if n > 3}
    assert len(wrong) > 20 and max(sizes.values()) < 0.1 * len(right)
    elsewhere(right)
    check_pinned("kept", right)
    for method, measured in wrong.items():
        with pytest.raises(AssertionError, match=rf"'method', '{method}'"):
            check_pinned("kept", measured)


def test_one_metric_off_by_thirty_percent_is_caught_elsewhere(elsewhere):
    right, wrong = rows("deis"), rows("deis", 1.3, metric="bpd")
    assert 0 < sum(row.metric == "bpd" for row in right) < 0.02 * len(right)
    elsewhere(right)
    with pytest.raises(AssertionError, match="'metric', 'bpd'"):
        check_pinned("kept", wrong)


def test_one_chaotic_solution_may_move_all_that_is_measured_from_it_elsewhere(elsewhere):
    """Gaps from an adaptive solver's likelihood: it changed by 0.5 %, hence each gap by 0.05, the smallest by far more."""
    right, moved = rows("deis"), rows("deis")
    gaps = [row for row in moved if row.metric == "bpd_gap"]
    assert sum(row.value < 5 for row in gaps) > len(gaps) / 2 and min(row.value for row in gaps) < 0.2
    for row in gaps:
        row.value += 0.05
    elsewhere(right)
    check_pinned("kept", moved)


def scattered(wrong: int, n: int = 40) -> list[SimpleNamespace]:
    """A value of 1 without an error of each of n methods, of the first `wrong` ones 2, and a zero of each."""
    blank = dict.fromkeys((*pinned.EXACT, *pinned.NUMBERS)) | {"protocol": ""}
    return [
        SimpleNamespace(**blank | {"method": f"method {i:02}", "metric": metric, "value": value})
        for i in range(n)
        for metric, value in (("error", 2.0 if i < wrong else 1.0), ("bias", 0.0))
    ]


def test_a_tenth_of_what_is_a_number_may_differ_elsewhere(elsewhere):
    """Of 40 numbers: not of the 80 errors that there are none of, nor of the 40 zeros that would agree whatever was wrong."""
    elsewhere(scattered(0))
    check_pinned("kept", scattered(4))
    with pytest.raises(AssertionError):
        check_pinned("kept", scattered(5))


def test_on_the_machine_of_the_pin_no_number_may_differ(elsewhere, monkeypatch):
    here = pinned.device_name
    elsewhere(scattered(0))
    check_pinned("kept", scattered(1))
    monkeypatch.setattr(pinned, "device_name", here)
    with pytest.raises(AssertionError):
        check_pinned("kept", scattered(1))


def test_a_second_class_that_is_added_is_checked_strictly_but_for_chaotic_rows(elsewhere, monkeypatch):
    """Here and there nothing moves that agreed on both; on a third class the check is as loose as it was."""
    here = pinned.device_name
    elsewhere(scattered(0))
    monkeypatch.setenv("RESCORE_PIN", "add")
    check_pinned("kept", scattered(2))
    monkeypatch.delenv("RESCORE_PIN")
    for machine in (here, pinned.device_name):
        monkeypatch.setattr(pinned, "device_name", machine)
        for chaotic in range(3):
            check_pinned("kept", scattered(chaotic))
        with pytest.raises(AssertionError):
            check_pinned("kept", scattered(3))
    monkeypatch.setattr(pinned, "device_name", lambda device: "a third machine")
    check_pinned("kept", scattered(4))
    monkeypatch.setenv("RESCORE_PIN", "add")
    with pytest.raises(AssertionError, match="other rows: RESCORE_PIN=1"):
        check_pinned("kept", scattered(0)[1:])


@pytest.mark.parametrize("change", [{"over": "trainings"}, {"df": "3"}, {"n_samples": "5"}])
def test_what_an_error_is_of_is_pinned(elsewhere, change):
    right = rows()
    elsewhere(right)
    check_pinned("kept", right)
    assert all(getattr(right[7], key) != text for key, text in change.items())
    with pytest.raises(AssertionError):
        check_pinned("kept", [*right[:7], SimpleNamespace(**vars(right[7]) | change), *right[8:]])
