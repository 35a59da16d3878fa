"""What chapter 6 says about a trained network: figs. 6.5 and 6.7, the best grid of each cell of Table 6.2, likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from rescore.data.pixels import dequantise, to_unit
from rescore.errors import Diverged
from rescore.experiments.book import Book, Cell
from rescore.likelihood import (
    Divergence,
    FlowLikelihood,
    bits_per_dim,
    flow_log_prob,
    hutchinson_divergence,
    probe,
    rho_log_prob,
)
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.processes import LinearSDE
from rescore.progress import progress
from rescore.random import Streams
from rescore.scores import Score
from torch import Tensor

from reproductions.deis.config import Likelihood
from reproductions.deis.methods import GRIDS, TABLE_METHODS, place, rival_cells, tableau_cells

# rhoRK by tableau, rhoAB by order
LIKELIHOODS: dict[str, tuple[str | int, int]] = {
    "rho2Heun": ("heun2", 2),
    "rho3Kutta": ("kutta3", 3),
    "rho4RK": ("rk4", 4),
    **{f"rhoAB{r}": (r, 1) for r in range(4)},
}


def rivals(book: Book) -> None:
    """Figs. 6.5 and 6.7: FID of the ingredients and of other samplers."""
    models, settings = TrainedModels(book), book.config.rivals
    images = to_unit(models.train.images[: settings.images]).to(book.run.device)
    models.measure(rival_cells(settings, models.process("vp"), book.config.t0, images), "figs. 6.5, 6.7", ("fid",))
    models.floor("fig6.5", ("fid",))


def tableaus_trained(book: Book) -> None:
    """Section 6.5: which second-order Runge-Kutta method is the best."""
    models = TrainedModels(book)
    models.measure(tableau_cells(book.config.tableaus, models.process("vp"), book.config.t0), "second order", ("fid",))


def best_grids(book: Book) -> None:
    """Table 6.2 as it is printed, each cell with its best grid, and how much that choice flatters.

    `gain` is the FID of the table's one grid less that of the grid with the least mean FID, over the same samples;
    `gain_held_out` chooses by the other seeds' FIDs, as if the choice had been made before. Their difference is what the choice
    alone does.
    """
    models, settings = TrainedModels(book), book.config.best_grids
    process, main = models.process("vp"), book.config.table.grid
    cells = [(row, column) for row in settings.rows for column in TABLE_METHODS]
    for row, column in progress(cells, desc="best grids"):
        method = TABLE_METHODS[column]
        steps = math.ceil(row / method.evaluations_per_step)
        nfe = steps * method.evaluations_per_step
        protocol = {
            "score": "trained",
            "t0": book.config.t0,
            "grids": "/".join(settings.grids),
            "samples": book.config.evaluation.samples,
        }
        how, n = place(column), book.config.evaluation.samples
        protocol |= {**models.spec("vp").protocol, **models.judge.protocol("fid", torch.empty(n))}
        repeats: dict[str, Any] = {"n": n, "over": models.over, "matched": models.matched("vp")}
        with book.cell("6.2-grids", models.data, **how, nfe=nfe, protocol=protocol, **repeats) as cell:
            if not cell.todo:
                continue
            fids = {}
            for grid in settings.grids:
                one = Sampling(
                    "6.2", **place(column), model="vp", sampler=method(process, GRIDS[grid](process, steps, t0=book.config.t0))
                )
                try:
                    fids[grid] = [models.judge(models.draw(one, *pair).x, ("fid",))["fid"] for pair in models.repeats]
                except Diverged:
                    continue
                cell.add(f"fid_{grid}", fids[grid], grid=grid)
            if not fids:
                raise Diverged(f"on each grid of {', '.join(settings.grids)}")
            names, values = list(fids), np.array(list(fids.values()))
            best = values.mean(1).argmin()
            cell.add("fid", values[best], grid=names[best])
            if main not in fids:
                why = "diverged" if main in settings.grids else "is none of best_grids.grids"
                cell.skip(f"gain, gain_held_out: the table's grid, {main}, {why}")
                continue
            ours, seeds = np.array(fids[main]), range(values.shape[1])
            cell.add("gain", ours - values[best], grid=names[best])
            if len(seeds) == 1:
                cell.skip("gain_held_out: the other seeds choose, and there is one")
                continue
            before = [np.delete(values, seed, 1).mean(1).argmin() for seed in seeds]
            cell.add("gain_held_out", [ours[seed] - values[chosen, seed] for seed, chosen in zip(seeds, before, strict=True)])


def by_method(settings: Likelihood, process: LinearSDE, t0: float, score: Score, u: Tensor, divergence: Divergence):
    """(name, evaluations, function that computes log p) of every method and number of evaluations."""
    for name, (method, cost) in LIKELIHOODS.items():
        for nfe in settings.nfes:
            times = GRIDS[settings.grid](process, nfe // cost, t0=t0)
            yield name, nfe, partial(rho_log_prob, score, process, u, times, divergence, method)


class Likelihoods:
    """Bits per dimension of held-out images, for which all solvers of a training get the same dequantisation and probes.

    What several cells share is solved once: by `adaptive` and `by_deis`, of a training seed.
    """

    def __init__(self, book: Book):
        models, config = TrainedModels(book), book.config
        self.book, self.models, self.settings = book, models, config.likelihood
        self.spec, self.process = models.spec("vp"), models.process("vp")
        self.t0 = self.spec.objective.t0
        self.images = models.held_out.images[: config.evaluation.likelihood_images]
        self.adaptive, self.by_deis = cache(self._adaptive), cache(self._by_deis)

    def cell(self, name: str, nfe: int | None, **more: object) -> Cell:
        n, levels = len(self.images), self.models.held_out.grey_levels
        how = {"images": n, "grey_levels": levels, "t0": self.t0, "trace": "rademacher", "dequantisation": "uniform"}
        protocol, matched = how | self.spec.protocol | more, self.models.matched("vp")
        return self.book.cell("likelihood", self.models.data, name, "", nfe, protocol, n=n, over="trainings", matched=matched)

    def bits(self, log_prob: Tensor, per_unit: float) -> float:
        return bits_per_dim(log_prob, self.images[0].numel(), per_unit).mean().item()

    def _drawn(self, seed: int) -> tuple[Tensor, float, Streams]:
        """A seed's dequantised images, grey levels to a unit of theirs, and the noise that comes next: that of the probes."""
        device = self.book.run.device
        noise = Streams.named("likelihood", self.models.data, seed, n=len(self.images), device=device)
        return *dequantise(self.images.to(device), noise, self.models.held_out.grey_levels), noise

    def _score(self, seed: int) -> Score:
        return self.models.load("vp", seed).network.score()

    def _adaptive(self, seed: int) -> tuple[float, int] | Diverged:
        """Bits per dimension and evaluations of the adaptive solver, or why it has none."""
        x, per_unit, noise = self._drawn(seed)
        try:
            found = flow_log_prob(self._score(seed), self.process, x, noise, "rademacher", self.t0, self.settings.tolerance)
        except Diverged as error:
            return Diverged(f"seed {seed}: {error}")
        return self.bits(found.log_prob, per_unit), found.nfe

    def _by_deis(self, seed: int) -> tuple[float, Mapping[tuple[str, int], Callable[[], FlowLikelihood]]]:
        """Grey levels to a unit, and the solves of every method and number of evaluations."""
        x, per_unit, noise = self._drawn(seed)
        divergence = hutchinson_divergence(probe(x, "rademacher", noise))
        solves = by_method(self.settings, self.process, self.t0, self._score(seed), x, divergence)
        return per_unit, {(name, nfe): solve for name, nfe, solve in solves}


