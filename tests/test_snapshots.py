"""Snapshots of a training and the choice among them; fields of specs that are younger than the keys of models."""

import itertools
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rescore.config import validated
from rescore.cost.evaluations import note
from rescore.errors import MissingData, RescoreError
from rescore.experiments import book as book_module
from rescore.experiments.book import Book, Result, Run
from rescore.models import build, evaluate, train
from rescore.models.build import make_objective
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.models.judge import Drawn
from rescore.models.judged_cells import judge_best
from rescore.objectives import DSM, LCSS
from rescore.processes import VP, grids
from rescore.samplers import ddim
from rescore.specs import model as specs
from rescore.specs.config import Evaluation, ModelConfig
from rescore.specs.model import ModelSpec, Trainings
from rescore.training import Adam, Training, train_network
from rescore.workflow.paths import snapshots
from safetensors.torch import load_file
from torch import nn
from training_case import SETTINGS, Network, losses

CONTENT = {"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 12}


def spec(**changes) -> ModelSpec:
    return validated(ModelSpec, CONTENT | changes, "spec")


def test_younger_fields_leave_old_keys_as_they_are(monkeypatch):
    """The keys that these specs had before the fields, at the version of the training that was then."""
    monkeypatch.setattr(specs, "TRAINING_VERSION", 2)
    assert spec().key == "10a82f890125"
    assert spec(objective={"name": "lcss", "gamma": 2.0}).key == "96a3ac67b367"
    assert spec(snapshots=4).key != spec().key != spec(objective={"reduction": "mean"}).key
    assert Evaluation().model_dump(mode="json") == {
        "samples": 359,
        "features": "classifier",
        "classifier_steps": 1000,
        "likelihood_images": 100,
        "tolerance": 1e-5,
    }
    assert Evaluation(checkpoint="best").model_dump()["checkpoint"] == "best"
    again = ModelSpec.model_validate(spec(snapshots=4, objective={"reduction": "mean"}).model_dump(mode="json"))
    assert (again.snapshots, again.objective.reduction) == (4, "mean")


def test_a_training_is_what_its_config_says():
    ours = {"steps": 12, "lr": 0.1, "weight_decay": 0.2, "decay": 0.5, "decay_every": 7, "warmup": 3, "clip": 0.4}
    config = spec(**ours, batch=6, ema=0.8)
    assert Adam.of(config) == Adam(**ours)
    assert Training.of(config, 30, 5, parts=2) == Training(Adam(**ours), 30, 6, 5, 0.8, parts=2)
    said = {"train_steps": 12, "train_batch": 128, "train_lr": 2e-4, "ema": 0.9999}
    assert spec().protocol.items() >= said.items() and not {name for name in spec().protocol if "decay" in name}
    changed = spec(decay=0.5, weight_decay=0.1)
    assert (
        changed.protocol == spec().protocol | {"train_decay": 0.5, "train_decay_every": 50, "train_weight_decay": 0.1}
        and changed.key != spec().key
    )


@pytest.mark.parametrize("name", ["dsm", "lcss"])
def test_the_reduction_reaches_the_loss_and_hence_the_clip(name):
    objective = spec(objective={"name": name, "reduction": "mean"}).objective
    kind = {"dsm": DSM, "lcss": LCSS}[name]
    assert make_objective(objective) == kind("simple", make_objective(objective).times, per_dimension=True)
    x = torch.zeros(3, 1, 4, 4)
    network = lambda u, t: u  # noqa: E731
    of_sum = make_objective(spec(objective={"name": name}).objective)(network, VP(), x, torch.Generator().manual_seed(0))
    of_mean = make_objective(objective)(network, VP(), x, torch.Generator().manual_seed(0))
    assert torch.allclose(of_mean * 16, of_sum)


def test_velocities_have_no_mean():
    with pytest.raises(RescoreError, match="reduction: mean is for dsm and lcss; allowed with hsm: sum"):
        spec(objective={"name": "hsm", "reduction": "mean"})


def test_the_average_is_kept_on_the_way_and_a_resumed_training_keeps_the_same(tmp_path):
    def trained(folder, fails_at=None):
        calls = 0

        def some(network, rows, generator):
            nonlocal calls
            calls += 1
            if calls == fails_at:
                raise KeyboardInterrupt
            return losses(network, rows, generator)

        return train_network(Network(), some, SETTINGS, folder, checkpoint_every=3, snapshots=4)

    whole = trained(tmp_path / "whole")
    assert list(whole.snapshots) == [4, 8], "the last is the result"
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", fails_at=19)
    again = trained(tmp_path / "killed")
    for steps, path in whole.snapshots.items():
        mine, its = load_file(path), load_file(again.snapshots[steps])
        assert all(torch.equal(mine[name], its[name]) for name in mine)
        assert not torch.equal(mine["layers.0.weight"], whole.network.state_dict()["layers.0.weight"])
    assert train_network(Network(), losses, SETTINGS, tmp_path / "none").snapshots == {}


def test_a_node_leaves_the_snapshots_beside_the_weights(monkeypatch, tmp_path):
    kept = tmp_path / "state" / "step-00000004.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(b"weights after 4")
    monkeypatch.setattr(
        build,
        "train_model",
        lambda *_: SimpleNamespace(
            network=nn.Linear(1, 1),
            history=torch.zeros(1),
            images_per_second=1.0,
            peak_memory_mb=1.0,
            peak_gpu_memory_mb=0.0,
            earlier_seconds=100.0,
            earlier_cpu_seconds=50.0,
            snapshots={4: kept},
        ),
    )
    monkeypatch.setattr(train, "prepare_torch", lambda spec: "cpu")
    train._train(Trainings(spec(snapshots=4), (0,)), tmp_path / "node", {0: tmp_path})
    found = snapshots(tmp_path / "node" / "0" / "weights.safetensors")
    assert {steps: path.read_bytes() for steps, path in found.items()} == {4: b"weights after 4"}


class Judge:
    """FID is the distance of the samples' mean from 1."""

    def __call__(self, x, metrics):
        return {metric: {"fid": abs(x.mean().item() - 1), "is": x.mean().item()}[metric] for metric in metrics}

    def protocol(self, metric, x):
        return {"judge": "mean"}


class Config:
    jobs, models = {"job": SimpleNamespace(models=("model",))}, {"model": spec(snapshots=4)}
    training_seeds, evaluation = (0, 1), Evaluation(samples=2, checkpoint="best")


def measured(monkeypatch, folder, config, **sampling):
    """By metric the measurements of a sampling whose images have another mean for each training and snapshot."""
    models = TrainedModels(Book(config, Run("p", "smoke", "job", folder, "cpu", 1)))
    models.judge = Judge()
    means = {(0, 4): 3.0, (0, 8): 1.5, (0, None): 0.0, (1, 4): 0.75, (1, 8): 9.0, (1, None): 2.0}
    monkeypatch.setattr(models, "_steps", lambda name, seed: [4, 8, None])

    def draw(one, training, seed, step=None):
        return Drawn(torch.full((2, 1, 2, 2), means[training, step]), 5)

    monkeypatch.setattr(models, "draw", draw)
    sampler = ddim(VP(), grids.uniform(VP(), 5))
    models.measure([Sampling("1", "DDIM", "", "model", sampler, **sampling)], "best")
    return {one.metric: one for one in models.book.measurements}


def test_the_best_snapshot_is_entered_and_the_last_beside_it(monkeypatch, tmp_path):
    found = measured(monkeypatch, tmp_path, Config())
    assert {metric: one.value for metric, one in found.items()} == {
        "fid": (0.5 + 0.25) / 2,
        "is": (1.5 + 0.75) / 2,
        "fid_last": 1.0,
        "is_last": 1.0,
    }
    assert found["fid"].protocol["checkpoint"] == "best of 3 by FID" and found["is_last"].protocol["checkpoint"] == "last"


def test_a_sampling_of_the_last_weights_is_of_them_where_others_are_of_the_best(monkeypatch, tmp_path):
    found = measured(monkeypatch, tmp_path, Config(), last=True)
    assert {metric: one.value for metric, one in found.items()} == {"fid": (1.0 + 1.0) / 2, "is": (0.0 + 2.0) / 2}
    assert {one.protocol["checkpoint"] for one in found.values()} == {"last"}


def test_published_weights_are_no_choice_among_snapshots(monkeypatch, tmp_path):
    config = Config()
    config.models = {"model": spec(weights={"source": "score_sde", "name": "vp.pth"})}
    config.training_seeds = (1,)
    found = measured(monkeypatch, tmp_path, config)
    assert found.keys() == {"fid", "is"} and found["fid"].value == 1.0 and "checkpoint" not in found["fid"].protocol
    content = {"models": {"a": CONTENT | {"weights": {"source": "score_sde", "name": "vp.pth"}}}}
    assert validated(ModelConfig, content | {"evaluation": {"checkpoint": "best"}}, "paper.yaml")


def test_one_set_of_samples_is_held_at_a_time(tmp_path):
    """26 of CIFAR-10 would take 16 GB."""
    made: list[weakref.ref[torch.Tensor]] = []
    alive = []

    def make(mean: float) -> Drawn:
        alive.append(sum(one() is not None for one in made))
        x = torch.full((1, 1, 2, 2), mean)
        made.append(weakref.ref(x))
        return Drawn(x, 5)

    book = Book(Config(), Run("p", "smoke", "job", tmp_path, "cpu", 1))
    with book.cell("1", "digits", "DDIM", "", 5, {}, over="samplings") as cell:
        judge_best(cell, Judge(), {0: [partial(make, mean) for mean in (3.0, 1.2, 5.0, 1.5, 9.0, 8.0)]})
    assert {one.metric: one.value for one in book.measurements} == {
        "fid": pytest.approx(0.2),
        "is": pytest.approx(1.2),
        "fid_last": 7.0,
        "is_last": 8.0,
    }
    assert max(alive) == 0, "the ones before are gone when the next is drawn"


def test_a_killed_job_draws_no_set_again_that_took_long(monkeypatch, tmp_path):
    monkeypatch.setattr(book_module, "LONG", 0.0)
    drawn: list[float] = []
    kills = [5.0]

    def make(mean: float) -> Drawn:
        if mean in kills:
            raise RuntimeError("killed")
        drawn.append(mean)
        note(10)
        return Drawn(torch.full((20, 1, 2, 2), mean), 5)

    def run(folder: Path) -> Result:
        book = Book(Config(), Run("p", "smoke", "job", folder, "cpu", 1))
        with book.cell("1", "digits", "DDIM", "", 5, {}, over="samplings") as cell:
            judge_best(cell, Judge(), {0: [partial(make, mean) for mean in (3.0, 1.2, 5.0, 8.0)]}, array="digits/DDIM")
        return book.result

    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "killed")
    kills.clear()
    again = run(tmp_path / "killed")
    assert drawn == [3.0, 1.2, 5.0, 8.0]
    whole = run(tmp_path / "whole")
    assert [replace(one, seconds=0.0) for one in again.measurements] == [
        replace(one, seconds=0.0) for one in whole.measurements
    ]
    assert again.function_evaluations == whole.function_evaluations == 40
    assert again.earlier_seconds > 0 == whole.earlier_seconds
    assert again.arrays.keys() == {"digits/DDIM"} and (again.arrays["digits/DDIM"] == whole.arrays["digits/DDIM"]).all()
    assert again.arrays["digits/DDIM"].shape == (8, 1, 2, 2)
    kept = whole.arrays["digits/DDIM"].base
    assert kept.flags.owndata and len(kept) == 16, "and not a view of all twenty samples"
    assert run(tmp_path / "killed").function_evaluations == 40, "of the finished cell, parts and all"


