"""The pages: their code runs, their numbers are the files', links and names lead somewhere, and they keep their lengths."""

import ast
import importlib
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
]
API = sorted((DOCS / "api").glob("*.md"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """As GitHub and the site make them of headings."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.fixture(scope="module")
def blocks():
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module("blocks")
    sys.path.remove(str(DOCS))


# Lengths


def test_tutorials_keep_their_lengths():
    assert lines_of(ROOT / "README.md") < 150
    assert lines_of(DOCS / "examples" / "new_sampler.py") < 60
    body = ast.parse((DOCS / "examples" / "library.py").read_text()).body[1:]
    assert sum(node.end_lineno - node.lineno + 1 for node in body) <= 20


# Code


def test_the_new_sampler_converges_as_the_page_says(blocks):
    found = runpy.run_path(str(DOCS / "examples" / "new_sampler.py"))
    method = found["dpm_solver_2m"]
    errors = found["errors"]((10, 20, 40, 80))
    ratios = [coarse / fine for coarse, fine in zip(errors["dpm_solver_2m"], errors["dpm_solver_2m"][1:], strict=False)]
    assert method.order == 2 and all(2**1.7 < ratio < 2**2.1 for ratio in ratios)
    assert all(1.9 < a / b < 2.1 for a, b in zip(errors["ddim"], errors["ddim"][1:], strict=False))
    assert errors["dpm_solver_2m"][-1] < errors["ddim"][-1] / 10
    shown = blocks.blocks_of((DOCS / "add-a-sampler.md").read_text())["example-output"]
    written = [[float(number) for number in line.split()[1:]] for line in shown.splitlines()[1:3]]
    assert written == [pytest.approx(row, rel=6e-3) for row in errors.values()]


def test_the_new_sampler_is_as_the_contract_has_it():
    import torch
    from rescore import CLD, VP, ExactProblem, RescoreError, grids

    method = runpy.run_path(str(DOCS / "examples" / "new_sampler.py"))["dpm_solver_2m"]
    assert method.applies_to(VP()) and not method.applies_to(CLD())
    with pytest.raises(RescoreError, match="dpm_solver_2m"):
        method(CLD(), grids.uniform(CLD(), 5))
    # data that are one point: the clean prediction is constant, so any number of steps is exact
    process, point = VP(), torch.tensor([[0.7]], dtype=torch.float64)
    problem = ExactProblem.of_points("a point", process, point, ("start",), (0,), 4)
    sampler = method(process, grids.quadratic(process, 3))
    start = problem.start()
    end = problem.run(sampler, start)[0]
    ratio = (process.Sigma(process.eps).values / process.Sigma(process.T).values).sqrt()
    m = [process.mean(t).values for t in (process.eps, process.T)]
    torch.testing.assert_close(end, m[0] * 0.7 + ratio * (start - m[1] * 0.7))
    assert sampler.solve(problem.score, start).nfe == sampler.nfe == 3


def test_twenty_lines_of_the_library_draw_a_figure(tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(DOCS / "examples" / "library.py"))
    plt.close("all")
    assert (tmp_path / "library.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert found["samplers"][0].nfe == 5 and found["errors"][-1] < found["errors"][0] / 100, "of tAB-DEIS"


# What the library has at the top


def test_every_name_at_the_top_is_its_modules():
    import rescore

    for module, names in rescore.EXPORTS.items():
        for name in names:
            assert getattr(rescore, name) is getattr(importlib.import_module(module), name)
    assert set(rescore.__all__) <= set(dir(rescore)) and len(set(rescore.__all__)) == len(rescore.__all__)
    assert rescore.targets is importlib.import_module("rescore.targets")
    for wrong in ("nothing", "__wrapped__", "__main__.main"):
        with pytest.raises(AttributeError, match="has no attribute"):
            getattr(rescore, wrong)


def test_importing_rescore_imports_nothing_else():
    code = (
        "import sys; import rescore; packages = ('rescore', 'torch', 'numpy'); "
        "found = [name for name in sys.modules if name.partition('.')[0] in packages]; "
        "rescore.RescoreError; print(found, 'torch' in sys.modules, 'rescore.errors' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['rescore'] False True"


# Numbers


@pytest.mark.parametrize(
    "path", [path for path in PAGES if DOCS in path.parents and "<!-- block:" in path.read_text()], ids=lambda path: path.stem
)
def test_blocks_are_what_the_files_say(blocks, path):
    """After a change of the references `python docs/blocks.py` renders them anew."""
    for name, text in blocks.blocks_of(path.read_text(encoding="utf-8")).items():
        if name != "example-output":  # compared above
            assert text == blocks.block(name) + "\n", f"{path.name}: {name}; render it with `python docs/blocks.py`"


def test_the_page_of_the_verdict_follows_one_number(blocks):
    text = (DOCS / "verdict.md").read_text(encoding="utf-8")
    one_number = importlib.import_module("one_number")
    card, record = one_number.the_card(), one_number.the_card().record
    assert card.status == "reproduced" and f"rescore show {one_number.KEY} --scale paper" in text
    for said in (
        f"value        {record.value}",
        f"published    {card.published.value}",
        f"tolerance    {card.verdict['tolerance']}",
    ):
        assert said in text
    assert 'smaller(rmse("mg", "PIS", "Grad"), rmse("mg", "PIS", "NN"))' in text and "status       holds" in text


def test_an_unknown_part_is_an_error(blocks):
    with pytest.raises(SystemExit, match="unknown block 'nothing'; allowed are file:PATH, api:ROOM, published-row"):
        blocks.rendered("<!-- block: nothing -->\n<!-- end -->")
    with pytest.raises(SystemExit, match="unknown part of the site 'nothing'; allowed are report-links"):
        blocks.with_site_parts("<!-- site: nothing -->")
    assert blocks.with_site_parts("<!-- site: parity -->", slow=False) == "(left out: parity)"
    assert blocks.rendered("<!-- block: meanings -->\nold\n<!-- end -->").splitlines()[1].startswith("| verdict ")


def test_no_block_or_part_is_unused(blocks):
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert {name for name in blocks.BLOCKS if f"<!-- block: {name} -->" not in text} == set()
    assert {name for name in blocks.SITE if f"<!-- site: {name} -->" not in text} == set()


def test_the_glossary_has_the_words_of_verdicts_claims_and_scales():
    from rescore.ledger import claims, diff
    from rescore.parity.table import VERDICTS

    terms = {
        term.strip()
        for line in re.findall(r"^\| (.+?) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
        for term in line.split(",")
    }
    words = {status.replace("-", " ") for status in (*diff.STATUSES, *claims.STATUSES)}
    assert words <= terms
    assert {"protocol", "stated", "assumed", "candidate", "stand-in", "floor", "repeat"} <= terms
    assert all(verdict in (DOCS / "parity.md").read_text() for verdict in VERDICTS)


# Links and names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = prose(path)
    for link in LINK.findall(text):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists() and ROOT in target.parents, f"{path}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{path}: {link}; there are {', '.join(sorted(anchors(target)))}"


@pytest.mark.parametrize(
    "path", [*PAGES, *sorted(ROOT.glob("reproductions/*/README.md"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_tables_are_whole(path):
    """A blank line inside one leaves its last rows as running text with bars."""
    blocks = re.findall(r"(?:^ *\|.*\n)+", prose(path), re.MULTILINE)
    assert [block for block in blocks if not re.match(r" *\|.*\n *\|[ :|-]+\n", block)] == []


def test_pages_that_are_linked_are_on_the_site(blocks):
    patterns = importlib.import_module("build").PAGES
    site = {page for pattern in patterns for page in ROOT.glob(pattern)}
    for path in PAGES:
        linked = {(path.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(path)) if ":" not in link}
        assert {page for page in linked if page.suffix == ".md"} <= site, path


def test_no_formula_of_a_docstring_reads_as_a_link():
    """`f [x](x, t)` is one in Markdown, to a place that the site does not have."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    for path in (ROOT / "lib").rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
        texts = [re.sub("`[^`]*`", "", ast.get_docstring(node) or "") for node in nodes]
        assert [found for text in texts for found in re.findall(r"\[[^\]]*\]\((?!http)[^)]*\)", text)] == [], path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_in_code_is_there(path):
    """Dotted names of the library and paths of the repository, in backticks."""
    for name in re.findall(r"`(rescore(?:\.\w+)+)`", prose(path)):
        value = importlib.import_module("rescore")
        for part in name.split(".")[1:]:
            value = getattr(value, part) if hasattr(value, part) else importlib.import_module(f"{value.__name__}.{part}")
    for name in re.findall(r"`((?:lib|docs|tests|reproductions|profiles)/[\w./-]*)`", prose(path)):
        assert (ROOT / name).exists(), f"{path}: {name}"


def commands() -> list[tuple[str, str]]:
    """The `rescore` commands that pages show on lines of their own, or first in a row of a table."""
    found = []
    for path in PAGES:
        for line in re.findall(r"^(?: {4}|\| `)(rescore [^`\n]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.append((path.name, line.partition(" #")[0].strip()))
    return found


def test_commands_are_what_the_command_line_takes():
    from rescore.cli import parser

    lines = commands()
    assert len(lines) > 20
    for page, line in lines:
        try:
            parser().parse_args(shlex.split(line)[1:])
        except SystemExit:
            pytest.fail(f"{page}: {line}")


def test_dead_links_of_built_pages_are_found(blocks, tmp_path):
    build = importlib.import_module("build")
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top"></h1><a href="#top"><a href="a/b.html#x%20y"><a href="a/b.html#card=1"><img src="https://example.org/c.png">'
        '<a href="#gone"><a href="a/b.html#gone"><a href="a"><img src="c.png"><a href="../index.html">'
    )
    (tmp_path / "a" / "b.html").write_text('<a id="x y" href="../index.html">')
    assert build.dead_links(tmp_path) == [
        f"index.html: {link}" for link in ("#gone", "a/b.html#gone", "a", "c.png", "../index.html")
    ]


def test_every_module_has_a_page():
    listed = [name for path in API for name in re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE)]
    parts = (path.relative_to(ROOT / "lib").with_suffix("").parts for path in (ROOT / "lib" / "rescore").rglob("*.py"))
    modules = {".".join(part for part in names if part != "__init__") for names in parts}
    assert len(listed) == len(set(listed)) and set(listed) == modules - {"rescore", "rescore.__main__"}


def test_every_page_is_in_the_navigation():
    def leaves(node):
        for value in node.values() if isinstance(node, dict) else node:
            yield from [value] if isinstance(value, str) else leaves(value)

    navigation = list(leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = {str(path.relative_to(ROOT)) for path in [*PAGES, *(ROOT / "reproductions").glob("*/README.md")]}
    assert set(navigation) == pages and len(navigation) == len(pages)


def test_the_readme_shows_a_picture_and_says_first_what_is_judged():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    results = text.partition("<!-- results:start -->")[2].strip()
    assert re.match(r"Of \d+ printed numbers, \d+ are judged: \d+ reproduced and \d+ off", results)
    assert re.search(r"!\[[^\]]+\]\(docs/report/\w+-desktop\.png\)", text)
    assert not re.search(r"(\| 0 +){3}", text), "no table of zeros"


def test_the_citation_follows_its_schema():
    """The schema of the Citation File Format 1.2.0 (CC BY 4.0), as its authors publish it."""
    schema = json.loads((ROOT / "tests/data/cff-1.2.0.schema.json").read_text())
    citation = yaml.load((ROOT / "CITATION.cff").read_text(), yaml.BaseLoader)  # years are numbers there, dates text
    for reference in citation["references"]:
        reference["year"] = int(reference["year"])
    jsonschema.validate(citation, schema)
    with pytest.raises(jsonschema.ValidationError, match="'authors' is a required property"):
        jsonschema.validate({key: value for key, value in citation.items() if key != "authors"}, schema)
