"""Long series of human activities from a model of short ones: Table 4.3 in small, on BasicMotions."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reproductions.diffcollage.config import Config
from reproductions.diffcollage.motion_models import BATCH, CHANNELS, Judge, K, train, train_judge, windows
from reproductions.diffcollage.pieces import AUTOREGRESSIVE, Context
from reproductions.diffcollage.series import Maker, SeriesModels
from rescore.data.motion import ACTIVITIES, load_motions
from rescore.ledger.records import Over
from rescore.metrics.features import Features
from rescore.metrics.images import frechet_distance
from rescore.metrics.matching import top1
from rescore.progress import progress
from rescore.random import make_generator

DATASET = "BasicMotions"
PAIRS = 300  # of which diversity is the mean distance
LOUDEST = 99.5  # percentile of |x| of a channel that becomes 1; what is beyond is clipped
EACH = 3  # pieces of one activity, where one follows the other


def motion(context: Context) -> None:
    """Table 4.3's columns on series several times as long as a piece, and one series of all activities.

    Each of the config's seeds trains both networks and draws series of its own from them; there is one judge.
    """
    config, run, book = context.config, context.run, context.book
    settings = config.motion
    (raw, raw_labels), (raw_test, test_labels) = load_motions("train"), load_motions("test")
    loudest = np.percentile(np.abs(raw), LOUDEST, axis=(0, 2), keepdims=True)
    series, test = ((x / loudest).clip(-1, 1) for x in (raw, raw_test))
    labels = torch.from_numpy(raw_labels)
    data = windows(series, settings.width)

    def trained(seed: int) -> Maker:
        widths = (settings.width, settings.overlap)
        networks = [train(settings, windows(series, w), labels, w, seed, run.folder, run.device) for w in widths]
        book.function_evaluations += len(networks) * settings.steps * BATCH
        return Maker(context, settings, SeriesModels(*networks, CHANNELS, K))

    makers = {seed: trained(seed) for seed in config.seeds}
    scores = Scores(config, train_judge(settings, data, labels, run.folder), data, labels)
    held_out = windows(test, settings.width), torch.from_numpy(test_labels)
    protocol = makers[config.seeds[0]].protocol | {"train_steps": settings.steps, "judge_steps": settings.classifier_steps}

    def record(method: str, variant: str, found: list[dict[str, float]], began: float, extra: dict, over: Over) -> None:
        for metric in found[0]:
            values = [each[metric] for each in found]
            book.record("4.3", DATASET, method, variant, metric, None, values, settings.series * len(values), protocol | extra,
                        time.perf_counter() - began, over=over)  # fmt: skip

    # the windows of the first are the reference of the Frechet distance itself, and the judge was trained on them
    for variant, windows_of in {"training series": (data, labels), "": held_out}.items():
        began = time.perf_counter()
        real = [scores.of_real(*windows_of, make_generator("motion real", seed)) for seed in config.seeds]
        record("Real data", variant, real, began, {}, "runs")
    # of the last, the test series
    target = float(np.mean([each["diversity"] for each in real]))
    for method in progress(("short", "Baseline", *AUTOREGRESSIVE, "Averaging", "DiffCollage"), desc="motion"):
        began, found = time.perf_counter(), []
        for seed in config.seeds:
            y = torch.randint(K, (settings.series,), generator=make_generator("motion activity", seed))
            generator = make_generator("motion", seed, device=run.device)
            x, passes = makers[seed].make(method, F.one_hot(y, K).float(), generator)
            found.append(scores(x, y, make_generator("motion crops", seed)))
            found[-1]["diversity_gap"] = abs(found[-1]["diversity"] - target)
        name = "MDM" if method == "short" else method  # the row of short motions
        record(name, "", found, began, {"length": x.shape[-1]}, "trainings")
        if method != "short":
            book.exact("4.3", DATASET, method, "", "sequential passes", passes, protocol | {"length": x.shape[-1]})
            book.arrays[f"motion/{method}"] = x[:2, :, 0].numpy()
    book.arrays["motion/activities"] = y[:2].numpy()
    book.arrays["motion/real"] = np.stack([series[raw_labels == k][0] for k in range(K)])
    several(context, makers, scores, protocol)


def several(context: Context, makers: Mapping[int, Maker], scores: "Scores", protocol: dict[str, object]) -> None:
    """Fig. 4.8: one activity after another; each factor has its own, the variables have none."""
    book, settings = context.book, context.config.motion
    last = EACH * K
    plan = [min(j // EACH, K - 1) for j in range(last + 1)]  # an odd number, which squares side by side fill
    own = {j: F.one_hot(torch.tensor([k]), K).float() for j, k in enumerate(plan)}
    stride, width = settings.width - settings.overlap, settings.width
    for method in ("Baseline", *AUTOREGRESSIVE, "DiffCollage"):
        began, right = time.perf_counter(), []
        for seed, maker in makers.items():
            generator = make_generator("motion several", seed, device=context.run.device)
            x, _ = maker.compose(method, own, settings.series, generator)
            # only pieces whose neighbours share their activity: what lies between two activities has no right answer
            sure = [j for j, k in enumerate(plan) if plan[max(0, j - 1)] == k == plan[min(j + 1, last)]]
            seen = {j: scores.judge(x[..., j * stride : j * stride + width])[1] for j in sure}
            hits = [top1(logits, torch.full((len(x),), plan[j])).float().mean().item() for j, logits in seen.items()]
            right.append(float(np.mean(hits)))
        book.record("fig4.8", DATASET, method, "", "accuracy", None, right, settings.series * len(right),
                    protocol | {"variables": "null"}, time.perf_counter() - began, over="trainings")  # fmt: skip
        book.arrays[f"several/{method}"] = x[0, :, 0].numpy()
    book.arrays["several/plan"] = np.array(plan)


@dataclass(frozen=True)
class Scores:
    """The columns of Table 4.3, in the judge's features. The reference of the Frechet distance are all training windows."""

    config: Config
    judge: Judge
    data: Tensor
    labels: Tensor

    def __call__(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Of series x (n, 6, 1, L), a random window each, meant to be of the activities y (n,)."""
        width = self.config.motion.width
        starts = torch.randint(x.shape[-1] - width + 1, (len(x),), generator=generator)
        crop = torch.stack([each[..., a : a + width] for each, a in zip(x, starts.tolist(), strict=True)])
        values, logits = self.judge(crop)
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
        n, per = self.config.motion.series, series.shape[1]
        which = torch.randint(len(series), (n,), generator=generator)
        windows_of = series[which, torch.randint(per, (n,), generator=generator)]
        return self(windows_of, labels[which], generator)
