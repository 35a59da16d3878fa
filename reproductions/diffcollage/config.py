"""The settings of a DiffCollage run."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from rescore.config import SectionSettings, presence
from rescore.data.humanml import humanml_at_hand
from rescore.data.motion import motions_at_hand
from rescore.settings import Seeds
from rescore.specs.config import ModelConfig, ModelJob
from rescore.specs.training import TrainingConfig

Texture = Literal["brick", "grass", "gravel"]
Images = Literal[Texture, "lhq", "tower"]  # textures and scenes
Series = Literal["BasicMotions", "HumanML3D"]
Scenes = Literal["sky", "brick wall"]  # pictures of a known law
Laws = Literal["Gaussian chain", "mode chain"]  # contents that are drawn from no data
HALF, QUARTER = "_half", "_quarter"  # of the names of the models of overlaps
PHOTOGRAPHS = {"sky": "sky", "brick wall": "brick"}  # of the scenes, as `rescore.data.textures` calls them
LARGE = {"": "32x32", HALF: "32x16"}  # the pieces of scenes and their overlaps
AT_HAND = {"BasicMotions": motions_at_hand, "HumanML3D": humanml_at_hand}


def pieces_of(scene: str) -> str:
    """The model of a scene's pieces; that of their overlaps has `HALF` at its end."""
    return f"{PHOTOGRAPHS[scene]}32"


class Exact(SectionSettings):
    """Exact scores of the training patches in place of networks; samples: contents of each repeat, for they cost more."""

    samples: PositiveInt = 100


class Lengths(SectionSettings):
    """Passes and time against width over height (fig. 4.5)."""

    ratios: tuple[PositiveInt, ...] = (2, 3, 4, 6, 8)


class Samplers(SectionSettings):
    """Contents of a known law by every sampler (section 4.4.2).

    Args:
        evaluations: of the composed score; a sampler takes as many as its steps allow.
        limit: steps to where the composed flow ends.
        correlation: of neighbours of the Gaussian chain.
        samples: of the mode chain, of each seed.
    """

    evaluations: tuple[PositiveInt, ...] = (10, 20, 50, 100)
    limit: PositiveInt = 500
    correlation: float = Field(0.9, gt=-1, lt=1)
    samples: PositiveInt = 300


class Amortised(SectionSettings, TrainingConfig):
    """One network for pieces and overlaps, and its training (section 4.4.2); hidden: the MLP's features; ema: of weights."""

    hidden: PositiveInt
    ema: float = Field(ge=0, lt=1)
    clip: PositiveFloat | None = 1.0


class Pictures(SectionSettings):
    """Pictures of 32 pixels height from pieces of 32x32 (figs. 4.4 and 4.9).

    Args:
        seeds: of the contents of exact pieces.
        contents: of each seed; ratio: width over height, from the longest lag that is compared up to a field's torus.
        stride, followers: of the tiles of the brick wall.
    """

    sections: ClassVar[tuple[str, ...]] = ("pictures", "trained", "strokes", "change", "doodle")

    seeds: Seeds = Field((0, 1, 2, 3, 4, 5), min_length=2)

    contents: PositiveInt = 8
    ratio: int = Field(8, ge=3, le=15)
    stride: tuple[PositiveInt, PositiveInt] = (4, 8)
    followers: PositiveInt = 4


class Strokes(SectionSettings):
    """Walls from strokes (section 4.5.2).

    Args:
        block: pixels of a stroke, high and wide.
        starts: times to which they are noised.
    """

    block: PositiveInt = 8
    starts: tuple[Annotated[float, Field(le=1)], ...] = Field((0.3, 0.5, 0.7), min_length=1)


class Change(SectionSettings):
    """A picture whose texture changes from one end to the other (fig. 4.6), as many as of `pictures`."""

    pieces: int = Field(9, ge=4)


class Inpaint(SectionSettings):
    """Wide images from few pixels (fig. 4.7); known: the fraction that is given."""

    known: float = Field(0.15, gt=0, lt=1)


class Pieces(SectionSettings, TrainingConfig):
    """Long series from pieces, and the training of each network of these.

    Args:
        width, overlap: of a piece, in samples.
        pieces: of a long series, whose length is pieces (width - overlap) + overlap.
        series: long series of each repeat.
        hidden: of the networks.
        ema: of their weights.
        null_rate: of training: the condition is withheld.
    """

    width: PositiveInt
    overlap: PositiveInt
    pieces: PositiveInt
    series: PositiveInt
    hidden: PositiveInt
    ema: float = Field(ge=0, lt=1)
    null_rate: float = Field(0.2, gt=0, lt=1)
    clip: PositiveFloat | None = 1.0

    @model_validator(mode="after")
    def _overlap_is_a_part(self) -> "Pieces":
        if self.overlap >= self.width:
            raise ValueError(f"overlap: {self.overlap}; allowed: 1 to {self.width - 1}, less than the width of a piece")
        return self


class Motion(Pieces):
    """BasicMotions, in samples of 0.1 s; two networks.

    Args:
        features: of the judge; `classifier_steps` of its training.
    """

    classifier_steps: PositiveInt = 400
    features: PositiveInt = 16


class Naive(Motion):
    """BasicMotions once more, from one transformer of pieces of any length; layers, heads: of it."""

    layers: PositiveInt = 2
    heads: PositiveInt = 2


