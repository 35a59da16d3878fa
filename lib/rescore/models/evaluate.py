"""What trained models are worth: FID and IS of their samples, and bits per dimension, over trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial

import numpy as np
import torch
from torch import Tensor

from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import dequantise, to_unit
from rescore.errors import Diverged, RescoreError
from rescore.experiments.axes import samples_name
from rescore.experiments.book import Book, Cell
from rescore.ledger.records import Over
from rescore.likelihood import bits_per_dim, elbo, flow_log_prob
from rescore.metrics.features import ClassifierSettings
from rescore.models.build import LoadedModel, load_model, make_objective
from rescore.models.judge import Drawn, Judge, draw, make_judge
from rescore.models.spec import ModelSpec
from rescore.models.train import read_about
from rescore.processes import LinearSDE
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import Sampler
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
class Sampling:
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
        """The name of its samples for figures."""
        return samples_name(data, self.table, self.method, self.variant, self.sampler.nfe)


def repeats(training_seeds: Sequence[int], sampling_seeds: Sequence[int]) -> tuple[Over, list[tuple[int, int]]]:
    """What the values of a record repeat, and the (training seed, sampling seed) of each.

    Of several trainings one set of samples each. A single one is sampled with every sampling seed; the spread says nothing
    about another training.
    """
    if len(training_seeds) > 1:
        return "trainings", [(seed, seed) for seed in training_seeds]
    return "samplings", [(training_seeds[0], seed) for seed in sampling_seeds]


def judge_samples(
    cell: Cell, judge: Judge, draws: Mapping[int, Callable[[], Drawn]], metrics: Iterable[str] = METRICS,
    also: Mapping[str, Callable[[Tensor], float]] | None = None, array: str | None = None,
) -> Drawn | None:  # fmt: skip
    """Fill a cell with image metrics of samples, one set a seed.

    Args:
        draws: by seed, the set of samples of its network; a set whose drawing diverges names the seed.
        also: other metrics of the samples.
        array: the name under which the first samples are kept for figures.

    Returns:
        the first seed's samples.
    """
    values: dict[str, list[float]] = {}
    nfes, first = [], None
    for seed, make in draws.items():
        try:
            drawn = make()
            judged = judge(drawn.x, metrics)
            found = {name: judged[name] for name in metrics} | {name: of(drawn.x) for name, of in (also or {}).items()}
        except Diverged as error:
            raise Diverged(f"training seed {seed}: {error}") from None
        for metric, value in found.items():
            values.setdefault(metric, []).append(value)
        nfes.append(drawn.nfe)
        first = first or drawn
    if array and first:
        cell.arrays[array] = first.x[:SHOWN].numpy()
    if cell.nfe is None:
        cell.protocol["evaluations"] = round(np.mean(nfes))
    for metric, found in values.items():
        cell.add(metric, found, n=len(first.x), **(judge.protocol(metric, first.x) if metric in metrics else {}))
    return first


class TrainedModels:
    """The trained models of a section's job, one for each training seed, and the judge of what they draw.

    Every number is the mean over training seeds of one network and one set of samples each; its standard error, known from two
    seeds on, covers both. Published weights are one network: its seeds are independent runs, and nothing here has trained it. All
    samplers of one seed start from the same noise. A cell that diverges with one of the networks is left out, with the reason;
    the others go on.

    Args:
        book: of the section; all models of its job are of one data set.
    """

    def __init__(self, book: Book):
        self.book, self.config, self.run = book, book.config, book.run
        self.names = self.config.jobs[self.run.job].models
        if not self.names:
            raise RescoreError(f"{self.run.paper} {self.run.job}: no trained models; allowed: one or more of its config's `models`")
        (self.data, *others) = {self.config.models[name].data for name in self.names}
        if others:
            names = ", ".join(others)
            raise RescoreError(f"{self.run.paper} {self.run.job}: models of {self.data} and {names}; allowed: one data set a job")
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

    def measure(self, samplings: Iterable[Sampling], label: str, metrics: Iterable[str] = METRICS) -> None:
        """Image metrics of each sampling; `label` stands before the progress bar."""
        for one in progress(list(samplings), desc=label):
            sampler = one.sampler
            protocol = {"process": type(sampler.process).__name__, "score": "trained", "t0": sampler.times[-1],
                        "denoise": sampler.denoise}  # fmt: skip
            # An adaptive solver takes as many evaluations as each network asks for: they do not name the number.
            protocol |= {} if sampler.nfe is None else {"steps": sampler.steps}
            protocol |= self.spec(one.model).protocol | dict(one.protocol)
            with self._cell(one.table, one.method, one.variant, one.model, sampler.nfe, protocol) as cell:
                if not cell.todo:
                    continue
                draws = {seed: partial(self._draw, one, seed) for seed in self.config.training_seeds}
                judge_samples(cell, self.judge, draws, metrics, array=one.array(self.data))

    def _draw(self, one: Sampling, seed: int) -> Drawn:
        score = self.load(one.model, seed).score
        score = one.adapt(score) if one.adapt else score
        generator = make_generator("samples", self.data, seed, device=self.run.device)
        return draw(one.sampler, score, self.train.shape, self.config.evaluation.samples, generator)

    def floor(self, table: str, metrics: Iterable[str] = METRICS) -> None:
        """Real images in the place of samples, held out and trained on: as many as of a network, or as there are held out."""
        self.book.arrays[f"{self.data}/real"] = to_unit(self.held_out.images[:SHOWN]).numpy()
        floor(self.book, self.judge, table, self.data, self.config.evaluation.samples, metrics)

    def likelihood(self, table: str, method: str, variant: str, name: str, bound: bool = False) -> None:
        """`bpd`, bits per dimension of held-out images by the probability flow; `bpd_bound` from the ELBO if `bound`.

        The evaluations of the adaptive solver stand in the protocol: no two models take the same.
        """
        settings, spec = self.config.evaluation, self.spec(name)
        images, t0, tolerance = self.held_out.images[: settings.likelihood_images], spec.objective.t0, settings.tolerance
        protocol = {"images": f"{self.held_out.source}-{len(images)}", "grey_levels": self.held_out.grey_levels, "t0": t0,
                    "dequantisation": "uniform"} | spec.protocol  # fmt: skip
        with self._cell(table, method, variant, name, None, protocol, len(images)) as cell:
            if not cell.todo:
                return
            found, nfes = {"bpd": [], "bpd_bound": []}, []
            for seed in self.config.training_seeds:
                model, generator = self.load(name, seed), make_generator("likelihood", self.data, seed, device=self.run.device)
                x, per_unit = dequantise(images.to(self.run.device), generator, self.held_out.grey_levels)
                try:
                    score = model.network.score()
                    flow = flow_log_prob(score, model.process, x, generator, "rademacher", t0, tolerance, tolerance)
                except Diverged as error:
                    raise Diverged(f"training seed {seed}: {error}") from None
                found["bpd"].append(bits_per_dim(flow.log_prob, x[0].numel(), per_unit).mean().item())
                nfes.append(flow.nfe)
                if bound:
                    objective = make_objective(spec.objective)
                    with torch.no_grad():
                        draws = [elbo(model.network, model.process, objective, x, generator, t0) for _ in range(BOUND_DRAWS)]
                    found["bpd_bound"].append(bits_per_dim(torch.stack(draws).mean(0), x[0].numel(), per_unit).mean().item())
            how = {"solver": "dopri5", "tolerance": tolerance, "trace": "rademacher", "evaluations": round(np.mean(nfes))}
            cell.add("bpd", found["bpd"], **how)
            if bound:
                cell.add("bpd_bound", found["bpd_bound"], bound="elbo", draws=BOUND_DRAWS)

    def training(self) -> None:
        """What the training of each model took: images a second and peak memory, as records of the table `training`."""
        for name in self.names:
            if self.spec(name).weights:
                continue
            abouts = [read_about(self.run.models[f"{name}/{seed}"]) for seed in self.config.training_seeds]
            spec = self.spec(name)
            protocol = {"network": spec.network.name, "train_batch": spec.batch, "trained_on": abouts[0]["device"]}
            with self._cell("training", name, spec.process.name, name, None, protocol, spec.steps) as cell:
                for metric, key in COSTS.items() if cell.todo else ():
                    values = [about[key] for about in abouts if about[key] and math.isfinite(about[key])]  # no GPU: no memory of it
                    if values:
                        cell.add(metric, values)

    def _cell(
        self, table: str, method: str, variant: str, model: str, nfe: int | None, protocol: Mapping[str, object], n: int = 1
    ) -> Cell:
        over = "runs" if self.spec(model).weights else "trainings"
        return self.book.cell(table, self.data, method, variant, nfe, protocol, n=n, over=over)


def floor(book: Book, judge: Judge, table: str, data: str, samples: int, metrics: Iterable[str] = METRICS, prefix: str = "") -> None:
    """The two floors of image metrics as records; `prefix` stands before their variants."""
    for one in judge.of_real(metrics, samples):
        with book.cell(table, data, "real images", f"{prefix}{one.variant}", None, one.protocol, n=one.n) as cell:
            if cell.todo:
                cell.add(one.metric, [one.value])
