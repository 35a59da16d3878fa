"""Fig. 17 and Score-SDE Tables 1 to 3 with trained networks: FID, inception score, bits per dimension, over training seeds."""

from collections.abc import Iterator, Mapping

from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.processes import grids
from rescore.samplers import adaptive_flow, score_sde_sampler
from rescore.scores import Score, on_process

from reproductions.smld_sde.chains import SNR, ChainSampler, budgets, chain_samplers

MODELS = ("ve", "vp", "subvp")
KINDS = {"VE": "VE", "VP": "VP", "SubVP": "subVP"}  # a process's name in the tables
NAMES = {  # a network's
    "mlp": "MLP",
    "ddpm": "DDPM cont.",
    "ddpmpp": "DDPM++ cont.",
    "ddpmpp_deep": "DDPM++ cont. deep",
    "ncsnpp": "NCSN++ cont.",
    "ncsnpp_deep": "NCSN++ cont. deep",
}
DISCRETE = ("labels", "chain")  # levels of networks that were trained on a chain's own steps
CHAIN_OF_TABLE_3 = {"VE": "reverse diffusion", "VP": "ancestral"}  # the predictor there of a network of these


def trained(book: Book) -> None:
    models, settings = TrainedModels(book), book.config.trained
    flows, samplers = (printed(models, rows) for rows in (settings.table2, settings.table3))
    models.measure(chain_samplings(book, models), "fig. 17, trained")
    models.measure(table_samplings(book, models, flows, samplers), "Tables 2 and 3, trained")
    measure_bits(models, flows)
    models.floor("fig17")
    models.training()


def likelihoods(book: Book) -> None:
    """Table 2 alone: bits per dimension, and FID and inception score of the ODE solver's samples."""
    models, settings = TrainedModels(book), book.config.trained
    flows = printed(models, settings.table2)
    models.measure(table_samplings(book, models, flows, {}), "Table 2, trained")
    measure_bits(models, flows)
    models.floor("score-sde-2")


def measure_bits(models: TrainedModels, flows: Mapping[str, str]) -> None:
    """Bits per dimension of Table 2, by the probability flow and by the ELBO."""
    for model, name in flows.items():
        models.likelihood("score-sde-2", name, kind_of(models, model), model, bound=True)


def printed(models: TrainedModels, rows: Mapping[str, str] | None) -> dict[str, str]:
    """The job's models that have a row in a table, and its name there; without `rows` the three of `MODELS`."""
    if rows is None:
        return {model: NAMES[models.spec(model).network.name] for model in MODELS if model in models.names}
    return {model: name for model, name in rows.items() if model in models.names}


def kind_of(models: TrainedModels, model: str) -> str:
    return KINDS[models.spec(model).process.name]


def chain_samplings(book: Book, models: TrainedModels) -> Iterator[Sampling]:
    """Fig. 17 and Table 1: the chains' samplers on a network of each kind, trained for the chain or the continuous process."""
    levels = book.config.trained.levels
    chosen = {kind: model for kind, model in book.config.trained.chains.items() if model in models.names}
    for one in chain_samplers(levels, [kind for kind in SNR if kind in chosen]):
        yield on_chain(models, chosen[one.kind], one, one.table, one.method, one.variant, levels)


def on_chain(
    models: TrainedModels, model: str, one: ChainSampler, table: str, method: str, variant: str, levels: int
) -> Sampling:
    """A chain's sampler on the score of a network at the chain's own ratios of noise to signal.

    A network of a chain is given its own whole labels, or with `linear` scores of a doubled chain the label i / 2.
    """

    def adapt(score: Score) -> Score:
        return one.at_levels(on_process(score, models.process(model), one.process))

    discrete = models.spec(model).network.level in DISCRETE
    time = "discrete" if discrete else "continuous"
    protocol = {"levels": levels, "scores": one.scores, "network_time": time} | dict(one.correction)
    doubled = discrete and one.scores == "linear"
    return Sampling(table, method, variant, model, one.sampler, protocol, adapt, doubled=doubled)


def table_samplings(
    book: Book, models: TrainedModels, flows: Mapping[str, str], samplers: Mapping[str, str]
) -> Iterator[Sampling]:
    """Tables 3 and 2.

    Table 3: Euler-Maruyama on VP and subVP, reverse diffusion with a corrector on VE, each with its last update at eps, and a
    chain's sampler on a network trained for the chain. Table 2: the ODE solver to eps, and Tweedie's estimate there, for the
    authors' configs remove the noise that is left; of the last weights, where Table 3's are those of the least FID.
    """
    settings = book.config.trained
    for model, name in samplers.items():
        process, kind = models.process(model), kind_of(models, model)
        if models.spec(model).network.level in DISCRETE:
            steps, _, corrected, _ = budgets(settings.levels)
            wanted = CHAIN_OF_TABLE_3[kind], f"{kind} {corrected if kind == 'VE' else steps}"
            (one,) = (one for one in chain_samplers(settings.levels, [kind]) if (one.method, one.variant) == wanted)
            yield on_chain(models, model, one, "score-sde-3", name, kind, settings.levels)
            continue
        snr = SNR["VE"]["reverse diffusion"]
        sampler = score_sde_sampler(process, grids.uniform(process, settings.steps - 1), snr)
        protocol = {"grid": "uniform"} | ({"snr": snr} if kind == "VE" else {})
        yield Sampling("score-sde-3", name, kind, model, sampler, protocol)
    for model, name in flows.items():
        process = models.process(model)
        flow = adaptive_flow(process, [process.T, process.eps], settings.tolerance, denoise="tweedie")
        protocol = {"grid": "adaptive", "tolerance": settings.tolerance}
        yield Sampling("score-sde-2", name, kind_of(models, model), model, flow, protocol, last=True)
