"""The law of an unadjusted Langevin chain in the plane as a map on a grid, without samples."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rescore.metrics.maps import cell_centres


def langevin_map(score: Callable[[Tensor], Tensor], start: Tensor, half_width: float, size: float, steps: int) -> Tensor:
    """The law that `rescore.samplers.langevin` leaves, on `cell_centres`: (cells, cells) float64; rows: the second coordinate.

    A step x + size s(x) + sqrt(2 size) z takes the density p to int p(x) N(y; x + size s(x), 2 size I) dx, here a sum over the
    centres. For cells of side h its relative error is about exp(-2 pi^2 w^2 / h^2), w = sqrt(2 size) / abs(I + size ds/dx):
    cells as wide as w are fine enough. Evaluates the score once at each centre.

    Args:
        score: s at points (n, 2) float64.
        start: (cells, cells), the first law, normalised here.
        half_width: of the square. What leaves it is lost: the map's sum is the share that stayed.
        size: as that of `langevin`; LCSS eq. 31 has epsilon = 2 size.
        steps: 0 gives the start.
    """
    cells = len(start)
    centres = cell_centres(half_width, cells, torch.float64)
    means, axis = centres + size * score(centres).detach(), centres[:cells, 0]
    across, up = (torch.exp(-((axis - means[:, i : i + 1]) ** 2) / (4 * size)) for i in (0, 1))
    across *= (2 * half_width / cells) ** 2 / (4 * math.pi * size)
    law = (start / start.sum()).double()
    for _ in range(steps):
        law = (up * law.reshape(-1, 1)).T @ across
    return law
