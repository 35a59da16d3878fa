"""Claims: predicates over records, margins and their standard errors."""

import math
import statistics
from dataclasses import replace

import pytest
from ledger_case import record
from rescore.errors import RescoreError
from rescore.ledger.claims import (
    Claim,
    above,
    above_share,
    agrees,
    all_of,
    apart,
    below,
    by_chance,
    either,
    evaluate,
    evaluate_all,
    monotone,
    on_the_network,
    read_claims,
    require_sound,
    row,
    smaller,
    write_claims,
)
from rescore.ledger.records import Record
from rescore.papers import Paper, PaperMeta
from scipy.stats import norm, t

A, B, C = (row(method=name) for name in "ABC")


def judge(predicate, *records) -> dict:
    (line,) = evaluate("toy", [Claim("c", "A statement.", "Table 1", predicate)], records)
    return line


def abc(a: float, b: float, c: float = 0.0, stderr: float | None = 0.3):
    return [record(method=name, value=value, stderr=stderr) for name, value in zip("ABC", (a, b, c), strict=True)]


@pytest.mark.parametrize(
    ("value", "status"),
    [(-1.0, "inconclusive"), (-1.0 - 1e-6, "holds"), (1.0, "inconclusive"), (1.0 + 1e-6, "fails"), (0.0, "inconclusive")],
)
def test_two_standard_errors_are_inconclusive(value, status):
    line = judge(below(A, 0.0), record(method="A", value=value, stderr=0.5))
    assert line["status"] == status and line["margin"] == -value
    assert judge(above(A, 0.0), record(method="A", value=-value, stderr=0.5))["status"] == status


def test_above_a_share_takes_that_share_of_the_error():
    """3 > 0.5 * 4 by 1, with errors 0.3 and half of 0.8."""
    line = judge(above_share(A, B, 0.5), *abc(3.0, 4.0)[:1], record(method="B", value=4.0, stderr=0.8))
    assert line["margin"] == pytest.approx(1.0) and line["z"] == pytest.approx(2.0, rel=1e-6)
    assert line["evidence"].endswith("mg/B/NN/logz_bias/100 = 4 ± 0.8 over 1000000001 trainings")
    assert judge(above_share(A, B, 0.9), *abc(3.0, 4.0, stderr=0.0))["status"] == "fails"
    assert judge(above_share(A, B, 0.7), *abc(3.0, 4.0, stderr=0.0))["status"] == "holds"


def test_smaller_adds_errors_in_quadrature():
    records = [record(method="A", value=1.0, stderr=0.3), record(method="B", value=2.0, stderr=0.4)]
    assert judge(smaller(A, B), *records)["status"] == "inconclusive"  # margin 1 = 2 * 0.5
    records[1] = record(method="B", value=2.01, stderr=0.4)
    line = judge(smaller(A, B), *records)
    assert line["status"] == "holds" and line["margin"] == pytest.approx(1.01)
    assert line["evidence"] == (
        "mg/A/NN/logz_bias/100 = 1 ± 0.3 over 1000000001 trainings; "
        "mg/B/NN/logz_bias/100 = 2.01 ± 0.4 over 1000000001 trainings"
    )
    assert judge(smaller(B, A), *records)["status"] == "fails"


def trainings(method: str, *values: float, matched: str = "digits/vp", **columns) -> Record:
    """A record of the mean of these trainings, with its error."""
    n, mean = len(values), statistics.mean(values)
    stderr = statistics.stdev(values) / math.sqrt(n)
    told = {"matched": matched, "values": " ".join(map(str, values))} if matched else {}
    return record(method=method, value=mean, stderr=stderr or None, df=n - 1 if stderr else None, **told | columns)


def z_of(margin: float, stderr: float, df: int) -> float:
    """By the survival function of Student's t and the quantile of the normal law."""
    return norm.isf(t.sf(margin / stderr, df))


