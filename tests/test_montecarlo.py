"""Importance sampling, SMC and AFT against closed forms."""

import math

import numpy as np
import pytest
import torch
from rescore.cost.evaluations import CountEvaluations
from rescore.errors import RescoreError
from rescore.flows.transport import diagonal_affine, spline_autoregressive
from rescore.montecarlo.aft import frozen, train_transports, training_evaluations, transport_loss
from rescore.montecarlo.hmc import Particles
from rescore.montecarlo.importance import prior_log_weights, standard_normal_log_prob
from rescore.montecarlo.logz import (
    bias_std_rmse,
    elbo,
    ess,
    log_mean_exp,
    logz_statistics,
    of_retrained_runs,
    trainings_statistics,
)
from rescore.montecarlo.smc import Annealing, _resample, anneal
from rescore.random import make_generator
from rescore.targets.base import Target
from rescore.targets.mixture import GaussianMixture, gaussian, nine_modes
from rescore.training import Adam

F64 = torch.float64
MEAN = torch.tensor([0.8, -0.5, 0.3], dtype=F64)
STD, LOG_Z = 0.7, 1.3


@pytest.fixture
def target():
    return gaussian(MEAN, STD, log_z=LOG_Z)


def generators(n: int, name: str = "run"):
    return [make_generator("test", name, r) for r in range(n)]


def randn(*shape: int, name: str = "noise"):
    return torch.randn(*shape, dtype=F64, generator=make_generator(name))


class Counting(Target):
    """A target that counts its evaluations."""

    def __init__(self, target: Target):
        self.target, self.n = target, 0
        self.name, self.dim, self.log_z = target.name, target.dim, target.log_z

    def log_prob(self, x):
        self.n += 1
        return self.target.log_prob(x)

    def score(self, x):
        self.n += 1
        return self.target.score(x)

    def log_prob_and_score(self, x):
        self.n += 1
        return self.target.log_prob_and_score(x)


def assert_mean(values, truth: float, n_stderr: float = 4.0):
    """The mean agrees with the truth within 4 standard errors, and the standard error is small enough to mean something."""
    stderr = values.std().item() / math.sqrt(len(values))
    assert stderr < 0.05 * max(1.0, abs(truth))
    assert abs(values.mean().item() - truth) < n_stderr * stderr


# logz


def test_log_mean_exp_and_elbo_in_float64():
    log_w = torch.log(torch.tensor([[1.0, 3.0], [2.0, 6.0]]))
    assert torch.allclose(log_mean_exp(log_w).exp(), torch.tensor([2.0, 4.0], dtype=F64), rtol=1e-6)
    assert torch.allclose(elbo(log_w.T), torch.tensor([0.5 * math.log(2), 0.5 * math.log(18)], dtype=F64), rtol=1e-6)
    assert log_mean_exp(log_w).dtype == elbo(log_w).dtype == ess(log_w).dtype == F64
    huge = torch.tensor([-1340.0, -1341.0, -5000.0])
    assert log_mean_exp(huge).item() == pytest.approx(-1340 + math.log((1 + math.exp(-1)) / 3), abs=1e-12)


def test_scaling_the_density_shifts_every_estimate(target):
    scaled = gaussian(MEAN, STD, log_z=LOG_Z + math.log(7))
    for estimate in (log_mean_exp, elbo):
        shift = estimate(prior_log_weights(scaled, 50, generators(3))) - estimate(prior_log_weights(target, 50, generators(3)))
        assert torch.allclose(shift, torch.full_like(shift, math.log(7)), atol=1e-12)
    log_z = [anneal(t, Annealing(4, 2, 3), 50, generators(3), dtype=F64).log_z for t in (target, scaled)]
    # beta < 1 scales by 7^beta, the same for all particles
    assert torch.allclose(log_z[1] - log_z[0], torch.full((3,), math.log(7), dtype=F64), atol=1e-10)


