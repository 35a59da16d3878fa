"""Gaussian laws under a process and after a sampler, and distances; against closed forms, sampling and the mixture's score."""

import math

import numpy as np
import pytest
import torch
from rescore import metrics
from rescore.corruptions import Blur, Corruption, GeometricNoise, Identity, Interpolated
from rescore.errors import RescoreError
from rescore.problems import gaussian
from rescore.problems.gaussian import (
    GaussianLaw,
    GaussianProblem,
    clean_prediction,
    exact_score,
    frechet,
    law_after,
    law_at,
    linear_law,
    prior_law,
    score_on_axes,
)
from rescore.processes import CLD, VE, VP, Blurring, grids
from rescore.samplers import (
    SSCS,
    AdaptiveFlow,
    FlowMomentumSampler,
    HeunFlowSampler,
    MomentumSampler,
    NaiveSampler,
    PredictorCorrector,
    ancestral,
    ddim,
    euler_maruyama,
    gddim,
    gddim_stochastic,
    probability_flow,
    reverse_diffusion,
    score_sde_sampler,
    uniform_times,
)
from rescore.scores import GaussianMixture
from scipy.linalg import sqrtm
from scipy.special import gammaln

F64 = torch.float64
MEAN, STD = torch.tensor([0.4, -0.2], dtype=F64), torch.tensor([0.3, 0.1], dtype=F64)
DATA = GaussianLaw.independent(MEAN, STD**2)
PROCESSES = [VE(0.01, 5.0), VP(), CLD(), CLD(eps0=0.0), Blurring((1, 2))]
ROOT = torch.tensor([[0.5, 0.0, 0.0, 0.0], [0.2, 0.4, 0.0, 0.0], [-0.3, 0.1, 0.3, 0.0], [0.0, 0.1, 0.2, 0.2]], dtype=F64)
IMAGES = GaussianLaw.full(torch.tensor([[[0.2, 0.5], [0.1, 0.7]]], dtype=F64), ROOT @ ROOT.T)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data_for(process) -> GaussianLaw:
    """Two independent coordinates in the shape that the process takes."""
    shape = (1, 2) if isinstance(process, Blurring) else (2,)
    return GaussianLaw.independent(MEAN.reshape(shape), STD.reshape(shape) ** 2)


def blur() -> Corruption:
    return Corruption(Blur((2, 2), 1, 0.8), Interpolated((0.0, 1.0), (0.01, 0.8)), GeometricNoise(0.01, 0.4, 0.2))


# --- a law -------------------------------------------------------------------------------------------------------------------


def test_an_affine_step_in_closed_form():
    """A u + b + B z + C z' of a dependent law: mean A m + b, covariance A S A^T + B B^T + C C^T."""
    A, B, C = (torch.randn(4, 4, generator=generator(i), dtype=F64) for i in range(3))

    def step(u, draw):
        flat = u.flatten(1) @ A.T + 2.5
        return (flat + draw(u).flatten(1) @ B.T + draw(u).flatten(1) @ C.T).reshape(u.shape)

    law = IMAGES.after(step)
    torch.testing.assert_close(law.mean[:, 0], A @ IMAGES.mean[:, 0] + 2.5, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(law.covariance[0], A @ IMAGES.covariance[0] @ A.T + B @ B.T + C @ C.T, rtol=1e-12, atol=1e-12)
    assert law.shape == (1, 2, 2)
    with pytest.raises(RescoreError, match="more than 1 times"):
        IMAGES.after(step, draws=1)


def test_draws_and_scores_of_a_law():
    """Against the sample covariance, and autograd of torch's own density."""
    x = IMAGES.sample(200_000, generator())
    assert x.shape == (200_000, 1, 2, 2)
    torch.testing.assert_close(torch.cov(x.flatten(1).T), IMAGES.covariance[0], rtol=0.02, atol=3e-3)
    u = x[:5].clone().requires_grad_()
    torch.distributions.MultivariateNormal(IMAGES.mean[:, 0], IMAGES.covariance[0]).log_prob(u.flatten(1)).sum().backward()
    torch.testing.assert_close(IMAGES.score(x[:5]), u.grad, rtol=1e-10, atol=1e-10)


def test_principal_axes_give_the_covariance_back():
    x = torch.randn(30, 1, 2, 2, generator=generator(), dtype=F64) @ torch.tensor([[1.0, 0.4], [0.0, 0.3]], dtype=F64)
    law, axes = GaussianLaw.principal(x)
    torch.testing.assert_close(axes @ law.mean[0], x.flatten(1).mean(0))
    torch.testing.assert_close(axes @ law.variances.diag() @ axes.T, torch.cov(x.flatten(1).T, correction=0))


def test_scaling():
    law = IMAGES.scaled(-2.0, torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]))
    torch.testing.assert_close(law.mean[:, 0], -2 * IMAGES.mean[:, 0] + torch.tensor([1, 0, 0, 3.0]))
    torch.testing.assert_close(law.covariance, 4 * IMAGES.covariance)


