"""Long series of human activities from a model of short ones: Table 4.3 in small, on BasicMotions."""

from collections.abc import MutableMapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rescore.collage import LongSeries
from rescore.data.crops import all_stretches
from rescore.data.motion import ACTIVITIES, load_motions
from rescore.experiments.book import Book
from rescore.metrics.series import SeriesJudge
from rescore.networks.conditional import ConditionalNoise
from rescore.networks.mlp import MLP, MLPConfig
from rescore.random import derive_seed, make_generator, seeded
from torch import Tensor
from torch.nn import functional as F

from reproductions.diffcollage.config import Motion
from reproductions.diffcollage.panoramas import TABULATED
from reproductions.diffcollage.series import PROCESS, SHORT, Measured, long_series, protocol, rows, train_on

LOUDEST = 99.5  # percentile of |x| of a channel that becomes 1; what is beyond is clipped
CHANNELS, K = 6, len(ACTIVITIES)
PLAN = [min(j // 3, K - 1) for j in range(3 * K + 1)]
"""The activity of each piece where one follows another: an odd number of them, which pieces side by side fill."""


def motion(book: Book, dataset: str) -> None:
    """Table 4.3's columns on series several times as long as a piece, and one series of all activities.

    Each of the config's seeds trains both networks and draws series of its own from them; there is one judge.
    """
    config, settings, device = book.config, book.config.motion, book.run.device
    (raw, raw_labels), (raw_test, test_labels) = load_motions("train"), load_motions("test")
    loudest = np.percentile(np.abs(raw), LOUDEST, axis=(0, 2), keepdims=True)
    series, test = ((x / loudest).clip(-1, 1) for x in (raw, raw_test))
    labels = torch.from_numpy(raw_labels)
    data = all_stretches(series, settings.width)
    # the windows of the first are the reference of the Frechet distance itself, and the judge was trained on them
    real = {"training series": (data, labels), "": (all_stretches(test, settings.width), torch.from_numpy(test_labels))}
    folder = book.run.folder / "motion-judge"
    judge = SeriesJudge(data, labels, settings.features, settings.classifier_steps, folder, "motion judge")
    about = protocol(config, settings) | {"judge_steps": settings.classifier_steps}

    @cache
    def of_seed(seed: int) -> LongSeries:
        networks = [
            train(settings, all_stretches(series, width), labels, width, seed, book.run.folder, device)
            for width in (settings.width, settings.overlap)
        ]
        return long_series(config, settings, *networks)

    @cache
    def of_real(variant: str) -> list[dict[str, float]]:
        return [judge.of_real(settings.series, *real[variant], make_generator("motion real", seed)) for seed in config.seeds]

    for variant in real:
        with book.cell("4.3", dataset, "Real data", variant, protocol=about, n=settings.series) as cell:
            if cell.todo:
                cell.add_each(of_real(variant))

    def measure(method: str, seed: int, arrays: MutableMapping[str, np.ndarray]) -> Measured:
        y = torch.randint(K, (settings.series,), generator=make_generator("motion activity", seed))
        told, noise, of = F.one_hot(y, K).float(), make_generator("motion", seed, device=device), of_seed(seed)
        made = of.short(told, noise) if method == SHORT else of.make(method, told, noise)
        found = judge(made.x, y, make_generator("motion crops", seed))
        if method != SHORT:
            arrays |= {f"motion/{method}": made.x[:2, :, 0].numpy(), "motion/activities": y[:2].numpy()}
        target = float(np.mean([each["diversity"] for each in of_real("")]))
        return made, found | {"diversity_gap": abs(found["diversity"] - target)}

    rows(book, dataset, about, settings.series, "trainings", measure)
    book.arrays["motion/real"] = np.stack([series[raw_labels == k][0] for k in range(K)])
    own = {j: F.one_hot(torch.tensor([k]), K).float() for j, k in enumerate(PLAN)}  # of each factor; the variables have none
    about |= {"variables": "null"}
    for method in TABULATED:
        with book.cell("fig4.8", dataset, method, protocol=about, n=settings.series, over="trainings") as cell:
            if cell.todo:
                noise = {seed: make_generator("motion several", seed, device=device) for seed in config.seeds}
                found = [of_seed(seed).compose(method, own, settings.series, draws).x for seed, draws in noise.items()]
                cell.add("accuracy", [accuracy(x, settings, judge) for x in found])
                cell.arrays[f"several/{method}"] = found[-1][0, :, 0].numpy()
    book.arrays["several/plan"] = np.array(PLAN)


def accuracy(x: Tensor, settings: Motion, judge: SeriesJudge) -> float:
    """Fig. 4.8: how often a piece of x shows the activity that is planned for it.

    Only of pieces whose neighbours share their activity: what lies between two activities has no right answer.
    """
    last, stride = len(PLAN) - 1, settings.width - settings.overlap
    sure = {j * stride: k for j, k in enumerate(PLAN) if PLAN[max(0, j - 1)] == k == PLAN[min(j + 1, last)]}
    return float(np.mean([judge.accuracy(x[..., start : start + settings.width], k) for start, k in sure.items()]))


def train(settings: Motion, data: Tensor, labels: Tensor, width: int, seed: int, folder: Path, device: str) -> ConditionalNoise:
    """A network of windows of one width."""
    names, config = ("motion", width, seed), MLPConfig(settings.hidden, 2)
    mlp = seeded(lambda: MLP(config, (CHANNELS + K, 1, width), (CHANNELS, 1, width)), derive_seed(*names) % 2**31)
    network = ConditionalNoise(mlp, PROCESS, CHANNELS, K, data.std().item())
    rows_of = data.flatten(0, 1).to(device)
    activity = F.one_hot(labels, K).float().repeat_interleave(data.shape[1], 0).to(device)

    def batch(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return rows_of[rows], activity[rows]

    label = f"motion, width {width}, seed {seed}"
    return train_on(network, batch, len(rows_of), settings, names, folder / f"motion-{width}-{seed}", device, label)
