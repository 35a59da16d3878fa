"""Books and cells: what a number becomes of its repeats, what a failure leaves, and what a killed job finds again."""

import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rescore.cli import main
from rescore.config import step_hash
from rescore.cost.evaluations import note
from rescore.errors import Diverged, MissingData, RescoreError
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Run
from rescore.experiments.journal import ENTRY
from rescore.ledger.records import read_records
from rescore.papers import load_config, load_paper

KEY = ("3.1", "rings", "DiffFlow", "ELBO", 30)


def run_in(folder: Path) -> Run:
    return Run("paper", "smoke", "job", folder, "cpu", 1)


class Config:
    jobs: dict = {}


def book(folder: Path | None = None, **protocol: object) -> Book:
    return Book(Config(), run_in(folder) if folder else None, protocol)


# --- numbers ------------------------------------------------------------------------------------------------------------------


def test_a_number_is_the_mean_with_its_standard_error():
    found = book(pixels="0 to 1")
    with found.cell(*KEY, {"batch": 5}, n=100, over="trainings") as cell:
        cell.add("nll", [1.0, 2.0, 6.0], judged="yes")
    (one,) = found.result.measurements
    # variance 7 of the three values, over 3
    assert (one.value, one.stderr) == (3.0, pytest.approx((7 / 3) ** 0.5, rel=1e-15))
    assert (one.table, one.dataset, one.method, one.variant, one.nfe, one.metric) == (*KEY, "nll")
    assert (one.n_seeds, one.n_samples, one.df, one.over) == (3, 300, 2, "trainings")
    assert one.protocol == {"batch": 5, "pixels": "0 to 1", "judged": "yes"} and one.seconds > 0


def test_samplings_of_one_training_are_one_training():
    found = book()
    with found.cell(*KEY, n=4) as cell:
        cell.add("nll", [1.0, 2.0, 6.0], over="samplings", n=7)
    (one,) = found.measurements
    assert (one.n_seeds, one.df, one.over, one.n_samples) == (1, 2, "samplings", 21)
    assert one.stderr == pytest.approx((7 / 3) ** 0.5)


def test_matched_cells_keep_the_value_of_each_repeat():
    """Of what the cell repeats, where there is more than one; not of other repeats than the cell's."""
    found = book()
    with found.cell(*KEY, over="trainings", matched="digits/vp") as cell:
        cell.add("nll", [1.0, 2.0, 1 / 3])
        cell.add("single", [1.0])
        cell.add("of runs", [1.0, 2.0], over="runs")
    with found.cell(*KEY[:-1], nfe=40, over="trainings") as alone:
        alone.add("nll", [1.0, 2.0])
    with found.cell("4", "rings", "DiffFlow") as again:
        again.repeat(cell)  # printed in two places
    told = [(one.table, one.metric, one.matched, one.values) for one in found.measurements if one.values or one.matched]
    assert told == [(table, "nll", "digits/vp", "1 2 0.3333333333") for table in ("3.1", "4")]


def test_one_repeat_has_no_standard_error_and_a_count_has_none_to_have():
    found = book()
    with found.cell(*KEY) as cell:
        cell.add("nll", [2.0])
        cell.exact("count", 7, n=0)
        cell.add("also exact", [8.0], over="exact")
        cell.estimate("median", 3.0, 0.5, 4, n=10)
        cell.estimate("of runs", 3.0, 0.5, 4, seeds=1)
        cell.estimate("of samplings", 3.0, 0.5, 4, over="samplings")
    single, count, also, median, runs, samplings = found.measurements
    assert (single.stderr, single.df, single.n_seeds) == (None, None, 1)
    assert (count.value, count.stderr, count.df, count.over, count.n_samples) == (7.0, 0.0, None, "exact", 0)
    assert (also.value, also.stderr, also.over) == (8.0, 0.0, "exact")
    assert (median.value, median.stderr, median.df, median.n_seeds, median.n_samples) == (3.0, 0.5, 3, 4, 40)
    assert (runs.df, runs.n_seeds) == (samplings.df, samplings.n_seeds) == (3, 1)


