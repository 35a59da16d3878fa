"""FID, inception score, KID, precision and recall, from features; each number with the protocol under which it was made.

The formulas are torch-fidelity's. What is added here bounds the memory (moments are streamed, and so are the subsets of KID and
the blocks of distances), works in float64 where a sum is long, and refuses to compare what cannot be compared.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from rescore.data.pixels import QUANTISED, Rounding
from rescore.domain import check_count
from rescore.errors import RescoreError
from rescore.metrics.features import Features
from rescore.random import make_generator

METRICS = ("fid", "is", "kid", "precision", "recall")
ROWS = 1024  # of features in float64 at a time
BLOCK = 2**23  # distances at a time


@dataclass(frozen=True)
class ImageSettings:
    """What the metrics leave open; the defaults are those of their papers and of torch-fidelity.

    Args:
        splits: of the inception score (Salimans et al. 2016): the mean over so many parts of the samples.
        subsets, subset_size: of KID (Binkowski et al. 2018): the mean over so many subsets drawn without replacement.
        neighbours: k of precision and recall (Kynkaanniemi et al. 2019).
        seed: of the parts and subsets, 0 to 2^32 - 1.

    Raises RescoreError for another seed, a subset of less than two, or anything else that is not a positive integer.
    """

    splits: int = 10
    subsets: int = 100
    subset_size: int = 1000
    neighbours: int = 3
    seed: int = 2020

    def __post_init__(self):
        for name, least in (("splits", 1), ("subsets", 1), ("subset_size", 2), ("neighbours", 1)):
            check_count("image metrics", name, getattr(self, name), least)
        check_count("image metrics", "seed", self.seed, 0, 2**32 - 1)


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and unbiased covariance (d, d) of features, float64, with their origin."""

    extractor: str
    source: str
    n: int
    mean: np.ndarray
    covariance: np.ndarray


def moments(features: Features, device: torch.device | str = "cpu") -> Moments:
    """Moments of all features, accumulated on the device in float64, a block of rows at a time (Chan et al. 1979).

    Raises RescoreError if there are too few samples for a covariance of full rank (n <= d).
    """
    n, d = features.values.shape
    if n <= d:
        raise RescoreError(
            f"FID of {features.source}: {n} samples are too few for the covariance of {d} features; allowed: more than {d}"
        )
    count, mean, scatter = 0, *(torch.zeros(shape, dtype=torch.float64, device=device) for shape in ((d,), (d, d)))
    for rows in features.values.split(ROWS):
        block = rows.to(device).double()
        shift = block.mean(0) - mean
        centred = block - block.mean(0)
        scatter += centred.T @ centred + torch.outer(shift, shift) * (count * len(block) / (count + len(block)))
        mean += shift * (len(block) / (count + len(block)))
        count += len(block)
    return Moments(features.extractor, features.source, n, mean.cpu().numpy(), (scatter / (n - 1)).cpu().numpy())


def frechet_distance(a: Moments | Features, b: Moments | Features, device: torch.device | str = "cpu") -> float:
    """FID: |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Heusel et al. 2017), float64.

    Both terms are squared distances. Of covariances without full rank rounding can leave the second below 0, by sqrt(1e-16) of
    their scale, and then it is 0: features that are the same, or the same but for a shift, are never closer than that.

    Args:
        device: of the moments and roots: on the CPU torch-fidelity's, which of 2,048 features take most of a minute.

    Raises RescoreError for features of two extractors or too few samples.
    """
    _check_alike(a, b)
    a, b = (x if isinstance(x, Moments) else moments(x, device) for x in (a, b))
    if torch.device(device).type == "cpu":
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric  # slow to import

        found = fid_statistics_to_metric(*({"mu": x.mean, "sigma": x.covariance} for x in (a, b)), verbose=False)[
            KEY_METRIC_FID
        ]
    else:
        found = symmetric_frechet_distance(a, b, device)
    return max(found, float(np.square(a.mean - b.mean).sum()))


def symmetric_frechet_distance(a: Moments, b: Moments, device: torch.device | str) -> float:
    """FID from the eigenvalues of symmetric matrices: those of R S_b R with R = S_a^(1/2) are those of S_a S_b. float64."""
    first, second = (torch.from_numpy(x.covariance).to(device) for x in (a, b))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return float(np.square(a.mean - b.mean).sum()) + (first.trace() + second.trace() - 2 * cross).item()


