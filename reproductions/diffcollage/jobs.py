"""Run DiffCollage and its baselines: one job, one or several parts of the paper."""

from reproductions.diffcollage.config import Config, Job
from reproductions.diffcollage.motion import DATASET, motion
from reproductions.diffcollage.panoramas import lengths, panoramas
from reproductions.diffcollage.pieces import Notebook, Pieces
from reproductions.diffcollage.shapes import SHAPES
from rescore.errors import MissingData
from rescore.jobs import Result, Run


def measure(job: Job, config: Config, run: Run) -> Result:
    """All parts that one job measures; motion without its data is skipped with the reason."""
    book = Notebook(config, run)
    loaded: dict[str, Pieces] = {}

    def pieces(texture: str) -> Pieces:
        if texture not in loaded:
            loaded[texture] = Pieces.load(texture, config, run)
        return loaded[texture]

    for texture in job.panoramas:
        panoramas(book, pieces(texture))
    if job.lengths:
        lengths(book, pieces(job.panoramas[0]))
    for shape, texture in job.shapes.items():
        SHAPES[shape](book, pieces(texture))
    if job.motion:
        try:
            motion(book)
        except MissingData as error:
            book.skipped.append({"dataset": DATASET, "reason": str(error)})
    return Result(book.measurements, book.skipped, 0, book.arrays)
