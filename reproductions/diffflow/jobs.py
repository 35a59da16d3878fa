"""What DiffFlow's jobs measure, by section."""

from reproductions.diffflow import cost, images, planar, tabular

SECTIONS = {"planar": planar.measure, "cost": cost.measure, "tabular": tabular.measure, "images": images.measure}
