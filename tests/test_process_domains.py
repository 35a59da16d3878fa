"""Processes and time grids refuse what is outside their domains, and say what is allowed."""

import math
import re
from functools import partial

import pytest
import torch
from rescore.errors import RescoreError
from rescore.processes import CLD, VE, VP, Blurring, CosineVP, DiscreteVE, DiscreteVP, SubVP, grids


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grids.check(VP(), [0.1, 0.5, 1.0]), "strictly decreasing"),
        (lambda: grids.check(VP(), [1.0, 0.5, 0.5]), "strictly decreasing"),
        (lambda: grids.check(VP(), [1.0, math.nan]), "finite"),
        (lambda: grids.check(VP(), [1.0]), "at least two times"),
        (lambda: grids.check(VP(), [2.0, 0.5]), r"allowed are times in \[0, 1\]"),
        (lambda: grids.uniform(VP(), 0), "steps = 0; allowed are integers from 1 on"),
        (lambda: grids.log_rho(CLD(), 5), "isotropic"),
        (lambda: grids.log_rho(VP(), 5, 0.0), "choose t0 > 0"),
        (lambda: CLD(eps0=0.0).R(0.5), "eps0 > 0"),
        (lambda: CLD(eps_num=1e-9).Psi_hat(0.4, 0.5, 1.0), "eps_num = 0"),
        (lambda: CLD().R(1.5), r"t in \[0, 1\]"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(RescoreError, match=message):
        call()


POSITIVE, NOT_NEGATIVE, FIRST = r"\(0, inf\)", r"\[0, inf\)", r"\[0, 1\)"
DOMAINS = {  # parameter: values outside, what is allowed
    VE: {
        "sigma_min": ((0, -1.0, math.nan, math.inf, "0.01"), POSITIVE),
        "sigma_max": ((0.01, 0.005, math.inf), r"\(0.01, inf\)"),
    },
    VP: {"beta_min": ((0, -0.1, math.nan), POSITIVE), "beta_max": ((0.05, math.inf, None), r"\[0.1, inf\)")},
    SubVP: {"beta_min": ((0, -0.1, math.nan), POSITIVE), "beta_max": ((0.05, math.inf, True), r"\[0.1, inf\)")},
    CosineVP: {"s": ((-0.1, math.nan), NOT_NEGATIVE), "T": ((1.0, 2.0), r"\(0, 1\)")},
    CLD: {
        "M": ((0, -1, math.inf), POSITIVE),
        "beta_min": ((0, -4.0), POSITIVE),
        "beta_max": ((3.9, math.nan), r"\[4, inf\)"),
        "gamma": ((-0.04, math.nan), NOT_NEGATIVE),
        "eps0": ((-1e-6,), NOT_NEGATIVE),
        "eps_num": ((-1e-9,), NOT_NEGATIVE),
    },
    Blurring: {
        "sigma_max": ((-1.0, math.inf), NOT_NEGATIVE),
        "d_min": ((-0.1, 1.1, math.nan), r"\[0, 1\]"),
        "s": ((-0.1,), NOT_NEGATIVE),
        "rho_max": ((0, -80.0, math.inf), POSITIVE),
    },
}
OUTSIDE = [
    (kind, name, value, allowed)
    for kind, parameters in DOMAINS.items()
    for name, (values, allowed) in parameters.items()
    for value in values
]


@pytest.mark.parametrize(("kind", "name", "value", "allowed"), OUTSIDE)
def test_every_process_checks_its_domain(kind, name, value, allowed):
    message = f"{kind.__name__}: {name} = {re.escape(repr(value))}; allowed are numbers in {allowed}"
    with pytest.raises(RescoreError, match=message):
        kind(**{name: value})


@pytest.mark.parametrize(
    "kind", [*DOMAINS, partial(DiscreteVP, torch.full((3,), 0.1)), partial(DiscreteVE, torch.arange(1.0, 4.0))]
)
def test_every_process_checks_its_times(kind):
    T = kind().T
    for name, value, allowed in (
        ("eps", -1e-9, FIRST),
        ("eps", T, r"\[0, "),
        ("eps", math.nan, r"\[0, "),
        ("T", 0, POSITIVE),
        ("T", math.inf, POSITIVE),
    ):
        if name == "eps" or kind is not Blurring:  # whose T follows from rho_max
            with pytest.raises(RescoreError, match=f"{name} = {value}; allowed are numbers in {allowed[:3]}"):
                kind(**{name: value})


@pytest.mark.parametrize("size", [8, (8,), (8, 0), (-2, 8), (8, 8.0), "88"])
def test_blurring_checks_its_size(size):
    with pytest.raises(RescoreError, match=r"Blurring: (size|height|width) = .*; allowed (is \(height, width\)|are integers)"):
        Blurring(size)


@pytest.mark.parametrize("betas", [[], [[0.1]], [0.1, 0.0], [0.1, 1.0], [math.nan]])
def test_a_chain_checks_its_betas(betas):
    with pytest.raises(RescoreError, match="DiscreteVP: betas .*(N >= 1|must lie in)"):
        DiscreteVP(torch.tensor(betas))


@pytest.mark.parametrize("sigmas", [[], [[0.1]], [0.1, 0.1], [0.0, 1.0], [0.1, math.inf], [math.nan, 1.0]])
def test_a_chain_checks_its_sigmas(sigmas):
    with pytest.raises(RescoreError, match="DiscreteVE: sigmas .*(N >= 1|positive and increasing)"):
        DiscreteVE(torch.tensor(sigmas))


GRIDS = (grids.uniform, grids.quadratic, grids.quadratic_striding, grids.rho_power, grids.log_rho)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("n", "t0", "message"),
    [
        (0, None, "time grid: steps = 0; allowed are integers from 1 on"),
        (-3, None, "steps = -3"),
        (2.5, None, "steps = 2.5"),
        (5, -0.1, r"time grid of VP: t0 = -0.1; allowed are numbers in \[0, 1\)"),
        (5, 1.0, r"t0 = 1.0; .* \[0, 1\)"),
        (5, 3.0, r"t0 = 3.0; .* \[0, 1\)"),
        (5, math.nan, "t0 = nan"),
    ],
)
def test_every_grid_checks_its_domain(grid, n, t0, message):
    with pytest.raises(RescoreError, match=message):
        grid(VP(), n, t0=t0)


@pytest.mark.parametrize("grid", [grids.power, grids.rho_power])
@pytest.mark.parametrize("kappa", [0, -7.0, math.inf, math.nan])
def test_grids_check_their_power(grid, kappa):
    with pytest.raises(RescoreError, match=rf"time grid: kappa = {kappa}; allowed are numbers in \(0, inf\)"):
        grid(VP(), 5, kappa)
