"""Networks: published sizes, what all of them keep to, bad input."""

import pytest
import torch
from diffusion_cases import generator
from rescore.errors import RescoreError
from rescore.networks import NETWORKS, NoisePrediction, VelocityPrediction, make_network, state_channels
from rescore.networks.base import configured
from rescore.networks.mlp import MLPConfig
from rescore.networks.refinenet import Residual
from rescore.processes import CLD, VE, VP, SubVP
from torch import nn

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
        ("ddpmpp", {"embedding": "sine"}, "embedding 'sine'; allowed: positional, fourier"),
        ("ddpmpp", {"block": "resnet"}, "block 'resnet'; allowed: biggan, ddpm"),
        ("ddpmpp", {"width": 7}, "allowed are an even width"),
        ("ddpm", {"fir": True}, "fir and pyramid need block 'biggan'"),
        ("ncsnpp", {"embedding": "positional"}, r"needs sigmas, \(smallest, largest\)"),
        ("ncsnpp", {"sigmas": (0.01, 50.0)}, "allowed otherwise are no sigmas"),
        ("ncsnpp", {"embedding": "positional", "sigmas": (1.0, 2.0, 3.0)}, r"allowed are \(smallest, largest\)"),
        ("ncsnpp", {"embedding": "positional", "sigmas": (50.0, 0.01)}, r"sigmas\[1\] = 0.01; allowed are .* \(50, inf\)"),
        ("ddpmpp", {"multipliers": (1, 1, 1, 1, 1)}, "images of side 8; allowed are sides divisible by 16"),
        ("ncsn", {"levels": 1}, "levels 0 or >= 2"),
        ("mlp", {"width": 5}, "an even width"),
        ("mlp", {"fourier_scale": "wide"}, "network mlp: setting fourier_scale: input should be a valid number, .* 'wide'"),
        ("ddpmpp", {"width": 7.5}, "network ddpmpp: setting width: input should be a valid integer, .*, not 7.5"),
        ("ddpmpp", {"multipliers": "12"}, "network ddpmpp: setting multipliers: .*, not '12'"),
    ],
)
def test_wrong_settings_are_one_clear_error(name, settings, message):
    with pytest.raises(RescoreError, match=message):
        make_network(name, settings, 3, 8, 0)


def test_ddpm_has_32_groups_at_any_width_and_the_others_a_fourth_of_their_channels(meta):
    """As Score-SDE's classes have them; 16 channels, which 32 does not divide, have no counterpart there."""

    def groups(name, width):
        network = make_network(name, {"width": width, "multipliers": (1, 2), "blocks": 1, "attention": (8,)}, 3, 16, 0)
        return {(norm.num_channels, norm.num_groups) for norm in network.modules() if isinstance(norm, nn.GroupNorm)}

    assert groups("ddpm", 32) == {(32, 32), (64, 32), (96, 32), (128, 32)}
    assert groups("ddpmpp", 32) == {(32, 8), (64, 16), (96, 24), (128, 32)}
    assert (16, 4) in groups("ddpm", 16)


def test_discrete_ve_embeds_the_label_and_divides_by_its_sigma():
    """Labels, times and sigmas of Score-SDE's code at four levels (sigma 0.01 to 50): the largest sigma has label 0."""
    labels, times = torch.tensor([0, 13, 500, 999]), torch.tensor([1.0, 0.986986995, 0.4994995, 0.0], dtype=torch.float64)
    sigmas = torch.tensor([50.0, 44.75435057703534, 0.7040989000008593, 0.01], dtype=torch.float64)
    settings = SMALL["ncsnpp"] | {"embedding": "positional"}
    network = stirred(make_network("ncsnpp", settings | {"sigmas": (0.01, 50.0)}, 3, 8, 0))
    bare = stirred(make_network("ncsnpp", settings | {"scale_by_sigma": False}, 3, 8, 0))
    x = images(4, 3, 8, 8).double()
    assert torch.allclose(network.sigmas[labels], sigmas, rtol=1e-12)
    expected = bare(x, labels.double()) / sigmas[:, None, None, None]
    assert torch.allclose(network(x, labels.double()), expected, rtol=1e-12)
    assert network.state_dict().keys() == bare.state_dict().keys()
    model = NoisePrediction(network, VE(), "labels", "score")
    assert torch.allclose(model.score()(x[:1], times[1].item()), network(x[:1], labels[1:2].double()), rtol=1e-9)
    assert torch.allclose(model(x, times), -sigmas[:, None, None, None] * expected, rtol=1e-5)
    with pytest.raises(RescoreError, match="level for VP 'labels'; allowed: time, steps, sigma"):
        NoisePrediction(network, VP(), "labels")


