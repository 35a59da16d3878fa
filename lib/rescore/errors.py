"""The one exception a user sees: what is wrong, where, and what is allowed."""

from collections.abc import Iterator
from contextlib import contextmanager


class RescoreError(Exception):
    """Bad input. The message names the file or key and the allowed values; the CLI prints it and exits with 2."""


class MissingData(RescoreError):
    """A data set can be neither found nor downloaded. A job turns it into a `skipped.csv` row, not a failure."""


class TrainingDiverged(RescoreError):
    """A training found no finite loss or gradient in many steps on end; the job decides whether to go on without it."""


class Diverged(RescoreError):
    """A number is infinite or NaN, or an adaptive solver gave up. A job that measures many cells skips that one."""

    def cell(self, **key: object) -> dict[str, object]:
        """The `skipped.csv` row of the cell with these key columns."""
        return {**key, "reason": f"diverged: {self}"}


@contextmanager
def naming_diverged(whose: str) -> Iterator[None]:
    """What diverges within says whose it is, such as `seed 3`."""
    try:
        yield
    except Diverged as error:
        raise Diverged(f"{whose}: {error}") from None


def os_error_text(error: OSError) -> str:
    """What the system refuses, in a line: a folder that may not be written, a file in place of one, a full disk."""
    place = error.filename2 or error.filename  # of a rename that to which
    return f"{f'{place}: ' if place else ''}{error.strerror or error}"