def test_ess_bounds_and_values():
    n = 8
    one = torch.full((n,), -math.inf)
    one[2] = 5.0
    half = torch.full((n,), -math.inf)
    half[:4] = -900.0
    assert ess(torch.full((n,), 3.0)).item() == pytest.approx(1, abs=1e-14)
    assert ess(one).item() == pytest.approx(1 / n, abs=1e-14)
    assert ess(half).item() == pytest.approx(0.5, abs=1e-14)
    random = ess(5 * randn(100, n))
    assert (random > 1 / n).all() and (random < 1).all()


def test_bias_std_rmse_by_hand():
    estimates = np.array([[1.0, 3.0], [4.0, 8.0]])  # means 2, 6; variances 2, 8
    result = bias_std_rmse(estimates, truth=1.0)
    assert result["logz_bias"] == pytest.approx((3.0, math.sqrt(8) / math.sqrt(2)))
    # of the mean variance 5 the error is 3, so of its root 3 / (2 sqrt(5))
    assert result["logz_std"] == pytest.approx((math.sqrt(5), 3 / (2 * math.sqrt(5))))
    of_each = np.array([math.sqrt(1 + 2), math.sqrt(25 + 8)])
    assert result["logz_rmse"] == pytest.approx((of_each.mean(), of_each.std(ddof=1) / math.sqrt(2)))


def test_rmse_counts_the_spread_between_trainings():
    """Two trainings that are off by -1 and +1: their mean is unbiased, neither of them is."""
    result = bias_std_rmse([[-1.0, -1.0], [1.0, 1.0]], truth=0.0)
    assert result["logz_bias"][0] == 0 and result["logz_std"][0] == 0 and result["logz_rmse"] == (1.0, 0.0)


def test_without_a_truth_the_mean_stands_in_the_place_of_the_bias():
    log_z, sizes = np.array([[1.0, 3.0], [4.0, 4.0]]), np.array([[0.1, 0.3], [0.5, 0.7]])
    known, found = bias_std_rmse(log_z, 1.0), logz_statistics(log_z, None, sizes)
    assert logz_statistics(log_z, 1.0) == known and set(found) == {"logz", "logz_std", "ess"}
    assert found["logz"] == pytest.approx((3.0, 1.0)) and found["logz_std"] == known["logz_std"]
    assert found["ess"] == pytest.approx((0.4, 0.2)), "its error is that of a mean over trainings"
    one = logz_statistics(log_z[:1], None, sizes[:1])["ess"]
    assert one == pytest.approx((0.2, 0.1)), "of one training, that of a mean over runs"


@pytest.mark.parametrize("truth", [None, 1.0])
def test_parts_of_trainings_have_the_statistics_as_means(truth):
    """With the errors of means; of S, the root of the mean variance, they move with a training's variance to first order."""
    log_z, sizes = np.random.default_rng(0).normal(size=(4, 5, 2)).transpose(2, 0, 1)
    parts = trainings_statistics(log_z, truth, sizes)
    known = logz_statistics(log_z, truth, sizes)
    assert list(parts) == list(known)
    for metric, (value, stderr) in known.items():
        assert parts[metric].mean() == pytest.approx(value, rel=1e-12)
        assert parts[metric].std(ddof=1) / 2 == pytest.approx(stderr, rel=1e-12)
    variances = log_z.var(1, ddof=1)
    moved = np.sqrt(variances.mean() + 1e-6 / 4) - np.sqrt(variances.mean())  # that of one training grows by 1e-6
    slope = np.diff(parts["logz_std"]) / np.diff(variances)
    assert slope == pytest.approx(4 * moved / 1e-6, rel=1e-5)
    assert (trainings_statistics(np.ones((2, 2)), 1.0)["logz_std"] == 0).all()


