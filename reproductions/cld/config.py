"""The settings of a CLD run. Every field that the paper does not state is an assumption, listed in README.md."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import SectionSettings
from rescore.settings import Seeds
from rescore.specs.config import ModelConfig, ModelJob
from rescore.specs.training import EnsembleTraining

Section = Literal[
    "scores",
    "damping",
    "densities",
    "weights",
    "splitting",
    "mixture",
    "frechet",
    "digits",
    "trained",
    "learned",
    "gradients",
    "paths",
    "multiscale",
    "jacobians",
]
Time = Annotated[float, Field(gt=0, le=1)]  # all processes end at 1
TIMES = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
Variant = Literal["EM-US", "EM-QS", "SSCS-US", "SSCS-QS"]


class Scores(SectionSettings):
    """Fig. 2: distances of scores from the score of N(0, I), and Jacobians, at these times."""

    times: tuple[Time, ...] = TIMES
    samples: PositiveInt = Field(5000, description="for each seed and time")


class Damping(SectionSettings):
    """Fig. 5: Langevin dynamics from one point, for several frictions."""

    ratios: tuple[PositiveFloat, ...] = (0.125, 0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0, 8.0)
    horizon: PositiveFloat = Field(40.0, description="the largest beta t")
    points: int = Field(8001, ge=2)
    tolerance: PositiveFloat = Field(0.01, description="mixed: KL stays below it, or the square of W2")


class Densities(SectionSettings):
    """Figs. 1 and 5: the joint density of x and v from two modes, and paths, in three regimes of friction."""

    ratios: tuple[PositiveFloat, ...] = Field((0.25, 1.0, 4.0), description="of the critical friction")
    horizon: PositiveFloat = Field(40.0, description="the largest beta t")
    points: int = Field(401, ge=2, description="times")
    cells: int = Field(121, ge=2, description="of the grid, along x and along v, to 4 standard deviations of the prior")
    tolerance: PositiveFloat = Field(0.01, description="mixed: the distance stays below it")
    shown: tuple[PositiveFloat, ...] = Field((0.2, 0.6, 1.5, 4.0), description="beta t of the densities that are drawn")
    paths: PositiveInt = Field(6, description="that are drawn")


class Weights(SectionSettings):
    """Fig. 6: ell_t and the noise of the regression targets at these times."""

    times: tuple[Time, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0)
    stabilisers: tuple[float, ...] = (0.0, 1e-9, 1e-6)
    data_variance: PositiveFloat = 0.3


class Splitting(SectionSettings):
    """Fig. 8: exact covariances that the samplers leave on Gaussian data."""

    nfe: tuple[PositiveInt, ...] = Field((25, 50, 100, 200, 400), min_length=2)
    data_variance: PositiveFloat = 0.3


class Mixture(SectionSettings):
    """Fig. 11: samplers on the mixture of nine Gaussians."""

    nfe: tuple[PositiveInt, ...] = (10, 20, 50, 100, 200)
    samples: PositiveInt = Field(1000, description="for each seed")


class Budgets(SectionSettings):
    """Evaluations of each sampler: CLD's by their names, and VPSDE's Euler-Maruyama and DDIM."""

    cld: dict[Variant, tuple[PositiveInt, ...]] = {}
    vp_em: tuple[PositiveInt, ...] = ()
    vp_ddim: tuple[PositiveInt, ...] = ()

    @property
    def cells(self) -> list[tuple[str, str, int]]:
        """(process, sampler, evaluations), the names as in the tables."""
        budgets = {("CLD", variant): of for variant, of in self.cld.items()}
        budgets |= {("VPSDE", "EM-US"): self.vp_em, ("VPSDE", "DDIM"): self.vp_ddim}
        return [(*names, nfe) for names, of in budgets.items() for nfe in of]


class Frechet(Budgets):
    """Tables 3 to 5 and 9: the samplers on the Gaussian with the digits' mean and covariance, exactly."""

    ablation_nfe: PositiveInt = 150


class Digits(Budgets):
    """The samplers on the exact score of scikit-learn's digits, and the tolerance of the ODE solver."""

    samples: PositiveInt = Field(100, description="for each seed")
    tolerances: tuple[PositiveFloat, ...] = Field((1e-5, 1e-4, 1e-3, 1e-2, 1e-1), description="the first is the reference")


