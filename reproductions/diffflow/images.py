"""Tables 3.2 to 3.5: likelihood and FID of models of images, and the cost of an iteration beside DDPM's."""

import math
from collections.abc import Callable
from functools import cache, cached_property, partial
from pathlib import Path

import torch
from rescore.cost.saved_bytes import kept_bytes, peak_bytes
from rescore.cost.timing import iteration_seconds
from rescore.data.images import load_images
from rescore.data.pixels import crop_to, dequantise, pad_to, to_unit
from rescore.errors import Diverged
from rescore.experiments.book import Book, Cell
from rescore.likelihood import bits_per_dim
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.models.judge import Judge
from rescore.networks import NoisePrediction, make_network
from rescore.neural_sde import DiffFlow, ImageField, NeuralSDE, adjoint_loss, l_beta, on_new_paths, train_diffflow
from rescore.objectives import DSM
from rescore.processes import VP
from rescore.random import derive_seed, make_generator
from rescore.specs.model import Part
from torch import Tensor, nn

from reproductions.diffflow.config import GRIDS, T0
from reproductions.diffflow.config import DiffFlow as DiffFlowFit
from reproductions.diffflow.methods import ddpm_sampler, diffflow_training, sweep, trained_once

TABLES = {"digits": "3.2", "mnist": "3.2", "cifar10": "3.3"}
SHOWN = 16  # images kept for the figure
LEVEL = 999.0  # what the networks of score matching call the end of time

Number = str | tuple[str, float, int]
"""What is measured of a DiffFlow model: `bound`, `ode`, or the FID of a table with lambda and the number of steps."""