def test_expected_norm():
    """Of N(0, I) in d dimensions sqrt(2) Gamma((d + 1) / 2) / Gamma(d / 2); of a point its distance; else against draws."""
    for d in (1, 2, 64):
        chi = math.sqrt(2) * math.exp(gammaln((d + 1) / 2) - gammaln(d / 2))
        assert GaussianLaw.independent(torch.zeros(d), torch.full((d,), 9.0)).expected_norm == pytest.approx(3 * chi, rel=1e-7)
    assert GaussianLaw.independent(torch.tensor([3.0, 4.0]), torch.zeros(2)).expected_norm == pytest.approx(5, rel=1e-7)
    for law in (IMAGES, law_at(CLD(), DATA, 0.3)):
        found = law.sample(400_000, generator(1)).flatten(1).norm(dim=1).mean().item()
        assert law.expected_norm == pytest.approx(found, rel=5e-3)


# --- under a process ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_laws_under_a_process_are_those_of_the_mixture_of_one(process):
    """The score at every t is that of `GaussianMixture`, and u_t has the moments of the process's operators."""
    data = data_for(process)
    means = process.unrotate(data.mean.reshape(1, *data.shape))  # a mixture takes means in pixels
    mixture = GaussianMixture(process, means, data.variances.sqrt()[None])
    score = exact_score(process, data)
    for t in (0.02, 0.4, process.T):
        u = mixture.sample(7, t, generator())
        torch.testing.assert_close(score(u, t), mixture(u, t), rtol=1e-9, atol=1e-9)
        law = law_at(process, data, t)
        x = mixture.sample(100_000, t, generator(1))
        wide = 4 if isinstance(process, VE) else 1
        torch.testing.assert_close(law.mean.reshape(law.shape), x.mean(0), rtol=0, atol=0.015 * wide)
        torch.testing.assert_close(law.variances, x.var(0), rtol=0.03, atol=0)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_priors(process):
    data = data_for(process)
    law = prior_law(process, data.shape)
    u = process.prior_sample((5, *law.shape), generator(), F64)
    expected = torch.func.grad(lambda u: process.prior_log_prob(u).sum())(u)
    torch.testing.assert_close(law.score(u), expected, rtol=1e-10, atol=1e-12)


def test_scores_of_any_covariance_are_those_of_the_full_law():
    """Under CLD the law of (x, v) has the covariance M S M^T + Sigma, written out."""
    torch.testing.assert_close(
        score_on_axes(VP(), IMAGES)(u := torch.randn(5, 1, 2, 2, dtype=F64, generator=generator()), 0.3),
        exact_score(VP(), IMAGES)(u, 0.3),
        rtol=1e-12,
        atol=1e-12,
    )
    process, eye = CLD(), torch.eye(4, dtype=F64)
    m = process.mean(0.3)(torch.tensor([[1.0], [0.0]], dtype=F64).T[..., None])[0, :, 0]  # what x becomes, (2,)
    sigma = torch.stack([process.Sigma(0.3)(unit[None, :, None])[0, :, 0] for unit in torch.eye(2, dtype=F64)], 1)
    covariance = torch.kron(torch.outer(m, m), IMAGES.covariance[0]) + torch.kron(sigma, eye)
    mean = torch.kron(m, IMAGES.mean[:, 0])
    u = torch.randn(5, 2, 1, 2, 2, dtype=F64, generator=generator(1))
    expected = -torch.linalg.solve(covariance, (u.flatten(1) - mean).T).T.reshape(u.shape)
    torch.testing.assert_close(score_on_axes(process, IMAGES)(u, 0.3), expected, rtol=1e-9, atol=1e-9)


