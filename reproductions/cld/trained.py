"""Tables 1, 3, 4, 5 and 9 and section 5.3 with trained networks: FID, inception score, bits per dimension; Jacobians."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.networks import NoisePrediction
from rescore.objectives.pointwise import probes
from rescore.problems.score_norms import probed_jacobian_norm
from rescore.random import make_generator
from torch import Tensor

from reproductions.cld.problems import flow, sampler_of, sampling
from reproductions.cld.sampled import AT

MODELS = {"CLD": "cld", "VPSDE": "vp"}
# Models of the ablations, and where the paper has them; the sampler is not stated there.
ABLATIONS = {
    "cld": [("4", "M^-1=4"), ("5", "gamma=0.04"), ("sec5.3", "mixed-score")],
    "cld-m1": [("4", "M^-1=1")],
    "cld-m16": [("4", "M^-1=16")],
    "cld-gamma1": [("5", "gamma=1")],
    "cld-nomixed": [("sec5.3", "no-mixed-score")],
    "cld-dsm": [("hsm", "DSM")],  # what HSM is compared with in the text
}


def trained(book: Book) -> None:
    models = TrainedModels(book)
    models.measure(samplings(book, models), "trained")
    for method, model in MODELS.items():
        if model in models.names:
            models.likelihood("1", method, "ODE-RK45", model)
    models.floor("9")
    models.training()


PRINTED_TWICE = {("EM-QS", 2000): (("3", "EM-QS"), ("1", "SDE")), ("SSCS-QS", 150): (("3", "SSCS-QS"),)}
"""Cells of Table 9 that other tables print too, of CIFAR-10."""


def samplings(book: Book, models: TrainedModels) -> Iterator[Sampling]:
    """The samplers against their evaluations, the tolerances of the ODE solver, and the ablations, on the models at hand."""
    settings = book.config.trained
    for method, variant, nfe in settings.cells:
        if (model := MODELS[method]) in models.names:
            one = sampling("9", method, variant, models.process(model), nfe, model)
            twice = (models.data, method) == ("cifar10", "CLD")
            yield replace(one, also=PRINTED_TWICE.get((variant, nfe), ())) if twice else one
    for tolerance in settings.tolerances if (model := MODELS["CLD"]) in models.names else ():
        yield flow("9", models.process(model), tolerance, model)
    for model in filter(models.names.__contains__, ABLATIONS):
        sampler = sampler_of("CLD", settings.ablation, models.process(model), settings.ablation_nfe)
        for table, variant in ABLATIONS[model]:
            yield Sampling(table, "CLD-ablation", variant, model, sampler, {"sampler": settings.ablation})


NETWORKS = {"vp": ("VPSDE", "jacobian"), "cld": ("CLD", "jacobian_mixed"), "cld-nomixed": ("CLD", "jacobian")}


def jacobians(book: Book) -> None:
    """Figs. 2 (bottom), 9, 12: Hutchinson's estimate of E |dF / du|^2 of trained networks F, at states of held-out images."""
    models, settings = TrainedModels(book), book.config.jacobians
    x = to_unit(models.held_out.images[: settings.samples]).to(book.run.device)
    for name in filter(models.names.__contains__, NETWORKS):
        (method, metric), spec = NETWORKS[name], models.spec(name)
        protocol = spec.protocol | {"process": spec.process.name, "score": "trained", "images": models.held_out.source}
        protocol |= {"mixed": metric == "jacobian_mixed", "probes": settings.probes, "probe": "rademacher"}
        for t in settings.times:
            place = "fig9", models.data, method, AT(t=t), None
            with book.cell(*place, protocol | {"t": t}, n=len(x), over=models.over) as cell:
                if cell.todo:
                    found = []
                    for training, seed in models.repeats:
                        noise = make_generator("cld", "jacobians", name, t, seed, device=x.device)
                        network = models.load(name, training).network
                        u = network.process.perturb(x, t, noise, network.factor)[0]
                        found.append(estimated_jacobian(network, u, t, settings.probes, noise))
                    cell.add(metric, found)


def estimated_jacobian(model: NoisePrediction, u: Tensor, t: float, n: int, noise: torch.Generator) -> float:
    """E |dF / du|^2 of the bare network at states u, by n probes of signs for each."""
    u = u.detach().requires_grad_()
    with torch.compiler.set_stance("force_eager"):  # a compiled network's graph may be passed through once only
        y = model.evaluate(u, torch.full((len(u),), t, dtype=torch.float64))
    return probed_jacobian_norm(y, u, torch.stack([probes(y.detach(), noise, "rademacher") for _ in range(n)]))
