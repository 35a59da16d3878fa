"""The data, and the corruptions of the paper and of its ablations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reproductions.soft_diffusion.config import Config, VariantName
from rescore.corruptions import (
    Blur, Constant, Corruption, GaussianStart, GeometricNoise, Identity, Interpolated, Masking, NodePath, kept_schedule, mse_matched,
)  # fmt: skip
from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book
from rescore.processes import VE
from rescore.samplers import FlowMomentumSampler, MomentumSampler, NaiveSampler

METHOD = "Soft Diffusion"
SAMPLERS = {
    "Naive Sampler": NaiveSampler,
    "Momentum Sampler": MomentumSampler,
    "Probability Flow Momentum Sampler": FlowMomentumSampler,
}
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


def unit_interval(images: ImageSet, n: int | None = None) -> Tensor:
    """The first n images in [0, 1], (n, C, H, W) float64."""
    return (to_unit(images.images[:n]).double() + 1) / 2


def faces() -> Tensor:
    """The second data set of the schedules: the 100 faces, 25x25, that ship in scikit-image; (100, 1, 25, 25) float64."""
    from skimage.data import lfw_subset  # slow to import

    return torch.from_numpy(lfw_subset()[:100, None]).double()


def blur_for(config: Config, side: int, of: int) -> Blur:
    """The configured blur of images with side `of`, its lengths scaled to another side."""
    return Blur((side, side), round(config.blur.half_size * side / of), config.blur.std * side / of)


def shortest_schedule(config: Config, family: Blur, images: Tensor, name: str, folder: Path
                      ) -> tuple[Interpolated, NodePath, np.ndarray]:  # fmt: skip
    """The shortest path of images called `name`, kept in `folder`: the jobs of a run share it."""
    settings = config.schedule
    return kept_schedule(folder, name, family, images[: settings.images], config.sigma_max, settings.candidates, settings.nodes,
                         config.until)  # fmt: skip


def ve_process(config: Config, images: Tensor) -> VE:
    """The VE process whose MSE the schedule follows; by default it ends at the largest distance of two images (NCSNv2)."""
    largest = config.ve_sigma_max or torch.pdist(images.flatten(1)).max().item()
    return VE(config.sigma_min, largest)


@dataclass(frozen=True)
class Corruptions:
    """All corruptions of one data set.

    Args:
        images: training images in [0, 1], (n, C, H, W) float64, no more than `STATISTICS`.
        folder: where the shortest path is kept.
    """

    config: Config
    images: Tensor
    folder: Path

    @classmethod
    def of(cls, book: Book) -> Corruptions:
        """Of the config's data. Raises MissingData if they cannot be had."""
        data = load_images(book.config.data, "train")
        return cls(book.config, unit_interval(data, STATISTICS), book.run.folder.parent / "schedules")

    def __call__(self, variant: Variant) -> Corruption:
        """A variant's corruption with a start fitted to C_1 of the training images."""
        config, size = self.config, tuple(self.images.shape[2:])
        noise = GeometricNoise(config.sigma_min, variant.sigma_max or config.sigma_max, variant.until or config.until)
        family = Masking(size) if variant.family == "masking" else blur_for(config, size[0], size[0])
        if variant.level == "wasserstein":
            level = shortest_schedule(config, family, self.images, config.data, self.folder)[0]
        elif variant.level == "mse":
            level = mse_matched(family, noise, self.images, ve_process(config, self.images))
        else:
            level = Interpolated((config.until, 1.0), (family.lowest, family.highest))
        return self._started(Corruption(family, level, noise))

    def ve(self) -> Corruption:
        """Noise alone, up to where the VE process of the MSE schedule ends."""
        noise = GeometricNoise(self.config.sigma_min, ve_process(self.config, self.images).sigma_max, 1.0)
        return self._started(Corruption(Identity(), Constant(), noise))

    def _started(self, process: Corruption) -> Corruption:
        return replace(process, start=GaussianStart.fit(process.C(1.0)(self.images), self.config.start_modes))


def say_common(book: Book) -> None:
    """What every record of the paper says."""
    book.protocol |= {"sigma_min": book.config.sigma_min, "pixels": "0 to 1"}
