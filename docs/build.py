"""The docs site, without a network: `python docs/build.py` (or `make docs`) leaves it in site/html.

With `--without-slow-parts`, for who edits a page, what takes a minute (parity, the plan) is left out.

The pages are laid out in site/source as they lie in the repository, so that a relative link means the same on the site.
"""

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from blocks import rendered, with_site_parts
from markdown_text import DOCS, ROOT

SITE = ROOT / "site"
SOURCE, HTML = SITE / "source", SITE / "html"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/**/*.md", "reproductions/*/README.md")
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
    for path in {
        path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file() and "__pycache__" not in path.parts
    }:
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return pages


class Page(HTMLParser):
    """The links of a page and the names of its places."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.links += [found[name] or "" for name in ("href", "src") if name in found]
        self.names |= {found[name] or "" for name in ("id", "name") if name in found}


def dead_links(folder: Path) -> list[str]:
    """Links of the built pages to files or places that are not there, as the builder checks those of the Markdown.

    A `#name=value` is a state that a page of the report reads, not a place. 404.html is served from anywhere.
    """
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html") if path.name != "404.html"
    }
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.is_file() and target.is_relative_to(folder.resolve())
            if there and parts.fragment and "=" not in parts.fragment and target in pages:
                there = unquote(parts.fragment) in pages[target].names
            if not there:
                dead.append(f"{path.relative_to(folder.resolve())}: {link}")
    return dead


def main() -> int:
    lay_out("--without-slow-parts" not in sys.argv[1:])
    report = [sys.executable, "-m", "rescore", "report", "--reference", "--out", str(SOURCE / "report")]
    subprocess.run(report, cwd=ROOT, check=True)
    if status := subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT).returncode:
        return status
    dead = dead_links(HTML)
    print(*(f"dead link: {link}" for link in dead), sep="\n", end="\n" if dead else "")
    return int(bool(dead))


if __name__ == "__main__":
    raise SystemExit(main())
