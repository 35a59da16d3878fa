"""Score matching at one density and over time: minimisers, identities and variances, exactly by quadrature where possible."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from diffusion_cases import ISOTROPIC, PROCESSES, data_shape, generator
from rescore.errors import RescoreError
from rescore.likelihood import elbo
from rescore.objectives import DSM, LCSS, DiscreteTimes, ImportanceTimes, TraceMatching, UniformTimes
from rescore.objectives.pointwise import dsm, explicit, fd_ssm, gradient_of, lcs, lcss, probes, ssm, ssm_vr
from rescore.processes import SubVP
from torch import nn

S = torch.tensor([[0.7, 0.2], [0.2, 0.4]], dtype=torch.float64)  # covariance of the data
SIGMA = 0.4
NOISED = S + SIGMA**2 * torch.eye(2, dtype=torch.float64)
FORMS = ["explicit", "ssm", "ssm_vr", "fd_ssm"]


def hermite(d, nodes):
    """Points (n, d) and weights (n,) that give means under N(0, I) exactly up to degree 2 nodes - 1."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    points = torch.tensor(list(product(x, repeat=d)), dtype=torch.float64)
    weights = torch.tensor(list(product(w / w.sum(), repeat=d)), dtype=torch.float64).prod(1)
    return points, weights


def mlp(d=2, out=None, seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(d, 12), nn.Tanh(), nn.Linear(12, out or d)).double()


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


# minimisers on N(0, S), over all linear scores


def mean_over(covariance, loss):
    """E loss over x ~ N(0, covariance) and an independent y ~ N(0, I)."""
    points, weights = hermite(4, 4)
    root = torch.linalg.cholesky(covariance)
    return lambda a: (loss(lambda x: x @ a.T, points[:, :2] @ root.T, points[:, 2:]) * weights).sum()


TRACES = {"explicit": lambda score, x, y: explicit(score, x), "ssm": ssm, "ssm_vr": ssm_vr, "fd_ssm": fd_ssm}
NOISY = {
    "dsm": lambda score, x, y: dsm(score, x, y, SIGMA),
    "lcss": lambda score, x, y: lcss(score, x, y, SIGMA),
    "lcs": lambda score, x, y: lcs(score, x, SIGMA),
}


def minimiser(loss):
    """The matrix A that minimises a quadratic loss(A): one Newton step, the curvature from differences of gradients."""

    def gradient(a):
        a = a.detach().requires_grad_()
        return torch.autograd.grad(loss(a), a)[0]

    base = gradient(torch.zeros(2, 2, dtype=torch.float64)).flatten()
    columns = [gradient(unit.reshape(2, 2)).flatten() - base for unit in torch.eye(4, dtype=torch.float64)]
    return -torch.linalg.solve(torch.stack(columns, 1), base).reshape(2, 2)


@pytest.mark.parametrize("name", FORMS)
def test_minimiser_without_noise_is_the_score_of_the_data(name):
    found = minimiser(mean_over(S, TRACES[name]))
    torch.testing.assert_close(found, -torch.linalg.inv(S), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [*FORMS, *NOISY])
def test_all_minimisers_agree_at_one_noise_level(name):
    """The trace's on noised data, DSM's, LCSS's and curvature smoothing's (exact for linear scores) on the data."""
    mean = mean_over(NOISED, TRACES[name]) if name in TRACES else mean_over(S, NOISY[name])
    torch.testing.assert_close(minimiser(mean), -torch.linalg.inv(NOISED), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 10.0])
def test_gamma_scales_the_minimiser(gamma):
    mean = mean_over(S, lambda score, x, y: lcss(score, x, y, SIGMA, gamma))
    torch.testing.assert_close(minimiser(mean), -gamma * torch.linalg.inv(NOISED), rtol=1e-10, atol=1e-10)


# identities


def gradients(loss, network):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss.mean(), list(network.parameters()))])


@pytest.mark.parametrize("sigma", [0.01, 0.4, 10.0])
def test_lcss_has_the_gradient_of_dsm(sigma):
    network, x, z = mlp(), normal(50, 2), normal(50, 2, seed=2)
    ours, theirs = lcss(network, x, z, sigma), dsm(network, x, z, sigma)
    a, b = gradients(ours, network), gradients(theirs, network)
    assert b.abs().max() > 1e-3
    assert ((a - b).abs().max() / b.abs().max()).item() < 1e-12
    torch.testing.assert_close(theirs - ours, 0.5 * (z / sigma).square().sum(1), rtol=1e-12, atol=1e-9)