def test_bootstrap_stderr_of_one_seed():
    runs = np.random.default_rng(3).normal(2.0, 0.5, size=(1, 400))
    result = bias_std_rmse(runs, truth=2.0)
    assert result == bias_std_rmse(runs, truth=2.0)
    # of a normal sample: s / sqrt(n) and s / sqrt(2 (n - 1)); 1,000 resamples know them to about 2 %
    assert result["logz_bias"][1] == pytest.approx(runs.std() / 20, rel=0.1)
    assert result["logz_std"][1] == pytest.approx(runs.std() / math.sqrt(2 * 399), rel=0.15)


def test_bootstrap_stderr_of_medians_is_that_of_medians():
    """Of normal runs, by the laws of large samples: sqrt(pi / 2) s / sqrt(n) of the median, 1.166 s / sqrt(n) of 1.4826 MAD.

    A mean and a standard deviation have 1 and 0.707 in these places.
    """
    runs = np.random.default_rng(5).normal(2.0, 0.5, size=(1, 2000))
    found = bias_std_rmse(runs, truth=2.0, robust=True)
    assert found["logz_bias"][1] == pytest.approx(math.sqrt(math.pi / 2) * 0.5 / math.sqrt(2000), rel=0.15)
    assert found["logz_std"][1] == pytest.approx(1.166 * 0.5 / math.sqrt(2000), rel=0.15)


@pytest.mark.parametrize("shape", [(5,), (2, 1), (0, 5)])
def test_bias_std_rmse_needs_two_runs(shape):
    with pytest.raises(RescoreError, match="at least 2 runs"):
        bias_std_rmse(np.zeros(shape), 0.0)


# one-jump importance sampling


def test_prior_log_weights_are_the_closed_form(target):
    log_w = prior_log_weights(target, 20, generators(2))
    for run, generator in enumerate(generators(2)):
        x = torch.empty(20, 3, dtype=F64).normal_(generator=generator)
        expected = LOG_Z - 3 * math.log(STD) - ((x - MEAN) ** 2).sum(-1) / (2 * STD**2) + (x**2).sum(-1) / 2
        assert torch.allclose(log_w[run], expected, atol=1e-12)


def test_importance_sampling_is_unbiased_and_its_variance_closed(target):
    weights = (prior_log_weights(target, 5, generators(2000)) - LOG_Z).exp().flatten()
    assert_mean(weights, 1.0)
    # E[w^2] per coordinate with a = 1/s^2, weight proportional to exp(-(a - 1/2) x^2 + 2 a m x - a m^2)
    a = 1 / STD**2
    second = math.prod(a * (2 * a - 1) ** -0.5 * math.exp(2 * (a * m) ** 2 / (2 * a - 1) - a * m**2) for m in MEAN.tolist())
    assert_mean(weights**2, second, n_stderr=5)


def test_standard_normal_log_prob():
    x = randn(4, 5)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(-1)
    assert torch.allclose(standard_normal_log_prob(x), expected, atol=1e-13)
    assert standard_normal_log_prob(x.float()).dtype == F64


# SMC


def test_one_temperature_is_importance_sampling(target):
    run = anneal(target, Annealing(1, 1, 2), 64, generators(3), dtype=F64)
    assert torch.allclose(run.log_z, log_mean_exp(prior_log_weights(target, 64, generators(3))), atol=1e-13)


@pytest.mark.parametrize("resample_below", [0.0, 0.3, 1.1])
def test_smc_is_unbiased_for_z(target, resample_below):
    schedule = Annealing(3, 1, 2, (0.5, 0.5, 0.4, 0.4), resample_below)
    weights = (anneal(target, schedule, 8, generators(4000), dtype=F64).log_z - LOG_Z).exp()
    assert_mean(weights, 1.0)


