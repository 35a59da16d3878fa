"""Files of results that are damaged, or another program's: one clear error, and what is sound is not lost with them."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from failures import failure, full_disk
from reports import COST
from rescore.cli import main
from rescore.corruptions import families
from rescore.corruptions.shortest_path import kept_schedule, wasserstein_schedule
from rescore.experiments.journal import Found, Journal
from rescore.files import load_tensors, save_arrays
from rescore.ledger.cost import read_proofs, run_costs
from rescore.ledger.diff import read_diff
from rescore.models.build import load_model
from rescore.models.train import read_about
from rescore.training.early_stopping import stopped_at_best
from rescore.workflow.paths import missing_data, model_folder, node_folder, training_commits
from rescore.workflow.suite import load_suite
from torch import nn

ABOUT = {"key": "a", "device": "a machine", "version": "0.1.0+gaaaaaaa.torch2.4", "spec": {"data": "digits"}}
ABOUT |= {"seconds": 3.0, "cpu_seconds": 2.0, "images_per_second": None, "peak_memory_mb": 5.0, "peak_gpu_memory_mb": 0.0}


# about.json


@pytest.fixture
def models(hostile, tmp_path):
    """A run with two trainings of a model; returns write(content), which puts it in place of the first one's `about.json`."""
    first, second = (tmp_path / "results" / "laptop" / "models" / "ab" / seed / "about.json" for seed in "01")
    for path in (first, second):
        path.parent.mkdir(parents=True)

    def write(content: str) -> Path:
        first.write_text(content)
        second.write_text(json.dumps(ABOUT | {"peak_memory_mb": 1234.5}))
        return first

    return write


SECONDS = json.dumps(ABOUT | {"seconds": "3"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "about.json: expected an object"),
        ('{"spec"', "about.json: not JSON"),
        (json.dumps(ABOUT | {"spec": ["digits"]}), "about.json, key spec: ['digits'] is not an object"),
        (SECONDS, "about.json, key seconds: '3' is not a finite number"),
        (json.dumps(ABOUT | {"peak_memory_mb": math.nan}), "about.json, key peak_memory_mb: nan is not a finite number"),
    ],
)
def test_a_training_that_is_not_told_costs_its_row_and_not_the_report(models, tmp_path, capsys, content, told):
    models(content)
    assert main(["report"]) == 0
    page = (tmp_path / "results" / "laptop" / "report" / "cost.html").read_text().replace("&#39;", "'")
    assert f"models/ab/0/{told}" in page
    assert 'data-order="1234.5"' in page, "the other training is shown"
    assert main(["report", "--so-far"]) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [('{"missing": 3}', ", key missing: 3 is not a text"), ("[]", ": expected an object"), (None, ": Is a dir")],
)
def test_so_does_a_reason_that_cannot_be_read(hostile, tmp_path, content, told):
    path = tmp_path / "results" / "laptop" / "models" / "ab" / "missing.json"
    path.parent.mkdir(parents=True)
    path.mkdir() if content is None else path.write_text(content)
    assert main(["report"]) == 0
    assert f"models/ab/missing.json{told}" in (tmp_path / "results" / "laptop" / "report" / "cost.html").read_text()


@pytest.mark.parametrize("content", ["[]", '{"spec"', SECONDS])
def test_what_counts_their_seconds_says_which_file_is_wrong(models, content, capsys):
    path = models(content)
    capsys.readouterr()
    assert main(["cost"]) == 2
    assert f"models/ab/0/{path.name}" in capsys.readouterr().err
    path.write_text(json.dumps(ABOUT))
    assert main(["cost"]) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], ": expected an object with version; found list"),
        ({}, ": expected an object with version; found no version"),
        ({"version": 3}, ", key version: 3 is not a text"),
        ({"version": None}, ", key version: None is not a text"),
    ],
)
def test_a_version_is_a_text(tmp_path, content, told):
    (tmp_path / "about.json").write_text(json.dumps(content))
    assert failure(training_commits, [tmp_path / "weights.safetensors"]) == f"{tmp_path / 'about.json'}{told}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"device": 3}, "device: 3 is not a text"),
        ({"images_per_second": "fast"}, "images_per_second: 'fast' is not a finite number"),
        ({"peak_gpu_memory_mb": math.inf}, "peak_gpu_memory_mb: inf is not a finite number"),
    ],
)
def test_what_a_training_took_is_numbers(tmp_path, change, told):
    weights, path = tmp_path / "weights.safetensors", tmp_path / "about.json"
    path.write_text(json.dumps(ABOUT))
    assert read_about(weights) == ABOUT
    path.write_text(json.dumps(ABOUT | change))
    assert failure(read_about, weights) == f"{path}, key {told}"