def test_matched_records_are_compared_repeat_by_repeat():
    """What the trainings share drops out: differences 1, 1.2, 0.8 have the error 0.2 / sqrt(3), two degrees of freedom."""
    a, b = trainings("A", 10.0, 20.0, 30.0), trainings("B", 11.0, 21.2, 30.8)
    line = judge(smaller(A, B), a, b)
    assert line["status"] == "holds" and line["margin"] == pytest.approx(1.0)
    assert line["z"] == pytest.approx(z_of(1.0, 0.2 / math.sqrt(3), 2), rel=1e-9)
    assert line["evidence"].endswith("= 21 ± 5.7 over 3 trainings; margin = 1 ± 0.12 over 3 matched repeats")
    assert judge(smaller(B, A), a, b)["status"] == "fails"
    for predicate in (smaller(A, B, by=abs), apart(B, A, 0.0), above_share(B, A, 1.0)):
        assert judge(predicate, a, b)["z"] == pytest.approx(line["z"], rel=1e-9)
    signed = trainings("A", -10.0, -20.0, -30.0), b
    assert judge(smaller(A, B, by=abs), *signed)["z"] == pytest.approx(line["z"], rel=1e-9), "of the sizes"
    around = [trainings(name, *(value + 25 for value in one.each)) for name, one in zip("AB", (signed[0], b), strict=True)]
    distance = judge(smaller(A, B, by=lambda value: abs(value - 25)), *around)
    assert distance["z"] == pytest.approx(line["z"], rel=1e-6), "of the distances from a number, whatever the signs"
    shares = judge(above_share(B, A, 0.5), a, b)  # 11 - 5, 21.2 - 10, 30.8 - 15
    assert shares["margin"] == pytest.approx(11.0)
    assert shares["z"] == pytest.approx(z_of(11.0, statistics.stdev([6, 11.2, 15.8]) / math.sqrt(3), 2), rel=1e-9)
    near = judge(agrees(A, B, 3.0), a, b)
    assert near["margin"] == pytest.approx(2.0) and near["z"] == pytest.approx(z_of(2.0, 0.2 / math.sqrt(3), 2), rel=1e-9)


@pytest.mark.parametrize(
    "other", [{"matched": ""}, {"matched": "digits/cld"}, {"over": "runs"}, {"df": 1, "values": "11 21.2"}]
)
def test_what_is_not_matched_is_compared_as_independent(other):
    a, b = trainings("A", 10.0, 20.0, 30.0), trainings("B", 11.0, 21.2, 30.8)
    b = replace(b, **{"values": ""} | other) if other == {"matched": ""} else replace(b, **other)
    free = replace(a, matched="", values=""), replace(b, matched="", values="")
    assert judge(smaller(A, B), a, b) == judge(smaller(A, B), *free)
    assert judge(smaller(A, B), a, b)["z"] < 0.2


def test_matched_repeats_that_are_all_alike_prove_nothing():
    """Neither where all differences are equal, nor where one of the two has one value: the usual rule decides."""
    a, b = trainings("A", 10.0, 20.0, 30.0), trainings("B", 11.0, 21.0, 31.0)
    free = [replace(one, matched="", values="") for one in (a, b)]
    assert judge(smaller(A, B), a, b)["z"] == judge(smaller(A, B), *free)["z"]
    rounded = trainings("B", 11.0, 21.000000001, 31.0)
    assert judge(smaller(A, B), a, rounded)["z"] < 0.2, "what is left is rounding"
    flat = record(method="B", value=35.0, stderr=0.0, df=2, over="trainings", matched="digits/vp", values="35 35 35")
    assert judge(smaller(A, B), a, flat)["z"] == pytest.approx(
        judge(smaller(A, B), free[0], replace(flat, matched="", values=""))["z"]
    )
    sampled = [replace(one, over="samplings", n_seeds=1) for one in (trainings("A", 1.0, 2.0), trainings("B", 11.0, 12.5))]
    assert judge(smaller(A, B), *sampled)["status"] == "inconclusive", "of one training"
    assert judge(on_the_network(smaller(A, B)), *sampled)["z"] == pytest.approx(z_of(10.25, 0.25, 1), rel=1e-9)


@pytest.mark.parametrize(("gap", "status"), [(0.9, "holds"), (1.0, "inconclusive"), (3.1, "fails")])
def test_apart_by_more_than_a_gap(gap, status):
    records = [record(method="A", value=3.0, stderr=0.3), record(method="B", value=1.0, stderr=0.4)]
    line = judge(apart(A, B, gap), *records)
    assert line["status"] == status and line["margin"] == pytest.approx(2.0 - gap)


def test_smaller_by_size():
    records = abc(-0.1, -5.0)
    assert judge(smaller(A, B), *records)["status"] == "fails"
    assert judge(smaller(A, B, by=abs), *records)["status"] == "holds"


