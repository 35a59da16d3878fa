"""Run the methods of Table 5.1: each is a section, each target a subject."""

import time
from functools import partial

import numpy as np
import torch

from reproductions.pis.context import Context, Estimates
from reproductions.pis.methods import METHODS
from rescore.data.pines import load_pines
from rescore.experiments.book import Book
from rescore.ledger.records import Over
from rescore.montecarlo.logz import bias_std_rmse
from rescore.targets import Funnel, Rings, Target, lgcp, nine_modes

TABLE = "5.1"


def make_target(name: str, side: int) -> Target:
    """The density of a data set's name. Raises MissingData if the pines cannot be had."""
    match name:
        case "mg":
            return nine_modes()
        case "rings":
            return Rings()
        case "funnel":
            return Funnel(9.0)
        case "funnel1":
            return Funnel(1.0)
        case "lgcp":
            return lgcp.pines(torch.tensor(load_pines().to_numpy()), side)
        case _:
            return lgcp.synthetic(side)


def table(method: str, book: Book, dataset: str) -> None:
    """One method on one target: what it estimates, and what its chains and its policies are like."""
    began = time.perf_counter()
    target = make_target(dataset, book.config.datasets[dataset].side)
    outcome = METHODS[method](Context(dataset, target, book.config, book.run), method)
    cell = partial(book.cell, TABLE, dataset, began=began)
    for rows in outcome.estimates:
        trainings, runs = rows.log_z.shape
        over: Over = "trainings" if trainings > 1 else "samplings" if rows.trained else "runs"
        repeats = trainings if trainings > 1 else runs
        n = rows.n_particles * trainings * runs // repeats
        with cell(rows.method, rows.variant, rows.nfe, rows.protocol, n=n, over=over) as place:
            for metric, (value, stderr) in statistics(rows, target.log_z).items() if place.todo else ():
                place.estimate(metric, value, stderr, repeats, seeds=trainings)
    for variant, metric, value, protocol in outcome.computed:
        with cell("PIS", variant, int(protocol["steps"]), protocol, over="trainings") as place:
            if place.todo:
                place.add(metric, [value], over="trainings" if "train_steps" in protocol else "exact")
    for name, metric, values, protocol in outcome.chains:
        with cell(name, "library", None, protocol, n=int(protocol["samples"])) as place:
            if place.todo:
                place.add(metric, values)
    book.arrays |= {f"{dataset}/{name}": array for name, array in outcome.arrays.items()}


def statistics(rows: Estimates, truth: float | None) -> dict[str, tuple[float, float]]:
    """B, S and A; where the truth is not known, the mean estimate and S; and the effective sample size of the weights."""
    found = bias_std_rmse(rows.log_z, 0.0 if truth is None else truth)
    if truth is None:
        found = {"logz": found["logz_bias"], "logz_std": found["logz_std"]}
    if rows.ess is not None:
        means = rows.ess.mean(1) if len(rows.ess) > 1 else rows.ess[0]
        found["ess"] = (float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means))))
    return found


SECTIONS = {method: partial(table, method) for method in METHODS}
