"""Series that are meant to have a label, compared in the features of a small classifier."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rescore.data.crops import random_stretches
from rescore.metrics.features import Features
from rescore.metrics.images import frechet_distance
from rescore.metrics.matching import top1
from rescore.random import make_generator, seeded, small_seed
from rescore.training import Adam, fit

BATCH = 128
PAIRS = 300  # of which diversity is the mean distance


class SeriesClassifier(nn.Module):
    """Series (n, channels, 1, length) to features (n, features) and, from these, logits (n, classes)."""

    def __init__(self, channels: int, length: int, classes: int, features: int):
        super().__init__()
        layers = [nn.Conv1d(channels, 32, 5, 2, 2), nn.SiLU(), nn.Conv1d(32, 32, 5, 2, 2), nn.SiLU(), nn.Flatten()]
        self.body = nn.Sequential(*layers, nn.Linear(32 * (-(-length // 4)), features))
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values = self.body(x[:, :, 0])
        return values, self.head(F.silu(values))


def train_series_classifier(x: Tensor, labels: Tensor, features: int, steps: int, folder: Path, name: str) -> SeriesClassifier:
    """The classifier of series x (n, C, 1, length) by their labels (n,), frozen.

    Args:
        folder: of its checkpoints.
        name: of its random numbers.
    """
    shape = x.shape[1], x.shape[-1], int(labels.max()) + 1
    judge = seeded(lambda: SeriesClassifier(*shape, features), small_seed(name))

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        return F.cross_entropy(judge(x[rows])[1], labels[rows])

    fit(judge, loss, Adam(steps, 1e-3), make_generator(f"{name} batches"), folder, label=name)
    return judge.requires_grad_(False).eval()


@dataclass(frozen=True)
class SeriesJudge:
    """How well series show the labels they are meant to have. The reference are all windows of one length of training series.

    Args:
        data: these windows (series, windows, C, 1, width); labels: (series,).
        features, steps: of the classifier and its training, which lies in `folder` and has its random numbers by `name`.
    """

    data: Tensor
    labels: Tensor
    features: int
    steps: int
    folder: Path
    name: str

    @cached_property
    def classifier(self) -> SeriesClassifier:
        return train_series_classifier(self.windows, self.window_labels, self.features, self.steps, self.folder, self.name)

    @property
    def windows(self) -> Tensor:
        return self.data.flatten(0, 1)

    @property
    def window_labels(self) -> Tensor:
        return self.labels.repeat_interleave(self.data.shape[1])

    def accuracy(self, x: Tensor, label: int) -> float:
        """The share of windows (n, C, 1, width) whose largest logit is that of the label."""
        return top1(self.classifier(x)[1], torch.full((len(x),), label)).float().mean().item()

    def __call__(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Of a random window of each series x (n, C, 1, L), meant to have the labels y (n,).

        `r_precision_top1`: the share that the classifier gives their label; `fid`: the Frechet distance to the reference;
        `multimodal_distance`: the mean distance to the centre of their label; `diversity`: the mean distance of random pairs.
        Series are drawn for these with repetition, for there may be fewer than pairs; `matching.diversity` draws without.
        """
        values, logits = self.classifier(random_stretches(x, self.data.shape[-1], generator))
        real, _ = self.classifier(self.windows)
        centres = torch.stack([real[self.window_labels == k].mean(0) for k in range(logits.shape[1])])
        pairs = torch.randint(len(x), (2, PAIRS), generator=generator)
        return {
            "r_precision_top1": top1(logits, y).double().mean().item(),
            "fid": frechet_distance(Features(self.name, "samples", values), Features(self.name, "train", real)),
            "multimodal_distance": (values - centres[y]).norm(dim=1).mean().item(),
            "diversity": (values[pairs[0]] - values[pairs[1]]).norm(dim=1).mean().item(),
        }

    def of_real(self, n: int, data: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, float]:
        """The same of n windows of real series, drawn with repetition; arguments as of the judge's own."""
        which = torch.randint(len(data), (n,), generator=generator)
        windows = data[which, torch.randint(data.shape[1], (n,), generator=generator)]
        return self(windows, labels[which], generator)
