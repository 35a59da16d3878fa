"""Networks for the corruptions: their training, and what their samples are worth."""

from collections.abc import Sequence
from functools import cache, cached_property, partial

import torch
from torch import Tensor, nn

from reproductions.soft_diffusion.config import VariantName
from reproductions.soft_diffusion.problems import METHOD, VARIANTS, Problem, samplers, unit_interval
from rescore.corruptions.process import Clean
from rescore.cost.evaluations import note
from rescore.data.images import load_images
from rescore.data.pixels import random_flip, to_unit
from rescore.experiments.book import Book, Cell
from rescore.metrics.features import ClassifierSettings
from rescore.metrics.points import nearest
from rescore.models.evaluate import floor, judge_samples
from rescore.models.judge import HELD_OUT, Drawn, Judge, draw, make_judge
from rescore.networks import autocast, make_network, place
from rescore.networks.ensemble import Ensemble
from rescore.networks.parametrise import LEVELS
from rescore.objectives import CleanPrediction, SoftScoreMatching, clean_of
from rescore.random import derive_seed, make_generator
from rescore.samplers import MomentumSampler, Sampler, uniform_times
from rescore.training import Adam, Training, train_network
from rescore.training.network import Losses

LOSSES = {"soft": SoftScoreMatching(), "clean": CleanPrediction()}
LOSS_TIMES = torch.linspace(0.025, 0.975, 20, dtype=torch.float64)
UNSEEN = 500  # held-out images for the losses, at most
PARTS = 4  # of the held-out images, for an error of their distance to the training images
SHOWN = 16  # samples kept for the figures
STRIP_TIMES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
STRIP_STEPS = 100  # so that the times of the strips are on the grid

Pair = tuple[VariantName, int]
"""Which network: its variant and its seed."""


class Networks:
    """The networks of a job, trained when a cell first asks for one, and what their samples are compared with."""

    def __init__(self, book: Book, data: str):
        self.book, self.settings, self.device = book, book.config.networks, book.run.device
        self.problem, self.held_out = Problem(book, data), load_images(data, "test")
        self.train, self.clean = cache(self._train), cache(self._clean)

    @cached_property
    def judge(self) -> Judge:
        settings, folder = self.settings, self.book.run.folder.parent / "judges"
        classifier = ClassifierSettings(settings.classifier_steps)
        return make_judge(settings.features, self.problem.train, self.held_out, classifier, folder, self.device)

    @cached_property
    def real(self) -> Tensor:
        """The training images, (n, pixels) in [-1, 1]."""
        return to_unit(self.problem.train.images).flatten(1)

    @cached_property
    def unseen(self) -> Tensor:
        return unit_interval(self.held_out, UNSEEN).float().to(self.device)

    def _train(self, group: tuple[Pair, ...]) -> dict[Pair, nn.Module]:
        """The networks of a group: one, or several together as an ensemble."""
        settings, train, together = self.settings.training, self.problem.train, self.settings.training.together
        made = [make_network(settings.network, settings.settings, *train.shape[:2], derive_seed("soft", *pair) % 2**31)
                for pair in group]  # fmt: skip
        label = "networks" if together else "{} {}".format(*group[0])
        adam = Adam(settings.steps, settings.lr, warmup=settings.warmup, clip=settings.clip)
        plan = Training(adam, len(train), settings.batch, derive_seed("soft", label), settings.ema)
        folder, network = self.book.run.folder / label.replace(" ", "-"), Ensemble(made) if together else made[0]
        losses = group_losses(self.problem, group, self.device)
        found = train_network(network, losses, plan, folder, self.device, settings.checkpoint_every, label).network
        return {pair: found.member(i).eval() if together else found for i, pair in enumerate(group)}

    def network(self, name: VariantName, seed: int) -> nn.Module:
        everything = tuple((name, seed) for name in self.book.job.train for seed in self.settings.seeds)
        return self.train(everything if self.settings.training.together else ((name, seed),))[name, seed]

    def _clean(self, name: VariantName, seed: int) -> Clean:
        """The clean prediction of a network, without gradients."""
        process, level = self.problem.corruption(name), LEVELS[self.settings.training.level]
        network = place(self.network(name, seed), self.device)
        clean = clean_of(lambda x, t: network(x, level(process, t)).to(x.dtype))

        @torch.inference_mode()
        def evaluate(x: Tensor, t: float) -> Tensor:
            note(len(x))
            with autocast(self.device):
                return clean(x, t)

        return evaluate

    def draw(self, sampler: Sampler, name: VariantName, seed: int) -> Drawn:
        """Samples in [-1, 1]."""
        generator = make_generator("soft_diffusion", self.problem.data, seed, device=self.device)
        x, nfe = draw(sampler, self.clean(name, seed), self.problem.train.shape, self.settings.samples, generator)
        return Drawn(2 * x - 1, nfe)

    def nearest(self, x: Tensor) -> float:
        """The median over x of the RMS distance a pixel, in [-1, 1], to the nearest training image."""
        return (nearest(x, self.real)[0].median() / self.real.shape[1] ** 0.5).item()

    def spread(self, x: Tensor) -> float:
        """The total variance over the training images'."""
        return (x.var(0).sum() / self.real.var(0).sum()).item()

    def cell(self, name: VariantName, table: str, label: str, nfe: int | None, n: int, **protocol: object) -> Cell:
        variant, config, settings = VARIANTS[name], self.book.config, self.settings.training
        training = {
            "network": settings.network, "train_steps": settings.steps, "train_batch": settings.batch, "train_lr": settings.lr,
            "ema": settings.ema, "loss": variant.loss, "level": variant.level, "weighting": "1/sigma^2",
            "sigma_max": variant.sigma_max or config.sigma_max, "until": variant.until or config.until,
        }  # fmt: skip
        return self.book.cell(table, self.problem.data, METHOD, label, nfe, training | protocol, n=n, over="trainings")


