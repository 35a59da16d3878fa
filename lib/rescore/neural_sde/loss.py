"""The trajectory KL divergence (thesis eqs. 3.13 to 3.15), by plain back-propagation. `adjoint` has the same in less memory.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rescore.neural_sde.model import NeuralSDE, backward_noise, prior_log_prob, require_finite
from rescore.random import Noise, Streams

PathLoss = Callable[[NeuralSDE, Tensor, Tensor, Tensor], Tensor]
"""As `path_loss`."""


def path_loss(model: NeuralSDE, x0: Tensor, times: Tensor, noise: Tensor) -> Tensor:
    """The losses of one path per sample, (n,) nats, differentiable.

        -log N(x_N; 0, I) + sum_i [ 1/2 |dB_i|^2 - 1/2 |dF_i|^2 + d log(g_{i+1} / g_i) ],    i = 0 .. N - 1.

    The mean is KL(p_F(tau) || p_B(tau)) + H(data), so it bounds the model's NLL from above: minus it is the ELBO. Eq. 3.15
    leaves out the last two terms, which have no gradient; with them the value is a likelihood and varies less. (Eq. 3.13 prints
    a sum up to N - 1, for N transitions; all N are here.)

    Args:
        x0: data, (n, *data).
        times: t_0 < ... < t_N, (N + 1,).
        noise: dF, standard normals (N, n, *data).

    Raises RescoreError for a bad grid, a g that is not positive, or states that leave the floating range.
    """
    steps = model.steps(times, x0)
    x, path = x0, x0.new_zeros(len(x0))
    drift = model.drift(x, steps.t[0])
    for i in range(steps.n):
        after = x + drift * steps.dt[i] + steps.g[i] * steps.dt[i].sqrt() * noise[i]
        drift, score = (field(after, steps.t[i + 1]) for field in (model.drift, model.score))
        delta = backward_noise(steps, slice(i + 1, i + 2), x[None], after[None], drift[None], score[None])
        path = path + 0.5 * delta[0].square().flatten(1).sum(1)
        x = after
    require_finite(x.detach()[None], steps, "forward")
    return path - prior_log_prob(x) + offset(noise, steps.log_g_ratio)


def offset(noise: Tensor, log_g_ratio: float) -> Tensor:
    """The terms without a gradient, (n,)."""
    return noise[0, 0].numel() * log_g_ratio - 0.5 * noise.square().flatten(2).sum((0, 2))


def on_new_paths(loss: PathLoss, model: NeuralSDE, x0: Tensor, times: Tensor, generator: Noise) -> Tensor:
    """A loss on one path of each of x0, (n,)."""
    return loss(model, x0, times, draw_noise(x0, len(times) - 1, generator))


def draw_noise(x0: Tensor, n: int, generator: Noise) -> Tensor:
    """dF: standard normals (N, *x0.shape); of streams, each sample has the N of its own."""
    if isinstance(generator, Streams):
        its = generator.normal((len(x0) * n, *x0.shape[1:]), x0.dtype)
        return its.unflatten(0, (len(x0), n)).transpose(0, 1).contiguous()
    return torch.randn((n, *x0.shape), generator=generator, dtype=x0.dtype, device=x0.device)
