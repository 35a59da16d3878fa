"""What a DEIS run may be told."""

from typing import Literal

from pydantic import Field, PositiveInt
from rescore.config import SectionSettings, Settings
from rescore.specs import ModelConfig, ModelJob

DatasetName = Literal["mixture1d", "mixture1d_narrow", "digits_exact"]
GridName = Literal["uniform", "quadratic", "rho7", "log-rho"]


class Dataset(Settings):
    """How many starting points each seed draws for a data set's experiments."""

    samples: PositiveInt = Field(description="of each seed")


class Table(SectionSettings):
    """Table 6.2."""

    sections = ("table", "trained")

    rows: tuple[PositiveInt, ...] = Field((5, 10, 15, 20, 50), description="evaluations; a Runge-Kutta method rounds up")
    grid: GridName = "quadratic"
    projections: PositiveInt = Field(200, description="of sw2")


class Ingredients(SectionSettings):
    """Figs. 6.3 and 6.5."""

    nfes: tuple[PositiveInt, ...] = (5, 10, 20, 50)
    grids: tuple[GridName, ...] = ("uniform", "quadratic", "rho7", "log-rho")


class Orders(SectionSettings):
    """Orders of convergence."""

    steps: tuple[PositiveInt, ...] = Field((32, 64, 128, 256), min_length=2)


class Job(ModelJob):
    """By exact-score problem the sections that measure it; or, with `models: [vp]`, `trained`: Table 6.2 on that network."""

    subjects_of = {"table": Literal["digits_exact"], **dict.fromkeys(("ingredients", "orders", "change"), DatasetName),
                   "trained": Literal[None]}  # fmt: skip


class Config(ModelConfig):
    """One scale of the paper."""

    seeds: tuple[int, ...] = Field((0, 1, 2, 3), min_length=2)
    t0: float = Field(1e-3, gt=0, lt=1, description="where sampling stops")
    datasets: dict[DatasetName, Dataset]
    reference_steps: PositiveInt = Field(50, description="of rho4RK in log rho, where no closed form gives the solution")
    table: Table = Table()
    ingredients: Ingredients = Ingredients()
    orders: Orders = Orders()
    jobs: dict[str, Job]
