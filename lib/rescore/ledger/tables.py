"""Tables for people: markdown for each table of a paper, the README's block, methods side by side."""

import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from rescore.config import check_choice
from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger import claims as claims_module
from rescore.ledger import diff as diff_module
from rescore.ledger.published import Published, depends_on_samples, direction_of, heading
from rescore.ledger.records import KEY, Record, Records

MARKS = {"reproduced": "✓", "off": "✗", "imprecise": "?", "indicative": "~", "not-run": "–"}
LEGEND = (
    "measured ± standard error (published). ✓ reproduced: same protocol, within the tolerance; "
    "✗ off: same protocol, outside it; ? imprecise: same protocol, but our error leaves open whether it is within the "
    "tolerance, not judged; ~ indicative: another protocol, not judged; – not run."
)
README_MARKERS = ("<!-- results:start -->", "<!-- results:end -->")
PLAN_MARKERS = ("<!-- plan:start -->", "<!-- plan:end -->")
WIDTH = 128  # of a line of text
ROW = ["method", "variant", "nfe"]


def markdown(frame: pd.DataFrame) -> str:
    """A frame as a markdown table, cells as they are."""
    return tabulate(frame, headers="keys", tablefmt="github", showindex=False, disable_numparse=True, missingval="")


def number(value: float | None) -> str:
    """Four digits; nothing for None."""
    return "" if value is None or math.isnan(value) else f"{value:.4g}"


def with_error(value: float, stderr: float | None) -> str:
    """A value to the last of two digits of its standard error; four digits where that is not known, 0, or out of sight."""
    if not stderr or math.isnan(stderr):
        return number(value)
    decimals = max(0, 1 - math.floor(math.log10(stderr)))
    if decimals > 6 or abs(value) >= 1e6:
        return f"{value:.4g} ± {stderr:.2g}"
    return f"{value:.{decimals}f} ± {stderr:.{decimals}f}"


def paper_table(verdicts: pd.DataFrame, paper: str, table: str) -> str:
    """One printed table in markdown: a row for each method, a column for each dataset and metric; "" if it has no rows.

    Args:
        verdicts: the frame of `rescore.ledger.diff.diff`.
    """
    here = verdicts[(verdicts["paper"] == paper) & (verdicts["table"] == table)]
    cells: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for row in here.to_dict("records"):
        measured = "" if row["status"] == "not-run" else with_error(row["measured"], row["stderr"]) + " "
        name = (row["method"], row["variant"], "" if pd.isna(row["nfe"]) else str(row["nfe"]))
        text = f"{measured}({row['published']}) {MARKS[row['status']]}"
        cells.setdefault(name, {})[row["dataset"], row["metric"]] = text
    if not cells:
        return ""
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    used = [index for index, _ in enumerate(ROW) if any(name[index] for name in cells)]
    frame = pd.DataFrame(
        [[name[index] for index in used] + [row.get(column, "") for column in columns] for name, row in cells.items()],
        columns=[ROW[index] for index in used] + [" ".join(column) for column in columns],
    )
    return f"### {paper}, {heading(table, here['source'].iloc[0])}\n\n{markdown(frame)}\n\n{LEGEND}\n"


def own_rows(verdicts: pd.DataFrame, records: Iterable[Record], paper: str, table: str) -> str:
    """What we measured beside a printed table, one number a row, in markdown; "" if there is nothing."""
    judged = set(diff_module.keys(verdicts[(verdicts["paper"] == paper) & (verdicts["table"] == table)]))
    own = [record for record in records if (record.paper, record.table) == (paper, table) and record.key not in judged]
    if not own:
        return ""
    rows = [
        [
            record.dataset,
            record.method,
            record.variant,
            record.metric,
            "" if record.nfe is None else str(record.nfe),
            with_error(record.value, record.stderr),
        ]
        for record in own
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "method", "variant", "metric", "nfe", "measured"])
    return f"### {paper}, beside {heading(table)}\n\nNumbers of our own, which the paper does not print.\n\n{markdown(frame)}\n"


def counts(rows: pd.DataFrame, statuses: Sequence[str]) -> pd.DataFrame:
    """How many rows of each paper have each status."""
    table = pd.crosstab(rows["paper"], rows["status"]).reindex(columns=list(statuses), fill_value=0)
    return table.rename_axis(columns=None).reset_index()


def summary_markdown(verdicts: pd.DataFrame, claims: pd.DataFrame) -> str:
    """Counts of verdicts and of claims by paper and status."""
    parts = [f"Published numbers\n\n{markdown(counts(verdicts, diff_module.STATUSES))}"]
    if len(claims):
        chance = claims_module.by_chance(claims.replace({np.nan: None}).to_dict("records"))
        parts.append("\n\n".join(filter(None, (f"Claims\n\n{markdown(counts(claims, claims_module.STATUSES))}", chance))))
    return "\n\n".join(parts) + "\n"


