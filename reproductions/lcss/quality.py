"""Table 3 and fig. 7 on trained models: quality against iterations, other gammas."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from reproductions.lcss.config import Config, Job
from reproductions.lcss.rows import Row
from rescore.data.images import load_images
from rescore.data.pixels import dequantise, to_unit
from rescore.errors import Diverged
from rescore.experiments.run import Run
from rescore.likelihood import bits_per_dim, flow_log_prob
from rescore.metrics.features import ClassifierSettings
from rescore.models.build import LoadedModel, load_model, make_model, make_process, train_model
from rescore.models.evaluate import repeats
from rescore.models.judge import Judge, draw, make_judge
from rescore.models.spec import ModelSpec
from rescore.processes import VE, grids
from rescore.processes.base import LinearSDE
from rescore.random import make_generator
from rescore.samplers import PredictorCorrector, Sampler, euler_maruyama
from rescore.scores import Score
from rescore.training import save_weights

METRICS = ("fid", "is")
NAMES = {"dsm": "DSM", "lcss": "LCSS"}
LIKELIHOOD_T0 = 1e-5  # Score-SDE's
SHOWN = 8  # samples kept for the figures

Find = Callable[[ModelSpec], Path]
"""From a spec with its seed to the weights."""


class Studio:
    """The models of one job, and what they are judged by; `skipped` receives the cells that diverge.

    A value of a record is of one training with one set of samples; where the config has a single training, of one set of
    samples of it (`over`).
    """

    def __init__(self, job: Job, config: Config, run: Run, arrays: dict[str, np.ndarray], skipped: list[Mapping[str, object]]):
        self.job, self.config, self.run, self.arrays, self.skipped = job, config, run, arrays, skipped
        self.specs = [config.models[name] for name in job.models]
        self.over, self.repeats = repeats(config.training_seeds, config.seeds)
        first = self.specs[0]
        self.train, self.test = (load_images(first.data, split) for split in ("train", "test"))
        settings = ClassifierSettings(config.quality.classifier_steps)
        self.judge: Judge = make_judge(
            config.quality.features, self.train, self.test, settings, run.folder.parent / "judges", run.device
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.train.shape

    def node(self, name: str) -> Find:
        """Where the weights of one of the config's models are."""
        return lambda spec: self.run.models[f"{name}/{spec.seed}"]

    def weights(self, spec: ModelSpec) -> Path:
        """Those of a model that is trained here, for this job alone."""
        folder = self.run.folder / spec.key
        path = folder / "weights.safetensors"
        if not path.is_file():
            save_weights(path, train_model(spec, folder, self.run.device, f"{spec.objective.name} {spec.steps}").network)
        return path

    def sampler(self, process: LinearSDE, corrected: bool = True) -> Sampler:
        """Score-SDE's: reverse diffusion, for VE with a Langevin step at each level; Euler-Maruyama for the others."""
        steps = self.config.quality.steps
        times = grids.uniform(process, steps)
        if not isinstance(process, VE):
            return euler_maruyama(process, times, denoise="mean")
        correctors = int(corrected)
        return PredictorCorrector(process, times, snr=self.config.quality.snr, corrector_steps=correctors, denoise="mean")

    def load(self, spec: ModelSpec, find: Find) -> list[LoadedModel]:
        """The model of each repeat."""
        trained = {seed: spec.model_copy(update={"seed": seed}) for seed, _ in self.repeats}
        loaded = {seed: load_model(one, find(one), self.shape, self.run.device) for seed, one in trained.items()}
        return [loaded[seed] for seed, _ in self.repeats]

    def samples(self, sampler: Sampler, scores: Sequence[Score]) -> list[Tensor]:
        """One set a repeat, of its model; every model with samples of one seed starts from the same noise."""
        def one(seed: int, score: Score) -> Tensor:
            generator = make_generator("lcss", "samples", seed, device=self.run.device)
            return draw(sampler, score, self.shape, self.config.quality.samples, generator)

        return [one(seed, score) for (_, seed), score in zip(self.repeats, scores, strict=True)]

    def bits(self, models: Sequence[LoadedModel]) -> list[float]:
        """Bits per dimension of test images, of each repeat's model, dequantised anew for each."""
        settings, found = self.config.quality, []
        images = self.test.images[: settings.test_images]
        for (_, seed), model in zip(self.repeats, models, strict=True):
            generator = make_generator("lcss", "bits", seed, device=self.run.device)
            parts = []
            for batch in images.split(1000):
                x, per_unit = dequantise(batch.to(self.run.device), generator, self.test.grey_levels)
                likelihood = flow_log_prob(model.network.score(), model.process, x, generator, t0=LIKELIHOOD_T0,
                                           rtol=settings.tolerance, atol=settings.tolerance)  # fmt: skip
                parts.append(bits_per_dim(likelihood.log_prob, x[0].numel(), per_unit))
            found.append(torch.cat(parts).mean().item())
        return found

    def protocol(self, spec: ModelSpec, sampler: Sampler) -> dict[str, object]:
        kind = "reverse diffusion" if isinstance(sampler, PredictorCorrector) else "Euler-Maruyama"
        corrected = isinstance(sampler, PredictorCorrector) and sampler.corrector_steps
        return spec.protocol | {
            "process": spec.process.name, "train_seeds": self.seeds, "nfe": sampler.nfe, "t0": sampler.times[-1],
            "sampler": f"{kind} and Langevin, snr {self.config.quality.snr:g}" if corrected else kind, "denoise": "mean",
        }  # fmt: skip

    @property
    def seeds(self) -> str:
        """Those of the trainings, as a protocol lists them."""
        return " ".join(map(str, dict.fromkeys(seed for seed, _ in self.repeats)))

    def rows(self, table: str, spec: ModelSpec, find: Find, variant: str) -> Iterator[Row]:
        """FID, inception score and bits per dimension of one model."""
        models = self.load(spec, find)
        sampler, n = self.sampler(models[0].process), self.config.quality.samples
        name, method, protocol = spec.data, NAMES[spec.objective.name], self.protocol(spec, sampler)
        with self.skipping(table, name, method, variant):
            drawn = self.samples(sampler, [model.score for model in models])
            self.arrays[f"samples/{variant}/{method}"] = drawn[0][:SHOWN].numpy()
            judged = [self.judge(x, METRICS) for x in drawn]
            for metric in METRICS:
                values = [one[metric] for one in judged]
                yield Row(table, name, method, variant, metric, values, n, protocol | self.judge.protocol(metric, drawn[0]),
                          over=self.over)  # fmt: skip
        n = min(self.config.quality.test_images, len(self.test))
        how = protocol | {"t0": LIKELIHOOD_T0, "solver": "dopri5", "rtol": self.config.quality.tolerance,
                          "trace": "rademacher", "dequantisation": "uniform", "grey_levels": self.test.grey_levels}  # fmt: skip
        how = {key: value for key, value in how.items() if key not in ("sampler", "nfe", "denoise")}
        with self.skipping(table, name, method, variant):
            yield Row(table, name, method, variant, "bpd", self.bits(models), n, how, over=self.over)

    @contextmanager
    def skipping(self, table: str, dataset: str, method: str, variant: str) -> Iterator[None]:
        """Where the body diverges, its cell is skipped with the reason."""
        try:
            yield
        except Diverged as error:
            self.skipped.append(error.cell(table=table, dataset=dataset, method=method, variant=variant))


