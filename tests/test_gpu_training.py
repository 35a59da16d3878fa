"""What a training on a GPU needs, tested without one: memory formats, ranks, waits of the host."""

from pathlib import Path

import pytest
import torch
from rescore.config import Resources, validated
from rescore.data.images import load_images
from rescore.errors import RescoreError
from rescore.machine.ranks import MARK
from rescore.machine.torch_setup import prepare_torch
from rescore.models import build
from rescore.objectives import times
from rescore.processes import base
from rescore.specs.model import ModelSpec
from rescore.training import averaged_copy, flat_weights, load_checkpoint, loop, own_device, save_checkpoint, world
from rescore.training.checkpoint import State
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


def convolution() -> nn.Module:
    """With weights that channels last lays out otherwise than rows."""
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        return nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)


def state_of(network: nn.Module) -> State:
    # fused as on a GPU, where it refuses other strides; on the CPU it takes them for its own
    return State(network, torch.optim.Adam(network.parameters(), lr=0.1, fused=True), torch.zeros(4, dtype=torch.float64))


def step(state: State, seed: int) -> None:
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    state.optimizer.zero_grad()
    state.model(x).square().sum().backward()
    state.optimizer.step()


def test_moments_come_back_in_the_layout_of_their_parameters_and_the_next_step_is_the_same(tmp_path: Path) -> None:
    whole = state_of(convolution())
    for seed in (1, 2):
        step(whole, seed)
    save_checkpoint(tmp_path, 2, whole)
    step(whole, 3)
    resumed = state_of(convolution())
    assert load_checkpoint(tmp_path, resumed) == 2
    for parameter, slots in resumed.optimizer.state.items():
        assert slots["exp_avg"].stride() == slots["exp_avg_sq"].stride() == parameter.stride()
    step(resumed, 3)
    assert not whole.model.weight.is_contiguous()
    assert torch.equal(whole.model.weight, resumed.model.weight) and torch.equal(whole.model.bias, resumed.model.bias)


def test_weights_are_compared_whatever_their_memory_format() -> None:
    """torch's parameters_to_vector takes views, which channels last does not have."""
    network = convolution()
    with pytest.raises(RuntimeError, match="view"):
        nn.utils.parameters_to_vector(network.parameters())
    flat = flat_weights(network)
    assert torch.equal(flat, flat_weights(network.to(memory_format=torch.contiguous_format)))
    assert flat.dtype == torch.float64 and flat.tolist()[:3] == network.weight[0, 0, 0].tolist()


# several GPUs


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Two GPUs that are not there, and what is asked of them, in order; this process is rank 1 of our torchrun."""
    asked: list[object] = []
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", MARK: "ours", "TORCHELASTIC_RUN_ID": "ours"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda,
        "set_device",
        lambda device: asked.append(("set_device", torch.device("cuda", device) if isinstance(device, int) else device)),
    )
    for setter in ("set_num_threads", "set_deterministic_debug_mode"):
        monkeypatch.setattr(torch, setter, lambda value, name=setter: asked.append((name, value)))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)  # torch's own
    return asked


def test_a_rank_chooses_its_gpu_before_images_are_moved(cards, monkeypatch, tmp_path):
    digits = load_images("digits", "train", limit=8)
    monkeypatch.setattr(build, "load_images", lambda *_: digits)
    # what the images are moved to, and the training's own device, as train_model hands them on
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device: cards.append(("images to", torch.device(device))) or x)
    monkeypatch.setattr(build, "train_network", lambda *a, **k: cards.append("train"))
    spec = validated(
        ModelSpec,
        {
            "data": "digits",
            "process": {"name": "VP"},
            "steps": 1,
            "gpu": 2,
            "parts": 2,
            "network": {"name": "mlp", "settings": {"width": 8, "blocks": 1}},
        },
        "spec",
    )
    device = prepare_torch(spec)
    build.train_model(spec, tmp_path, device, "two cards")
    order = [one for one in cards if one == "train" or one[0] in ("set_device", "images to")]
    assert order == [("set_device", torch.device("cuda:1")), ("images to", torch.device("cuda:1")), "train"]


def test_a_rank_computes_on_the_card_of_its_local_rank(cards):
    assert own_device("cuda") == torch.device("cuda:1")
    assert own_device("cuda:0") == torch.device("cuda:0") and own_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    "stray",
    [
        {"WORLD_SIZE": "8"},
        {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8"},
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "theirs"},
    ],
)
def test_others_ranks_in_the_environment_are_not_ours(stray, monkeypatch):
    """A scheduler's WORLD_SIZE made a rank that waits for ever, or that trains and writes nothing."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", MARK):
        monkeypatch.delenv(name, raising=False)
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    assert own_device("cuda") == torch.device("cuda:0")
    with world("cpu") as here:
        assert (here.rank, here.size) == (0, 1)


@pytest.mark.parametrize(
    ("gpu", "asked", "mode", "tried"), [(1, "", "default", True), (1, "1", "warn", False), (0, "", "warn", None)]
)
def test_a_gpu_takes_the_fastest_kernels_unless_asked(cards, monkeypatch, gpu, asked, mode, tried):
    monkeypatch.setenv("RESCORE_DETERMINISTIC", asked)
    torch.backends.cudnn.benchmark = not tried
    assert prepare_torch(Resources(gpu=gpu, threads=3)) == ("cuda" if gpu else "cpu")
    assert ("set_deterministic_debug_mode", mode) in cards and ("set_num_threads", 3) in cards
    assert tried is None or torch.backends.cudnn.benchmark is tried
    assert not torch.utils.deterministic.fill_uninitialized_memory, "new memory would be written twice"


