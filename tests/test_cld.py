"""The paper CLD: its closed forms against independent ones and reference values, its toy, its records, claims and verdicts."""

import math

import numpy as np
import pytest
import torch
from conftest import ROOT
from measuring import as_records, measured
from pinned import check_pinned
from rescore.errors import RescoreError
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.ledger.records import KEY, read_records
from rescore.papers import load_config, load_paper
from rescore.problems import distances
from rescore.problems.gaussian import GaussianLaw, exact_score, kl_divergence, law_after, law_at, prior_law, squared_wasserstein
from rescore.problems.langevin import decay_rate, langevin_law, last_above
from rescore.problems.score_norms import distance_to_normal, jacobian_norms, target_variance
from rescore.processes import CLD, Langevin, grids
from rescore.random import make_generator
from rescore.samplers import euler_maruyama, sscs
from rescore.scores import GaussianMixture
from scipy.integrate import solve_ivp
from scipy.linalg import sqrtm

PAPER = load_paper("cld")
problems, sampled = PAPER.module("problems"), PAPER.module("sampled")
MAIN = problems.MAIN
ON_MODELS = {"trained", "jacobians"}  # sections of trained networks
B = torch.tensor([0.1, 0.7, 3.0], dtype=torch.float64)
START = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.diag(torch.tensor([0.0, 0.01], dtype=torch.float64))


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory):
    """The smoke run's result, without trained networks, with fewer tolerances and evaluations, and its records."""
    config = load_config(PAPER, "smoke")
    digits = config.digits.model_copy(update={"tolerances": config.digits.tolerances[-2:], "samples": 2})
    frechet = config.frechet.model_copy(update={"cld": config.frechet.cld | {"EM-QS": (50, 150)}})
    config = config.model_copy(update={"digits": digits, "frechet": frechet})
    job = config.jobs["all"]
    job = job.model_copy(update={"models": (), "measure": tuple(name for name in job.measure if name not in ON_MODELS)})
    result = measured(PAPER, config.model_copy(update={"jobs": {"all": job}}), "all", tmp_path_factory.mktemp("run"))
    return result, as_records(PAPER, result)


@pytest.fixture
def smoke(smoke_run):
    return smoke_run[1]


def test_numbers_are_what_they_were(smoke_run):
    check_pinned("cld", smoke_run[0].measurements, smoke_run[0])


# --- closed forms -------------------------------------------------------------------------------------------------------------


