"""smld_sde: exact laws of the chains of fig. 17 against samples and closed forms, the Langevin example, a run end to end."""

import math

import pytest
import torch
from conftest import ROOT
from measuring import as_records, book_of, configured, measured
from pinned import check_pinned
from rescore.config import Step
from rescore.data.digits import load_digits
from rescore.errors import RescoreError
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.ledger.records import Record, read_records
from rescore.metrics import sliced_wasserstein
from rescore.papers import load_config, load_paper
from rescore.problems.gaussian import GaussianLaw, exact_score, law_after, prior_law
from rescore.processes import grids
from rescore.samplers import PredictorCorrector, ancestral, predictor_corrector, probability_flow, reverse_diffusion
from rescore.samplers.base import Sampler
from rescore.scores import GaussianMixture

PAPER = load_paper("smld_sde")
chains, grid, langevin = (PAPER.module(name) for name in ("chains", "grid", "langevin"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(mean: list[float], variances: list[float]) -> GaussianLaw:
    return GaussianLaw.independent(torch.tensor(mean, dtype=torch.float64), torch.tensor(variances, dtype=torch.float64))


def result_law(sampler: Sampler, data: GaussianLaw) -> GaussianLaw:
    """From the prior, with the exact score."""
    return law_after(sampler, exact_score(sampler.process, data), prior_law(sampler.process, data.shape))


# --- chains ---------------------------------------------------------------------------------------------------------------


def test_ve_chain_is_smld():
    """sigma_0 = 0, then geometric levels 0.01 to 50 for pixels in [0, 1]; a step adds sigma_i^2 - sigma_{i-1}^2 (eq. 44)."""
    process = chains.chain("VE", 1000)
    times = grids.uniform(process, 1000)
    sigma = process.Sigma(times).values.sqrt().flip(0)
    assert sigma[0] == 0
    assert sigma[[1, -1]].tolist() == pytest.approx([0.02, 100], rel=1e-12)
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
    [("VE", 4 / 12, (4 * 0.083948, 4 * 0.082529, 4 * 0.086704)), ("VP", 0.25, (0.251381, 0.250752, 0.260508))],
)
def test_variances_of_1000_steps(kind, variance, expected):
    """Reverse diffusion, ancestral sampling, probability flow from the prior; expected values: scalar recursions by hand."""
    process, data = chains.chain(kind, 1000), gaussian([0.0], [variance])
    for name, value in zip(("reverse diffusion", "ancestral", "probability flow"), expected, strict=True):
        sampler = chains.predictor(name, kind)(process, grids.uniform(process, 1000))
        assert result_law(sampler, data).variances.item() == pytest.approx(value, abs=2.4e-6)


def test_ancestral_ve_is_exact_for_one_point():
    """Ancestral sampling ends in the point; the flow keeps part of the noise (note eq. 64 ends with a half)."""
    process, data = chains.chain("VE", 100), gaussian([0.3], [0.0])
    times = grids.uniform(process, 100)
    law = result_law(ancestral(process, times), data)
    assert law.mean.item() == pytest.approx(0.3, abs=1e-12) and law.variances.item() < 1e-20
    assert 0.25 * 0.02**2 < result_law(probability_flow(process, times), data).variances.item() < 0.02**2


def test_rounding_takes_every_label_twice():
    process = chains.chain("VP", 50)
    labels = [round(chains.label_time(t, 25) * 25) - 1 for t in grids.uniform(process, 50)[:-1].flip(0).tolist()]
    assert labels == [i // 2 for i in range(50)]
    one = next(one for one in chains.chain_samplers(25) if one.scores == "linear")
    assert one.at_levels(generator) is generator


def test_cells_spend_what_fig_17_says():
    """1000 evaluations for P1000, 2000 for the rest; the keys are those of the printed numbers."""
    cells = list(chains.chain_samplers(1000))
    rows = read_published(PAPER.folder / "published.csv", "smld_sde")
    printed = [(r.table, r.method, r.variant, r.nfe) for r in rows if r.table in ("fig17", "score-sde-1")]
    assert {(c.table, c.method, c.variant, c.sampler.nfe) for c in cells} == set(printed)
    assert len(cells) == len(printed) == 26


# --- exact laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["VE", "VP"])
@pytest.mark.parametrize("method", [*chains.PREDICTORS, chains.CORRECTOR])
def test_law_is_that_of_samples(kind, method):
    """Predictor-corrector and corrector-only runs of the library have the law that the recursion gives."""
    process, n = chains.chain(kind, 40), 20_000
    times = grids.uniform(process, 40)
    mean, std = torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.1], dtype=torch.float64)
    if method == chains.CORRECTOR:
        sampler = predictor_corrector(process, times, None, snr=0.2, corrector_steps=2)
    else:
        step = chains.predictor(method, kind)
        sampler = predictor_corrector(process, times, step, snr=0.2, denoise=step(process, times).denoise)
    score = GaussianMixture(process, mean[None], std[None])
    x = sampler(score, process.prior_sample((n, 2), generator(), torch.float64), generator(1))
    law = result_law(sampler, GaussianLaw.independent(mean, std**2))
    assert ((x.mean(0) - law.mean[0]).abs() < 4 * (law.variances / n).sqrt()).all()
    assert ((x.var(0) / law.variances - 1).abs() < 5 * math.sqrt(2 / n)).all()


