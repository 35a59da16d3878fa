"""What trained models are worth: FID and IS of their samples, and bits per dimension, over trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from rescore.data.images import ImageSet, image_shape, load_images
from rescore.data.pixels import to_unit
from rescore.errors import RescoreError, naming_diverged
from rescore.experiments.axes import samples_name
from rescore.experiments.book import Book, Cell
from rescore.experiments.listing import Listed, Listing
from rescore.ledger.records import Over
from rescore.machine.locks import waiting_lock
from rescore.metrics.features import ClassifierSettings
from rescore.models.bits import image_bits
from rescore.models.build import LoadedModel, load_model, make_process, train_model
from rescore.models.judge import Drawn, Judge, draw, make_judge
from rescore.models.judged_cells import METRICS, SEED_OF, SHOWN, floor, judge_best, judge_samples
from rescore.models.parts import ADAPTIVE, Parts
from rescore.models.train import read_about
from rescore.processes import LinearSDE
from rescore.progress import progress
from rescore.random import Streams, make_generator
from rescore.samplers import Solver
from rescore.scores import Score
from rescore.specs.config import TRAINED_HERE, part_of, role
from rescore.specs.model import ModelSpec
from rescore.training import save_weights
from rescore.workflow.paths import node_folder, snapshots

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
        prepare: from that score to the sampler that runs, where this depends on the score (a tolerance, a variance); `sampler`
            stands for it elsewhere. What it evaluates is no part of the sampler's evaluations.
        also: other (table, variant) in which the paper prints the same numbers.
        doubled: the sampler goes down a chain of twice the levels that the network was trained on, which is given i / 2 as the
            level i; else the nearest of its own.
        last: the number is of the last weights whatever the evaluation's `checkpoint` says, as in Score-SDE's Table 2.
    """

    table: str
    method: str
    variant: str
    model: str
    sampler: Solver
    protocol: Mapping[str, object] = field(default_factory=dict)
    adapt: Callable[[Score], Score] | None = None
    prepare: Callable[[Score], Solver] | None = None
    also: tuple[tuple[str, str], ...] = ()
    doubled: bool = False
    last: bool = False

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


