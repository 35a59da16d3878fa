"""The settings of a Soft Diffusion run. What the paper does not state is an assumption, listed in README.md."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import JobConfig, PaperConfig, SectionSettings, presence
from rescore.data.images import images_at_hand
from rescore.settings import Free, Seeds, Settings
from rescore.specs.training import TogetherTraining

Section = Literal["schedules", "gaussian", "networks", "rivals", "solvers", "overhead", "subsets", "masks"]
VariantName = Literal[
    "main", "clean", "mse", "joint", "sigma-0.05", "sigma-0.025", "masking", "image", "score", "unit", "ve", "masking-clean"
]


class Blur(Settings):
    """The kernel: its half size and largest standard deviation, in pixels."""

    half_size: PositiveInt = 8
    std: PositiveFloat = 4.5


class Schedule(Settings):
    """The shortest path: candidates, nodes of the path, training images on which distances are measured."""

    candidates: PositiveInt = 256
    nodes: PositiveInt = 32
    images: PositiveInt = 64


class Training(TogetherTraining):
    """Of every network of a job; `level` is what it is told of t: 999 t or t."""

    network: str = "mlp"
    settings: dict[str, Free] = {}
    level: Literal["steps", "time"] = "steps"
    ema: float = Field(0.999, ge=0, lt=1)


class Gaussian(SectionSettings):
    """Steps of the samplers on the Gaussian, and those of masking there."""

    sections: ClassVar = ("gaussian", "solvers")

    nfes: tuple[PositiveInt, ...] = (10, 20, 50, 100, 280)
    masking_nfes: tuple[PositiveInt, ...] = (16, 64, 256)


class Networks(SectionSettings):
    """What trained networks are worth.

    Args:
        samples: of each network and cell; `features`: through which FID sees them.
        nfes: steps of each network's samplers; `main` runs all three.
    """

    sections: ClassVar = ("networks", "rivals", "overhead", "masks")

    training: Training
    samples: PositiveInt = 500
    features: Literal["classifier", "inception"] = "classifier"
    classifier_steps: PositiveInt = 1000
    nfes: dict[VariantName, tuple[PositiveInt, ...]]


class Rivals(SectionSettings):
    """Networks trained as those of `networks` are, beside their records.

    Args:
        nfes: evaluations of each network's samplers; `main` runs Heun's method, with no more than these.
        cutoffs: singular values of C_t below these count as 0 where a score is turned into a clean prediction.
    """

    nfes: dict[VariantName, tuple[PositiveInt, ...]] = {}
    cutoffs: tuple[PositiveFloat, ...] = (0.1, 0.01, 0.001)


class Masks(SectionSettings):
    """Masks by both losses, from networks as they were after so many steps of one training (appendix E).

    Args:
        lengths: steps of the training; nfes: of the sampler.
    """

    lengths: tuple[PositiveInt, ...] = Field((250, 500, 1000), min_length=1)
    nfes: tuple[PositiveInt, ...] = (16, 64)


class Overhead(SectionSettings):
    """Iterations of training that are timed, one of each kind a round, of the trained network and of others by settings."""

    rounds: PositiveInt = 40
    batch: PositiveInt = 64
    networks: dict[str, dict[str, Free]] = {}


class Subsets(SectionSettings):
    """Schedules found from other images: a subset's images, candidate levels, nodes of a path."""

    images: PositiveInt = 16
    candidates: PositiveInt = 128
    nodes: PositiveInt = 16


class Job(JobConfig):
    """One process: the networks that its section `networks` or `rivals` trains and measures are `train`."""

    measure: tuple[Section, ...] = ()
    train: tuple[VariantName, ...] = ()


class Config(PaperConfig):
    """One scale of the paper.

    Args:
        seeds: of the networks; each draws its own samples.
        sigma_min, sigma_max, until: the noise grows geometrically up to t = until.
        ve_sigma_max: of the VE process that the MSE schedule follows; None is the largest distance of two training images.
        start_modes: directions of the Gaussian that sampling starts from.
    """

    section_versions = {"schedules": 2}

    seeds: Seeds = Field((0, 1, 2), min_length=2)
    data: Literal["digits", "cifar10", "celeba64"] = "digits"
    blur: Blur = Blur()
    sigma_min: PositiveFloat = 0.01
    sigma_max: PositiveFloat = 0.1
    until: float = Field(0.2, gt=0, lt=1)
    ve_sigma_max: PositiveFloat | None = None
    schedule: Schedule = Schedule()
    start_modes: PositiveInt = 64
    gaussian: Gaussian = Gaussian()
    networks: Networks
    rivals: Rivals = Rivals()
    masks: Masks = Masks()
    overhead: Overhead = Overhead()
    subsets: Subsets = Subsets()
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _trained_networks_are_sampled(self) -> "Config":
        for name, job in self.jobs.items():
            sections = [section for section in ("networks", "rivals") if section in job.measure]
            if len(sections) != bool(job.train):
                raise ValueError(f"jobs.{name}: train belongs to the section networks or rivals, and that needs it")
            nfes = getattr(self, sections[0]).nfes if sections else {}
            for variant in job.train:
                if not nfes.get(variant):
                    raise ValueError(f"jobs.{name}.train: {variant} has no nfes; allowed: {', '.join(nfes)}")
        return self

    def data_fingerprint(self, job: str) -> str:
        """Whether the images are at hand."""
        return presence(images_at_hand(self.data))
