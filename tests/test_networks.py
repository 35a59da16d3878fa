"""Networks: published sizes, layers against their formulas, parametrisations against exact scores, bad input."""

import math
from itertools import pairwise

import pytest
import torch
from diffusion_cases import generator
from torch import nn

from rescore.errors import RescoreError
from rescore.networks import (
    NETWORKS,
    NoisePrediction,
    VelocityPrediction,
    autocast,
    make_network,
    place,
    state_channels,
)
from rescore.networks.embeddings import Fourier, Positional
from rescore.networks.layers import Attention, ConvDown, Resample, ResidualBlock, group_norm, linear
from rescore.networks.mlp import MLP, MLPConfig
from rescore.networks.refinenet import InstanceNormPlus
from rescore.processes import CLD, VE, VP, Blurring, SubVP, grids
from rescore.samplers import SSCS, euler_maruyama, gddim
from rescore.scores import GaussianMixture, to_noise

SMALL_UNET = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
SMALL = {
    "mlp": {"width": 16, "blocks": 2},
    **dict.fromkeys(("ddpm", "ddpmpp", "ddpmpp_deep", "ncsnpp", "ncsnpp_deep"), SMALL_UNET),
    "ncsn": {"width": 4},
    "ncsnv2": {"width": 4},
}
LEVELS = torch.tensor([0.03, 0.4, 0.9])
STARTS_AT_ZERO = [name for name in SMALL if not name.startswith("ncsnv") and name != "ncsn"]
TIMES = torch.tensor([1e-3, 0.5, 1.0], dtype=torch.float64)

each_network = pytest.mark.parametrize("name", NETWORKS)


def small(name, channels=3, side=8, seed=0, out_channels=None, **settings):
    return make_network(name, SMALL[name] | settings, channels, side, seed, out_channels)


def images(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


def stirred(network, seed=1):
    """The network in float64 and evaluation mode, with random numbers where it starts at zero."""
    draws = generator(seed)
    for parameter in network.double().parameters():
        if not parameter.detach().any():
            parameter.data.normal_(0, 0.1, generator=draws)
    return network.eval()


class Constant(nn.Module):
    """A network that gives the same number everywhere."""

    def __init__(self, value, channels):
        super().__init__()
        self.value, self.channels = value, channels

    def forward(self, x, level):
        return torch.full_like(x[:, : self.channels], self.value)


# Published sizes. Score-SDE and NCSN: counted from the papers' configs, in millions to two decimals; CLD's as PSLD quotes it.
DISCRETE = {"embedding": "positional", "scale_by_sigma": False}
SIZES = [
    ("ncsnpp", DISCRETE, (3, 32), 62.69),
    ("ncsnpp", {}, (3, 32), 62.76),
    ("ncsnpp_deep", {}, (3, 32), 107.59),
    ("ddpmpp", {}, (3, 32), 61.80),
    ("ddpmpp_deep", {}, (3, 32), 106.63),
    ("ncsn", {}, (3, 32), 30.12),
    ("ncsn", {"width": 64}, (1, 28), 7.64),
    ("ncsnv2", {}, (3, 32), 29.69),
]


def millions(network):
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


@pytest.fixture
def meta(monkeypatch):
    """Networks without memory; normal draws do nothing, for on this device they make torch import sympy (6 s)."""
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self, *args, **kwargs: self)
    return torch.device("meta")


@pytest.mark.parametrize(("name", "settings", "size", "published"), SIZES)
def test_parameter_count_is_the_published_one(meta, name, settings, size, published):
    with meta:
        assert round(millions(make_network(name, settings, *size, seed=0)), 2) == published


