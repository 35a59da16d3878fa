"""PIS: target densities, policies, paths and their weights, the training loss."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from rescore.control.policies import PISNN, PISGrad
from rescore.control.sde import ControlledSDE
from rescore.montecarlo.logz import log_mean_exp
from rescore.parity.table import Compare, Sheet
from rescore.targets.base import Target
from rescore.targets.funnel import Funnel
from rescore.targets.lgcp import LogGaussianCox, bin_counts
from rescore.targets.mixture import GaussianMixture, nine_modes
from rescore.targets.rings import Rings

FUNNEL = ("the released funnel has variance 1, the paper's 9", 0.1)
FLOAT32 = 1e-6
SDE = ControlledSDE()


def targets(sheet: Sheet) -> None:
    """Energies of the targets of the plane and of the funnel, and their gradients."""
    angles = torch.linspace(0, 2 * 3.14, 4, dtype=torch.float64)[:3]
    three = GaussianMixture(torch.stack((angles.cos(), angles.sin()), 1), 0.15)
    for name, target in {"funnel": Funnel(1.0), "nine_modes": nine_modes(), "mg2d": three, "rings": Rings()}.items():
        x = sheet[f"{name}/x"].double()
        sheet.compare(f"{name}, energy", -target.log_prob(x), f"{name}/energy", FLOAT32, 0)
        sheet.compare(f"{name}, its gradient", -target.score(x), f"{name}/energy_gradient", FLOAT32, 0)
    reason, bound = FUNNEL
    found = -Funnel(9.0).log_prob(sheet["funnel/x"].double())
    sheet.compare("funnel of the paper, energy", found, "funnel/energy", FLOAT32, 0, reason=reason, bound=bound)


def lgcp(sheet: Sheet) -> None:
    """Counts, log density and its gradient of the log-Gaussian Cox process on 10 x 10 and 40 x 40 cells."""
    for n in (10, 40):
        counts = bin_counts(sheet["points"], n)
        sheet.compare(f"counts of {n} x {n} cells", counts, f"{n}/counts", 0.0)
        density, score = LogGaussianCox(counts).log_prob_and_score(sheet[f"{n}/x"].double())
        sheet.compare(f"log density, {n} x {n}", density, f"{n}/log_density", FLOAT32)
        sheet.compare(f"its gradient, {n} x {n}", score, f"{n}/gradient", FLOAT32)


PARTS = (
    ("input_embed", "state"),
    ("layers.1.0", "body.1"),
    ("layers.2.0", "body.3"),
    ("layers.3", "body.5"),
    ("timestep_embed.0", "time.1"),
    ("timestep_embed.2", "time.3"),
)
GAINS = (("layers.0", "body.1"), ("layers.1.1", "body.3"), ("layers.2.1", "body.5"), ("layers.4", "body.7"))


def policy_weights(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors by our names."""
    found: dict[str, Tensor] = {}
    for room, ours, parts, features in (
        ("f_func", "state_network", PARTS, "time.0"),
        ("lgv_coef", "time_network", GAINS, "body.0"),
    ):
        if f"{room}.timestep_phase" not in theirs:
            continue
        found |= {f"{ours}.{b}.{kind}": theirs[f"{room}.{a}.{kind}"] for a, b in parts for kind in ("weight", "bias")}
        found[f"{ours}.{features}.phase"] = theirs[f"{room}.timestep_phase"].flatten()
        found[f"{ours}.{features}.frequency"] = theirs[f"{room}.timestep_coeff"].flatten()
    return found


def paths(sheet: Sheet, target: Target, gradient: bool) -> None:
    """The control of a policy on the grid, and ends and log weights of its paths with the noise of the sheet."""
    policy: PISGrad | PISNN = (PISGrad if gradient else PISNN)(target, torch.Generator())
    policy.load_state_dict(policy_weights(sheet.weights))
    x, t = sheet["x"], sheet["t"]
    with torch.no_grad():
        control = policy.on_grid(t)
        sheet.compare("control", torch.stack([control(k, x) for k in range(len(t))]), "control", FLOAT32)
        if isinstance(policy, PISGrad):
            sheet.compare("gain of the score", policy.time_network(t), "time_gain", FLOAT32, 1)
        noise = iter(sheet["noise"])
        found = SDE.simulate(policy, target, lambda: next(noise))
        sheet.compare("ends of paths", found.x, "end", 1e-5)
        sheet.compare("log weights", found.log_w, "log_weight", 1e-4, absolute=True)
        sheet.compare("prior at the ends", -SDE.prior_log_prob(found.x.double()), "prior_nll", FLOAT32)
        cost = SDE.cost(policy, target, sheet["noise"])
        d = x.shape[-1]
        sheet.compare("training loss, theirs times d + 1", cost[None], (d + 1) * sheet["train_loss_over_d_plus_1"], 1e-5, 4)
    sheet.compare("log Z of the weights", log_mean_exp(found.log_w)[None], sheet["summary/logz_loss_unbiased"], 1e-5, 5)


COMPARISONS: dict[str, Compare] = {
    "pis_targets": targets,
    "pis_lgcp": lgcp,
    "pis_funnel_grad": partial(paths, target=Funnel(1.0), gradient=True),
    "pis_funnel_nn": partial(paths, target=Funnel(1.0), gradient=False),
    "pis_nine_modes_grad": partial(paths, target=nine_modes(), gradient=True),
    "pis_nine_modes_nn": partial(paths, target=nine_modes(), gradient=False),
}
