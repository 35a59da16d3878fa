"""What a linear control of a Gaussian target costs, without a sample: an oracle for the choice of a noise scale.

With u = c(t) + g(t) grad log muhat(x), which is PIS-Grad without its state network, and a Gaussian target of precision H, every
eigendirection of H is a scalar linear recursion, so the best gain g and the cost it leaves, KL(Q^u | Q*) in nats, follow. g = 0
is PIS-NN without its state network. c(t) moves the mean at no cost.
"""

import torch
from rescore.control.policies import CHANNELS
from rescore.control.sde import ControlledSDE
from torch import Tensor

REFITS = 3


def path_kl(sde: ControlledSDE, precision: Tensor, gain: Tensor) -> Tensor:
    """KL(Q^u | Q*) of each eigendirection, (d,), nats, for the gains g(t_k), (N,), of the score.

    With u = -g h (x - m(t)) and p_k the variance before step k: p_{k+1} = (1 - sigma dt g_k h)^2 p_k + sigma^2 dt, and
    E[0.5 |u|^2] = 0.5 g_k^2 h^2 p_k; the end contributes log N(0, V) - log N(0, 1/h), V = sigma^2 T.
    """
    pull, dt, added = gain[:, None] * precision, sde.dt, sde.sigma**2 * sde.dt  # g h: (N, d)
    kept = (1 - sde.sigma * dt * pull).square()
    variances = [torch.zeros_like(precision)]
    for factor in kept.unbind():
        variances.append(factor * variances[-1] + added)
    energy = 0.5 * dt * (pull.square() * torch.stack(variances[:-1])).sum(0)
    v = sde.prior_variance
    return energy + 0.5 * (precision - 1 / v) * variances[-1] - 0.5 * torch.log(v * precision)


def least_path_kl(sde: ControlledSDE, precision: Tensor, guided: bool, free: int = CHANNELS) -> float:
    """The least KL(Q^u | Q*), nats, over the gains if `guided`, else with no gain.

    Args:
        precision: eigenvalues of H, (d,).
        free: so many directions count as controlled perfectly, the costliest ones: a state network with as many hidden
            units can treat no more of them one by one.
    """
    precision = precision.double()
    gain = torch.zeros(sde.steps, dtype=torch.float64)
    if not guided:
        return _costliest_dropped(path_kl(sde, precision, gain), free).sum().item()
    kept = precision
    for _ in range(REFITS):
        gain = _best_gain(sde, kept)
        cost = path_kl(sde, precision, gain)
        kept = precision[cost.argsort()[: len(cost) - free]]
    return _costliest_dropped(cost, free).sum().item()


def _costliest_dropped(cost: Tensor, free: int) -> Tensor:
    return cost.sort().values[: max(len(cost) - free, 0)]


def _best_gain(sde: ControlledSDE, precision: Tensor) -> Tensor:
    gain = torch.full((sde.steps,), 0.01, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([gain], lr=0.2, max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        cost = path_kl(sde, precision, gain).sum()
        cost.backward()
        return cost

    optimizer.step(closure)
    return gain.detach()
