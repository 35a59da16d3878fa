"""360-degree pictures from a doodle: a cube whose pieces are under the label map that they hold (fig. 4.9, bottom)."""

from collections.abc import Callable
from functools import lru_cache

import torch
from rescore.collage import Maker, averaged_score, composed_score, cubemap, cycle, equirectangular
from rescore.collage.cubemap import FACES
from rescore.experiments.book import Book
from rescore.problems.gaussian import GaussianLaw, score_on_axes
from rescore.random import make_generator
from rescore.scores import Score
from torch import Tensor, nn

from reproductions.diffcollage.images import make_sampler, sampling
from reproductions.diffcollage.photographs import HALF, SIDE, Field
from reproductions.diffcollage.scenery import BOUND, FACE_PIXELS, PROCESS, SHOWN, cubes, edges
from reproductions.diffcollage.shapes import ON_CUBES

LABELS = ("sky", "gravel")  # fields, by label
MEANS = torch.tensor([0.5, -0.5])  # of their pixels
BLOCK = 8  # pixels, high and wide, whose mean must tell the label
HILL = 9.0  # rows high, on the front face


def painted() -> Tensor:
    """The label of each position of a cube, (6, SIDE, SIDE): ground below a horizon with a hill in front, sky above."""
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    labels = (row >= SIDE // 2).long().repeat(len(FACES), 1, 1)
    top = SIDE / 2 - HILL * torch.exp(-(((column - SIDE / 2) / (SIDE / 6)) ** 2))
    labels[FACES.index("F")] = row >= top
    labels[FACES.index("U")], labels[FACES.index("D")] = 0, 1
    return labels


class Labelled:
    """The exact score of pieces (n, 1, SIDE, w) under their label maps y (n, SIDE, w).

    The pixels of each label are those of its own Gaussian field, whose mean is the label's; the two know nothing of each other.
    """

    def __init__(self):
        self.fields = [Field(name) for name in LABELS]
        self._under = lru_cache(None)(self._make)

    def law(self, label: int, pixels: Tensor, width: int) -> GaussianLaw:
        """Of those pixels (SIDE width) bool of a piece that have a label, in a row."""
        covariance = self.fields[label].covariance(width)[pixels][:, pixels]
        return GaussianLaw.full(MEANS[label].expand(1, len(covariance)), covariance)

    def __call__(self, u: Tensor, t: float, y: Tensor) -> Tensor:
        found, (maps, which) = torch.empty_like(u), y.unique(dim=0, return_inverse=True)
        for k, labels in enumerate(maps.tolist()):
            rows = which == k
            found[rows] = self._under(tuple(map(tuple, labels)))(u[rows], t)
        return found

    def _make(self, labels: tuple[tuple[int, ...], ...]) -> Score:
        flat, width = torch.tensor(labels).flatten(), len(labels[0])
        places = [(k, pixels) for k in range(len(LABELS)) if (pixels := flat == k).any()]
        scores = [(pixels, score_on_axes(PROCESS, self.law(k, pixels, width))) for k, pixels in places]

        def score(u: Tensor, t: float) -> Tensor:
            content = u.flatten(2)
            found = torch.empty_like(content)
            for pixels, own in scores:
                found[..., pixels] = own(content[..., pixels], t)
            return found.reshape(u.shape)

        return score


def on_the_cube(piece: Callable[..., Tensor], labels: Tensor) -> Score:
    """The composed score of cubes: three rings, each of pieces under the crops of its map, less the faces under theirs."""
    cube, circle = cubemap(SIDE), cycle(SIDE, 4 * SIDE, SIDE, HALF)

    def crops(y: Tensor, patches: Tensor) -> dict[int, Tensor]:
        return {j: y.flatten(1)[:, patch] for j, patch in enumerate(patches)}

    def ring(u: Tensor, t: float, y: Tensor) -> Tensor:
        own = [crops(y, group) for group in circle.variables]
        return composed_score(circle, piece, piece, crops(y, circle.factors), shared=own)(u, t)

    whole = labels[None]
    return composed_score(cube, ring, piece, crops(whole, cube.factors), shared=[crops(whole, cube.variables[0])])


def doodle(book: Book, name: str) -> None:
    """The composed cube beside faces by themselves, both under the same label map."""
    config, settings, labels, piece = book.config, book.config.pictures, painted(), Labelled()
    n, cube = cubes(settings.contents), cubemap(SIDE)
    faces = {i: labels[i][None] for i in range(len(FACES))}
    scores = {"Baseline": averaged_score(cube.size, cube.variables[0], piece, faces), "DiffCollage": on_the_cube(piece, labels)}
    maker = Maker(make_sampler(config, PROCESS), 1, piece, piece, piece, BOUND)
    for method, score in scores.items():
        about = sampling(config, BOUND) | {"score": "exact pieces", "overlap": HALF, "graph": ON_CUBES[method]}
        with book.cell("doodle", name, method, "", None, about, n=n) as cell:
            if cell.todo:
                made = [maker.sample(score, cube.size, n, make_generator("diffcollage", "doodle", s)).x for s in settings.seeds]
                cell.add_each([edges(x) | {"labels": right_labels(x, labels)} for x in made])
                cell.arrays[f"doodle/{method}"] = equirectangular(made[-1][:SHOWN], FACE_PIXELS * SIDE).numpy()
    book.arrays["doodle/labels"] = equirectangular(labels, FACE_PIXELS * SIDE).numpy()


def right_labels(x: Tensor, labels: Tensor) -> float:
    """The share of blocks of one label, of cubes (n, 1, 6, SIDE, SIDE), of a mean nearer to that label's than the other's."""
    means, shares = (nn.functional.avg_pool2d(each.flatten(0, -4).float(), BLOCK) for each in (x, labels[None]))
    said = (means < MEANS.mean()).float()
    return (said == shares)[((shares == 0) | (shares == 1)).expand_as(said)].float().mean().item()
