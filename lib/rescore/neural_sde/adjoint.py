"""The stochastic adjoint (thesis section 3.3.2): the gradient of the trajectory KL from the states alone.

With c_i = 1/2 |dB_i|^2 as a function of (x_i, x_{i+1}, theta) and a_i = d loss / d x_i,

    a_N = -d log p_B(x_N) / dx_N,
    b = a_{i+1} + dc_i/dx_{i+1},    a_i = b d[x_i + f_i(x_i) dt_i]/dx_i + dc_i/dx_i,
    dtheta += dc_i/dtheta + b d[f_i(x_i) dt_i]/dtheta.

Algorithm 2 as printed counts d 1/2|dB_N|^2/dx_N twice: in the initial a and in the first turn of its loop. The noise is a
constant given the states, so nothing but the states has to be kept, and the replay is exact.

f_i(x_i) enters c_{i-1} and the step from x_i: both pull back through one evaluation. The states being known, the score is
evaluated and pulled back for `chunk` times in one call; only the drift's pull-back depends on the step after it.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

import torch
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.neural_sde.loss import offset
from rescore.neural_sde.model import CHUNK, NeuralSDE, Steps, backward_noise, column, prior_log_prob, require_finite

Grads = list[Tensor | None]


def adjoint_loss(model: NeuralSDE, x0: Tensor, times: Tensor, noise: Tensor, chunk: int = CHUNK) -> Tensor:
    """`rescore.neural_sde.path_loss`, (n,), with the gradient of the stochastic adjoint: the graph holds the N + 1 states only.

    Args:
        chunk: how many times share one call of the score network; memory of the backward pass grows with it.

    Raises RescoreError as `path_loss`, and for layers that a replay does not repeat: active dropout, batch statistics.
    """
    for name, module in model.named_modules():
        random = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        if module.training and (random or isinstance(module, nn.modules.batchnorm._BatchNorm)):
            raise RescoreError(
                f"stochastic adjoint: {name} ({type(module).__name__}) does not replay exactly; "
                "allowed are networks without active dropout and batch statistics"
            )
    drift, score = ([p for p in net.parameters() if p.requires_grad] for net in (model.drift, model.score))
    steps = model.steps(times, x0)
    return _StochasticAdjoint.apply(model, steps, noise, chunk, len(drift), x0, *drift, *score)


class _StochasticAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, model: NeuralSDE, steps: Steps, noise: Tensor, chunk: int, n_drift: int, x0: Tensor, *parameters: Tensor):
        states, path = _simulate(model, steps, x0, noise, chunk)
        ctx.model, ctx.steps, ctx.chunk, ctx.n_drift = model, steps, chunk, n_drift
        ctx.save_for_backward(states, *parameters)  # references to the parameters: torch checks that they did not change
        return path - prior_log_prob(states[-1]) + offset(noise, steps.log_g_ratio)

    @staticmethod
    def backward(ctx, weight: Tensor):
        states, *parameters = ctx.saved_tensors
        drift, score = parameters[: ctx.n_drift], parameters[ctx.n_drift :]
        x0, drift_grads, score_grads = _replay(ctx.model, ctx.steps, states, weight, drift, score, ctx.chunk)
        return None, None, None, None, None, x0, *drift_grads, *score_grads


@torch.no_grad()
def _simulate(model: NeuralSDE, steps: Steps, x0: Tensor, noise: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """The states (N + 1, n, *data) and sum_i c_i, (n,). Each drift serves the step from its state and c of the one before."""
    states = x0.new_empty((steps.n + 1, *x0.shape))
    states[0] = x = x0
    path = x0.new_zeros(len(x0))
    drift = model.drift(x, steps.t[0])
    for start in range(1, steps.n + 1, chunk):
        nodes = slice(start, min(start + chunk, steps.n + 1))
        drifts = torch.empty_like(states[nodes])
        for k, node in enumerate(range(nodes.start, nodes.stop)):
            i = node - 1
            x = x + drift * steps.dt[i] + steps.g[i] * steps.dt[i].sqrt() * noise[i]
            states[node] = x
            drifts[k] = drift = model.drift(x, steps.t[node])
        scores = model.score(states[nodes], steps.t[nodes])
        delta = backward_noise(steps, nodes, states[nodes.start - 1 : nodes.stop - 1], states[nodes], drifts, scores)
        path += 0.5 * delta.square().flatten(2).sum((0, 2))
    require_finite(states, steps, "forward")
    return states, path


def _replay(
    model: NeuralSDE, steps: Steps, states: Tensor, weight: Tensor, drift: list[Tensor], score: list[Tensor], chunk: int
) -> tuple[Tensor, Grads, Grads]:
    """The gradients to x_0 and to the parameters of drift and score."""
    weight = weight.reshape(-1, *(1,) * (states.ndim - 2))
    drift_grads: Grads = [None] * len(drift)
    score_grads: Grads = [None] * len(score)
    ahead: Tensor | None = None  # a_{i + 1} in full: the gradient to x_{i + 1}
    adjoint = weight * states[-1]  # that part of the gradient to x_i which does not pass through the fields at x_i or c_{i - 1}
    for stop in range(steps.n + 1, 1, -chunk):
        nodes = slice(max(stop - chunk, 1), stop)
        with torch.enable_grad():
            x = [state.detach().requires_grad_() for state in states[nodes]]
            f = [model.drift(state, t) for state, t in zip(x, steps.t[nodes], strict=True)]
            x_all = states[nodes].detach().requires_grad_()
            s = model.score(x_all, steps.t[nodes])
        drifts = torch.stack([value.detach() for value in f])
        before = states[nodes.start - 1 : nodes.stop - 1]
        delta = weight * backward_noise(steps, nodes, before, states[nodes], drifts, s.detach())
        g, dt = (column(v, states) for v in (steps.g[nodes], steps.dt[nodes.start - 1 : nodes.stop - 1]))
        to_state, to_drift = delta / (g * dt.sqrt()), delta * dt.sqrt() / g
        through_score = _pull_back(s, x_all, score, -delta * g * dt.sqrt(), score_grads)
        for k in reversed(range(len(x))):
            vector = to_drift[k] if ahead is None else to_drift[k] + ahead * steps.dt[nodes.start + k]
            through_drift = _pull_back(f.pop(), x[k], drift, vector, drift_grads)  # its graph ends here
            ahead = adjoint - to_state[k] + through_score[k] + through_drift
            adjoint = ahead + to_state[k]
    with torch.enable_grad():
        x0 = states[0].detach().requires_grad_()
        f0 = model.drift(x0, steps.t[0])
    assert ahead is not None, "a grid has a step"
    return adjoint + _pull_back(f0, x0, drift, ahead * steps.dt[0], drift_grads), drift_grads, score_grads


def _pull_back(value: Tensor, x: Tensor, parameters: list[Tensor], vector: Tensor, grads: Grads) -> Tensor:
    """vector^T d value / dx; the same with respect to the parameters is added to `grads`."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    to_x, *to_parameters = torch.autograd.grad(value, [x, *parameters], vector, allow_unused=True)
    for i, grad in enumerate(to_parameters):
        if grad is not None:
            before = grads[i]
            grads[i] = grad if before is None else before.add_(grad)
    return torch.zeros_like(x) if to_x is None else to_x