def test_what_earlier_parts_took_stays_their_cell_s(monkeypatch, tmp_path):
    """A clock that goes on by a second, or half a second of the processor, with each look at it."""
    ticks = itertools.count(0.0)
    monkeypatch.setattr(book_module, "_clocks", lambda: ((now := next(ticks)), now / 2))
    monkeypatch.setattr(book_module, "LONG", 0.0)

    def run(killed: bool = False) -> Result:
        book = Book(Config(), Run("p", "smoke", "job", tmp_path, "cpu", 1))
        with book.cell("1", "digits", "DDIM") as cell:
            if cell.todo:
                cell.part("first", dict)
                if killed:
                    raise KeyboardInterrupt
                cell.add("fid", [1.0])
        return book.result

    with pytest.raises(KeyboardInterrupt):
        run(killed=True)
    second, third = run(), run()
    assert (second.earlier_seconds, second.earlier_cpu_seconds) == (1.0, 0.5), "of the part"
    assert (third.earlier_seconds, third.earlier_cpu_seconds) == (2.0, 1.0), "of both processes"
    assert second.measurements[0].seconds > 1


def test_the_best_needs_snapshots():
    with pytest.raises(RescoreError, match=r"checkpoint: best: models.a keeps no snapshots; allowed: last, or snapshots"):
        validated(ModelConfig, {"models": {"a": CONTENT}, "evaluation": {"checkpoint": "best"}}, "gpu.yaml")


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_the_judge_is_looked_for_before_anything_is_drawn(monkeypatch, tmp_path, checkpoint):
    def none(*_):
        raise MissingData("Inception weights: not at hand")

    config = Config()
    config.evaluation = Evaluation(samples=2, checkpoint=checkpoint)
    book = Book(config, Run("p", "smoke", "job", tmp_path, "cpu", 1))
    models = TrainedModels(book)
    monkeypatch.setattr(evaluate, "make_judge", none)
    monkeypatch.setattr(models, "draw", lambda *_: pytest.fail("drawn before the judge was looked for"))
    monkeypatch.setattr(models, "_steps", lambda *_: [None])
    with book.skipping(dataset="digits"):
        models.measure([Sampling("1", "DDIM", "", "model", ddim(VP(), grids.uniform(VP(), 5)))], "judged")
    assert book.skipped == [{"dataset": "digits", "reason": "Inception weights: not at hand"}]
