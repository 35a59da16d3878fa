"""Target densities against automatic differentiation, quadrature, dense linear algebra and published values."""

import itertools
import math

import numpy as np
import pytest
import torch
from rescore.errors import RescoreError
from rescore.random import make_generator
from rescore.targets import (
    BrownianMotion,
    Funnel,
    GaussianMixture,
    LogGaussianCox,
    ManyWell,
    Rescaled,
    Rings,
    StudentMixture,
    Target,
    forty_modes,
    gaussian,
    lgcp,
    nine_modes,
    three_modes,
)
from rescore.targets.named import known_log_z, make_target
from scipy import integrate, stats
from torch.distributions import MultivariateNormal, Normal

F64 = torch.float64


def skewed_mixture() -> GaussianMixture:
    means = torch.tensor([[0.5, -1.0, 0.2], [-0.7, 0.4, 1.1]])
    return GaussianMixture(means, 0.8, weights=torch.tensor([3.0, 1.0]), log_z=math.log(5), name="skewed")


TARGETS = {
    "gaussian": gaussian(torch.tensor([1.0, -2.0]), 0.6, log_z=0.7),
    "skewed": skewed_mixture(),
    "mg": nine_modes(),
    "rings": Rings(),
    "funnel": Funnel(),
    "funnel1": Funnel(1.0),
    "lgcp_synthetic": lgcp.synthetic(6),
    "mg_released": three_modes(),
    "gmm40": forty_modes(),
    "student2": StudentMixture(2),
    "manywell4": ManyWell(4),
    "brownian": BrownianMotion(),
    "rescaled": Rescaled(skewed_mixture(), 3.0),
}
SAMPLED = [name for name in TARGETS if name not in ("lgcp_synthetic", "manywell4", "brownian")]
each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def points(target: Target, *shape: int) -> torch.Tensor:
    """Where the target has its mass, float64."""
    generator = make_generator("points", target.name)
    if target.name == "lgcp_synthetic":
        return target.prior_mean + torch.randn(*shape, target.dim, dtype=F64, generator=generator)
    if target.name in ("manywell4", "brownian"):
        return 1.5 * torch.randn(*shape, target.dim, dtype=F64, generator=generator)
    return target.sample(shape, generator)


def assert_mean(values: torch.Tensor, truth: float, precision: float) -> None:
    """Within 4 standard errors, and those small enough to mean something."""
    stderr = values.double().std().item() / math.sqrt(values.numel())
    assert stderr < precision
    assert abs(values.double().mean().item() - truth) < 4 * stderr


# every target


@each_target
def test_score_is_the_gradient_of_log_prob(target):
    x = points(target, 5, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_prob(x).sum(), x)
    assert target.score(x.detach()).shape == x.shape
    torch.testing.assert_close(target.score(x.detach()), gradient, rtol=1e-10, atol=1e-10)


