"""A spec that names published weights: its key and protocol, its node of the DAG, and a whole chain to a judged row."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from imported_case import GOLDEN, write_score_sde
from rescore.cli import main
from rescore.config import config_hash, validated
from rescore.errors import RescoreError
from rescore.files import sha256
from rescore.ledger.diff import diff
from rescore.ledger.protocol import parse_protocol
from rescore.ledger.published import read_published
from rescore.ledger.records import read_records, read_skipped
from rescore.models.build import load_model
from rescore.networks import make_network
from rescore.papers import load_config, load_paper
from rescore.specs import model as specs
from rescore.specs.model import ModelSpec, Trainings
from rescore.workflow.suite import load_suite

CHECKPOINT = GOLDEN / "cld_checkpoint_tiny.pth"
DIGEST = sha256(CHECKPOINT)
WEIGHTS = {"source": "cld", "name": "tiny.pth", "sha256": DIGEST}
SPEC = {
    "data": "brick-16x16",
    "process": {"name": "CLD"},
    "objective": {"name": "hsm"},
    "steps": 3,
    "weights": WEIGHTS,
    "network": {
        "name": "ncsnpp",
        "level": "time",
        "settings": {
            "width": 8,
            "multipliers": [1, 2],
            "blocks": 1,
            "attention": [8],
            "scale_by_sigma": False,
            "unit_input": False,
        },
    },
}


def spec(**other) -> ModelSpec:
    return validated(ModelSpec, SPEC | other, "spec")


def test_keys_of_specs_without_weights_are_as_before(monkeypatch):
    """Those of the committed configs, from before specs could name weights, at the version of the training that was then.

    DEIS's has since been given the mean over dimensions, and snapshots.
    """
    monkeypatch.setattr(specs, "TRAINING_VERSION", 2)
    kept = {
        ("deis", "smoke", "vp"): "07bf857fa976",
        ("deis", "paper", "vp-trained-here"): "8c0c0aa17b83",
        ("cld", "laptop", "cld"): "431d718061da",
        ("lcss", "laptop", "ve_lcss"): "0169fccbcfc6",
    }
    for (paper, scale, model), key in kept.items():
        assert load_config(load_paper(paper), scale).models[model].key == key


def test_a_key_is_of_the_weights_and_of_no_seed():
    assert spec().key == spec(seed=5).key
    assert spec().key != spec(weights=WEIGHTS | {"sha256": "0" * 64}).key != spec(weights=None).key
    assert spec(weights=None).key == config_hash(
        validated(ModelSpec, {k: v for k, v in SPEC.items() if k != "weights"}, "x"), f"training {specs.TRAINING_VERSION}"
    )


def test_the_protocol_claims_no_training_of_ours():
    assert spec().protocol == {"weights": f"cld {DIGEST[:8]} 3", "network": "ncsnpp"}
    assert spec(weights=WEIGHTS | {"sha256": None}).protocol["weights"] == "cld unpinned 3"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"source": "song"}, "score_sde"),
        ({"sha256": "abc"}, "sha256"),
        ({"name": "../up.pth"}, "without '..'"),
        ({"name": "/x"}, "name"),
        ({"page": "here"}, "page"),
    ],
)
def test_wrong_weights_of_a_spec(wrong, said):
    with pytest.raises(RescoreError, match=said):
        spec(weights=WEIGHTS | wrong)


# the node


TINY = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [4]}
CONFIG = """from rescore.specs.config import ModelConfig, ModelJob


class Config(ModelConfig):
    jobs: dict[str, ModelJob]
"""
JOBS = """from rescore.models.evaluate import Sampling, TrainedModels
from rescore.processes import grids
from rescore.samplers import tab_deis


def cells(book):
    models = TrainedModels(book)
    process = models.process("vp")
    sampler = tab_deis(process, grids.quadratic(process, 4), 1)
    models.measure([Sampling("1", "tAB-DEIS", "order=1", "vp", sampler, {"grid": "quadratic"})], "tiny", ("fid",))
    models.training()


SECTIONS = {"cells": cells}
"""
PAPER = """title: Tiny
citation: Nobody. Tiny. 2026.
protocols:
  - stated: {weights: score_sde DIGEST 400001, grid: quadratic, steps: 4}
"""
SMOKE = """training_seeds: [0, 1, 2]
evaluation: {samples: 80, classifier_steps: 30}
models:
  vp: {data: digits, process: {name: VP}, steps: 400001, weights: {source: score_sde, name: vp/tiny.pth, sha256: DIGEST},
       network: {name: ddpmpp, settings: {width: 8, multipliers: [1, 2], blocks: 1, attention: [4]}}}
jobs:
  all: {measure: [cells], models: [vp]}
