"""Table 3.2's likelihoods: DiffFlow's bits per dimension beside those of the suite's diffusion model, image by image."""

from collections.abc import Mapping
from functools import cache, partial

import torch
from rescore.data.images import load_images
from rescore.data.pixels import dequantise, pad_to, to_unit
from rescore.experiments.book import Book
from rescore.likelihood import bits_per_dim
from rescore.models.bits import image_bits
from rescore.models.evaluate import BOUND_DRAWS, Sampling
from rescore.neural_sde import DiffFlow
from rescore.random import Noise, Streams, make_generator
from torch import Tensor

from reproductions.diffflow.images import SHOWN, Pictures
from reproductions.diffflow.methods import beside_ddpm, ddpm_sampler

TABLE = "3.2"
KINDS = {"flow": ("", "L_s (ODE)"), "bound": ("ELBO", "L_s")}  # variants of DiffFlow and of DDPM
LESS = "DiffFlow less DDPM"
Bits = Mapping[str, Tensor]
"""By kind, bits per dimension (samplings, n) of n images."""


def measure(book: Book, data: str) -> None:
    """Both on the same held-out images with the same dequantisation; one training of each, several samplings of all noise."""
    with book.skipping(table=TABLE, dataset=data):
        load_images(data, "test")  # or there is nothing to measure
        compare(book, Pictures(book, data))


def compare(book: Book, here: Pictures) -> None:
    its, fit, models, data = book.config.evaluation, here.fit, here.rivals, here.data
    seed, (name, *_) = book.config.training_seeds[0], models.names
    images = here.held_out.images[: its.likelihood_images]
    model = cache(lambda: here.model(seed))

    def noise(sampling: int, first: int, n: int) -> Streams:
        return Streams.named("likelihood", data, sampling, n=n, first=first, device=here.device)

    def one(method: str, sampling: int) -> Bits:
        levels, drawn = here.held_out.grey_levels, partial(noise, sampling)
        if method == "DiffFlow":
            padded = pad_to(images, here.settings.side).to(here.device)
            return pixel_bits(model(), padded, levels, drawn(0, len(images)), its.tolerance)
        found = image_bits(models.load(name, seed), images, levels, drawn, its.tolerance, BOUND_DRAWS, len(images))
        return {kind: getattr(found, kind) for kind in KINDS}

    @cache
    def bits(method: str) -> Bits:
        samplings = [one(method, sampling) for sampling in range(its.samplings)]
        return {kind: torch.stack([found[kind].double().cpu() for found in samplings]) for kind in KINDS}

    protocol = {
        "images": f"{here.held_out.source}-{len(images)}",
        "grey_levels": here.held_out.grey_levels,
        "dequantised": "uniform",
        "error": "over images",
    }
    ours = here.protocol
    theirs = models.spec(name).protocol
    how = {"flow": {"solver": "dopri5", "tolerance": its.tolerance, "trace": "rademacher"}, "bound": {"bound": "elbo"}}
    draws = {"flow": {}, "bound": {"draws": BOUND_DRAWS}}
    open_cell = partial(book.cell, TABLE, data, n=its.samplings, over="samplings")
    for kind, (variant, of_ddpm) in KINDS.items():
        shared = protocol | how[kind]
        with open_cell("DiffFlow", variant, fit.sampling_steps, shared | ours) as cell:
            if cell.todo:
                cell.add("bpd", over_images(bits("DiffFlow")[kind]))
        with open_cell("DDPM", of_ddpm, None, shared | draws[kind] | theirs) as cell:
            if cell.todo:
                cell.add("bpd", over_images(bits("DDPM")[kind]))
        with open_cell(LESS, variant, fit.sampling_steps, shared | ours | beside_ddpm(theirs)) as cell:
            if cell.todo:
                cell.add("bpd_difference", over_images(bits("DiffFlow")[kind] - bits("DDPM")[kind]))
                for method in ("DiffFlow", "DDPM"):
                    cell.arrays[f"bits/{data}/{method}/{kind}"] = bits(method)[kind].mean(0).numpy()
    with open_cell("figure", "", None, {}) as cell:
        if cell.todo:
            generator = make_generator("diffflow", data, seed, "shown", device=here.device)
            cell.arrays[f"shown/{data}/DiffFlow"] = here.drawn(model(), SHOWN, fit.sampling_steps, generator).numpy()
            sampler = ddpm_sampler(models.process(name), fit.sampling_steps, True)
            drawn = models.draw(Sampling(TABLE, "DDIM", "", name, sampler), seed, seed)
            cell.arrays[f"shown/{data}/DDIM"] = drawn.x[:SHOWN].cpu().numpy()
            cell.arrays[f"shown/{data}/data"] = to_unit(here.held_out.images[:SHOWN]).numpy()


def over_images(bits: Tensor) -> list[float]:
    """(samplings, n) -> of each image the mean over samplings, whose spread is that between images."""
    return bits.mean(0).tolist()


def pixel_bits(model: DiffFlow, images: Tensor, grey_levels: int, noise: Noise, tolerance: float) -> Bits:
    """Bits per dimension of images (n, C, H, W), each (n,): by the ODE, and by the bound of one path each."""
    x, per_unit = dequantise(images, noise, grey_levels)
    nats = {"flow": model.log_prob(x, noise, tolerance), "bound": model.elbo(x, noise)}
    return {kind: bits_per_dim(log_prob.double(), x[0].numel(), per_unit) for kind, log_prob in nats.items()}
