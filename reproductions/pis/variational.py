"""Flows, which AFT uses too, and VI-NF, which is one flow trained by reverse KL."""

import numpy as np
import torch
from torch import Tensor, nn

from reproductions.pis.config import Flow
from reproductions.pis.context import SHOWN, Context, Estimates, Outcome, Rows, shown
from rescore.flows import transport as flows
from rescore.montecarlo.logz import elbo, ess, log_mean_exp
from rescore.random import derive_seed, fill_normal
from rescore.training import Adam, fit


def make_flow(settings: Flow, dim: int, seed: int) -> nn.Module:
    """A flow of the family that the config names."""
    hidden = (settings.hidden, settings.hidden)
    match settings.family:
        case "diagonal_affine":
            return flows.diagonal_affine(dim)
        case "affine_autoregressive":
            return flows.affine_autoregressive(dim, settings.layers, hidden, seed)
        case _:
            return flows.spline_autoregressive(dim, settings.layers, settings.bins, settings.bound, hidden, seed)


def flow_protocol(settings: Flow) -> dict[str, object]:
    protocol = {"flow": settings.family, "train_steps": settings.steps, "train_batch": settings.batch, "train_lr": settings.lr}
    if settings.family != "diagonal_affine":
        protocol |= {"flow_layers": settings.layers, "flow_hidden": settings.hidden}
    return protocol


def variational_flow(context: Context, method: str) -> Outcome:
    """VI-NF: a flow trained by reverse KL; the printed row is read as its ELBO."""
    config, settings, target, n = context.config, context.settings.vi_nf, context.target, context.config.particles
    rows, outcome, histories = [], Outcome(), []
    for seed in config.seeds:
        flow = make_flow(settings, target.dim, derive_seed(context.dataset, method, "init", seed) % 2**31)
        flow = flow.to(context.run.device)
        noise = torch.empty(settings.batch, target.dim, device=context.run.device)

        def loss(generator: torch.Generator, flow: nn.Module = flow, noise: Tensor = noise) -> Tensor:
            return flows.reverse_kl_loss(flow, target, noise.normal_(generator=generator))

        history = fit(
            flow,
            loss,
            Adam(settings.steps, settings.lr),
            context.generator(method, "train", seed),
            context.training_folder(method, seed, settings.model_dump()),
            label=f"{context.dataset} {method} seed {seed}: training",
        )
        histories.append(history.numpy())
        flow.requires_grad_(False)

        def one(generators: list[torch.Generator], flow: nn.Module = flow) -> Rows:
            z = fill_normal(torch.empty(len(generators), n, target.dim, device=context.run.device), generators)
            with torch.inference_mode():
                log_w = flows.flow_log_weights(flow, target, z)
            return {"elbo": elbo(log_w).numpy(), "importance": log_mean_exp(log_w).numpy(), "ess": ess(log_w).numpy()}

        rows.append(context.repeat(method, seed, n, one, context.runs_per_seed))
        if seed == config.seeds[0]:
            z = torch.randn(SHOWN, target.dim, generator=context.generator(method, "shown"), device=context.run.device)
            with torch.inference_mode():
                outcome.arrays[f"{method}/samples"] = shown(flow(z)[0])
    outcome.arrays[f"{method}/loss"] = np.stack(histories)
    protocol = {"runs": config.runs, "particles": n} | flow_protocol(settings)
    for estimator, variant in (("elbo", ""), ("importance", "RW")):
        log_z = np.stack([row[estimator] for row in rows])
        weights = np.stack([row["ess"] for row in rows]) if estimator == "importance" else None
        outcome.estimates.append(
            Estimates("VI-NF", variant, None, log_z, protocol | {"estimator": estimator}, n, True, weights)
        )
    return outcome
