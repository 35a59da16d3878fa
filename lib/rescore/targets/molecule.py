"""Molecules: a force field's energy in batches, internal coordinates, and the Boltzmann density of a molecule in vacuum.

Units: nm, kJ/mol, radians, elementary charges, K.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rescore.targets.base import AutogradTarget

COULOMB = 138.93545764438198  # 1 / (4 pi eps0), kJ nm / (mol e^2), as in OpenMM
GAS_CONSTANT = 8.31446261815324e-3  # kJ / (mol K)
WALL = 0.05  # rad: how soft the ends of angles and of stiff torsions are


def torsion_angle(x: Tensor, atoms: Tensor) -> Tensor:
    """Signed dihedral angles in (-pi, pi], (..., K), of positions x (..., N, 3) at rows (K, 4) of atoms."""
    a, b, c, d = (x[..., column, :] for column in atoms.T)
    first, axis, last = b - a, c - b, d - c
    left, right = torch.linalg.cross(first, axis), torch.linalg.cross(axis, last)
    return torch.atan2((first * right).sum(-1) * axis.norm(dim=-1), (left * right).sum(-1))


def bend_angle(x: Tensor, atoms: Tensor) -> Tensor:
    """Angles in [0, pi], (..., K), at the middle one of each three atoms, (K, 3); a smooth function up to its ends."""
    a, b, c = (x[..., column, :] for column in atoms.T)
    left, right = a - b, c - b
    return torch.atan2(torch.linalg.cross(left, right).norm(dim=-1), (left * right).sum(-1))


COLUMNS = {"bonds": 4, "angles": 5, "torsions": 7, "exceptions": 5}


@dataclass(frozen=True)
class ForceField:
    """Harmonic bonds and angles, periodic torsions, Lennard-Jones and Coulomb of all pairs without a cutoff.

    Args:
        content: by name rows of numbers. `bonds`: i, j, length, k; `angles`: i, j, k, angle, k; `torsions`: i, j, k, l,
            periodicity, phase, k; `atoms`: mass, charge, sigma, epsilon; `exceptions`: pairs i, j with charge product, sigma
            and epsilon of their own. Energies are k (r - r0)^2 / 2, k (1 + cos(n phi - phase)), and pairs follow Lorentz and
            Berthelot.
    """

    content: Mapping[str, Any]

    def _split(self, name: str, indices: int) -> tuple[Tensor, Tensor]:
        rows = torch.tensor(self.content[name], dtype=torch.float64).reshape(-1, COLUMNS[name])  # also where there are none
        return rows[:, :indices].long(), rows[:, indices:].T

    @cached_property
    def _terms(self) -> tuple[tuple[Tensor, Tensor], ...]:
        atoms = torch.tensor(self.content["atoms"], dtype=torch.float64)
        special, values = self._split("exceptions", 2)
        pairs = torch.combinations(torch.arange(len(atoms)))
        plain = ~(pairs[:, None] == special.sort(1).values).all(-1).any(1)
        first, second = atoms[pairs[plain, 0]], atoms[pairs[plain, 1]]
        mixed = torch.stack([first[:, 1] * second[:, 1], (first[:, 2] + second[:, 2]) / 2, (first[:, 3] * second[:, 3]).sqrt()])
        nonbonded = torch.cat([pairs[plain], special]), torch.cat([mixed, values], 1)
        return self._split("bonds", 2), self._split("angles", 3), self._split("torsions", 4), nonbonded

    def energy(self, x: Tensor) -> Tensor:
        """kJ/mol, (...), of positions x (..., N, 3) in nm."""
        (bonds, of_bonds), (angles, of_angles), (torsions, of_torsions), (pairs, of_pairs) = self._terms
        length, stiffness = of_bonds.to(x)
        energy = (0.5 * stiffness * ((x[..., bonds[:, 0], :] - x[..., bonds[:, 1], :]).norm(dim=-1) - length).square()).sum(-1)
        angle, stiffness = of_angles.to(x)
        energy = energy + (0.5 * stiffness * (bend_angle(x, angles) - angle).square()).sum(-1)
        n, phase, height = of_torsions.to(x)
        energy = energy + (height * (1 + torch.cos(n * torsion_angle(x, torsions) - phase))).sum(-1)
        charges, sigma, epsilon = of_pairs.to(x)
        distance = (x[..., pairs[:, 0], :] - x[..., pairs[:, 1], :]).norm(dim=-1)
        sixth = (sigma / distance).pow(6)
        return energy + (4 * epsilon * (sixth.square() - sixth) + COULOMB * charges / distance).sum(-1)


@dataclass(frozen=True)
class ZMatrix:
    """Internal coordinates of N atoms: N - 1 bonds, N - 2 angles, N - 3 torsions, in the order of the rows.

    Args:
        rows: (atom, bonded to, angle with, torsion with), each atom after those it refers to; the first has only itself, the
            second one reference, the third two.
    """

    rows: Sequence[Sequence[int]]

    def to_internal(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bonds, angles and torsions, (..., N - 1), (..., N - 2), (..., N - 3), of positions (..., N, 3)."""
        bonds, angles, torsions = (torch.tensor([row[:k] for row in self.rows[k - 1 :]]) for k in (2, 3, 4))
        return (x[..., bonds[:, 0], :] - x[..., bonds[:, 1], :]).norm(dim=-1), bend_angle(x, angles), torsion_angle(x, torsions)

    def to_positions(self, bonds: Tensor, angles: Tensor, torsions: Tensor) -> Tensor:
        """Positions, (..., N, 3): first atom at the origin, second on the x axis, third above it in the x, y plane."""
        (first,), (second, _), (third, *_), *rest = self.rows
        zero = torch.zeros_like(bonds[..., 0])
        placed = {first: torch.stack((zero, zero, zero), -1), second: torch.stack((bonds[..., 0], zero, zero), -1)}
        along = -1.0 if self.rows[2][1] == second else 1.0  # from the atom that it is bonded to, towards the other
        step = torch.stack((along * angles[..., 0].cos(), angles[..., 0].sin(), zero), -1) * bonds[..., 1, None]
        placed[third] = placed[self.rows[2][1]] + step
        for k, (atom, near, next_, far) in enumerate(rest):
            axis = torch.nn.functional.normalize(placed[near] - placed[next_], dim=-1)
            normal = torch.nn.functional.normalize(torch.linalg.cross(placed[next_] - placed[far], axis), dim=-1)
            r, theta, phi = bonds[..., k + 2, None], angles[..., k + 1, None], torsions[..., k, None]
            across = phi.cos() * torch.linalg.cross(normal, axis) + phi.sin() * normal
            placed[atom] = placed[near] + r * (theta.sin() * across - theta.cos() * axis)
        return torch.stack([placed[atom] for atom in range(len(self.rows))], -2)

    @staticmethod
    def log_volume(bonds: Tensor, angles: Tensor) -> Tensor:
        """log of prod b^2 prod sin(theta), (...): the volume of positions for internal coordinates, place and turn apart."""
        return 2 * bonds.abs().log().sum(-1) + angles.sin().abs().log().sum(-1)


