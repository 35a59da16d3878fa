"""What a job of the paper may measure."""

from reproductions.smld_sde.grid import exact_grid, largest_sigma, sampled_grid, steps
from reproductions.smld_sde.langevin import example, toy
from reproductions.smld_sde.trained import trained
from rescore.experiments.book import Section

SECTIONS: dict[str, Section] = {
    "example": example,
    "toy": toy,
    "exact_grid": exact_grid,
    "sampled_grid": sampled_grid,
    "steps": steps,
    "largest_sigma": largest_sigma,
    "trained": trained,
}
