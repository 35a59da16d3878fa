"""The report in a real browser: a Chromium of the system, driven by Playwright; opened from disk."""

import csv
import os
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import ROOT
from reports import METHODS, QUOTED, SCRIPT, hostile_suite
from rescore.cli import main
from rescore.ledger.diff import keys, read_diff
from rescore.report.cards import address, with_error

pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed: pip install -e '.[browser]'")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("RESCORE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH, and no RESCORE_CHROMIUM"
)
WIDTHS = {"desktop": 1280, "phone": 390}


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def reference(committed_report) -> Path:
    return committed_report


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    results = hostile_suite(root)
    assert main(["report", "--root", str(root), "--results", str(root / "results")]) == 0
    return results / "report"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # no sandbox: where tests run as root, as in a container, Chromium has none
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def tab(browser):
    """The one page of all tests, and what went wrong on it: an error on the console, or a request that leaves the disk."""
    opened = browser.new_page()
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else faults.append(request.url)
    )
    return opened, faults


@pytest.fixture
def page(tab):
    """The page; its test fails for a fault."""
    opened, faults = tab
    opened.set_viewport_size({"width": WIDTHS["desktop"], "height": 900})
    opened.emulate_media(media="screen")
    faults.clear()
    yield opened
    assert faults == []


def visit(page, path: Path, state: str = "") -> None:
    page.goto("about:blank")  # another address of the same page would not load it anew
    page.goto(path.as_uri() + (f"#{state}" if state else ""))
    if path.name in ("numbers.html", "compare.html", "claims.html", "cost.html", "parity.html"):
        page.wait_for_selector("body[data-ready=yes]")


def facts(page) -> dict[str, str]:
    """The card's numbers."""
    page.wait_for_selector("dialog[open] .numbers")
    return dict(
        page.eval_on_selector_all(
            "dialog[open] .numbers > div",
            "nodes => nodes.map(n => [n.dataset.fact, n.querySelector('dd').firstChild.textContent])",
        )
    )


PAPER = {"portrait": 695, "landscape": 1024}  # CSS pixels of A4 between its margins
CUT = """() => [...document.querySelectorAll('main table, #plot')].filter(node => node.getBoundingClientRect().width
    && node.getBoundingClientRect().right > document.querySelector('main').getBoundingClientRect().right + 1)
    .map(node => node.id || node.className)"""


PRINTED = {
    "paper/paper-pis.html": "portrait",
    "laptop/paper-deis.html": "portrait",
    "laptop/paper-diffflow.html": "portrait",
    "laptop/index.html": "portrait",
    "laptop/matrix.html": "portrait",
    "laptop/numbers.html": "landscape",
    "laptop/claims.html": "landscape",
    "laptop/compare.html": "landscape",
    "gpu/cost.html": "landscape",
}


def check_screens(page, path: Path) -> None:
    """A page that is open has one title and is not wider than a screen."""
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 844})
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path.name} is {wider} px wider than a screen of {width}"


def test_every_page_opens_without_an_error_and_fits(page, reference, hostile):
    """Those printed in the next test, a cost page among them, and hostile ones that others open are looked at there."""
    pages = [reference / "index.html", *set((reference / "laptop").glob("*.html")) - {reference / "laptop" / "cost.html"}]
    pages += [hostile / name for name in ("index.html", "claims.html", "matrix.html", "paper-toy.html")]
    pages = [path for path in pages if str(path.relative_to(path.parents[1])) not in PRINTED]
    assert len(pages) == 14
    for path in pages:
        visit(page, path)
        check_screens(page, path)


