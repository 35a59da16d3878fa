"""Parametrisations of networks against exact scores."""

import math
from dataclasses import replace

import pytest
import torch
from diffusion_cases import generator
from rescore.models.build import LoadedModel, make_model, make_process
from rescore.networks import NoisePrediction, VelocityPrediction, autocast, make_network, place, state_channels
from rescore.processes import CLD, VE, VP, Blurring, grids
from rescore.samplers import SSCS, euler_maruyama, gddim
from rescore.scores import GaussianMixture, to_noise
from rescore.specs.model import ModelSpec
from test_networks import LEVELS, SMALL, TIMES, Constant, images, small, stirred
from torch import nn


def test_zero_noise_gives_a_zero_score_and_one_gives_minus_one_over_std():
    process, u = VP(), images(4, 1, 4, 4, dtype=torch.float64)
    model = NoisePrediction(Constant(1.0, 1), process)
    std = math.sqrt(1 - math.exp(-0.1 * 0.3 - 19.9 * 0.3**2 / 2))
    assert torch.allclose(model.score()(u, 0.3), torch.full_like(u, -1 / std), rtol=1e-12)
    assert not NoisePrediction(Constant(0.0, 1), process).score()(u, 0.3).any()


class Exact(nn.Module):
    """The exact score of N(0, 1) data under VE as a function of sigma, or the noise under VP as a function of 999 t."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x, level):
        level = level[:, None, None, None]
        if self.output == "score":
            return -x / (1 + level**2)
        return x * VP().L(level.flatten() / 999).values[:, None, None, None]


@pytest.mark.parametrize(("process", "level", "output"), [(VE(), "sigma", "score"), (VP(), "steps", "noise")])
def test_exact_networks_give_exact_scores_and_noises(process, level, output):
    model = NoisePrediction(Exact(output), process, level, output)
    u = images(3, 1, 4, 4, dtype=torch.float64)
    exact = GaussianMixture(process, torch.zeros(1, 1, 4, 4, dtype=torch.float64), 1.0)
    batched = model(u, TIMES)
    for i, t in enumerate(TIMES.tolist()):
        assert torch.allclose(model.score()(u, t), exact(u, t), rtol=1e-9, atol=1e-12)
        assert torch.allclose(batched[i], to_noise(process, exact)(u, t)[i], rtol=1e-9, atol=1e-12)


def test_v_is_the_noise_turned_by_the_angle_of_the_process():
    """For u = m x + R eps: a network that gives m eps - R x gives eps; and x is m u - R v (Salimans and Ho 2022, app. D)."""
    process, x, noise = VP(), images(3, 1, 4, 4, dtype=torch.float64), images(3, 1, 4, 4, dtype=torch.float64) * 2 - 1
    m, r = process.mean(TIMES), process.R(TIMES)
    u, v = m(x) + r(noise), m(noise) - r(x)

    class V(nn.Module):
        def forward(self, u, level):
            return v

    assert torch.allclose(NoisePrediction(V(), process, output="v")(u, TIMES), noise, rtol=0, atol=1e-13)
    assert torch.allclose(m(u) - r(v), x, rtol=0, atol=1e-13)


def test_v_of_nothing_is_exact_for_standard_normal_data():
    model = NoisePrediction(Constant(0.0, 1), VP(), output="v")
    u = images(3, 1, 4, 4, dtype=torch.float64)
    for t in (1e-3, 0.5, 1.0):
        assert torch.allclose(model.score()(u, t), -u, rtol=1e-12)


def test_a_level_is_one_number_per_image_in_the_dtype_of_the_state():
    seen = []

    class Spy(nn.Module):
        def forward(self, x, level):
            seen.append((x.shape, level))
            return x

    u = images(3, 2, 4, 4)
    NoisePrediction(Spy(), VE(), "sigma")(u, 0.5)
    NoisePrediction(Spy(), VP(), "steps")(u, TIMES)
    NoisePrediction(Spy(), CLD(), "time")(images(3, 2, 5, 4, 4), TIMES)
    (_, sigma), (_, steps), (shape, time) = seen
    assert torch.allclose(sigma, torch.full((3,), math.sqrt(0.5)))
    assert torch.allclose(steps, 999 * TIMES.float())
    assert torch.allclose(time, TIMES.float())
    assert shape == (3, 10, 4, 4), "positions and velocities are channels"


@pytest.mark.parametrize(
    ("process", "level"), [(VP(), "steps"), (VP(), "time"), (VE(), "sigma"), (VE(), "labels"), (VP(), "chain")]
)
def test_one_time_for_all_is_one_level_for_all(process, level):
    """A number and a time expanded from one give the levels of a time for each, as one number: its layers see one row."""
    seen = []

    class Spy(nn.Module):
        def forward(self, x, level):
            seen.append(level)
            return x

    model, u = NoisePrediction(Spy(), process, level), images(3, 2, 4, 4)
    one = TIMES[1:2]
    for t in (0.5, one.expand(3), one.repeat(3)):
        model(u, t)
    number, expanded, each = seen
    assert number.stride() == expanded.stride() == (0,) and each.stride() == (1,)
    assert torch.equal(number, each) and torch.equal(expanded, each)


def test_an_mlp_embeds_one_level_for_all_once():
    network, x, rows = stirred(small("mlp")), images(5, 3, 8, 8, dtype=torch.float64), []
    network.time.register_forward_hook(lambda *passed: rows.append(len(passed[-1])))
    level = LEVELS[:1].double()
    each, once = network(x, level.repeat(5)), network(x, level.expand(5))
    assert rows == [5, 1] and each.abs().max() > 0.1
    assert torch.allclose(once, each, rtol=0, atol=1e-12)


def test_blurring_networks_see_pixels():
    """Noise predicted in pixels is the noise of frequencies rotated back: the identity network gives eps = y."""
    process = Blurring((4, 4))

    class Identity(nn.Module):
        def forward(self, x, level):
            assert torch.allclose(x, pixels)
            return x

    pixels = images(3, 1, 4, 4, dtype=torch.float64)
    y = process.embed(pixels)
    assert torch.allclose(NoisePrediction(Identity(), process)(y, 0.4), y)


def test_gddim_solves_cld_with_a_network_of_both_channels():
    network = make_network("ddpmpp", SMALL["ddpmpp"], state_channels(CLD(), 1), 8, 0).eval()
    model = NoisePrediction(network, CLD())
    u = CLD().prior_sample((2, 2, 1, 8, 8), generator())
    sampler = gddim(CLD(), grids.quadratic(CLD(), 4), order=2)
    out = sampler(model.score(), u)
    expected = CLD().Psi(sampler.times[-1], 1.0)(u)  # the noise is zero, so that only the drift is left
    assert torch.allclose(out, expected, rtol=1e-4)


PAPER_CLD = CLD(eps0=0.0, eps_num=1e-9)


@pytest.mark.parametrize("t", TIMES.tolist())
def test_mixed_score_of_a_zero_network_is_the_exact_score_of_gaussian_velocities(t):
    """For data at 0, the velocities are N(0, Sigma_vv): its gradient by autograd, Sigma_vv by the printed closed form."""
    b = 4 * t
    decay = math.exp(-4 * b)
    covariance = decay * ((math.exp(4 * b) - 1) / 4 + b - 2 * b**2 + 0.01 * (1 - 4 * b + 4 * b**2)) + 1e-9
    u = images(3, 2, 1, 4, 4, dtype=torch.float64)
    v = u[:, 1].clone().requires_grad_()
    std = torch.tensor(math.sqrt(covariance), dtype=torch.float64)
    (exact,) = torch.autograd.grad(torch.distributions.Normal(torch.zeros_like(std), std).log_prob(v).sum(), v)
    score = VelocityPrediction(Constant(0.0, 1), PAPER_CLD).score()(u, t)
    assert torch.allclose(score[:, 1], exact, rtol=1e-9)
    if t == 1:
        assert torch.allclose(score[:, 1], -u[:, 1] / PAPER_CLD.M, rtol=2e-5)


@pytest.mark.parametrize(("t", "ell"), [(1e-3, 19.9185), (0.1, 2.67518), (0.5, 2.00843), (1.0, 2.000012)])
def test_velocity_score_of_a_constant_network_is_minus_ell(t, ell):
    """ell_t of the main setting: a high-precision evaluation of the closed form."""
    u = images(3, 2, 1, 4, 4, dtype=torch.float64)
    score = VelocityPrediction(Constant(1.0, 1), PAPER_CLD, mixed=False).score()(u, t)
    assert torch.allclose(score[:, 1], torch.tensor(-ell, dtype=torch.float64), rtol=3e-6)


@pytest.mark.parametrize(("t", "precision"), [(1e-3, 56.955296), (0.1, 4.6348147), (0.5, 4.0333385), (1.0, 4.0000501)])
def test_mixed_score_under_plain_denoising_has_the_hybrid_variance(t, precision):
    """-v precision - ell alpha: 1 / Sigma_vv of CLD's code under "dsm", where ell alone is that of a given v_0."""
    u = images(3, 2, 1, 4, 4, dtype=torch.float64)
    conditional = replace(PAPER_CLD, gamma=0.0)
    bare = Constant(0.3, 1)
    models = [VelocityPrediction(bare, conditional, mixed, hybrid=PAPER_CLD) for mixed in (True, False)]
    scores = [model.score()(u, t)[:, 1] for model in models]
    assert torch.allclose(scores[0] - scores[1], -u[:, 1] * precision, rtol=3e-6)
    assert torch.allclose(scores[1], -0.3 / conditional.L(t).values[1, 1], rtol=1e-9)


