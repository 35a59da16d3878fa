"""What a scale needs, is said and fetched before anything starts; models have names."""

import json
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from rescore import estimates, plan
from rescore.cli import main
from rescore.config import validated
from rescore.data.images import SPLITS, image_shape, load_images
from rescore.errors import MissingData, RescoreError
from rescore.estimates import NETWORKS, ModelPlan, network_id, read_networks
from rescore.models import needs as needing
from rescore.models import train
from rescore.models.build import make_model, make_objective, make_process
from rescore.models.needs import Need, needs
from rescore.networks import make_network
from rescore.papers import load_config, load_paper
from rescore.plan import network_cost
from rescore.random import make_generator
from rescore.specs.config import Evaluation, ModelConfig, ModelJob
from rescore.specs.model import ModelSpec
from rescore.workflow.suite import load_suite
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SPEC = validated(
    ModelSpec,
    {
        "data": "digits",
        "process": {"name": "CLD"},
        "steps": 100,
        "batch": 36,
        "gpu": 1,
        "network": {"name": "mlp", "settings": {"width": 8, "blocks": 1}},
    },
    "spec",
)


def test_parameters_and_operations_are_those_of_the_network():
    parameters, gflop = network_cost(SPEC)
    model = make_model(SPEC, make_process(SPEC.process, (1, 8, 8)), (1, 8, 8))
    assert parameters == sum(one.numel() for one in model.parameters())
    linear = sum(2 * one.in_features * one.out_features for one in model.modules() if isinstance(one, nn.Linear))
    assert gflop * 1e9 == linear


def test_ddpmpp_has_the_parameters_of_the_paper():
    spec = SPEC.model_copy(
        update={
            "data": "cifar10",
            "process": SPEC.process.model_copy(update={"name": "VP"}),
            "network": SPEC.network.model_copy(update={"name": "ddpmpp", "settings": {}}),
        }
    )
    parameters, gflop = network_cost(spec)
    assert round(parameters / 1e6, 1) == 61.8 and 20 < gflop < 23


def test_hours_are_the_arithmetic_that_is_printed():
    one = ModelPlan("key", ("p/a",), SPEC, (0, 1), 10, 7.5, False)
    assert one.images == 7200
    assert one.gpu_hours(100.0) == pytest.approx(3 * 7.5e9 * 7200 / 100e12 / 3600)
    on_cpu = ModelPlan("key", ("p/b",), SPEC.model_copy(update={"gpu": 0}), (0,), 10, 7.5, False)
    assert on_cpu.gpu_hours(100.0) == 0.0 and estimates.model_rows([on_cpu])[0]["gpu_hours"] == ""
    lines = estimates.arithmetic([one, on_cpu])
    assert lines[0].startswith("Estimate, not measured: training takes 3 x (GFLOP an image) x (steps x batch x trainings)")
    assert estimates.SPEED == (50.0, 100.0) and "of one H100 (assumed)." in lines[0]
    asked = ModelPlan("key", ("p/a-trained-here",), SPEC, (0,), 10, 7.5, False, on_request=True)
    assert estimates.arithmetic([one, asked]) == estimates.arithmetic([one]), "not counted"
    assert plan.trained_here([one, asked]) == 3 * 7.5 * 3600 and estimates.model_rows([asked])[0]["state"] == "on request"
    assert "p/a: 3 x 7.5 GFLOP x 7,200 images = 1.62e+05 GFLOP" in lines[1] and "All 1 models on GPUs" in lines[2]
    measured = {("A GPU", "float32"): 90.0, ("A GPU", estimates.TRAINED_AS): 180.0, ("A GPU", "the same in CUDA graphs"): 300.0}
    measured |= {("cpu x", estimates.TRAINED_AS): 1.0}
    proofs = [{"device": device, "training": way, "tflops": speed} for (device, way), speed in measured.items()]
    assert estimates.arithmetic([one], proofs)[3:] == [
        "At the 180 TFLOP/s that rescore proof measured on A GPU: 0.0 GPU-hours."
    ], "of the way that trainings take, though another is faster"
    assert estimates.arithmetic([on_cpu]) == ["No model of this scale is trained on a GPU."]


