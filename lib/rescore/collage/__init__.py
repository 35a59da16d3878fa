"""DiffCollage: the score of a large content from the scores of its pieces, on any factor graph (thesis chapter 4).

| what | where |
| --- | --- |
| `FactorGraph`, `chain`, `cycle`, `grid`, `tilings` | `graph` |
| `composed_score` (eqs. 4.6, 4.7), `averaged_score` | `compose` |
| `cubemap`, `cube_squares`, `equirectangular` | `cubemap` |
| `replaced_score`, `reconstructed_score`, `clipped_score`, `outpaint`, `from_the_middle` | `inpaint` |
| `Maker`: contents by each of `METHODS` from one set of scores | `maker` |
| `LongSeries`: long series by these, under conditions | `series` |
| `looped`, `tiled`, `on_a_cube`, `connected`, `inpainted`, `from_strokes`: other contents by these | `shapes` |

References:
    thesis, chapter 4: DiffCollage, arXiv:2303.17076.
"""

from rescore.collage.compose import averaged_score, composed_score
from rescore.collage.cubemap import cube_squares, cubemap, equirectangular
from rescore.collage.graph import FactorGraph, chain, cycle, grid, side_by_side, tilings
from rescore.collage.inpaint import clipped_score, from_the_middle, outpaint, reconstructed_score, replaced_score
from rescore.collage.maker import AUTOREGRESSIVE, METHODS, Made, Maker
from rescore.collage.series import LongSeries
from rescore.collage.shapes import connected, from_strokes, inpainted, looped, on_a_cube, tiled

__all__ = [
    "AUTOREGRESSIVE",
    "METHODS",
    "FactorGraph",
    "LongSeries",
    "Made",
    "Maker",
    "averaged_score",
    "chain",
    "clipped_score",
    "composed_score",
    "connected",
    "cube_squares",
    "cubemap",
    "cycle",
    "equirectangular",
    "from_strokes",
    "from_the_middle",
    "grid",
    "inpainted",
    "looped",
    "on_a_cube",
    "outpaint",
    "reconstructed_score",
    "replaced_score",
    "side_by_side",
    "tiled",
    "tilings",
]
