"""Laws of Euler's chain under optimal control, and the control from uncontrolled paths, against closed forms and samples."""

import math

import numpy as np
import pytest
import torch
from conftest import ROOT
from measuring import as_records, measured
from rescore.control import ControlledSDE, MixtureControl
from rescore.metrics.points import ring_arcs
from rescore.papers import load_config, load_paper
from rescore.random import make_generator
from rescore.targets import GaussianMixture, gaussian, nine_modes
from scipy import integrate, stats

F64 = torch.float64
MEAN, STD = 1.5, 0.6
PAPER = load_paper("pis", ROOT)
LAW, UNCONTROLLED = PAPER.module("euler_law"), PAPER.module("uncontrolled")
EndLaw, gaussian_control, gaussian_end = LAW.EndLaw, LAW.gaussian_control, LAW.gaussian_end
gaussian_ess, gaussian_w2, mixture_end, w2 = LAW.gaussian_ess, LAW.gaussian_w2, LAW.mixture_end, LAW.w2
estimated_control, log_weight_moment = UNCONTROLLED.estimated_control, UNCONTROLLED.log_weight_moment


def line(*means: float, std: float = STD) -> GaussianMixture:
    return GaussianMixture(torch.tensor(means, dtype=F64)[:, None], std)


def test_affine_control_is_the_mixture_s():
    sde = ControlledSDE(7, horizon=2.0, sigma=0.8)
    c, g = gaussian_control(sde, MEAN, STD)
    exact = MixtureControl(sde, line(MEAN)).on_grid(sde.times())
    for k in range(7):
        assert exact(k, torch.tensor([[0.3]], dtype=F64)).item() == pytest.approx((c[k] - 0.3 * g[k]).item(), abs=1e-12)


@pytest.mark.parametrize(("steps", "std"), [(20, 0.6184376), (100, 0.6036392)])
def test_end_of_a_gaussian(steps, std):
    assert gaussian_end(ControlledSDE(steps), MEAN, STD) == pytest.approx((MEAN, std), abs=1e-6)
    assert gaussian_w2(ControlledSDE(steps), MEAN, STD, 9) == pytest.approx(3 * (std - STD), abs=1e-5)


def test_a_constant_error_moves_the_mean_by_its_integral():
    """delta sigma int dt / (1 + a v(t)) = delta log(1 + a V) / (sigma a)."""
    sde, delta = ControlledSDE(4000, horizon=2.0, sigma=0.9), 0.3
    a = 1 / STD**2 - 1 / sde.prior_variance
    expected = delta * math.log(1 + a * sde.prior_variance) / (sde.sigma * a)
    assert gaussian_end(sde, MEAN, STD, delta)[0] - MEAN == pytest.approx(expected, rel=2e-3)
    assert gaussian_w2(sde, MEAN, STD, 4, delta**2) == pytest.approx(2 * expected, rel=2e-3)


class Shifted:
    def __init__(self, control: MixtureControl, shift: float):
        self.control, self.shift = control, shift

    def on_grid(self, times):
        exact = self.control.on_grid(times)
        return lambda k, x: exact(k, x) + self.shift


def test_ess_is_that_of_simulated_weights():
    sde, target, n = ControlledSDE(4), line(MEAN), 200_000
    buffer, generator = torch.empty(n, 1, dtype=F64), make_generator("ess")
    paths = sde.simulate(Shifted(MixtureControl(sde, target), 0.2), target, lambda: buffer.normal_(generator=generator))
    squares = torch.exp(2 * paths.log_w)
    stderr = squares.std().item() / math.sqrt(n)
    assert stderr < 0.01 and abs(squares.mean().item() - 1 / gaussian_ess(sde, MEAN, STD, 0.2)) < 4 * stderr


@pytest.mark.parametrize("eps", [0.01, 0.3, 0.9])
def test_ess_of_fine_steps_is_exp_minus_eps_and_so_above_the_bound(eps):
    found = gaussian_ess(ControlledSDE(20_000), MEAN, STD, math.sqrt(eps / 5))
    assert found == pytest.approx(math.exp(-eps), abs=1e-4) and found > 1 - eps


def test_weights_of_infinite_variance_have_no_ess():
    assert gaussian_ess(ControlledSDE(1), 0.0, 2.0, 0.0) == 0


def test_end_of_a_mixture_in_one_dimension():
    sde = ControlledSDE(20)
    assert w2(mixture_end(sde, line(MEAN)), line(MEAN)) == pytest.approx(gaussian_w2(sde, MEAN, STD, 1), abs=1e-6)
    target, n = line(-2.0, 1.0, std=0.5), 4000
    buffer, generator = torch.empty(n, 1, dtype=F64), make_generator("mixture end")
    x = sde.simulate(MixtureControl(sde, target), target, lambda: buffer.normal_(generator=generator)).x[:, 0]
    law = mixture_end(sde, target)
    assert law.weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert stats.kstest(x.numpy(), lambda at: law.cdf(torch.tensor(np.atleast_1d(at))).numpy()).pvalue > 1e-3


