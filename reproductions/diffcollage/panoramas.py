"""Wide images: Tables 4.1 and 4.2, fig. 4.5, and quality along the image."""

import time
from functools import cache, partial

import torch
from rescore.collage import AUTOREGRESSIVE, METHODS, Made, Maker
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.metrics.seams import seam, wrap_seam
from rescore.models.judged_cells import floor
from rescore.progress import progress
from rescore.random import make_generator
from torch import Tensor

from reproductions.diffcollage.images import SHOWN, ExactImages, Images

TABLES = {"brick": "4.1", "grass": "4.2", "gravel": "4.2", "lhq": "4.2", "tower": "4.2"}
RATIO = Axes("W/H {ratio}")
TABULATED = tuple(method for method in METHODS if method != "Averaging")  # by the paper
TIMED = 32  # panoramas at a time, for fig. 4.5
TEXT_RATIO = 6  # of the speed-ups that the text states


def panoramas(book: Book, name: str) -> None:
    """Wide images, and what real images have of their metrics."""
    images = Images(book, name)
    wide(images)
    config, table = book.config, TABLES[name]
    floor(book, images.judge, table, name, images.n * config.crops, ["fid"])
    if (strips := images.strips(config.ratio)) is None:
        return
    pick = torch.randperm(len(strips), generator=make_generator("diffcollage", name, "strips"))[:SHOWN]
    book.arrays[f"wide/{name}/real"] = strips[pick].numpy()
    with book.cell(table, name, "real images", protocol={"W/H": config.ratio, "overlap": images.overlap}, over="exact") as cell:
        if cell.todo:  # every strip of the photograph is in it: a count, without an error
            cell.exact("seam", seam(strips, borders(images, "DiffCollage")))
            cell.exact("wrap_seam", wrap_seam(strips))


def exact(book: Book, name: str) -> None:
    """The same wide images from exact scores of the training patches."""
    wide(ExactImages(book, name))


def wide(images: Images) -> None:
    """All methods: FID+, FID of the squares themselves, seams, and FID at the middle and the ends of the images."""
    config, n, name = images.config, images.n, images.name
    shown = "/".join(filter(None, (name, images.variant)))
    about = {"W/H": config.ratio, "overlap": images.overlap}
    side, length = images.side, images.side * config.ratio

    @cache
    def squares() -> tuple[list[float], Tensor]:
        """Squares of the pieces' model, as many as crops: their FID at each repeat, and the last ones."""
        values = []
        for seed, pieces in images.each:
            x = pieces.sample(pieces.piece, (side, side), n * config.crops, images.generator(name, "squares", seed)).x
            values.append(images.fid(x))
        return values, x

    def make(method: str, pieces: Maker, seed: int) -> Made:
        return pieces.chained(method, images.chain(config.ratio), n, images.generator(name, "wide", seed))

    def judge(method: str, x: Tensor, seed: int) -> dict[str, float]:
        middle, even = (length - side) // 2, torch.arange(n).reshape(-1, 1, 1, 1) % 2 == 0
        found = {
            "fid_plus": images.fid_plus(x, name, "wide", seed),
            "fid_middle": images.fid(x[..., middle : middle + side]),
            "fid_ends": images.fid(torch.where(even, x[..., :side], x[..., -side:])),
        }
        seams = {"seam": seam(x, borders(images, method)), "wrap_seam": wrap_seam(x)}
        return found | {"drift": found["fid_ends"] - found["fid_middle"]} | seams

    for method in progress(METHODS, desc=f"panoramas, {name}"):
        with images.cell(TABLES[name], method) as cell:
            if not cell.todo:
                continue
            of_squares = dict(images.judge.protocol("fid", torch.arange(n * config.crops)))
            of_parts = of_squares | {"n_samples": n} | about
            protocols = {"fid_plus": of_squares | about | {"crops": config.crops}, "seam": about, "wrap_seam": about}
            protocols |= dict.fromkeys(("fid_middle", "fid_ends", "drift"), of_parts)
            made = images.fill(cell, partial(make, method), partial(judge, method), protocols)
            if method in TABULATED:
                values, x = squares()
                cell.add("fid", values, n=n * config.crops, **of_squares)
                cell.arrays[f"squares/{shown}"] = x[: 2 * SHOWN].numpy()
            cell.exact("sequential passes", made.passes, n=1, **{"W/H": config.ratio})
            cell.arrays[f"wide/{shown}/{method}"] = made.x[:SHOWN].numpy()


def borders(images: Images, method: str) -> range:
    """Where a piece begins: at every stride. The last but one ends an overlap before the last."""
    step = images.side if method == "Baseline" else images.side - images.overlap
    return range(step, images.side * images.config.ratio, step)


def lengths(book: Book, name: str) -> None:
    """Fig. 4.5: passes, and seconds of a batch, against length. Seconds are drawn but are no records: they never repeat."""
    images, ratios = Images(book, name), book.config.lengths.ratios
    book.arrays["lengths/ratios"] = torch.tensor(ratios).numpy()

    @cache
    def timed(method: str, ratio: int) -> tuple[int, float]:
        """Passes, and seconds of one image."""
        _, pieces = next(images.each)
        generator, began = images.generator("lengths", method, ratio), time.perf_counter()
        passes = pieces.chained(method, images.chain(ratio), TIMED, generator).passes
        return passes, (time.perf_counter() - began) / TIMED

    for method in progress(METHODS, desc="lengths"):
        for ratio in ratios:
            with images.cell("fig4.5", method, RATIO(ratio=ratio), n=1, batch=TIMED) as cell:
                if cell.todo:
                    cell.exact("sequential passes", timed(method, ratio)[0])
                    both = zip(*(timed(method, one) for one in ratios), strict=True)
                    for what, values in zip(("passes", "seconds"), both, strict=True):
                        cell.arrays[f"lengths/{method}/{what}"] = torch.tensor(values).numpy()
    if TEXT_RATIO not in ratios:
        return
    with images.cell("text", "DiffCollage", n=1, batch=TIMED, of="sequential passes") as cell:
        for rival in AUTOREGRESSIVE if cell.todo else ():
            faster = timed(rival, TEXT_RATIO)[0] / timed("DiffCollage", TEXT_RATIO)[0]
            cell.exact(f"speedup_over_{rival.lower()}_at_{TEXT_RATIO}", faster)