def test_critical_langevin_is_the_library_process():
    law, t = langevin_law(B, MAIN.M, MAIN.Gamma, *START), B / MAIN.beta_min
    assert torch.allclose(law.mean.T, MAIN.mean(t).values @ START[0], rtol=1e-10)
    assert torch.allclose(law.covariance, MAIN.Sigma(t).values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_langevin_laws_solve_their_equations(ratio):
    M, Gamma = 0.25, ratio
    F, GG = np.array([[0, 1 / M], [-1, -Gamma / M]]), np.diag([0, 2 * Gamma])

    def rate(_, y):
        mean, covariance = y[:2], y[2:].reshape(2, 2)
        return np.concatenate((F @ mean, (F @ covariance + covariance @ F.T + GG).ravel()))

    end = solve_ivp(rate, (0, 3.0), np.concatenate((START[0], START[1].ravel())), rtol=1e-11, atol=1e-13).y[:, -1]
    law = langevin_law(B[-1:], M, Gamma, *START)
    assert law.mean[:, 0].tolist() == pytest.approx(end[:2], abs=1e-9)
    assert law.covariance[0].flatten().tolist() == pytest.approx(end[2:], abs=1e-9)


@pytest.mark.parametrize("friction", [0.25, 1.0, 4.0])
def test_paths_have_the_moments_of_the_closed_form(friction):
    """20,000 paths of four steps from a point, against the law of the whole time: mean, covariance, also between times."""
    process = Langevin(beta_min=1.0, beta_max=1.0, eps0=0.0, T=40.0, friction=friction)
    assert process.Gamma == friction and Langevin(friction=1.0).Sigma(0.3).values.flatten().tolist() == pytest.approx(
        CLD().Sigma(0.3).values.flatten().tolist(), rel=1e-9
    )
    times, n = [0.0, 0.1, 0.5, 1.2, 3.0], 20_000
    noise = torch.randn(n, 1, generator=make_generator("velocity"), dtype=torch.float64) * 0.1
    u = torch.stack((torch.ones_like(noise), noise), 1)
    paths = process.path(u, times, make_generator("paths", friction))[..., 0]
    law = langevin_law(torch.tensor(times, dtype=torch.float64), process.M, friction, *START)
    for states, mean, covariance in zip(paths[1:], law.mean.T[1:], law.covariance[1:], strict=True):
        assert ((states.mean(0) - mean).abs() < 4 * (covariance.diagonal() / n).sqrt()).all()
        found, variance = torch.cov(states.T), covariance.diagonal()
        error = ((covariance**2 + variance[:, None] * variance) / n).sqrt()  # of a Normal's sample covariance
        assert ((found - covariance).abs() < 4.5 * error).all()
    early, late = paths[2] - law.mean.T[2], paths[4] - law.mean.T[4]
    between = process.Psi(3.0, 0.5).values @ law.covariance[2]
    scale = (law.covariance[4].diagonal()[:, None] * law.covariance[2].diagonal() + between**2).div(n).sqrt()
    assert ((late.T @ early / n - between).abs() < 4.5 * scale).all()


def test_langevin_names_its_friction():
    assert Langevin(friction=0.5, eps0=0.0).label == "CLD M:0.25 gamma:0.04 beta:4..4 friction:0.5"
    with pytest.raises(RescoreError, match=r"Langevin: friction = 0.0; allowed are numbers in \(0, inf\)"):
        Langevin(friction=0.0)


def test_joint_density_at_critical_friction_is_the_process_of_the_library():
    """Whose closed form takes no matrix exponential; on the grid it integrates to 1, and to the marginal of x."""
    densities = PAPER.module("densities")
    score, critical = densities.density_of(1.0, 4.0), CLD(eps0=0.0)
    u, dx, dv = densities.states(0.25, 121)
    for t in (0.2, 1.5, 4.0):  # beta t, and beta is 4
        found, expected = score.log_prob(u, t), GaussianMixture(critical, densities.MODES, 0.1).log_prob(u, t / 4)
        assert torch.allclose(found, expected, rtol=1e-8, atol=1e-8)
        assert (found.exp().sum() * dx * dv).item() == pytest.approx(1, abs=2e-4)
    spread = critical.mean(0.375).values[0, 0].square() * 0.01 + critical.Sigma(0.375).values[0, 0]
    centre = critical.mean(0.375).values[0, 0]
    x = u[:121, 0, 0]
    wanted = sum(torch.exp(-((x - s * centre) ** 2) / 2 / spread) for s in (-1, 1)) / 2 / (2 * math.pi * spread).sqrt()
    found = score.log_prob(u, 1.5).exp().reshape(121, 121).sum(0) * dv
    assert torch.allclose(found, wanted, atol=1e-4)


def test_regimes_of_friction(smoke_run):
    """The section's numbers again from closed forms: the moments' distance, and the correlation at critical damping, >= 0."""
    result, rows = (
        smoke_run[0],
        {(one.variant, one.metric): one.value for one in smoke_run[0].measurements if one.dataset == "two_modes"},
    )
    b = torch.from_numpy(result.arrays["densities/B"])
    assert len(rows) == 9 and len(b) == 81
    for ratio in (0.25, 4.0):
        start = torch.diag(torch.tensor([1.01, 0.01], dtype=torch.float64))
        law = langevin_law(b, 0.25, ratio, torch.zeros(2, dtype=torch.float64), start)
        w2 = squared_wasserstein(law, prior_law(MAIN, (len(b),))).sqrt()
        late = b[(w2 > 0.01).nonzero().max() + 1].item()
        assert rows[f"Gamma/critical={ratio:g}", "mixing_time_moments"] == pytest.approx(late)
        tv = result.arrays[f"densities/tv/{ratio:g}"]
        assert 0.85 < tv[0] < 0.92 and tv[-1] < 0.01
        assert np.diff(tv).max() < 2e-3, "no Markov process moves away from its equilibrium"
    swing = math.exp(-math.pi * 0.25 / math.sqrt(1 - 0.25**2))  # the first minimum of an underdamped correlation
    assert rows["Gamma/critical=0.25", "autocorrelation"] == pytest.approx(-swing, rel=0.05)
    assert abs(rows["Gamma/critical=1", "autocorrelation"]) < 1e-9
    assert result.arrays["densities/paths/1"].shape == (17, 2, 2)


def test_distances_to_the_prior():
    law, equilibrium = langevin_law(B, 0.25, 0.5, *START), prior_law(MAIN, (len(B),))
    prior = torch.diag(torch.tensor([1, 0.25], dtype=torch.float64))
    normal = torch.distributions.MultivariateNormal
    kl = torch.distributions.kl_divergence(
        normal(law.mean.T, law.covariance), normal(torch.zeros(2, dtype=torch.float64), prior)
    )
    assert torch.allclose(kl_divergence(law, equilibrium), kl, rtol=1e-9)
    for mean, covariance, w2 in zip(law.mean.T, law.covariance, squared_wasserstein(law, equilibrium).tolist(), strict=True):
        root = sqrtm(prior.sqrt().numpy() @ covariance.numpy() @ prior.sqrt().numpy()).real
        assert w2 == pytest.approx(
            (mean.square().sum() + covariance.trace() + prior.trace() - 2 * np.trace(root)).item(), rel=1e-7
        )


@pytest.mark.parametrize("Gamma", [0.2, 1.0, 5.0])
def test_decay_rate_is_the_spectral_gap(Gamma):
    F = np.array([[0, 4.0], [-1, -4 * Gamma]])
    assert decay_rate(0.25, Gamma) == pytest.approx(-np.linalg.eigvals(F).real.max(), rel=1e-6)


def test_last_above():
    clock, values = torch.arange(5.0), torch.tensor([3.0, 0.5, 2.0, 0.5, 0.1])
    assert last_above(clock, values, 1.0) == 3
    assert last_above(clock, values, 0.01) == 4
    assert last_above(clock, values, 9.0) == 0


@pytest.mark.parametrize("gamma", [0.04, 0.0, 1.0])
def test_target_variance_against_draws(gamma):
    """Draws of (x_0, eps) and of v_0 for DSM; target -ell eps_v, score of the marginal."""
    t, n = torch.tensor(0.05, dtype=torch.float64), 200_000
    process, generator = CLD(gamma=gamma, eps0=0.0), make_generator("target", gamma)
    noise = torch.randn(n, 2, 2, 1, generator=generator, dtype=torch.float64)
    x0 = math.sqrt(0.3) * noise[:, 0]
    if not gamma:
        x0[:, 1] = 0.1 * noise[:, 0, 1]  # v_0, std sqrt(gamma M)
    else:
        x0[:, 1] = 0
    u = process.mean(t)(x0) + process.L(t)(noise[:, 1])
    data = GaussianLaw.independent(torch.zeros(1), torch.tensor([0.3], dtype=torch.float64))
    law = law_at(process if gamma else MAIN, data, t.item())
    score = law.score(u)[:, 1, 0]
    target = -process.ell(t) * noise[:, 1, 1, 0]
    assert (target - score).square().mean().item() == pytest.approx(target_variance(process, t, 0.3).item(), rel=0.02)


@pytest.mark.parametrize(
    ("t", "eps_num", "hsm"),
    [(1e-6, 1e-9, 10.009), (1e-5, 1e-9, 11.16), (1e-4, 1e-9, 39.2), (1e-2, 1e-9, 6.914), (1e-4, 0.0, 61.4)],
)
def test_ell_at_reference_times(t, eps_num, hsm):
    process = CLD(eps0=0.0, eps_num=eps_num)
    assert process.ell(t).item() == pytest.approx(hsm, rel=1e-3)


# --- samplers on Gaussians ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "grid", "n", "error"),
    [
        (euler_maruyama, grids.uniform, 200, 0.0297),
        (sscs, grids.uniform, 200, 0.0123),
        (sscs, grids.uniform, 400, 0.00435),
        (euler_maruyama, grids.quadratic_striding, 400, 0.0021),
        (sscs, grids.quadratic_striding, 200, 0.00219),
    ],
)
def test_covariance_errors(make, grid, n, error):
    data = GaussianLaw.independent(torch.zeros(1), torch.tensor([0.3], dtype=torch.float64))
    start, end = (law_at(MAIN, data, t) for t in (1.0, 1e-3))
    law = law_after(make(MAIN, grid(MAIN, n)), exact_score(MAIN, data), start)
    assert (law.covariance - end.covariance).abs().max().item() == pytest.approx(error, rel=6e-3)


