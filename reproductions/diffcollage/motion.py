"""Long series of human activities from a model of short ones: Table 4.3 in small, on BasicMotions."""

from collections.abc import Callable, MutableMapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rescore.collage import LongSeries, Made
from rescore.data.crops import Ragged, all_stretches
from rescore.data.motion import ACTIVITIES, load_motions
from rescore.experiments.book import Book
from rescore.metrics.series import SeriesJudge
from rescore.networks.conditional import ConditionalNoise
from rescore.networks.mlp import MLP, MLPConfig
from rescore.random import make_generator, seeded, small_seed
from torch import Tensor
from torch.nn import functional as F

from reproductions.diffcollage.config import Motion
from reproductions.diffcollage.panoramas import TABULATED
from reproductions.diffcollage.series import (
    PROCESS,
    SHORT,
    Measured,
    long_series,
    protocol,
    rows,
    train_on,
    train_transformer,
    transformer,
)

LOUDEST = 99.5  # percentile of |x| of a channel that becomes 1; what is beyond is clipped
CHANNELS, K = 6, len(ACTIVITIES)
TRANSFORMER = "one transformer"  # the variant of the records of `naive`
PLAN = [min(j // 3, K - 1) for j in range(3 * K + 1)]
"""The activity of each piece where one follows another: an odd number of them, which pieces side by side fill."""


class Watch:
    """The series in a section, scaled: their windows, and the judge of these, trained when a cell first asks for it.

    Attributes:
        series: of the training (40, C, 100) in [-1, 1]; labels: (40,).
        real: by the variant of `Real data` windows (series, windows, C, 1, width), and the labels of their series. Those of
            the training are the reference of the Frechet distance itself, and the judge was trained on them.
    """

    def __init__(self, book: Book, settings: Motion):
        self.settings, self.seeds, self.device = settings, book.config.seeds, book.run.device
        (raw, raw_labels), (raw_test, test_labels) = load_motions("train"), load_motions("test")
        loudest = np.percentile(np.abs(raw), LOUDEST, axis=(0, 2), keepdims=True)
        self.series, test = ((x / loudest).clip(-1, 1) for x in (raw, raw_test))
        self.labels = torch.from_numpy(raw_labels)
        data = all_stretches(self.series, settings.width)
        test_windows = all_stretches(test, settings.width)
        self.real = {"training series": (data, self.labels), "": (test_windows, torch.from_numpy(test_labels))}
        folder = book.run.folder / f"{type(settings).__name__.lower()}-judge"
        self.judge = SeriesJudge(data, self.labels, settings.features, settings.classifier_steps, folder, "motion judge")
        self.judged = {"judge_steps": settings.classifier_steps, "features": settings.features}
        self.protocol = protocol(book.config, settings) | self.judged
        self.of_real = cache(self._of_real)

    def measure(self, of: LongSeries, method: str, seed: int) -> tuple[Made, Tensor, dict[str, float]]:
        """Series by a method, their activities (series,), and the metrics of Table 4.3."""
        n, device = self.settings.series, self.device
        y = torch.randint(K, (n,), generator=make_generator("motion activity", seed))
        told, noise = F.one_hot(y, K).float(), make_generator("motion", seed, device=device)
        made = of.short(told, noise) if method == SHORT else of.make(method, told, noise)
        found = self.judge(made.x, y, make_generator("motion crops", seed))
        target = float(np.mean([each["diversity"] for each in self.of_real("")]))
        return made, y, found | {"diversity_gap": abs(found["diversity"] - target)}

    def measuring(
        self, of_seed: Callable[[int], LongSeries], name: str
    ) -> Callable[[str, int, MutableMapping[str, np.ndarray]], Measured]:
        """What `rows` measures by, with the models of each seed; the first series are kept for figures as `<name>/<method>`."""

        def measure(method: str, seed: int, arrays: MutableMapping[str, np.ndarray]) -> Measured:
            made, y, found = self.measure(of_seed(seed), method, seed)
            if method != SHORT:
                arrays |= {f"{name}/{method}": made.x[:2, :, 0].numpy(), f"{name}/activities": y[:2].numpy()}
            return made, found

        return measure

    def _of_real(self, variant: str) -> list[dict[str, float]]:
        n, real = self.settings.series, self.real[variant]
        return [self.judge.of_real(n, *real, make_generator("motion real", seed)) for seed in self.seeds]


def motion(book: Book, dataset: str) -> None:
    """Table 4.3's columns on series several times as long as a piece, and one series of all activities.

    Each of the config's seeds trains both networks and draws series of its own from them; there is one judge.
    """
    config, settings, device = book.config, book.config.motion, book.run.device
    watch = Watch(book, settings)

    @cache
    def of_seed(seed: int) -> LongSeries:
        networks = [
            train(settings, all_stretches(watch.series, width), watch.labels, width, seed, book.run.folder, device)
            for width in (settings.width, settings.overlap)
        ]
        return long_series(config, settings, *networks)

    for variant in watch.real:
        with book.cell("4.3", dataset, "Real data", variant, protocol=watch.judged, n=settings.series) as cell:
            if cell.todo:
                cell.add_each(watch.of_real(variant))

    rows(book, dataset, watch.protocol, settings.series, "trainings", watch.measuring(of_seed, "motion"))
    book.arrays["motion/real"] = np.stack([watch.series[watch.labels == k][0] for k in range(K)])
    own = {j: F.one_hot(torch.tensor([k]), K).float() for j, k in enumerate(PLAN)}  # of each factor; the variables have none
    about = watch.protocol | {"variables": "null"}
    for method in TABULATED:
        with book.cell("fig4.8", dataset, method, protocol=about, n=settings.series, over="trainings") as cell:
            if cell.todo:
                noise = {seed: make_generator("motion several", seed, device=device) for seed in config.seeds}
                found = [of_seed(seed).compose(method, own, settings.series, draws).x for seed, draws in noise.items()]
                cell.add("accuracy", [accuracy(x, settings, watch.judge) for x in found])
                cell.arrays[f"several/{method}"] = found[-1][0, :, 0].numpy()
    book.arrays["several/plan"] = np.array(PLAN)


def naive(book: Book, dataset: str) -> None:
    """Table 4.3's columns from one transformer of pieces and overlaps, whose baseline is the paper's.

    That is the naive one: the model of short series denoises the long ones, at places that it has never seen.
    """
    config, settings, device = book.config, book.config.naive, book.run.device
    watch = Watch(book, settings)

    @cache
    def of_seed(seed: int) -> LongSeries:
        series = torch.from_numpy(watch.series).float()
        frames, activities = Ragged(list(series.mT), device), Ragged(list(F.one_hot(watch.labels, K).float()[:, None]), device)
        label, spread = f"motion transformer, seed {seed}", series.std().item()
        folder = book.run.folder / f"motion-transformer-{seed}"
        network = train_transformer(settings, frames, activities, ("motion transformer", seed), folder, device, label, spread)
        return long_series(config, settings, network, network, any_length=True)

    about = watch.protocol | transformer(settings)
    measure = watch.measuring(of_seed, "naive")
    rows(book, dataset, about, settings.series, "trainings", measure, TRANSFORMER, TABULATED)


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
    mlp = seeded(lambda: MLP(config, (CHANNELS + K, 1, width), (CHANNELS, 1, width)), small_seed(*names))
    network = ConditionalNoise(mlp, PROCESS, CHANNELS, K, data.std().item())
    rows_of = data.flatten(0, 1).to(device)
    activity = F.one_hot(labels, K).float().repeat_interleave(data.shape[1], 0).to(device)

    def batch(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return rows_of[rows], activity[rows]

    label = f"motion, width {width}, seed {seed}"
    return train_on(network, batch, len(rows_of), settings, names, folder / f"motion-{width}-{seed}", device, label)