def likelihood_trained(book: Book) -> None:
    """Section 6.1: bits per dimension of held-out images by DEIS and by dopri5.

    Each cell solves for itself, so that what diverges is left out alone and an interrupted run goes on at the next.
    """
    here, seeds = Likelihoods(book), book.config.training_seeds
    with here.cell("dopri5", None, tolerance=here.settings.tolerance) as cell:
        if cell.todo:
            ends = [here.adaptive(seed) for seed in seeds]
            for end in ends:
                if isinstance(end, Diverged):
                    raise end
            cell.add("bpd", [bpd for bpd, _ in ends])
            cell.add("evaluations", [taken for _, taken in ends])
    for name, nfe in product(LIKELIHOODS, here.settings.nfes):
        with here.cell(name, nfe, grid=here.settings.grid) as cell:
            if not cell.todo:
                continue
            found: list[tuple[float, int]] = []
            for seed in seeds:
                per_unit, solves = here.by_deis(seed)
                result = solves[name, nfe]()
                found.append((here.bits(result.log_prob, per_unit), result.nfe))
            cell.add("bpd", [bpd for bpd, _ in found])
            cell.add("evaluations", [taken for _, taken in found])
            exact = [here.adaptive(seed) for seed in seeds]
            if lost := [str(end) for end in exact if isinstance(end, Diverged)]:
                cell.skip(f"bpd_gap: the adaptive solver diverged: {lost[0]}")
            else:
                cell.add("bpd_gap", [abs(bpd - end[0]) for (bpd, _), end in zip(found, exact, strict=True)])
