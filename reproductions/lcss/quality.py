"""Table 3 and fig. 7 on trained models: quality against iterations, other seeds of the training, other gammas."""

from collections.abc import Iterator, Mapping
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
from rescore.jobs import Run
from rescore.likelihood import bits_per_dim, flow_log_prob
from rescore.metrics.features import ClassifierSettings
from rescore.models.build import LoadedModel, load_model, make_model, make_process, train_model
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


class Studio:
    """The models of one job, and what they are judged by; `skipped` receives the cells that diverge."""

    def __init__(self, job: Job, config: Config, run: Run, arrays: dict[str, np.ndarray], skipped: list[Mapping[str, object]]):
        self.job, self.config, self.run, self.arrays, self.skipped = job, config, run, arrays, skipped
        self.specs = [config.models[name] for name in job.models]
        first = self.specs[0]
        self.train, self.test = (load_images(first.data, split) for split in ("train", "test"))
        settings = ClassifierSettings(config.quality.classifier_steps)
        self.judge: Judge = make_judge(
            config.quality.features, self.train, self.test, settings, run.folder.parent / "judges", run.device
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.train.shape

    def node(self, name: str) -> Path:
        """The weights of one of the config's models."""
        return self.run.models[f"{name}/{self.config.models[name].seed}"]

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

    def samples(self, sampler: Sampler, score: Score) -> list[Tensor]:
        """One set a seed; every model starts from the same noise."""
        def one(seed: int) -> Tensor:
            generator = make_generator("lcss", "samples", seed, device=self.run.device)
            return draw(sampler, score, self.shape, self.config.quality.samples, generator)

        return [one(seed) for seed in self.config.seeds]

    def bits(self, model: LoadedModel) -> list[float]:
        """Bits per dimension of test images, dequantised anew for each seed."""
        settings, found = self.config.quality, []
        images = self.test.images[: settings.test_images]
        for seed in self.config.seeds:
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
            "process": spec.process.name, "train_seed": spec.seed, "nfe": sampler.nfe, "t0": sampler.times[-1],
            "sampler": f"{kind} and Langevin, snr {self.config.quality.snr:g}" if corrected else kind, "denoise": "mean",
        }  # fmt: skip

    def rows(self, table: str, spec: ModelSpec, weights: Path, variant: str, bits: bool = True) -> Iterator[Row]:
        """FID, inception score and bits per dimension of one model."""
        model = self.load(spec, weights)
        sampler, n = self.sampler(model.process), self.config.quality.samples
        name, method, protocol = spec.data, NAMES[spec.objective.name], self.protocol(spec, sampler)
        with self.skipping(table, name, method, variant):
            drawn = self.samples(sampler, model.score)
            self.arrays[f"samples/{variant}/{method}"] = drawn[0][:SHOWN].numpy()
            judged = [self.judge(x, METRICS) for x in drawn]
            for metric in METRICS:
                values = [one[metric] for one in judged]
                yield Row(table, name, method, variant, metric, values, n, protocol | self.judge.protocol(metric, drawn[0]),
                          over="samplings")  # fmt: skip
        if bits:
            n = min(self.config.quality.test_images, len(self.test))
            how = protocol | {"t0": LIKELIHOOD_T0, "solver": "dopri5", "rtol": self.config.quality.tolerance,
                              "trace": "rademacher", "dequantisation": "uniform", "grey_levels": self.test.grey_levels}  # fmt: skip
            how = {key: value for key, value in how.items() if key not in ("sampler", "nfe", "denoise")}
            with self.skipping(table, name, method, variant):
                yield Row(table, name, method, variant, "bpd", self.bits(model), n, how, over="samplings")

    @contextmanager
    def skipping(self, table: str, dataset: str, method: str, variant: str) -> Iterator[None]:
        """Where the body diverges, its cell is skipped with the reason."""
        try:
            yield
        except Diverged as error:
            self.skipped.append(error.cell(table=table, dataset=dataset, method=method, variant=variant))

    def load(self, spec: ModelSpec, weights: Path) -> LoadedModel:
        return load_model(spec, weights, self.shape, self.run.device)


def quality(studio: Studio) -> Iterator[Row]:
    """Table 3, and the same after fewer iterations; real images in the place of samples."""
    job, settings = studio.job, studio.config.quality
    pairs = dict(zip(job.models, studio.specs, strict=True))
    for name, spec in pairs.items():
        yield from studio.rows("3", spec, studio.node(name), job.variant)
    with studio.skipping("twins", studio.train.name, "LCSS against DSM", job.variant):
        yield from _twins(*pairs.values(), *(studio.node(name) for name in pairs), studio, job.variant)
    for steps in settings.iterations:
        shorter = [spec.model_copy(update={"steps": steps}) for spec in pairs.values()]
        for spec in shorter:
            yield from studio.rows("iterations", spec, studio.weights(spec), f"{job.variant}, {steps} iterations")
    for metric, value in studio.judge.of_real(METRICS).items():
        protocol = studio.judge.protocol(metric, torch.empty(len(studio.test)))
        yield Row("3", studio.train.name, "real images", job.variant, metric, [value], len(studio.test), protocol, over="runs")
    studio.arrays["samples/real"] = to_unit(studio.test.images[:SHOWN]).numpy()