def write_tables(
    folder: Path, records: Sequence[Record], verdicts: pd.DataFrame, claim_rows: Sequence[Mapping[str, object]]
) -> list[Path]:
    """Write `<paper>-<table>.md` for every table, and `summary.md`."""
    claims = pd.DataFrame(claim_rows, columns=claims_module.COLUMNS).astype(dict.fromkeys(claims_module.NUMBERS, float))
    names = dict.fromkeys([*zip(verdicts["paper"], verdicts["table"], strict=True), *((r.paper, r.table) for r in records)])
    of = Records(records).having
    pages = {
        f"{paper}-{_file_name(table)}.md": "\n".join(
            filter(
                None,
                (paper_table(verdicts, paper, table), own_rows(verdicts, of({"paper": paper, "table": table}), paper, table)),
            )
        )
        for paper, table in names
    }
    pages["summary.md"] = summary_markdown(verdicts, claims)
    for path in folder.glob("*.md"):  # of a paper or a table that is gone
        if path.name not in pages:
            path.unlink()
    for name, content in pages.items():
        atomic_write(folder / name, content)
    return [folder / name for name in pages]


def _file_name(table: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", table)


def compare(
    records: Iterable[Record], published: Iterable[Published], metric: str, dataset: str, methods: Sequence[str] | None = None
) -> pd.DataFrame:
    """Methods side by side over all papers, best first (`direction_of`); where none is better, as they were printed.

    Of a metric that `depends_on_samples`, those of one number of samples stand together, of the usual one first. Published rows
    that were not measured come last.

    Args:
        methods: these only; None for all.

    Returns:
        Key columns, value, stderr, published, samples_each (`Record.samples_each`), protocol.

    Raises:
        RescoreError: a metric, dataset or method that nothing has; the message names those there are.
    """
    measured, printed = {row.key: row for row in records}, {row.key: row for row in published}
    rows: list[Record | Published] = [*measured.values(), *printed.values()]
    check_choice("metric", metric, sorted({row.metric for row in rows}))
    check_choice(f"dataset for metric {metric}", dataset, sorted({row.dataset for row in rows if row.metric == metric}))
    there = sorted({row.method for row in rows if (row.metric, row.dataset) == (metric, dataset)})
    for method in methods or ():
        check_choice(f"method for metric {metric} on {dataset}", method, there)
    merits: dict[str, Callable[[float], float]] = {
        "zero": abs,
        "higher": lambda value: -value,
        "lower": float,
        "": lambda value: 0.0,
    }
    merit = merits[direction_of(metric, printed.values())]
    sizes = Counter(row.samples_each for row in measured.values() if (row.metric, row.dataset) == (metric, dataset))
    place = {size: index for index, (size, _) in enumerate(sizes.most_common())} if depends_on_samples(metric) else {}
    lines: list[dict[str, Any]] = []
    for key in {row.key: None for row in rows if (row.metric, row.dataset) == (metric, dataset)}:
        record, paper = measured.get(key), printed.get(key)
        row = measured[key] if key in measured else printed[key]
        if methods and row.method not in methods:
            continue
        lines.append(
            {
                "method": row.method,
                "variant": row.variant,
                "paper": row.paper,
                "table": row.table,
                "nfe": row.nfe,
                "value": record.value if record else None,
                "stderr": record.stderr if record else None,
                "published": paper.value if paper else "",
                "samples_each": record.samples_each if record else None,
                "protocol": record.protocol if record else "(not run)",
                "merit": (
                    record is None,
                    place.get(record.samples_each, 0) if record else 0,
                    merit(record.value if record else printed[key].number),
                ),
            }
        )
    frame = pd.DataFrame(sorted(lines, key=lambda line: line["merit"])).drop(columns="merit")
    return frame.astype({"nfe": "Int64", "value": float, "stderr": float, "samples_each": float})


def compare_note(frame: pd.DataFrame, metric: str) -> str:
    """What a reader of `compare` must know of numbers of different sample sizes; empty where there is nothing."""
    if not depends_on_samples(metric) or frame["samples_each"].nunique() < 2:
        return ""
    return (
        f"{metric} depends on the number of samples behind a value: the order is only among those of one number (samples_each)."
    )


def best_verdicts(verdicts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each printed number, with the verdict that says most, over the scales of `verdicts` (small ones first).

    A judged verdict comes first, of two that of the larger scale; then `imprecise`, `indicative` and `not-run`.
    """
    rank = {"reproduced": 0, "off": 0, "imprecise": 1, "indicative": 2, "not-run": 3}
    rows = [
        row | {"scale": scale, "order": (rank[row["status"]], -size)}
        for size, (scale, frame) in enumerate(verdicts.items())
        for row in frame.to_dict("records")
    ]
    best: dict[tuple[object, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(None if pd.isna(row[column]) else row[column] for column in KEY)
        if key not in best or row["order"] < best[key]["order"]:
            best[key] = row
    return pd.DataFrame(list(best.values()), columns=[*KEY, "status", "scale", "explained_by"])


def readme_block(reference: Path, scales: Sequence[str]) -> str:
    """What stands between the README's markers, from the committed reference of each scale that has one."""
    verdicts = {
        scale: diff_module.read_diff(reference / scale / "diff.csv")
        for scale in scales
        if (reference / scale / "diff.csv").is_file()
    }
    best = best_verdicts(verdicts)
    if best.empty:
        return "No reference results yet.\n"
    number = {status: int((best["status"] == status).sum()) for status in diff_module.STATUSES}
    judged = best[best["status"].isin(("reproduced", "off"))]
    where = judged.groupby(["paper", "scale"], sort=True).size().sort_values(ascending=False, kind="stable")
    parts = ", ".join(f"{count} of `{paper}` at scale `{scale}`" for (paper, scale), count in where.items())
    text = (
        f"Of {len(best)} printed numbers, {len(judged)} are judged: {number['reproduced']} reproduced and {number['off']} off"
        f"{f' ({parts})' if parts else ''}. The other {len(best) - len(judged)} are not judged: {number['imprecise']} are "
        "imprecise: our own error leaves open whether they are within the tolerance; "
        f"{number['indicative']} are indicative, measured under another protocol than the paper's, such as a shortened "
        f"training or smaller data; {number['not-run']} are not run."
    )
    if explained := of_the_off(best["explained_by"][best["status"] == "off"]):
        text += f" {explained}"
    if claimed := of_the_claims(reference, scales):
        text += f" {claimed}"
    table = counts(best, diff_module.STATUSES)
    table.insert(1, "printed", table[list(diff_module.STATUSES)].sum(axis=1))
    shown = table.astype(object).mask(table == 0, "")
    shown["paper"] = [f"[{paper}](reproductions/{paper}/README.md)" for paper in table["paper"]]
    return f"{textwrap.fill(text, WIDTH, break_long_words=False)}\n\n{markdown(shown.astype(str))}\n"


def of_the_off(explained: Iterable[str]) -> str:
    """How many numbers that are off come out under a candidate protocol, in words; empty where that is decided of none."""
    texts = list(explained)
    off = [diff_module.is_explained(text) for text in texts]
    if all(verdict is None for verdict in off):
        return ""
    alone = texts.count("")
    told = (
        f"Of the {len(off)} off, {off.count(True)} come out under a candidate protocol, one that the paper leaves open "
        f"and that was named before it was run, or with more repeats, and {off.count(False)} under none; for "
        f"{off.count(None) - alone} that is not decided"
    )
    return told + (f", and {alone} have no candidate." if alone else ".")


def of_the_claims(reference: Path, scales: Iterable[str]) -> str:
    """How many claims hold at the scale that decides most of them, in words; empty where none has been asked."""
    paths = {scale: reference / scale / "claims.csv" for scale in scales}
    rows = {scale: claims_module.read_claims(path) for scale, path in paths.items() if path.is_file()}
    if not rows:
        return ""
    found = {scale: Counter(str(row["status"]) for row in of) for scale, of in rows.items()}
    scale, of = max(found.items(), key=lambda item: item[1]["holds"] + item[1]["fails"])
    told = (
        f"Of {of.total()} claims, sentences of the papers and a few checks of ours that are asked of our numbers, "
        f"{of['holds']} hold and {of['fails']} fail at scale `{scale}`; {of['inconclusive']} are inconclusive"
    )
    rest = of.total() - of["holds"] - of["fails"] - of["inconclusive"]
    return told + (f", and {rest} not run." if rest else ".")


def with_block(readme: str, block: str, source: Path, markers: tuple[str, str] = README_MARKERS) -> str:
    """The README's text with `block` between its markers; raises RescoreError where they are not there once each."""
    start, end = markers
    if readme.count(start) != 1 or readme.count(end) != 1 or readme.index(start) > readme.index(end):
        raise RescoreError(f"{source}: the line {start} and, after it, the line {end} must stand in it once each")
    head, rest = readme.split(start)
    return f"{head}{start}\n\n{block.strip()}\n\n{end}{rest.split(end)[1]}"