def test_parameter_counts_of_cld_and_gddim(meta):
    """CLD's NCSN++ deep takes 6 channels and gives 3 (published: 108 M); gDDIM's gives 6."""
    channels = state_channels(CLD(), 3)
    assert channels == 6
    with meta:
        image, velocity, both = (make_network("ncsnpp_deep", {}, n, 32, 0, m) for n, m in ((3, 3), (6, 3), (6, 6)))
    assert round(millions(velocity)) == 108
    first = 2 * 3 * 128 * 9  # of the first convolution and of the first step of the input pyramid
    assert millions(velocity) - millions(image) == pytest.approx(first / 1e6)
    assert millions(both) - millions(velocity) == pytest.approx(3 * (128 * 9 + 1) / 1e6)


def test_digits_networks_have_0_3_to_1_million_parameters(meta):
    with meta:
        unet = make_network("ddpmpp", {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}, 1, 8, 0)
        assert 0.3 < millions(unet) < 1
        assert 0.3 < millions(make_network("mlp", {}, 1, 8, 0)) < 1


@each_network
def test_output_has_the_shape_asked_for(name):
    x = images(3, 4, 8, 8)
    assert small(name, 4)(x, LEVELS).shape == x.shape
    assert small(name, 4, out_channels=2)(x, LEVELS).shape == (3, 2, 8, 8)


@pytest.mark.parametrize("name", STARTS_AT_ZERO)
def test_first_output_is_zero(name):
    assert not small(name)(images(3, 3, 8, 8), LEVELS).any()


@each_network
def test_gradients_reach_every_parameter(name):
    network = stirred(small(name))
    levels = torch.logspace(-2, 0, 30, dtype=torch.float64)  # all ten of NCSN's
    loss = (network(images(30, 3, 8, 8, dtype=torch.float64), levels) * images(30, 3, 8, 8, seed=1)).mean()
    loss.backward()
    dead = [key for key, parameter in network.named_parameters() if not parameter.grad.abs().max() > 1e-12]
    assert not dead


@each_network
def test_images_of_a_batch_do_not_mix_and_levels_matter(name):
    network, x, levels = stirred(small(name)), images(3, 3, 8, 8, dtype=torch.float64), LEVELS.double()
    with torch.no_grad():
        together = network(x, levels)
        alone = torch.cat([network(x[i : i + 1], levels[i : i + 1]) for i in range(3)])
        other = network(x, levels.flip(0))
    assert torch.allclose(together, alone, rtol=1e-10, atol=1e-12)
    assert (together - other)[[0, 2]].abs().flatten(1).amax(1).min() > 1e-3