def test_clean_predictions_are_posterior_means():
    """Of (x_0, x_t), jointly Gaussian, by conditioning draws: the residual has no correlation with x_t and no mean."""
    process, t, n = blur(), 0.6, 200_000
    x = IMAGES.sample(n, generator())
    x_t = process.perturb(x, t, generator(1))[0]
    residual = (clean_prediction(process, IMAGES)(x_t, t) - x).flatten(1)
    noise = 4 * residual.std(0) / n**0.5
    assert (residual.mean(0).abs() < noise).all()
    centred = (x_t - x_t.mean(0)).flatten(1)
    assert (((residual.T @ centred) / n).abs() < 1.2 * noise[:, None] * centred.std(0)).all()


# --- after a sampler ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "process"),
    [
        (euler_maruyama, VP()),
        (ddim, VP()),
        (ancestral, VE(0.01, 5.0)),
        (euler_maruyama, CLD()),
        (SSCS, CLD()),
        (gddim_stochastic, CLD()),
        (reverse_diffusion, Blurring((1, 2))),
    ],
)
@pytest.mark.parametrize("denoise", ["none", "euler"])
def test_law_is_that_of_samples(make, process, denoise):
    """Means and covariances of the whole state; a run of the library on 30,000 draws of the prior."""
    data, n = data_for(process), 30_000
    sampler, score = make(process, grids.uniform(process, 8, 0.05), denoise=denoise), exact_score(process, data)
    start = prior_law(process, data.shape)
    u = sampler(score, start.sample(n, generator()), generator(1)).reshape(n, *start.mean.shape)
    law = law_after(sampler, score, start)
    error = law.covariance.diagonal(dim1=1, dim2=2).T.sqrt()
    assert ((u.mean(0) - law.mean).abs() < 4.5 * error / n**0.5).all()
    for d, covariance in enumerate(law.covariance):
        scale = error[:, d, None] * error[:, d]
        assert ((torch.cov(u[:, :, d].T).reshape(covariance.shape) - covariance).abs() < 8 * scale / n**0.5).all()


@pytest.mark.parametrize("kind", [NaiveSampler, MomentumSampler, FlowMomentumSampler, HeunFlowSampler])
def test_law_on_images_is_that_of_samples(kind):
    """All of the covariance, of pixels that depend on each other."""
    process, n = blur(), 30_000
    sampler, clean = kind(process, uniform_times(6)), clean_prediction(process, IMAGES)
    start = law_at(process, IMAGES, 1.0)
    x = sampler(clean, start.sample(n, generator()), generator(1)).flatten(1)
    law = law_after(sampler, clean, start)
    error = law.variances.flatten().sqrt()
    assert ((x.mean(0) - law.mean[:, 0]).abs() < 4.5 * error / n**0.5).all()
    assert ((torch.cov(x.T) - law.covariance[0]).abs() < 8 * error[:, None] * error / n**0.5).all()


@pytest.mark.parametrize("predictor", [None, reverse_diffusion])
@pytest.mark.parametrize("first", [True, False])
def test_law_behind_a_corrector_is_that_of_samples(predictor, first):
    """The step size has expectations in place of norms of a batch: of 20,000 states both agree."""
    process, n = VE(0.01, 5.0), 20_000
    sampler = PredictorCorrector(process, grids.uniform(process, 20, 0.02), predictor, 0.2, 2, first)
    score = exact_score(process, DATA)
    x = sampler(score, prior_law(process, (2,)).sample(n, generator()), generator(1))
    law = law_after(sampler, score, prior_law(process, (2,)))
    assert ((x.mean(0) - law.mean[0]).abs() < 4.5 * (law.variances / n).sqrt()).all()
    assert ((x.var(0) / law.variances - 1).abs() < 5 * math.sqrt(2 / n)).all()


