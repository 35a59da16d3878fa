"""Each sampler on each target: repeated estimates of log Z, their weights' ESS, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from rescore.control import DDS, DIS, Controlled, ControlledSDE, PISGrad
from rescore.errors import Diverged, TrainingDiverged
from rescore.experiments.book import Book
from rescore.experiments.repeat import repeat_runs
from rescore.flows import transport as flows
from rescore.montecarlo import aft, importance, smc, snf
from rescore.montecarlo.logz import estimates, logz_statistics
from rescore.random import make_generator, small_seed
from rescore.targets import LogGaussianCox, Rescaled, Target
from rescore.targets.named import make_target
from rescore.training import Adam, fit
from torch import Tensor, nn

from reproductions.log_z.config import Annealing, Flow

TABLE, LONG, IDENTITY = "log_z", "long", "identity"
OBJECTIVES = {"KL": Controlled.cost, "log-variance": Controlled.log_variance}
Arrays = dict[str, np.ndarray]
One = Callable[[int, list[torch.Generator]], Arrays]
"""one(seed, a generator for each run): by name, each (runs,)."""


def target_of(book: Book, dataset: str) -> Target:
    """In the unit of the config: every sampler starts from N(0, I)."""
    its = book.config.datasets[dataset]
    return Rescaled(make_target(dataset, its.side), its.scale)


def particles_of(book: Book, dataset: str) -> int:
    """Of an estimate."""
    return book.config.datasets[dataset].particles or book.config.particles


def row(
    book: Book,
    target: Target,
    method: str,
    variant: str,
    one: One,
    evaluations: tuple[int, int],
    protocol: Mapping[str, object],
    trained: bool,
) -> None:
    """One cell: B, S and A of log Z over the runs, the ESS of weights, evaluations of the target.

    Args:
        evaluations: of one training (0 for none), and of one particle of an estimate.
        trained: each seed is a training; else runs of one seed.
    """
    config, particles = book.config, particles_of(book, target.name)
    seeds = config.seeds if trained else (0,)
    repeats = len(seeds) if trained else config.runs
    training, each = evaluations
    grid = {"side": config.datasets[target.name].side} if isinstance(target.target, LogGaussianCox) else {}
    about = {"particles": particles, "runs": config.runs, "scale": target.scale} | grid | protocol
    cell = book.cell(
        TABLE,
        target.name,
        method,
        variant,
        each,
        about,
        n=particles * config.runs // repeats,
        over="trainings" if trained else "runs",
    )
    with cell:
        if not cell.todo:
            return
        found = [_runs(book, target, method, variant, one, seed, config.runs // len(seeds)) for seed in seeds]
        of = {name: np.stack([arrays[name] for arrays in found]) for name in found[0]}
        for metric, (value, stderr) in logz_statistics(of["log_z"], target.log_z, of.get("ess")).items():
            cell.estimate(metric, value, stderr, repeats, seeds=len(seeds))
        if "elbo" in of and target.log_z is not None:
            gaps = (target.log_z - of["elbo"]).mean(1) if trained else target.log_z - of["elbo"][0]
            cell.add("elbo_gap", gaps.tolist())
        cell.exact("training_evaluations", training)
        cell.exact("evaluations", particles * each)


def _runs(book: Book, target: Target, method: str, variant: str, one: One, seed: int, runs: int) -> Arrays:
    def batch(which: range) -> Arrays:
        return one(seed, [make_generator(TABLE, target.name, method, variant, "run", seed, r) for r in which])

    path = book.journal.place(f"{method}-{variant}-seed{seed}")
    return repeat_runs(batch, runs, runs, path, f"{target.name} {method} {variant} seed {seed}: runs")


def _weighted(log_w: Tensor) -> Arrays:
    found = estimates(log_w)
    return {"log_z": found["importance"], "elbo": found["elbo"], "ess": found["ess"]}


def importance_sampling(book: Book, dataset: str) -> None:
    """Weights of draws from N(0, I)."""
    target = target_of(book, dataset)
    row(
        book,
        target,
        "importance",
        "",
        lambda seed, streams: _weighted(importance.prior_log_weights(target, particles_of(book, dataset), streams)),
        (0, 1),
        {},
        trained=False,
    )


def schedule_of(book: Book, dataset: str, its: Annealing) -> smc.Annealing:
    return smc.Annealing.of(its, book.config.datasets[dataset].step_sizes)


def annealed(book: Book, dataset: str, variant: str = "", its: Annealing | None = None) -> None:
    """Sequential Monte Carlo."""
    target, schedule = target_of(book, dataset), schedule_of(book, dataset, its or book.config.annealing)

    def one(seed: int, streams: list[torch.Generator]) -> Arrays:
        return {"log_z": smc.anneal(target, schedule, particles_of(book, dataset), streams).log_z.numpy()}

    each = 1 + schedule.n_temperatures * schedule.steps_per_temperature
    row(book, target, "SMC", variant, one, (0, each), schedule.protocol, trained=False)


def annealed_flow(book: Book, dataset: str) -> None:
    """AFT: SMC with a flow before each temperature; a seed learns them once, and its runs share them."""
    target, its, schedule = target_of(book, dataset), book.config.aft, schedule_of(book, dataset, book.config.annealing)

    def trained(seed: int) -> smc.TransportAt:
        def flow_of(k: int) -> nn.Module:
            return make_flow(book, target, its, "AFT", "init", seed, k)

        streams = tuple(make_generator(TABLE, dataset, "AFT", part, seed) for part in ("train", "validate"))
        return aft.frozen(aft.train_transports(target, schedule, flow_of, its.batch, streams, Adam.of(its)))

    def one(seed: int, streams: list[torch.Generator]) -> Arrays:
        return {"log_z": smc.anneal(target, schedule, particles_of(book, dataset), streams, trained(seed)).log_z.numpy()}

    each = 1 + schedule.n_temperatures * (1 + schedule.steps_per_temperature)
    evaluations = aft.training_evaluations(schedule, its.steps, its.batch), each
    row(book, target, "AFT", "", one, evaluations, schedule.protocol | flow_protocol(book, target, its), trained=True)


def truth(book: Book, dataset: str) -> None:
    """log Z by the target's own quadrature, and a long SMC, which knows nothing of it."""
    target = target_of(book, dataset)
    book.exact(TABLE, dataset, "quadrature", "", None, {}, logz=lambda: target.log_z)
    annealed(book, dataset, LONG, book.config.truth)


