"""The stochastic adjoint (thesis section 3.3.2): the gradient of the trajectory KL from the states alone.

With c_i = 1/2 |dB_i|^2 as a function of (x_i, x_{i+1}, theta) and a_i = d loss / d x_i,

    a_N = -d log p_B(x_N) / dx_N,
    b = a_{i+1} + dc_i/dx_{i+1},    a_i = b d[x_i + f_i(x_i) dt_i]/dx_i + dc_i/dx_i,
    dtheta += dc_i/dtheta + b d[f_i(x_i) dt_i]/dtheta.

Algorithm 2 as printed counts d 1/2|dB_N|^2/dx_N twice: in the initial a and in the first turn of its loop. The noise is a
constant given the states, so nothing but the states has to be kept, and the replay is exact.

f_i(x_i) enters c_{i-1} and the step from x_i: both pull back through one evaluation. The states being known, the score is
evaluated and pulled back for `chunk` times in one call; only the drift's pull-back depends on the step after it (see `tape`).

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

import torch
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.neural_sde.loss import offset
from rescore.neural_sde.model import CHUNK, NeuralSDE, Steps, backward_noise, column, on_grid, prior_log_prob, require_finite
from rescore.neural_sde.tape import Replay


def adjoint_loss(
    model: NeuralSDE, x0: Tensor, times: Tensor, noise: Tensor, chunk: int = CHUNK, graphs: bool = False
) -> Tensor:
    """`rescore.neural_sde.path_loss`, (n,), with the gradient of the stochastic adjoint: the graph holds the N + 1 states only.

    Args:
        chunk: how many times share one call of the score network; memory of the backward pass grows with it.
        graphs: replay the drift by graphs, whose memory can be counted, where it would be by hand (`MLPTape`).

    Raises RescoreError as `path_loss`, and for layers that a replay does not repeat: active dropout, batch statistics.
    """
    for name, module in model.named_modules():
        random = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        if module.training and (random or isinstance(module, nn.modules.batchnorm._BatchNorm)):
            raise RescoreError(
                f"stochastic adjoint: {name} ({type(module).__name__}) does not replay exactly; "
                "allowed are networks without active dropout and batch statistics"
            )
    parameters = [p for field in (model.drift, model.score) for p in field.parameters() if p.requires_grad]
    return _StochasticAdjoint.apply(model, model.steps(times, x0), noise, chunk, graphs, x0, *parameters)


class _StochasticAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, model: NeuralSDE, steps: Steps, noise: Tensor, chunk: int, graphs: bool, x0: Tensor, *parameters: Tensor):
        states, path = _simulate(model, steps, x0, noise, chunk)
        ctx.model, ctx.steps, ctx.chunk, ctx.graphs = model, steps, chunk, graphs
        ctx.save_for_backward(states, *parameters)  # references to the parameters: torch checks that they did not change
        return path - prior_log_prob(states[-1]) + offset(noise, steps.log_g_ratio)

    @staticmethod
    def backward(ctx, weight: Tensor):
        x0, gradients = _replay(ctx.model, ctx.steps, ctx.saved_tensors[0], weight, ctx.chunk, ctx.graphs)
        return None, None, None, None, None, x0, *gradients


@torch.no_grad()
def _simulate(model: NeuralSDE, steps: Steps, x0: Tensor, noise: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """The states (N + 1, n, *data) and sum_i c_i, (n,). Each drift serves the step from its state and c of the one before."""
    states = x0.new_empty((steps.n + 1, *x0.shape))
    states[0] = x = x0
    path = x0.new_zeros(len(x0))
    field, dts = on_grid(model.drift, steps.t), steps.dt.unbind()
    kicks = (column(steps.g[:-1] * steps.dt.sqrt(), states) * noise).unbind()
    drift = field(x, 0)
    for start in range(1, steps.n + 1, chunk):
        nodes = slice(start, min(start + chunk, steps.n + 1))
        drifts = torch.empty_like(states[nodes])
        for k, node in enumerate(range(nodes.start, nodes.stop)):
            x = x + drift * dts[node - 1] + kicks[node - 1]
            states[node] = x
            drifts[k] = drift = field(x, node)
        scores = model.score(states[nodes], steps.t[nodes])
        delta = backward_noise(steps, nodes, states[nodes.start - 1 : nodes.stop - 1], states[nodes], drifts, scores)
        path += 0.5 * delta.square().flatten(2).sum((0, 2))
    require_finite(states, steps, "forward")
    return states, path


@torch.no_grad()
def _replay(
    model: NeuralSDE, steps: Steps, states: Tensor, weight: Tensor, chunk: int, graphs: bool
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradients to x_0 and to the trained parameters of drift and score."""
    weight = weight.reshape(-1, *(1,) * (states.ndim - 2))
    drift, score = Replay(model.drift, graphs), Replay(model.score, graphs)
    ahead = torch.zeros_like(states[-1])  # a_{i + 1} in full: the gradient to x_{i + 1}; no step follows x_N
    dts = (*steps.dt.unbind(), steps.dt.new_zeros(()))
    adjoint = weight * states[-1]  # that part of the gradient to x_i which does not pass through the fields at x_i or c_{i - 1}
    for stop in range(steps.n + 1, 1, -chunk):
        nodes = slice(max(stop - chunk, 1), stop)
        last = nodes.start == 1 and drift.by_hand  # the drift at x_0 goes with these; by graphs no more at once than a chunk
        its = slice(nodes.start - last, stop)
        f, s = drift.tape(states[its], steps.t[its]), score.tape(states[nodes], steps.t[nodes], together=True)
        before = states[nodes.start - 1 : nodes.stop - 1]
        delta = weight * backward_noise(steps, nodes, before, states[nodes], f.value[last:], s.value)
        g, dt = (column(v, states) for v in (steps.g[nodes], steps.dt[nodes.start - 1 : nodes.stop - 1]))
        to_state, to_drift = delta / (g * dt.sqrt()), delta * dt.sqrt() / g
        through_score = s.pull(slice(None), -delta * g * dt.sqrt())
        parts = [values.unbind() for values in (to_state, to_drift, through_score)]
        for k, (state, vector, through) in reversed(list(enumerate(zip(*parts, strict=True)))):
            ahead = adjoint - state + through + f.pull(k + last, vector + ahead * dts[nodes.start + k])
            adjoint = ahead + state
        if last:
            adjoint = adjoint + f.pull(0, ahead * dts[0])
        f.finish()
        s.finish()
    if not drift.by_hand:
        adjoint = adjoint + drift.tape(states[:1], steps.t[:1]).pull(0, ahead * dts[0])
    return adjoint, drift.gradients + score.gradients
