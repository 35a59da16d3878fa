"""Pictures of 32 pixels height from networks of the photographs' pieces, beside those of exact ones (figs. 4.4 and 4.9)."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from rescore.collage import Made, Maker, chain, cycle, looped
from rescore.data.pixels import to_unit
from rescore.data.textures import strips
from rescore.experiments.book import Book
from rescore.progress import progress
from rescore.random import make_generator
from rescore.scores import Score
from torch import Tensor

from reproductions.diffcollage.config import PHOTOGRAPHS, pieces_of
from reproductions.diffcollage.images import Images, joined
from reproductions.diffcollage.photographs import HALF, SIDE, sky_palette
from reproductions.diffcollage.scenery import MADE, PROCESS, SHOWN, SKY, Scenery, closed, cube, cubes, edges, equirectangular_of

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which networks are compared with exact scores
COMPARED = 64  # squares, of each training
around = partial(equirectangular_of, SHOWN)


class Networks(Images):
    """A scene whose squares have one network and whose overlaps another, both trained on all those of its photograph.

    Contents begin at the noise of those of exact pieces with the same seed: the two can be seen side by side.

    Attributes:
        scenery: the exact law, and the numbers of contents.
    """

    def __init__(self, book: Book, name: str):
        super().__init__(book, pieces_of(name))
        self.scenery, self.dataset, self.n = Scenery(book, name), name, book.config.pictures.contents
        self.protocol |= {"overlap": HALF, "length": self.scenery.length}

    def noise(self, what: str, seed: int) -> torch.Generator:
        """As of `Scenery.generator`, where the networks are."""
        return self.generator("pictures", self.dataset, what, seed)

    def pictures(
        self,
        what: str,
        method: str,
        make: Callable[[Maker, torch.Generator], Made],
        judge: Callable[[Tensor], Mapping[str, float]],
        shown: Callable[[Tensor], Tensor] = lambda x: x[:SHOWN],
        n: int | None = None,
        **protocol: object,
    ) -> None:
        """A cell of what is found in the contents of every training."""
        with self.cell("pictures", method, f"{what}, trained", n, **protocol) as cell:
            if cell.todo:
                made = [make(pieces, self.noise(what, seed)).x for seed, pieces in self.each]
                cell.add_each([judge(x) for x in made])
                cell.arrays[f"trained/{self.dataset}/{what}/{method}"] = shown(made[0]).numpy()

    def distances(self, pieces: Maker, seed: int) -> dict[str, float]:
        """How far networks are from the exact scores of squares and of overlaps, at squares of the exact law."""
        law, exact = self.scenery.law, self.scenery.maker()
        generator = make_generator("diffcollage", "trained", self.dataset, "pieces", seed)
        x = law.draw(COMPARED, SIDE, generator)
        halves = noise_distance(pieces.part, exact.part, x[..., :HALF], generator, self.run.device)
        return {
            "to_exact": noise_distance(pieces.piece, exact.piece, x, generator, self.run.device),
            "to_exact_overlaps": halves,
        }


def noise_distance(network: Score, exact: Score, x: Tensor, generator: torch.Generator, device: str) -> float:
    """Mean square, a pixel, of the difference of two predictions of the noise, at x noised to `TIMES`; the noise has 1."""
    found = []
    for t in TIMES:
        u, _ = PROCESS.perturb(x, t, generator)
        difference = network(u.to(device), t).to(u) - exact(u, t)
        found.append(PROCESS.R(t)(difference).square().mean())
    return torch.stack(found).mean().item()


def trained(book: Book, name: str) -> None:
    """What `scenery.pictures` makes, by networks; how far these are from the exact pieces; and the photograph's own numbers."""
    of, n = Networks(book, name), book.config.pictures.contents
    numbers, length = of.scenery.numbers, of.scenery.length
    graph, ring = chain(SIDE, length, SIDE, HALF), cycle(SIDE, length, SIDE, HALF)

    def wide(method: str, pieces: Maker, noise: torch.Generator, n: int = n) -> Made:
        return pieces.chained(method, graph, n, noise)

    def circle(pieces: Maker, noise: torch.Generator, n: int = n) -> Made:
        return looped(pieces, ring, n, noise)

    def on_cube(method: str, pieces: Maker, noise: torch.Generator, n: int = cubes(n)) -> Made:
        return cube(method, n, pieces, noise)

    photograph(book, of.scenery)
    composed = {"wide": partial(wide, "DiffCollage"), "circle": circle}
    composed |= {"cube": partial(on_cube, "DiffCollage")} if name == SKY else {}
    with of.cell("pictures", "networks", "pieces, trained", n=COMPARED, times=",".join(map(str, TIMES))) as cell:
        if cell.todo:
            cell.add_each([of.distances(pieces, seed) for seed, pieces in of.each])
            for what, make in composed.items():
                x = make(of.scenery.maker(), of.noise(what, of.seeds[0][1]), n=SHOWN).x
                cell.arrays[f"trained/{name}/{what}/exact pieces"] = (around(x) if what == "cube" else x).numpy()
    for method in progress(MADE, desc=f"pictures of networks, {name}"):
        of.pictures("wide", method, partial(wide, method), numbers, graph=joined(method))
    of.pictures("circle", "DiffCollage", circle, closed(of.scenery), graph="cycle")
    if name == SKY:
        book.arrays["trained/sky/palette"] = sky_palette()
        for method in MADE:
            of.pictures("cube", method, partial(on_cube, method), edges, around, n=cubes(n))


def photograph(book: Book, scenery: Scenery) -> None:
    """The numbers of all strips of the photograph that are as high as a piece and as wide as it is."""
    x = to_unit(torch.from_numpy(strips(PHOTOGRAPHS[scenery.name], SIDE)))
    protocol = {"length": x.shape[-1], "overlap": HALF}
    with book.cell("pictures", scenery.name, "real images", "wide", None, protocol, n=len(x), over="exact") as cell:
        for metric, value in scenery.numbers(x).items() if cell.todo else ():
            cell.exact(metric, value)
        cell.arrays[f"trained/{scenery.name}/photograph"] = x[len(x) // 2][None].numpy()