@pytest.mark.parametrize(("name", "settings"), [("ddpmpp", {"multipliers": (1,)}), ("ncsnv2", {"unit_input": False})])
def test_patches_are_channels_of_a_coarser_image(name, settings):
    """With the same weights: the network of the 4x4 squares' pixels as channels, and its output as pixels again."""
    settings = SMALL[name] | settings
    whole = stirred(make_network(name, settings | {"patch": 4}, 2, (28, 12), 0, 1))
    coarse = make_network(name, settings, 2 * 16, (7, 3), 0, 16).double().eval()
    coarse.load_state_dict(whole.state_dict())
    x, levels = images(3, 2, 28, 12, dtype=torch.float64), LEVELS.double()
    squares = x.reshape(3, 2, 7, 4, 3, 4).permute(0, 1, 3, 5, 2, 4).reshape(3, 32, 7, 3)
    with torch.no_grad():
        found = coarse(squares, levels).reshape(3, 1, 4, 4, 7, 3).permute(0, 1, 4, 2, 5, 3).reshape(3, 1, 28, 12)
        assert torch.allclose(whole(x, levels), found, rtol=1e-12, atol=1e-12)


def test_squares_that_a_unet_cannot_have_are_one_clear_error():
    settings = SMALL["ddpmpp"]
    with pytest.raises(RescoreError, match="1 halvings of squares of 4 pixels of images of side 28; .* divisible by 8"):
        make_network("ddpmpp", settings | {"multipliers": (1, 1), "patch": 4}, 1, 28, 0)
    with pytest.raises(RescoreError, match="patch = 0; allowed are integers from 1 on"):
        make_network("ddpmpp", settings | {"patch": 0}, 1, 28, 0)


def test_odd_sides_halve_to_the_mean_of_what_is_there():
    """7x7 becomes 4x4 places: behind the last row and column there is nothing to average."""
    block, x = Residual(2, 3, 0, first=True, halve=True).double(), images(1, 2, 7, 7, dtype=torch.float64)
    whole = Residual(2, 3, 0, first=True).double()
    whole.shortcut = block.shortcut
    whole.load_state_dict(block.state_dict())
    index = torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        fine, coarse = whole(x, index)[0], block(x, index)[0]
    means = [[fine[:, i : i + 2, j : j + 2].mean((1, 2)) for j in range(0, 7, 2)] for i in range(0, 7, 2)]
    assert torch.allclose(coarse, torch.stack([torch.stack(row, 1) for row in means], 1), rtol=1e-12, atol=1e-12)
    assert small("ncsnv2", side=7)(images(3, 3, 7, 7), LEVELS).shape == (3, 3, 7, 7)


def test_wrong_sides_and_parametrisations_are_one_clear_error():
    with pytest.raises(RescoreError, match="images of side 1; allowed are multiples of 1 from 2 on"):
        make_network("ncsnv2", {}, 1, 1, 0)
    for side in (30, 4):
        with pytest.raises(RescoreError, match=f"images of side {side}; allowed are multiples of 4 from 8 on"):
            make_network("ncsnv2", {"patch": 4}, 1, side, 0)
    with pytest.raises(RescoreError, match="network RefineNet: patch = 0; allowed are integers from 1 on"):
        make_network("ncsnv2", {"patch": 0}, 1, 28, 0)
    with pytest.raises(RescoreError, match="level for CLD 'sigma'; allowed: time, steps"):
        NoisePrediction(Constant(0.0, 1), CLD(), "sigma")
    with pytest.raises(RescoreError, match="output for VP 'epsilon'; allowed: noise, score, v"):
        NoisePrediction(Constant(0.0, 1), VP(), output="epsilon")
    with pytest.raises(RescoreError, match="output for SubVP 'v'; allowed: noise, score"):
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


def test_text_of_a_number_is_a_number():
    texts = {"width": "16", "blocks": "1", "dropout": "1e-1", "skip": "true"}
    numbers = {"width": 16, "blocks": 1, "dropout": 0.1, "skip": True}
    assert configured(MLPConfig(), texts, "mlp") == configured(MLPConfig(), numbers, "mlp")
