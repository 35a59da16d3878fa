"""Networks trained on the mixture of nine Gaussians: Jacobians (figs. 2, 9, 12), samples (fig. 10), gradients (fig. 7)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.networks import NoisePrediction, VelocityPrediction
from rescore.problems import ExactProblem, distances
from rescore.processes import CLD, LinearSDE
from rescore.random import make_generator
from torch import Tensor
from torch.func import functional_call, grad, vmap

from reproductions.cld import networks
from reproductions.cld.networks import each_block, network_jacobian
from reproductions.cld.problems import MODE_STD, MODES, OFF_MODE, sampler_of
from reproductions.cld.sampled import AT, FIG_2

METHODS = {name: FIG_2[name] for name in ("CLD", "VPSDE")}  # M = gamma = 1
SCORES = {"plain": False, "mixed": True}
STABILISED = CLD(eps0=0.0, eps_num=1e-9)  # the main setting, as its CIFAR-10 config has it
SAMPLER = "EM-QS"
WITH = Axes("{score} score")


def of_mixture(n: int, draws: torch.Generator) -> Tensor:
    """Points of the nine modes, (n, 2)."""
    rows = torch.randint(len(MODES), (n,), generator=draws)
    return MODES[rows] + MODE_STD * torch.randn(n, MODES.shape[1], generator=draws, dtype=torch.float64)


def train(book: Book, name: str, process: LinearSDE, mixed: bool) -> list[NoisePrediction]:
    """The models of a section, by member."""
    return networks.train(book.config.learned, process, mixed, of_mixture, "learned", name, book.run.folder)


def learned(book: Book) -> None:
    """Figs. 2, 9 and 12: E |dF / du|^2 of the trained networks F; fig. 10: their samples."""
    settings = book.config.learned
    for method, (process, beta) in METHODS.items():
        problem = replace(
            ExactProblem.of_mixture(
                "mixture9", process, MODES, MODE_STD, ("cld", "learned", method), range(settings.members), settings.samples
            ),
            dtype=torch.float32,
        )
        for score, mixed in SCORES.items():
            models = cache(partial(train, book, f"{method}-{score}", process, mixed))
            protocol = settings.protocol | {
                "process": process.label,
                "beta": beta,
                "score": "trained",
                "mixed": mixed,
                "network": settings.network,
            }
            for t in settings.times:
                with book.cell(
                    "fig9", "mixture9", method, AT(t=t), None, protocol | {"t": t}, n=settings.samples, over="trainings"
                ) as cell:
                    if cell.todo:
                        u = problem.score.sample(settings.samples, t, make_generator("cld", "learned", method, t)).float()
                        cell.add("jacobian_mixed" if mixed else "jacobian", [network_jacobian(one, u, t) for one in models()])
            sampled(book, problem, method, score, models, protocol)


def sampled(
    book: Book,
    problem: ExactProblem,
    method: str,
    score: str,
    models: Callable[[], Sequence[NoisePrediction]],
    protocol: dict[str, object],
) -> None:
    """Fig. 10."""
    sampler = sampler_of(method, SAMPLER, problem.process, book.config.learned.nfe)
    how = protocol | {"sampler": SAMPLER, "t0": sampler.times[-1], "denoise": sampler.denoise}
    with book.cell("fig10", "mixture9", method, WITH(score=score), sampler.nfe, how, n=problem.n, over="trainings") as cell:
        if not cell.todo:
            return
        start, noise = problem.start(), problem.streams("cld", "learned", "noise", method)
        x = problem.by_seed(sampler(each_block(models()), start, noise)).double()
        cell.add("sw2", distances.sw2(x, problem.draws("cld", "learned", "data"), 50))
        cell.add("off_mode", distances.off_modes(x, MODES, OFF_MODE))
        shares = torch.cdist(x, MODES.expand(len(x), *MODES.shape)).argmin(2)
        counts = torch.stack([row.bincount(minlength=len(MODES)) for row in shares]) / problem.n
        cell.add("least_mode", (counts.amin(1) * len(MODES)).tolist())  # 1: each mode has its share
        cell.arrays[f"learned/{method}/{score}"] = x[0].float().numpy()


# --- fig. 7 ---------------------------------------------------------------------------------------------------------------


def gradients(book: Book) -> None:
    """Fig. 7: the trace of the covariance of a draw's gradient by the weights, HSM and DSM, on a network trained by HSM."""
    settings, training = book.config.gradients, book.config.learned
    models = cache(partial(train, book, "CLD-main", STABILISED, True))
    protocol = training.protocol | {
        "network": training.network,
        "weight": "1 / ell_hsm^2",
        "process": STABILISED.label,
        "mixed": True,
    }
    for t in settings.times:
        traces = cache(lambda t=t: [gradient_traces(model, settings.samples, t, seed) for seed, model in enumerate(models())])
        for i, method in enumerate(("HSM", "DSM")):
            with book.cell("fig7", "mixture9", method, AT(t=t), None, protocol, n=settings.samples, over="trainings") as cell:
                if cell.todo:
                    cell.add("gradient_trace", [of[i] for of in traces()])
                    if method == "DSM":
                        cell.add("gradient_trace_ratio", [of[1] / of[0] for of in traces()])


def velocity_targets(process: CLD, x0: Tensor, t: float, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """States u_t (n, 2, d) of data x0 (n, d) with drawn velocities, and the alpha that HSM and DSM want, s_v = -ell_hsm alpha.

    Both see the same state: HSM's target is the mean of DSM's over the first velocity.
    """
    v0 = (process.gamma * process.M) ** 0.5 * torch.randn(x0.shape, generator=draws, dtype=x0.dtype)
    conditional = replace(process, gamma=0.0)
    u0, known = torch.stack((x0, v0), 1), torch.stack((x0, torch.zeros_like(x0)), 1)
    u = conditional.mean(t)(u0) + conditional.L(t)(torch.randn(u0.shape, generator=draws, dtype=x0.dtype))
    ell = process.ell(t)
    hsm = process.Sigma(t).inv()(u - process.mean(t)(known))[:, 1] / ell
    return u, hsm, conditional.Sigma(t).inv()(u - conditional.mean(t)(u0))[:, 1] / ell


def gradient_traces(model: VelocityPrediction, n: int, t: float, seed: int) -> tuple[float, float]:
    """tr Cov of the gradient of |alpha - target|^2 by the network's weights, over n draws, for HSM's and DSM's target."""
    draws = make_generator("cld", "gradients", t, seed)
    u, *targets = velocity_targets(model.process, of_mixture(n, draws), t, draws)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    found = []
    for target in targets:

        def loss(weights: dict[str, Tensor], u: Tensor, target: Tensor) -> Tensor:
            noise = functional_call(model, weights, (u[None], torch.tensor([t])))
            return (noise[0, 1] - target).square().sum()

        each = vmap(grad(loss), (None, 0, 0))(weights, u.float(), target.float())
        found.append(sum(g.flatten(1).double().var(0).sum().item() for g in each.values()))
    return tuple(found)
