"""What a job of the paper may measure."""

from reproductions.smld_sde.encoding import encoding
from reproductions.smld_sde.estimation import bands, kernel, manifold
from reproductions.smld_sde.grid import exact_grid, largest_sigma, sampled_grid, steps
from reproductions.smld_sde.langevin import example, toy
from reproductions.smld_sde.losses import losses
from reproductions.smld_sde.ncsn import ncsn
from reproductions.smld_sde.trained import likelihoods, trained

SECTIONS = {
    one.__name__: one
    for one in (
        example,
        toy,
        exact_grid,
        sampled_grid,
        steps,
        largest_sigma,
        trained,
        likelihoods,
        losses,
        ncsn,
        manifold,
        bands,
        kernel,
        encoding,
    )
}
