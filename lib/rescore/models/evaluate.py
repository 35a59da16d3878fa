"""What trained models are worth: FID and IS of their samples, and bits per dimension, as measurements over training seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import torch

from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import dequantise, to_unit
from rescore.errors import Diverged, RescoreError
from rescore.jobs import Measurement, Run
from rescore.ledger.records import Over
from rescore.likelihood import bits_per_dim, elbo, flow_log_prob
from rescore.metrics.features import ClassifierSettings
from rescore.models.build import LoadedModel, load_model, make_objective
from rescore.models.judge import Judge, draw, make_judge
from rescore.models.node import read_about
from rescore.models.spec import ModelConfig, ModelSpec
from rescore.processes import LinearSDE
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import AdaptiveFlow, Sampler
from rescore.scores import Score

METRICS = ("fid", "is")
SHOWN = 8  # images kept of each cell, for figures
BOUND_DRAWS = 16  # of the ELBO's time and noise for each image
COSTS = {  # the metric of each number that a trained model's about.json holds
    "train_images_per_second": "images_per_second",
    "train_memory_mb": "peak_memory_mb",
    "train_gpu_memory_mb": "peak_gpu_memory_mb",
}


@dataclass(frozen=True)
class Cell:
    """One sampler on one model, and the place of its numbers in the paper.

    Args:
        model: its name in the config.
        protocol: what the numbers depend on besides model and judge.
        adapt: from the model's score to the one that the sampler asks for, where that has another clock or scale.
    """

    table: str
    method: str
    variant: str
    model: str
    sampler: Sampler
    protocol: Mapping[str, object] = field(default_factory=dict)
    adapt: Callable[[Score], Score] | None = None

    def array(self, data: str) -> str:
        """The name of its samples for figures: `<data>/<table>/<method>, <variant>/<nfe>`, without nfe if that is adaptive."""
        name = ", ".join(filter(None, (self.method, self.variant)))
        nfe = () if isinstance(self.sampler, AdaptiveFlow) else (str(self.sampler.nfe),)
        return "/".join((data, self.table, name, *nfe))


def repeats(training_seeds: Sequence[int], sampling_seeds: Sequence[int]) -> tuple[Over, list[tuple[int, int]]]:
    """What the values of a record repeat, and the (training seed, sampling seed) of each.

    Of several trainings one set of samples each. A single one is sampled with every sampling seed; the spread says nothing
    about another training.
    """
    if len(training_seeds) > 1:
        return "trainings", [(seed, seed) for seed in training_seeds]
    return "samplings", [(training_seeds[0], seed) for seed in sampling_seeds]


class TrainedModels:
    """The trained models of a job, one for each training seed, and the judge of what they draw.

    Every number is the mean over training seeds of one network and one set of samples each; its standard error, known from two
    seeds on, covers both. All samplers of one seed start from the same noise. A cell that diverges with one of the networks is
    left out, with the reason; the others go on.

    Args:
        config, run: of the job; all its models are of one data set.
        arrays: receives samples of each cell, (SHOWN, C, H, W) of the first seed.

    Attributes:
        skipped: the cells that diverged, as rows of `Result.skipped`.
    """

    def __init__(self, config: ModelConfig, run: Run, arrays: dict[str, np.ndarray]):
        self.config, self.run, self.arrays = config, run, arrays
        self.names = config.jobs[run.job].models
        (self.data, *others) = {config.models[name].data for name in self.names}
        if others:
            names = ", ".join(others)
            raise RescoreError(f"{run.paper} {run.job}: models of {self.data} and {names}; allowed: one data set a job")
        self.evaluations = 0
        self.skipped: list[Mapping[str, object]] = []
        self.load = cache(self._load)

    def _load(self, name: str, seed: int) -> LoadedModel:
        spec = self.spec(name).model_copy(update={"seed": seed})
        return load_model(spec, self.run.models[f"{name}/{seed}"], self.train.shape, self.run.device)

    @cached_property
    def train(self) -> ImageSet:
        return load_images(self.data, "train")

    @cached_property
    def held_out(self) -> ImageSet:
        return load_images(self.data, "test")

    @cached_property
    def judge(self) -> Judge:
        settings = self.config.evaluation
        folder, classifier = self.run.folder.parent / "judges", ClassifierSettings(settings.classifier_steps)
        return make_judge(settings.features, self.train, self.held_out, classifier, folder, self.run.device)

    def spec(self, name: str) -> ModelSpec:
        return self.config.models[name]

    def process(self, name: str) -> LinearSDE:
        """The process of a model, the same for all seeds."""
        return self.load(name, self.config.training_seeds[0]).process

    def measure(self, cells: Iterable[Cell], label: str, metrics: Iterable[str] = METRICS) -> Iterator[Measurement]:
        """Image metrics of each cell; `label` stands before the progress bar."""
        settings = self.config.evaluation
        for cell in progress(list(cells), desc=label):
            started, by_seed, nfes = time.perf_counter(), [], []
            # An adaptive solver takes as many evaluations as each network asks for: they do not name the number.
            adaptive = isinstance(cell.sampler, AdaptiveFlow)
            nfe = None if adaptive else cell.sampler.nfe
            try:
                for seed in self.config.training_seeds:
                    model = self.load(cell.model, seed)
                    score = cell.adapt(model.score) if cell.adapt else model.score
                    generator = make_generator("samples", self.data, seed, device=self.run.device)
                    x = draw(cell.sampler, score, self.train.shape, settings.samples, generator)
                    nfes.append(cell.sampler.nfe)
                    self.evaluations += nfes[-1] * len(x)
                    by_seed.append(self.judge(x, metrics))
                    self.arrays.setdefault(cell.array(self.data), x[:SHOWN].numpy())
            except Diverged as error:
                self._skip(cell.table, cell.method, cell.variant, nfe, seed, error)
                continue
            common = {"process": type(cell.sampler.process).__name__, "score": "trained", "t0": cell.sampler.times[-1],
                      "denoise": cell.sampler.denoise}  # fmt: skip
            common |= {"evaluations": round(np.mean(nfes))} if adaptive else {"steps": cell.sampler.steps}
            for metric in metrics:
                protocol = common | self.spec(cell.model).protocol | dict(cell.protocol) | self.judge.protocol(metric, x)
                values = [found[metric] for found in by_seed]
                yield self._measurement(cell.table, cell.method, cell.variant, metric, nfe, values, len(x), protocol, started)

    def floor(self, table: str, metrics: Iterable[str] = METRICS) -> Iterator[Measurement]:
        """Real images in the place of samples, held out and trained on: as many as of a network, or as there are held out."""
        started = time.perf_counter()
        self.arrays[f"{self.data}/real"] = to_unit(self.held_out.images[:SHOWN]).numpy()
        for real in self.judge.of_real(metrics, self.config.evaluation.samples):
            yield self._measurement(table, "real images", real.variant, real.metric, None, [real.value], real.n, real.protocol,
                                    started, "runs")  # fmt: skip

    def likelihood(self, table: str, method: str, variant: str, name: str, bound: bool = False) -> Iterator[Measurement]:
        """`bpd`, bits per dimension of held-out images by the probability flow; `bpd_bound` from the ELBO if `bound`.

        The evaluations of the adaptive solver stand in the protocol: no two models take the same.
        """
        settings, spec = self.config.evaluation, self.spec(name)
        images = self.held_out.images[: settings.likelihood_images]
        started, found, nfes = time.perf_counter(), {"bpd": [], "bpd_bound": []}, []
        for seed in self.config.training_seeds:
            model, generator = self.load(name, seed), make_generator("likelihood", self.data, seed, device=self.run.device)
            x, per_unit = dequantise(images.to(self.run.device), generator, self.held_out.grey_levels)
            t0, tolerance = spec.objective.t0, settings.tolerance
            score = model.network.score()
            try:
                flow = flow_log_prob(score, model.process, x, generator, "rademacher", t0, tolerance, tolerance)
            except Diverged as error:
                self._skip(table, method, variant, None, seed, error)
                return
            found["bpd"].append(bits_per_dim(flow.log_prob, x[0].numel(), per_unit).mean().item())
            nfes.append(flow.nfe)
            self.evaluations += flow.nfe * len(x)
            if bound:
                objective = make_objective(spec.objective)
                with torch.no_grad():
                    draws = [elbo(model.network, model.process, objective, x, generator, t0) for _ in range(BOUND_DRAWS)]
                found["bpd_bound"].append(bits_per_dim(torch.stack(draws).mean(0), x[0].numel(), per_unit).mean().item())
                self.evaluations += BOUND_DRAWS * len(x)
        common = {"images": f"{self.held_out.source}-{len(images)}", "grey_levels": self.held_out.grey_levels, "t0": t0,
                  "dequantisation": "uniform"} | spec.protocol  # fmt: skip
        how = {"bpd": {"solver": "dopri5", "tolerance": tolerance, "trace": "rademacher", "evaluations": round(np.mean(nfes))},
               "bpd_bound": {"bound": "elbo", "draws": BOUND_DRAWS}}  # fmt: skip
        for metric, values in found.items():
            if values:
                protocol = common | how[metric]
                yield self._measurement(table, method, variant, metric, None, values, len(images), protocol, started)

    def training(self) -> Iterator[Measurement]:
        """What the training of each model took: images a second and peak memory, as records of the table `training`."""
        for name in self.names:
            abouts = [read_about(self.run.models[f"{name}/{seed}"]) for seed in self.config.training_seeds]
            spec = self.spec(name)
            protocol = {"network": spec.network.name, "train_batch": spec.batch, "trained_on": abouts[0]["device"]}
            for metric, key in COSTS.items():
                values = [about[key] for about in abouts if about[key] and math.isfinite(about[key])]  # no GPU: no memory of it
                if values:
                    process, started = spec.process.name, time.perf_counter()
                    yield self._measurement("training", name, process, metric, None, values, spec.steps, protocol, started)

    def _skip(self, table: str, method: str, variant: str, nfe: int | None, seed: int, error: Diverged) -> None:
        seeded = Diverged(f"training seed {seed}: {error}")
        self.skipped.append(seeded.cell(table=table, dataset=self.data, method=method, variant=variant, nfe=nfe))

    def _measurement(self, table: str, method: str, variant: str, metric: str, nfe: int | None, values: list[float], n: int,
                     protocol: Mapping[str, object], started: float, over: Over = "trainings") -> Measurement:  # fmt: skip
        size, seconds = len(values) * n, time.perf_counter() - started
        return Measurement.of_seeds(table, self.data, method, variant, metric, nfe, values, size, protocol, seconds, over=over)
