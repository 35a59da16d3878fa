"""Alanine dipeptide in OpenMM: the system behind `alanine_dipeptide.json`, and molecular dynamics as the reference.

`python -m reproductions.pis.openmm_md` writes that file anew.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rescore.errors import MissingData

if TYPE_CHECKING:
    import openmm

EXPORTED = Path(__file__).with_name("alanine_dipeptide.json")
FORCE_FIELD = "amber96.xml"
ATOMS = {"ACE": "HH31 CH3 HH32 HH33 C O", "ALA": "N H CA HA CB HB1 HB2 HB3 C O", "NME": "N H CH3 HH31 HH32 HH33"}
BONDS = "0-1 1-2 1-3 1-4 4-5 4-6 6-7 6-8 8-9 8-10 10-11 10-12 10-13 8-14 14-15 14-16 16-17 16-18 18-19 18-20 18-21"


def load_openmm() -> Any:
    """The module. Raises MissingData where it is not installed."""
    try:
        import openmm
        import openmm.app
        import openmm.unit
    except ImportError:
        raise MissingData("OpenMM is not installed: pip install 'rescore[molecules]'") from None
    return openmm


def make_system() -> "openmm.System":
    """ACE-ALA-NME in vacuum under AMBER ff96: no constraint, no cutoff. Raises MissingData without OpenMM."""
    mm = load_openmm()
    topology = mm.app.Topology()
    chain = topology.addChain()
    for residue, names in ATOMS.items():
        of = topology.addResidue(residue, chain)
        for name in names.split():
            topology.addAtom(name, mm.app.Element.getBySymbol(name[0]), of)
    atoms = list(topology.atoms())
    for bond in BONDS.split():
        topology.addBond(*(atoms[int(i)] for i in bond.split("-")))
    return mm.app.ForceField(FORCE_FIELD).createSystem(topology, nonbondedMethod=mm.app.NoCutoff, constraints=None)


def make_context(system: "openmm.System", temperature: float, friction: float, step: float, seed: int) -> "openmm.Context":
    """Langevin dynamics (BAOAB) on one thread.

    Args:
        temperature: K.
        friction: 1/ps.
        step: fs.
    """
    mm = load_openmm()
    integrator = mm.LangevinMiddleIntegrator(temperature, friction, step / 1000)
    integrator.setRandomNumberSeed(seed)
    return mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))


@dataclass(frozen=True)
class Trajectory:
    """Frames at equal distances: positions (frames, 22, 3) in nm, potential energies (frames,) in kJ/mol."""

    positions: np.ndarray
    energies: np.ndarray


def simulate(
    start: np.ndarray,
    temperature: float,
    friction: float,
    step: float,
    picoseconds: float,
    every: int,
    settle: float,
    seed: int,
) -> Trajectory:
    """Molecular dynamics from `start` (22, 3), a frame each `every` steps, after `settle` picoseconds that are not kept.

    Raises MissingData without OpenMM.
    """
    context = make_context(make_system(), temperature, friction, step, seed)
    context.setPositions(start)
    context.setVelocitiesToTemperature(temperature, seed)
    integrator = context.getIntegrator()
    integrator.step(round(1000 * settle / step))
    positions, energies = [], []
    for _ in range(round(1000 * picoseconds / step) // every):
        integrator.step(every)
        state = context.getState(getPositions=True, getEnergy=True)
        positions.append(state.getPositions(asNumpy=True)._value)
        energies.append(state.getPotentialEnergy()._value)
    return Trajectory(np.stack(positions), np.array(energies))


def minimised(start: np.ndarray) -> np.ndarray:
    """Positions of the energy minimum near `start`, both (22, 3)."""
    context = make_context(make_system(), 300.0, 1.0, 1.0, 1)
    context.setPositions(start)
    load_openmm().LocalEnergyMinimizer.minimize(context, 1e-3)
    return context.getState(getPositions=True).getPositions(asNumpy=True)._value


def parameters() -> dict[str, list[list[float]]]:
    """What `rescore.targets.molecule.ForceField` takes, out of OpenMM's system."""
    mm, system = load_openmm(), make_system()
    forces = {type(force): force for force in system.getForces()}
    bonds, angles = forces[mm.HarmonicBondForce], forces[mm.HarmonicAngleForce]
    torsions, pairs = forces[mm.PeriodicTorsionForce], forces[mm.NonbondedForce]
    rows = {
        "atoms": [[system.getParticleMass(i), *pairs.getParticleParameters(i)] for i in range(system.getNumParticles())],
        "bonds": [bonds.getBondParameters(i) for i in range(bonds.getNumBonds())],
        "angles": [angles.getAngleParameters(i) for i in range(angles.getNumAngles())],
        "torsions": [torsions.getTorsionParameters(i) for i in range(torsions.getNumTorsions())],
        "exceptions": [pairs.getExceptionParameters(i) for i in range(pairs.getNumExceptions())],
    }
    return {name: [[getattr(value, "_value", value) for value in row] for row in of] for name, of in rows.items()}


def export(start: np.ndarray) -> None:
    """Write `alanine_dipeptide.json`: parameters, and the energy minimum near `start`."""
    mm = load_openmm()
    content = {
        "about": "Alanine dipeptide (ACE-ALA-NME) under AMBER ff96 (Kollman 1996), "
        f"{FORCE_FIELD} as OpenMM {mm.version.version} "
        "ships it under the MIT licence. Units: nm, kJ/mol, rad, e, Da. The positions are "
        "an energy minimum that OpenMM found from ideal internal coordinates. Written by reproductions/pis/openmm_md.py.",
        "names": [f"{residue}-{name}" for residue, names in ATOMS.items() for name in names.split()],
        **parameters(),
        "positions": minimised(start).round(9).tolist(),
    }
    lines = [f" {json.dumps(name)}: {_rows(value)}" for name, value in content.items()]
    EXPORTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _rows(value: Any) -> str:
    """A list of rows with a line for each."""
    if isinstance(value, list) and isinstance(value[0], list):
        return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
    return json.dumps(value)


if __name__ == "__main__":
    from reproductions.pis.alanine import ideal_positions

    export(ideal_positions())
