"""LCSS: the checkerboard, the closed forms of fig. 7, specs and configs, and claims on a tiny run."""

import math

import numpy as np
import pytest
from measuring import as_records, measured
from pinned import check_pinned
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.models.build import make_objective
from rescore.objectives import LCSS
from rescore.papers import load_config, load_paper
from rescore.problems.score_norms import scaled_score_ratio
from rescore.processes import VE
from rescore.specs.model import ModelSpec
from scipy.integrate import solve_ivp
from trained_case import trained_models

PAPER = load_paper("lcss")
board, claims, config, theory = (PAPER.module(name) for name in ("checkerboard", "claims", "config", "theory"))
PUBLISHED = read_published(PAPER.folder / "published.csv", "lcss")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The smoke job, on less of everything."""
    smoke = load_config(PAPER, "smoke")
    fewer = {"samples": 70, "tolerance": 0.1, "likelihood_images": 2}
    smoke = smoke.model_copy(
        update={
            "theory": config.Theory(draws=50, steps=10, sigmas=(0.01, 0.1, 1.0, 10.0)),
            "evaluation": smoke.evaluation.model_copy(update=fewer),
            "sampling": config.Sampling(steps=2),
            "quality": config.Quality(steps=(2,)),
            "variants": config.Variants(steps=2, gammas=(0.5, 1.0, 2.0, 10.0)),
            "checkerboard": config.Checkerboard(members=2, width=4, steps=102, batch=4, cells=10),
            "langevin": config.Langevin(steps=3, chains=5, cells=12),
            "one_draw": config.OneDraw(points=10, steps=51),
            "hutchinson": config.Hutchinson(points=4),
            "timing": config.Timing(rounds=3, batch=16, side=16, width=4, images=2),
            "stability": config.Stability(members=2, width=8, steps=102, batch=4, every=51),
        }
    )
    folder = tmp_path_factory.mktemp("lcss")
    return measured(PAPER, smoke, "all", folder, trained_models(smoke, "all", folder))


@pytest.fixture(scope="module")
def records(result):
    return as_records(PAPER, result)


# the tiny run


def test_numbers_are_what_they_were(records):
    check_pinned("lcss", records)


def test_every_claim_finds_its_records(records):
    """Those on sub-VP need a second pair of models, which this job has not; those on MNIST: test_lcss_images."""
    missing = [line["claim"] for line in evaluate("lcss", claims.CLAIMS, records) if line["status"] in ("not-run", "broken")]
    assert missing == ["fid-subvp", "is-subvp", "bpd-subvp", *(claim.name for claim in claims.MNIST)]
    assert len(claims.CLAIMS) >= 10


def test_every_printed_number_has_a_status(records):
    frame = diff([r for r in records if r.value == r.value], PUBLISHED, {"lcss": PAPER})
    assert len(frame) == 36
    assert not (frame["note"] == "no record").any()
    shown = frame[frame["status"] == "indicative"]
    assert set(shown["table"]) == {"2", "3"} and not frame["status"].isin(["reproduced", "off"]).any()


def value(records, **columns):
    (found,) = (r.value for r in records if all(getattr(r, name) == wanted for name, wanted in columns.items()))
    return found


def test_dsm_and_lcss_train_the_same_networks(records):
    assert value(records, table="twins", metric="weight_distance") < 1e-5
    for table, metric in (("1", "score_error"), ("stability", "final_error")):
        pair = [value(records, table=table, metric=metric, method=method) for method in ("DSM", "LCSS")]
        assert pair[0] == pytest.approx(pair[1], rel=1e-5)
    pair = [value(records, table="moments", metric="loss_mean", variant="sigma=1", method=m) for m in ("DSM", "LCSS")]
    assert pair[0] - pair[1] == pytest.approx(theory.DIMENSION / 2, rel=0.1)


LOSSES = {  # of single samples at the true score on N(0, I) in 64 dimensions: mean and std, from an independent run
    0.01: {"DSM": (32.00, 5.64), "LCSS": (-0.003, 0.080), "SSM": (-0.003, 0.001)},
    0.1: {"DSM": (31.69, 5.59), "LCSS": (-0.32, 0.79), "SSM": (-0.32, 0.13)},
    1.0: {"DSM": (16.00, 2.83), "LCSS": (-16.00, 4.89), "SSM": (-16.01, 6.31)},
    10.0: {"DSM": (0.32, 0.06), "LCSS": (-31.69, 5.64), "SSM": (-31.77, 12.5)},
}


@pytest.mark.parametrize("sigma", LOSSES)
def test_losses_of_one_model_have_the_known_values(sigma):
    """A curve of LCSS looks calm at little noise and rough at much, one of DSM the other way round, of the same model."""
    n = 8000
    for method, (mean, std) in LOSSES[sigma].items():
        found = theory.moments_of(method, sigma, n, 0)
        assert found["loss_mean"] == pytest.approx(mean, abs=5 * std / math.sqrt(n) + (5e-4 if mean == -0.003 else 0.005))
        assert found["loss_std"] == pytest.approx(
            std, rel=0.03, abs=0.006 if std > 0.05 else 6e-4
        )  # two or three digits are known


def test_minimisers_and_lemma_1(records):
    slopes = {r.method: r.value for r in records if r.table == "minimisers"}
    assert slopes["explicit"] == pytest.approx(-1 / 0.7, abs=1e-12)
    for method in ("DSM", "LCSS", "LCS"):
        assert slopes[method] == pytest.approx(-1 / (0.7 + 0.16), abs=1e-12)
    gap = value(records, table="eq. 11", variant="sigma=0.01")
    assert gap == pytest.approx((-3 + 3 * 0.7**4) / (0.5 * 9 * 0.7**4), rel=0.01)


# what a record repeats


def test_every_seed_is_a_training(records):
    """Two trainings of each network, the short ones too, with 70 samples each; real images of both kinds, as many."""
    on_digits = [r for r in records if r.dataset == "digits" and r.method != "real images"]
    trained = [r for r in on_digits if r.table in ("3", "iterations", "fig7")]
    assert {r.table for r in trained} == {"3", "iterations", "fig7"}
    assert {(r.over, r.n_seeds, r.df) for r in trained} == {("trainings", 2, 1)}
    assert {(r.metric, r.n_samples) for r in trained} == {
        ("fid", 140),
        ("is", 140),
        ("bpd", 4),
        ("variance_ratio", 140),
        ("roughness_ratio", 140),
    }
    twins = {r.metric: (r.over, r.n_seeds, r.n_samples) for r in records if r.table == "twins"}
    assert twins == {"weight_distance": ("trainings", 2, 2), "sample_rmse": ("trainings", 2, 140)}
    real = {(r.variant, r.metric, r.over, r.n_samples) for r in records if r.method == "real images"}
    kinds = [f"MLP (VE), {kind}" for kind in ("held out", "training images")]
    assert real == {(kind, metric, "runs", 70) for kind in kinds for metric in ("fid", "is")}


# the checkerboard


def test_maps_of_the_data_and_of_what_is_learnt(result):
    """The data's is constant in its squares; of side 9 a grid of 10 has 32 cells of 81/100 whose centres lie inside."""
    data = result.arrays["density/data"]
    assert data.shape == (10, 10) and data.dtype == np.float32 and data.sum() == pytest.approx(1, abs=1e-5)
    values, counts = np.unique(data, return_counts=True)
    assert values == pytest.approx([0, 1 / counts[1]], rel=1e-5) and counts.sum() == 100
    axis = np.arange(10) * 0.9 - 4.05
    x, y = np.meshgrid(axis, axis)
    inside = ((np.floor(x / 2) + np.floor(y / 2)) % 2 == 0) & (np.abs(x) < 4) & (np.abs(y) < 4)
    assert np.array_equal(data > 0, inside)
    for method in board.METHODS:
        learnt = result.arrays[f"density/{method}"]
        assert learnt.shape == (10, 10) and learnt.sum() == pytest.approx(1, abs=1e-5) and (learnt > 0).all()
        assert result.arrays[f"board_losses/{method}"].shape == (102, 2)


