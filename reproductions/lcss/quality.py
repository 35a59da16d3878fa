"""Table 3 and fig. 7 on trained models: quality against iterations, other gammas."""

from collections.abc import Callable
from functools import partial

from rescore.data.pixels import to_unit
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.ledger.records import Over
from rescore.metrics.pixels import roughness, variance
from rescore.metrics.points import rmse
from rescore.models.bits import image_bits
from rescore.models.build import LoadedModel, make_model, make_process
from rescore.models.evaluate import TrainedModels
from rescore.models.judge import Drawn, draw
from rescore.models.judged_cells import METRICS, SHOWN, floor, judge_samples
from rescore.processes.grids import uniform
from rescore.random import make_generator
from rescore.samplers import PredictorCorrector, Sampler, score_sde_sampler
from rescore.scores import Score
from rescore.specs.model import ModelSpec
from rescore.training import weight_distance
from torch import Tensor

from reproductions.lcss.config import OBJECTIVES

LIKELIHOOD_T0 = 1e-5  # Score-SDE's
TWINS = 100  # samples, at most
AFTER = Axes("{model}, {iterations} iterations")
WITH_GAMMA = Axes("{model}, gamma={gamma:g}")
TIMES_SCORE = Axes("{model}, {gamma:g} x score")

Load = Callable[[int], LoadedModel]
"""From a training seed to the model."""


def quality(book: Book) -> None:
    """Table 3, and the same after fewer iterations; real images in place of samples."""
    pair, model = Pair(book), book.job.variant
    for name in pair.names:
        pair.judged("3", pair.spec(name), partial(pair.load, name), model)
    pair.twins()
    for steps in book.config.quality.steps:
        for name in pair.names:
            short = pair.spec(name).model_copy(update={"steps": steps})
            pair.judged("iterations", short, partial(pair.load_trained, short), AFTER(model=model, iterations=steps))
    floor(book, pair.judge, "3", pair.data, pair.samples, prefix=f"{model}, ")
    book.arrays["samples/real"] = to_unit(pair.held_out.images[:SHOWN]).numpy()


def variants(book: Book) -> None:
    """Fig. 7's gammas: of a training with gamma, and of gamma times the score of one with 1, what the first tends to."""
    pair, settings = Pair(book), book.config.variants
    name, model = pair.names[1], book.job.variant
    spec = pair.spec(name)
    for gamma in settings.gammas:
        objective = spec.objective.model_copy(update={"gamma": gamma})
        short = spec.model_copy(update={"steps": settings.steps, "objective": objective})
        pair.ablated(short, partial(pair.load_trained, short), 1.0, WITH_GAMMA(model=model, gamma=gamma))
        pair.ablated(spec, partial(pair.load, name), gamma, TIMES_SCORE(model=model, gamma=gamma))


