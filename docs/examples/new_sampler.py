"""DPM-Solver++(2M) of Lu et al. (2022), arXiv 2211.01095, Algorithm 2, on any isotropic process."""

import torch
from rescore.problems import ExactProblem, distances, flow
from rescore.processes import VP, Isotropic, LinearSDE, grids
from rescore.processes.base import require
from rescore.samplers import ddim
from rescore.samplers.base import Denoise, Draw, Sampler, Times
from rescore.samplers.method import method
from rescore.scores import Score
from torch import Tensor


class DPMSolver2M(Sampler):
    """u <- (sigma_t / sigma_s) u - m_t (exp(-h) - 1) D, h = log(m / sigma) at t less that at s, D extrapolated clean data."""

    def __init__(self, process: LinearSDE, times: Times, denoise: Denoise = "none"):
        require(process, Isotropic, "dpm_solver_2m")
        super().__init__(process, times, denoise)
        self.m, self.sigma = process.mean(self.grid).values, process.Sigma(self.grid).values.sqrt()
        self.h = (self.m / self.sigma).log().diff()

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        m, sigma, before = self.m.tolist(), self.sigma.tolist(), None
        for i, h in enumerate(self.h.tolist()):
            clean = (u + sigma[i] ** 2 * score(u, self.times[i])) / m[i]  # E[x | u]
            slope = 0.0 if before is None else (clean - before) * (h / self.h[i - 1].item() / 2)
            shrink = sigma[i + 1] / sigma[i]
            u = shrink * u + (m[i + 1] - m[i] * shrink) * (clean + slope)  # m_s shrink = m_t exp(-h)
            before = clean
        return u


@method(applies=Isotropic, order=2)
def dpm_solver_2m(process: LinearSDE, times: Times, denoise: Denoise = "none") -> DPMSolver2M:
    """Order 2 with one evaluation per step."""
    return DPMSolver2M(process, times, denoise)


def errors(steps: tuple[int, ...]) -> dict[str, list[float]]:
    """RMS distance to the exact flow of two modes under VP, by method, for each number of steps."""
    process = VP()
    modes = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    problem = ExactProblem.of_mixture("two modes", process, modes, 0.3, ("start",), seeds=(0,), n=1000)
    start = problem.start()
    exact = problem.by_seed(flow.by_quantiles(problem.score, start, process.T, process.eps))
    samplers = {made.name: [made(process, grids.log_rho(process, n)) for n in steps] for made in (ddim, dpm_solver_2m)}
    return {name: [distances.solver_rmse(problem.run(one, start), exact)[0] for one in row] for name, row in samplers.items()}


if __name__ == "__main__":
    for name, row in errors((10, 20, 40, 80)).items():
        print(f"{name:14}", *(f"{error:.2e}" for error in row))
