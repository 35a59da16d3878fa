"""Closed forms of the forward processes against ODE solutions, matrix exponentials, published values and simulation."""

import math

import numpy as np
import pytest
import scipy.fft
import torch
from diffusion_cases import ISOTROPIC, PROCESSES, WITH_DISCRETE, data_shape, dense, generator, matrix, relative, size
from rescore.errors import RescoreError
from rescore.processes import CLD, VE, VP, Blurring, CosineVP, DiscreteVE, DiscreteVP, SubVP, grids
from rescore.processes.blurring import dct_matrix
from rescore.processes.operators import Block, Diagonal
from scipy.integrate import solve_ivp
from scipy.linalg import expm

each_process = pytest.mark.parametrize("name", PROCESSES)
each_with_discrete = pytest.mark.parametrize("name", WITH_DISCRETE)


def integrate(rate, start, s, t, rtol=1e-13):
    """The ODE dX/dt = rate(t, X) of one matrix or of several, X(s) = start, at t."""
    shape = start.shape
    solution = solve_ivp(
        lambda t, x: rate(t, x.reshape(shape)).ravel(), (s, t), start.ravel(), "DOP853", rtol=rtol, atol=rtol / 100
    )
    return solution.y[:, -1].reshape(shape)


@each_process
@pytest.mark.parametrize(("s", "t"), [(0.01, 0.15), (0.3, 0.9), (0.6, 0.2)])
def test_transition_and_covariance_solve_their_odes(name, s, t):
    process, n = PROCESSES[name], size(name)

    def rate(t, x):
        F, GG = matrix(process.F(t), n), matrix(process.GG(t), n)
        return np.stack([F @ x[0], *(F @ one + one @ F.T + GG for one in x[1:])])

    forwards = [matrix(process.Sigma(s), n), np.zeros((n, n))] if t > s else []  # backwards these two are ill-posed
    found = integrate(rate, np.stack([np.eye(n), *forwards]), s, t)
    closed = [process.Psi(t, s), process.Sigma(t), process.Q(t, s)][: len(found)]
    for operator, solution in zip(closed, found, strict=True):
        assert relative(matrix(operator, n), solution) < 1e-10


@pytest.mark.parametrize("process", [*ISOTROPIC.values(), DiscreteVE(torch.linspace(0.1, 3, 10, dtype=torch.float64))])
def test_the_integral_of_the_diffusion(process):
    """By Gauss-Legendre nodes within each 1/200 of the time, between which the chains' pieces end."""
    t, s = 0.9, 0.15
    nodes, weights = np.polynomial.legendre.leggauss(4)
    starts = torch.arange(30, 180, dtype=torch.float64) / 200
    at = starts[:, None] + (torch.from_numpy(nodes) + 1) / 400
    numeric = (process.GG(at.flatten()).values.expand(at.numel()).reshape(at.shape) @ torch.from_numpy(weights)).sum() / 400
    assert process.GG_integral(t, s).values.item() == pytest.approx(numeric.item(), rel=1e-9)


def test_cld_against_matrix_exponentials():
    process, t = CLD(), 0.37
    F, GG = matrix(process.F(t), 2), matrix(process.GG(t), 2)
    psi = expm(F * t)
    assert relative(matrix(process.Psi(t, 0.0), 2), psi) < 1e-12
    van_loan = expm(np.block([[-F, GG], [np.zeros((2, 2)), F.T]]) * t)
    q = van_loan[2:, 2:].T @ van_loan[:2, 2:]
    assert relative(matrix(process.Q(t, 0.0), 2), q) < 1e-12
    start = np.diag([process.eps0, process.gamma * process.M + process.eps0])
    assert relative(matrix(process.Sigma(t), 2), psi @ start @ psi.T + q) < 1e-12


