"""Networks trained side by side: an ensemble is its members, keeps their losses over a kill, and spikes are counted."""

import numpy as np
import pytest
import torch
from rescore.errors import RescoreError
from rescore.networks.ensemble import Ensemble
from rescore.random import make_generator
from rescore.training import Adam
from rescore.training.ensemble import Tracked, spikes, train_ensemble
from torch import nn


def networks(n):
    made = []
    for seed in range(n):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            made.append(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double())
    return made


def test_an_ensemble_is_its_members_side_by_side():
    """Values, gradients and so a step of Adam; also the second derivatives that a gradient model needs."""
    members = networks(3)
    ensemble = Ensemble(members)
    x = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    optimizers = [torch.optim.Adam(one.parameters(), lr=0.1) for one in (ensemble, *members)]

    def loss(network, x):
        slope = torch.autograd.grad(network(x).sum(), x, create_graph=True)[0]
        return (network(x).square().sum() + slope.square().sum()) / 4

    for optimizer in optimizers:
        optimizer.zero_grad()
    loss(ensemble, x).backward()
    for member, block in zip(members, x.split(4), strict=True):
        loss(member, block).backward()
    for optimizer in optimizers:
        optimizer.step()
    for i, member in enumerate(members):
        for ours, theirs in zip(ensemble.member(i).parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert len(list(ensemble.parameters())) == len(list(members[0].parameters()))
    with pytest.raises(RescoreError, match="3 networks takes as many equal blocks, not 4 rows"):
        ensemble(x[:4])
    with pytest.raises(RescoreError, match="needs at least 1"):
        Ensemble([])


def test_spikes_are_counted_and_noise_is_not():
    losses = np.random.default_rng(0).normal(size=(1100, 2))
    losses[[300, 700, 1000], 1] += 30
    assert spikes(losses).tolist() == [0.0, 3.0]
    assert spikes(losses[:100]) is None and spikes(losses[:101]).tolist() == [0.0, 0.0]


def test_a_spike_exceeds_the_median_of_those_before_it_by_six_robust_deviations():
    """Of a grid of 100 on [-1, 1] the median is 0, and that of the absolute deviations 50 / 99."""
    grid, limit = np.linspace(-1, 1, 100), 6 * 1.4826 * 50 / 99
    assert [spikes(np.append(grid, share * limit)[:, None]).tolist() for share in (0.999, 1.001)] == [[0.0], [1000.0]]


def test_a_tracked_training_goes_on_with_its_losses(tmp_path):
    """A kill behind the checkpoint of step 500; what the two runs keep of every step is the same."""

    def train(folder, stop=None):
        tracked = Tracked(Ensemble(networks(2)), 502, every=2)
        target = torch.ones(8, 2, dtype=torch.float64)

        def losses(draws):
            if int(tracked.step) == stop:
                raise KeyboardInterrupt
            x = torch.randn(8, 3, generator=draws, dtype=torch.float64)
            return (tracked.ensemble(x) - target).square().sum(1)

        def error():
            return tracked.ensemble.stacked[0].detach().abs().sum((1, 2))

        return train_ensemble(tracked, losses, error, Adam(502, 0.1), make_generator("resume"), tmp_path / folder, "test")

    whole = train("whole")
    assert whole.losses.shape == (502, 2) and whole.errors.shape == (252, 2)
    assert (whole.losses != 0).all() and (whole.errors != 0).all() and int(whole.step) == 502
    assert whole.losses[-1].max() < 0.5 * whole.losses[0].min(), "both learn"
    with pytest.raises(KeyboardInterrupt):
        train("killed", stop=501)
    again = train("killed")
    assert torch.equal(whole.losses, again.losses) and torch.equal(whole.errors, again.errors)
    loaded = train("whole", stop=0)
    assert torch.equal(whole.losses, loaded.losses), "after the end it only loads"