@pytest.mark.parametrize(("within", "status"), [(0.9, "fails"), (2.0, "inconclusive"), (3.0, "inconclusive"), (3.1, "holds")])
def test_agreement_of_two_records(within, status):
    records = [record(method="A", value=-1.0, stderr=0.3), record(method="B", value=1.0, stderr=0.4)]
    line = judge(agrees(A, B, within=within), *records)
    assert line["status"] == status and line["margin"] == pytest.approx(within - 2.0)


def test_agreement_with_a_number():
    assert judge(agrees(A, 0.0, within=0.1), record(method="A", value=0.01, stderr=0.0))["status"] == "holds"
    assert judge(agrees(A, 0.0, within=0.1), record(method="A", value=-0.2, stderr=0.0))["status"] == "fails"


def test_monotone_is_decided_by_its_worst_step():
    assert judge(monotone([A, B, C], increasing=True), *abc(1.0, 2.0, 3.5, stderr=0.1))["status"] == "holds"
    line = judge(monotone([A, B, C], increasing=True), *abc(1.0, 3.0, 2.0, stderr=0.1))
    assert line["status"] == "fails" and line["margin"] == -1.0
    assert judge(monotone([A, B, C], increasing=False), *abc(3.0, 2.0, 1.0, stderr=0.1))["status"] == "holds"


def test_all_of_fails_before_it_is_inconclusive():
    holds, unsure, fails = below(A, 10.0), below(B, 2.1), below(C, 0.0)
    records = abc(1.0, 2.0, 5.0)
    assert judge(all_of(holds), *records)["status"] == "holds"
    line = judge(all_of(holds, unsure), *records)
    assert line["status"] == "inconclusive" and line["margin"] == pytest.approx(0.1)
    assert judge(all_of(unsure, fails, holds), *records)["status"] == "fails"


def test_the_decisive_margin_is_counted_in_standard_errors():
    records = [record(method="A", value=1.0, stderr=0.01), record(method="B", value=-90.0, stderr=30.0)]
    line = judge(all_of(below(A, 2.0), below(B, 0.0)), *records)  # 100 and 3 standard errors
    assert line["status"] == "holds" and line["margin"] == 90.0


@pytest.mark.parametrize(("seeds", "quantile"), [(2, 13.97), (3, 4.527), (4, 3.307), (101, 2.026)])
def test_few_seeds_decide_by_students_t(seeds, quantile):
    """The 97.725 % quantiles of t with 1, 2, 3 and 100 degrees of freedom, from tables."""
    for factor, status in ((0.999, "inconclusive"), (1.001, "holds")):
        line = judge(below(A, 0.0), record(method="A", value=-factor * quantile, stderr=1.0, df=seeds - 1))
        assert line["status"] == status and line["z"] == pytest.approx(2, abs=0.01)


def test_two_records_decide_by_welchs_t():
    """df = (0.25 + 1)^2 / (0.25^2 / 2 + 1 / 3) = 4.286, the quantile of which is 2.787."""

    def margin(gap):
        return judge(
            smaller(A, B), record(method="A", value=0.0, stderr=0.5, df=2), record(method="B", value=gap, stderr=1.0, df=3)
        )

    critical = 2.787 * 1.25**0.5
    assert margin(0.99 * critical)["status"] == "inconclusive" and margin(1.01 * critical)["status"] == "holds"


def test_many_comparisons_fail_no_more_often_than_one():
    """One of five margins is 2.4 errors below 0: enough against one (2), not against five (2.61 by Bonferroni)."""
    records = [record(method=name, value=-9.0, stderr=1.0) for name in "BCDE"]
    claim = all_of(*(below(row(method=name), 0.0) for name in "ABCDE"))
    assert judge(below(A, 0.0), record(method="A", value=2.4, stderr=1.0))["status"] == "fails"
    assert judge(claim, record(method="A", value=2.4, stderr=1.0), *records)["status"] == "inconclusive"
    line = judge(claim, record(method="A", value=2.7, stderr=1.0), *records)
    assert line["status"] == "fails" and line["p"] == pytest.approx(2 * 5 * 0.00346697, rel=1e-4)


