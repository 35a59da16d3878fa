"""Eq. 3.16 and section 3.1: samples by every lambda, the noise of the last step, and the time of sampling beside DDPM's."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import cycle
from typing import Any, get_args

import numpy as np
import torch
from rescore.cost.timing import clock, interleaved
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.models.evaluate import Sampling
from rescore.models.judge import BATCH
from rescore.random import make_generator

from reproductions.diffflow import config as settings
from reproductions.diffflow.config import GRIDS
from reproductions.diffflow.images import Pictures, fid_cell
from reproductions.diffflow.methods import beside_ddpm, ddpm_sampler
from reproductions.diffflow.planar import Plane

TABLE = "eq3.16"
LAMBDA = Axes("lambda={lam:g}")
WHOLE, NOISE = LAMBDA(lam=1), "lambda=1, noise in the last step"

Judged = Callable[..., Mapping[str, float]]
"""judged(seed, steps, lam=.., last=..): distances to the data of the samples of a training."""


def measure(book: Book, name: str) -> None:
    (images if name in get_args(settings.Pictures) else points)(book, name)


def points(book: Book, name: str) -> None:
    here = Plane(book, name)
    problem = here.problem

    def judged(seed: int, steps: int, **options: object) -> Mapping[str, float]:
        x = here.sample("DiffFlow", seed, steps, **options)
        return {"sw2": problem.distance(x, seed), "off_support": problem.off_support(x)}

    def open_cell(table: str, nfe: int | None, variant: str, protocol: Mapping[str, object]) -> Cell:
        place = here.place(
            table, nfe, "DiffFlow", variant, projections=here.plane.projections, grid=GRIDS["DiffFlow"], **protocol
        )
        return book.cell(*place, n=here.plane.samples, over="trainings", matched=f"{name}/DiffFlow")

    kernels(book, open_cell, judged, here.plane.diffflow.sampling_steps)
    draws = {method: lambda seed, n, method=method: here.sample(method, seed, n) for method in ("DiffFlow", "DDPM")}
    distances = {method: partial(here.distance, method) for method in draws}
    speed(book, open_cell, distances, draws, here.plane.samples, here.plane.ddpm.of_points())


def images(book: Book, name: str) -> None:
    here, samples = Pictures(book, name), book.config.evaluation.samples
    model, fit = cache(here.model), here.fit
    process = here.rivals.process("vp")
    its_ddpm = dict(zip(book.config.seeds, cycle(book.config.training_seeds), strict=False))

    def drawn(seed: int, steps: int, **options: Any) -> torch.Tensor:
        generator = make_generator("diffflow", name, seed, TABLE, device=here.device)
        return here.drawn(model(seed), samples, steps, generator, **options)

    def judged(seed: int, steps: int, **options: object) -> Mapping[str, float]:
        return {"fid": here.judge(drawn(seed, steps, **options), ["fid"])["fid"]}

    def open_cell(table: str, nfe: int | None, variant: str, protocol: Mapping[str, object]) -> Cell:
        return fid_cell(
            here, table, nfe, "DiffFlow", variant, here.protocol | {"grid": GRIDS["DiffFlow"]} | protocol, f"{name}/DiffFlow"
        )

    def ancestral(seed: int, n: int) -> torch.Tensor:
        return here.rivals.draw(Sampling("", "DDPM", "", "vp", ddpm_sampler(process, n, False)), its_ddpm[seed], seed).x

    kernels(book, open_cell, judged, fit.sampling_steps)
    distances = {
        "DiffFlow": lambda seed, n: judged(seed, n)["fid"],
        "DDPM": lambda seed, n: here.rival_fid("vp", False, n, its_ddpm[seed]),
    }
    # both in the judge's batches: smaller ones take more time an image
    draws = {"DiffFlow": partial(drawn, batch=BATCH), "DDPM": ancestral}
    speed(book, open_cell, distances, draws, min(BATCH, samples), here.rivals.spec("vp").protocol)


def kernels(book: Book, open_cell: Callable[..., Cell], judged: Judged, steps: int) -> None:
    """Every lambda, and lambda = 1 with noise in the last step, with the sampling steps and with the fewest of the sweep.

    `<metric>_ratio` is relative to lambda = 1 of the same training and from the same starts, so that what all samples of a
    training have in common drops out.
    """
    config, judged = book.config, cache(judged)
    others = {LAMBDA(lam=lam): {"lam": lam} for lam in config.sampling.lambdas} | {NOISE: {"last": "noise"}}
    for n in sorted({config.sweep[0], steps}):
        for variant, options in ({WHOLE: {}} | others).items():
            protocol = {"last_step": "noise" if "last" in options else "mean"}
            with open_cell(TABLE, n, variant, protocol) as cell:
                if cell.todo:
                    found = [judged(seed, n, **options) for seed in config.seeds]
                    cell.add_each(found)
                    whole = [judged(seed, n) for seed in config.seeds] if options else []
                    for metric in found[0] if options else ():
                        cell.add(f"{metric}_ratio", [a[metric] / b[metric] for a, b in zip(found, whole, strict=True)])


def enough(distances: Sequence[float], numbers: Sequence[int], slack: float) -> int:
    """The least of the rising `numbers` of steps whose distance is at most `slack` times that of the last."""
    return next(n for n, distance in zip(numbers, distances, strict=True) if distance <= slack * distances[-1])


def speed(
    book: Book,
    open_cell: Callable[..., Cell],
    distances: Mapping[str, Callable[[int, int], float]],
    draws: Mapping[str, Callable[[int, int], torch.Tensor]],
    at_once: int,
    ddpm: Mapping[str, object],
) -> None:
    """How many times fewer steps, and how much less time, DiffFlow's samples take than DDPM's "without losing much quality".

    Each method takes as many steps as are `enough` for itself, of those of the sweep.

    Args:
        distances, draws: by method, of (training seed, steps).
        at_once: samples that each method draws in a batch.
        ddpm: what the ledger says of DDPM's training.
    """
    config, its = book.config, book.config.sampling
    protocol = {
        "N": " ".join(map(str, config.sweep)),
        "enough": f"{its.slack:g} times the distance of the largest N",
        "clock": clock(book.run.device),
        "timed": its.timed,
        "drawn_at_once": at_once,
    } | beside_ddpm(ddpm)
    with open_cell("text", None, "", protocol) as cell:
        if not cell.todo:
            return
        needed, seconds = [], []
        for seed in config.seeds:
            steps = {
                method: enough([distance(seed, n) for n in config.sweep], config.sweep, its.slack)
                for method, distance in distances.items()
            }
            rounds = {method: partial(draws[method], seed, n) for method, n in steps.items()}
            took = interleaved(rounds, its.timed, book.run.device)
            needed.append(steps)
            seconds.append({method: float(np.median(took[method])) for method in took})
        for metric, found in (("sampling_steps", needed), ("sampling_time", seconds)):
            cell.add(f"{metric}_ratio", [one["DDPM"] / one["DiffFlow"] for one in found])
