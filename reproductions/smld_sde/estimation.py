"""What score matching estimates without a noise level: on a manifold, where data are rare, and from a kernel density."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.networks.ensemble import Ensemble
from rescore.networks.mlp import plain_mlp
from rescore.objectives.compare import gradient_difference
from rescore.objectives.pointwise import PointScore, dsm, probes, ssm_vr
from rescore.processes import VP
from rescore.random import derive_seed, make_generator
from rescore.scores import GaussianMixture
from rescore.training import Adam
from rescore.training.ensemble import Tracked, train_ensemble
from torch import Tensor, nn

from reproductions.smld_sde.config import Estimation
from reproductions.smld_sde.langevin import TOY, mixture

NOISE = Axes("noise={noise:g}")
KERNEL = Axes("M={points} h={width:g}")
BANDS = {"high": (-4.5, 0.1), "middle": (-18.0, -4.5), "low": (-np.inf, -18.0)}  # log p below its maximum: 3 and 6 deviations
FINE = 5e-3  # of the line on which integrals of the example are sums
Draw = Callable[[int, torch.Generator], Tensor]
Losses = Callable[[PointScore, Tensor, torch.Generator], Tensor]


def fitted(
    book: Book, name: str, settings: Estimation, dim: int, draw: Draw, losses: Losses, error: Callable[[Ensemble], Tensor]
) -> Tracked:
    """An ensemble of score networks, trained on `draw`'s points; `error` (members,) is kept along the training."""
    seeds = [derive_seed("smld_sde", "estimation", dim, seed) for seed in range(settings.members)]
    ensemble = Ensemble([plain_mlp(dim, settings.width, dim, seed, nn.Softplus) for seed in seeds])
    tracked = Tracked(ensemble, settings.steps, every=max(1, settings.steps // 20))

    def step(draws: torch.Generator) -> Tensor:
        return losses(ensemble, draw(settings.members * settings.batch, draws).float(), draws)

    draws = make_generator("smld_sde", "estimation", name)
    return train_ensemble(tracked, step, lambda: error(ensemble), Adam.of(settings), draws, book.run.folder / name, name)


def sliced(score: PointScore, x: Tensor, draws: torch.Generator) -> Tensor:
    """Note eq. 7."""
    return ssm_vr(score, x, probes(x, draws, "gaussian"))


def relative_errors(ensemble: Ensemble, x: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """E |s - target|^2 / E |target|^2 and root E |s - target|^2, each (members,), of points x (n, d) with weights (n,)."""
    found = ensemble(x.float().repeat(ensemble.size, 1)).detach().double().unflatten(0, (ensemble.size, -1))
    weights = weights / weights.sum()
    square = ((found - target).square().sum(2) * weights).sum(1)
    return square / (target.square().sum(1) * weights).sum(), square.sqrt()


# --- figs. 8 to 10 --------------------------------------------------------------------------------------------------------


def circle(n: int, noise: float, draws: torch.Generator) -> Tensor:
    """Points of the unit circle with noise, (n, 2) float64."""
    angle = 2 * torch.pi * torch.rand(n, generator=draws, dtype=torch.float64)
    return torch.stack((angle.cos(), angle.sin()), 1) + noise * torch.randn(n, 2, generator=draws, dtype=torch.float64)


def circle_score(x: Tensor, noise: float) -> Tensor:
    """The score of the circle with noise: p(x) is proportional to exp(-(r^2 + 1) / (2 noise^2)) I_0(r / noise^2)."""
    r = x.norm(dim=1, keepdim=True)
    inward = torch.special.i1e(r / noise**2) / torch.special.i0e(r / noise**2)
    return x / r * (inward - r) / noise**2


def manifold(book: Book) -> None:
    """Fig. 8: whether sliced score matching converges, by its loss in the second half of the training; error of the score."""
    settings = book.config.manifold
    for noise in settings.noises:
        protocol = settings.protocol | {"objective": "ssm-vr", "network": f"MLP 2-{settings.width}-{settings.width}-2"}
        with book.cell("fig8", "circle", "SSM", NOISE(noise=noise), None, protocol, over="trainings") as cell:
            if not cell.todo:
                continue
            x = circle(2000, noise, make_generator("smld_sde", "circle", noise))

            def error(ensemble: Ensemble, x: Tensor = x, noise: float = noise) -> Tensor:
                if not noise:  # on the circle itself there is no score
                    return torch.zeros(ensemble.size, dtype=torch.float64)
                return relative_errors(ensemble, x, circle_score(x, noise), torch.ones(len(x)))[0]

            draw = partial(circle, noise=noise)
            tracked = fitted(book, f"manifold-{noise:g}", settings, 2, lambda n, g, draw=draw: draw(n, draws=g), sliced, error)
            losses = tracked.losses.numpy()
            third, last = (part.mean(0) for part in np.split(losses[-(len(losses) // 4 * 2) :], 2))
            cell.add("loss_fall", 1 - third / last)
            cell.add("loss_spread", losses[-len(losses) // 4 :].std(0) / np.abs(last))
            cell.arrays[f"manifold/{noise:g}"] = losses[:, 0]
            if noise:
                cell.add("score_error", tracked.errors[-1].tolist())


def plane(noise: float) -> GaussianMixture:
    """NCSN's mixture with noise."""
    means, weights = torch.tensor(TOY["means"], dtype=torch.float64), torch.tensor(TOY["weights"], dtype=torch.float64)
    return GaussianMixture(VP(), means[:, None].expand(2, 2), (1 + noise**2) ** 0.5, weights)


def bands(book: Book) -> None:
    """Figs. 9 and 10: errors of the learned score where the data without noise have high, middle and low density."""
    settings = book.config.bands
    axis = torch.linspace(-TOY["reach"], TOY["reach"], settings.grid, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    depth = plane(0.0).log_prob(x, 0.0)
    depth = depth - depth.max()
    for noise in settings.noises:
        data = plane(noise)
        protocol = settings.protocol | {"objective": "ssm-vr", "network": f"MLP 2-{settings.width}-{settings.width}-2"}
        with book.cell("fig9", "mixture2d", "SSM", NOISE(noise=noise), None, protocol, over="trainings") as cell:
            if not cell.todo:
                continue
            target = data(x, 0.0)
            errors = partial(relative_errors, x=x, target=target)
            tracked = fitted(
                book,
                f"bands-{noise:g}",
                settings,
                2,
                lambda n, g, data=data: data.sample(n, 0.0, g),
                sliced,
                lambda e, errors=errors: errors(e, weights=torch.ones(len(x)))[0],
            )
            for band, (low, high) in BANDS.items():
                inside = ((depth >= low) & (depth < high)).double()
                relative, rmse = errors(tracked.ensemble, weights=inside)
                cell.add(f"score_error_{band}", relative.tolist())
                cell.add(f"score_rmse_{band}", rmse.tolist())
            found = tracked.ensemble(x.float().repeat(settings.members, 1)).detach()[: len(x)]
            each = (found - target).norm(dim=1) / target.square().sum(1).mean().sqrt()
            cell.arrays[f"bands/{noise:g}"] = each.reshape(settings.grid, settings.grid).T.float().numpy()


# --- eqs. 5, 6 and 12 -----------------------------------------------------------------------------------------------------


def kernel_density(points: Tensor, width: float) -> GaussianMixture:
    """Eq. 5 with a Gaussian kernel, of points (M, 1)."""
    return GaussianMixture(VP(), points, width)


def line() -> Tensor:
    """A fine grid that holds the example, (n, 1): with a smooth integrand that vanishes at its ends the sum is the integral."""
    return torch.arange(-6.0, 6.0, FINE, dtype=torch.float64)[:, None]


def kernel(book: Book) -> None:
    """Explicit score matching of a kernel density (eq. 6): what it tends to, what a network learns, that DSM is the same."""
    settings, data, x = book.config.kernel, mixture(VP()), line()
    truth, weights = data(x, 0.0), data.log_prob(x, 0.0).exp()

    def drawn(n: int, seed: int) -> Tensor:
        return data.sample(n, 0.0, make_generator("smld_sde", "kernel", seed))

    def distance(points: int, width: float, seed: int) -> float:
        """E_p |grad log q - grad log p|^2 / E_p |grad log p|^2."""
        square = (kernel_density(drawn(points, seed), width)(x, 0.0) - truth).square()[:, 0]
        return ((square * weights).sum() / (truth.square()[:, 0] * weights).sum()).item()

    first = settings.points[0], settings.widths[0]
    seeds = book.config.seeds
    for points, width in dict.fromkeys([*((m, first[1]) for m in settings.points), *((first[0], h) for h in settings.widths)]):
        variant = KERNEL(points=points, width=width)
        book.repeat(
            "eq6",
            "mixture1d",
            "kernel density",
            variant,
            None,
            {"kernel": "gaussian"},
            seeds,
            n=points,
            score_error=partial(distance, points, width),
        )
    book.exact(
        "eq12",
        "mixture1d",
        "ESM against DSM",
        "",
        None,
        {"points": 50, "width": first[1], "quadrature": FINE},
        gradient_difference=lambda: esm_is_dsm(drawn(50, 0), first[1]),
    )
    protocol = settings.protocol | {"network": f"MLP 1-{settings.width}-{settings.width}-1"}
    members = settings.members
    for method in ("KDE-ESM", "DSM"):
        with book.cell(
            "eq6", "mixture1d", method, KERNEL(points=first[0], width=first[1]), None, protocol, n=first[0], over="trainings"
        ) as cell:
            if cell.todo:
                learn_kernel(cell, method, [drawn(first[0], seed) for seed in range(members)], first[1], x, truth, weights)


def learn_kernel(
    cell: Cell, method: str, points: list[Tensor], width: float, x: Tensor, truth: Tensor, weights: Tensor
) -> None:
    """Networks of one kernel density each: their errors from its score and from that of the data."""
    settings, densities = cell.book.config.kernel, [kernel_density(of, width) for of in points]

    def draw(n: int, draws: torch.Generator) -> Tensor:
        rows = torch.randint(len(points[0]), (len(points), n // len(points)), generator=draws)
        return torch.cat([of[i] for of, i in zip(points, rows, strict=True)])

    def losses(score: PointScore, at: Tensor, draws: torch.Generator) -> Tensor:
        z = torch.randn(at.shape, generator=draws, dtype=at.dtype)
        if method == "DSM":
            return dsm(score, at, z, width)
        moved = at + width * z
        blocks = moved.double().chunk(len(points))
        target = torch.cat([density(block, 0.0) for density, block in zip(densities, blocks, strict=True)])
        return 0.5 * (score(moved) - target.to(at)).square().sum(1)  # eq. 6 with the 1/2 of eq. 3

    def error(ensemble: Ensemble) -> Tensor:
        return relative_errors(ensemble, x, truth, weights)[0]

    tracked = fitted(cell.book, f"kernel-{method}", settings, 1, draw, losses, error)
    cell.add("score_error", tracked.errors[-1].tolist())
    own = [
        relative_errors(tracked.ensemble, x, density(x, 0.0), density.log_prob(x, 0.0).exp())[0][i].item()
        for i, density in enumerate(densities)
    ]
    cell.add("own_error", own)
    if method == "KDE-ESM":
        cell.arrays |= {
            "kernel/x": x[:, 0].numpy(),
            "kernel/p": truth[:, 0].numpy(),
            "kernel/q": densities[0](x, 0.0)[:, 0].numpy(),
        }
    cell.arrays[f"kernel/{method}"] = tracked.ensemble.member(0)(x.float())[:, 0].detach().numpy()


def esm_is_dsm(points: Tensor, width: float) -> float:
    """Eq. 12: the relative difference of the gradients of J_ESM and J_DSM over one kernel density, both integrals as sums."""
    x, network = line(), plain_mlp(1, 16, 1, 0, nn.Softplus).double()
    kernels = torch.distributions.Normal(points[:, 0], width).log_prob(x).exp() / len(points)  # (n, M)
    target = kernel_density(points, width)(x, 0.0)
    explicit = (network(x) - target).square()[:, 0] * kernels.sum(1)
    denoising = ((network(x) + (x - points[:, 0]) / width**2).square() * kernels).sum(1)
    return gradient_difference(explicit, denoising, network)