def test_cld_transition_covariance_keeps_its_digits_for_short_times():
    """Q_xx -> y^3 / 6 - y^4 / 8 with y = 4 B / Gamma; the printed form E - 1 - y - y^2 / 2 has no correct digit here."""
    y = 16e-6
    value = CLD().Q(1e-6, 0.0).values[0, 0].item()
    assert value == pytest.approx(y**3 / 6 - y**4 / 8, rel=1e-9)


@each_with_discrete
def test_chapman_kolmogorov(name):
    process = WITH_DISCRETE[name]
    r, s, t = (torch.tensor(x, dtype=torch.float64) for x in ([0.05, 0.1], [0.2, 0.55], [0.7, 0.9]))
    assert relative(dense(process.Psi(t, s) @ process.Psi(s, r)), dense(process.Psi(t, r))) < 1e-12
    psi = process.Psi(t, s)
    assert relative(dense(psi @ process.Sigma(s) @ psi.T + process.Q(t, s)), dense(process.Sigma(t) @ psi.identity())) < 1e-12
    assert relative(dense(process.mean(t)), dense(process.Psi(t, r) @ process.mean(r))) < 1e-12


@each_with_discrete
def test_roots_of_the_covariance(name):
    process = WITH_DISCRETE[name]
    t = torch.linspace(0.002, process.T, 7, dtype=torch.float64)
    for factor in ("L", "R"):
        root = process.K(t, factor)
        assert relative(dense(root @ root.T), dense(process.Sigma(t))) < 1e-12
    assert relative(dense(process.G(t) @ process.G(t).T), dense(process.GG(t))) < 1e-14


@each_process
def test_r_solves_its_ode(name):
    """Thesis eq. 7.17."""
    process, n = PROCESSES[name], size(name)

    def rate(t, x):
        return (matrix(process.F(t), n) + matrix(process.GG(t), n) @ np.linalg.inv(matrix(process.Sigma(t), n)) / 2) @ x

    solution = integrate(rate, matrix(process.R(0.01), n), 0.01, 0.8)
    assert relative(matrix(process.R(0.8), n), solution) < 1e-9


def test_r_at_the_published_hyperparameters_of_cld():
    """R_0 = diag(1e-3, sqrt(0.01 + 1e-6)); reference values of an independent stiff solution to six digits."""
    expected = {
        0.001: [[0.000849, 0.001864], [-0.026736, 0.129784]],
        0.1: [[0.112752, -0.457273], [0.428948, -0.17822]],
        0.5: [[-0.584152, 0.80326], [-0.40581, -0.288534]],
        1.0: [[0.99662, -0.082057], [0.041036, 0.49831]],
    }
    for t, values in expected.items():
        assert np.abs(CLD().R(t).values.numpy() - values).max() < 2e-6
    assert CLD().R(0.0).values.tolist() == [[pytest.approx(1e-3), 0.0], [0.0, pytest.approx(math.sqrt(0.010001))]]


@pytest.mark.parametrize(("eps0", "gamma"), [(1e-4, 0.04), (1e-8, 0.04), (1e-4, 0.0), (1e-2, 1.0)])
def test_r_depends_on_eps0_as_its_ode_does(eps0, gamma):
    """There is no limit eps0 -> 0: the rotation winds with log eps0."""
    process = CLD(eps0=eps0, gamma=gamma)

    def rate(t, x):
        return ((process.F(t) + 0.5 * process.GG(t) @ process.Sigma(t).inv()).values.numpy() @ x.reshape(2, 2)).ravel()

    start = process.L(0.0).values.numpy().ravel()
    solution = solve_ivp(rate, (0, 1), start, "LSODA", rtol=1e-10, atol=1e-13).y[:, -1].reshape(2, 2)
    assert np.abs(process.R(1.0).values.numpy() - solution).max() < 1e-5


