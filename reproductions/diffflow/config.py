"""The settings of a DiffFlow run."""

from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from rescore.config import SectionSettings, presence
from rescore.data.images import images_at_hand
from rescore.data.tabular import tabular_at_hand
from rescore.settings import Seeds
from rescore.specs.config import ModelConfig, ModelJob
from rescore.specs.grown import Grown
from rescore.specs.model import Part
from rescore.specs.training import TrainingConfig

Planar = Literal["rings", "olympic_rings", "spirals", "checkerboard", "tree", "carpet"]
Table = Literal["power", "gas", "hepmass", "miniboone", "bsds300", "wine", "breast_cancer", "patches"]
Pictures = Literal["digits", "mnist", "cifar10"]
EVERY = 10  # steps between changes of the learning rate
GRIDS = {"DiffFlow": "L_beta", "DDPM": "uniform"}  # of samples, and of DiffFlow's bounds, whatever it was trained on
T0 = 1e-3  # where the times of DDPM end
EMA = 0.999  # of the weights of DiffFlow and DDPM


class Fit(TrainingConfig):
    """A training whose rate falls to a tenth, exponentially."""

    batch: PositiveInt
    decay: PositiveFloat = Field(default_factory=lambda fit: 0.1 ** (EVERY / fit["steps"]))
    decay_every: PositiveInt = EVERY
    clip: PositiveFloat | None = 1.0

    kind: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]]
    """The network of points, and fields that say how large it is."""

    def lasting(self, steps: int) -> Self:
        """The same over so many steps: the rate falls in these."""
        return type(self)(**self.model_dump(exclude_unset=True) | {"steps": steps})

    def of_points(self) -> dict[str, object]:
        """What the ledger says about a training on points, its network and all."""
        return self.protocol | self.network.protocol("network")

    @property
    def network(self) -> Part:
        """Of points."""
        return Part(name=self.kind, settings=self.model_dump(mode="json", include=set(self.sizes)))


class DiffFlow(Fit):
    """Model and training. g and times are the released code's for points; in 2-D the pair has 94,868 parameters.

    Args:
        progressive: by N, which grows, the share of the training that has it.
    """

    kind, sizes = "FourierMLP", ("width", "layers")

    width: PositiveInt = 88
    layers: PositiveInt = 3
    g: PositiveFloat = 0.2
    t0: float = 0.001
    T: PositiveFloat = 0.05
    beta: PositiveFloat = 0.9
    grid: Literal["L_beta", "hat L_beta"] = "hat L_beta"
    progressive: dict[PositiveInt, PositiveFloat] = {5: 0.4, 10: 0.3, 20: 0.2, 30: 0.1}
    sampling_steps: PositiveInt = 30

    @property
    def protocol(self) -> dict[str, object]:
        progressive = " ".join(f"{n}:{share:g}" for n, share in self.progressive.items())
        times = {"g": self.g, "t0": self.t0, "T": self.T, "beta": self.beta, "train_grid": self.grid}
        return super().protocol | times | {"progressive_N": progressive, "ema": EMA}


class DDPM(Fit):
    """A noise prediction of 91,262 parameters in 2-D; continuous times, VP with linear beta."""

    kind, sizes = "MLP", ("width", "blocks")

    width: PositiveInt = 90
    blocks: PositiveInt = 3
    sampling_steps: PositiveInt = 100

    @property
    def protocol(self) -> dict[str, object]:
        return super().protocol | {"ema": EMA, "t0": T0}


class FFJORD(Fit):
    """A continuous flow of 89,234 parameters in 2-D."""

    may_repeat = ("hidden",)
    kind, sizes = "ffjord", ("hidden",)

    hidden: tuple[PositiveInt, ...] = (208, 208, 208)
    tolerance: PositiveFloat = 1e-3

    @property
    def protocol(self) -> dict[str, object]:
        return super().protocol | {"tolerance": self.tolerance}


class Flow(Fit):
    """RealNVP, MAF or NSF."""

    may_repeat = ("hidden",)
    kind, sizes = "flow", ("transforms", "hidden")

    transforms: PositiveInt = 5
    hidden: tuple[PositiveInt, ...] = (64, 64)


class Plane(SectionSettings):
    """The models of the plane, and how much of them is measured."""

    sections = ("planar", "cost", "grids", "sampling")

    samples: PositiveInt = Field(2000, description="of a seed: samples, and test points of sw2")
    likelihoods: PositiveInt = Field(1000, description="test points of a seed whose likelihood is computed")
    train_points: PositiveInt = 50000
    projections: PositiveInt = Field(100, description="of sw2")
    diffflow: DiffFlow
    ddpm: DDPM
    ffjord: FFJORD


class Cost(SectionSettings):
    """Fixed against progressive N, and the cost of an iteration beside DDPM's, on one set of the plane."""

    iterations: PositiveInt = Field(100, description="of each training")
    fixed_steps: PositiveInt = 30
    timed: PositiveInt = Field(10, description="iterations that are timed, of each method")


class Tabular(SectionSettings):
    """Table 3.1. Validation picks the best of `stages` equally spaced stops of each training."""

    stages: PositiveInt = 4
    test_rows: PositiveInt = Field(1000, description="at most so many rows of the test set, and of the validation set")
    diffflow: DiffFlow
    flow: Flow


