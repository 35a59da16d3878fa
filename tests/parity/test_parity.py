"""Every golden number of the authors' code against the library, and the table of it."""

import csv
import json
import shutil
from functools import cache

import pytest
import torch
from failures import failure
from rescore.cli import main
from rescore.errors import MissingData, RescoreError
from rescore.files import load_tensors, save_tensors
from rescore.parity import compare
from rescore.parity.compare import compare_all, comparisons
from rescore.parity.table import Played, Row, Sheet, golden_folder, read_sheet

FOLDER = golden_folder()
NAMES = [path.stem for path in sorted(FOLDER.glob("*.safetensors"))]
ROWS = {  # of each file: one that is lost is noticed
    "cld_checkpoint_tiny_expected": 1,
    "cld_coefficients": 33,
    "cld_likelihood": 2,
    "cld_losses": 2,
    "cld_network": 4,
    "cld_samplers": 25,
    "deis": 103,
    "diffcollage": 30,
    "diffflow": 27,
    "edm_network": 2,
    "gddim_blurring": 21,
    "gddim_cld": 75,
    "gddim_network": 2,
    "ncsn_losses": 4,
    "ncsn_network": 1,
    "ncsnv2_langevin": 2,
    "ncsnv2_network": 1,
    "pis_funnel_grad": 7,
    "pis_lgcp": 6,
    "pis_nine_modes_nn": 6,
    "pis_targets": 9,
    "score_sde_checkpoint_tiny_expected": 2,
    "score_sde_ddpm": 5,
    "score_sde_ddpmpp_vp": 3,
    "score_sde_likelihood": 18,
    "score_sde_losses": 26,
    "score_sde_ncsnpp_ve_continuous": 1,
    "score_sde_ncsnpp_ve_discrete": 2,
    "score_sde_ncsnpp_vp": 1,
    "score_sde_ode_sampler": 12,
    "score_sde_pc_samplers": 40,
    "score_sde_single_steps": 24,
}


@cache
def rows(name: str) -> list[Row]:
    sheet = read_sheet(FOLDER, name)
    comparisons()[name](sheet)
    return sheet.rows


def test_every_file_is_compared_and_every_comparison_has_a_file():
    assert set(NAMES) == set(ROWS)
    assert set(comparisons()) - set(NAMES) == {"pis_funnel_nn", "pis_nine_modes_grad"}, "those not carried"


@pytest.mark.parametrize("name", NAMES)
def test_golden_numbers(name):
    found = rows(name)
    off = [f"{row.quantity}: {row.difference:.3g} (allowed {row.tolerance:g})" for row in found if row.verdict == "off"]
    assert not off, "\n".join(off)
    assert len(found) == ROWS[name]
    assert len({row.quantity for row in found}) == len(found), "each row has a name of its own"


@pytest.mark.parametrize(
    ("name", "quantity", "least"),
    [
        ("score_sde_pc_samplers", "vp/euler_maruyama/none/denoised, Table 3's sampler", 0.03),
        ("score_sde_ode_sampler", "vp, adaptive flow at 1e-07, denoised", 1e-4),
        ("cld_samplers", "sscs/10/quadratic/denoised/beta_0.1_6.9", 0.05),
        ("gddim_cld", "covariance, lambda 1", 1.0),
        ("gddim_cld", "R by Euler's method", 5e-3),
        ("pis_targets", "funnel of the paper, energy", 0.01),
        ("diffflow", "varying g, loss as a likelihood", 0.1),
        ("diffcollage", "average on a chain, sigma 1", 0.4),
        ("diffcollage", "circle, sigma 1", 0.05),
        ("score_sde_losses", "vp/likelihood/mean, t = 1e-5", 5e-3),
    ],
)
def test_where_we_differ_on_purpose_we_do_differ(name, quantity, least):
    """A change that would bring us to the original's fault is noticed too."""
    (row,) = [row for row in rows(name) if row.quantity == quantity]
    assert row.verdict == "explained" and row.difference > least and row.reason


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("score_sde_ode_sampler", "ve, adaptive flow at 1e-07, denoised"),
        ("score_sde_pc_samplers", "vp/euler_maruyama/none/denoised"),
        ("score_sde_pc_samplers", "ve/reverse_diffusion/langevin1/denoised, Table 3's sampler"),
        ("cld_samplers", "sscs/10/quadratic/denoised/beta_0.1_6.9, both halves as their first"),
        ("deis", "tab3 on t2, 5 steps, samples with their weights"),
        ("gddim_cld", "samples with their weights, R2/10"),
        ("diffcollage", "average on a chain times pieces, sigma 1"),
        ("diffcollage", "circle, sigma 1, away from the seam"),
    ],
)
def test_with_their_fault_put_in_we_agree(name, quantity):
    (row,) = [row for row in rows(name) if row.quantity == quantity]
    assert row.verdict == "within"


