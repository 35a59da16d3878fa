"""Beside other libraries that do the same work: both take turns in one process, on one thread."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from peers import beside
from rescore.likelihood import flow_log_prob
from rescore.metrics.features import Features
from rescore.metrics.images import frechet_distance, moments, symmetric_frechet_distance
from rescore.networks.mlp import MLP, MLPConfig
from rescore.processes import VP, grids
from rescore.random import make_generator
from rescore.samplers import ddim, tab_deis
from scipy.linalg import sqrtm
from torch import Tensor
from torchdiffeq import odeint

pytestmark = [pytest.mark.benchmark_suite, pytest.mark.benchmark(timer=time.process_time)]

STEPS = 20


@pytest.mark.parametrize(("ours", "theirs"), [("DDIM", "DDIMScheduler"), ("tAB-DEIS, order 2", "DEISMultistepScheduler")])
def test_a_step_beside_the_schedulers_of_diffusers(benchmark, ours, theirs):
    """20 steps on 64 images of 3 x 32 x 32 with a score that costs nothing: the sampler's own share."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install diffusers")
    process, x = VP(), torch.randn(64, 3, 32, 32)
    times = grids.quadratic(process, STEPS)
    sampler = ddim(process, times) if ours == "DDIM" else tab_deis(process, times, order=2)
    options = {"solver_order": 3} if ours != "DDIM" else {}
    scheduler = getattr(diffusers, theirs)(num_train_timesteps=1000, **options)
    output = torch.randn_like(x)

    def loop() -> Tensor:
        scheduler.set_timesteps(STEPS)
        state = x
        for t in scheduler.timesteps:
            state = scheduler.step(output, t, state).prev_sample
        return state

    with torch.inference_mode():
        ratio = beside(
            benchmark,
            f"{ours}, {STEPS} steps without a network",
            f"diffusers {theirs}",
            lambda: sampler(lambda u, t: output, x),
            loop,
        )
    assert ratio > 0.5


def test_ddim_beside_a_bare_loop(benchmark):
    """The shortest loop that takes Euler steps of a denoiser, as k-diffusion's `sample_euler` does: no check, no hook."""
    process, x = VP(), torch.randn(64, 3, 32, 32)
    network = MLP(MLPConfig(), (3, 32, 32)).eval()
    sampler = ddim(process, grids.quadratic(process, STEPS))
    sigmas = torch.linspace(10.0, 0.01, STEPS + 1).tolist()

    def loop() -> Tensor:
        state = x
        for sigma, after in pairwise(sigmas):
            slope = (state - network(state, torch.full((len(x),), sigma))) / sigma
            state = state + slope * (after - sigma)
        return state

    def score(u: Tensor, t: float) -> Tensor:
        return network(u, torch.full((len(u),), float(t)))

    with torch.inference_mode():
        ratio = beside(benchmark, f"DDIM, {STEPS} evaluations of an MLP", "a bare Euler loop", lambda: sampler(score, x), loop)
    assert ratio > 0.7


def test_fid_beside_scipy_and_torchmetrics(benchmark):
    """10,000 features of dimension 256 against 10,000: moments and distance, in float64."""
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(mean, 1 + mean, size=(10_000, 256))).float() for mean in (0.0, 0.1))
    real, generated = Features("toy", "real", a), Features("toy", "generated", b)

    def by_sqrtm() -> float:
        (m, s), (n, r) = (
            (x.double().mean(0).numpy(), np.cov(x.double().numpy(), rowvar=False)) for x in (generated.values, real.values)
        )
        return float(np.square(m - n).sum() + np.trace(s) + np.trace(r) - 2 * np.trace(sqrtm(s @ r)).real)

    def symmetric() -> float:
        return symmetric_frechet_distance(moments(generated), moments(real), "cpu")

    assert symmetric() == pytest.approx(by_sqrtm(), rel=1e-8) and frechet_distance(generated, real) == pytest.approx(by_sqrtm())
    ratio = beside(benchmark, "FID of 10,000 features of dimension 256", "scipy's sqrtm", symmetric, by_sqrtm, rounds=3)
    assert ratio > 0.5


def test_fid_beside_torchmetrics(benchmark):
    """The same features through FrechetInceptionDistance with an extractor that is the identity."""
    image = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed: pip install torchmetrics")
    a, b = torch.randn(10_000, 256), 0.1 + 1.1 * torch.randn(10_000, 256)

    class Identity(torch.nn.Module):
        num_features = 256

        def forward(self, x: Tensor) -> Tensor:
            return x

    def theirs() -> float:
        metric = image.FrechetInceptionDistance(Identity())
        for features, real in ((a, True), (b, False)):
            for rows in features.split(1024):
                metric.update(rows, real=real)
        return float(metric.compute())

    def ours() -> float:
        return symmetric_frechet_distance(moments(Features("toy", "b", b)), moments(Features("toy", "a", a)), "cpu")

    assert ours() == pytest.approx(theirs(), rel=1e-6)
    assert beside(benchmark, "FID of 10,000 features of dimension 256", "torchmetrics", ours, theirs, rounds=3) > 0.5


def test_likelihood_beside_a_plain_call_of_torchdiffeq(benchmark):
    """log p of 64 images of 1 x 8 x 8 by the probability flow, Hutchinson's trace, rtol = atol = 1e-5, of the same network."""
    process, shape = VP(), (1, 8, 8)
    network = MLP(MLPConfig(), shape).eval()
    torch.nn.init.normal_(network.last.weight, std=0.02, generator=make_generator("weights"))
    x = torch.randn(64, *shape, generator=make_generator("likelihood"))

    def score(u: Tensor, t: float) -> Tensor:
        return network(u, torch.full((len(u),), float(t))) - u

    probe = torch.randn_like(x).sign()

    def rate(t: Tensor, values: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        time, (u, _) = t.item(), values
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            drift = process.F(time)(u) - 0.5 * process.GG(time)(score(u, time))
            product = torch.autograd.grad(drift, u, probe)[0]
        return drift.detach(), (product * probe).flatten(1).sum(1)

    def plain() -> Tensor:
        start = (x, torch.zeros(len(x)))
        latent, change = odeint(rate, start, torch.tensor([1e-5, process.T]), rtol=1e-5, atol=1e-5, method="dopri5")
        return process.prior_log_prob(latent[-1]) + change[-1]

    def ours() -> Tensor:
        return flow_log_prob(score, process, x, make_generator("probes"), t0=1e-5).log_prob

    assert torch.allclose(ours().mean(), plain().mean(), rtol=0.05)
    ratio = beside(benchmark, "log p of 64 images by the flow", "torchdiffeq's plain call", ours, plain, rounds=5)
    assert ratio > 0.5
