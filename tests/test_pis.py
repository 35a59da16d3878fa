"""The PIS paper: its jobs and the protocols of its rows."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from pinned import check_pinned
from rescore.config import validated
from rescore.control import ControlledSDE, Paths
from rescore.errors import MissingData, RescoreError
from rescore.experiments.book import Result, Run
from rescore.experiments.journal import Measurement
from rescore.experiments.run import measure as run_sections
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import candidate_verdicts, diff
from rescore.ledger.protocol import format_protocol
from rescore.ledger.published import Published, read_published
from rescore.ledger.records import KEY, Record, describe, read_records, write_records
from rescore.montecarlo import pyro_chains
from rescore.papers import find_papers, load_config, load_paper
from rescore.targets import gaussian, named

PAPER = load_paper("pis", ROOT)
config, study, jobs, annealed, chains, theory = (
    PAPER.module(name) for name in ("config", "study", "jobs", "annealed", "chains", "theory")
)

TRAINING = {"steps": 4, "batch": 10, "checkpoint_every": 2}
ANNEALING = {"temperatures": 2, "hmc_steps": 2, "leapfrogs": 2, "step_sizes": [0.3, 0.3, 0.2, 0.2]}


def flow(family: str, steps: int) -> dict[str, object]:
    return {"family": family, "hidden": 8, "steps": steps, "batch": 20}


def dataset(family: str, **more: object) -> dict[str, object]:
    return {"pis": TRAINING, "annealing": ANNEALING, "aft": flow(family, 2), "vi_nf": flow(family, 4)} | more


TINY = {
    "seeds": [0, 1],
    "runs": 4,
    "particles": 50,
    "steps": 5,
    "noise_scale": {"steps": 3},
    "chains": {"chains": 2, "warmup": 3, "samples": 5},
    "datasets": {
        "mg": dataset("spline_autoregressive"),
        "rings": dataset("spline_autoregressive"),
        "funnel": dataset("affine_autoregressive"),
        "funnel1": dataset("affine_autoregressive"),
        "lgcp": dataset("diagonal_affine"),
        "lgcp_synthetic": dataset("diagonal_affine", side=4),
    },
    "jobs": {
        "all": {
            "measure": {
                "mg": ["gt", "nn", "grad", "importance", "importance_sizes", "smc", "aft", "vi_nf", "nuts", "hmc", "exact"],
                "funnel": ["noise_scale", "nn", "grad", "importance", "smc", "aft", "vi_nf", "nuts", "hmc", "exact"],
                "rings": ["nn", "grad", "smc", "vi_nf", "exact"],
                "funnel1": ["grad"],
                "lgcp_synthetic": ["noise_scale", "nn", "grad", "importance", "smc", "aft", "vi_nf", "hmc"],
            }
        },
        "lgcp": {"measure": {"lgcp": ["nn", "grad"], "mg": ["importance"]}},
        "wrong": {"measure": {"funnel": ["gt"]}},
    },
}


def run_of(folder: Path, job: str = "all") -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    return Run("pis", "smoke", job, folder, "cpu", 1)


def measure(folder: Path, job: str = "all", **changes: object) -> Result:
    settings = validated(config.Config, TINY | changes, "tiny.yaml")
    return run_sections(PAPER, settings, run_of(folder, job))


def as_record(row: Measurement, scale: str) -> Record:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__} | {"protocol": format_protocol(row.protocol)}
    return Record(paper="pis", scale=scale, device="cpu", version="0", config_hash="0" * 12, **values)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# every method


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("pis") / "runs" / "all"
    return folder, measure(folder)


def test_every_method_measures_finite_numbers(tiny, tmp_path):
    records = [as_record(row, "smoke") for row in tiny[1].measurements]
    write_records(tmp_path / "records.csv", records)  # refuses a key that appears twice and what is not finite
    assert sorted(read_records(tmp_path / "records.csv"), key=str) == sorted(records, key=str)
    assert {record.table for record in records} == {"5.1"} and tiny[1].skipped == []
    assert all(record.seconds > 0 and record.n_samples > 0 for record in records)
    unknown = {(record.metric, record.over, record.n_seeds) for record in records if record.stderr is None}
    assert unknown == {("path_cost", "trainings", 1)}  # `noise_scale` trains once
    assert all(np.isfinite(array).all() for array in tiny[1].arrays.values())
    assert tiny[1].function_evaluations > 0


def test_numbers_are_what_they_were(tiny):
    check_pinned("pis", tiny[1].measurements, tiny[1])


def metrics(result: Result, name: str) -> dict[tuple[str, str, int | None], set[str]]:
    """The metrics of each method, variant and nfe on one data set."""
    found: dict[tuple[str, str, int | None], set[str]] = {}
    for row in result.measurements:
        if row.dataset == name:
            found.setdefault((row.method, row.variant, row.nfe), set()).add(row.metric)
    return found


LOGZ = {"logz_bias", "logz_std", "logz_rmse"}


def test_rows_of_a_target_with_a_truth(tiny):
    chain = {"mean_log_prob", "mode_coverage"}
    rows = {
        ("PIS", "GT", 5): LOGZ,
        ("PIS", "RW-GT", 5): LOGZ | {"ess"},
        ("PIS", "NN", 5): LOGZ,
        ("PIS", "RW-NN", 5): LOGZ | {"ess"},
        ("PIS", "Grad", 5): LOGZ,
        ("PIS", "RW-Grad", 5): LOGZ | {"ess"},
        ("HMC", "", 5): LOGZ,
        ("NUTS", "", 5): LOGZ,
        ("importance", "prior", 1): LOGZ | {"ess"},
        ("importance", "prior-300", 1): LOGZ,
        ("importance", "prior-1000", 1): LOGZ,
        ("importance", "prior-2000", 1): LOGZ,
        ("SMC", "2-temperatures", 8): LOGZ,
        ("AFT", "2-temperatures", 8): LOGZ | {"maps_learned"},
        ("VI-NF", "", None): LOGZ,
        ("VI-NF", "RW", None): LOGZ | {"ess"},
        ("NUTS", "library", None): chain,
        ("HMC", "library", None): chain,
        ("exact", "library", None): chain,
    }
    medians = {(method, f"{variant}@median", nfe): LOGZ for (method, variant, nfe), found in rows.items() if found != chain}
    assert metrics(tiny[1], "mg") == rows | medians


def test_rows_of_a_target_without_a_truth(tiny):
    rows = metrics(tiny[1], "lgcp_synthetic")
    assert rows[("PIS", "Grad", 5)] == {"logz", "logz_std"}
    assert rows[("PIS", "RW-Grad", 5)] == {"logz", "logz_std", "ess"}
    assert not any("logz_bias" in found for found in rows.values())


def test_seeds_and_samples_are_counted(tiny):
    rows = {(row.dataset, row.method, row.variant, row.metric): row for row in tiny[1].measurements}
    trained, exact = rows["mg", "PIS", "RW-NN", "logz_bias"], rows["mg", "PIS", "RW-GT", "logz_bias"]
    assert (trained.n_seeds, trained.n_samples) == (2, 4 * 50)
    assert (exact.n_seeds, exact.n_samples) == (1, 4 * 50)
    library = rows["mg", "NUTS", "library", "mode_coverage"]
    assert (library.n_seeds, library.n_samples) == (2, 10) and 1 / 9 <= library.value <= 1


def test_printed_chains_are_importance_sampling_from_the_prior(tiny):
    rows = {(row.method, row.variant, row.metric): row.value for row in tiny[1].measurements if row.dataset == "funnel"}
    for metric in LOGZ:
        assert rows["HMC", "", metric] == rows["NUTS", "", metric] == rows["importance", "prior", metric]


def test_the_same_job_again_is_bit_identical_and_writes_nothing(tiny):
    folder, first = tiny
    before = files(folder.parent)
    again = measure(folder)
    assert files(folder.parent) == before
    assert [row.value for row in again.measurements] == [row.value for row in first.measurements]
    assert first.arrays.keys() == again.arrays.keys()
    assert all(np.array_equal(first.arrays[name], again.arrays[name]) for name in first.arrays)


def test_more_runs_reuse_the_training(tmp_path):
    job = {"x": {"measure": {"mg": ["nn"]}}}
    short = measure(tmp_path / "runs" / "short", "x", jobs=job)
    trained = files(tmp_path / "runs")
    long = measure(tmp_path / "runs" / "long", "x", jobs=job, runs=8)
    new = files(tmp_path / "runs").keys() - trained.keys()
    kept = sorted(path for path in new if "cells" not in path.parts and path.name != "lock")
    assert {path.parent for path in kept} == {tmp_path / "runs" / "long-mg nn"}
    assert [path.name.rpartition("-")[0] for path in kept] == ["mg-nn-seed0", "mg-nn-seed1"]
    assert np.array_equal(short.arrays["mg/nn/loss"], long.arrays["mg/nn/loss"])
    for seed in (0, 1):
        few, many = (
            np.load(next((tmp_path / "runs" / f"{name}-mg nn").glob(f"mg-nn-seed{seed}-*.npz")))["importance"]
            for name in ("short", "long")
        )
        np.testing.assert_allclose(many[:2], few, rtol=0, atol=1e-4)  # run r is the same run, in another batch


def test_another_training_setting_is_another_training(tmp_path):
    job = {"x": {"measure": {"mg": ["nn"]}}}
    for lr in (5e-3, 1e-3):
        mg = TINY["datasets"]["mg"] | {"pis": TRAINING | {"lr": lr}}
        measure(tmp_path / "runs" / f"{lr}", "x", jobs=job, datasets={"mg": mg})
    assert len(list((tmp_path / "runs").glob("mg-nn-seed0-*"))) == 2


# bad input


def test_without_the_pines_their_rows_are_skipped_with_the_reason(tmp_path, monkeypatch):
    def missing() -> None:
        raise MissingData("finpines.txt: nowhere to be had")

    monkeypatch.setattr(named, "load_pines", missing)
    result = measure(tmp_path, "lgcp")
    assert result.skipped == [{"dataset": "lgcp", "reason": "finpines.txt: nowhere to be had"}]
    assert {row.dataset for row in result.measurements} == {"mg"}


def test_wrong_pines_are_an_error(tmp_path, monkeypatch):
    def damaged() -> None:
        raise RescoreError("pines.csv: wrong checksum")

    monkeypatch.setattr(named, "load_pines", damaged)
    with pytest.raises(RescoreError, match="wrong checksum"):
        measure(tmp_path, "lgcp")


def test_the_exact_control_of_a_funnel_is_one_clear_error(tmp_path):
    with pytest.raises(RescoreError) as error:
        measure(tmp_path, "wrong")
    assert str(error.value) == "job wrong: method gt needs a Gaussian mixture, not funnel; allowed: mg"


ALLOWED_METHODS = (
    "'gt', 'nn', 'grad', 'noise_scale', 'importance', 'importance_sizes', 'smc', 'aft', 'vi_nf', 'snf', 'nuts', 'hmc', "
    "'exact', 'truth', 'md', "
    "'coverage', 'convergence', 'separation', 'discretisation', 'theorem_3', 'theorem_4' or 'monte_carlo'"
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobs": {"a": {"measure": {"mg": ["gard"]}}}}, f"jobs.a.measure.mg.0: input should be {ALLOWED_METHODS}, not 'gard'"),
        (
            {"jobs": {"a": {"measure": {"nine": ["nn"]}}}},
            "nine.[key]: input should be 'mg', 'rings', 'funnel', 'funnel1', 'lgcp', 'lgcp_synthetic', "
            "'vae_mnist', 'vae_digits' or 'alanine_dipeptide', not 'nine'",
        ),
        ({"datasets": {"mg": TINY["datasets"]["mg"]}}, "jobs.all.measure: funnel has no settings; allowed: mg"),
        ({"particels": 3}, "particels: unknown key; allowed: particles, "),
        (
            {"datasets": {"mg": dataset("diagonal_affine", pis={"steps": 2, "step": 3})}},
            "datasets.mg.pis.step: unknown key; allowed: steps",
        ),
        ({"runs": 5}, "runs: 5 is not a multiple of the 2 seeds, at least 2 for each"),
        ({"runs": 2}, "runs: 2 is not a multiple of the 2 seeds, at least 2 for each"),
        ({"sigma": 0.0}, "sigma: input should be greater than 0, not 0.0"),
        ({"jobs": {"a": {"measure": {}}}}, "jobs.a.measure: dictionary should have at least 1 item after validation, not 0"),
    ],
)
def test_bad_settings_name_the_key_and_what_is_allowed(change, message):
    with pytest.raises(RescoreError) as error:
        validated(config.Config, TINY | change, "c.yaml")
    assert message in str(error.value) and len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith("c.yaml: ")


# the shipped configs and the protocols of the printed rows


def published() -> list[Published]:
    return [row for row in read_published(PAPER.folder / "published.csv", "pis") if row.table == "5.1"]


@pytest.fixture
def without_computing(monkeypatch) -> None:
    """Whatever takes time gives numbers of the right shape instead: what is left are names, counts and protocols."""

    def repeat_runs(repeat: Callable, runs: int, *_: object) -> dict[str, np.ndarray]:
        estimates = np.random.default_rng(0).normal(size=runs)
        shape = {"acceptance": (10,), "samples": (200, 2), "count": (), "ess": ()}
        return dict.fromkeys(("elbo", "importance", "log_z"), estimates) | {
            name: np.full((runs, *rest), 0.5) for name, rest in shape.items()
        }

    def make_target(name: str, side: int):
        return gaussian(torch.zeros(side**2), 1.0, log_z=501.6) if name == "lgcp" else original(name, side)

    def run_chain(target, kernel, n_samples, warmup, seed, initial) -> pyro_chains.Chain:
        return pyro_chains.Chain(initial + torch.zeros(n_samples, target.dim), 1)

    flows: dict[tuple[str, int], torch.nn.Module] = {}

    def make_flow(settings, dim: int, *_: object) -> torch.nn.Module:
        """One for all seeds and temperatures: none is trained."""
        key = settings.model_dump_json(), dim
        if key not in flows:
            flows[key] = one_flow(settings, dim)
        return flows[key]

    one_flow = annealed.make_flow
    original = study.make_target
    monkeypatch.setattr(study, "make_target", make_target)
    monkeypatch.setattr(study, "repeat_runs", repeat_runs)
    monkeypatch.setattr(study, "fit", lambda model, loss, settings, *_, **__: torch.zeros(settings.steps))
    monkeypatch.setattr(annealed, "make_flow", make_flow)
    monkeypatch.setattr(annealed, "train_once", lambda path, train, blank: blank)
    monkeypatch.setattr(ControlledSDE, "simulate", lambda *_: Paths(torch.zeros(1, 5, 2), torch.zeros(1, 5)))
    monkeypatch.setattr(chains, "run_chain", run_chain)
    monkeypatch.setattr(theory, "mixture_end", lambda *_: None)
    monkeypatch.setattr(theory, "w2", lambda *_: 0.5)
    monkeypatch.setitem(jobs.METHODS, "noise_scale", lambda *_: None)


OTHER_TABLES = {"vae_mnist", "vae_digits", "alanine_dipeptide"}  # test_pis_vae.py, test_pis_alanine.py


def records_of(scale: str, folder: Path) -> list[Record]:
    settings = load_config(PAPER, scale)
    few = {name: changes | ({"seeds": 4} if "seeds" in changes else {}) for name, changes in settings.candidates.items()}
    settings = settings.model_copy(update={"candidates": few})  # of which nothing is computed: four stand for hundreds
    of_table = [name for name, job in settings.jobs.items() if not OTHER_TABLES & set(job.measure)]
    results = [run_sections(PAPER, settings, run_of(folder / name, name)) for name in of_table]
    return [as_record(row, scale) for result in results for row in result.measurements]


@pytest.mark.usefixtures("without_computing")
def test_every_printed_row_is_judged_at_the_paper_s_own_setting(tmp_path):
    records, rows = records_of("paper", tmp_path), published()
    assert len(rows) == 84
    assert {row.key for row in rows} <= {record.key for record in records}
    verdicts = diff(records, rows, find_papers(ROOT))
    unjudged = verdicts[~verdicts["status"].isin(["reproduced", "off", "imprecise"])]  # nothing was computed: any of the three
    assert unjudged.empty, unjudged[[*KEY[2:], "status", "note"]].to_string()
    measured = {record.key: record for record in records}
    assert len(measured) == len(records), "no two jobs measure the same"
    candidates = {row.key: candidate_verdicts(row, PAPER, measured) for row in rows}
    unjudged = [
        (describe(key), one.name, one.status)
        for key, found in candidates.items()
        for one in found
        if one.status not in ("reproduced", "off", "imprecise")
    ]
    assert not unjudged
    assert all(len(found) >= 2 for found in candidates.values())
    settings = load_config(PAPER, "paper")
    assert set(settings.candidates) == {job.candidate for job in settings.jobs.values()} - {None}, "each has its job"


@pytest.mark.usefixtures("without_computing")
def test_every_printed_row_is_only_indicative_at_laptop_scale(tmp_path):
    verdicts = diff(records_of("laptop", tmp_path), published(), find_papers(ROOT))
    assert set(verdicts["status"]) == {"indicative"}
    assert verdicts["note"].str.startswith("differs: ").all()
    trained = verdicts[(verdicts["method"] == "PIS") & (verdicts["variant"] != "RW-GT")]
    assert trained["note"].str.contains("train_steps=").all()


@pytest.mark.usefixtures("without_computing")
def test_smoke_measures_every_method_of_the_table(tmp_path):
    def names(rows: list[Record] | list[Published]) -> set[tuple[str, ...]]:
        return {(row.dataset, row.method, re.sub(r"^\d+-", "", row.variant), row.metric) for row in rows}

    assert names(published()) <= names(records_of("smoke", tmp_path))


def test_other_tables_are_not_run_with_a_reason():
    rows = [row for row in read_published(PAPER.folder / "published.csv", "pis") if row.table != "5.1"]
    verdicts = diff([], rows, find_papers(ROOT))
    assert set(verdicts["table"]) == {"5.2", "5.3"} and set(verdicts["status"]) == {"not-run"}
    assert not verdicts["note"].str.startswith("no record").any()


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_trained_rows_have_at_least_three_seeds_and_full_size(scale):
    settings = load_config(PAPER, scale)
    assert len(set(settings.seeds)) >= 3
    assert (settings.steps, settings.datasets["lgcp"].side) == (100, 40)
    assert settings.horizon * settings.sigma**2 == pytest.approx(1)


def test_the_config_has_the_noise_scale_of_least_cost_but_where_the_readme_says_so():
    """README.md, "The noise scale": of the committed run. One training decides the cost on `mg` and on the funnel."""
    config, costs = load_config(PAPER, "paper"), {}
    for row in read_records(ROOT / "results" / "reference" / "paper" / "records" / "pis.csv"):
        if found := re.fullmatch(r"(NN|Grad)-variance-(\d+)", row.variant):
            costs.setdefault((row.dataset, found[1]), {})[int(found[2])] = row.value
    chosen = {
        (name, policy): round(config.datasets[name].sigma.get(policy.lower(), config.sigma) ** 2 * config.horizon, 6)
        for name, policy in costs
    }
    assert len(costs) == 6 and all(set(of) == {1, 4, 16} for of in costs.values())
    assert {which for which, of in costs.items() if min(of, key=of.get) != chosen[which]} == {("mg", "NN")}
    assert "16 is an assumption for PIS-NN on `mg`" in (PAPER.folder / "README.md").read_text()


def test_claims_on_the_committed_records():
    """The ESS of an error is relative to that of u* on as many steps; HMC by itself is in no sentence of the text."""
    records = read_records(ROOT / "results" / "reference" / "laptop" / "records" / "pis.csv")
    found = {line["claim"]: line for line in evaluate("pis", PAPER.module("claims").CLAIMS, records)}
    one = found["ess-of-an-error-of-eps"]
    assert one["status"] == "holds" and "corrected after" in one["source"] and "error=0/ess/10000" in one["evidence"]
    hmc = found["rw-nn-beats-hmc-funnel"]
    assert (
        hmc["source"].startswith("Table 5.1 (an order that the text does not spell out") and "annealing" not in hmc["statement"]
    )