# the table


def sheet(**tensors: torch.Tensor) -> Sheet:
    return Sheet("made", {"repository": "a/b", "functions": ["f.py: f"]}, tensors)


def test_verdicts():
    made = sheet(x=torch.tensor([1.0, -4.0]))
    made.compare("same", torch.tensor([1.0, -4.0]), "x", 0.0)
    made.compare("relative to the largest", torch.tensor([1.2, -4.0]), "x", 0.04)
    made.compare("absolute", torch.tensor([1.2, -4.0]), "x", 0.1, absolute=True)
    made.compare("with a reason", torch.tensor([2.0, -4.0]), "x", 0.1, reason="because", bound=0.3)
    made.compare("more than the reason explains", torch.tensor([3.0, -4.0]), "x", 0.1, reason="because", bound=0.3)
    made.compare("not a number", torch.tensor([float("nan"), -4.0]), "x", 0.1, reason="because", bound=1e9)
    assert [row.verdict for row in made.rows] == ["within", "off", "off", "explained", "off", "off"]
    assert made.rows[1].difference == pytest.approx(0.05) and made.rows[2].difference == pytest.approx(0.2)
    assert made.rows[0].source == "a/b f.py: f"
    with pytest.raises(RescoreError, match=r"parity made, other: \(3,\) here, \(2,\) there"):
        made.compare("other", torch.ones(3), "x", 0.1)


def test_given_numbers_take_the_place_of_noise():
    played = Played(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.25]))
    assert played.integers(2, (2,)).tolist() == [1, 0]
    assert played.normal((2, 1)).tolist() == [[0.5], [0.25]]


def test_the_command_prints_and_writes_the_table(tmp_path, capsys, monkeypatch):
    only = {"ncsn_losses": comparisons()["ncsn_losses"]}
    monkeypatch.setattr(compare, "comparisons", lambda: only)
    assert main(["parity", "--out", str(tmp_path / "parity.csv")]) == 0
    said = capsys.readouterr().out
    assert "sliced score matching" in said and "4 within, 0 explained, 0 off; 4 in all" in said
    with open(tmp_path / "parity.csv", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [row["verdict"] for row in found] == ["within"] * 4
    assert found[0]["source"].startswith("ermongroup/ncsn losses/sliced_sm.py") and float(found[0]["tolerance"]) == 1e-12

    def wrong(made: Sheet) -> None:
        made.compare("wrong", made["ssm"] * 1.001, "ssm", 1e-6)

    monkeypatch.setattr(compare, "comparisons", lambda: {"ncsn_losses": wrong})
    assert main(["parity"]) == 1
    assert "0 within, 0 explained, 1 off; 1 in all" in capsys.readouterr().out


def test_without_golden_numbers_it_says_so(tmp_path, capsys, monkeypatch):
    with pytest.raises(
        MissingData, match="no golden numbers here; they are a part of the repository, not of the installed package"
    ):
        golden_folder(tmp_path)
    (tmp_path / "reproductions").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["parity"]) == 2
    assert "run in a checkout, or name their folder with --golden" in capsys.readouterr().err


