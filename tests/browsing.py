"""What tests of the report's pages in a browser share: where that is, how a page is opened, what it downloads."""

import csv
import os
import re
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("RESCORE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
WIDTHS = {"desktop": 1280, "phone": 390}
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH, and no RESCORE_CHROMIUM"
)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


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


def menu(page, table: str, head: str) -> list[str]:
    """The entries of a column's list."""
    page.locator(f"{table} thead th", has_text=re.compile(f"^\\s*{head}")).first.locator(".dtcc-button_dropdown").click()
    page.wait_for_selector(".dtcc-dropdown .dtcc-list-buttons .dtcc-button-text")
    found = page.locator(".dtcc-dropdown .dtcc-list-buttons .dtcc-button-text").all_inner_texts()
    page.keyboard.press("Escape")
    return found


def downloaded(page, path: Path) -> list[dict[str, str]]:
    """The rows of the table's CSV, which is saved at `path`."""
    with page.expect_download() as download:
        page.get_by_text("Download CSV").click()
    download.value.save_as(path)
    return rows_of(path)
