"""smld_sde: exact laws of the chains of fig. 17 against samples and closed forms, the Langevin example, a run end to end."""

import json
import math

import numpy as np
import pytest
import torch
from pinned import check_pinned
from scipy.special import gammaln

from rescore.experiments.book import Run
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.protocol import format_protocol
from rescore.ledger.published import read_published
from rescore.ledger.records import Record
from rescore.metrics import sliced_wasserstein
from rescore.papers import load_config, load_paper
from rescore.samplers import PredictorCorrector, ancestral, probability_flow, reverse_diffusion
from rescore.scores import GaussianMixture

PAPER = load_paper("smld_sde")
chains, gaussian, toys, jobs, config = (PAPER.module(name) for name in ("chains", "gaussian", "toys", "jobs", "config"))
Gaussian = gaussian.Gaussian


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- chains ---------------------------------------------------------------------------------------------------------------


def test_ve_chain_between_its_levels():
    """sigma^2 is linear in each step, G G^T its slope, and rho = sigma is inverted."""
    process = chains.chain("VE", 5)
    t = torch.tensor([0.05, 0.1, 0.2, 0.33, 0.77, 1.0], dtype=torch.float64)
    assert torch.allclose(process.time_of_rho(process.rho(t)), t, rtol=1e-12)
    slope = (process.Sigma(t).values - process.Sigma(t - 1e-3).values) / 1e-3
    assert torch.allclose(process.GG(t).values, slope, rtol=1e-9)
    assert (process.F(t).values == 0).all()


def test_ve_chain_is_smld():
    """sigma_0 = 0, then geometric levels from 0.01 to 50; a step adds sigma_i^2 - sigma_{i-1}^2 (note eq. 44)."""
    process, times = chains.chain("VE", 1000), chains.chain_times(1000)
    sigma = process.Sigma(times).values.sqrt().flip(0)
    assert sigma[0] == 0
    assert sigma[[1, -1]].tolist() == pytest.approx([0.01, 50], rel=1e-12)
    ratios = sigma[2:] / sigma[1:-1]
    assert ratios.max().item() == pytest.approx(5000 ** (1 / 999), rel=1e-10) and (ratios.max() - ratios.min()).item() < 1e-10
    q = process.Q(times[:-1], times[1:]).values
    assert torch.allclose(q.flip(0), sigma[1:] ** 2 - sigma[:-1] ** 2, rtol=1e-12, atol=0)


def test_doubled_vp_chain_halves_the_betas():
    """Score-SDE: P2000 keeps the SDE, so both chains destroy the signal alike: m(1)^2 of 1000 levels is 4.0358e-5."""
    single, double = (chains.chain("VP", n).mean(1.0).values.item() ** 2 for n in (1000, 2000))
    assert single == pytest.approx(4.0358e-5, abs=5e-10)
    assert double == pytest.approx(math.exp(-10.05), rel=0.04) and double > single


@pytest.mark.parametrize(
    ("kind", "variance", "expected"),
    [("VE", 1 / 12, (0.083948, 0.082529, 0.086704)), ("VP", 0.25, (0.251381, 0.250752, 0.260508))],
)
def test_variances_of_1000_steps(kind, variance, expected):
    """Reverse diffusion, ancestral sampling, probability flow from the prior; expected values: scalar recursions by hand."""
    process, times = chains.chain(kind, 1000), chains.chain_times(1000)
    data = Gaussian(np.zeros(1), np.array([variance]))
    for name, value in zip(("reverse diffusion", "ancestral", "probability flow"), expected, strict=True):
        sampler = chains.predictor(name, kind)(process, times, denoise=chains.last_step(name))
        assert gaussian.result_law(sampler, process, data, 1000).variance[0] == pytest.approx(value, abs=6e-7)


def test_ancestral_ve_is_exact_for_one_point():
    """Ancestral sampling ends in the point; the flow keeps part of the noise (note eq. 64 ends with a half)."""
    process, times = chains.chain("VE", 100), chains.chain_times(100)
    data = Gaussian(np.array([0.3]), np.zeros(1))
    law = gaussian.result_law(ancestral(process, times), process, data, 100)
    assert law.mean[0] == pytest.approx(0.3, abs=1e-12) and law.variance[0] < 1e-20
    flow = gaussian.result_law(probability_flow(process, times), process, data, 100)
    assert 0.25 * 0.01**2 < flow.variance[0] < 0.01**2


