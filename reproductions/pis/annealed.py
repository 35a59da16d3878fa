"""Weighted particles: importance sampling from the prior, SMC, and AFT."""

from functools import cache, partial

import numpy as np
import torch
from rescore.experiments.axes import Axes
from rescore.machine.locks import folder_lock
from rescore.montecarlo import aft, importance, smc
from rescore.montecarlo.logz import estimates
from rescore.training import Adam, train_once
from torch import nn

from reproductions.pis.study import SHOWN, Arrays, Runs, Study, shown
from reproductions.pis.variational import flow_protocol, make_flow

PRIOR_SIZES, PRIOR_RUNS = (300, 1000, 2000), 100  # not settings: they are what `one_jump_sizes` asks about
PRIOR = Axes("prior-{particles}")
ANNEALED = Axes("{temperatures}-temperatures")
ONE_JUMP = {"estimator": "one_jump_importance"}


def one_jump(study: Study, method: str) -> None:
    """Importance sampling from N(0, I): what the printed HMC and NUTS rows agree with, so it fills both (README.md)."""
    n = study.config.particles
    runs = Runs(study, method, n, partial(_jumps, study, n))
    for name in ("HMC", "NUTS"):
        study.row(name, "", study.config.steps, ONE_JUMP, runs, "importance")
    study.row("importance", "prior", 1, ONE_JUMP, runs, "importance", weights=True)


def one_jump_sizes(study: Study, method: str) -> None:
    """The same estimate with other numbers of particles, to see which the printed HMC and NUTS rows agree with."""
    for n in PRIOR_SIZES:
        runs = Runs(study, f"{method}-{n}", n, partial(_jumps, study, n), total=PRIOR_RUNS)
        study.row("importance", PRIOR(particles=n), 1, ONE_JUMP, runs, "importance")


def _jumps(study: Study, n: int, seed: int, generators: list[torch.Generator]) -> Arrays:
    return estimates(importance.prior_log_weights(study.target, n, generators))


def annealed(study: Study, method: str) -> None:
    """SMC, or AFT: SMC with a flow before each temperature, trained once a seed and then frozen."""
    settings, trained = study.settings.annealing, method == "aft"
    n = settings.particles or study.config.particles
    schedule = smc.Annealing.of(settings, settings.step_sizes)

    @cache
    def transports_of(seed: int) -> nn.ModuleList:
        return trained_transports(study, schedule, seed)

    def one(seed: int, generators: list[torch.Generator]) -> Arrays:
        transport = aft.frozen(transports_of(seed)) if trained else smc.no_transport
        done = smc.anneal(study.target, schedule, n, generators, transport)
        final = np.stack([shown(x)[: SHOWN // 10] for x in done.x])
        return {"log_z": done.log_z.numpy(), "acceptance": done.acceptance.numpy(), "samples": final}

    def arrays() -> Arrays:
        samples = runs.results["samples"][0].reshape(-1, min(2, study.target.dim))[:SHOWN]
        return {"samples": samples, "acceptance": runs.results["acceptance"]}

    runs = Runs(study, method, n, one, trained)
    protocol = {"estimator": "annealed"} | schedule.protocol | (flow_protocol(study.settings.aft) if trained else {})
    variant, steps = ANNEALED(temperatures=settings.temperatures), settings.temperatures * schedule.steps_per_temperature
    also = {"maps_learned": lambda seed: share_learned(study, transports_of(seed), seed)} if trained else {}
    study.row(method.upper(), variant, steps, protocol, runs, "log_z", arrays=arrays, also=also)


def trained_transports(study: Study, schedule: smc.Annealing, seed: int) -> nn.ModuleList:
    """One flow a temperature, learned in a run of their own, or loaded."""
    settings = study.settings.aft
    needs = settings.model_dump() | {"annealing": study.settings.annealing.model_dump()}
    folder, make = study.training_folder("aft", seed, needs), partial(new_map, study, seed)

    def train() -> nn.Module:
        streams = (study.generator("aft", "train", seed), study.generator("aft", "validate", seed))
        return aft.train_transports(study.target, schedule, make, settings.batch, streams, Adam.of(settings))

    blank = nn.ModuleList(make(k) for k in range(1, schedule.n_temperatures + 1))
    with folder_lock(folder, f"{study.dataset} aft seed {seed}: training"):
        return train_once(folder / "transports.safetensors", train, blank)


def new_map(study: Study, seed: int, k: int) -> nn.Module:
    """That of temperature k before its training, the identity."""
    return make_flow(study.settings.aft, study.target.dim, study.dataset, "aft", seed, "init", k)


def share_learned(study: Study, transports: nn.ModuleList, seed: int) -> float:
    """The share of temperatures whose map has left the identity: of the others the least validation loss was the first.

    Where it is 0, AFT is SMC.
    """
    learned = [
        any(
            not torch.equal(now.cpu(), then)
            for now, then in zip(one.parameters(), new_map(study, seed, k).parameters(), strict=True)
        )
        for k, one in enumerate(transports, 1)
    ]
    return float(np.mean(learned))
