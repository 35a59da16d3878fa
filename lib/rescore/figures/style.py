"""Colours and sizes of all figures."""

from typing import Any

# Of the colours of Okabe and Ito, which colour-blind readers can tell apart, all but the yellow.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
PURPLE, GREY = "#7F3C8D", "#5F5F5F"

STYLE: dict[Any, Any] = {  # names of matplotlib's settings
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}
DPI = 150
FONT_WIDTH = 0.055  # inches a character of a note, about
SMALL = 7.5