def test_smc_final_particles_follow_the_target(target):
    schedule = Annealing(5, 3, 5, (0.6, 0.6, 0.5, 0.4))
    run = anneal(target, schedule, 20000, generators(1), dtype=F64)
    weights = run.log_weights.exp()[..., None]
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    mean = (weights * run.x).sum(1)[0]
    std = (weights * (run.x - mean) ** 2).sum(1)[0].sqrt()
    assert (mean - MEAN).abs().max() < 0.03 and (std - STD).abs().max() < 0.03  # about 5 standard errors of 20,000 draws
    assert run.log_z.item() == pytest.approx(LOG_Z, abs=0.05)
    assert run.acceptance.shape == (1, 5) and (run.acceptance > 0.7).all() and (run.acceptance <= 1).all()


def test_runs_do_not_depend_on_their_batch():
    schedule = Annealing(4, 2, 3, resample_below=0.7)
    together = anneal(nine_modes(), schedule, 40, generators(5), dtype=F64)
    assert together.log_z.std() > 0.01
    assert 0 < (together.log_weights == -np.log(40)).all(-1).sum() < 5  # some runs resampled last, some did not
    for r in range(5):
        alone = anneal(nine_modes(), schedule, 40, [generators(5)[r]], dtype=F64)
        for name in ("x", "log_weights", "log_z", "acceptance"):
            assert torch.allclose(getattr(alone, name)[0], getattr(together, name)[r], rtol=0, atol=1e-9), name


def test_resampling_counts(target):
    n = 4000
    x = torch.arange(n, dtype=F64)[:, None].expand(2, n, 3).clone()
    particles = Particles.at(x, target)
    log_weights = torch.full((2, n), -math.inf, dtype=F64)
    log_weights[:, [10, 20, 30]] = torch.tensor([0.5, 0.25, 0.25], dtype=F64).log()
    untouched = log_weights[0].clone()
    _resample(particles, log_weights, torch.tensor([False, True]), generators(2))
    assert torch.equal(particles.x[0, :, 0], torch.arange(n, dtype=F64)) and torch.equal(log_weights[0], untouched)
    values, counts = particles.x[1, :, 0].unique(return_counts=True)
    assert values.tolist() == [10, 20, 30] and counts.sum() == n
    assert abs(counts[0].item() - n / 2) < 4 * math.sqrt(n / 4)
    assert torch.equal(log_weights[1], torch.full((n,), -np.log(n), dtype=F64))
    assert torch.equal(particles.log_prob[1], target.log_prob(particles.x[1]))
    one = torch.full((1, n), -math.inf, dtype=F64)
    one[0, 7] = 0.0
    particles = Particles.at(x[:1].clone(), target)
    _resample(particles, one, torch.tensor([True]), generators(1))
    assert (particles.x == 7).all()


def test_vanishing_weights_are_one_clear_error(target):
    class Nothing(Counting):
        def log_prob_and_score(self, x):
            return torch.full(x.shape[:-1], -math.inf, dtype=x.dtype), torch.zeros_like(x)

    with pytest.raises(RescoreError, match="gaussian: all weights of a run vanish or one is NaN at temperature 1 of 3"):
        anneal(Nothing(target), Annealing(3, 1, 1), 4, generators(1))


# AFT


def exact_affine(k: int, schedule: Annealing):
    """The map between the Gaussians gamma_{k-1} and gamma_k of the path from N(0, I) to N(MEAN, STD^2 I)."""

    def moments(beta: float):
        precision = (1 - beta) + beta / STD**2
        return beta * MEAN / STD**2 / precision, precision**-0.5

    (mean_0, std_0), (mean_1, std_1) = moments(schedule.beta(k - 1)), moments(schedule.beta(k))
    log_det = 3 * math.log(std_1 / std_0)
    return lambda x: (mean_1 + std_1 / std_0 * (x - mean_0), x.new_full(x.shape[:-1], log_det))


def test_exact_transport_has_zero_variance(target):
    schedule = Annealing(5, 2, 3)
    maps = [exact_affine(k, schedule) for k in range(1, 6)]
    run = anneal(target, schedule, 30, generators(4), frozen(maps), F64)
    assert (run.log_z - LOG_Z).abs().max() < 1e-10
    assert (run.log_weights + math.log(30)).abs().max() < 1e-10
    plain = anneal(target, schedule, 30, generators(4), dtype=F64)
    assert (plain.log_z - LOG_Z).abs().max() > 1e-3
    assert run.n_evaluations == plain.n_evaluations + 5


