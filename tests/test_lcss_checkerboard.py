"""LCSS's checkerboard: loss curves against what they are made of, samples of eq. 31 against the law of its chains."""

import math

import numpy as np
import pytest
import torch
from measuring import as_records, configured, measured
from rescore.metrics.maps import cell_centres
from rescore.objectives.pointwise import probes
from rescore.papers import load_paper
from rescore.random import make_generator

PAPER = load_paper("lcss")
board, chains, config = (PAPER.module(name) for name in ("checkerboard", "langevin", "config"))
TRAINING = {"members": 2, "width": 8, "steps": 40, "batch": 16, "cells": 10}
CHAIN = {"steps": 6, "chains": 400, "half_width": 6.0, "cells": 48}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    content = {"checkerboard": TRAINING, "langevin": CHAIN, "seeds": [0, 1], "jobs": {"one": {"measure": ["checkerboard"]}}}
    return measured(PAPER, configured(PAPER, content), "one", tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def values(result):
    return {(r.table, r.method, r.variant, r.metric): r for r in as_records(PAPER, result)}


def test_the_curves_of_dsm_and_lcss_differ_by_their_noise(result, values):
    """abs(z)^2 / (2 sigma^2) of the draws themselves, step by step and member by member; its moments have a closed form."""
    gap = result.arrays["board_losses/DSM"] - result.arrays["board_losses/LCSS"]
    draws, expected = make_generator("lcss", "checkerboard"), []
    for _ in range(TRAINING["steps"]):
        z = probes(board.BOARD.sample_float32(2 * TRAINING["batch"], draws), draws)
        expected.append(z.square().sum(1).div(0.02).unflatten(0, (2, -1)).mean(1).tolist())
    assert gap == pytest.approx(np.array(expected), rel=1e-5)
    found = {metric: values["fig8", "DSM less LCSS", "MLP", metric].value for metric in ("loss_gap", "loss_gap_std")}
    assert found["loss_gap"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert found["loss_gap_std"] == pytest.approx(np.std(expected, axis=0).mean(), rel=1e-5)
    exact = {metric: values["fig8", "closed form", "MLP", metric].value for metric in ("loss_gap", "loss_gap_std")}
    assert exact == {"loss_gap": pytest.approx(100), "loss_gap_std": pytest.approx(100 / 4)}
    assert found["loss_gap"] == pytest.approx(100, abs=4 * 25 / math.sqrt(80)) and found["loss_gap_std"] == pytest.approx(
        25, rel=0.4
    )


def test_a_curve_in_numbers():
    """A loss that falls from 10 to 0 with half of it made at a fifth, a step's noise of 3 about a slope in the second half."""
    steps = np.arange(10_000)
    curve = np.interp(steps, [0, 499, 1750, 2250, 9499, 9999], [10, 10, 5, 5, 0, 0])
    noise = 3 * np.random.default_rng(0).standard_normal(len(steps)) * (steps >= 5000) * (steps < 9500)
    found = board.loss_curve((curve + noise)[:, None])
    assert found["loss_fall"] == pytest.approx(10) and found["early_share"] == pytest.approx(0.5)
    assert found["loss_noise"][0] == pytest.approx(3 * math.sqrt(0.9), rel=0.04)
    assert found["noise_over_fall"] == pytest.approx(found["loss_noise"] / 10)


@pytest.mark.parametrize("method", ["SSM", "FD-SSM", "DSM", "LCSS"])
def test_chains_end_where_their_law_says(method, values):
    """400 chains of each of two networks; their share off the squares against the law's, within four standard errors."""
    law, drawn = (values["eq. 31", method, "MLP", f"{which}off_support"] for which in ("", "sampled_"))
    error = math.sqrt(law.value * (1 - law.value) / 800)
    assert abs(law.value - drawn.value) < 4 * error + 0.01 and 0.2 < law.value < 0.6
    assert abs(values["eq. 31", method, "MLP", "left_square"].value) < 1e-3
    assert (drawn.n_samples, law.n_samples, law.over, law.nfe) == (800, 2, "trainings", 6)


def test_a_flat_density_spreads_the_start(result):
    """f = 0: Gaussian steps alone. The law is the start's convolution, its distance to f's the one to a uniform law."""
    settings, cell = config.Langevin(**CHAIN), Cell()
    network = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(network.weight)
    chains.sample(cell, settings, "none", [network])
    x = cell_centres(6.0, 48, torch.float64)
    sd = math.sqrt(settings.epsilon * settings.steps)
    side = lambda a: (torch.special.ndtr((a + 4) / sd) - torch.special.ndtr((a - 4) / sd)) / 8  # noqa: E731
    law = side(x[:, 0]) * side(x[:, 1]) / 16
    support = board.BOARD.density(x) > 0
    assert cell.found["off_support"][0] == pytest.approx(1 - law[support].sum().item(), abs=0.01)
    uniform = torch.full_like(law, 1 / 48**2)
    assert cell.found["tv_to_grid"][0] == pytest.approx(0.5 * (law - uniform).abs().sum().item(), abs=0.01)
    data = support.double() / support.sum()
    assert cell.found["tv"][0] == pytest.approx(0.5 * (law - data).abs().sum().item(), abs=0.01)
    bright = law[support]
    assert cell.found["bright_spread"][0] == pytest.approx((bright.std() / bright.mean()).item(), rel=0.05)


class Cell:
    def __init__(self):
        self.found, self.arrays = {}, {}

    def add(self, metric, values, n):
        self.found[metric] = values


def test_the_data_with_noise_are_off_the_squares_by_a_closed_form(values):
    """A coordinate leaves its square with p = sigma / sqrt(2 pi). Where both do, 14 of the 32 corners lead off the board."""
    p = 0.1 / math.sqrt(2 * math.pi)
    off = 2 * p * (1 - p) + p * p * 14 / 32
    found = values["eq. 31", "data with noise", "MLP", "off_support"].value
    assert found == pytest.approx(off, abs=1e-4)
    small = values["eq. 31", "exact score", "epsilon=0.01", "sampled_off_support"]
    assert small.n_samples == 800 and 0 < small.value < 0.5