@pytest.mark.parametrize(("path", "way"), PRINTED.items())
def test_a_printed_page_is_whole_and_says_what_its_colours_mean(page, reference, path, way):
    visit(page, reference / path)
    check_screens(page, reference / path)
    page.set_viewport_size({"width": PAPER[way], "height": 1000})
    page.emulate_media(media="print")
    assert page.evaluate(CUT) == []
    for controls in ("header nav", ".contents", ".choices", ".dt-search", ".dt-paging", "#series-list input"):
        assert not any(node.is_visible() for node in page.locator(controls).all()), controls
    coloured = page.evaluate("""() => [...document.querySelectorAll('td.cell, .badge, .counts li')]
        .filter(node => node.checkVisibility()).map(node => node.innerText)""")
    words = "reproduced|off|imprecise|indicative|not run|holds|fails|inconclusive|broken|own number"
    assert all(re.search(words, text) for text in coloured)
    if "paper-pis" in path:
        assert len(coloured) > 80
        values = page.locator("table.paper td.cell .value").all_inner_texts()
        assert all(text == "" or re.search(r"\d", text) for text in values) and len(values) > 80
    if "compare" in path:  # one is enough
        sheet = re.search(rb"/MediaBox \[([\d. ]+)\]", page.pdf(prefer_css_page_size=True))[1].split()
        assert float(sheet[2]) > float(sheet[3])


def test_numbers_are_there_soon_sort_search_filter_and_download(page, reference, tmp_path):
    visit(page, reference / "laptop" / "numbers.html")
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 2000
    info = page.locator(".dt-info").first
    total = int(re.search(r"of ([\d,]+)", info.inner_text())[1].replace(",", ""))
    frame = read_diff(ROOT / "results/reference/laptop/diff.csv")
    records = sum(len(rows_of(path)) for path in (ROOT / "results/reference/laptop/records").glob("*.csv"))
    assert total >= max(records, len(frame))

    def first(column: int) -> str:
        return page.locator(f"#numbers tbody tr:first-child td:nth-child({column})").inner_text()

    heads = page.locator("#numbers thead th").evaluate_all("heads => heads.map(head => head.innerText.trim())")
    measured = heads.index("measured") + 1
    order = page.locator(f"#numbers thead th:nth-child({measured}) .dtcc-button_order")
    values = "TABLE.column('measured:title').data().toArray().map(c => c.v).filter(v => v !== undefined)"
    low, high = page.evaluate(f"[Math.min(...{values}), Math.max(...{values})]")
    for direction, extreme in (("ascending", low), ("descending", high)):  # numbers, not texts; none is last either way
        order.click()
        page.wait_for_selector(f"#numbers thead th:nth-child({measured})[aria-sort={direction}]")
        assert float(first(measured).split(" ")[0]) == pytest.approx(extreme, rel=0.01)
    page.locator(".dt-search input").fill("DiffCollage HumanML3D")
    page.wait_for_function("document.querySelectorAll('#numbers tbody tr').length < 50")
    assert all(
        "diffcollage" in row.lower() and "HumanML3D" in row for row in page.locator("#numbers tbody tr").all_inner_texts()
    )
    page.locator(".dt-search input").fill("")
    verdict = heads.index("verdict") + 1
    page.locator(f"#numbers thead th:nth-child({verdict}) .dtcc-button_dropdown").click()
    page.locator(".dtcc-dropdown .dtcc-search input").fill("reproduced")
    page.wait_for_function(
        "n => TABLE.rows({search: 'applied'}).count() === n", arg=int((frame["status"] == "reproduced").sum())
    )
    page.keyboard.press("Escape")
    rows = page.locator("#numbers tbody tr").all_inner_texts()
    assert len(rows) == (frame["status"] == "reproduced").sum() and all("reproduced" in row for row in rows)
    with page.expect_download() as download:
        page.get_by_text("Download CSV").click()
    download.value.save_as(tmp_path / "numbers.csv")
    saved = list(csv.DictReader((tmp_path / "numbers.csv").read_text().splitlines()))
    assert len(saved) == len(rows) and {row["verdict"] for row in saved} == {"reproduced"}


def menu(page, table: str, head: str) -> list[str]:
    """The entries of a column's list."""
    page.locator(f"{table} thead th", has_text=re.compile(f"^\\s*{head}")).first.locator(".dtcc-button_dropdown").click()
    page.wait_for_selector(".dtcc-dropdown .dtcc-list-buttons .dtcc-button-text")
    found = page.locator(".dtcc-dropdown .dtcc-list-buttons .dtcc-button-text").all_inner_texts()
    page.keyboard.press("Escape")
    return found