@each_target
def test_log_prob_and_score_are_those_of_single_points(target):
    x = points(target, 2, 3)
    log_prob, score = target.log_prob_and_score(x)
    assert log_prob.shape == (2, 3)
    torch.testing.assert_close(log_prob, target.log_prob(x), rtol=1e-13, atol=1e-12)
    torch.testing.assert_close(score, target.score(x), rtol=1e-12, atol=1e-12)
    for i, j in np.ndindex(2, 3):
        torch.testing.assert_close(target.log_prob(x[i, j]), log_prob[i, j], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(target.score(x[i, j]), score[i, j], rtol=1e-12, atol=1e-11)


@each_target
def test_float32_stays_float32_and_near_float64(target):
    x = points(target, 20)
    exact_log_prob, exact_score = target.log_prob_and_score(x.float().double())
    log_prob, score = target.log_prob_and_score(x.float())
    alone = target.log_prob(x.float()), target.score(x.float())
    assert {value.dtype for value in (log_prob, score, *alone)} == {torch.float32}
    torch.testing.assert_close(log_prob.double(), exact_log_prob, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(score.double(), exact_score, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_are_seeded_float64_of_the_asked_shape(name):
    target = TARGETS[name]
    one, same, other = (target.sample((2, 5), make_generator("draw", seed)) for seed in (0, 0, 1))
    assert one.shape == (2, 5, target.dim) and one.dtype == F64
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_no_exact_sampler_is_one_clear_error():
    with pytest.raises(RescoreError, match="^target lgcp_synthetic: no exact sampler is known$"):
        TARGETS["lgcp_synthetic"].sample((3,), make_generator(0))


# mixtures


@pytest.mark.parametrize(("target", "half_width"), [(TARGETS["gaussian"], 8.0), (TARGETS["mg"], 10.0)], ids=["gaussian", "mg"])
def test_mixtures_integrate_to_z(target, half_width):
    axis = torch.arange(-half_width, half_width, 0.1, dtype=F64)  # the trapezium rule, exact for Gaussians this much wider
    total = target.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.1**2
    assert math.log(total) == pytest.approx(target.log_z, abs=1e-11)


def test_nine_modes_are_a_grid_of_variance_three_tenths():
    target = nine_modes()
    assert (target.name, target.dim, target.log_z, len(target.means)) == ("mg", 2, 0.0, 9)
    assert {tuple(mean) for mean in target.means.tolist()} == {(a, b) for a in (-5, 0, 5) for b in (-5, 0, 5)}
    at_mode = MultivariateNormal(torch.zeros(2, dtype=F64), 0.3 * torch.eye(2, dtype=F64)).log_prob(torch.zeros(2, dtype=F64))
    assert target.log_prob(target.means[4]).item() == pytest.approx(at_mode.item() - math.log(9), abs=1e-10)


def test_mixture_samples_follow_weights_and_width():
    target, n = skewed_mixture(), 40_000
    x = target.sample((n,), make_generator("mixture"))
    mean = target.weights @ target.means
    for i in range(3):
        assert_mean(x[:, i], mean[i].item(), 0.01)
        second = (target.weights * target.means[:, i].square()).sum().item() + target.std**2
        assert_mean(x[:, i].square(), second, 0.02)
    assert target.weights.tolist() == [0.75, 0.25]


# rings


def radial_moment(target: Rings, power: int) -> float:
    """E |x|^power by quadrature of the density along a ray."""

    def density(r: float) -> float:
        return 2 * math.pi * r * math.exp(target.log_prob(torch.tensor([r, 0.0], dtype=F64)).item())

    peaks = [float(r) for r in target.radii]
    breaks = sorted([r + side * target.std for r in peaks for side in (-9, -3, 0, 3, 9)])
    return sum(
        integrate.quad(lambda r: r**power * density(r), a, b, epsabs=1e-14, epsrel=1e-13)[0]
        for a, b in itertools.pairwise(breaks)
    )


def test_rings_integrate_to_z():
    assert math.log(radial_moment(Rings(), 0)) == pytest.approx(Rings().log_z, abs=1e-11)


def test_rings_have_the_printed_radii_and_width():
    target = Rings()
    angle = torch.linspace(0, 6, 7, dtype=F64)
    for radius, offset in ((1.0, 0.1), (3.0, -0.05), (5.0, 0.2)):
        x = (radius + offset) * torch.stack((angle.cos(), angle.sin()), -1)
        expected = torch.full_like(angle, -(offset**2) / 0.01)
        torch.testing.assert_close(target.log_prob(x), expected, rtol=1e-10, atol=1e-10)


def test_rings_score_is_finite_at_the_origin():
    assert Rings().score(torch.zeros(3, 2)).isfinite().all()


def test_ring_samples_have_the_radial_law_of_the_density():
    target, n = Rings(), 200_000
    radius = target.sample((n,), make_generator("rings")).norm(dim=-1)
    z = radial_moment(target, 0)
    for power in (1, 2, 4):
        assert_mean(radius**power, radial_moment(target, power) / z, 0.01 * 5**power)
    for centre in (1.0, 3.0, 5.0):
        here = radius[(radius - centre).abs() < 1]
        assert_mean((radius - centre).abs() < 1, centre / 9, 0.01)
        # r N(r; c, s^2) has mean c + s^2 / c and variance s^2 - (s^2 / c)^2: at c = 1 ten standard errors from a plain Gaussian
        shift = target.std**2 / centre
        assert_mean(here, centre + shift, 0.001)
        assert_mean((here - centre - shift).square(), target.std**2 - shift**2, 1e-4)


def test_ring_samples_are_uniform_in_angle():
    x = Rings().sample((5000,), make_generator("angle"))
    angle = torch.atan2(x[:, 1], x[:, 0]).numpy()
    assert stats.kstest(angle, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3


# funnel


@pytest.mark.parametrize("variance", [9.0, 1.0])
def test_funnel_is_a_product_of_normalised_normals(variance):
    target = Funnel(variance)
    x = target.sample((50,), make_generator("funnel"))
    head = Normal(torch.zeros((), dtype=F64), math.sqrt(variance)).log_prob(x[:, 0])
    rest = Normal(torch.zeros((), dtype=F64), torch.exp(x[:, :1] / 2)).log_prob(x[:, 1:]).sum(-1)
    torch.testing.assert_close(target.log_prob(x), head + rest, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("variance", [9.0, 1.0])
def test_funnel_integrates_to_one(variance):
    """By importance sampling from a slightly wider funnel, whose density is written out here."""
    n, std, widen = 100_000, 1.1 * math.sqrt(variance), 1.2
    generator = make_generator("wider", variance)
    noise = torch.randn(n, 10, dtype=F64, generator=generator)
    head = std * noise[:, :1]
    x = torch.cat((head, widen * torch.exp(head / 2) * noise[:, 1:]), -1)
    log_q = -0.5 * noise.square().sum(-1) - 5 * math.log(2 * math.pi) - math.log(std) - 9 * (math.log(widen) + head[:, 0] / 2)
    assert_mean((Funnel(variance).log_prob(x) - log_q).exp(), 1.0, 0.003)


@pytest.mark.parametrize(("variance", "name"), [(9.0, "funnel"), (1.0, "funnel1")])
def test_funnel_samples_and_name(variance, name):
    target = Funnel(variance)
    x = target.sample((50_000,), make_generator("funnel samples"))
    assert (target.name, target.dim, target.log_z) == (name, 10, 0.0)
    assert_mean(x[:, 0], 0.0, 0.02)
    assert_mean(x[:, 0].square(), variance, 0.1)
    whitened = x[:, 1:] * torch.exp(-x[:, :1] / 2)
    assert_mean(whitened, 0.0, 0.01)
    assert_mean(whitened.square(), 1.0, 0.01)
    assert_mean(x[:, 0] * whitened.square().sum(-1), 0.0, 0.15)


# log Gaussian Cox process


@pytest.fixture(scope="module")
def pines_40(pines) -> LogGaussianCox:
    return lgcp.pines(pines)


def dense_covariance(n: int) -> torch.Tensor:
    """K written out cell by cell."""
    cells = [(row, column) for row in range(n) for column in range(n)]
    return torch.tensor([[1.91 * math.exp(-math.dist(a, b) / (n / 33)) for b in cells] for a in cells], dtype=F64)


@pytest.mark.parametrize("n", [2, 6, 10])
def test_lgcp_is_prior_times_poisson_likelihood(n):
    target = lgcp.synthetic(n, seed=3)
    x = target.prior_mean + 2 * torch.randn(4, n * n, dtype=F64, generator=make_generator("latent"))
    mean = torch.full((n * n,), math.log(target.counts.sum()) - 0.955, dtype=F64)
    prior = MultivariateNormal(mean, dense_covariance(n)).log_prob(x)
    likelihood = (x * target.counts - x.exp() / n**2).sum(-1)
    torch.testing.assert_close(target.log_prob(x), prior + likelihood, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("n", [2, 10, 40])
def test_block_product_is_the_dense_precision(n):
    target = lgcp.synthetic(n)
    x = torch.randn(2, 3, n * n, dtype=F64, generator=make_generator("block"))
    dense = torch.cholesky_solve(x.reshape(-1, n * n).T, torch.linalg.cholesky(target.covariance)).T.reshape(x.shape)
    torch.testing.assert_close(target._precision_times(x), dense, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(target._unfold(target._fold(x[0])), x[0], rtol=1e-14, atol=1e-14)


def test_covariance_is_that_of_the_paper():
    torch.testing.assert_close(lgcp.prior_covariance(4), dense_covariance(4), rtol=1e-12, atol=1e-14)
    assert lgcp.prior_covariance(40)[0, 41].item() == pytest.approx(1.91 * math.exp(-math.sqrt(2) * 33 / 40), rel=1e-12)


def laplace(target: LogGaussianCox) -> tuple[float, torch.Tensor]:
    """log Z of the Gaussian at the mode, and the mode, by Newton's method on dense matrices."""
    precision = torch.cholesky_inverse(torch.linalg.cholesky(target.covariance))

    def factor(f: torch.Tensor) -> torch.Tensor:
        return torch.linalg.cholesky(precision + torch.diag(target.area * f.exp()))

    f = torch.full((target.dim,), target.prior_mean, dtype=F64)
    for _ in range(9):
        f = f + torch.cholesky_solve(target.score(f)[:, None], factor(f))[:, 0]
    assert target.score(f).abs().max() < 1e-9
    log_det = 2 * factor(f).diagonal().log().sum()
    return (target.log_prob(f) + 0.5 * target.dim * math.log(2 * math.pi) - 0.5 * log_det).item(), f


def test_laplace_approximation_on_the_pines(pines_40):
    log_z, mode = laplace(pines_40)
    assert log_z == pytest.approx(511.205, abs=1e-3)
    assert pines_40.log_prob(mode).item() == pytest.approx(-1111.201, abs=1e-3)
    assert mode.min().item() == pytest.approx(3.530, abs=1e-3)
    assert mode.max().item() == pytest.approx(7.755, abs=1e-3)


def test_laplace_approximation_on_a_coarser_grid(pines):
    assert laplace(lgcp.pines(pines, 32))[0] == pytest.approx(511.496, abs=1e-3)


def test_pines_at_forty_cells_a_side(pines_40):
    assert (pines_40.name, pines_40.dim, pines_40.log_z) == ("lgcp", 1600, 501.6)
    assert pines_40.prior_mean == pytest.approx(3.8813, abs=5e-5)


@pytest.mark.parametrize(("n", "occupied", "largest"), [(40, 111, 3), (32, 103, 4)])
def test_pines_counts(pines, n, occupied, largest):
    counts = lgcp.bin_counts(pines, n)
    assert (int((counts > 0).sum()), int(counts.max()), int(counts.sum())) == (occupied, largest, 126)


def test_bins_are_rows_of_x_and_hold_the_far_edge():
    counts = lgcp.bin_counts(torch.tensor([[0.0, 0.3], [1.0, 1.0], [0.99, 0.51], [0.5, 0.0]]), 4)
    expected = torch.zeros(4, 4, dtype=F64)
    expected[0, 1] = expected[3, 3] = expected[3, 2] = expected[2, 0] = 1
    assert torch.equal(counts, expected)


def test_synthetic_twin_is_a_function_of_its_seed():
    one, same, other = (lgcp.synthetic(8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.counts, same.counts) and not torch.equal(one.counts, other.counts)
    assert (one.name, one.log_z) == ("lgcp_synthetic", None)
    assert one.counts.min() >= 0 and torch.equal(one.counts, one.counts.round())


def test_synthetic_twins_have_the_expected_number_of_points():
    totals = torch.stack([lgcp.synthetic(4, seed=seed, expected_count=126).counts.sum() for seed in range(400)])
    assert_mean(totals, 126.0, 7.0)


@pytest.mark.parametrize("shape", [(5, 5), (4, 6), (6, 4)])
def test_odd_or_oblong_grid_is_one_clear_error(shape):
    with pytest.raises(RescoreError) as error:
        LogGaussianCox(torch.ones(shape))
    assert str(error.value) == f"lgcp: counts of shape {shape}; a square grid with an even side is needed"


@pytest.mark.parametrize(
    ("name", "dim", "log_z"),
    [
        ("mg", 2, 0),
        ("funnel", 10, 0),
        ("funnel1", 10, 0),
        ("lgcp_synthetic", 16, None),
        ("mg_released", 2, 0),
        ("gmm40", 2, 0),
        ("student2", 2, 0),
    ],
)
def test_targets_have_names(name, dim, log_z):
    target = make_target(name, side=4)
    assert (target.dim, target.log_z) == (dim, log_z) and known_log_z(name, 4) == log_z


def test_log_z_of_the_pines_is_known_on_its_own_grid_without_them():
    assert known_log_z("lgcp") == 501.6 and known_log_z("lgcp", 20) is None


def test_an_unknown_target_names_those_there_are():
    with pytest.raises(
        RescoreError, match="unknown target 'moons'; allowed: mg, mg_released, gmm40, student2, manywell32, rings,"
    ):
        make_target("moons")


# the benchmark's targets


def test_many_wells_integrate_to_z():
    def well(x: float) -> float:
        return math.exp(ManyWell(2).log_prob(torch.tensor([x, 0.0], dtype=F64)).item())

    z = sum(integrate.quad(well, a, b, epsabs=1e-12, epsrel=1e-12)[0] for a, b in ((-5, -1.7), (-1.7, 0), (0, 1.7), (1.7, 5)))
    assert ManyWell(2).log_z == pytest.approx(math.log(z) + 0.5 * math.log(2 * math.pi), abs=1e-10)
    target = make_target("manywell32")
    assert (target.dim, target.log_z) == (32, pytest.approx(16 * ManyWell(2).log_z, rel=1e-14))
    at = torch.arange(8, dtype=F64) / 4 - 1
    pairs = sum(ManyWell(2).log_prob(at[i : i + 2]).item() for i in (0, 2, 4, 6))
    assert ManyWell(8).log_prob(at).item() == pytest.approx(pairs, abs=1e-12)


@pytest.mark.parametrize("dim", [0, 3])
def test_an_odd_many_well_is_one_clear_error(dim):
    with pytest.raises(RescoreError, match=f"many-well: dim {dim}"):
        ManyWell(dim)


def test_student_mixture_is_one_of_products_of_t():
    target = StudentMixture(3, modes=4)
    x = 4 * torch.randn(6, 3, dtype=F64, generator=make_generator("student"))
    each = stats.t(2).logpdf((x[:, None] - target.means).numpy()).sum(-1)
    np.testing.assert_allclose(target.log_prob(x).numpy(), np.logaddexp.reduce(each, 1) - math.log(4), atol=1e-12)
    assert target.means.abs().max() <= 10 and target.means.abs().max() > 5


def test_student_samples_follow_the_law():
    target = StudentMixture(1, modes=2)
    x = target.sample((5000,), make_generator("t"))[:, 0].numpy()
    first, second = target.means[:, 0].tolist()
    assert stats.kstest(x, lambda at: 0.5 * (stats.t.cdf(at - first, 2) + stats.t.cdf(at - second, 2))).pvalue > 1e-3


def test_a_rescaled_target_has_the_same_z():
    inner = gaussian(torch.tensor([1.0, -2.0]), 0.6, log_z=0.7)
    same = gaussian(torch.tensor([0.5, -1.0]), 0.3, log_z=0.7)
    x = torch.randn(9, 2, dtype=F64, generator=make_generator("rescaled"))
    for ours, theirs in zip(Rescaled(inner, 2.0).log_prob_and_score(x), same.log_prob_and_score(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    draws = [t.sample((4,), make_generator("same")) for t in (Rescaled(inner, 2.0), inner)]
    torch.testing.assert_close(2 * draws[0], draws[1])


def test_forty_modes_are_those_of_the_authors_seed():
    target = forty_modes()
    assert target.means.shape == (40, 2) and target.means.abs().max() <= 40
    torch.manual_seed(0)
    torch.testing.assert_close(target.means, (80 * (torch.rand(40, 2) - 0.5)).double())
    assert target.std == pytest.approx(1.3133, abs=1e-4)
    assert three_modes().means.norm(dim=1).tolist() == pytest.approx([1, 1, 1]) and three_modes().std == 0.15
