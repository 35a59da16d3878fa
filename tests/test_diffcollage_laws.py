"""Contents of a known law: the pieces of the DiffCollage reproduction against closed forms."""

import pytest
import torch
from collage_case import ar1
from conftest import ROOT
from rescore.collage import chain
from rescore.networks.conditional import ConditionalNoise
from rescore.papers import load_paper
from rescore.problems.gaussian import GaussianLaw, exact_score, frechet
from rescore.processes import CLD, VP, grids
from rescore.samplers import ddim

laws = load_paper("diffcollage", ROOT).module("laws")
F64 = torch.float64


@pytest.mark.parametrize("process", [VP(), CLD()], ids=["VP", "CLD"])
def test_independent_columns_compose_to_their_own_score(process):
    """Without correlation the composed score is the score of the whole, at every time."""
    shape = laws.size_of(process, (1, 16))
    score = laws.composed_gaussian(process, chain(1, 16, 8, 4), torch.eye(16, dtype=F64))
    u = torch.randn(3, *process.state_shape(shape), dtype=F64, generator=torch.Generator().manual_seed(0))
    exact = exact_score(process, GaussianLaw.independent(torch.zeros(shape), torch.ones(shape)))
    for t in (0.02, 0.5):
        torch.testing.assert_close(score(u, t), exact(u, t), rtol=1e-10, atol=1e-10)


def test_a_chain_with_noise_next_to_none_has_the_score_of_the_whole():
    """o = 4 of a first-order chain: the error falls as the eighth power of the noise (here ten times less noise than data)."""
    covariance, process = ar1(24, 0.9), VP()
    score = laws.composed_gaussian(process, chain(1, 24, 8, 4), covariance)
    whole = exact_score(process, GaussianLaw.full(torch.zeros(1, 1, 24), covariance))
    u = torch.randn(5, 1, 1, 24, dtype=F64, generator=torch.Generator().manual_seed(0))
    errors = {t: ((score(u, t) - whole(u, t)).norm() / whole(u, t).norm()).item() for t in (0.001, 0.1)}
    assert errors[0.001] < 1e-5 < 1e-3 < errors[0.1]


def test_noise_reaches_far_correlations():
    """Both laws of the composed score are off the data; the ancestral one less (`noise-helps`), one piece alone is exact."""
    covariance, process = ar1(24, 0.9), VP()
    score = laws.composed_gaussian(process, chain(1, 24, 8, 4), covariance)
    data = GaussianLaw.full(torch.zeros(24), covariance)
    times = grids.quadratic(process, 150, 1e-3)
    plain, noisy = (frechet(laws.law_of(ddim(process, times, eta=eta), score, (1, 1, 24)), data) / 24 for eta in (0.0, 1.0))
    assert 0.005 < noisy < plain < 0.03
    alone = exact_score(process, GaussianLaw.full(torch.zeros(1, 1, 24), covariance))
    assert frechet(laws.law_of(ddim(process, times), alone, (1, 1, 24)), data) / 24 < 5e-4


@pytest.mark.parametrize("process", [VP(), CLD()], ids=["VP", "CLD"])
def test_pieces_of_modes_have_the_marginals_of_the_chain(process):
    """Weights of three columns sum to those of two, and a draw's columns stand at the centres in the chain's shares."""
    three, two, one = (laws.mode_pieces(process, width) for width in (3, 2, 1))
    assert torch.allclose(three.weights.reshape(9, 3).sum(1), two.weights) and one.weights.tolist() == pytest.approx(
        [1 / 3] * 3
    )
    assert torch.allclose(two.weights.reshape(3, 3), laws.STEP / 3) and laws.STEP[0, 0] == 0.8
    assert three.means.shape == (27, *process.state_shape(laws.size_of(process, (2, 3))))


def test_errors_of_pairs():
    """Exact draws differ by chance only; contents of one centre have all but a third of one pair wrong."""
    found = laws.pair_errors(laws.draw_modes(4000, 0))
    assert found["tv_neighbours"] < 0.01 and found["tv_far"] < 0.02 and found["off_mode"] < 0.002
    alike = laws.CENTRES[0][:, None].expand(5, 2, laws.COLUMNS)
    found = laws.pair_errors(alike)
    assert found["tv_neighbours"] == pytest.approx(1 - 0.8 / 3) and found["off_mode"] == 0
    far = torch.linalg.matrix_power(laws.STEP, laws.FAR)[0, 0].item() / 3
    assert found["tv_far"] == pytest.approx(1 - far)
    assert laws.pair_errors(alike + 3)["off_mode"] == 1


def test_one_network_sees_of_an_overlap_its_own_columns_only():
    """Before training it gives the noise of N(0, spread^2); what lies beside an overlap changes nothing, and is not filled."""
    amortised = load_paper("diffcollage", ROOT).module("amortised")
    inner = torch.nn.Conv2d(3, 1, 3, padding=1, dtype=F64)
    inner.forward = lambda x, level, plain=inner.forward: plain(x)
    network, process = amortised.TwoWidths(inner, 4), VP()
    u = torch.randn(2, 1, 8, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    told = {
        kind: y.double().reshape(1, 2, 1, 1).expand(2, 2, 8, 8)
        for kind, y in (("f", amortised.FACTOR), ("x", amortised.VARIABLE))
    }
    other = torch.cat((u[..., :4], -u[..., 4:]), -1)
    level = torch.zeros(2)
    assert torch.equal(network(torch.cat((u, told["x"]), 1), level), network(torch.cat((other, told["x"]), 1), level))
    assert not network(torch.cat((u, told["x"]), 1), level)[..., 4:].any()
    assert torch.equal(network(torch.cat((u, told["f"]), 1), level), inner(torch.cat((u, told["f"]), 1), level))
    assert (network(torch.cat((u, told["f"]), 1), level) != network(torch.cat((other, told["f"]), 1), level)).any()
    inner.forward = lambda x, level: torch.zeros_like(x[:, :1])
    piece, part = amortised.both(ConditionalNoise(network, process, 1, 2, spread=0.5).score(), 4)
    variance = process.mean(0.3).values.item() ** 2 / 4 + process.Sigma(0.3).values.item()
    assert torch.allclose(piece(u, 0.3), -u / variance) and torch.allclose(part(u[..., :4], 0.3), -u[..., :4] / variance)
