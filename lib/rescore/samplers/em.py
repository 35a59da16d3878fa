"""Euler-Maruyama on the reverse family du = [F u - (1 + lam^2)/2 G G^T s] dt + lam G dw (thesis eqs. 6.4 and 7.6).

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from rescore.processes import grids
from rescore.processes.base import LinearSDE
from rescore.samplers.base import Denoise, OneStep, Times
from rescore.samplers.method import method


@method(order=lambda its: None if its.lam else 1)
def euler_maruyama(process: LinearSDE, times: Times, lam: float = 1.0, denoise: Denoise = "none") -> OneStep:
    """lam = 1 is the reverse SDE, lam = 0 Euler's method on the probability flow (thesis eq. 6.7). One evaluation per step."""
    times = grids.check(process, times)
    t, h = times[:-1], times.diff()
    drift, GG = process.F(t), process.GG(t)
    C = process.G(t) * (lam * h.abs().sqrt()) if lam else None
    return OneStep(process, times, drift.identity() + drift * h, GG * (-(1 + lam**2) / 2 * h), C, denoise)
