"""Exact scores: gradients of exact densities, agreement of the three ways to write one, and thesis Prop. 8."""

import math

import pytest
import torch
from diffusion_cases import PROCESSES, data_shape, generator
from rescore.errors import RescoreError
from rescore.processes import CLD, VE, VP, Blurring, DiscreteVP, SubVP
from rescore.scores import EmpiricalData, GaussianMixture, on_process, to_noise, to_score

each_process = pytest.mark.parametrize("name", PROCESSES)
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


def means(name, k=3):
    return torch.randn(k, *data_shape(name), generator=generator(1), dtype=torch.float64)


def gradient(density, u, t):
    u = u.clone().requires_grad_()
    return torch.autograd.grad(density.log_prob(u, t).sum(), u)[0]


@pytest.mark.parametrize("per_coordinate", [False, True])
@pytest.mark.parametrize("t", [0.02, 0.4])
@each_process
def test_mixture_score_is_the_gradient_of_its_density(name, t, per_coordinate):
    shape = (3, *data_shape(name)) if per_coordinate else (3,)
    stds = 0.1 + torch.rand(shape, generator=generator(2), dtype=torch.float64)
    mixture = GaussianMixture(PROCESSES[name], means(name), stds, WEIGHTS)
    u = mixture.sample(6, t, generator())
    assert torch.allclose(mixture(u, t), gradient(mixture, u, t), rtol=1e-10, atol=1e-10)


@each_process
def test_density_against_a_dense_gaussian_mixture(name):
    """The same density from full covariance matrices, found by pushing basis vectors through the operators."""
    process, t = PROCESSES[name], 0.3
    stds = torch.tensor([0.1, 0.4, 0.8], dtype=torch.float64)
    mixture = GaussianMixture(process, means(name), stds, WEIGHTS)
    u = mixture.sample(4, t, generator())
    n = u[0].numel()
    state = torch.eye(n, dtype=torch.float64).reshape(n, *u.shape[1:])
    basis = torch.eye(means(name)[0].numel(), dtype=torch.float64).reshape(-1, *data_shape(name))
    noise = process.Sigma(t)(state).flatten(1)
    signal = process.mean(t)(process.embed(basis)).flatten(1)
    log = []
    for k in range(3):
        mean = process.mean(t)(process.embed(means(name)[k : k + 1])).flatten()
        covariance = noise + stds[k] ** 2 * signal.T @ signal
        residual = u.flatten(1) - mean
        square = (residual @ torch.linalg.inv(covariance) * residual).sum(1)
        log.append(WEIGHTS[k].log() - 0.5 * (square + torch.linalg.slogdet(covariance)[1] + n * math.log(2 * math.pi)))
    assert torch.allclose(mixture.log_prob(u, t), torch.stack(log).logsumexp(0), rtol=1e-9)


@pytest.mark.parametrize("chunk", [1, 4, 100])
@each_process
def test_empirical_data_is_a_mixture_of_points(name, chunk):
    process, points, t = PROCESSES[name], means(name, 9), 0.25
    empirical, mixture = EmpiricalData(process, points, chunk), GaussianMixture(process, points, 0.0)
    u = mixture.sample(5, t, generator())
    assert torch.allclose(empirical(u, t), mixture(u, t), rtol=1e-9, atol=1e-10)
    assert torch.allclose(empirical.log_prob(u, t), mixture.log_prob(u, t), rtol=1e-10)


@each_process
def test_draws_have_the_moments_of_the_density(name):
    process, t, n = PROCESSES[name], 0.3, 20000
    mixture = GaussianMixture(process, means(name), 0.3, WEIGHTS)
    u = mixture.sample(n, t, generator())
    centre = torch.einsum("k,k...->...", WEIGHTS, means(name))[None]
    expected = process.mean(t)(process.embed(centre))
    assert ((u.mean(0) - expected[0]).abs() < 5 * u.std(0) / math.sqrt(n)).all()
    # E[score] = 0 and E[u . score] = -dimension, for any smooth density (integration by parts).
    score = mixture(u, t)
    assert (score.mean(0).abs() < 5 * score.std(0) / math.sqrt(n)).all()
    product = (u * score).flatten(1).sum(1)
    assert abs(product.mean() + u[0].numel()) < 5 * product.std() / math.sqrt(n)
    empirical = EmpiricalData(process, means(name)).sample(n, t, generator())
    uniform = process.mean(t)(process.embed(means(name).mean(0)[None]))[0]
    assert ((empirical.mean(0) - uniform).abs() < 5 * empirical.std(0) / math.sqrt(n)).all()