class Timed(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layers = mlp(math.prod(shape) + 1, math.prod(shape))

    def forward(self, u, t):
        return self.layers(torch.cat((u.flatten(1), t[:, None]), 1)).reshape(u.shape)


@pytest.mark.parametrize("predicts", ["R", "L", "score"])
@pytest.mark.parametrize("weighting", ["simple", "sigma^2", "likelihood"])
@pytest.mark.parametrize("name", PROCESSES)
def test_lcss_has_the_gradient_of_dsm_at_all_times(name, weighting, predicts):
    process, x0 = PROCESSES[name], normal(20, *data_shape(name))
    network = Timed(process.state_shape(data_shape(name)))
    values = [kind(weighting, UniformTimes(1e-2), predicts)(network, process, x0, generator(3)) for kind in (LCSS, DSM)]
    a, b = (gradients(value, network) for value in values)
    assert ((a - b).abs().max() / b.abs().max()).item() < 1e-10


def test_same_seed_means_same_training():
    """300 steps of Adam in float64: the parameters stay together."""
    ends = []
    for kind in (LCSS, DSM):
        network, draws = Timed((2,)), generator(4)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(300):
            optimizer.zero_grad()
            kind("simple", UniformTimes(1e-3))(network, SubVP(), normal(32, 2), draws).mean().backward()
            optimizer.step()
        ends.append(nn.utils.parameters_to_vector(network.parameters()))
    start = nn.utils.parameters_to_vector(Timed((2,)).parameters())
    assert (ends[0] - start).norm() > 1
    assert (ends[0] - ends[1]).norm() / (ends[0] - start).norm() < 1e-9


def test_steins_identity():
    """E tr ds/dx' = E s(x')^T z / sigma (eq. 16), by quadrature on a network that is not linear."""
    network, (z, weights), x, sigma = mlp(), hermite(2, 30), torch.tensor([0.3, -0.2], dtype=torch.float64), 0.7
    points = x + sigma * z
    square = 0.5 * network(points).square().sum(1)
    trace = ((explicit(network, points) - square) * weights).sum()
    inner = ((lcss(network, x.expand_as(z), z, sigma) - square) * weights).sum()
    assert trace.abs() > 0.05
    torch.testing.assert_close(inner, trace, rtol=1e-8, atol=0)


def test_eq_11_misses_a_term_of_the_order_of_the_regulariser():
    """For s = -x^3: (E J_SM(x') - J_LCS(x)) / sigma^2 -> 1/2 (tr s')'' + 1/2 s s'' = -3 + 3 x^4."""
    x, (z, weights) = torch.tensor([[0.7]], dtype=torch.float64), hermite(1, 8)
    cube = lambda y: -(y**3)  # noqa: E731
    for sigma in (1e-2, 1e-3):
        smoothed = (explicit(cube, x + sigma * z) * weights).sum()
        gap = (smoothed - lcs(cube, x, sigma)[0]) / sigma**2
        assert gap.item() == pytest.approx(-3 + 3 * 0.7**4, abs=20 * sigma**2 + 1e-8)
    assert lcs(cube, x, 0.5)[0].item() == pytest.approx(-3 * 0.49 + 0.5 * 0.7**6 + 0.5 * 0.25 * (3 * 0.49) ** 2)


# estimators of the trace

J = torch.tensor([[1.0, 0.3, -0.2], [0.3, -0.5, 0.4], [-0.2, 0.4, 2.0]], dtype=torch.float64)
POINT = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)


def moments(loss, v, weights):
    values = loss(lambda x: x @ J, POINT.expand_as(v), v).detach()
    mean = (values * weights).sum()
    return mean.item(), ((values - mean).square() * weights).sum().item()


@pytest.mark.parametrize("loss", [ssm_vr, fd_ssm])
def test_variance_of_the_trace_estimates(loss):
    """2 |J|_F^2 for Gaussian probes, without the diagonal for signs; FD-SSM's are the same on a linear score."""
    exact = explicit(lambda x: x @ J, POINT[None]).item()
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=3)), dtype=torch.float64)
    mean, variance = moments(loss, signs, torch.full((8,), 1 / 8, dtype=torch.float64))
    assert mean == pytest.approx(exact, abs=1e-12)
    assert variance == pytest.approx(2 * (J.square().sum() - J.diagonal().square().sum()).item(), abs=1e-12)
    mean, variance = moments(loss, *hermite(3, 4))
    assert mean == pytest.approx(exact, abs=1e-12)
    assert variance == pytest.approx(2 * J.square().sum().item(), abs=1e-11)


