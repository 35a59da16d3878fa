"""Flow transports: the identity at the start, exact Jacobians, and the reverse-KL bound."""

import math

import pytest
import torch
from flow_case import perturbed
from rescore.flows.transport import (
    affine_autoregressive,
    affine_coupling,
    diagonal_affine,
    differentiable_log_prob,
    flow_log_weights,
    reverse_kl_loss,
    sample_log_weights,
    spline_autoregressive,
)
from rescore.montecarlo.importance import prior_log_weights
from rescore.montecarlo.logz import log_mean_exp
from rescore.random import make_generator
from rescore.targets.funnel import Funnel
from rescore.targets.mixture import gaussian, nine_modes

F64 = torch.float64
DIM = 4
FLOWS = {
    "diagonal": lambda: diagonal_affine(DIM),
    "affine": lambda: affine_autoregressive(DIM, layers=3, hidden=(16, 16), seed=0),
    "spline": lambda: spline_autoregressive(DIM, layers=2, bins=6, bound=4.0, hidden=(16,), seed=0),
    "coupling": lambda: affine_coupling(DIM, layers=2, hidden=(16, 16), seed=0),
}


def noise(*shape: int, name: str = "z"):
    return torch.randn(*shape, dtype=F64, generator=make_generator(name))


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_identity_at_the_start(make):
    z = 2 * noise(5, 7, DIM)
    x, log_det = make().double()(z)
    assert (x - z).abs().max() < 1e-6 and log_det.abs().max() < 1e-6 and log_det.shape == (5, 7)


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_log_det_is_the_jacobian(make):
    flow = perturbed(make())
    for z in 1.5 * noise(20, DIM):
        jacobian = torch.autograd.functional.jacobian(lambda z: flow(z)[0], z)
        assert flow(z)[1].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-8)
    assert flow(noise(50, DIM))[1].std() > (0.01 if make is not FLOWS["diagonal"] else -1)


def test_a_pair_of_couplings_moves_the_second_half_by_the_first_and_then_the_first_by_the_second():
    flow, odd = perturbed(affine_coupling(5, 2, (16,), seed=0)), affine_coupling(5, 2, (7, 6), seed=0)
    first, second = ((lambda z, step=step: step().call_and_ladj(z)[0]) for step in flow.transforms)
    z = noise(5)
    y = first(z)
    assert torch.equal(y[:2], z[:2]) and (y[2:] != z[2:]).all()
    assert torch.equal(second(y)[2:], y[2:]) and (second(y)[:2] != y[:2]).all()
    jacobian = torch.autograd.functional.jacobian(first, z)
    assert (jacobian[2:, :2] != 0).all() and torch.equal(jacobian[2:, 2:], torch.diag(jacobian[2:, 2:].diagonal()))
    assert [tuple(p.shape) for p in odd.transforms[0].hyper.parameters() if p.ndim == 2] == [(7, 2), (6, 7), (6, 6)]


@pytest.mark.parametrize("name", ["affine", "spline", "coupling"])
def test_forward_is_one_network_pass_a_layer_and_mixes_all_coordinates(name):
    flow = perturbed(FLOWS[name]())
    calls = []
    for transform in flow.transforms:
        transform.hyper.register_forward_hook(lambda *_: calls.append(1))
    flow(noise(3, DIM))
    assert len(calls) == len(flow.transforms)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(z)[0], 0.5 * noise(DIM, name="point"))
    assert (jacobian.abs() > 1e-8).sum() > DIM * (DIM + 1) // 2  # more than one triangle: the order alternates