@pytest.mark.parametrize("name", ["dsm", "lcss", "ssm", "fd_ssm"])
def test_a_training_step_takes_the_passes_that_hours_count(name):
    """Its operations, counted; what does not see the state, such as the embedding of time, has no second derivative."""
    network = {"name": "mlp", "settings": {"width": 64, "blocks": 8}}
    change = {"process": {"name": "VE"}, "objective": {"name": name}, "network": network, "gpu": 0}
    spec = validated(ModelSpec, SPEC.model_dump(mode="json") | change, "spec")
    one = ModelPlan("key", ("p/a",), spec, (0,), *network_cost(spec), False)
    model = make_model(spec, make_process(spec.process, (1, 8, 8)), (1, 8, 8))
    generator = make_generator("images")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    images = torch.randn(16, 1, 8, 8, generator=generator)
    with FlopCounterMode(display=False) as count:
        make_objective(spec.objective)(model.network, model.process, images, generator).sum().backward()
    assert 0.8 < count.get_total_flops() / 16e9 / (one.work / one.images) < 1


def test_sizes_of_networks_are_kept_and_read(tmp_path):
    """Those that train on GPUs; what is not known has no estimate, and is said."""
    one = ModelPlan("key", ("p/a",), SPEC, (0,), *network_cost(SPEC), False)
    on_cpu = ModelPlan("key", ("p/b",), SPEC.model_copy(update={"gpu": 0, "data": "mnist"}), (0,), 10, 7.5, False)
    assert plan.write_networks(tmp_path / NETWORKS, [one, on_cpu]) == 1
    assert read_networks(tmp_path / NETWORKS) == {network_id(SPEC): network_cost(SPEC)}
    assert network_id(SPEC) == network_id(SPEC.model_copy(update={"steps": 7, "lr": 0.5}))
    assert network_id(SPEC) != network_id(SPEC.model_copy(update={"data": "mnist"}))
    unknown = ModelPlan("key", ("p/c",), SPEC, (0,), None, None, False)
    assert estimates.model_rows([unknown])[0]["gpu_hours"] == "" == estimates.model_rows([unknown])[0]["parameters"]
    assert estimates.arithmetic([unknown]) == ["Not in it: 1 whose network's operations are not known."]
    assert estimates.arithmetic([one, unknown])[-1].startswith("Not in it: 1")
    (tmp_path / NETWORKS).write_text("network,parameters,gflop\na,x,1\n")
    with pytest.raises(RescoreError, match=r"networks.csv, line 2: "):
        read_networks(tmp_path / NETWORKS)


@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_the_committed_sizes_are_those_of_the_configs(scale):
    """Each network has one; `rescore plan --scale SCALE --write` adds those of new configs. The cheapest is counted again."""
    plans = estimates.known_plans(load_suite({"scale": scale}), read_networks(ROOT / "results" / "reference" / NETWORKS))
    on_gpu = [one for one in plans if one.spec.gpu]
    assert [one.names for one in on_gpu if one.gflop is None] == []
    least = min(on_gpu, key=lambda one: one.gflop)
    assert (least.parameters, least.gflop) == network_cost(least.spec)


def test_published_weights_cost_no_training():
    spec = validated(ModelSpec, SPEC.model_dump(mode="json") | {"weights": {"source": "edm", "name": "x.pkl"}}, "spec")
    one = ModelPlan("key", ("p/a",), spec, (0, 1), 10, 7.5, False)
    assert one.gpu_hours(100.0) == 0.0 and estimates.model_rows([one])[0]["state"] == "published weights"


def test_shapes_are_those_of_the_files():
    for name in ("digits", "brick-8x4", "textures-8x8"):
        assert image_shape(name) == load_images(name, SPLITS[name][-1]).shape
    assert image_shape("lhq64-half") == (3, 64, 32) and image_shape("tower32-quarter") == (3, 16, 16)
    assert {len(image_shape(name)) for name in SPLITS} == {3}
    with pytest.raises(RescoreError, match="'npz' is not known without its files"):
        image_shape("npz")


@pytest.fixture
def nothing_at_hand(monkeypatch, tmp_path):
    monkeypatch.delenv("RESCORE_DATA", raising=False)
    monkeypatch.delenv("RESCORE_INCEPTION", raising=False)
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))


