"""The data, and the corruptions of the paper and of its ablations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rescore.corruptions import (
    Blur,
    Constant,
    Corruption,
    GeometricNoise,
    Identity,
    Interpolated,
    Masking,
    NodePath,
    kept_schedule,
    mse_matched,
)
from rescore.data.images import load_images
from rescore.data.pixels import to_unit_interval
from rescore.experiments.book import Book
from rescore.objectives.soft import SoftPredicts, SoftWeighting
from rescore.processes import VE
from rescore.samplers import FlowMomentumSampler, MomentumSampler, NaiveSampler
from torch import Tensor

from reproductions.soft_diffusion.config import Config, VariantName

METHOD = "Soft Diffusion"
SAMPLERS = {
    "Naive Sampler": NaiveSampler,
    "Momentum Sampler": MomentumSampler,
    "Probability Flow Momentum Sampler": FlowMomentumSampler,
}
HEUN = "Heun's method on the flow"
STATISTICS = 2000  # images that the start and the MSE schedule are fitted to, at most


@dataclass(frozen=True)
class Variant:
    """A corruption with its schedule and loss, and the published rows' names for it.

    Args:
        family: `blur`, `masking`, or `none`: noise alone.
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
    weighting: SoftWeighting = "1/sigma^2"
    predicts: SoftPredicts = "residual"
    method: str = METHOD


VARIANTS: dict[VariantName, Variant] = {
    "main": Variant("fig3", "blur"),
    "clean": Variant("section-4", "blur; clean-prediction loss (Bansal et al.)", loss="clean"),
    "mse": Variant("F.1.2", "blur; MSE-matched blur schedule", level="mse"),
    "joint": Variant("F.1.1", "blur; noise and blur change together", until=1.0),
    "sigma-0.05": Variant("F.1.1", "blur; sigma_max=0.05", sigma_max=0.05),
    "sigma-0.025": Variant("F.1.1", "blur; sigma_max=0.025", sigma_max=0.025),
    "masking": Variant("section-4", "masking", family="masking", level="linear"),
    "image": Variant("section-3", "blur; image predicted (eq. 8)", predicts="image"),
    "score": Variant("section-3", "blur; score predicted (eq. 7)", predicts="score"),
    "unit": Variant("section-3", "blur; w(t) = 1", weighting="1"),
    "ve": Variant("fig3", "noise alone", family="none", level="none", predicts="score", method="VE SDE"),
    "masking-clean": Variant(
        "section-4", "masking; clean-prediction loss (Bansal et al.)", family="masking", level="linear", loss="clean"
    ),
}


def told(blur: Blur) -> str:
    """What the ledger says about a kernel, in pixels."""
    return f"std:{blur.highest:g} half_size:{blur.half_size}"


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
        """Of the config's data; the book then says what every record says. Raises MissingData if they cannot be had."""
        book.protocol |= {"sigma_min": book.config.sigma_min, "pixels": "0 to 1"}
        images = load_images(book.config.data, "train").images[:STATISTICS]
        return cls(book.config, to_unit_interval(images), book.run.folder.parent / "schedules")

    def __call__(self, variant: Variant) -> Corruption:
        """A variant's corruption with a start fitted to C_1 of the training images."""
        if variant.family == "none":
            return self.ve()
        config, size = self.config, tuple(self.images.shape[2:])
        noise = GeometricNoise(config.sigma_min, variant.sigma_max or config.sigma_max, variant.until or config.until)
        family = Masking(size) if variant.family == "masking" else self.blur(size[0])
        if variant.level == "wasserstein":
            level = self.shortest_path(config.data, self.images)[0]
        elif variant.level == "mse":
            level = mse_matched(family, noise, self.images, self.ve_process)
        else:
            level = Interpolated((config.until, 1.0), (family.lowest, family.highest))
        return Corruption(family, level, noise).started(self.images, config.start_modes)

    def protocol(self, variant: Variant, process: Corruption) -> dict[str, object]:
        """What the ledger says about the corruption of a variant."""
        said: dict[str, object] = {"sigma_max": process.noise.sigma_max, "until": process.noise.until}
        if isinstance(process.family, Blur):
            said["blur"] = told(process.family)
        if variant.level == "wasserstein":
            said |= {f"schedule_{name}": value for name, value in self.config.schedule.model_dump().items()}
        return said | ({"ve_sigma_max": self.ve_process.sigma_max} if variant.level == "mse" else {})

    def blur(self, side: int) -> Blur:
        """The configured blur, its lengths scaled to images of another side."""
        blur, of = self.config.blur, self.images.shape[-1]
        return Blur((side, side), round(blur.half_size * side / of), blur.std * side / of)

    def shortest_path(self, name: str, images: Tensor) -> tuple[Interpolated, NodePath, np.ndarray]:
        """That of images called `name`, kept in `folder`: the jobs of a run share it."""
        config, settings = self.config, self.config.schedule
        return kept_schedule(
            self.folder,
            name,
            self.blur(images.shape[-1]),
            images[: settings.images],
            config.sigma_max,
            settings.candidates,
            settings.nodes,
            config.until,
        )

    @property
    def ve_process(self) -> VE:
        """That whose MSE a schedule follows; by default it ends at the largest distance of two images (NCSNv2)."""
        largest = self.config.ve_sigma_max or torch.pdist(self.images.flatten(1)).max().item()
        return VE(self.config.sigma_min, largest)

    def ve(self) -> Corruption:
        """Noise alone, up to where the VE process of the MSE schedule ends."""
        noise = GeometricNoise(self.config.sigma_min, self.ve_process.sigma_max, 1.0)
        return Corruption(Identity(), Constant(), noise).started(self.images, self.config.start_modes)
