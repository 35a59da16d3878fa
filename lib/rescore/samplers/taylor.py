"""Ito-Taylor with ideal derivatives (Tachibana et al. 2021, arXiv 2112.13339): a second-order scheme with one score a step.

The terms of second order need derivatives of the score. In their place stand those of the score of a single data point x_0,
s = -(u - m_t x_0) / Sigma_t, in which x_0 is then expressed by u and s: grad s = -1 / Sigma_t and
ds/dt = (F / Sigma_t) u - (F + GG / Sigma_t) s.
"""

import torch

from rescore.errors import RescoreError
from rescore.processes import Isotropic, grids
from rescore.processes.base import LinearSDE, require
from rescore.samplers.base import Denoise, OneStep, Times
from rescore.samplers.method import method


@method(applies=Isotropic, order=lambda its: None if its.lam else 1)
def ito_taylor(process: LinearSDE, times: Times, lam: float = 1.0, denoise: Denoise = "none") -> OneStep:
    """The Ito-Taylor scheme (Kloeden and Platen, section 14.2: weak order 2; strong order 1.5, the noise being additive).

    Backward in time du = b dtau + g dw, b = -F u + c GG s, g = lam sqrt(GG), c = (1 + lam^2) / 2 (thesis eq. 6.4); with
    derivatives F' and GG' by t, L0 = -d/dt + b d/du and L1 = g d/du, the step over h is

        u <- u + b h + L0 b h^2 / 2 + g dW + L1 b dZ + L0 g (h dW - dZ),    dZ = int_0^h W,
        L0 b = (F^2 + F') u + c ((1 - c) GG^2 / Sigma - GG') s,
        L1 b = -g (F + c GG / Sigma),    L0 g = -lam GG' / (2 sqrt(GG)),

    whose noise is one Normal: var dW = h, cov(dW, dZ) = h^2 / 2, var dZ = h^3 / 3. lam = 0 is the quasi-Taylor sampler for the
    probability flow, DDIM's step to second order in h. Of the orders, which need exact derivatives, a single data point keeps
    2 (law or flow); on other data the flow's is 1.

    Raises RescoreError for a discrete chain, whose F and GG are constant between its levels and have no derivatives at them.
    """
    require(process, Isotropic, "ito_taylor")
    if not process.smooth:
        name = type(process).__name__
        raise RescoreError(f"ito_taylor: F and GG of {name} have no derivatives; allowed: continuous processes")
    times = grids.check(process, times)
    h = -times.diff()
    with torch.enable_grad():  # of the coefficients by t, also where a caller has turned gradients off
        s = times[:-1].clone().requires_grad_()
        F, GG = process.F(s).values, process.GG(s).values
        dF, dGG = (torch.autograd.grad(of.sum(), s)[0] if of.requires_grad else torch.zeros_like(h) for of in (F, GG))
    F, GG, Sigma, c = F.detach(), GG.detach(), process.Sigma(times[:-1]).values, (1 + lam**2) / 2
    one = process.mean(times[:-1]).identity()
    A = 1 - F * h + (F**2 + dF) * h**2 / 2
    B = c * (GG * h + ((1 - c) * GG**2 / Sigma - dGG) * h**2 / 2)
    L0g = -dGG / (2 * GG.sqrt())
    of_w, of_z = GG.sqrt() + L0g * h, -GG.sqrt() * (F + c * GG / Sigma) - L0g
    variance = of_w**2 * h + of_w * of_z * h**2 + of_z**2 * h**3 / 3
    C = one * (lam * variance.sqrt()) if lam else None
    return OneStep(process, times, one * A, one * B, C, denoise)
