"""Soft Score Matching and the samplers for general corruptions, on data whose posterior means are known."""

import math
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from rescore.corruptions import (
    Blur,
    Constant,
    Corruption,
    Family,
    GeometricNoise,
    Identity,
    Interpolated,
    Masking,
    pseudo_inverse,
)
from rescore.data.digits import load_digits
from rescore.errors import RescoreError
from rescore.objectives import (
    DSM,
    CleanPrediction,
    SoftScoreMatching,
    UniformTimes,
    clean_of,
    clean_of_score,
    score_of,
    score_of_clean,
)
from rescore.processes import VE
from rescore.processes.operators import Diagonal
from rescore.samplers import (
    FlowMomentumSampler,
    HeunFlowSampler,
    MomentumSampler,
    NaiveSampler,
    reverse_diffusion,
    uniform_times,
)

VE_NOISE = GeometricNoise(0.01, 5.0, until=1.0)
VE_LIKE = Corruption(Identity(), Constant(), VE_NOISE)
BLUR = Corruption(Blur((8, 8), 8, 4.5), Interpolated((0.2, 1.0), (0.01, 4.5)), GeometricNoise())
MASK = Corruption(Masking((8, 8)), Interpolated((0.2, 1.0), (0.0, 64.0)), GeometricNoise())


@dataclass(frozen=True)
class Shrink(Family):
    """C = exp(-level): one eigenmode of a blur."""

    lowest: float = 0.0
    highest: float = math.log(1e3)

    def operator(self, level):
        return Diagonal(torch.exp(-level))


MODE = Corruption(Shrink(), Interpolated((0.2, 1.0), (0.0, math.log(1e3))), GeometricNoise())
JOINT = Corruption(MODE.family, MODE.level, GeometricNoise(until=1.0))
S = 0.08


def mode_posterior(x, t, process=MODE):
    c, variance = process.C(t).values.item(), process.sigma(t).item() ** 2
    return c * S / (c**2 * S + variance) * x


def variance_after(kind, steps, start, literal=False):
    """Of a linear sampler on one mode, exactly: the state is a vector of coefficients of independent noises.

    `literal`: the flow's last step as printed, to (x + h) / 2, in place of the clean prediction h.
    """
    noises = steps + 1
    x = torch.zeros(noises, dtype=torch.float64)
    x[0] = start**0.5
    fresh = iter(range(1, noises))

    def draw(like):
        z = torch.zeros_like(like)
        z[next(fresh)] = 1
        return z

    sampler, inputs = kind(MODE, uniform_times(steps)), []

    def clean(x, t):
        inputs.append(x)
        return mode_posterior(x, t)

    end = sampler.run(clean, x, draw)
    if literal:
        end = sampler.step(steps - 1, end, inputs[-1], draw)
    return end.square().sum().item()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (NaiveSampler, (0.4041, 0.4746, 0.4897, 0.4968)),
        (MomentumSampler, (0.8474, 0.9664, 0.9871, 0.9955)),
        (FlowMomentumSampler, (0.8266, 0.9627, 0.9865, 0.9962)),
    ],
)
def test_naive_halves_the_variance_of_gaussian_data_and_momentum_keeps_it(kind, expected):
    top = (1e-3) ** 2 * S + 0.1**2
    literal = kind is FlowMomentumSampler
    found = [variance_after(kind, steps, top, literal) / S for steps in (20, 100, 280, 1000)]
    assert found == pytest.approx(expected, abs=6e-5)


def test_naive_contracts_to_its_fixed_point():
    """Away from the ends the variance is sigma^2 / (1 - rho^2), rho = c^2 S / (c^2 S + sigma^2), not c^2 S + sigma^2."""
    frozen = Corruption(Shrink(), Constant(math.log(2)), GeometricNoise(until=0.01))
    sampler, variance, c = NaiveSampler(frozen, uniform_times(400)), 0.1**2, 0.5
    rho = c**2 * S / (c**2 * S + variance)
    law = 1.0
    for i in range(300):
        gain = sampler.step(i, torch.ones(()).double() * c * S / (c**2 * S + variance), None, lambda _: torch.zeros(()))
        law = gain.item() ** 2 * law + variance
    assert law == pytest.approx(variance / (1 - rho**2), rel=1e-9)