def test_a_column_s_list_has_the_texts_of_its_cells(page, reference, hostile):
    """Not what the browser makes of their elements, and no HTML of a text."""
    frame = read_diff(ROOT / "results/reference/laptop/diff.csv")
    visit(page, reference / "laptop" / "numbers.html")
    words = {status.replace("-", " ") for status in frame["status"]} | {"own number"}
    assert set(menu(page, "#numbers", "verdict")) == words and "DDIM" in menu(page, "#numbers", "method")
    visit(page, reference / "laptop" / "compare.html", "dataset=funnel&metric=logz_rmse")
    assert any(text.startswith("runs=") or "; runs=" in text for text in menu(page, "#compared", "protocol"))
    visit(page, reference / "laptop" / "claims.html")
    assert {"✓ holds", "✗ fails"} <= set(menu(page, "table.claims", "status")) and "pis" in menu(page, "table.claims", "paper")
    listed = menu(page, "table.claims", "evidence")
    assert any(" over 4 runs" in text for text in listed) and not any("</" in text or "values" in text[:9] for text in listed)
    visit(page, hostile / "numbers.html")
    assert {SCRIPT, QUOTED} <= set(menu(page, "#numbers", "method")) and "owned" not in page.title()


def test_numbers_of_one_table_by_address(page, reference):
    visit(page, reference / "laptop" / "numbers.html", "paper=lcss&table=2")
    assert "Only paper lcss, table 2" in page.locator("#chosen").inner_text()
    papers = page.evaluate("[...new Set(TABLE.rows().data().toArray().map(c => c.paper + '/' + c.table))]")
    assert papers == ["lcss/2"]


def test_a_click_opens_the_card_with_the_numbers_of_diff(page, reference):
    frame = read_diff(ROOT / "results/reference/paper/diff.csv")
    visit(page, reference / "paper" / "paper-pis.html")
    for status in ("reproduced", "off", "imprecise"):
        check_card(page, frame, status)


def check_card(page, frame, status: str) -> None:
    chosen = frame[(frame["paper"] == "pis") & (frame["status"] == status)].iloc[[0]]
    (key,), row = keys(chosen), chosen.iloc[0]
    page.locator(f'td.cell a[data-card="{address(key)}"]').click()
    found = facts(page)
    assert (
        found["measured"] == with_error(row["measured"], row["stderr"]) and found["published"].split(" ")[0] == row["published"]
    )
    assert float(found["delta"]) == pytest.approx(row["delta"], rel=1e-3) and float(found["tolerance"]) == pytest.approx(
        row["tolerance"], rel=1e-3
    )
    assert status in page.locator("dialog[open] .badge").first.inner_text()
    assert page.locator("dialog[open] h3").all_inner_texts()[:3] == ["Stated and met", "Assumed", "Differs"]
    assert "runs = 100" in page.locator("dialog[open] .protocols").first.inner_text()
    assert quote(address(key), safe="") in page.url
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    assert "card=" not in page.url


def test_a_card_opens_by_keyboard_and_by_its_address(page, reference):
    visit(page, reference / "paper" / "paper-pis.html", "card=" + quote("pis/5.1/mg/PIS/NN/logz_rmse/100", safe=""))
    by_address = facts(page)
    page.keyboard.press("Escape")
    page.locator('td.cell a[data-card="pis/5.1/mg/PIS/NN/logz_rmse/100"]').focus()
    page.keyboard.press("Enter")
    assert facts(page) == by_address and by_address["published"] == "1.731"
    assert "median: 2.34 ± 0.11, off" in page.locator("#card-body").inner_text(), "candidates, as in the terminal"


