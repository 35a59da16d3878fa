"""Training of networks: the loop written out, the average, the order of the data, resume after kill -9, two processes."""

import copy
import json
import math
import multiprocessing
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rescore.errors import RescoreError
from rescore.machine.ranks import MARK
from rescore.random import derive_seed, make_generator
from rescore.training import Adam, averaged_copy, batch_rows, fit, load_weights, save_weights, train_network
from rescore.training.network import CLOCKS
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from training_case import ADAM, DATA, SETTINGS, Network, losses, run, train


def tensors(network: nn.Module) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def same_bits(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(left), tensors(right), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("training") / "whole")


def child(folder: Path, delay: float, **environment: str) -> multiprocessing.process.BaseProcess:
    """Forked from a server that has imported torch, once for all tests, and has never computed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_case"])
    process = context.Process(target=run, args=(folder, delay, environment))
    process.start()
    return process


# optimiser settings


def test_warm_up_starts_at_zero_and_multiplies_the_decay():
    settings = Adam(steps=100, lr=2e-4, warmup=50, decay=0.5, decay_every=60)
    assert [settings.lr_at(step) for step in (0, 1, 25, 50, 59, 60)] == pytest.approx(
        [0.0, 4e-6, 1e-4, 2e-4, 2e-4, 1e-4], rel=1e-12
    )


@pytest.mark.parametrize(("clip", "expected"), [(1.0, [0.6, 0.8]), (4.0, [2.4, 3.2]), (6.0, [3.0, 4.0]), (None, [3.0, 4.0])])
def test_clipping_scales_the_gradient_to_the_norm(tmp_path, clip, expected):
    """Of 3 a + 4 b the gradient has norm 5."""
    model = nn.ParameterList([torch.zeros((), dtype=torch.float64) for _ in "ab"])
    fit(model, lambda g: 3 * model[0] + 4 * model[1], Adam(1, 0.1, clip=clip), torch.Generator(), tmp_path)
    assert [p.grad.item() for p in model] == pytest.approx(expected, rel=1e-6)


# the average


def test_average_in_closed_form():
    """After n updates: sum_k (1 - d_k) prod_{j > k} d_j theta_k + prod_j d_j theta_0, d_n = min(0.5, (1 + n) / (10 + n))."""
    network = nn.Linear(1, 1, bias=False).double()
    values = [0.3, -1.0, 2.5, 0.7, 4.0, -3.0, 1.0, 8.0, -2.0, 0.5, 6.0]
    nn.init.constant_(network.weight, values[0])
    average = averaged_copy(network, 0.5)
    for value in values[1:]:
        nn.init.constant_(network.weight, value)
        average.update_parameters(network)
    decays = [min(0.5, (1 + n) / (10 + n)) for n in range(1, len(values))]
    assert decays[0] == 2 / 11 and decays[-1] == 0.5
    weights = [math.prod(decays)] + [(1 - d) * math.prod(decays[k + 1 :]) for k, d in enumerate(decays)]
    expected = sum(w * v for w, v in zip(weights, values, strict=True))
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-12)
    assert not average.module.weight.requires_grad


# the order of the data


def test_an_update_is_the_librarys_to_the_bit():
    """Parameters, buffers and count, over several steps; then of another network."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ours, theirs = averaged_copy(network, 0.9), averaged_copy(network, 0.9)
    for step, one in enumerate((network, network, network, copy.deepcopy(network))):
        with torch.no_grad():
            for value in (*one.parameters(), one[1].running_mean):
                value.normal_(generator=torch.Generator().manual_seed(step))
        ours.update_parameters(one)
        AveragedModel.update_parameters(theirs, one)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(mine, theirs.state_dict()[name]) for name, mine in ours.state_dict().items())
    assert ours.n_averaged == 5


def test_a_step_seeds_dropout_as_torch_does(tmp_path):
    """On a CPU by its generator, which is all that `torch.manual_seed` changes there: two parts of each step."""
    drawn = []

    def some(network, rows, generator):
        drawn.append(torch.rand(1).item())
        return losses(network, rows, generator)

    train_network(Network(), some, SETTINGS, tmp_path)
    for k, number in enumerate(drawn):
        torch.manual_seed(derive_seed("dropout", SETTINGS.seed, *divmod(k, 2)))
        assert number == torch.rand(1).item()
    assert len(set(drawn)) == 2 * SETTINGS.adam.steps


def test_every_pass_holds_each_point_once_also_where_a_batch_straddles_two():
    rows = torch.cat([batch_rows(7, 3, seed=1, step=step) for step in range(14)]).reshape(6, 7)
    assert all(sorted(epoch) == list(range(7)) for epoch in rows.tolist())
    assert len({tuple(epoch) for epoch in rows.tolist()}) > 3
    longer = batch_rows(3, 8, seed=1, step=2)
    assert longer.shape == (8,) and sorted(longer[2:5].tolist()) == [0, 1, 2]


