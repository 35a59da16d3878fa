"""What each page shows: the values that its template is filled with."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rescore.estimates import ModelPlan, arithmetic, model_rows
from rescore.files import read_text
from rescore.ledger import claims as claims_module
from rescore.ledger import diff as diff_module
from rescore.ledger.protocol import declared_protocol, format_value
from rescore.ledger.published import Published, heading, load_published
from rescore.ledger.records import KEY
from rescore.ledger.tables import of_the_off
from rescore.papers import Paper
from rescore.report.cards import Card, Cards
from rescore.report.heat import HEAT_MAPS, MATRIX, heat_map
from rescore.report.layout import printed_table
from rescore.report.moved import ORDER, Change
from rescore.report.readme import readme_html
from rescore.report.source import Results, commit_of

BETTER = {"lower": "lower is better", "higher": "higher is better"}
TRAINED = "trained models"  # beside the papers of the plot of costs
SCALES_IN_WORDS = {
    "smoke": "Every method once, in minutes; the numbers mean nothing but “unchanged”.",
    "laptop": "Full-size targets and small real data, shortened training, on a CPU.",
    "gpu": "One GPU: CIFAR-10 and the like, shortened trainings.",
    "paper": "The papers' own budgets.",
}
NOTHING_TO_COMPARE = {
    "run": "There is no committed reference of this scale to compare with.",
    "so far": "The run has not ended.",
    "reference": "These are the committed results themselves.",
}
HEADS = {  # of columns of costs, and of rows of `rescore plan`
    "cpu_seconds": "CPU seconds",
    "peak_memory_mb": "peak memory (MiB)",
    "peak_gpu_memory_mb": "peak GPU memory (MiB)",
    "gpu": "GPUs",
    "mem_mb": "memory limit (MiB)",
    "minutes": "time limit (minutes)",
}
MARGIN_RANGE = 6.0  # standard errors at each end of a claim's bar
MOST_CHANGES = 200  # that the overview lists


def overview(results: Results, papers: Mapping[str, Paper], changes: Sequence[Change], against: str) -> dict[str, Any]:
    """A tile for each paper, and what moved since `against`, in words; empty for nothing to compare with."""
    tiles: list[dict[str, Any]] = []
    for name, paper in papers.items():
        records = results.of(name)
        costs = results.costs[results.costs["paper"] == name] if len(results.costs) else results.costs
        tiles.append(
            {
                "name": name,
                "title": paper.meta.title,
                "has_scale": results.scale in paper.scales,
                "measured": len(records),
                "verdicts": verdict_counts(row for key, row in results.verdicts.items() if key[0] == name),
                "claims": claim_counts(row for row in results.claims if row["paper"] == name),
                "facts": {
                    "commit": ", ".join(sorted({commit_of(record.version) for record in records} - {""})),
                    "device": ", ".join(sorted({record.device for record in records})),
                    "date": results.made.get(name, ""),
                },
                "cost": _took(costs["seconds"] if len(costs) else [], len(costs), results.models, f"{name}/"),
            }
        )
    busy, idle = ([tile for tile in tiles if bool(tile["measured"]) is measured] for measured in (True, False))
    verdicts = verdict_counts(row for key, row in results.verdicts.items() if key[0] in papers)
    counts = Counter(change.what for change in changes)
    return {
        "left_out": {name: reason for name, reason in results.unusable.items() if name not in papers},
        "tiles": busy,
        "trained": any(row.get("seconds") for row in results.models),
        "idle": idle,
        "common": _shared([tile["facts"] for tile in busy]),
        "counts": verdicts,
        "judged": judged(verdicts),
        "claims": claim_counts(row for row in results.claims if row["paper"] in papers),
        "what_scale": SCALES_IN_WORDS[results.scale],
        "changes": changes,
        "change_counts": {what: counts[what] for what in ORDER if counts[what]},
        "most": MOST_CHANGES,
        "against_words": against,
        "nothing_to_compare": NOTHING_TO_COMPARE[results.kind],
    }


def _took(seconds: Iterable[float], jobs: int, models: Sequence[Mapping[str, Any]], use: str = "") -> str:
    """How long jobs and trainings took, in words; empty without any.

    Args:
        use: what a name of a model begins with to be counted.
    """
    trained = [row for row in models if row.get("seconds") and any(name.startswith(use) for name in row["names"].split(", "))]
    many, took = len({row["model"] for row in trained}), sum(row["seconds"] for row in trained)
    parts = [f"{duration(sum(seconds))} in {jobs} job{'s' * (jobs > 1)}"] if jobs else []
    return ", ".join(parts + ([f"{duration(took)} for {many} trained model{'s' * (many > 1)}"] if trained else []))


def _shared(facts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Facts that all papers have in common, which are said once."""
    first = facts[0] if facts else {}
    return {name: text for name, text in first.items() if text and all(one[name] == text for one in facts)}


