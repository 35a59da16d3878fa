"""What a gDDIM run may be told."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rescore.models.spec import ModelConfig, ModelJob

Section = Literal["recovery", "noise", "factors", "lambdas", "grid"]


class Job(ModelJob):
    """One process: which parts of the paper it measures on exact scores; with `models`, Tables 7.1 to 7.3 on those.

    recovery: one step on a single data point (Prop. 7); noise: eps along the flow (fig. 7.1); factors, lambdas, grid: Tables
    7.1, 7.2 and 7.3.
    """

    measure: tuple[Section, ...] = ()


class Config(ModelConfig):
    """One scale of the paper. `samples` are states a seed; the two-dimensional mixture takes `samples_2d`."""

    seeds: tuple[int, ...] = Field((0, 1, 2, 3), min_length=2)
    samples: PositiveInt = 64
    samples_2d: PositiveInt = 500
    projections: PositiveInt = Field(64, description="directions of the sliced Wasserstein distance")
    reference_steps: PositiveInt = Field(400, description="steps of the solution that counts as exact")
    recovery_steps: tuple[PositiveInt, ...] = (1, 2, 5, 10, 20, 50)
    factor_nfes: tuple[PositiveInt, ...] = (10, 20, 27, 30, 40, 50)
    euler_nfes: tuple[PositiveInt, ...] = Field((10, 20, 50, 1000), description="of the naive Euler solver, on the mixture")
    lambda_nfe: PositiveInt = 50
    lambdas: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
    grid_nfes: tuple[PositiveInt, ...] = (10, 20, 50, 100)
    long_nfe: PositiveInt | None = Field(1000, description="of Table 7.3's last column, for its printed rows only")
    rk45_tolerances: tuple[PositiveFloat, ...] = (1e-1, 1e-2, 1e-3)
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _columns_differ(self) -> "Config":
        if self.long_nfe in self.grid_nfes:
            raise ValueError(f"long_nfe: {self.long_nfe} is already one of grid_nfes")
        return self