def test_samplings_of_one_training_decide_nothing_about_trainings():
    a, b = (
        record(method=name, value=value, stderr=0.01, df=4, over="samplings", n_seeds=1)
        for name, value in (("A", 1.0), ("B", 9.0))
    )
    line = judge(smaller(A, B), a, b)
    assert line["status"] == "inconclusive" and "A/NN/logz_bias/100 = 1 ± 0.01 over 5 samplings" in line["evidence"]


def test_a_claim_of_one_network_takes_the_spread_of_its_samplings():
    a, b = (
        record(method=name, value=value, stderr=0.01, df=4, over="samplings", n_seeds=1)
        for name, value in (("A", 1.0), ("B", 1.05))
    )
    line, as_runs = judge(on_the_network(smaller(A, B)), a, b), judge(smaller(A, B), *(replace(x, over="runs") for x in (a, b)))
    assert line | {"evidence": ""} == as_runs | {"evidence": ""} and line["status"] == "holds"
    assert line["margin"] == pytest.approx(0.05) and line["evidence"].endswith("= 1.05 ± 0.01 over 5 samplings")
    images = (replace(x, protocol="error=over images") for x in (a, b))
    assert judge(on_the_network(smaller(A, B)), *images)["evidence"].endswith("1.05 ± 0.01 over 5 images")
    assert judge(on_the_network(smaller(B, A)), a, b)["status"] == "fails"
    unknown = replace(a, stderr=None, df=None)
    assert judge(on_the_network(smaller(A, B)), unknown, b)["status"] == "inconclusive", "a single sampling has no spread"


def test_an_exact_number_stays_exact_beside_the_samplings_of_one_network():
    """The margin has the error of the sampled number alone; the exact one is not taken for runs that agree by chance."""
    exact = record(method="A", value=1.0, stderr=0.0)
    sampled = record(method="B", value=1.05, stderr=0.01, df=4, over="samplings", n_seeds=1)
    line, alone = judge(on_the_network(smaller(A, B)), exact, sampled), judge(above(B, 1.0), replace(sampled, over="runs"))
    assert line["status"] == "holds" and line["p"] == pytest.approx(alone["p"], rel=1e-12)


def test_repeats_that_agree_by_chance_are_not_certain():
    """A count that came out 0 at all seeds has the error of what it is compared with, and an unknown one beside a bound."""
    zero = record(method="A", value=0.0, stderr=0.0, df=3, over="runs")
    assert judge(below(A, 0.1), zero)["status"] == "inconclusive"
    other = record(method="B", value=1.0, stderr=0.3)
    assert judge(smaller(A, B), zero, other)["z"] == pytest.approx(1 / (0.3 * 2**0.5), rel=1e-6)
    assert judge(smaller(A, B), zero, record(method="B", value=1.0, stderr=0.0, df=3, over="runs"))["status"] == "inconclusive"


def test_the_count_of_claims_that_chance_decides():
    sure, unsure = record(method="A", value=-9.0, stderr=0.1), record(method="B", value=-0.1, stderr=0.1)
    claims = [Claim(name, "", "", below(row(method=name), 0.0)) for name in "AB"]
    exact = Claim("C", "", "", below(row(method="C"), 0.0))
    rows = evaluate("toy", [*claims, exact], [sure, unsure, record(method="C", value=-1.0, stderr=0.0)])
    assert by_chance(rows) == (
        "1 of 2 claims on numbers with an error are decided; if all their margins were 0, chance would decide "
        "at most 0.1. At a false discovery rate of 5 % (Benjamini-Hochberg) 1 are."
    )
    assert by_chance(rows[2:]) == ""
    unknown = evaluate("toy", claims[:1], [record(method="A", value=-9.0, stderr=None, df=None, over="trainings")])
    assert unknown[0]["status"] == "inconclusive" and by_chance(unknown) == "", "a number without a known error"


def test_exact_numbers_decide_without_an_error():
    assert judge(smaller(A, B), *abc(1.0, 2.0, stderr=0.0))["status"] == "holds"
    assert judge(smaller(A, B), *abc(1.0, 1.0, stderr=0.0))["status"] == "inconclusive"


def test_an_unknown_error_decides_nothing():
    line = judge(smaller(A, B), *abc(1.0, 200.0, stderr=None))
    assert line["status"] == "inconclusive" and line["margin"] == 199.0 and "± unknown" in line["evidence"]


