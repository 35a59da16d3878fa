"""Schedules and exact laws, which need no network; networks are in networks.py."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
import torch
from rescore.corruptions import pairwise_wasserstein, wasserstein_schedule
from rescore.data.faces import load_faces
from rescore.experiments.book import Book
from rescore.problems.gaussian import GaussianLaw, clean_prediction, frechet, law_after, law_at
from rescore.random import make_generator
from rescore.samplers import FlowMomentumSampler, HeunFlowSampler, MomentumSampler
from torch import Tensor

from reproductions.soft_diffusion.config import VariantName
from reproductions.soft_diffusion.networks import networks
from reproductions.soft_diffusion.problems import HEUN, METHOD, SAMPLERS, VARIANTS, Corruptions, told
from reproductions.soft_diffusion.rivals import masks, overhead, rivals, within

GAUSSIAN_VARIANTS = ("mse", "joint", "sigma-0.05", "sigma-0.025", "masking")


def schedules(book: Book) -> None:
    """Fig. 6: the noise, the blur found for two data sets and by the MSE rule; and how far apart its steps are."""
    config = book.config
    with book.skipping(dataset=config.data):
        corruptions = Corruptions.of(book)
        images, side = corruptions.images, corruptions.images.shape[-1]
        t = torch.linspace(0, 1, 201, dtype=torch.float64)
        book.arrays |= {"schedule/t": t.numpy(), "schedule/sigma": corruptions(VARIANTS["main"]).sigma(t).numpy()}
        noise = {"distance": "W2 exact", "sigma_max": config.sigma_max, "until": config.until}
        settings = config.schedule.model_dump() | noise
        for name, x in {config.data: images, "faces": load_faces()}.items():
            n = len(x[: config.schedule.images])
            how = settings | {"blur": told(corruptions.blur(x.shape[-1]))}
            with book.cell("fig6", name, METHOD, "blur; Wasserstein schedule", None, how, n=n) as cell:
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
        how = noise | {"nodes": config.schedule.nodes, "images": config.schedule.images, "blur": told(corruptions.blur(side))}
        how["ve_sigma_max"] = corruptions.ve_process.sigma_max
        with book.cell("fig6", config.data, METHOD, "blur; MSE-matched blur schedule", None, how, n=len(x)) as cell:
            if cell.todo:
                mse = corruptions(VARIANTS["mse"])
                noise = torch.randn(x.shape, generator=make_generator("schedule", 0), dtype=torch.float64)
                nodes = torch.linspace(config.until, 1, config.schedule.nodes, dtype=torch.float64)
                hops = np.diag(pairwise_wasserstein([mse.C(s)(x) + config.sigma_max * noise for s in nodes]), 1)
                cell.exact("path_length", hops.sum())
                cell.exact("largest_hop", hops.max())
                cell.arrays["schedule/mse"] = mse.level(t).numpy() / side


def subsets(book: Book) -> None:
    """Fig. 6 once more: how far the schedules of two data sets are apart, and those of other images of the same one.

    A gap is the largest difference of two schedules at a time, over the strongest blur. Each seed draws two subsets of a data
    set that share no image.
    """
    config, settings = book.config, book.config.subsets
    with book.skipping(dataset=config.data):
        corruptions = Corruptions.of(book)
        sets, t = {config.data: corruptions.images, "faces": load_faces()}, torch.linspace(config.until, 1, 201)

        @cache
        def level(name: str, seed: int, half: int) -> Tensor:
            x = sets[name]
            rows = torch.randperm(len(x), generator=make_generator("subsets", name, seed))[: 2 * settings.images]
            family = corruptions.blur(x.shape[-1])
            how = settings.candidates, settings.nodes, config.until
            return wasserstein_schedule(family, x[rows.chunk(2)[half]], config.sigma_max, *how)[0](t) / family.highest

        def gap(one: str, other: str, half: int, seed: int) -> float:
            return (level(one, seed, 0) - level(other, seed, half)).abs().max().item()

        pairs = {(config.data, "faces"): (config.data, "other data", 0)}
        pairs |= {(name, name): (name, "other images", 1) for name in sets}
        about = settings.model_dump() | {"distance": "W2 exact", "sigma_max": config.sigma_max, "until": config.until}
        for (one, other), (dataset, against, half) in pairs.items():
            gaps = {"schedule_gap": partial(gap, one, other, half)}
            how = about | {
                "blur": " and ".join(dict.fromkeys(told(corruptions.blur(sets[name].shape[-1])) for name in (one, other)))
            }
            book.repeat("fig6", dataset, METHOD, f"blur; {against}", None, how, config.seeds, settings.images, **gaps)


@dataclass(frozen=True)
class Exact:
    """The Gaussian with the images' mean and covariance, and samplers on it, exactly: no network, no samples."""

    book: Book
    corruptions: Corruptions

    @cached_property
    def data(self) -> GaussianLaw:
        images = self.corruptions.images
        return GaussianLaw.full(images.mean(0), torch.cov(images.flatten(1).T))

    def run(self, name: VariantName, kind: type, label: str, budgets: Iterable[int]) -> None:
        """Cells of a sampler of a variant within each budget of evaluations."""
        variant = VARIANTS[name]
        process = self.corruptions(variant)
        data, how = self.data, {"clean": "exact", "grid": "uniform", "start": "exact", "sampler": kind.__name__}
        how |= self.corruptions.protocol(variant, process)
        for sampler in (within(nfe, kind)(process) for nfe in budgets):
            place = "exact", f"{self.book.config.data}_gaussian", variant.method, label
            with self.book.cell(*place, sampler.nfe, how, n=0) as cell:
                if cell.todo:
                    law = law_after(sampler, clean_prediction(process, data), law_at(process, data, 1.0))
                    cell.exact("frechet", max(0.0, frechet(data, law)))
                    cell.exact("variance_ratio", (law.covariance[0].trace() / data.covariance[0].trace()).item())


def gaussian(book: Book) -> None:
    """The paper's samplers and corruptions on the Gaussian."""
    settings = book.config.gaussian
    with book.skipping(dataset=book.config.data):
        corruptions = Corruptions.of(book)
        exact = Exact(book, corruptions)
        for sampler, kind in SAMPLERS.items():
            exact.run("main", kind, f"blur; {sampler}", settings.nfes)
        for name in GAUSSIAN_VARIANTS:
            budgets = settings.masking_nfes if name == "masking" else settings.nfes
            exact.run(name, MomentumSampler, VARIANTS[name].label, budgets)
        exact.run("ve", MomentumSampler, "reverse diffusion", settings.nfes)
        exact.run("ve", FlowMomentumSampler, "probability flow", settings.nfes)


def solvers(book: Book) -> None:
    """Appendix B: a better solver of the flow on the Gaussian, with no more evaluations than the paper's."""
    with book.skipping(dataset=book.config.data):
        corruptions = Corruptions.of(book)
        Exact(book, corruptions).run("main", HeunFlowSampler, f"blur; {HEUN}", book.config.gaussian.nfes)


SECTIONS = {one.__name__: one for one in (schedules, gaussian, networks, rivals, masks, solvers, overhead, subsets)}
