"""What a job of the paper may measure."""

from reproductions.diffflow import bits, cost, grids, images, losses, planar, rivals, sampling, tabular

SECTIONS = {
    "planar": planar.measure,
    "cost": cost.measure,
    "grids": grids.measure,
    "sampling": sampling.measure,
    "tabular": tabular.measure,
    "rivals": rivals.measure,
    "images": images.measure,
    "losses": losses.measure,
    "bits": bits.measure,
}
