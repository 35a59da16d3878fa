"""Samples of a model, and what they are worth: image metrics against real images, with their protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from rescore.data.images import ImageSet
from rescore.data.pixels import Rounding, to_uint8
from rescore.machine.batches import in_batches
from rescore.machine.locks import waiting_lock
from rescore.metrics.features import (
    ClassifierSettings,
    Extractor,
    Features,
    InceptionFeatures,
    extract,
    reference_features,
    train_classifier,
)
from rescore.metrics.images import ImageSettings, evaluate, image_protocol
from rescore.random import Streams, make_generator
from rescore.samplers import Solver
from rescore.scores import Score

BATCH = 1000  # samples that are drawn at once


class Drawn(NamedTuple):
    """Samples x (n, C, H, W) in data coordinates, on the CPU, and the evaluations of each (of several batches the most).

    Args:
        at_once: how many were drawn at once, where samples depend on that (`Solver.common_step`); of several batches the most.
    """

    x: Tensor
    nfe: int
    at_once: int = 0


def draw(
    sampler: Solver, score: Score, shape: tuple[int, int, int], n: int, generator: torch.Generator, batch: int = BATCH
) -> Drawn:
    """n samples, `batch` at a time; start and noise of a sample follow from the seed of `generator` and its index alone."""
    process = sampler.process

    def drawn(rows: range) -> Drawn:
        streams = Streams.like(generator, len(rows), rows.start)
        u = process.prior_sample((len(rows), *process.state_shape(shape)), streams, device=generator.device)
        solution = sampler.solve(score, u, streams)
        return Drawn(process.project(solution.u).cpu(), solution.nfe, len(rows) * sampler.common_step)

    parts = list(in_batches(n, batch, drawn))
    x, nfes, sizes = zip(*parts, strict=True)
    return Drawn(torch.cat(x), max(nfes), max(sizes))


HELD_OUT, TRAINING = "held out", "training images"  # variants of `real images`


@dataclass(frozen=True)
class RealScore:
    """A metric of n real images in place of samples; `variant` says which."""

    variant: str
    metric: str
    value: float
    n: int
    protocol: Mapping[str, object]


@dataclass(frozen=True)
class Judge:
    """Real images seen through an extractor.

    Args:
        real: the features of the reference split.
        held_out: those of real images that are not among them; None if there are none.
        rounding: of generated images to uint8.
    """

    extractor: Extractor
    real: Features
    held_out: Features | None
    settings: ImageSettings = ImageSettings()
    rounding: Rounding = "truncate"
    device: str = "cpu"

    def __call__(self, x: Tensor, metrics: Iterable[str]) -> dict[str, float]:
        """The metrics of samples x (n, C, H, W) in [-1, 1]."""
        return evaluate(self._features(x), self.real, metrics, self.settings, self.device)

    def of_real(self, metrics: Iterable[str], samples: int) -> Iterator[RealScore]:
        """The two floors: metrics of real images in place of `samples` samples, or of as many as both kinds have.

        `held out` are images that the reference does not hold. `training images` are a part of the reference, on which the
        models and a small classifier are trained: what a generator gets that repeats them. A FID depends on the number of
        images, so both have the same; the reference stays whole.
        """
        kinds = {HELD_OUT: (self.held_out, "not in the reference"), TRAINING: (self.real, "part of the reference")}
        n = min(samples, *(len(images) for images, _ in kinds.values() if images is not None))
        for variant, (images, which) in kinds.items():
            if images is None:
                continue
            rows = torch.arange(n)
            if n < len(images):
                rows = torch.randperm(len(images), generator=make_generator("floor", images.source))[:n]
            for metric, value in evaluate(images[rows], self.real, metrics, self.settings, self.device).items():
                protocol = {**self.protocol(metric, rows), "images": f"{images.source}, {which}"}
                yield RealScore(variant, metric, value, n, protocol)

    def protocol(self, metric: str, x: Tensor) -> Mapping[str, object]:
        """What a metric of samples x depends on besides them."""
        like = Features(self.extractor.name, "samples", torch.zeros(len(x), 1))  # the protocol needs no more of them
        return image_protocol(metric, like, self.real, self.rounding, self.settings)

    def _features(self, x: Tensor) -> Features:
        return extract(self.extractor, to_uint8(x, self.rounding), "samples", device=self.device)


def make_judge(
    features: str,
    reference: ImageSet,
    held_out: ImageSet | None,
    settings: ClassifierSettings,
    folder: Path,
    device: str = "cpu",
    taught: ImageSet | None = None,
    rounding: Rounding = "truncate",
) -> Judge:
    """A judge by `inception`, or by the `classifier` that is trained on `taught`; what it learns and sees is kept in `folder`.

    Args:
        held_out: None if the reference holds all images.
        taught: labelled images; the reference if None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taught = taught or reference
    with waiting_lock(folder / "lock", f"another process that judges {reference.name}"):
        extractor = InceptionFeatures() if features == "inception" else train_classifier(taught, settings, folder, device)
        real = reference_features(extractor, reference, folder, device=device)
        others = None if held_out is None else reference_features(extractor, held_out, folder, device=device)
    return Judge(extractor, real, others, rounding=rounding, device=device)
