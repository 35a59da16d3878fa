"""A small classifier of series, in whose features they are compared."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rescore.random import derive_seed, make_generator
from rescore.training import Adam, fit

BATCH = 128


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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(name) % 2**31)
        judge = SeriesClassifier(x.shape[1], x.shape[-1], int(labels.max()) + 1, features)

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        return F.cross_entropy(judge(x[rows])[1], labels[rows])

    fit(judge, loss, Adam(steps, 1e-3), make_generator(f"{name} batches"), folder, label=name)
    return judge.requires_grad_(False).eval()
