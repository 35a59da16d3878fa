"""DiffFlow's grids, samplers of eq. 3.16, DDPM's two losses and the flows beside it: exact checks, stubs of known answers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ledger_case import record
from measuring import book_of, configured
from rescore.data.images import load_images
from rescore.data.pixels import dequantise
from rescore.figures import PaperResults
from rescore.flows.density import ffjord, fit_flow, flow_log_prob, made, naf
from rescore.models import evaluate
from rescore.models.bits import ImageBits
from rescore.neural_sde import DiffFlow, DiffFlowTraining, NeuralSDE, Progressive, elbo, hat_l_beta, l_beta, train
from rescore.papers import load_config, load_paper
from rescore.processes import VP
from rescore.random import make_generator
from rescore.training import loop
from rescore.training.loop import Adam
from torch import nn

PAPER = load_paper("diffflow")
GRIDS, SAMPLING, LOSSES, RIVALS, METHODS, CONFIG, COST = (
    PAPER.module(name) for name in ("grids", "sampling", "losses", "rivals", "methods", "config", "cost")
)
F64 = torch.float64


def smoke():
    return load_config(PAPER, "smoke")


class Linear(nn.Module):
    """A field a x."""

    def __init__(self, a: float):
        super().__init__()
        self.a = a

    def forward(self, x, t):
        return self.a * x


def linear_flow(a: float, b: float, g: float, **training) -> DiffFlow:
    """f = a x, s = b x, on grids of 4 steps unless told otherwise."""
    settings = {"t0": 0.1, "T": 1.3, "beta": 0.8, "sampling_steps": 4} | training
    return DiffFlow(
        NeuralSDE(Linear(a), Linear(b), g), DiffFlowTraining(Adam(1, 0.1), Progressive((4,), (1.0,)), 1, **settings)
    )


# --- grids --------------------------------------------------------------------------------------------------------------------


def test_a_jump_is_the_rise_of_the_loss_where_n_grows():
    """Two changes, after 4 and after 6 of 10 iterations: (2, 3 | 7, 9) rises by 5.5, (7, 9 | 1, 2) falls by 6.5."""
    losses = np.array([50.0, 60, 2, 3, 7, 9, 1, 2, 30, 40])
    assert GRIDS.jump(losses, Progressive((2, 3, 5), (0.4, 0.2, 0.4)), 2) == pytest.approx((5.5 - 6.5) / 2)
    assert GRIDS.jump(losses, Progressive((2, 3), (0.4, 0.6)), 3) == pytest.approx((7 + 9 + 1) / 3 - (60 + 2 + 3) / 3)
    assert GRIDS.jump(losses, Progressive((2, 3), (0.2, 0.8)), 5) == pytest.approx((2 + 3 + 7 + 9 + 1) / 5 - 55)


def test_a_bound_on_given_times():
    """The bound of `elbo` on these times, and not on the model's own grid."""
    model, x = linear_flow(-0.7, 0.2, 0.5), torch.randn(50, 2, generator=make_generator("x"), dtype=F64)
    times = hat_l_beta(3, make_generator("times"), 0.1, 1.3)
    found = model.elbo(x, make_generator("paths"), times=times)
    assert torch.equal(found, elbo(model.model, x, times, make_generator("paths")))
    own = model.elbo(x, make_generator("paths"))
    assert torch.equal(own, elbo(model.model, x, l_beta(4, 0.1, 1.3, 0.8), make_generator("paths")))
    assert (found - own).abs().max() > 0.01


