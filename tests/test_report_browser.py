"""The report in a real browser: a Chromium of the system, driven by Playwright; opened from disk."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from browsing import WIDTHS, facts, needs_browser, visit
from conftest import ROOT
from reports import METHODS, QUOTED, SCRIPT
from rescore.ledger.diff import keys, read_diff
from rescore.ledger.tables import with_error
from rescore.report.cards import address

pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed: pip install -e '.[browser]'")
pytestmark = needs_browser


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


def test_every_page_opens_without_an_error_and_fits(page, committed_report, hostile_pages):
    """Those printed in the next test, a cost page among them, and hostile ones that others open are looked at there."""
    pages = [
        committed_report / "index.html",
        *set((committed_report / "laptop").glob("*.html")) - {committed_report / "laptop" / "cost.html"},
    ]
    pages += [hostile_pages / name for name in ("index.html", "claims.html", "matrix.html", "paper-toy.html")]
    pages = [path for path in pages if str(path.relative_to(path.parents[1])) not in PRINTED]
    assert len(pages) == 14
    for path in pages:
        visit(page, path)
        check_screens(page, path)


@pytest.mark.parametrize(("path", "way"), PRINTED.items())
def test_a_printed_page_is_whole_and_says_what_its_colours_mean(page, committed_report, path, way):
    visit(page, committed_report / path)
    check_screens(page, committed_report / path)
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


def test_a_click_opens_the_card_with_the_numbers_of_diff(page, committed_report):
    frame = read_diff(ROOT / "results/reference/paper/diff.csv")
    visit(page, committed_report / "paper" / "paper-pis.html")
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


def test_a_card_opens_by_keyboard_and_by_its_address(page, committed_report):
    visit(page, committed_report / "paper" / "paper-pis.html", "card=" + quote("pis/5.1/mg/PIS/NN/logz_rmse/100", safe=""))
    by_address = facts(page)
    page.keyboard.press("Escape")
    page.locator('td.cell a[data-card="pis/5.1/mg/PIS/NN/logz_rmse/100"]').focus()
    page.keyboard.press("Enter")
    assert facts(page) == by_address and by_address["published"] == "1.731"
    assert "median: 2.34 ± 0.11, off" in page.locator("#card-body").inner_text(), "candidates, as in the terminal"


def test_hostile_texts_are_shown_as_text(page, hostile_pages):
    visit(page, hostile_pages / "paper-toy.html")
    assert page.locator("table.paper tbody th.first").all_inner_texts() == [*METHODS, "NUTS"]
    page.locator("td.cell a").first.click()
    assert page.locator("#card-title").inner_text() == SCRIPT
    assert "setting_08 = xxxxxxxxxxxx" in page.locator("dialog[open]").inner_text()
    assert page.title().startswith("A <em>toy</em>")
    for name in ("numbers.html", "compare.html"):
        visit(page, hostile_pages / name)
        check_screens(page, hostile_pages / name)
        shown = page.locator("table.dataTable").inner_text()
        assert SCRIPT in shown and QUOTED in shown and "</script>" in shown
        assert page.evaluate("document.querySelectorAll('b, em, i:not([class]), u').length") == 0
        assert "owned" not in page.title()


def test_a_card_s_address_may_leave_out_empty_parts(page, committed_report):
    """As `rescore show` takes it; a name of no number, or of several, is told."""
    visit(page, committed_report / "paper" / "numbers.html", "card=pis/5.1/mg/HMC/logz_rmse/100")
    short = facts(page)
    visit(page, committed_report / "laptop" / "paper-lcss.html", "card=lcss/3/cifar10/LCSS/NCSN++ (VE)/fid")
    assert facts(page)["published"], "a plus in a name is no space"
    visit(page, committed_report / "paper" / "numbers.html", "card=" + quote("pis/5.1/mg/HMC//logz_rmse/100", safe=""))
    assert facts(page) == short
    visit(page, committed_report / "paper" / "paper-pis.html", "card=pis/5.1/mg/HMC/logz_rmse")
    page.wait_for_selector("dialog[open] #card-title")
    assert page.locator("#card-title").inner_text() == "No such number"
    page.locator("dialog[open] a[data-card='pis/5.1/mg/HMC//logz_rmse/100']").click()
    assert facts(page) == short
    visit(page, committed_report / "paper" / "claims.html", "card=pis/5.1/mg/HMC/logz_rmse/100")
    page.locator("dialog[open]").get_by_text("Numbers").click()
    assert facts(page) == short


def test_keyboard_reaches_the_content_first(page, committed_report):
    visit(page, committed_report / "laptop" / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_words_stand_beside_colours_with_contrast(page, committed_report):
    """Text on the tints of verdicts has a contrast of at least 4.5 (WCAG AA)."""
    visit(page, committed_report / "paper" / "paper-pis.html")
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
