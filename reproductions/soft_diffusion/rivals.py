"""Networks beside those of networks.py, trained as they are: other parametrisations, noise alone, another loss for masks.

Their records stand beside those of the section `networks`; of `main` there are only those that it has not.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
import torch
from rescore.cost.timing import Step, clock, interleaved, training_step
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.networks import make_network
from rescore.random import make_generator, small_seed
from rescore.samplers import FlowMomentumSampler, HeunFlowSampler, MomentumSampler, Sampler, uniform_times, within_budget

from reproductions.soft_diffusion.config import VariantName
from reproductions.soft_diffusion.networks import Studio, held_out_losses, sample
from reproductions.soft_diffusion.problems import HEUN, VARIANTS

TIMED: tuple[VariantName, ...] = ("ve", "main", "clean", "masking", "masking-clean")
PROJECTED: dict[VariantName, VariantName] = {"main": "clean", "masking": "masking-clean"}
"""With Soft Score Matching, and without C_t in the loss: what the projection takes."""

MASKED: tuple[VariantName, ...] = ("masking", "masking-clean")
AFTER = Axes("{label}; after {steps} steps of training")


def rivals(book: Book) -> None:
    """Train the job's variants, one network a seed each, and measure losses and samples."""
    with book.skipping(dataset=book.config.data):
        studio = Studio(book)
        for name in book.job.train:
            if name != "main":
                held_out_losses(studio, name)
            for label, kind, cutoff in runs(name, book.config.rivals.cutoffs):
                for nfe in book.config.rivals.nfes[name]:
                    sample(studio, name, label, within(nfe, kind)(studio.processes[name]), cutoff)


def masks(book: Book) -> None:
    """Appendix E after several lengths of one training: masks by both losses, in few steps of the sampler and in more."""
    config, settings = book.config, book.config.masks
    training = config.networks.training.model_copy(update={"steps": max(settings.lengths)})
    with book.skipping(dataset=config.data):
        studio = Studio(book, MASKED, training)
        after = studio.on_the_way(math.gcd(*settings.lengths))
        for length, name, nfe in itertools.product(settings.lengths, MASKED, settings.nfes):
            label = AFTER(label=VARIANTS[name].label, steps=length)
            sample(after[length], name, label, MomentumSampler(studio.processes[name], uniform_times(nfe)), table="E")


def runs(name: VariantName, cutoffs: tuple[float, ...]) -> Iterator[tuple[str, type, float | None]]:
    """The samplers of a variant, by the names of their records, and the cut-off that a network of scores needs."""
    label = VARIANTS[name].label
    if name == "main":
        yield f"{label}; {HEUN}", HeunFlowSampler, None
    elif name == "ve":  # C_t = I: nothing is cut off
        yield "reverse diffusion", MomentumSampler, 1.0
        yield "probability flow", FlowMomentumSampler, 1.0
    elif VARIANTS[name].predicts == "score":
        yield from ((f"{label}; cutoff={cutoff:g}", MomentumSampler, cutoff) for cutoff in cutoffs)
    else:
        yield label, MomentumSampler, None


def within(nfe: int, kind: type) -> Callable[..., Sampler]:
    """A sampler of a process with the most equal steps that take no more than so many evaluations."""
    return lambda process: within_budget(kind, process, lambda _, steps: uniform_times(steps), nfe)


def overhead(book: Book) -> None:
    """Appendix D: an iteration of training over one with noise alone in the same round, the median over rounds."""
    config, settings, device = book.config, book.config.overhead, book.run.device
    networks = {config.networks.training.network: config.networks.training.settings, **settings.networks}
    with book.skipping(dataset=config.data):
        studio = Studio(book, TIMED)
        seconds = cache(lambda network: interleaved(steps(studio, network, networks[network]), settings.rounds, device))
        for network, name in itertools.product(networks, TIMED):
            variant = VARIANTS[name]
            about = {"train_batch": settings.batch, "rounds": settings.rounds, "clock": clock(device), **networks[network]}
            with book.cell("D", config.data, variant.method, f"{variant.label}; {network}", None, about) as cell:
                if cell.todo:
                    rivals = {"train_time_ratio": "ve"} | (
                        {"projection_time_ratio": PROJECTED[name]} if name in PROJECTED else {}
                    )
                    for metric, rival in rivals.items():
                        if name == rival:
                            cell.exact(metric, 1.0)
                            continue
                        ratios = seconds(network)[name] / seconds(network)[rival]
                        cell.median(metric, ratios)
                        cell.estimate(f"iqr_{metric}", np.subtract(*np.quantile(ratios, [0.75, 0.25])), None, settings.rounds)


def steps(studio: Studio, network: str, options: Mapping[str, object]) -> dict[str, Step]:
    """An iteration of training of each variant that is timed, with networks of the same weights and noise of the same seed."""
    rows, device = torch.arange(studio.config.overhead.batch) % len(studio.data), studio.run.device

    def step(name: VariantName) -> Step:
        made = make_network(network, options, *studio.data.shape[:2], small_seed("soft", "overhead"))
        losses, generator = studio.losses([(name, 0)]), make_generator("overhead", device=device)
        made = made.to(device).train()
        return training_step(made, lambda: losses(made, rows, generator))

    return {name: step(name) for name in TIMED}