def test_another_word_for_deterministic_kernels_is_an_error(cards, monkeypatch):
    monkeypatch.setenv("RESCORE_DETERMINISTIC", "true")
    with pytest.raises(RescoreError, match="^RESCORE_DETERMINISTIC=true; allowed: 0, 1$"):
        prepare_torch(Resources(gpu=1))


# what the host waits for


class Waits(TorchDispatchMode):
    """Counts reads of tensors by the host: item, bool, int and float, each a wait for a GPU; and copies by `.cpu()`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        super().__init__()
        self.reads, self.copies = 0, 0
        cpu = torch.Tensor.cpu
        monkeypatch.setattr(torch.Tensor, "cpu", lambda x: self._copy() or cpu(x))

    def _copy(self) -> None:
        self.copies += 1

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_on_a_gpu_makes_the_host_wait_for_nothing(monkeypatch, tmp_path):
    """A training on a device that is told not to be the CPU: 40 more steps, and not one more read or copy."""

    def waits(steps: int) -> tuple[int, int]:
        monkeypatch.setattr(loop, "_update", on_gpu)
        monkeypatch.setattr(loop, "LOOK_EVERY", 10**9)
        spec = validated(ModelSpec, SPEC | {"steps": steps, "checkpoint_every": 10**9}, "spec")
        with Waits(monkeypatch) as count:
            build.train_model(spec, tmp_path / str(steps), "cpu", "waits")
        return count.reads, count.copies

    def on_gpu(state, good):
        state.ema.update_if(good, state.model)

    monkeypatch.setattr(loop, "_looks_every", lambda device: loop.LOOK_EVERY)
    few, many = waits(15), waits(55)
    assert many == few


class ToHost(TorchDispatchMode):
    """Counts what comes from a GPU to the host."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.device.type == "cpu":
            self.count += any(isinstance(one, torch.Tensor) and one.device.type == "cuda" for one in args)
        return out


@pytest.mark.parametrize(
    "part",
    [
        {"process": {"name": "VP"}, "network": {"name": "mlp"}},
        {"process": {"name": "VE"}, "network": {"name": "mlp", "level": "sigma", "output": "score"}},
        {"process": {"name": "CLD"}, "network": {"name": "mlp"}, "objective": {"name": "hsm"}},
        {"process": {"name": "VP"}, "network": {"name": "mlp"}, "objective": {"name": "lcss"}},
    ],
    ids=lambda part: " ".join(one["name"] for one in part.values()),
)
def test_times_do_not_come_back_from_a_gpu(part, monkeypatch):
    """They are drawn on the host and coefficients are of the host: tensors that only pretend to be of a GPU tell."""
    spec = validated(ModelSpec, {"data": "digits", "steps": 1, "batch": 4} | part, "spec")
    process = build.make_process(spec.process, (1, 8, 8))
    network, objective = build.make_model(spec, process, (1, 8, 8)), build.make_objective(spec.objective)
    monkeypatch.setattr(times, "host_uniform", lambda n, noise: torch.rand(n, dtype=torch.float64))
    monkeypatch.setattr(
        base, "normal", lambda shape, noise, dtype, device: torch.empty(tuple(shape), dtype=dtype, device=device)
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(4, 1, 8, 8, device="cuda")
        weights = {
            name: torch.empty(w.shape, device="cuda") for name, w in [*network.named_parameters(), *network.named_buffers()]
        }

        def on_gpu(u, t):
            return torch.func.functional_call(network, weights, (u, t))

        on_gpu.times_on_host = network.times_on_host
        with ToHost() as seen:
            losses = objective(on_gpu, process, x, None)
    assert losses.device.type == "cuda" and losses.shape == (4,)
    assert seen.count == 0


MLP = {"name": "mlp", "settings": {"width": 8, "blocks": 1}}
SPEC = {"data": "digits", "process": {"name": "VP"}, "network": MLP, "batch": 4, "flip": True, "warmup": 2}


def test_an_average_is_updated_on_the_device_as_by_the_host():
    host, device = (averaged_copy(nn.Linear(2, 2).double(), 0.4) for _ in range(2))
    device.load_state_dict(host.state_dict())
    network = nn.Linear(2, 2).double()
    for n in range(12):
        nn.init.normal_(network.weight, generator=torch.Generator().manual_seed(n))
        host.update_parameters(network)
        device.update_if(torch.tensor(True), network)
        before = device.module.weight.clone()
        nn.init.normal_(network.weight)
        device.update_if(torch.tensor(False), network)
        assert torch.equal(device.module.weight, before) and device.n_averaged == host.n_averaged
    assert torch.allclose(device.module.weight, host.module.weight, rtol=1e-12)


def test_failed_steps_are_told_when_one_looks_and_too_many_on_end_raise(tmp_path, capsys):
    state = State(nn.Linear(1, 1), None, torch.zeros(30, dtype=torch.float64))
    watch = loop._Watch(state, 0, torch.device("cpu"), "t", tmp_path, True)
    for step in range(30):
        watch.note(step, torch.tensor(float(step)), torch.tensor(step not in (1, *range(8, 28))))
    watch.look(10)
    assert capsys.readouterr().err.count("no update") == 3 and state.history[:10].tolist() == list(range(10))
    with pytest.raises(RescoreError, match="t: diverged: no finite loss or gradient in 20 steps up to step 27"):
        watch.look(30)


def test_checkpoints_that_take_long_take_a_twentieth_of_the_time():
    now = iter([0.0, 10.0, 12.0, 20.0, 51.9, 52.0])
    saving = loop._Saving(lambda: next(now))
    assert saving.due(), "no one knows yet how long one takes"
    with saving:
        pass
    assert [saving.due() for _ in range(3)] == [False, False, True]
    quick = iter([0.0, 1.0, 1.5])
    saving = loop._Saving(lambda: next(quick))
    with saving:
        pass
    assert saving.due()
