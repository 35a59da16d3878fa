"""What every sampler promises: truthful evaluation counts, dtypes, reuse, clear errors; and independent implementations."""

import math

import pytest
import torch
from diffusion_cases import PROCESSES, data_shape, generator, relative
from rescore.errors import Diverged, RescoreError
from rescore.processes import CLD, VE, VP, Blurring, grids
from rescore.random import Streams
from rescore.samplers import (
    PNDM,
    SSCS,
    AdaptiveFlow,
    AdaptiveSDE,
    AnnealedLangevin,
    GDDIMCorrected,
    HeldToEvaluations,
    PredictorCorrector,
    RungeKutta,
    Sampler,
    Solver,
    analytic_ddim,
    ancestral,
    ddim,
    euler_maruyama,
    exponential_integrator,
    gddim,
    gddim_stochastic,
    ipndm,
    ito_taylor,
    probability_flow,
    reverse_diffusion,
    rhoab_deis,
    rhork_deis,
    tab_deis,
    within_budget,
)
from rescore.scores import GaussianMixture

# name: (method, options, evaluations at 6 steps, processes)
ALL, SCALAR, DIAGONAL = ("ve", "vp", "cld", "blurring"), ("ve", "vp"), ("ve", "vp", "blurring")
METHODS = {
    "em": (euler_maruyama, {}, 6, ALL),
    "euler": (euler_maruyama, {"lam": 0.0}, 6, ALL),
    "reverse-diffusion": (reverse_diffusion, {}, 6, ALL),
    "ancestral": (ancestral, {}, 6, ALL),
    "flow": (probability_flow, {}, 6, ALL),
    "pc": (PredictorCorrector, {}, 12, SCALAR),
    "pc-2": (PredictorCorrector, {"predictor": ancestral, "corrector_steps": 2, "corrector_first": False}, 18, SCALAR),
    "corrector": (PredictorCorrector, {"predictor": None}, 6, SCALAR),
    "annealed": (AnnealedLangevin, {"size": 1e-4, "steps_per_level": 3}, 21, SCALAR),
    "heun": (RungeKutta, {"tableau": "heun2"}, 12, ALL),
    "rk45": (AdaptiveFlow, {"tolerance": 1e-3}, None, ALL),
    "ddim": (ddim, {}, 6, DIAGONAL),
    "ddim-eta": (ddim, {"eta": 0.5}, 6, DIAGONAL),
    "ei-score": (exponential_integrator, {"factor": "I"}, 6, ALL),
    "tab3": (tab_deis, {"order": 3}, 6, ALL),
    "rhoab3": (rhoab_deis, {"order": 3}, 6, SCALAR),
    "rho-kutta3": (rhork_deis, {"tableau": "kutta3"}, 18, SCALAR),
    "rho-rk4": (rhork_deis, {"tableau": "rk4"}, 24, SCALAR),
    "ipndm": (ipndm, {}, 6, ALL),
    "pndm": (PNDM, {}, 15, ALL),
    "analytic-ddim": (analytic_ddim, {"powers": 0.5, "half_range": 1.0}, 6, SCALAR),
    "ito-taylor": (ito_taylor, {}, 6, SCALAR),
    "quasi-taylor": (ito_taylor, {"lam": 0.0}, 6, SCALAR),
    "adaptive-sde": (AdaptiveSDE, {"tolerance": 0.5, "atol": None}, None, ALL),
    "gddim": (gddim, {"order": 3}, 6, ALL),
    "gddim-pc": (GDDIMCorrected, {"order": 2}, 12, ALL),
    "gddim-stochastic": (gddim_stochastic, {"lam": 0.7}, 6, ALL),
    "sscs": (SSCS, {}, 6, ("cld",)),
}
CASES = [(method, process) for method, (*_, processes) in METHODS.items() for process in processes]
OUTSIDE = [(m, p) for m, (*_, processes) in METHODS.items() for p in ALL if p not in processes]


class Counted:
    def __init__(self, score):
        self.score, self.calls = score, 0

    def __call__(self, u, t):
        self.calls += 1
        return self.score(u, t)


def problem(name, dtype=torch.float64, batch=4):
    process = PROCESSES[name]
    score = GaussianMixture(process, torch.ones(1, *data_shape(name)), 0.3)
    u = process.prior_sample((batch, *process.state_shape(data_shape(name))), generator(), dtype)
    return process, grids.quadratic(process, 6, 0.02), Counted(score), u