def test_needs_are_data_and_judges_of_the_jobs_that_are_asked_for(nothing_at_hand):
    content = {
        "models": {"a": SPEC.model_dump(mode="json", exclude={"snapshots"}) | {"data": "cifar10"}},
        "evaluation": {"features": "inception"},
        "jobs": {"j": {"models": ["a"]}, "none": {}},
    }
    config = validated(Jobs, content, "gpu.yaml")
    found = {need.name: need for need in needs(config)}
    assert list(found) == ["cifar10/train", "cifar10/test", "inception"]
    assert not any(need.at_hand for need in found.values())
    assert (found["inception"].megabytes, found["cifar10/test"].megabytes) == (91, 162)
    assert needs(config, ["none"]) == []


class Jobs(ModelConfig):
    jobs: dict[str, ModelJob] = {}


@pytest.mark.parametrize(
    ("scale", "paper", "expected"),
    [
        ("paper", "pis", {"pines"}),
        ("paper", "soft_diffusion", {"celeba64/train", "celeba64/test", "inception"}),
        ("laptop", "diffcollage", {"BasicMotions"}),
    ],
)
def test_needs_of_papers(nothing_at_hand, scale, paper, expected):
    found = {need.name: need for need in plan.all_needs(load_suite({"scale": scale, "papers": paper}))}
    assert expected <= set(found)
    assert found.get("celeba64/train", SimpleNamespace(get=None)).get is None, "it is not downloaded"


def test_fetching_goes_on_where_one_is_missing_or_damaged(capsys):
    got = []

    def fails(error):
        raise error

    found = [
        Need("a", False, lambda: got.append("a")),
        Need("b", False, lambda: fails(MissingData("no connection"))),
        Need("c", True, lambda: fails(RescoreError("c: wrong checksum"))),
        Need("d", False, None, "d/*.png"),
        Need("e", True, None),
        Need("f", True, lambda: got.append("f")),
    ]
    assert plan.fetch(found) == {
        "b": "no connection",
        "c": "damaged: c: wrong checksum",
        "d": "it is not downloaded; put d/*.png under RESCORE_DATA",
    }
    assert got == ["a", "f"] and "b: absent" in capsys.readouterr().out


def test_plan_and_fetch_are_commands(nothing_at_hand, capsys, monkeypatch):
    assert main(["plan", "--scale", "gpu", "--paper", "deis"]) == 0
    out = capsys.readouterr().out
    assert "models: 1" in out and "deis/vp" in out and "22.17 M" in out and "inception" not in out
    assert "1 x 2000 a sampler" in out and "1 x 500" in out and "Estimate, not measured" in out
    monkeypatch.setattr(needing, "load_images", lambda name, split: None)
    assert main(["fetch", "--scale", "gpu", "--paper", "deis"]) == 0
    assert "2 of 2 needs of scale gpu are here" in capsys.readouterr().out
    monkeypatch.setattr(needing, "load_images", lambda name, split: (_ for _ in ()).throw(MissingData(f"no {name}")))
    assert main(["fetch", "--scale", "gpu", "--paper", "deis"]) == 1
    assert "cifar10/train: no cifar10" in capsys.readouterr().err


# a model is named by its paper's name for it


def test_models_have_names_and_keys():
    suite = load_suite({"scale": "gpu"})
    key = suite.model_key("deis/vp")
    assert key == suite.model_key("gddim/vp") == suite.model_key(key) and key in suite.models
    with pytest.raises(RescoreError, match="unknown model at scale gpu 'deis/vq'; allowed: deis/vp, "):
        suite.model_key("deis/vq")


def test_a_training_looks_for_what_its_jobs_will_need_before_it_starts(monkeypatch, tmp_path, capsys):
    events = []
    monkeypatch.setattr(train, "load_images", lambda *_: events.append("data"))
    monkeypatch.setattr(train, "_train", lambda *_: events.append("train"))
    monkeypatch.setattr(train, "claim_gpus", lambda count: events.append(f"{count} GPU") or torch.no_grad())

    def none():
        events.append("inception")
        raise MissingData("Inception weights: not at hand; set RESCORE_INCEPTION")

    monkeypatch.setattr(needing, "find_inception", none)
    args = SimpleNamespace(scale="paper", results=tmp_path, root=None, keys=["cld/cld-m1"])
    train.main_train(args)
    assert events == ["data", "inception", "1 GPU", "train"]
    warning = "cld cld-m1 will not judge samples of this model: Inception weights: not at hand; set RESCORE_INCEPTION"
    assert warning in capsys.readouterr().err


