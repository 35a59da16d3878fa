"""What a job of the paper may measure."""

from reproductions.cld.exact import damping, frechet, splitting, weights
from reproductions.cld.sampled import digits, mixture, scores
from reproductions.cld.trained import trained
from rescore.experiments.book import Section

SECTIONS: dict[str, Section] = {
    "scores": scores,
    "damping": damping,
    "weights": weights,
    "splitting": splitting,
    "mixture": mixture,
    "frechet": frechet,
    "digits": digits,
    "trained": trained,
}
