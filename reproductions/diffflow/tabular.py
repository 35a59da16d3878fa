"""Table 3.1: likelihoods of tabular data, DiffFlow beside RealNVP, MAF and NSF."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rescore.data.tabular import Tabular, load_tabular
from rescore.errors import naming_diverged
from rescore.experiments.book import Book
from rescore.flows.density import fit_flow, flow_log_prob, maf, nsf, realnvp
from rescore.neural_sde import DiffFlow, train_diffflow
from rescore.random import derive_seed, make_generator
from rescore.specs.model import Part
from rescore.training.early_stopping import stopped_at_best
from rescore.training.loop import Adam
from torch import Tensor, nn

from reproductions.diffflow import methods
from reproductions.diffflow.config import Config, Fit

PRINTED = {"power": "POWER", "gas": "GAS", "hepmass": "HEPMASS", "miniboone": "MINIBOONE", "bsds300": "BSDS300"}
FLOWS = {"RealNVP": realnvp, "MAF": maf, "NSF": nsf}
BATCH = 500  # rows whose likelihood is computed at once

Trainer = tuple[Callable[[int, Path], nn.Module], Callable[[Tensor], Tensor], nn.Module]
"""train_to(steps, folder) -> the model to keep; log_prob(x) of a blank model that takes its weights; that model."""


def measure(book: Book, name: str) -> None:
    config, settings, printed = book.config, book.config.tabular, PRINTED.get(name, name)
    with book.skipping(table="3.1", dataset=printed):
        data, log_scale = load_tabular(name).standardised(settings.test_rows)
        for method in ("DiffFlow", *FLOWS):
            ours = method == "DiffFlow"
            fit, variant = (settings.diffflow, "ODE") if ours else (settings.flow, "")
            protocol = protocol_of(fit, method, data, settings.stages)
            protocol |= {"trace": "hutchinson", "tolerance": config.tolerance} if ours else {}
            make = diffflow_trainer if ours else flow_trainer
            nll = partial(test_nll, book, data, log_scale, method, fit.steps, settings.stages, make)
            book.repeat("3.1", printed, method, variant, None, protocol, config.seeds, len(data.test), "trainings", nll=nll)


def protocol_of(fit: Fit, method: str, data: Tabular, stages: int) -> dict[str, object]:
    """Of a training that is stopped where validation says."""
    kind, sizes = fit.network.name, dict(fit.network.settings)
    if method == "MADE":  # of one
        sizes.pop("transforms")
    network = Part(name=method if kind == "flow" else kind, settings=sizes)
    return {
        **fit.protocol,
        **network.protocol("network"),
        "train_rows": len(data.train),
        "test_rows": len(data.test),
        "stopping": f"best of {stages} on validation",
    }


def test_nll(
    book: Book, data: Tabular, log_scale: float, method: str, steps: int, stages: int, make: Callable[..., Trainer], seed: int
) -> float:
    """By the model that is best on validation; of raw rows, for data are standardised ones.

    Args:
        make: make(config, rows, *names), `names` those of the seeds of weights and batches.
    """
    folder = book.run.folder / f"{method}-{data.name}-{seed}"
    train_to, log_prob, blank = make(book.config, data.train, "diffflow", method, data.name, seed)
    stops = [steps * (stage + 1) // stages for stage in range(stages)]
    with naming_diverged(f"seed {seed}"):
        stopped_at_best(blank, train_to, lambda: -log_prob(data.validation).mean().item(), stops, folder)
        return log_scale - log_prob(data.test).mean().item()


def flow_trainer(config: Config, train: Tensor, *names: object) -> Trainer:
    """One of `FLOWS`, which `names` name at the second place."""
    fit, make = config.tabular.flow, FLOWS[names[1]]
    flow, blank = (make(train.shape[1], fit.transforms, fit.hidden, seed) for seed in (derive_seed(*names), 0))
    return trainer_of(flow, blank, fit, train, *names)


def trainer_of(flow: nn.Module, blank: nn.Module, fit: Fit, train: Tensor, *names: object) -> Trainer:
    """Of a flow and a blank one like it; `names` name the batches."""
    batches = make_generator(*names, "batches")

    def train_to(steps: int, folder: Path) -> nn.Module:
        fit_flow(flow.train(), train, fit.batch, replace(Adam.of(fit), steps=steps), batches, folder, " ".join(names[1:3]))
        return flow

    return train_to, lambda x: flow_log_prob(blank, x), blank


def diffflow_trainer(config: Config, train: Tensor, *names: object) -> Trainer:
    fit, batches = config.tabular.diffflow, make_generator(*names, "batches")
    pair, blank = (methods.diffflow_pair(fit, train.shape[1], *of) for of in (names, ("blank",)))
    training = methods.diffflow_training(fit)

    def train_to(steps: int, folder: Path) -> nn.Module:
        # stopped, not shortened: the shares of N are of the whole training
        return train_diffflow(pair, train, training, batches, folder, label=" ".join(names[1:3]), stop=steps).model

    def log_prob(x: Tensor) -> Tensor:
        model, probes = DiffFlow(blank, training), make_generator(*names, "probes")
        return torch.cat([model.log_prob(part, probes, config.tolerance) for part in x.split(BATCH)])

    return train_to, log_prob, blank
