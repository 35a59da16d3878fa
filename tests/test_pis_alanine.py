"""Table 5.2: divergences of torsions, and the rows, verdicts and claims of alanine dipeptide."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from measuring import as_records, book_of, configured, measured
from pinned import check_pinned
from rescore.errors import MissingData, RescoreError
from rescore.experiments.book import Result
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.montecarlo.hmc import tempered_log_prob
from rescore.montecarlo.metropolis import random_walk
from rescore.papers import load_config, load_paper
from rescore.random import fill_normal, make_generator
from test_pis_molecule import draws

PAPER = load_paper("pis", ROOT)
alanine, openmm_md, config = (PAPER.module(name) for name in ("alanine", "openmm_md", "config"))


# divergences


def test_the_divergence_of_torsions_is_on_the_scale_of_its_source():
    """For smooth densities 2.5 * 50 / (2 pi) times the KL divergence."""
    quantiles = (np.arange(200_000) + 0.5) / 200_000

    def tilted(a: float) -> np.ndarray:  # density (1 + a cos x) / (2 pi), by its quantiles
        grid = np.linspace(-math.pi, math.pi, 20_001)
        return np.interp(quantiles, (grid + math.pi + a * np.sin(grid)) / (2 * math.pi), grid)

    reference, model = tilted(0.6), tilted(-0.3)
    # the kernel leaves 0.9... of the first harmonic
    left = (0.5 * math.cos(2 * 2 * math.pi / 50) + math.cos(2 * math.pi / 50) + 1) / 2.5
    x = np.linspace(-math.pi, math.pi, 2_000, endpoint=False)
    h, g = ((1 + left * a * np.cos(x)) / (2 * math.pi) for a in (0.6, -0.3))
    expected = 2.5 * 50 / (2 * math.pi) * (h * np.log(h / g)).mean() * 2 * math.pi
    assert alanine.torsion_kl(reference, model) == pytest.approx(expected, rel=2e-3)
    assert alanine.torsion_kl(reference, reference) == 0
    assert alanine.torsion_kl(model, reference) != pytest.approx(expected, rel=0.02), "it is not symmetric"


def test_a_torsion_s_end_is_beside_its_beginning():
    near_end, near_beginning = np.full(10, math.pi - 0.01), np.full(10, -math.pi + 0.01)
    far = np.zeros(10)
    assert alanine.torsion_kl(near_end, near_beginning) < alanine.torsion_kl(near_end, far)
    h = alanine.histogram(near_end)
    width = 2 * math.pi / 50
    np.testing.assert_allclose(h[[-3, -2, -1, 0, 1]] * width, [0.25, 0.5, 1, 0.5, 0.25], rtol=1e-12)
    assert h[2:-3].max() == 0


def test_each_torsion_has_its_own_metric():
    reference, model = (np.random.default_rng(k).uniform(-3, 3, (500, 5)) for k in (0, 1))
    found = alanine.torsion_kls(reference, model)
    assert list(found) == ["kl_phi", "kl_psi", "kl_eta1", "kl_eta2", "kl_eta3"]
    assert found["kl_eta2"] == alanine.torsion_kl(reference[:, 3], model[:, 3])


# the sections

FLOW = {"family": "affine_autoregressive", "hidden": 8, "steps": 2, "batch": 10}
SETTINGS = {
    "particles": 30,
    "steps": 100,
    "runs": 6,
    "snf": {"blocks": 3, "hidden": [8], "moves": 2, "steps": 2, "batch": 5},
    "datasets": {
        "alanine_dipeptide": {
            "molecule": {"samples": 40, "md": {"trajectories": 3, "picoseconds": 1, "every": 100}},
            "pis": {"steps": 2, "batch": 5, "checkpoint_every": 2},
            "annealing": {
                "temperatures": 2,
                "hmc_steps": 1,
                "leapfrogs": 2,
                "step_sizes": [0.1, 0.1, 0.1, 0.1],
                "particles": 20,
            },
            "aft": FLOW,
            "vi_nf": FLOW,
        }
    },
    "jobs": {
        "x": {"measure": {"alanine_dipeptide": ["md", "nn", "smc", "vi_nf"]}},
        "snf": {"measure": {"alanine_dipeptide": ["snf"]}},
    },
}


def frames(
    start: np.ndarray,
    temperature: float,
    friction: float,
    step: float,
    picoseconds: float,
    every: int,
    settle: float,
    seed: int,
) -> openmm_md.Trajectory:
    """In the place of OpenMM: draws about the minimum."""
    of = alanine.make_molecule(config.Molecule())
    positions = of.positions(draws(of, round(1000 * picoseconds / step) // every, seed))
    return openmm_md.Trajectory(positions.numpy(), of.field.energy(positions).numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("alanine")


@pytest.fixture(scope="module")
def tiny(folder) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alanine, "simulate", frames)
        return measured(PAPER, configured(PAPER, SETTINGS), "x", folder)


@pytest.fixture(scope="module")
def snf(tiny, folder) -> Result:
    """Beside the others' results, whose dynamics it takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(alanine, "simulate")
        return measured(PAPER, configured(PAPER, SETTINGS), "snf", folder)


