"""The settings of an LCSS run. A default is the paper's where it states one; the others are listed in README.md."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import SectionSettings
from rescore.settings import Seeds
from rescore.specs.config import ModelConfig, ModelJob
from rescore.specs.training import EnsembleTraining

Section = Literal["theory", "checkerboard", "timing", "stability", "one_draw", "hutchinson", "quality", "variants", "images"]
OBJECTIVES = {"ssm": "SSM", "fd_ssm": "FD-SSM", "dsm": "DSM", "lcss": "LCSS"}  # the paper's names
OF_MODELS = {"quality", "variants", "images"}


class Theory(SectionSettings):
    """What has a closed form, or a mean over standard normals."""

    draws: PositiveInt = Field(4000, description="of each seed, for the moments of the losses")
    steps: PositiveInt = Field(10_000, description="of the reverse diffusions on Gaussian data")
    sigmas: tuple[PositiveFloat, ...] = Field((0.01, 0.1, 1.0, 10.0), description="noise levels of the losses' moments")


class Checkerboard(SectionSettings, EnsembleTraining):
    """Densities of Table 1; Table 2 times the same network, and `theory` takes its gradients."""

    sections = ("checkerboard", "timing", "theory")

    members: int = Field(3, ge=2)
    width: PositiveInt = Field(300, description="of the two hidden layers")
    steps: PositiveInt = 20_000
    batch: PositiveInt = 10_000
    lr: PositiveFloat = 1e-3
    sigma: PositiveFloat = Field(0.1, description="of DSM and LCSS")
    eps: PositiveFloat = Field(0.1, description="of FD-SSM")
    cells: PositiveInt = Field(200, description="of the grid, along one side")


class Langevin(SectionSettings):
    """Samples of eq. 31 from the densities of `checkerboard`, and the law of its chains on a grid."""

    sections = ("checkerboard",)

    epsilon: PositiveFloat = Field(0.1, description="of eq. 31: the variance of the noise of a step")
    steps: PositiveInt = 1000
    chains: PositiveInt = Field(1000, description="of each network")
    half_width: PositiveFloat = Field(9.0, description="of the law's square, which no chain should leave")
    cells: PositiveInt = Field(72, description="of the law's grid, along one side")


class Timing(SectionSettings):
    """Table 2."""

    rounds: int = Field(100, ge=3, description="one iteration of each objective in a round")
    batch: PositiveInt = Field(10_000, description="of the MLP")
    side: PositiveInt = Field(256, description="of the images of NCSNv2")
    width: PositiveInt = Field(128, description="of NCSNv2")
    images: PositiveInt = Field(16, description="its batch")


class Stability(SectionSettings, EnsembleTraining):
    """Losses of the four objectives on the digits, many small networks side by side.

    `theory` takes the network's gradients, `one_draw` trains it anew.
    """

    sections = ("stability", "theory", "one_draw")

    members: int = Field(6, ge=2)
    width: PositiveInt = Field(64, description="of the MLP")
    blocks: PositiveInt = Field(1, description="of the MLP")
    sigma_max: PositiveFloat = Field(10.0, description="of the VE process; its sigma_min is 0.01")
    steps: PositiveInt = 1000
    batch: PositiveInt = Field(64, description="of a member")
    lr: PositiveFloat = 2e-3
    every: PositiveInt = Field(50, description="steps between two errors on held-out images")


class OneDraw(SectionSettings):
    """Several draws of x' about one data point, in the mean of eq. 19."""

    sections = ("one_draw",)

    draws: tuple[PositiveInt, ...] = Field((1, 4, 16), description="of x' on Gaussian data")
    points: PositiveInt = Field(2000, description="of Gaussian data, each seed")
    sigmas: tuple[PositiveFloat, ...] = Field((0.1, 1.0, 10.0), description="noise levels there")
    steps: PositiveInt = Field(400, description="of the trainings on the digits")
    trained: int = Field(4, ge=2, description="draws there, beside one")

    @model_validator(mode="after")
    def _one_is_among_them(self) -> "OneDraw":
        if 1 not in self.draws:
            raise ValueError(f"draws: {self.draws} lacks 1, which the others are compared with")
        return self


