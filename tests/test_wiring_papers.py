"""How the papers' jobs are wired, with stubs whose answers are known: which estimator, which images, which sign."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rescore.config import validated
from rescore.control import ControlledSDE, Paths
from rescore.data.images import ImageSet
from rescore.data.pixels import dequantise, to_unit
from rescore.data.planar import planar_set
from rescore.experiments.run import Notebook, Run
from rescore.likelihood import FlowLikelihood
from rescore.models.judge import RealScore
from rescore.montecarlo.logz import elbo, ess, log_mean_exp
from rescore.papers import load_config, load_paper
from rescore.processes import VE, VP, grids
from rescore.random import derive_seed, make_generator
from rescore.samplers import PredictorCorrector
from rescore.samplers.base import OneStep
from rescore.targets import nine_modes

F64 = torch.float64


def module(paper: str, name: str):
    return load_paper(paper).module(name)


def run_of(paper: str, folder: Path, job: str = "job", models=None) -> Run:
    return Run(paper, "smoke", job, folder / "runs" / job, "0", "cpu", 1, models or {})


# --- PIS ---------------------------------------------------------------------------------------------------------------------

PIS = {
    "seeds": [4, 6],
    "runs": 4,
    "particles": 5,
    "steps": 3,
    "horizon": 2.0,
    "sigma": 0.5,
    "datasets": {
        "mg": {
            "pis": {"steps": 7, "batch": 2, "lr": 0.01},
            "annealing": {
                "temperatures": 2,
                "hmc_steps": 3,
                "leapfrogs": 4,
                "step_sizes": [0.4, 0.3, 0.2, 0.1],
                "resample_below": 0.6,
            },
            "aft": {"family": "diagonal_affine", "steps": 2, "batch": 6},
            "vi_nf": {"family": "diagonal_affine", "steps": 2},
        }
    },
    "jobs": {"job": {"measure": {"mg": ["nn"]}}},
}


@pytest.fixture
def context(tmp_path):
    config = validated(module("pis", "config").Config, PIS, "here")
    (tmp_path / "runs" / "job").mkdir(parents=True)
    return module("pis", "context").Context("mg", nine_modes(), config, run_of("pis", tmp_path))


def weights_of(generators) -> torch.Tensor:
    """Log weights (runs, 5) that depend on each run's seed."""
    return torch.stack(
        [torch.randn(5, generator=torch.Generator().manual_seed(g.initial_seed()), dtype=F64) * 3 for g in generators]
    )


def expected_weights(method: str, seed: int, runs: int) -> torch.Tensor:
    return weights_of([make_generator("mg", method, "run", seed, r) for r in range(runs)])


def estimates(outcome) -> dict[tuple[str, str], object]:
    return {(one.method, one.variant): one for one in outcome.estimates}


@pytest.mark.parametrize("method", ["nn", "grad", "gt"])
def test_pis_rows_are_the_elbo_and_the_weighted_estimate(context, monkeypatch, method):
    policies, used = module("pis", "policies"), []

    def simulate(context, sde, policy, generators):
        used.append((sde, policy))
        return Paths(torch.zeros(len(generators), 5, 2), weights_of(generators))

    monkeypatch.setattr(policies, "simulate", simulate)
    monkeypatch.setattr(
        policies, "trained_policy", lambda context, method, seed, sde, settings: (f"{method}{seed}", np.full(7, seed))
    )
    monkeypatch.setattr(policies, "exact_policy", lambda context: "exact")
    rows = estimates(policies.path_integral(context, method))
    name = {"nn": "NN", "grad": "Grad", "gt": "GT"}[method]
    seeds, runs = ((0,), 4) if method == "gt" else ((4, 6), 2)
    log_w = torch.stack([expected_weights(method, seed, runs) for seed in seeds])
    assert list(rows) == [("PIS", name), ("PIS", f"RW-{name}")]
    np.testing.assert_allclose(rows["PIS", name].log_z, elbo(log_w).numpy(), rtol=1e-12)
    np.testing.assert_allclose(rows["PIS", f"RW-{name}"].log_z, log_mean_exp(log_w).numpy(), rtol=1e-12)
    np.testing.assert_allclose(rows["PIS", f"RW-{name}"].ess, ess(log_w).numpy(), rtol=1e-12)
    assert rows["PIS", name].ess is None
    assert {policy for _, policy in used} == ({"exact"} if method == "gt" else {f"{method}4", f"{method}6"})
    assert {sde for sde, _ in used} == {ControlledSDE(3, 2.0, 0.5)}
    for variant, estimator in ((name, "elbo"), (f"RW-{name}", "importance")):
        row = rows["PIS", variant]
        assert (row.nfe, row.n_particles, row.protocol["estimator"], row.protocol["sigma2"]) == (3, 5, estimator, 0.25)
        assert (row.protocol["runs"], row.protocol["particles"], row.protocol["steps"], row.protocol["horizon"]) == (
            4,
            5,
            3,
            2.0,
        )
        assert row.protocol.get("train_steps") == (None if method == "gt" else 7)


