"""Small networks of points in the plane, CLD's and VPSDE's, plain or with the mixed score: several train side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rescore.networks import NoisePrediction, VelocityPrediction
from rescore.networks.ensemble import Ensemble
from rescore.networks.mlp import MLP, MLPConfig
from rescore.objectives import DSM, HSM
from rescore.problems.score_norms import jacobian_norm
from rescore.processes import CLD, LinearSDE
from rescore.processes.base import Time
from rescore.random import make_generator, seeded, small_seed
from rescore.scores import Score
from rescore.training import Adam, fit
from torch import Tensor, nn

from reproductions.cld.config import PointNetworks

PLANE = 2
Draw = Callable[[int, torch.Generator], Tensor]
"""draw(n, generator): points of the data, (n, 2)."""


class MixedNoise(NoisePrediction):
    """VPSDE's mixed score: s = -x - F / sigma_t for a network F, that is eps = sigma_t x + F."""

    def forward(self, u: Tensor, t: Time) -> Tensor:
        return self.process.R(t)(u) + super().forward(u, t)


def model_of(process: LinearSDE, mixed: bool, network: nn.Module) -> NoisePrediction:
    """The noise prediction of states with points of the plane in them."""
    if isinstance(process, CLD):
        return VelocityPrediction(network, process, mixed, "steps")
    return (MixedNoise if mixed else NoisePrediction)(network, process, "steps")


def untrained(settings: PointNetworks, process: LinearSDE, section: str) -> list[MLP]:
    """Networks, by member; they see x and v of CLD."""
    config = MLPConfig(width=settings.width, blocks=settings.blocks)
    inputs = (2 * PLANE if isinstance(process, CLD) else PLANE,)
    seeds = [small_seed("cld", section, seed) for seed in range(settings.members)]
    return [seeded(lambda: MLP(config, inputs, (PLANE,)), seed) for seed in seeds]


def train(
    settings: PointNetworks, process: LinearSDE, mixed: bool, draw: Draw, section: str, name: str, folder: Path
) -> list[NoisePrediction]:
    """A model for each member, trained with HSM on CLD and DSM on VPSDE, each with the weight of CLD's image quality."""
    ensemble = Ensemble(untrained(settings, process, section))
    model, objective = model_of(process, mixed, ensemble), HSM() if isinstance(process, CLD) else DSM()

    def loss(draws: torch.Generator) -> Tensor:
        x = draw(settings.members * settings.batch, draws)
        return settings.members * objective(model, process, x.float(), draws).mean()

    draws = make_generator("cld", section, name)
    fit(model, loss, Adam.of(settings), draws, folder / name, checkpoint_every=500, label=name)
    return [model_of(process, mixed, ensemble.member(i).requires_grad_(False)) for i in range(settings.members)]


def each_block(models: Sequence[NoisePrediction]) -> Score:
    """The score of states in equal blocks, one of each model; it has no gradients."""
    scores = [model.score() for model in models]

    @torch.no_grad()
    def evaluate(u: Tensor, t: float) -> Tensor:
        return torch.cat([of(part, t) for of, part in zip(scores, u.chunk(len(scores)), strict=True)])

    return evaluate


def network_jacobian(model: NoisePrediction, u: Tensor, t: float) -> float:
    """E |dF / du|^2 of the bare network, whatever score is made of it, at states u."""
    u = u.detach().requires_grad_()
    return jacobian_norm(model.evaluate(u, torch.full((len(u),), t, dtype=torch.float64)), u)
