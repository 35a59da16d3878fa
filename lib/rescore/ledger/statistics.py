"""What the errors of few repeats can decide: intervals by Student's t, comparisons by Welch's t, many claims at once.

One level for the whole suite: LEVEL, two-sided, the share of a normal law outside two standard errors.
"""

import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import ndtr, ndtri, stdtr, stdtrit  # not scipy.stats, whose import takes a second

LEVEL = 2 * float(ndtr(-2.0))  # 0.0455
MOST = 10_000  # repeats that `repeats_needed` looks for


def half_width(stderr: float, df: float) -> float:
    """Half the length of the interval that covers the true value with probability 1 - LEVEL: t quantile * stderr."""
    return stderr * float(stdtrit(df, 1 - LEVEL / 2)) if stderr else 0.0


def repeats_needed(stderr: float, df: int, allowed: float) -> int | None:
    """The least number of repeats of the spread seen that brings `half_width` to `allowed`; None above MOST.

    Args:
        stderr, df: of the mean over df + 1 repeats.
    """
    spread = stderr * math.sqrt(df + 1)
    return next((n for n in range(2, MOST + 1) if half_width(spread / math.sqrt(n), n - 1) <= allowed), None)


@dataclass(frozen=True)
class Error:
    """A standard error and its degrees of freedom: infinite where it is known, as that of an exact number, 0, is."""

    stderr: float
    df: float = math.inf


UNKNOWN = Error(math.inf)


def combined(errors: Iterable[Error]) -> Error:
    """The error of a sum or difference of independent numbers, with Welch's and Satterthwaite's degrees of freedom."""
    errors = list(errors)
    variance = math.fsum(error.stderr**2 for error in errors)
    if not 0 < variance < math.inf:
        return Error(math.sqrt(variance))
    inverse = math.fsum((error.stderr**2 / variance) ** 2 / error.df for error in errors)
    return Error(math.sqrt(variance), 1 / inverse if inverse else math.inf)


def of_mean(values: Sequence[float]) -> Error:
    """The standard error of the mean of independent numbers, two or more."""
    n = len(values)
    return Error(statistics.stdev(values) / math.sqrt(n), n - 1)


def p_above(margin: float, error: Error) -> float:
    """One-sided p value of `margin > 0`: the chance of a margin at least as large where the true one is 0.

    Without an error a margin is certain, 0 for p if it is positive and 1 else; with an unknown one nothing is (1/2).
    """
    if math.isinf(error.stderr):
        return 0.5
    if error.stderr == 0:
        return 0.0 if margin > 0 else 1.0
    t = -margin / error.stderr
    return float(ndtr(t) if math.isinf(error.df) else stdtr(error.df, t))


def z_value(margin: float, error: Error) -> float:
    """The margin in standard errors of a normal law of the same p value."""
    if margin == 0:
        return 0.0
    least = sys.float_info.min if error.stderr else 0.0  # a margin with an error is never quite certain
    return math.copysign(-float(ndtri(max(p_above(abs(margin), error), least))), margin)


def decided(p_values: Sequence[float], rate: float = 0.05) -> int:
    """How many of these two-sided p values a false discovery rate allows to call decided (Benjamini and Hochberg 1995)."""
    ranked = enumerate(sorted(p_values), start=1)  # scipy.stats has it too, whose import takes a second of every command
    return max((rank for rank, p in ranked if p * len(p_values) <= rate * rank), default=0)