def test_rounding_takes_every_label_twice():
    labels = [round(chains.score_time(t, 5, "rounding") * 5) - 1 for t in chains.chain_times(10)[:-1].flip(0).tolist()]
    assert labels == [i // 2 for i in range(10)]
    assert chains.score_time(0.37, 5, "linear") == 0.37


def test_cells_spend_what_fig_17_says():
    """1000 evaluations for P1000, 2000 for the rest; the keys are those of the printed numbers."""
    cells = list(chains.cells(1000))
    rows = read_published(PAPER.folder / "published.csv", "smld_sde")
    printed = [(r.table, r.method, r.variant, r.nfe) for r in rows if r.table in ("fig17", "score-sde-1")]
    assert {(c.table, c.method, c.variant, c.sampler.nfe) for c in cells} == set(printed)
    assert len(cells) == len(printed) == 26


# --- exact laws -----------------------------------------------------------------------------------------------------------


def test_mean_norm():
    """E|x| of N(0, I) in d dimensions is sqrt(2) Gamma((d + 1) / 2) / Gamma(d / 2); of a point its distance."""
    for d in (1, 2, 64):
        chi = math.sqrt(2) * math.exp(gammaln((d + 1) / 2) - gammaln(d / 2))
        assert gaussian.mean_norm(Gaussian(np.zeros(d), np.full(d, 9.0))) == pytest.approx(3 * chi, rel=1e-7)
    assert gaussian.mean_norm(Gaussian(np.array([3.0, 4.0]), np.zeros(2))) == pytest.approx(5, rel=1e-7)
    x = torch.tensor([1.0, -0.5, 0.0]) + torch.randn(400_000, 3, generator=generator()) * torch.tensor([0.1, 2.0, 0.7])
    law = Gaussian(np.array([1.0, -0.5, 0.0]), np.array([0.1, 2.0, 0.7]) ** 2)
    assert gaussian.mean_norm(law) == pytest.approx(x.norm(dim=1).mean().item(), rel=5e-3)


@pytest.mark.parametrize("kind", ["VE", "VP"])
@pytest.mark.parametrize("method", [*chains.PREDICTORS, chains.CORRECTOR])
def test_law_is_that_of_samples(kind, method):
    """Predictor-corrector and corrector-only runs of the library have the law that the recursion gives."""
    process, times, n = chains.chain(kind, 40), chains.chain_times(40), 20_000
    mean, std = torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.1], dtype=torch.float64)
    if method == chains.CORRECTOR:
        sampler = PredictorCorrector(process, times, None, snr=0.2, corrector_steps=2)
    else:
        step, last = chains.predictor(method, kind), chains.last_step(method)
        sampler = PredictorCorrector(process, times, step, snr=0.2, denoise=last)
    score = GaussianMixture(process, mean[None], std[None])
    x = sampler(score, process.prior_sample((n, 2), generator(), torch.float64), generator(1))
    law = gaussian.result_law(sampler, process, Gaussian(mean.numpy(), std.numpy() ** 2), 40)
    error = np.sqrt(law.variance / n)
    assert (np.abs(x.mean(0).numpy() - law.mean) < 4 * error).all()
    assert (np.abs(x.var(0).numpy() / law.variance - 1) < 5 * math.sqrt(2 / n)).all()


def test_distance_is_sw2_without_sampling_error():
    """Of many draws `sliced_wasserstein` gives the same number; VE results are measured on [-1, 1] too."""
    digits = gaussian.DigitsGaussian.load()
    assert digits.distance(digits.law, "VP") == 0
    assert digits.distance(digits.on_pixels("VE"), "VE") == pytest.approx(0, abs=1e-12)
    wider = Gaussian(digits.law.mean + 0.1, 1.5 * digits.law.variance)

    def draws(law: Gaussian, seed: int) -> torch.Tensor:
        z = np.random.default_rng(seed).standard_normal((8000, 64))
        return torch.from_numpy((law.mean + np.sqrt(law.variance) * z) @ digits.axes.T)

    assert digits.distance(wider, "VP") == pytest.approx(sliced_wasserstein(draws(wider, 0), draws(digits.law, 1)), rel=0.05)


def test_zero_corrector_steps_are_the_predictor():
    process, times = chains.chain("VE", 30), chains.chain_times(30)
    data = Gaussian(np.zeros(2), np.array([0.1, 0.4]))
    plain = gaussian.result_law(reverse_diffusion(process, times, denoise="mean"), process, data, 30)
    zero = PredictorCorrector(process, times, reverse_diffusion, corrector_steps=0, denoise="mean")
    assert (gaussian.result_law(zero, process, data, 30).variance == plain.variance).all()


# --- the toys -------------------------------------------------------------------------------------------------------------


def test_basin_boundary():
    """The unstable zero of the example's score; the weighted slopes of its Gaussians cancel there."""
    x = toys.basin_boundary()
    assert x == pytest.approx(-0.8207, abs=5e-5)
    parts = [w / s * math.exp(-((x - m) ** 2) / (2 * s**2)) * (m - x) / s**2 for w, m, s in ((0.6, 2, 0.5), (0.4, -2, 0.2))]
    assert sum(parts) == pytest.approx(0, abs=1e-12)


def test_mode_numbers():
    x = torch.tensor([[[1.0], [3.0], [2.0], [-2.0]], [[1.0], [-3.0], [-1.0], [-2.0]]])
    numbers = toys.mode_numbers(x, -0.8)
    assert numbers["weight_right"].tolist() == [0.75, 0.25] and numbers["weight_left"].tolist() == [0.25, 0.75]
    assert numbers["mean_right"].tolist() == [2.0, 1.0] and numbers["mean_left"].tolist() == [-2.0, -2.0]
    assert numbers["std_left"][1] == pytest.approx(math.sqrt(2 / 3)) and numbers["std_left"][0] == 0


