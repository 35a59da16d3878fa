"""Table 5.2, alanine dipeptide: how far the torsions of each method's samples are from molecular dynamics."""

import math
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.experiments.repeat import repeat_runs
from rescore.files import read_json
from rescore.flows import transport as flows
from rescore.ledger.records import Over
from rescore.machine.locks import folder_lock
from rescore.montecarlo import smc, snf
from rescore.random import small_seed
from rescore.targets.molecule import Boltzmann, ForceField, ZMatrix, torsion_angle
from torch import Tensor

from reproductions.pis.config import Molecule
from reproductions.pis.openmm_md import EXPORTED, simulate
from reproductions.pis.policies import trained_policy
from reproductions.pis.study import Study
from reproductions.pis.variational import (
    flow_protocol,
    moves_of,
    stochastic_flow_protocol,
    trained_flow,
    trained_stochastic_flow,
)

TABLE = "5.2"
ANNEALED = Axes("{temperatures}-temperatures")
# N, CA and C first; hydrogens and oxygens by the difference from the torsion of a sibling, so that each bond turns by one
# torsion
ROWS = (
    (6,),
    (8, 6),
    (14, 8, 6),
    (10, 8, 6, 14),
    (9, 8, 6, 14),
    (4, 6, 8, 14),
    (1, 4, 6, 8),
    (0, 1, 4, 6),
    (2, 1, 4, 0),
    (3, 1, 4, 0),
    (5, 4, 6, 1),
    (7, 6, 8, 4),
    (16, 14, 8, 6),
    (15, 14, 8, 16),
    (18, 16, 14, 8),
    (17, 16, 14, 18),
    (19, 18, 16, 14),
    (20, 18, 16, 19),
    (21, 18, 16, 19),
    (11, 10, 8, 6),
    (12, 10, 8, 11),
    (13, 10, 8, 11),
)
# the five of the table: backbone, and the methyls of the side chain, the first cap and the last cap
TORSIONS = {"phi": (4, 6, 8, 14), "psi": (16, 14, 8, 6), "eta1": (11, 10, 8, 6), "eta2": (0, 1, 4, 6), "eta3": (19, 18, 16, 14)}
EXTRA = 6 + 66  # standard normal: place and turn, and velocities
BINS, SMOOTHING, FLOOR = 50, (0.25, 0.5, 1.0, 0.5, 0.25), 1e-5  # of the stochastic normalising flows' code


def ideal_positions() -> np.ndarray:
    """Positions (22, 3) in nm from which that of `alanine_dipeptide.json` was sought: equilibrium bonds, ideal angles."""
    bonds, angles, torsions = [], [], []
    planar = {4, 6, 14, 16}
    ideal = {
        4: -80,
        1: 180,
        0: 60,
        5: 180,
        7: 180,
        16: 70,
        15: 180,
        18: 180,
        17: 180,
        19: 60,
        11: 60,
        10: -120,
        9: 120,
        2: 120,
        3: -120,
        20: 120,
        21: -120,
        12: 120,
        13: -120,
    }
    heavy = {1, 4, 5, 6, 8, 10, 14, 15, 16, 18}
    for atom, *others in ROWS:
        if others:
            bonds.append(0.15 if atom in heavy and others[0] in heavy else 0.1)
        if len(others) > 1:
            angles.append(math.radians(120 if others[0] in planar else 109.5))
        if len(others) > 2:
            torsions.append(math.radians(ideal[atom]))
    internal = (torch.tensor(of, dtype=torch.float64) for of in (bonds, angles, torsions))
    return ZMatrix(ROWS).to_positions(*internal).numpy()


@cache
def make_molecule(settings: Molecule) -> Boltzmann:
    """The density of Table 5.2: exp(-E / kT) in internal coordinates, with 72 standard normal numbers beside them."""
    content = read_json(EXPORTED, {"positions": list})
    soft = [k for k, row in enumerate(ROWS[3:]) if row in TORSIONS.values()]
    reference = torch.tensor(content["positions"], dtype=torch.float64)
    cut = (settings.cut_at, settings.cut_most)
    return Boltzmann("alanine_dipeptide", ForceField(content), ZMatrix(ROWS), soft, reference, settings.temperature, cut, EXTRA)


def torsions_of(positions: Tensor) -> np.ndarray:
    """The table's five torsions, (n, 5), of positions (n, 22, 3)."""
    return torsion_angle(positions, torch.tensor(list(TORSIONS.values()))).numpy()


