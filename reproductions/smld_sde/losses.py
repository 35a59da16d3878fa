"""DDPM's losses L and L_simple (note eqs. 30 and 31) on networks trained alike: bits per dimension and FID."""

from rescore.experiments.book import Book
from rescore.models.evaluate import TrainedModels

from reproductions.smld_sde.chains import CELL, budgets, chain_samplers
from reproductions.smld_sde.trained import on_chain

PRINTED = {"vp": "L_simple", "vp-likelihood": "L"}  # a model's name in Score-SDE Table 2


def losses(book: Book) -> None:
    """Ancestral sampling on DDPM's chain, and likelihoods; L is the likelihood weighting of the continuous process."""
    models, levels = TrainedModels(book), book.config.losses.levels
    cell = "ancestral", CELL(kind="VP", budget=budgets(levels)[0])
    (one,) = (one for one in chain_samplers(levels, ["VP"]) if (one.method, one.variant) == cell)
    place = "score-sde-2", "MLP"
    models.measure((on_chain(models, name, one, *place, PRINTED[name], levels) for name in models.names), "L and L_simple")
    for name in models.names:
        models.likelihood(*place, PRINTED[name], name, bound=True)
