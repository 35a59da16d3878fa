"""Numbers, Compare and Matrix of the report in a real browser: tables, plots, menus, downloads."""

import re

import pytest
from browsing import downloaded, menu, needs_browser, rows_of, visit
from conftest import ROOT
from reports import QUOTED, SCRIPT
from rescore.ledger.diff import read_diff

pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed: pip install -e '.[browser]'")
pytestmark = needs_browser


def test_numbers_are_there_soon_sort_search_filter_and_download(page, committed_report, tmp_path):
    """Soon: the first paint waits for a short page alone, and of thousands of numbers the browser lays out one screen."""
    path = committed_report / "laptop" / "numbers.html"
    visit(page, path)
    assert path.stat().st_size < 10_000 and page.locator("script[src]:not([defer])").count() == 0
    assert page.locator("#numbers tbody tr").count() == 50 and page.locator("*").count() < 3000
    info = page.locator(".dt-info").first
    total = int(re.search(r"of ([\d,]+)", info.inner_text())[1].replace(",", ""))
    frame = read_diff(ROOT / "results/reference/laptop/diff.csv")
    records = sum(len(rows_of(path)) for path in (ROOT / "results/reference/laptop/records").glob("*.csv"))
    assert total >= max(records, len(frame)) > 5000

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
    saved = downloaded(page, tmp_path / "numbers.csv")
    assert len(saved) == len(rows) and {row["verdict"] for row in saved} == {"reproduced"}


def test_a_download_says_what_was_measured_and_its_error(page, committed_report, tmp_path):
    """A stand-in is not the number of its row; `compare` has errors too."""
    visit(page, committed_report / "laptop" / "numbers.html", "paper=cld&table=3")
    columns = ("dataset", "method", "variant", "metric", "nfe")
    found = {tuple(row[c] for c in columns): row["measured as"] for row in downloaded(page, tmp_path / "numbers.csv")}
    assert found["cifar10", "CLD", "EM-QS", "fid", "2000"] == "cld/9/digits_gaussian/CLD/EM-QS/frechet/2000"
    assert page.get_by_text("cld/9/digits_gaussian/CLD/EM-QS/frechet/2000").first.is_visible()
    visit(page, committed_report / "laptop" / "compare.html", "dataset=funnel&metric=logz_rmse")
    rows = [row for row in downloaded(page, tmp_path / "compare.csv") if row["measured"]]
    assert rows and all(float(row["stderr"]) > 0 for row in rows)


def test_a_column_s_list_has_the_texts_of_its_cells(page, committed_report, hostile_pages):
    """Not what the browser makes of their elements, and no HTML of a text."""
    frame = read_diff(ROOT / "results/reference/laptop/diff.csv")
    visit(page, committed_report / "laptop" / "numbers.html")
    words = {status.replace("-", " ") for status in frame["status"]} | {"own number"}
    assert set(menu(page, "#numbers", "verdict")) == words and "DDIM" in menu(page, "#numbers", "method")
    visit(page, committed_report / "laptop" / "compare.html", "dataset=funnel&metric=logz_rmse")
    assert any(text.startswith("runs=") or "; runs=" in text for text in menu(page, "#compared", "protocol"))
    visit(page, committed_report / "laptop" / "claims.html")
    assert {"✓ holds", "✗ fails"} <= set(menu(page, "table.claims", "status")) and "pis" in menu(page, "table.claims", "paper")
    listed = menu(page, "table.claims", "evidence")
    assert any(" over 4 runs" in text for text in listed) and not any("</" in text or "values" in text[:9] for text in listed)
    visit(page, hostile_pages / "numbers.html")
    assert {SCRIPT, QUOTED} <= set(menu(page, "#numbers", "method")) and "owned" not in page.title()


def test_numbers_of_one_table_by_address(page, committed_report):
    visit(page, committed_report / "laptop" / "numbers.html", "paper=lcss&table=2")
    assert "Only paper lcss, table 2" in page.locator("#chosen").inner_text()
    papers = page.evaluate("[...new Set(TABLE.rows().data().toArray().map(c => c.paper + '/' + c.table))]")
    assert papers == ["lcss/2"]


def test_compare_plots_and_its_link_restores_the_choice(page, committed_report):
    visit(page, committed_report / "paper" / "compare.html", "dataset=mg&metric=logz_rmse&x=nfe&lx=1&ly=0")
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