def test_a_missing_record_is_not_run():
    line = judge(all_of(below(A, 0.0), smaller(A, row(method="B", dataset="mg"))), record(method="A"))
    assert (line["status"], line["margin"], line["p"], line["evidence"]) == ("not-run", None, None, "no record: mg/B")
    other = record(method="A", paper="other")
    assert judge(below(A, 0.0), other)["status"] == "not-run"


def test_either_takes_the_first_that_has_a_record():
    of = [row(dataset=name, method="A") for name in ("mg", "lgcp")]
    mg, lgcp = record(method="A", value=1.0, stderr=0.1), record(method="A", dataset="lgcp", value=-1.0, stderr=0.1)
    status = {
        name: judge(above(either(*of), 0.0), *found) for name, found in (("both", (lgcp, mg)), ("lgcp", (lgcp,)), ("", ()))
    }
    assert [line["status"] for line in status.values()] == ["holds", "fails", "not-run"]
    assert status[""]["evidence"] == "no record: mg/A or lgcp/A"
    with pytest.raises(RescoreError, match="selects 2 records"):
        either(*of)([mg, replace(mg, variant="RW")])


def test_a_broken_claim_does_not_lose_the_others():
    records = [record(method="A", value=-1.0), record(method="A", value=-2.0, dataset="lgcp")]

    def ratio(found):
        return below(A, 1 / 0)(found)

    predicates = {"both": below(A, 0.0), "ratio": ratio, "one": below(row(dataset="mg"), 0.0)}
    claims = [Claim(name, "", "", predicate) for name, predicate in predicates.items()]
    both, divided, one = rows = evaluate("toy", claims, records)
    assert (both["status"], both["margin"]) == ("broken", None) and one["status"] == "holds"
    assert both["evidence"] == "A selects 2 records: toy/1/mg/A/NN/logz_bias/100, toy/1/lgcp/A/NN/logz_bias/100"
    assert (divided["status"], divided["evidence"]) == ("broken", "ZeroDivisionError: division by zero")
    with pytest.raises(RescoreError, match="2 broken claims: paper toy, claim 'both': A sel.*; paper toy, claim 'ratio': Zero"):
        require_sound(rows)
    require_sound([one])
    four = [record(method="A", nfe=nfe) for nfe in (1, 2, 3, 4)]
    assert judge(below(A, 0.0), *four)["evidence"].endswith("/logz_bias/3, ...")


def test_an_empty_variant_is_a_value():
    records = [record(method="A", variant="", value=-3.0), record(method="A", variant="NN", value=3.0)]
    assert judge(below(row(method="A", variant=""), 0.0), *records)["status"] == "holds"


def test_bad_claims_are_errors():
    with pytest.raises(RescoreError, match="unknown column datset; allowed: paper, table, dataset"):
        row(datset="mg")
    line = judge(monotone([A], increasing=True), record(method="A"))
    assert (line["status"], line["evidence"]) == ("broken", "compares nothing")
    claim = Claim("c", "", "", below(A, 0.0))
    (line,) = evaluate("toy", [claim, claim], [record(method="A")])
    assert (line["claim"], line["status"], line["evidence"]) == ("c", "broken", "2 claims have this name")


def test_claims_of_a_folder_round_trip(tmp_path):
    folder = tmp_path / "reproductions" / "claimtoy"
    folder.mkdir(parents=True)
    (folder / "claims.py").write_text(
        "from rescore.ledger.claims import Claim, below, row\n"
        "CLAIMS = [Claim('low', 'It is low, indeed.', 'Table 1', below(row(method='A'), 0.1 + 0.2))]\n"
    )
    paper = Paper("claimtoy", folder.resolve(), PaperMeta(title="t", citation="c"))
    lines = evaluate_all(
        {"claimtoy": paper, "none": Paper("none", tmp_path, paper.meta)},
        [record(paper="claimtoy", method="A", value=0.0, stderr=0.0)],
    )
    write_claims(tmp_path / "claims.csv", lines)
    assert read_claims(tmp_path / "claims.csv") == lines
    assert lines[0]["status"] == "holds" and math.isclose(lines[0]["margin"], 0.3)
    text = (tmp_path / "claims.csv").read_text()
    (tmp_path / "claims.csv").write_text(text.replace("holds", "true"))
    with pytest.raises(RescoreError, match="line 2, column status: unknown 'true'; allowed: holds, fails"):
        read_claims(tmp_path / "claims.csv")