def cut_energy(u: Tensor, high: float, most: float) -> Tensor:
    """A reduced energy, linear up to `high` and a logarithm above, constant from `most` on (Wu, Koehler, Noe 2020, code)."""
    u = u.clamp(max=most)
    return torch.where(u < high, u, high + (u.clamp_min(high) - high + 1).log())


class Boltzmann(AutogradTarget):
    """exp(-E / kT) of a molecule in vacuum as a density on R^dim, its place and turn left out.

    Of x the first numbers are the scaled differences of bonds, angles and stiff torsions from a reference, q = q0 + s x, but
    for the soft torsions: phi = pi erf(x / sqrt 2), which makes N(0, 1) of a uniform angle. Each angle and stiff torsion has a
    wall where its range ends, so that each configuration is there once. The `extra` last numbers are standard normal: of place
    and turn, and velocities.

    Args:
        soft: rows of the Z-matrix, from the fourth on, whose torsions turn.
        reference: positions of an energy minimum, (N, 3).
        temperature: K.
        cut: `high` and `most` of `cut_energy`.
    """

    log_z = None

    def __init__(
        self,
        name: str,
        field: ForceField,
        coordinates: ZMatrix,
        soft: Sequence[int],
        reference: Tensor,
        temperature: float,
        cut: tuple[float, float],
        extra: int = 0,
    ):
        self.name, self.field, self.coordinates, self.cut = name, field, coordinates, cut
        self.kt, self.extra = GAS_CONSTANT * temperature, extra
        self.sizes = [len(coordinates.rows) - k for k in (1, 2, 3)]
        self.n_internal = sum(self.sizes)
        self.dim = self.n_internal + extra
        start = self.n_internal - self.sizes[2]
        self.soft = torch.tensor([start + row for row in soft])
        self.stiff = torch.ones(self.n_internal, dtype=torch.bool)
        self.stiff[self.soft] = False
        self.origin = torch.cat(coordinates.to_internal(reference.double()), -1)
        self.scale = self._scales()
        self.log_scale = self.scale[self.stiff].log().sum().item()

    def _scales(self) -> Tensor:
        """Standard deviations of the harmonic approximation at the reference, soft torsions held."""
        hessian = torch.autograd.functional.hessian(lambda q: self.reduced_energy(self.positions_of(q)), self.origin)
        scale = torch.ones(self.n_internal, dtype=torch.float64)
        stiff = self.stiff.nonzero().flatten()
        scale[stiff] = torch.linalg.inv(hessian[stiff][:, stiff]).diagonal().sqrt()
        return scale

    def positions_of(self, q: Tensor) -> Tensor:
        """(..., N, 3) of bonds, angles and torsions in one, (..., n_internal)."""
        return self.coordinates.to_positions(*q.split(self.sizes, -1))

    def reduced_energy(self, positions: Tensor) -> Tensor:
        """E / kT, (...), not cut."""
        return self.field.energy(positions) / self.kt

    def internal(self, x: Tensor) -> Tensor:
        """Bonds, angles and torsions in one, (..., n_internal), of x (..., dim)."""
        x = x[..., : self.n_internal]
        turned = math.pi * torch.erf(x / math.sqrt(2))
        return torch.where(self.stiff.to(x.device), self.origin.to(x) + self.scale.to(x) * x, turned)

    def positions(self, x: Tensor) -> Tensor:
        """(..., N, 3), of x (..., dim)."""
        return self.positions_of(self.internal(x))

    def log_prob(self, x: Tensor) -> Tensor:
        q = self.internal(x)
        bonds, angles, torsions = q.split(self.sizes, -1)
        energy = cut_energy(self.reduced_energy(self.coordinates.to_positions(bonds, angles, torsions)), *self.cut)
        volume = self.coordinates.log_volume(bonds, angles) + self.log_scale
        normal = torch.cat((x[..., self.soft.to(x.device)], x[..., self.n_internal :]), -1)
        volume = volume - 0.5 * normal.square().sum(-1) + 0.5 * len(self.soft) * math.log(2 * math.pi)
        offset = (q - self.origin.to(q))[..., self.n_internal - self.sizes[2] :]
        beyond = torch.where(
            self.stiff[-self.sizes[2] :].to(x.device), (offset.abs() - math.pi).relu(), torch.zeros_like(offset)
        )
        bent = ((angles - math.pi / 2).abs() - math.pi / 2).relu()
        walls = 0.5 * (beyond.square().sum(-1) + bent.square().sum(-1)) / WALL**2
        return volume - energy - walls