def test_grids_are_compared_on_the_same_paths_and_times(tmp_path, monkeypatch):
    """A bound that is a function of the times only; losses that differ by grid. All numbers by hand."""
    config, asked = smoke(), []
    its = config.grids

    class Stub:
        def __init__(self, fit, seed):
            self.offset = seed + (10 if fit.grid == "hat L_beta" else 0)
            self.training = METHODS.diffflow_training(fit)
            self.losses = torch.arange(its.points, dtype=F64) ** 2 * (1 + self.offset)

        def elbo(self, x, generator, times):
            asked.append((len(x), generator.initial_seed()))
            return -(self.offset + times.diff().square().sum()).expand(len(x))

    def train(method, fit, x, folder, *names):
        assert method == "DiffFlow" and names[:3] == ("diffflow", "grids", "rings") and fit.steps == its.points
        return Stub(fit, names[3])

    monkeypatch.setattr(GRIDS, "train", train)
    book = book_of(PAPER, config, "more", tmp_path)
    GRIDS.points(book, "rings")
    found = {(one.variant, one.metric): one for one in book.measurements}
    fit, n = config.plane.diffflow, max(its.progressive)
    fixed = l_beta(n, fit.t0, fit.T, fit.beta).diff().square().sum().item()
    random = [
        [hat_l_beta(n, make_generator("diffflow", "grids", s, k), fit.t0, fit.T, fit.beta) for k in range(2)] for s in (0, 1)
    ]
    others = np.mean([[times.diff().square().sum() for times in drawn] for drawn in random])
    assert found["L_beta, fixed", "nll"].value == pytest.approx(0.5 + fixed)
    assert found["hat L_beta, fixed", "nll"].value == pytest.approx(10.5 + fixed)
    assert found["hat L_beta, progressive", "nll_random_grids"].value == pytest.approx(10.5 + others)
    # losses i^2 (1 + offset) of six iterations, N from 2 to 3 after three: (9 + 16) / 2 - (1 + 4) / 2 = 10; the last two are
    # 16, 25
    assert found["L_beta, progressive", "loss_jump"].value == pytest.approx(10 * 1.5)
    assert found["hat L_beta, progressive", "loss_std"].value == pytest.approx(9 / math.sqrt(2) * 11.5)
    assert ("L_beta, fixed", "loss_jump") not in found, "N does not change"
    difference = found["hat L_beta less L_beta, progressive", "loss_jump_difference"]
    assert (difference.value, difference.stderr) == pytest.approx((100.0, 0.0))
    assert found["hat L_beta less L_beta, fixed", "nll_difference"].value == pytest.approx(10.0)
    assert {n for n, _ in asked} == {config.plane.likelihoods} and len({seed for _, seed in asked}) == 2, "the paths of a seed"


def test_figure_3_3_has_one_random_time_in_each_cell():
    times = GRIDS.timestamps(CONFIG.DiffFlow(steps=1, batch=1, lr=1))
    fixed, random = times["times/L_beta"], times["times/hat L_beta"]
    assert len(fixed) == len(random) == 11 and (fixed[[0, -1]] == random[[0, -1]]).all()
    edges = l_beta(9).numpy()
    assert (edges[:-1] <= random[1:-1]).all() and (random[1:-1] <= edges[1:]).all() and not np.allclose(fixed, random)


