"""What needs no network: schedules, and samplers on a Gaussian, whose law is exact. And all sections by their names."""

from collections.abc import Iterable

import numpy as np
import torch

from reproductions.soft_diffusion import trained
from reproductions.soft_diffusion.problems import MAIN, METHOD, SAMPLERS, VARIANTS, Problem, faces
from rescore.corruptions import Corruption, pairwise_wasserstein
from rescore.experiments.book import Book
from rescore.problems.gaussian import GaussianLaw, clean_prediction, frechet, law_after, law_at
from rescore.random import make_generator
from rescore.samplers import FlowMomentumSampler, MomentumSampler, uniform_times

GAUSSIAN_VARIANTS = ("mse", "joint", "sigma-0.05", "sigma-0.025", "masking")
TIMES = torch.linspace(0, 1, 201, dtype=torch.float64)  # of the curves in figure 6


def schedules(book: Book, data: str) -> None:
    """Fig. 6: the noise, the blur found for two data sets and by the MSE rule; and how far apart its steps are."""
    problem = Problem(book, data)
    config, settings, images = book.config, problem.settings.schedule, problem.images
    book.arrays["schedule/t"] = TIMES.numpy()
    book.arrays["schedule/sigma"] = problem.noise(VARIANTS["main"])(TIMES).numpy()
    protocol = {"candidates": settings.candidates, "nodes": settings.nodes, "distance": "W2 exact", "images": settings.images}
    for name, x in {data: images, "faces": faces()}.items():
        with book.cell("fig6", name, METHOD, "blur; Wasserstein schedule", None, protocol, n=len(x)) as cell:
            if cell.todo:
                schedule, path, distances = problem.shortest(name, x)
                hops = distances[path.nodes[:-1], path.nodes[1:]]
                cell.exact("path_nodes", len(path.nodes))
                cell.exact("epsilon", path.epsilon)
                cell.exact("path_length", hops.sum())
                cell.exact("largest_hop", hops.max())
                cell.exact("direct_distance", distances[0, -1])
                cell.arrays[f"schedule/{name}"] = schedule(TIMES).numpy() / x.shape[-1]
    x = images[: settings.images]
    with book.cell("fig6", data, METHOD, VARIANTS["mse"].label, None, protocol, n=len(x)) as cell:
        if cell.todo:
            mse = problem.corruption("mse")
            nodes = torch.linspace(config.until, 1, settings.nodes, dtype=torch.float64)
            noise = config.sigma_max * torch.randn(x.shape, generator=make_generator("schedule", 0), dtype=torch.float64)
            hops = np.diag(pairwise_wasserstein([mse.C(t)(x) + noise for t in nodes]), 1)
            cell.exact("path_length", hops.sum())
            cell.exact("largest_hop", hops.max())
            cell.arrays["schedule/mse"] = mse.level(TIMES).numpy() / x.shape[-1]


def gaussian(book: Book, data: str) -> None:
    """The samplers on the Gaussian with the images' mean and covariance, exactly: no network, no samples."""
    problem, settings = Problem(book, data), book.config.gaussian
    images = problem.images
    law = GaussianLaw.full(images.mean(0), torch.cov(images.flatten(1).T))

    def run(process: Corruption, kind: type, method: str, variant: str, budgets: Iterable[int]) -> None:
        protocol = {"clean": "exact", "grid": "uniform", "start": "exact", "sampler": kind.__name__}
        clean, start = clean_prediction(process, law), law_at(process, law, 1.0)
        for nfe in budgets:
            with book.cell("exact", f"{data}_gaussian", method, variant, nfe, protocol, n=0) as cell:
                if cell.todo:
                    end = law_after(kind(process, uniform_times(nfe)), clean, start)
                    cell.exact("frechet", frechet(law, end))
                    cell.exact("variance_ratio", (end.variances.sum() / law.variances.sum()).item())

    for name, kind in SAMPLERS.items():
        run(problem.corruption("main"), kind, METHOD, MAIN(sampler=name), settings.nfes)
    for name in GAUSSIAN_VARIANTS:
        budgets = settings.masking_nfes if name == "masking" else settings.nfes
        run(problem.corruption(name), MomentumSampler, METHOD, VARIANTS[name].label, budgets)
    run(problem.ve(), MomentumSampler, "VE SDE", "reverse diffusion", settings.nfes)
    run(problem.ve(), FlowMomentumSampler, "VE SDE", "probability flow", settings.nfes)


SECTIONS = {"schedules": schedules, "gaussian": gaussian, "networks": trained.networks}