def test_compare_shows_the_best_methods_before_a_choice(page, committed_report):
    """Of more than a hundred, as many as can be told apart; the buttons and the address have the others."""
    visit(page, committed_report / "laptop" / "compare.html", "dataset=digits&metric=fid")
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


def test_compare_joins_no_two_tables_of_a_method(page, committed_report):
    """One has quadratic times, the other the best of four grids: each is a curve, and none has two values at one x."""
    visit(page, committed_report / "laptop" / "compare.html", "dataset=digits&metric=fid&samples=all")
    page.click("#all")
    page.wait_for_function("document.querySelectorAll('#series-list input:not(:checked)').length === 0")
    names = page.locator("#series-list label").all_inner_texts()
    assert {"DEIS rho2Heun (deis, table 6.2)", "DEIS rho2Heun (deis, table 6.2-grids)"} <= set(names)
    traces = page.evaluate("document.getElementById('plot').data.map(t => [t.name, t.mode, [...t.x]])")
    assert len(traces) > 50 and all(len(set(x)) == len(x) for _, mode, x in traces if "lines" in mode)


def test_compare_ranks_values_of_one_number_of_samples(page, committed_report):
    """sw2 of exact draws is smaller where there are more of them: these are not the best of all."""
    visit(page, committed_report / "laptop" / "compare.html", "dataset=digits_exact&metric=sw2")
    each = "[...new Set(TABLE.rows().data().toArray().map(c => c.each))]"
    assert page.input_value("#size") == "16" and page.evaluate(each) == [16]
    assert "sw2 depends on the number of samples behind a value" in page.locator("#plot-note").inner_text()
    page.select_option("#size", "64")
    page.wait_for_function("location.hash.includes('samples=64')")
    assert page.evaluate(each) == [64] and "those of 64" in page.locator("#plot-note").inner_text()
    page.select_option("#size", "all")
    page.wait_for_function("location.hash.includes('samples=all')")
    assert "none is called the best" in page.locator("#plot-note").inner_text()
    visit(page, committed_report / "laptop" / "compare.html", "dataset=funnel&metric=logz_rmse")
    assert not page.locator("#size").is_visible()


def test_the_matrix_has_a_value_or_a_reason_for_every_cell(page, committed_report):
    visit(page, committed_report / "laptop" / "matrix.html", "metric=sw2&budget=10")
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
    visit(page, committed_report / "laptop" / "matrix.html")
    assert (page.input_value("#metric"), page.input_value("#budget")) == ("sw2", "10"), "where cells differ, and not by chance"
    assert "exact draws is the floor" in page.locator("#scale-note").inner_text()
    assert page.locator("main a[href='paper-log_z.html#heat-map']").is_visible()


def test_the_table_of_samplers_and_targets_is_a_heat_map_too(page, committed_report):
    visit(page, committed_report / "laptop" / "paper-log_z.html")
    records = rows_of(ROOT / "results/reference/laptop/records/log_z.csv")
    of = [row for row in records if row["metric"] == "logz_rmse"]
    assert page.input_value("#metric") == "logz_rmse" and page.locator("#heat td a").count() == len(of)
    (one,) = [row for row in of if (row["dataset"], row["method"], row["variant"]) == ("funnel", "SNF", "identity")]
    cell = page.locator("#heat td a[data-card='log_z/log_z/funnel/SNF/identity/logz_rmse/31']")
    assert float(cell.inner_text()) == pytest.approx(float(one["value"]), rel=0.05)
    assert "diverged" in page.locator("#reasons").inner_text()
    page.select_option("#metric", "ess")
    assert "Larger is better" in page.locator("#scale-note").inner_text()


def test_the_matrix_lists_why_cells_are_empty(page, hostile_pages):
    visit(page, hostile_pages / "matrix.html", "metric=sw2&budget=10")
    cells = page.locator("#heat tbody tr").all_inner_texts()
    assert [re.sub(r"\s+", " ", row.split("\n")[0]).strip()[:5] for row in cells] == ["Euler", "SSCS"]
    reasons = dict(zip(*(page.locator(f"#reasons .reason {part}").all_inner_texts() for part in ("dt", "dd")), strict=True))
    assert reasons == {"the sampler does not apply to the process": "SSCS on VP"}