def test_law_behind_the_last_corrector_is_that_of_samples():
    """Of Score-SDE's sampler, which corrects at t0 too before its last step."""
    process, n = VE(0.01, 5.0), 20_000
    sampler, score = score_sde_sampler(process, grids.uniform(process, 5, 0.3), 0.4), exact_score(process, DATA)
    x = sampler(score, prior_law(process, (2,)).sample(n, generator()), generator(1))
    law = law_after(sampler, score, prior_law(process, (2,)))
    assert ((x.mean(0) - law.mean[0]).abs() < 4.5 * (law.variances / n).sqrt()).all()
    assert ((x.var(0) / law.variances - 1).abs() < 5 * math.sqrt(2 / n)).all()


def test_closed_forms_of_one_step():
    """Prop. 7 and 8: a step of any length that gDDIM takes from the exact law of a point ends in its exact law; EM does not."""
    process, point = CLD(), GaussianLaw.independent(torch.tensor([0.7]), torch.zeros(1))
    score, times = exact_score(process, point), [1.0, 0.3]
    start, end = (law_at(process, point, t) for t in times)
    for lam in (0.0, 0.5, 1.0):
        law = law_after(gddim_stochastic(process, times, lam), score, start)
        assert gaussian.frechet(law, end) < 1e-12
    assert gaussian.frechet(law_after(euler_maruyama(process, times), score, start), end) > 0.01


def test_ancestral_sampling_of_one_point_is_exact():
    """It keeps the exact law; the discrete flow ends with too much noise (Score-SDE eq. 64 ends with a half)."""
    process, point = VE(0.01, 5.0), GaussianLaw.independent(torch.tensor([0.3]), torch.zeros(1))
    score, times = exact_score(process, point), grids.uniform(process, 100, 0.1)
    start, end = (law_at(process, point, t) for t in (times[0].item(), times[-1].item()))
    assert gaussian.frechet(law_after(ancestral(process, times), score, start), end) < 1e-15
    assert law_after(probability_flow(process, times), score, start).variances > 1.01 * end.variances


def test_many_small_steps_end_in_the_data():
    """Errors of Euler-Maruyama and SSCS on CLD: the numbers that the tests of the paper's fig. 8 ask for."""
    process, data = CLD(eps0=0.0), GaussianLaw.independent(torch.zeros(1), torch.tensor([0.3]))
    score, (start, end) = exact_score(process, data), (law_at(process, data, t) for t in (1.0, 1e-3))
    for make, n, error in ((euler_maruyama, 200, 0.0297), (SSCS, 200, 0.0123), (SSCS, 400, 0.00435)):
        law = law_after(make(process, grids.uniform(process, n)), score, start)
        assert (law.covariance - end.covariance).abs().max().item() == pytest.approx(error, rel=6e-3)


def test_one_pixel_of_soft_diffusion():
    """Variance s, noise alone: a step of the Naive Sampler leaves gain^2 v + sigma_s^2, gain = s / (s + sigma_t^2)."""
    process, s = Corruption(Identity(), Interpolated((0.0, 1.0), (0.0, 0.0)), GeometricNoise(0.01, 0.4, 0.2)), 0.09
    data = GaussianLaw.full(torch.zeros(1, 1, 1), torch.full((1, 1), s, dtype=F64))
    sampler = NaiveSampler(process, uniform_times(5))
    variance = s + process.sigma(1.0).item() ** 2
    for t, below in zip(sampler.times[:-1], [*sampler.times[1:-1], None], strict=True):
        variance *= (s / (s + process.sigma(t).item() ** 2)) ** 2
        variance += process.sigma(below).item() ** 2 if below else 0.0
    law = law_after(sampler, clean_prediction(process, data), law_at(process, data, 1.0))
    assert law.covariance.item() == pytest.approx(variance, rel=1e-12)


def test_what_has_no_exact_law_is_refused():
    for sampler in (gddim(VP(), [1.0, 0.5], 1), AdaptiveFlow(VP(), [1.0, 0.5])):
        with pytest.raises(RescoreError, match="not a one-step sampler"):
            law_after(sampler, exact_score(VP(), DATA), prior_law(VP(), (2,)))
    with pytest.raises(RescoreError, match="independent coordinates"):
        law_at(CLD(), IMAGES, 0.5)


# --- distances ---------------------------------------------------------------------------------------------------------------


