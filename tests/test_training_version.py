"""Weights are found by their spec: where the code trains others, the version of the training must be raised.

Tiny trainings of every kind of spec, some numbers of each kept in tests/data/pinned/training.json with the version that made
them. `RESCORE_PIN=1 pytest` writes them anew, and refuses while the numbers move and the version does not.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from rescore.config import validated
from rescore.machine.hardware import device_name
from rescore.models.build import train_model
from rescore.specs.model import TRAINING_VERSION, ModelSpec

KEPT = Path(__file__).parent / "data" / "pinned" / "training.json"
MLP = {"name": "mlp", "settings": {"width": 8, "blocks": 1}}
UNET = {"name": "ddpm", "settings": {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [4], "dropout": 0.0}}
SPECS = {
    "vp": {"process": {"name": "VP"}, "network": MLP},
    "ve": {
        "process": {"name": "VE"},
        "network": MLP | {"level": "sigma"},
        "objective": {"name": "lcss", "weighting": "sigma^2"},
    },
    "cld": {"process": {"name": "CLD"}, "network": MLP | {"level": "time"}, "objective": {"name": "hsm", "importance": True}},
    "cld velocities": {"process": {"name": "CLD"}, "network": MLP, "objective": {"name": "velocity_dsm"}},
    "blurring": {"process": {"name": "Blurring"}, "network": MLP, "flip": True},
    "ssm": {"process": {"name": "VE"}, "network": MLP, "objective": {"name": "ssm", "weighting": "sigma^2", "levels": 4}},
    "fd_ssm": {
        "process": {"name": "VE"},
        "network": {"name": "ncsnv2", "level": "sigma", "output": "score", "settings": {"width": 2, "patch": 2}},
        "objective": {"name": "fd_ssm", "weighting": "sigma^2", "levels": 4},
    },
    "v": {"process": {"name": "CosineVP"}, "network": MLP | {"output": "v"}, "clip": None},
    "unet": {"process": {"name": "VP"}, "network": UNET, "objective": {"weighting": "likelihood"}},
}
COMMON = {"data": "digits", "steps": 3, "batch": 8, "parts": 2, "warmup": 2, "ema": 0.5, "lr": 1e-2}


def numbers(spec: ModelSpec, folder: Path) -> list[float]:
    """The norms of the averaged weights and of their change from zero mean, and the losses."""
    trained = train_model(spec, folder, "cpu", "tiny")
    weights = torch.cat([value.detach().flatten().double() for value in trained.network.parameters()])
    return [weights.norm().item(), weights.sum().item(), *trained.history.double().tolist()]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[float]]:
    folder = tmp_path_factory.mktemp("trainings")
    specs = {name: validated(ModelSpec, COMMON | content, name) for name, content in SPECS.items()}
    return {name: numbers(spec, folder / name) for name, spec in specs.items()}


def same(a: list[float], b: list[float], relative: float) -> bool:
    return len(a) == len(b) and all(x == pytest.approx(y, rel=relative, abs=1e-6) for x, y in zip(a, b, strict=True))


def test_other_weights_have_another_version(found):
    here = f"{device_name('cpu')}, torch {torch.__version__.partition('+')[0]}"
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else None
    relative = 1e-5 if kept is None or kept["machine"] == here else 1e-2
    numbers = {} if kept is None else kept["numbers"]
    moved = [name for name in numbers if not same(found.get(name, []), numbers[name], relative)]
    if os.environ.get("RESCORE_PIN") == "1" and (not moved or kept["version"] != TRAINING_VERSION):
        KEPT.write_text(json.dumps({"version": TRAINING_VERSION, "machine": here, "numbers": found}, indent=1) + "\n")
        return
    assert kept["version"] == TRAINING_VERSION, "write the numbers of this version: RESCORE_PIN=1 pytest"
    assert numbers.keys() == SPECS.keys(), "write the numbers of a new spec: RESCORE_PIN=1 pytest"
    assert not moved, (
        f"{', '.join(moved)} train other weights: raise TRAINING_VERSION in rescore.specs.model, then RESCORE_PIN=1 pytest"
    )


def test_every_kind_of_spec_is_trained():
    from typing import get_args

    from rescore.specs.model import Objective

    kinds = {content.get("objective", {}).get("name", "dsm") for content in SPECS.values()}
    assert kinds == set(get_args(Objective.model_fields["name"].annotation))
    weightings = {content.get("objective", {}).get("weighting", "simple") for content in SPECS.values()}
    assert weightings == set(get_args(Objective.model_fields["weighting"].annotation))
