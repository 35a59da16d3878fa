"""NCSN and NCSNv2: score matching at given noise, annealed Langevin dynamics."""

from __future__ import annotations

import torch
from torch import Tensor

from rescore.objectives.pointwise import dsm, ssm, ssm_vr
from rescore.parity.table import Compare, Played, Sheet
from rescore.processes import VE
from rescore.samplers import AnnealedLangevin
from rescore.samplers.base import Denoise
from rescore.scores import GaussianMixture

EXACT = 1e-12
ENDS: tuple[tuple[str, Denoise], ...] = (("plain", "none"), ("denoised", "tweedie"))


def score(x: Tensor) -> Tensor:
    """A score without meaning, (n, d) to (n, d), whose Jacobian is not symmetric; the sheet has the same."""
    return -x + 0.5 * torch.sin(2 * x) + 0.1 * x.sum(1, keepdim=True) * torch.cos(x)


def losses(sheet: Sheet) -> None:
    """Losses of `score` by sliced and denoising score matching, with the noise of the sheet."""
    x, z = sheet["x"], sheet["z"]
    sheet.compare("sliced score matching", ssm(score, x, sheet["v_unit"]), "ssm", EXACT)
    sheet.compare("sliced score matching, variance reduced", ssm_vr(score, x, sheet["v"]), "ssm_vr", EXACT)
    sheet.compare("denoising score matching", dsm(score, x, z, 0.3), "dsm/sigma0.3", EXACT, 1)
    sigma = sheet["sigmas"][sheet["labels"]][:, None]
    annealed = sigma[:, 0] ** 2 * dsm(lambda u: score(u) / sigma, x, z, sigma)
    sheet.compare("annealed denoising score matching", annealed, "annealed_dsm", EXACT, 1)


def langevin(sheet: Sheet) -> None:
    """Annealed Langevin dynamics with the score of a mixture and the noise of the sheet."""
    process = VE(0.01, 5.0)
    exact = GaussianMixture(VE(0.01, 5.0), sheet["means"], sheet["stds"], sheet["weights"])
    times = [process.time_of_rho(sigma).item() for sigma in sheet["sigmas"].tolist()]
    times = [min(max(time, 0.0), 1.0) for time in times]
    for name, denoise in ENDS:
        sampler = AnnealedLangevin(process, times, 2 * 2e-5, 3, denoise)  # their step_lr is half of our size
        u = sampler.run(exact, sheet["start"], Played(*sheet["noise"].flatten(0, 1)).draw)
        sheet.compare(f"annealed Langevin, {name}", sampler.last(exact, u), name, EXACT)


COMPARISONS: dict[str, Compare] = {"ncsn_losses": losses, "ncsnv2_langevin": langevin}