def test_cld_values():
    """Sigma(1), Psi(1), ell_HSM and ell_DSM of the CLD paper's setting, with its stabiliser on the diagonal."""
    process = CLD(eps0=0.0, eps_num=1e-9)
    sigma = process.Sigma(1.0).values.flatten().tolist()
    assert sigma == pytest.approx([0.99998397, 7.08e-6, 7.08e-6, 0.24999688], abs=1e-8)
    assert process.Psi(1.0, 0.0).values.flatten().tolist() == pytest.approx(
        [0.00301916, 0.0053674, -0.00134185, -0.00234824], abs=1e-8
    )
    t = torch.tensor([1e-5, 1e-3, 0.1, 0.5, 1], dtype=torch.float64)
    ell = 1 / process.L(t).values[..., 1, 1]
    assert ell.tolist() == pytest.approx([11.1634, 19.9185, 2.67518, 2.00843, 2.000012], rel=5e-6)
    ell = 1 / CLD(gamma=0.0, eps0=0.0, eps_num=1e-9).L(t).values[..., 1, 1]
    assert ell.tolist() == pytest.approx([111.84, 22.357, 2.68599, 2.00856, 2.000013], rel=3e-5)


def test_ell_hsm_diverges_without_a_stabiliser():
    """The CLD paper's fig. 6 calls ell_HSM analytically bounded; for t > 0 it grows like t^-1/2, because x_t reveals v_0."""
    t = torch.tensor([1e-3, 1e-4, 1e-5, 1e-6], dtype=torch.float64)
    sigma = CLD(eps0=0.0).Sigma(t).values
    ell = (sigma[:, 0, 0] / (sigma[:, 0, 0] * sigma[:, 1, 1] - sigma[:, 0, 1] ** 2)).sqrt()
    assert ell.tolist() == pytest.approx([19.94, 61.4, 193.7, 612], rel=2e-3)


def test_isotropic_values():
    vp, subvp = VP(), SubVP()
    assert vp.mean(1.0).values.item() == pytest.approx(0.0065716, abs=5e-8)
    assert vp.L(1.0).values.item() == pytest.approx(0.99997841, abs=5e-9)
    assert vp.L(0.5).values.item() == pytest.approx(0.9596542, abs=5e-8)
    assert -vp.log_alpha(1e-3).item() == pytest.approx(1.0995e-4, rel=1e-12)
    assert subvp.L(1.0).values.item() == pytest.approx(0.99995681, abs=5e-9)
    assert subvp.L(0.5).values.item() == pytest.approx(0.9209362, abs=5e-8)
    for sigma_max, ratio in ((50, 4.12727), (90, 4.26731)):
        ve = VE(sigma_max=sigma_max)
        assert (ve.G(0.3).values / ve.L(0.3).values).item() == pytest.approx(ratio, abs=5e-6)


