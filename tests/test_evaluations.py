"""Evaluations are counted whoever calls the network."""

import torch
from rescore.control import PISNN, ControlledSDE
from rescore.cost.evaluations import CountEvaluations, note
from rescore.flows.density import maf
from rescore.flows.transport import diagonal_affine, flow_log_weights
from rescore.montecarlo.aft import frozen, transport_loss
from rescore.montecarlo.importance import prior_log_weights
from rescore.montecarlo.pyro_chains import run_chain
from rescore.montecarlo.smc import Annealing, anneal
from rescore.networks import NoisePrediction, make_network
from rescore.neural_sde import FourierMLP, NeuralSDE, adjoint_loss, draw_noise, l_beta
from rescore.processes import VP
from rescore.random import make_generator
from rescore.scores import EmpiricalData, GaussianMixture
from rescore.targets import nine_modes


def test_what_is_noted_inside_the_block_counts_and_blocks_may_be_nested():
    with CountEvaluations() as outer:
        note(3)
        with CountEvaluations() as inner:
            note(20)
        note(4)
    note(100)
    assert (outer.total, inner.total) == (27, 20)


def test_scores_networks_and_flows_count_their_points():
    u = torch.zeros(5, 1, 8, 8)
    network = NoisePrediction(make_network("mlp", {"width": 8, "blocks": 1}, 1, 8, 0), VP())
    exact = EmpiricalData(VP(), torch.ones(3, 1, 8, 8))
    mixture = GaussianMixture(VP(), torch.ones(1, 2), 0.3)
    calls = (
        lambda: network(u, 0.5),
        lambda: network.score()(u, 0.5),
        lambda: exact(u, 0.5),
        lambda: exact.log_prob(u, 0.5),
        lambda: mixture(torch.zeros(5, 2), 0.5),
        lambda: mixture.log_prob(torch.zeros(5, 2), 0.5),
        lambda: maf(2, 1, (4,), 0)().log_prob(torch.zeros(5, 2)),
    )
    for call in calls:
        with CountEvaluations() as evaluations:
            call()
        assert evaluations.total == 5


def test_monte_carlo_and_controlled_paths_count_target_and_policy():
    target, runs, n = nine_modes(), [make_generator("run", k) for k in range(2)], 5
    sde, schedule = ControlledSDE(steps=3), Annealing(n_temperatures=2, n_hmc_steps=3, n_leapfrog=4)
    policy, flow, z = PISNN(target, make_generator("init")), diagonal_affine(2), torch.zeros(2, n, 2)
    calls = {
        lambda: sde.simulate(policy, target, lambda: z): 2 * n * (3 + 1),  # the policy at each step, the target at the end
        lambda: sde.cost(policy, target, torch.zeros(3, n, 2)): n * (3 + 1),
        lambda: flow_log_weights(flow, target, z): 2 * n,
        lambda: prior_log_weights(target, n, runs): 2 * n,
        lambda: anneal(target, schedule, n, runs): 2 * n * (1 + 2 * 3 * 4),
        lambda: anneal(target, schedule, n, runs, frozen([flow, flow])): 2 * n * (1 + 2 + 2 * 3 * 4),
        lambda: transport_loss(flow, target, z[0], torch.full((n,), 1 / n), 0.5): n,
    }
    for call, expected in calls.items():
        with CountEvaluations() as evaluations:
            call()
        assert evaluations.total == expected
    with CountEvaluations() as evaluations:
        chain = run_chain(target, "hmc", 3, 2, 0, torch.zeros(2, dtype=torch.float64))
    assert evaluations.total == chain.n_evaluations > 5


def test_an_adjoint_step_evaluates_each_field_twice_where_it_is_needed():
    """The drift at all N + 1 states, the score at all but the first; once forward and once on the way back."""
    n, batch = 6, 5
    model, x = NeuralSDE(FourierMLP(2, 8, 1), FourierMLP(2, 8, 1), 0.2), torch.randn(batch, 2, generator=make_generator("x"))
    with CountEvaluations() as evaluations:
        loss = adjoint_loss(model, x, l_beta(n), draw_noise(x, n, make_generator("noise")))
        assert evaluations.total == batch * (2 * n + 1)
        loss.sum().backward()
    assert evaluations.total == 2 * batch * (2 * n + 1)
