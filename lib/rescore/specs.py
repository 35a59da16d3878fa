"""What a training is told, and what a trained model is: data, process, objective, network and training. No torch.

Two papers whose configs spell the same `ModelSpec` share one trained model: it is found by the hash of the spec.

References:
    LCSS: arXiv:2412.03962.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from rescore.config import RESOURCES, JobConfig, PaperConfig, Resources, Settings, check_choice, config_hash
from rescore.errors import RescoreError

PROCESSES = ("VE", "VP", "SubVP", "CosineVP", "CLD", "Blurring")

TRAINED_HERE = "-trained-here"
"""`<name>-trained-here` is the model `<name>` trained by us where that has published weights, in a job of its own."""

SHORT = 100
"""Steps of all seeds together, on a CPU: such a training takes less time than the start of its process."""

ON = "@"
"""`<name>@<data set>` is the model `<name>` of another data set, in a job of its own: the same sections measure both."""

TRAINING_VERSION = 3
"""Raised by hand when the code changes so that a spec trains other weights: every model is trained again."""


class Grown(Settings):
    """Settings that got fields later: those hashed before keep their keys.

    Attributes:
        younger: names of fields that are left out of what is hashed while they have their defaults.
    """

    younger: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _old_keys(self, content: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        left_out = {name for name in self.younger if getattr(self, name) == fields[name].default}
        return {name: value for name, value in content(self).items() if name not in left_out}


class TrainingConfig(Grown):
    """A training with Adam, whatever is trained; `rescore.training.Adam.of` makes the optimiser of it.

    Args:
        steps: of the optimiser.
        batch: data points, or draws, of a step.
        lr: the rate is lr min(step / warmup, 1) decay ** (step // decay_every), with integer division.
        weight_decay: Adam's own.
        clip: the gradient is scaled down to this norm where it is larger; None leaves it.
    """

    steps: PositiveInt
    batch: PositiveInt = 128
    lr: PositiveFloat
    weight_decay: float = Field(0.0, ge=0)
    decay: PositiveFloat = 1.0
    decay_every: PositiveInt = 50
    warmup: int = Field(0, ge=0)
    clip: PositiveFloat | None = None

    younger: ClassVar[tuple[str, ...]] = ("weight_decay", "decay", "decay_every", "warmup", "clip")

    @property
    def protocol(self) -> dict[str, object]:
        """What the ledger says about the training; of younger fields' settings, those that differ from the defaults."""
        fields = type(self).model_fields
        changed = {
            name for name in self.younger if getattr(self, name) != fields[name].default
        } & TrainingConfig.model_fields.keys()
        return {f"train_{name}": getattr(self, name) for name in ("steps", "batch", "lr", *changed)}


class EnsembleTraining(TrainingConfig):
    """Of small networks side by side (`rescore.training.ensemble`), without a clip: each trains as it would alone.

    Args:
        members: networks, each with its own weights and draws; errors are over them.
    """

    members: int = Field(ge=2)
    clip: None = None


class NetworkTraining(TrainingConfig):
    """Of a network of images (`rescore.training.train_network`), with Score-SDE's defaults.

    Args:
        ema: of the averaged weights, which are those that are used.
        flip: random horizontal flips.
        checkpoint_every: steps.
    """

    lr: PositiveFloat = 2e-4
    warmup: int = Field(5000, ge=0)
    clip: PositiveFloat | None = 1.0
    ema: float = Field(0.9999, ge=0, lt=1)
    flip: bool = False
    checkpoint_every: PositiveInt = 1000

    younger: ClassVar[tuple[str, ...]] = ("weight_decay", "decay", "decay_every")

    @property
    def protocol(self) -> dict[str, object]:
        return super().protocol | {"ema": self.ema}


class Part(Settings):
    """A choice by name, with the settings that differ from its defaults."""

    name: str
    settings: dict[str, Any] = {}


class Objective(Grown):
    """How the network is trained; see `rescore.objectives`.

    Args:
        name: `dsm` or `lcss`, or for CLD's velocities `hsm` (hybrid) and `velocity_dsm` (the ablation).
        factor: K of the noise that a `dsm` or `lcss` network predicts.
        weighting: of the residual's square.
        importance: times of training with density proportional to the likelihood weight.
        t0: the smallest time of training.
        gamma: of `lcss` only: the weight of its first term (LCSS eq. 21).
        reduction: of the loss over the dimensions of a state. Adam does not notice, a gradient clip does: with the sum and
            `clip: 1` the gradient of a CIFAR-10 image is scaled as with the mean and 1 / 3072. Score-SDE's VP and sub-VP
            (`reduce_mean`) and gDDIM take the mean, its VE, NCSN and CLD the sum. `hsm` and `velocity_dsm` have the sum only.
        levels: train at so many times, evenly from 0 to T and each as likely, in place of uniform ones: NCSN's geometric
            sigmas of `dsm` or `lcss` on VE. None: all times from t0 on.
    """

    name: Literal["dsm", "lcss", "hsm", "velocity_dsm"] = "dsm"
    factor: Literal["R", "L"] = "R"
    weighting: Literal["simple", "sigma^2", "likelihood"] = "simple"
    importance: bool = False
    t0: PositiveFloat = 1e-5
    gamma: PositiveFloat = 1.0
    reduction: Literal["sum", "mean"] = "sum"
    levels: int | None = Field(default=None, ge=2)

    younger: ClassVar[tuple[str, ...]] = ("gamma", "reduction", "levels")

    @model_validator(mode="after")
    def _gamma_is_of_lcss(self) -> "Objective":
        if self.gamma != 1 and self.name != "lcss":
            raise ValueError(f"gamma is for lcss; allowed with {self.name}: 1")
        return self

    @model_validator(mode="after")
    def _velocities_have_the_sum(self) -> "Objective":
        if self.reduction == "mean" and self.of_velocities:
            raise ValueError(f"reduction: mean is for dsm and lcss; allowed with {self.name}: sum")
        return self

    @model_validator(mode="after")
    def _levels_have_their_own_times(self) -> "Objective":
        if self.levels and (self.importance or self.of_velocities):
            raise ValueError("levels: allowed are dsm and lcss without importance")
        return self

    @property
    def of_velocities(self) -> bool:
        """Whether the network predicts CLD's velocities alone."""
        return self.name in ("hsm", "velocity_dsm")


class Network(Part):
    """A network of `rescore.networks` and how it is used.

    Args:
        level: what it takes for the noise level: 999 t, t, sigma, the label round(999 (1 - t)) of discrete VE, or the index of
            the `chain` of discrete VP.
        output: what it gives.
        mixed: CLD's mixed score (`hsm` and `velocity_dsm` only).
    """

    level: Literal["steps", "time", "sigma", "labels", "chain"] = "steps"
    output: Literal["noise", "score", "v"] = "noise"
    mixed: bool = True


Source = Literal["score_sde", "cld", "gddim", "edm"]
"""Whose code has saved weights (`rescore.models.imported`)."""


class Weights(Settings):
    """Weights that the authors of a paper published.

    Args:
        source: whose code has saved them (`rescore.models.imported`).
        name: of the file below `weights/<source>/` of RESCORE_DATA or of the cache.
        sha256: of the published file. Without it any file of that name is taken once, with a warning that says its digest, and
            records call it `unpinned`.
    """

    source: Source
    name: str = Field(pattern=r"^[^/].*")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @field_validator("name")
    @classmethod
    def _below_the_folder(cls, name: str) -> str:
        if ".." in name.split("/"):
            raise ValueError(f"{name}: allowed: a path below the folder of weights, without '..'")
        return name


class TogetherTraining(NetworkTraining):
    """Of several networks (`rescore.training.together`).

    Args:
        together: all at once, as an ensemble: for small ones.
        clip: only where they are trained one by one.
    """

    together: bool = True

    @model_validator(mode="after")
    def _one_clip_a_network(self) -> "TogetherTraining":
        if self.together and self.clip is not None:
            raise ValueError("networks trained together cannot share one gradient clip: set clip: null, or together: false")
        return self


class ModelSpec(Resources, NetworkTraining):
    """One trained model and its training. The resources of a job (threads, gpu, ...) are not part of its identity.

    Args:
        data: a data set of `rescore.data.images`; `split`: of it.
        parts: a batch is split into so many parts; `gpu` must divide it, each GPU takes as many.
        seed: of the weights, the order of the data and all noise.
        weights: published ones in place of a training; `steps` is then what their authors trained.
        snapshots: the averaged weights are kept every so many steps, to choose among (`Evaluation.checkpoint`); None keeps the
            last.
    """

    data: str
    split: str = "train"
    process: Part
    objective: Objective = Objective()
    network: Network
    parts: PositiveInt = 1
    seed: int = 0
    weights: Weights | None = None
    snapshots: PositiveInt | None = None

    younger = (*NetworkTraining.younger, "snapshots", "weights")
    unhashed = RESOURCES | {"checkpoint_every"}

    @model_validator(mode="after")
    def _gpus_share_the_parts(self) -> "ModelSpec":
        if self.gpu > 1 and self.parts % self.gpu:
            raise ValueError(
                f"parts: {self.parts} cannot be shared by {self.gpu} GPUs (gpu); allowed: a multiple of {self.gpu}"
            )
        return self

    @model_validator(mode="after")
    def _levels_are_of_ve(self) -> "ModelSpec":
        if self.objective.levels and self.process.name != "VE":
            raise ValueError(f"objective.levels: the process {self.process.name} may have no noise at time 0; allowed: VE")
        return self

    @field_validator("process")
    @classmethod
    def _known_process(cls, process: Part) -> Part:
        try:
            check_choice("process", process.name, PROCESSES)
        except RescoreError as error:
            raise ValueError(str(error)) from None
        return process

    @property
    def key(self) -> str:
        """12 hex digits: what identifies a training; of published weights, which no seed and no training of ours changes."""
        if self.weights:
            return config_hash(self.model_copy(update={"seed": 0}), "published weights")
        return config_hash(self, f"training {TRAINING_VERSION}")

    @property
    def protocol(self) -> dict[str, object]:
        """What the ledger says about the training; of published weights `<source> <8 digits of sha256> <step>` instead."""
        if self.weights:
            digest = self.weights.sha256[:8] if self.weights.sha256 else "unpinned"
            return {"weights": f"{self.weights.source} {digest} {self.steps}", "network": self.network.name}
        of = self.objective
        levels = {"train_levels": of.levels} if of.levels else {}
        return super().protocol | {"network": self.network.name, "objective": of.name, "weighting": of.weighting} | levels


@dataclass(frozen=True)
class Trainings:
    """One spec trained with each of some seeds: a node of the DAG, shared by every paper that names the same."""

    spec: ModelSpec
    seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        """12 hex digits: the name of its folder."""
        return config_hash({"spec": self.spec.key, "seeds": self.seeds})

    @property
    def short(self) -> bool:
        """Whether it shares a process with other short ones (`SHORT`)."""
        spec = self.spec
        return not (spec.gpu or spec.weights) and spec.steps * len(self.seeds) <= SHORT

    @property
    def members(self) -> dict[int, ModelSpec]:
        """The spec of each training; of published weights the same for every seed."""
        return {seed: self.spec.model_copy(update={"seed": seed}) for seed in self.seeds}


class ModelJob(JobConfig, Grown):
    """A job that uses trained models.

    Args:
        models: names of the config's `models`; all of one data set.
        part: `2/8`: only the second of eight parts of the cells on them, alike in evaluations.
        floors: whether it judges real images in place of samples too. Of several jobs on one data set one does; of several
            parts the first.
    """

    models: tuple[str, ...] = ()
    part: str | None = None
    floors: bool = True

    younger: ClassVar[tuple[str, ...]] = ("part", "floors")

    @field_validator("part")
    @classmethod
    def _a_part_of_several(cls, part: str | None) -> str | None:
        if (part is not None and not re.fullmatch(r"[1-9]\d*/[1-9]\d*", part)) or (
            part and part_of(part)[0] > part_of(part)[1]
        ):
            raise ValueError(f"{part}: allowed: k/n with 1 <= k <= n, such as 2/8")
        return part

    @model_validator(mode="after")
    def _one_of_each(self) -> "ModelJob":
        roles = [role(name) for name in self.models]
        if twice := {name for name in roles if roles.count(name) > 1}:
            names = [name for name in self.models if role(name) == min(twice)]
            raise ValueError(f"models: {' and '.join(names)} are of one place; allowed: one of them")
        return self

    @property
    def needed_models(self) -> list[str]:
        """Those that its sections cannot do without."""
        return []


def part_of(part: str) -> tuple[int, int]:
    """`2/8` as (2, 8)."""
    k, n = part.split("/")
    return int(k), int(n)


def role(name: str) -> str:
    """What a paper's code calls a model: its config's name, without `TRAINED_HERE` or the data set after `ON`."""
    return name.removesuffix(TRAINED_HERE).partition(ON)[0]


class Evaluation(Grown):
    """How samples of trained models are judged.

    Args:
        samples: of each training seed and sampler. As many as there are held-out images make FID comparable to its
            floors.
        features: what FID and IS see: `inception`, or a `classifier` trained in the run where its weights are not at hand.
        classifier_steps: of that training.
        likelihood_images: held-out images whose likelihood is computed.
        tolerance: relative and absolute, of the likelihood's ODE solver.
        checkpoint: whose samples a number is of: the `last` weights, or the `best` by FID of all snapshots and the last, as in
            Score-SDE's Table 3 (every 50,000 steps) and gDDIM; then the last's stand beside them as `<metric>_last`.
        runs: sets of samples, and likelihoods, of published weights, where there is one training seed: nothing is known of the
            error of a single one.
        samplings: sets of samples, and likelihoods, of a training of ours, where there is one training seed. Their spread says
            nothing about another training.
    """

    samples: PositiveInt = 359
    features: Literal["classifier", "inception"] = "classifier"
    classifier_steps: PositiveInt = 1000
    likelihood_images: PositiveInt = 100
    tolerance: PositiveFloat = 1e-5
    checkpoint: Literal["last", "best"] = "last"
    runs: PositiveInt = 1
    samplings: PositiveInt = 1

    younger: ClassVar[tuple[str, ...]] = ("checkpoint", "runs", "samplings")


class ModelConfig(PaperConfig):
    """A paper that uses trained models. Its `config.Config` derives from this, its jobs from `ModelJob`.

    Args:
        models: by a name that only this paper knows.
        training_seeds: each model is trained once with each; what a table says of a model is the mean over them.
        evaluation: of the trained models.
    """

    if TYPE_CHECKING:
        jobs: Mapping[str, ModelJob] = {}  # each paper narrows them further

    models: dict[str, ModelSpec] = {}
    training_seeds: tuple[int, ...] = Field((0,), min_length=1)
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _jobs_name_known_models(self) -> "ModelConfig":
        for name, job in self.jobs.items():
            for model in job.models:
                if model not in self.models:
                    raise ValueError(f"jobs.{name}.models: {model} is unknown; allowed: {', '.join(self.models) or '(none)'}")
            needed = job.needed_models
            if missing := [model for model in needed if model not in job.models]:
                raise ValueError(f"jobs.{name}.models: {missing[0]} is missing; needed: {', '.join(needed)}")
        return self

    @model_validator(mode="after")
    def _trained_here_is_trained(self) -> "ModelConfig":
        for name, spec in self.models.items():
            if name.endswith(TRAINED_HERE) and spec.weights:
                raise ValueError(f"models.{name}: weights are published ones; allowed: a training, or the name {role(name)}")
        return self

    @model_validator(mode="after")
    def _models_on_data_name_them(self) -> "ModelConfig":
        for name, spec in self.models.items():
            if ON in name and name.partition(ON)[2] != spec.data:
                raise ValueError(f"models.{name}: its data are {spec.data}; allowed: the name {role(name)}{ON}{spec.data}")
        return self

    @model_validator(mode="after")
    def _the_best_is_one_of_several(self) -> "ModelConfig":
        for name, spec in self.models.items():
            if self.evaluation.checkpoint == "best" and spec.snapshots is None:
                raise ValueError(
                    f"evaluation.checkpoint: best: models.{name} keeps no snapshots; allowed: last, or snapshots: STEPS there"
                )
        return self

    def job_models(self, job: str) -> dict[str, ModelSpec]:
        """The models of a job as `<name>/<training seed>`."""
        trainings = self.job_trainings(job).items()
        return {f"{name}/{seed}": spec for name, of in trainings for seed, spec in of.members.items()}

    def job_trainings(self, job: str) -> dict[str, Trainings]:
        """The nodes that train them."""
        config = self.under(job)
        return {name: Trainings(config.models[name], config.training_seeds) for name in self.jobs[job].models}

    def job_dependencies(self, job: str) -> dict[str, Any]:
        """A job's numbers depend on its own models, by what identifies them; without models, not on how those are judged."""
        needs = super().job_dependencies(job) | {"models": {name: of.key for name, of in self.job_trainings(job).items()}}
        others = () if self.jobs[job].models else ("training_seeds", "evaluation")
        return {key: value for key, value in needs.items() if key not in others}