def test_discrete_chain():
    process = DiscreteVP(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
    assert process.mean(1.0).values.item() ** 2 == pytest.approx(4.0358e-5, rel=1e-5)
    i = torch.arange(1, 1001, dtype=torch.float64) / 1000
    assert relative(process.Q(i, i - 1e-3).values, process.betas) < 1e-11
    with pytest.raises(RescoreError, match="betas must lie in"):
        DiscreteVP(torch.tensor([0.5, 1.0]))


def test_discrete_ve_between_its_levels():
    """sigma^2 is linear in each step, G G^T its slope, and rho = sigma is inverted; at the levels it is the chain."""
    sigmas = torch.tensor([0.01, 0.1, 0.7, 2.0, 50.0], dtype=torch.float64)
    process = DiscreteVE(sigmas)
    t = torch.tensor([0.05, 0.1, 0.2, 0.33, 0.77, 1.0], dtype=torch.float64)
    assert torch.allclose(process.time_of_rho(process.rho(t)), t, rtol=1e-12)
    slope = (process.Sigma(t).values - process.Sigma(t - 1e-3).values) / 1e-3
    assert torch.allclose(process.GG(t).values, slope, rtol=1e-9)
    assert (process.F(t).values == 0).all() and (process.mean(t).values == 1).all()
    i = torch.arange(1, 6, dtype=torch.float64) / 5
    assert relative(process.Sigma(i).values.sqrt(), sigmas) < 1e-12 and process.prior_covariance.values == 2500
    assert process.Sigma(0.0).values == 0


def test_labels_name_what_a_number_depends_on():
    assert (VP().label, CLD(eps0=0.0).label) == ("VP", "CLD M:0.25 gamma:0.04 beta:4..4")
    assert CLD(eps_num=1e-9).label == "CLD M:0.25 gamma:0.04 beta:4..4 eps0:1e-06 eps_num:1e-09"


def test_blurring_coefficients():
    """Thesis eq. 7.11 for the mean scale a = sqrt(alpha) d: F = dlog a/dt, G G^T = dSigma/dt - 2 F Sigma, by differences."""
    process, t, h = Blurring((4, 4)), 0.3, 1e-6
    log = (process.mean(t + h).values.log() - process.mean(t - h).values.log()) / (2 * h)
    assert relative(process.F(t).values, log) < 1e-8
    slope = (process.Sigma(t + h).values - process.Sigma(t - h).values) / (2 * h)
    assert relative(process.GG(t).values, slope - 2 * log * process.Sigma(t).values) < 1e-8
    alpha = math.cos((process.T + 0.004) / 1.008 * math.pi / 2) ** 2
    assert pytest.approx(0.99598, abs=5e-6) == process.T
    assert math.sqrt((1 - alpha) / alpha) == pytest.approx(80, rel=1e-9)
    x = torch.randn(2, 3, 4, 4, generator=generator(), dtype=torch.float64)
    assert relative(process.embed(x), scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")) < 1e-14
    assert relative(dct_matrix(7) @ dct_matrix(7).T, torch.eye(7)) < 1e-14


@pytest.mark.parametrize("lam", [0.6])
@each_process
def test_psi_hat_and_its_covariance_solve_their_odes(name, lam):
    """Thesis Prop. 9, with -lam^2 in eq. 7.23: from s down to t < s."""
    process, n, s, t = PROCESSES[name], size(name), 0.6, 0.2

    def rate(t, x):
        GG = matrix(process.GG(t), n)
        F_hat = matrix(process.F(t), n) + (1 + lam**2) / 2 * GG @ np.linalg.inv(matrix(process.Sigma(t), n))
        return np.stack([F_hat @ x[0], F_hat @ x[1] + x[1] @ F_hat.T - lam**2 * GG])

    psi_hat = process.Psi_hat(t, s, lam)
    solution, covariance = integrate(rate, np.stack([np.eye(n), np.zeros((n, n))]), s, t, 1e-11)
    assert relative(matrix(psi_hat, n), solution) < 1e-9
    closed = process.Sigma(t) - psi_hat @ process.Sigma(s) @ psi_hat.T
    assert np.abs(matrix(closed, n) - covariance).max() / matrix(process.Sigma(s), n).max() < 1e-9
    assert np.linalg.eigvalsh(matrix(closed, n)).min() > -1e-12


@each_process
def test_psi_hat_has_closed_forms_at_0_and_1(name):
    process = PROCESSES[name]
    s = torch.tensor([0.99, 0.5, 0.02], dtype=torch.float64)
    t = torch.tensor([1e-3, 0.3, 1e-3], dtype=torch.float64)
    flow = process.R(t) @ process.R(s).inv() @ process.Psi(t, s).identity()
    assert relative(dense(process.Psi_hat(t, s, 0.0)), dense(flow)) < 1e-10
    reverse = process.Sigma(t) @ process.Psi(s, t).T @ process.Sigma(s).inv()
    assert relative(dense(process.Psi_hat(t, s, 1.0)), dense(reverse)) < 1e-10


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("M", "beta"), [(0.25, (4.0, 4.0)), (0.25, (0.1, 20.0)), (0.0625, (0.1, 20.0))])
def test_one_long_step_of_cld_is_many_short_ones(M, beta, lam):
    """From T to eps the state turns many times."""
    process = CLD(M=M, beta_min=beta[0], beta_max=beta[1])
    times = grids.quadratic(process, 120)
    steps = process.Psi_hat(times[1:], times[:-1], lam).values
    assert relative(process.Psi_hat(times[-1], times[0], lam).values, torch.linalg.multi_dot([*steps.flip(0)])) < 1e-10


@pytest.mark.parametrize("name", ISOTROPIC)
def test_rho_and_its_inverse(name):
    process = ISOTROPIC[name]
    t = torch.linspace(0.01, process.T, 30, dtype=torch.float64)
    rho = process.rho(t)
    assert (rho.diff() > 0).all()
    assert relative(process.time_of_rho(rho), t) < 1e-12


@each_process
def test_prior(name):
    process = PROCESSES[name]
    state = process.state_shape(data_shape(name))
    u = process.prior_sample((20000, *state), generator(), torch.float64)
    covariance = dense(process.prior_covariance)
    flat = u.movedim(1, -1).flatten(0, -2) if name.startswith("cld") else u.reshape(-1, 1)
    std = covariance.diagonal().sqrt()
    coordinates = u[:5].movedim(1, -1) if name.startswith("cld") else u[:5, ..., None]
    expected = torch.distributions.Normal(0, std).log_prob(coordinates).flatten(1).sum(1)
    assert torch.allclose(process.prior_log_prob(u[:5]), expected, rtol=1e-12)
    assert relative(flat.T @ flat / len(flat), covariance) < 0.03
    assert process.prior_sample((2, *state), generator()).dtype == torch.float32


@each_process
def test_prior_is_near_the_final_marginal(name):
    """Given x of size 1, u_T is within a few per cent of the prior."""
    process, n = PROCESSES[name], size(name)
    mean, sigma, prior = (matrix(op, n) for op in (process.mean(process.T), process.Sigma(process.T), process.prior_covariance))
    assert np.abs(sigma - prior).max() / prior.max() < 0.01
    assert np.abs(mean).max() / np.sqrt(prior.max()) < 0.03


@pytest.mark.parametrize("T", [0.5, 0.9])
def test_the_prior_of_exploding_variances_is_that_at_T(T):
    sigmas = torch.logspace(-2, 1, 30, dtype=torch.float64)
    for make in (VE, lambda T: DiscreteVE(sigmas, T=T)):
        prior = make(T=T).prior_covariance.values
        assert prior == make(T=T).Sigma(T).values and prior < 0.8 * make(T=1.0).prior_covariance.values
        assert torch.allclose(make(T=1.0).prior_covariance.values, make(T=1.0).Sigma(1.0).values, rtol=1e-12)


@each_process
def test_embed_and_perturb(name):
    process, data = PROCESSES[name], data_shape(name)
    x = torch.randn(5, *data, generator=generator(), dtype=torch.float64)
    u = process.embed(x)
    assert u.shape == (5, *process.state_shape(data))
    assert torch.allclose(process.project(u), x, atol=1e-14)
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    for factor in ("R", "L"):
        many, noise = process.perturb(x, t, generator(1), factor)
        one = process.mean(t[3])(u[3:4]) + process.K(t[3], factor)(noise[3:4])
        assert torch.allclose(many[3:4], one, atol=1e-14)
    with pytest.raises(RescoreError, match="allowed: R, L, I"):
        process.K(0.5, "Q")


@each_process
def test_forward_simulation(name):
    """Kolmogorov's forward equation for two moments: Euler-Maruyama paths have mean m_t e(x) and covariance Sigma_t."""
    process, data, g = PROCESSES[name], data_shape(name), generator(3)
    n, steps, end = 4000, 200, 0.3
    x = torch.ones(n, *data, dtype=torch.float64)
    start = 1e-3
    u = process.mean(start)(process.embed(x))
    u = u + process.L(start)(torch.randn(u.shape, generator=g, dtype=torch.float64))
    times = start + (end - start) * (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    h = (end - start) / steps
    for t in times:
        noise = torch.randn(u.shape, generator=g, dtype=torch.float64)
        u = u + h * process.F(t)(u) + math.sqrt(h) * process.G(t)(noise)
    mean = process.mean(end)(process.embed(x[:1]))
    whitened = process.L(end).inv()(u - mean).flatten(1)
    tolerance = 5 / math.sqrt(n) + 0.02
    assert whitened.mean(0).abs().max() < tolerance
    assert (torch.cov(whitened.T) - torch.eye(whitened.shape[1])).abs().max() < 1.5 * tolerance


def test_grids():
    process = VP()
    assert grids.uniform(process, 4, 0.2).tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert grids.quadratic(process, 2).tolist() == pytest.approx([1, ((1 + math.sqrt(1e-3)) / 2) ** 2, 1e-3])
    assert grids.quadratic_striding(CLD(), 2).tolist() == pytest.approx([1, 1e-3 + 0.999 / 4, 1e-3])
    t = grids.log_rho(process, 8)
    assert process.rho(t).log().diff().std() < 1e-12
    t = grids.rho_power(process, 8)
    assert (process.rho(t) ** (1 / 7)).diff().std() < 1e-12
    for grid in (grids.uniform, grids.quadratic, grids.log_rho, grids.rho_power):
        t = grid(CosineVP(), 10)
        assert len(t) == 11 and (t[0], t[-1]) == (0.995, 1e-3) and grids.check(CosineVP(), t) is not None


@pytest.mark.parametrize(
    ("operator", "state"),
    [
        (Diagonal(torch.tensor([2.0, 0.5], dtype=torch.float64)), (3,)),
        (Diagonal(torch.rand(2, 3, 4, generator=generator(), dtype=torch.float64) + 0.5, 2), (2, 3, 4)),
        (Block(torch.tensor([[[2.0, 0.3], [0.3, 1.0]], [[1.0, -0.2], [-0.2, 3.0]]], dtype=torch.float64)), (2, 3)),
    ],
)
def test_operators(operator, state):
    """Application, composition, inverse, transpose, root and determinant against the matrix that the operator stands for."""
    n = torch.Size(state).numel()
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *state)

    def full(op):
        return op(basis).flatten(1).T

    for i in range(2):
        one = operator[i]
        a = full(one)
        assert torch.allclose(full(one.inv()), torch.linalg.inv(a), atol=1e-14)
        assert torch.allclose(full(one.T), a.T)
        assert torch.allclose(full(one.cholesky()), torch.linalg.cholesky(a), atol=1e-14)
        assert torch.allclose(full(one @ operator[0]), a @ full(operator[0]), atol=1e-14)
        assert torch.allclose(full(2 * one - operator[0].identity()), 2 * a - torch.eye(n), atol=1e-14)
        assert operator.logdet(state)[i].item() == pytest.approx(torch.linalg.slogdet(a)[1].item(), abs=1e-13)
    per_sample = operator(torch.stack((basis[0], basis[1])))
    assert torch.allclose(per_sample[1], operator[1](basis[1:2])[0])
    weights = torch.tensor([[[1.0, 2.0]]], dtype=torch.float64)
    combined = operator.unsqueeze(0).combine(weights)[0, 0]
    assert torch.allclose(full(combined), full(operator[0]) + 2 * full(operator[1]), atol=1e-14)


@pytest.mark.parametrize("t", [0.1, 0.5, 1.0])
def test_data_of_unit_variance_keep_it_under_vp_and_not_under_sub_vp(t):
    """Score-SDE, section 3.4: 1, and 1 - exp(-B) + exp(-2 B) < 1, B the integral of beta."""
    big_b = 0.1 * t + 19.9 * t**2 / 2
    for process, expected in ((VP(), 1.0), (SubVP(), 1 - math.exp(-big_b) + math.exp(-2 * big_b))):
        found = process.mean(t).values ** 2 + process.Sigma(t).values
        assert found.item() == pytest.approx(expected, abs=1e-14)
