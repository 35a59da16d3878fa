"""Networks trained on the mixture of nine Gaussians: Jacobians (figs. 2, 9, 12), samples (fig. 10), gradients (fig. 7)."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial

import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.networks import NoisePrediction, VelocityPrediction
from rescore.networks.ensemble import Ensemble
from rescore.networks.mlp import MLP, MLPConfig
from rescore.objectives import DSM, HSM
from rescore.problems import ExactProblem, distances
from rescore.problems.score_norms import jacobian_norm
from rescore.processes import CLD, LinearSDE
from rescore.processes.base import Time
from rescore.random import derive_seed, make_generator, seeded
from rescore.scores import GaussianMixture
from rescore.training import Adam, fit
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from reproductions.cld.config import Learned
from reproductions.cld.problems import MODE_STD, MODES, OFF_MODE, sampler_of
from reproductions.cld.sampled import AT, FIG_2

METHODS = {name: FIG_2[name] for name in ("CLD", "VPSDE")}  # M = gamma = 1
SCORES = {"plain": False, "mixed": True}
STABILISED = CLD(eps0=0.0, eps_num=1e-9)  # the main setting, as its CIFAR-10 config has it
SAMPLER = "EM-QS"
WITH = Axes("{score} score")


class MixedNoise(NoisePrediction):
    """VPSDE's mixed score: s = -x - F / sigma_t for a network F, that is eps = sigma_t x + F."""

    def forward(self, u: Tensor, t: Time) -> Tensor:
        return self.process.R(t)(u) + super().forward(u, t)


def model_of(process: LinearSDE, mixed: bool, network: nn.Module) -> NoisePrediction:
    """The noise prediction of states with points of the plane in them."""
    if isinstance(process, CLD):
        return VelocityPrediction(network, process, mixed, "steps")
    return (MixedNoise if mixed else NoisePrediction)(network, process, "steps")


def networks(settings: Learned, process: LinearSDE) -> list[MLP]:
    """Untrained ones, by member; they see x and v of CLD."""
    config = MLPConfig(width=settings.width, blocks=settings.blocks)
    inputs = (2 * MODES.shape[1] if isinstance(process, CLD) else MODES.shape[1],)
    seeds = [derive_seed("cld", "learned", seed) % 2**31 for seed in range(settings.members)]
    return [seeded(lambda: MLP(config, inputs, (MODES.shape[1],)), seed) for seed in seeds]


def train(book: Book, name: str, process: LinearSDE, mixed: bool) -> list[NoisePrediction]:
    """A model for each member, trained with HSM on CLD and DSM on VPSDE, each with the weight of CLD's image quality."""
    settings = book.config.learned
    ensemble = Ensemble(networks(settings, process))
    model, objective = model_of(process, mixed, ensemble), HSM() if isinstance(process, CLD) else DSM()
    data = GaussianMixture(process, MODES, MODE_STD)

    def loss(draws: torch.Generator) -> Tensor:
        rows = torch.randint(len(MODES), (settings.members * settings.batch,), generator=draws)
        x = MODES[rows] + MODE_STD * torch.randn(len(rows), MODES.shape[1], generator=draws, dtype=torch.float64)
        return settings.members * objective(model, data.process, x.float(), draws).mean()

    draws = make_generator("cld", "learned", name)
    fit(model, loss, Adam.of(settings), draws, book.run.folder / name, checkpoint_every=500, label=name)
    return [model_of(process, mixed, ensemble.member(i).requires_grad_(False)) for i in range(settings.members)]


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
                "network": f"mlp {settings.width}x{settings.blocks}",
            }
            for t in settings.times:
                with book.cell(
                    "fig9", "mixture9", method, AT(t=t), None, protocol | {"t": t}, n=settings.samples, over="trainings"
                ) as cell:
                    if cell.todo:
                        u = problem.score.sample(settings.samples, t, make_generator("cld", "learned", method, t)).float()
                        cell.add("jacobian_mixed" if mixed else "jacobian", [network_jacobian(one, u, t) for one in models()])
            sampled(book, problem, method, score, models, protocol)


def network_jacobian(model: NoisePrediction, u: Tensor, t: float) -> float:
    """E |dF / du|^2 of the bare network, whatever score is made of it, at states u."""
    u = u.detach().requires_grad_()
    return jacobian_norm(model.evaluate(u, torch.full((len(u),), t, dtype=torch.float64)), u)


def sampled(
    book: Book,
    problem: ExactProblem,
    method: str,
    score: str,
    models: Callable[[], Iterable[NoisePrediction]],
    protocol: dict[str, object],
) -> None:
    """Fig. 10."""
    sampler = sampler_of(method, SAMPLER, problem.process, book.config.learned.nfe)
    how = protocol | {"sampler": SAMPLER, "t0": sampler.times[-1], "denoise": sampler.denoise}
    with book.cell("fig10", "mixture9", method, WITH(score=score), sampler.nfe, how, n=problem.n, over="trainings") as cell:
        if not cell.todo:
            return
        start, noise = problem.start(), problem.streams("cld", "learned", "noise", method)
        scores = [model.score() for model in models()]

        def each(u: Tensor, t: float) -> Tensor:
            with torch.no_grad():
                return torch.cat([of(part, t) for of, part in zip(scores, u.chunk(len(scores)), strict=True)])

        x = problem.by_seed(sampler(each, start, noise)).double()
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
        "network": f"mlp {training.width}x{training.blocks}",
        "weight": "1 / ell_hsm^2",
        "eps_num": STABILISED.eps_num,
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
    x0 = MODES[torch.randint(len(MODES), (n,), generator=draws)]
    x0 = x0 + MODE_STD * torch.randn(x0.shape, generator=draws, dtype=torch.float64)
    u, *targets = velocity_targets(model.process, x0, t, draws)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    found = []
    for target in targets:

        def loss(weights: dict[str, Tensor], u: Tensor, target: Tensor) -> Tensor:
            noise = functional_call(model, weights, (u[None], torch.tensor([t])))
            return (noise[0, 1] - target).square().sum()

        each = vmap(grad(loss), (None, 0, 0))(weights, u.float(), target.float())
        found.append(sum(g.flatten(1).double().var(0).sum().item() for g in each.values()))
    return tuple(found)
