"""Run DiffCollage and its baselines: each part of the paper on a texture, a scene or a set of series."""

from reproductions.diffcollage.amortised import amortised
from reproductions.diffcollage.doodle import doodle
from reproductions.diffcollage.humanml import humanml
from reproductions.diffcollage.laws import samplers
from reproductions.diffcollage.motion import motion, naive
from reproductions.diffcollage.panoramas import exact, lengths, panoramas
from reproductions.diffcollage.scenery import change, pictures, strokes
from reproductions.diffcollage.shapes import connect, cube, grid, inpaint, loop
from reproductions.diffcollage.trained import trained

SECTIONS = {
    "panoramas": panoramas,
    "exact": exact,
    "amortised": amortised,
    "lengths": lengths,
    "loop": loop,
    "grid": grid,
    "cubemap": cube,
    "connect": connect,
    "inpaint": inpaint,
    "motion": motion,
    "naive": naive,
    "humanml": humanml,
    "samplers": samplers,
    "pictures": pictures,
    "trained": trained,
    "strokes": strokes,
    "change": change,
    "doodle": doodle,
}
