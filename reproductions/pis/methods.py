"""The methods of Table 5.1, each a function from a data set to repeated estimates of log Z."""

from collections.abc import Callable

from reproductions.pis.annealed import annealed, one_jump, one_jump_sizes
from reproductions.pis.chains import exact_draws, library_chains
from reproductions.pis.context import Context, Outcome
from reproductions.pis.policies import noise_scale, path_integral
from reproductions.pis.variational import variational_flow

METHODS: dict[str, Callable[[Context, str], Outcome]] = {
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
}