def test_trainings_of_another_density_are_other_trainings(tmp_path, monkeypatch):
    """Another number of samples, or other dynamics, take the weights that are there."""
    monkeypatch.setattr(alanine, "make_molecule", lambda settings: None)

    def folder(**molecule) -> Path:
        dataset = SETTINGS["datasets"]["alanine_dipeptide"]
        changed = {"alanine_dipeptide": dataset | {"molecule": dataset["molecule"] | molecule}}
        book = book_of(PAPER, configured(PAPER, SETTINGS | {"datasets": changed}), "x", tmp_path)
        return alanine.MoleculeStudy(book, "alanine_dipeptide").training_folder("nn", 0, {"steps": 2})

    others = {folder(temperature=300.0), folder(cut_at=100.0), folder(cut_most=1000.0)}
    assert len(others | {folder()}) == 4 and folder() == folder(samples=50) == folder(md={"trajectories": 4})


def test_jobs_side_by_side_simulate_each_trajectory_once(tmp_path, monkeypatch):
    """Three jobs need the reference: the second waits for the first, and a killed one goes on at its next trajectory."""
    seeds: list[int] = []

    def slow(*args: object) -> openmm_md.Trajectory:
        time.sleep(0.05)
        seeds.append(args[-1])
        if len(seeds) == 2:
            raise KeyboardInterrupt
        return frames(*args)

    monkeypatch.setattr(alanine, "simulate", slow)
    studies = [
        alanine.MoleculeStudy(book_of(PAPER, configured(PAPER, SETTINGS), "x", tmp_path), "alanine_dipeptide") for _ in range(3)
    ]
    with pytest.raises(KeyboardInterrupt):
        _ = studies[0].reference
    with ThreadPoolExecutor() as threads:
        found = list(threads.map(lambda study: study.reference["torsions"], studies))
    assert len(seeds) == 4 and seeds[1] == seeds[2] and len(set(seeds)) == 3
    assert all(np.array_equal(one, found[0]) for one in found) and len(found[0]) == 3


def test_rows_are_those_of_the_table(tiny):
    torsions = {f"kl_{name}" for name in ("phi", "psi", "eta1", "eta2", "eta3")}
    rows = {}
    for row in tiny.measurements:
        assert (row.table, row.dataset, row.n_seeds) == ("5.2", "alanine_dipeptide", 3)
        rows.setdefault((row.method, row.variant, row.nfe, row.over), set()).add(row.metric)
    assert rows == {
        ("MD", "each-from-others", None, "runs"): torsions | {"mean_energy"},
        ("PIS", "NN", 100, "trainings"): torsions | {"kl_all_atom"},
        ("SMC", "", None, "runs"): torsions | {"acceptance", "mean_energy"},
        ("VI-NF", "", None, "trainings"): torsions | {"kl_all_atom"},
    }
    assert tiny.skipped == [] and all(np.isfinite(array).all() for array in tiny.arrays.values())


def test_the_row_of_stochastic_flows_is_of_their_paths(snf, monkeypatch, tmp_path):
    rows = {row.metric: row for row in snf.measurements}
    torsions = {f"kl_{name}" for name in ("phi", "psi", "eta1", "eta2", "eta3")}
    assert set(rows) == torsions | {"kl_all_atom", "acceptance"} and snf.skipped == []
    row = rows["kl_all_atom"]
    assert (row.method, row.variant, row.nfe, row.over, row.n_seeds, row.n_samples) == ("SNF", "", None, "trainings", 3, 120)
    said = {"flow": "affine_coupling", "flow_blocks": 3, "flow_layers": 2, "flow_hidden": "8", "metropolis_steps": 2}
    said |= {"metropolis_size": 0.1, "train_steps": 2, "train_batch": 5, "train_lr": 0.001, "coordinates": "internal"}
    assert said == {key: row.protocol[key] for key in said}
    # untrained maps are the identity: three blocks of Metropolis moves, drawn and weighted by hand
    untrained = configured(PAPER, SETTINGS | {"snf": SETTINGS["snf"] | {"lr": 1e-30}})
    monkeypatch.setattr(alanine, "simulate", frames)
    again = {row.metric: row for row in measured(PAPER, untrained, "snf", tmp_path).measurements}
    target, bounds, shares = alanine.make_molecule(config.Molecule()), [], []
    for seed in range(3):
        streams = [make_generator("alanine_dipeptide", "snf", "samples", seed)]
        x = fill_normal(torch.empty(1, 40, 132), streams)
        log_w = -tempered_log_prob(x, 0.0, target.log_prob)
        for beta in (0.0, 0.5, 1.0):
            log_w += tempered_log_prob(x, beta, target.log_prob)
            x, share = random_walk(target, x, beta, 2, 0.1, streams)
            log_w -= tempered_log_prob(x, beta, target.log_prob)
        bounds, shares = [*bounds, -(log_w + target.log_prob(x)).mean().item()], [*shares, share.item()]
    assert again["kl_all_atom"].value == pytest.approx(np.mean(bounds), rel=1e-5)
    assert again["acceptance"].value == pytest.approx(np.mean(shares), abs=1e-9)
    assert row.value != pytest.approx(again["kl_all_atom"].value, rel=1e-6), "two steps of training move it"


