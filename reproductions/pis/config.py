"""The settings of a PIS run. Every field that the paper does not state is an assumption, listed in README.md."""

from importlib.util import find_spec
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import JobConfig, SectionSettings, presence
from rescore.data.images import images_at_hand
from rescore.data.pines import pines_at_hand
from rescore.settings import Seeds, Settings
from rescore.specs.grown import Grown
from rescore.specs.montecarlo import AnnealingSettings, Family, FlowTraining, RunsConfig
from rescore.specs.training import TrainingConfig

DatasetName = Literal[
    "mg", "rings", "funnel", "funnel1", "lgcp", "lgcp_synthetic", "vae_mnist", "vae_digits", "alanine_dipeptide"
]
Policy = Literal["gt", "nn", "grad"]
Method = Literal[
    "gt",
    "nn",
    "grad",
    "noise_scale",
    "importance",
    "importance_sizes",
    "smc",
    "aft",
    "vi_nf",
    "snf",
    "nuts",
    "hmc",
    "exact",
    "truth",
    "md",
    "coverage",
    "convergence",
    "separation",
    "discretisation",
    "theorem_3",
    "theorem_4",
    "monte_carlo",
]


class Training(SectionSettings, TrainingConfig):
    """Of a policy, on the path cost divided by the dimension.

    Args:
        together: policies trained side by side, those of so many seeds in a row from a multiple of it, with draws of their own:
            each as it would train alone with these, up to rounding, in less time where they are small. A step that fails for
            one is left out for all.
    """

    sections = ("nn", "grad", "noise_scale", "coverage", "convergence", "separation", "discretisation")
    younger: ClassVar[tuple[str, ...]] = ("warmup", "clip", "channels", "together")

    batch: PositiveInt = 300
    lr: PositiveFloat = 5e-3
    weight_decay: float = Field(1e-7, ge=0)
    checkpoint_every: PositiveInt = 50
    channels: PositiveInt = Field(64, description="of the policy's networks")
    together: PositiveInt = 1

    @model_validator(mode="after")
    def _one_clip_a_policy(self) -> "Training":
        if self.together > 1 and self.clip is not None:
            raise ValueError("policies trained together cannot share one gradient clip: set clip: null, or together: 1")
        return self

    @property
    def protocol(self) -> dict[str, object]:
        """Also what is off: ../paper.yaml assumes it of printed rows."""
        told = self.model_dump(exclude={"checkpoint_every"}) | {"channels": self.channels}
        return {f"train_{name}": value for name, value in told.items()}


class Annealing(SectionSettings, AnnealingSettings):
    """SMC and AFT: a geometric path from N(0, I), HMC moves at each temperature."""

    sections = ("smc", "aft", "separation")

    step_sizes: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat]
    particles: PositiveInt | None = Field(None, description="if not the config's `particles`")


class Flow(SectionSettings, FlowTraining):
    """A flow transport and its training."""

    family: Family
    batch: PositiveInt = 300
    lr: PositiveFloat = 1e-3


class VariationalFlow(Flow):
    """VI-NF."""

    sections = ("vi_nf", "coverage", "separation")


class StochasticFlow(SectionSettings, TrainingConfig):
    """SNF: in each block a pair of affine couplings, then Metropolis moves; the defaults are those of its authors' code.

    Args:
        hidden: widths of a coupling's network.
        moves: of a block.
        step_size: of a move, in each coordinate.
    """

    sections = ("snf",)
    may_repeat = ("hidden",)

    blocks: int = Field(5, ge=2)
    hidden: tuple[PositiveInt, ...] = (128, 128, 128)
    moves: int = Field(20, ge=0)
    step_size: PositiveFloat = 0.1
    steps: PositiveInt = 1000
    batch: PositiveInt = 128
    lr: PositiveFloat = 1e-3


class DecoderFile(Settings):
    """Weights of a decoder that somebody else has trained, as plain tensors (safetensors), named as in `rescore.networks.vae`.

    Args:
        file: a path, from the folder that RESCORE_DATA names if it is not absolute.
        sha256: of the file.
    """

    file: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class VAETraining(TrainingConfig):
    """Of a VAE, on its negative ELBO; every pixel is drawn once, 1 with the probability that is its grey level."""

    batch: PositiveInt = 128
    lr: PositiveFloat = 1e-3