def test_evaluations_of_pis_count_training_and_runs(context, monkeypatch):
    policies = module("pis", "policies")
    monkeypatch.setattr(policies, "simulate", lambda c, s, p, generators: Paths(torch.zeros(1, 5, 2), weights_of(generators)))
    monkeypatch.setattr(policies, "trained_policy", lambda *_: ("policy", np.zeros(7)))
    assert policies.path_integral(context, "nn").evaluations == 2 * (2 * 5 + 7 * 2) * (3 + 1)


def test_vi_nf_rows_are_the_elbo_and_the_weighted_estimate(context, monkeypatch):
    variational = module("pis", "variational")
    drawn = []

    def weights(flow, target, z):
        drawn.append(z)
        return (z.double() * torch.tensor([2.0, 0.5])).sum(-1)

    monkeypatch.setattr(variational, "fit", lambda *_, **__: torch.zeros(2))
    monkeypatch.setattr(variational.flows, "flow_log_weights", weights)
    rows = estimates(variational.variational_flow(context, "vi_nf"))
    z = [[torch.randn(5, 2, generator=make_generator("mg", "vi_nf", "run", seed, r)) for r in range(2)] for seed in (4, 6)]
    log_w = torch.stack([torch.stack([(one.double() * torch.tensor([2.0, 0.5])).sum(-1) for one in of]) for of in z])
    np.testing.assert_allclose(rows["VI-NF", ""].log_z, elbo(log_w).numpy(), rtol=1e-9)
    np.testing.assert_allclose(rows["VI-NF", "RW"].log_z, log_mean_exp(log_w).numpy(), rtol=1e-9)
    assert rows["VI-NF", ""].nfe is None and rows["VI-NF", ""].protocol["estimator"] == "elbo"
    assert rows["VI-NF", "RW"].protocol["estimator"] == "importance"


def test_one_jump_fills_the_printed_chains(context, monkeypatch):
    annealed = module("pis", "annealed")
    monkeypatch.setattr(annealed.importance, "prior_log_weights", lambda target, n, generators: weights_of(generators))
    outcome = annealed.one_jump(context, "importance")
    rows, log_w = estimates(outcome), expected_weights("importance", 0, 4)
    for key in (("HMC", ""), ("NUTS", ""), ("importance", "prior")):
        np.testing.assert_allclose(rows[key].log_z, log_mean_exp(log_w)[None].numpy(), rtol=1e-12)
    np.testing.assert_allclose(rows["importance", "prior"].ess, ess(log_w)[None].numpy(), rtol=1e-12)
    assert [rows[key].nfe for key in rows] == [3, 3, 1] and outcome.evaluations == 20


def test_annealed_rows_are_made_under_their_schedule(context, monkeypatch):
    annealed, seen = module("pis", "annealed"), []

    def anneal(target, schedule, n, generators, transport):
        seen.append((schedule, n, transport, [g.initial_seed() for g in generators]))
        runs = len(generators)
        return SimpleNamespace(
            x=torch.zeros(runs, n, 2),
            n_evaluations=9,
            log_z=torch.arange(runs, dtype=F64) + len(seen),
            acceptance=torch.full((runs, 2), 0.5),
        )

    monkeypatch.setattr(annealed.smc, "anneal", anneal)
    monkeypatch.setattr(annealed, "trained_transports", lambda context, schedule, n, seed: f"transport {seed}")
    smc = annealed.annealed(context, "smc")
    (row,) = smc.estimates
    schedule = annealed.smc.Annealing(2, 3, 4, (0.4, 0.3, 0.2, 0.1), 0.6)
    assert seen == [(schedule, 5, annealed.smc.no_transport, [derive_seed("mg", "smc", "run", 0, r) for r in range(4)])]
    assert (row.method, row.variant, row.nfe, row.n_particles) == ("SMC", "2-temperatures", 24, 5)
    assert row.log_z.tolist() == [[1.0, 2.0, 3.0, 4.0]] and smc.evaluations == 4 * 5 * 9
    seen.clear()
    aft = annealed.annealed(context, "aft")
    assert [(transport, seeds) for _, _, transport, seeds in seen] == [
        (f"transport {seed}", [derive_seed("mg", "aft", "run", seed, r) for r in range(2)]) for seed in (4, 6)
    ]
    assert aft.estimates[0].log_z.tolist() == [[1.0, 2.0], [2.0, 3.0]] and aft.evaluations == 4 * 5 * 9 + 2 * 6 * 2 * 2