def test_distance_is_sw2_without_sampling_error(tmp_path):
    """Of many draws `sliced_wasserstein` gives the same number; VE takes the digits in [0, 2]."""
    digits = grid.DigitsGaussian()
    for kind, shift in grid.SHIFT.items():
        x = digits.problems[kind].data.sample(8000, generator()) @ digits.axes.T
        assert torch.allclose(x.mean(0), load_digits().double().flatten(1).mean(0) + shift, atol=0.05)
    process = chains.chain("VP", 40)
    sampler = probability_flow(process, grids.uniform(process, 40))
    problem, n = digits.problems["VP"], 8000
    ends = sampler(problem.score(process), process.prior_sample((n, 64), generator(1), torch.float64)) @ digits.axes.T
    data = problem.data.sample(n, generator(3)) @ digits.axes.T
    book = book_of(PAPER, load_config(PAPER, "smoke"), "all", tmp_path)
    digits.measure(book, "t", "m", "v", "VP", sampler, {})
    assert book.measurements[0].value == pytest.approx(sliced_wasserstein(ends, data), rel=0.05)


def test_zero_corrector_steps_are_the_predictor():
    process, data = chains.chain("VE", 30), gaussian([0.0, 0.0], [0.1, 0.4])
    times = grids.uniform(process, 30)
    zero = PredictorCorrector(process, times, reverse_diffusion, corrector_steps=0, denoise="mean")
    assert torch.equal(result_law(zero, data).variances, result_law(reverse_diffusion(process, times, "mean"), data).variances)


# --- the toys -------------------------------------------------------------------------------------------------------------


def test_basin_boundary():
    """The unstable zero of the example's score; the weighted slopes of its Gaussians cancel there."""
    x = langevin.basin_boundary()
    assert x == pytest.approx(-0.8207, abs=5e-5)
    parts = [w / s * math.exp(-((x - m) ** 2) / (2 * s**2)) * (m - x) / s**2 for w, m, s in ((0.6, 2, 0.5), (0.4, -2, 0.2))]
    assert sum(parts) == pytest.approx(0, abs=1e-12)


def test_toy_levels_are_the_components_widths(tmp_path, monkeypatch):
    """NCSN's toy: the last level of the annealing is the mixture itself, N((5, 5), I) and N((-5, -5), I)."""
    monkeypatch.setattr(langevin, "PROJECTIONS", 1)  # of distances, which are not looked at here
    annealing = {"sigma_first": 20, "sigma_last": 1, "steps_per_level": 1, "step_size": 0.1}
    settings = {"particles": 2000, "steps": 1, "annealing": annealing}
    book = book_of(PAPER, configured(PAPER, {"toy": settings, "jobs": {"one": {"measure": ["toy"]}}}), "one", tmp_path)
    langevin.toy(book)
    x = torch.from_numpy(book.arrays["mixture2d/exact draws"])
    right = x[x.sum(1) > 0]
    assert len(right) / len(x) == pytest.approx(0.8, abs=0.03)
    assert right.mean(0).tolist() == pytest.approx([5, 5], abs=0.1)
    assert right.std(0).tolist() == pytest.approx([1, 1], abs=0.06)