def quality(studio: Studio) -> Iterator[Row]:
    """Table 3, and the same after fewer iterations; real images in the place of samples."""
    job, settings = studio.job, studio.config.quality
    pairs = dict(zip(job.models, studio.specs, strict=True))
    for name, spec in pairs.items():
        yield from studio.rows("3", spec, studio.node(name), job.variant)
    with studio.skipping("twins", studio.train.name, "LCSS against DSM", job.variant):
        yield from _twins(pairs, studio)
    for steps in settings.iterations:
        shorter = [spec.model_copy(update={"steps": steps}) for spec in pairs.values()]
        for spec in shorter:
            yield from studio.rows("iterations", spec, studio.weights, f"{job.variant}, {steps} iterations")
    for real in studio.judge.of_real(METRICS, settings.samples):
        yield Row("3", studio.train.name, "real images", f"{job.variant}, {real.variant}", real.metric, [real.value], real.n,
                  real.protocol, over="runs")  # fmt: skip
    studio.arrays["samples/real"] = to_unit(studio.test.images[:SHOWN]).numpy()


def _twins(pair: dict[str, ModelSpec], studio: Studio) -> Iterator[Row]:
    """How far apart the two trainings of one seed end: in weights, and in samples from the same noise."""
    values: dict[str, list[float]] = {"weight_distance": [], "sample_rmse": []}
    n = min(100, studio.config.quality.samples)
    for seed in studio.config.training_seeds:
        drawn, ends = [], []
        for name, spec in pair.items():
            its = spec.model_copy(update={"seed": seed})
            model = load_model(its, studio.node(name)(its), studio.shape, studio.run.device)
            generator = make_generator("lcss", "twins", seed, device=studio.run.device)
            drawn.append(draw(studio.sampler(model.process), model.score, studio.shape, n, generator))
            ends.append(parameters_to_vector(model.network.parameters()).cpu())
        start = parameters_to_vector(make_model(its, model.process, studio.shape).parameters()).detach()
        values["weight_distance"].append(((ends[1] - ends[0]).norm() / (ends[0] - start).norm()).item())
        values["sample_rmse"].append((drawn[1] - drawn[0]).square().mean().sqrt().item())
    dsm = next(iter(pair.values()))
    protocol = dsm.protocol | {"train_seeds": studio.seeds, "objective": "dsm and lcss"}
    for (metric, found), points in zip(values.items(), (1, n), strict=True):
        yield Row("twins", dsm.data, "LCSS against DSM", studio.job.variant, metric, found, points, protocol, over="trainings")