class Trained(Budgets):
    """The samplers on trained networks; the ablations with the `ablation` sampler, which the paper does not state."""

    tolerances: tuple[PositiveFloat, ...] = ()
    ablation: Variant = "EM-QS"
    ablation_nfe: PositiveInt = 150


class PointNetworks(EnsembleTraining):
    """Residual MLPs of points in the plane, of `width` and so many `blocks`, that train side by side."""

    width: int = Field(64, ge=4, multiple_of=2)
    blocks: PositiveInt = 2
    steps: PositiveInt = 1500
    lr: PositiveFloat = 1e-3
    batch: PositiveInt = 256
    members: int = Field(3, ge=2)

    @property
    def network(self) -> str:
        """What the ledger says of the architecture."""
        return f"mlp {self.width}x{self.blocks}"


class Learned(PointNetworks, SectionSettings):
    """Figs. 2 (bottom), 7, 9, 10 and 12: networks trained on the mixture, CLD's and VPSDE's, with and without mixed score.

    Args:
        times: of the Jacobians, each of `samples` points.
        nfe: evaluations of the samplers, whose `samples` stand beside the data.
    """

    sections: ClassVar[tuple[str, ...]] = ("learned", "gradients")

    times: tuple[Time, ...] = TIMES
    samples: PositiveInt = 1000
    nfe: PositiveInt = 200


class Multiscale(PointNetworks, SectionSettings):
    """Figs. 12 and 13: networks trained on five small Swiss rolls, CLD's and VPSDE's, with the mixed score.

    Args:
        times, samples, nfe: as in `Learned`.
        exact_samples: of each member, by the exact score of rolls of so many `components`.
    """

    times: tuple[Time, ...] = TIMES
    samples: PositiveInt = 1000
    nfe: PositiveInt = 200
    exact_samples: PositiveInt = 60
    components: int = Field(300, ge=2)


class Jacobians(SectionSettings):
    """Figs. 2 (bottom), 9 and 12 of networks trained on images: `probes` for each of `samples` held-out images and time."""

    times: tuple[Time, ...] = TIMES
    samples: PositiveInt = 200
    probes: PositiveInt = 4


class Gradients(SectionSettings):
    """Fig. 7: the covariance of the gradients of HSM and DSM at these times, over `samples` draws."""

    times: tuple[Time, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5)
    samples: int = Field(1000, ge=2)


class Paths(SectionSettings):
    """Figs. 18 and 19: states on the way from noise to digits, at the times of the captions."""

    times: tuple[Time, ...] = (1.0, 0.5, 0.3, 0.2, 0.1, 1e-2, 1e-3, 1e-5)
    samples: PositiveInt = Field(200, description="for each seed")
    steps: PositiveInt = Field(150, description="of SSCS with quadratic striding, through all of `times`")
    tolerance: PositiveFloat = 1e-5

    @model_validator(mode="after")
    def _from_the_prior(self) -> "Paths":
        if self.times[0] != 1:
            raise ValueError(f"times: {self.times[0]:g} comes first; allowed: 1, where states are draws of the prior")
        return self


class Job(ModelJob):
    """One process: the sections that it measures; `trained` is the tables on its `models`, `jacobians` their Jacobians."""

    measure: tuple[Section, ...] = ()


class Config(ModelConfig):
    """One scale of the paper."""

    section_versions = {"paths": 2, "damping": 2}

    seeds: Seeds = Field((0, 1, 2, 3), min_length=2)
    scores: Scores = Scores()
    damping: Damping = Damping()
    densities: Densities = Densities()
    weights: Weights = Weights()
    splitting: Splitting = Splitting()
    mixture: Mixture = Mixture()
    frechet: Frechet = Frechet()
    digits: Digits = Digits()
    trained: Trained = Trained()
    learned: Learned = Learned()
    gradients: Gradients = Gradients()
    paths: Paths = Paths()
    multiscale: Multiscale = Multiscale()
    jacobians: Jacobians = Jacobians()
    jobs: dict[str, Job]