class TrainedModels:
    """The trained models of a section's job, one for each training seed, and the judge of what they draw.

    Every number is the mean over training seeds of one network and one set of samples each; its standard error, known from two
    seeds on, covers both. Published weights are one network: its seeds are independent runs, and nothing here has trained it.
    All samplers of one seed start from the same noise. A cell that diverges with one of the networks is left out, with the
    reason; the others go on.

    Args:
        book: of the section; all models of its job are of one data set.
        sampling_seeds: with these a single training is sampled and its likelihood estimated, see `repeats`; None for as many
            as the config's evaluation says, and of one its own.

    Attributes:
        names: of the job's models, as the paper's code calls them: one that is trained here in place of published weights
            has their name, and its variants say so.
        over, repeats: what the values of a record repeat, and the (training seed, sampling seed) of each; of published weights
            see `repeats_of`.
    """

    def __init__(self, book: Book, sampling_seeds: Sequence[int] | None = None):
        assert book.run is not None, "trained models are those of a run's job"
        self.book, self.config, self.run = book, book.config, book.run
        seeds = self.config.training_seeds
        self.over: Over = "trainings"
        self.repeats: list[tuple[int, int]] = [(seed, seed) for seed in seeds]
        if sampling_seeds is None and (samplings := self.config.evaluation.samplings) > 1:
            sampling_seeds = range(samplings)
        if sampling_seeds:
            self.over, self.repeats = repeats(seeds, sampling_seeds)
        self._called = {role(name): name for name in self.config.jobs[self.run.job].models}
        self.names = tuple(self._called)
        if not self.names:
            raise RescoreError(
                f"{self.run.paper} {self.run.job}: no trained models; allowed: one or more of its config's `models`"
            )
        (self.data, *others) = {self.spec(name).data for name in self.names}
        if others:
            names = ", ".join(others)
            raise RescoreError(
                f"{self.run.paper} {self.run.job}: models of {self.data} and {names}; allowed: one data set a job"
            )
        self.load = cache(self._load)
        part = getattr(book.job, "part", None)
        self._parts = Parts(*part_of(part)) if part else Parts()

    def _load(self, name: str, seed: int, step: int | None = None) -> LoadedModel:
        """After so many steps; None: the last weights."""
        spec, weights = self.spec(name).model_copy(update={"seed": seed}), self._weights(name, seed)
        path = weights if step is None else snapshots(weights)[step]
        return load_model(spec, path, self.train.shape, self.run.device, node_folder(weights))

    def _weights(self, name: str, seed: int) -> Path:
        return self.run.models[f"{self._called[name]}/{seed}"]

    def repeats_of(self, name: str) -> list[tuple[int, int]]:
        """Of a model's records: of published weights, which no seed has trained, as many runs as the config says."""
        runs, seeds = self.config.evaluation.runs, self.config.training_seeds
        if self.spec(name).weights and len(seeds) == 1 and runs > 1:
            return [(seeds[0], seed) for seed in range(runs)]
        return self.repeats

    def load_trained(self, spec: ModelSpec, seed: int) -> LoadedModel:
        """A model that is no node of the DAG, trained here where no section has done so before: for short trainings."""
        spec = spec.model_copy(update={"seed": seed})
        folder = self.run.folder.parent / "trained" / spec.key
        path = folder / "weights.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        with waiting_lock(folder / "lock", f"another process that trains {spec.key}"):
            if not path.is_file():
                label = f"{spec.objective.name}, {spec.steps} steps"
                save_weights(path, train_model(spec, folder / "training", self.run.device, label).network)
        return load_model(spec, path, self.train.shape, self.run.device)

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
        return self.config.models[self._called[name]]

    def matched(self, name: str) -> str:
        """Of its records: its trainings are theirs, and all samplers of a seed start from the same noise."""
        return f"{self.data}/{self._called[name]}"

    def process(self, name: str) -> LinearSDE:
        """The process of a model, the same for all seeds; its weights are not read."""
        return make_process(self.spec(name).process, image_shape(self.data))

    def measure(self, samplings: Iterable[Sampling], label: str, metrics: Iterable[str] = METRICS) -> None:
        """Image metrics of each sampling; `label` stands before the progress bar."""
        for one in progress(self._parts.mine(list(samplings), lambda one: one.sampler.nfe or ADAPTIVE), desc=label):
            sampler = one.sampler
            one = replace(one, variant=self._variant(one.variant, one.model))
            protocol = {
                "process": type(sampler.process).__name__,
                "score": "trained",
                "t0": sampler.times[-1],
                "denoise": sampler.denoise,
            }
            # An adaptive solver takes as many evaluations as each network asks for: they do not name the number.
            protocol |= {} if sampler.nfe is None else {"steps": sampler.steps}
            protocol |= self.spec(one.model).protocol | dict(one.protocol)
            with self._cell(one.table, one.method, one.variant, one.model, sampler.nfe, protocol, metrics=metrics) as cell:
                if cell.todo:
                    self._judge(cell, one, metrics)
            for table, variant in one.also:
                place = table, one.method, self._variant(variant, one.model), one.model, sampler.nfe
                with self._cell(*place, protocol, metrics=metrics, again=True) as other:
                    other.repeat(cell)

    def _judge(self, cell: Cell, one: Sampling, metrics: Iterable[str]) -> None:
        """Fill a cell with the image metrics of a sampling."""
        repeats = self.repeats_of(one.model)
        chosen = self.config.evaluation.checkpoint == "best" and not self.spec(one.model).weights
        if chosen and not one.last:
            sets = {
                seed: [partial(self.draw, one, training, seed, step) for step in self._steps(one.model, training)]
                for training, seed in repeats
            }
            judge_best(cell, self.judge, sets, metrics, one.array(self.data))
            return
        draws = {seed: partial(self.draw, one, training, seed) for training, seed in repeats}
        said: dict[str, Any] = {"checkpoint": "last"} if chosen else {}  # where others are of the best
        judge_samples(cell, self.judge, draws, metrics, array=one.array(self.data), **said)

    def _steps(self, name: str, seed: int) -> list[int | None]:
        """Of the snapshots of a training; None stands for the last weights."""
        return [*snapshots(self._weights(name, seed)), None]

    def draw(self, one: Sampling, training: int, seed: int, step: int | None = None) -> Drawn:
        """Samples of the model of a training seed, after so many steps (None: the last weights); `seed` names their noise."""
        model = self.load(one.model, training) if step is None else self._load(one.model, training, step)
        score = (model.on_doubled_chain() if one.doubled else model).score
        score = one.adapt(score) if one.adapt else score
        generator = make_generator("samples", self.data, seed, device=self.run.device)
        sampler = one.prepare(score) if one.prepare else one.sampler
        return draw(sampler, score, self.train.shape, self.config.evaluation.samples, generator)

    def floor(self, table: str, metrics: Iterable[str] = METRICS) -> None:
        """Real images in place of samples, held out and trained on: as many as of a network, or as there are held out."""
        if not getattr(self.book.job, "floors", True) or not self._parts.first or self.book.listing:
            return
        self.book.arrays[f"{self.data}/real"] = to_unit(self.held_out.images[:SHOWN]).numpy()
        floor(self.book, self.judge, table, self.data, self.config.evaluation.samples, metrics)

    def likelihood(self, table: str, method: str, variant: str, name: str, bound: bool = False) -> None:
        """`bpd`, bits per dimension of held-out images by the probability flow; `bpd_bound` from the ELBO if `bound`.

        The evaluations of the adaptive solver stand in the protocol: no two models take the same.
        """
        if not self._parts.next():
            return
        settings, spec, variant = self.config.evaluation, self.spec(name), self._variant(variant, name)
        metrics = ("bpd", "bpd_bound") if bound else ("bpd",)
        if self.book.listing:  # its protocol needs the images
            self._cell(table, method, variant, name, None, {}, metrics=metrics)
            return
        images, t0, tolerance = self.held_out.images[: settings.likelihood_images], spec.objective.t0, settings.tolerance
        protocol = {
            "images": f"{self.held_out.source}-{len(images)}",
            "grey_levels": self.held_out.grey_levels,
            "t0": t0,
            "dequantisation": "uniform",
        } | spec.protocol
        with self._cell(table, method, variant, name, None, protocol, len(images), metrics=metrics) as cell:
            if not cell.todo:
                return
            found: dict[str, list[float]] = {"bpd": [], "bpd_bound": []}
            nfes: list[int] = []
            # the solver's step is one for a batch: all at once, where the memory does not decide
            batch = len(images) if self.run.device == "cpu" else None
            for training, seed in self.repeats_of(name):
                model, noise = self.load(name, training), partial(self._streams, ("likelihood", self.data, seed))
                with naming_diverged(f"{SEED_OF[cell.over]} {seed}"):
                    bits = image_bits(model, images, self.held_out.grey_levels, noise, tolerance, BOUND_DRAWS * bound, batch)
                found["bpd"].append(bits.flow.mean().item())
                nfes.append(bits.nfe)
                if bits.bound is not None:
                    found["bpd_bound"].append(bits.bound.mean().item())
            how: dict[str, Any] = {
                "solver": "dopri5",
                "tolerance": tolerance,
                "trace": "rademacher",
                "evaluations": round(np.mean(nfes)),
            }
            cell.add("bpd", found["bpd"], **how)
            if bound:
                cell.add("bpd_bound", found["bpd_bound"], bound="elbo", draws=BOUND_DRAWS)

    def _streams(self, names: Sequence[object], first: int, n: int) -> Streams:
        return Streams.named(*names, n=n, first=first, device=self.run.device)

    def training(self) -> None:
        """What the training of each model took: images a second and peak memory, as records of the table `training`."""
        for name in self.names:
            if self.spec(name).weights or not self._parts.first or self.book.listing:
                continue
            abouts = [read_about(self._weights(name, seed)) for seed in self.config.training_seeds]
            spec = self.spec(name)
            protocol = {"network": spec.network.name, "train_batch": spec.batch, "trained_on": abouts[0]["device"]}
            place = "training", self._called[name], spec.process.name, name, None
            with self._cell(*place, protocol, spec.steps, over="trainings") as cell:
                for metric, key in COSTS.items() if cell.todo else ():
                    values = [about[key] for about in abouts if about.get(key)]  # no GPU: no memory of it
                    if values:
                        cell.add(metric, values)

    def _variant(self, variant: str, name: str) -> str:
        """That of the records: says where a model was trained here for which there are published weights."""
        here = self._called[name].endswith(TRAINED_HERE)
        return ", ".join(filter(None, (str(variant), "trained here"))) if here else variant

    def _cell(
        self,
        table: str,
        method: str,
        variant: str,
        model: str,
        nfe: int | None,
        protocol: Mapping[str, object],
        n: int = 1,
        over: Over | None = None,
        metrics: Iterable[str] = (),
        again: bool = False,
    ) -> Cell:
        over = "runs" if self.spec(model).weights else over or self.over
        if isinstance(self.book, Listing):
            self.book.listed.append(
                Listed(table, self.data, method, str(variant), nfe, tuple(metrics), self._called[model], again)
            )
        return self.book.cell(table, self.data, method, variant, nfe, protocol, n=n, over=over, matched=self.matched(model))
