"""Tables 1, 3, 4, 5 and 9 and section 5.3 with trained networks: FID, inception score, bits per dimension, over training seeds."""

from collections.abc import Iterator

from reproductions.cld.config import Config
from reproductions.cld.problems import cld_method, vp_ddim, vp_em
from rescore.experiments.run import Measurement
from rescore.models.evaluate import Cell, TrainedModels
from rescore.samplers import AdaptiveFlow, within_budget

MAIN, VP = "cld", "vp"
# Models of the ablations, and where the paper has them; the sampler is not stated there.
ABLATIONS = {
    "cld": [("4", "M^-1=4"), ("5", "gamma=0.04"), ("sec5.3", "mixed-score")],
    "cld-m1": [("4", "M^-1=1")],
    "cld-m16": [("4", "M^-1=16")],
    "cld-gamma1": [("5", "gamma=1")],
    "cld-nomixed": [("sec5.3", "no-mixed-score")],
    "cld-dsm": [("hsm", "DSM")],  # what HSM is compared with in the text
}


def cells(config: Config, models: TrainedModels) -> Iterator[Cell]:
    """The samplers against their evaluations, the tolerances of the ODE solver, and the ablations."""
    settings, here = config.trained, models.names
    if MAIN in here:
        process = models.process(MAIN)
        for variant, budgets in settings.cld.items():
            method, grid = cld_method(variant)
            for nfe in budgets:
                sampler = within_budget(method, process, grid, nfe, denoise="euler")
                yield Cell("9", "CLD", variant, MAIN, sampler, {"grid": variant.split("-")[1]})
        for tolerance in settings.tolerances:
            sampler = AdaptiveFlow(process, [process.T, process.eps], tolerance, tolerance, denoise="euler")
            name = f"ODE-RK45-{tolerance:.0e}".replace("e-0", "e-")
            yield Cell("9", "CLD", name, MAIN, sampler, {"grid": "adaptive", "tolerance": tolerance})
    if VP in here:
        for nfe in settings.vp_em:
            yield Cell("9", "VPSDE", "EM-US", VP, vp_em("US", nfe), {"grid": "US"})
        for nfe in settings.vp_ddim:
            yield Cell("9", "VPSDE", "DDIM", VP, vp_ddim(nfe), {"grid": "quadratic"})
    for name, places in ABLATIONS.items():
        if name in here:
            method, grid = cld_method(settings.ablation)
            sampler = within_budget(method, models.process(name), grid, settings.ablation_nfe, denoise="euler")
            for table, variant in places:
                yield Cell(table, "CLD-ablation", variant, name, sampler, {"sampler": settings.ablation})


def trained_tables(config: Config, models: TrainedModels) -> Iterator[Measurement]:
    yield from models.measure(cells(config, models), "trained")
    if MAIN in models.names:
        yield from models.likelihood("1", "CLD", "ODE-RK45", MAIN)
    if VP in models.names:
        yield from models.likelihood("1", "VPSDE", "ODE-RK45", VP)
    yield from models.floor("9")
    yield from models.training()
