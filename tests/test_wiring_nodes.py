"""From a spec to its network, its losses and its training, and the node of the DAG that keeps what was trained.

Trainings are stubs whose answers are known.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rescore.config import RESOURCES, Resources
from rescore.data.pixels import random_flip, to_unit
from rescore.ledger.protocol import format_protocol
from rescore.machine.ranks import Rank
from rescore.models import build
from rescore.models import train as node
from rescore.models.build import make_model, make_objective, make_process
from rescore.objectives import DSM, HSM, LCSS, DiscreteTimes, ImportanceTimes, TraceMatching, UniformTimes, VelocityDSM
from rescore.processes import CLD, VP
from rescore.random import derive_seed, make_generator
from rescore.specs.model import ModelSpec, Network, Objective, Part, Trainings, Weights
from rescore.training import load_weights
from rescore.workflow.paths import training_commits
from torch import nn
from wiring_case import SEEDS, SPEC, TRAIN


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective(), DSM("simple", UniformTimes(1e-5), predicts="R")),
        (Objective(factor="L", weighting="sigma^2", t0=1e-3), DSM("sigma^2", UniformTimes(1e-3), predicts="L")),
        (Objective(name="lcss", gamma=2.0, importance=True), LCSS("simple", ImportanceTimes(1e-5), predicts="R", gamma=2.0)),
        (Objective(name="hsm", weighting="likelihood"), HSM("likelihood", UniformTimes(1e-5))),
        (Objective(name="velocity_dsm", importance=True), VelocityDSM("simple", ImportanceTimes(1e-5))),
        (
            Objective(name="ssm", weighting="sigma^2", levels=3),
            TraceMatching("ssm_vr", "sigma^2", DiscreteTimes((0.0, 0.5, 1.0)), "R", "gaussian"),
        ),
        (
            Objective(name="fd_ssm", factor="L", weighting="likelihood", t0=1e-3),
            TraceMatching("fd_ssm", "likelihood", UniformTimes(1e-3), "L", "sphere"),
        ),
    ],
)
def test_objectives_of_a_spec(objective, expected):
    assert make_objective(objective) == expected and type(make_objective(objective)) is type(expected)


def test_a_network_of_velocities_belongs_to_its_process():
    for name, gamma in (("hsm", 0.04), ("velocity_dsm", 0.0)):
        spec = ModelSpec(
            data="digits",
            process=Part(name="CLD"),
            steps=1,
            objective=Objective(name=name),
            network=Network(name="mlp", mixed=False, level="time", settings={"width": 4, "blocks": 1}),
        )
        model = make_model(spec, make_process(spec.process, (1, 2, 2)), (1, 2, 2))
        assert model.process == CLD(gamma=gamma) and model.mixed is False and model.level == "time"
        assert model(torch.zeros(3, 2, 1, 2, 2), 0.5).shape == (3, 2, 1, 2, 2)


def test_a_spec_reaches_the_network():
    spec = SPEC.model_copy(
        update={"objective": Objective(factor="L"), "network": SPEC.network.model_copy(update={"output": "score"})}
    )
    model = make_model(spec, CLD(), (1, 2, 2))
    assert (model.factor, model.output, model.level) == ("L", "score", "steps")
    weights = [next(make_model(SPEC.model_copy(update={"seed": seed}), VP(), (1, 2, 2)).parameters()) for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_the_blurring_process_has_the_size_of_the_images():
    assert make_process(Part(name="Blurring", settings={"sigma_max": 2.5}), (3, 4, 6)).size == (4, 6)
    assert make_process(Part(name="VP", settings={"beta_max": 7.0}), (3, 4, 6)) == VP(beta_max=7.0)


@pytest.mark.parametrize("flip", [False, True])
def test_a_spec_is_trained_as_it_says(monkeypatch, flip):
    asked = []
    monkeypatch.setattr(build, "load_images", lambda name, split: asked.append((name, split)) or TRAIN)
    monkeypatch.setattr(build, "train_network", lambda *arguments: asked.append(arguments) or "trained")
    spec = SPEC.model_copy(update={"flip": flip})
    assert build.train_model(spec, Path("folder"), "cpu", "label") == "trained"
    (data, (model, losses, settings, *rest)) = asked
    assert data == ("digits", "all") and rest == [Path("folder"), "cpu", 4, "label", None]
    adam = settings.adam
    assert (adam.steps, adam.lr, adam.warmup, adam.clip, adam.decay, adam.weight_decay) == (7, 0.003, 2, 0.5, 1.0, 0.0)
    assert (settings.data, settings.batch, settings.ema, settings.parts) == (30, 6, 0.8, 2)
    assert settings.seed == derive_seed("training", 9)
    fresh = make_model(spec, VP(), (1, 2, 2))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), fresh.state_dict().values(), strict=True))
    rows, generator = torch.tensor([4, 1, 7]), make_generator("losses")
    batch = TRAIN.images[rows]
    x = to_unit(random_flip(batch, generator) if flip else batch)
    expected = make_objective(spec.objective)(fresh, VP(), x, generator)
    found = losses(fresh, rows, make_generator("losses"))
    assert torch.equal(found, expected) and found.shape == (3,)


def test_a_node_keeps_the_average_of_each_seed_and_what_it_took(monkeypatch, tmp_path):
    asked, averages = [], {}

    def train(spec, state, device, label):
        asked.append((spec, state, device, label))
        averages[spec.seed] = nn.Linear(2, 1)
        return SimpleNamespace(
            network=averages[spec.seed],
            history=torch.tensor([3.0, 1.0]),
            images_per_second=8.0,
            peak_memory_mb=2.0,
            peak_gpu_memory_mb=0.5,
            earlier_seconds=100.0,
            earlier_cpu_seconds=50.0,
            snapshots={},
        )

    monkeypatch.setattr(build, "train_model", train)
    monkeypatch.setattr(node, "prepare_torch", lambda spec: "cpu")
    trainings = Trainings(SPEC, SEEDS)
    node._train(trainings, tmp_path, {seed: Path(f"state {seed}") for seed in SEEDS})
    seeded = {seed: SPEC.model_copy(update={"seed": seed}) for seed in SEEDS}
    assert asked == [(seeded[seed], Path(f"state {seed}"), "cpu", f"digits VP seed {seed}") for seed in SEEDS]
    for seed in SEEDS:
        weights = tmp_path / str(seed) / "weights.safetensors"
        assert torch.equal(load_weights(weights, nn.Linear(2, 1)).weight, averages[seed].weight)
        about = json.loads(weights.with_name("about.json").read_text())
        assert about["spec"] == seeded[seed].model_dump(mode="json") and about["key"] == seeded[seed].key
        assert (about["images_per_second"], about["peak_memory_mb"], about["peak_gpu_memory_mb"]) == (8.0, 2.0, 0.5)
        assert about["seconds"] > 100 and about["cpu_seconds"] > 50, "with what earlier processes took"
        assert node.read_about(weights) == about


def test_of_several_processes_the_first_one_leaves_the_model(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "train_model", lambda *_: None)
    monkeypatch.setattr(node, "prepare_torch", lambda spec: "cpu")
    monkeypatch.setattr(node, "own_rank", lambda: Rank(1, 1, 2))
    node._train(Trainings(SPEC, SEEDS), tmp_path / "node", dict.fromkeys(SEEDS, tmp_path))
    assert not (tmp_path / "node").exists()


def test_a_record_s_version_names_the_commit_of_its_weights(tmp_path):
    paths = []
    for seed, version in enumerate(
        ("0.1.0+gaaaaaaa.torch2.4.1+cpu", "0.1.0+gbbbbbbb.dirty.torch2.4.1", "0.1.0+gaaaaaaa.torch2.5", "0.1.0.torch2")
    ):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "about.json").write_text(json.dumps({"version": version}))
        paths.append(folder / "weights.safetensors")
    assert training_commits(paths) == ".weights+gaaaaaaa.weights+gbbbbbbb.dirty"
    assert training_commits(paths[3:]) == training_commits([]) == ""


def test_a_node_is_named_by_its_spec_and_its_seeds():
    assert Trainings(SPEC, SEEDS).key == Trainings(SPEC.model_copy(update={"threads": 2}), SEEDS).key
    others = (Trainings(SPEC, SEEDS[:1]), Trainings(SPEC.model_copy(update={"lr": 0.1}), SEEDS))
    assert len({Trainings(SPEC, SEEDS).key, *(other.key for other in others)}) == 3
    assert {seed: one.seed for seed, one in Trainings(SPEC, SEEDS).members.items()} == {3: 3, 5: 5}


NOT_SAID = {"data": "a column", "seed": "n_seeds", "parts": "rounding", "checkpoint_every": "", "snapshots": "checkpoint"}
"""What a record says elsewhere of a spec's fields, or that its number does not depend on them."""


