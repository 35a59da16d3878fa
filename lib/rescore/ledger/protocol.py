"""Protocols: how a number was made, as `key=value` pairs, and whether two were made alike."""

from collections.abc import Iterable, Mapping
from typing import Any

from rescore.errors import RescoreError
from rescore.ledger.records import KEY, matches

SEPARATOR = "; "


def format_value(value: object) -> str:
    """A protocol value as text: booleans in lower case, whole floats without a point, other floats exactly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    return str(value)


def format_protocol(protocol: Mapping[str, object]) -> str:
    """`a=1; b=2`, sorted by key; raises RescoreError where a key or value holds `=` or `;`."""
    for key, value in protocol.items():
        if not key or any(mark in f"{key}{format_value(value)}" for mark in "=;\n"):
            raise RescoreError(f"protocol: {key!r}: {value!r} may not be empty or hold '=', ';' or a line end")
    return SEPARATOR.join(f"{key}={format_value(protocol[key])}" for key in sorted(protocol))


def parse_protocol(text: str) -> dict[str, str]:
    """The pairs of `format_protocol`; raises RescoreError on a part without `=` or a key given twice."""
    pairs: dict[str, str] = {}
    for part in filter(None, text.split(SEPARATOR)):
        key, equals, value = part.partition("=")
        if not equals or not key or key in pairs:
            raise RescoreError(f"protocol {text!r}: {part!r} is not a new key=value pair")
        pairs[key] = value
    return pairs


def same_value(left: object, right: object) -> bool:
    """Equality of two protocol values: as numbers where both are numbers, as text otherwise."""
    left, right = format_value(left), format_value(right)
    try:
        return float(left) == float(right)
    except ValueError:
        return left == right


def declared_protocol(entries: Iterable[Any], row: Any) -> tuple[dict[str, object], dict[str, object]]:
    """What a paper states, and what we assume, about how a published number was made.

    Args:
        entries: `protocols` of a `paper.yaml`, each with `match`, `stated` and `assumed`; all that match are merged
            in order, a later one wins.
        row: a published row.

    Returns:
        (stated, assumed), without a common key.
    """
    stated: dict[str, object] = {}
    assumed: dict[str, object] = {}
    for entry in entries:
        check_pattern(entry.match, row.paper)
        if matches(entry.match, row):
            for key, value in entry.stated.items():
                stated[key] = value
                assumed.pop(key, None)
            for key, value in entry.assumed.items():
                assumed[key] = value
                stated.pop(key, None)
    return stated, assumed


def differences(declared: Mapping[str, object], measured: Mapping[str, str]) -> list[str]:
    """The declared keys whose value the measurement does not share, as text."""
    return [
        f"{key}={measured.get(key, '(not recorded)')} (published {format_value(value)})"
        for key, value in sorted(declared.items())
        if key not in measured or not same_value(value, measured[key])
    ]


def check_pattern(pattern: Mapping[str, object], paper: str) -> None:
    """Raise RescoreError for a `match` with an unknown column."""
    if unknown := set(pattern) - set(KEY):
        raise RescoreError(f"paper {paper}: match: unknown key {', '.join(sorted(unknown))}; allowed: {', '.join(KEY)}")
