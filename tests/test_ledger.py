"""Records, published numbers, protocols and verdicts."""

import math
from pathlib import Path

import numpy as np
import pytest
from rescore.errors import RescoreError
from rescore.ledger import diff as verdicts
from rescore.ledger.cost import read_costs
from rescore.ledger.diff import RELATIVE_FLOOR, diff, read_diff, tolerance, within, write_diff
from rescore.ledger.protocol import declared_protocol, format_protocol, parse_protocol, same_value
from rescore.ledger.published import COLUMNS as PUBLISHED_COLUMNS
from rescore.ledger.published import Published, read_published
from rescore.ledger.records import (
    COLUMNS,
    Record,
    collect_records,
    matches,
    read_records,
    read_skipped,
    write_records,
    write_skipped,
)
from rescore.ledger.statistics import LEVEL, UNKNOWN, Error, combined, p_above
from rescore.ledger.tables import best_verdicts, compare, own_rows, paper_table, readme_block, with_block
from rescore.papers import NotRunEntry, Paper, PaperMeta, ProtocolEntry

PIS = Path(__file__).parents[1] / "reproductions" / "pis" / "published.csv"


def record(**changes) -> Record:
    """A record of a paper `toy`, some columns changed; one with stderr 0 is exact, another error has the normal law's df."""
    stderr = changes.get("stderr", 0.01)
    columns = {"df": None if not stderr else 10**9, "over": "exact" if stderr == 0 else "trainings"}
    columns |= {
        "paper": "toy",
        "table": "1",
        "dataset": "mg",
        "method": "PIS",
        "variant": "NN",
        "metric": "logz_bias",
        "nfe": 100,
        "value": -1.0,
        "stderr": 0.01,
        "n_seeds": 3,
        "n_samples": 1000,
        "protocol": "runs=100; steps=100",
        "scale": "laptop",
        "device": "cpu A",
        "seconds": 1.5,
        "version": "0.1.0+gabc1234.torch2.11.0",
        "config_hash": "0123456789ab",
    }
    return Record(**(columns | changes))


def printed(**changes) -> Published:
    """The published row that `record()` answers, with some columns changed."""
    columns = {
        "paper": "toy",
        "table": "1",
        "dataset": "mg",
        "method": "PIS",
        "variant": "NN",
        "metric": "logz_bias",
        "nfe": 100,
        "value": "-1.0",
        "uncertainty": "",
        "direction": "target",
        "source": "Table 1",
        "note": "",
    }
    return Published(**(columns | changes))


def paper(protocols=({"stated": {"runs": 100}},), not_run=()) -> dict[str, Paper]:
    meta = PaperMeta(
        title="A toy",
        citation="none",
        protocols=[ProtocolEntry(**entry) for entry in protocols],
        not_run=[NotRunEntry(**entry) for entry in not_run],
    )
    return {"toy": Paper("toy", Path("reproductions/toy"), meta)}


def verdict(measured: Record, published: Published, **kwargs) -> dict:
    (row,) = diff([measured], [published], paper(**kwargs)).to_dict("records")
    return row


# records


def test_floats_come_back_bit_equal_and_sorted(tmp_path):
    values = [0.1 + 0.2, -1e-300, 1 / 3, math.pi * 1e20]
    written = [record(nfe=nfe, value=value, stderr=value**2) for nfe, value in zip([1000, None, 100, 20], values, strict=True)]
    write_records(tmp_path / "records.csv", written)
    found = read_records(tmp_path / "records.csv")
    assert [r.nfe for r in found] == [None, 20, 100, 1000]
    assert set(found) == set(written)


def test_text_with_commas_quotes_and_line_ends_survives(tmp_path):
    written = record(protocol='a=x, "y"', device="cpu A\nB", stderr=None, variant="")
    write_records(tmp_path / "records.csv", [written])
    assert read_records(tmp_path / "records.csv") == [written]


