"""Sharp densities in the plane, made from a seed: the sets of DiffFlow's figures 3.4 and 3.5, and CLD's multi-scale toy.

Spirals and checkerboard are FFJORD's, the rings the authors'. Their tree and carpet are sampled from pictures; those here are
procedural: the support is known exactly. Raw coordinates; `rescore.data.standardise` brings a set to mean 0 and variance 1.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
    CLD: arXiv:2112.07068, the released code.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rescore.config import check_choice
from rescore.domain import check_finite


@dataclass(frozen=True)
class PlanarSet(ABC):
    """A distribution in the plane.

    Attributes:
        tolerance: how far from the noise-free support, in raw units, a point still counts as on it. 0 where the support has an
            area; three standard deviations of the data's own noise for rolls, of spirals the spread of their shift more; for
            the rings, which are far thinner than any method here resolves, 0.05 of their radius.
        entropy: of the distribution in nats, raw coordinates; None where there is no closed form.
    """

    tolerance: float
    entropy: float | None = None

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 2) float64, independent draws."""

    @abstractmethod
    def distance(self, x: Tensor) -> Tensor:
        """Distance of points (n, 2) to the noise-free support, (n,); for areas 0 inside and 1 outside."""

    def off_support(self, x: Tensor) -> float:
        """The fraction of points (n, 2) farther than `tolerance` from the support. Raises RescoreError for one not finite."""
        check_finite(x, "off_support")
        return (self.distance(x.double()) > self.tolerance).double().mean().item()


@dataclass(frozen=True)
class Rings(PlanarSet):
    """Unit circles, each as likely, with a radius of N(1, std^2): the thesis has std = 0.001 (the released code 0.0045)."""

    tolerance: float = 0.05
    centres: tuple[tuple[float, float], ...] = ((0, 0.75), (1.75, 0.75), (-1.05, -0.75), (1.05, -0.75))
    std: float = 0.001

    @property
    def _centres(self) -> Tensor:
        return torch.tensor(self.centres, dtype=torch.float64)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        ring = torch.randint(len(self.centres), (n,), generator=generator)
        angle = 2 * math.pi * _uniform(n, generator)
        radius = 1 + self.std * torch.randn(n, generator=generator, dtype=torch.float64)
        return self._centres[ring] + radius[:, None] * torch.stack((angle.cos(), angle.sin()), 1)

    def distance(self, x: Tensor) -> Tensor:
        return (torch.cdist(x, self._centres) - 1).abs().amin(1)

    def ring(self, x: Tensor) -> Tensor:
        """The nearest ring of each point, (n,)."""
        return (torch.cdist(x, self._centres) - 1).abs().argmin(1)


@dataclass(frozen=True)
class Spirals(PlanarSet):
    """Two arms (FFJORD): (-r cos r + u, r sin r + u') / 3 with r = 3 pi sqrt(U), u and u' uniform up to 1/2, and its mirror.

    Noise of standard deviation 0.1 is added. The support is the arm without noise and with u at its mean, 1/4, whose spread
    `tolerance` includes: half of 1/2 along the diagonal, over 3.
    """

    tolerance: float = 0.3 + math.sqrt(0.125) / 3
    std: float = 0.1

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        r = 3 * math.pi * _uniform(n, generator).sqrt()
        shift = 0.5 * torch.rand(n, 2, generator=generator, dtype=torch.float64)
        side = 1 - 2 * torch.randint(2, (n, 1), generator=generator)
        arm = (torch.stack((-r * r.cos(), r * r.sin()), 1) + shift) * side / 3
        return arm + self.std * torch.randn(n, 2, generator=generator, dtype=torch.float64)

    @cached_property
    def _arms(self) -> Tensor:
        r = torch.linspace(0, 3 * math.pi, 600, dtype=torch.float64)
        arm = (torch.stack((-r * r.cos(), r * r.sin()), 1) + 0.25) / 3
        return torch.cat((arm, -arm))

    def distance(self, x: Tensor) -> Tensor:
        return torch.cat([torch.cdist(part, self._arms).amin(1) for part in x.split(4096)])


