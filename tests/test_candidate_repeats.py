"""Candidates that only repeat a protocol more often: the two are one protocol, and the record of most repeats decides."""

from dataclasses import replace

import pytest
from ledger_case import printed, record
from rescore.ledger.diff import diff, is_explained
from rescore.ledger.explain import GROUPS, explain
from test_candidates import LONG, MANY, explained, papers, under

MORE_RUNS = "runs=1000; steps=100"
MORE = {"name": "more", "protocol": {"runs": 1000}, "repeats": "long"}


@pytest.mark.parametrize(
    ("value", "stderr", "explanation", "group"),
    [
        (-1.0, 0.01, "more", "explained by a candidate"),
        (-3.0, 0.01, "none of 1", "reproduced by none"),
        (-1.0, 0.06, "1 not decided", "not decided"),
    ],
)
def test_more_repeats_decide_for_the_protocol_that_they_repeat(value, stderr, explanation, group):
    """`long` alone is imprecise; `more` has its protocol, so `steps` need not be said again, and the two count once."""
    long = under("long", "runs=100; steps=200", value=-1.0, stderr=0.06)
    more = under("more", "runs=1000; steps=200", value=value, stderr=stderr)
    assert explained(LONG, MORE, records=[long, more]) == explanation
    assert explain([record(value=-2.0), long, more], [printed()], papers(LONG, MORE))[1] == {group: 1}
    off = replace(long, value=-3.0, stderr=0.01)
    assert explained(LONG, MORE, records=[off]) == "none of 1", "what is decided needs no more repeats"
    other = replace(more, protocol="runs=1000; steps=100")
    assert explained(LONG, MORE, records=[long, other]) == "1 not decided", "made under another protocol"


def test_repeats_of_repeats_are_of_the_first_protocol():
    """`most` repeats `more`, which repeats `long`: the three count once, and those of most repeats decide."""
    most = {"name": "most", "protocol": {"runs": 5000}, "repeats": "more"}
    found = [under("long", "runs=100; steps=200", stderr=0.02), under("more", "runs=1000; steps=200", stderr=0.01)]
    last = under("most", "runs=5000; steps=200", value=-3.0, stderr=0.005)
    assert explained(LONG, MORE, most, records=found) == "more"
    assert explained(LONG, MORE, most, records=[*found, last]) == "none of 1"


def test_more_repeats_decide_for_the_main_protocol():
    main, many = record(stderr=0.06), {**MANY, "repeats": "main"}

    def group(value: float, *more: dict) -> dict:
        return explain([main, under("many", "runs=1000; steps=100", value=value)], [printed()], papers(many, *more))[1]

    assert group(-3.0) == {"reproduced by none": 1} and group(-1.0) == {"reproduced by the main protocol": 1}
    assert group(-3.0, LONG) == {"not decided": 1}, "long has not run"
    assert explain([main], [printed()], papers(many))[1] == {"not decided": 1}
    assert explain([record(value=-3.0)], [printed()], papers(many))[1] == {"reproduced by none": 1}
    assert explained(many) == explained(many, records=[under("many", MORE_RUNS, value=-3.0)]) == "", "no candidate protocol"
    assert explained(many, LONG, records=[under("many", MORE_RUNS, value=-3.0)]) == "1 not decided", "long"
    assert explained(many, records=[under("many", MORE_RUNS, stderr=0.005)]) == "many", "more precise than the main record"


@pytest.mark.parametrize(("few", "many", "group"), [(-1.0, -3.0, GROUPS[2]), (-3.0, -1.0, GROUPS[1])])
@pytest.mark.parametrize("stderr", [0.005, 0.02])
def test_of_one_protocol_the_most_repeats_decide(few, many, group, stderr):
    """The few runs may be the first of the many: they are no second chance to agree, not even where they ended more alike."""
    records = [record(value=-2.0), under("long", "runs=100; steps=200", value=few, stderr=stderr, df=99)]
    records += [under("more", "runs=1000; steps=200", value=many, stderr=0.01, df=999)]
    assert explain(records, [printed()], papers(LONG, MORE))[1] == {group: 1}
    main = [record(value=few, stderr=stderr, df=99), under("many", MORE_RUNS, value=many, stderr=0.01, df=999)]
    groups = explain(main, [printed()], papers({**MANY, "repeats": "main"}))[1]
    assert groups == {GROUPS[2] if many == -3.0 else GROUPS[0]: 1}


def test_a_column_of_the_table_counts_as_explain_does():
    """`none of N` in words of a row that is off where `explain` puts it among those that none reproduces."""
    for records in ([], [under("many", MORE_RUNS, value=-3.0)], [under("long", "runs=100; steps=200", value=-3.0)]):
        candidates = papers({**MANY, "repeats": "main"}, LONG)
        (row,) = diff([record(value=-2.0), *records], [printed()], candidates).to_dict("records")
        (group,) = explain([record(value=-2.0), *records], [printed()], candidates)[1]
        assert (group == GROUPS[2]) == (is_explained(row["explained_by"]) is False)


def test_more_repeats_change_nothing_else():
    with pytest.raises(ValueError, match="candidate many: protocol: steps of one that repeats main; allowed: runs, trainings"):
        papers({**MANY, "protocol": {"runs": 1000, "steps": 200}, "repeats": "main"})