@pytest.mark.parametrize(
    ("column", "text", "problem"),
    [
        ("value", "nan", "column value: 'nan' is not finite"),
        ("value", "-inf", "column value: '-inf' is not finite"),
        ("value", "0.1x", "column value: '0.1x' is not a number"),
        ("value", "", "column value: '' is not a number"),
        ("stderr", "-0.1", "column stderr: -0.1 is below 0"),
        ("nfe", "2.5", "column nfe: '2.5' is not a whole number"),
        ("n_seeds", "0", "column n_seeds: 0.0 is below 1"),
        ("df", "0", "column df: 0.0 is below 1"),
        ("over", "seeds", "column over: unknown 'seeds'; allowed: trainings, samplings, runs, exact"),
        ("scale", "huge", "column scale: unknown scale 'huge'; allowed: smoke, laptop, gpu, paper"),
        ("scale", "paper", "column scale: 'paper' in results of scale 'laptop'"),
        ("method", " ", "column method: ' ' is not a non-empty text"),
    ],
)
def test_a_bad_row_names_file_line_and_column(tmp_path, column, text, problem):
    path = tmp_path / "records.csv"
    write_records(path, [record(), record(nfe=200)])
    head, first, second = path.read_text().splitlines()
    cells = second.split(",")
    cells[COLUMNS.index(column)] = text
    path.write_text("\n".join([head, first, ",".join(cells)]) + "\n")
    with pytest.raises(RescoreError) as error:
        read_records(path, "laptop")
    assert f"{path}, line 3, {problem}" in str(error.value)


def test_a_nan_is_refused_before_it_is_written():
    with pytest.raises(RescoreError, match="toy/1/mg/PIS/NN/logz_bias/100: column value: nan is not finite"):
        record(value=math.nan)


@pytest.mark.parametrize(("column", "text"), [("df", ""), ("stderr", ""), ("over", "exact")])
def test_an_error_and_its_degrees_of_freedom_come_together(tmp_path, column, text):
    path = tmp_path / "records.csv"
    write_records(path, [record()])
    head, row = path.read_text().splitlines()
    cells = row.split(",")
    cells[COLUMNS.index(column)] = text
    path.write_text("\n".join([head, ",".join(cells)]) + "\n")
    with pytest.raises(RescoreError, match="line 2: record toy/1/mg.*column df: .* an exact number has stderr 0 and no df"):
        read_records(path)


