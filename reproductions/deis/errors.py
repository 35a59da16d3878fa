"""Where errors come from (section 6.3): the fit of a network on the line, and the extrapolation of its noise prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.models.evaluate import TrainedModels
from rescore.networks import NoisePrediction
from rescore.networks.ensemble import Ensemble
from rescore.networks.mlp import MLP, MLPConfig
from rescore.objectives import DSM, UniformTimes
from rescore.problems.flow import by_rho_rk4
from rescore.processes import VP, LinearSDE
from rescore.processes.grids import NAMED as GRIDS
from rescore.random import Streams, make_generator, seeded, small_seed
from rescore.samplers.weights import lagrange, past
from rescore.scores import GaussianMixture, Score, to_noise
from rescore.training import Adam
from rescore.training.ensemble import Tracked, train_ensemble
from torch import Tensor

DEGREE = Axes("r={r}")
DEGREES = (0, 1, 2, 3)
FIT_TIMES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
NEAR, FAR = (0.0, 2.0), (4.0, 8.0)  # standard deviations of p_t from its mean: where p_t is large, and where it is small
REGIONS = {"p_t large": NEAR, "p_t small": FAR}
MAP_X, MAP_T = torch.linspace(-2, 2, 161), torch.linspace(0.005, 1, 100)


def extrapolation_errors(process: LinearSDE, grid: Tensor, between: int, noises: list[Tensor], degree: int) -> Tensor:
    """|eps(x_tau, tau) - P_r(tau)| / sqrt(d) along exact solutions (below eq. 6.13), (taus, batch).

    Args:
        noises: eps at the times of `fine`, (batch, *data) each: `between` of them to a step, behind the step's start.
        degree: r; the first steps have lower ones.
    """
    taus, errors = fine(grid, between), []
    for i in range(len(grid) - 1):
        nodes, inner = past(grid, slice(i, i + 1), min(i, degree) + 1), range(between * i + 1, between * (i + 1) + 1)
        weights = lagrange(nodes, taus[None, inner[0] : inner[-1] + 1])[0]  # (nodes, between)
        known = [noises[between * (i - j)] for j in range(nodes.shape[1])]
        for k, tau in enumerate(inner):
            guess = sum(weight * eps for weight, eps in zip(weights[:, k].tolist(), known, strict=True))
            errors.append((noises[tau] - guess).flatten(1).square().mean(1).sqrt())
    return torch.stack(errors)


def fine(grid: Tensor, between: int) -> Tensor:
    """The grid's times with `between` - 1 more in each step, equally spaced."""
    share = torch.arange(between, dtype=torch.float64) / between
    return torch.cat(((grid[:-1, None] + grid.diff()[:, None] * share).flatten(), grid[-1:]))


def measure_extrapolation(
    book: Book, process: LinearSDE, place: Callable[..., Cell], paths: Callable[[list[float]], list[tuple[Score, list[Tensor]]]]
) -> None:
    """The cells of fig. 6.4b: mean over a solution's times and over solutions, for each degree and grid.

    Args:
        paths: from times to (score, states at them) of each repeat.
    """
    settings = book.config.extrapolation
    for name in settings.grids:
        grid = GRIDS[name](process, settings.steps, t0=book.config.t0)
        times, noises = fine(grid, settings.between).tolist(), None
        for degree in DEGREES:
            how = {"grid": name, "steps": settings.steps, "times_a_step": settings.between - 1}
            with place("fig6.4b", DEGREE(r=degree), name, **how) as cell:
                if not cell.todo:
                    continue
                if noises is None:
                    noises = [
                        [to_noise(process, score)(u, t) for u, t in zip(states, times, strict=True)]
                        for score, states in paths(times)
                    ]
                errors = [extrapolation_errors(process, grid, settings.between, one, degree) for one in noises]
                inside = torch.arange(len(times) - 1) % settings.between != settings.between - 1  # the ends are the next starts
                cell.add("extrapolation_error", [one[inside].mean().item() for one in errors])
                curve = torch.stack([one.mean(1) for one in errors]).mean(0)
                cell.arrays[f"extrapolation/{cell._key['dataset']}/{name}/{degree}"] = curve.numpy()


def extrapolation_trained(book: Book) -> None:
    """Fig. 6.4b on trained networks, each along its own exact flow."""
    models, config = TrainedModels(book), book.config
    process, n = models.process("vp"), config.extrapolation.samples

    def paths(times: list[float]) -> list[tuple[Score, list[Tensor]]]:
        found = []
        for seed in config.training_seeds:
            score = models.load("vp", seed).score
            noise = Streams.named("deis", "extrapolation", seed, n=n, device=book.run.device)
            u = process.prior_sample((n, *models.train.shape), noise, device=book.run.device)
            found.append((score, [u, *by_rho_rk4(process, score, u, times[1:], config.reference_steps)]))
        return found

    def place(table: str, method: str, variant: str, **how: object) -> Cell:
        protocol = {"process": "vp", "score": "trained", "t0": config.t0, "reference_steps": config.reference_steps}
        protocol |= models.spec("vp").protocol | how
        matched = models.matched("vp")
        return book.cell(table, models.data, method, variant, None, protocol, n=n, over="trainings", matched=matched)

    measure_extrapolation(book, process, place, paths)


