"""The settings of a gDDIM run."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import SectionSettings
from rescore.settings import Seeds
from rescore.specs.config import ModelConfig, ModelJob

Section = Literal[
    "recovery",
    "noise",
    "factors",
    "lambdas",
    "grid",
    "trained",
    "trained_cld",
    "trained_grid",
    "noise_trained",
    "phases",
    "score_recovery",
    "corrected",
    "corrected_trained",
    "held",
    "held_trained",
]


class Recovery(SectionSettings):
    """Prop. 7."""

    steps: tuple[PositiveInt, ...] = (1, 2, 5, 10, 20, 50)


class Factors(SectionSettings):
    """Table 7.1."""

    sections = ("factors", "trained", "trained_cld")

    nfes: tuple[PositiveInt, ...] = (10, 20, 27, 30, 40, 50)
    euler_nfes: tuple[PositiveInt, ...] = Field((10, 20, 50, 1000), description="of the naive Euler solver, on the mixture")


class Lambdas(SectionSettings):
    """Table 7.2."""

    sections = ("lambdas", "trained", "trained_cld")

    values: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
    nfe: PositiveInt = 50


class Grid(SectionSettings):
    """Table 7.3."""

    sections = ("grid", "trained", "trained_grid")

    nfes: tuple[PositiveInt, ...] = (10, 20, 50, 100)
    long_nfe: PositiveInt | None = Field(1000, description="of the table's last column, for its printed rows only")
    tolerances: tuple[PositiveFloat, ...] = Field((1e-1, 1e-2, 1e-3), description="of RK45")

    @model_validator(mode="after")
    def _columns_differ(self) -> "Grid":
        if self.long_nfe in self.nfes:
            raise ValueError(f"long_nfe: {self.long_nfe} is already one of nfes")
        return self


class Corrected(SectionSettings):
    """Predictors with a corrector beside predictors alone, on CLD."""

    sections = ("corrected", "corrected_trained")

    nfes: tuple[PositiveInt, ...] = (11, 21, 31, 51)  # odd: two a step, and one to denoise
    orders: tuple[PositiveInt, ...] = (2, 3)


class Held(SectionSettings):
    """RK45 of Table 7.3 at the tightest tolerance that takes so many evaluations."""

    sections = ("held", "held_trained")

    nfes: tuple[PositiveInt, ...] = (10, 20, 50)


class Job(ModelJob):
    """Which parts of the paper a process measures.

    On exact scores `recovery`, one step on a single data point (Prop. 7), `noise`, eps along the flow (fig. 7.1), and Tables
    7.1 to 7.3: `factors`, `lambdas` and `grid`; `trained` are these tables on the job's `models`, `trained_cld` the first two
    alone and `trained_grid` the third. `noise_trained` is fig. 7.1 on a network of CLD, `phases` fig. 7.2, `score_recovery`
    Props. 6 and 8; `corrected` and `held` are correctors and RK45 beside the predictors, with `_trained` on the job's models.
    """

    measure: tuple[Section, ...] = ()


class Config(ModelConfig):
    """One scale of the paper. `samples` are states a seed; the two-dimensional mixture takes `samples_2d`."""

    seeds: Seeds = Field((0, 1, 2, 3), min_length=2)
    samples: PositiveInt = 64
    samples_2d: PositiveInt = 500
    projections: PositiveInt = Field(64, description="directions of the sliced Wasserstein distance")
    reference_steps: PositiveInt = Field(400, description="steps of the solution that counts as exact")
    recovery: Recovery = Recovery()
    factors: Factors = Factors()
    lambdas: Lambdas = Lambdas()
    grid: Grid = Grid()
    corrected: Corrected = Corrected()
    held: Held = Held()
    jobs: dict[str, Job]
