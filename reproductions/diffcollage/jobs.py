"""Run DiffCollage and its baselines: one job, one or several parts of the paper."""

from reproductions.diffcollage.config import Config, Job
from reproductions.diffcollage.exact import exact_pieces
from reproductions.diffcollage.humanml import DATASET as HUMANML
from reproductions.diffcollage.humanml import humanml
from reproductions.diffcollage.motion import DATASET as BASIC
from reproductions.diffcollage.motion import motion
from reproductions.diffcollage.panoramas import lengths, panoramas
from reproductions.diffcollage.pieces import Context, Repeats
from reproductions.diffcollage.shapes import SHAPES
from rescore.errors import MissingData
from rescore.experiments.run import Notebook, Result, Run

FIGURES = {"connect": "fig4.6", "inpaint": "fig4.7"}  # the tables of the other shapes are named like them


def measure(job: Job, config: Config, run: Run) -> Result:
    """All parts that one job measures; motions without their data, and what is left of a part that diverges, are skipped with
    the reason."""
    context = Context(config, run, Notebook())
    loaded: dict[str, Repeats] = {}

    def pieces(texture: str) -> Repeats:
        if texture not in loaded:
            loaded[texture] = Repeats.load(texture, context)
        return loaded[texture]

    for texture in job.panoramas:
        with context.book.skipping(dataset=texture):
            panoramas(context, pieces(texture), config.samples)
    for texture in job.exact:
        with context.book.skipping(dataset=texture):
            panoramas(context, exact_pieces(texture, context), config.exact_samples)
    if job.lengths:
        with context.book.skipping(table="fig4.5", dataset=job.panoramas[0]):
            lengths(context, pieces(job.panoramas[0]).first)
    for shape, texture in job.shapes.items():
        with context.book.skipping(table=FIGURES.get(shape, shape), dataset=texture):
            SHAPES[shape](context, pieces(texture))
    for wanted, part, dataset in ((job.motion, motion, BASIC), (job.humanml, humanml, HUMANML)):
        if wanted:
            try:
                with context.book.skipping(dataset=dataset):
                    part(context)
            except MissingData as error:
                context.book.skipped.append({"dataset": dataset, "reason": str(error)})
    return context.book.result