class Pictures:
    """One set of images and the DiffFlow models of it, trained and measured when a cell first asks for it.

    One generator serves all that is drawn of a model, so that its numbers are found together.
    """

    def __init__(self, book: Book, data: str, fit: DiffFlowFit | None = None):
        self.book, self.config, self.data = book, book.config, data
        self.settings, self.device = book.config.images, book.run.device
        self.fit = fit or self.settings.training
        self.training = diffflow_training(self.fit)
        self.images, self.held_out = (load_images(data, split) for split in ("train", "test"))
        self.rivals = TrainedModels(book) if book.job.models else None
        self.numbers, self.rival_fid, self.tested = cache(self._numbers), cache(self._rival_fid), cache(self._tested)

    @property
    def judge(self) -> Judge:
        return self.rivals.judge

    @property
    def protocol(self) -> dict[str, object]:
        """Of the models."""
        return self.fit.protocol | self.network_protocol

    @property
    def network_protocol(self) -> dict[str, object]:
        settings = self.settings
        network = Part(name=settings.network, settings=settings.network_settings)
        return network.protocol("network") | {"side": settings.side, "gain": settings.gain}

    @cached_property
    def pixels(self) -> Tensor:
        """All training images, dequantised once."""
        generator = make_generator("diffflow", "dequantise", self.data)
        return dequantise(pad_to(self.images.images, self.settings.side), generator, self.images.grey_levels)[0].to(self.device)

    def network(self, *names: object) -> nn.Module:
        channels, settings = self.images.shape[0], self.settings
        return make_network(settings.network, dict(settings.network_settings), channels, settings.side, derive_seed(*names))

    def pair(self, *names: object) -> NeuralSDE:
        """Drift and score, untrained."""
        scale, gain = LEVEL / self.fit.T, self.settings.gain
        fields = (ImageField(self.network(*names, part), scale, gain) for part in ("drift", "score"))
        return NeuralSDE(*fields, self.fit.g).to(self.device)

    def model(self, seed: int) -> DiffFlow:
        names = "diffflow", self.data, seed
        of = self.settings.model_dump(include={"side", "network", "network_settings", "gain"})

        def make(folder: Path) -> DiffFlow:
            generator = make_generator(*names, device=self.device)
            return train_diffflow(self.pair(*names), self.pixels, self.training, generator, folder)

        return trained_once(self.book, self.fit, f"{self.data}-{seed}", make, of)

    def drawn(
        self,
        model: DiffFlow,
        n: int,
        steps: int,
        generator: torch.Generator,
        lam: float = 1.0,
        batch: int | None = None,
        **options: str,
    ) -> Tensor:
        """n images (n, *shape) in [-1, 1], without the borders that the model has.

        Args:
            batch: images at a time, on which the draws depend; None: as many as in an iteration of the training.
        """
        channels, *size = self.images.shape
        parts, batch = [], batch or self.fit.batch
        for start in range(0, n, batch):
            state = (min(batch, n - start), channels, self.settings.side, self.settings.side)
            u = torch.randn(state, generator=generator, device=generator.device)
            parts.append(model.sample(u, generator, steps, lam, **options).cpu())
        return crop_to(torch.cat(parts), tuple(size))

    def _tested(self, seed: int) -> tuple[Tensor, float]:
        """Held-out images, dequantised anew for each seed."""
        test = pad_to(self.held_out.images[: self.settings.test_images], self.settings.side)
        return dequantise(test, make_generator("diffflow", self.data, seed, "dequantise"), self.images.grey_levels)

    def bits(self, seed: int, generator: torch.Generator, log_prob: Callable[..., Tensor], **options: float) -> float:
        """Bits per dimension of the held-out images."""
        x, per_unit = self.tested(seed)
        found = torch.cat([log_prob(part, generator, **options) for part in x.to(self.device).split(self.fit.batch)]).double()
        return bits_per_dim(found.mean(), math.prod(x.shape[1:]), per_unit).item()

    def _numbers(self, seed: int) -> tuple[dict[Number, float | Diverged], Tensor | None]:
        """All numbers of a model, or why there is none; and where FID is measured, images to show."""
        names, model, fit, config = ("diffflow", self.data, seed), self.model(seed), self.fit, self.config
        generator = make_generator(*names, "test", device=self.device)
        bits = partial(self.bits, seed, generator)

        def fid(table: str, lam: float, steps: int) -> float:
            return self.judge(self.drawn(model, config.evaluation.samples, steps, generator, lam), ["fid"])["fid"]

        numbers: dict[Number, Callable[[], float]] = {
            "bound": lambda: bits(model.elbo),
            "ode": lambda: bits(model.log_prob, tolerance=config.tolerance),
        }
        if self.rivals:
            asked = [("3.3", lam, fit.sampling_steps) for lam in (1.0, 0.0)] + [("3.4", 1.0, n) for n in config.sweep]
            numbers |= {key: partial(fid, *key) for key in asked}
        found = {key: attempt(seed, number) for key, number in numbers.items()}
        return found, self.drawn(model, SHOWN, fit.sampling_steps, generator) if self.rivals else None

    def values(self, key: Number) -> list[float]:
        """A number of each model. Raises Diverged if one of them has none."""
        found = [self.numbers(seed)[0][key] for seed in self.config.seeds]
        for value in found:
            if isinstance(value, Diverged):
                raise value
        return found

    def _rival_fid(self, name: str, deterministic: bool, steps: int, seed: int) -> float:
        """Of one of the suite's models of these images: ancestral samples or DDIM's, from the same noise."""
        sampler = ddpm_sampler(self.rivals.process(name), steps, deterministic)
        drawn = self.rivals.draw(Sampling("3.4", name, "", name, sampler), seed, seed)
        return self.judge(drawn.x, ["fid"])["fid"]

    def rival_fids(self, name: str, deterministic: bool, steps: int) -> list[float]:
        return [self.rival_fid(name, deterministic, steps, seed) for seed in self.config.training_seeds]


def attempt(seed: int, measure: Callable[[], float]) -> float | Diverged:
    """What it measures, or why there is none."""
    try:
        return measure()
    except Diverged as error:
        return Diverged(f"seed {seed}: {error}")


def measure(book: Book, data: str) -> None:
    here = Pictures(book, data)
    likelihoods(here)
    if here.rivals:
        fids(here)
        book.arrays[f"images/{data}/data"] = to_unit(here.held_out.images[:SHOWN]).numpy()
    costs(here)


