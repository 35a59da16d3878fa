"""Alanine dipeptide: its energy beside OpenMM's, its internal coordinates, its density."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from rescore.papers import load_paper
from rescore.random import make_generator
from rescore.targets.molecule import Boltzmann, ForceField, ZMatrix, bend_angle, cut_energy, torsion_angle
from safetensors.torch import load_file
from torch import Tensor

PAPER = load_paper("pis", ROOT)
alanine, openmm_md, config = (PAPER.module(name) for name in ("alanine", "openmm_md", "config"))
GOLDEN = Path(__file__).parent / "data" / "alanine_openmm.safetensors"
CONTENT = json.loads(openmm_md.EXPORTED.read_text())
ZMAT = ZMatrix(alanine.ROWS)

needs_openmm = pytest.mark.skipif(
    importlib.util.find_spec("openmm") is None, reason="OpenMM (extra `molecules`) is not installed"
)


@pytest.fixture(scope="module")
def molecule() -> Boltzmann:
    return alanine.make_molecule(config.Molecule())


def draws(molecule: Boltzmann, n: int, *names: object) -> Tensor:
    """Points (n, dim) of which some have atoms that are too near each other."""
    return 0.7 * torch.randn(n, molecule.dim, dtype=torch.float64, generator=make_generator("alanine", *names))


# the energy


def energy_and_forces(positions: Tensor) -> tuple[Tensor, Tensor]:
    free = positions.clone().requires_grad_()
    energy = ForceField(CONTENT).energy(free)
    (gradient,) = torch.autograd.grad(energy.sum(), free)
    return energy.detach(), -gradient


def check_energies(positions: Tensor, energies: Tensor, forces: Tensor) -> None:
    """1e-3 is what was asked for; in float64 the two agree to rounding."""
    ours, of_ours = energy_and_forces(positions)
    np.testing.assert_allclose(ours, energies, rtol=1e-9)
    error = (of_ours - forces).norm(dim=(1, 2)) / forces.norm(dim=(1, 2))
    assert error.max() < 1e-9


def test_energies_and_forces_are_those_that_openmm_gave():
    golden = load_file(GOLDEN)
    assert len(golden["energies"]) == 20 and golden["energies"].max() > 1000 > 50 > golden["energies"].min()
    check_energies(golden["positions"], golden["energies"], golden["forces"])


@needs_openmm
def test_energies_and_forces_are_those_of_openmm(molecule):
    positions = molecule.positions(draws(molecule, 100, "live"))
    context = openmm_md.make_context(openmm_md.make_system(), 300.0, 1.0, 1.0, 1)
    energies, forces = [], []
    for one in positions.numpy():
        context.setPositions(one)
        state = context.getState(getEnergy=True, getForces=True)
        energies.append(state.getPotentialEnergy()._value)
        forces.append(state.getForces(asNumpy=True)._value)
    check_energies(positions, torch.tensor(np.array(energies)), torch.tensor(np.stack(forces)))


@needs_openmm
def test_the_parameters_are_those_of_openmm_s_system():
    for name, rows in openmm_md.parameters().items():
        np.testing.assert_allclose(np.array(CONTENT[name]), np.array(rows), rtol=1e-12, err_msg=name)


@needs_openmm
def test_the_reference_is_an_energy_minimum_that_openmm_finds_again():
    again = torch.tensor(openmm_md.minimised(alanine.ideal_positions()))
    _, forces = energy_and_forces(torch.tensor(CONTENT["positions"])[None])
    assert forces.abs().max() < 0.1  # kJ/mol/nm; a thermal force is of order 1000
    np.testing.assert_allclose(
        torch.cat(ZMAT.to_internal(again)), torch.cat(ZMAT.to_internal(torch.tensor(CONTENT["positions"]))), atol=1e-4
    )


@needs_openmm
def test_the_file_of_parameters_can_be_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(openmm_md, "EXPORTED", tmp_path / "again.json")
    openmm_md.export(alanine.ideal_positions())
    again = json.loads((tmp_path / "again.json").read_text())
    assert again.keys() == CONTENT.keys() and again["names"] == CONTENT["names"]
    assert again["about"].startswith("Alanine dipeptide (ACE-ALA-NME) under AMBER ff96") and "MIT licence" in again["about"]
    for name in ("atoms", "bonds", "angles", "torsions", "exceptions"):
        np.testing.assert_allclose(np.array(again[name]), np.array(CONTENT[name]), rtol=1e-12, err_msg=name)


@needs_openmm
def test_dynamics_keep_the_temperature_of_a_molecule():
    run = openmm_md.simulate(np.array(CONTENT["positions"]), 1000.0, 5.0, 1.0, 2.0, 100, 0.5, 3)
    assert run.positions.shape == (20, 22, 3) and run.energies.shape == (20,)
    np.testing.assert_allclose(ForceField(CONTENT).energy(torch.tensor(run.positions)), run.energies, rtol=1e-9)
    floor = ForceField(CONTENT).energy(torch.tensor(CONTENT["positions"])).item()
    above = (run.energies.mean() - floor) / (8.314462618e-3 * 1000)
    assert 20 < above < 40  # a harmonic molecule of 60 internal degrees of freedom has 30 kT
    again = openmm_md.simulate(np.array(CONTENT["positions"]), 1000.0, 5.0, 1.0, 0.1, 100, 0.5, 3)
    np.testing.assert_array_equal(again.positions[0], run.positions[0])


def test_a_force_field_by_hand():
    """Four atoms: one bond, one angle, one torsion, one exception beside plain pairs."""
    content = {
        "atoms": [[1, 0.1, 0.3, 0.5], [1, -0.2, 0.2, 0.4], [1, 0.3, 0.25, 0.9], [1, 0.4, 0.35, 0.1]],
        "bonds": [[0, 1, 0.1, 100.0]],
        "angles": [[0, 1, 2, 1.5, 40.0]],
        "torsions": [[0, 1, 2, 3, 3, 0.5, 7.0]],
        "exceptions": [[1, 0, 0.0, 1.0, 0.0], [2, 3, 0.02, 0.2, 0.3]],
    }
    x = torch.tensor([[0.12, 0, 0], [0, 0, 0], [0, 0.3, 0], [0, 0.3, 0.4]], dtype=torch.float64)
    expected = 0.5 * 100 * 0.02**2 + 0.5 * 40 * (math.pi / 2 - 1.5) ** 2 + 7 * (1 + math.cos(3 * -math.pi / 2 - 0.5))
    for r, qq, sigma, epsilon in (
        (math.hypot(0.12, 0.3), 0.03, 0.275, math.sqrt(0.45)),
        (math.sqrt(0.12**2 + 0.3**2 + 0.4**2), 0.04, 0.325, math.sqrt(0.05)),
        (0.3, -0.06, 0.225, 0.6),
        (0.5, -0.08, 0.275, 0.2),
        (0.4, 0.02, 0.2, 0.3),
    ):
        expected += 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6) + 138.93545764438198 * qq / r
    found = [ForceField(content).energy(x).item(), ForceField(content).energy(x * torch.tensor([1, 1, -1.0])).item()]
    mirrored = expected - 7 * math.cos(3 * -math.pi / 2 - 0.5) + 7 * math.cos(3 * math.pi / 2 - 0.5)
    assert sorted(found) == pytest.approx(sorted([expected, mirrored]), rel=1e-12)


# internal coordinates


def test_a_force_field_may_lack_a_kind_of_terms():
    """Two charges a nanometre apart, and nothing else."""
    content = {"atoms": [[1, 1, 1, 0], [1, -1, 1, 0]], "bonds": [], "angles": [], "torsions": [], "exceptions": []}
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64)
    assert ForceField(content).energy(x).item() == pytest.approx(-138.935458, rel=1e-8)


def test_angles_of_known_positions():
    x = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [math.cos(0.7), math.sin(0.7), 1]], dtype=torch.float64)
    atoms = torch.tensor([[0, 1, 2, 3]])
    assert torsion_angle(x, atoms).item() == pytest.approx(0.7)  # positive as IUPAC counts it: clockwise, seen from the front
    assert torsion_angle(x * torch.tensor([1, -1, 1.0]), atoms).item() == pytest.approx(-0.7)
    assert bend_angle(x, atoms[:, :3]).item() == pytest.approx(math.pi / 2)


def test_positions_and_internal_coordinates_are_inverse(molecule):
    q = molecule.internal(draws(molecule, 5, "inverse"))
    back = torch.cat(ZMAT.to_internal(molecule.positions_of(q)), -1)
    difference = torch.remainder(back - q + math.pi, 2 * math.pi) - math.pi
    assert difference.abs().max() < 1e-9


def test_the_molecule_is_the_natural_one():
    """L-alanine in its lowest basin, C7eq, with trans peptide bonds."""
    x = torch.tensor(CONTENT["positions"])
    phi, psi, *_ = np.degrees(alanine.torsions_of(x[None])[0])
    assert -95 < phi < -60 and 50 < psi < 95
    trans = np.degrees(torsion_angle(x, torch.tensor([[1, 4, 6, 8], [8, 14, 16, 18]])).numpy())
    assert (np.abs(trans) > 170).all()
    h, n, c, r = x[9], x[6], x[14], x[10]
    assert torch.dot(torch.linalg.cross(c - h, r - h), n - h) > 0, "CO, R, N clockwise seen from H"


def test_volume_is_that_of_positions_with_place_and_turn():
    """|d(positions) / d(place, turn, internal)| = prod b^2 prod sin(theta), by automatic differentiation of all 66 numbers."""
    internal = torch.cat(ZMAT.to_internal(torch.tensor(CONTENT["positions"], dtype=torch.float64))) + 0.05
    sizes = [21, 20, 19]

    def place(all_of_it: Tensor) -> Tensor:
        moved, turned, q = all_of_it.split([3, 3, 60])
        a, b, c = turned
        zero = torch.zeros_like(a)
        generator = torch.stack((zero, -c, b, c, zero, -a, -b, a, zero)).reshape(3, 3)
        return (ZMAT.to_positions(*q.split(sizes)) @ torch.linalg.matrix_exp(generator).T + moved).flatten()

    jacobian = torch.autograd.functional.jacobian(place, torch.cat((torch.zeros(6, dtype=torch.float64), internal)))
    bonds, angles, _ = internal.split(sizes)
    assert torch.linalg.slogdet(jacobian).logabsdet.item() == pytest.approx(ZMAT.log_volume(bonds, angles).item(), abs=1e-9)


# the density


def test_the_cut_is_linear_then_a_logarithm_then_constant():
    u = torch.tensor([-3.0, 499.0, 500.0, 500 + math.e - 1, 5e3, 1e4, 1e9], dtype=torch.float64)
    expected = [-3, 499, 500, 501, 500 + math.log(4501), 500 + math.log(9501), 500 + math.log(9501)]
    np.testing.assert_allclose(cut_energy(u, 500.0, 1e4), expected, rtol=1e-12)


def test_the_density_is_the_boltzmann_factor_times_the_volume_of_its_coordinates(molecule):
    (x,) = draws(molecule, 1, "density") * 0.5
    jacobian = torch.autograd.functional.jacobian(molecule.internal, x[:60])
    q = molecule.internal(x)
    volume = molecule.coordinates.log_volume(q[:21], q[21:41]) + torch.linalg.slogdet(jacobian).logabsdet
    energy = molecule.field.energy(molecule.positions(x)) / (8.31446261815324e-3 * 1000)
    assert energy < 500
    assert molecule.log_prob(x).item() == pytest.approx((volume - energy - 0.5 * x[60:].square().sum()).item(), abs=1e-9)
    assert molecule.dim == 132 and molecule.log_prob(x.float()).dtype == torch.float32


def test_soft_torsions_go_once_around_and_stiff_ones_end_at_a_wall(molecule):
    ends = torch.zeros(2, 132, dtype=torch.float64)
    ends[:, molecule.soft] = torch.tensor([-6.0, 6.0], dtype=torch.float64)[:, None]
    np.testing.assert_allclose(alanine.torsions_of(molecule.positions(ends)).__abs__(), math.pi, atol=1e-6)
    np.testing.assert_allclose(molecule.internal(ends)[:, molecule.soft].sum(0), 0, atol=1e-12)
    stiff = next(k for k in range(41, 60) if molecule.stiff[k])
    once = torch.zeros(132, dtype=torch.float64)
    around = once.clone()
    around[stiff] = 2 * math.pi / molecule.scale[stiff]
    torch.testing.assert_close(molecule.positions(around), molecule.positions(once))
    wall = (math.pi / 0.05) ** 2 / 2
    assert (molecule.log_prob(once) - molecule.log_prob(around)).item() == pytest.approx(wall, rel=1e-9)


def test_scales_are_those_of_the_harmonic_molecule(molecule):
    """Where stiff coordinates are drawn with these scales' Gaussian, their Hessian's inverse has ones on its diagonal."""

    def energy(y: Tensor) -> Tensor:
        x = torch.zeros(60, dtype=torch.float64).masked_scatter(molecule.stiff, y)
        return molecule.reduced_energy(molecule.positions_of(molecule.origin + molecule.scale * x))

    hessian = torch.autograd.functional.hessian(energy, torch.zeros(55, dtype=torch.float64))
    np.testing.assert_allclose(torch.linalg.inv(hessian).diagonal(), 1, rtol=1e-9)