def test_a_median_has_the_error_of_normal_repeats_and_a_single_one_has_none():
    found = book()
    with found.cell(*KEY[:4], n=5) as cell:
        cell.add("mean", [1.0, 2.0, 6.0])
        cell.median("median", [1.0, 2.0, 6.0], how="median")
        cell.median("single", [4.0])
    mean, median, single = found.measurements
    assert (median.value, median.df, median.n_seeds, median.n_samples) == (2.0, 2, 3, 15)
    assert median.stderr == pytest.approx(mean.stderr * np.sqrt(np.pi / 2)) and median.protocol["how"] == "median"
    assert (single.value, single.stderr, single.df, single.n_seeds, single.n_samples) == (4.0, None, None, 1, 5)


def test_what_is_known_in_the_block_enters_the_key():
    found = book()
    with found.cell(*KEY[:4]) as cell:
        cell.nfe, cell.protocol["evaluations"] = 36, 36
        cell.add("nll", [1.0, 2.0])
    assert (found.measurements[0].nfe, found.measurements[0].protocol) == (36, {"evaluations": 36})


def test_axes_spell_a_choice_and_find_it_again():
    lam = Axes("{kind}, lam={lam:g}")
    assert lam(kind="EM", lam=0.5) == "EM, lam=0.5"
    assert lam.by("lam", (0.0, 0.5), kind="EM") == {"EM, lam=0": 0.0, "EM, lam=0.5": 0.5}


# --- failures -----------------------------------------------------------------------------------------------------------------


def test_a_cell_that_diverges_is_skipped_whole_and_bad_input_is_not():
    found = book()
    with found.cell(*KEY) as cell:
        cell.add("nll", [1.0, 2.0])
        raise Diverged("too large")
    with found.cell("3.1", "rings", "other") as cell:
        cell.add("nll", [1.0, 2.0])
    assert [one.method for one in found.measurements] == ["other"]
    key = dict(zip(("table", "dataset", "method", "variant", "nfe"), KEY, strict=True))
    assert found.skipped == [{**key, "reason": "diverged: too large"}]
    with pytest.raises(RescoreError, match="^bad input$"), found.cell(*KEY):
        raise RescoreError("bad input")


@pytest.mark.parametrize(("values", "said"), [([1.0, math.nan], "score is nan"), ([1.0, math.inf], "score is inf")])
def test_a_number_that_is_not_finite_is_skipped_and_the_others_stay(values, said):
    """Else its record would be refused when all is done, and again after each restart."""
    found = book()
    for name, repeats in {"A": values, "B": [1.0, 3.0]}.items():
        with found.cell("1", "mg", name, "") as cell:
            cell.add("before", [1.0, 2.0])
            cell.add("score", repeats)
    assert [(one.method, one.metric) for one in found.measurements] == [("B", "before"), ("B", "score")]
    (skipped,) = found.skipped
    assert skipped["method"] == "A" and skipped["reason"].startswith(f"diverged: {said}")


def test_what_cannot_be_measured_is_skipped_with_its_reason():
    found = book()
    for error, reason in ((Diverged("too large"), "diverged: too large"), (MissingData("no file"), "no file")):
        with found.skipping(dataset="rings"):
            raise error
        assert found.skipped.pop() == {"dataset": "rings", "reason": reason}
    with pytest.raises(RescoreError, match="^bad input$"), found.skipping(dataset="rings"):
        raise RescoreError("bad input")


# --- what is kept -------------------------------------------------------------------------------------------------------------


def three(found: Book, fail: str = "", measured: list | None = None) -> Book:
    """Three cells; `fail` ends the process at one of them."""
    for i, method in enumerate(("a", "b", "c")):
        with found.cell("1", "data", method, nfe=5, protocol={"t0": 0.1}, n=2) as cell:
            if cell.todo:
                if method == fail:
                    raise KeyboardInterrupt
                note(10 + i)
                cell.add("error", np.random.default_rng(i).normal(size=4) / 3)
                cell.arrays[f"x/{method}"] = np.arange(i + 2.0)
                (measured if measured is not None else []).append(method)
    return found


