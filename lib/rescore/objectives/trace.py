"""Score matching of diffused data without its noise: the trace of the score's Jacobian, exactly or by probes (LCSS eq. 5).

References:
    LCSS: arXiv:2412.03962.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.objectives.matching import Weighting
from rescore.objectives.network import Network, times_for
from rescore.objectives.pointwise import PointScore, Probe, explicit, fd_ssm, probes, ssm, ssm_vr
from rescore.objectives.times import Times, UniformTimes
from rescore.processes import Isotropic
from rescore.processes.base import require

Form = Literal["explicit", "ssm", "ssm_vr", "fd_ssm"]


@dataclass(frozen=True)
class TraceMatching:
    """lambda(t) J(s_theta(., t), u_t), u_t = m_t x0 + sigma_t eps (LCSS eq. 5; with eqs. 6 and 7 for J), isotropic processes.

    The weights lambda(t) are those of DSM's squares, so that all objectives estimate one number up to a constant: 2 sigma_t^2
    ("simple"), sigma_t^2 ("sigma^2") and g_t^2 ("likelihood").

    Args:
        form: a function of `rescore.objectives.pointwise`.
        probe: the law of the directions of ssm, ssm_vr and fd_ssm.
        eps: the step of fd_ssm, in units of sigma_t: a fixed one would exceed the smallest noise.

    Raises RescoreError for choices that do not exist.
    """

    form: Form = "ssm_vr"
    weighting: Weighting = "simple"
    times: Times = UniformTimes()
    predicts: Literal["R", "L", "score"] = "R"
    probe: Probe = "gaussian"
    eps: float = 0.1

    def __post_init__(self):
        for name, allowed in (("form", Form), ("weighting", Weighting), ("probe", Probe)):
            check_one_of(f"TraceMatching: {name}", getattr(self, name), get_args(allowed))
        check_one_of("TraceMatching: predicts", self.predicts, ("R", "L", "score"))

    def __call__(self, network: Network, process: Isotropic, x0: Tensor, generator: torch.Generator) -> Tensor:
        """Losses (n,) for data x0 (n, *data); `generator` lives on the device of x0."""
        require(process, Isotropic, "TraceMatching")
        t, weight = self.times.draw(process, len(x0), generator)
        u, _ = process.perturb(x0, t, generator, "R")
        root = process.R(t).values.to(u).reshape(-1, *[1] * (u.ndim - 1))

        def scaled(y: Tensor) -> Tensor:
            """sigma_t s(sigma_t y, t): the score of y = u / sigma_t."""
            output = network(root * y, times_for(network, t, u))
            return output * root if self.predicts == "score" else -output

        # J of y is sigma_t^2 times J of u: both terms keep their digits at the smallest noise
        return self._form(scaled, u / root, generator) * (self._relative(process, t) * weight).to(u)

    def _relative(self, process: Isotropic, t: Tensor) -> Tensor | float:
        """lambda(t) / sigma_t^2."""
        if self.weighting == "likelihood":
            return (process.GG(t) @ process.Sigma(t).inv()).values
        return 2.0 if self.weighting == "simple" else 1.0

    def _form(self, score: PointScore, y: Tensor, generator: torch.Generator) -> Tensor:
        if self.form == "explicit":
            return explicit(score, y)
        v = probes(y, generator, self.probe)
        if self.form == "fd_ssm":
            return fd_ssm(score, y, v, self.eps)
        forms: dict[str, Callable[[PointScore, Tensor, Tensor], Tensor]] = {"ssm": ssm, "ssm_vr": ssm_vr}
        return forms[self.form](score, y, v)
