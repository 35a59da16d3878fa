"""What a DiffFlow run may be told."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rescore.config import Settings
from rescore.data.images import images_at_hand
from rescore.models.spec import ModelConfig, ModelJob

Planar = Literal["rings", "olympic_rings", "spirals", "checkerboard", "tree", "carpet"]
Table = Literal["power", "gas", "hepmass", "miniboone", "bsds300", "wine", "breast_cancer", "patches"]
TABULAR_METHODS = ("DiffFlow", "RealNVP", "MAF", "NSF")


class Fit(Settings):
    """A training: Adam with a gradient clip of 1 whose rate falls to a tenth, exponentially."""

    iterations: PositiveInt
    batch: PositiveInt
    lr: PositiveFloat


class DiffFlow(Fit):
    """Model and training. g and times are the released code's for points; in 2-D the pair has 94,868 parameters."""

    width: PositiveInt = 88
    layers: PositiveInt = 3
    g: PositiveFloat = 0.2
    t0: float = 0.001
    T: PositiveFloat = 0.05
    beta: PositiveFloat = 0.9
    grid: Literal["L_beta", "hat L_beta"] = "hat L_beta"
    steps: tuple[PositiveInt, ...] = (5, 10, 20, 30)
    shares: tuple[PositiveFloat, ...] = (0.4, 0.3, 0.2, 0.1)
    sampling_steps: PositiveInt = 30


class DDPM(Fit):
    """A noise prediction of 91,262 parameters in 2-D; continuous times, VP with linear beta."""

    width: PositiveInt = 90
    blocks: PositiveInt = 3
    sampling_steps: PositiveInt = 100


class FFJORD(Fit):
    """A continuous flow of 89,234 parameters in 2-D."""

    hidden: tuple[PositiveInt, ...] = (208, 208, 208)
    tolerance: PositiveFloat = 1e-3


class Flow(Fit):
    """RealNVP, MAF or NSF."""

    transforms: PositiveInt = 5
    hidden: tuple[PositiveInt, ...] = (64, 64)


class PlanarJob(ModelJob):
    """Figures 3.4 and 3.5, and the shape of Tables 3.4 and 3.5, on sets of the plane."""

    kind: Literal["planar"]
    datasets: tuple[Planar, ...] = Field(min_length=1)


class CostJob(ModelJob):
    """Fixed against progressive N, and the cost of an iteration beside DDPM's, on one set of the plane."""

    kind: Literal["cost"]
    dataset: Planar = "rings"
    iterations: int = Field(100, gt=10, description="of each training; the first ten do not count in its time")
    fixed_steps: PositiveInt = 30
    timed: PositiveInt = Field(10, description="iterations that are timed, of each method")


class TabularJob(ModelJob):
    """Table 3.1 on some sets. Validation picks the best of `stages` equally spaced stops of each training."""

    kind: Literal["tabular"]
    datasets: tuple[Table, ...] = Field(min_length=1)
    stages: PositiveInt = 4
    test_rows: PositiveInt = Field(1000, description="at most so many rows of the test set, and of the validation set")
    diffflow: DiffFlow
    flow: Flow


class ImagesJob(ModelJob):
    """Tables 3.2 to 3.5: likelihood and FID of a model of images, and the cost of an iteration beside DDPM's.

    Args:
        side: images are padded to it with black.
        samples: of a seed and number of steps N, for FID at each N of the config's `sweep`; 0 for none.
        features: what FID compares; `classifier_steps` of the training of such a network.
        models: of the job, or of the one that this is a part of: noise predictions of these images, for DDPM and DDIM.
    """

    kind: Literal["images"]
    dataset: Literal["digits", "mnist", "cifar10"]
    side: PositiveInt = 32
    network: str = "ddpm"
    network_settings: dict[str, int | float | list[int]] = {}
    training: DiffFlow
    test_images: PositiveInt = 1000
    samples: int = Field(0, ge=0)
    features: Literal["classifier", "inception"] = "classifier"
    classifier_steps: PositiveInt = 1000
    timed: PositiveInt = 5


Part = PlanarJob | CostJob | TabularJob | ImagesJob


class SeveralJob(ModelJob):
    """Several of them in one process: starting one takes longer than a short part. `models` are named here, not in the parts."""

    kind: Literal["several"]
    parts: tuple[Annotated[Part, Field(discriminator="kind")], ...] = Field(min_length=1)


Job = Annotated[Part | SeveralJob, Field(discriminator="kind")]


class Config(ModelConfig):
    """One scale of the paper."""

    seeds: tuple[int, ...] = Field((0, 1), min_length=2, description="of trainings: weights, batches and evaluation")
    samples: PositiveInt = Field(2000, description="in two dimensions, of a seed: samples, and test points of sw2")
    likelihoods: PositiveInt = Field(1000, description="test points of a seed whose likelihood is computed")
    train_points: PositiveInt = Field(50000, description="of a planar set")
    projections: PositiveInt = 100
    sweep: tuple[PositiveInt, ...] = Field((5, 10, 20, 50, 100), min_length=2, description="N of Tables 3.4 and 3.5")
    tolerance: PositiveFloat = Field(1e-3, description="of the ODEs of likelihoods")
    diffflow: DiffFlow
    ddpm: DDPM
    ffjord: FFJORD
    jobs: dict[str, Job] = Field(min_length=1)

    @model_validator(mode="after")
    def _sweep_rises(self) -> "Config":
        if any(a >= b for a, b in zip(self.sweep, self.sweep[1:], strict=False)):
            raise ValueError(f"sweep: {self.sweep} must increase; its last N is the one that ratios refer to")
        return self

    def data_fingerprint(self, job: str) -> str:
        from rescore.data.tabular import tabular_at_hand  # imports torch

        settings = self.jobs[job]
        found = []
        for part in settings.parts if isinstance(settings, SeveralJob) else (settings,):
            found += [images_at_hand(part.dataset)] if isinstance(part, ImagesJob) else []
            found += [tabular_at_hand(name) for name in part.datasets] if isinstance(part, TabularJob) else []
        return " ".join(found)
