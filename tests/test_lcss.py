"""LCSS: the checkerboard, ensembles, spikes, the closed forms of fig. 7, specs and configs, and claims on a tiny run."""

import math

import numpy as np
import pytest
import torch
from measuring import as_records, measured
from pinned import check_pinned
from torch import nn
from trained_case import trained_models

from rescore.errors import RescoreError
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.models.build import make_objective
from rescore.models.spec import ModelSpec
from rescore.networks.ensemble import Ensemble
from rescore.objectives import LCSS
from rescore.papers import load_config, load_paper
from rescore.processes import VE
from rescore.random import make_generator


PAPER = load_paper("lcss")
board, claims, config, theory = (PAPER.module(name) for name in ("checkerboard", "claims", "config", "theory"))
PUBLISHED = read_published(PAPER.folder / "published.csv", "lcss")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The smoke job, on less of everything."""
    smoke = load_config(PAPER, "smoke")
    fewer = {"samples": 70, "tolerance": 0.1, "likelihood_images": 2}
    smoke = smoke.model_copy(update={
        "theory": config.Theory(draws=50, steps=10, sigmas=(0.01, 0.1, 1.0, 10.0)),
        "evaluation": smoke.evaluation.model_copy(update=fewer), "sampling": config.Sampling(steps=2),
        "quality": config.Quality(iterations=(2,)), "variants": config.Variants(iterations=2, gammas=(0.5, 1.0, 2.0, 10.0)),
        "checkerboard": config.Checkerboard(members=2, width=4, iterations=102, batch=4, cells=10),
        "timing": config.Timing(rounds=3, batch=16, side=16, width=4, images=2),
        "stability": config.Stability(members=2, width=8, iterations=102, batch=4, every=51),
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("lcss")
    return measured(PAPER, smoke, "all", folder, trained_models(smoke, "all", folder))


@pytest.fixture(scope="module")
def records(result):
    return as_records(PAPER, result)


# the tiny run


def test_numbers_are_what_they_were(records):
    check_pinned("lcss", records)


def test_every_claim_finds_its_records(records):
    """Those on sub-VP need a second pair of models, which smoke has not."""
    missing = [line["claim"] for line in evaluate("lcss", claims.CLAIMS, records) if line["status"] in ("not-run", "broken")]
    assert missing == ["fid-subvp", "is-subvp", "bpd-subvp"]
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
        ("fid", 140), ("is", 140), ("bpd", 4), ("variance_ratio", 140), ("roughness_ratio", 140)
    }  # fmt: skip
    twins = {r.metric: (r.over, r.n_seeds, r.n_samples) for r in records if r.table == "twins"}
    assert twins == {"weight_distance": ("trainings", 2, 2), "sample_rmse": ("trainings", 2, 140)}
    real = {(r.variant, r.metric, r.over, r.n_samples) for r in records if r.method == "real images"}
    kinds = [f"MLP (VE), {kind}" for kind in ("held out", "training images")]
    assert real == {(kind, metric, "runs", 70) for kind in kinds for metric in ("fid", "is")}


@pytest.mark.parametrize(("training_seeds", "expected"), [
    ((0, 4, 9), {"over": "trainings", "n_seeds": 3, "df": 2, "seeds": [0, 4, 9], "draws": [0, 4, 9]}),
    ((4,), {"over": "samplings", "n_seeds": 1, "df": 2, "seeds": [4], "draws": [0, 1, 2]}),
])  # fmt: skip
def test_networks_and_samples_of_each_repeat(training_seeds, expected, tmp_path, monkeypatch):
    """The network of each value is that of its training seed; one network alone is sampled with every seed."""
    smoke = load_config(PAPER, "smoke")
    settings = smoke.quality.model_copy(update={"samples": 5, "steps": 2})
    smoke = smoke.model_copy(update={"quality": settings, "training_seeds": training_seeds, "seeds": (0, 1, 2)})
    loaded, drawn, values = [], [], iter((1.0, 2.0, 6.0))

    def load_model(spec, path, shape, device):
        loaded.append((spec.seed, path.name))
        return SimpleNamespace(process=VE(), score=spec.seed, network=None)

    def draw(sampler, score, shape, n, generator):
        drawn.append((score, generator.initial_seed()))
        return torch.zeros(n, *shape)

    class Judge:
        def protocol(self, metric, x):
            return {}

        def __call__(self, x, metrics):
            return dict.fromkeys(metrics, next(values))

    for name, stub in {"load_model": load_model, "draw": draw, "make_judge": lambda *_: Judge()}.items():
        monkeypatch.setattr(quality, name, stub)
    monkeypatch.setattr(quality.Studio, "bits", lambda self, models: [float(model.score) for model in models])
    weights = {f"ve_dsm/{seed}": tmp_path / f"dsm-{seed}" for seed in training_seeds}
    studio = quality.Studio(smoke.jobs["all"], smoke, Run("lcss", "smoke", "all", tmp_path, "0", "cpu", 1, weights), {}, [])
    found = {row.metric: row.measurement(0.0) for row in studio.rows("3", smoke.models["ve_dsm"], studio.node("ve_dsm"), "MLP")}
    assert loaded == [(seed, f"dsm-{seed}") for seed in expected["seeds"]]
    networks = expected["seeds"] if len(training_seeds) > 1 else [4] * 3
    seeds = [make_generator("lcss", "samples", seed).initial_seed() for seed in expected["draws"]]
    assert drawn == list(zip(networks, seeds, strict=True))
    fid, bpd = found["fid"], found["bpd"]
    assert (fid.value, fid.n_samples, bpd.n_samples) == (3.0, 15, 24)
    assert fid.stderr == pytest.approx(math.sqrt(7 / 3)) and bpd.value == pytest.approx(np.mean(networks))
    for one in (fid, bpd):
        assert {name: getattr(one, name) for name in ("over", "n_seeds", "df")} == {
            name: expected[name] for name in ("over", "n_seeds", "df")
        }  # fmt: skip
    assert fid.protocol["train_seeds"] == " ".join(map(str, training_seeds))


# the checkerboard


def test_the_checkerboard_lies_in_its_squares():
    x = board.draw_checkerboard(4000, make_generator("test"))
    assert (board.density(x, 0.0) == 1 / 32).all()
    inside = [((x[:, 0] >= a) & (x[:, 0] < a + 2) & (x[:, 1] >= b) & (x[:, 1] < b + 2)).double().mean() for a, b in board.CELLS]
    assert sum(inside) == pytest.approx(1) and max(abs(p - 1 / 8) for p in inside) < 0.03


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.2])
def test_the_noised_density_has_mass_1(sigma):
    area = (2 * board.HALF_WIDTH / 180) ** 2
    assert board.density(board.grid(180), sigma).sum().item() * area == pytest.approx(1, abs=2e-3)


def test_the_noised_score_is_that_of_a_single_edge():
    """In the middle of an outer edge: d log Phi(x / sigma) / dx."""
    x, sigma = torch.tensor([[-4.05, -3.0]], dtype=torch.float64), 0.1
    z = -0.05 / sigma
    expected = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / sigma / (0.5 * math.erfc(-z / math.sqrt(2)))
    found = board.noised_score(x, sigma)[0]
    assert found[0].item() == pytest.approx(expected, rel=1e-9) and abs(found[1].item()) < 1e-9


# closed forms


@pytest.mark.parametrize(("gamma", "ratio"), [(0.5, 11.339), (0.9, 1.2504), (1.0, 1.0), (2.0, 1 / 3), (10.0, 1 / 19)])
def test_variance_under_gamma_times_the_score(gamma, ratio):
    """gamma = 1/2: 1 + ln(sigma_max^2 / S); the chain comes to the limit like 1 / N."""
    s, process = theory.VARIANCE, VE()
    assert theory.limit_ratio(process, gamma, s) == pytest.approx(ratio, rel=0.005)
    errors = []
    for steps in (1000, 2000):
        found = theory.output_variance(
            process, theory.reverse_diffusion, steps, lambda t: gamma / (s + process.Sigma(t).values), process.eps
        )
        errors.append(abs(found / s - ratio) / ratio)
    assert errors[1] < 0.03 and errors[1] < errors[0]


def test_gamma_one_half_is_noise():
    s = theory.VARIANCE
    assert theory.limit_ratio(VE(), 0.5, s) == pytest.approx(1 + math.log(2500 / s), rel=1e-4)


# ensembles and spikes


def networks(n):
    made = []
    for seed in range(n):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            made.append(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double())
    return made


def test_an_ensemble_is_its_members_side_by_side():
    """Values, gradients and so a step of Adam; also the second derivatives that a gradient model needs."""
    members = networks(3)
    ensemble = Ensemble(members)
    x = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    optimizers = [torch.optim.Adam(one.parameters(), lr=0.1) for one in (ensemble, *members)]

    def loss(network, x):
        slope = torch.autograd.grad(network(x).sum(), x, create_graph=True)[0]
        return (network(x).square().sum() + slope.square().sum()) / 4

    for optimizer in optimizers:
        optimizer.zero_grad()
    loss(ensemble, x).backward()
    for member, block in zip(members, x.split(4), strict=True):
        loss(member, block).backward()
    for optimizer in optimizers:
        optimizer.step()
    for i, member in enumerate(members):
        for ours, theirs in zip(ensemble.member(i).parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert len(list(ensemble.parameters())) == len(list(members[0].parameters()))
    with pytest.raises(RescoreError, match="3 networks takes as many equal blocks, not 4 rows"):
        ensemble(x[:4])
    with pytest.raises(RescoreError, match="needs at least 1"):
        Ensemble([])


def test_spikes_are_counted_and_noise_is_not():
    losses = np.random.default_rng(0).normal(size=(1100, 2))
    losses[[300, 700, 1000], 1] += 30
    assert ensembles.spikes(losses).tolist() == [0.0, 3.0]


def test_a_tracked_training_resumes_with_its_losses(tmp_path):
    def train(steps_at_once):
        tracked = ensembles.Tracked(Ensemble(networks(2)), 6, every=2)
        target = torch.ones(8, 2, dtype=torch.float64)

        def losses(draws):
            if int(tracked.step) == steps_at_once:
                raise KeyboardInterrupt
            x = torch.randn(8, 3, generator=draws, dtype=torch.float64)
            return (tracked.ensemble(x) - target).square().sum(1)

        def error():
            return torch.stack([p.detach().abs().sum() for p in (tracked.ensemble.stacked[0][0], tracked.ensemble.stacked[0][1])])

        folder = tmp_path / str(steps_at_once)
        return ensembles.train_ensemble(tracked, losses, error, 0.1, make_generator("resume"), folder, "test")

    whole = train(None)
    assert (whole.losses != 0).all() and (whole.errors != 0).all() and int(whole.step) == 6
    again = train(None)  # only loads
    assert torch.equal(whole.losses, again.losses) and torch.equal(whole.errors, again.errors)


def test_rows_of_each_kind():
    def made(values, kind):
        return rows.Row("t", "d", "m", "", "x", values, 5, {}, kind).measurement(0.0)

    mean, median, exact = made([1.0, 2.0, 6.0], "mean"), made([1.0, 2.0, 6.0], "median"), made([4.0], "exact")
    assert (mean.value, median.value, exact.value) == (3.0, 2.0, 4.0)
    assert mean.stderr == pytest.approx(math.sqrt(7 / 3)) and exact.stderr == 0.0 and made([4.0], "mean").stderr is None
    assert median.stderr == pytest.approx(mean.stderr * math.sqrt(math.pi / 2)) and mean.n_samples == 15


def test_turns_rotate_and_the_first_round_does_not_count():
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = timing.interleaved(steps, 3, "cpu")
    assert "".join(calls) == "cababcbcacab" and all(len(values) == 3 for values in seconds.values())


# specs, configs, gate

SPEC = {"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 5000, "lr": 1e-3, "warmup": 500,
        "ema": 0.999}  # fmt: skip


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
        if job.models:
            dsm, lcss = (found.models[name] for name in job.models)
            assert lcss.model_copy(update={"objective": dsm.objective}) == dsm
            assert (dsm.objective.name, lcss.objective.name) == ("dsm", "lcss")


def test_models_come_in_pairs():
    models = {name: SPEC | {"objective": {"name": name}} for name in ("dsm", "lcss")}
    job = {"models": ["lcss", "dsm"], "variant": "MLP", "measure": ["quality"]}
    with pytest.raises(ValueError, match="objectives lcss, dsm; allowed: one of dsm, then one of lcss"):
        config.Config(models=models, jobs={"a": job})
    with pytest.raises(ValueError, match="models and variant belong to the parts quality and variants"):
        config.Config(models=models, jobs={"a": {"measure": ["quality"]}})
