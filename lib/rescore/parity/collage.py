"""DiffCollage: composed scores, known pixels, the sampler."""

from __future__ import annotations

import torch
from torch import Tensor

from rescore.collage.compose import averaged_score, composed_score
from rescore.collage.graph import chain, cycle
from rescore.collage.inpaint import clipped_score, reconstructed_score, replaced_score
from rescore.parity.table import Compare, Sheet
from rescore.processes import VE, grids
from rescore.samplers import rhork_deis

PROCESS = VE(0.001, 80.0)
EXACT = 1e-12
SUMS = ("their class that averages long contents sums; times the number of pieces at each position we agree", 0.51)
SEAM = ("at the seam of their circle two predictions are averaged, not summed less the shared half; elsewhere we agree", 0.3)


def diffcollage(sheet: Sheet) -> None:
    """Noise predictions of chains and cycles, composed and averaged, at the noise levels of the sheet."""
    long, circle = chain(4, 10, 4, 2), cycle(4, 8, 4, 2)
    score = composed_score(long, piece)
    for text in ("0.1", "1", "20"):
        sigma = float(text)
        t, x = PROCESS.time_of_rho(sigma).item(), sheet["x_long"]
        sheet.compare(f"chain, sigma {text}", -sigma * score(x, t), f"long/eps/{text}", EXACT, 0)
        average = -sigma * averaged_score((4, 10), long.factors, piece)(x, t)
        counts = torch.bincount(long.factors.flatten(), minlength=40).reshape(4, 10)
        reason, bound = SUMS
        sheet.compare(
            f"average on a chain, sigma {text}", average, f"average_long/eps/{text}", EXACT, 2, reason=reason, bound=bound
        )
        sheet.compare(f"average on a chain times pieces, sigma {text}", average * counts, f"average_long/eps/{text}", EXACT, 2)
        x = sheet["x_circle"]
        found, theirs, (reason, bound) = -sigma * composed_score(circle, piece)(x, t), sheet[f"circle/eps/{text}"], SEAM
        sheet.compare(f"circle, sigma {text}", found, theirs, EXACT, 1, reason=reason, bound=bound)
        sheet.compare(f"circle, sigma {text}, away from the seam", found[..., 2:], theirs[..., 2:], EXACT, 1)
        average = -sigma * averaged_score((4, 8), circle.factors, piece)(x, t)
        sheet.compare(f"average on a circle, sigma {text}", average, f"average_circle/eps/{text}", EXACT, 2)
        x = sheet["x_long"]
        sheet.compare(
            f"chain, clipped x0, sigma {text}", x + sigma**2 * clipped_score(PROCESS, score)(x, t), f"long/x0/{text}", EXACT, 0
        )
        x, known, mask = sheet["x_piece"], sheet["known"], sheet["mask"][:, None]
        replaced = replaced_score(PROCESS, piece, known, mask)(x, t)
        sheet.compare(f"replacement, sigma {text}", -sigma * replaced, f"replace/eps/{text}", EXACT, 4)
        rebuilt = reconstructed_score(PROCESS, piece, known, mask)(x, t)
        sheet.compare(f"reconstruction, sigma {text}", x + sigma**2 * rebuilt, f"reconstruct/x0/{text}", EXACT, 4)
    for kappa, name in ((7.0, "grid"), (2.0, "grid_2")):
        sheet.compare(f"grid in sigma^(1 / {kappa:g})", PROCESS.rho(grids.rho_power(PROCESS, 10, kappa, 0.0)), name, EXACT, 5)
    times = grids.rho_power(PROCESS, 10, 7.0, 0.0)
    found = rhork_deis(PROCESS, times, "heun2")(clipped_score(PROCESS, score), sheet["x_T"])
    sheet.compare("Heun's sampler without churn, x0 clipped", found, "sample/churn0", EXACT, 5)


def piece(u: Tensor, t: float) -> Tensor:
    """The score of their test model: correlated Gaussian along the width, and a sine."""
    sigma, width = PROCESS.rho(t).item(), u.shape[-1]
    place = torch.arange(width, dtype=u.dtype)
    covariance = 0.8 ** (place[:, None] - place).abs() + sigma**2 * torch.eye(width, dtype=u.dtype)
    eps = sigma * u @ torch.linalg.inv(covariance) + 0.05 * torch.sin(2 * u)
    return -eps / sigma


COMPARISONS: dict[str, Compare] = {"diffcollage": diffcollage}
