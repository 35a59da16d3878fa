"""Run a job: schedules and exact laws, which need no network, and networks with what they are worth."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from reproductions.soft_diffusion import trained
from reproductions.soft_diffusion.config import Config, Job
from reproductions.soft_diffusion.problems import (
    METHOD, SAMPLERS, STATISTICS, VARIANTS, Corruptions, GaussianData, blur_for, faces, shortest_schedule, unit_interval,
)  # fmt: skip
from rescore.corruptions import Corruption, pairwise_wasserstein
from rescore.data.images import load_images
from rescore.errors import MissingData
from rescore.experiments.run import Measurement, Notebook, Result, Run
from rescore.ledger.records import Over
from rescore.random import make_generator
from rescore.samplers import FlowMomentumSampler, MomentumSampler, uniform_times

GAUSSIAN_VARIANTS = ("mse", "joint", "sigma-0.05", "sigma-0.025", "masking")


@dataclass(kw_only=True)
class Book(Notebook):
    """A notebook; `protocol` is part of every record's."""

    protocol: Mapping[str, object]

    def record_each(self, key: tuple[str, str, str, str], nfe: int | None, values: Mapping[str, list[float]], n_samples: int,
                    protocol: Mapping[str, object], began: float, over: Over) -> None:  # fmt: skip
        """One measurement for each metric, from its value at each repeat."""
        seconds, protocol = time.perf_counter() - began, {**self.protocol, **protocol}
        for metric, found in values.items():
            self.record(*key, metric, nfe, found, n_samples, protocol, seconds, over=over)

    def exact_each(self, key: tuple[str, str, str, str], nfe: int | None, values: Mapping[str, float], n_samples: int,
                   protocol: Mapping[str, object], began: float) -> None:  # fmt: skip
        """The same of numbers without an error."""
        seconds, protocol = time.perf_counter() - began, {**self.protocol, **protocol}
        self.measurements += [Measurement.exact(*key, metric, nfe, value, protocol, seconds, n_samples)
                              for metric, value in values.items()]  # fmt: skip


def measure(job: Job, config: Config, run: Run) -> Result:
    """All that one job measures; if the images are missing, nothing, with the reason."""
    try:
        data = load_images(config.data, "train")
        held_out = load_images(config.data, "test") if job.train else None
    except MissingData as error:
        return Result([], [{"dataset": config.data, "reason": str(error)}])
    corruptions = Corruptions(config, unit_interval(data, STATISTICS), run.folder.parent / "schedules")
    book = Book(protocol={"sigma_min": config.sigma_min, "pixels": "0 to 1"})
    for section in job.measure:
        {"schedules": schedules, "gaussian": gaussian}[section](book, corruptions)
    if job.train:
        trained.measure(book, corruptions, job.train, data, held_out, run)
    return book.result


def schedules(book: Book, corruptions: Corruptions) -> None:
    """Fig. 6: the noise, the blur found for two data sets and by the MSE rule; and how far apart its steps are."""
    config, images = corruptions.config, corruptions.images
    side = images.shape[-1]
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    book.arrays["schedule/t"] = t.numpy()
    book.arrays["schedule/sigma"] = corruptions(VARIANTS["main"]).sigma(t).numpy()
    settings = {"candidates": config.schedule.candidates, "nodes": config.schedule.nodes, "distance": "W2 exact",
                "images": config.schedule.images}  # fmt: skip
    for name, x in {config.data: images, "faces": faces()}.items():
        began, n = time.perf_counter(), x.shape[-1]
        family = blur_for(config, n, side)
        schedule, path, distances = shortest_schedule(config, family, x, name, corruptions.folder)
        hops = [distances[a, b] for a, b in zip(path.nodes, path.nodes[1:], strict=False)]
        values = {"path_nodes": float(len(path.nodes)), "epsilon": path.epsilon, "path_length": float(sum(hops)),
                  "largest_hop": float(max(hops)), "direct_distance": float(distances[0, -1])}  # fmt: skip
        book.exact_each(("fig6", name, METHOD, "blur; Wasserstein schedule"), None, values, len(x), settings, began)
        book.arrays[f"schedule/{name}"] = schedule(t).numpy() / n
    began = time.perf_counter()
    mse = corruptions(VARIANTS["mse"])
    nodes = torch.linspace(config.until, 1, config.schedule.nodes, dtype=torch.float64)
    x = images[: config.schedule.images]
    noise = torch.randn(x.shape, generator=make_generator("schedule", 0), dtype=torch.float64)
    hops = np.diag(pairwise_wasserstein([mse.C(s)(x) + config.sigma_max * noise for s in nodes]), 1)
    values = {"path_length": float(hops.sum()), "largest_hop": float(hops.max())}
    book.exact_each(("fig6", config.data, METHOD, "blur; MSE-matched blur schedule"), None, values, len(x), settings, began)
    book.arrays["schedule/mse"] = mse.level(t).numpy() / side


def gaussian(book: Book, corruptions: Corruptions) -> None:
    """The samplers on the Gaussian with the images' mean and covariance, exactly: no network, no samples."""
    config = corruptions.config
    data = GaussianData.of(corruptions.images)
    main = corruptions(VARIANTS["main"])

    def run(process: Corruption, kind: type, method: str, variant: str, budgets: Iterable[int]) -> None:
        for nfe in budgets:
            began = time.perf_counter()
            law = data.law_after(kind(process, uniform_times(nfe)))
            values = {"frechet": data.frechet(*law), "variance_ratio": (law[1].trace() / data.covariance.trace()).item()}
            protocol = {"clean": "exact", "grid": "uniform", "start": "exact", "sampler": kind.__name__}
            book.exact_each(("exact", f"{config.data}_gaussian", method, variant), nfe, values, 0, protocol, began)
            book.function_evaluations += nfe

    for name, kind in SAMPLERS.items():
        run(main, kind, METHOD, f"blur; {name}", config.gaussian_nfes)
    for name in GAUSSIAN_VARIANTS:
        budgets = config.masking_nfes if name == "masking" else config.gaussian_nfes
        run(corruptions(VARIANTS[name]), MomentumSampler, METHOD, VARIANTS[name].label, budgets)
    run(corruptions.ve(), MomentumSampler, "VE SDE", "reverse diffusion", config.gaussian_nfes)
    run(corruptions.ve(), FlowMomentumSampler, "VE SDE", "probability flow", config.gaussian_nfes)