def networks(book: Book, data: str) -> None:
    """Train the job's variants, one network a seed each, and measure them and their samples."""
    here = Networks(book, data)
    if "main" in book.job.train:
        real_images(here)
    for name in book.job.train:
        held_out_losses(here, name)
        for label, kind in samplers(name).items():
            for nfe in here.settings.nfes[name]:
                sample(here, name, label, kind, nfe)
        if name in ("main", "masking"):
            strips(here, name)
    book.arrays["real"] = to_unit(here.held_out.images[:SHOWN]).numpy()


def group_losses(problem: Problem, group: Sequence[Pair], device: str) -> Losses:
    """The sum of the losses of all networks of a group, each with its own times and noise, on the same images: (n,)."""
    settings, images = problem.config.networks.training, problem.train.images.to(device)
    names = list(dict.fromkeys(name for name, _ in group))
    share = len(group) // len(names)  # networks of each variant, next to each other

    def losses(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[rows.to(device)]
        batch = random_flip(batch, generator) if settings.flip else batch
        x0 = ((to_unit(batch) + 1) / 2).repeat(share, 1, 1, 1)
        drawn = {name: LOSSES[VARIANTS[name].loss].pairs(problem.corruption(name), x0, generator) for name in names}
        x = torch.cat([x for _, x in drawn.values()])
        note(len(x))
        level = torch.cat([LEVELS[settings.level](None, t) for t, _ in drawn.values()]).to(x)
        phi = network(x, level).reshape(len(names), *x0.shape)
        parts = [LOSSES[VARIANTS[name].loss].losses(problem.corruption(name), phi[i], x0, xt, t)
                 for i, (name, (t, xt)) in enumerate(drawn.items())]  # fmt: skip
        return torch.cat(parts).reshape(len(group), len(rows)).sum(0)

    return losses


def real_images(here: Networks) -> None:
    """What real images get in the place of samples; the distance to the training images is of held-out ones."""
    data, held_out = here.problem.data, to_unit(here.held_out.images)
    floor(here.book, here.judge, "real", data, here.settings.samples)
    with here.book.cell("real", data, "real images", HELD_OUT, None, {"parts": PARTS}) as cell:
        if cell.todo:
            parts = held_out.chunk(PARTS)
            cell.add("nearest", [here.nearest(part) for part in parts], n=len(held_out) / len(parts))


def held_out_losses(here: Networks, name: VariantName) -> None:
    """Both losses on images that no network saw, per pixel; the same noise for every network."""
    with here.cell(name, "held out", VARIANTS[name].label, None, len(here.unseen)) as cell:
        if cell.todo:
            cell.add_each([unseen_losses(here, name, here.clean(name, seed)) for seed in here.settings.seeds])


def unseen_losses(here: Networks, name: VariantName, clean: Clean) -> dict[str, float]:
    images, process, generator = here.unseen, here.problem.corruption(name), make_generator("held out", device=here.device)
    found = {kind: [] for kind in LOSSES}
    for t in LOSS_TIMES:
        x, _ = process.perturb(images, t, generator)
        phi = clean(x, t.item()) - x
        for kind, loss in LOSSES.items():
            found[kind].append(loss.losses(process, phi, images, x, t).mean().item() / images[0].numel())
    return {f"{kind}_loss": sum(losses) / len(losses) for kind, losses in found.items()}


def sample(here: Networks, name: VariantName, label: str, kind: type, nfe: int) -> None:
    """Samples of every network of a variant: FID, IS, total variance over the data's, distance to the training images."""
    modes, samples = here.problem.settings.start_modes, here.settings.samples
    how = {"clean": "trained", "grid": "uniform", "start": "Gaussian", "start_modes": modes, "n_samples": samples}
    with here.cell(name, VARIANTS[name].table, label, nfe, samples, **how) as cell:
        if cell.todo:
            sampler = kind(here.problem.corruption(name), uniform_times(nfe))
            draws = {seed: partial(here.draw, sampler, name, seed) for seed in here.settings.seeds}
            x = judge_samples(cell, here.judge, draws, also={"variance_ratio": here.spread, "nearest": here.nearest}).x[:SHOWN]
            cell.arrays[f"samples/{label}/{nfe}"] = x.numpy()
            cell.arrays[f"neighbours/{label}/{nfe}"] = here.real[nearest(x, here.real)[1]].reshape(x.shape).numpy()


def strips(here: Networks, name: VariantName) -> None:
    """A test image corrupted, what the network makes of it, and one path of the Momentum Sampler, at the same times."""
    with here.cell(name, "fig1", VARIANTS[name].label, None, 4) as cell:
        if cell.todo:
            clean, process, images = here.clean(name, here.settings.seeds[0]), here.problem.corruption(name), here.unseen[:4]
            generator = make_generator("strip", device=here.device)
            forward = {t: process.perturb(images, t, generator)[0] for t in STRIP_TIMES}
            start = process.prior_sample(images.shape, generator, device=here.device)
            path = momentum_path(MomentumSampler(process, uniform_times(STRIP_STEPS)), clean, start, generator)
            pictures = {"forward": forward.values(), "means": [clean(x, t) if t else x for t, x in forward.items()],
                        "reverse": [path[round((1 - t) * STRIP_STEPS)] for t in STRIP_TIMES]}  # fmt: skip
            cell.arrays |= {f"strip/{name}/{kind}": torch.stack(list(x)).cpu().numpy() for kind, x in pictures.items()}


def momentum_path(sampler: Sampler, clean: Clean, x: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The states at all times of a sampler, from 1 to 0."""
    path: list[Tensor] = []

    def recorded(x: Tensor, t: float) -> Tensor:
        path.append(x)
        return clean(x, t)

    end = sampler(recorded, x, generator)
    return [*path, end]
