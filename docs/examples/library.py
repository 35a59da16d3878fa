"""How far samplers are from the exact probability flow, on data whose score is known."""

import matplotlib.pyplot as plt
import numpy as np
import rescore
import torch
from rescore.problems import distances, flow

process = rescore.VP()
modes = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
problem = rescore.ExactProblem.of_mixture("two modes", process, modes, 0.3, ("start",), seeds=(0, 1, 2), n=500)
start = problem.start()  # draws of the prior, the same for every sampler
exact = problem.by_seed(flow.by_quantiles(problem.score, start, process.T, process.eps))

methods = {"Euler": rescore.euler_maruyama.where(lam=0.0), "DDIM": rescore.ddim, "tAB-DEIS": rescore.tab_deis.where(order=2)}
for name, method in methods.items():
    samplers = [method(process, rescore.grids.quadratic(process, steps)) for steps in (5, 10, 20, 40, 80)]
    errors = [np.mean(distances.solver_rmse(problem.run(sampler, start), exact)) for sampler in samplers]
    plt.loglog([sampler.nfe for sampler in samplers], errors, "o-", label=name)

plt.xscale("log", base=2)
plt.xlabel("score evaluations")
plt.ylabel("RMS distance to the exact flow")
plt.legend()
plt.savefig("library.png", dpi=100)
