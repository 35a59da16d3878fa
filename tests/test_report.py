"""The report's pages without a browser: what is in them, and where."""

import functools
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import ROOT
from reports import COST, LONG, QUOTED, SCRIPT, data_of, hostile_suite, no_assets, results_of
from rescore.cli import main
from rescore.estimates import NETWORKS, SPEED, known_plans, read_networks
from rescore.ledger.cost import MODELS, kept_costs
from rescore.ledger.diff import keys, read_diff
from rescore.ledger.published import load_published
from rescore.ledger.records import KEY, write_records
from rescore.ledger.tables import with_error
from rescore.papers import find_papers
from rescore.report import pages
from rescore.report.cards import Cards, address
from rescore.report.content import claim_row, duration, evidence_parts, matrix, paper_page
from rescore.report.layout import printed_table
from rescore.report.readme import code, readme_html
from rescore.report.source import read_results
from rescore.workflow.paths import MODEL_FILES
from rescore.workflow.suite import load_suite


class Page(HTMLParser):
    """Cells of printed tables by the address of their number: (status, texts)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: dict[str, tuple[str, list[str]]] = {}
        self.open = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "td" and "cell" in (attrs.get("class") or "").split():
            self.status = attrs["class"].split()[1]
        if tag == "a" and "data-card" in attrs and not attrs.get("class"):
            self.open = self.cells.setdefault(attrs["data-card"], (self.status, []))[1]

    def handle_endtag(self, tag):
        if tag == "td":
            self.open = None

    def handle_data(self, text):
        if self.open is not None and text.strip():
            self.open.append(text.strip())


@pytest.fixture
def committed(committed_report) -> Path:
    return committed_report


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_every_printed_number_is_in_its_table_as_diff_has_it(committed, scale):
    frame = read_diff(ROOT / "results" / "reference" / scale / "diff.csv")
    for paper, own in frame.groupby("paper"):
        cells = Page((committed / scale / f"paper-{paper}.html").read_text()).cells
        assert set(cells) == {address(key) for key in keys(own)}
        for key, row in zip(keys(own), own.to_dict("records"), strict=True):
            status, texts = cells[address(key)]
            assert status == row["status"]
            shown = re.sub(r"\s+", " ", " ".join(texts))
            assert f"printed {row['published']}" in shown
            if row["status"] in ("reproduced", "off", "imprecise"):
                assert with_error(row["measured"], row["stderr"]) in shown


def test_cards_have_the_numbers_of_diff_and_all_records_have_one(committed):
    frame = read_diff(ROOT / "results" / "reference" / "paper" / "diff.csv")
    data = data_of(committed / "paper", "pis")
    cards = {address(card["k"]): card for card in data["cards"]}
    judged = frame[(frame["paper"] == "pis") & frame["status"].isin(["reproduced", "off", "imprecise"])]
    assert len(judged) == 84
    assert all(len(cards[address(key)]["can"]) >= 3 for key in keys(judged)), "candidates are on the card"
    for key, row in zip(keys(judged), judged.to_dict("records"), strict=True):
        card = cards[address(key)]
        numbers = [row[name] for name in ("measured", "stderr", "tolerance", "delta")]
        assert [card[name] for name in ("v", "e", "tol", "del")] == pytest.approx(numbers, rel=1e-8)  # records keep ten digits
        assert (card["pub"], card["st"]) == (row["published"], row["status"])
        assert data["protocols"][card["p"]] == row["protocol"]
        assert not card.get("dif"), "a judged number was made by the declared protocol"
        assert len(card.get("met", ())) + len(card.get("ass", ())) >= 3
    records = {
        record.key for record in read_results(ROOT / "results/reference/paper", find_papers(ROOT), ROOT).records.values()
    }
    assert {address(key) for key in records} <= set(cards)


def test_pages_load_nothing_from_elsewhere_and_stay_small(committed):
    for page in committed.rglob("*.html"):
        for load in re.findall(r'<(?:script|link|img)\b[^>]*\b(?:src|href)="([^"]*)"', page.read_text()):
            assert load == "data:," or (page.parent / load).is_file(), (page, load)
    one = sum(
        path.stat().st_size for folder in ("assets", "laptop") for path in (committed / folder).rglob("*") if path.is_file()
    )
    assert one < 16e6  # each number tells its whole protocol


@functools.cache
def published() -> list:
    return load_published(find_papers(ROOT))


def printed(paper: str, table: str):
    rows = [row for row in published() if (row.paper, row.table) == (paper, table)]
    return rows, printed_table([{column: getattr(row, column) for column in KEY} for row in rows])


def test_tables_are_laid_out_as_printed():
    rows, grid = printed("deis", "6.2")  # rows are NFE; `+1` where a solver takes more than the row says
    assert grid.rows == (("5",), ("10",), ("15",), ("20",), ("50",)) and len(grid.columns) == 10
    assert grid.columns[:2] == (("DDIM", ""), ("DEIS", "rho2Heun"))
    assert [(rows[grid.cells[0, j].index].value, grid.cells[0, j].extra) for j in range(4)] == [
        ("26.91", 0),
        ("108", 1),
        ("185", 1),
        ("193", 3),
    ]
    _, grid = printed("gddim", "7.3")  # rows are methods, columns NFE
    assert grid.column_heads == ("nfe",) and [c[0] for c in grid.columns] == ["10", "20", "50", "100", "1000"]
    rows, grid = printed("gddim", "7.2")  # methods by lambda
    assert grid.rows == (("gDDIM",), ("EM",)) and [c[0] for c in grid.columns][:2] == ["lam=0", "lam=0.1"]
    assert rows[grid.cells[1, 0].index].value == "346" and grid.common["nfe"] == "50"
    _, grid = printed("pis", "5.1")
    assert grid.row_heads == ("method", "variant", "nfe") and grid.levels()[0] == [("mg", 3), ("funnel", 3), ("lgcp", 3)]
    _, grid = printed("lcss", "2")  # each data set has its network
    assert grid.levels() == [[("checkerboard", 1), ("ffhq256", 1)], [("MLP", 1), ("NCSNv2", 1)]]
    _, grid = printed("diffcollage", "text")  # numbers from the text are a list
    assert grid.column_heads == () and len(grid.rows) == 7


def test_every_printed_number_has_a_place():
    tables = {(row.paper, row.table) for row in published()}
    for table in tables:
        rows, grid = printed(*table)
        assert sorted(cell.index for cell in grid.cells.values()) == list(range(len(rows))), table


def test_hostile_texts_are_text(hostile):
    page = (hostile / "paper-toy.html").read_text()
    assert SCRIPT not in page and "&lt;script&gt;document.title" in page and "<em>toy</em>" not in page
    assert "<b>bold</b>" not in page and "<i>good</i>" not in page and "alert(1)</script>" not in page
    assert 'href="other.md"' not in page and "http://x/y.png" not in page and 'href="https://example.org"' in page
    data = (hostile / "data" / "toy.js").read_text()
    assert "<" not in data
    cards = {card["k"][3]: card for card in data_of(hostile, "toy")["cards"]}
    assert LONG in data_of(hostile, "toy")["protocols"][cards[SCRIPT]["p"]] and QUOTED in cards
    assert ["sampler", "<u>exact</u>", False, "(not recorded)"] in cards[SCRIPT]["dif"]


def test_a_run_s_cards_name_job_command_and_log(hostile):
    data = data_of(hostile, "toy")
    card = next(card for card in data["cards"] if card["k"][3] == "HMC" and not card["k"][4])
    assert card["job"] == "mg" and card["cmd"] == "python -m rescore run toy measure --scale laptop --job mg"
    assert data["logs"] == {"mg": "logs/toy-mg.txt"} and (hostile / "logs/toy-mg.txt").read_text() == "measured\n"
    missing = next(card for card in data["cards"] if card["k"][3] == "NUTS")
    assert missing["st"] == "not-run" and missing["note"] == "no <b>time</b>" and "v" not in missing


def test_a_report_is_no_job(hostile, tmp_path):
    """The records that a report keeps are not those of a job `data` of a paper `zz`."""
    results = hostile.parent
    assert main(["report", "--out", str(results / "zz")]) == 0 and (results / "zz" / "data" / "records.csv").is_file()
    assert set(read_results(results, find_papers(tmp_path), tmp_path).jobs.values()) == {"mg"}


def test_broken_claims_are_told_on_the_overview(hostile):
    overview = (hostile / "index.html").read_text()
    assert "1 broken claim" in overview and "selects 4 records" in overview
    assert 'class="badge broken"' in (hostile / "paper-toy.html").read_text()


def test_an_empty_run_says_so(tmp_path, monkeypatch, capsys):
    hostile_suite(tmp_path, measured=False)
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 0
    folder = tmp_path / "results/laptop/report"
    assert "Nothing has been measured yet" in (folder / "index.html").read_text()
    assert "Nothing of this paper has been measured" in (folder / "paper-toy.html").read_text()
    assert "No job has run yet" in (folder / "cost.html").read_text()
    assert "No sampler matrix" in (folder / "matrix.html").read_text()
    assert main(["report", "--scale", "paper"]) == 2
    assert "snakemake --profile profiles/paper" in capsys.readouterr().err


def test_an_old_page_goes_and_snakemake_s_stays(hostile, tmp_path):
    (hostile / "paper-gone.html").write_text("")
    (hostile / "workflow.html").write_text("rules")
    assert main(["report"]) == 0
    assert not (hostile / "paper-gone.html").exists() and (hostile / "workflow.html").read_text() == "rules"
    assert '<a href="workflow.html">Workflow</a>' in (hostile / "index.html").read_text()


def test_a_report_removes_nothing_of_others(hostile, tmp_path, capsys):
    """`--out` may name any folder: that of a run has `figures` and `logs`, and results/ has those of all scales."""
    log = tmp_path / "results/laptop/logs/toy-mg.log"
    reference = tmp_path / "results/reference/laptop"
    shutil.copytree(hostile / "data", reference)  # verdicts and claims
    (reference / "records").mkdir()
    (reference / "records.csv").rename(reference / "records" / "toy.csv")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    for out, named in (
        ("results/laptop", "results/laptop/logs"),
        ("results", "results/laptop/logs"),
        ("site", "site/index.html"),
    ):
        for more in ([], ["--reference", "--scale", "laptop"]):
            assert main(["report", "--out", out, *more]) == 2
            assert f"error: {named}: it is of no report, and one in {out} would remove it" in capsys.readouterr().err
    assert log.read_text() == "measured\n" and (tmp_path / "site/index.html").read_text() == "mine"
    pictures = tmp_path / "pictures"
    (pictures / "assets").mkdir(parents=True)
    (pictures / "one.png").write_text("kept")
    assert main(["report", "--out", "pictures"]) == 0
    (pictures / "assets" / "report.js").write_text("")  # which the real one writes
    (pictures / "paper").mkdir()
    (pictures / "paper" / "index.html").write_text("of a scale that had a reference then")
    assert main(["report", "--reference", "--scale", "laptop", "--out", "pictures"]) == 0
    assert (pictures / "one.png").read_text() == "kept" and not list((pictures / "paper").iterdir())
    assert [path.name for path in pictures.glob("*.html")] == ["index.html"] and not (pictures / "data").exists()


def test_nor_in_the_usual_places(hostile, tmp_path, capsys):
    """Where no `--out` names the folder, it may still be another's."""
    so_far, usual = (tmp_path / "results" / "laptop" / name for name in ("so-far", "report"))
    for folder, words in ((usual, []), (so_far, ["--so-far"])):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "thesis.html").write_text("mine")
        assert main(["report", *words]) == 2 and f"{folder.name}/thesis.html: it is of no report" in capsys.readouterr().err
    shutil.rmtree(usual)
    assert main(["report"]) == 0 and (so_far / "thesis.html").read_text() == "mine"


