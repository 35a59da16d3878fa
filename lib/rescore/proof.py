"""What a machine makes of the library's work, without any data: `rescore proof`, `make gpu-proof`.

DDPM++ for CIFAR-10 on random images: training steps in five ways, the memory of a likelihood, FID's roots, sampling, and a
small network's training that is stopped and goes on. What is measured is written part by part, and a part that fails stops no
other. A tiny form of the same runs on a CPU.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rescore.data.images import image_shape
from rescore.errors import RescoreError
from rescore.estimates import BACKWARD, TRAINED_AS
from rescore.files import atomic_write, read_json
from rescore.machine.hardware import device_name, peak_memory_mb, version
from rescore.machine.precision import full_precision
from rescore.metrics.images import Moments, symmetric_frechet_distance
from rescore.models.bits import graph_bytes
from rescore.models.build import LoadedModel, make_model, make_objective
from rescore.networks import NoisePrediction, compile_bare, place
from rescore.plan import network_cost
from rescore.processes import VP, grids
from rescore.progress import warn
from rescore.random import make_generator
from rescore.samplers import ddim
from rescore.specs.model import ModelSpec
from rescore.training import Adam, Training, averaged_copy, load_checkpoint, save_checkpoint, train_network
from rescore.training.checkpoint import State
from rescore.training.network import Forward


@dataclass(frozen=True)
class Size:
    """How much is run.

    Args:
        data: whose images' shape is taken.
        rounds: timed training steps of each way, after `warmup`.
        drawn, steps: samples, and steps of DDIM.
        features: of the covariances whose roots FID takes.
        backend: of torch.compile.
    """

    data: str = "cifar10"
    settings: dict[str, Any] = field(default_factory=dict)
    batch: int = 128
    warmup: int = 5
    rounds: int = 30
    drawn: int = 256
    steps: int = 30
    features: int = 2048
    backend: str = "inductor"

    def spec(self) -> ModelSpec:
        content = {"data": self.data, "process": {"name": "VP"}, "network": {"name": "ddpmpp", "settings": self.settings}}
        return ModelSpec.model_validate(content | {"steps": self.rounds, "batch": self.batch})


TINY = Size(
    "digits",
    {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [4]},
    batch=4,
    warmup=1,
    rounds=2,
    drawn=4,
    steps=3,
    features=12,
    backend="eager",
)


SMALL = {"width": 16, "multipliers": [1, 2], "blocks": 1, "attention": [4]}


@dataclass(frozen=True)
class Way:
    """A way to compute a training step."""

    name: str
    tf32: bool = False
    bf16: bool = False
    compiled: bool = False
    graphs: bool = False  # kernels are recorded once and replayed: Python launches one graph in place of each of them


WAYS = (
    Way("float32"),
    Way("TF32", tf32=True),
    Way("bf16", tf32=True, bf16=True),
    Way(TRAINED_AS, tf32=True, bf16=True, compiled=True),
    Way("the same in CUDA graphs", tf32=True, bf16=True, compiled=True, graphs=True),
)

OTHERS = ("likelihood", "fid", "sampling", "resume")


def prove(size: Size, device: str, results: Path, missing: bool = False) -> Path:
    """Measure everything; the JSON in the folder of results, named by the machine, that holds it after each part.

    Numbers are seconds, images or steps a second, and MiB; with them stand the machine and the code they are of, and under
    `failed` the parts that ended in an error. Those that compile a network, a minute or two each, come last.

    Args:
        missing: measure only what an earlier call for this machine, there or in `reference`, did not; `versions` then says of
            which code each part is.

    Raises:
        RescoreError: torch sees no GPU; the earlier record is of other sizes or another torch.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RescoreError(
            "the proof asks for a GPU, but torch sees none; `rescore proof --tiny` runs its tiny form on the CPU"
        )
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
    spec, shape = size.spec(), image_shape(size.data)
    parameters, gflop = network_cost(spec)
    found: dict[str, Any] = {
        "device": device_name(device),
        "kind": device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device == "cuda" else None,
        "version": version(),
        "size": asdict(size),
        "parameters": parameters,
        "gflop_an_image": gflop,
        "training": [],
        "failed": {},
        "versions": {},
    }
    if missing:
        found |= earlier(found, results)
    others = likelihood, fid, sampling, resume
    named = [(name, partial(part, spec, shape, size, device)) for name, part in zip(OTHERS, others, strict=True)]
    eager, compiled = (
        [(way.name, partial(training_way, way, spec, shape, size, device, gflop)) for way in WAYS if way.compiled == which]
        for which in (False, True)
    )
    parts: list[tuple[str, Callable[[], Any]]] = [*eager, *named[:2], *compiled, *named[2:]]
    path = record(found["device"], results)
    for name, part in parts:
        if name in found["versions"]:
            continue
        began = time.perf_counter()
        try:
            value = part()
        except Exception as error:
            traceback.print_exc()
            found["failed"][name] = f"{type(error).__name__}: {error}"
        else:
            found |= {"training": found["training"] + [value]} if "way" in value else {name: value}
            found["versions"][name] = found["version"]
        warn(f"{name}: {time.perf_counter() - began:.0f} s{', failed' * (name in found['failed'])}")
        atomic_write(path, json.dumps(found | {"peak_memory_mb": peak_memory_mb()}, indent=1) + "\n")
    return path


