"""One network for pieces and overlaps, told by its condition which of the two it sees (section 4.4.2)."""

from collections.abc import Callable
from functools import cached_property

import torch
from rescore.collage import Made, Maker
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book
from rescore.metrics.seams import seam
from rescore.models.conditional import train_conditional
from rescore.networks.conditional import ConditionalNoise
from rescore.networks.mlp import MLP, MLPConfig
from rescore.processes import VP
from rescore.random import derive_seed, seeded, small_seed
from rescore.scores import Score
from rescore.training import Adam, Training
from torch import Tensor, nn
from torch.nn import functional as F

from reproductions.diffcollage.config import HALF
from reproductions.diffcollage.images import Images, make_sampler, sampling
from reproductions.diffcollage.panoramas import borders

FACTOR, VARIABLE = torch.eye(2)  # y[f_j] and y[i], the conditions


class TwoWidths(nn.Module):
    """A network of squares that sees and fills only the first `part` columns where the condition says that u is a variable.

    An MLP cannot change its width: an overlap stands in a square, and what lies beside it does not matter.
    """

    def __init__(self, network: nn.Module, part: int):
        super().__init__()
        self.network, self.part = network, part

    def forward(self, joined: Tensor, level: Tensor) -> Tensor:
        beside = torch.arange(joined.shape[-1], device=joined.device) >= self.part
        seen = 1 - joined[:, -1:] * beside  # the last channel is 1 for a variable
        return self.network(torch.cat((joined[:, :-2] * seen, joined[:, -2:]), 1), level) * seen


def amortised(book: Book, name: str) -> None:
    """DiffCollage's panoramas from one network; those from two stand in Tables 4.1 and 4.2."""
    images = OneNetwork(book, name)

    def make(pieces: Maker, seed: int) -> Made:
        return pieces.chained("DiffCollage", images.chain(book.config.ratio), images.n, images.generator(name, "wide", seed))

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        return {"fid_plus": images.fid_plus(x, name, "wide", seed), "seam": seam(x, borders(images, "DiffCollage"))}

    images.measure("amortised", "DiffCollage", make, judge, f"wide/{name}/one network", crops=book.config.crops)


class OneNetwork(Images):
    """A texture whose pieces have one network, trained here on as many squares as overlaps."""

    variant = "one network"

    @cached_property
    def protocol(self) -> dict[str, object]:
        its = self.config.amortised
        about = {"network": "mlp", "hidden": its.hidden, "ema": its.ema, "score": "trained, one network"}
        return sampling(self.config) | its.protocol | about | {"W/H": self.config.ratio, "overlap": self.overlap}

    def _load(self, seed: int) -> Maker:
        settings, process, device = self.config.amortised, VP(), self.run.device
        halves = load_images(self.config.models[self.name + HALF].data)
        every = torch.arange(len(self.train)) * len(halves) // len(self.train)  # spread over all of them
        beside = self.side - self.overlap
        squares, parts = (to_unit(images) for images in (self.train.images, halves.images[every]))
        data = torch.cat((squares, F.pad(parts, (0, beside)))).to(device)
        told = torch.stack((FACTOR, VARIABLE)).repeat_interleave(len(squares), 0).to(device)

        def batch(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            return data[rows], told[rows]

        names, square = ("diffcollage", "amortised", self.name, seed), (self.side, self.side)
        mlp = seeded(lambda: MLP(MLPConfig(settings.hidden, 2), (3, *square), (1, *square)), small_seed(*names))
        network = ConditionalNoise(TwoWidths(mlp, self.overlap), process, 1, 2, squares.std().item())
        training = Training(Adam.of(settings), len(data), settings.batch, derive_seed(*names), settings.ema)
        folder, label = self.run.folder / f"one-network-{seed}", f"one network, {self.name}, seed {seed}"
        piece, part = both(train_conditional(network, batch, 0.0, training, folder, device, label).score(), beside)
        return Maker(make_sampler(self.config, process), 1, piece, part, piece, batch=self.config.batch)


def both(score: Callable[..., Tensor], beside: int) -> tuple[Score, Score]:
    """The scores of squares, and of overlaps which lack so many columns, from a network that is told which it sees."""

    def piece(u: Tensor, t: float) -> Tensor:
        return score(u, t, FACTOR.to(u).expand(len(u), -1))

    def part(u: Tensor, t: float) -> Tensor:
        return score(F.pad(u, (0, beside)), t, VARIABLE.to(u).expand(len(u), -1))[..., : u.shape[-1]]

    return piece, part