class Hutchinson(SectionSettings):
    """Traces by random probes, at the Jacobians of the exact score of the noised digits."""

    points: PositiveInt = Field(400, description="of each seed")
    probes: tuple[PositiveInt, ...] = Field((1, 16), description="numbers M of probes")
    sigmas: tuple[PositiveFloat, ...] = Field((0.1, 0.5, 1.0, 10.0), description="noise levels, of images in [-1, 1]")


class Sampling(SectionSettings):
    """How samples of trained models are drawn."""

    sections = ("quality", "variants")

    steps: int = Field(1000, ge=2, description="a predictor and a corrector step each for VE, Euler-Maruyama for the others")
    snr: PositiveFloat = Field(0.16, description="of the corrector")


class Quality(SectionSettings):
    """Table 3, and the same after trainings of fewer `steps`."""

    steps: tuple[PositiveInt, ...] = ()


class Variants(SectionSettings):
    """Fig. 7: trainings with other `gammas` of eq. 21, of fewer `steps`."""

    steps: PositiveInt = 500
    gammas: tuple[PositiveFloat, ...] = ()


class Images(SectionSettings):
    """Figs. 2 to 6: samples early in a training and at its end, by annealed Langevin dynamics over its noise levels.

    The defaults are NCSNv2's for CIFAR-10's 232 levels, where its step of 6.2e-6 belongs to sigma = 0.01.
    """

    early: PositiveInt = Field(5000, description="steps of the training; the models keep `snapshots` there")
    steps_per_level: PositiveInt = 5
    relative_step: PositiveFloat = Field(0.062, lt=1, description="of a step at sigma: so much of sigma^2 s")


class Job(ModelJob):
    """Some sections; `quality` and `variants` are of a DSM and an LCSS model on one process, `images` of any objectives."""

    measure: tuple[Section, ...] = Field(min_length=1)
    variant: str = Field("", description="what the records call the models, as the paper does: network, depth and process")

    @model_validator(mode="after")
    def _models_have_a_name(self) -> "Job":
        if bool(self.models) != bool(OF_MODELS & set(self.measure)) or bool(self.models) != bool(self.variant):
            raise ValueError("models and variant belong to the sections quality, variants and images, and these need both")
        return self


class Config(ModelConfig):
    """One scale of the paper.

    Args:
        seeds: of the draws of `theory`; and of the samples of trained models where `training_seeds` has a single one. Several
            training seeds have one set of samples each.
    """

    section_versions = {"quality": 2, "variants": 2}

    seeds: Seeds = Field((0, 1, 2), min_length=2)
    theory: Theory = Theory()
    checkerboard: Checkerboard = Checkerboard()
    langevin: Langevin = Langevin()
    timing: Timing = Timing()
    stability: Stability = Stability()
    one_draw: OneDraw = OneDraw()
    hutchinson: Hutchinson = Hutchinson()
    sampling: Sampling = Sampling()
    quality: Quality = Quality()
    variants: Variants = Variants()
    images: Images = Images()
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _errors_are_taken_at_the_end(self) -> "Config":
        for name, section in {"stability": self.stability, "one_draw": self.one_draw}.items():
            if section.steps % self.stability.every:
                raise ValueError(
                    f"{name}.steps: {section.steps}; allowed: multiples of stability.every, {self.stability.every}"
                )
        return self

    @model_validator(mode="after")
    def _pairs(self) -> "Config":
        for name, job in self.jobs.items():
            models = [self.models[model] for model in job.models if model in self.models]
            objectives, found = [of.objective.name for of in models], ", ".join(of.objective.name for of in models)
            if {"quality", "variants"} & set(job.measure) and objectives != ["dsm", "lcss"]:
                raise ValueError(f"jobs.{name}.models: objectives {found}; allowed: one of dsm, then one of lcss")
            if "images" in job.measure:
                if len(set(objectives)) < len(objectives) or not OBJECTIVES.keys() >= set(objectives):
                    raise ValueError(f"jobs.{name}.models: objectives {found}; allowed: one each of {', '.join(OBJECTIVES)}")
                early = self.under(name).images.early
                for model, of in zip(job.models, models, strict=True):
                    if not of.objective.levels or not of.snapshots or early % of.snapshots or early >= of.steps:
                        raise ValueError(
                            f"models.{model}: section images needs levels of the objective, and snapshots after "
                            f"{early} steps (images.early), before its last"
                        )
        return self
