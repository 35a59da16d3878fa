"""The state of a training on disk: tensors in safetensors, the rest in JSON with their digest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.files import atomic_write, is_kind, load_tensors, read_json, save_tensors, sha256
from rescore.progress import warn
from rescore.training.ema import Average

KEPT = 2  # checkpoints on disk: if the newest is damaged, the one before it serves


@dataclass
class State:
    """Everything that a training changes.

    Attributes:
        model, optimizer: trained in place.
        history: the losses, (steps,) float64.
        generator: the one source of randomness of a training that has one.
        ema: the averaged copy of the model, if one is kept.
        cost: numbers that add up over interruptions, such as the seconds spent.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    history: Tensor
    generator: torch.Generator | None = None
    ema: Average | None = None
    cost: dict[str, float] = field(default_factory=dict)


def save_checkpoint(folder: Path, step: int, state: State) -> None:
    """Write `state` after `step` steps."""
    tensors = {f"model/{name}": value for name, value in state.model.state_dict().items()} | {"history": state.history}
    optimizer = state.optimizer.state_dict()
    for index, slots in optimizer["state"].items():
        tensors |= {f"optimizer/{index}/{slot}": value for slot, value in slots.items()}
    if state.ema is not None:
        tensors |= {f"ema/{name}": value for name, value in state.ema.state_dict().items()}
    if state.generator is not None:
        tensors["generator"] = state.generator.get_state()
    path = folder / f"step-{step:08d}.safetensors"
    save_tensors(path, tensors)
    description = {"step": step, "sha256": sha256(path), "param_groups": optimizer["param_groups"], "cost": state.cost}
    atomic_write(path.with_suffix(".json"), json.dumps(description, indent=1))
    _drop_old(folder)


def load_checkpoint(folder: Path, state: State) -> int:
    """Restore the newest good checkpoint into `state`, in place; returns its step, 0 if there is none.

    Raises RescoreError if there are checkpoints and none of them is good, if it is one of another network or training, or of
    more steps than `state.history` has room for: a longer training is no result of a shorter one.
    """
    found = sorted(folder.glob("step-*.json"), reverse=True)
    problems = []
    for description_path in found:
        path = description_path.with_suffix(".safetensors")
        try:
            description, tensors = _read(description_path, path)
        except RescoreError as error:
            problems.append(str(error))
            continue
        if problems:
            warn(f"damaged checkpoint passed over: {problems[-1]}; going on from {path}")
        _require_same_network(path, tensors, state)
        _require_no_longer(path, description["step"], state)
        try:
            _restore(tensors, description, state)
        except (KeyError, TypeError, ValueError) as error:  # as it has changed `state`, no other checkpoint can take its place
            raise RescoreError(
                f"{path}: no checkpoint of this training ({type(error).__name__}: {' '.join(str(error).split())}). "
                f"Remove {path.parent} to train again from the start"
            ) from None
        _drop_old(folder)  # a kill may have come between the removal of two files
        return description["step"]
    if problems:
        raise RescoreError(f"no good checkpoint: {'; '.join(problems)}. Remove {folder} to train again from the start")
    return 0


def _read(description_path: Path, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint's two files hold. Raises RescoreError where they are damaged or no checkpoint's."""
    description = read_json(description_path, {"step": int, "sha256": str, "param_groups": list}, {"cost": dict})
    groups, cost = description["param_groups"], description.get("cost") or {}
    if not all(is_kind(group, dict) and is_kind(group.get("params"), list) for group in groups):
        raise RescoreError(f"{description_path}, key param_groups: allowed: objects with a list of params")
    if wrong := [name for name, value in cost.items() if not is_kind(value, float)]:
        raise RescoreError(f"{description_path}, key cost: {wrong[0]}: {cost[wrong[0]]!r} is not a finite number")
    if sha256(path) != description["sha256"]:
        raise RescoreError(f"{path}: its content does not match its digest; it is cut short or was changed")
    tensors = load_tensors(path)
    if "history" not in tensors or not 0 <= description["step"] <= len(tensors["history"]):
        raise RescoreError(f"{path}: no history of {description['step']} losses in it: it is no checkpoint of so many steps")
    return description, tensors


def _drop_old(folder: Path) -> None:
    kept = sorted(path.stem for path in folder.glob("step-*.json"))[-KEPT:]
    for path in folder.glob("step-*"):
        if path.suffix in (".json", ".safetensors") and path.stem < kept[0]:
            path.unlink(missing_ok=True)
    for path in folder.glob(".step-*"):  # of a process that was killed while it wrote; the folder's lock is ours
        path.unlink(missing_ok=True)


def _require_same_network(path: Path, tensors: dict[str, Tensor], state: State) -> None:
    expected = {f"model/{name}": tuple(value.shape) for name, value in state.model.state_dict().items()}
    if state.ema is not None:
        expected |= {f"ema/{name}": tuple(value.shape) for name, value in state.ema.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items() if name.startswith(("model/", "ema/"))}
    for name in sorted(expected | found):
        if expected.get(name) != found.get(name):
            raise RescoreError(
                f"{path}: a checkpoint of another network: {name} is {found.get(name, 'absent')} there, "
                f"{expected.get(name, 'absent')} here. Remove {path.parent} to train again from the start"
            )


def _require_no_longer(path: Path, step: int, state: State) -> None:
    if step > len(state.history):
        raise RescoreError(
            f"{path}: a checkpoint after {step} steps, of a longer training than this one of {len(state.history)}. "
            f"Allowed are {step} steps or more, another folder, or to remove {path.parent} to train again from the start"
        )


def _restore(tensors: dict[str, Tensor], description: Mapping[str, Any], state: State) -> None:
    state.model.load_state_dict(_below("model/", tensors))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _below("optimizer/", tensors).items():
        index, slot = name.split("/")
        slots.setdefault(int(index), {})[slot] = value
    state.optimizer.load_state_dict({"state": slots, "param_groups": description["param_groups"]})
    _restride(state.optimizer)
    if state.ema is not None:
        state.ema.load_state_dict(_below("ema/", tensors))
    if state.generator is not None:
        state.generator.set_state(tensors["generator"])
    state.history[: description["step"]] = tensors["history"][: description["step"]]
    state.cost |= description.get("cost") or {}


def _restride(optimizer: torch.optim.Optimizer) -> None:
    """Lay the optimiser's moments out as its parameters: a file holds rows, a fused step walks all side by side in memory."""
    for parameter, slots in optimizer.state.items():
        for name, value in slots.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                slots[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
