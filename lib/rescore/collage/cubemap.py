"""360-degree images: a cube of six faces as a factor graph of three rings (thesis fig. 4.2, bottom), and its picture.

The cube is [-1, 1]^3, y up, seen from inside; a content is (channels, 6, side, side), its faces in the order of `FACES`.
A face's rows run down and its columns to the right: F looks to +z with x to the right, R to +x, B to -z, L to -x; U's last row
touches F's first, D's first touches F's last.

References:
    thesis, chapter 4: DiffCollage, arXiv:2303.17076.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rescore.collage.graph import FactorGraph
from rescore.errors import RescoreError

FACES = "FRBLUD"
# Each ring's faces from left to right, and by how many quarters each is turned against the clock to be upright in it.
RINGS = {
    "LFRB": {"L": 0, "F": 0, "R": 0, "B": 0},
    "ULDR": {"U": 2, "L": 1, "D": 0, "R": -1},
    "UFDB": {"U": 1, "F": 1, "D": 1, "B": -1},
}


def cubemap(side: int) -> FactorGraph:
    """Factors: the rings LFRB, ULDR, UFDB, each (side, 4 side) and closed; variables: the six faces, each in two rings.

    A ring's own score can be composed on `cycle(side, 4 * side, ...)`. A face is the same patch in both its rings up to a
    turn, so the face's score is that of its upright patch.
    """
    if side < 1:
        raise RescoreError(f"cubemap: faces of side {side}; allowed: 1 or more")
    faces = torch.arange(6 * side * side).reshape(6, side, side)
    rings = [torch.cat([faces[FACES.index(name)].rot90(turns) for name, turns in ring.items()], 1) for ring in RINGS.values()]
    return FactorGraph((6, side, side), torch.stack(rings), (faces,))


# Squares of a cube to sample in turn, each over the edge of two neighbours in a ring, those of a row in one batch. After the
# first two rows all but B is there. No square crosses the edge of B and L: both its sides are there when its turn would come.
EDGES = (("LF", "FR", "UF", "FD"), ("UL", "LD", "DR", "RU"), ("RB",), ("DB", "BU"))


def cube_squares(side: int) -> tuple[Tensor, list[list[int]]]:
    """Squares (12, side, side) and their order for `outpaint`: face F, then squares half on a face that is there already.

    The flat positions are those of `cubemap(side)`; a square is upright in its ring. Raises RescoreError for an odd side.
    """
    if side % 2:
        raise RescoreError(f"cube_squares: faces of side {side}; allowed: even sides")
    strips = cubemap(side).factors
    starts = {}
    for strip, ring in zip(strips, RINGS, strict=True):
        for k, (left, right) in enumerate(zip(ring, ring[1:] + ring[0], strict=True)):
            starts[left + right] = strip.roll(-(k * side + side // 2), 1)[:, :side]
    squares = [torch.arange(side * side).reshape(side, side)]  # F, the first of FACES
    order = [[0]]
    for names in EDGES:
        order.append([len(squares) + i for i in range(len(names))])
        squares += [starts[name] for name in names]
    return torch.stack(squares), order


def directions(side: int) -> Tensor:
    """Where on the cube each position of a content lies, (6, side, side, 3) float64."""
    s = (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1
    row, column = torch.meshgrid(s, s, indexing="ij")
    one = torch.ones_like(row)
    points = {
        "F": (column, -row, one),
        "R": (one, -row, -column),
        "B": (-column, -row, -one),
        "L": (-one, -row, column),
        "U": (column, one, row),
        "D": (column, -one, -row),
    }
    return torch.stack([torch.stack(points[name], -1) for name in FACES])


def equirectangular(faces: Tensor, height: int) -> Tensor:
    """The panorama (..., height, 2 height) of cubes (..., 6, side, side): longitude to the right, F in the middle, up above.

    Each pixel takes the nearest pixel of the face that its direction meets.
    """
    side = faces.shape[-1]
    if tuple(faces.shape[-3:]) != (6, side, side) or height < 1:
        raise RescoreError(
            f"equirectangular: cubes {tuple(faces.shape)} at height {height}; allowed: (..., 6, side, side), height >= 1"
        )
    latitude = math.pi * (0.5 - (torch.arange(height, dtype=torch.float64) + 0.5) / height)
    longitude = math.pi * ((torch.arange(2 * height, dtype=torch.float64) + 0.5) / height - 1)
    up, around = torch.meshgrid(latitude, longitude, indexing="ij")
    x, y, z = up.cos() * around.sin(), up.sin(), up.cos() * around.cos()
    largest = torch.stack((x, y, z)).abs().amax(0)
    x, y, z = x / largest, y / largest, z / largest
    # on each face: the test that a direction meets it, and its (row, column) in [-1, 1]
    places = {
        "F": (z == 1, -y, x),
        "R": (x == 1, -y, -z),
        "B": (z == -1, -y, -x),
        "L": (x == -1, -y, z),
        "U": (y == 1, z, x),
        "D": (y == -1, -z, x),
    }
    index = torch.zeros(up.shape, dtype=torch.long)
    for face, (meets, row, column) in ((FACES.index(name), place) for name, place in places.items()):
        i, j = (((v + 1) / 2 * side).long().clamp(0, side - 1) for v in (row, column))
        index = torch.where(meets, face * side * side + i * side + j, index)
    return faces.flatten(-3)[..., index.to(faces.device)]
