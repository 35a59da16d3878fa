"""The settings of a run of the benchmark."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt
from rescore.config import JobConfig, SectionSettings, presence
from rescore.data.pines import pines_at_hand
from rescore.settings import Seeds
from rescore.specs.grown import Grown
from rescore.specs.montecarlo import AnnealingSettings, Family, FlowTraining, RunsConfig
from rescore.specs.training import TrainingConfig

TargetName = Literal[
    "mg_released", "mg", "gmm40", "student2", "funnel1", "funnel", "manywell32", "brownian", "lgcp", "lgcp_synthetic"
]
Method = Literal["importance", "smc", "aft", "vi_nf", "snf", "pis", "dds", "dis", "truth"]


class Training(SectionSettings, TrainingConfig):
    """Of a policy, on a loss divided by the dimension."""

    sections = ("pis", "dds", "dis")

    batch: PositiveInt = 64
    lr: PositiveFloat = 5e-3


class Annealing(SectionSettings, AnnealingSettings):
    """SMC and AFT: a geometric path from N(0, I), HMC moves at each temperature."""

    sections = ("smc", "aft")

    hmc_steps: PositiveInt = 5
    leapfrogs: PositiveInt = 5


class LongAnnealing(Annealing):
    """The long SMC that a log Z by quadrature is held against."""

    sections = ("truth",)

    temperatures: PositiveInt = 200
    hmc_steps: PositiveInt = 2


class Flow(SectionSettings, FlowTraining):
    """VI-NF: a flow trained by reverse KL."""

    sections = ("vi_nf",)

    layers: PositiveInt = 3
    batch: PositiveInt = 64
    lr: PositiveFloat = 1e-3


class Transport(Flow):
    """AFT: a flow before each temperature, trained on the particles of a run of its own, `batch` of them."""

    sections = ("aft",)

    layers: PositiveInt = 1
    batch: PositiveInt = 200
    lr: PositiveFloat = 1e-2


class StochasticFlow(Flow):
    """SNF: in each block a flow of its own, then Metropolis moves of `step_size`, in the unit of the target."""

    sections = ("snf",)

    blocks: int = Field(5, ge=2)
    moves: int = Field(5, ge=0)
    step_size: PositiveFloat = 0.3
    layers: PositiveInt = 1
    lr: PositiveFloat = 1e-2


class Dataset(Grown):
    """A target: the unit in which all samplers see it, the leapfrog's step size in it, and the family of flow.

    Args:
        particles: of an estimate, if not the config's.
        side: cells along a side of a Cox process's grid.
    """

    younger = ("particles", "side")

    scale: PositiveFloat = 1.0
    step_sizes: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = (0.3, 0.3, 0.2, 0.2)
    flow: Family = "affine_autoregressive"
    particles: PositiveInt | None = None
    side: PositiveInt = 40


class Job(JobConfig):
    """One process: the samplers to run on each target."""

    measure: dict[TargetName, tuple[Method, ...]] = Field(min_length=1)


class Config(RunsConfig):
    """One scale of the benchmark."""

    seeds: Seeds = Field((0, 1, 2), min_length=2)
    runs: PositiveInt = Field(12, description="estimates in all; of each training runs / seeds")
    particles: PositiveInt = Field(500, description="of an estimate")
    steps: PositiveInt = Field(20, description="N of the controlled processes")
    training: Training
    annealing: Annealing = Annealing()
    flow: Flow
    aft: Transport = Transport(steps=50)
    snf: StochasticFlow = StochasticFlow(steps=50)
    truth: LongAnnealing = LongAnnealing()
    datasets: dict[TargetName, Dataset]
    jobs: dict[str, Job]

    def data_fingerprint(self, job: str) -> str:
        """Whether the pines are at hand, for the job that needs them."""
        return presence(pines_at_hand()) if "lgcp" in self.jobs[job].measure else ""