def likelihoods(here: Pictures) -> None:
    fit, settings = here.fit, here.settings
    n = min(settings.test_images, len(here.held_out))
    tested = {"test_images": n, "dequantised": "uniform", "grey_levels": here.images.grey_levels}
    how = {
        "bound": {"bound": "elbo", "grid": GRIDS["DiffFlow"]},
        "ode": {"tolerance": here.config.tolerance, "trace": "hutchinson"},
    }
    # Table 3.3 names the grid and marks bounds with <=; Table 3.2 does neither, so that its number is taken to be the ODE's
    variants = (fit.grid, f"{fit.grid}, ODE") if here.data == "cifar10" else ("ELBO", "")
    for variant, key in zip(variants, ("bound", "ode"), strict=True):
        place = TABLES[here.data], here.data, "DiffFlow", variant, fit.sampling_steps
        with here.book.cell(*place, here.protocol | tested | how[key], n=n, over="trainings") as cell:
            if cell.todo:
                cell.add("bpd", here.values(key))


def fids(here: Pictures) -> None:
    """Table 3.3's SDE and ODE, and the rows of Tables 3.4 and 3.5."""
    config, fit, open_cell = here.config, here.fit, partial(fid_cell, here, matched=f"{here.data}/DiffFlow")
    ours = here.protocol | {"grid": GRIDS["DiffFlow"]}
    for lam, variant in ((1.0, fit.grid), (0.0, f"{fit.grid}, ODE")):
        with open_cell("3.3", fit.sampling_steps, "DiffFlow", variant, ours) as cell:
            if cell.todo:
                cell.add("fid", here.values(("3.3", lam, fit.sampling_steps)))
                if lam:
                    cell.arrays[f"images/{here.data}/DiffFlow"] = here.numbers(config.seeds[0])[1].numpy()
    swept = partial(open_cell, method="DiffFlow", variant=fit.grid, protocol=ours)
    sweep(swept, config.sweep, "fid", lambda n: here.values(("3.4", 1.0, n)))
    for name in here.rivals.names:
        for method, variant, deterministic in (("DDPM", "L_s", False), ("DDIM", "", True)):
            rival_sweep(here, name, method, variant, deterministic)


def fid_cell(
    here: Pictures, table: str, nfe: int, method: str, variant: str, protocol: dict[str, object], matched: str = ""
) -> Cell:
    place, samples = (table, here.data, method, variant, nfe), here.config.evaluation.samples
    judged = here.judge.protocol("fid", torch.empty(samples))
    return here.book.cell(*place, protocol | dict(judged), n=samples, over="trainings", matched=matched)


def rival_sweep(here: Pictures, name: str, method: str, variant: str, deterministic: bool) -> None:
    """Tables 3.4 and 3.5 of one of the suite's models of these images."""
    spec = here.rivals.spec(name)
    protocol = {"process": spec.process.name, "score": "trained", "grid": GRIDS["DDPM"], "t0": T0} | spec.protocol
    matched = here.rivals.matched(name)
    swept = partial(fid_cell, here, method=method, variant=variant, protocol=protocol, matched=matched)
    sweep(swept, here.config.sweep, "fid", partial(here.rival_fids, name, deterministic))


def costs(here: Pictures) -> None:
    """An iteration beside DDPM's with one such network, and the memory share of the states."""
    fit, settings, device = here.fit, here.settings, here.device
    n, process, ratios = fit.sampling_steps, VP(), []
    clock = "CPU seconds of one thread" if device == "cpu" else "wall"
    protocol = here.network_protocol | {"train_batch": fit.batch, "N": n, "timed": settings.timed, "clock": clock}
    with here.book.cell("text", here.data, "DiffFlow", "", None, protocol, n=fit.batch) as cell:
        if cell.todo:
            x, times = here.pixels[: fit.batch], l_beta(n, fit.t0, fit.T, fit.beta)
            for seed in here.config.seeds:
                generator, pair = make_generator("diffflow", "cost", seed, device=device), here.pair("cost", seed)
                ddpm = NoisePrediction(here.network("cost", seed), process, "steps").to(device)
                losses = partial(on_new_paths, adjoint_loss, pair, x, times, generator)
                both = {"ours": (pair, losses), "DDPM": (ddpm, partial(DSM(), ddpm, process, x, generator))}
                seconds = iteration_seconds(both, settings.timed, device)
                ratios.append(seconds["ours"] / seconds["DDPM"])
            cell.add("train_time_ratio", ratios)
            states, graphs = 100 * (n + 1) * x.nbytes, peak_bytes(pair, losses)
            cell.exact("states_percent_of_adjoint", states / graphs, n=1)
            cell.exact("states_percent_of_training", states / (graphs + kept_bytes(pair)), n=1)
