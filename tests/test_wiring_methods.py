"""Wires of the methods' rooms: when SMC resamples, what an objective draws, the time of a corrector, a decoder's terms."""

import math
from dataclasses import replace

import pytest
import torch
from rescore.likelihood import elbo
from rescore.likelihood.bound import _decoder
from rescore.montecarlo import aft, smc
from rescore.montecarlo.importance import standard_normal_log_prob
from rescore.montecarlo.logz import ess
from rescore.neural_sde import DiffFlowTraining, FourierMLP, NeuralSDE, Progressive, draw_noise, path_loss, train_diffflow
from rescore.neural_sde.grids import hat_l_beta, l_beta
from rescore.objectives import DSM, HSM, VelocityDSM
from rescore.objectives.times import DiscreteTimes
from rescore.processes import CLD, VE, VP
from rescore.processes.base import gaussian_log_prob
from rescore.random import make_generator, seeded
from rescore.samplers import PredictorCorrector, ancestral, ddim, reverse_diffusion, rhoab_deis, tab_deis
from rescore.scores import GaussianMixture
from rescore.targets import gaussian, nine_modes
from rescore.training import Adam

F64 = torch.float64


# --- SMC ----------------------------------------------------------------------------------------------------------------------


def jump(resample_below: float, runs: int = 6) -> tuple[smc.AnnealedRuns, torch.Tensor]:
    """One temperature and no move: the runs, and the normalised log weights before any resampling, (runs, n)."""
    target = nine_modes()
    schedule = smc.Annealing(n_temperatures=1, n_hmc_steps=0, resample_below=resample_below)
    found = smc.anneal(target, schedule, 40, [make_generator("jump", r) for r in range(runs)], dtype=F64)
    x = torch.stack([torch.randn(40, 2, generator=make_generator("jump", r), dtype=F64) for r in range(runs)])
    log_w = target.log_prob(x) - standard_normal_log_prob(x)
    return found, log_w


def test_a_run_is_resampled_where_its_effective_sample_size_is_low():
    plain, log_w = jump(0.0)
    sizes = ess(log_w)
    threshold = sizes.sort().values[2:4].mean().item()  # three runs below, three above
    found, _ = jump(threshold)
    low = sizes < threshold
    assert low.sum() == 3
    equal = torch.full((3, 40), -math.log(40), dtype=F64)
    assert torch.equal(found.log_weights[low], equal)
    assert torch.allclose(found.log_weights[~low], log_w[~low].log_softmax(-1), rtol=1e-12)
    assert torch.equal(found.x[~low], plain.x[~low]), "particles of a run above the threshold stay"
    assert all(len(x.unique(dim=0)) < 40 for x in found.x[low]) and all(len(x.unique(dim=0)) == 40 for x in found.x[~low])
    assert torch.equal(found.log_z, plain.log_z), "resampling follows the estimate"
    assert torch.allclose(plain.log_z, log_w.logsumexp(-1) - math.log(40), rtol=1e-12)


def test_resampling_draws_in_proportion_to_the_weights_and_takes_score_and_density_along():
    particles = smc.Particles.at(
        torch.randn(1, 5000, 2, generator=make_generator("p"), dtype=F64), gaussian(torch.zeros(2), 1.0)
    )
    before = particles.x.clone()
    log_w = (before[..., 0] * 1.5).log_softmax(-1)
    mean = (log_w.exp() * before[..., 0]).sum().item()
    smc._resample(particles, log_w, torch.tensor([True]), [make_generator("resample")])
    assert particles.x[..., 0].mean().item() == pytest.approx(mean, abs=0.1) and mean > 1
    fresh = smc.Particles.at(particles.x, gaussian(torch.zeros(2), 1.0))
    assert torch.equal(particles.log_prob, fresh.log_prob) and torch.equal(particles.score, fresh.score)