def test_flow_keeps_the_marginals_of_the_fixed_noise_stage():
    steps = 20000
    sampler, start = FlowMomentumSampler(MODE, uniform_times(steps)), torch.ones((), dtype=torch.float64)
    x, ratios = start, []
    for i in range(int(0.75 * steps)):
        t = sampler.times[i]
        if i % (steps // 8) == 0:
            c = MODE.C(t).values.item()
            ratios.append(x.item() / math.sqrt(c**2 * S + MODE.sigma(t).item() ** 2))
        x = sampler.step(i, mode_posterior(x, t), x, None)
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=2e-3)


def mode_flow_error(kind, process, steps, until):
    """Of the flow on one mode from t = 1, where x_t / sqrt(c_t^2 S + sigma_t^2) does not change."""
    sampler, x = kind(process, uniform_times(steps)), torch.ones((), dtype=torch.float64)
    for i in range(round(steps * (1 - until))):
        x = sampler.advance(i, partial(mode_posterior, process=process), x, None)
    spread = [math.sqrt(process.C(t).values.item() ** 2 * S + process.sigma(t).item() ** 2) for t in (1.0, until)]
    return abs(x.item() * spread[0] / spread[1] - 1)


@pytest.mark.parametrize(("kind", "order"), [(FlowMomentumSampler, 1), (HeunFlowSampler, 2)])
@pytest.mark.parametrize(("process", "until"), [(MODE, 0.4), (MODE, 0.1), (JOINT, 0.4)])
def test_the_flow_s_methods_have_their_orders(kind, order, process, until):
    """In the stage of fixed noise alone, through that of growing noise, and where noise and corruption change together."""
    errors = [mode_flow_error(kind, process, steps, until) for steps in (320, 640)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_heun_s_method_takes_two_evaluations_and_in_the_last_step_one():
    sampler, calls = HeunFlowSampler(BLUR, uniform_times(7)), []
    x = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    sampler(lambda x, t: (calls.append(t), x)[1], x)
    assert len(calls) == sampler.nfe == 13 and calls[:4] == [1.0, *[pytest.approx(6 / 7)] * 2, pytest.approx(5 / 7)]


def test_both_momentum_samplers_coincide_while_the_noise_is_fixed():
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    clean = x.flip(0)
    kinds = (MomentumSampler, FlowMomentumSampler)
    results = [kind(BLUR, uniform_times(10)).step(2, clean, x, torch.randn_like) for kind in kinds]
    assert torch.equal(*results)
    expected = x + BLUR.C(0.7)(clean) - BLUR.C(0.8)(clean)
    torch.testing.assert_close(results[0], expected, rtol=0, atol=1e-14)


def test_one_image_gives_the_variances_of_theory():
    image = (load_digits()[:1] + 1) / 2
    process = Corruption(BLUR.family, BLUR.level, GeometricNoise(0.07, 0.1, until=1.0))
    sigma = process.sigma(uniform_times(2)).tolist()  # 0.1 and then 0.0837
    x = process.C(1.0)(image)

    def moments(kind):
        sampler = kind(process, uniform_times(2))
        mean = sampler.step(0, image, x, torch.zeros_like)
        gain = sampler.step(0, image, x + 1, torch.zeros_like) - mean
        noise = sampler.step(0, image, x, torch.ones_like) - mean
        return mean, (gain**2).mean().item() * sigma[0] ** 2 + (noise**2).mean().item()

    ratio, removed = sigma[1] ** 2 / sigma[0] ** 2, sigma[0] ** 2 - sigma[1] ** 2
    expected = {
        NaiveSampler: sigma[1] ** 2,
        MomentumSampler: sigma[1] ** 2 * ratio + removed,
        FlowMomentumSampler: (1 - removed / (2 * sigma[0] ** 2)) ** 2 * sigma[0] ** 2,
    }
    for kind, variance in expected.items():
        mean, found = moments(kind)
        torch.testing.assert_close(mean, process.C(0.5)(image), rtol=0, atol=1e-14)
        assert found == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize(("kind", "expected"), [(MomentumSampler, 1.5308), (FlowMomentumSampler, 1.1327)])
def test_discretisation_error_of_one_step(kind, expected):
    """sigma from 0.1 to 0.07 on one image: the variance over the wanted one."""
    process = Corruption(Identity(), Constant(), GeometricNoise(0.049, 0.1, until=1.0))
    assert process.sigma(0.5).item() == pytest.approx(0.07)
    sampler, zero = kind(process, uniform_times(2)), torch.zeros(1, dtype=torch.float64)
    gain = sampler.step(0, zero, zero + 1, torch.zeros_like)
    noise = sampler.step(0, zero, zero, torch.ones_like)
    assert ((gain**2 * 0.1**2 + noise**2) / 0.07**2).item() == pytest.approx(expected, abs=5e-5)


def test_no_corruption_gives_reverse_diffusion_of_ve_and_its_flow():
    times = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.0], dtype=torch.float64)
    ve, x = VE(sigma_max=5.0), torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def clean(x, t):
        return torch.tanh(x) * (1 - t / 2)

    score = score_of_clean(VE_LIKE, clean)
    theirs = reverse_diffusion(ve, times)
    momentum, flow = MomentumSampler(VE_LIKE, times), FlowMomentumSampler(VE_LIKE, times)
    for i in range(3):
        t, s = times[i].item(), times[i + 1].item()
        expected = theirs.step(i, score, x, lambda _: z)
        torch.testing.assert_close(momentum.step(i, clean(x, t), x, lambda _: z), expected, rtol=1e-12, atol=1e-12)
        drop = (ve.Sigma(t).values - ve.Sigma(s).values).item()
        expected = x + drop / 2 * score(x, t)
        torch.testing.assert_close(flow.step(i, clean(x, t), x, None), expected, rtol=1e-12, atol=1e-12)
    assert (momentum.nfe, flow.stochastic) == (4, False)


