"""Turn runs of the toys and the cells of fig. 17 into records."""

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from reproductions.smld_sde import chains, toys
from reproductions.smld_sde.chains import PREDICTORS, Cell
from reproductions.smld_sde.config import Config, Job
from reproductions.smld_sde.gaussian import DigitsGaussian, cell_distance, result_law
from reproductions.smld_sde.trained import trained_tables
from rescore.errors import Diverged
from rescore.experiments.run import Measurement, Notebook, Result, Run
from rescore.metrics import sliced_wasserstein
from rescore.models.evaluate import TrainedModels
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import reverse_diffusion
from rescore.scores import GaussianMixture

UNIT = {  # NCSN's mixture divided by 10
    "means": torch.tensor([[0.5, 0.5], [-0.5, -0.5]], dtype=torch.float64),
    "std": 0.1,
    "weights": torch.tensor([0.8, 0.2], dtype=torch.float64),
}
DATASETS = {"example": "mixture1d", "toy": "mixture2d", "sampled_grid": "mixture2d_unit"}  # of the parts that sample
KEPT = 2000  # particles of a run kept for the figures


def measure(job: Job, config: Config, run: Run) -> Result:
    """All parts of one job."""
    book = Notebook()
    for part in job.measure:
        with book.skipping(dataset=DATASETS.get(part, "digits_gaussian")):
            PARTS[part](config, book)
    if job.models:
        models = TrainedModels(config, run, book.arrays)
        book.measurements += trained_tables(config, models)
        book.function_evaluations += models.evaluations
        book.skipped += models.skipped
    return book.result


def example(config: Config, book: Notebook) -> None:
    """Fig. 7 and what changes it."""
    boundary = toys.basin_boundary()
    _toy(book, toys.run_example(config), lambda outcome: toys.mode_numbers(outcome.x, boundary))


def toy(config: Config, book: Notebook) -> None:
    """NCSN's mixture in the plane."""
    _toy(book, toys.run_toy(config), lambda outcome: outcome.numbers)


def _toy(
    book: Notebook, outcomes: Iterator[toys.Outcome], numbers: Callable[[toys.Outcome], Mapping[str, np.ndarray]]
) -> None:
    started = time.perf_counter()
    for outcome in outcomes:
        seconds, started = time.perf_counter() - started, time.perf_counter()
        seeds, particles = outcome.x.shape[:2]
        for metric, values in numbers(outcome).items():
            book.record(outcome.table, outcome.dataset, outcome.method, outcome.variant, metric, outcome.nfe, values,
                        seeds * particles, outcome.protocol, seconds, over="runs")  # fmt: skip
        name = "/".join(filter(None, (outcome.dataset, outcome.method, outcome.variant)))
        book.arrays[name] = outcome.x.flatten(0, 1)[:KEPT].numpy()
        book.function_evaluations += outcome.function_evaluations


def exact_grid(config: Config, book: Notebook) -> None:
    """Fig. 17 on `digits_gaussian`, without sampling error."""
    digits = DigitsGaussian.load()
    for cell in progress(list(chains.cells(config.grid.levels)), desc="exact grid"):
        started = time.perf_counter()
        value = cell_distance(cell, digits, config.grid.levels)
        _exact(book, cell.table, cell.method, cell.variant, cell.sampler.nfe, value, started, _grid_protocol(cell))
    levels = config.grid.levels
    started, process = time.perf_counter(), chains.chain("VE", levels)
    noisy = reverse_diffusion(process, chains.chain_times(levels))
    value = digits.distance(result_law(noisy, process, digits.on_pixels("VE"), levels), "VE")
    protocol = {"process": "VE", "levels": levels, "denoise": "none"}
    _exact(book, "fig17", "reverse diffusion", f"VE P{levels} not denoised", levels, value, started, protocol)


def _exact(book: Notebook, table: str, method: str, variant: str, nfe: int, value: float, started: float,
           protocol: Mapping[str, object]) -> None:  # fmt: skip
    """A distance between laws: no seed, no samples."""
    protocol = {"score": "exact", "law": "exact"} | dict(protocol)
    seconds = time.perf_counter() - started
    book.measurements.append(
        Measurement.exact(table, "digits_gaussian", method, variant, "sw2", nfe, value, protocol, seconds, n_samples=0)
    )


def _grid_protocol(cell: Cell) -> dict[str, object]:
    protocol: dict[str, object] = {"process": cell.kind, "levels": cell.sampler.steps, "scores": cell.scores}
    if hasattr(cell.sampler, "snr"):
        protocol |= {"snr": cell.sampler.snr, "corrector_steps": cell.sampler.corrector_steps, "order": "corrector first"}
    return protocol | {"denoise": cell.sampler.denoise}


