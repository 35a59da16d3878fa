"""Schedules and exact laws, which need no network; networks are in networks.py."""

from collections.abc import Iterable

import numpy as np
import torch
from rescore.corruptions import Corruption, pairwise_wasserstein
from rescore.data.faces import load_faces
from rescore.experiments.book import Book, Section
from rescore.problems.gaussian import GaussianLaw, clean_prediction, frechet, law_after, law_at
from rescore.random import make_generator
from rescore.samplers import FlowMomentumSampler, MomentumSampler, uniform_times

from reproductions.soft_diffusion.networks import networks
from reproductions.soft_diffusion.problems import METHOD, SAMPLERS, VARIANTS, Corruptions

GAUSSIAN_VARIANTS = ("mse", "joint", "sigma-0.05", "sigma-0.025", "masking")


def schedules(book: Book) -> None:
    """Fig. 6: the noise, the blur found for two data sets and by the MSE rule; and how far apart its steps are."""
    config = book.config
    with book.skipping(dataset=config.data):
        corruptions = Corruptions.of(book)
        images, side = corruptions.images, corruptions.images.shape[-1]
        t = torch.linspace(0, 1, 201, dtype=torch.float64)
        book.arrays |= {"schedule/t": t.numpy(), "schedule/sigma": corruptions(VARIANTS["main"]).sigma(t).numpy()}
        settings = config.schedule.model_dump() | {"distance": "W2 exact"}
        for name, x in {config.data: images, "faces": load_faces()}.items():
            with book.cell("fig6", name, METHOD, "blur; Wasserstein schedule", None, settings, n=len(x)) as cell:
                if cell.todo:
                    schedule, path, distances = corruptions.shortest_path(name, x)
                    hops = [distances[a, b] for a, b in zip(path.nodes, path.nodes[1:], strict=False)]
                    values = {
                        "path_nodes": len(path.nodes),
                        "epsilon": path.epsilon,
                        "path_length": sum(hops),
                        "largest_hop": max(hops),
                        "direct_distance": distances[0, -1],
                    }
                    for metric, value in values.items():
                        cell.exact(metric, value)
                    cell.arrays[f"schedule/{name}"] = schedule(t).numpy() / x.shape[-1]
        x = images[: config.schedule.images]
        with book.cell("fig6", config.data, METHOD, "blur; MSE-matched blur schedule", None, settings, n=len(x)) as cell:
            if cell.todo:
                mse = corruptions(VARIANTS["mse"])
                noise = torch.randn(x.shape, generator=make_generator("schedule", 0), dtype=torch.float64)
                nodes = torch.linspace(config.until, 1, config.schedule.nodes, dtype=torch.float64)
                hops = np.diag(pairwise_wasserstein([mse.C(s)(x) + config.sigma_max * noise for s in nodes]), 1)
                cell.exact("path_length", hops.sum())
                cell.exact("largest_hop", hops.max())
                cell.arrays["schedule/mse"] = mse.level(t).numpy() / side


def gaussian(book: Book) -> None:
    """The samplers on the Gaussian with the images' mean and covariance, exactly: no network, no samples."""
    config, settings = book.config, book.config.gaussian
    with book.skipping(dataset=config.data):
        corruptions = Corruptions.of(book)
        images, ve = corruptions.images, corruptions.ve()
        data = GaussianLaw.full(images.mean(0), torch.cov(images.flatten(1).T))
        spread = data.covariance[0].trace()

        def run(process: Corruption, kind: type, method: str, variant: str, budgets: Iterable[int]) -> None:
            for nfe in budgets:
                how = {"clean": "exact", "grid": "uniform", "start": "exact", "sampler": kind.__name__}
                with book.cell("exact", f"{config.data}_gaussian", method, variant, nfe, how, n=0) as cell:
                    if cell.todo:
                        sampler = kind(process, uniform_times(nfe))
                        law = law_after(sampler, clean_prediction(process, data), law_at(process, data, 1.0))
                        cell.exact("frechet", max(0.0, frechet(data, law)))
                        cell.exact("variance_ratio", (law.covariance[0].trace() / spread).item())

        for name, kind in SAMPLERS.items():
            run(corruptions(VARIANTS["main"]), kind, METHOD, f"blur; {name}", settings.nfes)
        for name in GAUSSIAN_VARIANTS:
            budgets = settings.masking_nfes if name == "masking" else settings.nfes
            run(corruptions(VARIANTS[name]), MomentumSampler, METHOD, VARIANTS[name].label, budgets)
        run(ve, MomentumSampler, "VE SDE", "reverse diffusion", settings.nfes)
        run(ve, FlowMomentumSampler, "VE SDE", "probability flow", settings.nfes)


SECTIONS: dict[str, Section] = {"schedules": schedules, "gaussian": gaussian, "networks": networks}