# --- the folder -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The records of the smoke config without trained networks, smaller still, and the result.

    It has fewer levels than the claims and the printed rows ask for: the committed records stand for those.
    """
    content = load_config(PAPER, "smoke").model_dump(mode="json") | {
        "example": {"particles": 200, "annealed_particles": 50, "long_particles": 20, "long_steps": 200},
        "toy": {"particles": 50, "steps": 100},
        "grid": {"levels": 100, "sampled_levels": 25, "particles": 20},
        "steps": {"steps": [30, 100]},
    }
    content["kernel"] |= {"points": [40, 20, 60]}
    content["jobs"]["all"] |= {
        "models": [],
        "measure": [name for name in content["jobs"]["all"]["measure"] if name != "trained"],
    }
    result = measured(PAPER, configured(PAPER, content), "all", tmp_path_factory.mktemp("run"))
    return as_records(PAPER, result), result


def committed() -> list[Record]:
    return read_records(ROOT / "results/reference/laptop/records/smld_sde.csv", "laptop")


def test_numbers_are_what_they_were(smoke):
    check_pinned("smld_sde", smoke[1].measurements, smoke[1])


def test_claims_select_records():
    rows = evaluate("smld_sde", PAPER.module("claims").CLAIMS, committed())
    assert [row["claim"] for row in rows if row["status"] in ("not-run", "broken")] == []


def test_a_place_has_one_record(smoke):
    records, result = smoke
    assert len({record.key for record in records}) == len(records)
    assert result.function_evaluations > 0 and {"mixture1d/Langevin", "mixture2d/annealed Langevin"} <= set(result.arrays)


def test_facts_of_the_smoke_run(smoke):
    """What no number of particles can blur: laws of the exact grid, and descent without noise."""
    values = {(r.dataset, r.method, r.variant, r.metric, r.table): r.value for r in smoke[0]}
    steps = {(r.method, r.variant, r.nfe): r.value for r in smoke[0] if r.table == "steps"}

    def cell(method: str, variant: str, table: str = "fig17") -> float:
        return values["digits_gaussian", method, variant, "sw2", table]

    assert cell("probability flow", "VE P200", "score-sde-1") < 0.7 * cell("probability flow", "VE P100")
    assert cell("reverse diffusion", "VE P100") == cell("reverse diffusion", "VE sigma_max 50", "largest-sigma")
    assert cell("reverse diffusion", "VP P100") == steps["reverse diffusion", "VP", 100]
    start, end = (
        values["mixture1d", m, v, "weight_right", "fig7"] for m, v in (("uniform start", ""), ("Langevin", "no noise"))
    )
    assert start == end


def test_every_published_row_ends_with_a_status():
    published = read_published(PAPER.folder / "published.csv", "smld_sde")
    frame = diff([record for record in committed() if record.dataset != "mnist"], published, {"smld_sde": PAPER})
    statuses = frame.groupby("table")["status"].unique().map(set).to_dict()
    assert statuses.pop("fig7") <= {"reproduced", "off", "imprecise"}, "of the paper's own setting"
    some = {"not-run", "indicative"}
    exact = {"fig17": {"indicative"}, "score-sde-1": {"indicative"}}
    assert statuses == exact | {"fig13b": some, "score-sde-2": some, "score-sde-3": some}
    assert not frame["note"].str.contains("no record").any()
    assert frame[frame["table"] == "fig17"]["note"].str.contains("stand-in: dataset=digits").all()


def test_every_scale_validates():
    everything = set(PAPER.module("jobs").SECTIONS)
    assert PAPER.scales == ["smoke", "laptop", "gpu", "paper"]
    for scale, sections in {"smoke": everything, "laptop": everything, "gpu": {"trained"}, "paper": {"trained"}}.items():
        jobs = load_config(PAPER, scale).jobs.values()
        assert {name for job in jobs for name in job.measure} == sections
        assert all(
            bool(job.models) == bool({"trained", "likelihoods", "losses", "ncsn", "encoding"} & set(job.measure))
            for job in jobs
        )


def test_claims_on_correctors_say_where_fig_17_prints_the_opposite():
    rows = read_published(PAPER.folder / "published.csv", "smld_sde")
    fids = {(row.method, row.variant): row.value for row in rows if row.table == "fig17"}
    claims = PAPER.module("claims")
    sources = {claim.name: claim.source for claim in claims.CLAIMS}
    for kind, expected in (("VE", set(claims.PREDICTORS)), ("VP", {"probability flow"})):
        pairs = {name: (fids[name, f"{kind} PC1000"], fids[name, f"{kind} P2000"]) for name in claims.PREDICTORS}
        assert {name for name, (corrected, longer) in pairs.items() if float(corrected) < float(longer)} == expected
        trained = sources[f"trained-corrector-beats-more-steps-{kind}"]
        for source in (sources[f"corrector-beats-more-steps-{kind.lower()}"], trained):
            assert ("for probability flow alone" in source) == (kind == "VP")
        against = [f"{name} {' against '.join(pairs[name])}" for name in claims.PREDICTORS if name not in expected]
        assert all(text in trained for text in against)


def test_quarters_of_a_training_need_four_steps():
    with pytest.raises(RescoreError, match=r"manifold\.steps: .*4"):
        configured(PAPER, {"manifold": {"steps": 3}, "jobs": {}})


def test_claims_have_names_of_their_own():
    names = [claim.name for claim in PAPER.module("claims").CLAIMS]
    assert len(set(names)) == len(names)


def test_a_section_depends_on_its_own_settings():
    base = load_config(PAPER, "laptop")
    content = base.model_dump(mode="json") | {"grid": {"levels": 500}}
    other = configured(PAPER, content)
    changed = {
        step.section
        for job in ("langevin", "grid")
        for step in base.jobs[job].steps
        if base.step_dependencies(job, step) != other.step_dependencies(job, step)
    }
    assert changed == {"exact_grid", "sampled_grid", "largest_sigma"}
    assert base.step_dependencies("trained", Step("trained")) == other.step_dependencies("trained", Step("trained"))
