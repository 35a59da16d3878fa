"""What an LCSS run may be told. A default is the paper's where it states one; the others are listed in README.md."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rescore.config import SectionSettings
from rescore.models.spec import ModelConfig, ModelJob

Section = Literal["theory", "checkerboard", "timing", "stability", "quality", "variants"]


class Theory(SectionSettings):
    """What has a closed form, or a mean over standard normals.

    Args:
        draws: of each seed, for the moments of the losses.
        steps: of the reverse diffusions on Gaussian data.
        sigmas: noise levels of the losses' moments.
    """

    draws: PositiveInt = 4000
    steps: PositiveInt = 10_000
    sigmas: tuple[PositiveFloat, ...] = (0.01, 0.1, 1.0, 10.0)


class Checkerboard(SectionSettings):
    """Densities of Table 1; Table 2 times the same network, and `theory` takes its gradients.

    Args:
        members: networks, each with its own weights and draws; errors are over them.
        width: of the two hidden layers.
        sigma: of DSM and LCSS.
        eps: of FD-SSM.
        cells: of the grid, along one side.
    """

    sections = ("checkerboard", "timing", "theory")

    members: int = Field(3, ge=2)
    width: PositiveInt = 300
    iterations: PositiveInt = 20_000
    batch: PositiveInt = 10_000
    lr: PositiveFloat = 1e-3
    sigma: PositiveFloat = 0.1
    eps: PositiveFloat = 0.1
    cells: PositiveInt = 200


class Timing(SectionSettings):
    """Table 2.

    Args:
        rounds: one iteration of each objective in a round.
        batch: of the MLP.
        side, width, images: side of the images, width and batch of NCSNv2.
    """

    rounds: int = Field(100, ge=3)
    batch: PositiveInt = 10_000
    side: PositiveInt = 256
    width: PositiveInt = 128
    images: PositiveInt = 16


class Stability(SectionSettings):
    """Losses of the four objectives on the digits, many small networks side by side; `theory` takes the network's gradients.

    Args:
        members: networks.
        width, blocks: of the MLP.
        sigma_max: of the VE process; its sigma_min is 0.01.
        iterations, batch, lr: of the training; the batch is a member's.
        every: steps between two errors on held-out images.
    """

    sections = ("stability", "theory")

    members: int = Field(6, ge=2)
    width: PositiveInt = 64
    blocks: PositiveInt = 1
    sigma_max: PositiveFloat = 10.0
    iterations: PositiveInt = 1000
    batch: PositiveInt = 64
    lr: PositiveFloat = 2e-3
    every: PositiveInt = 50


class Sampling(SectionSettings):
    """How samples of trained models are drawn.

    Args:
        steps: of the sampler: a predictor and a corrector step each for VE, Euler-Maruyama for the others.
        snr: of the corrector.
    """

    sections = ("quality", "variants")

    steps: PositiveInt = 1000
    snr: PositiveFloat = 0.16


class Quality(SectionSettings):
    """Table 3, and the same after trainings of fewer `iterations`."""

    iterations: tuple[PositiveInt, ...] = ()


class Variants(SectionSettings):
    """Fig. 7: trainings with other `gammas` of eq. 21, of fewer `iterations`."""

    iterations: PositiveInt = 500
    gammas: tuple[PositiveFloat, ...] = ()


class Job(ModelJob):
    """Some sections; `quality` and `variants` are of a DSM and an LCSS model on one process.

    Args:
        variant: what the records call the models, as the paper does: network, depth and process.
    """

    measure: tuple[Section, ...] = Field(min_length=1)
    variant: str = ""

    @model_validator(mode="after")
    def _models_have_a_name(self) -> "Job":
        if bool(self.models) != bool({"quality", "variants"} & set(self.measure)) or bool(self.models) != bool(self.variant):
            raise ValueError("models and variant belong to the sections quality and variants, and these need both")
        return self


class Config(ModelConfig):
    """One scale of the paper.

    Args:
        seeds: of the draws of `theory`; and of the samples of trained models where `training_seeds` has a single one. Several
            training seeds have one set of samples each.
    """

    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=2)
    theory: Theory = Theory()
    checkerboard: Checkerboard = Checkerboard()
    timing: Timing = Timing()
    stability: Stability = Stability()
    sampling: Sampling = Sampling()
    quality: Quality = Quality()
    variants: Variants = Variants()
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _pairs(self) -> "Config":
        for name, job in self.jobs.items():
            objectives = [self.models[model].objective.name for model in job.models if model in self.models]
            if job.models and objectives != ["dsm", "lcss"]:
                found = ", ".join(objectives)
                raise ValueError(f"jobs.{name}.models: objectives {found}; allowed: one of dsm, then one of lcss")
        return self
