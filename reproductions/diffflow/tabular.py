"""Table 3.1: likelihoods of tabular data, DiffFlow beside RealNVP, MAF and NSF."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from reproductions.diffflow import methods
from reproductions.diffflow.config import TABULAR_METHODS, Config, TabularJob
from rescore.data.standardise import Standardiser
from rescore.data.tabular import load_tabular
from rescore.flows.density import fit_flow, flow_log_prob, maf, nsf, realnvp
from rescore.errors import Diverged, MissingData
from rescore.files import atomic_write
from rescore.experiments.run import Notebook, Run
from rescore.neural_sde import NeuralSDE, ode_log_prob, train_diffflow
from rescore.random import derive_seed, make_generator
from rescore.training.weights import load_weights, save_weights

PRINTED = {"power": "POWER", "gas": "GAS", "hepmass": "HEPMASS", "miniboone": "MINIBOONE", "bsds300": "BSDS300"}
FLOWS = {"RealNVP": realnvp, "MAF": maf, "NSF": nsf}
METRIC = "nll"


def measure(book: Notebook, job: TabularJob, config: Config, run: Run) -> None:
    for name in job.datasets:
        try:
            data = load_tabular(name)
        except MissingData as error:
            book.skipped.append({"table": "3.1", "dataset": PRINTED[name], "reason": str(error)})
            continue
        scale = Standardiser.of(data.train, name)
        train, validation, test = (scale(part).float() for part in (data.train, data.validation, data.test))
        validation, test = (part[: job.test_rows] for part in (validation, test))
        for method in TABULAR_METHODS:
            values, variant = [], "ODE" if method == "DiffFlow" else ""
            try:
                for seed in config.seeds:
                    names = "diffflow", method, name, seed
                    train_to, log_prob, model = _trainer(method, job, config, train, names)
                    total = job.diffflow.iterations if method == "DiffFlow" else job.flow.iterations
                    stops = [total * (stage + 1) // job.stages for stage in range(job.stages)]
                    stopped_at_best(model, train_to, lambda f=log_prob, v=validation: -f(v).mean().item(), stops,
                                    run.folder / f"{method}-{name}-{seed}")  # fmt: skip
                    values.append(scale.log_scale - log_prob(test).mean().item())
            except Diverged as error:
                cell = {"table": "3.1", "dataset": PRINTED.get(name, name), "method": method, "variant": variant}
                book.skipped.append(Diverged(f"seed {seed}: {error}").cell(**cell))
                continue
            fit = job.diffflow if method == "DiffFlow" else job.flow
            protocol = {"iterations": fit.iterations, "batch": fit.batch, "train_rows": len(train), "test_rows": len(test),
                        "stopping": f"best of {job.stages} on validation"}  # fmt: skip
            protocol |= {"trace": "hutchinson", "tolerance": config.tolerance} if method == "DiffFlow" else {}
            book.record("3.1", PRINTED.get(name, name), method, variant, METRIC, None, values, len(values) * len(test), protocol,
                        over="trainings")  # fmt: skip


def _trainer(method: str, job: TabularJob, config: Config, train: Tensor, names: tuple) -> tuple[Callable, Callable, nn.Module]:
    """train_to(iterations, folder) -> the model to keep; log_prob(x) of a blank model that takes its weights."""
    dim, batches = train.shape[1], make_generator(*names, "batches")
    if method != "DiffFlow":
        flow = FLOWS[method](dim, job.flow.transforms, job.flow.hidden, derive_seed(*names))
        adam = methods.adam(job.flow)

        def train_to(iterations: int, folder: Path) -> nn.Module:
            how = replace(adam, steps=iterations)
            fit_flow(flow.train(), train, job.flow.batch, how, batches, folder, " ".join(names[1:3]))
            return flow

        blank = FLOWS[method](dim, job.flow.transforms, job.flow.hidden, 0)
        return train_to, lambda x: flow_log_prob(blank, x), blank
    pair, training = methods.diffflow_pair(job.diffflow, dim, *names), methods.diffflow_training(job.diffflow)
    blank = methods.diffflow_pair(job.diffflow, dim, "blank")

    def train_to(iterations: int, folder: Path) -> NeuralSDE:
        stage = replace(training, adam=replace(training.adam, steps=iterations))
        return train_diffflow(pair, train, stage, batches, folder, label=" ".join(names[1:3])).model

    def log_prob(x: Tensor) -> Tensor:
        probes = make_generator(*names, "probes")
        options = {"rtol": config.tolerance, "atol": config.tolerance}
        found = [ode_log_prob(blank, part, training.t0, training.T, probes, **options) for part in x.split(500)]
        return torch.cat([one.log_prob for one in found])

    return train_to, log_prob, blank


def stopped_at_best(
    blank: nn.Module, train_to: Callable[[int, Path], nn.Module], loss: Callable[[], float], stops: list[int], folder: Path
) -> None:
    """Leave in `blank` the weights with the least validation loss at the `stops` (iterations); `folder` keeps what is done."""
    weights, notes = folder / "best.safetensors", folder / "stages.json"
    done = json.loads(notes.read_text()) if notes.exists() else []
    for stop in stops[len(done) :]:
        save_weights(folder / "latest.safetensors", train_to(stop, folder / "training"))
        load_weights(folder / "latest.safetensors", blank)
        value = loss()
        if not done or value < min(done) or not math.isfinite(min(done)):
            save_weights(weights, blank)
        done.append(value)
        atomic_write(notes, json.dumps(done))
    load_weights(weights, blank)