"""
PUBLISHED = "paper,table,dataset,method,variant,metric,nfe,value,uncertainty,direction,source,note\n"


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """A repository of one paper whose model is of published weights, and the published file, not yet where it should be."""
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "data"))
    network = make_network("ddpmpp", TINY, 1, 8, 3)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    digest = sha256(write_score_sde(tmp_path / "tiny.pth", network, 400001))
    folder = tmp_path / "repository" / "reproductions" / "tiny"
    (folder / "configs").mkdir(parents=True)
    files = {
        "config.py": CONFIG,
        "jobs.py": JOBS,
        "paper.yaml": PAPER.replace("DIGEST", digest[:8]),
        "configs/smoke.yaml": SMOKE.replace("DIGEST", digest),
        "published.csv": PUBLISHED,
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    return tmp_path


def options(places: Path) -> list[str]:
    return ["--scale", "smoke", "--root", str(places / "repository"), "--results", str(places / "results")]


def the_node(places: Path) -> tuple[str, Trainings]:
    ((key, of),) = load_suite({"scale": "smoke", "results": str(places / "results")}, places / "repository").models.items()
    return key, of


def test_without_the_file_the_node_says_where_to_get_it_and_its_job_is_skipped(places, capsys):
    key, _ = the_node(places)
    assert main(["train", key, *options(places)]) == 0
    folder = places / "results" / "smoke" / "models" / key
    reason = json.loads((folder / "missing.json").read_text())["missing"]
    assert (
        "weights of score_sde, vp/tiny.pth: not at hand; get them from https://github.com/yang-song/score_sde_pytorch" in reason
    )
    assert main(["run", "tiny", "measure", "--job", "all", *options(places)]) == 0
    (row,) = read_skipped(places / "results" / "smoke" / "tiny" / "all" / "skipped.csv")
    assert row["reason"] == reason

    suite = load_suite({"scale": "smoke", "results": str(places / "results")}, places / "repository")
    suite.forget(suite.models)
    assert folder.is_dir(), "nothing has changed"
    (places / "data" / "weights" / "score_sde" / "vp").mkdir(parents=True)
    shutil.copy(places / "tiny.pth", places / "data" / "weights" / "score_sde" / "vp" / "tiny.pth")
    suite.forget(suite.models)
    assert not folder.exists()


def test_a_chain_from_a_checkpoint_to_a_judged_row(places, capsys):
    """Import, node, cells of DEIS, records, verdict: judged with these weights in the protocol, indicative with others."""
    assert main(["import", "score_sde", str(places / "tiny.pth"), "--side", "8"]) == 0
    key, of = the_node(places)
    assert main(["train", key, *options(places)]) == 0
    folder, seeds = places / "results" / "smoke" / "models" / key, ("0", "1", "2")
    assert sorted(path.name for path in folder.iterdir()) == list(seeds)
    model = load_model(of.spec, folder / "2" / "weights.safetensors", (1, 8, 8), "cpu")
    ours = torch.load(places / "tiny.pth", weights_only=True)["ema"]["shadow_params"]
    assert torch.equal(model.network.network.time[1].weight, ours[0]), "the averaged weights, not the zeros of the model"
    about = json.loads((folder / "0" / "about.json").read_text())
    digest = sha256(places / "tiny.pth")
    assert about["weights"] == {"source": "score_sde", "file": f"{digest}.safetensors", "sha256": digest, "step": 400001}

    assert main(["run", "tiny", "measure", "--job", "all", *options(places)]) == 0
    records = read_records(places / "results" / "smoke" / "tiny" / "all" / "records.csv")
    (record,) = [one for one in records if one.metric == "fid"]
    assert not [one for one in records if one.table == "training"], "nothing was trained here"
    protocol = parse_protocol(record.protocol)
    assert protocol["weights"] == f"score_sde {digest[:8]} 400001"
    assert not [name for name in protocol if name.startswith("train") or name == "ema"]
    assert ".weights+" not in record.version
    assert (record.over, record.n_seeds, record.df) == ("runs", 3, 2) and record.stderr > 0

    for seed in seeds:  # as of a training here
        (folder / seed / "about.json").write_text(json.dumps(about | {"version": "0.1.0+gabc1234.torch2"}))
    assert main(["run", "tiny", "measure", "--job", "all", *options(places)]) == 0
    again = read_records(places / "results" / "smoke" / "tiny" / "all" / "records.csv")
    assert {one.version for one in again} == {f"{record.version}.weights+gabc1234"}

    published = places / "repository" / "reproductions" / "tiny" / "published.csv"
    wide = f"tiny,1,digits,tAB-DEIS,order=1,fid,4,{record.value:.1f},{10 * record.stderr + 1:.1f},lower,row 1,\n"
    published.write_text(PUBLISHED + wide)
    paper = load_paper("tiny", places / "repository")
    (row,) = diff([record], read_published(published, "tiny"), {"tiny": paper}).to_dict("records")
    assert row["status"] == "reproduced" and "differs" not in row["note"]
    other = replace(record, protocol=record.protocol.replace(f"score_sde {digest[:8]}", "score_sde unpinned"))
    (row,) = diff([other], read_published(published, "tiny"), {"tiny": paper}).to_dict("records")
    assert (
        row["status"] == "indicative"
        and f"weights=score_sde unpinned 400001 (published score_sde {digest[:8]} 400001)" in row["note"]
    )


def test_weights_of_another_network_fail_with_the_one_that_fits(places, capsys):
    main(["import", "score_sde", str(places / "tiny.pth"), "--side", "8"])
    config = places / "repository" / "reproductions" / "tiny" / "configs" / "smoke.yaml"
    config.write_text(config.read_text().replace("width: 8", "width: 16"))
    key, _ = the_node(places)
    assert main(["train", key, *options(places)]) == 2
    assert (
        "the network that would fit: {name: ddpmpp, settings: {width: 8, multipliers: [1, 2], blocks: 1, attention: [4]}}"
        in (capsys.readouterr().err)
    )
