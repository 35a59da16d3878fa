"""What chapter 7 says of scores along the flow: eps on a trained network (fig. 7.1), its phases (fig. 7.2), Props. 6 and 8."""

from __future__ import annotations

import numpy as np
import torch
from rescore.data.digits import load_digits
from rescore.experiments.book import Book
from rescore.models.evaluate import TrainedModels
from rescore.problems import ExactProblem
from rescore.problems.flow import trace
from rescore.processes import VP, LinearSDE
from rescore.processes.grids import quadratic
from rescore.random import Streams, derive_seed
from rescore.samplers import gddim
from rescore.scores import EmpiricalData, Score
from torch import Tensor

from reproductions.gddim.tables import FACTOR, GRID_ORDERS

CHANNELS = {"R": slice(0, 2), "L": slice(1, 2)}  # of eps under L only that of v enters
SURE = 0.99  # the weight of one mode from which on it dominates p_t
ALIKE = 0.9  # the share of log M that the weights' entropy has where they are nearly equal
PHASES = ("fully mixed", "mixing", "one mode")  # in the order of sampling: fig. 7.2's green, blue and red
SCORE_TIMES = ((0.8, 0.2), (0.2, 0.8), (0.5, 0.05))  # from s to t, in units of T


def noise_along(process: LinearSDE, factor: str, times: Tensor, scores: Tensor) -> Tensor:
    """eps = -K_t^T s along a path of CLD, the channels that enter the sampler: (steps, n, channels, *data)."""
    noise = torch.stack([-process.K(t, factor).T(s) for t, s in zip(times.tolist(), scores, strict=True)])
    return noise[:, :, CHANNELS[factor]]


def spread(noise: Tensor) -> float:
    """RMS over states and channels of the standard deviation over times, which are equally spaced in sqrt(t)."""
    return noise.double().std(0, correction=0).square().mean().sqrt().item()


def noise_trained(book: Book) -> None:
    """Fig. 7.1 as it is stated: eps of trained networks of CLD along their own flow."""
    models, config = TrainedModels(book), book.config
    process, n, paths = models.process("cld"), 16, []
    solver = gddim(process, quadratic(process, config.reference_steps), GRID_ORDERS["CLD"])
    protocol = {
        "process": "CLD",
        "score": "trained",
        "grid": "quadratic",
        "t0": process.eps,
        "reference_steps": config.reference_steps,
    } | models.spec("cld").protocol
    for factor in CHANNELS:
        place = ("fig7.1", models.data, "network's flow", FACTOR(factor=factor), None, protocol | {"factor": factor})
        with book.cell(*place, n=n, over="trainings", matched=models.matched("cld")) as cell:
            if not cell.todo:
                continue
            for seed in config.training_seeds if not paths else ():
                streams = Streams.named("gddim", "fig7.1", seed, n=n, device=book.run.device)
                u = process.prior_sample((n, *process.state_shape(models.train.shape)), streams, device=book.run.device)
                paths.append(trace(solver, models.load("cld", seed).score, u))
            noises = [noise_along(process, factor, times, scores) for times, _, scores in paths]
            cell.add("noise_change", [spread(noise) for noise in noises])
            cell.add("noise_change_v", [spread(noise[:, :, -1:]) for noise in noises])
            times, states, _ = paths[0]
            cell.arrays[f"noise/{models.data}/{factor}"] = middle_pixels(noises[0])
            cell.arrays |= {f"noise/{models.data}/u": middle_pixels(states), f"noise/{models.data}/times": times.numpy()}


def middle_pixels(path: Tensor) -> np.ndarray:
    """Of the first state, three pixels in the middle of the image, where the digits differ most: (steps, channels, 3)."""
    height, width = path.shape[-2:]
    first = height // 2 * width + width // 2 - 1
    return path[:, 0].flatten(2)[..., first : first + 3].cpu().numpy()


def phases(book: Book) -> None:
    """Fig. 7.2: how fast eps changes along the exact flow of a Dirac mixture, in each phase of its weights.

    `noise_rate` is |d eps / d sqrt(t)| / sqrt(d), the mean over states and times of a phase, on times equally spaced in
    sqrt(t); `share` is the part of all these that lies in the phase.
    """
    config, process = book.config, VP()
    for dataset, points in dirac_mixtures().items():
        problem = ExactProblem.of_points(dataset, process, points, ("gddim", "phases", dataset), config.seeds, config.samples)
        protocol = {
            "process": "DDPM",
            "score": "exact",
            "grid": "quadratic",
            "reference_steps": config.reference_steps,
            "t0": process.eps,
            "one mode": SURE,
            "fully mixed": ALIKE,
        }
        found = None
        for phase in PHASES:
            with book.cell("fig7.2", dataset, "exact flow", phase, None, protocol, n=problem.n) as cell:
                if not cell.todo:
                    continue
                found = found or phases_of(problem, config.reference_steps)
                rates, which, times = found
                seeds = torch.arange(problem.size).split(problem.n)
                inside = [which[:, of] == PHASES.index(phase) for of in seeds]
                if all(mask.any() for mask in inside):
                    cell.add("noise_rate", [rates[:, of][mask].mean().item() for of, mask in zip(seeds, inside, strict=True)])
                else:
                    cell.skip("noise_rate: no state of a seed is in this phase")
                cell.add("share", [mask.double().mean().item() for mask in inside])
                cell.arrays |= {
                    f"phases/{dataset}/rates": rates[:, :3].numpy(),
                    f"phases/{dataset}/which": which[:, :3].numpy(),
                    f"phases/{dataset}/times": times.numpy(),
                }


