"""Other graphs and conditioned sampling: loops, two dimensions, the cube, connecting and inpainting."""

from functools import partial

import torch
from torch import Tensor

from reproductions.diffcollage.images import SHOWN, Images, Pieces
from reproductions.diffcollage.panoramas import TABULATED
from rescore.collage import (
    AUTOREGRESSIVE, METHODS, Made, averaged_score, composed_score, cube_squares, cubemap, cycle, equirectangular,
    from_the_middle, reconstructed_score, replaced_score, side_by_side, tilings,
)  # fmt: skip
from rescore.collage import grid as lattice_graph
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book
from rescore.metrics.seams import seam, wrap_seam
from rescore.random import make_generator

GRID = 3  # squares high and wide
PANORAMA_HEIGHT = 6  # faces high
CONDITIONS = {"Replacement": replaced_score, "Reconstruction": reconstructed_score}
INPAINTING = {  # by method: how the pieces come together, and what known pixels do
    f"{how}, {kind}": (how, kind)
    for how, kind in (("Split", "Replacement"), ("Split", "Reconstruction"), ("Outpainted", "Replacement"),
                      ("DiffCollage", "Replacement"), ("DiffCollage", "Reconstruction"))
}  # fmt: skip


def loop(book: Book, name: str) -> None:
    """A closed image of a cycle; the wrap_seams of the open methods stand with Tables 4.1 and 4.2."""
    images = Images(book, name)
    side, stride = images.side, images.side - images.overlap
    graph = cycle(side, side * book.config.ratio, side, images.overlap)

    def make(pieces: Pieces, seed: int) -> Made:
        score = composed_score(graph, pieces.piece, pieces.part)
        return pieces.sample(score, graph.size, images.n, images.generator("loop", name, seed))

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        seams = {"wrap_seam": wrap_seam(x), "seam": seam(x, range(stride, graph.size[1], stride))}
        return seams | {"fid_plus": images.fid_plus(x, "loop", name, seed)}

    with images.cell("loop", "DiffCollage", graph="cycle") as cell:
        if cell.todo:
            cell.arrays["loop"] = images.fill(cell, make, judge).x[:SHOWN].numpy()


def grid(book: Book, name: str) -> None:
    """Images three patches high and wide. Seams are those inside the outermost half patch.

    DiffCollage is on the paper's two tilings; outpainting goes from the middle in half-overlapping squares of a lattice.
    """
    images = Images(book, name)
    side, half, size = images.side, images.side // 2, (GRID * images.side,) * 2
    graph, lattice = tilings(size, side), lattice_graph(size, (side, side), (half, half))
    order = from_the_middle(2 * GRID - 1, 2 * GRID - 1)

    def make(method: str, pieces: Pieces, seed: int) -> Made:
        generator = images.generator("grid", name, seed)
        if method in AUTOREGRESSIVE:
            return pieces.outpaint(AUTOREGRESSIVE[method], size, lattice.factors, images.n, generator, order)
        if method == "DiffCollage":
            score = composed_score(graph, pieces.piece, pieces.quarter)
        else:  # the first tiling is that of the baseline
            score = averaged_score(size, graph.factors[: GRID**2] if method == "Baseline" else graph.factors, pieces.piece)
        return pieces.sample(score, size, images.n, generator)

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        inner = x[..., half:-half, half:-half]
        both = torch.cat((inner, inner.mT))
        return {"fid_plus": images.fid_plus(x, "grid", name, seed), "seam": seam(both, range(half, size[1] - side, side))}

    for method in METHODS:
        kind = "lattice" if method in AUTOREGRESSIVE else "two tilings"
        with images.cell("grid", method, graph=kind, size=f"{size[0]}x{size[1]}") as cell:
            if cell.todo:
                made = images.fill(cell, partial(make, method), judge)
                cell.exact("sequential passes", made.passes, n=1)
                cell.arrays[f"grid/{method}"] = made.x[:SHOWN].numpy()


