"""DiffFlow: the loss, its gradients by both ways, sampling, grids."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from rescore.neural_sde.adjoint import adjoint_loss
from rescore.neural_sde.grids import _powered, l_beta
from rescore.neural_sde.loss import path_loss
from rescore.neural_sde.model import NeuralSDE
from rescore.neural_sde.network import FourierMLP
from rescore.parity.table import Compare, Played, Sheet

LAYERS = (
    ("input_embed", "first"),
    ("layers.1.0", "hidden.0"),
    ("layers.2.0", "hidden.1"),
    ("layers.3.0", "hidden.2"),
    ("layers.4", "last"),
    ("timestep_embed.0", "time.0"),
    ("timestep_embed.2", "time.2"),
)
NO_G = "with a g that varies their loss is off by d log(g_N / g_0), a constant; without that term we agree"
EXACT = 1e-13
FLOAT32 = 1e-6
GRID = 1e-7  # theirs are float32


def _given(g: Tensor, t: Tensor) -> Tensor:
    return g


def _gradient(x: Tensor) -> Tensor:
    assert x.grad is not None
    return x.grad


def diffflow(sheet: Sheet) -> None:
    """Losses and gradients of DiffFlow by back-propagation and by the stochastic adjoint, and samples."""
    times, x0, noise = sheet["times"], sheet["x_0"], sheet["noise"]
    for kind in ("constant", "varying"):
        g = sheet[f"g_{kind}"]
        model = NeuralSDE(FourierMLP(2, 32).double(), FourierMLP(2, 32).double(), partial(_given, g))
        model.load_state_dict(_ours({name: value.double() for name, value in sheet.weights.items()}))
        constant = 2 * (g[-1] / g[0]).log()
        for name, loss in (("back-propagation", path_loss), ("stochastic adjoint", adjoint_loss)):
            model.zero_grad()
            x = x0.clone().requires_grad_()
            found = loss(model, x, times, noise)
            found.mean().backward()
            sheet.compare(f"{kind} g, loss by {name}, less d log(g_N / g_0)", found - constant, f"{kind}/loss", EXACT, 5)
            theirs = f"{kind}/gradient_x_0" if name == "back-propagation" else f"{kind}/adjoint_gradient_x_0"
            sheet.compare(f"{kind} g, gradient to x_0 by {name}", _gradient(x), theirs, EXACT, 2)
            gradients = _ours(
                {
                    key.removeprefix(f"{kind}/gradient/"): value
                    for key, value in sheet.tensors.items()
                    if key.startswith(f"{kind}/gradient/")
                }
            )
            ours = torch.cat([_gradient(model.get_parameter(key)).flatten() for key in gradients])
            sheet.compare(
                f"{kind} g, gradients to {len(gradients)} parameters by {name}",
                ours,
                torch.cat([value.flatten() for value in gradients.values()]),
                EXACT,
                2,
            )
        if kind == "varying":
            sheet.compare("varying g, loss as a likelihood", found, f"{kind}/loss", EXACT, 5, reason=NO_G, bound=2.0)
        sheet.compare(f"{kind} g, path", model.trajectory(x0, times, noise), f"{kind}/forward_path", EXACT, 0)
        for name, last in (("sample", "noise"), ("sample_last_mean", "tweedie")):
            found = model.sample(sheet["x_T"], times, Played(*sheet["backward_noise"]), last=last)
            sheet.compare(f"{kind} g, {name}", found, f"{kind}/{name}", EXACT, 0)
        sheet.compare(f"{kind} g, flow", model.sample(sheet["x_T"], times, lam=0.0), f"{kind}/sample_flow", EXACT, 1)
    with torch.no_grad():
        x = sheet["field_x"].expand(len(sheet["field_t"]), -1, -1)
        sheet.compare("drift", model.float().drift(x, sheet["field_t"]), "field_drift", FLOAT32, 3)
    for n in (5, 30):
        for beta in (0.9, 0.5):
            sheet.compare(f"grid of {n} steps, {beta}", l_beta(n, beta=beta), f"grid/{n}/beta{beta}", GRID, 4)
    place, ends = sheet["grid/random/uniforms"].double(), torch.tensor([0.0, 1.0], dtype=torch.float64)
    inner = (torch.arange(len(place)) + place) / len(place)
    found = _powered(torch.cat((ends[:1], inner, ends[1:])), 0.001, 0.05, 0.9)
    sheet.compare("random grid from given uniforms", found, sheet["grid/random/30"], GRID, 4)


def _ours(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors, or gradients, by our names."""
    found = {}
    for name, value in theirs.items():
        room, rest = name.split(".", 1)
        if rest in ("timestep_phase", "timestep_coeff"):
            found[f"{room}.{'phase' if rest == 'timestep_phase' else 'frequency'}"] = value.flatten()
            continue
        layer, kind = rest.rsplit(".", 1)
        found[f"{room}.{dict(LAYERS)[layer]}.{kind}"] = value
    return found


COMPARISONS: dict[str, Compare] = {"diffflow": diffflow}
