"""The settings of a DEIS run."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from rescore.config import SectionSettings
from rescore.settings import Seeds, Settings
from rescore.specs.config import ModelConfig, ModelJob
from rescore.specs.training import EnsembleTraining

DatasetName = Literal["mixture1d", "mixture1d_narrow", "digits_exact"]
GridName = Literal["uniform", "quadratic", "rho7", "log-rho"]
WholeSteps = Annotated[int, Field(gt=0, multiple_of=12)]  # of methods of 1, 2, 3 and 4 evaluations a step


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


class Rivals(SectionSettings):
    """Figs. 6.5 and 6.7 on a trained network."""

    nfes: tuple[PositiveInt, ...] = (10, 15, 20)
    grids: tuple[GridName, ...] = ("uniform", "quadratic")
    images: PositiveInt = Field(256, description="of the training data, from which A-DDIM's variances are estimated")


class BestGrids(SectionSettings):
    """Table 6.2 with the best grid of each cell."""

    rows: tuple[PositiveInt, ...] = (5, 10, 20)
    grids: tuple[GridName, ...] = ("uniform", "quadratic", "rho7", "log-rho")


class Extrapolation(SectionSettings):
    """Fig. 6.4b."""

    sections = ("extrapolation", "extrapolation_trained")

    steps: PositiveInt = Field(10, description="N, as printed")
    between: int = Field(4, ge=2, description="parts of each step, at the times between which the error is taken")
    grids: tuple[GridName, ...] = ("uniform", "quadratic")
    samples: PositiveInt = Field(64, description="of each trained network")


class Fitting(SectionSettings, EnsembleTraining):
    """Fig. 6.2: networks on the line."""

    steps: PositiveInt = 3000
    lr: PositiveFloat = 2e-3
    members: int = Field(3, ge=2)
    std: float = Field(0.01, gt=0, description="of the Gaussian data")
    width: PositiveInt = 64
    blocks: PositiveInt = 2


class Likelihood(SectionSettings):
    """Section 6.1: likelihoods by DEIS."""

    sections = ("likelihood", "likelihood_trained")

    nfes: tuple[WholeSteps, ...] = (12, 24, 48, 96)
    grid: GridName = "log-rho"
    tolerance: PositiveFloat = Field(1e-5, description="of dopri5, relative and absolute")


class Tableaus(SectionSettings):
    """Section 6.5: second-order Runge-Kutta methods."""

    sections = ("tableaus", "tableaus_trained")

    nfes: tuple[PositiveInt, ...] = (10, 20, 50)


EXACT = ("ingredients", "orders", "change", "extrapolation", "likelihood", "tableaus")
TRAINED = ("trained", "rivals", "best_grids", "extrapolation_trained", "likelihood_trained", "tableaus_trained", "fitting")


class Job(ModelJob):
    """By exact-score problem the sections that it is measured by; or, with `models: [vp]`, those on that network.

    `fitting` trains its own networks and needs no model.
    """

    subjects_of = {
        "table": Literal["digits_exact"],
        **dict.fromkeys(EXACT, DatasetName),
        **dict.fromkeys(TRAINED, Literal[None]),
    }


class Config(ModelConfig):
    """One scale of the paper."""

    section_versions = {"best_grids": 3}

    seeds: Seeds = Field((0, 1, 2, 3), min_length=2)
    t0: float = Field(1e-3, gt=0, lt=1, description="where sampling stops")
    datasets: dict[DatasetName, Dataset]
    reference_steps: PositiveInt = Field(50, description="of rho4RK in log rho, where no closed form gives the solution")
    table: Table = Table()
    ingredients: Ingredients = Ingredients()
    orders: Orders = Orders()
    rivals: Rivals = Rivals()
    best_grids: BestGrids = BestGrids()
    extrapolation: Extrapolation = Extrapolation()
    fitting: Fitting = Fitting()
    likelihood: Likelihood = Likelihood()
    tableaus: Tableaus = Tableaus()
    jobs: dict[str, Job]