@dataclass(frozen=True)
class Checkerboard(PlanarSet):
    """Eight squares of side 2 on [-4, 4]^2 (FFJORD), uniform."""

    tolerance: float = 0.0
    entropy: float | None = math.log(32)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x = 4 * _uniform(n, generator) - 2
        y = _uniform(n, generator) - 2 * torch.randint(2, (n,), generator=generator) + x.floor() % 2
        return 2 * torch.stack((x, y), 1)

    def distance(self, x: Tensor) -> Tensor:
        cell = (x / 2).floor()
        inside = (cell.sum(1) % 2 == 0) & (x.abs() <= 4).all(1)
        return (~inside).to(x)

    def sample_float32(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 2) on the generator's device, for trainings: other draws than `sample`'s."""
        u, v = torch.rand(2, n, generator=generator, device=generator.device)
        u, b = 4 * u - 2, torch.randint(2, (n,), generator=generator, device=generator.device)
        return 2 * torch.stack((u, v - 2 * b + u.floor() % 2), 1)

    @property
    def corners(self) -> list[tuple[int, int]]:
        """The lower left corner of each square."""
        return [(a, b) for a in range(-4, 4, 2) for b in range(-4, 4, 2) if (a // 2 + b // 2) % 2 == 0]

    def density(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """Of the data with noise of variance sigma^2 at x (n, 2), (n,) float64; sigma = 0 is the data's own."""
        sides = (_noised_side(x[:, 0].double(), a, sigma) * _noised_side(x[:, 1].double(), b, sigma) for a, b in self.corners)
        return sum(sides, torch.zeros(len(x), dtype=torch.float64, device=x.device)) / len(self.corners)

    def noised_log_density(self, x: Tensor, sigma: float) -> Tensor:
        """The log of `density` for sigma > 0, (n,) float64, which keeps its digits far from the squares."""
        x = x.double()
        squares = [_noised_log_side(x[:, 0], a, sigma) + _noised_log_side(x[:, 1], b, sigma) for a, b in self.corners]
        return torch.stack(squares).logsumexp(0) - math.log(len(squares))

    def noised_score(self, x: Tensor, sigma: float) -> Tensor:
        """d log density / dx, (n, 2) float64, at any distance from the squares."""
        x = x.detach().double().requires_grad_()
        return torch.autograd.grad(self.noised_log_density(x, sigma).sum(), x)[0]


@dataclass(frozen=True)
class FractalTree(PlanarSet):
    """A binary tree: each branch bears two, turned by `angle`, `ratio` times as long and as wide.

    Uniform on the branches: each is as likely as its area, so a level is 2 ratio^2 = 1.16 times as likely as the one before.
    """

    tolerance: float = 0.005
    levels: int = 8
    angle: float = math.radians(28)
    ratio: float = 0.76
    width: float = 0.06

    @cached_property
    def branches(self) -> tuple[Tensor, Tensor, Tensor]:
        """Start (K, 2), vector (K, 2) and width (K,) of all branches, the trunk first; K = 2^levels - 1."""
        starts, vectors, widths = [torch.zeros(1, 2, dtype=torch.float64)], [torch.tensor([[0.0, 1.0]]).double()], [self.width]
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turns = [torch.tensor([[cos, -s], [s, cos]], dtype=torch.float64) for s in (sin, -sin)]
        for level in range(1, self.levels):
            tips = starts[-1] + vectors[-1]
            vectors.append(self.ratio * torch.cat([vectors[-1] @ turn.T for turn in turns]))
            starts.append(torch.cat((tips, tips)))
            widths.append(self.width * self.ratio**level)
        width = torch.cat([torch.full((len(start),), w, dtype=torch.float64) for start, w in zip(starts, widths, strict=True)])
        return torch.cat(starts), torch.cat(vectors), width

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        start, vector, width = self.branches
        k = torch.multinomial(vector.norm(dim=1) * width, n, replacement=True, generator=generator)
        along, across = _uniform(n, generator), _uniform(n, generator) - 0.5
        normal = torch.stack((-vector[k, 1], vector[k, 0]), 1) / vector[k].norm(dim=1, keepdim=True)
        return start[k] + along[:, None] * vector[k] + (across * width[k])[:, None] * normal

    def distance(self, x: Tensor) -> Tensor:
        start, vector, width = self.branches
        found = []
        for part in x.split(1024):
            offset = part[:, None] - start
            share = ((offset * vector).sum(-1) / vector.square().sum(-1)).clamp(0, 1)
            found.append(((offset - share[..., None] * vector).norm(dim=-1) - width / 2).clamp_min(0).amin(1))
        return torch.cat(found)


@dataclass(frozen=True)
class SierpinskiCarpet(PlanarSet):
    """The unit square without the middle ninth of each square, `levels` deep; uniform."""

    tolerance: float = 0.0
    levels: int = 4

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        kept = torch.tensor([(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)], dtype=torch.float64)
        x = torch.zeros(n, 2, dtype=torch.float64)
        for level in range(1, self.levels + 1):
            x += kept[torch.randint(8, (n,), generator=generator)] / 3**level
        return x + torch.rand(n, 2, generator=generator, dtype=torch.float64) / 3**self.levels

    def distance(self, x: Tensor) -> Tensor:
        inside = ((x >= 0) & (x < 1)).all(1)
        rest = x
        for _ in range(self.levels):
            rest = 3 * rest
            inside &= ~(rest.floor() % 3 == 1).all(1)
        return (~inside).to(x)