def histogram(angles: np.ndarray) -> np.ndarray:
    """The density of angles (n,) in 50 bins on (-pi, pi), smoothed around the circle by a kernel of sum 2.5."""
    density, _ = np.histogram(angles, BINS, (-math.pi, math.pi), density=True)
    half = len(SMOOTHING) // 2
    return sum(weight * np.roll(density, k - half) for k, weight in enumerate(SMOOTHING))


def torsion_kl(reference: np.ndarray, model: np.ndarray) -> float:
    """sum h log((h + 1e-5) / (g + 1e-5)) over the bins: neither the bins' width nor the kernel's sum is divided out.

    So it is 2.5 * 50 / (2 pi) = 19.9 times the KL divergence of the smoothed densities, as in the code of the table's SNF.
    """
    h, g = histogram(reference), histogram(model)
    return float((h * np.log((h + FLOOR) / (g + FLOOR))).sum())


def torsion_kls(reference: np.ndarray, model: np.ndarray) -> dict[str, float]:
    """By metric the divergences of torsions (n, 5) from those of the reference (m, 5)."""
    return {f"kl_{name}": torsion_kl(reference[:, k], model[:, k]) for k, name in enumerate(TORSIONS)}


class MoleculeStudy(Study):
    """The molecule as a target, with the reference that its samples are compared with."""

    def __init__(self, book: Book, dataset: str):
        self.book, self.config, self.dataset = book, book.config, dataset
        self.settings = self.config.datasets[dataset]
        self.molecule = self.settings.molecule
        self.target = make_molecule(self.molecule)

    def training_folder(self, method: str, seed: int, settings: Mapping[str, object]) -> Path:
        density = self.molecule.model_dump(include={"temperature", "cut_at", "cut_most"})
        return super().training_folder(method, seed, {"settings": settings, "density": density})

    @property
    def md_protocol(self) -> dict[str, object]:
        of = self.molecule.md
        return {
            "temperature": self.molecule.temperature,
            "force_field": "amber96",
            "md_picoseconds": of.trajectories * of.picoseconds,
        }

    @property
    def protocol(self) -> dict[str, object]:
        of = self.molecule
        return self.md_protocol | {"coordinates": "internal", "cut": f"{of.cut_at:g}/{of.cut_most:g}", "scales": "harmonic"}

    @cached_property
    def reference(self) -> Mapping[str, np.ndarray]:
        """Molecular dynamics: `torsions` (trajectories, frames, 5) and `energies` in kT; for all jobs. Raises MissingData."""
        of, label = self.molecule.md, f"{self.dataset}: molecular dynamics"
        key = super().training_folder("md", 0, of.model_dump() | {"temperature": self.molecule.temperature})
        start = np.array(read_json(EXPORTED, {"positions": list})["positions"])

        def trajectories(which: range) -> dict[str, np.ndarray]:
            runs = [
                simulate(
                    start,
                    self.molecule.temperature,
                    of.friction,
                    of.step,
                    of.picoseconds,
                    of.every,
                    of.settle,
                    small_seed(self.dataset, "md", k),
                )
                for k in which
            ]
            torsions = np.stack([torsions_of(torch.tensor(run.positions)) for run in runs])
            return {"torsions": torsions, "energies": np.stack([run.energies for run in runs]) / self.target.kt}

        with folder_lock(key, label):  # three jobs need it
            return repeat_runs(trajectories, of.trajectories, 1, key.with_suffix(".npz"), label)

    def compared(self, samples: Tensor) -> dict[str, float]:
        """The divergences of samples (n, dim) of the target."""
        return torsion_kls(self.reference["torsions"].reshape(-1, 5), self.torsions(samples))

    def torsions(self, samples: Tensor) -> np.ndarray:
        return torsions_of(self.target.positions(samples.double()))

    def enter(
        self,
        method: str,
        variant: str,
        nfe: int | None,
        protocol: Mapping[str, object],
        name: str,
        sample: Callable[[int], tuple[Tensor, dict[str, float]]],
        over: Over,
        n: int | None = None,
    ) -> None:
        """A row: samples (n, dim), the config's number if n is not given, and other numbers of each seed."""
        n = n or self.molecule.samples
        with self.book.cell(TABLE, self.dataset, method, variant, nfe, self.protocol | dict(protocol), n=n, over=over) as cell:
            if cell.todo:
                found = [sample(seed) for seed in self.config.seeds]
                cell.add_each([self.compared(samples) | numbers for samples, numbers in found])
                cell.arrays[f"{self.dataset}/{name}/torsions"] = self.torsions(found[0][0]).astype(np.float32)


