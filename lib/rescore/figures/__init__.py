"""What the papers' figures.py draw with, as `from rescore import figures as draw`: a paper's results, panels, curves, notes."""

from rescore.figures.curves import (
    FLOOR_NOTE,
    FLOORS,
    INTERVALS,
    block_means,
    curve,
    curves,
    interval,
    real_images,
    reference_line,
    with_interval,
)
from rescore.figures.densities import DensityMap, draw_samples
from rescore.figures.heat_map import colour_bar, heat_map
from rescore.figures.panels import (
    against_evaluations,
    legend,
    log_axis_if_wide,
    log_values,
    only_ticks,
    plain_log_axis,
    shared_legend,
    write_in_corner,
)
from rescore.figures.pictures import image_row, image_rows, image_stack, ring_picture
from rescore.figures.results import PaperResults, Row, join_names, select
from rescore.figures.sheets import not_measured, placeholder
from rescore.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, PURPLE, RED, SKY, SMALL

__all__ = [
    "BLACK",
    "BLUE",
    "FLOORS",
    "FLOOR_NOTE",
    "GREEN",
    "GREY",
    "INTERVALS",
    "ORANGE",
    "PINK",
    "PURPLE",
    "RED",
    "SKY",
    "SMALL",
    "DensityMap",
    "PaperResults",
    "Row",
    "against_evaluations",
    "block_means",
    "colour_bar",
    "curve",
    "curves",
    "draw_samples",
    "heat_map",
    "image_row",
    "image_rows",
    "image_stack",
    "interval",
    "join_names",
    "legend",
    "log_axis_if_wide",
    "log_values",
    "not_measured",
    "only_ticks",
    "placeholder",
    "plain_log_axis",
    "real_images",
    "reference_line",
    "ring_picture",
    "select",
    "shared_legend",
    "with_interval",
    "write_in_corner",
]