def test_smc_is_aft_with_the_identity(target):
    schedule = Annealing(4, 2, 3, resample_below=0.9)
    identity = frozen([lambda x: (x, x.new_zeros(x.shape[:-1]))] * 4)
    a = anneal(target, schedule, 25, generators(3), dtype=F64)
    b = anneal(target, schedule, 25, generators(3), identity, F64)
    assert torch.equal(a.log_z, b.log_z) and torch.equal(a.x, b.x) and torch.equal(a.log_weights, b.log_weights)


def test_aft_is_unbiased_for_any_transport(target):
    wrong = frozen([lambda x: (1.2 * x + 0.1, x.new_full(x.shape[:-1], 3 * math.log(1.2)))] * 3)
    schedule = Annealing(3, 1, 2, (0.5, 0.5, 0.4, 0.4), 0.8)
    weights = (anneal(target, schedule, 16, generators(4000), wrong, F64).log_z - LOG_Z).exp()
    assert_mean(weights, 1.0)


def test_transport_loss_is_least_at_the_exact_map(target):
    schedule = Annealing(4)
    exact = exact_affine(1, schedule)
    x, weights = randn(4000, 3), torch.full((4000,), 1 / 4000, dtype=F64)
    best = transport_loss(exact, target, x, weights, schedule.beta(1)).item()
    for scale, shift in ((1.1, 0.0), (0.9, 0.0), (1.0, 0.2), (1.0, -0.2)):
        y, log_det = exact(x)
        other = (scale * y + shift, log_det + 3 * math.log(scale))
        assert transport_loss(lambda _, other=other: other, target, x, weights, schedule.beta(1)).item() > best + 1e-3


def test_trained_diagonal_transports_are_nearly_exact(target):
    schedule = Annealing(4, 2, 3)
    train = (make_generator("train"), make_generator("validation"))
    maps = train_transports(target, schedule, lambda k: diagonal_affine(3), 500, train, Adam(100, 0.03), F64)
    assert len(maps) == 4
    learned, plain = (
        anneal(target, schedule, 100, generators(50), at, F64).log_z - LOG_Z for at in (frozen(maps), lambda *_: None)
    )
    # what remains is the moment error of 500 training particles, about 0.02
    assert learned.std() < 0.5 * plain.std() and learned.abs().max() < 0.1


def train_one(target, train="train", validation="validation", **settings):
    pair = (make_generator(train), make_generator(validation))
    return train_transports(target, Annealing(1, 1, 1), lambda k: diagonal_affine(3), 50, pair, Adam(**settings), F64)


@pytest.mark.parametrize("steps", [0, 10, 23])
def test_evaluations_of_a_training_are_what_is_noted(target, steps):
    pair, schedule = (make_generator("a"), make_generator("b")), Annealing(3, 2, 4)
    with CountEvaluations() as counted:
        train_transports(target, schedule, lambda k: diagonal_affine(3), 7, pair, Adam(steps, 0.01), F64)
    assert counted.total == training_evaluations(schedule, steps, 7)


def test_validation_keeps_the_best_parameters(target):
    """With a ruinous step size those of iteration 0, the identity."""
    assert all((p == 0).all() for p in train_one(target, steps=20, lr=1e3).parameters())


def test_validation_particles_do_not_train(target):
    first, same, other = (train_one(target, t, v, steps=4, lr=0.02) for t, v in ("ab", "ac", "db"))
    assert all((p != 0).any() for p in first.parameters())
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), same.parameters(), strict=True))  # reproducible too
    assert not all(torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True))