def test_a_policy_is_trained_on_its_cost(context, monkeypatch):
    policies, asked = module("pis", "policies"), []

    def fit(model, loss, adam, generator, folder, every, label):
        asked.append((adam, generator.initial_seed(), folder, every, loss(make_generator("loss")).item()))
        return torch.arange(7.0)

    monkeypatch.setattr(policies, "fit", fit)
    sde = context.sde("nn")
    policy, history = policies.trained_policy(context, "nn", 4, sde, context.settings.pis)
    ((adam, seed, folder, every, loss),) = asked
    assert (adam.steps, adam.lr) == (7, 0.01) and seed == derive_seed("mg", "nn", "train", 4)
    noise = torch.empty(3, 2, 2).normal_(generator=make_generator("loss"))
    assert loss == pytest.approx(sde.cost(policy, context.target, noise).item() / 2, rel=1e-6), "nats per dimension"
    assert history.tolist() == [2.0 * k for k in range(7)], "and the history is in nats"
    assert not any(p.requires_grad for p in policy.parameters())


def test_each_seed_and_setting_has_its_own_training_folder(context):
    names = [
        context.training_folder(*key)
        for key in (("nn", 4, {"a": 1}), ("nn", 6, {"a": 1}), ("nn", 4, {"a": 2}), ("grad", 4, {"a": 1}))
    ]
    assert len(set(names)) == 4 and all(path.parent == context.run.folder.parent for path in names)


# --- LCSS --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def studio(monkeypatch, tmp_path):
    quality, asked = module("lcss", "quality"), []
    images = {
        split: ImageSet(
            "digits",
            split,
            torch.randint(17, (9, 1, 8, 8), generator=make_generator(split)).mul(255).div(16).round().to(torch.uint8),
        )
        for split in ("train", "test")
    }
    monkeypatch.setattr(quality, "load_images", lambda name, split: images[split])
    monkeypatch.setattr(quality, "make_judge", lambda *arguments: asked.append(arguments) or SimpleNamespace())
    config = load_config(load_paper("lcss"), "smoke")
    return quality.Studio(config.jobs["all"], config, run_of("lcss", tmp_path, "all"), {}, []), images, asked


def test_lcss_judges_against_train_images(studio):
    found, images, asked = studio
    config = found.config
    ((features, reference, held_out, settings, folder, device),) = asked
    assert (features, device, settings.steps) == (config.quality.features, "cpu", config.quality.classifier_steps)
    assert reference is images["train"] and held_out is images["test"] and folder == found.run.folder.parent / "judges"


def test_lcss_bits_are_of_test_images(studio, monkeypatch):
    found, images, _ = studio
    calls = []

    def flow(score, process, x, generator, t0, rtol, atol):
        calls.append((score, process, x, generator.initial_seed(), t0, rtol, atol))
        return FlowLikelihood(torch.full((len(x),), 64.0), x, 1)

    monkeypatch.setattr(module("lcss", "quality"), "flow_log_prob", flow)
    models = [SimpleNamespace(network=SimpleNamespace(score=lambda name=name: f"score {name}"), process=name) for name in "ab"]
    bits = found.bits(models)
    assert bits == [pytest.approx(-1 / math.log(2) + 3)] * 2
    for seed, name, (score, process, x, generator, t0, rtol, atol) in zip(found.config.seeds, "ab", calls, strict=True):
        expected, per_unit = dequantise(images["test"].images[:8], make_generator("lcss", "bits", seed), 17)
        assert torch.equal(x, expected) and per_unit == 8 and generator == derive_seed("lcss", "bits", seed)
        assert (score, process, t0, rtol, atol) == (f"score {name}", name, 1e-5, 0.1, 0.1)


def test_lcss_samplers(studio):
    found = studio[0]
    for corrected in (True, False):
        sampler = found.sampler(VE(), corrected)
        assert (
            isinstance(sampler, PredictorCorrector) and sampler.corrector_steps == int(corrected) and sampler.denoise == "mean"
        )
        assert (sampler.snr, sampler.steps, sampler.corrector_first) == (
            found.config.quality.snr,
            found.config.quality.steps,
            True,
        )
    sampler = found.sampler(VP())
    assert (
        type(sampler) is OneStep
        and sampler.denoise == "mean"
        and torch.equal(sampler.grid, grids.uniform(VP(), found.config.quality.steps))
    )


def test_variance_and_roughness_of_images():
    quality = module("lcss", "quality")
    x = torch.tensor([[[[0.0, 2.0], [0.0, 2.0]]], [[[2.0, 2.0], [4.0, 0.0]]]])
    assert quality.variance(x) == pytest.approx((2 + 0 + 8 + 2) / 4)
    assert quality.roughness(x) == pytest.approx(0.5 * ((4 + 4 + 0 + 16) / 4 + (0 + 0 + 4 + 4) / 4))