@pytest.mark.parametrize("kind", [MomentumSampler, FlowMomentumSampler, HeunFlowSampler])
def test_without_noise_a_step_undoes_the_corruption_alone(kind):
    """x + (C_s - C_t) h: of the exact clean point h each state is C_t h, and the end h itself."""
    process = Corruption(MODE.family, MODE.level, Constant(0.0))
    h = torch.tensor([[0.7], [-1.2]], dtype=torch.float64)
    sampler = kind(process, uniform_times(4))
    x = process.C(1.0)(h)
    for i in range(3):
        x = sampler.advance(i, lambda x, t: h, x, torch.zeros_like)
        torch.testing.assert_close(x, process.C(sampler.times[i + 1])(h), rtol=1e-12, atol=1e-12)


def test_samplers_return_the_last_clean_prediction():
    clean = clean_of(lambda x, t: torch.full_like(x, 0.25) - x)
    x = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    for kind in (NaiveSampler, MomentumSampler, FlowMomentumSampler):
        calls = []
        found = kind(BLUR, uniform_times(7))(lambda x, t, calls=calls: (calls.append(t), clean(x, t))[1], x, torch.Generator())
        assert len(calls) == 7 == kind(BLUR, uniform_times(7)).nfe
        assert (found == 0.25).all()


def linear(x, t):
    """Some network of residuals."""
    return 0.3 * x.flip(-1) - t[:, None, None, None] * x


def batch(n=6):
    return (load_digits()[:n] + 1) / 2


def test_a_network_is_told_one_time_for_all():
    """Expanded from one number, as in `score_of`: it embeds it once."""
    told = []

    def network(x, t):
        told.append(t)
        return linear(x, t)

    x = batch()
    clean_of(network)(x, 0.3)
    clean_of_score(network, BLUR, 0.01)(x, 0.3)
    score_of(network, VE(), "score")(x, 0.3)
    assert [t.stride() for t in told] == [(0,)] * 3
    assert all(torch.equal(t, torch.full((6,), 0.3, dtype=x.dtype)) for t in told)


