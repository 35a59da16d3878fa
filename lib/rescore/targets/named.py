"""Targets by their spelling in the ledger."""

import torch

from rescore.data.pines import load_pines
from rescore.errors import RescoreError
from rescore.targets import lgcp
from rescore.targets.base import Target
from rescore.targets.funnel import Funnel
from rescore.targets.mixture import nine_modes
from rescore.targets.rings import Rings


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
        case "rings":
            return Rings()
        case "funnel":
            return Funnel(9.0)
        case "funnel1":
            return Funnel(1.0)
        case "lgcp":
            return lgcp.pines(torch.tensor(load_pines().to_numpy()), side)
        case "lgcp_synthetic":
            return lgcp.synthetic(side)
    raise RescoreError(f"unknown target {name!r}; allowed: mg, rings, funnel, funnel1, lgcp, lgcp_synthetic")


def known_log_z(name: str, side: int = 40) -> float | None:
    """log Z where it is known, also without the pines, whose log Z was computed on one grid."""
    if name == "lgcp":
        return lgcp.PINES_LOG_Z if side == 40 else None
    return make_target(name, side).log_z