def test_the_law_after_a_sampler_of_several_past_scores_is_linear():
    """DDIM's is that of `law_after`; many steps of a method of two end in the data, on VP and on CLD; noise is refused."""
    data = GaussianLaw.full(torch.zeros(1, 2, 2), IMAGES.covariance[0])
    one = ddim(VP(), grids.quadratic(VP(), 7))
    prior = GaussianLaw.full(torch.zeros(1, 2, 2), torch.eye(4))
    torch.testing.assert_close(
        linear_law(one, score_on_axes(VP(), data), (1, 2, 2)).covariance,
        law_after(one, exact_score(VP(), data), prior).covariance,
    )
    for process in (VP(), CLD()):
        end = linear_law(gddim(process, grids.quadratic(process, 200), order=2), score_on_axes(process, data), (1, 2, 2))
        assert frechet(end, data) < 1e-5
    with pytest.raises(RescoreError, match="draws noise"):
        linear_law(ancestral(VP(), grids.quadratic(VP(), 7)), score_on_axes(VP(), data), (1, 2, 2))


def test_frechet_distance_is_that_of_scipys_square_root():
    other = GaussianLaw.full(torch.zeros(1, 2, 2), torch.diag(torch.tensor([0.1, 0.5, 0.2, 1.0])) + 0.05)
    a, b = IMAGES.covariance[0].numpy(), other.covariance[0].numpy()
    exact = IMAGES.mean.square().sum().item() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert gaussian.frechet(IMAGES, other) == pytest.approx(exact, rel=1e-9)
    assert gaussian.frechet(other, IMAGES) == pytest.approx(exact, rel=1e-9)
    assert gaussian.frechet(IMAGES, IMAGES) < 1e-12
    wider = GaussianLaw.independent(MEAN + 0.5, 4 * STD**2)
    torch.testing.assert_close(gaussian.squared_wasserstein(DATA, wider), 0.25 + STD**2)


def test_kl_divergence_is_torchs():
    law, prior = law_at(CLD(), DATA, 0.3), prior_law(CLD(), (2,))
    for d, found in enumerate(gaussian.kl_divergence(law, prior)):
        p, q = (torch.distributions.MultivariateNormal(one.mean[:, d], one.covariance[d]) for one in (law, prior))
        assert found.item() == pytest.approx(torch.distributions.kl_divergence(p, q).item(), rel=1e-9)


def test_sliced_distance_is_that_of_many_draws():
    """Dependent coordinates; and principal coordinates, whose points are measured off their axes."""
    other = GaussianLaw.independent(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.3))
    full = GaussianLaw.full(torch.zeros(1, 2, 2), 0.3 * torch.eye(4))
    drawn = metrics.sliced_wasserstein(IMAGES.sample(5_000, generator()), other.sample(5_000, generator(1)))
    assert gaussian.sliced_wasserstein(IMAGES, full) == pytest.approx(drawn, rel=0.04)
    assert gaussian.sliced_wasserstein(IMAGES, IMAGES) == 0
    values, axes = torch.linalg.eigh(IMAGES.covariance[0])
    turned = GaussianLaw.independent(axes.T @ IMAGES.mean[:, 0], values)
    on_axes = GaussianLaw.independent(torch.zeros(4), torch.full((4,), 0.3))
    found = gaussian.sliced_wasserstein(turned, on_axes, axes)
    assert found == pytest.approx(gaussian.sliced_wasserstein(IMAGES, full), rel=1e-9)


@pytest.mark.parametrize("process", [VP(), CLD()])
def test_a_gaussian_problem_is_solved_from_the_prior(process):
    """Its law is that of the data part, and many steps end near the data; another score may be given."""
    data = GaussianLaw.independent(torch.tensor([0.5, -1.0]), torch.tensor([0.3, 0.02]))
    problem, sampler = GaussianProblem(data), euler_maruyama(process, grids.quadratic(process, 400))
    law = problem.after(sampler)
    assert law.shape == (2,) and problem.score(process) is problem.score(process)
    assert torch.allclose(law.mean, data.mean, atol=0.02) and torch.allclose(law.variances, data.variances, atol=0.02)
    assert torch.equal(problem.after(sampler, exact_score(process, data)).mean, law.mean)
    assert (problem.after(sampler, lambda u, t: 0 * u).mean - data.mean).abs().max() > 0.4
