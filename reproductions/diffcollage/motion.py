"""Long series of human activities from a model of short ones: Table 4.3 in small, on BasicMotions."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reproductions.diffcollage.config import Motion
from reproductions.diffcollage.panoramas import TABULATED
from reproductions.diffcollage.series import PROCESS, ROWS, SHORT, LongSeries, protocol
from rescore.data.crops import all_stretches
from rescore.data.motion import ACTIVITIES, load_motions
from rescore.experiments.book import Book, Cell
from rescore.metrics.series import SeriesJudge
from rescore.models.conditional import train_conditional
from rescore.networks.conditional import ConditionalNoise
from rescore.networks.mlp import MLP, MLPConfig
from rescore.progress import progress
from rescore.random import derive_seed, make_generator
from rescore.training import Adam, Training

LOUDEST = 99.5  # percentile of |x| of a channel that becomes 1; what is beyond is clipped
BATCH = 128
CHANNELS, K = 6, len(ACTIVITIES)
PLAN = [min(j // 3, K - 1) for j in range(3 * K + 1)]
"""The activity of each piece where one follows another: an odd number of them, which pieces side by side fill."""


def motion(book: Book, dataset: str) -> None:
    """Table 4.3's columns on series several times as long as a piece, and one series of all activities.

    Each of the config's seeds trains both networks and draws series of its own from them; there is one judge.
    """
    config, settings = book.config, book.config.motion
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
    def long_series(seed: int) -> LongSeries:
        networks = [train(settings, all_stretches(series, width), labels, width, seed, book.run.folder, book.run.device)
                    for width in (settings.width, settings.overlap)]  # fmt: skip
        return LongSeries.of(config, settings, *networks)

    @cache
    def of_real(variant: str) -> list[dict[str, float]]:
        return [judge.of_real(settings.series, *real[variant], make_generator("motion real", seed)) for seed in config.seeds]

    for variant in real:
        with book.cell("4.3", dataset, "Real data", variant, protocol=about, n=settings.series) as cell:
            if cell.todo:
                cell.add_each(of_real(variant))
    for method in progress(ROWS, desc="motion"):
        with book.cell("4.3", dataset, method, protocol=about, n=settings.series, over="trainings") as cell:
            if not cell.todo:
                continue
            target, found = float(np.mean([each["diversity"] for each in of_real("")])), []
            for seed in config.seeds:
                y = torch.randint(K, (settings.series,), generator=make_generator("motion activity", seed))
                noise = make_generator("motion", seed, device=book.run.device)
                made = long_series(seed).make(method, F.one_hot(y, K).float(), noise)
                found.append(judge(made.x, y, make_generator("motion crops", seed)))
                found[-1]["diversity_gap"] = abs(found[-1]["diversity"] - target)
            cell.protocol["length"] = made.x.shape[-1]
            cell.add_each(found)
            if method != SHORT:
                cell.exact("sequential passes", made.passes, n=1)
                cell.arrays[f"motion/{method}"] = made.x[:2, :, 0].numpy()
                cell.arrays["motion/activities"] = y[:2].numpy()
    book.arrays["motion/real"] = np.stack([series[raw_labels == k][0] for k in range(K)])
    about |= {"variables": "null"}
    for method in TABULATED:
        with book.cell("fig4.8", dataset, method, protocol=about, n=settings.series, over="trainings") as cell:
            if cell.todo:
                several(cell, method, {seed: long_series(seed) for seed in config.seeds}, judge, book.run.device)
    book.arrays["several/plan"] = np.array(PLAN)


def several(cell: Cell, method: str, made: Mapping[int, LongSeries], judge: SeriesJudge, device: str) -> None:
    """Fig. 4.8: one activity after another; each factor has its own, the variables have none."""
    last, right = len(PLAN) - 1, []
    own = {j: F.one_hot(torch.tensor([k]), K).float() for j, k in enumerate(PLAN)}
    # only pieces whose neighbours share their activity: what lies between two activities has no right answer
    sure = [j for j, k in enumerate(PLAN) if PLAN[max(0, j - 1)] == k == PLAN[min(j + 1, last)]]
    for seed, series in made.items():
        settings = series.settings
        x = series.compose(method, own, settings.series, make_generator("motion several", seed, device=device)).x
        starts = {j: j * (settings.width - settings.overlap) for j in sure}
        hits = [judge.accuracy(x[..., start : start + settings.width], PLAN[j]) for j, start in starts.items()]
        right.append(float(np.mean(hits)))
    cell.add("accuracy", right)
    cell.arrays[f"several/{method}"] = x[0, :, 0].numpy()


def train(settings: Motion, data: Tensor, labels: Tensor, width: int, seed: int, folder: Path, device: str) -> ConditionalNoise:
    """A network of windows of one width, trained with the condition withheld at `null_rate`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("motion", width, seed) % 2**31)
        mlp = MLP(MLPConfig(settings.hidden, 2), (CHANNELS + K, 1, width), (CHANNELS, 1, width))
    network = ConditionalNoise(mlp, PROCESS, CHANNELS, K, data.std().item())
    rows_of = data.flatten(0, 1).to(device)
    activity = F.one_hot(labels, K).float().repeat_interleave(data.shape[1], 0).to(device)

    def batch(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return rows_of[rows], activity[rows]

    adam = Adam(settings.steps, 1e-3, warmup=200, clip=1.0)
    training = Training(adam, len(rows_of), BATCH, derive_seed("motion", width, seed), 0.998)
    name, label = f"motion-{width}-{seed}", f"motion, width {width}, seed {seed}"
    return train_conditional(network, batch, settings.null_rate, training, folder / name, device, label)
