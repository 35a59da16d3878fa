"""Tables 3.2 to 3.5: likelihood and FID of models of images, and the cost of an iteration beside DDPM's."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.diffflow import methods
from reproductions.diffflow.config import Config, ImagesJob
from reproductions.diffflow.cost import seconds_of_iteration
from reproductions.diffflow.image_quality import Key, ddpm_fids, ddpm_protocol, diffflow_fids, diffflow_images
from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import dequantise, to_unit
from rescore.errors import Diverged, MissingData
from rescore.experiments.run import Notebook, Run
from rescore.likelihood import bits_per_dim
from rescore.metrics.features import ClassifierSettings
from rescore.models.judge import Judge, make_judge
from rescore.networks import NoisePrediction, make_network
from rescore.neural_sde import (
    DiffFlowTraining, ImageField, NeuralSDE, adjoint_loss, draw_noise, elbo, l_beta, ode_log_prob, train_diffflow,
)  # fmt: skip
from rescore.objectives import DSM
from rescore.processes import VP
from rescore.random import derive_seed, make_generator
from rescore.cost.saved_bytes import SavedBytes

TABLES = {"digits": "3.2", "mnist": "3.2", "cifar10": "3.3"}
SHOWN = 16  # images kept for the figure
LEVEL = 999.0  # what the networks of score matching call the end of time


def measure(book: Notebook, job: ImagesJob, config: Config, run: Run) -> None:
    table = TABLES[job.dataset]
    try:
        sets = [load_images(job.dataset, split) for split in ("train", "test")]
    except MissingData as error:
        book.skipped.append({"dataset": job.dataset, "method": "DiffFlow", "reason": str(error)})
        return
    fit, settings = job.training, methods.diffflow_training(job.training)
    grey_levels = sets[0].grey_levels
    train, test = _pad(sets[0].images, job.side), _pad(sets[1].images[: job.test_images], job.side)
    pixels, per_unit = dequantise(train, make_generator("diffflow", "dequantise", job.dataset), grey_levels)
    train_pixels = pixels.to(run.device)
    judge = _judge(job, sets, run) if job.samples else None
    bound, exact, fids, diverged = [], [], {}, None
    for seed in config.seeds:
        names = "diffflow", job.dataset, seed
        trained = train_diffflow(_pair(job, train, run.device, *names), train_pixels, settings,
                                 make_generator(*names, device=run.device), run.folder / f"{job.dataset}-{seed}")  # fmt: skip
        generator = make_generator(*names, "test", device=run.device)
        x = dequantise(test, make_generator(*names, "dequantise"), grey_levels)[0].to(run.device)
        times = settings.times(fit.sampling_steps)
        parts = x.split(fit.batch)
        found = torch.cat([elbo(trained.model, part, times, generator) for part in parts])
        bound.append(_bits(found, x, per_unit))
        try:
            found = torch.cat([ode_log_prob(trained.model, part, settings.t0, settings.T, generator, rtol=config.tolerance,
                                            atol=config.tolerance).log_prob for part in parts])  # fmt: skip
            exact.append(_bits(found, x, per_unit))
        except Diverged as error:
            diverged = diverged or Diverged(f"seed {seed}: {error}")
        if judge:

            def images(steps: int, lam: float, n: int = job.samples, model=trained.model, generator=generator) -> Tensor:
                return diffflow_images(job, model, settings, sets[0].shape, n, steps, generator, lam)

            for key, value in diffflow_fids(job, config, judge, images).items():
                fids.setdefault(key, []).append(value)
            book.arrays.setdefault(f"images/{job.dataset}/DiffFlow", images(fit.sampling_steps, 1.0, SHOWN).numpy())
    protocol = {"iterations": fit.iterations, "batch": fit.batch, "side": job.side, "test_images": len(x)}
    protocol |= {"dequantised": "uniform", "grey_levels": grey_levels}
    protocol |= {"tolerance": config.tolerance, "trace": "hutchinson"}
    # Table 3.3 names the grid and marks bounds with <=; Table 3.2 does neither, so that its number is taken to be the ODE's
    variants = (fit.grid, f"{fit.grid}, ODE") if job.dataset == "cifar10" else ("ELBO", "")
    if diverged:
        exact.clear()
        cell = {"table": table, "dataset": job.dataset, "method": "DiffFlow", "variant": variants[1]}
        book.skipped.append(diverged.cell(**cell, nfe=fit.sampling_steps))
    for variant, values in zip(variants, (bound, exact), strict=True):
        if not values:
            continue
        book.record(table, job.dataset, "DiffFlow", variant, "bpd", fit.sampling_steps, values, len(values) * len(x), protocol,
                    over="trainings")  # fmt: skip
    if judge:
        how = {"iterations": fit.iterations, "batch": fit.batch, "side": job.side}
        _record(book, job, config.sweep[-1], fids, how | dict(judge.protocol("fid", torch.empty(job.samples))))
        for name in config.jobs[run.job].models:
            found = ddpm_fids(job, config, run, name, judge, sets[0].shape)
            _record(book, job, config.sweep[-1], found, ddpm_protocol(config.models[name], judge, job.samples))
        book.arrays[f"images/{job.dataset}/data"] = to_unit(sets[1].images[:SHOWN]).numpy()
    _cost(book, config, job, train, train_pixels, run.device)


def _record(book: Notebook, job: ImagesJob, last: int, fids: dict[Key, list[float]], protocol: dict[str, object]) -> None:
    """FIDs, and their ratios to that of `last` steps, the most."""
    for (table, method, variant, metric, n), values in fids.items():
        if metric == "fid_degeneracy" and n == last:
            book.exact(table, job.dataset, method, variant, metric, 1.0, protocol, n)
            continue
        book.record(table, job.dataset, method, variant, metric, n, values, len(values) * job.samples, protocol, over="trainings")


def _judge(job: ImagesJob, sets: list[ImageSet], run: Run) -> Judge:
    settings = ClassifierSettings(job.classifier_steps)
    return make_judge(job.features, *sets, settings, run.folder.parent / "judges", run.device)


def _pad(images: Tensor, side: int) -> Tensor:
    """Black borders up to side x side, before dequantisation: a constant pixel would have no density."""
    borders = [half for n in (images.shape[-1], images.shape[-2]) for half in ((side - n) // 2, (side - n + 1) // 2)]
    return functional.pad(images, borders)


def _bits(log_prob: Tensor, x: Tensor, per_unit: float) -> float:
    return bits_per_dim(log_prob.double().mean(), math.prod(x.shape[1:]), per_unit).item()


def _pair(job: ImagesJob, images: Tensor, device: str, *names: object) -> NeuralSDE:
    fields = (ImageField(_network(job, images, *names, part), LEVEL / job.training.T) for part in ("drift", "score"))
    return NeuralSDE(*fields, job.training.g).to(device)


def _network(job: ImagesJob, images: Tensor, *names: object) -> nn.Module:
    return make_network(job.network, dict(job.network_settings), images.shape[1], job.side, derive_seed(*names))


def _cost(book: Notebook, config: Config, job: ImagesJob, train: Tensor, pixels: Tensor, device: str) -> None:
    """An iteration beside DDPM's with one such network, and the memory share of the states."""
    fit = job.training
    x, n, process, objective, ratios = pixels[: fit.batch], fit.sampling_steps, VP(), DSM(), []
    for seed in config.seeds:
        generator = make_generator("diffflow", "cost", seed, device=device)
        pair = _pair(job, train, device, "cost", seed)
        ddpm = NoisePrediction(_network(job, train, "cost", seed), process, "steps").to(device)

        def path(loss=adjoint_loss, pair=pair, generator=generator) -> Tensor:
            return loss(pair, x, l_beta(n, fit.t0, fit.T, fit.beta), draw_noise(x, n, generator)).mean()

        def matching(ddpm=ddpm, generator=generator) -> Tensor:
            return objective(ddpm, process, x, generator).mean()

        ours, theirs = (seconds_of_iteration(*pair_, job.timed) for pair_ in ((pair, path), (ddpm, matching)))
        ratios.append(ours / theirs)
    clock = "CPU seconds of one thread" if device == "cpu" else "wall"
    protocol = {"N": n, "batch": fit.batch, "timed": job.timed, "clock": clock, "network": job.network}
    book.record("text", job.dataset, "DiffFlow", "", "train_time_ratio", None, ratios, len(ratios) * fit.batch, protocol,
                over="runs")  # fmt: skip
    with SavedBytes(pair) as saved:
        path().backward()
    states = (n + 1) * x.numel() * x.element_size()
    book.exact("text", job.dataset, "DiffFlow", "", "states_percent_of_adjoint", 100 * states / saved.peak, protocol)
