"""From a spec to its process, data, network and objective; and from trained weights to a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from rescore import processes
from rescore.config import typed_settings
from rescore.data.images import load_images
from rescore.data.pixels import random_flip, to_unit
from rescore.errors import RescoreError
from rescore.networks import NoisePrediction, VelocityPrediction, autocast, make_network, place, state_channels
from rescore.objectives import DSM, HSM, LCSS, DiscreteTimes, ImportanceTimes, TraceMatching, UniformTimes, VelocityDSM
from rescore.objectives.matching import Objective as Loss
from rescore.objectives.network import Network
from rescore.processes import CLD, LinearSDE
from rescore.processes.base import require
from rescore.random import derive_seed, small_seed
from rescore.scores import Score
from rescore.specs.model import ModelSpec, Objective, Part
from rescore.training import Trained, Training, load_weights, own_device, train_network

OBJECTIVES = {"hsm": HSM, "velocity_dsm": VelocityDSM}
TRACES: dict[str, dict[str, Any]] = {"ssm": {"form": "ssm_vr"}, "fd_ssm": {"form": "fd_ssm", "probe": "sphere"}}


def make_process(part: Part, shape: tuple[int, int, int]) -> LinearSDE:
    """The process for images (C, H, W). Raises RescoreError for settings it does not have or of another type."""
    settings: dict[str, Any] = {"size": shape[1:]} if part.name == "Blurring" else {}
    made = getattr(processes, part.name)
    try:
        return made(**settings | typed_settings(made, part.settings, f"process {part.name}"))
    except TypeError as error:
        raise RescoreError(f"process {part.name}: {error}") from None


def make_objective(objective: Objective) -> Loss:
    """The loss that a spec names, with its weighting, times, prediction and reduction."""
    times: DiscreteTimes | ImportanceTimes | UniformTimes
    if objective.levels:
        times = DiscreteTimes.evenly(objective.levels)
    else:
        times = (ImportanceTimes if objective.importance else UniformTimes)(objective.t0)
    whole: dict[str, Any] = {"predicts": objective.factor, "per_dimension": objective.reduction == "mean"}
    if objective.name == "dsm":
        return DSM(objective.weighting, times, **whole)
    if objective.name == "lcss":
        return LCSS(objective.weighting, times, **whole, gamma=objective.gamma)
    if objective.name in TRACES:
        trace = TraceMatching(weighting=objective.weighting, times=times, predicts=objective.factor, **TRACES[objective.name])
        return cast(Loss, trace)  # which refuses a process that is not isotropic
    return OBJECTIVES[objective.name](objective.weighting, times)


def make_model(spec: ModelSpec, process: LinearSDE, shape: tuple[int, int, int]) -> NoisePrediction:
    """An untrained noise prediction for states of images (C, H, W)."""
    channels, side, network = shape[0], shape[1] if shape[1] == shape[2] else shape[1:], spec.network
    velocities = spec.objective.of_velocities
    bare = make_network(
        network.name,
        network.settings,
        state_channels(process, channels),
        side,
        small_seed("model", spec.seed),
        channels if velocities else None,
    )
    if velocities:
        hybrid = require(process, CLD, "a network of velocities")
        # the score of `velocity_dsm` is that of the process with the first velocity given
        given = replace(hybrid, gamma=0.0) if spec.objective.name == "velocity_dsm" else hybrid
        level = cast(Literal["steps", "time"], network.level)  # `VelocityPrediction` refuses others
        return VelocityPrediction(bare, given, network.mixed, level, hybrid)
    return NoisePrediction(bare, process, network.level, network.output, spec.objective.factor)


def train_model(spec: ModelSpec, folder: Path, device: str, label: str) -> Trained:
    """Train it; interruptions as in `rescore.training.train_network`."""
    data = load_images(spec.data, spec.split)
    process = make_process(spec.process, data.shape)
    model, objective = make_model(spec, process, data.shape), make_objective(spec.objective)
    images = data.images.to(own_device(device))

    def losses(network: Network, rows: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[rows.to(images.device)]
        x = to_unit(random_flip(batch, generator) if spec.flip else batch)
        return objective(network, process, x, generator)

    settings = Training.of(spec, len(data), derive_seed("training", spec.seed), spec.parts)
    return train_network(model, losses, settings, folder, device, spec.checkpoint_every, label, spec.snapshots)


@dataclass(frozen=True)
class LoadedModel:
    """A trained model.

    Args:
        spec: what it is.
        process: its samples are drawn by reversing this.
        network: eps(u, t) under `network.process`, frozen, on `device`.
    """

    spec: ModelSpec
    process: LinearSDE
    network: NoisePrediction
    device: str

    @cached_property  # it keeps the coefficients of the times that it has been asked for: samplers share their grids
    def score(self) -> Score:
        """(u, t) -> score for samplers: no gradients, bfloat16 on a GPU. `network.score()` has gradients, in float32."""
        score = self.network.score()

        @torch.inference_mode()
        def evaluate(u: Tensor, t: float) -> Tensor:
            with autocast(self.device):
                return score(u, t)

        return evaluate

    def on_doubled_chain(self) -> LoadedModel:
        """The same for a chain of twice as many levels, of which it is given i / 2 as level i."""
        return replace(self, network=self.network.on_doubled_chain())


def load_model(
    spec: ModelSpec, weights: Path, shape: tuple[int, int, int], device: str, made: Path | None = None
) -> LoadedModel:
    """A trained model of images (C, H, W); `made` as of `load_weights`.

    Raises RescoreError if the weights are missing, damaged or of another network.
    """
    process = make_process(spec.process, shape)
    network = load_weights(weights, make_model(spec, process, shape), made).eval().requires_grad_(False)
    return LoadedModel(spec, process, place(network, device), device)
