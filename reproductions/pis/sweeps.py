"""What the text says of trained policies beside the table: rings covered, speed of training, modes apart, numbers of steps."""

import torch
from rescore.metrics.points import ring_arcs
from rescore.targets import nine_modes
from torch import Tensor

from reproductions.pis.annealed import annealed, one_jump
from reproductions.pis.policies import LAST_PART, NAMES, POLICIES, path_integral, simulate, trained_policy
from reproductions.pis.study import Study
from reproductions.pis.variational import flow_protocol, trained_flow, variational_flow

ARCS, LEAST = 36, 0.1  # an arc counts where it has a tenth of the samples that exact draws have in it in the mean


def coverage(study: Study, method: str) -> None:
    """Fig. 5.2 and section 5.4.1 in numbers: the share of each ring that unweighted samples cover."""
    config, target = study.config, study.target
    n, count = config.particles * (config.runs // len(config.seeds)), len(config.seeds)
    share = target.radii / target.radii.sum()

    def policy(name: str, seed: int) -> Tensor:
        sde = study.sde(name)
        trained, _ = trained_policy(study, name, seed, sde, study.settings.pis)
        runs = [study.generator(method, name, seed, run) for run in range(config.runs // count)]
        return simulate(study, sde, trained, runs).x.reshape(-1, 2)

    def flow(seed: int) -> Tensor:
        trained, _ = trained_flow(study, "vi_nf", seed)
        with torch.inference_mode():
            return trained(study.points(n).normal_(generator=study.generator(method, "vi_nf", seed)))[0]

    def exact(seed: int) -> Tensor:
        return target.sample((n,), study.generator(method, "exact", seed))

    trained = study.settings.pis.protocol
    rows = {
        f"PIS-{NAMES[name]}": (lambda seed, name=name: policy(name, seed), study.sde(name).protocol | trained)
        for name in POLICIES
    }
    rows |= {"VI-NF": (flow, flow_protocol(study.settings.vi_nf)), "exact": (exact, {})}
    for name, (draw, protocol) in rows.items():
        protocol = protocol | {"arcs": ARCS, "least": LEAST}
        with study.book.cell("fig 5.2", study.dataset, name, "", None, protocol, n=n, over="trainings") as cell:
            if cell.todo:
                x = [draw(seed).double().cpu() for seed in config.seeds]
                for ring, (radius, part) in enumerate(zip(target.radii.tolist(), share.tolist(), strict=True), 1):
                    found = [ring_arcs(one, radius, 5 * target.std, ARCS) >= LEAST * part * n / ARCS for one in x]
                    cell.add(f"ring_{ring}_covered", [arcs.double().mean().item() for arcs in found])


def convergence(study: Study, method: str) -> None:
    """Section 5.3.3: D_KL(Q^u | Q*) over the training and at its end, of the policies of the table."""
    if study.target.log_z is None:
        return
    config, settings = study.config, study.settings.pis
    last = max(1, settings.steps // LAST_PART)
    for name in POLICIES:
        sde = study.sde(name)
        protocol = sde.protocol | settings.protocol | {"mean_of": last}
        with study.book.cell("section 5.3.3", study.dataset, "PIS", NAMES[name], sde.steps, protocol, over="trainings") as cell:
            if cell.todo:
                costs = [trained_policy(study, name, seed, sde, settings)[1] + study.target.log_z for seed in config.seeds]
                cell.add("path_kl", [one[-last:].mean() for one in costs])
                cell.add("path_kl_of_training", [one.mean() for one in costs])


def separation(study: Study, method: str) -> None:
    """Section 5.4.2: the nine modes pulled apart."""
    short = study.config.short
    for apart in short.separations:
        here = study.shortened(short.separation_steps, short, "section 5.4.2", nine_modes(apart))
        for name, measure in (
            ("importance", one_jump),
            ("smc", annealed),
            ("vi_nf", variational_flow),
            ("grad", path_integral),
        ):
            measure(here, name)


def discretisation(study: Study, method: str) -> None:
    """Section 5.3.3: the same training with other numbers of steps N."""
    short = study.config.short
    for steps in short.steps:
        path_integral(study.shortened(steps, short, "steps"), "grad")