def test_the_order_is_a_function_of_seed_and_step():
    first = batch_rows(50, 20, seed=1, step=9)
    batch_rows(50, 20, seed=1, step=400)
    assert torch.equal(first, batch_rows(50, 20, seed=1, step=9))
    assert not torch.equal(first, batch_rows(50, 20, seed=2, step=9))
    assert not torch.equal(first, batch_rows(50, 20, seed=1, step=10))


# the loop


def test_training_is_the_loop_written_out(whole):
    """12 steps of Adam with warm-up and clip on two parts of 3 points, and the average with the ramp."""
    network = Network()
    average = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters())
    order = torch.cat([torch.randperm(20, generator=make_generator("order", 5, epoch)) for epoch in range(4)])
    history = []
    for step in range(12):
        optimizer.param_groups[0]["lr"] = 0.02 * min(step / 3, 1)
        optimizer.zero_grad()
        total = 0.0
        for part in range(2):
            rows = order[6 * step + 3 * part :][:3]
            torch.manual_seed(derive_seed("dropout", 5, step, part))
            loss = losses(network, rows, make_generator("noise", 5, step, part)).sum() / 6
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.5)
        optimizer.step()
        history.append(total)
        decay = min(0.9, (2 + step) / (11 + step))
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, network.parameters(), strict=True)]
    raw, trained = whole
    assert trained.history.tolist() == pytest.approx(history, rel=1e-10)
    for mine, expected in zip(raw.parameters(), network.parameters(), strict=True):
        assert torch.allclose(mine, expected, rtol=1e-9, atol=1e-12)
    for mine, expected in zip(trained.network.parameters(), average, strict=True):
        assert torch.allclose(mine, expected, rtol=1e-9, atol=1e-12)
    assert not trained.network.training and not any(p.requires_grad for p in trained.network.parameters())


def test_throughput_and_memory_are_reported(tmp_path):
    settings = replace(SETTINGS, adam=replace(ADAM, steps=14))
    trained = train(tmp_path, delay=0.005, settings=settings)[1]
    assert 0 < trained.images_per_second < 6 / 0.01
    assert trained.peak_memory_mb > 50 and trained.peak_gpu_memory_mb == 0
    again = train(tmp_path, settings=settings)[1]
    assert (again.images_per_second, again.peak_memory_mb) == (trained.images_per_second, trained.peak_memory_mb)


