"""Protocols: how a number was made, as `key=value` pairs, and whether two were made alike."""

from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import TYPE_CHECKING, Any

from rescore.config import nearest_first
from rescore.errors import RescoreError
from rescore.ledger.records import KEY, matches

if TYPE_CHECKING:
    from rescore.papers import Candidate, Paper

SEPARATOR = "; "
MAIN = "main"  # the protocol that `protocols` declare, where a candidate says which one it repeats
DECLARATIONS = ("protocols", "candidates", "stand_ins", "not_run")
"""Lists of a `paper.yaml`, of entries that `match` published rows."""


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
        check_pattern(entry.match, f"reproductions/{row.paper}/paper.yaml: protocols: match")
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


def check_pattern(pattern: Mapping[str, object], where: str) -> None:
    """Raise RescoreError for a `match` or a `use` with an unknown column; `where` it stands: file, entry and key."""
    if unknown := set(pattern) - set(KEY):
        raise RescoreError(f"{where}: unknown key {', '.join(sorted(unknown))}; allowed: {', '.join(KEY)}")


def check_declarations(paper: "Paper", rows: Sequence[Any]) -> None:
    """Check what a `paper.yaml` declares of its published rows, for a wrong word in it would only mean fewer rows.

    Raises:
        RescoreError: an unknown column, an entry or a listed value that fits none of `rows`, a candidate that repeats what
            the paper does not declare, or a key that no record can have.
    """
    file, texts = paper.folder / "paper.yaml", [{column: _text(getattr(row, column)) for column in KEY} for row in rows]
    for kind in DECLARATIONS:
        for number, entry in enumerate(getattr(paper.meta, kind), 1):
            where = f"{file}: {kind}, entry {number}{_named(entry)}"
            check_pattern(entry.match, f"{where}: match")
            _check_match(entry.match, texts, f"{where}: match")
            if kind in ("candidates", "stand_ins"):
                check_pattern(entry.use, f"{where}: use")
                if not isinstance(entry.use.get("nfe"), int | None):
                    raise RescoreError(f"{where}: use.nfe: {entry.use['nfe']!r} is no whole number")
                for column, value in entry.use.items():
                    if column != "nfe" and not isinstance(value, str):
                        raise RescoreError(f"{where}: use.{column}: {value!r} is no text; put it in quotes: '{value}'")
    known = [MAIN, *(one.name for one in paper.meta.candidates)]
    for one in paper.meta.candidates:
        check_candidate(one, paper)
        if one.repeats and one.repeats not in known:
            raise RescoreError(
                f"{file}: candidate {one.name}: repeats: {one.repeats}; allowed: {', '.join(nearest_first(one.repeats, known))}"
            )


def check_candidate(one: "Candidate", paper: "Paper") -> None:
    """Raise RescoreError for an unknown column of its `match` or `use`, or another part in the braces of that."""
    where = f"{paper.folder / 'paper.yaml'}: candidate {one.name}"
    check_pattern(one.match, f"{where}: match")
    check_pattern(one.use, f"{where}: use")
    allowed = {"name", *KEY}
    for column, value in one.use.items():
        try:
            parts = {part for _, part, _, _ in Formatter().parse(str(value)) if part is not None}
            str(value).format(**dict.fromkeys(allowed & parts, ""))
        except (KeyError, IndexError, ValueError, AttributeError, TypeError):
            parts = {""}
        if not parts <= allowed:
            raise RescoreError(
                f"{where}: use.{column}: {value!r} has an unknown part in braces; allowed: name, {', '.join(KEY)}"
            )


def _check_match(pattern: Mapping[str, Any], rows: Sequence[Mapping[str, str]], where: str) -> None:
    """That every value is of a row that has one of the values in each other column too."""
    wanted = {
        column: [_text(one) for one in (value if isinstance(value, list) else [value])] for column, value in pattern.items()
    }
    found = [row for row in rows if all(row[column] in values for column, values in wanted.items())]
    for column, values in wanted.items():
        here = {row[column] for row in found}
        if lost := [value for value in values if value not in here]:
            others = [row for row in rows if all(row[name] in wanted[name] for name in wanted if name != column)]
            near = nearest_first(lost[0], {row[column] for row in others})
            raise RescoreError(
                f"{where}.{column}: {lost[0]!r} fits no row of published.csv; there are, beside the rest of the entry: "
                f"{', '.join(map(repr, near)) or '(none)'}"
            )


def _text(value: object) -> str:
    """As `matches` compares values."""
    return "" if value is None else str(value)


def _named(entry: Any) -> str:
    return f" ({entry.name})" if hasattr(entry, "name") else ""
