"""Table 6.2 with a network trained on the digits: FID and inception score of every cell."""

import time
from collections.abc import Iterator

import numpy as np
import torch

from reproductions.deis.config import Config
from reproductions.deis.problems import table_cells
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.jobs import Measurement, Run
from rescore.metrics.features import ClassifierSettings
from rescore.models.build import load_model
from rescore.models.judge import draw, make_judge
from rescore.random import make_generator

METRICS = ("fid", "is")
MODEL = "vp"
SHOWN = 8  # samples kept for the figure


def trained_table(config: Config, run: Run, arrays: dict[str, np.ndarray]) -> Iterator[Measurement]:
    """The cells of Table 6.2, and real images that the reference does not hold in the place of samples.

    All samplers of a seed start from the same noise. `arrays` receives some samples of each cell.
    """
    spec, settings = config.models[MODEL], config.trained
    train, test = (load_images(spec.data, split) for split in ("train", "test"))
    process, score = load_model(spec, run.models[MODEL], train, run.device)
    judge = make_judge("classifier", train, test, ClassifierSettings(settings.classifier_steps), run.folder.parent / "judges")
    common = {"process": "vp", "score": "trained", "t0": config.t0, "denoise": "none", "grid": config.table_grid} | spec.protocol

    def measurement(method: str, variant: str, metric: str, nfe: int | None, values: list[float], n: int, protocol: dict,
                    started: float) -> Measurement:  # fmt: skip
        stderr = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        seconds = time.perf_counter() - started
        return Measurement("6.2", spec.data, method, variant, metric, nfe, float(np.mean(values)), stderr, len(values),
                           len(values) * n, protocol, seconds)  # fmt: skip

    for method, variant, sampler in table_cells(config, process):
        started, by_seed = time.perf_counter(), []
        for seed in config.seeds:
            generator = make_generator("deis", spec.data, seed, device=run.device)
            x = draw(sampler, score, train.shape, settings.samples, generator)
            by_seed.append(judge(x, METRICS))
        arrays[f"{spec.data}/{variant or method}/{sampler.nfe}"] = x[:SHOWN].numpy()
        for metric in METRICS:
            protocol = common | judge.protocol(metric, x)
            values = [found[metric] for found in by_seed]
            yield measurement(method, variant, metric, sampler.nfe, values, len(x), protocol, started)
    arrays[f"{spec.data}/real"] = to_unit(test.images[:SHOWN]).numpy()
    started = time.perf_counter()
    for metric, value in judge.of_real(METRICS).items():
        protocol = judge.protocol(metric, torch.empty(len(test)))
        yield measurement("real images", "", metric, None, [value], len(test), protocol, started)
