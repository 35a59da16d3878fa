"""Layers of networks against their formulas."""

import math
from itertools import pairwise

import pytest
import torch
from rescore.networks.embeddings import Fourier, Positional
from rescore.networks.layers import Attention, ConvDown, Resample, ResidualBlock, group_norm, linear
from rescore.networks.mlp import MLP, MLPConfig
from rescore.networks.refinenet import InstanceNormPlus
from test_networks import LEVELS, images, small, stirred
from torch import nn


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
        sum(taps[len(taps) - 1 - j] * stretched[i + j] for j in range(len(taps))) for i in range(len(stretched) - len(taps) + 1)
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
