"""A model whose data are missing is not trained, and its jobs say so instead of failing. No test touches the network."""

from contextlib import nullcontext

import pytest
from rescore.cli import main
from rescore.files import atomic_write
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.ledger.records import read_records, read_skipped
from rescore.models import train
from rescore.papers import load_config, load_paper
from rescore.workflow import suite as workflow

DEIS = load_paper("deis")
(MODEL,) = load_config(DEIS, "gpu").job_trainings("trained").values()


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("requests.get", refuse)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def test_without_data_jobs_are_skipped_with_the_reason(nothing_at_hand, capsys):
    """On a machine without a GPU, which these jobs ask for: none is needed to say that nothing can be done."""
    options = ["--scale", "gpu", "--results", str(nothing_at_hand)]
    assert not main(["train", MODEL.key, *options])
    folder = nothing_at_hand / "gpu" / "models" / MODEL.key
    assert [path.name for path in folder.iterdir()] == ["missing.json"]
    assert "could not be downloaded (no network)" in workflow.missing_data(folder)
    assert f"model {MODEL.key} is not trained: cifar10/train" in capsys.readouterr().err

    assert not main(["run", "deis", "measure", "--job", "trained", *options])
    job = nothing_at_hand / "gpu" / "deis" / "trained"
    (row,) = read_skipped(job / "skipped.csv")
    assert row["dataset"] == "cifar10" and "no network" in row["reason"]
    assert read_records(job / "records.csv") == []
    table = diff([], read_published(DEIS.folder / "published.csv", "deis"), {"deis": DEIS}, [row])
    assert table[table["dataset"] == "cifar10"]["note"].str.contains("no network").all()
    assert not main(["figures", "deis", *options])


def test_a_model_trained_by_hand_is_missing_no_more(nothing_at_hand, monkeypatch):
    """Its data have come, and `rescore train` is called, not the DAG, which removes the folder first."""
    command = ["train", MODEL.key, "--scale", "gpu", "--results", str(nothing_at_hand)]
    assert not main(command)
    folder = nothing_at_hand / "gpu" / "models" / MODEL.key
    assert workflow.missing_data(folder)
    monkeypatch.setattr(train, "load_images", lambda name, split: None)
    monkeypatch.setattr(train, "_look_for_judges", lambda suite, key: None)
    monkeypatch.setattr(train, "claim_gpus", lambda gpu: nullcontext())
    kept = {}

    def trained(trainings, folder, states):
        kept.update(states)
        atomic_write(folder / "0" / "about.json", "{}")

    monkeypatch.setattr(train, "_train", trained)
    assert not main(command)
    runs = nothing_at_hand / "gpu" / "runs"
    assert kept == {seed: runs / f"model-{one.key}" for seed, one in MODEL.members.items()}, "a node of more seeds has them too"
    assert workflow.missing_data(folder) is None and [path.name for path in folder.iterdir()] == ["0"]


def test_a_key_that_no_config_has_is_named_with_those_there_are(nothing_at_hand, capsys):
    assert main(["train", "0123456789ab", "--scale", "gpu", "--results", str(nothing_at_hand)]) == 2
    said = capsys.readouterr().err
    assert "unknown model at scale gpu '0123456789ab'; allowed: " in said and MODEL.key in said


def test_models_are_trained_once_their_data_appear(nothing_at_hand, monkeypatch, capsys):
    main(["train", MODEL.key, "--scale", "gpu", "--results", str(nothing_at_hand)])
    folder = nothing_at_hand / "gpu" / "models" / MODEL.key
    suite = workflow.load_suite({"scale": "gpu", "results": str(nothing_at_hand)})
    suite.forget(suite.models)
    assert folder.is_dir(), "nothing has changed"
    monkeypatch.setattr(workflow, "images_at_hand", lambda name, split: True)
    suite.forget(suite.models, dry=True)
    assert folder.is_dir() and MODEL.key in capsys.readouterr().err, "a dry run changes nothing"

    def another_user_s(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(workflow.shutil, "rmtree", another_user_s)
        suite.forget(suite.models)
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "missing_data", another_user_s)
        suite.forget(suite.models)
    assert folder.is_dir()
    suite.forget(suite.models)
    assert not folder.exists()
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "weights.safetensors").write_text("weights")
    suite.forget(suite.models)
    assert folder.is_dir(), "a trained model stays"