def test_a_progressive_training_is_timed_from_its_first_iteration_on(tmp_path, monkeypatch):
    """By a clock on which an iteration takes N seconds: 50 of N = 30 over 30 of 5, 15 of 10 and 5 of 20, 1500 / 400."""
    content = smoke().model_dump(mode="json")
    content["cost"] |= {"iterations": 50, "fixed_steps": 30}
    content["plane"]["diffflow"] |= {"progressive": {5: 0.6, 10: 0.3, 20: 0.1}, "width": 8, "batch": 4}
    config, now = configured(PAPER, content), [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def losses(loss_of, model, x, times, generator):
        now[0] += len(times) - 1
        return sum(parameter.sum() for parameter in model.parameters()) * torch.ones(len(x))

    monkeypatch.setattr(train, "on_new_paths", losses)
    book = book_of(PAPER, config, "rest", tmp_path)
    COST.compare_schedules(book, PAPER.module("planar").make_problem(config, "rings"))
    found = {(one.variant, one.metric): (one.value, one.stderr) for one in book.measurements if one.metric != "nll"}
    assert found == {
        ("progressive", "train_seconds"): (400.0, 0.0),
        ("fixed", "train_seconds"): (1500.0, 0.0),
        ("", "progressive_time_ratio"): (3.75, 0.0),
    }


# --- samples by eq. 3.16 ------------------------------------------------------------------------------------------------------


def test_the_ode_of_a_linear_model_is_a_product():
    """lambda = 0 multiplies by 1 - (a - g^2 b / 2) dt each step; lambda = 1/2 has 5/8 for 1/2, and the noise of its steps."""
    a, b, g, z = -0.7, -0.4, 0.5, torch.randn(6, 2, generator=make_generator("z"), dtype=F64)
    model, dt = linear_flow(a, b, g), l_beta(4, 0.1, 1.3, 0.8).diff()
    expected = z * (1 - (a - g**2 * b / 2) * dt).prod()
    assert torch.allclose(model.sample(z, make_generator("none"), lam=0.0), expected, rtol=1e-13)
    noise = make_generator("s")
    half = z
    for i in (3, 2, 1, 0):
        half = half * (1 - (a - 5 / 8 * g**2 * b) * dt[i])
        half = half + 0.5 * g * dt[i].sqrt() * torch.randn(6, 2, generator=noise, dtype=F64) if i else half
    assert torch.allclose(model.sample(z, make_generator("s"), lam=0.5), half, rtol=1e-13)


def test_noise_in_the_last_step_adds_its_own_and_nothing_else():
    model, z = linear_flow(-0.7, -0.4, 0.5), torch.randn(6, 2, generator=make_generator("z"), dtype=F64)
    mean, noisy = (model.sample(z, make_generator("s"), last=last) for last in ("tweedie", "noise"))
    generator = make_generator("s")
    draws = [torch.randn(6, 2, generator=generator, dtype=F64) for _ in range(4)]
    first = l_beta(4, 0.1, 1.3, 0.8).diff()[0]
    assert torch.allclose(noisy - mean, 0.5 * first.sqrt() * draws[3], atol=1e-14)


def test_distances_are_relative_to_lambda_1_of_the_same_training(tmp_path):
    """Of two trainings the ratios 3 / 1 and 5 / 2 have the mean 2.75: not 8 / 3, that of the means."""
    content = smoke().model_dump(mode="json") | {"sweep": [5, 10], "sampling": {"lambdas": [0.0, 0.5]}}
    book, asked = book_of(PAPER, configured(PAPER, content), "more", tmp_path), []

    def judged(seed, steps, **options):
        asked.append((seed, steps, options))
        return {
            "fid": {"{}": [1, 2], "{'lam': 0.0}": [3, 5], "{'lam': 0.5}": [2, 2], "{'last': 'noise'}": [4, 4]}[str(options)][
                seed
            ]
        }

    def open_cell(table, nfe, variant, protocol):
        return book.cell(table, "digits", "DiffFlow", variant, nfe, protocol, n=7, over="trainings")

    SAMPLING.kernels(book, open_cell, judged, 30)
    found = {(one.variant, one.metric, one.nfe): one.value for one in book.measurements}
    for n in (5, 30):
        assert found["lambda=1", "fid", n] == 1.5 and ("lambda=1", "fid_ratio", n) not in found
        assert found["lambda=0", "fid", n] == 4 and found["lambda=0", "fid_ratio", n] == 2.75
        assert found["lambda=0.5", "fid_ratio", n] == 1.5 and found[SAMPLING.NOISE, "fid_ratio", n] == 3
    assert len(found) == 14 and len(asked) == 2 * 2 * 4, "each training is sampled once by each"
    steps = {(one.variant, one.protocol["last_step"]) for one in book.measurements}
    assert (SAMPLING.NOISE, "noise") in steps and ("lambda=0", "mean") in steps and len(steps) == 4


def test_the_figure_of_the_kernels_has_every_number_of_steps(tmp_path, monkeypatch):
    """Points with 5 and 30, images with 5 and 100, as at scale paper: a curve each, and all of them in the legend."""
    figures, shown, legends = PAPER.module("figures"), [], []
    of = {"paper": "diffflow", "table": "eq3.16", "method": "DiffFlow", "variant": "lambda=0", "value": 1.1, "stderr": 0.1}
    records = [
        record(**of, dataset=dataset, metric=metric, nfe=n)
        for dataset, metric, numbers in (("rings", "sw2_ratio", (5, 30)), ("cifar10", "fid_ratio", (5, 100)))
        for n in numbers
    ]

    def curve(ax, rows, label, *_, **__):
        if "noisy" not in label:
            shown.extend((label, row.dataset) for row in rows)
            ax.plot([0], [1], label=label)

    monkeypatch.setattr(figures.draw, "curve", curve)
    monkeypatch.setattr(
        figures.draw,
        "shared_legend",
        lambda figure, axes, **_: legends.extend(label for ax in axes for label in ax.get_legend_handles_labels()[1]),
    )
    found = PaperResults(tmp_path / "paper", PAPER, load_config(PAPER, "paper"))
    vars(found).update(records=records)
    figures.kernels(found, tmp_path / "kernels.png")
    assert sorted(shown) == sorted([("N = 5", "rings"), ("N = 30", "rings"), ("N = 5", "cifar10"), ("N = 100", "cifar10")])
    assert {"N = 5", "N = 30", "N = 100"} <= set(legends)


def test_enough_steps():
    numbers = (5, 10, 20, 50)
    assert SAMPLING.enough([2.0, 1.2, 1.1, 1.0], numbers, 1.1) == 20
    assert SAMPLING.enough([2.0, 1.2, 1.11, 1.0], numbers, 1.1) == 50
    assert SAMPLING.enough([0.5, 3.0, 1.0, 1.0], numbers, 1.1) == 5


def test_sampling_times_are_of_enough_steps(tmp_path, monkeypatch):
    """DDPM needs 10 and 5 steps, DiffFlow 5: ratios 2 and 1. Seconds: 8 / 2, whatever the steps; a draw is of its seed."""
    book, drawn = book_of(PAPER, smoke(), "more", tmp_path), []
    distances = {"DiffFlow": lambda seed, n: 1.0, "DDPM": lambda seed, n: 2.0 if (seed, n) == (0, 5) else 1.0}
    draws = {name: lambda seed, n, name=name: drawn.append((name, seed, n)) for name in distances}

    def interleaved(steps, rounds, device):
        for step in steps.values():
            step()
        assert rounds == 1 and list(steps) == ["DiffFlow", "DDPM"]
        return {"DiffFlow": np.array([1.0, 2.0, 30.0]), "DDPM": np.array([8.0, 8.0, 9.0])}

    monkeypatch.setattr(SAMPLING, "interleaved", interleaved)
    SAMPLING.speed(
        book,
        lambda table, nfe, variant, protocol: book.cell(table, "x", "DiffFlow", variant, nfe, protocol),
        distances,
        draws,
        7,
        {"train_steps": 9},
    )
    assert {(one.protocol["drawn_at_once"], one.protocol["ddpm_train_steps"]) for one in book.measurements} == {(7, 9)}
    assert {one.metric: one.value for one in book.measurements} == {"sampling_steps_ratio": 1.5, "sampling_time_ratio": 4.0}
    assert drawn == [("DiffFlow", 0, 5), ("DDPM", 0, 10), ("DiffFlow", 1, 5), ("DDPM", 1, 5)]


def test_timed_draws_of_images_are_of_like_batches(tmp_path, monkeypatch):
    """And those whose FID is measured of the batches that they had: 70 images, 16 at a time in a training."""
    config, timed = smoke(), []
    sizes: dict[str, list[int]] = {"DiffFlow": [], "DDPM": []}

    def sample(u, generator, steps, lam=1.0, **options):
        sizes["DiffFlow"].append(len(u))
        return u

    def score(u, t):
        sizes["DDPM"].append(len(u))
        return -u

    monkeypatch.setattr(SAMPLING.Pictures, "model", lambda self, seed: SimpleNamespace(sample=sample))
    monkeypatch.setattr(evaluate.TrainedModels, "_load", lambda self, name, seed: SimpleNamespace(score=score))
    monkeypatch.setattr(SAMPLING.Pictures, "judge", property(lambda self: lambda x, metrics: {"fid": float(len(x))}))
    monkeypatch.setattr(SAMPLING, "kernels", lambda book, open_cell, judged, steps: judged(0, steps))
    speed = lambda book, open_cell, distances, draws, at_once, ddpm: timed.append((draws, at_once))  # noqa: E731
    monkeypatch.setattr(SAMPLING, "speed", speed)
    SAMPLING.images(book_of(PAPER, config, "more", tmp_path), "digits")
    assert sizes == {"DiffFlow": [16, 16, 16, 16, 6], "DDPM": []}
    sizes["DiffFlow"].clear()
    ((draws, at_once),) = timed
    for draw in draws.values():
        assert len(draw(0, 2)) == config.evaluation.samples == 70
    assert set(sizes["DDPM"]) == set(sizes["DiffFlow"]) == {at_once} == {70}


def test_sections_share_a_training_and_no_other(tmp_path):
    book, made_in = book_of(PAPER, smoke(), "more", tmp_path), []
    fit = smoke().plane.diffflow
    other = fit.model_copy(update={"grid": "L_beta"})
    for its, name, of in ((fit, "a-0", 1), (fit, "a-0", 1), (fit, "a-1", 1), (other, "a-0", 1), (fit, "a-0", 2)):
        METHODS.trained_once(book, its, name, made_in.append, of)
    assert made_in[0] == made_in[1] and len(set(made_in)) == 4
    assert all(folder.parent.is_dir() and folder.parents[1] == tmp_path / "runs" / "diffflow" for folder in made_in)


# --- DDPM's losses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_ddpm_with_l_is_the_model_that_score_sde_trains(scale):
    ours, theirs = (load_config(load_paper(name), scale).models["vp-likelihood"] for name in ("diffflow", "smld_sde"))
    assert ours.key == theirs.key != load_config(PAPER, scale).models["vp"].key and ours.objective.weighting == "likelihood"


def test_bounds_and_odes_of_both_losses(tmp_path, monkeypatch):
    """Table 3.3 prints the bound of each loss, and of L_simple the ODE's number beside it."""
    config = smoke()
    config = config.model_copy(update={"training_seeds": (0, 1)})
    book, calls = book_of(PAPER, config, "more", tmp_path), []
    models = SimpleNamespace(load=lambda *of: of, spec=lambda name: SimpleNamespace(protocol={"loss": name}))
    held_out = load_images("digits", "test")
    here = SimpleNamespace(
        rivals=models, config=config, held_out=held_out, settings=config.images, book=book, data="digits", device="cpu"
    )

    def image_bits(model, images, levels, noise, tolerance, draws, batch):
        name, seed = model
        calls.append((model, noise(0, 2).seeds, len(images), levels, tolerance))
        base = (3.0 if name == "vp" else 5.0) + seed
        return ImageBits(torch.full((10,), base), torch.full((10,), base + 0.25), 7)

    monkeypatch.setattr(LOSSES, "image_bits", image_bits)
    LOSSES.likelihoods(here)
    found = {one.variant: (one.value, one.protocol["loss"], one.n_samples) for one in book.measurements}
    assert found == {"L_s": (3.75, "vp", 20), "L": (5.75, "vp-likelihood", 20), "L_s (ODE)": (3.5, "vp", 20)}
    assert len(calls) == 4, "each model once"
    assert {call[2:] for call in calls} == {(10, 17, 0.1)} and len({call[1] for call in calls}) == 2, "noise is a seed's"


def test_samplings_of_both_losses(tmp_path, monkeypatch):
    """Ancestral steps for each loss, the ODE for L_simple; the sweep of Tables 3.4, 3.5 is L's alone: L_simple has its own."""
    measured, swept = [], []
    rivals = SimpleNamespace(
        process=lambda name: VP(), measure=lambda samplings, label, metrics: measured.append((samplings, metrics))
    )
    monkeypatch.setattr(LOSSES, "Pictures", lambda book, data: SimpleNamespace(rivals=rivals))
    monkeypatch.setattr(LOSSES, "likelihoods", lambda here: None)
    monkeypatch.setattr(LOSSES, "rival_sweep", lambda here, *arguments, **options: swept.append((arguments, options)))
    LOSSES.measure(book_of(PAPER, smoke(), "more", tmp_path), "digits")
    ((samplings, metrics),) = measured
    found = [(one.table, one.method, one.variant, one.model, one.sampler.nfe, one.sampler.denoise) for one in samplings]
    assert metrics == ("fid",) and found == [
        ("3.3", "DDPM", "L_s", "vp", 4, "mean"),
        ("3.3", "DDPM", "L", "vp-likelihood", 4, "mean"),
        ("3.3", "DDPM", "L_s (ODE)", "vp", None, "none"),
    ]
    assert samplings[2].sampler.tolerance == 0.1 and samplings[2].sampler.times[-1] == METHODS.T0
    assert swept == [(("vp-likelihood", "DDPM", "L"), {"deterministic": False})]


# --- flows --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flow", [made(4, (16,), 1), naf(4, 2, (16,), 1, 3, (5,)), ffjord(4, (8,), 1, 1e-7)], ids=["MADE", "NAF", "FFJORD"]
)
def test_densities_are_those_of_the_jacobian(flow):
    """log p(x) = log N(T(x); 0, I) + log |det dT/dx|, by autograd in float64."""
    flow = flow.double().eval()
    x = torch.randn(3, 4, generator=make_generator("x"), dtype=F64)
    for point, found in zip(x, flow_log_prob(flow, x), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow().transform(v[None])[0], point)
        z = flow().transform(point[None])[0].detach()
        base = -0.5 * (z.square().sum() + 4 * math.log(2 * math.pi))
        assert found.item() == pytest.approx((base + jacobian.det().abs().log()).item(), abs=1e-5)