@each_network
def test_weights_depend_on_the_seed_alone_and_survive_a_state_dict(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (small(name, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = first.state_dict()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in weights.items())
    assert not all(torch.equal(value, other.state_dict()[key]) for key, value in weights.items())
    other.load_state_dict(weights)
    x = images(3, 3, 8, 8)
    assert torch.equal(stirred(first)(x.double(), LEVELS.double()), stirred(other)(x.double(), LEVELS.double()))


def test_dropout_acts_in_training_only():
    network, x = stirred(small("ddpmpp", dropout=0.5)), images(3, 3, 8, 8, dtype=torch.float64)
    levels = LEVELS.double()
    assert torch.equal(network(x, levels), network(x, levels))
    network.train()
    assert not torch.equal(network(x, levels), network(x, levels))


@pytest.mark.parametrize("name", ["ncsnpp", "ncsn", "ncsnv2"])
def test_networks_of_unit_data_centre_their_input(name):
    network, x = stirred(small(name)), torch.rand(3, 3, 8, 8, generator=generator(), dtype=torch.float64)
    centred = stirred(small(name, unit_input=False))
    assert torch.equal(network(x, LEVELS.double()), centred(2 * x - 1, LEVELS.double()))


# Layers


def test_initialisation_is_ddpms():
    """Uniform with variance scale / mean fan: its bound and its moments."""
    layer = linear(300, 500, scale=0.1)
    variance = 0.1 / 400
    assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(3 * variance), rel=1e-3)
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert not layer.bias.any()
    attention = Attention(64, rescale=True)
    assert attention.qkv.weight.var().item() == pytest.approx(0.1 / 64, rel=0.05)


def test_positional_embedding_is_its_formula():
    c = torch.tensor([0.0, 1.0, 37.5, 999.0], dtype=torch.float64)
    embedded = Positional(8)(c)
    for i, value in enumerate(c.tolist()):
        angles = [value * 10000 ** (-k / 3) for k in range(4)]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert embedded[i].tolist() == pytest.approx(expected, abs=1e-11)


def test_fourier_embedding_is_its_formula_and_its_frequencies_have_the_scale():
    embed = Fourier(5, 16.0).double()
    c = torch.tensor([0.01, 2.0, 50.0], dtype=torch.float64)
    for i, value in enumerate(c.tolist()):
        angles = [2 * math.pi * w * math.log(value) for w in embed.frequency.tolist()]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert embed(c)[i].tolist() == pytest.approx(expected, abs=1e-9)
    torch.manual_seed(0)
    assert Fourier(20000, 16.0).frequency.std().item() == pytest.approx(16, rel=0.02)


def upfirdn(x, taps, up, down, before, after):
    """One axis by the definition: insert zeros, pad, filter, keep every `down`-th; x is a list."""
    stretched = [0.0] * before
    for value in x:
        stretched += [value] + [0.0] * (up - 1)
    stretched += [0.0] * after
    filtered = [
        sum(taps[len(taps) - 1 - j] * stretched[i + j] for j in range(len(taps)))
        for i in range(len(stretched) - len(taps) + 1)
    ]
    return filtered[::down]


def along_both_axes(image, *arguments):
    rows = [upfirdn(row, *arguments) for row in image.tolist()]
    columns = [upfirdn(list(column), *arguments) for column in zip(*rows, strict=True)]
    return torch.tensor(columns, dtype=torch.float64).T


@pytest.mark.parametrize(
    ("direction", "arguments"),
    [("down", ([1 / 8, 3 / 8, 3 / 8, 1 / 8], 1, 2, 1, 1)), ("up", ([1 / 4, 3 / 4, 3 / 4, 1 / 4], 2, 1, 2, 1))],
)
def test_fir_resampling_is_upfirdn(direction, arguments):
    x = images(2, 3, 6, 8, dtype=torch.float64)
    resampled = Resample(direction, fir=True).double()(x)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(resampled[i, j], along_both_axes(x[i, j], *arguments), atol=1e-14)


@pytest.mark.parametrize("fir", [False, True])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_resampling_keeps_a_constant_and_commutes_with_shifts(direction, fir):
    resample = Resample(direction, fir).double()
    constant = resample(torch.full((1, 2, 8, 8), 0.7, dtype=torch.float64))
    assert torch.allclose(constant[..., 1:-1, 1:-1], torch.tensor(0.7, dtype=torch.float64), atol=1e-15)
    edge = (3 / 4 if direction == "up" else 7 / 8) if fir else 1
    assert torch.allclose(constant[..., 0, 1:-1], torch.tensor(0.7 * edge, dtype=torch.float64), atol=1e-15)

    x = images(1, 2, 16, 16, dtype=torch.float64)
    step = 4 if direction == "up" else 1
    shifted = resample(x.roll(2, -1))
    assert torch.allclose(shifted[..., 8:-8, 8:-8], resample(x).roll(step, -1)[..., 8:-8, 8:-8], atol=1e-14)


def test_strided_convolution_is_the_filter_then_every_second_pixel():
    layer, x = ConvDown(2, 3, fir=True).double(), images(1, 2, 8, 8, dtype=torch.float64)
    taps = ([1 / 8, 3 / 8, 3 / 8, 1 / 8], 1, 1, 2, 2)
    blurred = torch.stack([along_both_axes(plane, *taps) for plane in x[0]])[None]
    full = nn.functional.conv2d(blurred, layer.conv.weight, layer.conv.bias)
    assert torch.allclose(layer(x), full[..., ::2, ::2], atol=1e-13)
    assert layer(x).shape == (1, 3, 4, 4)


def test_attention_is_the_explicit_softmax():
    attention, x = stirred(Attention(8, rescale=True)), images(2, 8, 3, 5, dtype=torch.float64)
    h = attention.norm(x).flatten(2)  # (batch, channels, pixels)
    weight, bias = attention.qkv.weight[:, :, 0, 0], attention.qkv.bias
    q, k, v = ((weight @ h) + bias[:, None]).chunk(3, 1)
    probability = (torch.einsum("bci,bcj->bij", q, k) / math.sqrt(8)).softmax(2)
    mixed = torch.einsum("bij,bcj->bci", probability, v)
    out = attention.out.weight[:, :, 0, 0] @ mixed + attention.out.bias[:, None]
    assert probability.std() > 1e-3
    assert torch.allclose(attention(x), (x + out.reshape(x.shape)) / math.sqrt(2), atol=1e-12)


@pytest.mark.parametrize("rescale", [False, True])
def test_a_residual_block_starts_as_its_shortcut(rescale):
    x, time = images(2, 8, 4, 4), images(2, 5)
    factor = math.sqrt(0.5) if rescale else 1
    same = ResidualBlock(8, 8, 5, 0.0, rescale)
    assert torch.allclose(same(x, time), factor * x)
    halved = ResidualBlock(8, 4, 5, 0.0, rescale, Resample("down", fir=True))
    assert torch.allclose(halved(x, time), factor * halved.shortcut(Resample("down", fir=True)(x)), atol=1e-6)


def test_group_norm_has_the_published_groups_and_always_divides():
    assert [group_norm(c).num_groups for c in (128, 256, 384, 64, 32)] == [32, 32, 32, 16, 8]
    assert all(c % group_norm(c).num_groups == 0 for c in range(1, 200))


def test_instance_norm_plus_keeps_the_standardised_means():
    """gamma = 2, alpha = 3, beta = 0.5: the output's channel means and spreads are known; 1e-5 is added to variances."""
    norm, x = InstanceNormPlus(6, 0).double(), 4 + 2 * images(3, 6, 5, 5, dtype=torch.float64)
    norm.table.data = torch.tensor([2.0, 3.0, 0.5], dtype=torch.float64).repeat_interleave(6)[None]
    y = norm(x, torch.zeros(3, dtype=torch.long))
    means = x.mean((2, 3))
    standard = (means - means.mean(1, keepdim=True)) / (means.var(1, keepdim=True) + 1e-5).sqrt()
    variance = x.flatten(2).var(2, correction=0)
    assert torch.allclose(y.mean((2, 3)), 2 * 3 * standard + 0.5, atol=1e-12)
    assert torch.allclose(y.flatten(2).var(2, correction=0), 4 * variance / (variance + 1e-5), atol=1e-12)


def test_ncsnv2_divides_by_sigma_and_ncsn_takes_the_nearest_level():
    x = images(1, 3, 8, 8, dtype=torch.float64)
    v2, v1 = stirred(small("ncsnv2")), stirred(small("ncsn"))

    def at(network, sigma):
        return network(x, torch.tensor([sigma], dtype=torch.float64))

    assert torch.allclose(at(v2, 0.2), at(v2, 0.1) / 2)
    ladder = torch.logspace(0, -2, 10, dtype=torch.float64).tolist()
    outputs = [at(v1, sigma) for sigma in ladder]
    assert all(not torch.allclose(a, b) for a, b in pairwise(outputs))
    assert all(torch.equal(at(v1, 1.2 * sigma), output) for sigma, output in zip(ladder, outputs, strict=True))


def test_mlp_takes_points_too():
    network = MLP(MLPConfig(width=8, blocks=1), (2, 2), (2,))
    assert network(images(3, 2, 2), LEVELS).shape == (3, 2)


# Parametrisations


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
    """For u = m x + R eps: a network that gives m eps - R x gives back eps; and x is m u - R v (Salimans and Ho 2022, app. D)."""
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


# Bad input


@each_network
def test_wrong_inputs_are_one_clear_error(name):
    network = small(name)
    for bad in (images(3, 1, 8, 8), images(3, 3, 16, 16), images(3, 3, 8), images(3, 192)):
        with pytest.raises(RescoreError, match=r"takes floating point input of shape \(batch, 3, 8, 8\)"):
            network(bad, LEVELS)
    with pytest.raises(RescoreError, match="not torch.uint8"):
        network(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), LEVELS)
    with pytest.raises(RescoreError, match=r"one noise level per input, shape \(3,\), not \(\)"):
        network(images(3, 3, 8, 8), torch.tensor(0.5))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("unet", {}, "unknown network 'unet'; allowed are mlp, ddpm, ddpmpp"),
        ("ddpmpp", {"widht": 3}, "unknown setting 'widht'; allowed are width, multipliers"),
        ("mlp", {"fir": True}, "unknown setting 'fir'; allowed are width, blocks"),
        ("ddpmpp", {"embedding": "sine"}, "embedding 'sine'; allowed are 'positional', 'fourier'"),
        ("ddpmpp", {"block": "resnet"}, "block 'resnet'; allowed are 'biggan', 'ddpm'"),
        ("ddpmpp", {"width": 7}, "allowed are an even width"),
        ("ddpm", {"fir": True}, "fir and pyramid need block 'biggan'"),
        ("ncsnpp", {"embedding": "positional"}, "scale_by_sigma needs embedding 'fourier'"),
        ("ddpmpp", {"multipliers": (1, 1, 1, 1, 1)}, "images of side 8; allowed are sides divisible by 16"),
        ("ncsn", {"levels": 1}, "levels 0 or >= 2"),
        ("mlp", {"width": 5}, "an even width"),
    ],
)
def test_wrong_settings_are_one_clear_error(name, settings, message):
    with pytest.raises(RescoreError, match=message):
        make_network(name, settings, 3, 8, 0)


