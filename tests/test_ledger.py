"""Verdicts, and the tables that show them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from ledger_case import paper, printed, record
from rescore.errors import RescoreError
from rescore.ledger import diff as verdicts
from rescore.ledger.claims import COLUMNS as CLAIM_COLUMNS
from rescore.ledger.claims import write_claims
from rescore.ledger.cost import COSTS, cost_frame, kept_costs, read_costs
from rescore.ledger.diff import RELATIVE_FLOOR, diff, read_diff, tolerance, within, write_diff
from rescore.ledger.published import Published, heading
from rescore.ledger.records import Record
from rescore.ledger.statistics import LEVEL, UNKNOWN, Error, combined, p_above
from rescore.ledger.tables import best_verdicts, compare, compare_note, own_rows, paper_table, readme_block, with_block


def verdict(measured: Record, published: Published, **kwargs) -> dict:
    (row,) = diff([measured], [published], paper(**kwargs)).to_dict("records")
    return row


# verdicts


def test_tolerance_is_the_largest_of_three():
    assert tolerance(printed(value="-0.012")) == pytest.approx(RELATIVE_FLOOR["logz_bias"] * 0.012)
    assert tolerance(printed(value="5e-3")) == pytest.approx(0.0005)  # half a unit, equal to the floor here
    assert tolerance(printed(value="-1.3e3", metric="kl_phi")) == pytest.approx(65.0)  # default floor 0.05
    assert tolerance(printed(value="2", metric="fid")) == pytest.approx(0.5)
    assert tolerance(printed(value="=2", metric="fid")) == pytest.approx(0.1), "exact: not rounded to a digit"
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
    # above 10,000 repeats it looks no further: 2 * 5.1 / sqrt(10,000) is 0.102
    many = verdict(record(value=-1.0, stderr=5.1 / 100, df=9_999), printed(value="-1.00"))
    assert many["note"] == "more than 10000 trainings would decide, 10000 were made"
    # 0.4 beyond what is allowed: a spread of 0.4 needs n with t(n - 1) / sqrt(n) <= 1: 2.517 / sqrt(7), 2.649 / sqrt(6)
    far = verdict(record(value=-1.5, stderr=0.4 / 4**0.5, df=3), printed(value="-1.00"))
    assert far["note"] == "about 7 trainings would decide, 4 were made"
    # 355 above a bound of 100 +- 5: inside where t(n - 1) 400 / sqrt(n) <= 360: 2.429 / sqrt(8) = 0.86, 2.517 / sqrt(7) = 0.95
    inside = verdict(record(value=455.0, stderr=400 / 4**0.5, df=3, metric="fid"), printed(value=">100", metric="fid"))
    assert inside["note"] == "about 8 trainings would decide, 4 were made"
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


@pytest.mark.parametrize(
    ("bound", "value", "status"),
    [
        (">100", 400.0, "reproduced"),
        (">100", 115.1, "reproduced"),
        (">100", 114.9, "imprecise"),
        (">100", 75.1, "imprecise"),
        (">100", 74.9, "off"),
        ("<=5", -15.1, "reproduced"),
        ("<=5", -14.0, "imprecise"),
        ("<=5", 26.0, "off"),
        ("400", 400.0, "imprecise"),
    ],
)
def test_a_wide_interval_on_one_side_of_a_bound_decides(bound, value, status):
    """An error of 20: what is allowed is 5 beside 100, and 0.25 beside 5; of a plain number no such interval is inside."""
    row = verdict(record(value=value, stderr=10.000001, metric="fid"), printed(value=bound, metric="fid"))
    assert row["status"] == status
    unknown = verdict(record(value=value, stderr=None, metric="fid"), printed(value=bound, metric="fid"))
    assert unknown["status"] == "imprecise"


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
    own = compare([record(metric="ess", value=v, nfe=n) for n, v in [(1, 0.1), (2, 0.9)]], [], "ess", "mg")
    assert list(own["value"]) == [0.9, 0.1], "of the effective sample size more is better, though no paper prints it"
    with pytest.raises(RescoreError, match="unknown dataset for metric logz_bias 'mgg'; allowed: mg"):
        compare(records, [], "logz_bias", "mgg")


def test_compare_ranks_distances_between_samples_of_one_number_only():
    """Exact draws get a smaller sw2 where there are more of them."""
    sizes = {"exact": (0.09, 300), "A": (0.2, 48), "B": (0.3, 48), "C": (0.1, 300), "D": (0.25, 48)}
    records = [record(metric="sw2", method=name, value=v, df=2, n_samples=n) for name, (v, n) in sizes.items()]
    frame = compare(records, [], "sw2", "mg")
    assert list(frame["method"]) == ["A", "D", "B", "exact", "C"] and list(frame["samples_each"]) == [16, 16, 16, 100, 100]
    assert "only among those of one number" in compare_note(frame, "sw2")
    assert not compare_note(compare(records[1:3], [], "sw2", "mg"), "sw2")
    rmse = compare([replace(one, metric="logz_rmse") for one in records], [], "logz_rmse", "mg")
    assert rmse["method"].iloc[0] == "exact" and not compare_note(rmse, "logz_rmse")
    sampled = record(over="samplings", n_seeds=1, df=3, n_samples=400)
    assert sampled.samples_each == 100 and record(stderr=0, n_seeds=1, n_samples=7).samples_each == 7


def test_compare_keeps_the_printed_order_where_no_value_is_better():
    """A diversity should be that of the data, which is in the table too."""
    published = [printed(metric="diversity", method=name, value=v) for name, v in [("data", "9.5"), ("A", "6.8"), ("B", "8.1")]]
    assert list(compare([], published, "diversity", "mg")["method"]) == ["data", "A", "B"]
    records = [record(metric="weights", method=name, value=v) for name, v in [("A", 2.0), ("B", -1.0)]]
    assert list(compare(records, [], "weights", "mg")["method"]) == ["A", "B"]


@pytest.mark.parametrize(
    ("table", "source", "shown"),
    [
        ("5.1", "thesis Table 5.1", "Table 5.1"),
        ("fig18", "", "Fig. 18"),
        ("text-4.2.3", "LCSS section 4.2.3", "Section 4.2.3"),
        ("psld-5", "PSLD (Pandey and Mandt 2023) Table 5", "PSLD Table 5"),
        ("score-sde-1", "Score-SDE Table 1", "Score-SDE Table 1"),
        ("F.1.2", "appendix F.1.2", "Appendix F.1.2"),
        ("later-papers", "comparison table of a later paper", "Later papers"),
        ("steps", "", "Steps"),
    ],
)
def test_a_table_s_heading_is_where_it_is_printed(table, source, shown):
    assert heading(table, source) == shown


def test_readme_block_sits_between_its_markers(tmp_path):
    write_diff(tmp_path / "laptop" / "diff.csv", diff([record()], [printed(), printed(nfe=7)], paper()))
    block = readme_block(tmp_path, ("smoke", "laptop"))
    (line,) = [line for line in block.splitlines() if line.startswith("| [toy]")]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["[toy](reproductions/toy/README.md)", "2", "1", "", "", "", "1"]
    assert " ".join(block.split()).startswith(
        "Of 2 printed numbers, 1 are judged: 1 reproduced and 0 off (1 of `toy` at scale `laptop`). "
        "The other 1 are not judged: 0 are "
    )
    assert "claims" not in block
    statuses = {"smoke": ("holds", "not-run", "not-run"), "laptop": ("holds", "fails", "inconclusive", "not-run")}
    for scale, of in statuses.items():
        rows = [dict.fromkeys(CLAIM_COLUMNS) | {"paper": "toy", "claim": str(i), "status": one} for i, one in enumerate(of)]
        (tmp_path / scale).mkdir(exist_ok=True)
        write_claims(tmp_path / scale / "claims.csv", rows)
    claimed = " ".join(readme_block(tmp_path, ("smoke", "laptop")).split())
    assert (
        "Of 4 claims, sentences of the papers and a few checks of ours that are asked of our numbers, 1 hold and 1 fail at "
        "scale `laptop`; 1 are inconclusive, and 1 not run." in claimed
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
    found = read_costs([path.parent])
    assert found["seconds"].tolist() == [2.5] and found["cpu_seconds"].isna().all(), "an older file"
    path.write_text(good.replace('"function', '"cpu_seconds": 2.25, "function'))
    assert read_costs([path.parent])["cpu_seconds"].tolist() == [2.25]
    for bad, problem in (
        (good[:-9], "not JSON"),
        (good.replace("seconds", "time"), "expected the keys paper, job, seconds"),
        (good.replace("2.5", '"2.5"'), "cost.json, key seconds: '2.5' is not a finite number"),
        (good.replace("2.5", "NaN"), "cost.json, key seconds: nan is not a finite number"),
        (good.replace("2.5", "-Infinity"), "cost.json, key seconds: -inf is not a finite number"),
        (good.replace("2.5", "1" + "0" * 400), "cost.json, key seconds: 10+... is not a finite number"),
        (good.replace("10,", "true,"), "cost.json, key function_evaluations: True is not a finite number"),
        (good.replace('"toy"', "null"), "cost.json, key paper: None is not a text"),
        (good.replace('"job",', '["job"],'), r"cost.json, key job: \['job'\] is not a text"),
        (good.replace('"a"', "3"), "cost.json, key config_hash: 3 is not a text"),
    ):
        path.write_text(bad)
        with pytest.raises(RescoreError, match=problem):
            read_costs([path.parent])


def test_a_kept_cost_is_a_number(tmp_path):
    path = tmp_path / "cost.csv"
    path.write_text(f"{','.join(COSTS)}\ntoy,mg,2.5,,10,100.0,\n")
    assert cost_frame(kept_costs(path))["seconds"].tolist() == [2.5]
    good = path.read_text()
    for bad, problem in (("2.x", "a number"), ("nan", "finite"), ("inf", "finite")):
        path.write_text(good.replace("2.5", bad))
        with pytest.raises(RescoreError, match=f"cost.csv, line 2, column seconds: '{bad}' is not {problem}"):
            kept_costs(path)
