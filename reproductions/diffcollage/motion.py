"""Long series of human activities from a model of short ones: Table 4.3 in small, on BasicMotions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reproductions.diffcollage.config import Motion
from reproductions.diffcollage.panoramas import TABULATED
from reproductions.diffcollage.series import PROCESS, ROWS, SHORT, LongSeries, protocol
from rescore.data.crops import all_stretches, random_stretches
from rescore.data.motion import ACTIVITIES, load_motions
from rescore.experiments.book import Book, Cell
from rescore.metrics.features import Features
from rescore.metrics.images import frechet_distance
from rescore.metrics.matching import top1
from rescore.metrics.series import BATCH, SeriesClassifier, train_series_classifier
from rescore.cost.evaluations import note
from rescore.networks.conditional import ConditionalNoise, conditioned, withheld
from rescore.networks.mlp import MLP, MLPConfig
from rescore.objectives import DSM, UniformTimes
from rescore.progress import progress
from rescore.random import derive_seed, make_generator
from rescore.training import Adam, Training, train_network

PAIRS = 300  # of which diversity is the mean distance
LOUDEST = 99.5  # percentile of |x| of a channel that becomes 1; what is beyond is clipped
EACH = 3  # pieces of one activity, where one follows the other
CHANNELS, K = 6, len(ACTIVITIES)


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
    scores = Scores(settings, data, labels, book.run.folder)
    about = protocol(config, settings) | {"judge_steps": settings.classifier_steps}

    @cache
    def long_series(seed: int) -> LongSeries:
        networks = [train(settings, all_stretches(series, width), labels, width, seed, book.run.folder, book.run.device)
                    for width in (settings.width, settings.overlap)]  # fmt: skip
        return LongSeries.of(config, settings, *networks)

    @cache
    def of_real(variant: str) -> list[dict[str, float]]:
        return [scores.of_real(*real[variant], make_generator("motion real", seed)) for seed in config.seeds]

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
                found.append(scores(made.x, y, make_generator("motion crops", seed)))
                found[-1]["diversity_gap"] = abs(found[-1]["diversity"] - target)
            cell.protocol["length"] = made.x.shape[-1]
            cell.add_each(found)
            if method != SHORT:
                cell.exact("sequential passes", made.passes, n=1)
                cell.arrays[f"motion/{method}"] = made.x[:2, :, 0].numpy()
                cell.arrays["motion/activities"] = y[:2].numpy()
    book.arrays["motion/real"] = np.stack([series[raw_labels == k][0] for k in range(K)])
    plan = [min(j // EACH, K - 1) for j in range(EACH * K + 1)]  # an odd number, which squares side by side fill
    book.arrays["several/plan"] = np.array(plan)
    for method in TABULATED:
        with book.cell("fig4.8", dataset, method, protocol=about | {"variables": "null"}, n=settings.series, over="trainings") as cell:
            if cell.todo:
                several(cell, method, plan, {seed: long_series(seed) for seed in config.seeds}, scores, book.run.device)


def several(cell: Cell, method: str, plan: list[int], makers: Mapping[int, LongSeries], scores: "Scores", device: str) -> None:
    """Fig. 4.8: one activity after another; each factor has its own, the variables have none."""
    last, right = len(plan) - 1, []
    own = {j: F.one_hot(torch.tensor([k]), K).float() for j, k in enumerate(plan)}
    # only pieces whose neighbours share their activity: what lies between two activities has no right answer
    sure = [j for j, k in enumerate(plan) if plan[max(0, j - 1)] == k == plan[min(j + 1, last)]]
    for seed, maker in makers.items():
        settings = maker.settings
        x = maker.compose(method, own, settings.series, make_generator("motion several", seed, device=device)).x
        starts = {j: j * (settings.width - settings.overlap) for j in sure}
        seen = {j: scores.judge(x[..., start : start + settings.width])[1] for j, start in starts.items()}
        hits = [top1(logits, torch.full((len(x),), plan[j])).float().mean().item() for j, logits in seen.items()]
        right.append(float(np.mean(hits)))
    cell.add("accuracy", right)
    cell.arrays[f"several/{method}"] = x[0, :, 0].numpy()


def train(settings: Motion, data: Tensor, labels: Tensor, width: int, seed: int, folder: Path, device: str) -> ConditionalNoise:
    """A network of windows of one width, trained with the condition withheld at `null_rate`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("motion", width, seed) % 2**31)
        mlp = MLP(MLPConfig(settings.hidden, 2), (CHANNELS + K, 1, width), (CHANNELS, 1, width))
    network = ConditionalNoise(mlp, PROCESS, CHANNELS, K, data.std().item())
    rows_of = data.flatten(0, 1)
    activity = F.one_hot(labels, K).float().repeat_interleave(data.shape[1], 0)
    objective = DSM("simple", UniformTimes(1e-5))

    def losses(forward, rows: Tensor, generator: torch.Generator) -> Tensor:
        note(len(rows))
        y = withheld(activity[rows].to(device), settings.null_rate, generator)
        x = rows_of[rows].to(device)
        return objective(lambda u, t: forward(conditioned(u, y), t), PROCESS, x, generator)

    adam = Adam(settings.steps, 1e-3, warmup=200, clip=1.0)
    training = Training(adam, len(rows_of), BATCH, derive_seed("motion", width, seed), 0.998)
    name = f"motion-{width}-{seed}"
    return train_network(network, losses, training, folder / name, device, label=f"motion, width {width}, seed {seed}").network


@dataclass(frozen=True)
class Scores:
    """The columns of Table 4.3, in a classifier's features. The reference of the Frechet distance are all training windows.

    Args:
        data: the training windows (series, windows, 6, 1, width); labels: of the series.
        folder: of the classifier's training.
    """

    settings: Motion
    data: Tensor
    labels: Tensor
    folder: Path

    @cached_property
    def judge(self) -> SeriesClassifier:
        windows, labels = self.data.flatten(0, 1), self.labels.repeat_interleave(self.data.shape[1])
        steps, folder = self.settings.classifier_steps, self.folder / "motion-judge"
        return train_series_classifier(windows, labels, self.settings.features, steps, folder, "motion judge")

    def __call__(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Of series x (n, 6, 1, L), a random window each, meant to be of the activities y (n,)."""
        values, logits = self.judge(random_stretches(x, self.settings.width, generator))
        real, _ = self.judge(self.data.flatten(0, 1))
        centres = torch.stack([real[self.labels.repeat_interleave(self.data.shape[1]) == k].mean(0) for k in range(K)])
        pairs = torch.randint(len(x), (2, PAIRS), generator=generator)
        return {
            "r_precision_top1": top1(logits, y).double().mean().item(),
            "fid": frechet_distance(Features("motion", "samples", values), Features("motion", "train", real)),
            "multimodal_distance": (values - centres[y]).norm(dim=1).mean().item(),
            "diversity": (values[pairs[0]] - values[pairs[1]]).norm(dim=1).mean().item(),
        }

    def of_real(self, series: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, float]:
        """The same of real windows (n, windows, 6, 1, width), as many as of long series, drawn with repetition."""
        n, per = self.settings.series, series.shape[1]
        which = torch.randint(len(series), (n,), generator=generator)
        windows_of = series[which, torch.randint(per, (n,), generator=generator)]
        return self(windows_of, labels[which], generator)