def test_projecting_the_square_adds_variance():
    """Var ssm = 2 |J|^2 + |s|^4 / 2 + 2 s^T J s."""
    s = POINT @ J
    mean, variance = moments(ssm, *hermite(3, 4))
    assert mean == pytest.approx(explicit(lambda x: x @ J, POINT[None]).item(), abs=1e-12)
    expected = 2 * J.square().sum() + s.square().sum() ** 2 / 2 + 2 * s @ J @ s
    assert variance == pytest.approx(expected.item(), abs=1e-11)


def test_variance_on_the_sphere_in_the_plane():
    """d / (d + 2) times the Gaussian's, of the traceless part: 2 d / (d + 2) (|J|^2 - (tr J)^2 / d)."""
    angle = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    v = math.sqrt(2) * torch.stack((angle.cos(), angle.sin()), 1)
    values = ssm_vr(lambda x: x @ S, torch.zeros_like(v), v).detach()
    traceless = S - S.trace() / 2 * torch.eye(2, dtype=torch.float64)
    assert values.var(correction=0).item() == pytest.approx(traceless.square().sum().item(), abs=1e-12)


def test_one_draw_of_the_inner_product_has_variance_of_order_sigma_minus_2():
    """Of s^T z / sigma at a constant score: |s|^2 / sigma^2, where a probe of the trace has none."""
    (z, weights), s = hermite(2, 4), torch.tensor([0.6, -0.8], dtype=torch.float64)
    for sigma in (0.01, 0.1):
        values = lcss(lambda x: s.expand_as(x), torch.zeros_like(z), z, sigma)
        mean = (values * weights).sum()
        assert mean.item() == pytest.approx(0.5, abs=1e-10)
        assert ((values - mean).square() * weights).sum().item() == pytest.approx(sigma**-2, rel=1e-10)
    assert ssm_vr(lambda x: s.expand_as(x), torch.zeros_like(z), z).std().item() < 1e-15


def test_finite_differences_are_exact_for_linear_scores_and_of_second_order():
    x, v, network = normal(40, 3), normal(40, 3, seed=2), mlp(3)
    torch.testing.assert_close(fd_ssm(lambda y: y @ J, x, v), ssm_vr(lambda y: y @ J, x, v), rtol=1e-11, atol=1e-11)
    errors = [(fd_ssm(network, x, v, eps) - ssm_vr(network, x, v)).abs().mean().item() for eps in (0.1, 0.05)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "sphere"])
def test_probes_have_unit_covariance(kind):
    v = probes(torch.zeros(40_000, 2, 2, dtype=torch.float64), generator(), kind).flatten(1)
    assert (v.T @ v / len(v) - torch.eye(4)).abs().max() < 0.03
    if kind != "gaussian":
        torch.testing.assert_close(v.square().sum(1), torch.full((40_000,), 4.0, dtype=torch.float64))


def test_the_gradient_of_a_log_density_is_a_score_that_can_be_differentiated():
    score = gradient_of(lambda x: -0.5 * (x @ torch.linalg.inv(S) * x).sum(1))
    x = normal(5, 2)
    torch.testing.assert_close(score(x), -x @ torch.linalg.inv(S))
    expected = -torch.linalg.inv(S).trace() + 0.5 * score(x).square().sum(1)
    torch.testing.assert_close(explicit(score, x), expected)


# all times


def exact_noise(process, variance):
    """eps(u, t) on data N(0, variance)."""

    def network(u, t):
        m, std = process.mean(t.double()).values, process.R(t.double()).values
        return u * (std / (m**2 * variance + std**2))[:, None]

    return network


def slopes(objective, process, network, direction, n=4000):
    """d loss / d a of each sample for network + a direction, at a = 0."""
    a = torch.zeros(n, 1, dtype=torch.float64, requires_grad=True)
    x0 = math.sqrt(0.3) * normal(n, 3)
    losses = objective(lambda u, t: network(u, t) + a * direction(u, t), process, x0, generator(2))
    found = torch.autograd.grad(losses.sum(), a)[0]
    return (found.mean() / (found.std() / math.sqrt(n))).item()