def test_compare_plots_and_its_link_restores_the_choice(page, reference):
    visit(page, reference / "paper" / "compare.html", "dataset=mg&metric=logz_rmse&x=nfe&lx=1&ly=0")
    check_plot(page)
    page.select_option("#dataset", "funnel")
    page.select_option("#metric", "logz_rmse")
    page.locator("#series-list label", has_text="PIS NN (pis)").locator("input").uncheck()
    page.locator("#ly").uncheck()
    page.wait_for_function("new URLSearchParams(location.hash.slice(1)).get('ly') === '0'")
    rows = page.evaluate("TABLE.rows().data().toArray().map(c => c.id)")
    assert rows and not any("/PIS/NN/" in row for row in rows)
    other, address_ = page, page.url
    page.goto("about:blank")
    page.goto(address_)
    page.wait_for_selector("body[data-ready=yes]")
    assert (other.input_value("#dataset"), other.input_value("#metric")) == ("funnel", "logz_rmse")
    assert not other.is_checked("#ly") and other.is_checked("#lx")
    assert not other.locator("#series-list label", has_text="PIS NN (pis)").locator("input").is_checked()
    assert other.evaluate("TABLE.rows().data().toArray().map(c => c.id)") == rows


def check_plot(page) -> None:
    """Measured and published numbers of PIS NN, against evaluations and by method."""
    traces = page.evaluate("document.getElementById('plot').data.map(t => [t.name, t.marker.symbol, [...t.x], [...t.y]])")
    own = {symbol.endswith("-open"): (x, y) for name, symbol, x, y in traces if name == "PIS NN (pis)"}
    frame = read_diff(ROOT / "results/reference/paper/diff.csv")
    row = frame[
        (frame["dataset"] == "mg") & (frame["method"] == "PIS") & (frame["variant"] == "NN") & (frame["metric"] == "logz_rmse")
    ].iloc[0]
    assert own[True] == ([100], [float(row["published"])])
    measured = pytest.approx(row["measured"], rel=1e-8)  # a record keeps ten digits
    assert own[False] == ([100], [measured])
    page.select_option("#across", "method")  # what is plotted by itself where no method has several numbers of evaluations
    page.wait_for_function("document.getElementById('plot').data[0].y[0].length > 3")
    points = page.evaluate("document.getElementById('plot').data.map(t => [t.marker.symbol.endsWith('-open'), t.x[0], t.y[0]])")
    assert [False, measured, "PIS NN (pis)"] in points and [True, float(row["published"]), "PIS NN (pis)"] in points
    assert "x=method" in page.url and not page.locator("#lx").is_visible()


def test_compare_shows_the_best_methods_before_a_choice(page, reference):
    """Of more than a hundred, as many as can be told apart; the buttons and the address have the others."""
    visit(page, reference / "laptop" / "compare.html", "dataset=digits&metric=fid")
    boxes = page.locator("#series-list input")
    assert boxes.count() > 50 and page.locator("#series-list input:checked").count() == 12
    assert f"12 of {boxes.count()} shown" in page.locator("#series legend").inner_text()
    paths = (ROOT / "results/reference/laptop/records").glob("*.csv")
    records = [row for path in paths for row in rows_of(path)]
    fid = [row for row in records if (row["dataset"], row["metric"]) == ("digits", "fid") and row["nfe"]]
    of_usual = [row for row in fid if float(row["n_samples"]) / float(row["n_seeds"]) == 359]
    assert len(of_usual) > len(fid) / 2
    best = min(of_usual, key=lambda row: float(row["value"]))
    assert f"{best['method']} {best['variant']} ({best['paper']})" in page.locator("#series-list label").all_inner_texts()[:12]
    page.select_option("#size", "all")
    page.click("#all")
    page.wait_for_function("document.querySelectorAll('#series-list input:not(:checked)').length === 0")
    every = [row for row in records if (row["dataset"], row["metric"]) == ("digits", "fid")]
    assert page.evaluate("document.body.dataset.rows") == str(len(every))


