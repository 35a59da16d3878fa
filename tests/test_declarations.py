"""What a paper.yaml declares of published rows fits rows: a wrong word there would only mean that fewer are declared."""

import pytest
from conftest import ROOT
from ledger_case import paper, printed
from rescore.errors import RescoreError
from rescore.ledger.protocol import check_declarations
from rescore.ledger.published import COLUMNS, load_published
from rescore.ledger.records import matches
from rescore.papers import Candidate, NotRunEntry, Paper, PaperMeta, ProtocolEntry, StandIn, find_papers

ROWS = [printed(), printed(dataset="funnel", variant=""), printed(method="HMC", variant="", nfe=None)]
KINDS = {
    "protocols": lambda **of: ProtocolEntry(**of, stated={"runs": 100}),
    "candidates": lambda **of: Candidate(**{"name": "long", "source": "ours", "protocol": {"runs": 1}} | of),
    "stand_ins": lambda **of: StandIn(**{"use": {"dataset": "digits"}} | of),
    "not_run": lambda **of: NotRunEntry(**of, reason="too large"),
}


def check(rows=ROWS, **declared) -> None:
    toy = paper()["toy"]
    check_declarations(Paper("toy", toy.folder, PaperMeta(title="A toy", citation="none", **declared)), rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "match", [{}, {"dataset": ["mg", "funnel"]}, {"method": "HMC", "variant": "", "nfe": ""}, {"nfe": 100, "method": "PIS"}]
)
def test_an_entry_that_fits_is_taken(kind, match):
    check(**{kind: [KINDS[kind](match=match)]})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("match", "told"),
    [
        ({"place": "PIS"}, r"paper.yaml: \w+, entry 2.*: match: unknown key place; allowed: paper, table"),
        ({"method": "HMCC"}, r"entry 2.*: match.method: 'HMCC' fits no row of published.csv; there are, .*: 'HMC', 'PIS'$"),
        ({"method": ["HMC", "HMCC"]}, r"entry 2.*: match.method: 'HMCC' fits no row"),
        ({"method": "HMC", "dataset": ["mg", "funnel"]}, r"entry 2.*: match.dataset: 'funnel' fits no row .*: 'mg'$"),
        ({"nfe": 10, "dataset": "gm"}, r"entry 2.*: match\.\w+: '\w+' fits no row .*: \(none\)$"),
    ],
)
def test_a_wrong_word_is_one_clear_error(kind, match, told):
    sound, wrong = KINDS[kind](), KINDS[kind](match=match)
    with pytest.raises(RescoreError, match=told) as error:
        check(**{kind: [sound, wrong]})
    assert "\n" not in str(error.value) and kind in str(error.value)


@pytest.mark.parametrize(
    "part", ["{variant.x}", "{variant.upper}", "{variant[0]}", "{variant[x]}", "{}", "{varient}", "{variant:d}", "{"]
)
def test_braces_hold_a_name_and_nothing_else(part):
    with pytest.raises(
        RescoreError, match="candidate long: use.variant: .* has an unknown part in braces; allowed: name, paper"
    ):
        check(candidates=[KINDS["candidates"](use={"variant": part})])
    check(candidates=[KINDS["candidates"](use={"variant": "{variant}@{name}, {{}} of {nfe}"})])


@pytest.mark.parametrize("kind", ["candidates", "stand_ins"])
def test_a_key_that_no_record_has_is_refused(kind):
    with pytest.raises(RescoreError, match=rf"{kind}, entry 1.*: use.nfe: 'ten' is no whole number"):
        check(**{kind: [KINDS[kind](use={"nfe": "ten"})]})
    with pytest.raises(RescoreError, match=rf"{kind}, entry 1.*: use.table: 9 is no text; put it in quotes: '9'"):
        check(**{kind: [KINDS[kind](use={"table": 9})]})
    with pytest.raises(RescoreError, match=rf"paper.yaml: {kind}, entry 1.*: use: unknown key steps; allowed"):
        check(**{kind: [KINDS[kind](use={"steps": 3})]})


def test_what_is_repeated_is_declared():
    """Also where no published row makes it be looked up."""
    long, more = KINDS["candidates"](), KINDS["candidates"](name="more", repeats="lonk")
    with pytest.raises(RescoreError, match="candidate more: repeats: lonk; allowed: long, "):
        check(candidates=[long, more])
    check(candidates=[long, more.model_copy(update={"repeats": "long"})])


def test_it_is_checked_whenever_printed_numbers_are_read(tmp_path):
    (tmp_path / "published.csv").write_text(",".join(COLUMNS) + "\ntoy,1,mg,PIS,NN,logz_bias,100,-1.0,,target,Table 1,\n")
    meta = PaperMeta(title="A toy", citation="none", protocols=[KINDS["protocols"](match={"method": "PSI"})])
    with pytest.raises(RescoreError, match="paper.yaml: protocols, entry 1: match.method: 'PSI' fits no row"):
        load_published({"toy": Paper("toy", tmp_path, meta)})


def test_committed_papers_are_sound():
    assert len(load_published(find_papers(ROOT))) > 500


def test_every_reason_of_a_committed_paper_is_that_of_some_row():
    """The first that fits is given: one that comes after all its rows have another says nothing."""
    for name, one in find_papers(ROOT).items():
        rows, given = load_published({name: one}), one.meta.not_run
        first = {next((i for i, reason in enumerate(given) if matches(reason.match, row)), None) for row in rows}
        assert set(range(len(given))) <= first, name
