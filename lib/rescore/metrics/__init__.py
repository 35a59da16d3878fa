"""Distances between samples and the truth.

`points` of clouds, `maps` of densities of the plane, `images` of images through `features` of a network, or their `pixels`.
"""

from rescore.metrics.points import PROJECTIONS, nearest, rmse, sliced_wasserstein

__all__ = ["PROJECTIONS", "nearest", "rmse", "sliced_wasserstein"]
