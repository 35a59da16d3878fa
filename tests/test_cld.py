"""The paper CLD: its closed forms against independent ones and reference values, its toy, its records, claims and verdicts."""

import math

import numpy as np
import pytest
import torch
from pinned import check_pinned
from scipy.integrate import solve_ivp
from scipy.linalg import sqrtm

from rescore.experiments.book import Run
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.protocol import format_protocol
from rescore.ledger.published import read_published
from rescore.ledger.records import KEY, Record
from rescore.papers import load_config, load_paper
from rescore.processes import CLD, VP, grids
from rescore.random import make_generator
from rescore.samplers import SSCS, ddim, euler_maruyama

PAPER = load_paper("cld")
exact, problems, sections = (PAPER.module(name) for name in ("closed_forms", "problems", "sections"))
MAIN = problems.MAIN
B = torch.tensor([0.1, 0.7, 3.0], dtype=torch.float64)
START = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.diag(torch.tensor([0.0, 0.01], dtype=torch.float64))


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory):
    """The smoke run's result and its records."""
    config = load_config(PAPER, "smoke")
    result = PAPER.module("jobs").measure(
        config.jobs["all"].model_copy(update={"models": ()}), config, Run("cld", "smoke", "all", tmp_path_factory.mktemp("run"), "0" * 12, "cpu", 1)
    )
    shared = {"paper": "cld", "scale": "smoke", "device": "cpu", "version": "0", "config_hash": "0" * 12}
    columns = ("table", "dataset", "method", "variant", "metric", "nfe", "value", "stderr", "df", "over", "n_seeds", "n_samples",
               "seconds")  # fmt: skip
    return result, [Record(**{key: getattr(one, key) for key in columns} | shared, protocol=format_protocol(one.protocol))
                    for one in result.measurements]  # fmt: skip


@pytest.fixture
def smoke(smoke_run):
    return smoke_run[1]


def test_numbers_are_what_they_were(smoke_run):
    check_pinned("cld", smoke_run[0].measurements, smoke_run[0])


# --- closed forms -------------------------------------------------------------------------------------------------------------


