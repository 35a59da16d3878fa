"""Table 4.3 on HumanML3D: long motions of one caption from a small diffusion transformer, seen by the published evaluator."""

import math
from collections.abc import MutableMapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rescore.collage import LongSeries
from rescore.data.crops import Ragged, random_stretches
from rescore.data.humanml import CROPPED, Motion, load_humanml, load_scales
from rescore.errors import RescoreError
from rescore.experiments.book import Book
from rescore.metrics.features import Features
from rescore.metrics.text_motion import NAME, POOL, Evaluator, load_evaluator, match_scores
from rescore.networks.conditional import ConditionalNoise
from rescore.random import make_generator
from torch import Tensor

from reproductions.diffcollage.config import HumanML
from reproductions.diffcollage.series import SHORT, Measured, long_series, protocol, rows, train_transformer, transformer

PAIRS = 300  # of diversity, as published


def humanml(book: Book, dataset: str) -> None:
    """Long motions of single captions by all methods, a random crop of each judged, and short and real ones.

    Raises MissingData without the data or the evaluator.
    """
    config, settings, device = book.config, book.config.humanml, book.run.device
    motions, test = (load_humanml(split, settings.motions) for split in ("train", "test"))
    mean, deviation = (torch.from_numpy(scale) for scale in load_scales())
    evaluator = load_evaluator(device)
    real = Features(NAME, "humanml/test", evaluator.motions([torch.from_numpy(motion.features[:CROPPED]) for motion in test]))
    common = {"features": NAME, "reference": real.reference, "pool": POOL, "pairs": PAIRS}

    @cache
    def trained() -> tuple[LongSeries, Tensor, Tensor]:
        """Series of the network, and the scale of its conditions."""
        told, *scale = _conditions(evaluator, motions)
        network = train(settings, motions, told, (mean, deviation), book.run.folder, device)
        return long_series(config, settings, network, network, settings.bound, any_length=True), *scale

    def scores(text: Tensor, values: Tensor, seed: int) -> dict[str, float]:
        return match_scores(text, values, real, PAIRS, make_generator("humanml pairs", seed))

    planned = {}  # by seed, motions of the test and their captions
    for seed in config.seeds:
        order = torch.randperm(len(test), generator=make_generator("humanml captions", seed))[: settings.series].tolist()
        planned[seed] = order, evaluator.captions([test[k].captions[seed % len(test[k].captions)] for k in order])
    n = min(settings.series, len(test))
    with book.cell("4.3", dataset, "Real data", protocol=common, n=n) as cell:
        if cell.todo:
            cell.add_each([scores(text, real.values[order], seed) for seed, (order, text) in planned.items()])

    def measure(method: str, seed: int, arrays: MutableMapping[str, np.ndarray]) -> Measured:
        (series, middle, spread), (_, text) = trained(), planned[seed]
        told, noise = (text - middle) / spread, make_generator("humanml", seed, device=device)
        made = series.short(told, noise) if method == SHORT else series.make(method, told, noise)
        x = made.x[:, :, 0] * deviation[:, None] + mean[:, None]
        crops = random_stretches(x, settings.crop, make_generator("humanml crops", seed))
        return made, scores(text, evaluator.motions(list(crops.mT)), seed)

    about = protocol(config, settings, settings.bound) | transformer(settings) | common | {"crop": settings.crop}
    rows(book, dataset, about, n, "samplings", measure)


def train(
    settings: HumanML,
    motions: Sequence[Motion],
    conditions: Sequence[Tensor],
    scales: tuple[Tensor, Tensor],
    folder: Path,
    device: str,
) -> ConditionalNoise:
    """The network of pieces and overlaps, of all motions that are no shorter than a piece.

    Args:
        conditions: of each motion, those of its captions (captions, K).
    """
    usable = [k for k, motion in enumerate(motions) if len(motion.features) >= settings.width]
    if not usable:
        raise RescoreError(f"HumanML3D: no motion of {settings.width} frames or more (humanml.width)")
    mean, deviation = scales
    frames = Ragged([(torch.from_numpy(motions[k].features) - mean) / deviation for k in usable], device)
    captions = Ragged([conditions[k] for k in usable], device)
    return train_transformer(settings, frames, captions, ("humanml",), folder / "humanml", device, "HumanML3D")


def _conditions(evaluator: Evaluator, motions: Sequence[Motion]) -> tuple[list[Tensor], Tensor, Tensor]:
    """The conditions of each motion, its captions' features to scale (captions, K); and that scale, mean and deviation (K,)."""
    features = evaluator.captions([caption for motion in motions for caption in motion.captions])
    middle, spread = features.mean(0), features.std(0).clamp_min(math.sqrt(torch.finfo(features.dtype).eps))
    return list(((features - middle) / spread).split([len(motion.captions) for motion in motions])), middle, spread