def text_of(page: Path) -> str:
    """What a page says, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<script.*?</script>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL))


def test_the_overview_says_what_is_judged_first(committed):
    """The numbers of diff.csv, and of papers that have got a config since it was written, which are not run."""
    frame = read_diff(ROOT / "results" / "reference" / "paper" / "diff.csv")
    counts = frame["status"].value_counts()
    scales = {name: paper.scales for name, paper in find_papers(ROOT).items()}
    total = sum("paper" in scales[row.paper] for row in published())
    counts["not-run"] += total - len(frame)
    said = text_of(committed / "paper" / "index.html")
    first = f"{counts['reproduced'] + counts['off']} of {total} printed numbers are judged at scale paper"
    assert said.index(first) < said.index("Printed numbers")
    rows = re.findall(r"(\d+) . (reproduced|off|imprecise|indicative|not run) (?:same|another|not)", said)
    assert {name.replace(" ", "-"): int(n) for n, name in rows} == {"indicative": 0} | counts.to_dict()
    assert "0 of" in text_of(committed / "gpu" / "index.html") and "nothing has been run yet" in text_of(
        committed / "index.html"
    )


def test_a_paper_without_numbers_has_its_tables_where_it_has_the_scale(committed):
    """Also one that the committed diff.csv does not know."""
    for name, paper in find_papers(ROOT).items():
        for scale in ("gpu", "paper"):
            page = committed / scale / f"paper-{name}.html"
            wanted = {address(row.key) for row in published() if row.paper == name} if scale in paper.scales else set()
            assert set(Page(page.read_text()).cells) == wanted
            assert (f"It has no configs/{scale}.yaml" in text_of(page).replace(" .", ".")) == (scale not in paper.scales)


def test_assumptions_are_those_of_each_number():
    """A later entry of `protocols` takes the place of an earlier one: it is not counted twice."""
    page = paper_page(find_papers(ROOT)["pis"], Cards(results_of([])), results_of([]))
    counted = {(fact, value): (n, of) for fact, value, n, of in page["assumptions"]}
    assert counted["sigma2", "3.2"] == (12, "PIS on mg") and counted["sigma2", "0.8"] == (6, "PIS on lgcp")
    assert counted["particles", "100"][1] == "AFT, SMC on lgcp"
    assert "; AFT, SMC on mg, funnel; " in counted["particles", "1000"][1], "methods with the data sets that they have it on"
    assert sum(n for (fact, _), (n, _) in counted.items() if fact == "sigma2") == sum(
        row.paper == "pis" and row.method == "PIS" for row in published()
    )


def test_a_table_says_which_values_are_better_and_why_it_has_none(committed):
    """Zero is better only of a bias; a reason is said once, whatever the paper remarks on single values."""
    text = text_of(committed / "laptop" / "paper-diffcollage.html")
    assert "multimodal_distance: lower is better" in text and "diversity: nearer to 0" not in text
    assert "logz_bias: nearer to 0 is better" in text_of(committed / "paper" / "paper-pis.html")
    text = text_of(committed / "paper" / "paper-diffcollage.html")
    assert text.count("needs the internal landscape set and a fine-tuned GLIDE") == 1
    smld = text_of(committed / "laptop" / "paper-smld_sde.html")
    assert "Fig. 7" in smld and "Score-SDE Table 1" in smld and "Score sde" not in smld
    assert "PSLD Table 5" in text_of(committed / "laptop" / "paper-cld.html")


def test_a_table_of_no_paper_says_nothing_of_one(committed):
    for name in ("log_z", "sampler_matrix"):
        text = text_of(committed / "laptop" / f"paper-{name}.html")
        assert "he paper says" not in text and "printed by the paper" not in text and "What the paper" not in text
        assert "no paper prints them" in text and "matrix.html" in (committed / "laptop" / f"paper-{name}.html").read_text()
    assert "What the paper says" in text_of(committed / "laptop" / "paper-pis.html")


def test_what_was_not_run_has_estimates(committed):
    """Of a scale without results all models and jobs; of one with results those of papers without numbers."""
    suite = load_suite({"scale": "gpu"}, ROOT)
    said = text_of(committed / "gpu" / "cost.html")
    plans = known_plans(suite, read_networks(ROOT / "results" / "reference" / NETWORKS))
    assert "Nothing in this section is measured" in said and "Estimate, not measured: training takes 3 x" in said
    assert all(plan.work > 0 and " ".join(plan.names) in said for plan in plans)
    slow, fast = SPEED
    assert f"{plans[0].gpu_hours(fast):.2f} to {plans[0].gpu_hours(slow):.2f}" in said
    assert len(re.findall("<tr><td>", (committed / "gpu" / "cost.html").read_text())) == len(plans) + len(suite.job_files) // 2
    took, _, of_paper = text_of(committed / "paper" / "cost.html").partition("Not run: estimates")
    assert "gddim/cld" in of_paper and "GPU-hours" in of_paper and "pis mg-nn" not in of_paper and "pis mg-nn" in took
    measured = {path.stem for path in (ROOT / "results" / "reference" / "laptop" / "records").glob("*.csv")}
    without = set(load_suite({"scale": "laptop"}, ROOT).papers) - measured
    assert ("Not run: estimates" in text_of(committed / "laptop" / "cost.html")) == bool(without)


def test_the_cost_of_a_reference_counts_trained_models(committed):
    """As `rescore cost --reference` does, and the tiles of the papers that use them."""
    rows = kept_costs(ROOT / "results" / "reference" / "laptop" / "cost.csv")
    models, jobs = ([row for row in rows if (row["paper"] == MODELS) is trained] for trained in (True, False))
    text = text_of(committed / "laptop" / "cost.html")
    took = [duration(sum(float(row["seconds"]) for row in found)) for found in (jobs, models)]
    assert f"{took[0]} in {len(jobs)} jobs, {took[1]} for {len(models)} trained models." in text
    assert all(row["job"] in text.partition("Trained models")[2] for row in models) and "the two shades only separate" in text
    (chart,) = re.findall(r"window.COST = (.*);", (committed / "laptop" / "cost.html").read_text())
    assert sum(one["paper"] == "trained models" for one in json.loads(chart)) == len(models)
    names = load_suite({"scale": "laptop"}, ROOT).model_names
    of_deis = {key for name, key in names.items() if name.startswith("deis/")} & {row["job"] for row in models}
    assert f"for {len(of_deis)} trained models" in text_of(committed / "laptop" / "index.html").partition("DEIS")[2]


def test_a_run_estimates_what_it_has_not_run_yet(tmp_path):
    results = tmp_path / "gpu"
    write_records(results / "records.csv", [])
    write_records(results / "deis" / "trained" / "records.csv", [])
    (results / "deis" / "trained" / "cost.json").write_text(COST.replace("toy", "deis").replace("mg", "trained"))
    key = load_suite({"scale": "gpu"}, ROOT).model_key("deis/vp")
    (results / "models" / key / "0").mkdir(parents=True)
    (results / "models" / key / "0" / MODEL_FILES["about"]).write_text('{"seconds": 9.0}')
    found = read_results(results, find_papers(ROOT), ROOT)
    assert ("deis", "trained") not in {(row["paper"], row["job"]) for row in found.waiting} and len(found.waiting) > 10
    assert (
        key not in {plan.key for plan in found.planned} and len(found.planned) == len(load_suite({"scale": "gpu"}).models) - 1
    )


def test_reasons_of_a_reference_are_shown(tmp_path, monkeypatch):
    """The same pages of the committed form of a run say why there is no number."""
    run = hostile_suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["tables", "--allow-broken"]) == 0
    (run / "claims.csv").write_text((run / "claims.csv").read_text().replace("broken", "not-run"))
    assert main(["accept", "--allow-dirty", "--paper", "toy"]) == 0
    results = read_results(tmp_path / "results" / "reference" / "laptop", find_papers(tmp_path), tmp_path)
    assert results.kind == "reference" and results.skipped == read_results(run, find_papers(tmp_path), tmp_path).skipped
    monkeypatch.setattr(pages, "write_assets", no_assets)
    written = tmp_path / "results" / "report"
    (written / "figures").mkdir(parents=True)
    (written / "figures" / "mine.png").write_text("mine")
    assert main(["report", "--reference"]) == 2 and (written / "figures" / "mine.png").is_file(), "of no report"
    shutil.rmtree(written)
    assert main(["report", "--reference"]) == 0
    assert "laptop/index.html" in (written / "index.html").read_text() and (written / "laptop" / "matrix.html").is_file()
    assert "Not run: 1 number: no &lt;b&gt;time&lt;/b&gt;." in (written / "laptop" / "paper-toy.html").read_text()
    facts = matrix(results, find_papers(tmp_path))["facts"]
    assert [row["reason"] for row in facts["skipped"]] == ["takes <i>32</i> evaluations"]


def test_stand_ins_are_named_where_they_are_shown(committed):
    """Another metric on other data: its cell says so, and its card says which."""
    address_ = "cld/3/cifar10/CLD/EM-QS/fid/2000"
    cells = Page((committed / "laptop" / "paper-cld.html").read_text()).cells
    assert cells[address_][1][-2:] == ["indicative", "stand-in: frechet on digits_gaussian"]
    assert cells["cld/3/cifar10/CLD/SSCS-QS/fid/150"][1][-1] == "stand-in: on digits"
    timed = Page((committed / "laptop" / "paper-lcss.html").read_text()).cells
    assert timed["lcss/2/checkerboard/DSM/MLP/train_time_ms/"][1][-1] == "stand-in: train_time_ratio"
    (card,) = [card for card in data_of(committed / "laptop", "cld")["cards"] if address(card["k"]) == address_]
    assert card["as"] == "cld/9/digits_gaussian/CLD/EM-QS/frechet/2000"


def test_parity_is_shown_where_it_exists(hostile, tmp_path):
    assert not (hostile / "parity.html").exists()
    (tmp_path / "results" / "parity.csv").write_text("quantity,difference,tolerance,verdict\nscore <x>,1e-7,1e-6,within\n")
    assert main(["report"]) == 0
    page = (hostile / "parity.html").read_text()
    assert "<td>score &lt;x&gt;</td><td>1e-7</td><td>1e-6</td>" in page
    assert '<span class="badge reproduced">within</span>' in page
    assert "parity.html" in (hostile / "index.html").read_text()


def test_evidence_and_readme():
    assert evidence_parts("a/blur; naive/fid = 3 ± 1 over 3 trainings; b = 2 exactly") == [
        ("a/blur; naive/fid", "3 ± 1 over 3 trainings"),
        ("b", "2 exactly"),
    ]
    assert evidence_parts("no record: a/b") == []
    told = claim_row({"z": 2.5, "p": 0.01, "evidence": "a = 1 ± 2 over 3 runs; margin = 1 ± 0.1 over 3 matched repeats"})
    assert (told["matched"], told["evidence_parts"]) == ("1 ± 0.1 over 3 matched repeats", [("a", "1 ± 2 over 3 runs")])
    html = readme_html("# A\n\n| a |\n| - |\n| `x` |\n\n[in *here*](b.md) <b>")
    assert code("a `b<c>` <i>") == "a <code>b&lt;c&gt;</code> &lt;i&gt;"
    assert html.startswith("<h3>A</h3>") and '<div class="scroll"><table>' in html and "in <em>here</em> &lt;b&gt;" in html


@pytest.mark.parametrize(
    ("z", "bar", "text"),
    [
        (3.0, ("50.0", "25.0"), "+3.0 se"),
        (-9.0, ("0.0", "50.0"), "-9.0 se"),
        (math.inf, ("50.0", "50.0"), "certain, for"),
        (-math.inf, ("0.0", "50.0"), "certain, against"),
        (math.nan, None, ""),
    ],
)
def test_a_claims_bar_goes_from_the_middle_to_its_side(z, bar, text):
    row = claim_row({"z": z, "p": 0.0123, "evidence": ""})
    assert (row["bar"], row["z_text"], row["p_text"]) == (bar, text, "0.012")


def test_durations_have_a_unit_of_which_there_are_two():
    said = ["119.0 s", "2.0 minutes", "120.0 minutes", "2.0 hours", "48.0 hours", "2.0 days"]
    assert [duration(seconds) for seconds in (119, 120, 7199, 7200, 172_799, 172_800)] == said


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (1.23456, 0.0123, "1.235 ± 0.012"),
        (-1342.54, 0.62, "-1342.54 ± 0.62"),
        (3.0, None, "3"),
        (0.5, 0.0, "0.5"),
        (2.0, 1.1e-12, "2 ± 1.1e-12"),
        (12345.0, 230.0, "12345 ± 230"),
    ],
)
def test_errors_have_two_digits(value, stderr, text):
    assert with_error(value, stderr) == text