def record(device: str, results: Path) -> Path:
    """The JSON of a machine in a folder of results."""
    return results / f"proof-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}.json"


def earlier(now: Mapping[str, Any], results: Path) -> dict[str, Any]:
    """What an earlier call measured on this machine, and under `versions` the code of each part.

    Args:
        now: the record of this call, with the sizes and the torch that must be equal.
    """
    for path in (record(now["device"], folder) for folder in (results, results / "reference")):
        if not path.is_file():
            continue
        try:
            found = read_json(path)
            parts = [*(way["way"] for way in found["training"]), *(name for name in OTHERS if name in found)]
            unlike = [key for key in ("size", "torch", "cuda") if found[key] != json.loads(json.dumps(now[key]))]
            versions = found.get("versions", {}) or dict.fromkeys(parts, found["version"])
        except (KeyError, TypeError) as error:
            raise RescoreError(f"{path}: not what `rescore proof` writes: {type(error).__name__}: {error}. Remove it") from None
        if unlike:
            raise RescoreError(f"{path}: of another {' and '.join(unlike)}; without --missing all is measured anew")
        return {key: found[key] for key in ("training", *OTHERS) if key in found} | {"versions": versions}
    return {}


def training_way(
    way: Way, spec: ModelSpec, shape: tuple[int, int, int], size: Size, device: str, gflop: float
) -> dict[str, Any]:
    """Steps of the objective of VP with Adam and a clip."""
    model = make_model(spec, VP(), shape).to(device)
    if way.compiled:
        model.to(memory_format=torch.channels_last)
        compile_bare(model, size.backend, "reduce-overhead" if way.graphs else None)
    optimizer, objective = Adam(1, 2e-4).optimizer(model), make_objective(spec.objective)
    generator, x = make_generator("proof", device=device), _images(size.batch, shape, device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16) if way.bf16 else nullcontext():
            loss = objective(model, VP(), x, generator).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    with _tf32(way.tf32):
        _forget_peak(device)
        first = _seconds(step, 1, device)
        _seconds(step, size.warmup, device)
        seconds = _seconds(step, size.rounds, device) / size.rounds
        kernels = _kernel_seconds(step, 3, device)
    speed = size.batch / seconds
    return {
        "way": way.name,
        "images_per_second": speed,
        "tflops": BACKWARD * gflop * speed / 1e3,
        "first_step_seconds": first,
        "share_of_kernels": None if kernels is None else kernels / seconds,
        "gpu_memory_mb": _peak_mb(device),
    }


