"""The methods of Tables 5.1 to 5.3, and what the text says of them: each is a section, each target a subject."""

from collections.abc import Callable
from functools import partial

from rescore.config import check_choice
from rescore.experiments.book import Book

from reproductions.pis import alanine, vae
from reproductions.pis.annealed import annealed, one_jump, one_jump_sizes
from reproductions.pis.chains import exact_draws, library_chains
from reproductions.pis.policies import noise_scale, path_integral
from reproductions.pis.study import Study
from reproductions.pis.sweeps import convergence, coverage, discretisation, separation
from reproductions.pis.theory import monte_carlo, theorem_3, theorem_4
from reproductions.pis.variational import variational_flow

METHODS: dict[str, Callable[[Study, str], None]] = {
    "gt": path_integral,
    "nn": path_integral,
    "grad": path_integral,
    "noise_scale": noise_scale,
    "importance": one_jump,
    "importance_sizes": one_jump_sizes,
    "smc": annealed,
    "aft": annealed,
    "vi_nf": variational_flow,
    "nuts": library_chains,
    "hmc": library_chains,
    "exact": exact_draws,
    "coverage": coverage,
    "convergence": convergence,
    "separation": separation,
    "discretisation": discretisation,
}


OF_POSTERIORS = ("nn", "grad", "smc", "aft", "vi_nf", "truth")


def measure(method: str, book: Book, dataset: str) -> None:
    """Raises RescoreError for a method that the data set does not have."""
    settings = book.config.datasets[dataset]
    posterior, molecule = settings.vae is not None, settings.molecule is not None
    check_choice(f"method of {dataset}", method, OF_POSTERIORS if posterior else alanine.SECTIONS if molecule else METHODS)
    if molecule:
        alanine.measure(book, dataset, method)
    elif method == "truth":
        vae.truth(book, dataset)
    elif posterior:
        vae.measure(METHODS[method], book, dataset, method)
    else:
        METHODS[method](Study(book, dataset), method)


def theory(name: str, book: Book, dataset: str) -> None:
    """Theorems on Gaussians and on `mg`, which counts as their subject."""
    THEORY[name](book)


THEORY = {"theorem_3": theorem_3, "theorem_4": theorem_4, "monte_carlo": monte_carlo}
SECTIONS = {method: partial(measure, method) for method in (*METHODS, "truth", "md", "snf")}
SECTIONS |= {name: partial(theory, name) for name in THEORY}
