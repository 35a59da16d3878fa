"""What DiffFlow's jobs measure, by section."""

from reproductions.diffflow import bits, cost, grids, images, losses, planar, rivals, sampling, tabular

MODULES = {
    "planar": planar,
    "cost": cost,
    "grids": grids,
    "sampling": sampling,
    "tabular": tabular,
    "rivals": rivals,
    "images": images,
    "losses": losses,
    "bits": bits,
}
SECTIONS = {name: module.measure for name, module in MODULES.items()}
