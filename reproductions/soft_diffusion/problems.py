"""The data, the corruptions of the paper and of its ablations, and a Gaussian on which samplers act exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reproductions.soft_diffusion.config import Config, VariantName
from rescore.config import config_hash
from rescore.corruptions import (
    Blur, Constant, Corruption, GaussianStart, GeometricNoise, Identity, Interpolated, Masking, mse_matched,
    wasserstein_schedule,
)  # fmt: skip
from rescore.corruptions import Path as NodePath
from rescore.corruptions.process import Clean
from rescore.data.images import ImageSet
from rescore.data.pixels import to_unit
from rescore.files import atomic_path
from rescore.machine.locks import waiting_lock
from rescore.processes import VE
from rescore.samplers import FlowMomentumSampler, MomentumSampler, NaiveSampler
from rescore.samplers.base import Sampler

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


def shortest_schedule(
    config: Config, family: Blur, images: Tensor, name: str, folder: Path
) -> tuple[Interpolated, NodePath, np.ndarray]:
    """`wasserstein_schedule`, kept in `folder`: the jobs of a run share it."""
    settings = config.schedule
    what = {"data": name, "family": repr(family), "sigma": config.sigma_max, "until": config.until}
    path = folder / f"{name}-{config_hash(what | settings.model_dump())}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with waiting_lock(folder / "lock", "another process that computes a schedule"):
        if not path.is_file():
            schedule, found, distances = wasserstein_schedule(
                family, images[: settings.images], config.sigma_max, settings.candidates, settings.nodes, config.until
            )
            with atomic_path(path) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, times=schedule.times, levels=schedule.levels, epsilon=found.epsilon, nodes=found.nodes,
                         distances=distances)  # fmt: skip
        with np.load(path) as stored:
            schedule = Interpolated(tuple(stored["times"].tolist()), tuple(stored["levels"].tolist()))
            found = NodePath(float(stored["epsilon"]), tuple(stored["nodes"].tolist()))
            return schedule, found, stored["distances"]


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


@dataclass(frozen=True)
class GaussianData:
    """Data N(mean, covariance) on images: the posterior mean is linear, so that every sampler here has an exact law.

    Args:
        mean: (d,), covariance: (d, d), of flattened images of `shape`.
    """

    mean: Tensor
    covariance: Tensor
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, images: Tensor) -> GaussianData:
        return cls(images.mean(0).flatten(), torch.cov(images.flatten(1).T), tuple(images.shape[1:]))

    def marginal(self, process: Corruption, t: float) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and covariance of x_t, and the matrix of C_t."""
        basis = torch.eye(len(self.mean), dtype=torch.float64).reshape(-1, *self.shape)
        C = process.C(t)(basis).flatten(1).T
        noise = process.sigma(t).item() ** 2 * torch.eye(len(C), dtype=torch.float64)
        return C @ self.mean, C @ self.covariance @ C.T + noise, C

    def posterior(self, process: Corruption, t: float) -> Clean:
        """E[x_0 | x_t]."""
        mean, covariance, C = self.marginal(process, t)
        gain = torch.linalg.solve(covariance, C @ self.covariance).T
        return lambda x, _: (self.mean + (x.flatten(1) - mean) @ gain.T).reshape(x.shape)

    def law_after(self, sampler: Sampler) -> tuple[Tensor, Tensor]:
        """Mean and covariance of what the sampler makes of exact draws of x_1: each step is affine plus isotropic noise."""
        mean, covariance, _ = self.marginal(sampler.process, 1.0)
        d = len(mean)
        probes = torch.cat((torch.zeros(1, d), torch.eye(d))).double()
        for i in range(sampler.steps):
            clean = self.posterior(sampler.process, sampler.times[i])
            x = (mean + probes).reshape(-1, *self.shape)
            h = clean(x, sampler.times[i])
            last = i == sampler.steps - 1
            end = (h if last else sampler.step(i, h, x, torch.zeros_like)).flatten(1)
            matrix = (end[1:] - end[0]).T
            mean, covariance = end[0], matrix @ covariance @ matrix.T
            if not last:
                noise = (sampler.step(i, h[:1], x[:1], torch.ones_like).flatten() - mean).mean()
                covariance = covariance + noise**2 * torch.eye(d, dtype=torch.float64)
        return mean, covariance

    def frechet(self, mean: Tensor, covariance: Tensor) -> float:
        """The squared 2-Wasserstein distance of N(mean, covariance) to the data: FID's formula on pixels."""
        values, axes = torch.linalg.eigh(self.covariance)
        root = axes * values.clamp_min(0).sqrt() @ axes.T
        cross = torch.linalg.eigvalsh(root @ covariance @ root).clamp_min(0).sqrt().sum()
        distance = (mean - self.mean).square().sum() + covariance.trace() + self.covariance.trace() - 2 * cross
        return max(0.0, distance.item())