def dirac_mixtures() -> dict[str, Tensor]:
    """Well-separated points: four in the plane, and ten digits, the first of each class."""
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    return {"four_points": corners, "ten_digits": load_digits()[:10].double()}  # the first ten are 0 to 9


def phases_of(problem: ExactProblem, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rates of change of eps and phases, (steps - 1, states), and the times between which they are."""
    process, points = problem.process, problem.points.flatten(1)
    times, states, scores = trace(gddim(process, quadratic(process, steps), 3), problem.score, problem.start())
    noise = torch.stack([process.R(t)(s) for t, s in zip(times.tolist(), scores, strict=True)]).flatten(2)
    rates = noise.diff(dim=0).square().mean(2).sqrt() / times.sqrt().diff().abs()[:, None]
    which = []
    for t, u in zip(times.tolist(), states.flatten(2), strict=True):
        m, variance = process.mean(t).values, process.Sigma(t).values
        weights = torch.softmax(-torch.cdist(u, m * points).square() / (2 * variance), 1)
        entropy = torch.special.entr(weights).sum(1) / torch.log(torch.tensor(float(len(points))))
        which.append(torch.where(weights.amax(1) > SURE, 2, torch.where(entropy > ALIKE, 0, 1)))
    return rates, torch.stack(which)[:-1], times


def recovered(process: LinearSDE, score: Score, u: Tensor, t: float, u_s: Tensor, s: float) -> Tensor:
    """The score at (u, t) from that at (u_s, s): Sigma_t^-1 Psi Sigma_s s(u_s, s) - Sigma_t^-1 [u - Psi u_s] (Props. 6, 8)."""
    precision, psi = process.Sigma(t).inv(), process.Psi(t, s)
    return precision(psi(process.Sigma(s)(score(u_s, s))) - (u - psi(u_s)))


def score_recovery(book: Book, processes: dict[str, LinearSDE], points: Tensor) -> None:
    """Props. 6 (VP) and 8 (all): relative RMS error of scores at (u, t) from one evaluation at (u_s, s), for any u, u_s.

    On one point, where the propositions are exact; on all digits, u_s and u being draws of p_s and p_t of the same digit.
    """
    config = book.config
    for name, process in processes.items():
        for dataset, data in {"one_point": points[:1], "digits_exact": points}.items():
            protocol = {"process": name, "score": "exact", "times": "/".join(f"{s:g} to {t:g}" for s, t in SCORE_TIMES)}
            with book.cell("prop8", dataset, "one score", name, 1, protocol, n=config.samples) as cell:
                if cell.todo:
                    score = EmpiricalData(process, data.double())
                    cell.add(
                        "score_error", [recovery_error(process, score, config.samples, name, seed) for seed in config.seeds]
                    )


def recovery_error(process: LinearSDE, score: EmpiricalData, n: int, name: str, seed: int) -> float:
    """Of n draws at each pair of SCORE_TIMES: the RMS of the difference over that of the score."""
    errors, sizes = [], []
    for s, t in ((process.T * s, process.T * t) for s, t in SCORE_TIMES):
        noise = Streams([derive_seed("gddim", "prop8", name, s, t, seed)], n)
        x = score.points[noise.integers(len(score.points), (n,))].reshape(n, *score.data)
        u_s = process.mean(s)(process.augment(x)) + process.R(s)(noise.normal(process_shape(process, x), torch.float64))
        u = process.mean(t)(process.augment(x)) + process.R(t)(noise.normal(process_shape(process, x), torch.float64))
        exact = score(u, t)
        errors.append((recovered(process, score, u, t, u_s, s) - exact).square().sum())
        sizes.append(exact.square().sum())
    return (sum(errors) / sum(sizes)).sqrt().item()


def process_shape(process: LinearSDE, x: Tensor) -> tuple[int, ...]:
    """Of states for data x."""
    return (len(x), *process.state_shape(tuple(x.shape[1:])))
