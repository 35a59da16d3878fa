"""Run the parts of LCSS that one job measures."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from reproductions.lcss import checkerboard as board
from reproductions.lcss import ensembles, stability, theory, timing
from reproductions.lcss import quality as trained
from reproductions.lcss.config import Config, Job, Part
from reproductions.lcss.rows import Row
from rescore.experiments.run import Notebook, Result, Run

EARLY = 0.2  # share of the iterations after which "faster convergence" is asked


@dataclass(kw_only=True)
class Book(Notebook):
    """A job and its notebook."""

    job: Job
    config: Config
    run: Run


def measure(job: Job, config: Config, run: Run) -> Result:
    """All parts of one job."""
    book = Book(job=job, config=config, run=run)
    for part in job.measure:
        started = time.perf_counter()
        for row in PARTS[part](book):
            seconds, started = time.perf_counter() - started, time.perf_counter()
            book.measurements.append(row.measurement(seconds))
    return book.result


def densities(book: Book) -> Iterator[Row]:
    """Table 1 and fig. 8."""
    settings = book.config.checkerboard
    common = {"network": f"MLP 2-{settings.width}-{settings.width}-1", "train_steps": settings.iterations,
              "train_batch": settings.batch, "train_lr": settings.lr, "optimiser": "Adam", "cells": settings.cells}  # fmt: skip
    for method in board.METHODS:
        learnt = board.learn(method, settings, book.run.folder / f"checkerboard-{method}", book.run.device)
        noise = {"sigma": settings.sigma if method in ("DSM", "LCSS") else 0}
        losses = learnt.tracked.losses.numpy()
        book.arrays[f"density/{method}"] = learnt.maps[0].astype(np.float32)
        book.arrays[f"board_losses/{method}"] = losses
        jumps = {"spikes": ensembles.spikes(losses)} if len(losses) > ensembles.WINDOW else {}
        for metric, values in ({"tv": learnt.tv, "score_error": learnt.score_error} | jumps).items():
            yield Row("1", "checkerboard", method, "MLP", metric, values, 1, common | noise)
    truth, noised = (board.exact_map(settings, sigma) for sigma in (0.0, settings.sigma))
    book.arrays["density/data"] = truth.reshape(settings.cells, -1).numpy().astype(np.float32)
    protocol = {"sigma": settings.sigma, "cells": settings.cells}
    tv = 0.5 * (truth - noised).abs().sum().item()
    yield Row("1", "checkerboard", "data with noise", "MLP", "tv", [tv], 1, protocol, "exact")


def costs(book: Book) -> Iterator[Row]:
    """Table 2 as ratios to LCSS."""
    config, device = book.config.timing, book.run.device
    clock = "processor" if device == "cpu" and book.run.threads == 1 else "wall"
    common = {"rounds": config.rounds, "clock": clock, "hardware": device}
    cells = {
        ("checkerboard", "MLP"): (
            timing.checkerboard_steps(book.config.checkerboard, config, device), {"train_batch": config.batch}),
        ("random images", "NCSNv2"): (
            timing.image_steps(config, device), {"train_batch": config.images, "width": config.width, "side": config.side}),
    }  # fmt: skip
    for (dataset, variant), (steps, about) in cells.items():
        seconds = timing.interleaved(steps, config.rounds, device)
        book.arrays |= {f"seconds/{variant}/{method}": values for method, values in seconds.items()}
        for method, values in seconds.items():
            ratios, kind = (values / seconds["LCSS"], "median") if method != "LCSS" else ([1.0], "exact")
            yield Row("2", dataset, method, variant, "train_time_ratio", ratios, 1, common | about, kind, "runs")


def losses(book: Book) -> Iterator[Row]:
    """Section 4.2.3's convergence and stability."""
    settings = book.config.stability
    common = {"network": "mlp", "width": settings.width, "process": "VE", "sigma_max": settings.sigma_max,
              "weighting": "sigma^2", "train_steps": settings.iterations, "train_batch": settings.batch,
              "train_lr": settings.lr}  # fmt: skip
    for method in stability.OBJECTIVES:
        tracked = stability.train(method, settings, book.run.folder / f"stability-{method}")
        history, errors = tracked.losses.numpy(), tracked.errors.numpy()
        book.arrays |= {f"losses/{method}": history, f"errors/{method}": errors}
        early = errors[int(EARLY * (len(errors) - 1))]
        found = {"early_error": early, "final_error": errors[-1], "late_rise": errors[-1] / errors.min(0)}
        if len(history) > ensembles.WINDOW:
            found["spikes"] = ensembles.spikes(history)
        for metric, values in found.items():
            yield Row("stability", "digits", method, "MLP (VE)", metric, values, 1, common)


def quality(book: Book) -> Iterator[Row]:
    """Table 3."""
    yield from trained.quality(trained.Studio(book.job, book.config, book.run, book.arrays, book.skipped))


def variants(book: Book) -> Iterator[Row]:
    """Fig. 7."""
    yield from trained.variants(trained.Studio(book.job, book.config, book.run, book.arrays, book.skipped))


def exact(book: Book) -> Iterator[Row]:
    """What needs no training."""
    yield from theory.theory(book.config)


PARTS: dict[Part, Callable[[Book], Iterator[Row]]] = {
    "theory": exact, "checkerboard": densities, "timing": costs, "stability": losses, "quality": quality, "variants": variants,
}  # fmt: skip
