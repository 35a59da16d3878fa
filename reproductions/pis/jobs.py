"""Run some methods of Table 5.1 on one target and turn their estimates into records."""

import time
from collections.abc import Iterator

import numpy as np
import torch

from reproductions.pis.config import Config, Job
from reproductions.pis.context import Context, Estimates, Outcome
from reproductions.pis.methods import METHODS
from rescore.data.pines import load_pines
from rescore.errors import MissingData
from rescore.experiments.run import Measurement, Result, Run
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


def measure(job: Job, config: Config, run: Run) -> Result:
    """All that one job measures. Without the pines, the rows of `lgcp` are skipped with the reason."""
    measurements, skipped, arrays, evaluations = [], [], {}, 0
    for dataset, methods in job.measure.items():
        try:
            target = make_target(dataset, config.datasets[dataset].side)
        except MissingData as error:
            skipped.append({"dataset": dataset, "reason": str(error)})
            continue
        for method in methods:
            started = time.perf_counter()
            outcome = METHODS[method](Context(dataset, target, config, run), method)
            seconds = time.perf_counter() - started
            measurements += _measurements(dataset, target.log_z, outcome, seconds)
            arrays |= {f"{dataset}/{name}": array for name, array in outcome.arrays.items()}
            evaluations += outcome.evaluations
    return Result(measurements, skipped, evaluations, arrays)


def _measurements(dataset: str, truth: float | None, outcome: Outcome, seconds: float) -> Iterator[Measurement]:
    for rows in outcome.estimates:
        trainings, runs = rows.log_z.shape
        over, repeats = ("trainings", trainings) if trainings > 1 else ("samplings" if rows.trained else "runs", runs)
        for metric, (value, stderr) in _statistics(rows, truth).items():
            yield Measurement(
                TABLE, dataset, rows.method, rows.variant, metric, rows.nfe, value, stderr, repeats - 1, over,
                trainings, trainings * runs * rows.n_particles, rows.protocol, seconds,
            )  # fmt: skip
    for variant, metric, value, protocol in outcome.computed:
        nfe = int(protocol["steps"])
        if "train_steps" in protocol:
            yield Measurement.of_seeds(TABLE, dataset, "PIS", variant, metric, nfe, [value], 1, protocol, seconds, over="trainings")
        else:
            yield Measurement.exact(TABLE, dataset, "PIS", variant, metric, nfe, value, protocol, seconds)
    for method, metric, values, protocol in outcome.chains:
        n = int(protocol["chains"]) * int(protocol["samples"])
        yield Measurement.of_seeds(TABLE, dataset, method, "library", metric, None, values, n, protocol, seconds, over="runs")


def _statistics(rows: Estimates, truth: float | None) -> dict[str, tuple[float, float]]:
    """B, S and A; where the truth is not known, the mean estimate and S; and the effective sample size of the weights."""
    statistics = bias_std_rmse(rows.log_z, 0.0 if truth is None else truth)
    if truth is None:
        statistics = {"logz": statistics["logz_bias"], "logz_std": statistics["logz_std"]}
    if rows.ess is not None:
        means = rows.ess.mean(1) if len(rows.ess) > 1 else rows.ess[0]
        statistics["ess"] = (float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means))))
    return statistics
