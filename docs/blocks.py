"""The parts of the pages that come from the repository's files: no number on a page is typed.

`<!-- block: NAME -->` and `<!-- end -->` enclose text that is committed with the page, so that it reads well without a site;
`python docs/blocks.py` renders all of it anew, and a test says where it is not what the files say. `<!-- site: NAME -->` stands
for text that only the site has, since it takes seconds to make.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import rescore
from markdown_text import DOCS, REFERENCE, ROOT, code, paragraph, table
from one_number import (
    KEY,
    SCALE,
    arithmetic,
    card_block,
    claim_row,
    claim_source,
    declared,
    diff_row,
    neighbours,
    published_row,
    record_row,
)
from rescore.config import REPORTED
from rescore.estimates import NETWORKS, known_plans, read_networks
from rescore.ledger import diff as diff_module
from rescore.ledger.cost import COST, MODELS, kept_costs, read_proofs
from rescore.ledger.reference import read_reference
from rescore.ledger.tables import MARKS, number, paper_table
from rescore.papers import find_papers
from rescore.report.cards import MEANING
from rescore.workflow.suite import load_suite

_BLOCK = re.compile(r"<!-- block: (?P<name>\S+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
_SITE = re.compile(r"<!-- site: (?P<name>\S+) -->")


# Tables


def exports() -> str:
    """What `rescore` has at the top, with the API page of each."""
    pages = {"errors": "foundations", "random": "foundations", "scores": "processes", "likelihood": "objectives"}
    rows = []
    for module, names in rescore.EXPORTS.items():
        room = module.removeprefix("rescore.")
        rows.append(
            {"from": f"[`{module}`](api/{pages.get(room, room)}.md)", "names": ", ".join(f"`{name}`" for name in names)}
        )
    return table(rows)


def meanings() -> str:
    return table(
        [{"verdict": f"{MARKS[status]} {status}", "meaning": meaning} for status, meaning in MEANING.items() if status]
    )


def floors() -> str:
    rows = [{"metric": f"`{name}`", "floor": f"{floor:.0%}"} for name, floor in diff_module.RELATIVE_FLOOR.items()]
    return table([*rows, {"metric": "any other", "floor": f"{diff_module.DEFAULT_FLOOR:.0%}"}])


def pis_table() -> str:
    return paper_table(diff_module.read_diff(REFERENCE / SCALE / "diff.csv"), "pis", "5.1").partition("\n\n")[2].strip()


def peers() -> str:
    """What `make benchmark` measured beside other code, on the machine whose record is committed."""
    found = json.loads((REFERENCE / "peers.json").read_text())
    rows = [
        {
            "work": row["work"],
            "beside": row["peer"],
            "ours, ms": f"{1e3 * row['ours_seconds']:.3g}",
            "theirs, ms": f"{1e3 * row['peer_seconds']:.3g}",
            "theirs / ours": f"{row['peer_seconds'] / row['ours_seconds']:.2f}",
        }
        for row in found["rows"]
    ]
    return f"{found['device']}, one thread, version `{found['version']}`.\n\n{table(rows)}"


def proofs() -> str:
    """What `rescore proof` measured on machines whose record is committed."""
    shown_as = {
        "training": ("training", "{}"),
        "images_per_second": ("images/s", "{:.0f}"),
        "tflops": ("TFLOP/s", "{:.1f}"),
        "share_of_kernels": ("share of kernels", "{:.0%}"),
        "gpu_memory_mb": ("peak GPU memory, GiB", "{:.1f}"),
    }
    parts = []
    for path in sorted(REFERENCE.glob("proof-*.json")):
        found = json.loads(path.read_text())
        rows = [row for row in read_proofs(REFERENCE) if row["device"] == found["device"]]
        rows = [row | {"gpu_memory_mb": row["gpu_memory_mb"] / 1024} for row in rows]
        shown = [
            {head: "" if row[name] is None else form.format(row[name]) for name, (head, form) in shown_as.items()}
            for row in rows
        ]
        facts = [
            f"{found['device']}, torch {found['torch']}: DDPM++ with {found['parameters'] / 1e6:.1f} million parameters",
            f"({found['gflop_an_image']:.1f} GFLOP an image forward), batches of {found['size']['batch']}.",
        ]
        if sampling := found.get("sampling"):  # a part that failed is absent
            facts.append(
                f"Sampling took {number(sampling['steps_per_second'])} steps a second on {sampling['images']} images, of which "
                f"the sampler's own arithmetic was {sampling['share_of_the_sampler']:.1%}."
            )
        if likelihood := found.get("likelihood"):
            facts.append(f"The graph of a likelihood took {number(likelihood['graph_mb_an_image'])} MiB an image.")
        if resume := found.get("resume"):
            facts.append(
                "A training that was stopped and went on differed from one that was not by "
                f"{number(resume['largest_difference'])} at most in its weights."
            )
        versions = dict.fromkeys([*found.get("versions", {}).values()] or [found["version"]])
        facts.append(f"Version{'s' * (len(versions) > 1)} {', '.join(f'`{one}`' for one in versions)}.")
        parts.append(f"{paragraph(*facts)}\n\n{table(shown)}")
    return "\n\n".join(parts)


def gpu_trainings() -> str:
    """What the committed trainings on a GPU took, by their own records; all but steps is compiling, reading and saving."""
    plans = known_plans(load_suite({"scale": "gpu"}, ROOT), read_networks(REFERENCE / NETWORKS))
    minutes = {row["job"]: float(row["seconds"]) / 60 for row in kept_costs(REFERENCE / "gpu" / COST) if row["paper"] == MODELS}
    found = {
        (f"{one.paper}/{one.method}", one.metric): one for one in read_reference(REFERENCE / "gpu") if one.table == "training"
    }
    rows = []
    for plan in plans:
        speed, memory = (
            next((found[name, f"train_{metric}"] for name in plan.names if (name, f"train_{metric}") in found), None)
            for metric in ("images_per_second", "gpu_memory_mb")
        )
        if speed and memory and plan.gflop and plan.parameters:
            steps = plan.images / speed.value / 60
            rows.append(
                {
                    "model, by its papers": ", ".join(plan.names),
                    "device": speed.device,
                    "parameters, million": f"{plan.parameters / 1e6:.1f}",
                    "images/s": f"{speed.value:.0f}",
                    "TFLOP/s": f"{plan.passes * plan.gflop * speed.value / 1e3:.1f}",
                    "peak GPU memory, GiB": f"{memory.value / 1024:.1f}",
                    "minutes of steps": f"{steps:.1f}",
                    "other minutes": f"{minutes[plan.key] - steps:.1f}",
                }
            )
    return table(rows)


def costs() -> str:
    """Jobs and CPU minutes of the runs whose records are committed, by paper, and of the trainings that papers share."""
    columns = {}
    for scale in ("smoke", "laptop"):
        rows = pd.DataFrame(kept_costs(REFERENCE / scale / COST))
        minutes = (rows["cpu_seconds"].astype(float) / 60).groupby(rows["paper"])
        columns |= {f"{scale}: jobs": minutes.count(), f"{scale}: CPU minutes": minutes.sum()}
    frame = pd.DataFrame(columns)
    frame.loc["all"] = frame.sum()
    shown = {name: [number(value) if value == value else "" for value in column] for name, column in frame.items()}
    return table([dict(zip(["paper", *shown], row, strict=True)) for row in zip(frame.index, *shown.values(), strict=True)])


def file_block(path: str) -> str:
    languages = {".py": "python", ".yaml": "yaml"}
    return code((ROOT / path).read_text(encoding="utf-8"), languages.get(Path(path).suffix, "text"))


def modules(room: str) -> str:
    """The modules of a room, each as mkdocstrings' `:::`; of a package that only collects names its text alone."""
    library = ROOT / "lib" / "rescore"
    files = sorted((library / room).rglob("*.py")) if (library / room).is_dir() else [library / f"{room}.py"]
    parts = []
    for path in sorted(
        files, key=lambda path: path.with_suffix("").parts[:-1] if path.stem == "__init__" else path.with_suffix("").parts
    ):
        names = [name for name in path.relative_to(library.parent).with_suffix("").parts if name != "__init__"]
        defines = any(
            isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
        parts.append(
            f"::: {'.'.join(names)}" + ("" if defines or path.stem != "__init__" else "\n    options: {members: false}")
        )
    return "\n" + "\n\n".join(parts) + "\n"


def example_output() -> str:
    return code(_output([sys.executable, "docs/examples/new_sampler.py"]), "text")


# Of the site only


def _output(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def report_links() -> str:
    """The pages of the report, which the site holds a copy of: a row for each, a column for each scale.

    A page on which nothing has been measured has no link; the overview and the estimates of cost always have.
    """
    papers = find_papers(ROOT)
    scales = [scale for scale in REPORTED if any(scale in paper.scales for paper in papers.values())]
    pages = {"overview": "index"} | {name: name for name in ("cost", "numbers", "claims", "compare", "matrix")}
    pages |= {paper.meta.title: f"paper-{name}" for name, paper in papers.items()}

    def link(scale: str, page: str) -> str:
        of = page.removeprefix("paper-") if page.startswith("paper-") else "*"
        measured = any((REFERENCE / scale / "records").glob(f"{of}.csv"))
        return f"[{scale}](../report/{scale}/{page}.html)" if measured or page in ("index", "cost") else "not run"

    return table([{"page": text} | {scale: link(scale, page) for scale in scales} for text, page in pages.items()])


def card_link() -> str:
    return f"[The same card in the report](../report/{SCALE}/paper-pis.html#card={KEY.replace(' ', '%20')})."


def parity() -> str:
    """The comparisons by function of the authors' code, then why some differ on purpose."""
    from rescore.parity.compare import compare_all
    from rescore.parity.table import VERDICTS, golden_folder

    rows = list(compare_all(golden_folder(None)))
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS}
    by_source: dict[str, list] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row)
    lines = []
    for source, found in by_source.items():
        verdicts = {verdict: sum(row.verdict == verdict for row in found) for verdict in VERDICTS}
        within = [row.difference / row.tolerance for row in found if row.verdict == "within" and row.tolerance]
        lines.append(
            {"their code": source.replace("|", "\\|")}
            | {verdict: n or "" for verdict, n in verdicts.items()}
            | {"largest difference / allowed": f"{max(within):.2g}" if within else ""}
        )
    reasons = dict.fromkeys(row.reason for row in rows if row.verdict == "explained")
    text = ", ".join(f"{n} {verdict}" for verdict, n in count.items())
    return f"{len(rows)} quantities: {text}.\n\n{table(lines)}\n\nExplained:\n\n" + "\n".join(
        f"- {reason}" for reason in reasons
    )