class HumanML(Pieces):
    """HumanML3D, in frames of 0.05 s; one network of pieces of any length.

    Args:
        crop: frames of each long series that are judged.
        layers, heads: of the transformer.
        bound: the predicted clean motion is clipped to so many standard deviations.
        motions: files of each split; None: all.
    """

    crop: int = Field(ge=40, le=196)
    layers: PositiveInt = 8
    heads: PositiveInt = 4
    bound: float = Field(5.0, gt=0)
    motions: PositiveInt | None = None


class Job(ModelJob):
    """One or several parts of the paper, by what they are measured on.

    Args:
        measure: of a texture or scene `panoramas`, wide images by all methods (Tables 4.1 and 4.2), `lengths` (fig. 4.5),
            `loop`, `grid`, `cubemap` and `connect`; of a texture also `exact`, the panoramas with exact scores of the training
            patches in place of networks, `amortised`, those of one network in place of two, and `inpaint`, from strips of the
            photograph. Of BasicMotions `motion`, long series of activities (Table 4.3 in small), and `naive`, those of one
            transformer, which also denoises them directly; of HumanML3D `humanml`, those of captions (Table 4.3). Of laws that
            are known `samplers`, every sampler on the composed score of exact pieces, and `pictures`, larger ones,
            `trained`, the same of networks of their photographs' pieces, and `strokes`, from coarse ones; of
            `sky to gravel` `change`, from one texture to another; of `sky and ground` `doodle`, a cube under a label map.
    """

    subjects_of = dict.fromkeys(("panoramas", "lengths", "loop", "grid", "cubemap", "connect"), Images) | {
        "exact": Texture,
        "amortised": Texture,
        "inpaint": Texture,
        "motion": Literal["BasicMotions"],
        "naive": Literal["BasicMotions"],
        "humanml": Literal["HumanML3D"],
        "samplers": Laws,
        "pictures": Scenes,
        "trained": Scenes,
        "strokes": Literal["brick wall"],
        "doodle": Literal["sky and ground"],
        "change": Literal["sky to gravel"],
    }

    measure: dict[Literal[Images, Series, Laws, Scenes, "sky to gravel", "sky and ground"], tuple[str, ...]] = Field(
        min_length=1
    )

    @property
    def needed_models(self) -> list[str]:
        """Those of the pieces that its sections put together."""
        needed = set()
        for subject, sections in self.measure.items():
            if subject in get_args(Images) and not set(sections) <= {"exact", "amortised"}:
                needed |= {subject, subject + HALF, *([subject + QUARTER] if "grid" in sections else [])}
            if "trained" in sections:
                needed |= {pieces_of(subject) + part for part in LARGE}
        return sorted(needed)


class Config(ModelConfig):
    """One scale of the paper.

    Args:
        seeds: of the samples where `training_seeds` has a single one, and of exact pieces; of the trainings of BasicMotions'
            networks. Several training seeds have one set of samples each.
        samples: contents of each repeat and method; `crops`: random squares of each for FID+.
        batch: contents at a time; None: all.
        steps, eta: of the sampler, DDIM with its own noise; eta 1 is ancestral sampling.
        ratio: width over height of the panoramas.
        classifier_steps: of the network whose features FID of textures compares; that of scenes is `evaluation.features`.
    """

    section_versions = {"strokes": 2, "inpaint": 2, "grid": 2, "cubemap": 2, "pictures": 2}

    seeds: Seeds = Field((0, 1, 2), min_length=2)
    samples: PositiveInt = 300
    crops: PositiveInt = 6
    batch: PositiveInt | None = None
    steps: PositiveInt = 30
    eta: float = Field(1.0, ge=0)
    t0: float = Field(1e-3, gt=0, lt=1)
    ratio: PositiveInt = 6
    classifier_steps: PositiveInt = 300
    exact: Exact = Exact()
    lengths: Lengths = Lengths()
    samplers: Samplers = Samplers()
    pictures: Pictures = Pictures()
    strokes: Strokes = Strokes()
    change: Change = Change()
    inpaint: Inpaint = Inpaint()
    amortised: Amortised | None = None
    motion: Motion | None = None
    naive: Naive | None = None
    humanml: HumanML | None = None
    jobs: dict[str, Job]

    @model_validator(mode="after")
    def _scenes_have_networks_of_their_photographs(self) -> "Config":
        for scene in {subject for job in self.jobs.values() for subject, of in job.measure.items() if "trained" in of}:
            for part, size in LARGE.items():
                name, data = pieces_of(scene) + part, f"{PHOTOGRAPHS[scene]}-{size}"
                if self.models[name].data != data:
                    raise ValueError(f"models.{name}.data: {self.models[name].data}; allowed: {data}")
        return self

    @model_validator(mode="after")
    def _strokes_are_sampled_on(self) -> "Config":
        for start in self.strokes.starts:
            if start <= self.t0:
                raise ValueError(f"strokes.starts: {start:g}; allowed: above t0, {self.t0:g}, where sampling ends, up to 1")
        return self

    def data_fingerprint(self, job: str) -> str:
        return ", ".join(presence(at_hand()) for subject, at_hand in AT_HAND.items() if subject in self.jobs[job].measure)
