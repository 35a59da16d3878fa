"""What a training on a GPU needs, tested without one: memory formats, ranks, waits of the host."""

from pathlib import Path

import pytest
import torch
from torch import nn

from rescore.config import Resources, validated
from rescore.data.images import load_images
from rescore.machine.ranks import MARK
from rescore.machine.torch_setup import prepare_torch
from rescore.models import build
from rescore.models.spec import ModelSpec
from rescore.training import flat_weights, load_checkpoint, own_device, save_checkpoint, world
from rescore.training.checkpoint import State


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
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(("set_device", torch.device("cuda", device)
                                                                                if isinstance(device, int) else device)))
    for setter in ("set_num_threads", "set_deterministic_debug_mode"):
        monkeypatch.setattr(torch, setter, lambda value, name=setter: asked.append((name, value)))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    return asked


def test_a_rank_chooses_its_gpu_before_images_are_moved(cards, monkeypatch, tmp_path):
    digits = load_images("digits", "train", limit=8)
    monkeypatch.setattr(build, "load_images", lambda *_: digits)
    # what the images are moved to, and the training's own device, as train_model hands them on
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device: cards.append(("images to", torch.device(device))) or x)
    monkeypatch.setattr(build, "train_network", lambda *a, **k: cards.append("train"))
    spec = validated(ModelSpec, {"data": "digits", "process": {"name": "VP"}, "steps": 1, "gpu": 2, "parts": 2,
                                 "network": {"name": "mlp", "settings": {"width": 8, "blocks": 1}}}, "spec")  # fmt: skip
    device = prepare_torch(spec)
    build.train_model(spec, tmp_path, device, "two cards")
    order = [one for one in cards if one == "train" or one[0] in ("set_device", "images to")]
    assert order == [("set_device", torch.device("cuda:1")), ("images to", torch.device("cuda:1")), "train"]


def test_a_rank_computes_on_the_card_of_its_local_rank(cards):
    assert own_device("cuda") == torch.device("cuda:1")
    assert own_device("cuda:0") == torch.device("cuda:0") and own_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("stray", [{"WORLD_SIZE": "8"}, {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8"},
                                   {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "theirs"}])  # fmt: skip
def test_others_ranks_in_the_environment_are_not_ours(stray, monkeypatch):
    """A scheduler's WORLD_SIZE made a rank that waits for ever, or that trains and writes nothing."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", MARK):
        monkeypatch.delenv(name, raising=False)
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    assert own_device("cuda") == torch.device("cuda:0")
    with world("cpu") as here:
        assert (here.rank, here.size) == (0, 1)


@pytest.mark.parametrize(("gpu", "asked", "mode", "tried"), [(1, "", "default", True), (1, "1", "warn", False), (0, "", "warn", None)])
def test_a_gpu_takes_the_fastest_kernels_unless_asked(cards, monkeypatch, gpu, asked, mode, tried):
    monkeypatch.setenv("RESCORE_DETERMINISTIC", asked)
    torch.backends.cudnn.benchmark = not tried
    assert prepare_torch(Resources(gpu=gpu, threads=3)) == ("cuda" if gpu else "cpu")
    assert ("set_deterministic_debug_mode", mode) in cards and ("set_num_threads", 3) in cards
    assert tried is None or torch.backends.cudnn.benchmark is tried
