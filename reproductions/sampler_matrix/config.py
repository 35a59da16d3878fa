"""The settings of a run of the matrix."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt
from rescore.config import JobConfig, PaperConfig
from rescore.settings import Seeds

ProcessName = Literal["VE", "VP", "cosine VP", "sub-VP", "CLD", "BDM"]


class Job(JobConfig):
    """One process: the columns of the matrix that it measures."""

    measure: dict[ProcessName, tuple[Literal["column"], ...]] = Field(min_length=1)


class Config(PaperConfig):
    """One scale of the matrix."""

    seeds: Seeds = Field((0, 1, 2, 3), min_length=2)
    samples: PositiveInt = Field(16, description="of each seed")
    budgets: tuple[PositiveInt, ...] = Field((5, 10, 20, 50, 100, 1000), description="score evaluations a sampler may take")
    tolerances: tuple[PositiveFloat, ...] = Field((1e-1, 1e-2, 1e-3, 1e-4, 1e-5), description="of the adaptive solvers")
    reference_tolerance: PositiveFloat = Field(1e-7, description="of the solution that solver_rmse is measured from")
    projections: PositiveInt = Field(50, description="of sw2")
    images: PositiveInt = Field(64, description="of the data, from which A-DDIM's variances are estimated")
    jobs: dict[str, Job]
