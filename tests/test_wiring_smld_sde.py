"""How the sections of smld_sde are wired: which samplers on which models, and the scores that a chain is given."""

import pytest
import torch
from measuring import book_of
from recorded_models import RecordedModels
from rescore.papers import load_config, load_paper
from rescore.processes import VE, VP, grids
from rescore.samplers import AdaptiveFlow, PredictorCorrector
from rescore.samplers.base import OneStep

PAPER = load_paper("smld_sde")
trained, chains = PAPER.module("trained"), PAPER.module("chains")
CONFIG = load_config(PAPER, "smoke")


@pytest.fixture
def models(monkeypatch, tmp_path):
    """What the section asks of models of VE and VP."""
    found = RecordedModels({"ve": VE(0.02, 100.0), "vp": VP()})
    monkeypatch.setattr(trained, "TrainedModels", lambda book: found)
    trained.trained(book_of(PAPER, CONFIG, "all", tmp_path))
    return found


def test_samplings_of_trained_models(models):
    likelihoods = [(("score-sde-2", "MLP", kind, model), {"bound": True}) for kind, model in (("VE", "ve"), ("VP", "vp"))]
    assert models.likelihoods == likelihoods and models.floors == ["fig17"] and models.trainings == 1
    kinds = {"ve": "VE", "vp": "VP"}
    for one in models.samplings:
        kind, sampler = kinds[one.model], one.sampler
        assert one.last == (one.table == "score-sde-2"), "Table 3 is of the least FID, Table 2 of the last weights"
        if one.table == "score-sde-2":
            assert (one.method, one.variant) == ("MLP", kind)
            assert isinstance(sampler, AdaptiveFlow) and sampler.times[-1] == models.process(one.model).eps
            assert sampler.denoise == "tweedie" and sampler.tolerance == CONFIG.trained.tolerance
        elif one.table == "score-sde-3":
            assert (one.method, one.variant) == ("MLP", kind)
            updates = CONFIG.trained.steps
            assert len(sampler.times) == updates and sampler.times[-1] == models.process(one.model).eps
            assert sampler.nfe == (2 * updates if kind == "VE" else updates)
            assert sampler.denoise == ("tweedie" if kind == "VE" else "euler"), "the last update is at eps, without noise"
            assert isinstance(sampler, PredictorCorrector if kind == "VE" else OneStep)
            assert one.protocol.get("snr") == (0.16 if kind == "VE" else None)
        else:
            assert one.variant in {chains.CELL(kind=kind, budget=budget) for budget in chains.budgets(CONFIG.trained.levels)}
            corrected = isinstance(sampler, PredictorCorrector)
            assert one.protocol.get("snr") == (chains.SNR[kind][one.method] if corrected else None)
            if kind == "VE":
                largest = sampler.process.Sigma(1.0).values.sqrt().item()
                assert largest == pytest.approx(100.0), "the networks see pixels in [-1, 1]: twice the paper's sigmas"


def test_a_chain_sees_the_continuous_score_at_its_own_ratio_of_noise(models):
    """A doubled chain rounds to the label of the original chain; the network's time is the one of equal rho."""
    levels, asked = CONFIG.trained.levels, []

    def score(u, t):
        asked.append(t)
        return -u

    place = ("fig17", "ancestral", chains.CELL(kind="VP", budget=f"P{2 * levels}"))
    one = next(one for one in models.samplings if (one.table, one.method, one.variant) == place)
    u, t = torch.ones(2, 1, 1, 1), one.sampler.times[0]
    adapted = one.adapt(score)(u, t)
    own = chains.chain("VP", levels)
    at = chains.label_time(t, levels)
    expected = min(VP().time_of_rho(own.rho(at)).item(), 1.0)
    assert asked == [pytest.approx(expected, rel=1e-9)]
    c = (VP().mean(expected).values / own.mean(at).values).item()
    assert torch.allclose(adapted, torch.full_like(u, -c * c), rtol=1e-6)


