"""Laws of wide pictures whose pieces of 32x32 have exact scores: a photograph cut into tiles, and Gaussian fields."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from rescore.data.textures import SKY, SKY_STD, load_texture, sky_colours, windows, without_slope
from torch import Tensor

SIDE, HALF = 32, 16  # of a piece, and of what two neighbours share
STD = SKY_STD  # of a field
PERIOD = 640  # of a field's torus: more than a panorama and a photograph together, so that no lag wraps


@dataclass(frozen=True)
class Quilt:
    """A Markov chain of tiles (SIDE, HALF) of a texture: each is followed by one of so many others, all as likely.

    Those that may follow each other are the cheapest pairs by the square step where they meet, chosen so that every tile has as
    many followers as forerunners. So all tiles are as likely at every place, and the law of a row of them is known: its pieces
    are the pairs, their overlaps the tiles, and a graph of these has its Markov property.

    Args:
        name: of `rescore.data.textures.TEXTURES`.
        stride: between the tiles in the photograph, in pixels down and across.
        followers: of each tile.
    """

    name: str
    stride: tuple[int, int]
    followers: int

    @cached_property
    def tiles(self) -> Tensor:
        """(K, 1, SIDE, HALF) in [-1, 1]."""
        image = load_texture(self.name)
        rows, columns = (length - size + 1 for length, size in zip(image.shape, (SIDE, HALF), strict=True))
        every = windows(image, SIDE, HALF, [(0, image.shape[1])]).reshape(rows, columns, 1, SIDE, HALF)
        chosen = every[:: self.stride[0], :: self.stride[1]].reshape(-1, 1, SIDE, HALF)
        return torch.from_numpy(np.ascontiguousarray(chosen)).float() / 127.5 - 1

    @cached_property
    def follows(self) -> Tensor:
        """(K, K) bool: whether the tile of the column may follow that of the row; each row and column has `followers`."""
        from scipy.optimize import linear_sum_assignment

        left, right = self.tiles[..., -1].flatten(1).double(), self.tiles[..., 0].flatten(1).double()
        cost = torch.cdist(left, right).square().numpy()
        allowed = np.zeros(cost.shape, dtype=bool)
        for _ in range(self.followers):  # the cheapest permutation of what is left
            allowed[linear_sum_assignment(np.where(allowed, 1e6, cost))] = True
        return torch.from_numpy(allowed)

    @cached_property
    def pairs(self) -> Tensor:
        """(K followers, 1, SIDE, SIDE): the pieces, all as likely."""
        first, second = self.follows.nonzero().T
        return torch.cat((self.tiles[first], self.tiles[second]), -1)

    def draw(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        """Draws of the law itself, (n, 1, SIDE, length)."""
        row = [torch.randint(len(self.tiles), (n,), generator=generator)]
        for _ in range(length // HALF - 1):
            row.append(torch.multinomial(self.follows[row[-1]].float(), 1, generator=generator)[:, 0])
        return torch.cat([self.tiles[tile] for tile in row], -1)

    def joins(self, x: Tensor) -> float:
        """The share of neighbours among the nearest tiles of x (n, 1, SIDE, length) that may follow each other: 1 in `draw`."""
        places = x.unflatten(-1, (-1, HALF)).movedim(-2, 1).flatten(2)  # (n, length / HALF, SIDE HALF)
        nearest = torch.cdist(places, self.tiles.flatten(1)).argmin(-1)
        return self.follows[nearest[:, :-1], nearest[:, 1:]].double().mean().item()


@dataclass(frozen=True)
class Field:
    """A stationary Gaussian field with the lags of a photograph, alike in all directions that a square's symmetries make.

    Args:
        name: `sky`, or one of `rescore.data.textures.TEXTURES`.
    """

    name: str

    @cached_property
    def photograph(self) -> np.ndarray:
        """(H, W) float64, without its mean and slope, of the sky its colours' mean.

        Under a Hann window, so that its edges do not show in the spectrum.
        """
        image = sky_colours().mean(2) if self.name == SKY else load_texture(self.name).astype(float)
        return without_slope(image) * np.outer(*(np.hanning(length) for length in image.shape))

    @cached_property
    def spectrum(self) -> Tensor:
        """(PERIOD, PERIOD) float64, the power of each wave on a torus: no negative lag sum, so every patch has a covariance."""
        power = np.abs(np.fft.fft2(self.photograph, (PERIOD, PERIOD))) ** 2
        mirrored = power + np.roll(power[:, ::-1], 1, 1)
        both = torch.from_numpy(mirrored + mirrored.T)
        return both * (STD**2 * both.numel() / both.sum())

    @cached_property
    def lags(self) -> Tensor:
        """(PERIOD, PERIOD) float64: the covariance of two pixels so many rows and columns apart."""
        return torch.fft.ifft2(self.spectrum).real

    def covariance(self, width: int) -> Tensor:
        """Of a patch (SIDE, width), flattened."""
        y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(SIDE), torch.arange(width), indexing="ij"))
        return self.lags[(y[:, None] - y).abs(), (x[:, None] - x).abs()]

    def draw(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        """Draws of the law itself, (n, 1, SIDE, length)."""
        white = torch.randn(n, 1, PERIOD, PERIOD, generator=generator, dtype=torch.float64)
        x = torch.fft.ifft2(torch.fft.fft2(white) * self.spectrum.sqrt()).real
        return x[..., :SIDE, :length].float()

    def lag_errors(self, x: Tensor) -> dict[str, float]:
        """RMS errors of the correlations along x (n, 1, SIDE, length): at lags within a piece, and at longer ones to three."""
        numbers = {}
        for name, lags in (("near", range(1, SIDE)), ("far", range(SIDE, 3 * SIDE))):
            errors = [(x[..., :-lag] * x[..., lag:]).mean().item() - self.lags[0, lag].item() for lag in lags]
            numbers[f"{name}_lags"] = float(np.sqrt(np.mean(np.square(errors)))) / STD**2
        return numbers


def sky_palette() -> np.ndarray:
    """(2, 3): the mean colour of the sky, and the colour by which it changes where it is brighter by one grey level."""
    colours = sky_colours().reshape(-1, 3)
    centred = colours - colours.mean(0)
    bright = centred.mean(1)
    return np.stack([colours.mean(0), centred.T @ bright / (bright @ bright)])