def cube(book: Book, name: str) -> None:
    """360-degree images: three rings, each composed on a cycle, minus the six faces; or square by square from the front."""
    images = Images(book, name)
    n, side = max(80, images.n // 3), images.side
    graph, (squares, order) = cubemap(side), cube_squares(side)

    def make(method: str, pieces: Pieces, seed: int) -> Made:
        generator = images.generator("cubemap", name, seed)
        if method in AUTOREGRESSIVE:
            return pieces.outpaint(AUTOREGRESSIVE[method], graph.size, squares, n, generator, order)
        if method == "DiffCollage":
            ring = composed_score(cycle(side, 4 * side, side, images.overlap), pieces.piece, pieces.part)
            score = composed_score(graph, ring, pieces.piece)
        else:  # the faces by themselves
            score = averaged_score(graph.size, graph.variables[0], pieces.piece)
        return pieces.sample(score, graph.size, n, generator)

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        rings = x.flatten(2)[:, :, graph.factors]  # (n, C, 3, side, 4 side)
        rings = torch.cat((rings, rings[..., :1]), -1)  # closed, so that every edge of a ring is a step
        return {"seam": seam(rings, range(side, 4 * side + 1, side)), "fid": images.fid(x.transpose(1, 2).flatten(0, 1))}

    for method in TABULATED:
        kind = "squares over edges" if method in AUTOREGRESSIVE else "cubemap of three cycles"
        with images.cell("cubemap", method, n=n, graph=kind) as cell:
            if cell.todo:
                made = images.fill(cell, partial(make, method), judge)
                cell.exact("sequential passes", made.passes, n=1)
                cell.arrays[f"cubemap/{method}"] = equirectangular(made.x[:2], PANORAMA_HEIGHT * side).numpy()


def connect(book: Book, name: str) -> None:
    """Between two given squares: the pieces between them, one after another or at once. Seams are those at the two joins."""
    images, ratio = Images(book, name), book.config.ratio
    graph, side = images.chain(ratio), images.side
    length = graph.size[1]
    mask = torch.zeros(graph.size, dtype=torch.bool)
    mask[:, :side] = mask[:, -side:] = True
    tiles = side_by_side(*graph.size, side)

    def make(method: str, pieces: Pieces, seed: int) -> Made:
        generator = make_generator("diffcollage", "ends", name, seed)
        ends = to_unit(images.test.images[torch.randint(len(images.test), (2 * images.n,), generator=generator)])
        known, generator = torch.zeros(images.n, pieces.channels, *graph.size), images.generator("connect", name, seed)
        known[..., :side], known[..., -side:] = ends.chunk(2)
        if method == "DiffCollage":
            made = pieces.sample_given(replaced_score, composed_score(graph, pieces.piece, pieces.part), known, mask, generator)
        elif method == "Baseline":  # squares that meet what is given but share nothing with it
            inner = [range(1, len(tiles) - 1)]
            made = pieces.outpaint("replacement", graph.size, tiles, images.n, generator, inner, (known, mask))
        else:
            inner = [[j] for j in range(1, len(graph.factors) - 1)]
            made = pieces.outpaint(AUTOREGRESSIVE[method], graph.size, graph.factors, images.n, generator, inner, (known, mask))
        return Made(torch.where(mask, known, made.x), made.passes)

    def judge(x: Tensor, seed: int) -> dict[str, float]:
        # crops that hold no more than half of a given square
        between = x[..., side - images.overlap : length - side + images.overlap]
        return {"seam": seam(x, (side, length - side)), "fid_plus": images.fid_plus(between, "connect", name, seed)}

    for method in TABULATED:
        with images.cell("fig4.6", method, graph="chain", **{"W/H": ratio}) as cell:
            if cell.todo:
                cell.arrays[f"connect/{method}"] = images.fill(cell, partial(make, method), judge).x[:SHOWN].numpy()


def inpaint(book: Book, name: str) -> None:
    """Fig. 4.7: a wide real image from few of its pixels, square by square or on the chain."""
    images, ratio, share = Images(book, name), book.config.ratio, book.config.inpaint.known
    graph, side, strips = images.chain(ratio), images.side, images.strips(ratio)

    def given(seed: int) -> tuple[Tensor, Tensor]:
        """Real strips and which of their pixels are known."""
        generator = make_generator("diffcollage", "inpaint", name, seed)
        x = strips[torch.randint(len(strips), (images.n,), generator=generator)]
        return x, torch.rand(1, 1, *graph.size, generator=generator) < share

    def make(how: str, kind: str, pieces: Pieces, seed: int) -> Made:
        (x, mask), generator = given(seed), images.generator("inpaint", name, seed, "noise")
        if how == "Outpainted":
            known = x * mask, mask[0, 0]
            made = pieces.outpaint(AUTOREGRESSIVE[kind], graph.size, graph.factors, len(x), generator, None, known)
        else:
            if how == "Split":
                score = averaged_score(graph.size, side_by_side(*graph.size, side), pieces.differentiable)
            else:
                score = composed_score(graph, pieces.differentiable, pieces.part_with_gradients)
            with torch.no_grad():
                made = pieces.sample_given(CONDITIONS[kind], score, x, mask, generator)
        return Made(torch.where(mask, x, made.x), made.passes)

    def judge(made: Tensor, seed: int) -> dict[str, float]:
        x, mask = given(seed)
        rmse = (made - x)[~mask.expand_as(x)].square().mean().sqrt().item()
        return {"rmse": rmse, "seam": seam(made, range(side, graph.size[1], side))}

    for method, how in INPAINTING.items():
        with images.cell("fig4.7", method, graph="chain", **{"W/H": ratio, "known pixels": share}) as cell:
            if cell.todo:
                cell.arrays[f"inpaint/{method}"] = images.fill(cell, partial(make, *how), judge).x[:SHOWN].numpy()
    x, mask = given(images.seeds[-1][1])
    book.arrays["inpaint/real"], book.arrays["inpaint/mask"] = x[:SHOWN].numpy(), mask[0, 0].numpy()
