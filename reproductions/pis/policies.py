"""The path integral sampler: with the exact policy of a mixture, and with trained ones."""

import numpy as np
import torch
from torch import Tensor, nn

from reproductions.pis.config import Training
from reproductions.pis.context import SHOWN, Context, Estimates, Outcome, Rows, shown
from reproductions.pis.noise_scale import laplace_precision, least_path_kl
from rescore.control import ControlledSDE, MixtureControl, Paths, PISGrad, PISNN
from rescore.control.sde import Policy
from rescore.errors import RescoreError
from rescore.montecarlo.logz import elbo, ess, log_mean_exp
from rescore.random import fill_normal, make_generator
from rescore.targets import GaussianMixture
from rescore.targets.lgcp import LogGaussianCox
from rescore.training import Adam, fit

PRIOR_VARIANCES = (1, 4, 16)  # what `noise_scale` asks about: sigma^2 T, the variance of the uncontrolled end
LAST_PART = 8  # it takes the mean cost over the last eighth of a training
POLICIES = {"nn": PISNN, "grad": PISGrad}
VARIANTS = {"gt": "GT", "nn": "NN", "grad": "Grad"}


def path_integral(context: Context, method: str) -> Outcome:
    """PIS with the exact (gt), the plain (nn) or the gradient-guided (grad) policy: the ELBO and the weighted estimate."""
    config, sde, settings, n = context.config, context.sde(method), context.settings.pis, context.config.particles
    exact = method == "gt"
    seeds = (0,) if exact else config.seeds
    runs = config.runs if exact else context.runs_per_seed
    rows, histories, outcome = [], [], Outcome()
    for seed in seeds:
        if exact:
            policy = exact_policy(context)
        else:
            policy, history = trained_policy(context, method, seed, sde, settings)
            histories.append(history)

        def one(generators: list[torch.Generator], policy: Policy = policy) -> Rows:
            log_w = simulate(context, sde, policy, generators).log_w
            return {"elbo": elbo(log_w).numpy(), "importance": log_mean_exp(log_w).numpy(), "ess": ess(log_w).numpy()}

        rows.append(context.repeat(method, seed, n, one, runs))
        if seed == seeds[0]:
            paths = simulate(context, sde, policy, [context.generator(method, "shown", i) for i in range(-(-SHOWN // n))])
            outcome.arrays |= {f"{method}/samples": shown(paths.x), f"{method}/log_w": paths.log_w[0].numpy()}
    protocol = {"runs": config.runs, "particles": n} | sde_protocol(sde)
    if not exact:
        outcome.arrays[f"{method}/loss"] = np.stack(histories)
        protocol |= {f"train_{key}": value for key, value in settings.model_dump(exclude={"checkpoint_every"}).items()}
    for estimator, variant in (("elbo", VARIANTS[method]), ("importance", f"RW-{VARIANTS[method]}")):
        log_z = np.stack([row[estimator] for row in rows])
        weights = np.stack([row["ess"] for row in rows]) if estimator == "importance" else None
        row_protocol = protocol | {"estimator": estimator}
        outcome.estimates.append(Estimates("PIS", variant, sde.steps, log_z, row_protocol, n, not exact, weights))
    return outcome


def noise_scale(context: Context, method: str) -> Outcome:
    """What each policy's path costs at some noise scales (README.md): of the Cox process the least on its Laplace
    approximation, of other targets that of a short training with the first seed."""
    outcome, config, cox = Outcome(), context.config, isinstance(context.target, LogGaussianCox)
    precision = laplace_precision(context.target) if cox else None
    for policy in POLICIES:
        for v in PRIOR_VARIANCES:
            sde = ControlledSDE(config.steps, config.horizon, (v / config.horizon) ** 0.5)
            protocol = sde_protocol(sde)
            if cox:
                metric, value = "path_kl", least_path_kl(sde, precision, guided=policy == "grad")
                protocol["target"] = "laplace"
            else:
                settings = context.settings.pis.model_copy(update={"steps": config.noise_scale.steps})
                _, history = trained_policy(context, policy, config.seeds[0], sde, settings)
                last = max(1, len(history) // LAST_PART)
                metric, value = "path_cost", float(history[-last:].mean())
                protocol |= {"train_steps": settings.steps, "train_batch": settings.batch, "train_lr": settings.lr,
                             "mean_of": last}  # fmt: skip
            outcome.computed.append((f"{VARIANTS[policy]}-variance-{v}", metric, value, protocol))
    return outcome


def sde_protocol(sde: ControlledSDE) -> dict[str, object]:
    return {"steps": sde.steps, "horizon": sde.horizon, "sigma2": round(sde.sigma**2, 12)}


def exact_policy(context: Context) -> MixtureControl:
    if not isinstance(context.target, GaussianMixture):
        raise RescoreError(f"job {context.run.job}: method gt needs a mixture of Gaussians, not {context.dataset}; allowed: mg")
    return MixtureControl(context.sde("gt"), context.target)


def trained_policy(
    context: Context, method: str, seed: int, sde: ControlledSDE, settings: Training
) -> tuple[nn.Module, np.ndarray]:
    """The policy and the history of its cost in nats, trained or, where it was trained before, loaded."""
    target = context.target
    policy = POLICIES[method](target, make_generator(context.dataset, method, "init", seed)).to(context.run.device)
    noise = torch.empty(sde.steps, settings.batch, target.dim, device=context.run.device)

    def loss(generator: torch.Generator) -> Tensor:
        return sde.cost(policy, target, noise.normal_(generator=generator)) / target.dim

    needs = settings.model_dump(exclude={"checkpoint_every"}) | {"sde": [sde.steps, sde.horizon, sde.sigma]}
    history = fit(
        policy,
        loss,
        Adam(settings.steps, settings.lr, settings.weight_decay, settings.decay, settings.decay_every),
        context.generator(method, "train", seed),
        context.training_folder(method, seed, needs),
        settings.checkpoint_every,
        label=f"{context.dataset} {method} seed {seed}: training",
    )
    return policy.requires_grad_(False), history.numpy() * target.dim


def simulate(context: Context, sde: ControlledSDE, policy: Policy, generators: list[torch.Generator]) -> Paths:
    noise = torch.empty(len(generators), context.config.particles, context.target.dim, device=context.run.device)
    return sde.simulate(policy, context.target, lambda: fill_normal(noise, generators))
