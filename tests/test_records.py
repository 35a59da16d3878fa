"""Records, protocols and published numbers: what their files may hold."""

import math
from pathlib import Path

import pytest
from ledger_case import printed, record
from rescore.errors import RescoreError
from rescore.ledger.protocol import declared_protocol, format_protocol, parse_protocol, same_value
from rescore.ledger.published import COLUMNS as PUBLISHED_COLUMNS
from rescore.ledger.published import Published, read_published
from rescore.ledger.records import (
    COLUMNS,
    Records,
    collect_records,
    matches,
    read_records,
    read_skipped,
    write_records,
    write_skipped,
)
from rescore.papers import ProtocolEntry

PIS = Path(__file__).parents[1] / "reproductions" / "pis" / "published.csv"


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


def test_values_of_repeats_are_as_many_as_repeats(tmp_path):
    written = record(df=2, matched="digits/vp", values="1 2.50 -0.33333333333333")
    write_records(tmp_path / "records.csv", [written])
    (found,) = read_records(tmp_path / "records.csv")
    assert found == written and found.values == "1 2.5 -0.3333333333" and found.each == (1.0, 2.5, -0.3333333333)
    for wrong in ({"values": "1 2"}, {"values": ""}, {"matched": ""}, {"df": 3}):
        with pytest.raises(RescoreError, match="column values: .*; with `matched` df \\+ 1 of them, else none"):
            record(**{"df": 2, "matched": "digits/vp", "values": "1 2 3"} | wrong)
    with pytest.raises(RescoreError, match="column values: 'x' is not a number"):
        record(df=1, matched="digits/vp", values="1 x")


def test_files_of_code_before_values_are_read(tmp_path):
    path = tmp_path / "records.csv"
    write_records(path, [record()])
    path.write_text("".join(line.rsplit(",", 2)[0] + "\n" for line in path.read_text().splitlines()))
    assert "matched" not in path.read_text() and read_records(path) == [record()]


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
        (lambda text: "".join(line.rsplit(",", 3)[0] + "\n" for line in text.splitlines()), "missing column config_hash"),
        (lambda text: text[:-5], "the last line has no end: the file is cut short"),
        (lambda text: text[: text.rindex(",")] + "\n", "line 2, column values: the row has 20 fields, the header 21"),
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


def test_records_are_found_by_any_of_their_columns_as_by_a_look_at_all():
    keys = [{"dataset": name, "nfe": nfe, "variant": ""} for name in ("mg", "funnel") for nfe in (None, 5, 10)]
    records = Records(record(**key) for key in keys)
    patterns = [{}, {"nfe": "10"}, {"nfe": 5, "dataset": "mg"}, {"dataset": "mg", "nfe": 5}, {"nfe": ""}, {"variant": "x"}]
    for pattern in [*patterns, *patterns]:  # from what the first look has kept too
        assert list(records.having(pattern)) == [one for one in records if matches(pattern, one)]
    assert [one.dataset for one in records.having({"nfe": None})] == ["mg", "funnel"]
    assert records.having({"dataset": "mg", "nfe": 5}) == [records[1]] and len(records.having({})) == 6


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
    with pytest.raises(
        RescoreError, match="reproductions/toy/paper.yaml: protocols: match: unknown key datset; allowed: paper, table, dataset"
    ):
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
        (">100", ">", 100.0, 0.0),
        ("<=3.70", "<=", 3.70, 0.0),
        ("=0.6", "", 0.6, 0.0),
        ("=-2", "", -2.0, 0.0),
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