def test_a_protocol_tells_every_setting_of_a_training():
    """Of a spec with none of them at its default, as some are left out there."""
    full = SPEC.model_copy(update={"weight_decay": 0.1, "decay": 0.5, "flip": True})
    network = {"level": "time", "output": "v", "mixed": False, "name": "ddpm", "settings": {"width": 8}}
    objective = {"name": "lcss", "factor": "L", "weighting": "sigma^2", "importance": False, "t0": 0.1, "gamma": 2.0}
    objective |= {"reduction": "mean", "levels": 5}
    others = {"steps": 8, "batch": 7, "lr": 0.1, "weight_decay": 0.2, "decay": 0.6, "decay_every": 3, "warmup": 0, "clip": None}
    others |= {"ema": 0.9, "flip": False, "split": "train", "process": Part(name="VP", settings={"beta_max": 10.0})}
    others |= {"weights": Weights(source="cld", name="a")}
    changes = [{name: value} for name, value in others.items()]
    for part, settings in (("network", network), ("objective", objective)):
        now = getattr(full, part)
        changes += [{part: now.model_copy(update={name: value})} for name, value in settings.items()]
        assert settings.keys() == type(now).model_fields.keys()
    assert others.keys() | {"network", "objective"} | NOT_SAID.keys() == ModelSpec.model_fields.keys() - RESOURCES
    said = [format_protocol(full.model_copy(update=change).protocol) for change in ({}, *changes)]
    assert len(set(said)) == len(said)


def test_resources_do_not_name_a_model():
    assert SPEC.key == SPEC.model_copy(update={"checkpoint_every": 9, "threads": 2, "gpu": 0}).key
    for change in ({"ema": 0.9}, {"clip": None}, {"seed": 1}, {"split": "train"}, {"flip": True}, {"parts": 1}, {"lr": 0.1}):
        assert SPEC.key != SPEC.model_copy(update=change).key, change
    assert SPEC.protocol == {
        "train_steps": 7,
        "train_batch": 6,
        "train_lr": 0.003,
        "train_warmup": 2,
        "train_clip": 0.5,
        "ema": 0.8,
        "network": "mlp",
        "network_settings": "blocks:1 width:4",
        "train_process": "VP",
        "objective": "dsm",
        "weighting": "likelihood",
        "train_importance": True,
        "train_t0": 2e-4,
        "train_split": "all",
    }
    assert issubclass(ModelSpec, Resources)
