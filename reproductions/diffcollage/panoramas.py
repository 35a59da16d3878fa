"""Wide images: Tables 4.1 and 4.2, fig. 4.5, and quality along the image."""

import time

import torch

from reproductions.diffcollage.pieces import ALL, METHODS, Context, Pieces, Repeats, crops, make_judge, seam, wrap_seam
from rescore.progress import progress
from rescore.random import make_generator

TABLES = {"brick": "4.1", "grass": "4.2", "gravel": "4.2", "lhq": "4.2", "tower": "4.2"}
SHOWN = 3  # panoramas of each method in the figure
TIMED = 32  # panoramas at a time, for fig. 4.5


def panoramas(context: Context, repeats: Repeats, n: int) -> None:
    """All methods on one texture or scene, n images of each in every repeat.

    FID+, FID of the squares, seams, and FID at the middle and the ends of the images; and what real images have of them.
    """
    config, run, book, pieces = context.config, context.run, context.book, repeats.first
    judge, over = make_judge(context, pieces), repeats.over
    key, variant = (TABLES[pieces.name], pieces.name), pieces.variant
    arrays = "/".join(filter(None, (pieces.name, variant)))
    side, overlap = pieces.side, pieces.overlap
    length, stride = side * config.ratio, side - overlap
    # a square begins at every stride, and the last but one ends an overlap before the last
    borders = {method: range(stride, length, stride) for method in ALL} | {"Baseline": range(side, length, side)}
    began, squares = time.perf_counter(), []
    for seed, one in repeats.each:
        generator = make_generator("diffcollage", pieces.name, "squares", seed, device=run.device)
        x = one.sample(one.square, (n * config.crops, *pieces.train.shape), generator)
        squares.append(judge(x, ["fid"])["fid"])
    square_seconds = time.perf_counter() - began
    fid_protocol = pieces.protocol | dict(judge.protocol("fid", x))
    book.arrays[f"squares/{arrays}"] = x[: 2 * SHOWN].numpy()

    few = fid_protocol | {"n_samples": n, "W/H": config.ratio, "overlap": overlap}
    many = fid_protocol | {"crops": config.crops, "W/H": config.ratio, "overlap": overlap}

    for method in progress(ALL, desc=f"panoramas, {pieces.name}"):
        began = time.perf_counter()
        metrics = ("fid_plus", "fid_middle", "fid_ends", "drift", "seam", "wrap_seam")
        found: dict[str, list[float]] = {metric: [] for metric in metrics}
        for seed, one in repeats.each:
            names = ("diffcollage", pieces.name, "wide", seed)
            x, passes = one.wide(method, n, config.ratio, make_generator(*names, device=run.device))
            found["fid_plus"].append(judge(crops(x, side, make_generator(*names, "crops"), config.crops), ["fid"])["fid"])
            middle = (length - side) // 2
            ends = torch.where(torch.arange(n).reshape(-1, 1, 1, 1) % 2 == 0, x[..., :side], x[..., -side:])
            found["fid_middle"].append(judge(x[..., middle : middle + side], ["fid"])["fid"])
            found["fid_ends"].append(judge(ends, ["fid"])["fid"])
            found["drift"].append(found["fid_ends"][-1] - found["fid_middle"][-1])
            found["seam"].append(seam(x, borders[method]))
            found["wrap_seam"].append(wrap_seam(x))
        seconds = time.perf_counter() - began
        for metric, values in found.items():
            protocol = pieces.protocol | {"W/H": config.ratio, "overlap": overlap} if "seam" in metric else few
            protocol = many if metric == "fid_plus" else protocol
            book.record(*key, method, variant, metric, None, values, n * len(repeats), protocol, seconds, over=over)
        if method in METHODS:
            book.record(*key, method, variant, "fid", None, squares, n * config.crops * len(repeats), fid_protocol,
                        square_seconds, over=over)  # fmt: skip
        book.exact(*key, method, variant, "sequential passes", passes, pieces.protocol | {"W/H": config.ratio})
        book.arrays[f"wide/{arrays}/{method}"] = x[:SHOWN].numpy()

    if variant:  # what is real has none
        return
    for real in judge.of_real(["fid"], n * config.crops):
        book.record(*key, "real images", real.variant, "fid", None, [real.value], real.n, real.protocol, over="runs")
    if (strips := pieces.strips(config.ratio)) is None:
        return
    pick = torch.randperm(len(strips), generator=make_generator("diffcollage", pieces.name, "strips"))[:SHOWN]
    book.arrays[f"wide/{pieces.name}/real"] = strips[pick].numpy()
    about = {"W/H": config.ratio, "overlap": overlap}
    # every strip of the photograph is in it: a count, without an error
    book.exact(*key, "real images", "", "seam", seam(strips, borders["DiffCollage"]), about)
    book.exact(*key, "real images", "", "wrap_seam", wrap_seam(strips), about)


def lengths(context: Context, pieces: Pieces) -> None:
    """Fig. 4.5: passes, and seconds of a batch, against length. Seconds are drawn but are no records: they never repeat."""
    ratios, book = context.config.ratios, context.book
    protocol, passes = pieces.protocol | {"batch": TIMED}, {}
    for method in progress(ALL, desc="lengths"):
        seconds = []
        for ratio in ratios:
            generator = make_generator("diffcollage", "lengths", method, ratio, device=context.run.device)
            began = time.perf_counter()
            _, passes[method, ratio] = pieces.wide(method, TIMED, ratio, generator)
            seconds.append((time.perf_counter() - began) / TIMED)
            book.exact("fig4.5", pieces.name, method, f"W/H {ratio}", "sequential passes", passes[method, ratio], protocol)
        book.arrays[f"lengths/{method}/seconds"] = torch.tensor(seconds).numpy()
        book.arrays[f"lengths/{method}/passes"] = torch.tensor([passes[method, ratio] for ratio in ratios]).numpy()
    book.arrays["lengths/ratios"] = torch.tensor(ratios).numpy()
    ratio = 6  # the text's
    for rival in ("Replacement", "Reconstruction"):
        if ("DiffCollage", ratio) in passes:
            metric = f"speedup_over_{rival.lower()}_at_{ratio}"
            faster = passes[rival, ratio] / passes["DiffCollage", ratio]
            book.exact("text", pieces.name, "DiffCollage", "", metric, faster, protocol | {"of": "sequential passes"})