def plan(scale: str) -> str:
    """The arithmetic that `rescore plan` ends with."""
    output = _output([sys.executable, "-m", "rescore", "plan", "--scale", scale])
    return code(output.rstrip().rpartition("\n\n")[2], "text")


BLOCKS: Mapping[str, Callable[[], str]] = {
    "published-row": published_row,
    "declared": declared,
    "record-row": record_row,
    "diff-row": diff_row,
    "arithmetic": arithmetic,
    "neighbours": neighbours,
    "card": card_block,
    "claim-source": claim_source,
    "claim-row": claim_row,
    "exports": exports,
    "meanings": meanings,
    "floors": floors,
    "pis-table": pis_table,
    "proofs": proofs,
    "gpu-trainings": gpu_trainings,
    "costs": costs,
    "peers": peers,
    "example-output": example_output,
}
SITE: Mapping[str, Callable[[], str]] = {
    "report-links": report_links,
    "card-link": card_link,
    "parity": parity,
    "plan-gpu": lambda: plan("gpu"),
    "plan-paper": lambda: plan("paper"),
}
SLOW = ("parity", "plan-gpu", "plan-paper")
"""Parts that take up to half a minute each."""


def block(name: str) -> str:
    """A block by its name; `file:PATH` is a file of the repository as code, `api:ROOM` a part of the library."""
    kind, _, rest = name.partition(":")
    if rest and kind in ("file", "api"):
        return file_block(rest) if kind == "file" else modules(rest)
    if name not in BLOCKS:
        raise SystemExit(f"unknown block {name!r}; allowed are file:PATH, api:ROOM, {', '.join(BLOCKS)}")
    return BLOCKS[name]()


def blocks_of(text: str) -> dict[str, str]:
    """The blocks of a page, as they are committed."""
    return {found["name"]: found["text"] for found in _BLOCK.finditer(text)}


def rendered(text: str) -> str:
    """A page with its blocks rendered anew."""
    return _BLOCK.sub(lambda found: f"<!-- block: {found['name']} -->\n{block(found['name'])}\n<!-- end -->", text)


def with_site_parts(text: str, slow: bool = True) -> str:
    """A page with what only the site has; without what takes a minute where `slow` is false."""

    def part(found: re.Match) -> str:
        name = found["name"]
        if name not in SITE:
            raise SystemExit(f"unknown part of the site {name!r}; allowed are {', '.join(SITE)}")
        return SITE[name]() if slow or name not in SLOW else f"(left out: {name})"

    return _SITE.sub(part, text)


def write() -> list[Path]:
    """Render the blocks of all pages anew; the pages that changed."""
    changed = []
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := rendered(text)) != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    print(*(path.relative_to(ROOT) for path in write()), sep="\n")
