"""What the sections on series share: networks under a condition, long series from them, the rows of Table 4.3."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rescore.collage import METHODS, LongSeries, Made, Maker
from rescore.data.crops import Ragged
from rescore.experiments.book import Book
from rescore.ledger.records import Over
from rescore.models.conditional import Batch, train_conditional
from rescore.networks.conditional import ConditionalNoise, SequenceTransformer
from rescore.processes import VP
from rescore.progress import progress
from rescore.random import derive_seed, seeded, small_seed
from rescore.training import Adam, Training
from torch import Tensor

from reproductions.diffcollage.config import Config, HumanML, Naive, Pieces
from reproductions.diffcollage.images import make_sampler, sampling

PROCESS = VP()
SHORT = "MDM"  # the row of single pieces: the model itself

Measured = tuple[Made, Mapping[str, float]]


def protocol(config: Config, settings: Pieces, bound: float = 1.0) -> dict[str, object]:
    about = {"score": "trained", "piece": settings.width, "overlap": settings.overlap}
    network = {name: getattr(settings, name) for name in ("hidden", "ema", "null_rate")}
    return sampling(config, bound) | settings.protocol | about | network


def transformer(settings: HumanML | Naive) -> dict[str, object]:
    """What a protocol says of `train_transformer`'s network."""
    return {"network": "transformer", "layers": settings.layers, "heads": settings.heads}


def train_on(
    network: ConditionalNoise,
    batch: Batch,
    data: int,
    settings: Pieces,
    names: Sequence[object],
    folder: Path,
    device: str,
    label: str,
) -> ConditionalNoise:
    """The network, trained on `data` series with the condition withheld at `null_rate`; `names` of the order and the noise."""
    training = Training(Adam.of(settings), data, settings.batch, derive_seed(*names), settings.ema)
    return train_conditional(network, batch, settings.null_rate, training, folder, device, label)


def train_transformer(
    settings: HumanML | Naive,
    frames: Ragged,
    conditions: Ragged,
    names: Sequence[object],
    folder: Path,
    device: str,
    label: str,
    spread: float = 1.0,
) -> ConditionalNoise:
    """One network of pieces and overlaps: every other batch, at random, has windows of the overlap's length.

    Args:
        frames: the series (T_k, C); conditions: of each series one or several (., K), of which a batch draws one.
        names: of the weights at the start, and of the order and the noise.
        spread: of the frames.
    """
    channels, told = frames.values.shape[1], conditions.values.shape[1]
    sizes = channels + told, channels, settings.hidden, settings.layers, settings.heads
    transformer = seeded(lambda: SequenceTransformer(*sizes), small_seed(*names))
    network = ConditionalNoise(transformer, PROCESS, channels, told, spread)

    def batch(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        u = torch.rand(2 * len(rows) + 1, generator=generator, device=device)
        width = settings.overlap if u[-1] < 0.5 else settings.width
        x = frames.stretches(rows, u[: len(rows)], width)
        return x.mT.unsqueeze(2), conditions.stretches(rows, u[len(rows) : -1])[:, 0]

    return train_on(network, batch, len(frames.lengths), settings, (*names, "batches"), folder, device, label)


def long_series(
    config: Config,
    settings: Pieces,
    piece: ConditionalNoise,
    part: ConditionalNoise,
    bound: float = 1.0,
    any_length: bool = False,
) -> LongSeries:
    """From the networks of pieces and of overlaps, which may be one; clean series are clipped to [-bound, bound]."""
    scores = piece.score(), part.score(), piece.score(gradients=True)
    maker = Maker(make_sampler(config, PROCESS), piece.channels, *scores, bound, config.batch)
    return LongSeries(maker, settings.width, settings.overlap, settings.pieces, any_length)


def rows(
    book: Book,
    dataset: str,
    about: Mapping[str, object],
    n: int,
    over: Over,
    measure: Callable[[str, int, MutableMapping[str, np.ndarray]], Measured],
    variant: str = "",
    methods: Sequence[str] = METHODS,
) -> None:
    """Table 4.3 of n series a seed.

    Args:
        measure: of a method and a seed the series and their metrics; it may leave arrays in the last argument.
        variant: of the records.
    """
    for method in progress((SHORT, *methods), desc=dataset):
        matched = dataset if over == "trainings" else ""  # all methods have the same networks
        with book.cell("4.3", dataset, method, variant, protocol=about, n=n, over=over, matched=matched) as cell:
            if cell.todo:
                found = []
                for seed in book.config.seeds:
                    made, metrics = measure(method, seed, cell.arrays)
                    found.append(metrics)
                cell.protocol["length"] = made.x.shape[-1]
                cell.add_each(found)
                if method != SHORT:
                    cell.exact("sequential passes", made.passes, n=1)
