"""Figs. 12 and 13: networks trained on five small Swiss rolls far apart, with a coarse scale and a fine one."""

from collections.abc import Sequence
from functools import cache, partial

import torch
from rescore.data.planar import SwissRolls
from rescore.experiments.book import Book, Cell
from rescore.problems import distances
from rescore.processes import VP
from rescore.random import Streams, derive_seed, make_generator
from torch import Tensor

from reproductions.cld import networks
from reproductions.cld.learned import SAMPLER, WITH
from reproductions.cld.networks import PLANE, each_block, network_jacobian
from reproductions.cld.paths import STABILISED
from reproductions.cld.problems import sampler_of
from reproductions.cld.sampled import AT

ROLLS, DATASET = SwissRolls(), "swiss_rolls"
PROCESSES = {
    "CLD": (STABILISED, "4"),
    "VPSDE": (VP(), "0.1..20"),
}  # the images' setting, and the stabiliser of the toy's config


def multiscale(book: Book) -> None:
    """Fig. 12: E |dF / du|^2 of the trained networks F; fig. 13: their samples, beside draws and Normals in place of rolls."""
    settings = book.config.multiscale
    members = range(settings.members)
    fresh = partial(draws, ROLLS.sample, members, settings.samples)
    book.arrays["multiscale/data"] = fresh("figure")[0].float().numpy()
    for method, points in {"exact": fresh("exact"), "Normals": draws(normals, members, settings.samples, "normals")}.items():
        with book.cell("fig13", DATASET, method, "", None, {"samples": "exact"}, n=settings.samples) as cell:
            if cell.todo:
                compare(cell, points, fresh("data"))
    for method, (process, beta) in PROCESSES.items():
        models = cache(partial(networks.train, settings, process, True, ROLLS.sample, "multiscale", method, book.run.folder))
        protocol = settings.protocol | {"process": process.label, "beta": beta, "score": "trained", "mixed": True}
        protocol |= {"network": settings.network}
        for t in settings.times:
            at = protocol | {"t": t}
            with book.cell("fig12", DATASET, method, AT(t=t), None, at, n=settings.samples, over="trainings") as cell:
                if cell.todo:
                    x, noise = fresh("jacobian")[0], make_generator("cld", "multiscale", method, t)
                    u = process.perturb(x, t, noise, models()[0].factor)[0].float()
                    cell.add("jacobian_mixed", [network_jacobian(one, u, t) for one in models()])
        sampler = sampler_of(method, SAMPLER, process, settings.nfe)
        how = protocol | {"sampler": SAMPLER, "t0": sampler.times[-1], "denoise": sampler.denoise}
        place = "fig13", DATASET, method, WITH(score="mixed"), sampler.nfe
        with book.cell(*place, how, n=settings.samples, over="trainings") as cell:
            if cell.todo:
                start, noise = (
                    Streams([derive_seed("cld", "multiscale", method, use, i) for i in members], settings.samples)
                    for use in ("prior", "noise")
                )
                shape = (settings.members * settings.samples, *process.state_shape((PLANE,)))
                u = sampler(each_block(models()), process.prior_sample(shape, start, torch.float32), noise)
                x = process.project(u).double().unflatten(0, (settings.members, -1))
                compare(cell, x, fresh("data"))
                cell.arrays[f"multiscale/{method}"] = x[0].float().numpy()


def draws(sample: networks.Draw, members: Sequence[int], n: int, use: str) -> Tensor:
    """Draws for each member, (members, n, 2) float64."""
    return torch.stack([sample(n, make_generator("cld", "multiscale", use, i)) for i in members])


def normals(n: int, generator: torch.Generator) -> Tensor:
    """What knows the coarse scale only, (n, 2): Normals with the mean and covariance of each roll."""
    curve = ROLLS.curve(2000)
    centred = curve - curve.mean(1, keepdim=True)
    noise = (ROLLS.scale * ROLLS.std) ** 2 * torch.eye(PLANE, dtype=torch.float64)
    root = torch.linalg.cholesky(centred.mT @ centred / centred.shape[1] + noise)
    k = torch.randint(len(curve), (n,), generator=generator)
    z = torch.randn(n, PLANE, 1, generator=generator, dtype=torch.float64)
    return curve.mean(1)[k] + (root[k] @ z)[..., 0]


def compare(cell: Cell, x: Tensor, data: Tensor) -> None:
    """Points x (members, n, 2) against as many of the data, at both scales."""
    cell.add("sw2", distances.sw2(x, data, 50))
    cell.add("roll_distance", [ROLLS.distance(one).median().item() for one in x])
    cell.add("off_roll", [ROLLS.off_support(one) for one in x])
    for name, values in masses(x).items():
        cell.add(name, values)


def masses(x: Tensor) -> dict[str, list[float]]:
    """The share of points (members, n, 2) nearest to each centre, by member: `mass_0` in the middle, then the corners."""
    counts = torch.stack([ROLLS.roll(one).bincount(minlength=len(ROLLS.centres)) for one in x])
    return {f"mass_{k}": column.tolist() for k, column in enumerate((counts / x.shape[1]).T)}
