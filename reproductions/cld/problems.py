"""The paper's processes and samplers by the names that its tables give them, and its two data sets with exact scores."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reproductions.cld.config import Config
from rescore.data.digits import load_digits
from rescore.problems import ExactProblem
from rescore.problems.mixtures import nine_modes
from rescore.processes import CLD, VP, LinearSDE, grids
from rescore.samplers import Method, Sampler, ddim, euler_maruyama, sscs, within_budget

MAIN = CLD(eps0=0.0)  # M = 0.25, Gamma = 1, beta = 4, gamma = 0.04
PROCESSES = {"CLD": MAIN, "VPSDE": VP()}
CLD_METHODS = {"EM": euler_maruyama, "SSCS": sscs}
GRIDS = {"US": grids.uniform, "QS": grids.quadratic_striding, "quadratic": grids.quadratic}
STRIDINGS = ("US", "QS")
MODES, MODE_STD = nine_modes(0.5, turned=True), 0.04
OFF_MODE = 4 * MODE_STD  # exact draws lie further from their mode with probability exp(-8) = 0.03 %


@dataclass(frozen=True)
class Recipe:
    """A sampler of the tables: a method and its times. With `denoise`, its last evaluation is the denoising step."""

    method: Method
    striding: str
    denoise: str = "euler"

    @property
    def grid(self) -> Callable[[LinearSDE, int], Tensor]:
        return GRIDS[self.striding]

    def within(self, process: LinearSDE, nfe: int) -> Sampler:
        """With at most `nfe` evaluations."""
        return within_budget(self.method, process, self.grid, nfe, denoise=self.denoise)


RECIPES = {  # (process, sampler)
    **{("VPSDE", f"EM-{s}"): Recipe(euler_maruyama, s) for s in STRIDINGS},
    **{("CLD", f"{name}-{s}"): Recipe(method, s) for name, method in CLD_METHODS.items() for s in STRIDINGS},
    ("VPSDE", "DDIM"): Recipe(ddim, "quadratic", denoise="none"),
}


def ode_variant(tolerance: float) -> str:
    """The table's name of the adaptive solver."""
    return f"ODE-RK45-{tolerance:.0e}".replace("e-0", "e-")


def mixture(config: Config, process: LinearSDE, n: int) -> ExactProblem:
    """Nine Gaussians of standard deviation 0.04 on a 3x3 grid of spacing 1/2, turned by 45 degrees."""
    stream = "cld", "mixture9", type(process).__name__, "prior"
    return ExactProblem.of_mixture("mixture9", process, MODES, MODE_STD, stream, config.seeds, n)


def digits(config: Config, process: LinearSDE, n: int) -> ExactProblem:
    """The empirical distribution of scikit-learn's 1,797 digits in [-1, 1]^64."""
    stream = "cld", "digits_exact", type(process).__name__, "prior"
    return ExactProblem.of_points("digits_exact", process, load_digits().float(), stream, config.seeds, n, torch.float32)
