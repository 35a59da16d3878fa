"""Networks for the corruptions: their training, and what their samples are worth."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from rescore.corruptions.process import Clean
from rescore.cost.evaluations import note
from rescore.data.images import load_images
from rescore.data.pixels import random_flip, to_unit, to_unit_interval
from rescore.experiments.book import Book
from rescore.metrics.features import ClassifierSettings
from rescore.metrics.points import median_distance, nearest
from rescore.models.judge import HELD_OUT, Drawn, Judge, draw, make_judge
from rescore.models.judged_cells import floor, judge_samples
from rescore.networks import autocast, make_network, place
from rescore.networks.base import once
from rescore.networks.parametrise import LEVELS
from rescore.objectives import CleanPrediction, Network, SoftScoreMatching, clean_of, clean_of_score
from rescore.problems.flow import trace
from rescore.random import make_generator, small_seed
from rescore.samplers import MomentumSampler, Sampler, uniform_times
from rescore.specs.model import Part
from rescore.training.network import Losses
from rescore.training.together import train_each
from torch import Tensor, nn

from reproductions.soft_diffusion.config import Training, VariantName
from reproductions.soft_diffusion.problems import METHOD, SAMPLERS, VARIANTS, Corruptions, Variant

KINDS = {"soft": SoftScoreMatching, "clean": CleanPrediction}
LOSSES = {name: kind() for name, kind in KINDS.items()}  # of held-out images, whatever was trained on
UNSEEN = 500  # held-out images for the losses, at most
PARTS = 4  # of the held-out images, for an error of their distance to the training images
SHOWN = 16  # samples kept for the figures
STRIP_TIMES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
STRIP_STEPS = 100  # so that the times of the strips are on the grid
LOSS_TIMES = torch.linspace(0.025, 0.975, 20, dtype=torch.float64)


def networks(book: Book) -> None:
    """Train the job's variants, one network a seed each, and measure losses and samples."""
    with book.skipping(dataset=book.config.data):
        studio = Studio(book)
        if "main" in book.job.train:
            real_images(studio)
        for name in book.job.train:
            held_out_losses(studio, name)
            for label, kind in samplers(name).items():
                for nfe in studio.settings.nfes[name]:
                    sample(studio, name, label, kind(studio.processes[name], uniform_times(nfe)))
            if name in ("main", "masking"):
                strips(studio, name)
        book.arrays["real"] = to_unit(studio.held_out.images[:SHOWN]).numpy()


def samplers(name: VariantName) -> dict[str, type]:
    """Which samplers a variant runs, by the names of their records: all three for the main one."""
    label = VARIANTS[name].label
    return {f"{label}; {sampler}": kind for sampler, kind in SAMPLERS.items()} if name == "main" else {label: MomentumSampler}


def objective(variant: Variant) -> SoftScoreMatching:
    """What a variant's networks are trained on."""
    return KINDS[variant.loss](variant.weighting, predicts=variant.predicts)


