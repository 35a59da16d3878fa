"""DDPM trained with L and with L_simple, in Tables 3.3 to 3.5: the suite's VP models of the images, as Score-SDE's."""

from functools import cache

from rescore.experiments.book import Book
from rescore.models.bits import ImageBits, image_bits
from rescore.models.evaluate import BOUND_DRAWS, Sampling
from rescore.random import Streams
from rescore.samplers import adaptive_flow

from reproductions.diffflow.config import T0
from reproductions.diffflow.images import Pictures, rival_sweep
from reproductions.diffflow.methods import ddpm_sampler

PRINTED = {"vp": "L_s", "vp-likelihood": "L"}  # a model's name in the tables
ODE = "L_s (ODE)"


def measure(book: Book, data: str) -> None:
    here, its = Pictures(book, data), book.config.losses
    likelihoods(here)
    samplings = [
        Sampling("3.3", "DDPM", variant, name, ddpm_sampler(here.rivals.process(name), its.steps, False), {"grid": "uniform"})
        for name, variant in PRINTED.items()
    ]
    process = here.rivals.process("vp")
    flow = adaptive_flow(process, (process.T, T0), tolerance=its.tolerance)
    samplings.append(
        Sampling("3.3", "DDPM", ODE, "vp", flow, {"solver": "dopri5", "tolerance": its.tolerance, "trace": "rademacher"})
    )
    here.rivals.measure(samplings, "L and L_simple", ("fid",))
    rival_sweep(here, "vp-likelihood", "DDPM", PRINTED["vp-likelihood"], deterministic=False)


def likelihoods(here: Pictures) -> None:
    """Bits per dimension: the bound of each model, and the ODE's of L_simple's, as Table 3.3 prints them."""
    models, its, held_out = here.rivals, here.config.losses, here.held_out
    images = held_out.images[: here.settings.test_images]

    @cache
    def bits(name: str, seed: int) -> ImageBits:
        def noise(first: int, n: int) -> Streams:
            return Streams.named("likelihood", here.data, seed, n=n, first=first, device=here.device)

        return image_bits(models.load(name, seed), images, held_out.grey_levels, noise, its.tolerance, BOUND_DRAWS, len(images))

    bounds = [(name, variant, "bound") for name, variant in PRINTED.items()]
    for name, variant, kind in (*bounds, ("vp", ODE, "flow")):
        protocol = {"test_images": len(images), "grey_levels": held_out.grey_levels, "dequantised": "uniform"}
        flow = {"solver": "dopri5", "tolerance": its.tolerance, "trace": "rademacher"}
        how = {"bound": "elbo", "draws": BOUND_DRAWS} if kind == "bound" else flow
        protocol |= how | models.spec(name).protocol
        with here.book.cell("3.3", here.data, "DDPM", variant, None, protocol, n=len(images), over="trainings") as cell:
            if cell.todo:
                found = [bits(name, seed) for seed in here.config.training_seeds]
                cell.add("bpd", [getattr(one, kind).mean().item() for one in found])
