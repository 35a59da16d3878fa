"""A spec of a tiny model, its training seeds, and images of two by two pixels."""

import torch
from rescore.data.images import ImageSet
from rescore.specs.model import ModelSpec, Network, Objective, Part

SEEDS = (3, 5)
SPEC = ModelSpec(
    data="digits",
    split="all",
    process=Part(name="VP"),
    network=Network(name="mlp", settings={"width": 4, "blocks": 1}),
    objective=Objective(t0=2e-4, weighting="likelihood", importance=True),
    steps=7,
    batch=6,
    lr=0.003,
    warmup=2,
    clip=0.5,
    ema=0.8,
    parts=2,
    seed=9,
    checkpoint_every=4,
)


def image_set(split: str, n: int, seed: int) -> ImageSet:
    """Two by two pixels of 17 grey levels, as the digits have."""
    levels = torch.randint(17, (n, 1, 2, 2), generator=torch.Generator().manual_seed(seed))
    images = (levels * 255 / 16).round().to(torch.uint8)
    return ImageSet("digits", split, images, torch.arange(n) % 2)


TRAIN, TEST = image_set("train", 30, 0), image_set("test", 12, 1)
