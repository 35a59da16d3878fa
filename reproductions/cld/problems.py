"""The paper's processes and samplers by the names that its tables give them, and its two data sets with exact scores."""

import torch
from rescore.data.digits import load_digits
from rescore.models.evaluate import Sampling
from rescore.problems import ExactProblem
from rescore.problems.mixtures import nine_modes
from rescore.processes import CLD, VP, LinearSDE, grids
from rescore.samplers import Method, Sampler, adaptive_flow, ddim, euler_maruyama, sscs, within_budget

from reproductions.cld.config import Config

MAIN = CLD(eps0=0.0)  # M = 0.25, Gamma = 1, beta = 4, gamma = 0.04
PROCESSES = {"CLD": MAIN, "VPSDE": VP()}
CLD_METHODS = {"EM": euler_maruyama, "SSCS": sscs}
GRIDS = {"US": grids.uniform, "QS": grids.quadratic_striding, "quadratic": grids.quadratic}
STRIDINGS = ("US", "QS")
MODES, MODE_STD = nine_modes(0.5, turned=True), 0.04
OFF_MODE = 4 * MODE_STD  # exact draws lie further from their mode with probability exp(-8) = 0.03 %


# (process, sampler): the method and its times. Its last evaluation is the denoising step, but for DDIM.
RECIPES: dict[tuple[str, str], tuple[Method, str]] = {
    **{("VPSDE", f"EM-{s}"): (euler_maruyama.where(denoise="euler"), s) for s in STRIDINGS},
    **{("CLD", f"{name}-{s}"): (method.where(denoise="euler"), s) for name, method in CLD_METHODS.items() for s in STRIDINGS},
    ("VPSDE", "DDIM"): (ddim, "quadratic"),
}


def sampler_of(method: str, variant: str, process: LinearSDE, nfe: int, **options: object) -> Sampler:
    """A sampler of the tables with at most `nfe` evaluations."""
    make, striding = RECIPES[method, variant]
    return within_budget(make, process, GRIDS[striding], nfe, **options)


def sampling(table: str, method: str, variant: str, process: LinearSDE, nfe: int, model: str = "") -> Sampling:
    """Its place, and on which of the models."""
    protocol = {"grid": RECIPES[method, variant][1]}
    return Sampling(table, method, variant, model, sampler_of(method, variant, process, nfe), protocol)


def flow(table: str, process: LinearSDE, tolerance: float, model: str = "") -> Sampling:
    """The adaptive solver of the tables."""
    solver = adaptive_flow(process, [process.T, process.eps], tolerance, denoise="euler")
    variant = f"ODE-RK45-{tolerance:.0e}".replace("e-0", "e-")
    return Sampling(table, "CLD", variant, model, solver, {"grid": "adaptive", "tolerance": tolerance})


def mixture(config: Config, process: LinearSDE, n: int) -> ExactProblem:
    """Nine Gaussians of standard deviation 0.04 on a 3x3 grid of spacing 1/2, turned by 45 degrees."""
    stream = "cld", "mixture9", type(process).__name__, "prior"
    return ExactProblem.of_mixture("mixture9", process, MODES, MODE_STD, stream, config.seeds, n)


def digits(config: Config, process: LinearSDE, n: int) -> ExactProblem:
    """The empirical distribution of scikit-learn's 1,797 digits in [-1, 1]^64."""
    stream = "cld", "digits_exact", type(process).__name__, "prior"
    return ExactProblem.of_points("digits_exact", process, load_digits().float(), stream, config.seeds, n, torch.float32)