def test_training_leaves_the_global_generator_alone(tmp_path):
    before = torch.get_rng_state()
    train(tmp_path, settings=replace(SETTINGS, adam=replace(ADAM, steps=2)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_without_a_finite_loss_moves_neither_network_nor_average(tmp_path):
    network = Network()
    bad = replace(SETTINGS, adam=Adam(steps=1, lr=0.1))
    trained = train_network(network, lambda f, rows, g: losses(f, rows, g) * float("nan"), bad, tmp_path)
    assert same_bits(network, Network()) and same_bits(trained.network, Network())
    assert trained.history.isnan().all()


# resuming


@pytest.mark.parametrize("killed_in", [1, 4, 9, 23])
def test_resume_is_bit_identical(tmp_path, whole, killed_in):
    """Dropout and noise are functions of the step, the average is part of the checkpoint."""
    calls = 0

    def fails(network, rows, generator):
        nonlocal calls
        calls += 1
        if calls == killed_in:
            raise KeyboardInterrupt
        return losses(network, rows, generator)

    with pytest.raises(KeyboardInterrupt):
        train_network(Network(), fails, SETTINGS, tmp_path, checkpoint_every=2)
    raw, trained = train(tmp_path)
    assert same_bits(raw, whole[0]) and same_bits(trained.network, whole[1].network)
    assert torch.equal(trained.history, whole[1].history)


def test_resume_after_kill_9_is_bit_identical(tmp_path, whole):
    process = child(tmp_path, delay=0.1)
    while not list(tmp_path.glob("checkpoints/step-*.json")):
        assert process.exitcode is None
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "checkpoints" / "step-00000012.json").exists()
    raw, trained = train(tmp_path / "checkpoints")
    assert same_bits(raw, whole[0]) and same_bits(trained.network, whole[1].network)
    assert torch.equal(trained.history, whole[1].history)


def test_a_resumed_training_counts_what_the_killed_one_took(tmp_path):
    process = child(tmp_path, delay=0.1)
    folder = tmp_path / "checkpoints"
    while not list(folder.glob("step-*.json")):
        assert process.exitcode is None
        time.sleep(0.02)
    process.kill()
    process.join()
    newest = max(folder.glob("step-*.json"))
    kept = json.loads(newest.read_text())
    assert kept["cost"]["wall_seconds"] > 2 * kept["step"] * 0.1, "two parts a step slept"
    assert kept["cost"]["cpu_seconds"] > 0
    trained = train(folder)[1]
    assert trained.earlier_seconds == kept["cost"]["wall_seconds"]
    assert trained.earlier_cpu_seconds == kept["cost"]["cpu_seconds"]
    whole = json.loads(max(folder.glob("step-*.json")).read_text())["cost"]
    assert whole["wall_seconds"] > trained.earlier_seconds and whole["cpu_seconds"] > trained.earlier_cpu_seconds
    again = train(folder)[1]
    assert (again.earlier_seconds, again.earlier_cpu_seconds) == (whole["wall_seconds"], whole["cpu_seconds"])


def test_the_peak_of_memory_is_that_of_all_processes(tmp_path):
    train(tmp_path, settings=replace(SETTINGS, adam=replace(ADAM, steps=2)))
    path = tmp_path / "step-00000002.json"
    content = json.loads(path.read_text())
    content["cost"] |= {"memory_mb": 1e6, "gpu_memory_mb": 5.0}
    path.write_text(json.dumps(content))
    trained = train(tmp_path)[1]
    assert (trained.peak_memory_mb, trained.peak_gpu_memory_mb) == (1e6, 5.0)


def test_a_checkpoint_that_does_not_say_what_it_took_is_gone_on_from(tmp_path, whole):
    assert (whole[1].earlier_seconds, whole[1].earlier_cpu_seconds) == (0.0, 0.0)
    train(tmp_path)
    for step in (10, 12):
        path = tmp_path / f"step-{step:08d}.json"
        content = json.loads(path.read_text())
        content["cost"] = {name: value for name, value in content["cost"].items() if name not in CLOCKS}
        path.write_text(json.dumps(content))
    (tmp_path / "step-00000012.json").unlink()
    raw, trained = train(tmp_path)
    assert same_bits(raw, whole[0]) and (trained.earlier_seconds, trained.earlier_cpu_seconds) == (0.0, 0.0)
    assert json.loads((tmp_path / "step-00000012.json").read_text())["cost"].keys() >= CLOCKS.keys()


# several processes


def two_children(folder: Path) -> list[int]:
    """Exit codes of a pair of processes that meet at a port that was free just before."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", MARK: "ours", "TORCHELASTIC_RUN_ID": "ours"}
    first, second = processes = [child(folder, 0.0, **address, RANK=rank, LOCAL_RANK=rank) for rank in "01"]
    first.join()  # which listens at the port; the second would wait for minutes for one that could not
    if first.exitcode:
        second.kill()
    second.join()
    return [process.exitcode for process in processes]


def test_two_processes_make_the_steps_of_one(tmp_path, whole):
    codes = two_children(tmp_path)
    if 0 not in codes:  # another program may have taken the port in between: both fail then, before their first step
        codes = two_children(tmp_path)
    assert codes == [0, 0]
    assert [(tmp_path / f"again-{rank}").read_text() for rank in "01"] == ["True", "True"], "a second one, without meeting anew"
    history = load_file(max((tmp_path / "checkpoints").glob("*.safetensors")))["history"]
    assert torch.allclose(history, whole[1].history, rtol=1e-9, atol=0)
    for name, network in (("raw", whole[0]), ("ema", whole[1].network)):
        first, second = (load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in "01")
        for key, value in network.state_dict().items():
            assert torch.equal(first[key], second[key])
            assert torch.allclose(first[key], value, rtol=1e-9, atol=1e-9)


# bad input


def test_parts_that_do_not_fit(tmp_path):
    with pytest.raises(
        RescoreError, match="parts = 4: it has to divide the batch, 6, and to be a multiple of the number of processes, 1"
    ):
        train(tmp_path, settings=replace(SETTINGS, parts=4))


def test_a_checkpoint_of_another_network_is_one_clear_error(tmp_path):
    train(tmp_path, settings=replace(SETTINGS, adam=replace(ADAM, steps=2)))
    with pytest.raises(RescoreError) as error:
        train(tmp_path, width=9)
    assert str(error.value) == (
        f"{tmp_path / 'step-00000002.safetensors'}: a checkpoint of another network: ema/module.layers.0.bias is (8,) there, "
        f"(9,) here. Remove {tmp_path} to train again from the start"
    )
    with pytest.raises(RescoreError, match=r"another network: ema/module.layers.0.bias is \(8,\) there, absent here"):
        fit(Network(), lambda g: DATA.sum(), ADAM, torch.Generator(), tmp_path)


def test_weights_of_another_network_or_none(tmp_path):
    save_weights(tmp_path / "weights.safetensors", Network())
    assert same_bits(load_weights(tmp_path / "weights.safetensors", Network()), Network())
    for name, width in (("weights.safetensors", 9), ("missing.safetensors", 8)):
        with pytest.raises(RescoreError, match=f"{name}: not the weights it should hold"):
            load_weights(tmp_path / name, Network(width))