def test_transports_are_trained_with_the_rate_and_the_clip_of_their_adam(target):
    one, decayed, clipped = (
        torch.cat([p.flatten() for p in train_one(target, lr=0.02, **how).parameters()])
        for how in ({"steps": 1}, {"steps": 4, "decay": 1e-9, "decay_every": 1}, {"steps": 1, "clip": 1e-11})
    )
    torch.testing.assert_close(decayed, one)
    assert one.abs().max() > 0.01 > 2e-4 > clipped.abs().max() > 0, "gradients below Adam's eps make smaller steps"


def test_spline_transports_help_on_a_mixture():
    two = GaussianMixture(torch.tensor([[-1.5, 0.5], [1.5, 0.5]]), 0.4)
    schedule = Annealing(2, 1, 2)
    train = (make_generator("train"), make_generator("validation"))
    make = lambda k: spline_autoregressive(2, 1, 8, 4.0, (16,), seed=k)  # noqa: E731
    maps = train_transports(two, schedule, make, 500, train, Adam(100, 0.02))
    learned = anneal(two, schedule, 200, generators(50), frozen(maps)).log_z
    plain = anneal(two, schedule, 200, generators(50)).log_z
    assert learned.square().mean() < 0.25 * plain.square().mean()


def test_runs_of_different_trainings_spread_as_both_do():
    """Trainings of spread 2 and runs of spread 1 around them: one run of one training has standard deviation sqrt(5)."""
    rng = np.random.default_rng(0)
    estimates = 2 * rng.normal(size=(400, 1)) + rng.normal(size=(400, 3)) - 1
    found = of_retrained_runs(estimates, 0.5)
    assert found["logz_bias"][0] == pytest.approx(estimates.mean() - 0.5)
    for metric, expected in (("logz_bias", -1.5), ("logz_std", 5**0.5), ("logz_rmse", (1.5**2 + 5) ** 0.5)):
        value, error = found[metric]
        assert abs(value - expected) < 3 * error
    # the mean of 400 trainings, each of variance 4 + 1 / 3
    assert found["logz_bias"][1] == pytest.approx(estimates.mean(1).std(ddof=1) / 20)
    with pytest.raises(RescoreError, match="at least 3 trainings"):
        of_retrained_runs(estimates[:2], 0.0)


def test_medians_of_runs_do_not_see_single_outliers():
    """B, S and A of normal estimates, and the same to a few percent with one run in fifty a thousand away."""
    clean = np.random.default_rng(1).normal(0.7, 2.0, size=(3, 20_000))
    spoiled = clean.copy()
    spoiled[:, ::50] += 1000
    for estimates, margin in ((clean, 0.03), (spoiled, 0.1)):
        found = bias_std_rmse(estimates, 0.5, robust=True)
        for metric, expected in (("logz_bias", 0.2), ("logz_std", 2.0), ("logz_rmse", 4.04**0.5)):
            assert abs(found[metric][0] - expected) < margin, metric
    assert bias_std_rmse(spoiled, 0.5)["logz_std"][0] > 100
    one = bias_std_rmse([[1.0, 2.0, 4.0, 8.0, 100.0]], 0.0, robust=True)  # |x - 4| = 3, 2, 0, 4, 96
    assert (one["logz_bias"][0], one["logz_std"][0]) == pytest.approx((4.0, 3 * 1.482602218505602))


def test_the_spread_of_trainings_by_hand():
    alike = np.repeat(np.array([[1.0], [2.0], [6.0]]), 4, axis=1)
    assert of_retrained_runs(alike, 0.0)["logz_std"][0] == pytest.approx(7**0.5), "no spread within: that of the trainings"
    # the means 1.5, 4, 2 have variance 1.75; within a training it is 0.5, 2, 8, of which the half that the means lack counts
    found = of_retrained_runs([[1.0, 2.0], [3.0, 5.0], [0.0, 4.0]], 0.0)
    assert found["logz_std"][0] == pytest.approx((1.75 + 3.5 / 2) ** 0.5)
    assert found["logz_rmse"][0] == pytest.approx((2.5**2 + 3.5) ** 0.5)
