"""Normalizing flows as density estimators, trained by maximum likelihood: zuko's, with seeded weights.

`rescore.flows.transport` has the other direction, transports trained by reverse KL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import zuko
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.random import seeded
from rescore.training.loop import Adam, fit


def ffjord(dim: int, hidden: Sequence[int], seed: int, tolerance: float = 1e-4, exact: bool = True) -> nn.Module:
    """FFJORD (Grathwohl et al. 2019): zuko's continuous flow, an adaptive solver with its adjoint.

    Args:
        tolerance: absolute and relative, of the solver.
        exact: the trace itself; else Hutchinson's estimate.
    """
    options = {"hidden_features": hidden, "activation": nn.SiLU, "atol": tolerance, "rtol": tolerance, "exact": exact}
    return _noted(lambda: zuko.flows.CNF(dim, **options), seed)


def realnvp(dim: int, transforms: int, hidden: Sequence[int], seed: int) -> nn.Module:
    """RealNVP (Dinh et al. 2017): affine couplings under random permutations."""
    return _noted(lambda: zuko.flows.RealNVP(dim, transforms=transforms, hidden_features=hidden, randmask=True), seed)


def maf(dim: int, transforms: int, hidden: Sequence[int], seed: int) -> nn.Module:
    """MAF (Papamakarios et al. 2017): affine autoregressive transforms under random orders."""
    return _noted(lambda: zuko.flows.MAF(dim, transforms=transforms, hidden_features=hidden, randperm=True), seed)


def nsf(dim: int, transforms: int, hidden: Sequence[int], seed: int) -> nn.Module:
    """NSF (Durkan et al. 2019), autoregressive: rational-quadratic splines of 8 bins on [-5, 5]."""
    return _noted(lambda: zuko.flows.NSF(dim, transforms=transforms, hidden_features=hidden, randperm=True), seed)


def made(dim: int, hidden: Sequence[int], seed: int) -> nn.Module:
    """MADE (Germain et al. 2015) with Gaussian conditionals: x_i ~ N(mu_i(x_<i), sigma_i(x_<i)^2), a MAF of one layer."""
    return _noted(lambda: zuko.flows.MAF(dim, transforms=1, hidden_features=hidden), seed)


def naf(
    dim: int, transforms: int, hidden: Sequence[int], seed: int, signal: int = 8, monotonic: Sequence[int] = (16, 16)
) -> nn.Module:
    """NAF (Huang et al. 2018): each coordinate through a monotonic network, told by the coordinates before it.

    Args:
        hidden: widths of the masked network that gives every coordinate `signal` numbers.
        monotonic: widths of the monotonic networks, which are given them.
    """
    options = {"hidden_features": hidden, "signal": signal, "network": {"hidden_features": monotonic}}
    return _noted(lambda: zuko.flows.NAF(dim, transforms=transforms, randperm=True, **options), seed)


def _noted(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    flow = seeded(make, seed)
    for module in flow.modules():
        if isinstance(module, (zuko.nn.MLP, zuko.nn.MaskedMLP)):
            module.register_forward_hook(_note_rows)
    return flow


def _note_rows(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
    note(arguments[0].shape[:-1].numel())


def fit_flow(
    flow: nn.Module, data: Tensor, batch: int, adam: Adam, generator: torch.Generator, folder: Path, label: str = "flow"
) -> Tensor:
    """Minimise the mean negative log-likelihood of batches of `data` (n, d), in place; returns the losses of each step.

    A flow with Hutchinson's estimate draws its probes from torch's own stream: a seed from `generator` makes them repeatable.
    """
    probes = not getattr(flow.transform, "exact", True)

    def loss(generator: torch.Generator) -> Tensor:
        x = data[torch.randint(len(data), (batch,), generator=generator)]
        if probes:
            return seeded(lambda: -flow().log_prob(x).mean(), int(torch.randint(2**62, (), generator=generator)))
        return -flow().log_prob(x).mean()

    return fit(flow, loss, adam, generator, folder, checkpoint_every=1000, label=label)


@torch.no_grad()
def flow_log_prob(flow: nn.Module, x: Tensor) -> Tensor:
    """log p(x), (n,), of a flow out of training."""
    return flow.eval()().log_prob(x)


@dataclass(frozen=True)
class ContinuousFlow:
    """A trained `ffjord`, with the face of `rescore.neural_sde.DiffFlow`; it needs no random numbers and chooses its steps."""

    model: nn.Module

    def log_prob(self, x: Tensor, generator: torch.Generator | None = None, tolerance: float | None = None) -> Tensor:
        """log p(x), (n,), within the tolerance that the flow was made with."""
        return flow_log_prob(self.model, x)

    @torch.no_grad()
    def sample(self, z: Tensor, generator: torch.Generator | None = None, steps: int | None = None) -> Tensor:
        """Samples from draws z of the base, both (n, d)."""
        return self.model.eval()().transform.inv(z)

    @torch.no_grad()
    def trajectory(self, x: Tensor, parts: int, generator: torch.Generator | None = None) -> Tensor:
        """Where it has x (n, d) at parts + 1 equally spaced times, from the data to the base."""
        transform, states = self.model.eval()().transform, [x]
        for i in range(1, parts + 1):
            transform.t1 = torch.tensor(i / parts)
            states.append(transform(x))
        return torch.stack(states)