def judged(counts: Mapping[str, int]) -> int:
    """How many printed numbers have a verdict that judges them."""
    return counts["reproduced"] + counts["off"]


def _better(entry: Published) -> str:
    """Which values are better, in words; empty where none is, as of a number of parameters. A bias should be zero."""
    return BETTER.get(entry.direction, "nearer to 0 is better" if "bias" in entry.metric else "")


def _why_not(cards: Sequence[Card]) -> list[tuple[str, int]]:
    """Why numbers of a table have not been run, with how many each reason is of; without remarks on the printed values."""
    notes = [(str(card.verdict["note"]), card.published) for card in cards if card.status == "not-run" and card.verdict["note"]]
    return Counter(note.removesuffix(f"; {entry.note}") if entry else note for note, entry in notes).most_common()


def paper_page(paper: Paper, cards: Cards, results: Results) -> dict[str, Any]:
    """Its printed tables as they are printed, figures, assumptions, README, and how many numbers of its own there are."""
    own = cards.of(paper.name)
    printed: dict[str, list[Card]] = {}
    extra: Counter[str] = Counter()
    for card in own:
        if card.verdict:
            printed.setdefault(str(card.key[1]), []).append(card)
        else:
            extra[str(card.key[1])] += 1
    figures, no_figures = _figures(paper, results)
    readme = paper.folder / "README.md"
    heated = {record.table for record in results.of(paper.name)} & set(HEAT_MAPS)
    return {
        "paper": paper.name,
        "has_scale": results.scale in paper.scales,
        "unusable": results.unusable.get(paper.name, ""),
        "heading": paper.meta.title,
        "citation": paper.meta.citation,
        "url": paper.meta.url,
        "tables": [_printed(f"table-{i}", name, found, extra[name]) for i, (name, found) in enumerate(printed.items(), 1)],
        "printed": bool(load_published({paper.name: paper})),
        "in_matrix": MATRIX in heated,
        "heat": next((heat_map(results, {paper.name: paper}, table) for table in heated - {MATRIX}), None),
        "figures": figures,
        "no_figures": no_figures,
        "assumptions": _assumptions(paper),
        "candidates": [card for card in own if card.candidates],
        "explained": of_the_off(card.explained_by for card in own if card.status == "off"),
        "own": [(name, n) for name, n in extra.items() if name not in printed],
        "verdict_counts": verdict_counts(card.verdict for card in own if card.verdict),
        "readme": readme_html(read_text(readme)) if readme.is_file() else "",
    }