# --- the toy ------------------------------------------------------------------------------------------------------------------


def test_nine_modes():
    a = 1 / math.sqrt(2)
    expected = {(0, 0), (a, 0), (-a, 0), (0, a), (0, -a)} | {(x, y) for x in (a / 2, -a / 2) for y in (a / 2, -a / 2)}
    found = {tuple(round(value, 9) + 0.0 for value in mode) for mode in problems.MODES.tolist()}
    assert found == {tuple(round(value, 9) + 0.0 for value in mode) for mode in expected}


def test_off_mode_of_exact_draws():
    toy = problems.mixture(load_config(PAPER, "smoke"), problems.PROCESSES["VPSDE"], 100_000)
    (found, *_) = distances.off_modes(toy.draws("off")[:1], problems.MODES, problems.OFF_MODE)
    assert found == pytest.approx(math.exp(-8), abs=2e-4)


@pytest.mark.parametrize(
    ("method", "t", "value", "rel"),
    [
        ("CLD", 0.01, 1.77, 0.05),
        ("CLD", 0.2, 0.42, 0.1),
        ("VPSDE", 0.01, 554, 0.05),
        ("VPSDE", 0.1, 5.05, 0.06),
        ("CLD", 0.5, 0.03, 0.1),
    ],
)
def test_xi_at_reference_times(method, t, value, rel):
    process, _ = sampled.FIG_2[method]
    score = GaussianMixture(process, problems.MODES, problems.MODE_STD)
    u = score.sample(20_000, t, make_generator("xi", method, t))
    assert distance_to_normal(process, score, u, t) == pytest.approx(value, rel=rel)