def _twins(dsm: ModelSpec, lcss: ModelSpec, at_dsm: Path, at_lcss: Path, studio: Studio, variant: str) -> Iterator[Row]:
    """How far apart the two trainings of one seed end: in weights, and in samples from the same noise."""
    start = make_model(dsm, make_process(dsm.process, studio.shape), studio.shape)
    drawn, ends = [], []
    for spec, path in ((dsm, at_dsm), (lcss, at_lcss)):
        model, generator = studio.load(spec, path), make_generator("lcss", "twins", device=studio.run.device)
        sampler, n = studio.sampler(model.process), min(100, studio.config.quality.samples)
        drawn.append(draw(sampler, model.score, studio.shape, n, generator))
        ends.append(parameters_to_vector(model.network.parameters()).cpu())
    first = parameters_to_vector(start.parameters()).detach()
    weights = ((ends[1] - ends[0]).norm() / (ends[0] - first).norm()).item()
    pixels = (drawn[1] - drawn[0]).square().mean().sqrt().item()
    protocol = dsm.protocol | {"train_seed": dsm.seed, "objective": "dsm and lcss"}
    for metric, value in (("weight_distance", weights), ("sample_rmse", pixels)):
        yield Row("twins", dsm.data, "LCSS against DSM", variant, metric, [value], 1, protocol)


def variants(studio: Studio) -> Iterator[Row]:
    """Other seeds of the training with DSM (an LCSS of one seed is its twin), and fig. 7's gammas."""
    job, settings = studio.job, studio.config.quality
    short = [spec.model_copy(update={"steps": settings.variant_iterations}) for spec in studio.specs]
    for seed in settings.train_seeds:
        spec = short[0].model_copy(update={"seed": seed})
        yield from studio.rows("seeds", spec, studio.weights(spec), f"{job.variant}, seed {seed}", bits=False)
    for gamma in settings.gammas:
        objective = short[1].objective.model_copy(update={"gamma": gamma})
        spec = short[1].model_copy(update={"objective": objective})
        yield from _ablated(studio, spec, studio.weights(spec), 1.0, f"{job.variant}, gamma={gamma:g}")
        yield from _ablated(studio, studio.specs[1], studio.node(job.models[1]), gamma, f"{job.variant}, {gamma:g} x score")


def _ablated(studio: Studio, spec: ModelSpec, weights: Path, factor: float, variant: str) -> Iterator[Row]:
    """Fig. 7: samples by the predictor alone, whose answer to gamma has a closed form on Gaussian data.

    Of a network trained with gamma, and of one trained with gamma = 1 whose score is multiplied by `factor` = gamma, which is
    what the first tends to. `variance_ratio` is the variance of the samples over that of the data, `roughness_ratio` that of
    the differences of neighbouring pixels.
    """
    model = studio.load(spec, weights)
    sampler, score = studio.sampler(model.process, corrected=False), model.score
    real, drawn = to_unit(studio.train.images), []
    with studio.skipping("fig7", spec.data, "LCSS", variant):
        drawn = studio.samples(sampler, lambda u, t: factor * score(u, t))
    if not drawn:
        return
    studio.arrays[f"samples/{variant}"] = drawn[0][:SHOWN].numpy()
    protocol = studio.protocol(spec, sampler) | {"gamma": spec.objective.gamma, "score_times": factor}
    for name, measure in (("variance_ratio", variance), ("roughness_ratio", roughness)):
        values = [measure(x) / measure(real) for x in drawn]
        yield Row("fig7", spec.data, "LCSS", variant, name, values, studio.config.quality.samples, protocol, over="samplings")
    values = [studio.judge(x, ("fid",))["fid"] for x in drawn]
    yield Row("fig7", spec.data, "LCSS", variant, "fid", values, studio.config.quality.samples,
              protocol | studio.judge.protocol("fid", drawn[0]), over="samplings")  # fmt: skip


def variance(x: Tensor) -> float:
    """Mean over pixels of the variance of images (n, C, H, W)."""
    return x.var(0).mean().item()


def roughness(x: Tensor) -> float:
    """Mean square of the differences of neighbouring pixels."""
    return 0.5 * (x.diff(dim=-1).square().mean() + x.diff(dim=-2).square().mean()).item()