def test_step_sizes_and_temperatures_of_the_path():
    schedule = smc.Annealing(n_temperatures=8, step_sizes=(1.0, 0.5, 0.3, 0.1))
    assert [schedule.beta(k) for k in (0, 2, 8)] == [0.0, 0.25, 1.0]
    assert [schedule.step_size(k) for k in (0, 1, 2, 3, 4, 6, 8)] == pytest.approx([1.0, 0.75, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_moves_are_at_the_temperature_reached_with_its_step_size(monkeypatch):
    moves = []

    def step(target, particles, momentum, log_uniform, beta, step_size, n_leapfrog):
        moves.append((beta, round(step_size, 9), n_leapfrog, momentum.clone(), log_uniform.clone()))
        return torch.ones_like(log_uniform, dtype=torch.bool)

    monkeypatch.setattr(smc, "hmc_step", step)
    schedule = smc.Annealing(n_temperatures=2, n_hmc_steps=3, n_leapfrog=4, step_sizes=(0.8, 0.6, 0.4, 0.2))
    found = smc.anneal(nine_modes(), schedule, 50, [make_generator("moves")])
    assert [move[:3] for move in moves] == [(0.5, 0.4, 4)] * 3 + [(1.0, 0.2, 4)] * 3
    assert len({move[3].sum().item() for move in moves}) == 6, "fresh momenta for each move"
    assert all((move[4] < 0).all() and abs(move[4].mean() + 1) < 0.5 for move in moves), "logs of uniforms"
    assert torch.equal(found.acceptance, torch.ones(1, 2, dtype=F64).mul(3).div(3)) and found.n_evaluations == 1 + 2 * 3 * 4


def test_a_transport_is_weighed_by_its_determinant():
    """A shift of scale: particles 2 x of N(0, 1) are exact draws of N(0, 4), so that all weights are equal and log Z exact."""
    target = gaussian(torch.zeros(2, dtype=F64), 2.0, log_z=0.7)
    schedule = smc.Annealing(n_temperatures=1, n_hmc_steps=0)

    def double(x):
        return 2 * x, torch.full(x.shape[:-1], 2 * math.log(2), dtype=F64)

    found = smc.anneal(target, schedule, 30, [make_generator("t")], aft.frozen([double]), F64)
    assert found.log_z.item() == pytest.approx(0.7, abs=1e-12) and found.n_evaluations == 2
    assert torch.allclose(found.log_weights, torch.full((1, 30), -math.log(30), dtype=F64), rtol=1e-12)


# --- objectives ---------------------------------------------------------------------------------------------------------------


class Recorded:
    """A network that predicts nothing and keeps what it is asked."""

    def __call__(self, u, t):
        self.u, self.t = u, t
        return torch.zeros_like(u)


def test_velocity_dsm_draws_velocities_of_variance_gamma_m():
    process, network = CLD(gamma=0.36, M=0.25), Recorded()
    x = torch.randn(20_000, 1, generator=make_generator("x"), dtype=F64)
    VelocityDSM(times=DiscreteTimes((1e-7,)))(network, process, x, make_generator("v"))
    assert network.u[:, 1].std().item() == pytest.approx(math.sqrt(0.36 * 0.25), rel=0.02)
    assert network.u[:, 0].sub(x).abs().max() < 0.01 and (network.t == 1e-7).all()


@pytest.mark.parametrize("kind", [HSM, VelocityDSM])
def test_what_a_velocity_network_is_asked(kind):
    """At a late time the state is that of the perturbation kernel, and the loss that of its velocity noise alone."""
    process, network, t = CLD(), Recorded(), 0.4
    x = torch.full((40_000, 1), 0.7, dtype=F64)
    losses = kind(times=DiscreteTimes((t,)))(network, process, x, make_generator("state"))
    mean = process.mean(t).values @ torch.tensor([0.7, 0.0], dtype=F64)
    covariance = process.Sigma(t).values
    u = network.u[..., 0]
    assert (u.mean(0) - mean).abs().max() < 0.02
    assert torch.allclose(torch.cov(u.T), covariance, rtol=0.05, atol=0.003), "both draw from the marginal of the data"
    assert losses.mean().item() == pytest.approx(1, abs=0.03) and losses.shape == (40_000,)


def test_velocity_dsm_conditions_on_the_velocity_that_it_draws():
    """The velocity has its variance gamma M already, so the kernel from it on is that of gamma = 0."""
    process, network, t, times = CLD(), Recorded(), 0.1, DiscreteTimes((0.1,))
    x = torch.randn(50, 3, generator=make_generator("x"), dtype=F64)
    VelocityDSM(times=times)(network, process, x, make_generator("state"))
    conditional, generator = replace(process, gamma=0.0), make_generator("state")
    times.draw(conditional, 50, generator)
    v = math.sqrt(process.gamma * process.M) * torch.randn(50, 3, generator=generator, dtype=F64)
    noise = torch.randn(50, 2, 3, generator=generator, dtype=F64)
    expected = conditional.mean(t)(torch.stack((x, v), 1)) + conditional.L(t)(noise)
    assert torch.allclose(network.u, expected, rtol=1e-12)


# --- the bound ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicts", ["R", "L", "score"])
def test_the_decoder_is_tweedie_s_mean_with_the_noise_mapped_back(predicts):
    """log N(x; (u + sigma^2 s) / m, sigma^2 / m^2), far from t = 0 so that no term is small."""
    process, t0 = VP(), 0.3
    m, sigma = process.mean(t0).values.item(), process.L(t0).values.item()
    x = torch.randn(5, 3, generator=make_generator("x"), dtype=F64)
    score_slope = -0.8

    def network(u, t):
        return score_slope * u if predicts == "score" else -sigma * score_slope * u

    found = _decoder(network, process, DSM(predicts=predicts), x, make_generator("d"), t0)
    u, _ = process.perturb(x, t0, make_generator("d"), "L")
    centre = (u + sigma**2 * score_slope * u) / m
    variance = sigma**2 / m**2
    expected = -0.5 * ((x - centre).square().sum(1) / variance + 3 * math.log(2 * math.pi * variance))
    assert torch.allclose(found, expected, rtol=1e-10)


def test_the_decoder_of_velocities_has_the_flat_prior_s_mean():
    process, t0 = CLD(), 0.3
    x = torch.randn(4, 2, generator=make_generator("x"), dtype=F64)
    found = _decoder(lambda u, t: u * 0, process, HSM(), x, make_generator("d"), t0)
    u, _ = process.perturb(x, t0, make_generator("d"), "L")
    m = process.mean(t0).values[:, 0]
    precision = torch.linalg.inv(process.Sigma(t0).values)
    variance = 1 / (m @ precision @ m)
    centre = variance * torch.einsum("i,ij,njd->nd", m, precision, u)
    expected = -0.5 * ((x - centre).square().sum(1) / variance + 2 * math.log(2 * math.pi * variance))
    assert torch.allclose(found, expected, rtol=1e-10)


def test_the_terms_of_the_bound(monkeypatch):
    """Decoder less divergence less the integral, which is T - t0 times the likelihood-weighted loss on importance times."""
    from rescore.likelihood import bound

    seen = []

    def path(self, network, process, x, generator):
        seen.append(self)
        return torch.full((len(x),), 2.0, dtype=F64)

    monkeypatch.setattr(DSM, "__call__", path)
    monkeypatch.setattr(bound, "_decoder", lambda *a: torch.full((3,), 100.0, dtype=F64))
    monkeypatch.setattr(bound, "_kl_to_prior", lambda process, mean: mean.sum(1))
    x, process = torch.ones(3, 2, dtype=F64), VP()
    found = elbo(lambda u, t: u, process, DSM("simple", predicts="L", per_dimension=True), x, make_generator("b"), t0=0.25)
    kl = 2 * process.mean(1.0).values.item()
    assert found.tolist() == pytest.approx([100 - kl - 2 * 0.75] * 3, rel=1e-12)
    (used,) = seen
    assert (used.weighting, used.predicts, used.per_dimension, used.times.t0) == ("likelihood", "L", False, 0.25)
    assert type(used.times).__name__ == "ImportanceTimes"


# --- correctors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_the_corrector_looks_at_the_level_it_corrects(first):
    process = VE(0.1, 2.0)
    times = [1.0, 0.6, 0.2]
    asked = []
    score = GaussianMixture(process, torch.zeros(1, 2, dtype=F64), 0.5)

    def recorded(u, t):
        asked.append(t)
        return score(u, t)

    sampler = PredictorCorrector(process, times, reverse_diffusion, corrector_steps=2, corrector_first=first)
    x = sampler(recorded, process.prior_sample((50, 2), make_generator("c"), F64), make_generator("n"))
    assert asked == ([1.0, 1.0, 1.0, 0.6, 0.6, 0.6] if first else [1.0, 0.6, 0.6, 0.6, 0.2, 0.2])
    assert sampler.nfe == 6 and x.isfinite().all()


def test_a_corrector_step_written_out():
    """u + e s + sqrt(2 e) z with e = 2 a (snr |z| / |s|)^2, |.| means over the batch."""
    process = VP()
    sampler = PredictorCorrector(process, [1.0, 0.5], None, snr=0.3, corrector_steps=1)
    u = torch.randn(6, 2, generator=make_generator("u"), dtype=F64)
    found = sampler(lambda u, t: -2 * u, u, make_generator("z"))
    z = torch.randn(6, 2, generator=make_generator("z"), dtype=F64)
    a = process.Psi(1.0, 0.5).values.item() ** 2
    size = 2 * a * (0.3 * z.norm(dim=1).mean() / (2 * u).norm(dim=1).mean()) ** 2
    assert torch.allclose(found, u - 2 * size * u + (2 * size).sqrt() * z, rtol=1e-12)


def test_gaussian_log_prob_is_normalised():
    law = replace(VP(), beta_max=3.0).prior_covariance
    x = torch.tensor([[0.3, -1.0]], dtype=F64)
    assert gaussian_log_prob(x, law).item() == pytest.approx(-0.5 * (1.09 + 2 * math.log(2 * math.pi)), rel=1e-12)


# --- DiffFlow -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["L_beta", "hat L_beta"])
def test_training_of_diffflow_written_out(tmp_path, grid):
    """Rows, grid and noise from one generator, the loss per dimension, a clip, and the average of the weights as the result."""

    def fresh() -> NeuralSDE:
        return NeuralSDE(*(seeded(lambda: FourierMLP(2, 8, 1), seed) for seed in (3, 4)), 0.4)

    data = torch.randn(50, 2, generator=make_generator("data"))
    adam = Adam(4, 1e-2, clip=0.3, decay=0.5, decay_every=2)
    settings = DiffFlowTraining(adam, Progressive((2, 3), (0.5, 0.5)), 7, grid, t0=0.01, T=0.2, beta=0.8, ema=0.6)
    found = train_diffflow(fresh(), data, settings, make_generator("train"), tmp_path)

    model, generator = fresh(), make_generator("train")
    average = [p.detach().clone() for p in model.parameters()]
    optimizer, history = torch.optim.Adam(model.parameters()), []
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 1e-2 * 0.5 ** (step // 2)
        optimizer.zero_grad()
        x = data[torch.randint(50, (7,), generator=generator)]
        n = 2 if step < 2 else 3
        times = l_beta(n, 0.01, 0.2, 0.8) if grid == "L_beta" else hat_l_beta(n, generator, 0.01, 0.2, 0.8)
        loss = path_loss(model, x, times, draw_noise(x, n, generator)).mean()
        (loss / 2).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        history.append(loss.item())
        d = min(0.6, (2 + step) / (11 + step))
        average = [d * a + (1 - d) * p.detach() for a, p in zip(average, model.parameters(), strict=True)]
    assert found.losses.tolist() == pytest.approx(history, rel=1e-4)
    for ours, expected in zip(found.model.parameters(), average, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-6) and not ours.requires_grad
    assert settings.times(3).tolist() == pytest.approx(l_beta(3, 0.01, 0.2, 0.8).tolist())


# --- DDIM -------------------------------------------------------------------------------------------------------------------


def test_eta_scales_the_standard_deviation_of_ddim():
    """At eta = 1/2 a step's noise has half the ancestral deviation, and the law of one point's u_t is kept."""
    process, s, t = VP(), 0.8, 0.5
    half, whole = (ddim(process, [s, t], eta=eta) for eta in (0.5, 1.0))
    assert half.C[0].values.item() == pytest.approx(0.5 * whole.C[0].values.item(), rel=1e-12)
    assert whole.C[0].values.item() == pytest.approx(ancestral(process, [s, t]).C[0].values.item(), rel=1e-12)
    point = GaussianMixture(process, torch.tensor([[0.7]], dtype=F64), 0.0)
    u = point.sample(100_000, s, make_generator("eta"))
    for eta in (0.0, 0.5, 1.0):
        x = ddim(process, [s, t], eta=eta)(point, u, make_generator("eta", eta))
        assert x.mean().item() == pytest.approx(0.7 * process.mean(t).values.item(), abs=0.01)
        assert x.var().item() == pytest.approx(process.Sigma(t).values.item(), rel=0.02)


@pytest.mark.parametrize(("make", "order"), [(tab_deis, 3), (rhoab_deis, 3)])
def test_the_order_that_is_meant_where_none_is_said(make, order):
    score = GaussianMixture(VP(), torch.zeros(1, 2, dtype=F64), 0.5)
    times, u = [1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05], torch.ones(1, 2, dtype=F64)
    found = {n: make(VP(), times, order=n)(score, u) for n in (2, order)}
    assert torch.equal(make(VP(), times)(score, u), found[order]) and not torch.equal(found[2], found[order])
