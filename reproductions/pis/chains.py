"""Chains of a library, and exact draws in their place."""

import numpy as np
import torch
from torch import Tensor

from reproductions.pis.context import SHOWN, Context, Outcome, shown
from rescore.montecarlo import pyro_chains
from rescore.random import derive_seed, make_generator
from rescore.targets import GaussianMixture, Target


def library_chains(context: Context, method: str) -> Outcome:
    """The NUTS or HMC of a library: what such chains find in the same number of steps. They define no log Z."""
    settings, target = context.config.chains, context.target
    chains = []
    for chain in range(settings.chains):
        generator = make_generator(context.dataset, method, "start", chain)
        initial = torch.randn(target.dim, dtype=torch.float64, generator=generator)
        seed = derive_seed(context.dataset, method, "chain", chain) % 2**31
        chains.append(pyro_chains.run_chain(target, method, settings.samples, settings.warmup, seed, initial))
    samples = torch.stack([chain.samples for chain in chains])
    outcome = Outcome()
    protocol = {"library": "pyro", "chains": settings.chains, "warmup": settings.warmup, "samples": settings.samples}
    for metric, values in chain_metrics(target, samples).items():
        outcome.chains.append((method.upper(), metric, values, protocol))
    outcome.arrays = {f"{method}/samples": shown(samples)}
    return outcome


def chain_metrics(target: Target, samples: Tensor) -> dict[str, np.ndarray]:
    """Per chain (chains, n, d): the mean of log muhat, and for a mixture the fraction of its modes that were visited."""
    metrics = {"mean_log_prob": target.log_prob(samples).mean(-1).numpy()}
    if isinstance(target, GaussianMixture):
        coverage = [pyro_chains.mode_coverage(chain, target.means, 3 * target.std) for chain in samples]
        metrics["mode_coverage"] = np.array(coverage)
    return metrics


def exact_draws(context: Context, method: str) -> Outcome:
    """Draws from the target itself: the truth beside the chains."""
    settings, target = context.config.chains, context.target
    samples = target.sample((settings.chains, settings.samples), make_generator(context.dataset, method))
    outcome = Outcome(arrays={f"{method}/samples": shown(target.sample((SHOWN,), make_generator("shown")))})
    protocol = {"library": "exact", "chains": settings.chains, "samples": settings.samples}
    for metric, values in chain_metrics(target, samples).items():
        outcome.chains.append(("exact", metric, values, protocol))
    return outcome
