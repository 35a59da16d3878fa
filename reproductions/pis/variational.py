"""Flows, which AFT uses too; VI-NF, one flow trained by reverse KL, and SNF, which has Metropolis moves between flows."""

from functools import cache

import numpy as np
import torch
from rescore.flows import transport as flows
from rescore.montecarlo import snf
from rescore.montecarlo.logz import estimates
from rescore.random import small_seed
from rescore.training import Adam
from torch import Tensor, nn

from reproductions.pis.config import Flow, StochasticFlow
from reproductions.pis.study import SHOWN, Arrays, Runs, Study, shown


def make_flow(settings: Flow, dim: int, *names: object) -> nn.Module:
    """The flow of the config, its weights seeded by names."""
    return flows.make_flow(settings.family, dim, small_seed(*names), settings)


def flow_protocol(settings: Flow) -> dict[str, object]:
    return settings.protocol_of(settings.family)


def trained_flow(study: Study, method: str, seed: int) -> tuple[nn.Module, np.ndarray]:
    """The flow of VI-NF and the history of its reverse KL."""
    settings, target = study.settings.vi_nf, study.target
    flow = make_flow(settings, target.dim, study.dataset, method, "init", seed).to(study.book.run.device)
    noise = study.points(settings.batch)

    def loss(generator: torch.Generator) -> Tensor:
        return flows.reverse_kl_loss(flow, target, noise.normal_(generator=generator))

    return flow, study.train(method, seed, flow, loss, Adam.of(settings), settings.model_dump())


def variational_flow(study: Study, method: str) -> None:
    """VI-NF: a flow trained by reverse KL; the printed row is read as its ELBO."""
    target, n = study.target, study.config.particles
    trained = cache(lambda seed: trained_flow(study, method, seed))

    def one(seed: int, generators: list[torch.Generator]) -> Arrays:
        return estimates(flows.sample_log_weights(trained(seed)[0], target, n, generators))

    def arrays() -> Arrays:
        found = [trained(seed) for seed in runs.seeds]
        with torch.inference_mode():
            samples, _ = found[0][0](study.points(SHOWN).normal_(generator=study.generator(method, "shown")))
        return {"samples": shown(samples), "loss": np.stack([history for _, history in found])}

    runs = Runs(study, method, n, one, trained=True)
    protocol = flow_protocol(study.settings.vi_nf)
    study.row("VI-NF", "", None, protocol | {"estimator": "elbo"}, runs, "elbo", arrays=arrays)
    study.row("VI-NF", "RW", None, protocol | {"estimator": "importance"}, runs, "importance", weights=True)


PAIR = 2  # couplings of a block: each half of the coordinates moves the other


def moves_of(settings: StochasticFlow) -> snf.Moves:
    return snf.Moves(settings.blocks, settings.moves, settings.step_size)


def stochastic_flow_protocol(settings: StochasticFlow) -> dict[str, object]:
    flow = {"flow": "affine_coupling", "flow_layers": PAIR, "flow_hidden": "/".join(map(str, settings.hidden))}
    return settings.protocol | flow | moves_of(settings).protocol


def trained_stochastic_flow(study: Study, method: str, seed: int) -> tuple[nn.ModuleList, np.ndarray]:
    """The maps of SNF and the history of its paths' reverse KL."""
    settings, target = study.config.snf, study.target
    names = [(study.dataset, method, "init", seed, k) for k in range(settings.blocks)]
    maps = nn.ModuleList(flows.affine_coupling(target.dim, PAIR, settings.hidden, small_seed(*of)) for of in names)
    maps = maps.to(study.book.run.device)

    def loss(generator: torch.Generator) -> Tensor:
        return snf.path_kl(maps, moves_of(settings), target, settings.batch, [generator])

    return maps, study.train(method, seed, maps, loss, Adam.of(settings), settings.model_dump())
