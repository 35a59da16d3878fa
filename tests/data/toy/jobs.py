"""One section: the mean of some draws. The job that TOY_FAIL names fails."""

import os
import sys

import numpy as np
from rescore.cost.evaluations import note
from rescore.experiments.book import Book
from rescore.progress import progress

if os.environ.get("TOY_FAIL", "none") in sys.argv:
    raise ValueError("the toy is broken")


def mean(book: Book, dataset: str) -> None:
    (book.run.folder / "state").write_text("kept")
    generator, n = np.random.default_rng(book.config.seed), book.job.draws
    draw = {"normal": generator.standard_normal, "uniform": lambda: generator.uniform(-1, 1)}[dataset]
    with book.cell("1", dataset, "mean", protocol={"draws": n, "sampler": "numpy"}) as cell:
        if cell.todo:
            draws = np.array([draw() for _ in progress(range(n), desc="draws")])
            note(n)
            cell.add("mean_error", draws)
            cell.arrays[f"draws/{dataset}"] = draws
    if "TOY_DATA" not in os.environ:
        book.skip("no toy data", table="1", dataset="elsewhere")


SECTIONS = {"mean": mean}
