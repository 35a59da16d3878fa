"""Tables 3.3 to 3.5 on images: FID of DiffFlow, DDPM and DDIM against the number of steps N."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from reproductions.diffflow.config import Config, ImagesJob
from reproductions.diffflow.methods import T0, ddpm_sampler
from rescore.experiments.run import Run
from rescore.models.build import load_model
from rescore.models.judge import Judge, draw
from rescore.models.spec import ModelSpec
from rescore.neural_sde import DiffFlowTraining, NeuralSDE
from rescore.random import make_generator

Key = tuple[str, str, str, str, int]
"""Table, method, variant, metric, N."""


def diffflow_images(job: ImagesJob, model: NeuralSDE, settings: DiffFlowTraining, shape: tuple[int, int, int], n: int, steps: int,
                    generator: torch.Generator, lam: float = 1.0) -> Tensor:  # fmt: skip
    """n images (n, *shape) in [-1, 1], without the borders that the model has."""
    parts = []
    for start in range(0, n, job.training.batch):
        state = (min(job.training.batch, n - start), shape[0], job.side, job.side)
        u = torch.randn(state, generator=generator, device=generator.device)
        parts.append(model.sample(u, settings.times(steps), generator, lam).cpu())
    top, left = (job.side - shape[1]) // 2, (job.side - shape[2]) // 2
    return torch.cat(parts)[..., top : top + shape[1], left : left + shape[2]]


def diffflow_fids(job: ImagesJob, config: Config, judge: Judge, images: Callable[[int, float], Tensor]) -> dict[Key, float]:
    """Table 3.3's SDE and ODE, and the rows of Tables 3.4 and 3.5; images(steps, lam) draws `job.samples`."""
    grid, last = job.training.grid, job.training.sampling_steps

    def fid(steps: int, lam: float = 1.0) -> float:
        return judge(images(steps, lam), ["fid"])["fid"]

    found = {("3.3", "DiffFlow", grid, "fid", last): fid(last), ("3.3", "DiffFlow", f"{grid}, ODE", "fid", last): fid(last, 0.0)}
    return found | swept("DiffFlow", grid, config.sweep, fid)


def ddpm_fids(
    job: ImagesJob, config: Config, run: Run, name: str, judge: Judge, shape: tuple[int, int, int]
) -> dict[Key, list[float]]:
    """Of one of the suite's models of these images, at each training seed: ancestral samples and DDIM's, from the same noise."""
    spec, found = config.models[name], {}
    for seed in config.training_seeds:
        model = load_model(spec.model_copy(update={"seed": seed}), run.models[f"{name}/{seed}"], shape, run.device)

        def fid(steps: int, deterministic: bool = False, model=model, seed=seed) -> float:
            sampler = ddpm_sampler(model.process, steps, deterministic)
            generator = make_generator("samples", spec.data, seed, device=run.device)
            return judge(draw(sampler, model.score, shape, job.samples, generator), ["fid"])["fid"]

        ddim = partial(fid, deterministic=True)
        for key, value in (swept("DDPM", "L_s", config.sweep, fid) | swept("DDIM", "", config.sweep, ddim)).items():
            found.setdefault(key, []).append(value)
    return found


def ddpm_protocol(spec: ModelSpec, judge: Judge, samples: int) -> dict[str, object]:
    how = {"process": spec.process.name.lower(), "score": "trained", "grid": "uniform", "t0": T0}
    return how | spec.protocol | dict(judge.protocol("fid", torch.empty(samples)))


def swept(method: str, variant: str, sweep: tuple[int, ...], fid: Callable[[int], float]) -> dict[Key, float]:
    """FID for each N, and its ratio to that of the largest N."""
    fids = {n: fid(n) for n in sweep}
    found = {("3.4", method, variant, "fid", n): value for n, value in fids.items()}
    return found | {("3.5", method, variant, "fid_degeneracy", n): value / fids[sweep[-1]] for n, value in fids.items()}