@pytest.mark.parametrize("factor", ["L", "R"])
@each_process
def test_noise_and_score_parameterisations(name, factor):
    """eps = -K^T s and back; for one data point, eps is the noise that made u (thesis eqs. 7.4, 7.5)."""
    process, t = PROCESSES[name], 0.3
    x = means(name, 1)
    score = GaussianMixture(process, x, 0.0)
    u, noise = process.perturb(x.expand(4, *x.shape[1:]), t, generator(), factor)
    predicted = to_noise(process, score, factor)
    assert torch.allclose(predicted(u, t), noise, atol=1e-10)
    assert torch.allclose(to_score(process, predicted, factor)(u, t), score(u, t), rtol=1e-10, atol=1e-10)


def test_noise_under_one_factor_becomes_noise_under_another():
    """eps_L = L^T R^{-T} eps_R."""
    process, t = CLD(), 0.2
    score = GaussianMixture(process, torch.ones(1, 2), 0.3)
    u = score.sample(3, t, generator())
    eps_l, eps_r = to_noise(process, score, "L")(u, t), to_noise(process, score, "R")(u, t)
    assert torch.allclose((process.L(t).T @ process.R(t).T.inv())(eps_r), eps_l, atol=1e-12)


@each_process
def test_score_of_one_time_gives_the_score_of_another(name):
    """Thesis Prop. 8 (and Prop. 6): exact for data of covariance Sigma_0, for any u and u_s."""
    process, s, t = PROCESSES[name], 0.6, 0.15
    score = GaussianMixture(process, means(name, 1), 0.0)
    shape = (4, *process.state_shape(data_shape(name)))
    u, u_s = (torch.randn(shape, generator=generator(i), dtype=torch.float64) for i in (5, 6))
    precision, psi = process.Sigma(t).inv(), process.Psi(t, s)
    other = precision(psi(process.Sigma(s)(score(u_s, s)))) - precision(u - psi(u_s))
    assert torch.allclose(other, score(u, t), rtol=1e-9, atol=1e-9 * score(u, t).abs().max().item())


def test_float32_data():
    points = torch.randn(50, 4, generator=generator())
    empirical = EmpiricalData(VP(), points, 16)
    u = torch.randn(3, 4, generator=generator(1))
    assert empirical(u, 0.5).dtype == torch.float32
    assert torch.allclose(empirical(u, 0.5).double(), EmpiricalData(VP(), points.double())(u.double(), 0.5), atol=1e-4)


def test_far_points_do_not_underflow():
    """Log-sum-exp over points: at t = 1e-3 all but one weight is exactly 0, and the density is still finite."""
    points = torch.linspace(-50, 50, 11, dtype=torch.float64)[:, None]
    empirical = EmpiricalData(VP(), points, 3)
    u = torch.tensor([[30.2], [-49.0]], dtype=torch.float64)
    m, variance = VP().mean(1e-3).values, VP().Sigma(1e-3).values
    nearest = torch.tensor([[30.0], [-50.0]], dtype=torch.float64)
    assert torch.allclose(empirical(u, 1e-3), (m * nearest - u) / variance, rtol=1e-9)
    assert empirical.log_prob(u, 1e-3).isfinite().all()


def test_blurring_scores_live_in_dct_space():
    """grad_y log p(y) = DCT(grad_x log p(x)) for y = DCT(x)."""
    process, t = Blurring((2, 3)), 0.2
    mixture = GaussianMixture(process, means("blurring"), 0.2)
    x = process.project(mixture.sample(2, t, generator())).requires_grad_()
    pixel = torch.autograd.grad(mixture.log_prob(process.embed(x), t).sum(), x)[0]
    assert torch.allclose(process.embed(pixel), mixture(process.embed(x.detach()), t), atol=1e-9)


@pytest.mark.parametrize("source", [VE(0.01, 80.0), VP(), SubVP()])
@pytest.mark.parametrize(
    "target", [VE(0.02, 50.0), VP(0.2, 12.0), DiscreteVP(torch.linspace(0.001, 0.1, 50, dtype=torch.float64))]
)
def test_a_score_moves_between_isotropic_processes(source, target):
    """Change of variables: the marginals of two isotropic processes at one ratio sigma / m differ by a scale only."""
    data = {"means": torch.tensor([[-1.0, 0.3], [0.4, 0.9]], dtype=torch.float64), "stds": 0.2}
    exact, moved = GaussianMixture(target, **data), on_process(GaussianMixture(source, **data), source, target)
    for t in (0.1, 0.5, 0.8):
        u = exact.sample(5, t, generator())
        assert torch.allclose(moved(u, t), exact(u, t), rtol=1e-8, atol=1e-10)


def test_shapes_that_do_not_fit():
    with pytest.raises(RescoreError, match=r"stds must have shape \(3,\) or \(3, 2\)"):
        GaussianMixture(VP(), torch.zeros(3, 2), torch.ones(2))
    with pytest.raises(RescoreError, match=r"weights \(3,\)"):
        GaussianMixture(VP(), torch.zeros(3, 2), 0.1, torch.ones(2))
