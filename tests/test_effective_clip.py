"""The clip of a gradient means what the loss is: trainings of authors' networks are clipped as their authors clip them."""

import math

import pytest
from rescore.config import validated
from rescore.data.images import image_shape
from rescore.models.build import make_process
from rescore.papers import load_config, load_paper
from rescore.specs.model import ModelSpec

SCALES = ("gpu", "paper")
OF_THE_MEAN = {  # Score-SDE's VP and sub-VP, which DEIS, CLD, DiffFlow and LCSS take up, and all of gDDIM's
    "smld_sde": {"VP", "SubVP"},
    "deis": {"VP"},
    "gddim": {"VP", "Blurring", "CLD"},
    "cld": {"VP"},
    "diffflow": {"VP"},
    "lcss": {"SubVP"},
}
TRAININGS = [
    pytest.param(paper, spec, id=f"{paper}-{scale}-{name}")
    for paper in OF_THE_MEAN
    for scale in SCALES
    for name, spec in getattr(load_config(load_paper(paper), scale), "models", {}).items()
    if not spec.weights
]


def dimensions(spec: ModelSpec) -> int:
    """Of what the loss compares: the state, or of `hsm` and `velocity_dsm` the velocities."""
    shape = image_shape(spec.data)
    return math.prod(shape if spec.objective.of_velocities else make_process(spec.process, shape).state_shape(shape))


def clip_of_the_mean(spec: ModelSpec) -> float:
    """The clip that does to the mean over dimensions what the spec's own does to its loss."""
    return spec.clip if spec.objective.reduction == "mean" else spec.clip / dimensions(spec)


@pytest.mark.parametrize(("paper", "spec"), TRAININGS)
def test_a_gradient_is_clipped_as_in_the_authors_code(paper, spec):
    """At 1, of the mean over dimensions or, of VE and CLD-SGM, of the sum."""
    assert spec.data == "cifar10" and dimensions(spec) == (6144 if (paper, spec.process.name) == ("gddim", "CLD") else 3072)
    of_the_mean = spec.process.name in OF_THE_MEAN[paper]
    assert clip_of_the_mean(spec) == (1.0 if of_the_mean else 1 / dimensions(spec))
    assert (spec.objective.weighting == "sigma^2") == (spec.process.name == "VE"), "half the square: the others' has no 1/2"


def test_both_kinds_are_among_the_trainings():
    found = {(paper, spec.process.name) for paper, spec in (one.values for one in TRAININGS)}
    assert {(paper, process) for paper, processes in OF_THE_MEAN.items() for process in processes} < found
    assert {("smld_sde", "VE"), ("cld", "CLD"), ("lcss", "VE")} < found


def test_records_say_that_the_loss_was_a_mean_or_of_levels():
    content = {"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 12}
    of_sum, of_mean = (validated(ModelSpec, content | {"objective": {"reduction": kind}}, kind) for kind in ("sum", "mean"))
    assert "train_reduction" not in of_sum.protocol and "train_levels" not in of_sum.protocol
    content = content | {"process": {"name": "VE"}}
    continuous, chain = (validated(ModelSpec, content | {"objective": {"levels": n}}, "levels") for n in (None, 10))
    assert chain.protocol | {"train_t0": 1e-5} == continuous.protocol | {"train_levels": 10}, "levels have no least time"
    assert of_mean.protocol == of_sum.protocol | {"train_reduction": "mean"} and of_mean.key != of_sum.key
