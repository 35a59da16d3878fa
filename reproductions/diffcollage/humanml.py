"""Table 4.3 on HumanML3D: long motions of one caption from a small diffusion transformer, seen by the published evaluator."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from reproductions.diffcollage.config import HumanML
from reproductions.diffcollage.humanml_judge import NAME, Evaluator, load_evaluator
from reproductions.diffcollage.pieces import AUTOREGRESSIVE, Context
from reproductions.diffcollage.series import PROCESS, Maker, SeriesModels, conditioned
from rescore.data.humanml import CROPPED, FEATURES, Motion, load_humanml, load_scales
from rescore.errors import RescoreError
from rescore.metrics.features import Features
from rescore.metrics.images import frechet_distance
from rescore.metrics.matching import diversity, multimodal_distance, r_precision
from rescore.networks.embeddings import LevelMLP, Positional
from rescore.networks.layers import linear
from rescore.objectives import DSM, UniformTimes
from rescore.progress import progress
from rescore.random import derive_seed, make_generator
from rescore.training import Adam, Training, train_network

DATASET = "HumanML3D"
PAIRS, POOL, TOP = 300, 32, 3  # of diversity and R precision, as published


class MotionTransformer(nn.Module):
    """The noise of motions (n, C, 1, w) of any length under conditions (n, K), which follow as channels (see `conditioned`).

    A transformer over frames; it adds to the noise prediction of N(0, 1) data, R u / (m^2 + R^2), and is zero before training.
    """

    def __init__(self, settings: HumanML, channels: int, conditions: int):
        super().__init__()
        hidden = settings.hidden
        self.channels = channels
        self.time = LevelMLP("positional", hidden, 1.0, hidden)
        self.first, self.place = linear(channels + conditions, hidden), Positional(hidden)
        layer = nn.TransformerEncoderLayer(
            hidden, settings.heads, 2 * hidden, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.norm, self.last = nn.LayerNorm(hidden), linear(hidden, channels, scale=0.0)

    def forward(self, joined: Tensor, t: Tensor) -> Tensor:
        m, r = (a.values.to(joined)[:, None, None, None] for a in (PROCESS.mean(t), PROCESS.R(t)))
        frames = torch.arange(joined.shape[-1], device=joined.device, dtype=joined.dtype)
        h = self.first(joined.squeeze(2).mT) + self.place(frames) + self.time(999 * t)[:, None]
        noise = self.last(self.norm(self.layers(h))).mT.unsqueeze(2)
        return joined[:, : self.channels] * (r / (m**2 + r**2)) + noise


def train(settings: HumanML, motions: Sequence[Motion], conditions: Sequence[Tensor], scales: tuple[Tensor, Tensor],
          folder: Path, device: str) -> nn.Module:  # fmt: skip
    """One network of pieces and overlaps: every other batch, at random, has windows of the overlap's length.

    Args:
        conditions: of each motion, those of its captions (captions, K).
    """
    usable = [k for k, motion in enumerate(motions) if len(motion.features) >= settings.width]
    if not usable:
        raise RescoreError(f"HumanML3D: no motion of {settings.width} frames or more (humanml.width)")
    lengths = torch.tensor([len(motions[k].features) for k in usable], device=device)
    starts = lengths.cumsum(0) - lengths
    mean, deviation = scales
    frames = torch.cat([(torch.from_numpy(motions[k].features) - mean) / deviation for k in usable]).to(device)
    captions = torch.tensor([len(conditions[k]) for k in usable], device=device)
    first_caption = captions.cumsum(0) - captions
    table = torch.cat([conditions[k] for k in usable]).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("humanml") % 2**31)
        network = MotionTransformer(settings, FEATURES, table.shape[1])
    objective = DSM("simple", UniformTimes(1e-5))

    def losses(forward, rows: Tensor, generator: torch.Generator) -> Tensor:
        rows = rows.to(device)
        u = torch.rand(2 * len(rows) + 1, generator=generator, device=device)
        width = settings.overlap if u[-1] < 0.5 else settings.width
        begin = starts[rows] + (u[: len(rows)] * (lengths[rows] - width + 1)).long()
        x = frames[begin[:, None] + torch.arange(width, device=device)].mT.unsqueeze(2)
        y = table[first_caption[rows] + (u[len(rows) : -1] * captions[rows]).long()]
        y = y * (torch.rand(len(y), 1, generator=generator, device=device) >= settings.null_rate)
        return objective(lambda noisy, t: forward(conditioned(noisy, y), t), PROCESS, x, generator)

    adam = Adam(settings.steps, settings.lr, warmup=settings.warmup, clip=1.0)
    training = Training(adam, len(usable), settings.train_batch, derive_seed("humanml", "batches"), settings.ema)
    return train_network(network, losses, training, folder / "humanml", device, label="HumanML3D").network


def humanml(context: Context) -> None:
    """Table 4.3: long motions of single captions by all methods, a random crop of each judged, and short and real ones.

    Raises MissingData without the data or the evaluator.
    """
    config, run, book, settings = context.config, context.run, context.book, context.config.humanml
    motions, test = (load_humanml(split, settings.motions) for split in ("train", "test"))
    mean, deviation = (torch.from_numpy(scale) for scale in load_scales())
    evaluator = load_evaluator(run.device)
    told, (middle, spread) = _conditions(evaluator, motions)
    network = train(settings, motions, told, (mean, deviation), run.folder, run.device)
    book.function_evaluations += settings.steps * settings.train_batch
    models = SeriesModels(network, network, FEATURES, told[0].shape[1], settings.clip, any_length=True)
    maker = Maker(context, settings, models)
    real = Features(NAME, "humanml/test", evaluator.motions([torch.from_numpy(motion.features[:CROPPED]) for motion in test]))
    common = {"features": NAME, "reference": real.reference, "pool": POOL, "pairs": PAIRS}
    protocol = maker.protocol | common | {"train_steps": settings.steps, "crop": settings.crop}

    def scores(text: Tensor, values: Tensor, seed: int) -> dict[str, float]:
        return {
            "r_precision_top3": r_precision(text, values, TOP, POOL),
            "fid": frechet_distance(Features(NAME, "samples", values), real),
            "multimodal_distance": multimodal_distance(text, values),
            "diversity": diversity(values, PAIRS, make_generator("humanml pairs", seed)),
        }

    def record(method: str, found: list[dict[str, float]], began: float, n: int, protocol: dict[str, object]) -> None:
        for metric in found[0]:
            values = [each[metric] for each in found]
            seconds = time.perf_counter() - began
            over = "runs" if method == "Real data" else "samplings"
            book.record("4.3", DATASET, method, "", metric, None, values, n * len(values), protocol, seconds, over=over)

    planned = []
    for seed in config.seeds:
        order = torch.randperm(len(test), generator=make_generator("humanml captions", seed))[: settings.series].tolist()
        planned.append((seed, order, evaluator.captions([test[k].captions[seed % len(test[k].captions)] for k in order])))
    n = len(planned[0][1])
    began = time.perf_counter()
    record("Real data", [scores(text, real.values[order], seed) for seed, order, text in planned], began, n, common)
    for method in progress(("short", "Baseline", *AUTOREGRESSIVE, "Averaging", "DiffCollage"), desc=DATASET):
        began, found = time.perf_counter(), []
        for seed, _, text in planned:
            generator = make_generator("humanml", seed, device=run.device)
            x, passes = maker.make(method, (text - middle) / spread, generator)
            x = x[:, :, 0].mT * deviation + mean
            crops = _crops(x, settings.crop, make_generator("humanml crops", seed))
            found.append(scores(text, evaluator.motions(crops), seed))
        length = {"length": x.shape[1]}
        record("MDM" if method == "short" else method, found, began, n, protocol | length)
        if method != "short":
            book.exact("4.3", DATASET, method, "", "sequential passes", passes, protocol | length)


def _conditions(evaluator: Evaluator, motions: Sequence[Motion]) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """The conditions of each motion, its captions' features to scale (captions, K), and that scale: mean and deviation (K,)."""
    features = evaluator.captions([caption for motion in motions for caption in motion.captions])
    middle, spread = features.mean(0), features.std(0).clamp_min(math.sqrt(torch.finfo(features.dtype).eps))
    return list(((features - middle) / spread).split([len(motion.captions) for motion in motions])), (middle, spread)


def _crops(x: Tensor, length: int, generator: torch.Generator) -> list[Tensor]:
    """A random stretch of each motion (n, T, 263), of `length` frames or all of it."""
    length = min(length, x.shape[1])
    starts = torch.randint(x.shape[1] - length + 1, (len(x),), generator=generator)
    return [each[start : start + length] for each, start in zip(x, starts.tolist(), strict=True)]