def make_flow(book: Book, target: Target, its: Flow, *names: object) -> nn.Module:
    """The flow of the target's family, its weights seeded by names."""
    return flows.make_flow(book.config.datasets[target.name].flow, target.dim, small_seed(TABLE, target.name, *names), its)


def flow_protocol(book: Book, target: Target, its: Flow) -> dict[str, object]:
    return its.protocol_of(book.config.datasets[target.name].flow)


def variational_flow(book: Book, dataset: str) -> None:
    """VI-NF: the importance weights of a flow trained by reverse KL."""
    target, its = target_of(book, dataset), book.config.flow

    def trained(seed: int) -> nn.Module:
        flow = make_flow(book, target, its, "VI-NF", "init", seed)
        return _fit(
            book,
            target,
            "VI-NF",
            "",
            seed,
            flow,
            its,
            lambda draws: flows.reverse_kl_loss(flow, target, torch.randn(its.batch, target.dim, generator=draws)),
        )

    def one(seed: int, streams: list[torch.Generator]) -> Arrays:
        return _weighted(flows.sample_log_weights(trained(seed), target, particles_of(book, dataset), streams))

    row(book, target, "VI-NF", "", one, (its.steps * its.batch, 1), flow_protocol(book, target, its), trained=True)


def stochastic_flow(book: Book, dataset: str) -> None:
    """SNF: the weights of paths through flows and Metropolis moves, trained by reverse KL; and of the moves alone."""
    target, its = target_of(book, dataset), book.config.snf
    moves = snf.Moves(its.blocks, its.moves, its.step_size)

    def untrained(seed: int) -> nn.ModuleList:
        return nn.ModuleList(make_flow(book, target, its, "SNF", "init", seed, k) for k in range(its.blocks))

    def trained(seed: int) -> nn.Module:
        maps = untrained(seed)
        return _fit(
            book, target, "SNF", "", seed, maps, its, lambda draws: snf.path_kl(maps, moves, target, its.batch, [draws])
        )

    def one(seed: int, streams: list[torch.Generator], maps_of: Callable) -> Arrays:
        return _weighted(snf.sample(maps_of(seed), moves, target, particles_of(book, dataset), streams).log_w)

    each, protocol = moves.evaluations(training=False), flow_protocol(book, target, its) | moves.protocol
    training = its.steps * its.batch * moves.evaluations(training=True)
    row(book, target, "SNF", "", partial(one, maps_of=trained), (training, each), protocol, trained=True)
    # flows begin at the identity
    row(book, target, "SNF", IDENTITY, partial(one, maps_of=untrained), (0, each), moves.protocol, trained=False)


def controlled(book: Book, dataset: str, method: str) -> None:
    """PIS, DDS or DIS with the gradient-guided policy, trained by either loss: the weighted estimate."""
    config, target, its = book.config, target_of(book, dataset), book.config.training
    processes = {"PIS": partial(ControlledSDE, horizon=5.0, sigma=0.2**0.5), "DDS": DDS, "DIS": DIS}
    process = processes[method](config.steps)
    shape = (config.steps + process.random_start, its.batch, target.dim)

    for variant, loss in OBJECTIVES.items():

        def trained(seed: int, variant: str = variant, loss=loss) -> nn.Module:
            policy = PISGrad(target, make_generator(TABLE, dataset, method, variant, "init", seed))
            policy = process.with_prior_score(policy) if isinstance(process, DIS) else policy
            return _fit(
                book,
                target,
                method,
                variant,
                seed,
                policy,
                its,
                lambda draws: loss(process, policy, target, torch.randn(shape, generator=draws)) / target.dim,
            )

        def one(seed: int, streams: list[torch.Generator], trained=trained) -> Arrays:
            return _weighted(process.sample(trained(seed), target, particles_of(book, dataset), streams).log_w)

        evaluations = its.steps * its.batch * (config.steps + 1), config.steps + 1
        protocol = process.protocol | its.protocol | {"policy": "PIS-Grad", "loss": variant}
        row(book, target, method, variant, one, evaluations, protocol, trained=True)


def _fit(book: Book, target: Target, method: str, variant: str, seed: int, model: nn.Module, its, loss) -> nn.Module:
    folder, label = (
        book.run.folder / f"{method}-{variant}-seed{seed}",
        f"{target.name} {method} {variant} seed {seed}: training",
    )
    try:
        fit(model, loss, Adam.of(its), make_generator(TABLE, target.name, method, variant, "train", seed), folder, label=label)
    except TrainingDiverged as error:
        raise Diverged(f"the training of seed {seed}: no finite loss or gradient in many steps on end") from error
    return model.requires_grad_(False)


SECTIONS = {
    "importance": importance_sampling,
    "smc": annealed,
    "aft": annealed_flow,
    "truth": truth,
    "vi_nf": variational_flow,
    "snf": stochastic_flow,
    "pis": partial(controlled, method="PIS"),
    "dds": partial(controlled, method="DDS"),
    "dis": partial(controlled, method="DIS"),
}
