"""Targets by their spelling in the ledger."""

import torch

from rescore.data.pines import load_pines
from rescore.errors import RescoreError
from rescore.targets import lgcp
from rescore.targets.base import Target
from rescore.targets.brownian import BrownianMotion
from rescore.targets.funnel import Funnel
from rescore.targets.many_well import ManyWell
from rescore.targets.mixture import forty_modes, nine_modes, three_modes
from rescore.targets.rings import Rings
from rescore.targets.student import StudentMixture

NAMES = (
    "mg",
    "mg_released",
    "gmm40",
    "student2",
    "manywell32",
    "rings",
    "funnel",
    "funnel1",
    "brownian",
    "lgcp",
    "lgcp_synthetic",
)


def make_target(name: str, side: int = 40) -> Target:
    """The density of a name.

    Args:
        side: cells along a side of a Cox process's grid.

    Raises:
        MissingData: the pines of `lgcp` cannot be had.
        RescoreError: unknown name.
    """
    match name:
        case "mg":
            return nine_modes()
        case "mg_released":
            return three_modes()
        case "gmm40":
            return forty_modes()
        case "student2":
            return StudentMixture(2)
        case "manywell32":
            return ManyWell(32)
        case "rings":
            return Rings()
        case "funnel":
            return Funnel(9.0)
        case "funnel1":
            return Funnel(1.0)
        case "brownian":
            return BrownianMotion()
        case "lgcp":
            return lgcp.pines(torch.tensor(load_pines().to_numpy()), side)
        case "lgcp_synthetic":
            return lgcp.synthetic(side)
    raise RescoreError(f"unknown target {name!r}; allowed: {', '.join(NAMES)}")


def known_log_z(name: str, side: int = 40) -> float | None:
    """log Z where it is known, also without the pines, whose log Z was computed on one grid."""
    if name == "lgcp":
        return lgcp.PINES_LOG_Z if side == 40 else None
    return make_target(name, side).log_z
