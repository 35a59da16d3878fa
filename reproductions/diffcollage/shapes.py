"""Other graphs and conditioned sampling: loops, two dimensions, the cube, connecting and inpainting."""

from functools import partial

import torch
from rescore.collage import (
    AUTOREGRESSIVE,
    METHODS,
    Made,
    Maker,
    connected,
    cubemap,
    cycle,
    equirectangular,
    inpainted,
    looped,
    on_a_cube,
    tiled,
)
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book
from rescore.metrics.seams import seam, wrap_seam
from rescore.random import make_generator
from torch import Tensor

from reproductions.diffcollage.images import SHOWN, Images, joined
from reproductions.diffcollage.panoramas import TABULATED

GRID = 3  # squares high and wide
PANORAMA_HEIGHT = 6  # faces high
# by method: how the squares of a picture come together
TILED = {"Baseline": "squares side by side", "Averaging": "two tilings", "DiffCollage": "two tilings"} | dict.fromkeys(
    AUTOREGRESSIVE, "lattice"
)
ON_CUBES = {"Baseline": "six faces", "DiffCollage": "cubemap of three cycles"} | dict.fromkeys(
    AUTOREGRESSIVE, "squares over edges"
)
INPAINTING = {  # by method: how the pieces come together, and what known pixels do
    f"{how}, {kind}": (how, kind)
    for how, kind in (
        ("Split", "Replacement"),
        ("Split", "Reconstruction"),
        ("Outpainted", "Replacement"),
        ("DiffCollage", "Replacement"),
        ("DiffCollage", "Reconstruction"),
    )
}


def loop(book: Book, name: str) -> None:
    """A closed image of a cycle; the wrap_seams of the open methods stand with Tables 4.1 and 4.2."""
    images = Images(book, name)
    side, stride = images.side, images.side - images.overlap
    graph = cycle(side, side * book.config.ratio, side, images.overlap)

    def make(pieces: Maker, seed: int) -> Made:
        return looped(pieces, graph, images.n, images.generator("loop", name, seed))

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        seams = {"wrap_seam": wrap_seam(x), "seam": seam(x, range(stride, graph.size[1], stride))}
        return seams | {"fid_plus": images.fid_plus(x, "loop", name, seed)}

    images.measure("loop", "DiffCollage", make, judge, "loop", graph="cycle")


def grid(book: Book, name: str) -> None:
    """Images three patches high and wide. Seams are those inside the outermost half patch."""
    images = Images(book, name)
    side, half, size = images.side, images.side // 2, (GRID * images.side,) * 2

    def make(method: str, pieces: Maker, seed: int) -> Made:
        return tiled(pieces, method, size, side, images.n, images.generator("grid", name, seed))

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        inner = x[..., half:-half, half:-half]
        both = torch.cat((inner, inner.mT))
        return {"fid_plus": images.fid_plus(x, "grid", name, seed), "seam": seam(both, range(half, size[1] - side, side))}

    for method in METHODS:
        about = {"graph": TILED[method], "size": f"{size[0]}x{size[1]}"}
        images.measure("grid", method, partial(make, method), judge, f"grid/{method}", passes=True, **about)


def cube(book: Book, name: str) -> None:
    """360-degree images as cubemaps."""
    images = Images(book, name)
    n, side = max(80, images.n // 3), images.side

    def make(method: str, pieces: Maker, seed: int) -> Made:
        return on_a_cube(pieces, method, side, images.overlap, n, images.generator("cubemap", name, seed))

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        rings = x.flatten(2)[:, :, cubemap(side).factors]  # (n, C, 3, side, 4 side)
        rings = torch.cat((rings, rings[..., :1]), -1)  # closed, so that every edge of a ring is a step
        return {"seam": seam(rings, range(side, 4 * side + 1, side)), "fid": images.fid(x.transpose(1, 2).flatten(0, 1))}

    def shown(x: Tensor) -> Tensor:
        return equirectangular(x[:2], PANORAMA_HEIGHT * side)

    for method in TABULATED:
        about = {"n": n, "passes": True, "graph": ON_CUBES[method]}
        images.measure("cubemap", method, partial(make, method), judge, f"cubemap/{method}", shown, **about)


def connect(book: Book, name: str) -> None:
    """Between two given squares: the pieces between them, one after another or at once. Seams are those at the two joins."""
    images, ratio = Images(book, name), book.config.ratio
    graph, side = images.chain(ratio), images.side
    length = graph.size[1]

    def make(method: str, pieces: Maker, seed: int) -> Made:
        generator = make_generator("diffcollage", "ends", name, seed)
        ends = to_unit(images.test.images[torch.randint(len(images.test), (2 * images.n,), generator=generator)])
        known = torch.zeros(images.n, pieces.channels, *graph.size)
        known[..., :side], known[..., -side:] = ends.chunk(2)
        return connected(pieces, method, graph, known, images.generator("connect", name, seed))

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        # crops that hold no more than half of a given square
        between = x[..., side - images.overlap : length - side + images.overlap]
        return {"seam": seam(x, (side, length - side)), "fid_plus": images.fid_plus(between, "connect", name, seed)}

    for method in TABULATED:
        about = {"graph": joined(method), "W/H": ratio}
        images.measure("fig4.6", method, partial(make, method), judge, f"connect/{method}", **about)


def inpaint(book: Book, name: str) -> None:
    """Fig. 4.7: a wide real image from few of its pixels, square by square or on the chain."""
    images, ratio, share = Images(book, name), book.config.ratio, book.config.inpaint.known
    graph, side, strips = images.chain(ratio), images.side, images.strips(ratio)

    def given(seed: int) -> tuple[Tensor, Tensor]:
        """Real strips and which of their pixels are known."""
        generator = make_generator("diffcollage", "inpaint", name, seed)
        x = strips[torch.randint(len(strips), (images.n,), generator=generator)]
        return x, torch.rand(1, 1, *graph.size, generator=generator) < share

    def make(how: str, kind: str, pieces: Maker, seed: int) -> Made:
        return inpainted(pieces, how, kind, graph, *given(seed), images.generator("inpaint", name, seed, "noise"))

    def judge(made: Tensor, seed: int) -> dict[str, float]:
        x, mask = given(seed)
        rmse = (made - x)[~mask.expand_as(x)].square().mean().sqrt().item()
        return {"rmse": rmse, "seam": seam(made, range(side, graph.size[1], side))}

    for method, how in INPAINTING.items():
        about = {"graph": joined(how[0]), "W/H": ratio, "known pixels": share}
        images.measure("fig4.7", method, partial(make, *how), judge, f"inpaint/{method}", **about)
    x, mask = given(images.seeds[-1][1])
    book.arrays["inpaint/real"], book.arrays["inpaint/mask"] = x[:SHOWN].numpy(), mask[0, 0].numpy()
