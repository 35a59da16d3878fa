"""The proof of a machine in its tiny form on the CPU: all of it runs, and `rescore cost` shows what it wrote."""

import json
import math

import pytest
import torch
from rescore import proof
from rescore.cli import main
from rescore.errors import RescoreError
from rescore.ledger.cost import read_proofs
from rescore.proof import TINY, WAYS, Size, prove


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    torch.compiler.reset()
    results = tmp_path_factory.mktemp("results")
    assert main(["proof", "--tiny", "--results", str(results)]) == 0
    torch.compiler.reset()
    return results


def test_every_part_measures(written):
    (path,) = written.glob("proof-*.json")
    found = json.loads(path.read_text())
    assert path.name.startswith("proof-cpu-") and found["kind"] == "cpu" and found["device"].startswith("cpu ")
    assert [one["way"] for one in found["training"]] == [way.name for way in WAYS]
    for one in found["training"]:
        assert one["images_per_second"] > 0 and one["first_step_seconds"] > 0
        assert one["tflops"] == pytest.approx(3 * found["gflop_an_image"] * one["images_per_second"] / 1e3)
    assert found["resume"]["largest_difference"] == 0.0 < 1e-4 <= found["resume"]["largest_change"]
    assert found["resume"]["save_seconds"] > 0 and found["resume"]["load_seconds"] > 0
    assert 0 < found["sampling"]["share_of_the_sampler"] < 1 and found["sampling"]["steps_per_second"] > 0
    assert 0.001 < found["likelihood"]["graph_mb_an_image"] < 10
    assert found["fid"] == {"features": 12, "seconds": found["fid"]["seconds"]}
    assert all(math.isfinite(value) for value in found["fid"].values())
    assert found["failed"] == {}


def test_cost_shows_it_without_any_job(written, capsys):
    assert main(["cost", "--results", str(written), "--scale", "gpu"]) == 0
    out = capsys.readouterr().out
    assert "bf16, compiled, channels last" in out and "1 machine, as `rescore proof` measured them" in out
    assert len(read_proofs(written)) == len(WAYS)


def test_a_part_that_fails_costs_no_other(monkeypatch, tmp_path, capsys):
    def fails(*_: object) -> None:
        raise RuntimeError("no memory")

    for part in ("likelihood", "resume", "sampling"):
        monkeypatch.setattr(proof, part, fails)
    monkeypatch.setattr(proof, "WAYS", WAYS[:2])
    assert main(["proof", "--tiny", "--results", str(tmp_path)]) == 1
    (path,) = tmp_path.glob("proof-*.json")
    found = json.loads(path.read_text())
    assert list(found["failed"]) == ["likelihood", "sampling", "resume"] and "fid" in found
    assert [one["way"] for one in found["training"]] == ["float32", "TF32"]
    told = capsys.readouterr()
    assert "likelihood failed: RuntimeError: no memory" in told.err and "TF32" in told.out


def test_a_later_call_measures_what_is_missing(written, monkeypatch, tmp_path, capsys):
    """Of an older record, which does not say of which code each part is, and is of the reference."""
    (path,) = written.glob("proof-*.json")
    found = json.loads(path.read_text())
    del found["versions"], found["sampling"], found["training"][1:]
    old = found["version"] = "0.0.9"
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / path.name).write_text(json.dumps(found))
    monkeypatch.setattr(proof, "WAYS", WAYS[:2])
    torch.compiler.reset()
    assert main(["proof", "--tiny", "--missing", "--results", str(tmp_path)]) == 0
    again = json.loads((tmp_path / path.name).read_text())
    assert again["training"][0] == found["training"][0] and again["training"][1]["way"] == "TF32"
    assert again["resume"] == found["resume"] and again["sampling"]["images"] == 4
    new = again["version"]
    assert again["versions"] == {"float32": old, "likelihood": old, "fid": old, "resume": old, "TF32": new, "sampling": new}
    assert [row["version"] for row in read_proofs(tmp_path)] == [old, new]
    (tmp_path / path.name).write_text(json.dumps(again | {"size": again["size"] | {"batch": 5}}))
    assert main(["proof", "--tiny", "--missing", "--results", str(tmp_path)]) == 2
    assert "of another size; without --missing all is measured anew" in capsys.readouterr().err


def test_a_file_that_is_no_proof_is_one_error(tmp_path):
    (tmp_path / "proof-x.json").write_text("{}")
    with pytest.raises(RescoreError, match="proof-x.json: .* found no device, .*: not what `rescore proof` writes. Remove it"):
        read_proofs(tmp_path)


def test_without_a_gpu_it_says_what_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RescoreError, match="torch sees none; `rescore proof --tiny` runs its tiny form on the CPU"):
        prove(Size(), "cuda", tmp_path)
    assert Size().spec().network.name == TINY.spec().network.name == "ddpmpp"
