"""The log Gaussian Cox process posterior (thesis eq. 5.21).

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.targets.base import Target

VARIANCE = 1.91
BETA = 1 / 33  # length scale as a fraction of the square's side
PINES_LOG_Z = 501.6  # long SMC from the Laplace approximation, 126 pines on 40x40 cells; known to about 0.3
NEWTON_STEPS = 20  # to the mode


class LogGaussianCox(Target):
    """Latent f on an n x n grid: prior N(mu0, K), likelihood prod_i exp(f_i y_i - a exp f_i), a = 1/n^2.

    K_ij = 1.91 exp(-|i - j| / (n beta)), |i - j| the Euclidean distance of integer grid indices; mu0 = log(sum y) - 1.91/2.
    The prior is normalised; the constants a^y and y! of the Poisson law are left out, as in the papers that use this target.

    K commutes with the grid's two reflections, so K^-1 falls into four blocks, one for each parity (even or odd in rows
    and in columns). Multiplying block by block costs a quarter of the dense product.

    Args:
        counts: (n, n) points per cell, n even.
        log_z: log Z if known.
        name: spelling in the ledger.
    """

    def __init__(self, counts: Tensor, log_z: float | None = None, name: str = "lgcp"):
        counts = torch.as_tensor(counts, dtype=torch.float64)
        n = counts.shape[0]
        if counts.shape != (n, n) or n % 2:
            raise RescoreError(f"lgcp: counts of shape {tuple(counts.shape)}; a square grid with an even side is needed")
        self.side, self.dim, self.name, self.log_z = n, n * n, name, log_z
        self.area = 1 / self.dim
        self.counts = counts.reshape(-1)
        self.prior_mean = math.log(counts.sum()) - VARIANCE / 2
        self.covariance = prior_covariance(n)
        cholesky = torch.linalg.cholesky(self.covariance)
        self.log_norm = -cholesky.diagonal().log().sum().item() - 0.5 * self.dim * math.log(2 * math.pi)
        precision = torch.cholesky_inverse(cholesky)
        self._order = _quadrant_order(n)
        self._inverse_order = self._order.reshape(-1).argsort()
        rows = self._fold(precision)  # (4, d, d/4): block p of F K^-1 still has all d rows
        blocks = [self._fold(rows[p].T.contiguous())[p] for p in range(4)]
        self._blocks = {torch.float64: torch.stack(blocks)}

    def _fold(self, x: Tensor) -> Tensor:
        """(B, d) to its parity parts, (4, B, d/4): even-even, even-odd, odd-even, odd-odd. An isometry F."""
        quadrants = x.index_select(1, self._order.reshape(-1).to(x.device)).reshape(len(x), 4, -1).unbind(1)
        return _butterfly(quadrants, dim=0)

    def _unfold(self, parts: Tensor) -> Tensor:
        """The inverse (and transpose) of `_fold`."""
        quadrants = _butterfly(parts.unbind(0), dim=1)
        return quadrants.reshape(-1, self.dim).index_select(1, self._inverse_order.to(parts.device))

    def _precision_times(self, x: Tensor) -> Tensor:
        """K^-1 x for x of shape (..., d)."""
        if x.dtype not in self._blocks:
            self._blocks[x.dtype] = self._blocks[torch.float64].to(x.dtype)
        blocks = self._blocks[x.dtype].to(x.device)
        return self._unfold(torch.bmm(self._fold(x.reshape(-1, self.dim)), blocks)).reshape(x.shape)

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        residual = x - self.prior_mean
        product = self._precision_times(residual)
        intensity = self.area * torch.exp(x)
        counts = self.counts.to(x)
        # d = 1600 terms of order 1 to 100: sum them in float64, the log weights need it.
        terms = torch.addcmul(counts * x - intensity, residual, product, value=-0.5)
        log_prob = self.log_norm + terms.sum(-1, dtype=torch.float64)
        return log_prob.to(x.dtype), counts - intensity - product

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[0]

    def score(self, x: Tensor) -> Tensor:
        product = self._precision_times(x - self.prior_mean)
        return (self.counts.to(x) - product).sub_(torch.exp(x), alpha=self.area)

    def laplace_precision(self) -> Tensor:
        """Eigenvalues of minus the Hessian of log muhat at its mode, (d,), ascending, float64."""
        prior = torch.linalg.inv(self.covariance)
        x = torch.full((self.dim,), self.prior_mean, dtype=torch.float64)
        for _ in range(NEWTON_STEPS):
            hessian = prior + torch.diag(self.area * x.exp())
            x = x + torch.linalg.solve(hessian, self.score(x))
        return torch.linalg.eigvalsh(prior + torch.diag(self.area * x.exp()))


def _butterfly(parts: tuple[Tensor, ...], dim: int) -> Tensor:
    """The symmetric orthogonal 4x4 Hadamard transform of four tensors, stacked along `dim`."""
    a, b, c, d = parts[0] + parts[1], parts[0] - parts[1], parts[2] + parts[3], parts[2] - parts[3]
    return torch.stack((a + c, b + d, a - c, b - d), dim).mul_(0.5)


def _quadrant_order(n: int) -> Tensor:
    """Cell indices of the quadrants, (4, (n/2)^2), each read from the grid's corner inwards, so that mirrored cells align."""
    cells = torch.arange(n * n).reshape(n, n)
    h = n // 2
    mirrored = (cells, cells.flip(1), cells.flip(0), cells.flip(0, 1))
    return torch.stack([quadrant[:h, :h].reshape(-1) for quadrant in mirrored])


def prior_covariance(n: int) -> Tensor:
    """K, (n^2, n^2), float64, row-major cells."""
    axis = torch.arange(n, dtype=torch.float64)
    cells = torch.cartesian_prod(axis, axis)
    return VARIANCE * torch.exp(-torch.cdist(cells, cells) / (n * BETA))


def bin_counts(points: Tensor, n: int) -> Tensor:
    """Points per cell of the unit square, (n, n) float64: row floor(n x), column floor(n y), the far edge in the last cell."""
    cell = (torch.as_tensor(points, dtype=torch.float64) * n).long().clamp_max(n - 1)
    return torch.bincount(cell[:, 0] * n + cell[:, 1], minlength=n * n).double().reshape(n, n)


def pines(points: Tensor, n: int = 40) -> LogGaussianCox:
    """`lgcp`: the 126 Finnish pine saplings, points (126, 2) in the unit square; log Z = 501.6 at n = 40."""
    return LogGaussianCox(bin_counts(points, n), log_z=PINES_LOG_Z if n == 40 else None)


def synthetic(n: int, seed: int = 0, expected_count: float = 126.0) -> LogGaussianCox:
    """`lgcp_synthetic`: counts drawn from the model itself, for machines without the pines. log Z is not known."""
    generator = torch.Generator().manual_seed(seed)
    cholesky = torch.linalg.cholesky(prior_covariance(n))
    latent = math.log(expected_count) - VARIANCE / 2 + cholesky @ torch.randn(n * n, dtype=torch.float64, generator=generator)
    counts = torch.poisson(latent.exp() / n**2, generator=generator)
    return LogGaussianCox(counts.reshape(n, n), name="lgcp_synthetic")
