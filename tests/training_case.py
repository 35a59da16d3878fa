"""A small training that tests run here, in a process to be killed, and in two processes."""

import os
import time
from pathlib import Path

import torch
from rescore.training import Adam, Trained, Training, save_weights, train_network
from torch import Tensor, distributed, nn

ADAM = Adam(steps=12, lr=0.02, warmup=3, clip=1.5)
SETTINGS = Training(ADAM, data=20, batch=6, seed=5, ema=0.9, parts=2)
DATA = torch.linspace(-1, 1, 60, dtype=torch.float64).reshape(20, 3)


class Network(nn.Module):
    """With dropout, which draws from torch's own generator."""

    def __init__(self, width: int = 8):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(3)
            self.layers = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 3)).double()
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, u: Tensor, t: Tensor) -> Tensor:
        return self.layers(torch.cat((u, t[:, None]), 1)) * self.scale


def losses(network, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Of predicting the noise in noisy data, (n,)."""
    x0 = DATA[rows]
    noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
    t = torch.rand(len(x0), generator=generator, dtype=x0.dtype)
    return (network(x0 + t[:, None] * noise, t) - noise).square().sum(1)


def train(folder: Path, delay: float = 0.0, settings: Training = SETTINGS, width: int = 8) -> tuple[Network, Trained]:
    """The raw network and what the training gives; `delay` seconds a part of a step."""

    def slowly(network, rows: Tensor, generator: torch.Generator) -> Tensor:
        time.sleep(delay)
        return losses(network, rows, generator)

    network = Network(width)
    return network, train_network(network, slowly, settings, folder, checkpoint_every=2)


def run(folder: Path, delay: float, environment: dict[str, str]) -> None:
    """`train`, and its networks in files named after the rank: what a process of its own does."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    raw, trained = train(folder / "checkpoints", delay)
    rank = environment.get("RANK", "0")
    if distributed.is_initialized():  # and stays so: see `rescore.training.distributed.world`
        train(folder / "again", delay)
        (folder / f"again-{rank}").write_text(str(distributed.is_initialized()))
    save_weights(folder / f"raw-{rank}.safetensors", raw)
    save_weights(folder / f"ema-{rank}.safetensors", trained.network)