def test_seed_fixes_the_networks_and_leaves_the_global_generator():
    state = torch.get_rng_state()
    first, same, other = (affine_autoregressive(DIM, 2, (8,), seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(first.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("target", [nine_modes(), Funnel()], ids=lambda t: t.name)
def test_differentiable_log_prob_has_value_and_gradient(target):
    x = (0.7 * noise(6, target.dim)).requires_grad_()
    plain = torch.autograd.grad(target.log_prob(x).sum(), x)[0]
    value = differentiable_log_prob(target, x)
    assert torch.allclose(torch.autograd.grad(value.sum(), x)[0], plain, atol=1e-10)
    assert torch.allclose(value, target.log_prob(x), atol=1e-13)


def test_gradient_of_the_loss_is_that_of_finite_differences():
    flow, target, z = perturbed(FLOWS["affine"]()), gaussian(torch.ones(DIM), 0.6), noise(30, DIM)
    loss = reverse_kl_loss(flow, target, z)
    loss.backward()
    for parameter in list(flow.parameters())[::3]:
        index = parameter.grad.abs().flatten().argmax()
        values = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                parameter.view(-1)[index] += step
                values.append(reverse_kl_loss(flow, target, z).item())
        with torch.no_grad():
            parameter.view(-1)[index] += 1e-5
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(parameter.grad.view(-1)[index].item(), rel=1e-5)


def test_untrained_flow_is_prior_importance_sampling():
    target = gaussian(torch.ones(DIM), 0.6, log_z=0.4)
    z = torch.empty(50, DIM, dtype=F64).normal_(generator=make_generator("run"))
    expected = prior_log_weights(target, 50, [make_generator("run")])[0]
    assert torch.allclose(flow_log_weights(diagonal_affine(DIM).double(), target, z), expected, atol=1e-12)


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_weights_are_unbiased_and_the_elbo_is_a_bound(make):
    target = gaussian(0.3 * torch.ones(DIM), 1.0, log_z=0.4)
    with torch.no_grad():
        log_w = flow_log_weights(perturbed(make(), 0.1), target, noise(40000, DIM))
    w = (log_w - 0.4).exp()
    stderr = w.std().item() / 200
    assert stderr < 0.05 and abs(w.mean().item() - 1) < 4 * stderr
    assert log_w.mean() < 0.4 - 4 * log_w.std() / 200
    assert log_w.dtype == F64


def test_a_run_s_weights_are_of_draws_by_its_own_generator():
    flow, target = perturbed(FLOWS["affine"](), 0.1).float(), gaussian(torch.ones(DIM), 0.6)
    found = sample_log_weights(flow, target, 7, [make_generator("a"), make_generator("b")])
    z = torch.stack([torch.randn(7, DIM, generator=make_generator(name)) for name in "ab"])
    assert torch.allclose(found, flow_log_weights(flow, target, z), rtol=1e-5) and found.dtype == F64
    assert not found.requires_grad and (found[0] - found[1]).abs().min() > 1e-3


def test_exact_flow_has_elbo_log_z():
    """With the exact affine map all weights equal Z; zuko squashes the log scale: a = s / (1 + |s| / log 1000)."""
    target = gaussian(torch.arange(DIM), 0.6, log_z=0.4)
    flow = diagonal_affine(DIM).double()
    a = math.log(0.6)
    with torch.no_grad():
        flow.transforms[0].args[0].copy_(torch.arange(DIM))
        flow.transforms[0].args[1].fill_(a / (1 - abs(a) / math.log(1000)))
        log_w = flow_log_weights(flow, target, noise(20, DIM))
    assert (log_w - 0.4).abs().max() < 1e-12


def test_training_reaches_log_z():
    target = gaussian(torch.tensor([1.0, -0.5]), 0.5, log_z=0.4)
    flow = affine_autoregressive(2, 1, (8,), seed=0)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.03)
    generator = make_generator("training")
    for _ in range(200):
        optimizer.zero_grad()
        reverse_kl_loss(flow, target, torch.randn(128, 2, generator=generator)).backward()
        optimizer.step()
    with torch.no_grad():
        log_w = flow_log_weights(flow, target, noise(2000, 2).float())
    assert 0.38 < log_w.mean() < 0.4 + 4 * log_w.std() / math.sqrt(2000)
    assert log_mean_exp(log_w).item() == pytest.approx(0.4, abs=0.01)
