"""DDIM with its own noise family, eta (thesis eq. 7.9). The lambda family is `gddim_stochastic`.

References:
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from rescore.processes import Blurring, Isotropic, grids
from rescore.processes.base import LinearSDE, require
from rescore.samplers.base import Denoise, OneStep, Times
from rescore.samplers.method import method
from rescore.samplers.predictor_corrector import posterior_covariance


@method(applies=(Isotropic, Blurring), order=lambda its: None if its.eta else 1)
def ddim(process: LinearSDE, times: Times, eta: float = 0.0, denoise: Denoise = "none") -> OneStep:
    """u <- Psi u + [sqrt(Sigma_t - v) - Psi sqrt(Sigma_s)] eps + sqrt(v) z, v = eta^2 times the posterior variance.

    (Thesis eq. 7.9 prints the first root without v under it.) eta = 0 is deterministic, eta = 1 the ancestral sampler.
    Processes with diagonal coefficients only.
    """
    require(process, (Isotropic, Blurring), "ddim")
    times = grids.check(process, times)
    s, t = times[:-1], times[1:]
    psi, root = process.Psi(t, s), process.R(s)
    variance = posterior_covariance(process, s, t) * eta**2
    direction = (process.Sigma(t) - variance).cholesky() - psi @ root
    return OneStep(process, times, psi, -(direction @ root), variance.cholesky() if eta else None, denoise)
