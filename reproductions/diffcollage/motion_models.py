"""The networks of BasicMotions: noise of windows under an activity, and the classifier that judges."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reproductions.diffcollage.config import Motion
from reproductions.diffcollage.series import PROCESS, conditioned
from rescore.data.motion import ACTIVITIES
from rescore.networks.mlp import MLP, MLPConfig
from rescore.objectives import DSM, UniformTimes
from rescore.random import derive_seed, make_generator
from rescore.training import Adam, Training, fit, train_network

CHANNELS, K = 6, len(ACTIVITIES)
BATCH = 128


def windows(series: np.ndarray, width: int) -> Tensor:
    """All windows of series (n, 6, L), (n, L - width + 1, 6, 1, width) float32."""
    views = np.lib.stride_tricks.sliding_window_view(series, width, axis=2)
    return torch.from_numpy(np.ascontiguousarray(views.transpose(0, 2, 1, 3)[:, :, :, None])).float()


class ConditionalMLP(nn.Module):
    """The noise of a window (n, 6, 1, width) under a condition.

    The network adds to the noise prediction of N(0, spread^2) data, R u / (m^2 spread^2 + R^2): so it need not carry all of u
    through its hidden layers.
    """

    def __init__(self, hidden: int, width: int, spread: float):
        super().__init__()
        shapes = (CHANNELS + K, 1, width), (CHANNELS, 1, width)
        self.network, self.spread = MLP(MLPConfig(hidden, 2), *shapes), spread

    def forward(self, joined: Tensor, t: Tensor) -> Tensor:
        """From what `conditioned` joins."""
        m, r = (a.values.to(t)[:, None, None, None] for a in (PROCESS.mean(t), PROCESS.R(t)))
        linear = joined[:, :CHANNELS] * (r / ((m * self.spread) ** 2 + r**2))
        return linear + self.network(joined, 999 * t)


def train(settings: Motion, data: Tensor, labels: Tensor, width: int, seed: int, folder: Path, device: str) -> nn.Module:
    """A network of windows of one width, trained with the condition withheld at `null_rate`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("motion", width, seed) % 2**31)
        network = ConditionalMLP(settings.hidden, width, data.std().item())
    rows_of = data.flatten(0, 1)
    activity = F.one_hot(labels, K).float().repeat_interleave(data.shape[1], 0)
    objective = DSM("simple", UniformTimes(1e-5))

    def losses(forward, rows: Tensor, generator: torch.Generator) -> Tensor:
        x, y = rows_of[rows].to(device), activity[rows].to(device)
        y = y * (torch.rand(len(y), 1, generator=generator, device=device) >= settings.null_rate)
        return objective(lambda u, t: forward(conditioned(u, y), t), PROCESS, x, generator)

    training = Training(
        Adam(settings.steps, 1e-3, warmup=200, clip=1.0), len(rows_of), BATCH, derive_seed("motion", width, seed), 0.998
    )
    name = f"motion-{width}-{seed}"
    return train_network(network, losses, training, folder / name, device, label=f"motion, width {width}, seed {seed}").network


class Judge(nn.Module):
    """A classifier of windows (n, 6, 1, width); what it sees before its last layer are the features."""

    def __init__(self, features: int, width: int):
        super().__init__()
        layers = [nn.Conv1d(CHANNELS, 32, 5, 2, 2), nn.SiLU(), nn.Conv1d(32, 32, 5, 2, 2), nn.SiLU(), nn.Flatten()]
        self.body = nn.Sequential(*layers, nn.Linear(32 * (-(-width // 4)), features))
        self.head = nn.Linear(features, K)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values = self.body(x[:, :, 0])
        return values, self.head(F.silu(values))


def train_judge(settings: Motion, data: Tensor, labels: Tensor, folder: Path) -> Judge:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("motion judge") % 2**31)
        judge = Judge(settings.features, settings.width)
    rows_of, targets = data.flatten(0, 1), labels.repeat_interleave(data.shape[1])

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(rows_of), (BATCH,), generator=generator)
        return F.cross_entropy(judge(rows_of[rows])[1], targets[rows])

    adam = Adam(settings.classifier_steps, 1e-3)
    fit(judge, loss, adam, make_generator("motion judge batches"), folder / "motion-judge", label="motion, judge")
    return judge.requires_grad_(False).eval()