def test_xi_of_the_prior_is_0():
    """Whatever the mass: fig. 2 has M = 1 alone."""
    u, equilibrium = MAIN.prior_sample((5, 2, 3), make_generator("prior"), torch.float64), prior_law(MAIN, (3,))
    assert distance_to_normal(MAIN, lambda u, t: equilibrium.score(u), u, 0.1) == pytest.approx(0, abs=1e-25)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("method", ["CLD", "VPSDE"])
def test_jacobians_against_differences(method, mixed):
    process, t = sampled.FIG_2[method][0], 0.05
    score = GaussianMixture(process, problems.MODES, problems.MODE_STD)
    u = score.sample(3, t, make_generator("jacobian"))

    def alpha(u):
        spread = process.Sigma(t).values
        if method == "VPSDE":
            return -spread.sqrt() * (score(u, t) + (u if mixed else 0))
        ell = (spread[0, 0] / (spread[0, 0] * spread[1, 1] - spread[0, 1] ** 2)).sqrt()
        return -(score(u, t) + (u / spread[1, 1] if mixed else 0))[:, 1] / ell

    h, total = 1e-6, 0.0
    for i in range(u[0].numel()):
        step = torch.zeros(u[0].numel(), dtype=torch.float64)
        step[i] = h
        step = step.reshape(u[0].shape)
        total += ((alpha(u + step) - alpha(u - step)) / (2 * h)).square().flatten(1).sum(1).mean().item()
    assert jacobian_norms(process, score, u, t)[mixed] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(("variant", "nfe"), [("EM-US", 12), ("SSCS-QS", 7)])
def test_denoising_counts_as_an_evaluation(variant, nfe):
    sampler, calls = problems.sampler_of("CLD", variant, MAIN, nfe), []
    toy = problems.mixture(load_config(PAPER, "smoke"), MAIN, 3)
    sampler(lambda u, t: calls.append(t) or toy.score(u, t), toy.start(), make_generator("count"))
    assert sampler.nfe == len(calls) == nfe
    assert calls[-1] == 1e-3


# --- records, claims, verdicts ------------------------------------------------------------------------------------------------


def test_every_scale_validates():
    everything = set(PAPER.module("jobs").SECTIONS)
    for scale, sections in {"smoke": everything, "laptop": everything, "gpu": {"trained"}, "paper": {"trained"}}.items():
        jobs = load_config(PAPER, scale).jobs.values()
        assert {name for job in jobs for name in job.measure} == sections
        assert all(bool(job.models) == bool(ON_MODELS & set(job.measure)) for job in jobs)


def test_smoke_has_what_claims_and_verdicts_need():
    """The committed records of all its cells."""
    smoke = read_records(ROOT / "results/reference/smoke/records/cld.csv", "smoke")
    rows = evaluate("cld", PAPER.module("claims").CLAIMS, smoke)
    trained = {claim.name for claim in PAPER.module("claims").TRAINED}  # some ask for more evaluations
    assert {row["claim"] for row in rows if row["status"] in ("not-run", "broken")} <= trained
    closed = {row["claim"]: row["status"] for row in rows}
    assert (closed["hsm-bounded"], closed["hsm-bounded-stabilised"], closed["sscs-keeps-equilibrium"]) == (
        "fails",
        "holds",
        "holds",
    )
    published = read_published(PAPER.folder / "published.csv", "cld")
    verdicts = diff(smoke, published, {"cld": PAPER})
    assert len(published) == 53 and (verdicts["note"] != "no record").all()
    assert set(verdicts["status"]) == {"indicative", "not-run"}
    shown = verdicts[verdicts["table"] == "9"].set_index(["method", "variant", "nfe"])["measured"]
    by_key = {tuple(getattr(record, column) for column in KEY): record.value for record in smoke}
    assert shown["CLD", "SSCS-QS", 50] == by_key["cld", "9", "digits_gaussian", "CLD", "SSCS-QS", "frechet", 50]


def test_every_record_is_finite_and_exact_draws_set_the_floor(smoke):
    floor = {(record.dataset, record.metric): record.value for record in smoke if record.method == "exact"}
    assert floor["digits_exact", "nearest"] == 0 and floor["mixture9", "off_mode"] < 0.01
    assert all(record.stderr is not None for record in smoke)
    exact = [r for r in smoke if (r.dataset, r.method, r.metric) == ("digits_exact", "exact", "nearest")]
    assert [(r.over, r.stderr, r.df) for r in exact] == [("exact", 0.0, None)], "draws of the data are data"