@pytest.mark.parametrize("weighting", ["simple", "likelihood"])
@pytest.mark.parametrize("objective", [*FORMS, "lcss"])
@pytest.mark.parametrize("name", ["ve", "subvp", "vp"])
def test_the_exact_score_is_stationary(name, objective, weighting):
    process, times = ISOTROPIC[name], ImportanceTimes(1e-3) if weighting == "likelihood" else UniformTimes(1e-3)
    made = LCSS(weighting, times) if objective == "lcss" else TraceMatching(objective, weighting, times)
    network = exact_noise(process, 0.3)
    for direction in (network, lambda u, t: torch.ones_like(u) * (1 - t[:, None])):
        assert abs(slopes(made, process, network, direction)) < 4
    assert slopes(made, process, lambda u, t: 0.6 * network(u, t), network) < -8


@pytest.mark.parametrize("predicts", ["R", "score"])
@pytest.mark.parametrize(
    ("weighting", "factor"),
    [
        ("simple", lambda p, t: 2.0),
        ("sigma^2", lambda p, t: 1.0),
        ("likelihood", lambda p, t: p.GG(t).values / p.Sigma(t).values),
    ],
)
def test_weights_of_the_trace_objectives(weighting, factor, predicts):
    """At one time, with eps = c u: lambda (-c d / sigma + c^2 |u|^2 / (2 sigma^2))."""
    process, t, c, x0 = SubVP(), 0.3, 0.7, normal(6, 3)
    sigma = process.R(t).values
    draws = generator(5)
    DiscreteTimes((t,)).draw(process, 6, draws)
    u, _ = process.perturb(x0, t, draws, "R")
    network = lambda u, t: -c * u / sigma if predicts == "score" else c * u  # noqa: E731
    found = TraceMatching("explicit", weighting, DiscreteTimes((t,)), predicts)(network, process, x0, generator(5))
    expected = factor(process, torch.tensor(t)) * (0.5 * c**2 * u.square().sum(1) - c * 3 * sigma)
    torch.testing.assert_close(found, expected.to(found))


def test_gamma_scales_the_loss_of_a_scaled_network():
    """J_gamma(gamma s) = gamma^2 J_1(s), so that gamma s* minimises J_gamma where s* minimises J_1."""
    network, x0, process = Timed((3,)), normal(10, 3), SubVP()
    for gamma in (0.5, 10.0):
        scaled = LCSS(gamma=gamma)(lambda u, t, g=gamma: g * network(u, t), process, x0, generator(3))
        plain = LCSS()(network, process, x0, generator(3))
        torch.testing.assert_close(scaled, gamma**2 * plain, rtol=1e-10, atol=1e-10)


def test_subvp_needs_the_mean_of_its_kernel():
    """eq. 19 has x' ~ N(x0, sigma_t^2); its minimiser on N(0, S) is not the score that a sub-VP sampler needs."""
    process, t, variance = SubVP(), 0.3, 0.3
    m, std = process.mean(t).values.item(), process.R(t).values.item()
    times = DiscreteTimes((t,))
    right, literal = std / (m**2 * variance + std**2), std / (variance + std**2)
    assert right / literal > 1.2
    for a, stationary in ((right, True), (literal, False)):
        z = slopes(LCSS(times=times), process, lambda u, t, a=a: a * u, lambda u, t: u)
        assert abs(z) < 4 if stationary else z < -8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: probes(torch.zeros(2, 2), generator(), "box"), "probe 'box'; allowed: gaussian, rademacher, sphere"),
        (lambda: LCSS(gamma=0.0), "LCSS: gamma 0: allowed are positive numbers"),
        (lambda: LCSS(predicts="x"), "LCSS: predicts 'x'; allowed: R, L, score"),
        (lambda: TraceMatching("dsm"), "form 'dsm'; allowed: explicit, ssm, ssm_vr, fd_ssm"),
        (lambda: TraceMatching(predicts="velocity"), "predicts 'velocity'; allowed: R, L, score"),
        (lambda: TraceMatching()(None, PROCESSES["cld"], normal(2, 3), generator()), "TraceMatching"),
        (lambda: elbo(None, SubVP(), LCSS(), normal(2, 3), generator()), "objective LCSS: allowed are DSM and HSM"),
    ],
)
def test_bad_input_is_one_clear_error(make, message):
    with pytest.raises(RescoreError, match=message):
        make()
