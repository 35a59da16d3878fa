"""The images and the corruptions of the paper and of its ablations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from reproductions.soft_diffusion.config import VariantName
from rescore.corruptions import (
    Blur, Constant, Corruption, GaussianStart, GeometricNoise, Identity, Interpolated, Masking, NodePath, kept_schedule, mse_matched,
)  # fmt: skip
from rescore.corruptions.families import Family
from rescore.corruptions.schedules import Schedule
from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import to_unit
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.processes import VE
from rescore.samplers import FlowMomentumSampler, MomentumSampler, NaiveSampler

METHOD = "Soft Diffusion"
SAMPLERS = {
    "Naive Sampler": NaiveSampler,
    "Momentum Sampler": MomentumSampler,
    "Probability Flow Momentum Sampler": FlowMomentumSampler,
}
MAIN = Axes("blur; {sampler}")
STATISTICS = 2000  # images that the start and the MSE schedule are fitted to, at most


@dataclass(frozen=True)
class Variant:
    """A corruption with its schedule and loss, and the published rows' names for it.

    Args:
        level: `wasserstein`, `mse` or `linear`.
        sigma_max, until: of the noise; None as configured.
    """

    table: str
    label: str
    family: str = "blur"
    level: str = "wasserstein"
    sigma_max: float | None = None
    until: float | None = None
    loss: str = "soft"


VARIANTS: dict[VariantName, Variant] = {
    "main": Variant("fig3", "blur"),
    "clean": Variant("section-4", "blur; clean-prediction loss (Bansal et al.)", loss="clean"),
    "mse": Variant("F.1.2", "blur; MSE-matched blur schedule", level="mse"),
    "joint": Variant("F.1.1", "blur; noise and blur change together", until=1.0),
    "sigma-0.05": Variant("F.1.1", "blur; sigma_max=0.05", sigma_max=0.05),
    "sigma-0.025": Variant("F.1.1", "blur; sigma_max=0.025", sigma_max=0.025),
    "masking": Variant("section-4", "masking", family="masking", level="linear"),
}


def samplers(name: VariantName) -> dict[str, type]:
    """Which samplers a variant runs, by the variants of their records: all three for the main one."""
    if name != "main":
        return {VARIANTS[name].label: MomentumSampler}
    return {MAIN(sampler=sampler): kind for sampler, kind in SAMPLERS.items()}


def unit_interval(images: ImageSet, n: int | None = None) -> Tensor:
    """The first n images in [0, 1], (n, C, H, W) float64."""
    return (to_unit(images.images[:n]).double() + 1) / 2


def faces() -> Tensor:
    """The second data set of the schedules: the 100 faces, 25x25, that ship in scikit-image; (100, 1, 25, 25) float64."""
    from skimage.data import lfw_subset  # slow to import

    return torch.from_numpy(lfw_subset()[:100, None]).double()


class Problem:
    """One set of images with all its corruptions, for a section.

    Attributes:
        train: the training images as they come.
        images: those in [0, 1], (n, C, H, W) float64, no more than `STATISTICS`.
        corruption: of a variant, with a start fitted to C_1 of the training images.
    """

    def __init__(self, book: Book, data: str):
        self.book, self.config, self.data, self.settings = book, book.config, data, book.config.datasets[data]
        book.protocol |= {"sigma_min": self.config.sigma_min, "pixels": "0 to 1"}
        self.train = load_images(data, "train")
        self.images = unit_interval(self.train, STATISTICS)
        self.corruption = cache(self._corruption)

    def noise(self, variant: Variant) -> GeometricNoise:
        config = self.config
        return GeometricNoise(config.sigma_min, variant.sigma_max or config.sigma_max, variant.until or config.until)

    def blur(self, side: int) -> Blur:
        """The configured one, its lengths scaled to images of another side."""
        blur, scale = self.settings.blur, side / self.images.shape[-1]
        return Blur((side, side), round(blur.half_size * scale), blur.std * scale)

    def shortest(self, name: str, images: Tensor) -> tuple[Interpolated, NodePath, np.ndarray]:
        """The blur schedule of images, in the folder that all jobs share."""
        settings, config = self.settings.schedule, self.config
        images, family, folder = images[: settings.images], self.blur(images.shape[-1]), self.book.run.folder.parent / "schedules"
        return kept_schedule(folder, name, family, images, config.sigma_max, settings.candidates, settings.nodes, config.until)

    @property
    def ve_sigma_max(self) -> float:
        """Of the VE process whose MSE the schedule follows; by default the largest distance of two images (NCSNv2)."""
        return self.settings.ve_sigma_max or torch.pdist(self.images.flatten(1)).max().item()

    def _corruption(self, name: VariantName) -> Corruption:
        variant = VARIANTS[name]
        side = self.images.shape[-1]
        family = Masking((side, side)) if variant.family == "masking" else self.blur(side)
        noise = self.noise(variant)
        if variant.level == "wasserstein":
            level = self.shortest(self.data, self.images)[0]
        elif variant.level == "mse":
            level = mse_matched(family, noise, self.images, VE(self.config.sigma_min, self.ve_sigma_max))
        else:
            level = Interpolated((self.config.until, 1.0), (family.lowest, family.highest))
        return self._started(family, level, noise)

    def ve(self) -> Corruption:
        """Noise alone, up to where the VE process of the MSE schedule ends."""
        return self._started(Identity(), Constant(), GeometricNoise(self.config.sigma_min, self.ve_sigma_max, 1.0))

    def _started(self, family: Family, level: Schedule, noise: Schedule) -> Corruption:
        process = Corruption(family, level, noise)
        return replace(process, start=GaussianStart.fit(process.C(1.0)(self.images), self.settings.start_modes))
