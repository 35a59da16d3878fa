"""What a training is told, whatever is trained: steps, batch, rate; of one network, of many side by side, of images."""

from typing import ClassVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rescore.specs.grown import Grown


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
        """What the ledger says about the training: steps, batch, rate, and whatever else of the above is not off."""
        off = {name: field.default for name, field in TrainingConfig.model_fields.items()}
        on = [name for name in ("weight_decay", "decay", "warmup", "clip") if getattr(self, name) != off[name]]
        names = ["steps", "batch", "lr", *on, *(["decay_every"] if "decay" in on else [])]
        return {f"train_{name}": getattr(self, name) for name in names}


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
        return super().protocol | {"ema": self.ema} | ({"train_flip": True} if self.flip else {})


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