def test_odd_sides_and_wrong_parametrisations_are_one_clear_error():
    with pytest.raises(RescoreError, match="images of side 7; allowed are even sides"):
        make_network("ncsnv2", {}, 1, 7, 0)
    with pytest.raises(RescoreError, match="level for CLD 'sigma'; allowed are 'time', 'steps'"):
        NoisePrediction(Constant(0.0, 1), CLD(), "sigma")
    with pytest.raises(RescoreError, match="output for VP 'epsilon'; allowed are 'noise', 'score', 'v'"):
        NoisePrediction(Constant(0.0, 1), VP(), output="epsilon")
    with pytest.raises(RescoreError, match="output for SubVP 'v'; allowed are 'noise', 'score'"):
        NoisePrediction(Constant(0.0, 1), SubVP(), output="v")
    with pytest.raises(RescoreError, match="factor 'I'"):
        NoisePrediction(Constant(0.0, 1), VP(), factor="I")
    with pytest.raises(RescoreError, match="does not apply to VP: allowed is CLD"):
        VelocityPrediction(Constant(0.0, 1), VP())


@pytest.mark.parametrize("out_channels", [2, 1])
def test_the_skip_of_an_mlp_mixes_the_channels(out_channels):
    """All else being zero, its output is the matrix times the channels, at every pixel; one level for all is one for each."""
    net = make_network("mlp", {"width": 8, "blocks": 1, "skip": True}, 2, 3, seed=0, out_channels=out_channels).double()
    matrix = torch.arange(1.0, 2 * out_channels + 1, dtype=torch.float64).reshape(out_channels, 2)
    with torch.no_grad():
        net.skip[0].bias.copy_(matrix.flatten())
    x, level = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    expected = torch.einsum("oc,nchw->nohw", matrix, x)
    assert torch.allclose(net(x, level.expand(4)), expected, atol=1e-12)
    assert torch.allclose(net(x, level.repeat(4)), expected, atol=1e-12)
