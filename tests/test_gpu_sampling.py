"""How networks run on a GPU, tested without one: a backend counts graphs, bf16 is the CPU's, memory that of saved tensors."""

import warnings

import pytest
import torch
from rescore import likelihood
from rescore.config import validated
from rescore.data.images import load_images
from rescore.errors import Diverged
from rescore.likelihood import FlowLikelihood, flow_log_prob
from rescore.machine import precision
from rescore.machine.precision import autocast, full_precision
from rescore.metrics.features import ClassifierSettings, Features
from rescore.metrics.images import frechet_distance, moments, symmetric_frechet_distance
from rescore.models import bits, judge
from rescore.models.bits import image_bits
from rescore.models.build import LoadedModel, make_model
from rescore.networks import NoisePrediction, VelocityPrediction, compile_bare
from rescore.networks.embeddings import LevelMLP
from rescore.objectives import DSM, DiscreteTimes, ImportanceTimes, UniformTimes
from rescore.processes import CLD, VE, VP, Blurring
from rescore.random import Streams
from rescore.samplers import adaptive_flow, base, ddim
from rescore.specs.model import ModelSpec
from test_networks import small
from torch import nn

PROCESSES = {"VP": (VP(), "steps"), "VE": (VE(), "sigma"), "CLD": (CLD(), "time"), "Blurring": (Blurring(size=(8, 8)), "time")}
TIMES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)


class Count:
    """A backend of torch.compile that runs graphs as they are and counts them."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
        self.graphs += 1
        return graph.forward


class Convolution(nn.Module):
    """A small network of images and levels that remembers what it was given."""

    def __init__(self, channels: int, out: int | None = None):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.layer = nn.Conv2d(channels, out or channels, 3, padding=1)

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * (1 + level[:, None, None, None])


def made(name: str) -> tuple[NoisePrediction, torch.Tensor]:
    process, level = PROCESSES[name]
    u = process.embed(torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(2)))
    if name == "CLD":
        return VelocityPrediction(Convolution(2, 1), process, level=level), u
    return NoisePrediction(Convolution(1), process, level), u


@pytest.fixture
def count():
    torch.compiler.reset()
    yield Count()
    torch.compiler.reset()


@pytest.mark.parametrize("name", PROCESSES)
def test_one_graph_serves_all_times(name, count):
    model, u = made(name)
    plain = [model.score()(u, t) for t in TIMES]
    compile_bare(model, count)
    score = model.score()
    with torch.no_grad():
        for t, expected in zip(TIMES, plain, strict=True):
            assert torch.allclose(score(u, t), expected, rtol=1e-5, atol=1e-6)
    assert count.graphs == 1


def test_a_compiled_parametrisation_would_take_a_graph_for_each_time(count):
    """What the test above is for."""
    model, u = made("VP")
    model.compile(backend=count)
    with torch.no_grad():
        for t in TIMES[:4]:
            model.score()(u, t)
    assert count.graphs >= 4


@pytest.mark.parametrize("name", PROCESSES)
def test_training_takes_one_graph_too(name, count):
    model, u = made(name)
    compile_bare(model, count)
    for seed in range(3):
        t = torch.rand(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        model(u, t).sum().backward()
    assert count.graphs == 1


# precision


class Seen(nn.Module):
    """Gives back its images, and keeps them."""

    def forward(self, x, level):
        self.images, self.levels, self.reduced = x, level, torch.is_autocast_enabled("cpu")
        return x


def test_autocast_reaches_the_network_and_neither_dct_nor_levels():
    process = Blurring(size=(8, 8))
    seen, u = Seen(), process.embed(torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(2)))
    model = NoisePrediction(seen, process, "steps")
    with torch.autocast("cpu", torch.bfloat16):
        out = model(u, 0.7)
        again = torch.is_autocast_enabled("cpu")
    assert seen.reduced and again
    assert torch.equal(seen.images, process.unrotate(u)) and torch.equal(out, process.rotate(seen.images))
    assert (seen.levels == torch.tensor(999 * 0.7)).all() and out.dtype == torch.float32


def test_level_embeddings_are_float32_inside_autocast():
    embed = LevelMLP("positional", 16, 1.0, 32)
    levels = torch.tensor([500.0, 500.5, 999.0])
    expected = embed(levels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(embed(levels), expected)


def test_networks_still_compute_in_bf16_inside_autocast():
    network, x = small("ddpmpp").eval(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    nn.init.normal_(network.last[-1].weight, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        out = network(x, torch.tensor([3.0, 700.0]))
    assert out.dtype == torch.bfloat16


def settings() -> tuple[bool, bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.is_autocast_enabled("cpu")


def test_full_precision_is_float32_whoever_asks_for_less_and_ends(monkeypatch):
    """On a GPU `autocast` gives a context of bf16; here it is looked at, not entered."""
    asked = []
    monkeypatch.setattr(precision.torch, "autocast", lambda *a, **k: asked.append((a, k)) or torch.no_grad())
    before = settings()
    assert before[0], "cuDNN's default"
    with full_precision():
        assert settings() == (False, False, False)
        asked.clear()
        with autocast("cuda"):
            pass
        assert asked == []
    assert settings() == before
    with autocast("cuda"):
        pass
    assert asked == [(("cuda", torch.bfloat16), {})]


def test_full_precision_warns_of_nothing_on_a_cpu():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.autocast("cpu", torch.bfloat16), full_precision():
            assert (torch.eye(2) @ torch.eye(2)).dtype == torch.float32


@pytest.mark.parametrize("asked", ["likelihood", "sampler", "elbo"])
def test_likelihoods_and_adaptive_solvers_run_in_full_precision(asked):
    process, seen, u = VP(), set(), torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def score(u, t):
        seen.add(settings())
        return -u

    with torch.autocast("cpu", torch.bfloat16):
        match asked:
            case "likelihood":
                likelihood.flow_log_prob(score, process, u, torch.Generator().manual_seed(1))
            case "sampler":
                adaptive_flow(process, torch.tensor([1.0, 1e-3], dtype=torch.float64))(score, u)
            case "elbo":
                likelihood.elbo(score, process, DSM(), u, torch.Generator().manual_seed(1))
    assert seen == {(False, False, False)}


# likelihoods in batches


IMAGES = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def loaded() -> LoadedModel:
    model = NoisePrediction(Convolution(1), VP(), "time")
    spec = validated(
        ModelSpec,
        {"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 1, "objective": {"t0": 1e-3}},
        "spec",
    )
    return LoadedModel(spec, model.process, model.eval().requires_grad_(False), "cpu")


def streams(first: int, n: int) -> Streams:
    return Streams.named("likelihood", 7, n=n, first=first)


def test_with_streams_the_bits_of_an_image_do_not_depend_on_its_batch():
    """But for the solver's tolerance: it controls the error over the batch."""
    whole = image_bits(loaded(), IMAGES, 256, streams, 1e-5, bound_draws=2, batch=5)
    parts = image_bits(loaded(), IMAGES, 256, streams, 1e-5, bound_draws=2, batch=2)  # of 2, 2 and 1
    assert torch.allclose(parts.flow, whole.flow, rtol=0, atol=1e-3)
    assert torch.allclose(parts.bound, whole.bound, rtol=1e-5)
    alone = image_bits(loaded(), IMAGES[3:4], 256, lambda first, n: streams(3, n), 1e-5)
    assert alone.flow.item() == pytest.approx(whole.flow[3].item(), abs=1e-3) and alone.bound is None
    generator = torch.Generator().manual_seed(7)
    other = image_bits(loaded(), IMAGES, 256, lambda first, n: generator, 1e-5, batch=2)
    assert (other.flow - whole.flow).abs().max() > 0.01, "noise of one generator is other noise"