def inception_score(features: Features, settings: ImageSettings = ImageSettings()) -> float:
    """exp of the mean KL divergence from p(y|x) to p(y), y the extractor's classes; the mean over `settings.splits` parts.

    Raises RescoreError if there are no logits, fewer samples than parts, or logits so far apart that p(y) is zero.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    n = len(features)
    if features.logits is None:
        raise RescoreError(f"inception score of {features.source}: no logits")
    if n < settings.splits:
        raise RescoreError(f"inception score of {features.source}: {n} samples; allowed: {settings.splits} (splits) or more")
    order = torch.from_numpy(np.random.RandomState(settings.seed).permutation(n))
    bounds = [i * n // settings.splits for i in range(settings.splits + 1)]
    scores = [  # a part at a time: the function copies its input four times in float64
        isc_features_to_metric(features.logits[order[start:end]], splits=1, shuffle=False)[KEY_METRIC_ISC_MEAN]
        for start, end in pairwise(bounds)
    ]
    if not all(map(math.isfinite, scores)):
        raise RescoreError(f"inception score of {features.source}: the logits are so far apart that a class is impossible")
    return float(np.mean(scores))


def kernel_distance(generated: Features, real: Features, settings: ImageSettings = ImageSettings()) -> float:
    """KID: the unbiased squared MMD with the kernel (x.y / d + 1)^3, float64; the mean over subsets. It may be negative.

    Raises RescoreError for features of two extractors, or fewer samples than a subset has.
    """
    from torch_fidelity.metric_kid import kernel_mmd

    _check_alike(generated, real)
    for x in (generated, real):
        if not 2 <= settings.subset_size <= len(x):
            raise RescoreError(
                f"KID of {x.source}: {len(x)} samples and subsets of {settings.subset_size}; allowed: subsets of 2 to {len(x)}"
            )
    random = np.random.RandomState(settings.seed)

    def subset(x: Features) -> np.ndarray:
        rows = random.choice(len(x), settings.subset_size, replace=False)
        return x.values[torch.from_numpy(rows)].double().numpy()

    return float(np.mean([kernel_mmd(subset(generated), subset(real), kid_kernel="poly") for _ in range(settings.subsets)]))


def precision_recall(generated: Features, real: Features, settings: ImageSettings = ImageSettings()) -> tuple[float, float]:
    """Shares of the generated within the real samples' k-nearest-neighbour balls, and of the real within the generated ones'.

    In the dtype of the features, a block of distances at a time.

    Raises RescoreError for features of two extractors or dtypes, or no more samples than neighbours.
    """
    from torch_fidelity.metric_prc import calculate_precision_recall_part

    _check_alike(generated, real)
    if generated.values.dtype != real.values.dtype:
        raise RescoreError(f"precision, recall: {generated.values.dtype} and {real.values.dtype}; allowed: one dtype of both")
    for x in (generated, real):
        if not 1 <= settings.neighbours < len(x):
            raise RescoreError(
                f"precision and recall of {x.source}: {len(x)} samples, {settings.neighbours} neighbours; "
                f"allowed: 1 to {len(x) - 1} neighbours"
            )
    rows = max(1, BLOCK // max(len(generated), len(real)))
    return calculate_precision_recall_part(generated.values, real.values, settings.neighbours, rows)


def evaluate(
    generated: Features,
    real: Features,
    metrics: Iterable[str] = METRICS,
    settings: ImageSettings = ImageSettings(),
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """The metrics of `generated` against `real`, by name (`METRICS`), FID on the device; errors as of their functions."""
    metrics = tuple(metrics)
    _check_metrics(metrics)
    values: dict[str, float] = {}
    if "fid" in metrics:
        values["fid"] = frechet_distance(generated, real, device)
    if "is" in metrics:
        values["is"] = inception_score(generated, settings)
    if "kid" in metrics:
        values["kid"] = kernel_distance(generated, real, settings)
    if {"precision", "recall"} & set(metrics):
        values["precision"], values["recall"] = precision_recall(generated, real, settings)
    return {metric: values[metric] for metric in metrics}


def image_protocol(
    metric: str, generated: Features, real: Features, rounding: Rounding | None, settings: ImageSettings = ImageSettings()
) -> Mapping[str, object]:
    """The protocol entries of one metric: all that its value depends on besides the samples.

    Args:
        rounding: of `rescore.data.pixels.to_uint8` for the generated images; None if they were uint8 from the start.
    """
    _check_metrics((metric,))
    protocol: dict[str, object] = {
        "features": generated.extractor,
        "n_samples": len(generated),
        "quantised": "uint8" if rounding is None else QUANTISED[rounding],
    }
    if metric == "is":
        return protocol | {"splits": settings.splits, "metric_seed": settings.seed}
    protocol["reference"] = real.reference
    if metric == "kid":
        return protocol | {"subsets": f"{settings.subsets}x{settings.subset_size}", "metric_seed": settings.seed}
    return protocol | ({"neighbours": settings.neighbours} if metric in ("precision", "recall") else {})


def halves(features: Features, seed: int = 0) -> tuple[Features, Features]:
    """Two disjoint random halves of real features: `evaluate(*halves(real))` is what real images get.

    FID grows as the samples get fewer: compare with samples of the same number, or take the data's train and test split as
    the pair. An extractor that was trained on these images sees them as closer than images it does not know.
    """
    order = torch.randperm(len(features), generator=make_generator("halves", seed))
    size = len(features) // 2
    return features[order[:size]], features[order[size : 2 * size]]


def _check_alike(a: Features | Moments, b: Features | Moments) -> None:
    dims = [x.values.shape[1] if isinstance(x, Features) else len(x.mean) for x in (a, b)]
    if a.extractor != b.extractor or dims[0] != dims[1]:
        raise RescoreError(
            f"{a.source} has {dims[0]} features of {a.extractor}, {b.source} {dims[1]} of {b.extractor}; "
            "allowed: the same extractor on both sides"
        )


def _check_metrics(metrics: Iterable[str]) -> None:
    if unknown := set(metrics) - set(METRICS):
        raise RescoreError(f"image metrics: {', '.join(sorted(unknown))}; allowed: {', '.join(METRICS)}")
