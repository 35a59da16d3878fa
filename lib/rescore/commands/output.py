"""How commands print: plain tables and counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

RIGHT_ALIGNED = {
    "nfe",
    "published",
    "measured",
    "stderr",
    "error",
    "tolerance",
    "delta",
    "margin",
    "z",
    "p",
    "value",
    "allowed",
    "difference",
    "seconds",
    "cpu_seconds",
    "function_evaluations",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
    "parameters",
    "trainings",
    "steps",
    "batch",
    "gflop",
    "gpu",
    "mem_mb",
    "gpu_hours",
    "threads",
    "minutes",
    "models",
    "samples",
    "likelihoods",
    "download_mb",
    "images_per_second",
    "tflops",
    "gpu_memory_mb",
    "sampling_steps_per_second",
    "share_of_the_sampler",
    "share_of_kernels",
    "likelihood_mb_an_image",
}


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, object]], digits: int = 4, style: str = "simple") -> None:
    """A plain table, never wrapped; floats to some digits, nothing where there is no number."""
    from tabulate import tabulate

    def text(value: object) -> str:
        if value is None or str(value) in ("nan", "<NA>"):
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:.0f}" if 10**digits <= abs(value) < 10**10 else f"{value:.{digits}g}"

    cells = [[text(row[column]) for column in columns] for row in rows]
    align = ["right" if column in RIGHT_ALIGNED else "left" for column in columns]
    print(tabulate(cells, headers=list(columns), disable_numparse=True, colalign=align if cells else None, tablefmt=style))


def print_frame(frame: "pd.DataFrame") -> None:
    """A data frame as a plain table."""
    print_table(list(frame.columns), frame.to_dict("records"))


def print_counts(statuses: Iterable[str], allowed: Sequence[str]) -> None:
    """How often each of the allowed statuses occurs."""
    counts = Counter(statuses)
    print("\n" + ", ".join(f"{counts[status]} {status}" for status in allowed) + f"; {counts.total()} in all")
