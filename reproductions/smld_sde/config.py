"""The settings of a run. A field whose value the note does not print is an assumption, listed in README.md."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from rescore.config import SectionSettings
from rescore.settings import Seeds, Settings
from rescore.specs.config import ModelConfig, ModelJob
from rescore.specs.training import EnsembleTraining

BETA_MAX = 20.0  # of DDPM's chain: N betas up to BETA_MAX / N, which must be below 1

Section = Literal[
    "example",
    "toy",
    "exact_grid",
    "sampled_grid",
    "steps",
    "largest_sigma",
    "trained",
    "likelihoods",
    "losses",
    "ncsn",
    "manifold",
    "bands",
    "kernel",
    "encoding",
]


class Annealing(Settings):
    """Annealed Langevin (note algorithm 1): `levels` of sigma from the first to the last, geometric."""

    sigma_first: PositiveFloat
    sigma_last: PositiveFloat
    levels: int = Field(10, ge=2)
    steps_per_level: PositiveInt = 100
    step_size: PositiveFloat = Field(description="alpha of the last level")


class Example(SectionSettings):
    """The note's Langevin example (fig. 7)."""

    particles: PositiveInt = 10_000
    steps: PositiveInt = 100
    step_size: PositiveFloat = 0.01
    other_step_sizes: tuple[PositiveFloat, ...] = (0.001, 0.05)
    long_particles: PositiveInt = Field(1000, description="of the long run, which shows the slow mixing")
    long_steps: PositiveInt = 10_000
    annealed_particles: PositiveInt = 4000
    annealing: Annealing = Annealing(sigma_first=3.0, sigma_last=0.05, step_size=1e-3)


class Toy(SectionSettings):
    """NCSN's mixture in the plane; the last sigma is the mixture's own width."""

    particles: PositiveInt = 1280
    steps: PositiveInt = 1000
    step_size: PositiveFloat = Field(0.1, description="as algorithm 1's alpha: the drift is multiplied by half of it")
    annealing: Annealing = Annealing(sigma_first=20.0, sigma_last=1.0, step_size=0.1)


class Grid(SectionSettings):
    """Fig. 17."""

    sections: ClassVar[tuple[str, ...]] = ("exact_grid", "sampled_grid", "largest_sigma")

    levels: int = Field(1000, gt=BETA_MAX)
    sampled_levels: int = Field(1000, gt=BETA_MAX)
    particles: PositiveInt = Field(400, description="of each seed, on the sampled problem")


class Steps(SectionSettings):
    """The predictors' error against their number of steps."""

    steps: tuple[Annotated[int, Field(gt=BETA_MAX)], ...] = (30, 100, 300, 1000, 3000)


class LargestSigma(SectionSettings):
    """SMLD's chain with other last levels."""

    sigmas: tuple[PositiveFloat, ...] = (0.5, 5.0, 50.0)


class Trained(SectionSettings):
    """Fig. 17 and Score-SDE Tables 1 to 3 on trained networks; `likelihoods` is Table 2 alone.

    Args:
        levels: N of fig. 17's chains, 1000 in the paper.
        steps: N of Table 3's samplers, 1000 in the paper, the last at eps; with a corrector twice the evaluations.
        tolerance: of Table 2's ODE solver.
        chains: the model of fig. 17 and Table 1 for each kind of chain.
        table2, table3: the printed name of each model that has a row there; None: `ve`, `vp` and `subvp`, by their networks.
    """

    sections: ClassVar[tuple[str, ...]] = ("trained", "likelihoods")

    levels: int = Field(1000, gt=BETA_MAX)
    steps: int = Field(1000, ge=2)
    tolerance: PositiveFloat = 1e-5
    chains: dict[Literal["VE", "VP"], str] = {"VE": "ve", "VP": "vp"}
    table2: dict[str, str] | None = None
    table3: dict[str, str] | None = None


class Losses(SectionSettings):
    """DDPM's two losses (note eqs. 30 and 31).

    Args:
        levels: of DDPM's chain that samples, 1000 in the paper.
    """

    levels: int = Field(1000, gt=BETA_MAX)


class Ncsn(SectionSettings):
    """Annealed Langevin (algorithm 1) and plain Langevin on a trained NCSN, whose levels are those of its training.

    Args:
        step_size: epsilon of algorithm 1, for pixels in [0, 1]; four times that for those in [-1, 1].
        samples: of each training.
        ratios: training images with noise, at each level, of the signal-to-noise ratio.
    """

    steps_per_level: PositiveInt = 100
    step_size: PositiveFloat = 2e-5
    samples: PositiveInt = 180
    ratios: PositiveInt = 500


class Estimation(EnsembleTraining, SectionSettings):
    """NCSN's score network of its toy, 2-128-128-2 with softplus, trained with less steps."""

    width: PositiveInt = 128
    steps: PositiveInt = 3000
    lr: PositiveFloat = 1e-3
    members: int = Field(4, ge=2)


class Manifold(Estimation):
    """Fig. 8: sliced score matching of points on a circle, with these standard deviations of noise."""

    steps: int = Field(3000, ge=4)  # of which quarters are compared
    noises: tuple[NonNegativeFloat, ...] = (0.0, 0.01, 0.1)


class Bands(Estimation):
    """Figs. 9 and 10: errors of the score of NCSN's mixture on a grid, with these standard deviations of noise."""

    noises: tuple[NonNegativeFloat, ...] = (0.0, 3.0, 10.0)
    grid: int = Field(100, ge=2, description="points on a side of the square")


class Kernel(Estimation):
    """Eqs. 5 and 6: explicit score matching of a kernel density of the Langevin example.

    Args:
        points: M of the kernel density that networks learn, and of others whose exact score is compared.
        widths: h of the kernel, likewise; the first is what networks learn.
    """

    points: tuple[PositiveInt, ...] = (1000, 100, 5000)
    widths: tuple[PositiveFloat, ...] = (0.1, 0.03, 0.3)


class Encoding(SectionSettings):
    """Section 2.4: so many held-out images encoded by the probability flow."""

    images: int = Field(40, ge=2)
    tolerance: PositiveFloat = 1e-5


class Job(ModelJob):
    """One process: the sections that it measures; `trained` is fig. 17 and the tables on its `models`."""

    measure: tuple[Section, ...] = ()


class Config(ModelConfig):
    """One scale of the paper."""

    section_versions = {"trained": 2, "likelihoods": 2, "encoding": 2}

    seeds: Seeds = Field((0, 1, 2, 3, 4, 5, 6, 7), min_length=4)
    example: Example = Example()
    toy: Toy = Toy()
    grid: Grid = Grid()
    steps: Steps = Steps()
    largest_sigma: LargestSigma = LargestSigma()
    trained: Trained = Trained()
    losses: Losses = Losses()
    ncsn: Ncsn = Ncsn()
    manifold: Manifold = Manifold()
    bands: Bands = Bands()
    kernel: Kernel = Kernel()
    encoding: Encoding = Encoding()
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _rows_are_of_models(self) -> "Config":
        for table in ("table2", "table3"):
            for model in getattr(self.trained, table) or ():
                if model not in self.models:
                    raise ValueError(f"trained.{table}: {model} is unknown; allowed: {', '.join(self.models) or '(none)'}")
        return self