def fitting(book: Book) -> None:
    """Fig. 6.2: the error of networks trained on a narrow Gaussian on the line, where p_t is large and where it is small.

    `fitting_error` is the RMS over FIT_TIMES of the RMS of s_theta - s in the region over that of s; `noise_error` the RMS over
    both of sigma_t times the difference, the scaled error: the error of eps.
    """
    settings, process = book.config.fitting, VP()
    protocol = settings.protocol | {
        "network": "mlp",
        "width": settings.width,
        "process": "vp",
        "std": settings.std,
        "objective": "dsm",
        "weighting": "simple",
    }
    tracked = None
    for region, (low, high) in REGIONS.items():
        how = protocol | {"from": low, "to": high, "times": "/".join(map(str, FIT_TIMES))}
        with book.cell("fig6.2", "narrow Gaussian", "MLP (VP)", region, None, how, n=len(FIT_TIMES), over="trainings") as cell:
            if not cell.todo:
                continue
            tracked = tracked or train_on_line(book, process)
            fits = [fit_errors(process, tracked.ensemble.member(i), settings.std, low, high) for i in range(settings.members)]
            cell.add("fitting_error", [relative for relative, _ in fits])
            cell.add("noise_error", [scaled for _, scaled in fits])
            if region == "p_t large":
                cell.arrays |= fit_maps(process, tracked.ensemble.member(0), settings.std)


def narrow(process: LinearSDE, std: float) -> GaussianMixture:
    """The exact score of N(0, std^2) on the line."""
    return GaussianMixture(process, torch.zeros(1, 1, dtype=torch.float64), std)


def train_on_line(book: Book, process: LinearSDE) -> Tracked:
    """An ensemble of noise predictions trained by denoising score matching (eqs. 6.3 and 6.9)."""
    settings = book.config.fitting
    shape = MLPConfig(width=settings.width, blocks=settings.blocks)
    members = [seeded(lambda: MLP(shape, (1,)), small_seed("deis", "fitting", i)) for i in range(settings.members)]
    ensemble, objective = Ensemble(members), DSM("simple", UniformTimes(1e-5))
    network, n = NoisePrediction(ensemble, process), settings.members * settings.batch

    def losses(draws: torch.Generator) -> Tensor:
        return objective(network, process, settings.std * torch.randn(n, 1, generator=draws), draws)

    tracked = Tracked(ensemble, settings.steps, every=settings.steps)
    draws = make_generator("deis", "fitting")
    return train_ensemble(
        tracked,
        losses,
        lambda: torch.zeros(settings.members),
        Adam.of(settings),
        draws,
        book.run.folder / "fitting",
        "fig. 6.2",
    )


@torch.no_grad()
def fit_errors(process: LinearSDE, member: MLP, std: float, low: float, high: float) -> tuple[float, float]:
    """Relative and scaled error between `low` and `high` standard deviations of p_t on both sides, over FIT_TIMES."""
    network, exact, found = NoisePrediction(member, process), to_noise(process, narrow(process, std)), []
    for t in FIT_TIMES:
        spread = (process.mean(t).values ** 2 * std**2 + process.Sigma(t).values).sqrt().item()
        z = torch.linspace(low, high, 101)
        x = (torch.cat((-z, z)) * spread)[:, None]
        eps, truth = network(x, t).double(), exact(x.double(), t)
        found.append(((eps - truth).square().mean().item(), truth.square().mean().item()))
    difference, size = torch.tensor(found, dtype=torch.float64).unbind(1)
    return (difference / size).mean().sqrt().item(), difference.mean().sqrt().item()


@torch.no_grad()
def fit_maps(process: LinearSDE, member: MLP, std: float) -> dict[str, object]:
    """log10 of p_t and |eps_theta - eps| on MAP_T x MAP_X, of one network."""
    network, score, maps = NoisePrediction(member, process), narrow(process, std), ([], [])
    for t in MAP_T.tolist():
        x = MAP_X[:, None]
        maps[0].append(score.log_prob(x.double(), t).float() / 2.302585)
        maps[1].append((network(x, t) - to_noise(process, score)(x.double(), t)).abs()[:, 0].clamp_min(1e-6).log10().float())
    return {"fitting/density": torch.stack(maps[0]).numpy(), "fitting/error": torch.stack(maps[1]).numpy()}
