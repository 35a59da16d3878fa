"""Run DiffCollage and its baselines: one job, one or several parts of the paper."""

from reproductions.diffcollage.config import Config, Job
from reproductions.diffcollage.motion import DATASET, motion
from reproductions.diffcollage.panoramas import lengths, panoramas
from reproductions.diffcollage.pieces import Context, Pieces
from reproductions.diffcollage.shapes import SHAPES
from rescore.errors import MissingData
from rescore.jobs import Notebook, Result, Run


def measure(job: Job, config: Config, run: Run) -> Result:
    """All parts that one job measures; motion without its data is skipped with the reason."""
    context = Context(config, run, Notebook())
    loaded: dict[str, Pieces] = {}

    def pieces(texture: str) -> Pieces:
        if texture not in loaded:
            loaded[texture] = Pieces.load(texture, context)
        return loaded[texture]

    for texture in job.panoramas:
        panoramas(context, pieces(texture))
    if job.lengths:
        lengths(context, pieces(job.panoramas[0]))
    for shape, texture in job.shapes.items():
        SHAPES[shape](context, pieces(texture))
    if job.motion:
        try:
            motion(context)
        except MissingData as error:
            context.book.skipped.append({"dataset": DATASET, "reason": str(error)})
    return context.book.result