def test_soft_loss_without_corruption_is_dsm():
    ve = VE(sigma_max=5.0)
    x, seed = batch(), 3

    def score(u, t):
        return linear(u, t) / ve.Sigma(t).values[:, None, None, None]

    expected = DSM("simple", UniformTimes(), predicts="score")(score, ve, x, torch.Generator().manual_seed(seed))
    found = SoftScoreMatching()(linear, VE_LIKE, x, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_soft_loss_is_score_matching_in_the_norm_of_sigma():
    """sigma^2 |s - (C x_0 - x_t) / sigma^2|^2 with s of eq. 8."""
    x0, generator = batch(), torch.Generator().manual_seed(0)
    t, x = SoftScoreMatching().pairs(BLUR, x0, generator)
    found = SoftScoreMatching().losses(BLUR, linear(x, t), x0, x, t)
    for i, time in enumerate(t.tolist()):
        s = score_of_clean(BLUR, clean_of(linear))(x[i : i + 1], time)
        target = (BLUR.C(time)(x0[i : i + 1]) - x[i : i + 1]) / BLUR.sigma(time) ** 2
        assert found[i].item() == pytest.approx((BLUR.sigma(time) ** 2 * (s - target).square().sum()).item(), rel=1e-9)
    unit = SoftScoreMatching("1").losses(BLUR, linear(x, t), x0, x, t)
    torch.testing.assert_close(unit, found * BLUR.sigma(t) ** 2)


@pytest.mark.parametrize("weighting", ["1/sigma^2", "1"])
def test_the_loss_of_a_score_is_the_same_under_every_parametrisation(weighting):
    x0 = batch()
    t, x = SoftScoreMatching().pairs(BLUR, x0, torch.Generator().manual_seed(0))
    h, sigma = linear(x, t) + x, BLUR.sigma(t)[:, None, None, None]
    outputs = {"residual": h - x, "image": h, "score": (BLUR.C(t)(h) - x) / sigma}
    found = {
        predicts: SoftScoreMatching(weighting, predicts=predicts).losses(BLUR, phi, x0, x, t)
        for predicts, phi in outputs.items()
    }
    for losses in found.values():
        torch.testing.assert_close(losses, found["residual"], rtol=1e-9, atol=0)
    eta = (x - BLUR.C(t)(x0)) / sigma  # eq. 7: sigma^2 |s + eta / sigma|^2
    dsm = (outputs["score"] + eta).square().flatten(1).sum(1)
    torch.testing.assert_close(found["score"], dsm if weighting != "1" else dsm * BLUR.sigma(t) ** 2, rtol=1e-9, atol=0)
    clean = CleanPrediction(weighting)
    image = CleanPrediction(weighting, predicts="image")
    torch.testing.assert_close(image.losses(BLUR, h, x0, x, t), clean.losses(BLUR, h - x, x0, x, t), rtol=1e-9, atol=0)
    torch.testing.assert_close(clean_of(lambda x, t: 3 * x, "image")(x, 0.5), 3 * x)


@pytest.mark.parametrize("cutoff", [1e-3, 0.1])
def test_the_pseudo_inverse_is_that_of_the_whole_matrix(cutoff):
    for process in (BLUR, MASK):
        C = process.C(0.7)
        matrix = C(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).reshape(64, 64).T
        kept = torch.linalg.svdvals(matrix) >= cutoff
        assert 3 <= kept.sum() < 64
        y = batch()
        expected = torch.linalg.pinv(matrix, atol=cutoff, rtol=0.0) @ y.flatten(1).T
        torch.testing.assert_close(pseudo_inverse(C, cutoff)(y).flatten(1).T, expected, rtol=1e-9, atol=1e-9)


def test_a_score_gives_back_the_clean_prediction_where_the_blur_can_be_undone():
    x, t = batch(), 0.25  # a blur that loses nothing

    def sigma_score(x, t):
        h, time = linear(x, t) + x, t[0].item()
        return (BLUR.C(time)(h) - x) / BLUR.sigma(time)

    weakest = torch.linalg.svdvals(BLUR.C(t).rows).min().item() ** 2
    assert weakest > 1e-6
    found = clean_of_score(sigma_score, BLUR, weakest / 2)(x, t)
    torch.testing.assert_close(found, clean_of(linear)(x, t), rtol=1e-7, atol=1e-8)
    part = clean_of_score(sigma_score, BLUR, 2 * weakest)(x, t)
    assert (part - found).abs().max() > 1e-4, "what the cut-off hides is 0"
    sharp = clean_of_score(lambda x, t: linear(x, t), VE_LIKE, 0.5)(x, t)
    torch.testing.assert_close(sharp, x + VE_LIKE.sigma(t) * linear(x, torch.full((len(x),), t)))


def test_soft_loss_is_below_the_clean_loss_for_a_contraction():
    x0 = batch(64)
    for process in (BLUR, MASK):
        t, x = SoftScoreMatching().pairs(process, x0, torch.Generator().manual_seed(0))
        soft = SoftScoreMatching().losses(process, linear(x, t), x0, x, t)
        clean = CleanPrediction().losses(process, linear(x, t), x0, x, t)
        assert (soft <= clean * (1 + 1e-12)).all()
        assert soft.sum() < 0.8 * clean.sum()


def test_a_mask_hides_its_pixels_from_the_soft_loss_alone():
    x0, t = batch(), torch.full((6,), 0.6, dtype=torch.float64)
    x = MASK.perturb(x0, t, torch.Generator().manual_seed(0))[0]
    hidden = MASK.C(0.6).values == 0
    for loss, free in ((SoftScoreMatching(), True), (CleanPrediction(), False)):
        phi = torch.zeros_like(x).requires_grad_()
        (gradient,) = torch.autograd.grad(loss.losses(MASK, phi, x0, x, t).sum(), phi)
        assert (gradient[..., hidden] == 0).all() == free
        assert (gradient[..., ~hidden] != 0).all()
    assert hidden.sum() == 32


def test_conditional_regression_gives_the_marginal_score():
    """Theorem 3.1 on Gaussian data: the regression of (C x_0 - x_t) / sigma^2 on x_t is -(C S C^T + sigma^2)^-1."""
    basis = torch.eye(64, dtype=torch.float64).reshape(-1, 1, 8, 8)
    covariance = torch.cov(batch(500).flatten(1).T)
    for t in (0.3, 0.6, 1.0):
        C = BLUR.C(t)(basis).reshape(64, 64).T
        variance = BLUR.sigma(t).item() ** 2
        marginal = C @ covariance @ C.T + variance * torch.eye(64)
        cross = (C @ covariance @ C.T - marginal) / variance  # E[(C x_0 - x_t) x_t^T] / sigma^2
        slope = torch.linalg.solve(marginal, cross.T).T
        torch.testing.assert_close(slope, -torch.linalg.inv(marginal), rtol=1e-7, atol=1e-5)
        gain = covariance @ C.T @ torch.linalg.inv(marginal)  # and h = E[x_0 | x_t] gives that score by eq. 8

        def posterior(x, _, gain=gain):
            return (x.flatten(1) @ gain.T).reshape(x.shape)

        found = score_of_clean(BLUR, posterior)(basis, t).reshape(64, 64).T
        torch.testing.assert_close(found, slope, rtol=1e-7, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MomentumSampler(BLUR, [1.0, 0.5, 0.1]), "times end at 0.1; allowed: a grid down to 0"),
        (lambda: SoftScoreMatching("sigma"), "allowed: 1/sigma"),
        (lambda: SoftScoreMatching(predicts="noise"), "predicts 'noise'; allowed: residual, image, score"),
        (lambda: CleanPrediction(predicts="score"), "CleanPrediction of a score.* allowed are residual, image"),
        (lambda: clean_of(linear, "score"), "clean_of_score inverts C_t; allowed here are residual, image"),
        (lambda: pseudo_inverse(BLUR.C(0.5), 0.0), "pseudo-inverse: cutoff = 0"),
        (lambda: uniform_times(0), "steps = 0; allowed are integers from 1 on"),
        (
            lambda: FlowMomentumSampler(BLUR, [1.0, 0.0])(lambda x, t: x / 0, torch.zeros(1, 1, 8, 8)),
            "clean prediction at t = 1",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(RescoreError, match=message):
        call()