def sampled_grid(config: Config, book: Notebook) -> None:
    """Fig. 17 on `mixture2d_unit`: NCSN's mixture shrunk into [-1, 1]^2, by the samplers themselves."""
    shape, levels = (len(config.seeds), config.grid.particles, 2), config.grid.sampled_levels
    n = shape[0] * shape[1]
    means, std, weights = UNIT["means"], UNIT["std"], UNIT["weights"]
    data = GaussianMixture(chains.chain("VP", levels), means, std, weights)
    exact, reference = (
        data.sample(n, 0.0, make_generator("smld_sde", "mixture2d_unit", name)).reshape(shape)
        for name in ("exact", "reference")
    )
    _sampled(book, "exact draws", "", None, exact, reference, {}, time.perf_counter())
    for cell in progress([cell for cell in chains.cells(levels) if cell.table == "fig17"], desc="sampled grid"):
        started = time.perf_counter()
        half = 1.0 if cell.kind == "VP" else 0.5  # VE takes [0, 1]
        score = GaussianMixture(cell.process, half * means + (1 - half), half * std, weights)
        generator = make_generator("smld_sde", "mixture2d_unit", cell.method, cell.variant)
        u = cell.sampler.process.prior_sample((n, 2), generator, torch.float64)

        def at_level(u: torch.Tensor, t: float, score=score, cell=cell) -> torch.Tensor:
            return score(u, chains.score_time(t, levels, cell.scores))

        try:
            x = cell.sampler(at_level, u, generator)
        except Diverged as error:
            named = {"table": "fig17", "dataset": "mixture2d_unit", "method": cell.method, "variant": cell.variant}
            book.skipped.append(error.cell(**named, nfe=cell.sampler.nfe))
            continue
        x = ((x - (1 - half)) / half).reshape(shape)
        _sampled(book, cell.method, cell.variant, cell.sampler.nfe, x, reference, _grid_protocol(cell), started)
        book.function_evaluations += cell.sampler.nfe * n


def _sampled(book: Notebook, method: str, variant: str, nfe: int | None, x: torch.Tensor, reference: torch.Tensor,
             protocol: Mapping[str, object], started: float) -> None:  # fmt: skip
    """Distance to other draws, weight of the right mode, and standard deviation around the modes; x (seeds, particles, 2)."""
    right = (x.sum(2) > 0)[..., None]
    centred = x - torch.where(right, UNIT["means"][0], UNIT["means"][1])
    numbers = {
        "sw2": np.array([sliced_wasserstein(*pair) for pair in zip(x, reference, strict=True)]),
        "weight_right": right.double().mean((1, 2)).numpy(),
        "std": centred.square().mean((1, 2)).sqrt().numpy(),
    }
    seeds, particles = x.shape[:2]
    protocol, seconds = {"score": "exact", "particles": particles} | dict(protocol), time.perf_counter() - started
    for metric, values in numbers.items():
        book.record("fig17", "mixture2d_unit", method, variant, metric, nfe, values, seeds * particles, protocol, seconds,
                    over="runs")  # fmt: skip


def steps(config: Config, book: Notebook) -> None:
    """The predictors' error against their number of steps, on `digits_gaussian`."""
    digits = DigitsGaussian.load()
    for n in config.steps:
        for kind in ("VE", "VP"):
            process = chains.chain(kind, n)
            for name in PREDICTORS:
                started = time.perf_counter()
                sampler = chains.predictor(name, kind)(process, chains.chain_times(n), denoise=chains.last_step(name))
                value = digits.distance(result_law(sampler, process, digits.on_pixels(kind), n), kind)
                protocol = {"process": kind, "levels": n, "scores": "own", "denoise": sampler.denoise}
                _exact(book, "steps", name, kind, n, value, started, protocol)


def largest_sigma(config: Config, book: Notebook) -> None:
    """Reverse diffusion on SMLD chains that end at other noise levels, on `digits_gaussian`."""
    digits, levels = DigitsGaussian.load(), config.grid.levels
    for sigma in config.largest_sigmas:
        started, process = time.perf_counter(), chains.chain("VE", levels, sigma)
        sampler = reverse_diffusion(process, chains.chain_times(levels), denoise="mean")
        value = digits.distance(result_law(sampler, process, digits.on_pixels("VE"), levels), "VE")
        protocol = {"process": "VE", "levels": levels, "sigma_max": sigma, "denoise": sampler.denoise}
        _exact(book, "largest-sigma", "reverse diffusion", f"VE sigma_max {sigma:g}", levels, value, started, protocol)


PARTS: dict[str, Callable[[Config, Notebook], None]] = {
    "example": example,
    "toy": toy,
    "exact_grid": exact_grid,
    "sampled_grid": sampled_grid,
    "steps": steps,
    "largest_sigma": largest_sigma,
}