class Grids(SectionSettings):
    """Fixed times, L_beta, beside random ones, hat L_beta.

    Args:
        points: iterations of each training.
        images: the same of images' trainings; None: those of `images`, of which hat L_beta's are measured there.
        progressive: as a DiffFlow's, of the points' trainings, two N or more; beside it stands its last N throughout.
        window: iterations on either side of a change of N by which the jump of the loss there is measured.
        random_grids: on which a model of points is judged besides the fixed one.
    """

    points: PositiveInt = 100
    images: PositiveInt | None = None
    progressive: dict[PositiveInt, PositiveFloat] = Field({3: 0.3, 5: 0.4, 10: 0.3}, min_length=2)
    window: PositiveInt = 10
    random_grids: PositiveInt = 4


class Sampling(SectionSettings):
    """The SDEs of eq. 3.16, and the time of sampling beside DDPM's.

    Args:
        lambdas: of eq. 3.16; all but 1, which is always there.
        slack: a number of steps is enough where the distance is at most so many times that of the largest of the sweep.
        timed: rounds in which sampling is timed.
    """

    lambdas: tuple[NonNegativeFloat, ...] = (0.0, 0.25, 0.5, 0.75)
    slack: PositiveFloat = 1.1
    timed: PositiveInt = 3


class Losses(SectionSettings):
    """DDPM with L and with L_simple in Table 3.3: steps of the ancestral sampler, images whose likelihood is computed."""

    steps: PositiveInt = 1000
    tolerance: PositiveFloat = Field(1e-3, description="of the ODE, for samples and for likelihoods")


class NAF(Fit):
    """A neural autoregressive flow; `signal` and `monotonic` as `rescore.flows.density.naf`."""

    may_repeat = ("hidden", "monotonic")
    kind, sizes = "naf", ("transforms", "hidden", "signal", "monotonic")

    transforms: PositiveInt = 1
    hidden: tuple[PositiveInt, ...] = (64, 64)
    signal: PositiveInt = 8
    monotonic: tuple[PositiveInt, ...] = (16, 16)


class Rivals(SectionSettings):
    """Flows beside DiffFlow on tables and on images; validation picks the best of `stages` equally spaced stops.

    Args:
        test_rows: at most so many rows, or images, of the test set, and of the validation set.
        validation: the share of the training images that is kept for validation.
        flow: MADE's and RealNVP's training, and RealNVP's couplings.
    """

    stages: PositiveInt = 3
    test_rows: PositiveInt = 1000
    validation: PositiveFloat = Field(0.1, lt=1)
    flow: Flow
    naf: NAF
    ffjord: FFJORD


class Images(SectionSettings, Grown):
    """Tables 3.2 to 3.5 on the images of this scale; FID where the job names models, noise predictions for DDPM and DDIM.

    Args:
        side: images are padded to it with black.
        gain: drift and score are so many times what their networks give (`rescore.neural_sde.ImageField`).
    """

    sections = ("images", "grids", "sampling", "losses", "bits")
    younger = ("gain",)

    side: PositiveInt = 32
    network: str = "ddpm"
    network_settings: dict[str, int | float | list[int]] = {}
    training: DiffFlow
    test_images: PositiveInt = 1000
    timed: PositiveInt = 5
    gain: PositiveFloat = 1.0


class Job(ModelJob):
    """For each set the sections that it is measured by."""

    subjects_of = {
        "planar": Planar,
        "cost": Planar,
        "grids": Literal[Planar, Pictures],
        "sampling": Literal[Planar, Pictures],
        "tabular": Table,
        "rivals": Literal[Table, Pictures],
        "images": Pictures,
        "losses": Pictures,
        "bits": Pictures,
    }

    measure: dict[
        Planar | Table | Pictures,
        tuple[Literal["planar", "cost", "grids", "sampling", "tabular", "rivals", "images", "losses", "bits"], ...],
    ] = Field(min_length=1)


class Config(ModelConfig):
    """One scale of the paper."""

    section_versions = {"cost": 2, "sampling": 2, "images": 2}

    seeds: Seeds = Field((0, 1), min_length=2, description="of trainings: weights, batches and evaluation")
    sweep: tuple[PositiveInt, ...] = Field((5, 10, 20, 50, 100), min_length=2, description="N of Tables 3.4 and 3.5")
    tolerance: PositiveFloat = Field(1e-3, description="of the ODEs of likelihoods")
    plane: Plane | None = None
    cost: Cost = Cost()
    grids: Grids = Grids()
    sampling: Sampling = Sampling()
    tabular: Tabular | None = None
    rivals: Rivals | None = None
    losses: Losses = Losses()
    images: Images | None = None
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _sweep_rises(self) -> "Config":
        if any(a >= b for a, b in zip(self.sweep, self.sweep[1:], strict=False)):
            raise ValueError(f"sweep: {self.sweep} must increase; its last N is the one that ratios refer to")
        return self

    def data_fingerprint(self, job: str) -> str:
        at_hand = dict.fromkeys(get_args(Table), tabular_at_hand) | dict.fromkeys(get_args(Pictures), images_at_hand)
        steps = [step for step in self.jobs[job].steps if step.subject in at_hand]
        return " ".join(presence(at_hand[step.subject](step.subject)) for step in steps)
