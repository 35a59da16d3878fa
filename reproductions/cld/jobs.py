"""What a job of the paper may measure."""

from reproductions.cld.densities import densities
from reproductions.cld.exact import damping, frechet, splitting, weights
from reproductions.cld.learned import gradients, learned
from reproductions.cld.multiscale import multiscale
from reproductions.cld.paths import paths
from reproductions.cld.sampled import digits, mixture, scores
from reproductions.cld.trained import jacobians, trained

SECTIONS = {
    one.__name__: one
    for one in (
        scores,
        damping,
        densities,
        weights,
        splitting,
        mixture,
        frechet,
        digits,
        trained,
        jacobians,
        learned,
        gradients,
        paths,
        multiscale,
    )
}