# closed forms


@pytest.mark.parametrize(("gamma", "ratio"), [(0.5, 11.339), (0.9, 1.2504), (1.0, 1.0), (2.0, 1 / 3), (10.0, 1 / 19)])
def test_variance_under_gamma_times_the_score(gamma, ratio):
    """gamma = 1/2: 1 + ln(sigma_max^2 / S); the chain comes to the limit like 1 / N."""
    s, process = theory.VARIANCE, VE()
    assert scaled_score_ratio(process, gamma, s) == pytest.approx(ratio, rel=0.005)
    errors = []
    for steps in (1000, 2000):
        found = theory.variance_ratio("VE", steps, lambda t: s + process.Sigma(t).values, gamma)
        errors.append(abs(found - ratio) / ratio)
    assert errors[1] < 0.03 and errors[1] < errors[0]


def test_gamma_one_half_is_noise():
    s = theory.VARIANCE
    assert scaled_score_ratio(VE(), 0.5, s) == pytest.approx(1 + math.log(2500 / s), rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 0.7, 1.0, 3.0])
def test_the_limit_of_many_steps_is_the_ode_of_the_variance(gamma):
    """dv/dy = 2 gamma v / y - 1 from Y = S + sigma_max^2 down to S; with a small sigma_max the start is not forgotten."""
    s, process = 0.3, VE(sigma_max=0.8)
    top = s + 0.8**2
    found = solve_ivp(lambda y, v: 2 * gamma * v / y - 1, (top, s), [0.8**2], rtol=1e-10, atol=1e-12)
    assert scaled_score_ratio(process, gamma, s) == pytest.approx(found.y[0, -1] / s, rel=1e-7)


