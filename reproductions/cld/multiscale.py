"""Figs. 12 and 13: networks trained on five small Swiss rolls far apart, with a coarse scale and a fine one."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from rescore.data.planar import SwissRolls
from rescore.experiments.book import Book, Cell
from rescore.problems import ExactProblem, distances
from rescore.processes import VP
from rescore.random import make_generator
from torch import Tensor

from reproductions.cld import networks
from reproductions.cld.learned import SAMPLER, WITH
from reproductions.cld.networks import PLANE, each_block, network_jacobian
from reproductions.cld.paths import STABILISED
from reproductions.cld.problems import sampler_of
from reproductions.cld.sampled import AT

ROLLS, DATASET = SwissRolls(), "swiss_rolls"
STD = ROLLS.scale * ROLLS.std
PROCESSES = {
    "CLD": (STABILISED, "4"),
    "VPSDE": (VP(), "0.1..20"),
}  # the images' setting, and the stabiliser of the toy's config


def multiscale(book: Book) -> None:
    """Fig. 12: E |dF / du|^2 of the trained networks F; fig. 13: their samples, those of the exact score, and draws."""
    settings = book.config.multiscale
    members = range(settings.members)
    fresh = partial(draws, ROLLS.sample, members)
    book.arrays["multiscale/data"] = fresh(settings.samples, "figure")[0].float().numpy()
    for method, sample in {"exact": ROLLS.sample, "Normals": normals}.items():
        with book.cell("fig13", DATASET, method, "", None, {"samples": "exact"}, n=settings.samples) as cell:
            if cell.todo:
                compare(cell, draws(sample, members, settings.samples, method), fresh(settings.samples, "data"))
    for method, (process, beta) in PROCESSES.items():
        models = cache(partial(networks.train, settings, process, True, ROLLS.sample, "multiscale", method, book.run.folder))
        of_process = {"process": process.label, "beta": beta}
        protocol = settings.protocol | of_process | {"score": "trained", "mixed": True, "network": settings.network}
        for t in settings.times:
            at = protocol | {"t": t}
            with book.cell("fig12", DATASET, method, AT(t=t), None, at, n=settings.samples, over="trainings") as cell:
                if cell.todo:
                    x, noise = fresh(settings.samples, "jacobian")[0], make_generator("cld", "multiscale", method, t)
                    u = process.perturb(x, t, noise, models()[0].factor)[0].float()
                    cell.add("jacobian_mixed", [network_jacobian(one, u, t) for one in models()])
        sampler, stream = sampler_of(method, SAMPLER, process, settings.nfe), ("cld", "multiscale", method)
        how = {"sampler": SAMPLER, "t0": sampler.times[-1], "denoise": sampler.denoise}
        points = ROLLS.curve(settings.components).flatten(0, 1)
        exact = ExactProblem.of_mixture(DATASET, process, points, STD, (*stream, "prior"), members, settings.exact_samples)
        problem = replace(exact, n=settings.samples, dtype=torch.float32)
        place = DATASET, method, WITH(score="mixed"), sampler.nfe
        with book.cell("fig13", *place, protocol | how, n=problem.n, over="trainings") as cell:
            if cell.todo:
                u = sampler(each_block(models()), problem.start(), problem.streams(*stream, "noise"))
                x = problem.by_seed(u).double()
                compare(cell, x, fresh(problem.n, "data"))
                cell.arrays[f"multiscale/{method}"] = x[0].float().numpy()
        place, how = (DATASET, method, WITH(score="exact"), sampler.nfe), of_process | how | {"score": "exact"}
        with book.cell("fig13", *place, how | {"components": settings.components}, n=exact.n) as cell:
            if cell.todo:
                x = exact.run(sampler, exact.start(), *stream, "noise")
                compare(cell, x, fresh(exact.n, "data"))
                cell.arrays[f"multiscale/{method}/exact"] = x.flatten(0, 1).float().numpy()


def draws(sample: networks.Draw, members: Sequence[int], n: int, use: str) -> Tensor:
    """n draws for each member, (members, n, 2) float64."""
    return torch.stack([sample(n, make_generator("cld", "multiscale", use, i)) for i in members])


def normals(n: int, generator: torch.Generator) -> Tensor:
    """What knows the coarse scale only, (n, 2): Normals with the mean and covariance of each roll."""
    curve = ROLLS.curve(2000)
    centred = curve - curve.mean(1, keepdim=True)
    covariance = centred.mT @ centred / centred.shape[1] + STD**2 * torch.eye(PLANE, dtype=torch.float64)
    k = torch.randint(len(curve), (n,), generator=generator)
    z = torch.randn(n, PLANE, 1, generator=generator, dtype=torch.float64)
    return curve.mean(1)[k] + (torch.linalg.cholesky(covariance)[k] @ z)[..., 0]


def compare(cell: Cell, x: Tensor, data: Tensor) -> None:
    """Points x (members, n, 2) against as many of the data, at both scales."""
    cell.add("sw2", distances.sw2(x, data, 50))
    cell.add("roll_distance", [ROLLS.distance(one).median().item() for one in x])
    cell.add("off_roll", [ROLLS.off_support(one) for one in x])
    for k, shares in enumerate(masses(x).T):
        cell.add(f"mass_{k}", shares.tolist())


def masses(x: Tensor) -> Tensor:
    """The share of points (members, n, 2) nearest to each centre, the middle and then the corners: (members, 5) float64."""
    return torch.stack([ROLLS.roll(one).bincount(minlength=len(ROLLS.centres)) for one in x]).double() / x.shape[1]
