"""What chapter 6 says about a trained network: figs. 6.5 and 6.7, the best grid of each cell of Table 6.2, likelihoods."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from rescore.data.pixels import dequantise, to_unit
from rescore.errors import Diverged
from rescore.experiments.book import Book
from rescore.likelihood import Divergence, bits_per_dim, flow_log_prob, hutchinson_divergence, probe
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.processes import LinearSDE
from rescore.progress import progress
from rescore.random import Streams
from rescore.samplers import RhoLikelihood, rho_log_prob
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
        protocol |= models.spec("vp").protocol
        how = place(column)
        with book.cell("6.2-grids", models.data, **how, nfe=nfe, protocol=protocol, over="trainings") as cell:
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
            names, values = list(fids), np.array(list(fids.values()))
            best = values.mean(1).argmin()
            cell.add("fid", values[best], grid=names[best])
            ours, seeds = np.array(fids[main]), range(values.shape[1])
            before = [np.delete(values, seed, 1).mean(1).argmin() for seed in seeds]
            cell.add("gain", ours - values[best], grid=names[best])
            cell.add("gain_held_out", [ours[seed] - values[chosen, seed] for seed, chosen in zip(seeds, before, strict=True)])


def by_method(settings: Likelihood, process: LinearSDE, t0: float, score: Score, u: Tensor, divergence: Divergence):
    """(name, evaluations, function that computes log p) of every method and number of evaluations."""
    for name, (method, cost) in LIKELIHOODS.items():
        for nfe in settings.nfes:
            times = GRIDS[settings.grid](process, nfe // cost, t0=t0)
            yield name, nfe, partial(rho_log_prob, score, process, u, times, divergence, method)


def likelihood_trained(book: Book) -> None:
    """Section 6.1: bits per dimension of held-out images by DEIS and by dopri5, with the same dequantisation and probes."""
    models, config = TrainedModels(book), book.config
    settings, spec, process = config.likelihood, models.spec("vp"), models.process("vp")
    images, levels = models.held_out.images[: config.evaluation.likelihood_images], models.held_out.grey_levels
    t0, found = spec.objective.t0, {}
    protocol = {"images": len(images), "grey_levels": levels, "t0": t0, "trace": "rademacher", "dequantisation": "uniform"}

    def place_of(name: str, nfe: int | None, **more: object):
        how = protocol | spec.protocol | more
        return book.cell("likelihood", models.data, name, "", nfe, how, n=len(images), over="trainings")

    for seed in config.training_seeds:
        score = models.load("vp", seed).network.score()
        noise = Streams.named("likelihood", models.data, seed, n=len(images), device=book.run.device)
        x, per_unit = dequantise(images.to(book.run.device), noise, levels)
        divergence = hutchinson_divergence(signs := probe(x, "rademacher", noise))

        def bits(result: RhoLikelihood, x: Tensor = x, per_unit: float = per_unit) -> tuple[float, int]:
            return bits_per_dim(result.log_prob, x[0].numel(), per_unit).mean().item(), result.nfe

        again = Streams.named("likelihood", models.data, seed, n=len(images), device=book.run.device)
        dequantise(images, again, levels)  # so that its probes are `signs`
        adaptive = flow_log_prob(score, process, x, again, "rademacher", t0, settings.tolerance, settings.tolerance)
        found.setdefault(("dopri5", None), []).append(bits(RhoLikelihood(adaptive.log_prob, adaptive.nfe)))
        for name, nfe, solve in by_method(settings, process, t0, score, x, divergence):
            found.setdefault((name, nfe), []).append(bits(solve()))
        del signs
    reference = [bpd for bpd, _ in found["dopri5", None]]
    for (name, nfe), values in found.items():
        how = {"tolerance": settings.tolerance} if name == "dopri5" else {"grid": settings.grid}
        with place_of(name, nfe, **how) as cell:
            if cell.todo:
                cell.add("bpd", [bpd for bpd, _ in values])
                cell.add("evaluations", [taken for _, taken in values])
                if name != "dopri5":
                    cell.add("bpd_gap", [abs(bpd - exact) for (bpd, _), exact in zip(values, reference, strict=True)])
