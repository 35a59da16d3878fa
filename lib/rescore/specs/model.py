"""What a trained model is: data, process, objective, network and training, or the weights that its authors published.

Two papers whose configs spell the same `ModelSpec` share one trained model: it is found by the hash of the spec.

References:
    LCSS: arXiv:2412.03962.
"""

import json
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from rescore.config import RESOURCES, Resources, check_choice, config_hash
from rescore.errors import RescoreError
from rescore.settings import Free, Seed, Settings
from rescore.specs.grown import Grown
from rescore.specs.training import NetworkTraining

PROCESSES = ("VE", "VP", "SubVP", "CosineVP", "CLD", "Blurring")

SHORT = 100
"""Steps of all seeds together, on a CPU: such a training takes less time than the start of its process."""

TRAINING_VERSION = 3
"""Raised by hand when the code changes so that a spec trains other weights: every model is trained again."""


class Part(Settings):
    """A choice by name, with the settings that differ from its defaults."""

    name: str
    settings: dict[str, Free] = {}

    def protocol(self, kind: str) -> dict[str, object]:
        """What the ledger says: `<kind>=<name>`, and `<kind>_settings=blocks:1 skip:true` where there are any."""
        told = " ".join(f"{name}:{_told(value)}" for name, value in sorted(self.settings.items()))
        return {kind: self.name, **({f"{kind}_settings": told} if told else {})}


def _told(value: Free) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, separators=(",", ":"))


class Objective(Grown):
    """How the network is trained; see `rescore.objectives`.

    Args:
        name: `dsm` or `lcss`; without the noise `ssm` (one Gaussian probe of the trace, the square as it is) or `fd_ssm` (by
            finite differences, a probe on the sphere), of isotropic processes; or for CLD's velocities `hsm` (hybrid) and
            `velocity_dsm` (the ablation).
        factor: K of the noise that a network predicts, but for one of velocities.
        weighting: of the residual's square.
        importance: times of training with density proportional to the likelihood weight.
        t0: the smallest time of training.
        gamma: of `lcss` only: the weight of its first term (LCSS eq. 21).
        reduction: of the loss over the dimensions of a state. Adam does not notice, a gradient clip does: with the sum and
            `clip: 1` the gradient of a CIFAR-10 image is scaled as with the mean and 1 / 3072. Score-SDE's VP and sub-VP
            (`reduce_mean`) and gDDIM take the mean, its VE, NCSN and CLD the sum. All but `dsm` and `lcss` have the sum.
        levels: train at so many times, evenly from 0 to T and each as likely, in place of uniform ones: NCSN's geometric
            sigmas on VE. None: all times from t0 on.
    """

    name: Literal["dsm", "lcss", "ssm", "fd_ssm", "hsm", "velocity_dsm"] = "dsm"
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
    def _others_have_the_sum(self) -> "Objective":
        if self.reduction == "mean" and self.name not in ("dsm", "lcss"):
            raise ValueError(f"reduction: mean is for dsm and lcss; allowed with {self.name}: sum")
        return self

    @model_validator(mode="after")
    def _levels_have_their_own_times(self) -> "Objective":
        if self.levels and (self.importance or self.of_velocities):
            raise ValueError("levels: allowed are dsm, lcss, ssm and fd_ssm without importance")
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
    seed: Seed = 0
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

    @model_validator(mode="after")
    def _compiled_networks_have_one_derivative(self) -> "ModelSpec":
        if self.objective.name == "ssm" and self.gpu:
            raise ValueError(
                "gpu: ssm differentiates twice, which a network compiled for a GPU does not allow; allowed: 0, or fd_ssm"
            )
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
        of, network = self.objective, self.network
        said = network.protocol("network") | self.process.protocol("train_process")
        said |= {"objective": of.name, "weighting": of.weighting} | ({} if of.levels else {"train_t0": of.t0})
        for prefix, part, names in (
            ("network", network, ("level", "output")),
            ("train", of, ("factor", "importance", "gamma", "levels", "reduction")),
        ):
            plain = {name: field.default for name, field in type(part).model_fields.items()}
            said |= {f"{prefix}_{name}": value for name in names if (value := getattr(part, name)) != plain[name]}
        said |= {} if network.mixed else {"mixed": False}
        return super().protocol | said | ({"train_split": self.split} if self.split != "train" else {})


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
