"""What a PIS run may be told. Every field that the paper does not state is an assumption, listed in README.md."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import JobConfig, PaperConfig, SectionSettings, Settings
from rescore.data.pines import pines_at_hand
from rescore.specs import TrainingConfig

DatasetName = Literal["mg", "rings", "funnel", "funnel1", "lgcp", "lgcp_synthetic"]
Policy = Literal["gt", "nn", "grad"]
Method = Literal[
    "gt", "nn", "grad", "noise_scale", "importance", "importance_sizes", "smc", "aft", "vi_nf", "nuts", "hmc", "exact",
    "coverage", "convergence", "separation", "discretisation", "theorem_3", "theorem_4", "monte_carlo",
]  # fmt: skip


class Training(SectionSettings, TrainingConfig):
    """Of a policy, on the path cost divided by the dimension."""

    sections = ("nn", "grad", "noise_scale", "coverage", "convergence", "separation", "discretisation")
    younger: ClassVar[tuple[str, ...]] = ("warmup", "clip", "channels")

    batch: PositiveInt = 300
    lr: PositiveFloat = 5e-3
    weight_decay: float = Field(1e-7, ge=0)
    checkpoint_every: PositiveInt = 50
    channels: PositiveInt = Field(64, description="of the policy's networks")


class Annealing(SectionSettings):
    """SMC and AFT: a geometric path from N(0, I), HMC moves at each temperature."""

    sections = ("smc", "aft", "separation")

    temperatures: PositiveInt = 10
    hmc_steps: PositiveInt = 10
    leapfrogs: PositiveInt = 10
    step_sizes: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat]
    resample_below: float = Field(0.3, ge=0, le=1)
    particles: PositiveInt | None = Field(None, description="if not the config's `particles`")


class Flow(SectionSettings, TrainingConfig):
    """A flow transport and its training."""

    family: Literal["diagonal_affine", "affine_autoregressive", "spline_autoregressive"]
    layers: PositiveInt = 1
    hidden: PositiveInt = 64
    bins: PositiveInt = 10
    bound: PositiveFloat = 10.0
    batch: PositiveInt = 300
    lr: PositiveFloat = 1e-3


class VariationalFlow(Flow):
    """VI-NF."""

    sections = ("vi_nf", "coverage", "separation")


class Dataset(Settings):
    """What depends on the target."""

    pis: Training
    annealing: Annealing
    aft: Flow
    vi_nf: VariationalFlow
    sigma: dict[Policy, PositiveFloat] = Field({}, description="of a policy, if not the config's `sigma`")
    side: PositiveInt = Field(40, description="cells along a side of the Cox process's grid")


class ChainConfig(SectionSettings):
    """A library's NUTS and HMC: chains of `samples` draws after `warmup`."""

    sections = ("nuts", "hmc", "exact")

    chains: PositiveInt = 4
    warmup: PositiveInt = 100
    samples: PositiveInt = 100


class NoiseScale(SectionSettings):
    """`steps` of the short trainings."""

    steps: PositiveInt = 400


class Theorem3(SectionSettings):
    """Numbers of steps; errors eps of the control, on `fine` steps."""

    steps: tuple[PositiveInt, ...] = (5, 10, 20, 40, 80, 160)
    errors: tuple[PositiveFloat, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    fine: PositiveInt = 2000


class Theorem4(SectionSettings):
    """Numbers of steps; errors eps / T of the control."""

    steps: tuple[PositiveInt, ...] = (100, 1000, 10000)
    errors: tuple[float, ...] = (0.0, 0.01, 0.1, 0.3, 0.9)


class MonteCarlo(SectionSettings):
    """Dimensions, trajectories of an estimate, and estimates."""

    dims: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16, 32)
    trajectories: PositiveInt = 1000
    repeats: int = Field(20, ge=2)


class Short(SectionSettings):
    """Trainings shorter than the table's, for sweeps: N of each, or distances between the modes with one N."""

    sections = ("separation", "discretisation")

    separations: tuple[PositiveFloat, ...] = (1.0, 2.5, 4.0)
    separation_steps: PositiveInt = 50
    steps: tuple[PositiveInt, ...] = (25, 50, 100)
    train_steps: PositiveInt = 60
    batch: PositiveInt = 128


class Job(JobConfig):
    """One process: for each data set, the methods to measure."""

    measure: dict[DatasetName, tuple[Method, ...]] = Field(min_length=1)


class Config(PaperConfig):
    """One scale of the paper."""

    seeds: tuple[int, ...] = (0, 1, 2)
    runs: PositiveInt = Field(100, description="in all; a method that trains makes runs / seeds of them with each training")
    particles: PositiveInt = 1000
    steps: PositiveInt = 100
    horizon: PositiveFloat = 5.0
    sigma: PositiveFloat = 0.2**0.5
    noise_scale: NoiseScale = NoiseScale()
    chains: ChainConfig = ChainConfig()
    theorem_3: Theorem3 = Theorem3()
    theorem_4: Theorem4 = Theorem4()
    monte_carlo: MonteCarlo = MonteCarlo()
    short: Short = Short()
    datasets: dict[DatasetName, Dataset]
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _runs_are_shared_out(self) -> "Config":
        if self.runs % len(self.seeds) or self.runs < 2 * len(self.seeds):
            raise ValueError(f"runs: {self.runs} is not a multiple of the {len(self.seeds)} seeds, at least 2 for each")
        return self

    def data_fingerprint(self, job: str) -> str:
        """Whether the pines are at hand, for the job that needs them."""
        return pines_at_hand() if "lgcp" in self.jobs[job].measure else ""
