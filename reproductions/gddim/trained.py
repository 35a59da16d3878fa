"""Tables 7.1 to 7.3 with networks of VP, BDM and CLD that are trained alike: FID and inception score, over training seeds."""

from collections.abc import Iterable, Iterator

from reproductions.gddim import tables
from reproductions.gddim.config import Config
from reproductions.gddim.tables import TableCell
from rescore.experiments.run import Measurement
from rescore.models.evaluate import Cell, TrainedModels

MODELS = {"DDPM": "vp", "BDM": "bdm", "CLD": "cld"}


def trained_tables(config: Config, models: TrainedModels) -> Iterator[Measurement]:
    """The tables' cells on the models that the job has, and real images in the place of samples."""

    def cells(table: str, model: str, of_table: Iterable[TableCell]) -> Iterator[Cell]:
        for cell in of_table:
            yield Cell(table, cell.method, cell.variant, model, cell.sampler, {"grid": "quadratic"} | cell.options)

    if "cld" in models.names:  # both tables are of CLD
        process = models.process("cld")
        yield from models.measure(cells("7.1", "cld", tables.factors(config, process, orders=(3,))), "Table 7.1, trained")
        yield from models.measure(cells("7.2", "cld", tables.lambdas(config, process)), "Table 7.2, trained")
    for name, model in MODELS.items():
        if model in models.names:
            grid = tables.grid(config, name, models.process(model))
            yield from models.measure(cells("7.3", model, grid), f"Table 7.3, {name}, trained")
    yield from models.floor("7.3")
    yield from models.training()
