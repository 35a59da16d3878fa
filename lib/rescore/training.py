"""One training loop: seeded, checkpointed atomically, resumed bit for bit after a kill."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.files import atomic_path, atomic_write, sha256
from rescore.progress import progress, warn

KEPT = 2  # checkpoints on disk: if the newest is damaged, the one before it serves
SKIPPED_IN_A_ROW = 20  # a rare overflow is passed over; so many on end are a divergence

Loss = Callable[[torch.Generator], Tensor]
"""loss(generator): the scalar to minimise, all its randomness drawn from `generator`."""


@dataclass(frozen=True)
class Adam:
    """Adam with a step-wise exponential decay: lr * decay ** (step // decay_every)."""

    steps: int
    lr: float
    weight_decay: float = 0.0
    decay: float = 1.0
    decay_every: int = 50

    def lr_at(self, step: int) -> float:
        return self.lr * self.decay ** (step // self.decay_every)


def fit(
    model: nn.Module,
    loss: Loss,
    settings: Adam,
    generator: torch.Generator,
    folder: Path,
    checkpoint_every: int = 100,
    label: str = "train",
) -> Tensor:
    """Minimise `loss` in place and return its history, (steps,) float64.

    A step whose loss or gradient is not finite leaves the parameters as they are; its loss stands in the history as it is.
    The same call after an interruption resumes from the newest good checkpoint in `folder` and ends in the same bits;
    after the end it only loads the result.

    Args:
        model: trained in place.
        loss: see `Loss`.
        settings: optimiser and its length.
        generator: the only source of randomness; its state is part of a checkpoint.
        folder: where checkpoints live; nothing else may write there.
        checkpoint_every: steps between checkpoints.
        label: what the progress bar is called.

    Raises:
        RescoreError: the loss or its gradient is not finite for `SKIPPED_IN_A_ROW` steps, or every checkpoint in `folder` is
            damaged.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    history = torch.zeros(settings.steps, dtype=torch.float64)
    start = load_checkpoint(folder, model, optimizer, generator, history)
    skipped = 0
    for step in progress(range(start, settings.steps), initial=start, total=settings.steps, desc=label):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr_at(step)
        value = loss(generator)
        optimizer.zero_grad()
        value.backward()
        history[step] = value.item()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        if torch.isfinite(value) and torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            optimizer.step()
            skipped = 0
        else:
            skipped += 1
            warn(f"{label}: the loss is {value.item():g} or its gradient is not finite at step {step}: no update")
            if skipped == SKIPPED_IN_A_ROW:
                raise RescoreError(f"{label}: diverged: no finite loss or gradient in {skipped} steps up to step {step}; "
                                   f"checkpoints up to it are in {folder}")
        if (step + 1) % checkpoint_every == 0 or step + 1 == settings.steps:
            save_checkpoint(folder, step + 1, model, optimizer, generator, history)
    return history


def train_once(path: Path, train: Callable[[], nn.Module], blank: nn.Module) -> nn.Module:
    """`train()`, saved to `path` (safetensors); where that file is there already, its weights in `blank`, frozen.

    For trainings too short for checkpoints of their own. Raises RescoreError if the file is damaged.
    """
    if not path.exists():
        with atomic_path(path) as temporary:
            save_file({name: value.contiguous() for name, value in train().state_dict().items()}, temporary)
    try:
        blank.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise RescoreError(f"{path}: not the weights it should hold ({error}). Remove it to train again") from None
    return blank.requires_grad_(False)


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator, history: Tensor
) -> None:
    """Write the whole training state after `step` steps: tensors in safetensors, then a JSON with their digest."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    state = optimizer.state_dict()
    for index, slots in state["state"].items():
        tensors |= {f"optimizer/{index}/{slot}": value for slot, value in slots.items()}
    tensors |= {"generator": generator.get_state(), "history": history}
    path = folder / f"step-{step:08d}.safetensors"
    with atomic_path(path) as temporary:
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, temporary)
    description = {"step": step, "sha256": sha256(path), "param_groups": state["param_groups"]}
    atomic_write(path.with_suffix(".json"), json.dumps(description, indent=1))
    for old in sorted(folder.glob("step-*.json"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator, history: Tensor
) -> int:
    """Restore the newest good checkpoint into the arguments, in place; returns its step, 0 if there is none.

    Raises RescoreError if there are checkpoints and none of them is good.
    """
    found = sorted(folder.glob("step-*.json"), reverse=True)
    problems = []
    for description_path in found:
        path = description_path.with_suffix(".safetensors")
        try:
            description = json.loads(description_path.read_text())
            if sha256(path) != description["sha256"]:
                raise ValueError("its content does not match its digest; it is cut short or was changed")
            tensors = load_file(path)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            problems.append(f"{path}: {error}")
            continue
        if problems:
            warn(f"damaged checkpoint passed over: {problems[-1]}; going on from {path}")
        _restore(tensors, description, model, optimizer, generator, history)
        return description["step"]
    if problems:
        raise RescoreError(f"no good checkpoint: {'; '.join(problems)}. Remove {folder} to train again from the start")
    return 0


def _restore(
    tensors: dict[str, Tensor],
    description: dict,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    history: Tensor,
) -> None:
    model.load_state_dict({name.removeprefix("model/"): v for name, v in tensors.items() if name.startswith("model/")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, slot = name.split("/")
            state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": description["param_groups"]})
    generator.set_state(tensors["generator"])
    saved = tensors["history"][: len(history)]
    history[: len(saved)] = saved