@pytest.mark.parametrize(("method", "name"), CASES)
def test_evaluations_are_counted_truthfully(method, name):
    make, options, nfe, _ = METHODS[method]
    process, times, score, u = problem(name)
    for denoise, extra in (("none", 0), ("tweedie", 1), ("euler", 1)):
        sampler = make(process, times, denoise=denoise, **options)
        score.calls = 0
        out, calls = sampler.solve(score, u, generator(1))
        assert score.calls == calls and sampler.nfe in (calls, None)
        assert sampler.nfe == (None if nfe is None else nfe + extra)
        assert out.shape == u.shape and out.isfinite().all()


@pytest.mark.parametrize(("method", "name"), CASES)
def test_float32_and_reuse(method, name):
    """One sampler serves any batch and dtype: the result is float32 for float32, and deterministic given the seed."""
    make, options, *_ = METHODS[method]
    process, times, score, u = problem(name, torch.float32)
    sampler = make(process, times, **options)
    first, double = sampler(score, u, generator(1)), sampler(score, u.double(), generator(1))
    assert first.dtype == torch.float32 and double.dtype == torch.float64
    assert torch.equal(first, sampler(score, u, generator(1)))
    if not sampler.stochastic and method != "rk45":
        if name in SCALAR:  # elsewhere six coarse steps amplify rounding
            assert relative(first.double(), double) < 1e-4
        assert torch.allclose(sampler(score, u[:2].double()), double[:2], rtol=1e-12, atol=1e-14)


def test_without_corrector_steps_and_among_solutions_the_step_is_the_solvers():
    times = grids.uniform(VP(), 3, 0.1)
    assert not PredictorCorrector(VP(), times, corrector_steps=0).common_step
    assert HeldToEvaluations(VP(), times, AdaptiveFlow, 20).common_step


@pytest.mark.parametrize(("method", "name"), CASES)
def test_a_sample_depends_on_the_others_only_where_the_step_is_common(method, name):
    """Two states alone, and with two far ones: the same, but for methods whose steps follow from all states of a call."""
    make, options, *_ = METHODS[method]
    process, times, score, u = problem(name)
    u[2:] *= 3
    sampler = make(process, times, **options)
    alone, among = (sampler(score, u[:n], Streams.named("others", n=n))[:2] for n in (2, 4))
    same = torch.allclose(alone, among, rtol=1e-9, atol=1e-11)
    assert sampler.common_step == (not same)


@pytest.mark.parametrize(("method", "name"), OUTSIDE)
def test_a_process_outside_the_method(method, name):
    make, options, *_ = METHODS[method]
    process, times, *_ = problem(name)
    with pytest.raises(RescoreError, match=f"does not apply to {type(process).__name__}: allowed are"):
        make(process, times, **options)


@pytest.mark.parametrize("method", METHODS)
def test_a_grid_that_does_not_decrease(method):
    make, options, _, processes = METHODS[method]
    process = PROCESSES[processes[0]]
    for times in ([1.0, 0.5, 0.7, 0.3, 0.1], [0.1, 0.2, 0.5, 0.8, 0.9], [0.5] * 5):
        with pytest.raises(RescoreError, match="strictly decreasing"):
            make(process, times, **options)