# specs, configs, gate

SPEC = {
    "data": "digits",
    "process": {"name": "VP"},
    "network": {"name": "mlp"},
    "steps": 5000,
    "lr": 1e-3,
    "warmup": 500,
    "ema": 0.999,
}


def test_specs_without_gamma_keep_their_key():
    assert "gamma" not in ModelSpec(**SPEC).model_dump()["objective"]  # nor in the key, as of a spec from before there was one
    lcss = [ModelSpec(**SPEC, objective={"name": "lcss", "gamma": gamma}) for gamma in (1.0, 2.0)]
    assert len({ModelSpec(**SPEC).key, *(spec.key for spec in lcss)}) == 3
    assert make_objective(lcss[1].objective) == LCSS("simple", gamma=2.0)
    assert ModelSpec(**lcss[1].model_dump()) == lcss[1] and ModelSpec(**lcss[0].model_dump()) == lcss[0]


def test_gamma_belongs_to_lcss():
    with pytest.raises(ValueError, match="gamma is for lcss; allowed with dsm: 1"):
        ModelSpec(**SPEC, objective={"gamma": 2.0})


@pytest.mark.parametrize("scale", ["smoke", "laptop", "gpu", "paper"])
def test_configs_pair_dsm_with_lcss(scale):
    """The two differ in the objective's name alone, the seed of weights and noise included."""
    found = load_config(PAPER, scale)
    for job in found.jobs.values():
        if "quality" in job.measure:
            dsm, lcss = (found.models[name] for name in job.models)
            assert lcss.model_copy(update={"objective": dsm.objective}) == dsm
            assert (dsm.objective.name, lcss.objective.name) == ("dsm", "lcss")


def test_models_come_in_pairs():
    models = {name: SPEC | {"objective": {"name": name}} for name in ("dsm", "lcss")}
    job = {"models": ["lcss", "dsm"], "variant": "MLP", "measure": ["quality"]}
    with pytest.raises(ValueError, match="objectives lcss, dsm; allowed: one of dsm, then one of lcss"):
        config.Config(models=models, jobs={"a": job})
    with pytest.raises(ValueError, match="models and variant belong to the sections quality, variants and images"):
        config.Config(models=models, jobs={"a": {"measure": ["quality"]}})
