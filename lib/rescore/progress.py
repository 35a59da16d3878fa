"""Progress bars: in place on a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


class BarLines:
    """A text stream that puts `prefix` before each line and makes each state of a bar a line of its own."""

    def __init__(self, stream: TextIO, prefix: str):
        self.stream, self.prefix, self._rest = stream, prefix, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text.replace("\r", "\n")).split("\n")
        for line in lines:
            if line.strip():
                print(f"{self.prefix}{line}", file=self.stream, flush=True)
        return len(text)

    def flush(self) -> None:
        if self._rest.strip():  # a bar writes its state without a line end, then flushes
            print(f"{self.prefix}{self._rest}", file=self.stream, flush=True)
        self._rest = ""

    def isatty(self) -> bool:
        return False


class ByteBar(tqdm):
    """A bar of bytes that pooch can move: it sets `total` later, and at the end it resets the bar and adds the whole."""

    def __init__(self, iterable: Iterable | None = None, **options: Any):
        super().__init__(iterable, unit="B", unit_scale=True, unit_divisor=1024, **options)

    def __bool__(self) -> bool:
        return True  # tqdm's is that of `total`

    def reset(self, total: float | None = None) -> None:
        """As tqdm's, but the time goes on, nothing is shown, and without a total (nothing is added to it) the count stays."""
        if self.total:
            self.n = 0


def progress(iterable: Iterable | None = None, kind: type[tqdm] = tqdm, **options: Any) -> tqdm:
    """`tqdm(iterable, **options)` on stderr, moving every few seconds only where stderr is no terminal."""
    if not sys.stderr.isatty():
        options |= {"mininterval": SECONDS_BETWEEN_LINES, "ascii": True, "ncols": 100}
    return kind(iterable, **options)


def warn(message: str) -> None:
    """One line on stderr that does not break a bar."""
    tqdm.write(f"warning: {message}", file=sys.stderr)
