"""Other graphs and conditioned sampling: loops, two dimensions, the cube, connecting and inpainting."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from reproductions.diffcollage.pieces import (
    ALL, AUTOREGRESSIVE, METHODS, Context, Pieces, Repeats, crops, make_judge, seam, wrap_seam,
)  # fmt: skip
from rescore.collage import (
    averaged_score, composed_score, cube_squares, cubemap, cycle, equirectangular, from_the_middle, reconstructed_score,
    replaced_score, side_by_side, tilings,
)  # fmt: skip
from rescore.collage import grid as lattice_graph
from rescore.data.pixels import to_unit
from rescore.random import make_generator
from rescore.scores import Score

SHOWN = 3
GRID = 3  # squares high and wide
PANORAMA_HEIGHT = 6  # faces high
INPAINTING = (
    "Split, Replacement", "Split, Reconstruction", "Outpainted, Replacement", "DiffCollage, Replacement",
    "DiffCollage, Reconstruction",
)  # fmt: skip

Values = dict[str, list[float]]
Make = Callable[[Tensor, torch.Generator], Tensor]
"""From contents of which a part is known to contents."""


def loop(context: Context, repeats: Repeats) -> None:
    """A closed image of a cycle; the wrap_seams of the open methods stand with Tables 4.1 and 4.2."""
    config, book, pieces = context.config, context.book, repeats.first
    judge = make_judge(context, pieces)
    side, stride = pieces.side, pieces.side - pieces.overlap
    graph = cycle(side, side * config.ratio, side, pieces.overlap)
    began, found = time.perf_counter(), {"wrap_seam": [], "seam": [], "fid_plus": []}
    for seed, one in repeats.each:
        names = ("diffcollage", "loop", pieces.name, seed)
        score = composed_score(graph, one.square, one.half)
        x = one.sample(score, pieces.shape(config.samples, graph.size), make_generator(*names, device=context.run.device))
        found["wrap_seam"].append(wrap_seam(x))
        found["seam"].append(seam(x, range(stride, graph.size[1], stride)))
        found["fid_plus"].append(judge(crops(x, pieces.side, make_generator(*names, "crops"), config.crops), ["fid"])["fid"])
    _record(context, "loop", repeats, "DiffCollage", found, config.samples, began, {"graph": "cycle"})
    book.arrays["loop"] = x[:SHOWN].numpy()


def grid(context: Context, repeats: Repeats) -> None:
    """Images three patches high and wide. Seams are those inside the outermost half patch.

    DiffCollage is on the paper's two tilings; outpainting goes from the middle in half-overlapping squares of a lattice.
    """
    config, book, pieces = context.config, context.book, repeats.first
    judge = make_judge(context, pieces)
    side, half, size = pieces.side, pieces.side // 2, (GRID * pieces.side,) * 2
    graph, lattice = tilings(size, side), lattice_graph(size, (side, side), (half, half))
    order = from_the_middle(2 * GRID - 1, 2 * GRID - 1)

    def score(method: str, one: Pieces) -> Score:
        if method == "DiffCollage":
            return composed_score(graph, one.square, one.quarter)
        return averaged_score(size, graph.factors[: GRID**2] if method == "Baseline" else graph.factors, one.square)

    for method in ALL:
        began, found = time.perf_counter(), {"fid_plus": [], "seam": []}
        for seed, one in repeats.each:
            names = ("diffcollage", "grid", pieces.name, seed)
            generator = make_generator(*names, device=context.run.device)
            if method not in AUTOREGRESSIVE:
                x = one.sample(score(method, one), pieces.shape(config.samples, size), generator)
                passes = pieces.sampler.nfe
            else:
                x, passes = one.outpaint(method, size, lattice.factors, config.samples, generator, order)
            squares = crops(x, side, make_generator(*names, "crops"), config.crops)
            found["fid_plus"].append(judge(squares, ["fid"])["fid"])
            inner = x[..., half:-half, half:-half]
            both = torch.cat((inner, inner.mT))
            found["seam"].append(seam(both, range(half, size[1] - side, side)))
        shape = {"graph": "lattice" if method in AUTOREGRESSIVE else "two tilings", "size": f"{size[0]}x{size[1]}"}
        _record(context, "grid", repeats, method, found, config.samples, began, shape)
        book.exact("grid", pieces.name, method, "", "sequential passes", passes, pieces.protocol | shape)
        book.arrays[f"grid/{method}"] = x[:SHOWN].numpy()


def cube(context: Context, repeats: Repeats) -> None:
    """360-degree images: three rings, each composed on a cycle, minus the six faces; or square by square from the front."""
    config, book, pieces = context.config, context.book, repeats.first
    judge = make_judge(context, pieces)
    n = max(80, config.samples // 3)
    graph, (squares, order) = cubemap(pieces.side), cube_squares(pieces.side)
    side = pieces.side

    def score(method: str, one: Pieces) -> Score:
        if method == "DiffCollage":
            ring = composed_score(cycle(side, 4 * side, side, one.overlap), one.square, one.half)
            return composed_score(graph, ring, one.square)
        return lambda u, t: one.square(u.transpose(1, 2).flatten(0, 1), t).unflatten(0, (len(u), 6)).transpose(1, 2)

    for method in METHODS:
        began, found = time.perf_counter(), {"seam": [], "fid": []}
        for seed, one in repeats.each:
            generator = make_generator("diffcollage", "cubemap", pieces.name, seed, device=context.run.device)
            if method not in AUTOREGRESSIVE:
                x, passes = one.sample(score(method, one), pieces.shape(n, graph.size), generator), pieces.sampler.nfe
            else:
                x, passes = one.outpaint(method, graph.size, squares, n, generator, order)
            rings = x.flatten(2)[:, :, graph.factors]  # (n, C, 3, side, 4 side)
            rings = torch.cat((rings, rings[..., :1]), -1)  # closed, so that every edge of a ring is a step
            found["seam"].append(seam(rings, range(side, 4 * side + 1, side)))
            found["fid"].append(judge(x.transpose(1, 2).flatten(0, 1), ["fid"])["fid"])
        shape = {"graph": "squares over edges" if method in AUTOREGRESSIVE else "cubemap of three cycles"}
        _record(context, "cubemap", repeats, method, found, n, began, shape)
        book.exact("cubemap", pieces.name, method, "", "sequential passes", passes, pieces.protocol | shape)
        book.arrays[f"cubemap/{method}"] = equirectangular(x[:2], PANORAMA_HEIGHT * side).numpy()


def connect(context: Context, repeats: Repeats) -> None:
    """Between two given squares: the pieces between them, one after another or at once. Seams are those at the two joins."""
    config, book, pieces = context.config, context.book, repeats.first
    judge = make_judge(context, pieces)
    graph, side = pieces.chain(config.ratio), pieces.side
    length = graph.size[1]
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

    def makers(one: Pieces) -> dict[str, Make]:
        joint = composed_score(graph, one.square, one.half)

        def outpainted(method: str, patches: Tensor, order: Sequence[Sequence[int]]) -> Make:
            return lambda x, draws: one.outpaint(method, graph.size, patches, len(x), draws, order, (x, mask))[0]

        return {
            "Baseline": outpainted("Baseline", tiles, [range(1, len(tiles) - 1)]),
            **{method: outpainted(method, graph.factors, [[j] for j in inner]) for method in AUTOREGRESSIVE},
            "DiffCollage": lambda x, draws: one.sample_given(replaced_score, joint, x, mask, draws),
        }

    for method in METHODS:
        began, found = time.perf_counter(), {"seam": [], "fid_plus": []}
        for seed, one in repeats.each:
            names = ("diffcollage", "connect", pieces.name, seed)
            x = known(seed)
            made = makers(one)[method](x, make_generator(*names, device=context.run.device))
            made = torch.where(mask, x, made)
            found["seam"].append(seam(made, (side, length - side)))
            # crops that hold no more than half of a given square
            between = made[..., side - pieces.overlap : length - side + pieces.overlap]
            squares = crops(between, side, make_generator(*names, "crops"), config.crops)
            found["fid_plus"].append(judge(squares, ["fid"])["fid"])
        _record(context, "fig4.6", repeats, method, found, config.samples, began, {"graph": "chain", "W/H": config.ratio})
        book.arrays[f"connect/{method}"] = made[:SHOWN].numpy()


def inpaint(context: Context, repeats: Repeats) -> None:
    """Fig. 4.7: a wide real image from few of its pixels, square by square or on the chain."""
    config, book, pieces = context.config, context.book, repeats.first
    graph, side = pieces.chain(config.ratio), pieces.side
    borders = range(side, graph.size[1], side)
    strips = pieces.strips(config.ratio)
    conditions = {"Replacement": replaced_score, "Reconstruction": reconstructed_score}

    def make(method: str, one: Pieces, x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        how, kind = method.split(", ")
        if how == "Outpainted":
            return one.outpaint(kind, graph.size, graph.factors, len(x), generator, None, (x * mask, mask[0, 0]))[0]
        if how == "Split":
            score = averaged_score(graph.size, side_by_side(*graph.size, side), one.differentiable)
        else:
            score = composed_score(graph, one.differentiable, one.half_with_gradients)
        with torch.no_grad():
            return one.sample_given(conditions[kind], score, x, mask, generator)

    for method in INPAINTING:
        began, found = time.perf_counter(), {"rmse": [], "seam": []}
        for seed, one in repeats.each:
            names = ("diffcollage", "inpaint", pieces.name, seed)
            generator = make_generator(*names)
            x = strips[torch.randint(len(strips), (config.samples,), generator=generator)]
            mask = torch.rand(1, 1, *graph.size, generator=generator) < config.sparse
            made = make(method, one, x, mask, make_generator(*names, "noise", device=context.run.device))
            made = torch.where(mask, x, made)
            hidden = ~mask.expand_as(x)
            found["rmse"].append((made - x)[hidden].square().mean().sqrt().item())
            found["seam"].append(seam(made, borders))
        protocol = {"graph": "chain", "W/H": config.ratio, "known pixels": config.sparse}
        _record(context, "fig4.7", repeats, method, found, config.samples, began, protocol)
        book.arrays[f"inpaint/{method}"] = made[:SHOWN].numpy()
    book.arrays["inpaint/real"], book.arrays["inpaint/mask"] = x[:SHOWN].numpy(), mask[0, 0].numpy()


SHAPES: dict[str, Callable[[Context, Repeats], None]] = {
    "loop": loop, "grid": grid, "cubemap": cube, "connect": connect, "inpaint": inpaint,
}  # fmt: skip


def _real(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n of the images, in [-1, 1]."""
    return to_unit(images[torch.randint(len(images), (n,), generator=generator)])


def _record(context: Context, table: str, repeats: Repeats, method: str, found: Values, n: int, began: float,
            extra: dict[str, object]) -> None:  # fmt: skip
    pieces = repeats.first
    for metric, values in found.items():
        context.book.record(
            table, pieces.name, method, "", metric, None, values, n * len(values), pieces.protocol | extra,
            time.perf_counter() - began, over=repeats.over,
        )  # fmt: skip
