"""Weighted particles: importance sampling from the prior, SMC, and AFT."""

import numpy as np
import torch
from torch import nn

from reproductions.pis.context import SHOWN, Context, Estimates, Outcome, Rows, shown
from reproductions.pis.variational import flow_protocol, make_flow
from rescore.montecarlo import aft, importance, smc
from rescore.montecarlo.logz import ess, log_mean_exp
from rescore.random import derive_seed
from rescore.training import train_once

PRIOR_SIZES, PRIOR_RUNS = (300, 1000, 2000), 100  # not settings: they are what `one_jump_sizes` asks about


def one_jump(context: Context, method: str) -> Outcome:
    """Importance sampling from N(0, I): what the printed HMC and NUTS rows agree with, so it fills both (README.md)."""
    config, n = context.config, context.config.particles

    def one(generators: list[torch.Generator]) -> Rows:
        log_w = importance.prior_log_weights(context.target, n, generators)
        return {"log_z": log_mean_exp(log_w).numpy(), "ess": ess(log_w).numpy()}

    rows = context.repeat(method, 0, n, one, config.runs)
    log_z, weights = rows["log_z"][None], rows["ess"][None]
    protocol = {"runs": config.runs, "particles": n, "estimator": "one_jump_importance"}
    estimates = [Estimates(name, "", config.steps, log_z, protocol, n, False) for name in ("HMC", "NUTS")]
    estimates.append(Estimates("importance", "prior", 1, log_z, protocol, n, False, weights))
    return Outcome(estimates)


def one_jump_sizes(context: Context, method: str) -> Outcome:
    """The same estimate with other numbers of particles: which number do the printed HMC and NUTS rows agree with?"""
    outcome = Outcome()
    for n in PRIOR_SIZES:

        def one(generators: list[torch.Generator], n: int = n) -> Rows:
            return {"log_z": log_mean_exp(importance.prior_log_weights(context.target, n, generators)).numpy()}

        log_z = context.repeat(f"{method}-{n}", 0, n, one, PRIOR_RUNS)["log_z"][None]
        protocol = {"runs": PRIOR_RUNS, "particles": n, "estimator": "one_jump_importance"}
        outcome.estimates.append(Estimates("importance", f"prior-{n}", 1, log_z, protocol, n, False))
    return outcome


def annealed(context: Context, method: str) -> Outcome:
    """SMC, or AFT: SMC with a flow before each temperature, trained once a seed and then frozen."""
    config, settings = context.config, context.settings.annealing
    n = settings.particles or config.particles
    schedule = smc.Annealing(
        settings.temperatures, settings.hmc_steps, settings.leapfrogs, settings.step_sizes, settings.resample_below
    )
    trained = method == "aft"
    seeds, runs = (config.seeds, context.runs_per_seed) if trained else ((0,), config.runs)
    rows, outcome = [], Outcome()
    for seed in seeds:
        transport = trained_transports(context, schedule, n, seed) if trained else smc.no_transport

        def one(generators: list[torch.Generator], transport: smc.TransportAt = transport) -> Rows:
            done = smc.anneal(context.target, schedule, n, generators, transport)
            final = np.stack([shown(x)[: SHOWN // 10] for x in done.x])
            return {"log_z": done.log_z.numpy(), "acceptance": done.acceptance.numpy(), "samples": final}

        rows.append(context.repeat(method, seed, n, one, runs))
    outcome.arrays = {
        f"{method}/samples": rows[0]["samples"].reshape(-1, min(2, context.target.dim))[:SHOWN],
        f"{method}/acceptance": np.stack([row["acceptance"] for row in rows]),
    }
    steps = settings.hmc_steps * settings.leapfrogs
    protocol = {
        "runs": config.runs,
        "particles": n,
        "estimator": "annealed",
        "temperatures": settings.temperatures,
        "steps_per_temperature": steps,
        "leapfrogs": settings.leapfrogs,
        "step_sizes": "/".join(f"{size:g}" for size in settings.step_sizes),
        "resample_below": settings.resample_below,
    }
    if trained:
        protocol |= flow_protocol(context.settings.aft)
    log_z = np.stack([row["log_z"] for row in rows])
    name = f"{settings.temperatures}-temperatures"
    outcome.estimates.append(Estimates(method.upper(), name, settings.temperatures * steps, log_z, protocol, n, trained))
    return outcome


def trained_transports(context: Context, schedule: smc.Annealing, n: int, seed: int) -> smc.TransportAt:
    """One flow a temperature, learned in a run of their own, or loaded."""
    settings = context.settings.aft
    names = (context.dataset, "aft", seed)
    needs = settings.model_dump() | {"annealing": context.settings.annealing.model_dump()}
    path = context.training_folder("aft", seed, needs) / "transports.safetensors"

    def make(k: int) -> nn.Module:
        return make_flow(settings, context.target.dim, derive_seed(*names, "init", k) % 2**31)

    def train() -> nn.Module:
        streams = (context.generator("aft", "train", seed), context.generator("aft", "validate", seed))
        return aft.train_transports(
            context.target, schedule, make, settings.batch, streams, settings.steps, settings.lr
        )

    blank = nn.ModuleList(make(k) for k in range(1, schedule.n_temperatures + 1))
    return aft.frozen(train_once(path, train, blank))