SMALL = ("ncsn_losses", "cld_likelihood")


@pytest.fixture
def goldens(tmp_path):
    """A folder of two files of golden numbers and their index."""
    index = json.loads((FOLDER / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({name: index[name] for name in SMALL}))
    for name in SMALL:
        shutil.copy(FOLDER / f"{name}.safetensors", tmp_path)
    return tmp_path


def change(folder, name: str, **changes) -> None:
    """Other values in the index; None takes a key away."""
    index = json.loads((folder / "index.json").read_text())
    index[name] = {key: value for key, value in (index[name] | changes).items() if value is not None}
    (folder / "index.json").write_text(json.dumps(index))


def as_folder(folder) -> None:
    (folder / "cld_likelihood.safetensors").unlink()
    (folder / "cld_likelihood.safetensors").mkdir()


DAMAGE = {
    "index.json: not JSON": lambda folder: (folder / "index.json").write_text("{"),
    "index.json: expected an object; found list": lambda folder: (folder / "index.json").write_text("[]"),
    "index.json, key ncsn_losses: allowed: an object with": lambda folder: change(folder, "ncsn_losses", repository=None),
    "index.json, key cld_likelihood: allowed: an object with": lambda folder: change(folder, "cld_likelihood", functions="f"),
    "index.json, key goldens: allowed: an object with": lambda folder: (folder / "index.json").write_text('{"goldens": 3}'),
    "index.json: no entry for ncsn_losses.safetensors": lambda folder: (folder / "index.json").write_text("{}"),
    "ncsn_losses.safetensors: no such file": lambda folder: (folder / "ncsn_losses.safetensors").unlink(),
    "ncsn_losses.safetensors: not a safetensors file": lambda folder: (folder / "ncsn_losses.safetensors").write_bytes(b"cut"),
    "cld_likelihood.safetensors: Is a directory": as_folder,
}


@pytest.mark.parametrize(("told", "damage"), DAMAGE.items(), ids=DAMAGE)
def test_a_damaged_file_is_one_clear_error_before_anything_is_computed(goldens, monkeypatch, capsys, told, damage):
    def none(made: Sheet) -> None:
        raise AssertionError("compared")

    damage(goldens)
    monkeypatch.setattr(compare, "comparisons", lambda: dict.fromkeys(SMALL, none))
    assert main(["parity", "--golden", str(goldens)]) == 2
    assert capsys.readouterr().err.startswith(f"rescore: error: {goldens}/{told}")


def test_nothing_compared_is_not_all_right(goldens, capsys):
    for name in SMALL:
        (goldens / f"{name}.safetensors").unlink()
    (goldens / "index.json").write_text("{}")
    assert main(["parity", "--golden", str(goldens)]) == 2
    told = capsys.readouterr()
    assert f"{goldens}: no golden numbers here; allowed: " in told.err and "ncsn_losses" in told.err and not told.out


def test_a_file_of_other_numbers_is_one_clear_error(goldens):
    name, index = "ncsn_losses", json.loads((goldens / "index.json").read_text())
    (goldens / "index.json").write_text(json.dumps({name: index[name]}))
    for other in index.keys() - {name}:
        (goldens / f"{other}.safetensors").unlink()
    tensors = load_tensors(goldens / f"{name}.safetensors")
    save_tensors(goldens / f"{name}.safetensors", {"other": torch.zeros(1)})
    assert failure(list, compare_all(goldens)).startswith(f"{goldens / name}.safetensors: no tensor ")
    save_tensors(goldens / f"{name}.safetensors", tensors)
    change(goldens, name, functions=["only one"])
    assert failure(list, compare_all(goldens)).startswith(f"{goldens / 'index.json'}, {name}: 1 functions; ")


def test_the_index_names_the_source_of_every_file():
    index = json.loads((FOLDER / "index.json").read_text())
    assert set(index) == set(NAMES)
    assert all(one["repository"].count("/") == 1 and len(one["commit"]) == 40 and one["functions"] for one in index.values())
