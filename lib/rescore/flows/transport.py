"""Normalizing flows as forward maps x = T(z), z ~ N(0, I), and their reverse-KL objective (VI-NF).

The transforms are zuko's. An autoregressive map is built in the direction output from input (inverse autoregressive
flow), so T and log |det dT/dz| cost one network pass; the inverse, which nothing here needs, would cost `dim` passes, but for
couplings.
Every flow starts at the identity.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import LazyTransform, UnconditionalTransform
from zuko.transforms import DependentTransform, MonotonicAffineTransform, MonotonicRQSTransform

from rescore.cost.evaluations import note
from rescore.random import fill_normal, seeded
from rescore.specs.montecarlo import Family, FlowTraining
from rescore.targets.base import Target, differentiable_log_prob, standard_normal_log_prob


class Flow(nn.Module):
    """A composition of zuko's lazy transforms, the first applied first."""

    def __init__(self, transforms: Sequence[LazyTransform]):
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z (..., d) -> x = T(z) (..., d) and log |det dT/dz| (...)."""
        log_det = z.new_zeros(z.shape[:-1])
        for transform in self.transforms:
            z, term = transform().call_and_ladj(z)
            log_det = log_det + term
        return z, log_det


def diagonal_affine(dim: int) -> Flow:
    """x = exp(a) z + b with free vectors a and b; zuko keeps |a| below log 1000."""
    return Flow([UnconditionalTransform(_diagonal_affine, torch.zeros(dim), torch.zeros(dim))])


def _diagonal_affine(shift: Tensor, log_scale: Tensor) -> DependentTransform:
    return DependentTransform(MonotonicAffineTransform(shift, log_scale), 1)


def affine_autoregressive(dim: int, layers: int, hidden: Sequence[int], seed: int) -> Flow:
    """`layers` maps x_i = exp(a_i(z_<i)) z_i + b_i(z_<i), in alternating order; `hidden` widths of each masked network.

    dim must be at least 2. `seed` initialises the networks.
    """
    return _autoregressive(dim, layers, hidden, seed, univariate=MonotonicAffineTransform, shapes=((), ()))


def spline_autoregressive(dim: int, layers: int, bins: int, bound: float, hidden: Sequence[int], seed: int) -> Flow:
    """As `affine_autoregressive`, with monotone rational-quadratic splines of `bins` pieces on [-bound, bound].

    Outside of the bound each spline is the identity.
    """

    def spline(widths: Tensor, heights: Tensor, derivatives: Tensor) -> MonotonicRQSTransform:
        return MonotonicRQSTransform(widths, heights, derivatives, bound=bound)

    return _autoregressive(dim, layers, hidden, seed, univariate=spline, shapes=((bins,), (bins,), (bins - 1,)))


def affine_coupling(dim: int, layers: int, hidden: Sequence[int], seed: int) -> Flow:
    """RealNVP (Dinh et al. 2017): `layers` maps x_B = exp(a(z_A)) z_B + b(z_A), x_A = z_A; two of them are a pair.

    A is the first half of the coordinates in the first map, the second half in the next, and so on. The networks, of ReLU, have
    the widths `hidden`. dim must be at least 2. `seed` initialises the networks.
    """
    first = torch.arange(dim) < dim // 2
    masks = [first if i % 2 == 0 else ~first for i in range(layers)]
    maps = seeded(lambda: [GeneralCouplingTransform(dim, mask=mask, hidden_features=hidden) for mask in masks], seed)
    return _at_the_identity(maps)


def make_flow(family: Family, dim: int, seed: int, its: FlowTraining) -> Flow:
    """A flow by the name of its family, which takes of the settings what it needs."""
    hidden = (its.hidden, its.hidden)
    match family:
        case "diagonal_affine":
            return diagonal_affine(dim)
        case "affine_autoregressive":
            return affine_autoregressive(dim, its.layers, hidden, seed)
        case _:
            return spline_autoregressive(dim, its.layers, its.bins, its.bound, hidden, seed)


def _autoregressive(dim: int, layers: int, hidden: Sequence[int], seed: int, **transform) -> Flow:
    rising = torch.arange(dim)
    orders = [rising if i % 2 == 0 else rising.flip(0) for i in range(layers)]
    options = {"hidden_features": hidden, "activation": nn.ELU, **transform}
    maps = seeded(lambda: [MaskedAutoregressiveTransform(dim, order=order, **options) for order in orders], seed)
    return _at_the_identity(maps)


def _at_the_identity(maps: Sequence[LazyTransform]) -> Flow:
    """Their composition, with zeros in the last layer of each network."""
    for last in (map_.hyper[-1] for map_ in maps):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return Flow(maps)


def flow_log_weights(flow: nn.Module, target: Target, z: Tensor) -> Tensor:
    """log w = log muhat(T z) + log |det dT/dz| - log N(z; 0, I), z (..., d) -> (...), float64; E[w] = Z for z ~ N(0, I)."""
    note(z[..., 0].numel())
    x, log_det = flow(z)
    return differentiable_log_prob(target, x).double() + log_det - standard_normal_log_prob(z)


@torch.inference_mode()
def sample_log_weights(flow: nn.Module, target: Target, n: int, generators: list[torch.Generator]) -> Tensor:
    """Log weights of n draws in each of independent runs, (runs, n), float64; run r is drawn by generators[r]."""
    z = torch.empty(len(generators), n, target.dim, device=generators[0].device)
    return flow_log_weights(flow, target, fill_normal(z, generators))


def reverse_kl_loss(flow: nn.Module, target: Target, z: Tensor) -> Tensor:
    """-mean log w = KL(T# N(0, I) | mu) - log Z, a scalar; minus this is the flow's ELBO."""
    return -flow_log_weights(flow, target, z).mean()
