"""Other graphs and conditioned sampling: loops, two dimensions, the cube, connecting and inpainting."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from reproductions.diffcollage.pieces import (
    ALL, AUTOREGRESSIVE, METHODS, Context, Pieces, crops, make_judge, seam, wrap_seam,
)  # fmt: skip
from rescore.collage import (
    averaged_score, composed_score, cube_squares, cubemap, cycle, equirectangular, from_the_middle, reconstructed_score,
    replaced_score, side_by_side, tilings,
)  # fmt: skip
from rescore.collage import grid as lattice_graph
from rescore.data.pixels import to_unit
from rescore.random import make_generator

SHOWN = 3
GRID = 3  # squares high and wide
PANORAMA_HEIGHT = 6  # faces high

Values = dict[str, list[float]]


def loop(context: Context, pieces: Pieces) -> None:
    """A closed image of a cycle; the wrap_seams of the open methods stand with Tables 4.1 and 4.2."""
    config, book, judge = context.config, context.book, make_judge(context, pieces)
    side, stride = pieces.side, pieces.side - pieces.overlap
    graph = cycle(side, side * config.ratio, side, pieces.overlap)
    score = composed_score(graph, pieces.square, pieces.half)
    began, found = time.perf_counter(), {"wrap_seam": [], "seam": [], "fid_plus": []}
    for seed in config.seeds:
        names = ("diffcollage", "loop", pieces.name, seed)
        x = pieces.sample(score, pieces.shape(config.samples, graph.size), make_generator(*names, device=context.run.device))
        found["wrap_seam"].append(wrap_seam(x))
        found["seam"].append(seam(x, range(stride, graph.size[1], stride)))
        found["fid_plus"].append(judge(crops(x, pieces.side, make_generator(*names, "crops"), config.crops), ["fid"])["fid"])
    _record(context, "loop", pieces, "DiffCollage", found, config.samples, began, {"graph": "cycle"})
    book.arrays["loop"] = x[:SHOWN].numpy()


def grid(context: Context, pieces: Pieces) -> None:
    """Images three patches high and wide. Seams are those inside the outermost half patch.

    DiffCollage is on the paper's two tilings; outpainting goes from the middle in half-overlapping squares of a lattice.
    """
    config, book, judge = context.config, context.book, make_judge(context, pieces)
    side, half, size = pieces.side, pieces.side // 2, (GRID * pieces.side,) * 2
    graph, lattice = tilings(size, side), lattice_graph(size, (side, side), (half, half))
    order = from_the_middle(2 * GRID - 1, 2 * GRID - 1)
    scores = {
        "Baseline": averaged_score(size, graph.factors[: GRID**2], pieces.square),
        "Averaging": averaged_score(size, graph.factors, pieces.square),
        "DiffCollage": composed_score(graph, pieces.square, pieces.quarter),
    }
    for method in ALL:
        began, found = time.perf_counter(), {"fid_plus": [], "seam": []}
        for seed in config.seeds:
            names = ("diffcollage", "grid", pieces.name, seed)
            generator = make_generator(*names, device=context.run.device)
            if method in scores:
                x = pieces.sample(scores[method], pieces.shape(config.samples, size), generator)
                passes = pieces.sampler.nfe
            else:
                x, passes = pieces.outpaint(method, size, lattice.factors, config.samples, generator, order)
            squares = crops(x, side, make_generator(*names, "crops"), config.crops)
            found["fid_plus"].append(judge(squares, ["fid"])["fid"])
            inner = x[..., half:-half, half:-half]
            both = torch.cat((inner, inner.mT))
            found["seam"].append(seam(both, range(half, size[1] - side, side)))
        shape = {"graph": "lattice" if method in AUTOREGRESSIVE else "two tilings", "size": f"{size[0]}x{size[1]}"}
        _record(context, "grid", pieces, method, found, config.samples, began, shape)
        book.exact("grid", pieces.name, method, "", "sequential passes", passes, pieces.protocol | shape)
        book.arrays[f"grid/{method}"] = x[:SHOWN].numpy()


def cube(context: Context, pieces: Pieces) -> None:
    """360-degree images: three rings, each composed on a cycle, minus the six faces; or square by square from the front."""
    config, book, judge = context.config, context.book, make_judge(context, pieces)
    n = max(80, config.samples // 3)
    graph, (squares, order) = cubemap(pieces.side), cube_squares(pieces.side)
    side = pieces.side
    ring = composed_score(cycle(side, 4 * side, side, pieces.overlap), pieces.square, pieces.half)

    def faces_alone(u: Tensor, t: float) -> Tensor:
        return pieces.square(u.transpose(1, 2).flatten(0, 1), t).unflatten(0, (len(u), 6)).transpose(1, 2)

    scores = {"Baseline": faces_alone, "DiffCollage": composed_score(graph, ring, pieces.square)}
    for method in METHODS:
        began, found = time.perf_counter(), {"seam": [], "fid": []}
        for seed in config.seeds:
            generator = make_generator("diffcollage", "cubemap", pieces.name, seed, device=context.run.device)
            if method in scores:
                x, passes = pieces.sample(scores[method], pieces.shape(n, graph.size), generator), pieces.sampler.nfe
            else:
                x, passes = pieces.outpaint(method, graph.size, squares, n, generator, order)
            rings = x.flatten(2)[:, :, graph.factors]  # (n, C, 3, side, 4 side)
            rings = torch.cat((rings, rings[..., :1]), -1)  # closed, so that every edge of a ring is a step
            found["seam"].append(seam(rings, range(side, 4 * side + 1, side)))
            found["fid"].append(judge(x.transpose(1, 2).flatten(0, 1), ["fid"])["fid"])
        shape = {"graph": "squares over edges" if method in AUTOREGRESSIVE else "cubemap of three cycles"}
        _record(context, "cubemap", pieces, method, found, n, began, shape)
        book.exact("cubemap", pieces.name, method, "", "sequential passes", passes, pieces.protocol | shape)
        book.arrays[f"cubemap/{method}"] = equirectangular(x[:2], PANORAMA_HEIGHT * side).numpy()


def connect(context: Context, pieces: Pieces) -> None:
    """Between two given squares: the pieces between them, one after another or at once. Seams are those at the two joins."""
    config, book, judge = context.config, context.book, make_judge(context, pieces)
    graph, side = pieces.chain(config.ratio), pieces.side
    length, joint = graph.size[1], composed_score(graph, pieces.square, pieces.half)
    mask = torch.zeros(graph.size, dtype=torch.bool)
    mask[:, :side] = mask[:, -side:] = True
    inner = range(1, len(graph.factors) - 1)
    tiles = side_by_side(*graph.size, side)

    def known(seed: int) -> Tensor:
        generator = make_generator("diffcollage", "ends", pieces.name, seed)
        ends = _real(pieces.test.images, 2 * config.samples, generator)
        x = torch.zeros(pieces.shape(config.samples, graph.size))
        x[..., :side], x[..., -side:] = ends.chunk(2)
        return x

    def baseline(x: Tensor, generator: torch.Generator) -> Tensor:
        return pieces.outpaint("Baseline", graph.size, tiles, len(x), generator, [range(1, len(tiles) - 1)], (x, mask))[0]

    def one_by_one(method: str) -> Callable[[Tensor, torch.Generator], Tensor]:
        order = [[j] for j in inner]
        return lambda x, generator: pieces.outpaint(method, graph.size, graph.factors, len(x), generator, order, (x, mask))[0]

    def at_once(x: Tensor, generator: torch.Generator) -> Tensor:
        return pieces.sample_given(replaced_score, joint, x, mask, generator)

    methods = {"Baseline": baseline, **{m: one_by_one(m) for m in AUTOREGRESSIVE}, "DiffCollage": at_once}
    for method, make in methods.items():
        began, found = time.perf_counter(), {"seam": [], "fid_plus": []}
        for seed in config.seeds:
            names = ("diffcollage", "connect", pieces.name, seed)
            x = known(seed)
            made = make(x, make_generator(*names, device=context.run.device))
            made = torch.where(mask, x, made)
            found["seam"].append(seam(made, (side, length - side)))
            # crops that hold no more than half of a given square
            between = made[..., side - pieces.overlap : length - side + pieces.overlap]
            squares = crops(between, side, make_generator(*names, "crops"), config.crops)
            found["fid_plus"].append(judge(squares, ["fid"])["fid"])
        _record(context, "fig4.6", pieces, method, found, config.samples, began, {"graph": "chain", "W/H": config.ratio})
        book.arrays[f"connect/{method}"] = made[:SHOWN].numpy()


def inpaint(context: Context, pieces: Pieces) -> None:
    """Fig. 4.7: a wide real image from few of its pixels, square by square or on the chain."""
    config, book = context.config, context.book
    graph, side = pieces.chain(config.ratio), pieces.side
    joint = composed_score(graph, pieces.differentiable, pieces.half_with_gradients)
    split = averaged_score(graph.size, side_by_side(*graph.size, side), pieces.differentiable)
    borders = range(side, graph.size[1], side)
    strips = pieces.strips(config.ratio)

    def at_once(score: Callable, condition: Callable) -> Callable[[Tensor, Tensor, torch.Generator], Tensor]:
        def make(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
            with torch.no_grad():
                return pieces.sample_given(condition, score, x, mask, generator)

        return make

    def outpainted(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        given = (x * mask, mask[0, 0])
        return pieces.outpaint("Replacement", graph.size, graph.factors, len(x), generator, None, given)[0]

    methods = {
        "Split, Replacement": at_once(split, replaced_score),
        "Split, Reconstruction": at_once(split, reconstructed_score),
        "Outpainted, Replacement": outpainted,
        "DiffCollage, Replacement": at_once(joint, replaced_score),
        "DiffCollage, Reconstruction": at_once(joint, reconstructed_score),
    }
    for method, make in methods.items():
        began, found = time.perf_counter(), {"rmse": [], "seam": []}
        for seed in config.seeds:
            names = ("diffcollage", "inpaint", pieces.name, seed)
            generator = make_generator(*names)
            x = strips[torch.randint(len(strips), (config.samples,), generator=generator)]
            mask = torch.rand(1, 1, *graph.size, generator=generator) < config.sparse
            made = make(x, mask, make_generator(*names, "noise", device=context.run.device))
            made = torch.where(mask, x, made)
            hidden = ~mask.expand_as(x)
            found["rmse"].append((made - x)[hidden].square().mean().sqrt().item())
            found["seam"].append(seam(made, borders))
        protocol = {"graph": "chain", "W/H": config.ratio, "known pixels": config.sparse}
        _record(context, "fig4.7", pieces, method, found, config.samples, began, protocol)
        book.arrays[f"inpaint/{method}"] = made[:SHOWN].numpy()
    book.arrays["inpaint/real"], book.arrays["inpaint/mask"] = x[:SHOWN].numpy(), mask[0, 0].numpy()


SHAPES: dict[str, Callable[[Context, Pieces], None]] = {
    "loop": loop, "grid": grid, "cubemap": cube, "connect": connect, "inpaint": inpaint,
}  # fmt: skip


def _real(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n of the images, in [-1, 1]."""
    return to_unit(images[torch.randint(len(images), (n,), generator=generator)])


def _record(context: Context, table: str, pieces: Pieces, method: str, found: Values, n: int, began: float,
            extra: dict[str, object]) -> None:  # fmt: skip
    for metric, values in found.items():
        context.book.record(
            table, pieces.name, method, "", metric, None, values, n * len(values), pieces.protocol | extra,
            time.perf_counter() - began, over=pieces.over,
        )  # fmt: skip