class VAEPosteriors(Settings):
    """Posteriors of a frozen decoder given images (Table 5.3), each a target of its own with trainings of its own."""

    data: Literal["mnist", "digits"]
    images: int = Field(100, ge=3, description="of the test split, chosen at random")
    runs: int = Field(10, ge=2, description="of each method on each image, after one training")
    latent: PositiveInt = 30
    network: Literal["mlp", "conv"] = "mlp"
    hidden: PositiveInt = Field(100, description="units of an mlp's hidden layer, and of the encoder's")
    training: VAETraining
    decoder: DecoderFile | None = Field(None, description="weights in place of the training")
    truth: "LongSMC"

    @model_validator(mode="after")
    def _convolutions_have_one_size(self) -> "VAEPosteriors":
        if self.network == "conv" and self.data != "mnist":
            raise ValueError(f"network: conv makes images of 28x28; allowed with {self.data}: mlp")
        return self


class LongSMC(Settings):
    """What is taken for the truth: SMC from the Gaussian at the posterior's mode."""

    runs: int = Field(10, ge=2)
    particles: PositiveInt = 500
    temperatures: PositiveInt = 1000
    hmc_steps: PositiveInt = 1
    leapfrogs: PositiveInt = 10
    step_size: PositiveFloat = 0.2


class Dynamics(Settings):
    """Langevin dynamics by OpenMM: independent trajectories from one configuration, the first `settle` of each left out.

    Args:
        picoseconds, settle: of each trajectory.
        step: femtoseconds.
        friction: 1/ps.
        every: steps from a frame to the next.
    """

    trajectories: int = Field(5, ge=3)
    picoseconds: PositiveFloat = 2000.0
    settle: PositiveFloat = 10.0
    step: PositiveFloat = 1.0
    friction: PositiveFloat = 1.0
    every: PositiveInt = 100


class Molecule(Settings):
    """Alanine dipeptide (Table 5.2).

    Args:
        temperature: K.
        cut_at, cut_most: the reduced energy is linear up to the first, then a logarithm, and constant from the second on.
        samples: of each seed, whose torsions are compared.
    """

    temperature: PositiveFloat = 1000.0
    cut_at: PositiveFloat = 500.0
    cut_most: PositiveFloat = 10_000.0
    samples: PositiveInt = 10_000
    md: Dynamics = Dynamics()


class Dataset(Grown):
    """What depends on the target."""

    younger = ("vae", "molecule")

    pis: Training
    annealing: Annealing
    aft: Flow
    vi_nf: VariationalFlow
    sigma: dict[Policy, PositiveFloat] = Field({}, description="of a policy, if not the config's `sigma`")
    side: PositiveInt = Field(40, description="cells along a side of the Cox process's grid")
    vae: VAEPosteriors | None = None
    molecule: Molecule | None = None


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


class Config(RunsConfig):
    """One scale of the paper."""

    seeds: Seeds = (0, 1, 2)
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
    snf: StochasticFlow = StochasticFlow()
    datasets: dict[DatasetName, Dataset]
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _settings_are_where_their_names_say(self) -> "Config":
        for name, settings in self.datasets.items():
            if (settings.molecule is not None) != (name == "alanine_dipeptide"):
                raise ValueError(f"datasets.{name}.molecule: allowed: settings of alanine_dipeptide, and no others")
            data = name.removeprefix("vae_") if name.startswith("vae_") else None
            if (settings.vae.data if settings.vae else None) != data:
                allowed = f"data: {data}" if data else "no vae"
                raise ValueError(f"datasets.{name}.vae: {settings.vae and settings.vae.data}; allowed: {allowed}")
        return self

    def data_fingerprint(self, job: str) -> str:
        """Whether the pines, a VAE's images or OpenMM are at hand, for the job that needs them."""
        names = self.jobs[job].measure
        found = [presence(pines_at_hand())] * ("lgcp" in names)
        found += [presence(images_at_hand(of.data, "train")) for name in names if (of := self.datasets[name].vae)]
        found += [presence(find_spec("openmm") is not None) for name in names if self.datasets[name].molecule]
        return " ".join(found)