class Studio:
    """Variants, those of the job if not named: their corruptions, and their networks and judge once a cell asks for them.

    Attributes:
        training: of the networks, that of the config if not given.
    """

    def __init__(self, book: Book, names: Sequence[VariantName] | None = None, training: Training | None = None):
        self.training = training or book.config.networks.training
        self.book, self.config, self.run, self.settings = book, book.config, book.run, book.config.networks
        self.data, self.held_out = (load_images(self.config.data, split) for split in ("train", "test"))
        self.corruptions = Corruptions.of(book)
        self.processes = {name: self.corruptions(VARIANTS[name]) for name in names or book.job.train}
        self.real = to_unit(self.data.images).flatten(1)
        self.unseen = to_unit_interval(self.held_out.images[:UNSEEN]).float().to(self.run.device)

    @cached_property
    def judge(self) -> Judge:
        classifier, folder = ClassifierSettings(self.settings.classifier_steps), self.run.folder.parent / "judges"
        return make_judge(self.settings.features, self.data, self.held_out, classifier, folder, self.run.device)

    @cached_property
    def trained(self) -> dict[VariantName, list[nn.Module]]:
        """One network for each variant and seed."""
        return self._train(self.run.folder)[self.training.steps]

    def on_the_way(self, every: int) -> dict[int, "Studio"]:
        """The same with the networks as they were after `every` so many steps of one training, and at its end, by the steps."""
        judge, found = self.judge, {}
        for steps, networks in self._train(self.run.folder / "on-the-way", every).items():
            found[steps] = copy(self)
            found[steps].judge, found[steps].trained = judge, networks
            found[steps].training = self.training.model_copy(update={"steps": steps})
        return found

    def _train(self, folder: Path, every: int | None = None) -> dict[int, dict[VariantName, list[nn.Module]]]:
        settings, seeds = self.training, self.config.seeds
        make = partial(make_network, settings.network, settings.settings, *self.data.shape[:2])
        made = {(name, seed): make(small_seed("soft", name, seed)) for name in self.processes for seed in seeds}
        found = train_each(made, self.losses, settings, len(self.data), "soft", folder, self.run.device, every)
        return {
            steps: {name: [networks[name, seed] for seed in seeds] for name in self.processes}
            for steps, networks in found.items()
        }

    def losses(self, group: Sequence[tuple[VariantName, int]]) -> Losses:
        """The sum of the losses of all networks of a group, each with its own times and noise, on the same images: (n,)."""
        settings = self.training
        images = self.data.images.to(self.run.device)
        names = list(dict.fromkeys(name for name, _ in group))
        share = len(group) // len(names)  # networks of each variant, next to each other

        def losses(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
            batch = images[rows.to(self.run.device)]
            batch = random_flip(batch, generator) if settings.flip else batch
            x0 = ((to_unit(batch) + 1) / 2).repeat(share, 1, 1, 1)
            drawn = {name: objective(VARIANTS[name]).pairs(self.processes[name], x0, generator) for name in names}
            x = torch.cat([x for _, x in drawn.values()])
            level = torch.cat([LEVELS[settings.level](None, t) for t, _ in drawn.values()]).to(x)
            note(len(x))
            phi = network(x, level).reshape(len(names), *x0.shape)
            parts = [
                objective(VARIANTS[name]).losses(self.processes[name], phi[i], x0, xt, t)
                for i, (name, (t, xt)) in enumerate(drawn.items())
            ]
            return torch.cat(parts).reshape(len(group), len(rows)).sum(0)

        return losses

    def network(self, name: VariantName, i: int) -> Network:
        """A variant's network i, (x, t) -> what it predicts, without gradients."""
        process, level = self.processes[name], LEVELS[self.training.level]
        network = place(self.trained[name][i], self.run.device)

        @torch.inference_mode()
        def evaluate(x: Tensor, t: Tensor) -> Tensor:
            note(len(x))
            with autocast(self.run.device):
                return network(x, level(process, once(t)).expand(len(x))).to(x.dtype)

        return evaluate

    def clean(self, name: VariantName, i: int, cutoff: float | None = None) -> Clean:
        """The clean prediction of a variant's network i; of a network of scores with that cut-off of C_t's inverse."""
        network, predicts = self.network(name, i), VARIANTS[name].predicts
        return clean_of(network, predicts) if cutoff is None else clean_of_score(network, self.processes[name], cutoff)

    def protocol(self, name: VariantName, **more: object) -> dict[str, object]:
        """What the ledger says about a variant's network."""
        settings = self.training
        variant = VARIANTS[name]
        told = {} if variant.predicts == "residual" else {"predicts": variant.predicts}
        network = Part(name=settings.network, settings=settings.settings)
        return {
            **settings.protocol,
            **network.protocol("network"),
            "network_level": settings.level,
            "loss": variant.loss,
            "level": variant.level,
            "weighting": variant.weighting,
            **self.corruptions.protocol(variant, self.processes[name]),
            **told,
            **more,
        }


def real_images(studio: Studio) -> None:
    """What real images get in place of samples; the distance to the training images is of held-out ones."""
    book, data, held_out = studio.book, studio.config.data, studio.held_out
    floor(book, studio.judge, "real", data, studio.settings.samples)
    parts = to_unit(held_out.images).chunk(PARTS)
    with book.cell("real", data, "real images", HELD_OUT, None, {"parts": PARTS}) as cell:
        if cell.todo:
            cell.add("nearest", [median_distance(part, studio.real) for part in parts], n=len(held_out) / len(parts))


def held_out_losses(studio: Studio, name: VariantName) -> None:
    """Both losses on images that no network saw, at 20 times, per pixel; the same noise for every network.

    Of networks of scores the soft loss alone: they say nothing of what C_t has removed.
    """
    variant, process, images, seeds = VARIANTS[name], studio.processes[name], studio.unseen, studio.config.seeds
    losses = {"soft": objective(variant)} if variant.predicts == "score" else LOSSES
    place = "held out", studio.config.data, variant.method, variant.label
    with studio.book.cell(*place, None, studio.protocol(name), n=len(images), over="trainings") as cell:
        if not cell.todo:
            return
        found: dict[str, list[list[float]]] = {kind: [[] for _ in seeds] for kind in losses}
        for i in range(len(seeds)):
            generator = make_generator("held out", device=images.device)
            predicted = studio.network(name, i) if variant.predicts == "score" else studio.clean(name, i)
            for t in LOSS_TIMES:
                x, _ = process.perturb(images, t, generator)
                phi = predicted(x, t.to(x).expand(len(x))) if variant.predicts == "score" else predicted(x, t.item()) - x
                for kind, loss in losses.items():
                    found[kind][i].append(loss.losses(process, phi, images, x, t).mean().item() / images[0].numel())
        for kind, values in found.items():
            cell.add(f"{kind}_loss", [sum(each) / len(each) for each in values])


def sample(
    studio: Studio, name: VariantName, label: str, sampler: Sampler, cutoff: float | None = None, table: str | None = None
) -> None:
    """Samples of every network of a variant: FID, IS, total variance over the data's, distance to the training images.

    Args:
        cutoff: see `Studio.clean`.
        table: of the records; that of the variant if None.
    """
    config, variant, real = studio.config, VARIANTS[name], studio.real
    shape = tuple(studio.corruptions.images.shape[1:])
    how = studio.protocol(
        name,
        clean="trained",
        grid="uniform",
        start="Gaussian",
        start_modes=config.start_modes,
        n_samples=studio.settings.samples,
        **({} if cutoff is None else {"cutoff": cutoff}),
    )
    also = {
        "variance_ratio": lambda x: (x.var(0).sum() / real.var(0).sum()).item(),
        "nearest": lambda x: median_distance(x.to(studio.run.device), real),
    }

    def drawn(i: int, seed: int) -> Drawn:
        generator = make_generator("soft_diffusion", config.data, seed, device=studio.run.device)
        clean = studio.clean(name, i, *(() if cutoff is None else (cutoff,)))
        found = draw(sampler, clean, shape, studio.settings.samples, generator)
        return found._replace(x=2 * found.x - 1)

    place = table or variant.table, config.data, variant.method, label
    repeats: dict[str, Any] = {"n": studio.settings.samples, "over": "trainings", "matched": f"{config.data}/{name}"}
    with studio.book.cell(*place, sampler.nfe, how, **repeats) as cell:
        if cell.todo:
            draws = {seed: partial(drawn, i, seed) for i, seed in enumerate(config.seeds)}
            x = judge_samples(cell, studio.judge, draws, also=also)[:SHOWN]
            cell.arrays[f"samples/{label}/{sampler.nfe}"] = x.numpy()
            cell.arrays[f"neighbours/{label}/{sampler.nfe}"] = (
                real[nearest(x.to(studio.run.device), real)[1].cpu()].reshape(-1, *shape).numpy()
            )


def strips(studio: Studio, name: VariantName) -> None:
    """A test image corrupted, what the network makes of it, and one path of the Momentum Sampler, at the same times."""
    process, images = studio.processes[name], studio.unseen
    with studio.book.cell("strips", studio.config.data, METHOD, VARIANTS[name].label) as cell:
        if not cell.todo:
            return
        clean, generator = studio.clean(name, 0), make_generator("strip", device=images.device)
        forward = [process.perturb(images[:4], t, generator)[0] for t in STRIP_TIMES]
        means = [clean(x, t) if t else x for x, t in zip(forward, STRIP_TIMES, strict=True)]
        start = process.prior_sample((4, *images.shape[1:]), generator, device=images.device)
        _, states, ends = trace(MomentumSampler(process, uniform_times(STRIP_STEPS)), clean, start, generator)
        path = [states[STRIP_STEPS - round(t * STRIP_STEPS)] if t else ends[-1] for t in STRIP_TIMES]
        for kind, pictures in {"forward": forward, "means": means, "reverse": path}.items():
            cell.arrays[f"strip/{name}/{kind}"] = torch.stack(pictures).cpu().numpy()
