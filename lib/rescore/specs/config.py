"""What a paper's config says of trained models: which they are, the jobs that use them, and how their samples are judged."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt, field_validator, model_validator

from rescore.config import JobConfig, PaperConfig
from rescore.settings import Seeds
from rescore.specs.grown import Grown
from rescore.specs.model import ModelSpec, Trainings

TRAINED_HERE = "-trained-here"
"""`<name>-trained-here` is the model `<name>` trained by us where that has published weights, in a job of its own."""

ON = "@"
"""`<name>@<data set>` is the model `<name>` of another data set, in a job of its own: the same sections measure both."""


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
            Score-SDE's Table 3 (every 50,000 steps) and gDDIM; then the last's stand beside them as `<metric>_last`. Published
            weights have no snapshots.
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

    def sets(self, seeds: int, published: bool) -> int:
        """How many sets of samples, and of likelihoods, are made of a model of so many training seeds."""
        if seeds > 1:
            return seeds
        return self.runs if published and self.runs > 1 else self.samplings


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
    training_seeds: Seeds = (0,)
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
            if self.evaluation.checkpoint == "best" and spec.snapshots is None and not spec.weights:
                raise ValueError(
                    f"evaluation.checkpoint: best: models.{name} keeps no snapshots; allowed: last, or snapshots: STEPS there"
                )
        return self

    def job_trainings(self, job: str) -> dict[str, Trainings]:
        """The nodes that train the models of a job, by their names."""
        config = self.under(job)
        return {name: Trainings(config.models[name], config.training_seeds) for name in self.jobs[job].models}

    def job_dependencies(self, job: str) -> dict[str, Any]:
        """A job's numbers depend on its own models, by what identifies them; without models, not on how those are judged."""
        needs = super().job_dependencies(job) | {"models": {name: of.key for name, of in self.job_trainings(job).items()}}
        others = () if self.jobs[job].models else ("training_seeds", "evaluation")
        return {key: value for key, value in needs.items() if key not in others}