def without_times(found: Book) -> list[tuple]:
    return [
        (
            one.table,
            one.dataset,
            one.method,
            one.variant,
            one.metric,
            one.nfe,
            one.value,
            one.stderr,
            one.df,
            one.over,
            one.n_seeds,
            one.n_samples,
        )
        for one in found.measurements
    ]


def test_finished_cells_are_taken_up_again_to_the_bit(tmp_path):
    whole = three(book())
    evaluations = whole.result.function_evaluations
    with pytest.raises(KeyboardInterrupt):
        three(book(tmp_path), fail="c")
    measured: list[str] = []
    again = three(book(tmp_path), measured=measured)
    assert measured == ["c"] and without_times(again) == without_times(whole)
    assert again.result.function_evaluations == evaluations == 33
    assert {name: values.tolist() for name, values in again.arrays.items()} == {
        name: values.tolist() for name, values in whole.arrays.items()
    }
    measured.clear()
    assert without_times(three(book(tmp_path), measured=measured)) == without_times(whole) and measured == []


def test_what_finished_cells_took_stays_the_job_s(tmp_path, monkeypatch):
    """A job that is killed and started again took the seconds of both processes, but for the cell that was cut off."""
    opened_a_b, opened_c, opened = [(0.0, 0.0), (2.0, 1.0), (5.0, 3.0)], [(90.0, 40.0), (91.0, 40.5)], [(7.0, 7.0)]
    clock = iter(opened_a_b + opened_c + opened)
    monkeypatch.setattr("rescore.experiments.book._clocks", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt):
        three(book(tmp_path), fail="c")
    again, whole = three(book(tmp_path)).result, three(book(tmp_path)).result
    assert (again.earlier_seconds, again.earlier_cpu_seconds) == (5.0, 3.0)
    assert (whole.earlier_seconds, whole.earlier_cpu_seconds) == (6.0, 3.5)


def test_a_line_that_a_kill_has_cut_is_measured_again_and_spoils_no_other(tmp_path):
    three(book(tmp_path))
    path = tmp_path / "cells" / "cells.jsonl"
    path.write_text(path.read_text()[:-20])
    measured: list[str] = []
    three(book(tmp_path), measured=measured)
    assert measured == ["c"]
    measured.clear()
    three(book(tmp_path), measured=measured)
    assert measured == []


OTHER = json.dumps({key: [] for key in ENTRY}).encode()


@pytest.mark.parametrize("line", [b"\xff\xfe", b"null", b"{}", b"3", b"9" * 5000, b"[" * 100_000, OTHER])
def test_a_line_that_is_none_of_ours_counts_for_nothing(tmp_path, line):
    three(book(tmp_path))
    with open(tmp_path / "cells" / "cells.jsonl", "ab") as stream:
        stream.write(line + b"\n")
    measured: list[str] = []
    three(book(tmp_path), measured=measured)
    assert measured == []


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:60])])
def test_cells_without_their_arrays_are_measured_again(tmp_path, damage):
    three(book(tmp_path))
    damage(next((tmp_path / "cells").glob("*.npz")))
    measured: list[str] = []
    three(book(tmp_path), measured=measured)
    assert len(measured) == 1


def test_cells_of_other_code_are_measured_again_and_it_says_so_once(tmp_path, monkeypatch, capsys):
    three(book(tmp_path))
    monkeypatch.setattr("rescore.experiments.journal.code_digest", lambda *_: "other code")
    measured: list[str] = []
    three(book(tmp_path), measured=measured)
    assert measured == ["a", "b", "c"]
    assert "cells.jsonl: 3 kept cells are of other code, another torch or another device" in capsys.readouterr().err
    three(book(tmp_path), measured=measured)
    assert len(measured) == 3 and not capsys.readouterr().err, "those of before are there still, and have been measured again"