def test_critical_langevin_is_the_library_process():
    mean, covariance = exact.langevin_moments(B, MAIN.M, MAIN.Gamma, *START)
    t = B / MAIN.beta_min
    assert torch.allclose(mean, MAIN.mean(t).values @ START[0], rtol=1e-10)
    assert torch.allclose(covariance, MAIN.Sigma(t).values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_langevin_moments_solve_their_equations(ratio):
    M, Gamma = 0.25, ratio
    F, GG = np.array([[0, 1 / M], [-1, -Gamma / M]]), np.diag([0, 2 * Gamma])

    def rate(_, y):
        mean, covariance = y[:2], y[2:].reshape(2, 2)
        return np.concatenate((F @ mean, (F @ covariance + covariance @ F.T + GG).ravel()))

    end = solve_ivp(rate, (0, 3.0), np.concatenate((START[0], START[1].ravel())), rtol=1e-11, atol=1e-13).y[:, -1]
    mean, covariance = exact.langevin_moments(B[-1:], M, Gamma, *START)
    assert mean[0].tolist() == pytest.approx(end[:2], abs=1e-9)
    assert covariance[0].flatten().tolist() == pytest.approx(end[2:], abs=1e-9)


def test_distances_to_the_prior():
    mean, covariance = exact.langevin_moments(B, 0.25, 0.5, *START)
    prior = torch.diag(torch.tensor([1, 0.25], dtype=torch.float64))
    normal = torch.distributions.MultivariateNormal
    kl = torch.distributions.kl_divergence(normal(mean, covariance), normal(torch.zeros(2, dtype=torch.float64), prior))
    assert torch.allclose(exact.kl_to_prior(mean, covariance, 0.25), kl, rtol=1e-9)
    for i, w2 in enumerate(exact.w2_to_prior(mean, covariance, 0.25).tolist()):
        root = sqrtm(prior.sqrt().numpy() @ covariance[i].numpy() @ prior.sqrt().numpy()).real
        expected = mean[i].square().sum() + covariance[i].trace() + prior.trace() - 2 * np.trace(root)
        assert w2 == pytest.approx(math.sqrt(expected), rel=1e-7)


@pytest.mark.parametrize("Gamma", [0.2, 1.0, 5.0])
def test_decay_rate_is_the_spectral_gap(Gamma):
    F = np.array([[0, 4.0], [-1, -4 * Gamma]])
    assert exact.decay_rate(0.25, Gamma) == pytest.approx(-np.linalg.eigvals(F).real.max(), rel=1e-6)


def test_last_above():
    clock, values = torch.arange(5.0), torch.tensor([3.0, 0.5, 2.0, 0.5, 0.1])
    assert exact.last_above(clock, values, 1.0) == 3
    assert exact.last_above(clock, values, 0.01) == 4
    assert exact.last_above(clock, values, 9.0) == 0


@pytest.mark.parametrize("gamma", [0.04, 0.0])
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
    law = exact.gaussian_law(MAIN, t.item(), torch.zeros(1, dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64))[1][0]
    score = -(u[..., 0] @ torch.linalg.inv(law))[:, 1]
    target = -exact.ell(process, t) * noise[:, 1, 1, 0]
    assert (target - score).square().mean().item() == pytest.approx(exact.target_variance(process, t, 0.3).item(), rel=0.02)


@pytest.mark.parametrize(
    ("t", "eps_num", "hsm"), [(1e-6, 1e-9, 10.009), (1e-5, 1e-9, 11.16), (1e-4, 1e-9, 39.2), (1e-2, 1e-9, 6.914), (1e-4, 0.0, 61.4)]
)
def test_ell_at_reference_times(t, eps_num, hsm):
    process = CLD(eps0=0.0, eps_num=eps_num)
    assert exact.ell(process, torch.tensor(t)).item() == pytest.approx(hsm, rel=1e-3)


# --- samplers on Gaussians ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "grid", "n", "error"),
    [
        (euler_maruyama, grids.uniform, 200, 0.0297),
        (SSCS, grids.uniform, 200, 0.0123),
        (SSCS, grids.uniform, 400, 0.00435),
        (euler_maruyama, grids.quadratic_striding, 400, 0.0021),
        (SSCS, grids.quadratic_striding, 200, 0.00219),
    ],
)
def test_covariance_errors(make, grid, n, error):
    data = torch.zeros(1, dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    start, end = (exact.gaussian_law(MAIN, t, *data) for t in (1.0, 1e-3))
    _, covariance = exact.law_after(make, MAIN, grid(MAIN, n), exact.gaussian_score(MAIN, *data), *start)
    assert (covariance - end[1]).abs().max().item() == pytest.approx(error, rel=6e-3)


@pytest.mark.parametrize(("process", "make"), [(VP(), euler_maruyama), (VP(), ddim), (MAIN, euler_maruyama), (MAIN, SSCS)])
def test_law_after_against_samples(process, make):
    """Mean and variance of two coordinates, 5 steps that the samples also take; a segment's end is crossed."""
    data = torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([0.3, 0.02], dtype=torch.float64)
    times, score, n = grids.uniform(process, exact.SEGMENT + 3, 0.05), exact.gaussian_score(process, *data), 100_000
    mean, covariance = exact.law_after(make, process, times, score, *exact.prior_law(process, 2))
    generator = make_generator("law")
    start = process.prior_sample((n, *process.state_shape((2,))), generator, torch.float64)
    u = process.marginal(make(process, times)(score, start, generator))
    assert u.mean(0).tolist() == pytest.approx(mean[0].tolist(), abs=0.01)
    assert u.var(0).tolist() == pytest.approx(covariance[:, 0, 0].tolist(), rel=0.02)
    assert exact.frechet(process, *exact.gaussian_law(process, 1e-9, *data), *data) < 1e-6


# --- the toy ------------------------------------------------------------------------------------------------------------------


def test_nine_modes():
    a = 1 / math.sqrt(2)
    expected = {(0, 0), (a, 0), (-a, 0), (0, a), (0, -a)} | {(x, y) for x in (a / 2, -a / 2) for y in (a / 2, -a / 2)}
    measured = {tuple(round(value, 9) + 0.0 for value in mode) for mode in problems.nine_modes().tolist()}
    assert measured == {tuple(round(value, 9) + 0.0 for value in mode) for mode in expected}


def test_off_mode_of_exact_draws():
    toy = problems.mixture()
    assert problems.off_mode(toy.draw(200_000, make_generator("off"))) == pytest.approx(math.exp(-8), abs=2e-4)


@pytest.mark.parametrize(
    ("method", "t", "value", "rel"),
    [("CLD", 0.01, 1.77, 0.05), ("CLD", 0.2, 0.42, 0.1), ("VPSDE", 0.01, 554, 0.05), ("VPSDE", 0.1, 5.05, 0.06), ("CLD", 0.5, 0.03, 0.1)],
)
def test_xi_at_reference_times(method, t, value, rel):
    process, _ = sections.FIG_2[method]
    score = problems.mixture_score(process)
    u = score.sample(20_000, t, make_generator("xi", method, t))
    assert sections.xi(process, score, u, t) == pytest.approx(value, rel=rel)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("method", ["CLD", "VPSDE"])
def test_jacobians_against_differences(method, mixed):
    process, t = sections.FIG_2[method][0], 0.05
    score = problems.mixture_score(process)
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
    assert sections.jacobians(process, score, u, t)[mixed] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(("variant", "nfe"), [("EM-US", 12), ("SSCS-QS", 7)])
def test_denoising_counts_as_an_evaluation(variant, nfe):
    sampler, toy, calls = problems.cld_sampler(variant, nfe), problems.mixture(), []
    score = toy.score(sampler.process)
    toy.generate(sampler, lambda u, t: calls.append(t) or score(u, t), 3, (0, 1), "count")
    assert sampler.nfe == len(calls) == nfe
    assert calls[-1] == 1e-3


# --- records, claims, verdicts ------------------------------------------------------------------------------------------------


def test_every_scale_validates():
    for scale in ("smoke", "laptop"):
        config = load_config(PAPER, scale)
        assert {name for job in config.jobs.values() for name in job.measure} == set(PAPER.module("jobs").SECTIONS)


def test_smoke_has_what_claims_and_verdicts_need(smoke):
    assert len({record.key for record in smoke}) == len(smoke)
    rows = evaluate("cld", PAPER.module("claims").CLAIMS, smoke)
    trained = {claim.name for claim in PAPER.module("claims").TRAINED}
    assert {row["claim"] for row in rows if row["status"] in ("not-run", "broken")} == trained
    closed = {row["claim"]: row["status"] for row in rows}
    assert (closed["hsm-bounded"], closed["hsm-bounded-stabilised"], closed["sscs-keeps-equilibrium"]) == ("fails", "holds", "holds")
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