def test_a_likelihood_takes_the_images_that_the_memory_holds(monkeypatch):
    """The graph of the toy convolution keeps its 4-byte input and output of 64 numbers, and nothing near a batch of 1,000."""
    model, seen = loaded(), []
    bytes_each = bits.graph_bytes(model, (1, 8, 8))
    assert 4 * 64 <= bytes_each <= 10 * 4 * 64
    monkeypatch.setattr(bits, "free_memory", lambda device: int(2 * 2.5 * bytes_each))
    assert bits.likelihood_batch(model, (1, 8, 8)) == 2

    def flow(score, process, x, *_):
        seen.append(len(x))
        return FlowLikelihood(x.sum((1, 2, 3)), x, 6)

    monkeypatch.setattr(bits, "flow_log_prob", flow)
    found = image_bits(model, IMAGES, 256, streams, 1e-3)
    assert seen == [2, 2, 1] and found.nfe == 6 and len(found.flow) == 5
    monkeypatch.setattr(bits, "free_memory", lambda device: 1)
    assert bits.likelihood_batch(model, (1, 8, 8)) == 1


def test_the_memory_of_an_image_grows_with_the_network():
    def of(width: int) -> float:
        settings = {"width": width, "multipliers": [1, 1], "blocks": 1, "attention": [4]}
        network = {"name": "ddpmpp", "settings": settings}
        spec = validated(ModelSpec, {"data": "digits", "process": {"name": "VP"}, "steps": 1, "network": network}, "spec")
        model = make_model(spec, VP(), (1, 8, 8)).eval().requires_grad_(False)
        return bits.graph_bytes(LoadedModel(spec, VP(), model, "cpu"), (1, 8, 8))

    assert 1.5 < of(32) / of(16) < 2.1


# times without waiting


class OnGPU:
    """A generator of a GPU, as far as times ask: it has a position and cannot be drawn from here."""

    device = torch.device("cuda")

    def __init__(self):
        self.position = 0

    def initial_seed(self):
        return 9

    def get_offset(self):
        return self.position

    def set_offset(self, position):
        assert position % 4 == 0
        self.position = position


