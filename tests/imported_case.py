"""Tiny checkpoints in the authors' formats, made from golden numbers."""

from pathlib import Path

import msgpack
import numpy as np
import torch
from rescore.models.imported.names import origins
from safetensors.torch import load_file
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "data" / "golden"


def golden(name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def checkpoint(source: str) -> dict:
    """The content of a tiny `.pth` of Score-SDE or CLD."""
    return torch.load(GOLDEN / f"{source}_checkpoint_tiny.pth", weights_only=True)


def flax_tree(pieces: bool = False) -> dict:
    """gDDIM's state as flax spells it: nested maps of arrays; with `pieces`, one array cut in the way of large ones."""
    tree: dict = {}
    for name, value in golden("gddim_network").items():
        if name.startswith("param/"):
            *path, leaf = name.removeprefix("param/").split("/")
            place = tree
            for part in path:
                place = place.setdefault(part, {})
            place[leaf] = value.numpy()
    if pieces:
        array = tree["Conv_0"]["kernel"]
        flat, shape = array.reshape(-1), {str(i): n for i, n in enumerate(array.shape)}
        chunks = {"0": flat[:100], "1": flat[100:]}
        tree["Conv_0"]["kernel"] = {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}
    return {
        "step": np.int32(750000),
        "lr": 2e-4,
        "ema_rate": 0.9999,
        "model_state": {},
        "optimizer": {"target": {}, "state": {}},
        "params_ema": tree,
        "rng": np.array([0, 8], np.uint32),
    }


def write_flax(path: Path, tree: dict) -> Path:
    """As flax serialises: arrays are extension 1, numpy scalars extension 3, each (shape, dtype, bytes) in msgpack."""

    def pack(value: object) -> msgpack.ExtType:
        array = np.asarray(value)
        content = msgpack.packb((array.shape, array.dtype.name, array.tobytes()), use_bin_type=True)
        return msgpack.ExtType(1 if isinstance(value, np.ndarray) else 3, content)

    path.write_bytes(msgpack.packb(tree, default=pack, strict_types=True))
    return path


def edm_state(kind: str) -> dict[str, Tensor]:
    """EDM's state dict of a tiny DDPM++ (`ddpmpp`) or NCSN++ (`ncsnpp`)."""
    prefix = f"{kind}/param/"
    return {name.removeprefix(prefix): value for name, value in golden("edm_network").items() if name.startswith(prefix)}


def as_the_authors_name(network: nn.Module, spelling: str) -> dict[str, Tensor]:
    """The weights of a U-Net of ours under the authors' names and in their shapes: the inverse of an import."""
    found, ours = {}, network.state_dict()
    for origin in origins(network, spelling):
        value = ours[origin.target]
        if spelling == "edm" and ".qkv." in origin.target:
            value = value.unflatten(0, (3, -1)).transpose(0, 1).flatten(0, 1)
        for source, part in zip(origin.sources, value.chunk(len(origin.sources)), strict=True):
            if source.rpartition("/")[2].rpartition(".")[2] == "W" and part.ndim == 4:
                part = part[:, :, 0, 0].T
            elif spelling == "flax" and part.ndim == 4:
                part = part.permute(2, 3, 1, 0)
            elif spelling == "flax" and part.ndim == 2:
                part = part.T
            assert source not in found
            found[source] = part.clone()
    return found


def write_score_sde(path: Path, network: nn.Module, step: int) -> Path:
    """A checkpoint of Score-SDE whose averaged weights are those of a positional U-Net; the model's own are zero."""
    tensors = as_the_authors_name(network, "torch")
    model = {f"module.{name}": torch.zeros_like(value) for name, value in tensors.items()}
    ema = {"decay": 0.9999, "num_updates": step, "shadow_params": list(tensors.values())}
    torch.save({"optimizer": {"state": {}, "param_groups": []}, "model": model, "ema": ema, "step": step}, path)
    return path