def test_a_training_without_its_data_says_so_and_starts_nothing(monkeypatch, tmp_path):
    def none(*_):
        raise MissingData("cifar10/train: not at hand; set RESCORE_DATA")

    monkeypatch.setattr(train, "load_images", none)
    monkeypatch.setattr(train, "claim_gpus", None)
    train.main_train(SimpleNamespace(scale="gpu", results=tmp_path, root=None, keys=["deis/vp"]))
    (found,) = (tmp_path / "gpu" / "models").glob("*/missing.json")
    assert json.loads(found.read_text())["missing"] == "cifar10/train: not at hand; set RESCORE_DATA"


# published networks


def test_published_networks_beside_training_them():
    """DEIS: 50 printed numbers from 1,015 evaluations of DDPM++ for 3 x 50,000 images, against 1.3 M steps of 128 images."""
    suite = load_suite({"scale": "paper", "papers": "deis"})
    models = plan.model_plans(suite)
    (found,) = plan.sampling_plans(suite, models)
    gflop = {one.names[0]: one.gflop for one in models}["deis/vp"]
    assert (found.printed, found.cells, found.jobs) == (50, 50, tuple(f"trained-{k}" for k in range(1, 9)))
    assert found.gflop == pytest.approx(1015 * 150_000 * gflop)
    assert found.training == plan.trained_here(models) == pytest.approx(3 * 1_300_000 * 128 * gflop)
    (row,) = plan.sampling_rows([found])
    assert row["jobs"] == "trained-1 ... trained-8"
    assert row["gpu_hours"] == f"{found.gflop / 1e5 / 3600:.1f} to {found.gflop / 5e4 / 3600:.1f}"
    first, second = plan.routes([found], models)
    assert first.startswith("Published networks: 50 printed numbers in 8 jobs, ") and plan.hours(found.training) in second
    block = plan.plan_block([suite])
    assert f"| paper |  |  | 50 | {row['gpu_hours']} | {plan.hours(found.training)} |" in block and "not measured" in block
    assert not plan.routes([], models) and plan.sampling_plans(load_suite({"scale": "gpu", "papers": "deis"}), models) == []


def test_a_job_says_how_many_sets_of_samples_it_makes():
    """One of each training; of a single one its samplings, and of published weights its runs."""
    rows = {row["job"]: row for row in estimates.job_rows(load_suite({"scale": "paper", "papers": "deis"}))}
    assert (rows["trained-1"]["samples"], rows["trained-1"]["likelihoods"]) == ("3 x 50000 a sampler", "3 x 10000")
    assert rows["trained-here"]["samples"] == "1 x 50000 a sampler"
    evaluation = Evaluation(runs=3, samplings=2)
    assert [evaluation.sets(*of) for of in ((1, True), (1, False), (4, True), (4, False))] == [3, 2, 4, 4]


def test_needs_name_published_files_and_their_page(nothing_at_hand):
    found = {need.name: need for need in plan.all_needs(load_suite({"scale": "paper", "papers": "deis"}))}
    need = found["weights/score_sde/vp/cifar10_ddpmpp_continuous/checkpoint_8.pth"]
    assert not need.at_hand and need.get is None and "github.com/yang-song/score_sde_pytorch" in need.place


def test_diffflows_gpu_config_is_an_hour_at_most():
    """Drift and score are evaluated forward, again in the replay, and differentiated at twice a pass's operations: 8 passes."""
    config = load_config(load_paper("diffflow"), "gpu")
    images, training = config.images, config.images.training
    with torch.device("meta"):
        network = make_network(images.network, images.network_settings, 1, images.side, 0)
        with FlopCounterMode(display=False) as count, torch.no_grad():
            network(torch.empty(1, 1, images.side, images.side), torch.empty(1))
    steps = sum(n * share for n, share in training.progressive.items())
    gflop = len(config.seeds) * training.steps * training.batch * steps * 8 * count.get_total_flops() / 1e9
    assert steps == pytest.approx(12) and gflop == pytest.approx(1.8e8, rel=0.05)
    assert 0.4 < gflop / (estimates.SPEED[1] * 1e3) / 3600 < gflop / (estimates.SPEED[0] * 1e3) / 3600 < 1.05
