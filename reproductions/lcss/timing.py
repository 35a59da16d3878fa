"""Table 2: the cost of one iteration of each objective, taken turn by turn."""

from collections.abc import Callable
from functools import cache

import torch
from rescore.cost.timing import Step, clock, interleaved, training_step
from rescore.experiments.book import Book
from rescore.networks import make_network
from rescore.objectives.pointwise import gradient_of
from rescore.random import make_generator, small_seed
from torch import Tensor

from reproductions.lcss.checkerboard import BOARD, METHODS, NOISED, density_mlp, objective
from reproductions.lcss.config import Config

SIGMAS = (0.01, 50.0)  # of NCSNv2's levels; they do not matter to the time


def timing(book: Book) -> None:
    """Ratios to an iteration of LCSS in the same round, the median over rounds."""
    config, device = book.config.timing, book.run.device
    common = {"rounds": config.rounds, "clock": clock(device), "hardware": device}
    networks = {
        ("checkerboard", "MLP"): (checkerboard_step, {"train_batch": config.batch}),
        ("random images", "NCSNv2"): (image_step, {"train_batch": config.images, "width": config.width, "side": config.side}),
    }
    for (dataset, network), (make, about) in networks.items():

        @cache
        def seconds(make: Callable[..., Step] = make) -> dict:
            return interleaved({method: make(method, book.config, device) for method in METHODS}, config.rounds, device)

        for method in METHODS:
            with book.cell("2", dataset, method, network, None, common | about) as cell:
                if cell.todo:
                    cell.arrays[f"seconds/{network}/{method}"] = own = seconds()[method]
                    if method == "LCSS":
                        cell.exact("train_time_ratio", 1.0)
                    else:
                        cell.median("train_time_ratio", own / seconds()["LCSS"])


def checkerboard_step(method: str, config: Config, device: str) -> Step:
    """An iteration of the published MLP: draw, loss, gradient, Adam."""
    board, batch = config.checkerboard, config.timing.batch
    network, draws = density_mlp(board.width, 0).to(device), make_generator("lcss", "timing", device=device)
    loss, score = objective(method, board.sigma, board.eps), gradient_of(lambda y: network(y)[:, 0])
    return training_step(network, lambda: loss(score, BOARD.sample_float32(batch, draws), draws))


def image_step(method: str, config: Config, device: str) -> Step:
    """An iteration of NCSNv2 on random images; all objectives see them with noise, lambda = sigma^2."""
    timing = config.timing
    shape = (timing.images, 3, timing.side, timing.side)
    network = make_network("ncsnv2", {"width": timing.width}, 3, timing.side, small_seed("lcss")).to(device)
    draws = make_generator("lcss", "timing", device=device)
    x0 = torch.rand(shape, generator=draws, device=device)

    def losses() -> Tensor:
        low, high = (torch.tensor(sigma, device=device).log() for sigma in SIGMAS)
        sigma = (low + (high - low) * torch.rand(timing.images, generator=draws, device=device)).exp()
        wide = sigma.reshape(-1, 1, 1, 1)
        x = x0 if method in NOISED else x0 + wide * torch.randn(shape, generator=draws, device=device)
        return sigma**2 * objective(method, wide)(lambda y: network(y, sigma), x, draws)

    return training_step(network, losses)
