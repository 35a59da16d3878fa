"""Chains of a library, and exact draws in their place."""

from collections.abc import Callable

import torch
from rescore.montecarlo.pyro_chains import chain_metrics, run_chain
from rescore.random import make_generator, small_seed
from torch import Tensor

from reproductions.pis.study import SHOWN, TABLE, Study, shown

Sample = Callable[[], Tensor]


def library_chains(study: Study, method: str) -> None:
    """The NUTS or HMC of a library: what such chains find in the same number of steps. They define no log Z."""
    settings, target = study.config.chains, study.target

    def run(chain: int) -> Tensor:
        generator = make_generator(study.dataset, method, "start", chain)
        initial = torch.randn(target.dim, dtype=torch.float64, generator=generator)
        seed = small_seed(study.dataset, method, "chain", chain)
        return run_chain(target, method, settings.samples, settings.warmup, seed, initial).samples

    protocol = {"library": "pyro", "chains": settings.chains, "warmup": settings.warmup, "samples": settings.samples}
    _judge(study, method, method.upper(), protocol, lambda: torch.stack([run(chain) for chain in range(settings.chains)]))


def exact_draws(study: Study, method: str) -> None:
    """Draws from the target itself: the truth beside the chains."""
    settings, target = study.config.chains, study.target
    protocol = {"library": "exact", "chains": settings.chains, "samples": settings.samples}

    def sample() -> Tensor:
        return target.sample((settings.chains, settings.samples), make_generator(study.dataset, method))

    _judge(study, method, "exact", protocol, sample, lambda: target.sample((SHOWN,), make_generator("shown")))


def _judge(
    study: Study, method: str, name: str, protocol: dict[str, object], sample: Sample, pictured: Sample | None = None
) -> None:
    """A row of samples (chains, n, d); a figure shows them, or others."""
    n = study.config.chains.samples
    with study.book.cell(TABLE, study.dataset, name, "library", protocol=protocol, n=n) as cell:
        if cell.todo:
            samples = sample()
            for metric, values in chain_metrics(study.target, samples).items():
                cell.add(metric, values)
            cell.arrays |= study.arrays(method, {"samples": shown(pictured() if pictured else samples)})
