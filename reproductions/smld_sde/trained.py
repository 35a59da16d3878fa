"""Fig. 17 and Score-SDE Tables 1 to 3 with trained networks: FID, inception score, bits per dimension, over training seeds."""

from collections.abc import Iterator

from reproductions.smld_sde.chains import SNR, chain_samplers
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.processes import grids
from rescore.samplers import adaptive_flow, score_sde_sampler
from rescore.scores import Score, on_process

MODELS = {"VE": "ve", "VP": "vp", "subVP": "subvp"}
NAMES = {  # a network's name in the tables
    "mlp": "MLP", "ddpmpp": "DDPM++ cont.", "ddpmpp_deep": "DDPM++ cont. deep",
    "ncsnpp": "NCSN++ cont.", "ncsnpp_deep": "NCSN++ cont. deep",
}  # fmt: skip


def trained(book: Book) -> None:
    models = TrainedModels(book)
    names = {kind: NAMES[models.spec(model).network.name] for kind, model in MODELS.items() if model in models.names}
    models.measure(chain_samplings(book, models), "fig. 17, trained")
    models.measure(table_samplings(book, models, names), "Tables 2 and 3, trained")
    for kind, name in names.items():
        models.likelihood("score-sde-2", name, kind, MODELS[kind], bound=True)
    models.floor("fig17")
    models.training()


def chain_samplings(book: Book, models: TrainedModels) -> Iterator[Sampling]:
    """Fig. 17 and Table 1: the chains' samplers on the scores of networks trained for the continuous processes."""
    levels = book.config.trained.levels
    for one in chain_samplers(levels):
        if (model := MODELS[one.kind]) not in models.names:
            continue

        def adapt(score: Score, one=one, model=model) -> Score:
            return one.at_levels(on_process(score, models.process(model), one.process))

        protocol = {"levels": levels, "scores": one.scores, "network_time": "continuous"} | dict(one.correction)
        yield Sampling(one.table, one.method, one.variant, model, one.sampler, protocol, adapt)


def table_samplings(book: Book, models: TrainedModels, names: dict[str, str]) -> Iterator[Sampling]:
    """Table 3: Euler-Maruyama on VP and subVP, reverse diffusion with a corrector on VE. Table 2: the ODE solver."""
    settings = book.config.trained
    for kind, name in names.items():
        process = models.process(MODELS[kind])
        snr = SNR["VE"]["reverse diffusion"]
        sampler = score_sde_sampler(process, grids.uniform(process, settings.steps), snr)
        protocol = {"grid": "uniform"} | ({"snr": snr} if kind == "VE" else {})
        yield Sampling("score-sde-3", name, kind, MODELS[kind], sampler, protocol)
        flow = adaptive_flow(process, [process.T, process.eps], settings.tolerance, settings.tolerance)
        yield Sampling("score-sde-2", name, kind, MODELS[kind], flow, {"grid": "adaptive", "tolerance": settings.tolerance})