@pytest.mark.parametrize(("method", "name"), CASES)
def test_a_score_that_is_not_finite(method, name):
    make, options, *_ = METHODS[method]
    process, times, score, u = problem(name)
    bad = lambda u, t: torch.full_like(u, math.nan) if t < 0.5 else score(u, t)  # noqa: E731
    with pytest.raises(RescoreError, match=r"the score at t = 0\.\d+ is not finite"):
        make(process, times, **options)(bad, u, generator())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, t: tab_deis(p, t[:4], 3), "needs at least 4 steps; this grid has 3"),
        (lambda p, t: rhoab_deis(p, t[:3], 2), "needs at least 3 steps"),
        (lambda p, t: ipndm(p, t[:4]), "needs at least 4 steps"),
        (lambda p, t: GDDIMCorrected(p, t[:2], 2), "needs at least 2 steps"),
        (lambda p, t: tab_deis(p, t, 4), "allowed are 0 to 3"),
        (lambda p, t: gddim(p, t, 0), "allowed are 1, 2, 3"),
        (lambda p, t: GDDIMCorrected(p, t, 0), "allowed are 1, 2, 3"),
        (lambda p, t: RungeKutta(p, t, "rk5"), "allowed: heun2, midpoint2, ralston2, kutta3, rk4"),
        (lambda p, t: ancestral(p, t, "beta"), "'posterior' and 'forward'"),
        (lambda p, t: gddim(p, t, denoise="mean"), "Multistep: denoise 'mean'; allowed: none, euler, tweedie"),
        (lambda p, t: euler_maruyama(p, t, denoise="last"), "OneStep: denoise 'last'; allowed: none, mean, euler, tweedie"),
        (lambda p, t: PredictorCorrector(p, t, None, corrector_steps=0), "at least one"),
        (lambda p, t: PredictorCorrector(p, t, None, denoise="mean"), "the predictor comes last"),
        (
            lambda p, t: PredictorCorrector(p, t, denoise="mean", correct_last=True),
            "correct_last: allowed with corrector_first",
        ),
        (lambda p, t: PredictorCorrector(p, t, corrector_first=False, correct_last=True), "correct_last: allowed with"),
        (lambda p, t: AnnealedLangevin(p, t, 0.1, 0), "steps_per_level = 0; allowed are integers from 1 on"),
        (lambda p, t: AnnealedLangevin(p, t, 0.1, 1, denoise="mean"), "allows none, euler, tweedie"),
        (lambda p, t: gddim(VP(beta_max=1e5), [1.0, 0.1]), "a coefficient of the sampler is not finite"),
        (lambda p, t: euler_maruyama(p, t)(None, torch.zeros(1, 1)), "needs a torch.Generator"),
        (lambda p, t: within_budget(rhork_deis, p, grids.quadratic, 3, tableau="rk4"), "one step of this sampler takes 4"),
        (lambda p, t: within_budget(gddim, p, grids.quadratic, 1, denoise="euler"), "one step of this sampler takes 2"),
        (lambda p, t: within_budget(AdaptiveFlow, p, grids.quadratic, 20), "20 evaluations: an adaptive sampler"),
        (lambda p, t: within_budget(tab_deis, p, grids.quadratic, 3, order=3), "needs at least 4 steps"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(RescoreError, match=message):
        call(VP(), grids.quadratic(VP(), 6))


def test_within_budget():
    """The steps of thesis table 6.2: the largest number whose evaluations fit."""
    for tableau, nfe, steps in (("heun2", 10, 5), ("kutta3", 21, 7), ("rk4", 50, 12)):
        sampler = within_budget(rhork_deis, VP(), grids.quadratic, nfe, tableau=tableau)
        assert sampler.steps == steps and sampler.nfe <= nfe
    assert within_budget(euler_maruyama, CLD(), grids.quadratic_striding, 50, denoise="euler").steps == 49
    assert within_budget(AnnealedLangevin, VE(), grids.uniform, 1000, size=1e-3, steps_per_level=100).steps == 9


@pytest.mark.parametrize("name", ALL)
def test_euler_maruyama_against_torchsde(name):
    """The reverse SDE solved by torchsde's Euler scheme with the same Brownian increments, step by step."""
    torchsde = pytest.importorskip("torchsde")
    process, _times, score, u = problem(name)

    class Reverse(torch.nn.Module):
        noise_type, sde_type = "general", "ito"

        def f(self, s, flat):
            t, v = process.T - s.item(), flat.reshape(u.shape)
            return -(process.F(t)(v) - process.GG(t)(score(v, t))).flatten(1)

        def g(self, s, flat):
            basis = torch.eye(flat.shape[1], dtype=flat.dtype).reshape(-1, *u.shape[1:])
            return process.G(process.T - s.item())(basis).flatten(1).T.expand(len(flat), -1, -1)

    h, n = 1 / 128, 80
    shape = u.flatten(1).shape
    clock = torch.arange(n + 1, dtype=torch.float64) * h
    brownian = torchsde.BrownianInterval(0.0, clock[-1].item(), size=shape, entropy=7, dtype=torch.float64)
    expected = torchsde.sdeint(Reverse(), u.flatten(1), clock, bm=brownian, method="euler", dt=h)[-1].reshape(u.shape)
    increments = (brownian(i * h, (i + 1) * h).reshape(u.shape) / math.sqrt(h) for i in range(n))
    out = euler_maruyama(process, process.T - clock).run(score, u, lambda like: next(increments))
    assert relative(out, expected) < 1e-9


def test_ddim_against_diffusers():
    """One DDIM step of another library on the same discrete chain."""
    diffusers = pytest.importorskip("diffusers")
    from rescore.processes import DiscreteVP

    scheduler = diffusers.DDIMScheduler(1000, 1e-4, 0.02, "linear", clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    process = DiscreteVP(scheduler.betas.double())
    u = torch.randn(3, 4, generator=generator(), dtype=torch.float64)
    step = int(scheduler.timesteps[4])
    expected = scheduler.step(0.3 * u, step, u).prev_sample
    t, s = (step - 100 + 1) / 1000, (step + 1) / 1000
    sampler = ddim(process, [s, t])
    out = sampler(lambda u, t: -0.3 * u / process.R(t).values, u)
    assert relative(out, expected) < 1e-5


def test_blurring_samples_images():
    """All frequencies: 201 evaluations of the ancestral sampler and 20 of gDDIM recover a two-image data set."""
    process = Blurring((4, 4), sigma_max=4.0)
    images = torch.randn(2, 1, 4, 4, generator=generator(), dtype=torch.float64)
    score = GaussianMixture(process, images, 0.0)
    u = process.prior_sample((64, 1, 4, 4), generator(1), torch.float64)
    for sampler in (
        gddim(process, grids.quadratic(process, 20), 2),
        ancestral(process, grids.quadratic(process, 200), denoise="tweedie"),
    ):
        x = process.project(sampler(score, u, generator(2)))
        distance = (x[:, None] - images).flatten(2).norm(dim=2)
        assert distance.min(1).values.median() < 0.05
        assert 10 < (distance.argmin(1) == 0).sum() < 54


@pytest.mark.parametrize(("method", "name"), [(method, processes[0]) for method, (*_, processes) in METHODS.items()])
def test_no_sampler_returns_states_that_are_not_finite(method, name):
    """One state of four becomes infinite behind the last look at a score, so that no score is to blame."""
    make, options, *_ = METHODS[method]
    process, times, score, u = problem(name)
    sampler = make(process, times, **options)
    run = sampler.run
    sampler.run = lambda *arguments: torch.cat((run(*arguments)[:3], torch.full_like(u[:1], math.inf)))
    with pytest.raises(Diverged) as error:
        sampler(score, u, generator(1))
    wanted = f"{type(sampler).__name__}: 1 of 4 states after the last step, to t = {times[-1]:g}, are not finite"
    assert str(error.value) == wanted
    with pytest.raises(RescoreError, match=f"{type(sampler).__name__}: a batch of 0 states; allowed are 1 or more"):
        sampler(score, u[:0], generator(1))


@pytest.mark.parametrize("predictor", [None, reverse_diffusion])
def test_a_score_of_zero_stops_the_corrector(predictor):
    process, times, _, u = problem("vp")
    with pytest.raises(Diverged, match="PredictorCorrector: 4 of 4 states after the last step, to t = 0.02, are not finite"):
        PredictorCorrector(process, times, predictor)(lambda u, t: torch.zeros_like(u), u, generator(1))


def test_what_is_not_finite_is_named_states_or_score():
    process, times, _, u = problem("vp")
    sampler = euler_maruyama(process, times, 0.0)
    with pytest.raises(Diverged, match="OneStep: the score at t = 1 is not finite"):
        sampler(lambda u, t: math.nan * u, u)
    with pytest.raises(Diverged, match=f"OneStep: 4 of 4 states at t = {times[1]:g} are not finite"):
        sampler(lambda u, t: 1e308 * u.sign() if t == 1 else u, u)  # a finite score, whose sum overflows


def test_annealed_langevin_names_its_step_sizes():
    with pytest.raises(RescoreError, match="step sizes are not finite, for Sigma is 0 at the last time 0; allowed are grids"):
        AnnealedLangevin(VP(), grids.uniform(VP(), 4, 0.0), 0.1, 1)
    with pytest.raises(RescoreError, match=r"annealed Langevin: size = nan; allowed are numbers in \(0, inf\)"):
        AnnealedLangevin(VP(), grids.uniform(VP(), 4), math.nan, 1)


def test_an_adaptive_solver_that_gives_up_says_where():
    """dx/dt -> infinity at t = 1/2: no step is small enough."""
    process, _, _, u = problem("vp")
    sampler = AdaptiveFlow(process, [1.0, 0.02], 1e-3)
    with pytest.raises(
        Diverged,
        match=r"VP\(.*\): the adaptive solver stopped at t = 0.5\d* with tolerance 0.001: "
        "its step became too small",
    ):
        sampler(lambda u, t: u.sign() / (t - 0.5) ** 2 if t > 0.5 else torch.full_like(u, 1e300), u)
    with pytest.raises(AssertionError, match="of the score itself"):
        sampler(lambda u, t: (_ for _ in ()).throw(AssertionError("of the score itself")), u)


def test_a_choice_among_solutions_has_no_steps_of_its_own():
    """Of any solver `solve` can be asked; a sampler has `run` besides, and what lacks its part cannot be made."""
    assert issubclass(HeldToEvaluations, Solver) and not hasattr(HeldToEvaluations, "run")
    for kind, missing in ((Solver, "solve"), (Sampler, "run")):
        with pytest.raises(TypeError, match=f"abstract method '?{missing}'?"):
            kind(VP(), [1.0, 0.5])
