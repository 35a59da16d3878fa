"""Measured orders of convergence against stated ones, on data whose exact score is smooth."""

import math

import pytest
import torch
from diffusion_cases import generator
from rescore.processes import CLD, VP, grids
from rescore.samplers import (
    GDDIMCorrected,
    RungeKutta,
    ddim,
    euler_maruyama,
    exponential_integrator,
    gddim,
    ipndm,
    ito_taylor,
    probability_flow,
    rhoab_deis,
    rhork_deis,
    tab_deis,
)
from rescore.samplers.pndm import pndm
from rescore.scores import GaussianMixture

MEANS = torch.tensor([[-0.5], [0.7]], dtype=torch.float64)
T0 = {"vp": 0.02, "cld": 0.05}
PROCESSES = {"vp": VP(), "cld": CLD()}


@pytest.fixture(scope="module")
def problems():
    """Per process: score, starting points and their exact images under the flow."""
    found = {}
    for name, process in PROCESSES.items():
        score = GaussianMixture(process, MEANS, 0.5)
        u = score.sample(60, process.T, generator())
        found[name] = score, u, RungeKutta(process, grids.quadratic(process, 250, T0[name]), "rk4")(score, u)
    return found


def slope(problems, name, method, n, **options):
    """log2 of the ratio of mean errors at n and 2 n steps."""
    process = PROCESSES[name]
    score, u, exact = problems[name]
    samplers = (method(process, grids.quadratic(process, k, T0[name]), **options) for k in (n, 2 * n))
    coarse, fine = ((sampler(score, u) - exact).abs().mean().item() for sampler in samplers)
    return math.log2(coarse / fine)


@pytest.mark.parametrize(
    ("method", "options", "stated"),
    [
        (euler_maruyama, {"lam": 0.0}, 1),
        (probability_flow, {}, 1),
        (exponential_integrator, {"degree": 0, "factor": "I"}, 1),
        (ddim, {}, 1),
        (tab_deis, {"order": 1}, 2),
        (tab_deis, {"order": 2}, 3),
        (rhoab_deis, {"order": 1}, 2),
        (rhoab_deis, {"order": 2}, 3),
        (rhork_deis, {"tableau": "heun2"}, 2),
        (rhork_deis, {"tableau": "midpoint2"}, 2),
        (rhork_deis, {"tableau": "ralston2"}, 2),
        (rhork_deis, {"tableau": "kutta3"}, 3),
        (rhork_deis, {"tableau": "rk4"}, 4),
        (RungeKutta, {"tableau": "heun2"}, 2),
        (RungeKutta, {"tableau": "kutta3"}, 3),
        (RungeKutta, {"tableau": "rk4"}, 4),
        (ito_taylor, {"lam": 0.0}, 1),
        (ipndm, {}, 2),
        (pndm, {}, 2),
        (gddim, {"order": 2}, 2),
        (gddim, {"order": 3}, 3),
        (GDDIMCorrected, {"order": 2}, 2),
        (GDDIMCorrected, {"order": 3}, 3),
    ],
)
def test_orders_on_vp(problems, method, options, stated):
    n = 40 if "tableau" in options else 80
    if options.get("tableau") == "midpoint2":
        n = 256  # its error changes sign with N near 50: the order is seen beyond
    assert slope(problems, "vp", method, n, **options) == pytest.approx(stated, abs=0.25)


@pytest.mark.parametrize(
    ("method", "options", "stated"),
    [
        (ipndm, {}, 2),
        (pndm, {}, 2),
        (RungeKutta, {"tableau": "heun2"}, 2),
        (RungeKutta, {"tableau": "kutta3"}, 3),
        (RungeKutta, {"tableau": "rk4"}, 4),
        (gddim, {"order": 1}, 1),
        (gddim, {"order": 2}, 2),
        (gddim, {"order": 3}, 3),
        (GDDIMCorrected, {"order": 2}, 2),
        (GDDIMCorrected, {"order": 3}, 3),
        (exponential_integrator, {"degree": 0, "factor": "L"}, 1),
        (exponential_integrator, {"degree": 1, "factor": "L"}, 2),
    ],
)
def test_orders_on_cld(problems, method, options, stated):
    n = 40 if "tableau" in options else 80
    assert slope(problems, "cld", method, n, **options) == pytest.approx(stated, abs=0.3)


@pytest.mark.parametrize("method", [tab_deis, rhoab_deis])
def test_third_degree_is_of_order_four_until_its_warm_start_shows(problems, method):
    """Locally of order 4; the first step adds an error of global order 2 that is tiny where eps is flat (near T)."""
    assert 3.2 < slope(problems, "vp", method, 40, order=3) < 4.2


def test_under_the_cholesky_factor_the_warm_start_limits_cld_to_order_two(problems):
    """eps under L_t is not flat near T, so degrees 2 and 3 gain no order over degree 1 (thesis table 7.1: FID)."""
    for degree in (2, 3):
        assert slope(problems, "cld", exponential_integrator, 80, degree=degree, factor="L") == pytest.approx(2, abs=0.3)
