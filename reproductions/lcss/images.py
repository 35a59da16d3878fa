"""Figs. 2 to 6: what NCSNv2 draws early and late in its training, by each objective, on MNIST."""

from functools import partial

from rescore.data.pixels import to_unit
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.metrics.pixels import variance
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.models.judged_cells import judge_samples
from rescore.processes import LinearSDE
from rescore.processes.grids import uniform
from rescore.samplers import AnnealedLangevin, annealed_langevin

from reproductions.lcss.config import OBJECTIVES, Images

TABLE = "figs. 2-6"
WHEN = Axes("{model}, {when}")


def images(book: Book) -> None:
    """FID of samples after `early` steps of a training and at its end; their variance over that of the data, 0 if all black."""
    models, settings = TrainedModels(book), book.config.images
    real = variance(to_unit(models.train.images))
    for name in models.names:
        spec = models.spec(name)
        method, sampler = OBJECTIVES[spec.objective.name], annealed(models.process(name), spec.objective.levels, settings)
        protocol = spec.protocol | {
            "sampler": "annealed Langevin",
            "steps_per_level": settings.steps_per_level,
            "relative_step": settings.relative_step,
            "sigma": f"{sampler.process.sigma_max:g}..{sampler.process.sigma_min:g}",
            "denoise": sampler.denoise,
        }
        for when, step in {"early": settings.early, "late": None}.items():
            one = Sampling(TABLE, method, WHEN(model=book.job.variant, when=when), name, sampler)
            how = protocol | {"train_steps": step or spec.steps}
            place = one.table, models.data, method, one.variant, sampler.nfe, how
            with book.cell(*place, n=book.config.evaluation.samples, over=models.over) as cell:
                if cell.todo:
                    draws = {seed: partial(models.draw, one, training, seed, step) for training, seed in models.repeats}
                    also = {"variance_ratio": lambda x: variance(x) / real}
                    judge_samples(cell, models.judge, draws, ("fid",), also, one.array(models.data))
    models.floor(TABLE, ("fid",))


def annealed(process: LinearSDE, levels: int, settings: Images) -> AnnealedLangevin:
    """Over the levels of the training: u <- u + r Sigma_i s + sqrt(2 r Sigma_i) z, and the mean of the image at the end."""
    times = uniform(process, levels - 1, 0.0)
    size = 2 * settings.relative_step * process.Sigma(0.0).values.item()
    return annealed_langevin(process, times, size, settings.steps_per_level, denoise="tweedie")
