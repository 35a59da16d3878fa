"""Files of weights in the formats of the authors' code, as tensors by the authors' names. No file's code is ever run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from rescore.data.damage import disguise, reading
from rescore.data.weights import newest
from rescore.errors import RescoreError
from rescore.models.imported.names import Spelling

# By source: what a file is, how the tensors are named, and which of them no network of ours takes.
FORMATS: Mapping[str, tuple[str, Spelling, tuple[str, ...]]] = {
    "score_sde": ("a checkpoint of Score-SDE (torch)", "torch", ("sigmas",)),
    "cld": ("a checkpoint of CLD-SGM (torch)", "torch", ("sigmas",)),
    "gddim": ("a checkpoint of gDDIM (flax msgpack)", "flax", ()),
    "edm": ("an exported state dict of EDM (safetensors or torch)", "edm", ("map_augment.weight", "resample_filter")),
}
PREFIX = "module."  # of torch's DataParallel
EXPORT = (
    "EDM's pickles carry code, which is not run here. Where you trust them, export in EDM's own environment: "
    "`network = pickle.load(open(FILE, 'rb'))['ema']; torch.save(network.model.state_dict(), 'edm.pth')`"
)
# A learning rate that numpy has computed is a numpy scalar in a checkpoint's optimizer; numpy 1 names its module otherwise.
_SCALAR = getattr(np, "_core").multiarray.scalar  # noqa: B009 - numpy's types hide it
NUMPY: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64", "bool")),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
]


@dataclass(frozen=True)
class Foreign:
    """Weights as the authors name them.

    Args:
        path: of the file.
        source: a key of `FORMATS`.
        tensors: those of the averaged network where the file has one.
        step: of the authors' training; None where the file does not say.
    """

    path: Path
    source: str
    tensors: Mapping[str, Tensor]
    step: int | None

    @property
    def spelling(self) -> Spelling:
        return FORMATS[self.source][1]

    @property
    def dropped(self) -> tuple[str, ...]:
        """The ends of names that no network of ours takes."""
        return FORMATS[self.source][2]


def read_foreign(source: str, path: Path) -> Foreign:
    """The weights of a file; of a folder (gDDIM), of its newest `checkpoint_<n>`.

    Raises MissingData if it is not there, RescoreError if it is of another kind, cut short, without names, or not of numbers.
    """
    what = FORMATS[source][0]
    if path.is_dir():
        path = newest(path)
    with reading(path, what):
        if why := disguise(path) if path.is_file() else None:
            raise ValueError(why)
        content = _msgpack(path) if source == "gddim" else _torch(path, source)
        tensors, step = (_plain if source == "edm" else _averaged)(content, source)
    for name, value in tensors.items():
        if not value.is_floating_point() or not value.isfinite().all():
            raise RescoreError(f"{path}: {name} is {value.dtype}, or not finite; allowed: finite floating point numbers")
    return Foreign(path, source, tensors, step)


def _torch(path: Path, source: str) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if source == "edm" and path.suffix == ".pkl":
        raise RescoreError(f"{path}: {EXPORT}")
    with torch.serialization.safe_globals(NUMPY):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            if "Unsupported" in str(error) or "WeightsUnpickler" in str(error):
                hint = EXPORT if source == "edm" else "A file that runs code is not read"
                raise RescoreError(f"{path}: it holds more than tensors and numbers ({_first_line(error)}). {hint}") from None
            raise


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "WeightsUnpickler" in line or "Unsupported" in line]
    return lines[0] if lines else type(error).__name__


def _averaged(content: Any, source: str) -> tuple[dict[str, Tensor], int | None]:
    if source == "gddim":
        return _flax_averaged(content)
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        parts = ", ".join(map(str, content)) if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise ValueError(f"it has no part 'model', which has the names of the tensors; it is of {parts[:200] or 'nothing'}")
    named = {name.removeprefix(PREFIX): value for name, value in content["model"].items()}
    average = content.get("ema")
    shadow = average.get("shadow_params") if isinstance(average, Mapping) else None
    if not isinstance(shadow, list):
        raise ValueError("it has no list ema.shadow_params, the averaged weights that the published results are of")
    # the list is of what takes gradients: neither the noise levels nor the Fourier frequencies
    trained = [name for name in named if name != "sigmas" and not (name == "all_modules.0.W" and named[name].ndim == 1)]
    if len(trained) != len(shadow):
        raise ValueError(f"ema.shadow_params has {len(shadow)} tensors for the model's {len(trained)} that are trained")
    for name, value in zip(trained, shadow, strict=True):
        if value.shape != named[name].shape:
            raise ValueError(f"ema.shadow_params: {tuple(value.shape)} where {name} is {tuple(named[name].shape)}")
    step = content.get("step")
    tensors = named | dict(zip(trained, shadow, strict=True))
    return {name: value for name, value in tensors.items() if name != "sigmas"}, None if step is None else int(step)


def _plain(content: Any, source: str) -> tuple[dict[str, Tensor], None]:
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"it is not a state dict. {EXPORT}")
    return {name.removeprefix("model."): value for name, value in content.items()}, None


# flax: msgpack whose extensions are arrays; arrays of more than 2^30 bytes come in pieces


def _msgpack(path: Path) -> Any:
    import msgpack

    return msgpack.unpackb(path.read_bytes(), ext_hook=_extension, raw=False, strict_map_key=False)


def _extension(code: int, data: bytes) -> Any:
    import msgpack

    if code not in (1, 3):  # an array, a numpy scalar
        raise ValueError(f"msgpack extension {code}; allowed are flax's arrays (1) and numpy scalars (3)")
    shape, kind, content = msgpack.unpackb(data, raw=True)
    array = np.frombuffer(content, dtype=np.dtype(kind.decode())).reshape(shape)
    return array if code == 1 else array[()]


def _flax_averaged(content: Any) -> tuple[dict[str, Tensor], int | None]:
    if not isinstance(content, Mapping) or not isinstance(content.get("params_ema"), Mapping):
        raise ValueError("it has no part 'params_ema', the averaged weights")
    step = content.get("step")
    return dict(_leaves(content["params_ema"])), None if step is None else int(np.asarray(step).reshape(-1)[0])


def _leaves(tree: Mapping[str, Any], above: str = "") -> Any:
    for name, value in tree.items():
        if isinstance(value, Mapping) and "__msgpack_chunked_array__" in value:
            value = _whole(value)
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}/")
        elif isinstance(value, np.ndarray):
            yield f"{above}{name}", torch.from_numpy(value.copy())
        else:
            raise ValueError(f"params_ema: {above}{name} is a {type(value).__name__}, not an array")


def _whole(pieces: Mapping[str, Any]) -> np.ndarray:
    """An array that flax has cut: numbered pieces and its shape."""
    shape = [pieces["shape"][str(i)] for i in range(len(pieces["shape"]))]
    chunks = [pieces["chunks"][str(i)] for i in range(len(pieces["chunks"]))]
    return np.concatenate([chunk.reshape(-1) for chunk in chunks]).reshape(shape)
