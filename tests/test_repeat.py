"""Repeated runs go on behind what was finished, and a damaged file costs only time."""

from pathlib import Path

import numpy as np
import pytest
from rescore.errors import RescoreError
from rescore.experiments.repeat import repeat_runs


class Killed(Exception):
    pass


class Repeats:
    """Run r gives numbers that depend on r alone; call number `fail_at_call` fails."""

    def __init__(self, fail_at_call: int | None = None):
        self.batches, self.fail_at_call = [], fail_at_call

    def __call__(self, which: range) -> dict[str, np.ndarray]:
        self.batches.append(list(which))
        if len(self.batches) == self.fail_at_call:
            raise Killed
        draws = np.stack([np.random.default_rng(r).standard_normal(3) for r in which])
        return {"log_z": draws[:, 0], "samples": draws.astype(np.float32)}


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, np.ndarray]:
    return repeat_runs(Repeats(), 10, 3, tmp_path_factory.mktemp("repeat") / "runs.npz")


def test_all_runs_in_batches(tmp_path, whole):
    repeats = Repeats()
    done = repeat_runs(repeats, 10, 4, tmp_path / "runs.npz")
    assert repeats.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert done["log_z"].shape == (10,) and done["samples"].shape == (10, 3)
    assert_same(done, whole)


@pytest.mark.parametrize("killed_in", [1, 2, 3, 4])
def test_resume_in_the_middle_is_the_uninterrupted_result(tmp_path, whole, killed_in):
    path = tmp_path / "runs.npz"
    with pytest.raises(Killed):
        repeat_runs(Repeats(fail_at_call=killed_in), 10, 3, path)
    repeats = Repeats()
    assert_same(repeat_runs(repeats, 10, 3, path), whole)
    assert repeats.batches[0][0] == 3 * (killed_in - 1), "goes on behind the finished batches"
    assert len(list(tmp_path.iterdir())) == 1


def test_finished_runs_are_only_loaded(tmp_path, whole):
    repeat_runs(Repeats(), 10, 3, tmp_path / "runs.npz")
    assert_same(repeat_runs(Repeats(fail_at_call=1), 10, 3, tmp_path / "runs.npz"), whole)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[150] ^= 255  # inside the first array: the zip's checksum notices
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [cut, flip, lambda path: path.write_bytes(b""), lambda path: path.write_text("not an archive")],
    ids=["cut short", "changed", "empty", "text"],
)
def test_a_damaged_file_is_made_again_with_a_warning(tmp_path, whole, capsys, damage):
    path = tmp_path / "runs.npz"
    with pytest.raises(Killed):
        repeat_runs(Repeats(fail_at_call=3), 10, 3, path)
    damage(path)
    capsys.readouterr()
    repeats = Repeats()
    assert_same(repeat_runs(repeats, 10, 3, path), whole)
    assert repeats.batches[0] == [0, 1, 2]
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and f"{path}: not an npz of arrays (" in warnings[0] and "its runs are made again" in warnings[0]


def test_a_leftover_of_a_killed_write_is_harmless(tmp_path, whole):
    (tmp_path / ".runs.npz.x7k2").write_bytes(b"half an arch")
    assert_same(repeat_runs(Repeats(), 10, 3, tmp_path / "runs.npz"), whole)


def test_fewer_runs_than_are_kept_are_the_first_ones_and_none_is_lost(tmp_path, whole):
    path = tmp_path / "runs.npz"
    repeat_runs(Repeats(), 10, 3, path)
    few = repeat_runs(Repeats(fail_at_call=1), 4, 3, path)
    assert_same(few, {name: rows[:4] for name, rows in whole.items()})
    assert_same(repeat_runs(Repeats(fail_at_call=1), 10, 3, path), whole)


@pytest.mark.parametrize(
    ("runs", "together", "name"), [(0, 3, "runs"), (-2, 3, "runs"), (3, 0, "together"), (3, -1, "together")]
)
def test_no_runs_and_none_together_are_one_clear_error(tmp_path, runs, together, name):
    value = min(runs, together)
    with pytest.raises(RescoreError, match=f"mine: {name} = {value}; allowed are integers from 1 on"):
        repeat_runs(Repeats(fail_at_call=1), runs, together, tmp_path / "runs.npz", "mine")
