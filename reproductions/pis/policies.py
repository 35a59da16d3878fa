"""The path integral sampler: with the exact policy of a mixture, and with trained ones."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from rescore.control import PISNN, ControlledSDE, MixtureControl, PathCost, Paths, PISGrad
from rescore.control.sde import Policy
from rescore.errors import RescoreError
from rescore.experiments.axes import Axes
from rescore.montecarlo.logz import estimates
from rescore.networks.ensemble import Ensemble
from rescore.random import make_generator
from rescore.targets import GaussianMixture, LogGaussianCox
from rescore.training import Adam
from rescore.training.ensemble import Tracked
from torch import Tensor, nn

from reproductions.pis.config import Training
from reproductions.pis.linear_control import least_path_kl
from reproductions.pis.study import SHOWN, TABLE, Arrays, Runs, Study, shown

PRIOR_VARIANCES = (1, 4, 16)  # what `noise_scale` asks about: sigma^2 T, the variance of the uncontrolled end
LAST_PART = 8  # it takes the mean cost over the last eighth of a training
POLICIES = {"nn": PISNN, "grad": PISGrad}
NAMES = {"gt": "GT", "nn": "NN", "grad": "Grad"}
WEIGHTED, SCALED = Axes("RW-{policy}"), Axes("{policy}-variance-{variance}")


def path_integral(study: Study, method: str) -> None:
    """PIS with the exact (gt), the plain (nn) or the gradient-guided (grad) policy: the ELBO and the weighted estimate."""
    sde, settings, n, trained = study.sde(method), study.settings.pis, study.config.particles, method != "gt"

    @cache
    def policy_of(seed: int) -> tuple[Policy, np.ndarray | None]:
        return trained_policy(study, method, seed, sde, settings) if trained else (exact_policy(study), None)

    def one(seed: int, generators: list[torch.Generator]) -> Arrays:
        return estimates(simulate(study, sde, policy_of(seed)[0], generators).log_w)

    def arrays() -> Arrays:
        generators = [study.generator(method, "shown", i) for i in range(-(-SHOWN // n))]
        paths = simulate(study, sde, policy_of(runs.seeds[0])[0], generators)
        losses = {"loss": np.stack([policy_of(seed)[1] for seed in runs.seeds])} if trained else {}
        return {"samples": shown(paths.x), "log_w": paths.log_w[0].numpy()} | losses

    runs = Runs(study, method, n, one, trained)
    protocol = sde.protocol | (settings.protocol if trained else {})
    name = NAMES[method]
    study.row("PIS", name, sde.steps, protocol | {"estimator": "elbo"}, runs, "elbo", arrays=arrays)
    study.row("PIS", WEIGHTED(policy=name), sde.steps, protocol | {"estimator": "importance"}, runs, "importance", weights=True)


def noise_scale(study: Study, method: str) -> None:
    """What each policy's path costs at some noise scales (README.md).

    Of the Cox process the least on its Laplace approximation, of other targets that of a short training with the first seed.
    """
    config, cox = study.config, isinstance(study.target, LogGaussianCox)
    settings = study.settings.pis.model_copy(update={"steps": config.noise_scale.steps})
    last = max(1, settings.steps // LAST_PART)
    precision = cache(lambda: study.target.laplace_precision())
    trained = settings.protocol | {"mean_of": last}
    for policy in POLICIES:
        for variance in PRIOR_VARIANCES:
            sde = ControlledSDE(config.steps, config.horizon, (variance / config.horizon) ** 0.5)
            protocol = sde.protocol | ({"target": "laplace"} if cox else trained)
            variant = SCALED(policy=NAMES[policy], variance=variance)
            with study.book.cell(TABLE, study.dataset, "PIS", variant, sde.steps, protocol, over="trainings") as cell:
                if cell.todo and cox:
                    cell.exact("path_kl", least_path_kl(sde, precision(), guided=policy == "grad"))
                elif cell.todo:
                    _, history = trained_policy(study, policy, config.seeds[0], sde, settings)
                    cell.add("path_cost", [history[-last:].mean()])


def exact_policy(study: Study) -> MixtureControl:
    if not isinstance(study.target, GaussianMixture):
        raise RescoreError(f"job {study.book.run.job}: method gt needs a Gaussian mixture, not {study.dataset}; allowed: mg")
    return MixtureControl(study.sde("gt"), study.target)


def trained_policy(
    study: Study, method: str, seed: int, sde: ControlledSDE, settings: Training
) -> tuple[nn.Module, np.ndarray]:
    """The policy and the history of its cost in nats."""
    target = study.target
    needs = settings.model_dump(exclude={"checkpoint_every"}) | {"sde": [sde.steps, sde.horizon, sde.sigma]}
    if settings.together > 1:
        return _trained_together(study, method, seed, sde, settings, needs)
    policy = _untrained(study, method, seed, settings)
    noise = study.points(sde.steps, settings.batch)

    def loss(generator: torch.Generator) -> Tensor:
        return sde.cost(policy, target, noise.normal_(generator=generator)) / target.dim

    history = study.train(method, seed, policy, loss, Adam.of(settings), needs, settings.checkpoint_every)
    return policy, history * target.dim


def _trained_together(
    study: Study, method: str, seed: int, sde: ControlledSDE, settings: Training, needs: Mapping[str, object]
) -> tuple[nn.Module, np.ndarray]:
    """The same for one of `settings.together` policies that train side by side; what is there is loaded."""
    dim, size = study.target.dim, settings.together
    first = seed - seed % size
    name = f"{first}-{first + size - 1}"
    folder = study.training_folder(method, name, needs)
    if folder not in study.groups:
        study.groups[folder] = _trained_group(study, method, name, first, sde, settings, needs)
    tracked = study.groups[folder]
    policy = tracked.ensemble.member(seed - first).policy.requires_grad_(False)
    return policy, tracked.losses[:, seed - first].cpu().numpy() * dim


def _trained_group(
    study: Study, method: str, name: str, first: int, sde: ControlledSDE, settings: Training, needs: Mapping[str, object]
) -> Tracked:
    """The policies of seeds from `first` on, trained, or loaded."""
    dim, size = study.target.dim, settings.together
    costs = [PathCost(sde, _untrained(study, method, first + i, settings), study.target) for i in range(size)]
    tracked = Tracked(Ensemble(costs), settings.steps).to(study.book.run.device)
    noise = study.points(size, sde.steps, settings.batch)

    def loss(generator: torch.Generator) -> Tensor:
        costs = tracked.ensemble(noise.normal_(generator=generator)) / dim
        tracked.note(costs)
        return costs.sum()

    study.train(method, name, tracked, loss, Adam.of(settings), needs, settings.checkpoint_every)
    return tracked


def _untrained(study: Study, method: str, seed: int, settings: Training) -> nn.Module:
    policy = POLICIES[method](study.target, make_generator(study.dataset, method, "init", seed), settings.channels)
    return policy.to(study.book.run.device)


def simulate(study: Study, sde: ControlledSDE, policy: Policy, generators: list[torch.Generator]) -> Paths:
    return sde.sample(policy, study.target, study.config.particles, generators)