def test_w2_of_laws_that_are_known():
    target = line(-5.0, 0.0, 5.0, std=0.5)
    assert w2(EndLaw(target.means[:, 0], target.weights, 0.5), target) < 1e-6
    assert w2(EndLaw(target.means[:, 0] + 0.3, target.weights, 0.5), target) == pytest.approx(0.3, abs=1e-4)
    moved, narrow = torch.tensor([0.25, 0.5, 0.25], dtype=F64), line(-5.0, 0.0, 5.0, std=0.02)
    found = w2(EndLaw(narrow.means[:, 0], moved, 0.02), narrow)  # a twelfth of the mass comes in from each side, over 5
    assert found == pytest.approx(5 / math.sqrt(6), rel=0.03)


def test_uncontrolled_trajectories_estimate_the_control():
    sde, x = ControlledSDE(10), torch.tensor([0.3, -0.2], dtype=F64)
    target = gaussian(torch.tensor([0.5, -0.3]), 0.8)
    noise = torch.randn(400_000, 2, dtype=F64, generator=make_generator("uncontrolled"))
    truth = MixtureControl(sde, target).on_grid(sde.times())(4, x[None])[0]
    torch.testing.assert_close(estimated_control(sde, target, 4 * sde.dt, x, noise), truth, rtol=0, atol=0.01)
    assert truth.norm() > 0.1


def test_the_second_moment_of_uncontrolled_weights():
    sde = ControlledSDE(sigma=0.5)
    mu, mu0 = stats.norm(MEAN, STD).pdf, stats.norm(0, math.sqrt(sde.prior_variance)).pdf
    moment, _ = integrate.quad(lambda x: mu(x) ** 2 / mu0(x), -10, 12, points=[MEAN])
    assert log_weight_moment(sde, MEAN, STD) == pytest.approx(math.log(moment), abs=1e-9)
    assert log_weight_moment(sde, MEAN, math.sqrt(2 * sde.prior_variance)) == math.inf


def test_arcs_of_a_ring():
    x = torch.tensor([[1.0, 0.1], [1.05, 0.1], [0.1, 1.0], [-1.0, -0.1], [2.0, 0.1], [0.1, -0.5]])
    assert ring_arcs(x, 1.0, 0.1, 4).tolist() == [1, 0, 3, 0]  # the quadrants from the third on


def test_modes_at_another_distance_have_another_name():
    assert (nine_modes().name, nine_modes(2.5).name) == ("mg", "mg2.5")
    assert nine_modes(2.5).means.abs().max() == 2.5 and nine_modes(2.5).std == nine_modes().std


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    config, folder = load_config(PAPER, "smoke"), tmp_path_factory.mktemp("words")
    return {job: as_records(PAPER, measured(PAPER, config, job, folder)) for job in ("theory", "sweeps")}


def test_sections_of_the_text_leave_one_record_a_place(words):
    found = words["theory"] + words["sweeps"]
    assert len({record.key for record in found}) == len(found)
    assert {record.table for record in words["theory"]} == {"theorem 3", "theorem 4", "eq 5.8"}
    assert {record.table for record in words["sweeps"]} == {"fig 5.2", "section 5.3.3", "section 5.4.2", "steps"}
    assert {record.dataset for record in words["sweeps"]} == {"rings", "mg", "funnel", "mg1", "mg4"}
    assert {record.nfe for record in words["sweeps"] if record.table == "steps"} == {3, 6}
    covers = [record for record in words["sweeps"] if record.metric.endswith("_covered")]
    assert {record.method for record in covers} == {"PIS-NN", "PIS-Grad", "VI-NF", "exact"} and len(covers) == 12
    assert all(0 <= record.value <= 1 for record in covers)
    trained = {record.protocol for record in words["sweeps"] if record.table == "steps"}
    assert all("train_steps=3" in protocol and "train_batch=20" in protocol for protocol in trained)


def test_the_exact_sections_are_right_to_every_digit(words):
    at = {record.key[1:]: record.value for record in words["theory"]}
    config = load_config(PAPER, "smoke")
    sde = ControlledSDE(6, config.horizon, config.sigma)
    assert at["theorem 3", "gaussian", "Euler with u*", "error=0", "w2", 6] == gaussian_w2(sde, 1.5, 0.6, 2)
    three = line(-5.0, 0.0, 5.0, std=math.sqrt(0.3))
    assert at["theorem 3", "mg", "Euler with u*", "error=0", "w2", 6] == pytest.approx(
        2**0.5 * w2(mixture_end(sde, three), three)
    )
    assert at["theorem 3", "gaussian", "Euler with u*", "step size", "slope", None] == pytest.approx(
        math.log2(gaussian_w2(ControlledSDE(3), 1.5, 0.6, 2) / gaussian_w2(sde, 1.5, 0.6, 2)), abs=1e-9
    )
    fine = ControlledSDE(100, config.horizon, config.sigma)
    assert at["theorem 4", "gaussian", "Euler with u*", "error=0.1", "ess", 100] == gaussian_ess(
        fine, 1.5, 0.6, math.sqrt(0.02)
    )
    moments = [at["eq 5.8", "gaussian", "uncontrolled", f"d={d}", "log_weight_moment", None] for d in (1, 4)]
    assert moments[1] == pytest.approx(4 * moments[0])
