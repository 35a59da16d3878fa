"""Published weights in a network of ours: `rescore import`, and the node of a spec that names them."""

from argparse import Namespace
from pathlib import Path
from typing import Any, cast

from safetensors import safe_open
from torch import nn

from rescore.config import check_choice
from rescore.data.damage import reading
from rescore.data.fetch import writable_cache
from rescore.data.weights import find_weights
from rescore.errors import RescoreError
from rescore.files import save_tensors, sha256
from rescore.models.imported.convert import Fit, convert, fitting
from rescore.models.imported.files import FORMATS, read_foreign
from rescore.models.imported.published import PUBLISHED
from rescore.networks import make_network
from rescore.networks.scoreunet import UNETS, ScoreUNet
from rescore.progress import warn
from rescore.specs.model import Source, Weights


def import_file(source: str, path: Path, model: str | None = None, side: int = 32) -> tuple[Path, Weights, Fit, int | None]:
    """Make a published file into weights of ours in the cache.

    Args:
        source: a key of `FORMATS`.
        path: of the file, or of a folder of `checkpoint_<n>`.
        model: which of `PUBLISHED` it is; None: whatever its tensors say, for images of `side`.

    Returns:
        the file in the cache, the `weights` of a spec that asks for it, its network, and the step of its training if known.

    Raises MissingData for no such file; RescoreError for an unknown source or model and for a file that does not fit.
    """
    check_choice("source of weights", source, FORMATS)
    foreign = read_foreign(source, path)
    if model is None:
        fit = fitting(foreign, side)
        if fit is None:
            raise RescoreError(
                f"{foreign.path}: its {len(foreign.tensors)} tensors are of no U-Net of ours for images "
                f"of side {side}; "
                f"allowed: {FORMATS[source][0]} of DDPM, DDPM++ or NCSN++, or another --side"
            )
    else:
        check_choice(f"model of {source}", model, PUBLISHED[source])
        known = PUBLISHED[source][model]
        fit, side = Fit(known.name, known.settings, known.channels, known.out_channels), known.side
    network = make_network(fit.name, fit.settings, fit.channels, side, 0, fit.out_channels)
    tensors, digest = convert(foreign, cast(ScoreUNet, network)), sha256(foreign.path)  # all that are published are U-Nets
    kept = writable_cache() / "weights" / source / f"{digest}.safetensors"
    about = {
        "source": source,
        "file": foreign.path.name,
        "network": str(fit),
        "step": "" if foreign.step is None else str(foreign.step),
    }
    save_tensors(kept, tensors, about)
    name = f"{model}/{foreign.path.name}" if model else foreign.path.name
    return kept, Weights(source=cast(Source, source), name=name, sha256=digest), fit, foreign.step


def main_import(args: Namespace) -> None:
    """`rescore import`: see `import_file`; prints the lines of a spec that uses the weights."""
    path, weights, fit, step = import_file(args.source, args.file, args.model, args.side)
    print(
        f"{path}\nA model's spec uses them with\n"
        f"  weights: {{source: {weights.source}, name: {weights.name}, sha256: {weights.sha256}}}"
    )
    print(f"  network: {fit}\n  steps: {'what their authors say' if step is None else step}")


def published_network(weights: Weights, network: nn.Module, steps: int) -> dict[str, Any]:
    """Put published weights into `network`, in place; returns what there is to say of them: source, file, sha256, step.

    Args:
        steps: what the spec says about their training; without a digest, a file that says otherwise is only warned of.

    Raises MissingData if they are not at hand; RescoreError for a damaged file, another digest, network, or number of steps.
    """
    if not isinstance(network, ScoreUNet):
        raise RescoreError(
            f"weights: {weights.source} {weights.name} are not for a {type(network).__name__}; "
            f"allowed networks: {', '.join(UNETS)}"
        )
    path, digest = find_weights(weights.source, weights.name, weights.sha256)
    if path.name == f"{digest}.safetensors":
        step = _load_imported(path, network)
    else:
        foreign = read_foreign(weights.source, path)
        network.load_state_dict(convert(foreign, network))
        step = foreign.step
    if step is not None and step != steps:
        said = f"{path}: weights after {step} steps, the spec says steps: {steps}; write steps: {step}"
        if weights.sha256:
            raise RescoreError(said)
        warn(said)
    return {"source": weights.source, "file": path.name, "sha256": digest, "step": step}


def _load_imported(path: Path, network: ScoreUNet) -> int | None:
    with reading(path, "weights that `rescore import` has made"), safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step = int(about["step"]) if about["step"] else None
    expected = {name: value.shape for name, value in network.state_dict().items()}
    if expected != {name: value.shape for name, value in tensors.items()}:
        raise RescoreError(f"{path}: not the weights of this network; the network that would fit: {about['network']}")
    network.load_state_dict(tensors)
    return step