def test_the_digest_is_of_the_library_the_paper_and_the_device(tmp_path, monkeypatch):
    from rescore.experiments.journal import code_digest

    (tmp_path / "jobs.py").write_text("one")
    before = code_digest(tmp_path, "cpu")
    assert before == code_digest(tmp_path, "cpu")
    (tmp_path / "jobs.py").write_text("two")
    assert code_digest(tmp_path, "cpu") != before
    (tmp_path / "jobs.py").write_text("one")
    monkeypatch.setattr("rescore.experiments.journal._library_digest", lambda: b"another library")
    assert code_digest(tmp_path, "cpu") != before
    monkeypatch.undo()
    assert code_digest(tmp_path, "cpu") == before
    monkeypatch.setattr("rescore.machine.hardware.device_name", lambda device: "another machine")
    assert code_digest(tmp_path, "cpu") != before


def test_a_place_opened_twice_is_two_cells(tmp_path):
    for _ in range(2):
        found = book(tmp_path)
        for metric in ("first", "second"):
            with found.cell(*KEY) as cell:
                if cell.todo:
                    cell.add(metric, [1.0, 2.0])
        assert [one.metric for one in found.measurements] == ["first", "second"]


def test_a_cell_that_an_earlier_process_finished_is_repeated_whole(tmp_path):
    """A job killed between the two: the first is found again, and the second has its numbers all the same."""
    for killed in (True, False):
        found = book(tmp_path)
        with found.cell("9", *KEY[1:]) as one:
            if one.todo:
                one.add("fid", [1.0, 3.0])
        if not killed:
            with found.cell("1", *KEY[1:]) as other:
                other.repeat(one)
    assert not one.todo
    assert [(number.table, number.value, number.stderr) for number in found.measurements] == [("9", 2.0, 1.0), ("1", 2.0, 1.0)]


def test_the_seconds_of_a_number_begin_where_its_work_began():
    """What several cells have in common, such as samples, is made before the block."""
    found = book()
    with found.cell(*KEY, began=time.perf_counter() - 50) as cell:
        cell.add("nll", [1.0])
    with found.cell("1", *KEY[1:]) as cell:
        cell.add("nll", [1.0])
    before, alone = (number.seconds for number in found.measurements)
    assert 50 <= before < 60 and 0 < alone < 10


def test_a_skipped_cell_stays_skipped(tmp_path):
    for _ in range(2):
        found = book(tmp_path)
        with found.cell(*KEY) as cell:
            if cell.todo:
                raise Diverged("too large")
        assert [row["reason"] for row in found.skipped] == ["diverged: too large"]


# --- jobs ---------------------------------------------------------------------------------------------------------------------

PAPER = {
    "paper.yaml": "title: Counting\ncitation: Nobody.\n",
    "published.csv": "paper,table,dataset,method,variant,metric,nfe,value,uncertainty,direction,source,note\n",
    "config.py": """
from rescore.config import JobConfig, PaperConfig, SectionSettings

class First(SectionSettings):
    shift: float = 0.0

class Config(PaperConfig):
    seed: int = 0
    first: First = First()
    jobs: dict[str, JobConfig]
""",
    "jobs.py": """
import os, signal
from pathlib import Path
import numpy as np

def cells(book, table, shift):
    for method in ("a", "b", "c"):
        with book.cell(table, "data", method, n=1) as cell:
            if cell.todo:
                if os.environ.get("KILL") == f"{table}{method}":
                    os.kill(os.getpid(), signal.SIGKILL)
                with open(os.environ["SEEN"], "a") as seen:
                    seen.write(f"{table}{method} ")
                cell.add("value", np.random.default_rng(ord(method)).normal(size=3) / 7 + shift)

def first(book):
    cells(book, "1", book.config.first.shift)

def second(book):
    cells(book, "2", 0.0)

SECTIONS = {"first": first, "second": second}
""",
}