class Pair(TrainedModels):
    """DSM's and LCSS's model of one job, trained alike, and shorter trainings of them."""

    def __init__(self, book: Book):
        super().__init__(book, book.config.seeds)
        self.variant, self.samples = book.job.variant, self.config.evaluation.samples

    def sampler(self, spec: ModelSpec, corrected: bool = True) -> Sampler:
        """Score-SDE's, of as many updates as `steps` says, the last at eps."""
        settings, process = self.config.sampling, make_process(spec.process, self.train.shape)
        return score_sde_sampler(process, uniform(process, settings.steps - 1), settings.snr, int(corrected))

    def protocol(self, spec: ModelSpec, **how: object) -> dict[str, object]:
        return spec.protocol | {"train_seeds": " ".join(map(str, self.config.training_seeds))} | how

    def sampled(self, spec: ModelSpec, sampler: Sampler, **how: object) -> dict[str, object]:
        """The protocol of samples."""
        name = "reverse diffusion" if isinstance(sampler, PredictorCorrector) else "Euler-Maruyama"
        if getattr(sampler, "corrector_steps", 0):
            name += f" and Langevin, snr {sampler.snr:g}"
        return self.protocol(
            spec, process=spec.process.name, nfe=sampler.nfe, t0=sampler.times[-1], sampler=name, denoise=sampler.denoise, **how
        )

    def draws(self, sampler: Sampler, load: Load, factor: float = 1.0) -> dict[int, Callable[[], Drawn]]:
        """By sampling seed, the samples of its model's score times `factor`; all models start from the same noise."""

        def make(training: int, seed: int) -> Drawn:
            score = load(training).score
            return self.draw(sampler, lambda u, t: factor * score(u, t), self.samples, "samples", seed)

        return {seed: partial(make, training, seed) for training, seed in self.repeats}

    def draw(self, sampler: Sampler, score: Score, n: int, *names: object) -> Drawn:
        return draw(sampler, score, self.train.shape, n, make_generator("lcss", *names, device=self.run.device))

    def cell(self, table: str, method: str, variant: str, protocol: dict, n: int, over: Over | None = None) -> Cell:
        return self.book.cell(table, self.data, method, variant, None, protocol, n=n, over=over or self.over)

    def judged(self, table: str, spec: ModelSpec, load: Load, variant: str) -> None:
        """FID, inception score and bits per dimension of one model."""
        method, sampler = OBJECTIVES[spec.objective.name], self.sampler(spec)
        with self.cell(table, method, variant, self.sampled(spec, sampler), self.samples) as cell:
            if cell.todo:
                judge_samples(cell, self.judge, self.draws(sampler, load), METRICS, array=f"samples/{variant}/{method}")
        settings, held_out = self.config.evaluation, self.held_out
        images = held_out.images[: settings.likelihood_images]
        protocol = self.protocol(
            spec,
            process=spec.process.name,
            t0=LIKELIHOOD_T0,
            solver="dopri5",
            rtol=settings.tolerance,
            trace="rademacher",
            dequantisation="uniform",
            grey_levels=held_out.grey_levels,
        )
        with self.cell(table, method, variant, protocol, len(images)) as cell:
            if cell.todo:
                cell.add("bpd", [self.bits(load(training), images, seed) for training, seed in self.repeats])

    def bits(self, model: LoadedModel, images: Tensor, seed: int) -> float:
        """Bits per dimension, the images dequantised anew for each sampling seed."""
        batch, levels = len(images) if self.run.device == "cpu" else None, self.held_out.grey_levels
        noise, tolerance = partial(self._streams, ("lcss", "bits", seed)), self.config.evaluation.tolerance
        return image_bits(model, images, levels, noise, tolerance, batch=batch, t0=LIKELIHOOD_T0).flow.mean().item()

    def twins(self) -> None:
        """How far apart the two trainings of one seed end: in weights, and in samples from the same noise."""
        spec, n, distances, errors = self.spec(self.names[0]), min(TWINS, self.samples), [], []
        protocol = self.protocol(spec, objective="dsm and lcss")
        with self.cell("twins", "LCSS against DSM", self.variant, protocol, 1, "trainings") as cell:
            if not cell.todo:
                return
            sampler = self.sampler(spec)
            for seed in self.config.training_seeds:
                start = make_model(spec.model_copy(update={"seed": seed}), sampler.process, self.train.shape)
                ends = [self.load(name, seed) for name in self.names]
                distances.append(weight_distance(*(end.network for end in ends), start))
                errors.append(rmse(*(self.draw(sampler, end.score, n, "twins", seed).x for end in ends)))
            cell.add("weight_distance", distances)
            cell.add("sample_rmse", errors, n=n)

    def ablated(self, spec: ModelSpec, load: Load, factor: float, variant: str) -> None:
        """Samples of `factor` times the score, by the predictor alone, whose answer has a closed form on Gaussian data.

        `variance_ratio` is the variance of the samples over that of the data, `roughness_ratio` that of the differences of
        neighbouring pixels.
        """
        sampler = self.sampler(spec, corrected=False)
        protocol = self.sampled(spec, sampler, gamma=spec.objective.gamma, score_times=factor)
        with self.cell("fig7", OBJECTIVES["lcss"], variant, protocol, self.samples) as cell:
            if cell.todo:
                real = to_unit(self.train.images)
                ratios = {f"{of.__name__}_ratio": lambda x, of=of: of(x) / of(real) for of in (variance, roughness)}
                judge_samples(cell, self.judge, self.draws(sampler, load, factor), ("fid",), ratios, f"samples/{variant}")