def _printed(anchor: str, name: str, cards: Sequence[Card], own: int) -> dict[str, Any]:
    """A printed table from the cards of its numbers; `own` numbers of ours stand under the same name."""
    grid = printed_table([dict(zip(KEY, card.key, strict=True)) for card in cards])
    said = {str(card.key[5]): _better(card.published) for card in cards if card.published}
    directions = set(said.values())
    return {
        "name": name,
        "heading": heading(name, str(cards[0].verdict["source"] or "")),
        "why_not": _why_not(cards),
        "anchor": anchor,
        "grid": grid,
        "cards": cards,
        "own": own,
        "metrics": directions.pop()
        if len(directions) == 1
        else "; ".join(f"{metric}: {way}" for metric, way in said.items() if way),
        "common": ", ".join(f"{text} evaluations" if head == "nfe" else text for head, text in grid.common.items()),
        "sources": "; ".join(dict.fromkeys(str(card.verdict["source"]) for card in cards if card.verdict["source"])),
    }


def _figures(paper: Paper, results: Results) -> tuple[list[dict[str, str]], str]:
    """A paper's figures, and why some of them are missing, in words; empty if none is."""
    drawn, figures = results.figures.get(paper.name, {}), paper.meta.figures
    shown = [
        {
            "name": name.replace("_", " "),
            "caption": caption,
            "file": f"figures/{paper.name}-{name}.png" if name in drawn else "",
        }
        for name, caption in figures.items()
    ]
    if len(drawn) == len(figures):
        return shown, ""
    if results.kind == "reference":
        return shown, "A reference keeps numbers only; a run draws the figures."
    return shown, "Some figures have not been drawn yet."


def _assumptions(paper: Paper) -> list[tuple[str, str, int, str]]:
    """Each assumed fact with its value, of how many printed numbers, and of which methods and data sets unless of all."""
    printed = load_published({paper.name: paper})
    facts: dict[str, dict[str, list[Published]]] = {}
    for entry in printed:
        for key, value in declared_protocol(paper.meta.protocols, entry)[1].items():
            facts.setdefault(key, {}).setdefault(format_value(value), []).append(entry)
    return [(key, value, len(rows), _where(printed, rows)) for key, values in facts.items() for value, rows in values.items()]


def _where(printed: Iterable[Published], rows: Sequence[Published]) -> str:
    """The methods and data sets of rows: methods that have the same data sets together."""
    groups: dict[tuple[str, ...], list[Published]] = {}
    for method in dict.fromkeys(row.method for row in rows):
        of = [row for row in rows if row.method == method]
        groups.setdefault(tuple(dict.fromkeys(row.dataset for row in of)), []).extend(of)
    if len(groups) == 1:
        return " on ".join(filter(None, (_some(printed, rows, column) for column in ("method", "dataset"))))
    named = ((", ".join(dict.fromkeys(row.method for row in of)), ", ".join(filter(None, sets))) for sets, of in groups.items())
    return "; ".join(f"{methods} on {sets}" if sets else methods for methods, sets in named)


def _some(printed: Iterable[Published], rows: Iterable[Published], column: str) -> str:
    """What the rows have in a column; empty if that is all that any printed number has there."""
    every, own = (dict.fromkeys(getattr(row, column) for row in found) for found in (printed, rows))
    return "" if len(own) == len(every) else ", ".join(filter(None, own))


def matrix(results: Results, papers: Mapping[str, Paper]) -> dict[str, Any]:
    """The table of samplers and processes, and which other tables are heat maps: (paper, its title)."""
    others = [heat_map(results, papers, table)["paper"] for table in HEAT_MAPS if table != MATRIX]
    return heat_map(results, papers, MATRIX) | {"others": [(name, papers[name].meta.title) for name in others if name]}


