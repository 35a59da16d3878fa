"""What a DiffCollage run may be told."""

from typing import Literal, get_args

from pydantic import Field, PositiveInt, model_validator

from rescore.config import Settings
from rescore.data.humanml import humanml_at_hand
from rescore.data.motion import motions_at_hand
from rescore.models.spec import ModelConfig, ModelJob

Texture = Literal["brick", "grass", "gravel"]
Scene = Literal["lhq", "tower"]
Shape = Literal["loop", "grid", "cubemap", "connect", "inpaint"]
HALF, QUARTER = "_half", "_quarter"  # of the names of the models of overlaps


class Series(Settings):
    """Long series from pieces.

    Args:
        width, overlap: of a piece, in samples.
        pieces: of a long series, whose length is pieces (width - overlap) + overlap.
        series: long series of each repeat.
        steps: of the training of each network.
        null_rate: of training: the condition is withheld.
    """

    width: PositiveInt
    overlap: PositiveInt
    pieces: PositiveInt
    series: PositiveInt
    steps: PositiveInt
    null_rate: float = Field(0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _overlap_is_a_part(self) -> "Series":
        if self.overlap >= self.width:
            raise ValueError(f"overlap: {self.overlap}; allowed: 1 to {self.width - 1}, less than the width of a piece")
        return self


class Motion(Series):
    """BasicMotions, in samples of 0.1 s; two networks.

    Args:
        hidden: of the networks; features: of the judge; `classifier_steps` of its training.
    """

    width: PositiveInt = 16
    overlap: PositiveInt = 8
    pieces: PositiveInt = 7
    series: PositiveInt = 150
    steps: PositiveInt = 1500
    hidden: PositiveInt = 192
    classifier_steps: PositiveInt = 400
    features: PositiveInt = 16


class HumanML(Series):
    """HumanML3D, in frames of 0.05 s; one network of pieces of any length.

    Args:
        crop: frames of each long series that are judged.
        hidden, layers, heads: of the transformer.
        train_batch, lr, warmup, ema: of its training.
        clip: the predicted clean motion is clipped to so many standard deviations.
        motions: files of each split; None: all.
    """

    width: PositiveInt = 64
    overlap: PositiveInt = 32
    pieces: PositiveInt = 14
    series: PositiveInt = 1000
    steps: PositiveInt = 50000
    null_rate: float = Field(0.1, gt=0, lt=1)
    crop: int = Field(64, ge=40, le=196)
    hidden: PositiveInt = 512
    layers: PositiveInt = 8
    heads: PositiveInt = 4
    train_batch: PositiveInt = 64
    lr: float = Field(1e-4, gt=0)
    warmup: PositiveInt = 1000
    ema: float = Field(0.9995, gt=0, lt=1)
    clip: float = Field(5.0, gt=0)
    motions: PositiveInt | None = None


class Job(ModelJob):
    """One or several parts of the paper.

    Args:
        panoramas: textures or scenes of which wide images are made by all methods (Tables 4.1 and 4.2).
        exact: textures of which the same is done with exact scores of the training patches in the place of networks, on
            `exact_samples` contents, for these scores cost more.
        lengths: calls and time against length (fig. 4.5), on the first of the panoramas.
        shapes: other graphs and conditioned sampling; real strips to inpaint are there for textures only.
        motion: long series of activities (Table 4.3 in small); humanml: of captioned motions (Table 4.3).
    """

    panoramas: tuple[Texture | Scene, ...] = ()
    exact: tuple[Texture, ...] = ()
    lengths: bool = False
    shapes: dict[Shape, Texture | Scene] = {}
    motion: bool = False
    humanml: bool = False


class Config(ModelConfig):
    """One scale of the paper.

    Args:
        seeds: of the samples where `training_seeds` has a single one, and of exact pieces; of the trainings of BasicMotions'
            networks. Several training seeds have one set of samples each.
        samples, exact_samples: contents of each repeat and method; `crops`: random squares of each for FID+.
        batch: contents at a time; None: all.
        steps, eta: of the sampler, DDIM with its own noise; eta 1 is ancestral sampling.
        ratio: width over height of the panoramas; `ratios` those of fig. 4.5.
        classifier_steps: of the network whose features FID of textures compares; that of scenes is `evaluation.features`.
        sparse: the fraction of pixels that inpainting is given.
    """

    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=2)
    samples: PositiveInt = 300
    exact_samples: PositiveInt = 100
    crops: PositiveInt = 6
    batch: PositiveInt | None = None
    steps: PositiveInt = 30
    eta: float = Field(1.0, ge=0)
    t0: float = Field(1e-3, gt=0, lt=1)
    ratio: PositiveInt = 6
    ratios: tuple[PositiveInt, ...] = (2, 3, 4, 6, 8)
    classifier_steps: PositiveInt = 300
    sparse: float = Field(0.15, gt=0, lt=1)
    motion: Motion = Motion()
    humanml: HumanML = HumanML()
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _jobs_have_their_models(self) -> "Config":
        for name, job in self.jobs.items():
            needed = {texture + part for texture in (*job.panoramas, *job.shapes.values()) for part in ("", HALF)}
            needed |= {job.shapes["grid"] + QUARTER} if "grid" in job.shapes else set()
            if missing := sorted(needed - set(job.models)):
                raise ValueError(f"jobs.{name}.models: {missing[0]} is missing; needed: {', '.join(sorted(needed))}")
            if job.lengths and not job.panoramas:
                raise ValueError(f"jobs.{name}.lengths: needs a texture or scene in panoramas")
            if job.shapes.get("inpaint") in get_args(Scene):
                allowed = ", ".join(get_args(Texture))
                raise ValueError(f"jobs.{name}.shapes.inpaint: {job.shapes['inpaint']}; allowed: {allowed}")
        return self

    def data_fingerprint(self, job: str) -> str:
        parts = self.jobs[job]
        found = {"motion": motions_at_hand} if parts.motion else {}
        found |= {"humanml": humanml_at_hand} if parts.humanml else {}
        return ", ".join(at_hand() for at_hand in found.values())