def test_the_scale_paper_runs_stochastic_flows_under_the_declared_protocol():
    (declared,) = (one for one in PAPER.meta.protocols if one.match == {"table": "5.2", "method": "SNF"})
    run = PAPER.module("variational").stochastic_flow_protocol(load_config(PAPER, "paper").snf)
    assert declared.assumed == run and not declared.stated


def test_claims_compare_pis_with_stochastic_flows(tiny, snf):
    records = as_records(PAPER, tiny) + as_records(PAPER, snf)
    names = {"pis-lower-divergence-than-snf": ("kl_phi", "kl_psi"), "pis-lower-all-atom-divergence-than-snf": ("kl_all_atom",)}
    for name, metrics in names.items():
        (claim,) = (claim for claim in PAPER.module("claims").CLAIMS if claim.name == name)
        for shift, status in ((50.0, "holds"), (-50.0, "fails")):
            moved = [
                replace(one, value=shift * (one.method == "SNF") + 100, stderr=1.0) if one.metric in metrics else one
                for one in records
            ]
            (found,) = evaluate("pis", [claim], moved)
            assert found["status"] == status, (name, found)
            assert all(f"SNF/{metric}" in found["evidence"] for metric in metrics)


def test_printed_rows_are_shown_but_not_judged(tiny, snf):
    rows = [row for row in read_published(PAPER.folder / "published.csv", "pis") if row.table == "5.2"]
    verdicts = diff(as_records(PAPER, tiny) + as_records(PAPER, snf), rows, {"pis": PAPER})
    shown = verdicts[verdicts["status"] == "indicative"]
    assert len(rows) == 24 and set(zip(shown["method"], shown["metric"], strict=True)) == {
        (row.method, row.metric) for row in rows if (row.method, row.metric) != ("SMC", "kl_all_atom")
    }
    assert shown["note"].str.contains("coordinates=internal").all()
    others = verdicts[verdicts["status"] != "indicative"]
    assert set(others["status"]) == {"not-run"} and not others["note"].str.contains("OpenMM").any()


def test_numbers_are_what_they_were(tiny, snf):
    check_pinned("pis_alanine", tiny.measurements, tiny)
    check_pinned("pis_alanine_snf", snf.measurements, snf)


def test_divergences_are_from_the_pooled_dynamics(tiny):
    (value,) = (row.value for row in tiny.measurements if (row.method, row.metric) == ("MD", "kl_psi"))
    torsions = tiny.arrays["alanine_dipeptide/md/torsions"].reshape(3, -1, 5)
    expected = [alanine.torsion_kl(np.delete(torsions, k, 0)[..., 1].ravel(), torsions[k, :, 1]) for k in range(3)]
    assert value == pytest.approx(np.mean(expected), rel=1e-5)


def test_without_openmm_the_rows_are_skipped_with_the_reason(tmp_path, monkeypatch):
    def absent() -> None:
        raise MissingData("OpenMM is not installed")

    monkeypatch.setattr(openmm_md, "load_openmm", absent)
    jobs = {"x": {"measure": {"alanine_dipeptide": ["md", "nn"]}}}
    result = measured(PAPER, configured(PAPER, SETTINGS | {"jobs": jobs}), "x", tmp_path)
    assert result.skipped == [{"dataset": "alanine_dipeptide", "reason": "OpenMM is not installed"}]
    assert result.measurements == []


@pytest.mark.parametrize(("spec", "expected"), [(None, "absent"), ("a spec", "present")])
def test_a_job_runs_again_once_openmm_is_there(monkeypatch, spec, expected):
    monkeypatch.setattr(config, "find_spec", lambda name: spec if name == "openmm" else None)
    assert configured(PAPER, SETTINGS).data_fingerprint("x") == expected


def test_settings_and_methods_that_do_not_fit_are_clear_errors(tmp_path):
    with pytest.raises(RescoreError, match="unknown method of alanine_dipeptide 'gt'; allowed: "):
        job = {"x": {"measure": {"alanine_dipeptide": ["gt"]}}}
        measured(PAPER, configured(PAPER, SETTINGS | {"jobs": job}), "x", tmp_path)
    others = {"datasets": {"mg": SETTINGS["datasets"]["alanine_dipeptide"]}, "jobs": {}}
    with pytest.raises(RescoreError, match="datasets.mg.molecule: allowed: settings of alanine_dipeptide, and no others"):
        configured(PAPER, SETTINGS | others)