@pytest.fixture
def counting(tmp_path):
    """A repository of one paper with two sections of three cells, and the way to run it."""
    folder = tmp_path / "reproductions" / "counting"
    (folder / "configs").mkdir(parents=True)
    for name, content in PAPER.items():
        (folder / name).write_text(content)
    config, seen = folder / "configs" / "smoke.yaml", tmp_path / "seen"

    def run(settings: str = "", **environment: str) -> tuple[int, list[str]]:
        """The exit status of `rescore run`, in a process that finds the slow imports done, and the cells that it measured."""
        config.write_text(f"{settings}\njobs:\n  all: {{measure: [first, second]}}\n")
        seen.write_text("")
        sys.stdout.flush()
        child = os.fork()
        if not child:
            status = 1
            try:
                os.chdir(tmp_path)
                os.environ.update(environment, SEEN=str(seen))
                status = main(["run", "counting", "measure", "--scale", "smoke", "--job", "all", "--root", "."])
            except SystemExit as end:
                status = end.code
            finally:
                os._exit(status)  # nothing of pytest's runs twice
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen.read_text().split()

    run.folder = tmp_path
    return run


def test_a_killed_job_goes_on_at_the_next_cell_with_equal_bits(counting):
    records = counting.folder / "results/smoke/counting/all/records.csv"
    status, seen = counting(KILL="2b")
    assert status == -9 and seen == ["1a", "1b", "1c", "2a"] and not records.exists()
    status, seen = counting()
    assert status == 0 and seen == ["2b", "2c"]
    resumed = [(one.key, one.value, one.stderr) for one in read_records(records)]
    for folder in (counting.folder / "results/smoke/runs").iterdir():
        (folder / "cells" / "cells.jsonl").unlink(missing_ok=True)
    status, seen = counting()
    assert len(seen) == 6 and [(one.key, one.value, one.stderr) for one in read_records(records)] == resumed


def test_a_changed_setting_runs_its_own_section_again(counting):
    counting()
    status, seen = counting("first: {shift: 1.0}")
    assert status == 0 and seen == ["1a", "1b", "1c"]
    status, seen = counting("seed: 3")
    assert len(seen) == 6, "a shared setting is every section's"


def test_what_a_step_depends_on(counting):
    counting()
    paper = load_paper("counting", counting.folder)
    config = load_config(paper, "smoke")
    first, second = config.jobs["all"].steps
    moved = config.model_copy(update={"first": config.first.model_copy(update={"shift": 2.0})})
    assert step_hash(config, "counting", "all", first) != step_hash(moved, "counting", "all", first)
    assert step_hash(config, "counting", "all", second) == step_hash(moved, "counting", "all", second)
    assert len({step_hash(config, "counting", "all", step) for step in (first, second)}) == 2
    lines = [line for path in (counting.folder / "results").rglob("cells.jsonl") for line in path.read_text().splitlines()]
    assert {json.loads(line)["measurements"][0]["table"] for line in lines} == {"1", "2"}


def test_a_cell_repeats_the_numbers_of_another_in_its_own_place():
    book = Book(load_config(load_paper("deis"), "smoke"))
    with book.cell("9", "d", "CLD", "EM-QS", 2000, {"a": 1}, n=5) as one:
        one.add("fid", [1.0, 3.0])
    with book.cell("1", "d", "CLD", "SDE", 2000, {"a": 1}, n=5) as other:
        other.repeat(one)
    first, second = book.measurements
    assert (second.table, second.variant) == ("1", "SDE")
    assert (second.value, second.stderr, second.n_samples) == (first.value, first.stderr, first.n_samples) == (2.0, 1.0, 10)
    with book.cell("9", "d", "CLD", "EM-US", 5) as gone:
        raise Diverged("at t = 1")
    with book.cell("1", "d", "CLD", "US", 5) as missing:
        missing.repeat(gone)
    assert [row["variant"] for row in book.skipped] == ["EM-US", "US"] and "at t = 1" in book.skipped[1]["reason"]
