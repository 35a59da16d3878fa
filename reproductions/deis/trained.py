"""Table 6.2 with trained networks: FID and inception score of every cell, over training seeds."""

from collections.abc import Iterator

from reproductions.deis.config import Config
from reproductions.deis.problems import table_cells
from rescore.experiments.run import Measurement
from rescore.models.evaluate import Cell, TrainedModels

MODEL = "vp"


def trained_table(config: Config, models: TrainedModels) -> Iterator[Measurement]:
    """The cells of Table 6.2, and real images that the reference does not hold in the place of samples."""
    cells = [
        Cell("6.2", method, variant, MODEL, sampler, {"grid": config.table_grid})
        for method, variant, sampler in table_cells(config, models.process(MODEL))
    ]
    yield from models.measure(cells, "Table 6.2, trained")
    yield from models.floor("6.2")
    yield from models.training()