def test_toy_levels_are_the_components_widths():
    """NCSN's toy: the last level of the annealing is the mixture itself, N((5, 5), I) and N((-5, -5), I)."""
    annealing = {"sigma_first": 20, "sigma_last": 1, "steps_per_level": 1, "step_size": 0.1}
    *_, exact = toys.run_toy(config.Config(toy={"particles": 2000, "steps": 1, "annealing": annealing}, jobs={}))
    x = exact.x.flatten(0, 1)
    right = x[x.sum(1) > 0]
    assert len(right) / len(x) == pytest.approx(0.8, abs=0.02)
    assert right.mean(0).tolist() == pytest.approx([5, 5], abs=0.05)
    assert right.std(0).tolist() == pytest.approx([1, 1], abs=0.03)


# --- the folder -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The records of the smoke config, smaller still, and the function evaluations."""
    loaded = load_config(PAPER, "smoke")
    small = {
        "example": {"particles": 200, "annealed_particles": 50, "long_particles": 20, "long_steps": 200},
        "toy": {"particles": 50},
        "grid": {"levels": 1000, "sampled_levels": 25, "particles": 20},
    }
    settings = config.Config.model_validate(json.loads(loaded.model_dump_json()) | small)
    run = Run("smld_sde", "smoke", "all", tmp_path_factory.mktemp("run"), "0" * 12, "cpu", 1)
    result = jobs.measure(settings.jobs["all"].model_copy(update={"models": ()}), settings, run)
    common = {"paper": "smld_sde", "scale": "smoke", "device": "cpu", "version": "0", "config_hash": "0" * 12}
    fields = [{key: getattr(m, key) for key in m.__dataclass_fields__} for m in result.measurements]
    return [Record(**f | {"protocol": format_protocol(f["protocol"])} | common) for f in fields], result


def test_numbers_are_what_they_were(smoke):
    check_pinned("smld_sde", smoke[1].measurements, smoke[1])


def test_claims_select_records(smoke):
    records, result = smoke
    rows = evaluate("smld_sde", PAPER.module("claims").CLAIMS, records)
    missing = {row["claim"] for row in rows if row["status"] in ("not-run", "broken")}
    trained = {claim.name for claim in PAPER.module("claims").TRAINED}
    assert missing == trained | {"all-levels-recover-the-weights"}  # it asks for 1000 levels, which smoke does not sample
    assert len(rows) >= 7 and len({record.key for record in records}) == len(records)
    assert result.function_evaluations > 0 and {"mixture1d/Langevin", "mixture2d/annealed Langevin"} <= set(result.arrays)


def test_facts_of_the_smoke_run(smoke):
    """What no number of particles can blur: laws of the exact grid, and descent without noise."""
    values = {(r.dataset, r.method, r.variant, r.metric, r.table): r.value for r in smoke[0]}
    steps = {(r.method, r.variant, r.nfe): r.value for r in smoke[0] if r.table == "steps"}

    def cell(method: str, variant: str, table: str = "fig17") -> float:
        return values["digits_gaussian", method, variant, "sw2", table]

    assert cell("probability flow", "VE P2000", "score-sde-1") < 0.7 * cell("probability flow", "VE P1000")
    assert cell("reverse diffusion", "VE P1000") == cell("reverse diffusion", "VE sigma_max 50", "largest-sigma")
    assert cell("reverse diffusion", "VP P1000") == steps["reverse diffusion", "VP", 1000]
    start, end = (
        values["mixture1d", m, v, "weight_right", "fig7"] for m, v in (("uniform start", ""), ("Langevin", "no noise"))
    )
    assert start == end


def test_every_published_row_ends_with_a_status(smoke):
    published = read_published(PAPER.folder / "published.csv", "smld_sde")
    frame = diff(smoke[0], published, {"smld_sde": PAPER})
    statuses = frame.groupby("table")["status"].unique().map(list).to_dict()
    assert statuses == {"fig7": ["indicative"], "fig17": ["indicative"], "score-sde-1": ["indicative"], "fig13b": ["not-run"],
                        "score-sde-2": ["not-run"], "score-sde-3": ["not-run"]}  # fmt: skip
    assert not frame["note"].str.contains("no record").any()
    assert frame[frame["table"] == "fig17"]["note"].str.contains("stand-in: dataset=digits_gaussian").all()


def test_configs_and_claims_load():
    for scale in PAPER.scales:
        assert set(load_config(PAPER, scale).jobs)
    assert PAPER.scales == ["smoke", "laptop", "gpu", "paper"]
    names = [claim.name for claim in PAPER.module("claims").CLAIMS]
    assert len(set(names)) == len(names) and len(names) >= 7


def test_a_job_depends_on_its_own_settings():
    base = load_config(PAPER, "laptop")
    other = base.model_copy(update={"steps": (50,)})
    assert base.job_dependencies("langevin") == other.job_dependencies("langevin")
    assert base.job_dependencies("grid") != other.job_dependencies("grid")
