"""Tables of every sampler on every process or target, as heat maps: which there are, and what a page needs of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rescore.papers import Paper
from rescore.report.source import Results

MATRIX = "matrix"  # the table that has a page of its own


@dataclass(frozen=True)
class HeatMap:
    """A table of records as a heat map.

    Args:
        rows, columns: key columns that head it.
        metric: the one that is shown first.
        budget: at most so many evaluations at first; None where cells have no budgets.
        floor: the method whose values a perfect sampler would have; `floor_words` says what that is.
        absent: why a cell has no value that no skip tells of.
        unknown: likewise where no skips are kept.
    """

    rows: tuple[str, ...]
    columns: str
    metric: str
    budget: int | None = None
    floor: str = ""
    floor_words: str = ""
    absent: str = "not measured"
    unknown: str = "not measured"


HEAT_MAPS = {
    MATRIX: HeatMap(
        ("method",),
        "variant",
        "sw2",
        10,
        "exact draws",
        "exact draws is the floor of sw2: as few draws of the data's own law are this far from the data, whatever the sampler.",
        "the sampler does not apply to the process",
        "no value for any number of evaluations",
    ),
    "log_z": HeatMap(("method", "variant"), "dataset", "logz_rmse"),
}
"""By the name of the table of its records."""


def heat_map(results: Results, papers: Mapping[str, Paper], table: str) -> dict[str, Any]:
    """Which paper measured such a table, and the cells that it skipped, with their reasons; `paper` is empty without any."""
    name = next((record.paper for record in results.records.values() if record.table == table), "")
    skipped = [row for row in results.skipped if row["paper"] == name and row.get("table", table) == table]
    facts = {"table": table, "skipped": skipped} | asdict(HEAT_MAPS[table])
    return {
        "paper": name if name in papers else "",
        "facts": facts,
        "lead": papers[name].meta.citation if name in papers else "",
        "reference": results.kind == "reference",
    }
