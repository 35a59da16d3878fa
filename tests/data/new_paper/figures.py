"""One figure."""

from pathlib import Path

from reproductions.half_score.jobs import SHARE
from rescore import figures as draw


def errors(found: draw.PaperResults, out: Path) -> None:
    with found.sheet(out, 1, 1, (4.5, 3.2), draw.INTERVALS) as (_figure, (ax,)):
        for share, color in zip(found.config.euler.shares, (draw.BLUE, draw.ORANGE), strict=True):
            draw.curve(ax, found.select(variant=SHARE(share=share)), f"share {share:g}", color)
        draw.against_evaluations(ax, found.config.euler.steps)
        ax.set(ylabel="RMS distance to the exact flow", yscale="log")
        ax.legend()
