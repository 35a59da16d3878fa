"""One picture."""

from pathlib import Path

from rescore import figures as draw


def histogram(found: draw.PaperResults, out: Path) -> None:
    with found.sheet(out, 1, 1, (4.0, 3.0)) as (_figure, (ax,)):
        if "draws/normal" in found.arrays:
            ax.hist(found.arrays["draws/normal"])
