"""What a job of the paper may measure."""

from reproductions.lcss.checkerboard import checkerboard
from reproductions.lcss.estimates import hutchinson, one_draw
from reproductions.lcss.images import images
from reproductions.lcss.quality import quality, variants
from reproductions.lcss.stability import stability
from reproductions.lcss.theory import theory
from reproductions.lcss.timing import timing

SECTIONS = {
    one.__name__: one for one in (theory, checkerboard, timing, stability, one_draw, hutchinson, quality, variants, images)
}