def resume(spec: ModelSpec, shape: tuple[int, int, int], size: Size, device: str) -> dict[str, Any]:
    """The library's own training of a small network, stopped midway and resumed; and what a large checkpoint takes."""
    process, images, small = VP(), _images(2 * size.batch, shape, device), replace(size, settings=SMALL).spec()
    objective, steps = make_objective(spec.objective), 6

    def losses(network: Forward, rows: Tensor, generator: torch.Generator) -> Tensor:
        return objective(network, process, images[rows.to(device)], generator)

    def train(folder: Path, stop: int | None = None) -> nn.Module:
        calls = 0

        def some(network: Forward, rows: Tensor, generator: torch.Generator) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise _Stopped
            return losses(network, rows, generator)

        model, plan = make_model(small, process, shape), Training(Adam(steps, 1e-4), len(images), size.batch, seed=1)
        return train_network(model, some, plan, folder, device, checkpoint_every=2, label="proof").network

    with tempfile.TemporaryDirectory() as folder:
        whole = train(Path(folder, "whole"))
        with suppress(_Stopped):
            train(Path(folder, "stopped"), stop=5)
        again = train(Path(folder, "stopped"))
        pairs = list(zip(whole.parameters(), again.parameters(), strict=True))
        start = make_model(small, process, shape).parameters()
        moved = max((a.cpu() - b).abs().max().item() for (a, _), b in zip(pairs, start, strict=True))
        model = make_model(spec, process, shape).to(device)
        state = State(model, Adam(steps, 1e-4).optimizer(model), torch.zeros(steps), ema=averaged_copy(model, 0.9))
        model(images[:2], 0.5).sum().backward()
        state.optimizer.step()
        saving = _seconds(lambda: save_checkpoint(Path(folder, "saved"), 1, state), 1, device)
        loading = _seconds(lambda: load_checkpoint(Path(folder, "saved"), state), 1, device)
        state.optimizer.step()
    return {
        "largest_difference": max((a - b).abs().max().item() for a, b in pairs),
        "largest_change": moved,
        "save_seconds": saving,
        "load_seconds": loading,
    }


class _Stopped(Exception):
    """The end of a training in the middle."""


def sampling(spec: ModelSpec, shape: tuple[int, int, int], size: Size, device: str) -> dict[str, Any]:
    """DDIM's steps with the network as it is placed, and the share that all but the network takes."""
    model, sampler = _placed(spec, shape, device), ddim(VP(), grids.uniform(VP(), size.steps))
    u = _images(size.drawn, shape, device)
    network = model.score
    sampler(network, u)  # compiles
    whole = _seconds(lambda: sampler(network, u), 2, device) / 2
    alone = _seconds(lambda: sampler(lambda u, t: u, u), 2, device) / 2
    return {
        "steps_per_second": size.steps / whole,
        "images": size.drawn,
        "share_of_the_sampler": alone / whole,
        "gpu_memory_mb": _peak_mb(device),
    }


def likelihood(spec: ModelSpec, shape: tuple[int, int, int], size: Size, device: str) -> dict[str, Any]:
    """MiB for an image that a divergence takes: of the graph as counted, and as torch allocates them on a GPU."""
    model, n = _placed(spec, shape, device, compiled=False), 8
    u = _images(n, shape, device).requires_grad_()

    @full_precision()
    def divergence() -> None:
        torch.autograd.grad(model.network.score()(u, 0.5), u, torch.ones_like(u))

    divergence()
    _forget_peak(device)
    seconds = _seconds(divergence, 2, device) / 2
    return {
        "graph_mb_an_image": graph_bytes(model, shape) / 2**20,
        "gpu_memory_mb": _peak_mb(device),
        "images": n,
        "images_per_second": n / seconds,
    }


def fid(spec: ModelSpec, shape: tuple[int, int, int], size: Size, device: str) -> dict[str, Any]:
    """The roots of FID's covariances in float64."""
    draws, d = np.random.default_rng(0), size.features
    a, b = (Moments("proof", name, 2 * d, np.zeros(d), np.cov(draws.standard_normal((d, 2 * d)))) for name in "ab")
    return {"features": d, "seconds": _seconds(lambda: symmetric_frechet_distance(a, b, device), 1, device)}


def _placed(spec: ModelSpec, shape: tuple[int, int, int], device: str, compiled: bool = True) -> LoadedModel:
    model: NoisePrediction = make_model(spec, VP(), shape).eval().requires_grad_(False)
    return LoadedModel(spec, VP(), place(model, device) if compiled else model.to(device), device)


def _images(n: int, shape: tuple[int, int, int], device: str) -> Tensor:
    return torch.rand((n, *shape), generator=make_generator("proof images", device=device), device=device) * 2 - 1


def _seconds(work: Callable[[], object], times: int, device: str) -> float:
    """Of all times together, the device's own work included."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _kernel_seconds(work: Callable[[], object], times: int, device: str) -> float | None:
    """Of one time, summed over the GPU's kernels; what is missing to the whole is time in which the GPU waits for the host."""
    if device != "cuda":
        return None
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        _seconds(work, times, device)
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6 / times


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_mb(device: str) -> float | None:
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None


@contextmanager
def _tf32(allow: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allow
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
