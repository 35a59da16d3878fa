"""Training ends in the same bits however often it is interrupted, and damaged files are noticed."""

import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rescore.errors import RescoreError, TrainingDiverged
from rescore.files import load_tensors, save_tensors, sha256
from rescore.random import make_generator
from rescore.training import Adam, fit, train_once
from rescore.training.loop import fit_averaged
from torch import Tensor, nn

SETTINGS = Adam(steps=14, lr=0.05, weight_decay=0.01, decay=0.7, decay_every=4)


class Killed(Exception):
    pass


def model() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    generator = make_generator("model")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    return network


def loss_of(network: nn.Module, fail_at_call: int | None = None):
    calls = 0

    def loss(generator: torch.Generator) -> Tensor:
        nonlocal calls
        calls += 1
        x = torch.randn(5, 3, generator=generator)  # before the failure: a killed step has drawn its noise
        if calls == fail_at_call:
            raise Killed
        return (network(x)[:, 0] - x.sum(1)).square().mean()

    return loss


def run(folder: Path, fail_at_call: int | None = None, settings: Adam = SETTINGS, every: int = 3) -> tuple[Tensor, ...]:
    """What a fresh process would do. Returns the history, the weights and the generator's state."""
    network, generator = model(), make_generator("train")
    history = fit(network, loss_of(network, fail_at_call), settings, generator, folder, checkpoint_every=every)
    return history, *[parameter.detach() for parameter in network.parameters()], generator.get_state()


def assert_same_bits(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Tensor, ...]:
    return run(tmp_path_factory.mktemp("training") / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def newest(folder: Path) -> Path:
    return sorted(folder.glob("step-*.safetensors"))[-1]


def interrupted(folder: Path) -> Path:
    """A folder with the checkpoints after steps 6 and 9, as left by a training that ended in step 11."""
    with pytest.raises(Killed):
        run(folder, fail_at_call=11)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"step-{step:08d}.{suffix}" for step in (6, 9) for suffix in ("json", "safetensors")
    ]
    return folder


# the loop