# other JSON


@pytest.mark.parametrize("content", [{"missing": 3}, {"missing": None}, {}, []])
def test_why_a_model_is_missing_is_a_text(tmp_path, content):
    (tmp_path / "missing.json").write_text(json.dumps(content))
    assert failure(missing_data, tmp_path).startswith(f"{tmp_path / 'missing.json'}")


@pytest.mark.parametrize("change", [{"paper": 3}, {"paper": [1]}, {"job": None}, {"seconds": math.nan}, {"version": 3}])
def test_a_job_s_cost_is_one_clear_error_or_right(tmp_path, change):
    path = tmp_path / "toy" / "mg" / "cost.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(json.loads(COST) | change))
    assert failure(run_costs, tmp_path).startswith(f"{path}, key {next(iter(change))}: ")


@pytest.mark.parametrize(
    "content", [{}, [], {"device": 3}, {"parameters": True}, {"training": {}}, {"training": [3]}, {"sampling": 3}]
)
def test_a_proof_is_one_clear_error_or_right(tmp_path, content):
    path, good = tmp_path / "proof-x.json", {"device": "x", "parameters": 1e6, "version": "v", "training": []}
    path.write_text(json.dumps(good))
    assert read_proofs(tmp_path) == []
    path.write_text(json.dumps(good | content if content and isinstance(content, dict) else content))
    text = failure(read_proofs, tmp_path)
    assert text.startswith(str(path)) and "not what `rescore proof` writes" in text and text.endswith(". Remove it")


@pytest.mark.parametrize("content", ["", "{", "{}", '["3"]', "[1, true]", "3"])
def test_stages_of_a_training_are_numbers(tmp_path, content):
    (tmp_path / "stages.json").write_text(content)
    text = failure(stopped_at_best, nn.Linear(1, 1), None, None, [1], tmp_path)
    assert text.startswith(f"{tmp_path / 'stages.json'}: ") and text.endswith(f"Remove {tmp_path} to train again")


# diff.csv


@pytest.mark.parametrize("nfe", ["1.5", "inf", "nan", "0", "-3", "ten", "1e30"])
def test_the_nfe_of_a_verdict_is_a_count(hostile, tmp_path, capsys, nfe):
    folder = tmp_path / "results" / "laptop"
    main(["tables", "--allow-broken"])
    path = folder / "diff.csv"
    text = path.read_text()
    assert read_diff(path)["nfe"].tolist() == [100] * 4
    path.write_text(text.replace(",HMC,,logz_bias,100,", f",HMC,,logz_bias,{nfe},"))
    assert path.read_text() != text
    capsys.readouterr()
    assert main(["report"]) == 2
    assert re.match(rf"rescore: error: .*diff.csv, line \d, column nfe: .*{re.escape(nfe)}", capsys.readouterr().err)
    path.write_text(text.replace(",HMC,,logz_bias,100,", ",HMC,,logz_bias,,"))
    assert read_diff(path)["nfe"].isna().sum() == 1


# a folder in place of a file


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("records.csv", ["report", "diff", "claims", "tables"]),
        ("skipped.csv", ["diff"]),
        ("diff.csv", ["report"]),
        ("claims.csv", ["report"]),
        ("parity.csv", ["report"]),
        ("toy/mg/records.csv", ["report"]),
        ("toy/mg/cost.json", ["report", "cost"]),
        ("models/ab/0/about.json", ["cost"]),
    ],
)
def test_a_folder_in_place_of_a_file_is_one_clear_error(hostile, tmp_path, capsys, name, commands):
    path = tmp_path / "results" / "laptop" / name
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)
    for command in commands:
        capsys.readouterr()
        assert main([command]) == 2
        assert capsys.readouterr().err == f"rescore: error: results/laptop/{name}: Is a directory\n"


