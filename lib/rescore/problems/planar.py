"""A distribution in the plane as a problem for models: standard coordinates, and draws that are named by seed and use."""

from functools import cached_property

from torch import Tensor

from rescore.data.planar import planar_set
from rescore.data.standardise import Standardiser
from rescore.metrics.points import sliced_wasserstein
from rescore.random import make_generator


class PlanarProblem:
    """One of `rescore.data.planar.PLANAR` in coordinates of mean 0 and variance 1.

    Args:
        stream: the first name of all its draws.
        points: for training.
        projections: of `distance`.

    Attributes:
        train: (points, 2) float32.
        scale: from raw coordinates to standard ones.
    """

    def __init__(self, name: str, stream: str, points: int, projections: int):
        self.name, self.stream, self.projections, self.set = name, stream, projections, planar_set(name)
        raw = self.set.sample(points, make_generator(stream, name, "train"))
        self.scale = Standardiser.of(raw, name)
        self.train = self.scale(raw).float()

    def draws(self, seed: int, use: str, n: int) -> Tensor:
        """Points of the data, (n, 2) float32."""
        return self.scale(self.set.sample(n, make_generator(self.stream, self.name, seed, use))).float()

    def distance(self, x: Tensor, seed: int) -> float:
        """The sliced 2-Wasserstein distance to as many draws of the data. Raises Diverged for a point that is not finite."""
        return sliced_wasserstein(x, self.draws(seed, "reference", len(x)), seed=seed, projections=self.projections)

    def off_support(self, x: Tensor) -> float:
        """The fraction of points off the support."""
        return self.set.off_support(self.scale.inverse(x))

    @cached_property
    def entropy(self) -> float | None:
        """In nats; no density has a smaller mean negative log-likelihood. None where there is no closed form."""
        return None if self.set.entropy is None else self.set.entropy - self.scale.log_scale
