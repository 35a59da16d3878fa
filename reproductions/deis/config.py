"""What a DEIS run may be told."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from rescore.config import Settings
from rescore.models.spec import ModelConfig, ModelJob

DatasetName = Literal["mixture1d", "mixture1d_narrow", "digits_exact"]
Experiment = Literal["table", "ingredients", "orders", "change"]
GridName = Literal["uniform", "quadratic", "rho7", "log-rho"]


class Dataset(Settings):
    """How many starting points each seed draws for a data set's experiments."""

    samples: PositiveInt = Field(description="of each seed")


class Job(ModelJob):
    """One process: for each exact-score problem the experiments to run; with `models: [vp]`, Table 6.2 on that network."""

    measure: dict[DatasetName, tuple[Experiment, ...]] = {}


class Config(ModelConfig):
    """One scale of the paper."""

    seeds: tuple[int, ...] = Field((0, 1, 2, 3), min_length=2)
    t0: float = Field(1e-3, gt=0, lt=1, description="where sampling stops")
    datasets: dict[DatasetName, Dataset]
    table_rows: tuple[PositiveInt, ...] = Field((5, 10, 15, 20, 50), description="evaluations; a Runge-Kutta method rounds up")
    table_grid: GridName = "quadratic"
    ingredient_nfe: tuple[PositiveInt, ...] = (5, 10, 20, 50)
    grids: tuple[GridName, ...] = ("uniform", "quadratic", "rho7", "log-rho")
    order_steps: tuple[PositiveInt, ...] = (32, 64, 128, 256)
    reference_steps: PositiveInt = Field(50, description="of rho4RK in log rho, where no closed form gives the solution")
    projections: PositiveInt = Field(200, description="of sw2")
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _jobs_name_known_datasets(self) -> "Config":
        for name, job in self.jobs.items():
            for dataset, experiments in job.measure.items():
                if dataset not in self.datasets:
                    raise ValueError(f"jobs.{name}.measure: {dataset} has no settings; allowed: {', '.join(self.datasets)}")
                if "table" in experiments and dataset != "digits_exact":
                    raise ValueError(f"jobs.{name}.measure.{dataset}: table is for digits_exact only")
        return self