# weights


def test_damaged_weights_of_a_model_are_made_again_by_the_advice_of_their_error(tmp_path, monkeypatch, capsys):
    """The checkpoints are kept elsewhere, so that nothing is trained a second time."""
    suite = load_suite({"scale": "smoke"})
    key = suite.model_key("lcss/ve_dsm")
    command = ["train", key, "--scale", "smoke", "--results", str(tmp_path)]
    folder = model_folder(tmp_path, "smoke", key)
    path = folder / "1" / "weights.safetensors"
    main(command)
    good = {name: value.clone() for name, value in load_tensors(path).items()}  # what is loaded is mapped, and would be cut too
    spec = suite.models[key].members[1]
    path.write_bytes(path.read_bytes()[:-1])
    text = failure(load_model, spec, path, (1, 8, 8), "cpu", node_folder(path))
    assert text.startswith(f"{path}: not the weights it should hold (not a safetensors file (")
    remove = Path(re.fullmatch(r".*\. Remove (.*) to train again", text)[1])
    assert remove == folder, "the node's output: a file of it that is gone is not missed by Snakemake (test_workflow)"
    shutil.rmtree(remove)
    main(command)
    again = load_tensors(path)
    assert good.keys() == again.keys() and all(torch.equal(good[name], again[name]) for name in good)
    load_model(spec, path, (1, 8, 8), "cpu")


def test_damaged_weights_of_a_staged_training_are_made_again_by_the_advice_of_their_error(tmp_path):
    folder, blank = tmp_path / "stages", nn.Linear(1, 1)

    def train_to(stop: int, _: Path) -> nn.Module:
        net = nn.Linear(1, 1)
        nn.init.constant_(net.weight, stop)
        return net

    def call() -> None:
        stopped_at_best(blank, train_to, blank.weight.item, [1, 2], folder)

    call()
    (folder / "best.safetensors").write_bytes(b"cut")
    text = failure(call)
    assert text.startswith(f"{folder / 'best.safetensors'}: ") and text.endswith(f" Remove {folder} to train again")
    shutil.rmtree(folder)
    call()
    assert blank.weight.item() == 1


# arrays


def test_a_damaged_schedule_is_computed_again(tmp_path, capsys):
    made = (families.Blur((8, 8), 4, 2.0), torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 0.1, 12, 4, 0.01)
    family, images, *rest = made
    expected, path, distances = wasserstein_schedule(*made)
    for damage in (None, b"", b"cut", "arrays"):
        if damage is not None:
            (file,) = tmp_path.glob("*.npz")
            save_arrays(file, {"times": np.zeros(2)}) if damage == "arrays" else file.write_bytes(damage)
        capsys.readouterr()
        found = kept_schedule(tmp_path, "x", family, images, *rest)
        assert (found[0], found[1]) == (expected, path) and np.array_equal(found[2], distances)
        told = capsys.readouterr().err
        assert ("the schedule is computed again" in told) == (damage is not None)
        assert damage is None or f"{file}: " in told
    assert kept_schedule(tmp_path, "x", family, images, *rest)[0] == expected
    assert "again" not in capsys.readouterr().err


def test_a_cell_that_finds_no_room_costs_no_other(tmp_path):
    """Neither those kept before it, nor, once there is room, itself."""

    def journal() -> Journal:
        return Journal(tmp_path, None, "cpu")

    large = Found(arrays={"x": np.random.default_rng(0).random(2**19)})
    journal().keep("first", Found(arrays={"x": np.ones(3)}, seconds=1.0))
    with full_disk():
        path = tmp_path / "cells" / f"second-{journal().code}.npz"
        assert failure(journal().keep, "second", large).startswith(f"{path}: File too large")
        text = failure(journal().keep, "third", Found(skipped=[{"reason": "x" * 2**22}]))
    assert text == f"{tmp_path / 'cells' / 'cells.jsonl'}: File too large"
    assert journal().get("first").arrays["x"].tolist() == [1, 1, 1]
    assert journal().get("second") is None and journal().get("third") is None
    journal().keep("second", large)
    assert journal().get("first").seconds == 1.0
    assert np.array_equal(journal().get("second").arrays["x"], large.arrays["x"])
