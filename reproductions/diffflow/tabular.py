"""Table 3.1: likelihoods of tabular data, DiffFlow beside RealNVP, MAF and NSF."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from reproductions.diffflow import methods
from reproductions.diffflow.config import Config
from rescore.data.tabular import Tabular, load_tabular
from rescore.errors import Diverged
from rescore.experiments.book import Book
from rescore.flows.density import fit_flow, flow_log_prob, maf, nsf, realnvp
from rescore.neural_sde import NeuralSDE, ode_log_prob, train_diffflow
from rescore.random import derive_seed, make_generator
from rescore.training.early_stopping import stopped_at_best

PRINTED = {"power": "POWER", "gas": "GAS", "hepmass": "HEPMASS", "miniboone": "MINIBOONE", "bsds300": "BSDS300"}
FLOWS = {"RealNVP": realnvp, "MAF": maf, "NSF": nsf}
BATCH = 500  # rows whose likelihood is computed at once

Trainer = tuple[Callable[[int, Path], nn.Module], Callable[[Tensor], Tensor], nn.Module]
"""train_to(iterations, folder) -> the model to keep; log_prob(x) of a blank model that takes its weights; that model."""


def measure(book: Book, name: str) -> None:
    config, settings, printed = book.config, book.config.tabular, PRINTED.get(name, name)
    with book.skipping(table="3.1", dataset=printed):
        data, log_scale = load_tabular(name).standardised(settings.test_rows)
        for method in ("DiffFlow", *FLOWS):
            ours = method == "DiffFlow"
            fit = settings.diffflow if ours else settings.flow
            protocol = {"iterations": fit.iterations, "batch": fit.batch, "train_rows": len(data.train),
                        "test_rows": len(data.test), "stopping": f"best of {settings.stages} on validation"}  # fmt: skip
            protocol |= {"trace": "hutchinson", "tolerance": config.tolerance} if ours else {}
            place = "3.1", printed, method, "ODE" if ours else ""
            with book.cell(*place, None, protocol, n=len(data.test), over="trainings") as cell:
                if cell.todo:
                    cell.add("nll", [log_scale + test_nll(book, data, method, seed) for seed in config.seeds])


def test_nll(book: Book, data: Tabular, method: str, seed: int) -> float:
    """Of standardised rows, by the model that is best on validation."""
    settings, folder = book.config.tabular, book.run.folder / f"{method}-{data.name}-{seed}"
    make = diffflow_trainer if method == "DiffFlow" else flow_trainer
    train_to, log_prob, blank = make(book.config, data.train, "diffflow", method, data.name, seed)
    total = (settings.diffflow if method == "DiffFlow" else settings.flow).iterations
    stops = [total * (stage + 1) // settings.stages for stage in range(settings.stages)]
    try:
        stopped_at_best(blank, train_to, lambda: -log_prob(data.validation).mean().item(), stops, folder)
        return -log_prob(data.test).mean().item()
    except Diverged as error:
        raise Diverged(f"seed {seed}: {error}") from None


def flow_trainer(config: Config, train: Tensor, *names: object) -> Trainer:
    """One of `FLOWS`, which `names` name at the second place."""
    fit, make, batches = config.tabular.flow, FLOWS[names[1]], make_generator(*names, "batches")
    flow, blank = (make(train.shape[1], fit.transforms, fit.hidden, seed) for seed in (derive_seed(*names), 0))

    def train_to(iterations: int, folder: Path) -> nn.Module:
        how = replace(methods.adam(fit), steps=iterations)
        fit_flow(flow.train(), train, fit.batch, how, batches, folder, " ".join(names[1:3]))
        return flow

    return train_to, lambda x: flow_log_prob(blank, x), blank


def diffflow_trainer(config: Config, train: Tensor, *names: object) -> Trainer:
    fit, batches = config.tabular.diffflow, make_generator(*names, "batches")
    pair, blank = (methods.diffflow_pair(fit, train.shape[1], *of) for of in (names, ("blank",)))
    training = methods.diffflow_training(fit)

    def train_to(iterations: int, folder: Path) -> NeuralSDE:
        stage = replace(training, adam=replace(training.adam, steps=iterations))
        return train_diffflow(pair, train, stage, batches, folder, label=" ".join(names[1:3])).model

    def log_prob(x: Tensor) -> Tensor:
        probes, tolerance = make_generator(*names, "probes"), config.tolerance
        ends = training.t0, training.T
        return torch.cat([ode_log_prob(blank, part, *ends, probes, rtol=tolerance, atol=tolerance).log_prob
                          for part in x.split(BATCH)])  # fmt: skip

    return train_to, log_prob, blank