def test_duplicate_keys_name_both_places(tmp_path):
    write_records(tmp_path / "a.csv", [record(nfe=50), record()])
    write_records(tmp_path / "b.csv", [record(value=-2.0)])
    with pytest.raises(RescoreError) as error:
        collect_records([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert f"{tmp_path / 'b.csv'}, line 2: duplicate key toy/1/mg/PIS/NN/logz_bias/100" in str(error.value)
    assert f"already in {tmp_path / 'a.csv'}, line 3" in str(error.value)
    with pytest.raises(RescoreError, match="two records for toy/1/mg"):
        write_records(tmp_path / "c.csv", [record(), record(value=-2.0)])
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda text: text.replace("config_hash", "digest", 1), "line 1: unknown column 'digest'; allowed: paper, table"),
        (lambda text: "".join(line.rpartition(",")[0] + "\n" for line in text.splitlines()), "missing column config_hash"),
        (lambda text: text[:-5], "the last line has no end: the file is cut short"),
        (lambda text: text[: text.rindex(",")] + "\n", "line 2, column config_hash: the row has 18 fields, the header 19"),
        (lambda text: text.replace("cpu A", '"cpu A'), "unexpected end of data"),
        (lambda text: "", "empty file"),
        (lambda text: text.replace("scale", "device", 1), "column 'device' appears twice"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path, edit, problem):
    path = tmp_path / "records.csv"
    write_records(path, [record()])
    path.write_text(edit(path.read_text()))
    with pytest.raises(RescoreError) as error:
        read_records(path)
    assert str(path) in str(error.value) and problem in str(error.value)


def test_skipped_rows_match_as_wildcards(tmp_path):
    path = tmp_path / "skipped.csv"
    write_skipped(path, [{"paper": "toy", "dataset": "lgcp", "reason": "no data"}])
    (row,) = read_skipped(path)
    assert row == {"paper": "toy", "dataset": "lgcp", "reason": "no data"}
    row.pop("reason")
    assert matches(row, printed(dataset="lgcp", variant="")) and not matches(row, printed(dataset="mg"))
    path.write_text("paper,reason\ntoy,\n")
    with pytest.raises(RescoreError, match="line 2, column reason: empty"):
        read_skipped(path)


# protocols


def test_protocols_round_trip_sorted():
    protocol = {"steps": 100, "lr": 5e-3, "clip": False, "sigma": 0.1 + 0.2, "budget": 1500.0}
    text = format_protocol(protocol)
    assert text == "budget=1500; clip=false; lr=0.005; sigma=0.30000000000000004; steps=100"
    assert parse_protocol(text)["sigma"] == "0.30000000000000004"
    assert parse_protocol("") == {}
    for bad in ({"a": "x;y"}, {"a=b": 1}):
        with pytest.raises(RescoreError):
            format_protocol(bad)
    for bad in ("a", "a=1; a=2"):
        with pytest.raises(RescoreError):
            parse_protocol(bad)


def test_numbers_are_compared_as_numbers():
    assert same_value(5e-3, "0.005") and same_value("1e3", 1000) and same_value(True, "true")
    assert not same_value("0.005", "0.0050001") and not same_value("ELBO", "RW")


def test_later_protocol_entries_win():
    entries = [
        ProtocolEntry(stated={"runs": 100, "steps": 100}, assumed={"particles": 1000}),
        ProtocolEntry(match={"dataset": ["mg", "funnel"]}, assumed={"steps": 50}),
        ProtocolEntry(match={"dataset": "lgcp"}, assumed={"particles": 1}),
    ]
    assert declared_protocol(entries, printed()) == ({"runs": 100}, {"particles": 1000, "steps": 50})
    assert declared_protocol(entries[1:2], printed(dataset="lgcp")) == ({}, {})
    with pytest.raises(RescoreError, match="unknown key datset; allowed: paper, table, dataset"):
        declared_protocol([ProtocolEntry(match={"datset": "mg"})], printed())


# published numbers


@pytest.mark.parametrize(
    ("text", "bound", "number", "half_unit"),
    [
        ("-1.3e3", "", -1300.0, 50.0),
        ("5e-3", "", 0.005, 0.0005),
        ("436", "", 436.0, 0.5),
        ("0.0591", "", 0.0591, 0.00005),
        ("-435", "", -435.0, 0.5),
        (">100", ">", 100.0, 0.5),
        ("<=3.70", "<=", 3.70, 0.005),
        ("0.370", "", 0.37, 0.0005),
    ],
)
def test_printed_text_is_read_as_a_number(text, bound, number, half_unit):
    row = printed(value=text)
    assert (row.bound, row.number) == (bound, number)
    assert row.half_unit == pytest.approx(half_unit, rel=1e-12)


@pytest.mark.parametrize(
    ("column", "text", "problem"),
    [
        ("value", "1,3", "column value: '1,3' is not a number as printed"),
        ("value", "nan", "column value"),
        ("direction", "up", "column direction: unknown 'up'; allowed: lower, higher, target"),
        ("uncertainty", "x", "column uncertainty: 'x' is not a number"),
        ("paper", "PIS", "column paper: 'PIS' is not the folder's name 'toy'"),
        ("nfe", "0", "column nfe: 0.0 is below 1"),
        ("metric", "", "column metric: empty"),
    ],
)
def test_a_bad_published_row_names_file_line_and_column(tmp_path, column, text, problem):
    row = {name: str(getattr(printed(), name)) for name in PUBLISHED_COLUMNS} | {column: text}
    path = tmp_path / "published.csv"
    path.write_text(",".join(PUBLISHED_COLUMNS) + "\n" + ",".join(f'"{cell}"' for cell in row.values()) + "\n")
    with pytest.raises(RescoreError) as error:
        read_published(path, "toy")
    assert f"{path}, line 2, " in str(error.value) and problem in str(error.value)


def test_a_published_key_may_not_appear_twice(tmp_path):
    row = ",".join(str(getattr(printed(), name)) for name in PUBLISHED_COLUMNS) + "\n"
    (tmp_path / "published.csv").write_text(",".join(PUBLISHED_COLUMNS) + "\n" + row + row)
    with pytest.raises(RescoreError, match="line 3: duplicate key toy/1/mg/PIS/NN/logz_bias/100, already in line 2"):
        read_published(tmp_path / "published.csv", "toy")


def test_pis_table_5_1_is_whole_and_consistent():
    rows = [row for row in read_published(PIS, "pis") if row.table == "5.1"]
    assert len(rows) == 84
    triples: dict[tuple, dict[str, Published]] = {}
    for row in rows:
        triples.setdefault((row.dataset, row.method, row.variant), {})[row.metric] = row
    assert len(triples) == 28
    for numbers in triples.values():  # A^2 = B^2 + S^2, each of the three rounded
        bias, std, rmse = (numbers[f"logz_{part}"] for part in ("bias", "std", "rmse"))
        least, most = (
            math.hypot(max(0.0, abs(bias.number) + sign * bias.half_unit), std.number + sign * std.half_unit)
            for sign in (-1, 1)
        )
        assert least - rmse.half_unit <= rmse.number <= most + rmse.half_unit, rmse


# verdicts


def test_tolerance_is_the_largest_of_three():
    assert tolerance(printed(value="-0.012")) == pytest.approx(RELATIVE_FLOOR["logz_bias"] * 0.012)
    assert tolerance(printed(value="5e-3")) == pytest.approx(0.0005)  # half a unit, equal to the floor here
    assert tolerance(printed(value="-1.3e3", metric="kl_phi")) == pytest.approx(65.0)  # default floor 0.05
    assert tolerance(printed(value="2", metric="fid")) == pytest.approx(0.5)
    assert tolerance(printed(value="-1.0", uncertainty="0.3")) == pytest.approx(0.6)
    assert tolerance(printed(value=">100", metric="fid")) == pytest.approx(5.0)


T_3 = 3.30681  # the 97.725 % quantile of Student's t with 3 degrees of freedom, from tables: 2 of the normal law's


def test_an_error_is_an_interval_by_students_t():
    row = verdict(record(stderr=0.02, df=3), printed(value="-1.00"))
    assert row["error"] == pytest.approx(T_3 * 0.02, rel=1e-5) and row["status"] == "reproduced"
    # two standard errors would be inside the tolerance of 0.1
    assert verdict(record(stderr=0.04, df=3), printed(value="-1.00"))["status"] == "imprecise"


@pytest.mark.parametrize(
    ("value", "stderr", "status"),
    [
        (-1.0, 0.0499, "reproduced"),
        (-1.0, 0.0501, "imprecise"),
        (-1.19, 0.0501, "imprecise"),
        (-1.21, 0.0501, "off"),
        (-1.11, 0.0499, "off"),
        (-1.09, 0.0499, "reproduced"),
    ],
)
def test_noise_is_not_rewarded(value, stderr, status):
    """The printed -1.00 allows 0.1: an error of ours above that decides only against the number."""
    row = verdict(record(value=value, stderr=stderr), printed(value="-1.00"))
    assert row["status"] == status and row["tolerance"] == pytest.approx(0.1)


def test_both_errors_count_where_both_are_small():
    row = verdict(record(value=-1.7, stderr=0.2), printed(value="-1.0", uncertainty="0.3"))
    assert row["tolerance"] == pytest.approx(math.hypot(0.6, 0.4)) and row["status"] == "reproduced"
    assert verdict(record(value=-1.73, stderr=0.2), printed(value="-1.0", uncertainty="0.3"))["status"] == "off"


def test_an_imprecise_number_says_what_would_decide_it():
    # a spread of 0.08 needs n with t(n - 1) 0.08 / sqrt(n) <= 0.1:
    # 2.649 * 0.08 / sqrt(6) = 0.0865, 2.869 * 0.08 / sqrt(5) = 0.103
    row = verdict(record(stderr=0.08 / 3**0.5, df=2), printed(value="-1.00"))
    assert row["note"] == "about 6 trainings would decide, 3 were made"
    one = verdict(record(stderr=None, n_seeds=1), printed(value="-1.00"))
    assert (one["status"], one["note"]) == ("imprecise", "the error is not known: more than 1 trainings would decide")
    assert math.isnan(one["error"]) and one["delta"] == 0
    alike = verdict(record(stderr=0.0, over="runs", df=3), printed(value="-1.00"))
    assert (alike["status"], alike["note"]) == ("imprecise", "the error is not known: more than 4 runs would decide")
    sampled = verdict(record(stderr=1e-6, df=3, over="samplings", n_seeds=1), printed(value="-1.00"))
    assert sampled["status"] == "imprecise" and "several trainings would decide" in sampled["note"]


def test_degrees_of_freedom_of_a_sum_are_welchs():
    # Welch 1947: (0.3^2 + 0.4^2)^2 / (0.3^4 / 2 + 0.4^4 / 5) = 0.0625 / 0.00917
    error = combined([Error(0.3, 2), Error(0.4, 5)])
    assert error.stderr == pytest.approx(0.5) and error.df == pytest.approx(0.0625 / 0.00917)
    assert combined([Error(0.3, 2), Error(0.0)]).df == pytest.approx(2)
    assert combined([Error(0.3), Error(0.4)]) == Error(pytest.approx(0.5), math.inf)
    assert combined([Error(0.3, 2), UNKNOWN]).stderr == math.inf


def test_p_values_agree_with_scipys_welch_test():
    from scipy import stats

    a, b = [1.0, 2.0, 4.0], [2.5, 3.0, 9.0, 4.5, 7.0]
    errors = [Error(np.std(x, ddof=1) / len(x) ** 0.5, len(x) - 1) for x in (a, b)]
    expected = stats.ttest_ind(b, a, equal_var=False, alternative="greater").pvalue
    assert p_above(np.mean(b) - np.mean(a), combined(errors)) == pytest.approx(expected, rel=1e-12)
    assert p_above(1.0, Error(0.5)) == pytest.approx(LEVEL / 2) and pytest.approx(0.0455003, abs=1e-7) == LEVEL


def test_equal_methods_are_told_apart_at_the_stated_level():
    """Two methods of one law, with 2 to 4 seeds each: a comparison errs at LEVEL, where two standard errors err 18 to 9 %."""
    rng = np.random.default_rng(0)
    for n, naive in ((2, 0.18), (3, 0.12), (4, 0.09)):
        x = rng.normal(size=(4000, 2, n))
        means, errors = x.mean(2), x.std(2, ddof=1) / n**0.5
        margins = means[:, 0] - means[:, 1]
        welch = [
            min(p_above(m, e), p_above(-m, e)) <= LEVEL / 2
            for m, e in zip(margins, (combined(Error(s, n - 1) for s in pair) for pair in errors), strict=True)
        ]
        assert np.mean(welch) <= LEVEL + 0.01  # Welch's test is conservative for few seeds
        assert (abs(margins) > 2 * np.hypot(*errors.T)).mean() == pytest.approx(naive, abs=0.02)


@pytest.mark.parametrize(("value", "status"), [(-0.9, "reproduced"), (-1.1, "reproduced"), (-0.8999, "off"), (-1.1001, "off")])
def test_status_at_the_edge_of_the_tolerance(value, status):
    row = verdict(record(value=value, stderr=0.0), printed(value="-1.000"))
    assert row["status"] == status and row["tolerance"] == pytest.approx(0.1) and row["delta"] == pytest.approx(value + 1)


@pytest.mark.parametrize(
    ("bound", "value", "status"),
    [
        (">100", 95.1, "reproduced"),
        (">100", 95.0, "off"),
        (">=100", 95.0, "reproduced"),
        (">100", 1e6, "reproduced"),
        ("<5", 5.24, "reproduced"),
        ("<5", 5.26, "off"),
        ("<=5", 5.25, "reproduced"),
        ("<5", 0.0, "reproduced"),
    ],
)
def test_a_bound_is_judged_on_one_side(bound, value, status):
    assert verdict(record(value=value, stderr=0.0, metric="fid"), printed(value=bound, metric="fid"))["status"] == status


def test_rounding_to_the_printed_digits_is_reproduced():
    assert within("", 0.0185 - 0.018, 0.0005) and not within("", 0.00051, 0.0005)


def test_another_protocol_is_indicative_and_says_why():
    entries = [
        {"match": {"table": 1}, "stated": {"runs": 100, "steps": 100}, "assumed": {"train_steps": 1500, "particles": 1000}}
    ]
    row = verdict(record(protocol="runs=100; steps=1e2; train_steps=20"), printed(note="a remark"), protocols=entries)
    assert row["status"] == "indicative" and row["delta"] == 0.0 and row["tolerance"] == pytest.approx(0.1)
    assert row["note"] == ("differs: particles=(not recorded) (published 1000), train_steps=20 (published 1500); a remark")
    answer = record(protocol="runs=100; steps=1e2; train_steps=1500; particles=1000; extra=1")
    same = verdict(answer, printed(), protocols=entries)
    assert same["status"] == "reproduced" and same["note"] == "assumes particles=1000, train_steps=1500"
    nothing = verdict(record(), printed(), protocols=[])
    assert nothing["status"] == "indicative" and "no protocol is declared" in nothing["note"]


def test_every_published_row_has_one_status_and_a_reason(tmp_path):
    published = [printed(), printed(dataset="lgcp"), printed(dataset="vae"), printed(dataset="funnel")]
    papers = paper(not_run=[{"match": {"dataset": ["vae", "lgcp"]}, "reason": "out of reach"}])
    skipped = [{"paper": "toy", "dataset": "lgcp", "reason": "no pines"}, {"paper": "toy", "dataset": "mg", "reason": "unused"}]
    frame = diff([record(), record(dataset="own")], published, papers, skipped)
    assert list(frame.columns) == list(verdicts.COLUMNS)
    assert list(zip(frame["dataset"], frame["status"], frame["note"], strict=True)) == [
        ("mg", "reproduced", ""),
        ("lgcp", "not-run", "no pines"),
        ("vae", "not-run", "out of reach"),
        ("funnel", "not-run", "no record"),
    ]
    write_diff(tmp_path / "diff.csv", frame)
    assert read_diff(tmp_path / "diff.csv").equals(frame)
    (tmp_path / "diff.csv").write_text((tmp_path / "diff.csv").read_text().replace("reproduced", "fine"))
    with pytest.raises(RescoreError, match="line 2, column status: unknown 'fine'"):
        read_diff(tmp_path / "diff.csv")


def test_an_nfe_is_part_of_the_key():
    (row,) = diff([record(nfe=200)], [printed(nfe=100)], paper()).to_dict("records")
    assert row["status"] == "not-run"
    (row,) = diff([record(nfe=None)], [printed(nfe=None)], paper()).to_dict("records")
    assert row["status"] == "reproduced"


# tables


def test_paper_table_shows_verdicts():
    published = [printed(), printed(dataset="lgcp", value="-1.3e3")]
    text = paper_table(diff([record()], published, paper()), "toy", "1")
    assert "| mg logz_bias " in text and "| lgcp logz_bias" in text
    assert "-1.000 ± 0.010 (-1.0) ✓" in text and "(-1.3e3) –" in text
    assert paper_table(diff([record()], published, paper()), "toy", "2") == ""


def test_rows_of_our_own_stand_beside_the_table():
    records = [record(), record(method="NUTS", variant="library", metric="mode_coverage", nfe=None, value=0.25, stderr=0.5)]
    text = own_rows(diff(records, [printed()], paper()), records, "toy", "1")
    (own,) = [line for line in text.splitlines() if line.startswith("| mg")]
    assert [cell.strip() for cell in own.split("|")[1:-1]] == ["mg", "NUTS", "library", "mode_coverage", "", "0.25 ± 0.50"]
    assert own_rows(diff([record()], [printed()], paper()), [record()], "toy", "1") == ""


def test_compare_orders_by_direction():
    records = [record(value=0.3), record(method="SMC", value=-0.1), record(method="HMC", value=-2.0)]
    frame = compare(records, [printed(), printed(method="AFT", value="-0.01")], "logz_bias", "mg")
    assert list(frame["method"]) == ["SMC", "PIS", "HMC", "AFT"] and list(frame["published"]) == ["", "-1.0", "", "-0.01"]
    assert list(frame["protocol"])[2:] == ["runs=100; steps=100", "(not run)"] and math.isnan(frame["value"][3])
    higher = compare(
        [record(metric="is", value=v, nfe=n) for n, v in [(1, 8.0), (2, 9.5)]],
        [printed(metric="is", direction="higher", nfe=1)],
        "is",
        "mg",
    )
    assert list(higher["value"]) == [9.5, 8.0]
    with pytest.raises(RescoreError, match="unknown dataset for metric logz_bias 'mgg'; allowed: mg"):
        compare(records, [], "logz_bias", "mgg")


def test_readme_block_sits_between_its_markers(tmp_path):
    write_diff(tmp_path / "laptop" / "diff.csv", diff([record()], [printed(), printed(nfe=7)], paper()))
    block = readme_block(tmp_path, ("smoke", "laptop"))
    (line,) = [line for line in block.splitlines() if line.startswith("| [toy]")]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["[toy](reproductions/toy/README.md)", "2", "1", "", "", "", "1"]
    assert " ".join(block.split()).startswith(
        "Of 2 printed numbers, 1 are judged: 1 reproduced and 0 off (1 of `toy` at scale `laptop`). "
        "The other 1 are not judged: 0 are "
    )
    readme = "# A\n<!-- results:start -->\nold\n<!-- results:end -->\nrest\n"
    new = with_block(readme, block, tmp_path)
    assert "old" not in new and new.startswith("# A\n") and new.endswith("-->\nrest\n")
    assert with_block(new, block, tmp_path) == new
    with pytest.raises(RescoreError, match="must stand in it once each"):
        with_block("# A\n", block, tmp_path)


def test_a_printed_number_counts_once_with_the_verdict_that_says_most():
    numbers = [printed(nfe=n) for n in (1, 2, 3, 4)]
    smoke = diff([record(nfe=n) for n in (1, 2)], numbers, paper())
    large = diff(
        [record(nfe=1, value=7.0), record(nfe=2, protocol="runs=1; steps=100"), record(nfe=3, stderr=None)], numbers, paper()
    )
    best = best_verdicts({"smoke": smoke, "paper": large})
    assert list(zip(best["nfe"], best["status"], best["scale"], strict=True)) == [
        (1, "off", "paper"),
        (2, "reproduced", "smoke"),
        (3, "imprecise", "paper"),
        (4, "not-run", "paper"),
    ]


def test_a_bad_cost_file_names_what_is_wrong(tmp_path):
    path = tmp_path / "toy" / "job" / "cost.json"
    path.parent.mkdir(parents=True)
    good = (
        '{"paper": "toy", "job": "job", "seconds": 2.5, "function_evaluations": 10, "peak_memory_mb": 100.0, '
        '"peak_gpu_memory_mb": 0.0, "version": "0.1.0.torch2.11", "config_hash": "a"}'
    )
    path.write_text(good)
    assert read_costs(tmp_path)["seconds"].tolist() == [2.5] and read_costs(tmp_path)["cpu_seconds"].isna().all(), (
        "an older file"
    )
    path.write_text(good.replace('"function', '"cpu_seconds": 2.25, "function'))
    assert read_costs(tmp_path)["cpu_seconds"].tolist() == [2.25]
    for bad, problem in (
        (good[:-9], "not JSON"),
        (good.replace("seconds", "time"), "expected the keys paper, job, seconds"),
        (good.replace("2.5", '"2.5"'), "key seconds: '2.5' is not a number"),
    ):
        path.write_text(bad)
        with pytest.raises(RescoreError, match=problem):
            read_costs(tmp_path)