@dataclass(frozen=True)
class SwissRolls(PlanarSet):
    """Small rolls far apart, each as likely: centre + scale (a cos a, a sin a), a uniform on [3 pi / 2, 9 pi / 2].

    CLD's multi-scale toy (fig. 13), as in the released code: scikit-learn's roll, its coordinates 0 and 2, with Gaussian noise
    of standard deviation 0.2, all times 0.01. The rolls are 1.1 apart, their arms 0.063, and the noise is 0.002 wide.
    """

    tolerance: float = 0.006
    centres: tuple[tuple[float, float], ...] = ((0, 0), (0.8, 0.8), (0.8, -0.8), (-0.8, -0.8), (-0.8, 0.8))
    scale: float = 0.01
    std: float = 0.2

    @property
    def _centres(self) -> Tensor:
        return torch.tensor(self.centres, dtype=torch.float64)

    def curve(self, n: int) -> Tensor:
        """Points of the noise-free rolls at n angles, evenly from the first to the last: (K, n, 2)."""
        return self._centres[:, None] + self._roll(torch.linspace(1.5 * math.pi, 4.5 * math.pi, n, dtype=torch.float64))

    def _roll(self, angle: Tensor) -> Tensor:
        return self.scale * angle[:, None] * torch.stack((angle.cos(), angle.sin()), 1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        roll = torch.randint(len(self.centres), (n,), generator=generator)
        noise = self.scale * self.std * torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return self._centres[roll] + self._roll(1.5 * math.pi * (1 + 2 * _uniform(n, generator))) + noise

    @cached_property
    def _vertices(self) -> Tensor:
        return self.curve(1500)

    def distance(self, x: Tensor) -> Tensor:
        """Of a polygon with vertices every 0.0006, which the curve leaves by 1e-6 at most."""
        n, flat = self._vertices.shape[1], self._vertices.flatten(0, 1)
        found = []
        for part in x.split(512):
            nearest = torch.cdist(part, flat).argmin(1)
            sides = []
            for step in (-1, 1):  # the sides that meet in the nearest vertex
                other = (nearest % n + step).clamp(0, n - 1) + nearest // n * n
                offset, vector = part - flat[nearest], flat[other] - flat[nearest]
                share = ((offset * vector).sum(1) / vector.square().sum(1).clamp_min(1e-30)).clamp(0, 1)
                sides.append((offset - share[:, None] * vector).norm(dim=1))
            found.append(torch.minimum(*sides))
        return torch.cat(found)

    def roll(self, x: Tensor) -> Tensor:
        """The roll whose centre is nearest to each point, (n,)."""
        return torch.cdist(x, self._centres).argmin(1)


OLYMPIC = ((-1.75, 0.75), (0, 0.75), (1.75, 0.75), (-1.05, -0.75), (1.05, -0.75))
CARPET_LEVELS = 4
PLANAR: dict[str, PlanarSet] = {
    "rings": Rings(),
    "olympic_rings": Rings(centres=OLYMPIC),
    "spirals": Spirals(),
    "checkerboard": Checkerboard(),
    "tree": FractalTree(),
    "carpet": SierpinskiCarpet(entropy=CARPET_LEVELS * math.log(8 / 9), levels=CARPET_LEVELS),
    "swiss_rolls": SwissRolls(),
}


def planar_set(name: str) -> PlanarSet:
    """One of `PLANAR`; raises RescoreError for another name."""
    check_choice("planar set", name, PLANAR)
    return PLANAR[name]


def _noised_side(x: Tensor, a: float, sigma: float) -> Tensor:
    """The density of U[a, a + 2] with noise."""
    if sigma == 0:
        return ((x >= a) & (x < a + 2)).double() / 2
    root = sigma * math.sqrt(2)
    return (torch.erf((x - a) / root) - torch.erf((x - a - 2) / root)) / 4


def _noised_log_side(x: Tensor, a: float, sigma: float) -> Tensor:
    """log (Phi((1 - d) / sigma) - Phi((-1 - d) / sigma)) / 2 at distance d from the middle: both terms in their small tail."""
    d = (x - a - 1).abs()
    high, low = (torch.special.log_ndtr((end - d) / sigma) for end in (1, -1))
    return high + torch.log1p(-torch.exp(low - high)) - math.log(2)


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator, dtype=torch.float64)
