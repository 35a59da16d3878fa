"""Training: one loop, with atomic checkpoints and bit-exact resume.

`fit` minimises a scalar loss whose randomness comes from one generator; `train_network` trains an image model: data in a
fixed order, EMA, bfloat16 on a GPU, one or many processes.
"""

from rescore.training.checkpoint import State, load_checkpoint, save_checkpoint
from rescore.training.distributed import World, own_device, world
from rescore.training.ema import averaged_copy
from rescore.training.loop import Adam, Loss, fit
from rescore.training.network import Trained, Training, batch_rows, train_network
from rescore.training.weights import flat_weights, load_weights, save_weights, train_once, weight_distance

__all__ = [
    "Adam",
    "Loss",
    "State",
    "Trained",
    "Training",
    "World",
    "averaged_copy",
    "batch_rows",
    "fit",
    "flat_weights",
    "load_checkpoint",
    "load_weights",
    "own_device",
    "save_checkpoint",
    "save_weights",
    "train_network",
    "train_once",
    "weight_distance",
    "world",
]