def path_integral(study: MoleculeStudy, method: str) -> None:
    """PIS-NN, unweighted; the path cost is its KL* of all atoms, up to log Z a bound from above."""
    sde, settings = study.sde(method), study.settings.pis

    def sample(seed: int) -> tuple[Tensor, dict[str, float]]:
        policy, _ = trained_policy(study, method, seed, sde, settings)
        generator, noise = study.generator(method, "samples", seed), study.points(study.molecule.samples)
        paths = sde.simulate(policy, study.target, lambda: noise.normal_(generator=generator))
        return paths.x, {"kl_all_atom": -paths.log_w.mean().item()}

    study.enter("PIS", "NN", sde.steps, sde.protocol | settings.protocol, method, sample, "trainings")


def variational_flow(study: MoleculeStudy, method: str) -> None:
    """VI-NF by reverse KL; minus its ELBO is its KL* of all atoms."""

    def sample(seed: int) -> tuple[Tensor, dict[str, float]]:
        flow, _ = trained_flow(study, method, seed)
        with torch.no_grad():
            z = study.points(study.molecule.samples).normal_(generator=study.generator(method, "samples", seed))
            return flow(z)[0], {"kl_all_atom": -flows.flow_log_weights(flow, study.target, z).mean().item()}

    study.enter("VI-NF", "", None, flow_protocol(study.settings.vi_nf), method, sample, "trainings")


def stochastic_flow(study: MoleculeStudy, method: str) -> None:
    """SNF; minus its mean log path weight is its KL* of all atoms, as PIS's path cost up to log Z a bound from above."""
    settings = study.config.snf

    def sample(seed: int) -> tuple[Tensor, dict[str, float]]:
        maps, _ = trained_stochastic_flow(study, method, seed)
        streams = [study.generator(method, "samples", seed)]
        paths = snf.sample(maps, moves_of(settings), study.target, study.molecule.samples, streams)
        return paths.x[0], {"kl_all_atom": -paths.log_w.mean().item(), "acceptance": paths.acceptance[0, -1].item()}

    study.enter("SNF", "", None, stochastic_flow_protocol(settings), method, sample, "trainings")


def annealed(study: MoleculeStudy, method: str) -> None:
    """SMC, its particles drawn by their weights at the end; their mean energy, in kT, stands beside that of the dynamics."""
    of = study.settings.annealing
    n = of.particles or study.molecule.samples
    schedule = smc.Annealing.of(of, of.step_sizes)

    def sample(seed: int) -> tuple[Tensor, dict[str, float]]:
        generator = study.generator(method, "samples", seed)
        done = smc.anneal(study.target, schedule, n, [generator])
        drawn = torch.multinomial(done.log_weights[0].exp(), n, replacement=True, generator=generator)
        energy = study.target.reduced_energy(study.target.positions(done.x[0, drawn].double())).mean().item()
        return done.x[0, drawn], {"acceptance": done.acceptance[0, -1].item(), "mean_energy": energy}

    study.enter("SMC", "", None, schedule.protocol | {"particles": n}, method, sample, "runs", n)


def dynamics(study: MoleculeStudy, method: str) -> None:
    """The reference beside itself: each trajectory's divergence from the others, which a perfect sampler would have too."""
    of, reference = study.molecule.md, study.reference
    protocol = study.md_protocol | {"friction": of.friction, "step_fs": of.step, "settle": of.settle, "library": "openmm"}
    frames = reference["torsions"].shape[1]
    with study.book.cell(TABLE, study.dataset, "MD", "each-from-others", None, protocol, n=frames) as cell:
        if cell.todo:
            torsions, energies = reference["torsions"], reference["energies"]
            others = [np.delete(torsions, k, 0).reshape(-1, 5) for k in range(of.trajectories)]
            cell.add_each([torsion_kls(rest, one) for rest, one in zip(others, torsions, strict=True)])
            cell.add("mean_energy", energies.mean(1))
            cell.arrays[f"{study.dataset}/md/torsions"] = torsions.reshape(-1, 5).astype(np.float32)


SECTIONS: dict[str, Callable[[MoleculeStudy, str], None]] = {
    "md": dynamics,
    "nn": path_integral,
    "smc": annealed,
    "vi_nf": variational_flow,
    "snf": stochastic_flow,
}


def measure(book: Book, dataset: str, method: str) -> None:
    """Raises MissingData where OpenMM is not installed."""
    SECTIONS[method](MoleculeStudy(book, dataset), method)