def cost(results: Results) -> dict[str, Any]:
    """Tables of jobs and trained models, the seconds of both to plot, and estimates for jobs and models that have not run."""
    frame = results.costs
    measured = "job" in frame
    if not measured:  # an older reference knows its jobs by their settings, which may have changed since
        names = {record.config_hash: job for key, job in results.jobs.items() if (record := results.records.get(key))}
        frame = frame.assign(job=[names.get(one, f"settings {one}") for one in frame["config_hash"]])
    shown = frame[["paper", "job", *(c for c in frame if c not in ("paper", "job", "config_hash"))]].to_dict("records")
    trained = [
        {
            "paper": TRAINED,
            "job": " ".join((row["names"] or row["model"], row.get("seed", ""))).strip(),
            "seconds": row["seconds"],
        }
        for row in sorted(results.models, key=lambda row: -(row.get("seconds") or 0))
        if row.get("seconds")
    ]
    return {
        "jobs": _table(shown),
        "models": _table(_filled(results.models)),
        "waiting": _table(_filled(results.waiting)),
        "planned": _table(_filled(map(_planned, results.planned))),
        "arithmetic": arithmetic(results.planned, results.proofs) if results.planned else [],
        "chart": [{name: row[name] for name in ("paper", "job", "seconds")} for row in shown] + trained,
        "total": _took(frame["seconds"] if len(frame) else [], len(frame), results.models),
        "told": not measured,
        "reference": results.kind == "reference",
    }


def _planned(plan: ModelPlan) -> dict[str, Any]:
    """A model that has not been trained, as `rescore plan` tells of it."""
    (row,) = model_rows([plan])
    without = "published weights" if plan.spec.weights else "" if plan.spec.gpu else "on the CPU"
    return {
        "model": row["names"],
        "images of": row["data"],
        "network": row["network"],
        "parameters": row["parameters"],
        "trainings": row["trainings"],
        "steps": row["steps"],
        "batch": row["batch"],
        "GPU-hours (estimate)": row["gpu_hours"] or without,
    }


def _filled(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the columns that are empty in all of them."""
    rows = list(rows)
    filled = {column for row in rows for column, value in row.items() if value not in ("", None)}
    return [{column: value for column, value in row.items() if column in filled} for row in rows]


def _table(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return {
        "columns": [HEADS.get(column, column.replace("_", " ")) for column in columns],
        "rows": [[row.get(c) for c in columns] for row in rows],
    }


def duration(seconds: float) -> str:
    """Seconds in a unit that one reads."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def verdict_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows have each status of a verdict, in the order of `STATUSES`, zeros too."""
    counts = Counter(row["status"] for row in rows)
    return {status: counts[status] for status in diff_module.STATUSES}


def claim_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows have each status of a claim, in the order of `STATUSES`, zeros too."""
    counts = Counter(row["status"] for row in rows)
    return {status: counts[status] for status in claims_module.STATUSES}


def claim_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A claim with what its bar and its list of values need."""
    z, p = (None if row[name] is None or math.isnan(row[name]) else float(row[name]) for name in ("z", "p"))
    bar = None
    if z is not None:
        share = 50 * max(-1.0, min(1.0, z / MARGIN_RANGE))
        bar = (f"{50 + min(share, 0):.1f}", f"{max(abs(share), 0.6):.1f}")
    parts = evidence_parts(str(row["evidence"] or ""))
    matched = parts.pop()[1] if parts and parts[-1][0] == claims_module.MARGIN else ""
    z_text = "" if z is None else f"{z:+.1f} se" if math.isfinite(z) else "certain, " + ("for" if z > 0 else "against")
    return {
        **row,
        "bar": bar,
        "z_text": z_text,
        "p_text": f"{p:.2g}" if p else "",
        "order": "" if z is None else max(-1e9, min(1e9, z)),
        "evidence_parts": parts,
        "matched": matched,
    }


def evidence_parts(evidence: str) -> list[tuple[str, str]]:
    """(number, value) of each record that a claim's evidence names; a name may hold `; `. Empty for other evidence."""
    parts: list[str] = []
    for piece in evidence.split("; "):
        if parts and " = " not in parts[-1]:
            parts[-1] += f"; {piece}"
        else:
            parts.append(piece)
    found = [part.rpartition(" = ") for part in parts]
    return [(name, value) for name, _, value in found] if all(name for name, _, _ in found) else []