@pytest.mark.parametrize("kind", chains.KINDS)
def test_samplers_of_fig_17_go_down_their_own_chain(kind):
    """Doubled chains have a grid of their own; predictors and correctors share the levels of the chain."""
    for one in chains.chain_samplers(30):
        if one.kind == kind:
            doubled = one.scores in ("rounding", "linear")
            assert one.sampler.steps == (60 if doubled else 30) and one.levels == 30
            assert torch.equal(one.sampler.grid, grids.uniform(one.sampler.process, one.sampler.steps))
            assert (one.process is one.sampler.process) == (one.scores != "rounding")
            assert one.sampler.denoise == ("mean" if one.method in ("ancestral", "reverse diffusion") else "none")


def test_networks_of_a_chain_take_its_samplers_in_table_3(monkeypatch, tmp_path):
    """Reverse diffusion with a corrector on VE, ancestral on VP (the authors' configs); the printed names are the config's."""
    found = RecordedModels(
        {"ve-discrete": VE(0.02, 100.0), "vp-discrete": VP(T=1.01), "vp-last": VP()},
        levels={"ve-discrete": "labels", "vp-discrete": "chain"},
    )
    monkeypatch.setattr(trained, "TrainedModels", lambda book: found)
    config = load_config(PAPER, "paper")
    small = config.trained.model_copy(update={"levels": 30, "chains": {"VE": "ve-discrete", "VP": "vp-ddpm"}})
    trained.trained(book_of(PAPER, config.model_copy(update={"trained": small}), "ve", tmp_path))
    ve, vp = [one for one in found.samplings if one.table == "score-sde-3"]
    assert (ve.method, ve.variant, ve.sampler.nfe, ve.protocol["snr"]) == ("NCSN++", "VE", 60, 0.16)
    assert (vp.method, vp.variant, vp.sampler.nfe) == ("DDPM++", "VP", 30) and "snr" not in vp.protocol
    assert isinstance(ve.sampler, PredictorCorrector) and isinstance(vp.sampler, OneStep)
    assert all(one.protocol["network_time"] == "discrete" for one in (ve, vp))
    (flow,) = [one for one in found.samplings if one.table == "score-sde-2"]
    assert (flow.method, flow.variant, flow.model) == ("DDPM++ cont.", "VP", "vp-last")
    assert [arguments[1:] for arguments, _ in found.likelihoods] == [("DDPM++ cont.", "VP", "vp-last")]
    chain = [one for one in found.samplings if one.table in ("fig17", "score-sde-1")]
    assert {one.model for one in chain} == {"ve-discrete"} and len(chain) == 13


def test_losses_are_ancestral_sampling_and_bounds(monkeypatch, tmp_path):
    """Both networks go down DDPM's own chain, at its ratios of noise to signal."""
    losses, found = PAPER.module("losses"), RecordedModels({"vp": VP(), "vp-likelihood": VP()})
    monkeypatch.setattr(losses, "TrainedModels", lambda book: found)
    losses.losses(book_of(PAPER, CONFIG, "losses", tmp_path))
    assert [(one.model, one.method, one.variant) for one in found.samplings] == [
        ("vp", "MLP", "L_simple"),
        ("vp-likelihood", "MLP", "L"),
    ]
    own = chains.predictor("ancestral", "VP")(chains.chain("VP", 21), grids.uniform(chains.chain("VP", 21), 21))
    for one in found.samplings:
        assert one.table == "score-sde-2" and one.sampler.nfe == 21 and one.protocol["levels"] == 21
        u = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        ends = [sampler(lambda u, t: -u, u, torch.Generator().manual_seed(1)) for sampler in (one.sampler, own)]
        assert torch.equal(*ends), "DDPM's ancestral step"
    assert found.likelihoods == [
        (("score-sde-2", "MLP", name, model), {"bound": True}) for model, name in (("vp", "L_simple"), ("vp-likelihood", "L"))
    ]
    specs = [CONFIG.models[name] for name in ("vp", "vp-likelihood")]
    assert [spec.objective.weighting for spec in specs] == ["simple", "likelihood"]
    assert specs[0].model_copy(update={"objective": specs[1].objective}) == specs[1], "trained alike but for the loss"