@pytest.mark.parametrize(("objective", "gamma"), [("hsm", 0.04), ("velocity_dsm", 0.0)])
def test_a_model_of_velocities_has_the_mixed_score_of_its_process(objective, gamma):
    spec = ModelSpec.model_validate(
        {
            "data": "digits",
            "process": {"name": "CLD", "settings": {"eps0": 0.0, "eps_num": 1e-9}},
            "steps": 1,
            "objective": {"name": objective},
            "network": {"name": "mlp", "settings": {"width": 8, "blocks": 1}},
        }
    )
    model = make_model(spec, make_process(spec.process, (1, 4, 4)), (1, 4, 4))
    assert (model.process.gamma, model.hybrid.gamma) == (gamma, 0.04)
    u = images(3, 2, 1, 4, 4)
    assert torch.allclose(model.score()(u, 1e-5)[:, 1], -u[:, 1] / PAPER_CLD.Sigma(1e-5).values[1, 1].float(), rtol=1e-5)


def test_a_loaded_model_keeps_the_coefficients_of_its_times(monkeypatch):
    """All samplers of a model on one grid take one R_t for each time, and the score is that of the network."""
    process, asked = CLD(), []
    spec = ModelSpec.model_validate(
        {
            "data": "digits",
            "process": {"name": "CLD"},
            "steps": 1,
            "network": {"name": "mlp", "settings": {"width": 8, "blocks": 1}},
        }
    )
    model = LoadedModel(spec, process, NoisePrediction(Constant(0.3, 2), process).eval(), "cpu")
    R = CLD.R
    monkeypatch.setattr(CLD, "R", lambda its, t: asked.append(t) or R(its, t))
    u = images(3, 2, 1, 4, 4, dtype=torch.float64)
    found = [model.score(u, t) for t in (0.5, 0.25, 0.5)]
    assert asked == [0.5, 0.25]
    expected = -R(process, 0.5).T.inv()(torch.full_like(u, 0.3))
    assert torch.equal(found[0], found[2]) and torch.allclose(found[0], expected, rtol=1e-12)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_exact_velocity_prediction_gives_the_exact_velocity_score(mixed):
    """A network that solves hybrid score matching for one data point predicts eps_v; its score is that of p(u_t | x)."""
    process, t = PAPER_CLD, 0.2
    point = images(1, 1, 4, 4, seed=3, dtype=torch.float64)
    u, noise = process.perturb(point.expand(5, -1, -1, -1), t, generator(), "L")

    class Solved(nn.Module):
        def forward(self, x, level):
            variance = process.Sigma(t).values[1, 1]
            return noise[:, 1] - (mixed * u[:, 1] * process.L(t).values[1, 1] / variance)

    model = VelocityPrediction(Solved(), process, mixed)
    assert torch.allclose(model(u, t)[:, 1], noise[:, 1], atol=1e-12)
    assert torch.allclose(model.score()(u, t)[:, 1], GaussianMixture(process, point, 0.0)(u, t)[:, 1], rtol=1e-8)
    times = torch.full((5,), t, dtype=torch.float64)
    assert torch.allclose(model(u, times), model(u, t), atol=1e-12)
    other = VelocityPrediction(Solved(), replace(process, M=1.0), mixed)  # what is kept of a time is of its process
    assert torch.allclose(other(u, t), other(u, times), atol=1e-12) and torch.equal(other(u, t), model(u, t)) is not mixed


