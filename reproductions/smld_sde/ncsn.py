"""A trained NCSN: annealed Langevin dynamics (algorithm 1), and plain Langevin dynamics on its least noise."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book
from rescore.models.evaluate import TrainedModels
from rescore.models.judge import Drawn
from rescore.models.judged_cells import floor, judge_samples
from rescore.problems.score_norms import signal_to_noise
from rescore.processes import VE, grids
from rescore.random import Noise, Streams, make_generator
from rescore.samplers import AnnealedLangevin, annealed_langevin, langevin
from rescore.scores import Score
from torch import Tensor

PIXELS = 2  # sigma of pixels in [-1, 1] over that of pixels in [0, 1]; step sizes go with its square
Dynamics = Callable[[Score, Tensor, Noise], Tensor]


@dataclass(frozen=True)
class NoisedImages:
    """Images (m, C, H, W) with the noise of a time, and a network's score there."""

    process: VE
    images: Tensor
    score: Score

    def sample(self, n: int, t: float, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(self.images), (n,), generator=generator)
        return self.process.perturb(self.images[rows], t, generator, "R")[0]

    def __call__(self, u: Tensor, t: float) -> Tensor:
        return self.score(u, t)


def ncsn(book: Book) -> None:
    """Fig. 13b: FID and IS of both dynamics with the same evaluations, from pixels uniform in [-1, 1]; the levels' ratios."""
    models, settings = TrainedModels(book), book.config.ncsn
    (name,) = models.names
    process, levels = models.process(name), models.spec(name).objective.levels
    size, steps = settings.step_size * PIXELS**2, settings.steps_per_level * levels
    sampler = annealed_langevin(process, grids.uniform(process, levels - 1, 0.0), size, settings.steps_per_level)
    least = sampler.times[-1]
    runs: dict[str, tuple[str, Dynamics]] = {
        "NCSN": ("unconditional", sampler),
        "Langevin": ("least noise", lambda score, u, noise: langevin(partial(score, t=least), u, size / 2, steps, noise)),
    }

    def make(run: Dynamics, training: int, seed: int) -> Drawn:
        noise = Streams.named("ncsn", models.data, seed, n=settings.samples, device=book.run.device)
        u = 2 * noise.uniform((settings.samples, *models.train.shape)) - 1
        return Drawn(run(models.load(name, training).score, u, noise).cpu(), steps)

    protocol = {
        "score": "trained",
        "start": "uniform",
        "step_size": settings.step_size,
        "update": "x + (a / 2) s + sqrt(a) z",
        "denoise": sampler.denoise,
        "sigma": f"{process.sigma_max / PIXELS:g}..{process.sigma_min / PIXELS:g}",
    }
    protocol |= models.spec(name).protocol
    for method, (variant, run) in runs.items():
        of = (
            {"levels": levels, "steps_per_level": settings.steps_per_level}
            if method == "NCSN"
            else {"levels": 1, "steps": steps}
        )
        place = "fig13b", models.data, method, variant, steps, protocol | of
        with book.cell(*place, n=settings.samples, over=models.over, matched=models.matched(name)) as cell:
            if cell.todo:
                draws = {seed: partial(make, run, training, seed) for training, seed in models.repeats}
                judge_samples(cell, models.judge, draws, array=f"ncsn/{method}")
    how = {"levels": levels, "images": "training"} | models.spec(name).protocol
    with book.cell("sec1.5", models.data, "NCSN", "", None, how, n=settings.ratios, over=models.over) as cell:
        if cell.todo:
            cell.add("snr_ratio", [ratio(models, name, sampler, training, seed) for training, seed in models.repeats])
    if not book.listing:
        floor(book, models.judge, "fig13b", models.data, settings.samples)
        book.arrays["ncsn/real"] = to_unit(models.held_out.images[:8]).numpy()


def ratio(models: TrainedModels, name: str, sampler: AnnealedLangevin, training: int, seed: int) -> float:
    """The largest over the smallest of the levels' ratios |a s| / |2 sqrt(a) z|, of norms' means."""
    loaded, n = models.load(name, training), models.config.ncsn.ratios
    data = NoisedImages(loaded.process, to_unit(models.train.images), loaded.score)
    signal, noise = signal_to_noise(sampler, data, n, make_generator("ncsn", "ratio", seed)).mean(2)
    return ((signal / noise).max() / (signal / noise).min()).item()
