"""Fig. 17 and Score-SDE Tables 1 to 3 with trained networks: FID, inception score, bits per dimension, over training seeds."""

from collections.abc import Iterator

from reproductions.smld_sde import chains
from reproductions.smld_sde.chains import SNR, score_time
from reproductions.smld_sde.config import Config
from rescore.experiments.run import Measurement
from rescore.models.evaluate import Cell, TrainedModels
from rescore.processes import grids
from rescore.samplers import AdaptiveFlow, PredictorCorrector, euler_maruyama, reverse_diffusion
from rescore.scores import Score, on_process

MODELS = {"VE": "ve", "VP": "vp", "subVP": "subvp"}
SIDE = 2.0  # the networks see pixels in [-1, 1]
NAMES = {  # a network's name in the tables
    "mlp": "MLP", "ddpmpp": "DDPM++ cont.", "ddpmpp_deep": "DDPM++ cont. deep",
    "ncsnpp": "NCSN++ cont.", "ncsnpp_deep": "NCSN++ cont. deep",
}  # fmt: skip


def grid_cells(config: Config, models: TrainedModels) -> Iterator[Cell]:
    """Fig. 17 and Table 1: the chains' samplers on the scores of networks trained for the continuous processes."""
    levels = config.trained.levels
    for cell in chains.cells(levels, SIDE):
        if (model := MODELS[cell.kind]) not in models.names:
            continue

        def adapt(score: Score, cell=cell, model=model) -> Score:
            of_chain = on_process(score, models.process(model), cell.process)
            return lambda u, t: of_chain(u, score_time(t, levels, cell.scores))

        protocol = {"levels": levels, "scores": cell.scores, "network_time": "continuous"}
        if isinstance(cell.sampler, PredictorCorrector):
            protocol |= {"snr": cell.sampler.snr, "corrector_steps": cell.sampler.corrector_steps}
        yield Cell(cell.table, cell.method, cell.variant, model, cell.sampler, protocol, adapt)


def table_cells(config: Config, models: TrainedModels) -> Iterator[Cell]:
    """Table 3: Euler-Maruyama on VP and subVP, reverse diffusion with a corrector on VE. Table 2: the ODE solver."""
    settings = config.trained
    for kind, model in MODELS.items():
        if model not in models.names:
            continue
        process, name = models.process(model), NAMES[models.spec(model).network.name]
        times = grids.uniform(process, settings.steps)
        if kind == "VE":
            snr = SNR["VE"]["reverse diffusion"]
            sampler = PredictorCorrector(process, times, reverse_diffusion, snr, denoise="mean")
            yield Cell("score-sde-3", name, kind, model, sampler, {"grid": "uniform", "snr": snr})
        else:
            yield Cell("score-sde-3", name, kind, model, euler_maruyama(process, times, denoise="mean"), {"grid": "uniform"})
        flow = AdaptiveFlow(process, [process.T, process.eps], settings.tolerance, settings.tolerance)
        yield Cell("score-sde-2", name, kind, model, flow, {"grid": "adaptive", "tolerance": settings.tolerance})


def trained_tables(config: Config, models: TrainedModels) -> Iterator[Measurement]:
    yield from models.measure(grid_cells(config, models), "fig. 17, trained")
    yield from models.measure(table_cells(config, models), "Tables 2 and 3, trained")
    for kind, model in MODELS.items():
        if model in models.names:
            name = NAMES[models.spec(model).network.name]
            yield from models.likelihood("score-sde-2", name, kind, model, bound=True)
    yield from models.floor("fig17")
    yield from models.training()
