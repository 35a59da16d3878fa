"""Pictures of 32 pixels height from exact pieces of 32x32.

Panoramas, a closed circle, a cube (figs. 4.4 and 4.9); and one whose texture changes along it (fig. 4.6).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import torch
from rescore.collage import Made, Maker, chain, connected, cubemap, cycle, equirectangular, from_strokes, looped, on_a_cube
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.metrics.seams import seam, wrap_seam
from rescore.problems.gaussian import GaussianLaw, score_on_axes
from rescore.processes import VP
from rescore.progress import progress
from rescore.random import make_generator
from rescore.scores import EmpiricalData, Score
from torch import Tensor, nn

from reproductions.diffcollage.images import joined, make_sampler, sampling
from reproductions.diffcollage.photographs import HALF, SIDE, STD, Field, Quilt, sky_palette
from reproductions.diffcollage.shapes import ON_CUBES

SKY, WALL = "sky", "brick wall"
PROCESS, BOUND = VP(), 1.5  # five standard deviations of a field
SHOWN = 2
FACE_PIXELS = 4  # rows of the panorama of a cube for each row of a face
START = Axes("from t={start:g}")
MADE = ("Baseline", "Replacement", "DiffCollage")


class Scenery:
    """One kind of picture in a section: exact pieces, draws of the law of the whole, and how far contents are from it."""

    def __init__(self, book: Book, name: str):
        self.book, self.name, settings = book, name, book.config.pictures
        self.n, self.length = settings.contents, settings.ratio * SIDE
        self.law = Field(name) if name == SKY else Quilt("brick", settings.stride, settings.followers)

    @property
    def protocol(self) -> dict[str, object]:
        return sampling(self.book.config, BOUND) | {"score": "exact pieces", "overlap": HALF, "length": self.length}

    @cache  # noqa: B019 - as long as the section
    def maker(self) -> Maker:
        if isinstance(self.law, Field):
            piece, part = (field_score(self.law.covariance(width), width) for width in (SIDE, HALF))
        else:
            piece, part = (EmpiricalData(PROCESS, points) for points in (self.law.pairs, self.law.tiles))
        return Maker(make_sampler(self.book.config, PROCESS), 1, piece, part, piece, BOUND)

    def numbers(self, x: Tensor) -> dict[str, float]:
        of_law = self.law.lag_errors(x) if isinstance(self.law, Field) else {"joins": self.law.joins(x)}
        return of_law | {"seam": seam(x, range(HALF, x.shape[-1], HALF)), "wrap_seam": wrap_seam(x)}

    def generator(self, *names: object) -> torch.Generator:
        return make_generator("diffcollage", "pictures", self.name, *names)

    def fill(
        self,
        what: str,
        method: str,
        make: Callable[[torch.Generator], Tensor],
        judge: Callable[[Tensor], Mapping[str, float]],
        shown: Callable[[Tensor], Tensor] = lambda x: x[:SHOWN],
        n: int | None = None,
        **protocol: object,
    ) -> None:
        """A cell of what is found in the contents of every seed, `n` of each if not as many as of other pictures."""
        with self.cell(what, method, n=n, **protocol) as cell:
            if cell.todo:
                made = [make(self.generator(what, seed)) for seed in self.book.config.pictures.seeds]
                cell.add_each([judge(x) for x in made])
                cell.arrays[f"pictures/{self.name}/{what}/{method}"] = shown(made[-1]).numpy()

    def cell(self, what: str, method: str, table: str = "pictures", n: int | None = None, **protocol: object) -> Cell:
        """A keyword of None takes what it names out of the protocol."""
        about = {name: value for name, value in (self.protocol | protocol).items() if value is not None}
        # the random numbers of a seed are the same for all methods
        return self.book.cell(table, self.name, method, what, None, about, n=n or self.n, matched=f"{self.name}, {what}")


def field_score(covariance: Tensor, width: int) -> Score:
    return score_on_axes(PROCESS, GaussianLaw.full(torch.zeros(1, SIDE, width), covariance))


def pictures(book: Book, name: str) -> None:
    """Panoramas by three methods beside draws of the law, the circle closed, and the sky on a cube."""
    of = Scenery(book, name)
    graph = chain(SIDE, of.length, SIDE, HALF)

    def panorama(method: str, generator: torch.Generator) -> Tensor:
        return of.maker().chained(method, graph, of.n, generator).x

    def faces(method: str, generator: torch.Generator) -> Tensor:
        return cube(method, cubes(of.n), of.maker(), generator).x

    of.fill("wide", "exact draws", partial(of.law.draw, of.n, of.length), of.numbers)
    for method in progress(MADE, desc=f"pictures, {name}"):
        of.fill("wide", method, partial(panorama, method), of.numbers, graph=joined(method))
    ring = cycle(SIDE, of.length, SIDE, HALF)
    of.fill("circle", "DiffCollage", lambda noise: looped(of.maker(), ring, of.n, noise).x, closed(of), graph="cycle")
    if name == SKY:
        book.arrays["pictures/sky/palette"] = sky_palette()
        for method in MADE:
            about = {"n": cubes(of.n), "graph": ON_CUBES[method], "length": None}
            of.fill("cube", method, partial(faces, method), edges, partial(equirectangular_of, SHOWN), **about)


def closed(of: Scenery) -> Callable[[Tensor], dict[str, float]]:
    """The numbers of circles, the first half piece once more at the end: the wrap is a join like the others."""
    return lambda x: of.numbers(torch.cat((x, x[..., :HALF]), -1)) | {"wrap_seam": wrap_seam(x)}


def cube(method: str, n: int, maker: Maker, generator: torch.Generator) -> Made:
    return on_a_cube(maker, method, SIDE, HALF, n, generator)


def cubes(contents: int) -> int:
    """Half as many as of other pictures: a cube has three rings."""
    return max(1, contents // 2)


def edges(x: Tensor) -> dict[str, float]:
    """Seams at the twelve edges of cubes, each ring closed."""
    rings = x.flatten(2)[:, :, cubemap(SIDE).factors]
    return {"seam": seam(torch.cat((rings, rings[..., :1]), -1), range(SIDE, 4 * SIDE + 1, SIDE))}


def equirectangular_of(n: int, x: Tensor) -> Tensor:
    return equirectangular(x[:n], FACE_PIXELS * SIDE)


# --- strokes -----------------------------------------------------------------------------------------------------------------


def strokes(book: Book, name: str) -> None:
    """Section 4.5.2: walls from strokes of a wall, by SDEdit: noised up to a time, then sampled on, split or as a collage."""
    of, settings = Scenery(book, name), book.config.strokes
    graph = chain(SIDE, of.length, SIDE, HALF)

    def painted(seed: int) -> Tensor:
        """Means of blocks of walls that the law itself gives."""
        x = of.law.draw(of.n, of.length, make_generator("diffcollage", "strokes", name, seed))
        return nn.functional.interpolate(nn.functional.avg_pool2d(x, settings.block), scale_factor=settings.block)

    for start in settings.starts:
        maker = replace(of.maker(), sampler=make_sampler(book.config, PROCESS, start))
        for how in ("Split", "DiffCollage"):
            with of.cell(START(start=start), how, table="strokes", block=settings.block, steps=maker.sampler.steps) as cell:
                if not cell.todo:
                    continue
                found = []
                for seed in book.config.pictures.seeds:
                    guide = painted(seed)
                    x = from_strokes(maker, how, graph, guide, of.generator("strokes", start, seed)).x
                    coarse = nn.functional.avg_pool2d(x - guide, settings.block)
                    found.append({"to_strokes": coarse.square().mean().sqrt().item()} | of.numbers(x))
                cell.add_each(found)
                cell.arrays[f"strokes/{how}/{start:g}"] = x[:SHOWN].numpy()
    book.arrays["strokes/given"] = painted(book.config.pictures.seeds[-1])[:SHOWN].numpy()


# --- a texture that changes --------------------------------------------------------------------------------------------------


def change(book: Book, dataset: str) -> None:
    """Between a given square of sky and one of gravel, each piece under a condition y from 0 to 1 (fig. 4.6).

    A piece under y is the Gaussian of covariance (1 - y) S_sky + y S_gravel: in place of interpolated embeddings. A variable is
    under the mean of its two factors' conditions.
    """
    config = book.config
    n, seeds, pieces = config.pictures.contents, config.pictures.seeds, config.change.pieces
    sky, gravel = Field("sky"), Field("gravel")
    graph = chain(SIDE, (pieces + 1) * HALF, SIDE, HALF)

    @cache
    def under(y: float, width: int) -> Score:
        return field_score((1 - y) * sky.covariance(width) + y * gravel.covariance(width), width)

    def piece(u: Tensor, t: float, y: Tensor) -> Tensor:
        found = torch.empty_like(u)
        for value in y.unique().tolist():
            rows = y[:, 0] == value
            found[rows] = under(value, u.shape[-1])(u[rows], t)
        return found

    maker = Maker(make_sampler(config, PROCESS), 1, piece, piece, piece, BOUND)

    def make(method: str, y: Tensor, seed: int) -> Made:
        generator = make_generator("diffcollage", "change", seed)
        x = torch.zeros(n, 1, *graph.size)
        x[..., :SIDE], x[..., -SIDE:] = (field.draw(n, SIDE, generator) for field in (sky, gravel))
        factors = {j: value.reshape(1, 1) for j, value in enumerate(y)}
        shared = {i: value.reshape(1, 1) for i, value in enumerate((y[:-1] + y[1:]) / 2)}
        return connected(maker, method, graph, x, generator, factors, [shared])

    straight = torch.linspace(0, 1, pieces, dtype=torch.float64)
    rows = {("DiffCollage", "interpolated"): straight, ("DiffCollage", "switched"): straight.round()}
    rows |= {("Replacement", "interpolated"): straight}
    expected = torch.stack([1 - field.lags[0, 1] / STD**2 for field in (sky, gravel)])
    about = sampling(config, BOUND) | {"score": "exact pieces", "pieces": pieces, "overlap": HALF}
    for (method, variant), y in rows.items():
        with book.cell("fig4.6", dataset, method, variant, None, about, n=n) as cell:
            if cell.todo:
                made = [make(method, y, seed).x for seed in seeds]
                cell.add_each([profile(x, expected) for x in made])
                cell.arrays[f"change/{method}, {variant}"] = made[-1][:SHOWN].numpy()
    book.arrays["change/expected"] = (expected[0] + straight * (expected[1] - expected[0])).numpy()


def profile(x: Tensor, expected: Tensor) -> dict[str, float]:
    """Roughness along contents (n, 1, SIDE, length): of each half piece the mean square step over twice the variance.

    `largest_step`: the largest change from one half piece to the next, by that from the first law's to the second's,
    `expected`.
    """
    halves = x.unflatten(-1, (-1, HALF)).diff(dim=-1).square().mean((0, 1, 2, 4)) / (2 * STD**2)
    steps = halves.diff() / (expected[1] - expected[0])
    return {f"roughness_{k}": value.item() for k, value in enumerate(halves)} | {"largest_step": steps.abs().max().item()}