@pytest.mark.parametrize("times", [UniformTimes(1e-3), ImportanceTimes(1e-3), DiscreteTimes(tuple(i / 50 for i in range(50)))])
def test_times_come_from_the_host_and_from_where_the_generator_stands(times):
    first, again = OnGPU(), OnGPU()
    t, _ = times.draw(VP(), 6, first)
    u, _ = times.draw(VP(), 6, first)
    assert t.device.type == "cpu" and not torch.equal(t, u)
    assert torch.equal(times.draw(VP(), 6, again)[0], t) and again.position == 4
    again.set_offset(4)
    assert torch.equal(times.draw(VP(), 6, again)[0], u)


def test_times_of_a_generator_on_the_cpu_are_its_next_numbers():
    t, _ = UniformTimes(0.0).draw(VP(), 3, torch.Generator().manual_seed(4))
    assert torch.equal(t, torch.rand(3, generator=torch.Generator().manual_seed(4), dtype=torch.float64))


# samplers and judges without waiting


def test_a_sampler_on_a_gpu_looks_at_the_end_and_names_the_first_bad_time(monkeypatch):
    """`meta` is no CPU and has no numbers: a look at one is an error there."""
    process, grid = VP(), torch.linspace(1, 0.1, 5, dtype=torch.float64)
    sampler = ddim(process, grid)
    monkeypatch.setattr(base._Checked, "look", lambda self: None)
    monkeypatch.setattr(base, "require_finite", lambda *_: None)
    assert sampler(lambda u, t: -u, torch.zeros(2, 3, device="meta")).shape == (2, 3)
    with pytest.raises(RuntimeError):
        base._Checked(lambda u, t: -u, "score", "DDIM")(torch.zeros(2, 3, device="meta"), 0.5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [("states", "DDIM: states at t = 0.5 are not finite"), ("score", "DDIM: the score at t = 0.5 is not finite"), (None, None)],
)
def test_what_was_not_finite_is_told(bad, message):
    def score(u, t):
        return u * (float("nan") if bad == "score" and t == 0.5 else 1.0)

    checked = base._Checked(score, "score", "DDIM", waits=False)
    for t in (0.75, 0.5, 0.25):
        checked(torch.full((2, 2), float("inf") if bad == "states" and t == 0.5 else 1.0), t)
    if message is None:
        checked.look()
    else:
        with pytest.raises(Diverged, match=message):
            checked.look()


def test_fid_by_symmetric_roots_is_torch_fidelitys():
    draws = torch.Generator().manual_seed(1)
    a, b = (Features("e", name, torch.randn(60, 9, generator=draws) @ torch.randn(9, 9, generator=draws)) for name in "ab")
    a, b = moments(a), moments(b)
    assert symmetric_frechet_distance(a, b, "cpu") == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert abs(symmetric_frechet_distance(a, a, "cpu")) < 1e-6


def test_a_judge_trains_and_measures_on_the_device_of_its_job(monkeypatch, tmp_path):
    data, seen = load_images("digits", "train", limit=40), []
    monkeypatch.setattr(judge, "train_classifier", lambda *a: seen.append(("classifier", a[-1])) or "e")
    monkeypatch.setattr(judge, "reference_features", lambda *a, device: Features("e", "s", torch.zeros(2, 2)))
    monkeypatch.setattr(judge, "extract", lambda *a, device: Features("e", "s", torch.zeros(2, 2)))
    monkeypatch.setattr(judge, "evaluate", lambda *a: seen.append(("metrics", a[-1])) or {})
    made = judge.make_judge("classifier", data, data, ClassifierSettings(1), tmp_path, "cuda")
    made(torch.zeros(2, 1, 8, 8), ("fid",))
    assert seen == [("classifier", "cuda"), ("metrics", "cuda")]


class Attention(nn.Module):
    """A small network of images whose backward pass has to know the batch."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        y = x.reshape(len(x), 8, 8)
        return (torch.softmax(self.scale * y @ y.mT, -1) @ y).reshape(x.shape).sin()


def test_a_compiled_network_s_likelihood_after_its_memory_was_measured():
    """Of another batch: the graph is then one of all sizes, which gives its memory away and can be passed through once."""
    torch.compiler.reset()
    network = NoisePrediction(Attention(), VP(), "time").requires_grad_(False)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))

    def found():
        noise = torch.Generator().manual_seed(0)
        return flow_log_prob(network.score(), VP(), x, noise, "rademacher", 1e-3, 0.3).log_prob

    expected = found()
    compile_bare(network, "aot_eager")
    bits.graph_bytes(LoadedModel(loaded().spec, VP(), network, "cpu"), (1, 8, 8))
    assert torch.allclose(found(), expected, rtol=1e-4)
    torch.compiler.reset()