def test_made_is_a_product_of_gaussians_in_order():
    """Its Jacobian is triangular, and given the coordinates before it each one enters linearly."""
    flow = made(3, (16,), 2).double().eval()
    x = torch.randn(3, generator=make_generator("x"), dtype=F64)
    transform = flow().transform
    jacobian = torch.autograd.functional.jacobian(lambda v: transform(v[None])[0], x)
    assert (jacobian.triu(1) == 0).all() and (jacobian.diagonal() > 0).all() and jacobian[2, 0].abs() > 1e-4
    last = torch.stack([transform((x + torch.tensor([0, 0, s], dtype=F64))[None])[0, 2] for s in (0.0, 1.0, 2.0)])
    assert abs((last[2] - 2 * last[1] + last[0]).item()) < 1e-12


def test_hutchinson_probes_follow_from_the_generator(tmp_path):
    """Whatever torch's own stream has: the same losses; and the stream is where it was."""

    def train(folder: str):
        flow = ffjord(3, (8,), 0, 1e-3, exact=False)
        data = torch.randn(64, 3, generator=make_generator("data"))
        return fit_flow(flow, data, 8, Adam(3, 1e-2), make_generator("batches"), tmp_path / folder)

    torch.manual_seed(1)
    first, after = train("a"), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(2)
    assert torch.equal(first, train("b")) and first.std() > 0


