"""Flows that Tables 3.1 and 3.2 print beside DiffFlow: MADE, NAF and FFJORD on tables, RealNVP and FFJORD on images."""

import math
from functools import partial
from typing import get_args

import torch
from rescore.data.images import load_images
from rescore.data.pixels import dequantise
from rescore.data.tabular import Tabular, load_tabular
from rescore.experiments.book import Book
from rescore.flows.density import ffjord, made, naf, realnvp
from rescore.likelihood import bits_per_dim
from rescore.random import derive_seed, make_generator
from torch import Tensor, nn

from reproductions.diffflow import config as settings
from reproductions.diffflow.tabular import PRINTED, Trainer, protocol_of, test_nll, trainer_of

OF_TABLES, OF_IMAGES = ("MADE", "NAF", "FFJORD"), ("RealNVP", "FFJORD")


def measure(book: Book, name: str) -> None:
    images, its = name in get_args(settings.Pictures), book.config.rivals
    table, printed = ("3.2", name) if images else ("3.1", PRINTED.get(name, name))
    with book.skipping(table=table, dataset=printed):
        rows, per_unit = image_rows(name, its.validation) if images else (load_tabular(name), 0.0)
        data, log_scale = rows.standardised(its.test_rows)
        for method in OF_IMAGES if images else OF_TABLES:
            fit = fit_of(its, method)
            protocol = protocol_of(fit, method, data, its.stages)
            protocol |= {"trace": "hutchinson in training, exact after"} if method == "FFJORD" else {}
            nll = partial(test_nll, book, data, log_scale, method, fit.steps, its.stages, flow_trainer)
            numbers = {"bpd": partial(bits, nll, data.dim, per_unit)} if images else {"nll": nll}
            book.repeat(table, printed, method, "", None, protocol, book.config.seeds, len(data.test), "trainings", **numbers)


def bits(nll, dim: int, per_unit: float, seed: int) -> float:
    """Bits per dimension from nats."""
    return bits_per_dim(torch.tensor(-nll(seed), dtype=torch.float64), dim, per_unit).item()


def image_rows(name: str, validation: float) -> tuple[Tabular, float]:
    """Images as rows of dequantised pixels in [-1, 1], the last of the training ones for validation; and levels to a unit."""
    train, test = (load_images(name, split) for split in ("train", "test"))

    def flat(images: Tensor, use: str) -> tuple[Tensor, float]:
        x, per_unit = dequantise(images, make_generator("diffflow", name, "rivals", use), train.grey_levels)
        return x.flatten(1).double(), per_unit

    (x, per_unit), (held_out, _) = flat(train.images, "train"), flat(test.images, "test")
    kept = len(x) - math.ceil(validation * len(x))
    return Tabular(name, x[:kept], x[kept:], held_out), per_unit


def fit_of(its: settings.Rivals, method: str) -> settings.Flow | settings.NAF | settings.FFJORD:
    return {"NAF": its.naf, "FFJORD": its.ffjord}.get(method, its.flow)


def make_flow(its: settings.Rivals, method: str, dim: int, seed: int, exact: bool = True) -> nn.Module:
    """A flow, untrained; `exact`: FFJORD's trace."""
    fit = fit_of(its, method)
    if method == "NAF":
        return naf(dim, fit.transforms, fit.hidden, seed, fit.signal, fit.monotonic)
    if method == "FFJORD":
        return ffjord(dim, fit.hidden, seed, fit.tolerance, exact)
    return made(dim, fit.hidden, seed) if method == "MADE" else realnvp(dim, fit.transforms, fit.hidden, seed)


def flow_trainer(config: settings.Config, train: Tensor, *names: object) -> Trainer:
    """FFJORD trains with Hutchinson's estimate, at any dimension the cost of one product, and is judged by the trace itself."""
    its, method, dim = config.rivals, names[1], train.shape[1]
    flow, blank = make_flow(its, method, dim, derive_seed(*names), exact=False), make_flow(its, method, dim, 0)
    return trainer_of(flow, blank, fit_of(its, method), train, *names)
