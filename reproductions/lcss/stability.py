"""Losses of four objectives over all times, on the digits: how fast they learn, and how often the loss jumps."""

from pathlib import Path

import numpy as np
import torch
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book, Cell
from rescore.networks import NoisePrediction, make_network
from rescore.networks.ensemble import Ensemble
from rescore.networks.mlp import MLP
from rescore.objectives import DSM, LCSS, TraceMatching, UniformTimes
from rescore.objectives.matching import Objective
from rescore.processes import VE
from rescore.random import make_generator, small_seed
from rescore.training import Adam
from rescore.training.ensemble import Tracked, spikes, train_ensemble
from torch import Tensor

from reproductions.lcss.config import Stability

TIMES = UniformTimes()
OBJECTIVES = {
    "SSM": TraceMatching("ssm_vr", "sigma^2", TIMES),
    "FD-SSM": TraceMatching("fd_ssm", "sigma^2", TIMES, probe="sphere"),
    "DSM": DSM("sigma^2", TIMES),
    "LCSS": LCSS("sigma^2", TIMES),
}
PAIRS = 8  # of time and noise for each held-out image
EARLY = 0.2  # share of the iterations after which "faster convergence" is asked


def stability(book: Book) -> None:
    """Section 4.2.3's convergence and stability."""
    settings = book.config.stability
    protocol = settings.protocol | {
        "network": "mlp",
        "width": settings.width,
        "blocks": settings.blocks,
        "error_every": settings.every,
        "process": "VE",
        "weighting": "sigma^2",
        "sigma_max": settings.sigma_max,
    }
    for method in OBJECTIVES:
        with book.cell("stability", "digits", method, "MLP (VE)", None, protocol, over="trainings") as cell:
            if cell.todo:
                tracked = train(method, OBJECTIVES[method], settings, book.run.folder / f"stability-{method}")
                losses, errors = tracked.losses.numpy(), tracked.errors.numpy()
                add_errors(cell, errors)
                cell.add("late_rise", errors[-1] / errors.min(0))
                if (jumps := spikes(losses)) is not None:
                    cell.add("spikes", jumps)
                cell.arrays |= {f"losses/{method}": losses, f"errors/{method}": errors}


def add_errors(cell: Cell, errors: np.ndarray) -> None:
    """Of (times, members): the last one taken up to a fifth of the training, and the one at its end."""
    cell.add("early_error", errors[int(EARLY * (len(errors) - 1))])
    cell.add("final_error", errors[-1])


def score_mlp(width: int, blocks: int, seed: int) -> MLP:
    """A small noise prediction for the digits, called with times."""
    settings = {"width": width, "blocks": blocks}
    return make_network("mlp", settings, 1, 8, small_seed("lcss", "score", seed))


def train(name: str, objective: Objective, settings: Stability, folder: Path, draws_each: int = 1) -> Tracked:
    """An ensemble trained with one objective; its errors are DSM's loss, per pixel, on held-out images with fixed noise.

    Args:
        draws_each: rows on end that are the same image; `RepeatedTimes` gives them the same time.
    """
    process = VE(sigma_max=settings.sigma_max)
    members = [score_mlp(settings.width, settings.blocks, seed) for seed in range(settings.members)]
    network = NoisePrediction(Ensemble(members), process)
    data, held_out = (to_unit(load_images("digits", split).images) for split in ("train", "test"))
    n = settings.members * settings.batch

    def step(draws: torch.Generator) -> Tensor:
        rows = torch.randint(len(data), (n,), generator=draws)
        return objective(network, process, data[rows.repeat_interleave(draws_each)], draws)

    @torch.no_grad()
    def error() -> Tensor:
        x = held_out.repeat(PAIRS, 1, 1, 1)
        draws = make_generator("lcss", "stability", "error")
        t, _ = TIMES.draw(process, len(x), draws)
        u, noise = process.perturb(x, t, draws, "R")
        found = network(u.repeat(settings.members, 1, 1, 1), t.to(u).repeat(settings.members))
        return (found.unflatten(0, (settings.members, -1)) - noise).square().mean((1, 2, 3, 4)).double()

    tracked = Tracked(network.network, settings.steps, settings.every)
    draws = make_generator("lcss", "stability")
    return train_ensemble(tracked, step, error, Adam.of(settings), draws, folder, f"{name} on digits")