def test_ffjord_trains_by_probes_and_is_judged_by_the_trace(monkeypatch):
    config, seen = smoke(), []
    monkeypatch.setattr(RIVALS, "trainer_of", lambda flow, blank, fit, train, *names: seen.append((flow, blank, fit)))
    for method in ("FFJORD", "NAF", "MADE", "RealNVP"):
        RIVALS.flow_trainer(config, torch.zeros(5, 3), "diffflow", method, "wine", 0)
    (flow, blank, fit), *others = seen
    assert (flow.transform.exact, blank.transform.exact, fit) == (False, True, config.rivals.ffjord)
    assert [fit for _, _, fit in others] == [config.rivals.naf, config.rivals.flow, config.rivals.flow]
    assert [type(flow).__name__ for flow, _, _ in others] == ["NAF", "MAF", "RealNVP"]
    made_by, blank = others[1][:2]
    assert len(made_by.transform.transforms) == 1, "MADE is one layer"
    first, second = (next(iter(net.parameters())) for net in (made_by, blank))
    assert first.shape == second.shape and not torch.equal(first, second)


def test_images_as_rows():
    """Held-out images are the test rows, a tenth of the training ones for validation; a uniform density has log2 17 bits."""
    rows, per_unit = RIVALS.image_rows("digits", 0.1)
    images = load_images("digits", "train")
    kept = len(images) - math.ceil(0.1 * len(images))
    assert (len(rows.train), len(rows.validation)) == (kept, len(images) - kept) and rows.dim == 64
    x, _ = dequantise(images.images, make_generator("diffflow", "digits", "rivals", "train"), 17)
    assert torch.equal(torch.cat((rows.train, rows.validation)), x.flatten(1).double())
    assert len(rows.test) == len(load_images("digits", "test"))
    assert RIVALS.bits(lambda seed: 64 * math.log(17 / 8), 64, per_unit, 0) == pytest.approx(math.log2(17), rel=1e-12)


def test_tables_have_three_flows_and_images_two(tmp_path, monkeypatch):
    book = book_of(PAPER, smoke(), "more", tmp_path)
    monkeypatch.setattr(RIVALS, "test_nll", lambda book, data, log_scale, method, *_: len(method) + len(data.test))
    for name in ("wine", "digits"):
        RIVALS.measure(book, name)
    nats = {one.method: one.value for one in book.measurements if one.table == "3.1"}
    assert nats == {"MADE": 14, "NAF": 13, "FFJORD": 16}
    found = {(one.table, one.dataset, one.method, one.metric): one.value for one in book.measurements if one.table != "3.1"}
    assert found == {
        ("3.2", "digits", name, "bpd"): pytest.approx(nats_of / (64 * math.log(2)) + 3)
        for name, nats_of in (("RealNVP", 17), ("FFJORD", 16))
    }
