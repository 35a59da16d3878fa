"""CLD's networks on the mixture: Jacobians and targets against closed forms, the mixed score, paths of samples."""

import math
from dataclasses import replace

import pytest
import torch
from measuring import book_of, configured
from rescore.errors import RescoreError
from rescore.objectives import DSM, HSM
from rescore.papers import load_config, load_paper
from rescore.problems.score_norms import jacobian_norms
from rescore.processes import CLD, VP
from rescore.samplers import adaptive_flow
from rescore.scores import GaussianMixture
from torch import nn

PAPER = load_paper("cld")
CONFIG = load_config(PAPER, "smoke")
learned, networks, paths, problems = (PAPER.module(name) for name in ("learned", "networks", "paths", "problems"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Exact(nn.Module):
    """The network F of the exact score of N(0, s I): alpha less what the mixed score adds."""

    def __init__(self, process, score, t, mixed):
        super().__init__()
        self.process, self.score, self.t, self.mixed = process, score, t, mixed

    def forward(self, images, level):
        u = images.unflatten(1, (2, 2)) if isinstance(self.process, CLD) else images
        spread, s = self.process.Sigma(self.t).values, self.score(u, self.t)
        if isinstance(self.process, CLD):
            return (-s[:, 1] - (u[:, 1] / spread[1, 1] if self.mixed else 0)) / self.process.ell(self.t)
        return -(s + (u if self.mixed else 0)) * spread.sqrt()


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("method", ["CLD", "VPSDE"])
def test_the_exact_network_has_the_exact_jacobian_and_score(method, mixed):
    """F of the exact score gives that score back under each parametrisation, and the norm that fig. 2's section computes."""
    process, t = learned.METHODS[method][0], 0.2
    score = GaussianMixture(process, learned.MODES, learned.MODE_STD)
    model = networks.model_of(process, mixed, Exact(process, score, t, mixed))
    u = score.sample(30, t, generator())
    noisy = (lambda s: s[:, 1]) if method == "CLD" else (lambda s: s)
    assert torch.allclose(noisy(model.score()(u, t)), noisy(score(u, t)), rtol=1e-9)
    expected = jacobian_norms(process, score, u, t)[mixed]
    assert networks.network_jacobian(model, u, t) == pytest.approx(expected, rel=1e-9)


def test_networks_of_both_processes_start_alike_by_member():
    """Each member has weights of its own; CLD's networks see x and v and give as many numbers as VPSDE's."""
    settings = CONFIG.learned
    cld, vp = (networks.untrained(settings, process, "learned") for process in (CLD(eps0=0.0), VP()))
    assert (cld[0].shape, cld[0].out_shape, vp[0].shape, vp[0].out_shape) == ((4,), (2,), (2,), (2,))
    assert not torch.equal(vp[0].first.weight, vp[1].first.weight)
    again = networks.untrained(settings, VP(), "learned")
    assert torch.equal(vp[0].first.weight, again[0].first.weight)


@pytest.mark.parametrize("method", ["CLD", "VPSDE"])
def test_training_lowers_the_loss_of_every_member(method, tmp_path):
    process = learned.METHODS[method][0]
    config = configured(
        PAPER, {"learned": {"width": 16, "blocks": 1, "steps": 150, "batch": 64, "lr": 1e-2, "members": 2}, "jobs": {}}
    )
    book = book_of(PAPER, config.model_copy(update={"jobs": CONFIG.jobs}), "all", tmp_path)
    models = learned.train(book, "one", process, False)
    start = [networks.model_of(process, False, net) for net in networks.untrained(config.learned, process, "learned")]
    rows = torch.randint(9, (4000,), generator=generator(1))
    x = (learned.MODES[rows] + learned.MODE_STD * torch.randn(4000, 2, generator=generator(2), dtype=torch.float64)).float()
    objective = HSM() if method == "CLD" else DSM()
    with torch.no_grad():
        for before, after in zip(start, models, strict=True):
            losses = [objective(one, process, x, generator(3)).mean().item() for one in (before, after)]
            assert losses[0] == pytest.approx(2, rel=0.05), "a network of zero predicts nothing of the noise"
            assert losses[1] < 0.75 * losses[0]


@pytest.mark.parametrize("t", [1e-3, 0.1])
def test_hsm_target_is_the_mean_of_dsm_targets(t):
    """Over the first velocity: their difference has no correlation with any function of the state; variances differ by it."""
    process, n = replace(learned.STABILISED, eps_num=0.0), 200_000
    x0 = 0.5 * torch.randn(n, 1, generator=generator(), dtype=torch.float64)
    u, hsm, dsm = learned.velocity_targets(process, x0, t, generator(1))
    rest = dsm - hsm
    for of in (u[:, 0], u[:, 1], hsm, hsm * u[:, 1]):
        scale = (of.std() * rest.std() / math.sqrt(n)).item()
        assert abs((of * rest).mean().item()) < 4 * scale
    ell, given = process.ell(t), replace(process, gamma=0.0).ell(t)
    assert hsm.square().mean().item() == pytest.approx(1.0, rel=0.02), "it is the noise of HSM"
    assert dsm.square().mean().item() == pytest.approx((given / ell).item() ** 2, rel=0.02)


def test_gradient_traces_of_a_linear_network():
    """alpha = w v with one weight: the gradient 2 (w v - target) v has a variance that the draws give directly."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.7]))

        def forward(self, images, level):
            return self.w * images[:, 2:]

    model, t, n = networks.model_of(learned.STABILISED, False, Linear()), 0.05, 400
    found = learned.gradient_traces(model, n, t, 3)
    draws = learned.make_generator("cld", "gradients", t, 3)
    x0 = learned.MODES[torch.randint(9, (n,), generator=draws)]
    x0 = x0 + learned.MODE_STD * torch.randn(x0.shape, generator=draws, dtype=torch.float64)
    u, *targets = learned.velocity_targets(model.process, x0, t, draws)
    expected = [(2 * (0.7 * u[:, 1] - target) * u[:, 1]).sum(1).var().item() for target in targets]
    assert found == pytest.approx(expected, rel=1e-4)
    assert found[1] > found[0]


def test_paths_keep_the_times_of_the_captions_and_the_steps_of_the_striding():
    """With the prior's score SSCS keeps the prior, whatever its steps."""
    times, asked = (1.0, 0.5, 0.1, 1e-3), []
    problem = replace(problems.digits(CONFIG, paths.STABILISED, 200), dtype=torch.float64)

    def score(u, t):
        asked.append(t)
        return torch.stack((-u[:, 0], -u[:, 1] / paths.STABILISED.M), 1)

    striding = paths.through(problems.GRIDS["QS"](paths.STABILISED, 20, 1e-3), times)
    states = dict(paths.path(replace(problem, score=score), times, striding, paths.sscs))
    assert tuple(states) == times
    assert sorted(asked, reverse=True) == asked == striding.tolist()[:-1] and {0.5, 0.1} < set(asked)
    assert len(asked) == 20, "a score a step"
    for u in states.values():
        assert u[:, 0].var().item() == pytest.approx(1, rel=0.02) and u[:, 1].var().item() == pytest.approx(0.25, rel=0.02)


def test_fig_19_has_as_many_steps_as_its_caption_says(monkeypatch, tmp_path):
    """ "using only 150 steps", in which the caption's times are."""
    asked = []

    def made(process, of):
        asked.append(of)
        return adaptive_flow(process, [of[0], of[-1]], 1.0)

    monkeypatch.setattr(paths, "sscs", made)
    monkeypatch.setattr(paths, "adaptive_flow", lambda process, of, tolerance: adaptive_flow(process, of, 1.0))
    settings = CONFIG.paths.model_copy(update={"steps": 150, "samples": 1})
    book = book_of(PAPER, CONFIG.model_copy(update={"paths": settings}), "all", tmp_path)
    paths.paths(book)
    assert sum(len(of) - 1 for of in asked) == settings.steps
    assert tuple(of[0] for of in asked) == settings.times[:-1]
    with pytest.raises(RescoreError, match="paths: 5 steps go through no 6 times"):
        paths.through(problems.GRIDS["QS"](paths.STABILISED, 5, 1e-5), settings.times)


def test_excess_kurtosis():
    signs = torch.tensor([[1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 4.0]], dtype=torch.float64) + 7
    assert paths.excess_kurtosis(signs).tolist() == pytest.approx([-2, (3**4 + 3) / 4 / 9 - 3])
