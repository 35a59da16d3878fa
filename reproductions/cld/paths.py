"""Figs. 18 and 19: how data and velocities come out of noise, on the exact score of the digits."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from rescore.errors import RescoreError
from rescore.experiments.book import Book
from rescore.problems import ExactProblem
from rescore.processes import CLD, LinearSDE, grids
from rescore.samplers import Sampler, adaptive_flow, sscs
from torch import Tensor

from reproductions.cld import problems
from reproductions.cld.sampled import AT

STABILISED = CLD(eps0=0.0, eps_num=1e-6)  # the setting of CelebA-HQ, without which the score has no bound as t -> 0


def paths(book: Book) -> None:
    """Variance and excess kurtosis of the velocities and of the data at the captions' times, by the ODE and by SSCS-QS."""
    settings = book.config.paths
    problem, tolerance = problems.digits(book.config, STABILISED, settings.samples), settings.tolerance
    striding = through(grids.quadratic_striding(STABILISED, settings.steps, settings.times[-1]), settings.times)
    ways: dict[str, tuple[str, Callable[[LinearSDE, list[float]], Sampler], dict[str, object]]] = {
        "fig18": ("ODE-RK45", lambda process, of: adaptive_flow(process, [of[0], of[-1]], tolerance), {"tolerance": tolerance}),
        "fig19": ("SSCS-QS", sscs, {"steps": settings.steps}),
    }
    for table, (variant, make, how) in ways.items():
        states = None
        for t in settings.times:
            protocol = {"process": STABILISED.label, "score": "exact", "start": "prior", "t": t, "sampler": variant} | how
            with book.cell(table, problem.dataset, "CLD", AT(t=t), None, protocol, n=problem.n) as cell:
                if not cell.todo:
                    continue
                states = states or dict(path(problem, settings.times, striding, make))
                for name, values in zip(("x", "v"), states[t].double().unbind(1), strict=True):
                    by_seed = values.reshape(len(problem.seeds), -1)
                    cell.add(f"{name}_variance", by_seed.var(1).tolist())
                    cell.add(f"{name}_kurtosis", excess_kurtosis(by_seed).tolist())
                cell.arrays[f"paths/{table}/{t:g}"] = states[t][:6].numpy()


def through(striding: Tensor, times: Sequence[float]) -> Tensor:
    """A striding with as many steps that goes through these times: each takes the place of the nearest one within it.

    Raises RescoreError where two have the same place, or one none.
    """
    found, inner = striding.clone(), [t for t in times if striding[-1] < t < striding[0]]
    places = [int((striding[1:-1] - t).abs().argmin()) + 1 for t in inner] if len(striding) > 2 else []
    if len(set(places)) < len(inner):
        steps = len(striding) - 1
        raise RescoreError(f"paths: {steps} steps go through no {len(inner)} times between their ends; allowed are more steps")
    for place, t in zip(places, inner, strict=True):
        found[place] = t
    return found


def path(
    problem: ExactProblem, times: tuple[float, ...], striding: Tensor, make: Callable[[LinearSDE, list[float]], Sampler]
) -> Iterator[tuple[float, Tensor]]:
    """(t, u_t) at these times, from T down; between two of them a sampler takes the steps of the striding that lie there."""
    u, noise = problem.start(), problem.streams("cld", "paths")
    yield times[0], u
    for start, end in pairwise(times):
        inner = [t for t in striding.tolist() if end < t < start]
        u = make(problem.process, [start, *inner, end])(problem.score, u, noise)
        yield end, u


def excess_kurtosis(x: Tensor) -> Tensor:
    """E (x - mean)^4 / variance^2 - 3 of each row: 0 for a Normal."""
    centred = x - x.mean(1, keepdim=True)
    return (centred**4).mean(1) / centred.square().mean(1) ** 2 - 3
