"""Take the pictures of docs/report: every page of the committed results at two widths."""

import tempfile
from pathlib import Path

from browsing import CHROMIUM, WIDTHS, visit
from conftest import ROOT
from PIL import Image
from playwright.sync_api import sync_playwright
from rescore.cli import main

PAGES = {
    "scales": ("index.html", ""),
    "overview": ("laptop/index.html", ""),
    "paper": ("paper/paper-pis.html", ""),
    "table-by-nfe": ("laptop/paper-deis.html", ""),
    "card": ("paper/paper-pis.html", "card=pis/5.1/mg/PIS/NN/logz_rmse/100"),
    "compare": ("laptop/compare.html", "dataset=digits&metric=fid"),
    "matrix": ("laptop/matrix.html", "metric=sw2&budget=10"),
    "numbers": ("laptop/numbers.html", ""),
    "claims": ("laptop/claims.html", ""),
    "cost": ("laptop/cost.html", ""),
}
HEIGHT = {"desktop": 1000, "phone": 844}
COLOURS = 64  # of the palette: small files

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        main(["report", "--reference", "--root", str(ROOT), "--out", name])
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, pixels in WIDTHS.items():
            page = browser.new_page(viewport={"width": pixels, "height": HEIGHT[width]})
            for title, (path, state) in PAGES.items():
                visit(page, Path(name) / path, state)
                page.wait_for_timeout(500)  # a plot is drawn after its page
                target = ROOT / "docs" / "report" / f"{title}-{width}.png"
                target.parent.mkdir(exist_ok=True)
                page.screenshot(path=target)
                Image.open(target).convert("RGB").quantize(COLOURS).save(target, optimize=True)
        browser.close()
