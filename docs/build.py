"""The docs site, without a network: `python docs/build.py` (or `make docs`) leaves it in site/html; with `--without-slow-parts`, for
who edits a page, what takes a minute (parity, the plan) is left out.

The pages are laid out in site/source as they lie in the repository, so that a relative link means the same on the site.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from blocks import DOCS, ROOT, rendered, with_site_parts

SITE = ROOT / "site"
SOURCE = SITE / "source"
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "reproductions/*/README.md")
FILES = ("docs/**/*.png", "docs/*.css", "docs/examples/*.py", "tests/data/new_paper/**/*", "CITATION.cff", "LICENSE")


def lay_out(slow: bool = True) -> list[Path]:
    """Copy pages and files; the pages. `slow` as of `with_site_parts`."""
    shutil.rmtree(SITE, ignore_errors=True)
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        if path.is_relative_to(DOCS):
            text = with_site_parts(rendered(text), slow)
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for path in {path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file() and "__pycache__" not in path.parts}:
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return pages


def main() -> int:
    lay_out("--without-slow-parts" not in sys.argv[1:])
    report = [sys.executable, "-m", "rescore", "report", "--reference", "--out", str(SOURCE / "report")]
    subprocess.run(report, cwd=ROOT, check=True)
    return subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(main())