def test_compare_ranks_values_of_one_number_of_samples(page, reference):
    """sw2 of exact draws is smaller where there are more of them: these are not the best of all."""
    visit(page, reference / "laptop" / "compare.html", "dataset=digits_exact&metric=sw2")
    each = "[...new Set(TABLE.rows().data().toArray().map(c => c.each))]"
    assert page.input_value("#size") == "16" and page.evaluate(each) == [16]
    assert "sw2 depends on the number of samples behind a value" in page.locator("#plot-note").inner_text()
    page.select_option("#size", "64")
    page.wait_for_function("location.hash.includes('samples=64')")
    assert page.evaluate(each) == [64] and "those of 64" in page.locator("#plot-note").inner_text()
    page.select_option("#size", "all")
    page.wait_for_function("location.hash.includes('samples=all')")
    assert "none is called the best" in page.locator("#plot-note").inner_text()
    visit(page, reference / "laptop" / "compare.html", "dataset=funnel&metric=logz_rmse")
    assert not page.locator("#size").is_visible()


def test_the_matrix_has_a_value_or_a_reason_for_every_cell(page, reference):
    visit(page, reference / "laptop" / "matrix.html", "metric=sw2&budget=10")
    cells = page.locator("#heat tbody td")
    assert cells.count() % 6 == 0 and cells.count() > 60
    link = page.locator('#heat td a[data-card="sampler_matrix/matrix/digits_exact/DDIM/VP/sw2/10"]')
    records = rows_of(ROOT / "results/reference/laptop/records/sampler_matrix.csv")
    value = next(
        float(r["value"]) for r in records if (r["method"], r["variant"], r["metric"], r["nfe"]) == ("DDIM", "VP", "sw2", "10")
    )
    assert float(link.inner_text()) == pytest.approx(value, rel=0.05)
    page.select_option("#budget", "50")
    assert "budget=50" in page.url


def test_the_matrix_lists_why_cells_are_empty(page, hostile):
    visit(page, hostile / "matrix.html", "metric=sw2&budget=10")
    cells = page.locator("#heat tbody tr").all_inner_texts()
    assert [re.sub(r"\s+", " ", row.split("\n")[0]).strip()[:5] for row in cells] == ["Euler", "SSCS"]
    reasons = dict(zip(*(page.locator(f"#reasons .reason {part}").all_inner_texts() for part in ("dt", "dd")), strict=True))
    assert reasons == {"the sampler does not apply to the process": "SSCS on VP"}


def test_hostile_texts_are_shown_as_text(page, hostile):
    visit(page, hostile / "paper-toy.html")
    assert page.locator("table.paper tbody th.first").all_inner_texts() == [*METHODS, "NUTS"]
    page.locator("td.cell a").first.click()
    assert page.locator("#card-title").inner_text() == SCRIPT
    assert "setting_08 = xxxxxxxxxxxx" in page.locator("dialog[open]").inner_text()
    assert page.title().startswith("A <em>toy</em>")
    for name in ("numbers.html", "compare.html"):
        visit(page, hostile / name)
        check_screens(page, hostile / name)
        shown = page.locator("table.dataTable").inner_text()
        assert SCRIPT in shown and QUOTED in shown and "</script>" in shown
        assert page.evaluate("document.querySelectorAll('b, em, i:not([class]), u').length") == 0
        assert "owned" not in page.title()


def test_keyboard_reaches_the_content_first(page, reference):
    visit(page, reference / "laptop" / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_words_stand_beside_colours_with_contrast(page, reference):
    """Text on the tints of verdicts has a contrast of at least 4.5 (WCAG AA)."""
    visit(page, reference / "paper" / "paper-pis.html")
    pairs = page.evaluate("""() => [...document.querySelectorAll('.badge, td.cell a')].filter(n => n.checkVisibility())
        .map(n => [getComputedStyle(n).color, getComputedStyle(n).backgroundColor, n.innerText])""")

    def luminance(colour: str) -> float:
        parts = [float(x) / 255 for x in re.findall(r"[\d.]+", colour)[:3]]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert len(pairs) > 80
    for colour, background, text in pairs:
        low, high = sorted((luminance(colour), 1.0 if background.startswith("rgba(0, 0, 0, 0") else luminance(background)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, text
        assert re.search("reproduced|off|imprecise|indicative|not run|holds|fails|inconclusive", text), text
