"""What a PIS run may be told. Every field that the paper does not state is an assumption, listed in README.md."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import JobConfig, PaperConfig, SectionSettings, Settings
from rescore.data.pines import pines_at_hand
from rescore.specs import TrainingConfig

DatasetName = Literal["mg", "rings", "funnel", "funnel1", "lgcp", "lgcp_synthetic"]
Policy = Literal["gt", "nn", "grad"]
Method = Literal[
    "gt", "nn", "grad", "noise_scale", "importance", "importance_sizes", "smc", "aft", "vi_nf", "nuts", "hmc", "exact"
]  # fmt: skip


class Training(SectionSettings, TrainingConfig):
    """Of a policy, on the path cost divided by the dimension."""

    sections = ("nn", "grad", "noise_scale")
    younger: ClassVar[tuple[str, ...]] = ("warmup", "clip", "channels")

    batch: PositiveInt = 300
    lr: PositiveFloat = 5e-3
    weight_decay: float = Field(1e-7, ge=0)
    checkpoint_every: PositiveInt = 50
    channels: PositiveInt = Field(64, description="of the policy's networks")


class Annealing(SectionSettings):
    """SMC and AFT: a geometric path from N(0, I), HMC moves at each temperature."""

    sections = ("smc", "aft")

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


class Dataset(Settings):
    """What depends on the target."""

    pis: Training
    annealing: Annealing
    aft: Flow
    vi_nf: Flow
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