def test_fit_is_a_plain_adam_loop_bit_for_bit(uninterrupted):
    network, generator = model(), make_generator("train")
    loss = loss_of(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05, weight_decay=0.01, fused=True)
    history = []
    for step in range(14):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.7 ** (step // 4)
        optimizer.zero_grad()
        value = loss(generator)
        value.backward()
        optimizer.step()
        history.append(value.item())
    expected = torch.tensor(history, dtype=torch.float64)
    assert_same_bits(uninterrupted, (expected, *[p.detach() for p in network.parameters()], generator.get_state()))
    assert expected.std() > 0.1


def test_fit_is_adam_as_published(uninterrupted):
    """Kingma and Ba's algorithm 1 with an L2 term, written out."""
    network, generator = model().double(), make_generator("train")
    first = [torch.zeros_like(p) for p in network.parameters()]
    second = copy.deepcopy(first)
    history = []
    for step in range(14):
        x = torch.randn(5, 3, generator=generator).double()
        value = (network(x)[:, 0] - x.sum(1)).square().mean()
        history.append(value.item())
        gradients = torch.autograd.grad(value, list(network.parameters()))
        lr = 0.05 * 0.7 ** (step // 4)
        with torch.no_grad():
            for p, g, m, v in zip(network.parameters(), gradients, first, second, strict=True):
                g = g + 0.01 * p
                m.mul_(0.9).add_(g, alpha=0.1)
                v.mul_(0.999).addcmul_(g, g, value=0.001)
                p -= lr * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
    torch.testing.assert_close(uninterrupted[0], torch.tensor(history, dtype=torch.float64), rtol=1e-4, atol=1e-4)


def test_learning_rate_schedule():
    settings = Adam(steps=200, lr=5e-3, decay=0.95, decay_every=50)
    assert [settings.lr_at(step) for step in (0, 49, 50, 99, 100)] == pytest.approx(
        [5e-3, 5e-3, 4.75e-3, 4.75e-3, 4.5125e-3], rel=1e-12
    )
    assert Adam(steps=10, lr=0.3).lr_at(9) == 0.3


@pytest.mark.parametrize("every", [1, 5, 100])
def test_checkpoints_do_not_alter_the_result(tmp_path, uninterrupted, every):
    assert_same_bits(run(tmp_path, every=every), uninterrupted)
    assert (tmp_path / "step-00000014.json").exists()


# resuming


@pytest.mark.parametrize("killed_in", range(1, 15))
def test_resume_after_an_exception_in_any_step_is_bit_identical(tmp_path, uninterrupted, killed_in):
    with pytest.raises(Killed):
        run(tmp_path, fail_at_call=killed_in)
    assert_same_bits(run(tmp_path), uninterrupted)


def test_many_interruptions(tmp_path, uninterrupted):
    for _ in range(4):
        with pytest.raises(Killed):
            run(tmp_path, fail_at_call=4)  # three steps, one checkpoint
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["step-00000009", "step-00000012"]
    assert_same_bits(run(tmp_path), uninterrupted)


def test_a_resumed_training_makes_only_the_steps_that_are_missing(tmp_path):
    interrupted(tmp_path)
    with pytest.raises(Killed):
        run(tmp_path, fail_at_call=5)  # steps 10 to 13, of which the fifth call is the last
    run(tmp_path)


def test_the_speed_of_a_resumed_training_is_without_the_first_ten_steps_of_each_process(tmp_path):
    longer = replace(SETTINGS, steps=30)
    with pytest.raises(Killed):
        run(tmp_path, fail_at_call=16, settings=longer, every=7)  # behind the checkpoint of step 14
    run(tmp_path, settings=longer, every=7)
    assert json.loads((tmp_path / "step-00000030.json").read_text())["cost"]["steps"] == 4 + 6


def test_after_the_end_the_result_is_only_loaded(tmp_path, uninterrupted):
    run(tmp_path)
    before = contents(tmp_path)
    assert_same_bits(run(tmp_path, fail_at_call=1), uninterrupted)
    assert contents(tmp_path) == before


def test_a_longer_training_is_no_result_of_a_shorter_one(tmp_path, uninterrupted):
    run(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(RescoreError) as error:
        run(tmp_path, settings=replace(SETTINGS, steps=8))
    path = tmp_path / "step-00000014.safetensors"
    assert str(error.value) == (
        f"{path}: a checkpoint after 14 steps, of a longer training than this one of 8. Allowed are 14 steps or more, another "
        f"folder, or to remove {tmp_path} to train again from the start"
    )
    assert contents(tmp_path) == before
    assert_same_bits(run(tmp_path, fail_at_call=1), uninterrupted)


def test_a_shorter_training_goes_on_as_a_longer_one(tmp_path, uninterrupted):
    run(tmp_path, settings=replace(SETTINGS, steps=8))
    assert_same_bits(run(tmp_path), uninterrupted)


def test_the_last_two_checkpoints_are_kept(tmp_path):
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:08d}.{suffix}" for step in (12, 14) for suffix in ("json", "safetensors")
    ]


def test_leftovers_of_a_killed_write_are_harmless(tmp_path, uninterrupted):
    interrupted(tmp_path)
    (tmp_path / ".step-00000012.safetensors.a1b2c3d4").write_bytes(b"half of a check")
    (tmp_path / ".step-00000012.json.a1b2c3d4").write_text("{")
    (tmp_path / "step-00000012.safetensors").write_bytes(b"renamed, but killed before its description was written")
    assert_same_bits(run(tmp_path), uninterrupted)
    assert not list(tmp_path.glob(".step-*")), "each would be as large as a checkpoint"


# damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def describe(folder: Path, **changes: object) -> None:
    """Other values in the description of the newest checkpoint."""
    path = newest(folder).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def exchange(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other tensors, with their digest, in the newest checkpoint."""
    path = newest(folder)
    save_tensors(path, tensors)
    describe(folder, sha256=sha256(path))


DAMAGE = {
    "cut short": lambda folder: cut(newest(folder)),
    "one bit": lambda folder: flip(newest(folder)),
    "empty": lambda folder: newest(folder).write_bytes(b""),
    "missing": lambda folder: newest(folder).unlink(),
    "description cut short": lambda folder: cut(newest(folder).with_suffix(".json")),
    "description empty": lambda folder: newest(folder).with_suffix(".json").write_text(""),
    "description a list": lambda folder: newest(folder).with_suffix(".json").write_text("[1]"),
    "description of nothing": lambda folder: newest(folder).with_suffix(".json").write_text("{}"),
    "no digest": lambda folder: describe(folder, sha256=None),
    "another kind of step": lambda folder: describe(folder, step="9"),
    "another kind of groups": lambda folder: describe(folder, param_groups={"params": [0]}),
    "groups of another kind": lambda folder: describe(folder, param_groups=[[0]]),
    "a group without parameters": lambda folder: describe(folder, param_groups=[{"lr": 0.1}]),
    "another kind of cost": lambda folder: describe(folder, cost=[1.0]),
    "a cost that is no number": lambda folder: describe(folder, cost={"seconds": "9"}),
    "an infinite cost": lambda folder: describe(folder, cost={"seconds": float("inf")}),
    "a negative step": lambda folder: describe(folder, step=-1),
    "more steps than losses": lambda folder: describe(folder, step=10**6),
    "no history": lambda folder: exchange(folder, {"model/0.weight": torch.zeros(1)}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(tmp_path, uninterrupted, capsys, damage):
    damage(interrupted(tmp_path))
    capsys.readouterr()
    result = run(tmp_path)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert f"damaged checkpoint passed over: {tmp_path / 'step-00000009'}." in warnings[0]
    assert warnings[0].endswith(f"going on from {tmp_path / 'step-00000006.safetensors'}")
    assert_same_bits(result, uninterrupted)


def test_a_good_file_that_is_no_checkpoint_is_passed_over(tmp_path, uninterrupted):
    """The digest agrees, the content does not parse."""
    path = newest(interrupted(tmp_path))
    path.write_bytes(b"not safetensors")
    describe(tmp_path, sha256=sha256(path))
    assert_same_bits(run(tmp_path), uninterrupted)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: describe(folder, param_groups=[]),
        lambda folder: describe(folder, param_groups=[{"params": [0]}]),
        lambda folder: exchange(folder, {k: v for k, v in load_tensors(newest(folder)).items() if k != "generator"}),
        lambda folder: exchange(folder, load_tensors(newest(folder)) | {"optimizer/first/step": torch.zeros(1)}),
    ],
    ids=["no groups", "too few parameters", "no generator", "a name of no parameter"],
)
def test_a_checkpoint_of_another_training_is_one_clear_error(tmp_path, damage):
    damage(interrupted(tmp_path))
    before = contents(tmp_path)
    with pytest.raises(RescoreError) as error:
        run(tmp_path)
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'step-00000009.safetensors'}: no checkpoint of this training (")
    assert text.endswith(f"). Remove {tmp_path} to train again from the start") and "\n" not in text
    assert contents(tmp_path) == before


def test_no_good_checkpoint_is_one_clear_error_and_nothing_is_touched(tmp_path):
    folder = interrupted(tmp_path / "mg-grad")
    for path in folder.glob("*.safetensors"):
        cut(path)
    before = contents(folder)
    with pytest.raises(RescoreError) as error:
        run(folder)
    text = str(error.value)
    assert text.startswith(f"no good checkpoint: {folder / 'step-00000009.safetensors'}: ")
    assert str(folder / "step-00000006.safetensors") in text
    assert text.endswith(f"Remove {folder} to train again from the start")
    assert contents(folder) == before


SPOILT = {
    "nan": lambda value, weights: value * float("nan"),
    "inf": lambda value, weights: value * float("inf"),
    "its gradient": lambda value, weights: value + (0 * weights.sum()).sqrt(),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_step_without_a_finite_loss_or_gradient_changes_no_parameter_and_is_told(tmp_path, spoilt, capsys):
    network, seen = model(), []
    good = loss_of(network)

    def loss(generator: torch.Generator) -> Tensor:
        seen.append([parameter.detach().clone() for parameter in network.parameters()])
        return SPOILT[spoilt](good(generator), network[0].weight) if len(seen) == 8 else good(generator)

    history = fit(network, loss, SETTINGS, make_generator("train"), tmp_path, checkpoint_every=3)
    assert all(torch.equal(before, after) for before, after in zip(seen[7], seen[8], strict=True))
    assert not all(torch.equal(before, after) for before, after in zip(seen[8], seen[9], strict=True))
    assert history[7].isfinite() == (spoilt == "its gradient")
    assert history[:7].isfinite().all() and history[8:].isfinite().all()
    warning = f"train: the loss is {history[7]:g} or its gradient is not finite at step 7: no update"
    assert [line for line in capsys.readouterr().err.splitlines() if "no update" in line] == [f"warning: {warning}"]


def overflowing(network: nn.Module, at: Callable[[int], bool]) -> Callable[[torch.Generator], Tensor]:
    """The loss, infinite in the steps, from 1, that `at` names."""
    good, steps = loss_of(network), itertools.count(1)
    return lambda generator: good(generator) * (float("inf") if at(next(steps)) else 1.0)


def test_a_divergence_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("rescore.training.loop.SKIPPED_IN_A_ROW", 3)
    network = model()
    loss = overflowing(network, lambda step: step >= 8)
    with pytest.raises(TrainingDiverged) as error:
        fit(network, loss, SETTINGS, make_generator("train"), tmp_path, checkpoint_every=3, label="mg grad")
    assert str(error.value) == (
        f"mg grad: diverged: no finite loss or gradient in 3 steps up to step 9; checkpoints up to it are in {tmp_path}"
    )
    assert (tmp_path / "step-00000006.json").exists()


def test_overflows_with_good_steps_between_them_are_no_divergence(tmp_path, monkeypatch):
    """Ten of fourteen steps are passed over, but never three on end."""
    monkeypatch.setattr("rescore.training.loop.SKIPPED_IN_A_ROW", 3)
    network = model()
    loss = overflowing(network, lambda step: step % 3 != 0)
    history = fit(network, loss, SETTINGS, make_generator("train"), tmp_path, checkpoint_every=3)
    assert history.isfinite().nonzero().flatten().tolist() == [2, 5, 8, 11]


# trainings without checkpoints


def test_train_once_trains_once(tmp_path):
    path, calls = tmp_path / "folder" / "weights.safetensors", []

    def train() -> nn.Module:
        calls.append(1)
        return model()

    for _ in range(2):
        blank = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        trained = train_once(path, train, blank)
        assert trained is blank and not any(p.requires_grad for p in trained.parameters())
        assert_same_bits(tuple(trained.state_dict().values()), tuple(model().state_dict().values()))
    assert len(calls) == 1


def test_train_once_leaves_nothing_behind_when_training_fails(tmp_path):
    def train() -> nn.Module:
        raise Killed

    with pytest.raises(Killed):
        train_once(tmp_path / "weights.safetensors", train, model())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [cut, lambda path: path.write_bytes(b"")], ids=["cut short", "empty"])
def test_train_once_damaged_file_is_one_clear_error(tmp_path, damage):
    path = tmp_path / "weights.safetensors"
    train_once(path, model, model())
    damage(path)
    before = path.read_bytes()
    with pytest.raises(RescoreError) as error:
        train_once(path, model, model())
    assert str(error.value).startswith(f"{path}: not the weights it should hold (")
    assert str(error.value).endswith("). Remove it to train again")
    assert path.read_bytes() == before


def test_train_once_of_another_network_is_one_clear_error(tmp_path):
    path = tmp_path / "weights.safetensors"
    train_once(path, model, model())
    with pytest.raises(RescoreError, match="not the weights it should hold"):
        train_once(path, model, nn.Linear(2, 2))


def test_the_averaged_model_is_that_of_its_steps(tmp_path):
    """Weights w_k after k steps; the average goes from w_0 by min(0.5, (1 + n) / (10 + n)), and is frozen."""
    model, seen = nn.Linear(1, 1, bias=False), []
    nn.init.constant_(model.weight, 1.0)

    def loss(generator):
        seen.append(model.weight.item())
        return model.weight.sum()

    average = fit_averaged(model, loss, Adam(3, 0.1), make_generator("average"), tmp_path, 0.5)
    expected = seen[0]
    for n, weight in enumerate([*seen[1:], model.weight.item()], start=1):
        expected += (1 - min(0.5, (1 + n) / (10 + n))) * (weight - expected)
    assert average.weight.item() == pytest.approx(expected, rel=1e-6) and not average.weight.requires_grad