def variants(studio: Studio) -> Iterator[Row]:
    """Fig. 7's gammas."""
    job, settings, spec = studio.job, studio.config.quality, studio.specs[1]
    for gamma in settings.gammas:
        objective = spec.objective.model_copy(update={"gamma": gamma})
        short = spec.model_copy(update={"steps": settings.variant_iterations, "objective": objective})
        yield from _ablated(studio, short, studio.weights, 1.0, f"{job.variant}, gamma={gamma:g}")
        yield from _ablated(studio, spec, studio.node(job.models[1]), gamma, f"{job.variant}, {gamma:g} x score")


def _ablated(studio: Studio, spec: ModelSpec, find: Find, factor: float, variant: str) -> Iterator[Row]:
    """Fig. 7: samples by the predictor alone, whose answer to gamma has a closed form on Gaussian data.

    Of a network trained with gamma, and of one trained with gamma = 1 whose score is multiplied by `factor` = gamma, which is
    what the first tends to. `variance_ratio` is the variance of the samples over that of the data, `roughness_ratio` that of
    the differences of neighbouring pixels.
    """
    models = studio.load(spec, find)
    sampler = studio.sampler(models[0].process, corrected=False)
    scores = [lambda u, t, score=model.score: factor * score(u, t) for model in models]
    real, drawn = to_unit(studio.train.images), []
    with studio.skipping("fig7", spec.data, "LCSS", variant):
        drawn = studio.samples(sampler, scores)
    if not drawn:
        return
    studio.arrays[f"samples/{variant}"] = drawn[0][:SHOWN].numpy()
    protocol = studio.protocol(spec, sampler) | {"gamma": spec.objective.gamma, "score_times": factor}
    judged = protocol | dict(studio.judge.protocol("fid", drawn[0]))
    values = {"variance_ratio": [variance(x) / variance(real) for x in drawn],
              "roughness_ratio": [roughness(x) / roughness(real) for x in drawn],
              "fid": [studio.judge(x, ("fid",))["fid"] for x in drawn]}  # fmt: skip
    for metric, found in values.items():
        yield Row("fig7", spec.data, "LCSS", variant, metric, found, studio.config.quality.samples,
                  judged if metric == "fid" else protocol, over=studio.over)  # fmt: skip


def variance(x: Tensor) -> float:
    """Mean over pixels of the variance of images (n, C, H, W)."""
    return x.var(0).mean().item()


def roughness(x: Tensor) -> float:
    """Mean square of the differences of neighbouring pixels."""
    return 0.5 * (x.diff(dim=-1).square().mean() + x.diff(dim=-2).square().mean()).item()