def test_the_mixed_score_takes_the_coefficients_of_a_time_once(monkeypatch):
    model, u = VelocityPrediction(Constant(0.3, 1), CLD(M=0.7)), images(2, 2, 1, 4, 4)
    first = model(u, 0.4)
    monkeypatch.setattr(CLD, "Sigma", None)
    assert torch.equal(model(u, 0.4), first)


@pytest.mark.parametrize("method", [euler_maruyama, SSCS])
def test_clds_samplers_use_the_velocity_part_only(method):
    process = PAPER_CLD
    score = VelocityPrediction(Constant(0.3, 1), process).score()
    sampler = method(process, grids.quadratic(process, 5), denoise="euler")
    u = process.prior_sample((2, 2, 1, 4, 4), generator(), torch.float64)

    def spoiled(u, t):
        value = score(u, t).clone()
        value[:, 0] += 7
        return value

    assert torch.allclose(sampler(score, u, generator(1)), sampler(spoiled, u, generator(1)), rtol=1e-12)


def test_a_cpu_runs_plain_float32():
    network, x = small("ddpmpp").eval(), images(3, 3, 8, 8)
    before = network(x, LEVELS)
    with autocast("cpu"):
        after = place(network, "cpu")(x, LEVELS)
    assert after.dtype == torch.float32 and torch.equal(before, after)
