"""DiffFlow's SDEs against exact mathematics: the adjoint, the loss, its limits, sampling and likelihoods."""

import itertools
import math

import pytest
import torch
from rescore.cost.evaluations import CountEvaluations
from rescore.cost.saved_bytes import SavedBytes, kept_bytes
from rescore.errors import Diverged, RescoreError
from rescore.neural_sde import (
    FourierMLP,
    ImageField,
    NeuralSDE,
    adjoint_loss,
    backward_noise,
    draw_noise,
    elbo,
    hat_l_beta,
    l_beta,
    ode_log_prob,
    path_loss,
    prior_log_prob,
)
from rescore.random import make_generator, seeded
from rescore.training.ema import averaged_copy
from rescore.training.loop import Adam
from torch import Tensor, nn


class Function(nn.Module):
    """A field without parameters."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.f(x, t)


def linear_model(a: float, g) -> NeuralSDE:
    """f = a x, s = 0."""
    return NeuralSDE(Function(lambda x, t: a * x), Function(lambda x, t: torch.zeros_like(x)), g)


def small_model(dtype=torch.float64, g=0.3, dim: int = 2) -> NeuralSDE:
    return NeuralSDE(*(seeded(lambda: FourierMLP(dim, 16, 2), seed).to(dtype) for seed in (1, 2)), g)


def gradients(loss: Tensor, model: nn.Module, x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [x, *model.parameters()]))


def relative_error(ours: list[Tensor], truth: list[Tensor]) -> float:
    return max((a - b).norm().item() / b.norm().item() for a, b in zip(ours, truth, strict=True))


@pytest.mark.parametrize(("n", "chunk"), [(1, 8), (5, 1), (12, 5), (40, 8)])
def test_adjoint_is_autograd_in_float64(n, chunk):
    """Thesis section 3.3.2, with weighted samples, g that varies, and a random grid."""
    generator = make_generator("adjoint", n)
    model = small_model(g=lambda t: 0.2 + 3 * t)
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64).requires_grad_()
    times = hat_l_beta(n, generator, 0.001, 0.5) if n > 1 else l_beta(1, T=0.5)
    noise = draw_noise(x.detach(), n, generator)
    weight = torch.rand(6, generator=generator, dtype=torch.float64)
    plain, ours = path_loss(model, x, times, noise), adjoint_loss(model, x, times, noise, chunk)
    assert torch.allclose(ours, plain, rtol=1e-12)
    assert relative_error(gradients(weight @ ours, model, x), gradients(weight @ plain, model, x)) < 1e-9


def test_a_frozen_parameter_has_no_gradient():
    """What is trained has the gradient of back-propagation, beside what is not."""
    model, generator = small_model(), make_generator("frozen")
    model.drift.first.weight.requires_grad_(False)
    x, times = torch.randn(5, 2, generator=generator, dtype=torch.float64), l_beta(6)
    noise, trained = draw_noise(x, 6, generator), [p for p in model.parameters() if p.requires_grad]
    ours, plain = (torch.autograd.grad(loss(model, x, times, noise).sum(), trained) for loss in (adjoint_loss, path_loss))
    assert relative_error(ours, plain) < 1e-9


def test_the_adjoint_evaluates_each_field_as_often():
    """The drift at N + 1 states and the score at N, of 5 points, going forward and again in the replay."""
    model, x = small_model(), torch.zeros(5, 2, dtype=torch.float64)
    with CountEvaluations() as counted:
        adjoint_loss(model, x, l_beta(10), draw_noise(x, 10, make_generator("count")), 4).sum().backward()
    assert counted.total == 2 * 5 * (11 + 10)


def test_adjoint_in_float32():
    generator = make_generator("float32")
    model = small_model(torch.float32)
    x, times = torch.randn(64, 2, generator=generator).requires_grad_(), l_beta(30)
    noise = draw_noise(x.detach(), 30, generator)
    plain, ours = (loss(model, x, times, noise).mean() for loss in (path_loss, adjoint_loss))
    assert relative_error(gradients(ours, model, x), gradients(plain, model, x)) < 1e-4


def test_adjoint_on_images():
    """`ImageField` makes a network of (images, levels) a field; frozen parameters get no gradient."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(2, 1, 3, padding=1).double()

        def forward(self, images, levels):
            level = levels[:, None, None, None].expand(-1, 1, *images.shape[2:])
            return self.body(torch.cat((images, level), 1)).tanh()

    generator = make_generator("images")
    model = NeuralSDE(*(seeded(lambda: ImageField(Net(), 20.0), seed) for seed in (1, 2)), 1.0)
    model.score.network.body.bias.requires_grad_(False)
    x = torch.randn(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    noise = draw_noise(x, 5, generator)
    found = []
    for loss in (path_loss, adjoint_loss):
        model.zero_grad()
        loss(model, x, l_beta(5), noise).mean().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == 3
    assert relative_error(*found[::-1]) < 1e-9


def saved_bytes(loss, model: NeuralSDE, n: int, batch: int) -> tuple[int, int]:
    """After the forward pass, and the peak over a whole step."""
    generator = make_generator("memory", n)
    x = torch.randn(batch, 2, generator=generator, dtype=torch.float64)
    noise = draw_noise(x, n, generator)
    with SavedBytes(model) as saved:
        value = loss(model, x, l_beta(n), noise).mean()
        forward = saved.now
        value.backward()
    return forward, saved.peak


def test_memory_is_that_of_the_states():
    """The graph holds (N + 1) batch d float64, to the byte; the replay adds a constant; plain back-propagation grows with N."""
    model, batch = small_model(), 16
    ours, plain = ({n: saved_bytes(loss, model, n, batch) for n in (10, 50, 200)} for loss in (adjoint_loss, path_loss))
    states = {n: (n + 1) * batch * 2 * 8 for n in ours}
    assert {n: forward for n, (forward, _) in ours.items()} == states
    replay = {n: peak - states[n] for n, (_, peak) in ours.items()}
    assert len(set(replay.values())) == 1 or max(replay.values()) - min(replay.values()) < 0.05 * max(replay.values())
    grown = [(plain[b][1] - plain[a][1]) / (b - a) for a, b in itertools.pairwise(plain)]
    assert grown[0] == pytest.approx(grown[1], rel=0.01)
    assert grown[0] > 50 * batch * 2 * 8, "a step of plain back-propagation keeps far more than its state"
    assert ours[200][1] < plain[200][1] / 4


def test_memory_of_a_training_holds_five_copies_of_the_weights():
    linear = nn.Linear(3, 2).double()
    optimizer, average = Adam(1, 0.1).optimizer(linear), averaged_copy(linear, 0.9)
    linear(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    optimizer.step()
    moments = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    held = [*linear.parameters(), *(p.grad for p in linear.parameters()), *moments, *average.module.parameters()]
    assert kept_bytes(linear) == sum(tensor.nbytes for tensor in held) == 5 * 8 * (3 * 2 + 2)


def closed_form(a: float, g: float, times: Tensor, second_moment: float) -> float:
    """E path_loss for f = a x, s = 0 in one dimension: a step adds -a dt + 1/2 a^2 dt^2 + 1/2 a^4 dt^3 E x_i^2 / g^2."""
    total = 0.0
    for dt in times.diff().tolist():
        total += -a * dt + 0.5 * (a * dt) ** 2 + 0.5 * a**4 * dt**3 * second_moment / g**2
        second_moment = (1 + a * dt) ** 2 * second_moment + g**2 * dt
    return total + 0.5 * second_moment + 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize(("n", "g"), [(10, 0.1), (10, 0.01), (50, 1.0)])
def test_loss_of_a_linear_drift(n, g):
    """Monte Carlo against the closed form, by control of its standard error."""
    a, generator, times = -0.7, make_generator("linear", n, g), torch.linspace(0, 1, n + 1, dtype=torch.float64)
    x = torch.randn(100_000, 1, generator=generator, dtype=torch.float64)
    losses = path_loss(linear_model(a, g), x, times, draw_noise(x, n, generator))
    assert abs(losses.mean().item() - closed_form(a, g, times, 1.0)) < 4 * losses.std().item() / math.sqrt(len(x))


def test_limit_of_small_noise():
    """Theorem 1 holds for dt -> 0 first: the flow's negative log-likelihood. At fixed N the loss grows like 1 / g^2."""
    a, generator = -0.7, make_generator("limit")
    x = torch.randn(2000, 1, generator=generator, dtype=torch.float64)
    flow = (-prior_log_prob(math.exp(a) * x) - a).mean().item()

    def excess(n: int, g: float) -> float:
        """Over the flow's, each path beside the one of the opposite noise: their odd terms, of order 1 / g, are no error."""
        times, noise = torch.linspace(0, 1, n + 1, dtype=torch.float64), draw_noise(x, n, generator)
        losses = path_loss(linear_model(a, g), torch.cat((x, x)), times, torch.cat((noise, -noise), 1))
        return losses.mean().item() - flow

    errors = [abs(excess(n, 0.01)) for n in (10, 100, 1000)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 4e-3
    assert excess(10, 0.001) / excess(10, 0.01) == pytest.approx(100, rel=0.02)


def test_limit_of_small_noise_with_an_inverse_backward_mean():
    """Theorem 1 at fixed N, if the backward mean inverts the forward one and g_{i+1} = g_i / (1 + a dt).

    Each loss is the negative log-likelihood of the discrete flow x_{i+1} = (1 + a dt) x_i, but for noise of size g in x_N.
    """
    a, n, dt = 0.8, 5, 0.2
    times = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    x = torch.randn(50, 3, generator=make_generator("inverse"), dtype=torch.float64)
    noise = draw_noise(x, n, make_generator("inverse", "noise"))

    def exact(x: Tensor) -> Tensor:
        return -prior_log_prob(x * (1 + a * dt) ** n) - 3 * n * math.log(1 + a * dt)

    for g0, allowed in ((1e-3, 0.05), (1e-6, 5e-5)):

        def g(t: Tensor, g0: float = g0) -> Tensor:
            return g0 * (1 + a * dt) ** (-t / dt)

        def score(x: Tensor, t: Tensor, g=g) -> Tensor:
            """Makes x - (a x - g^2 s) dt = x / (1 + a dt)."""
            return (a * x - (x - x / (1 + a * dt)) / dt) / g(t).reshape(*t.shape, *(1,) * (x.ndim - t.ndim)) ** 2

        model = NeuralSDE(Function(lambda x, t: a * x), Function(score), g)
        assert (path_loss(model, x, times, noise) - exact(x)).abs().max() < allowed


def test_backward_noise_repeats_the_trajectory():
    """Eq. 3.14: a forward trajectory's dB, fed to eq. 3.12, returns it."""
    generator, model, times = make_generator("repeat"), small_model(g=0.7), l_beta(20, T=1.0)
    x = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    states = model.trajectory(x, times, draw_noise(x, 20, generator))
    steps = model.steps(times, x)
    nodes = slice(1, 21)
    with torch.no_grad():
        fields = [field(states[nodes], steps.t[nodes]) for field in (model.drift, model.score)]
        delta = backward_noise(steps, nodes, states[:-1], states[1:], *fields)
        x = states[-1]
        for i in reversed(range(20)):
            t, g, dt = steps.t[i + 1], steps.g[i + 1], steps.dt[i]
            x = x - (model.drift(x, t) - g**2 * model.score(x, t)) * dt + g * dt.sqrt() * delta[i]
            assert (x - states[i]).abs().max() < 1e-12


def gaussian_model(covariance: Tensor, a: float, g: float) -> NeuralSDE:
    """f = a x and the exact score of N(0, Sigma_t), Sigma_t = e^{2at} C + g^2 (e^{2at} - 1) / (2a)."""
    eigenvalues, basis = torch.linalg.eigh(covariance)

    def score(x: Tensor, t: Tensor) -> Tensor:
        growth = torch.exp(2 * a * t)[..., None]
        variance = growth * eigenvalues + g**2 * (growth - 1) / (2 * a)
        return -(x @ basis / (variance.unsqueeze(-2) if t.ndim else variance)) @ basis.T

    return NeuralSDE(Function(lambda x, t: a * x), Function(score), g)


COVARIANCE = torch.tensor([[1.5, 0.6], [0.6, 0.5]], dtype=torch.float64)


def gaussian_nll(x: Tensor) -> Tensor:
    return -torch.distributions.MultivariateNormal(torch.zeros(2).double(), COVARIANCE).log_prob(x)


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_ode_likelihood_of_a_gaussian(trace):
    """Eq. 3.16 with lambda = 0. By T = 6 the process has forgotten the data; g^2 = 1.4 makes its stationary law N(0, I)."""
    model = gaussian_model(COVARIANCE, -0.7, math.sqrt(1.4))
    x = torch.randn(200, 2, generator=make_generator("nll"), dtype=torch.float64) @ torch.linalg.cholesky(COVARIANCE).T
    found = ode_log_prob(model, x, 0.0, 8.0, make_generator("probe"), trace, tolerance=1e-8)
    errors = -found.log_prob - gaussian_nll(x)
    if trace == "exact":
        assert errors.abs().max() < 1e-3
    else:  # unbiased; the probes of the two signs' products average out
        assert abs(errors.mean().item()) < 4 * errors.std().item() / math.sqrt(len(x))
    assert abs(errors.mean().item()) < (1e-3 if trace == "exact" else 0.2)


def test_the_ode_is_solved_to_the_prior_and_not_beyond():
    """dx/dt = a x to T exactly, log p(x) with it, and no time outside [t0, T]."""
    a, t0, T, times = 0.4, 0.1, 1.3, []

    def drift(x: Tensor, t: Tensor) -> Tensor:
        times.append(t.item())
        return a * torch.cos(5 * t) * x

    model = NeuralSDE(Function(drift), Function(lambda x, t: 0 * x), 1.0)
    x = torch.randn(4, 2, generator=make_generator("ode"), dtype=torch.float64)
    found = ode_log_prob(model, x, t0, T, tolerance=1e-7)
    growth = a / 5 * (math.sin(5 * T) - math.sin(5 * t0))
    assert (found.latent - math.exp(growth) * x).abs().max() < 5e-7
    normal = torch.distributions.Normal(torch.zeros(2).double(), 1.0)
    expected = normal.log_prob(math.exp(growth) * x).sum(1) + 2 * growth
    assert (found.log_prob - expected).abs().max() < 1e-6
    assert min(times) == t0 and T - 1e-12 < max(times) <= T and len(times) == found.nfe


def test_elbo_bounds_the_likelihood_and_meets_it():
    """With the exact score the gap is of first order in dt."""
    model = gaussian_model(COVARIANCE, -0.7, math.sqrt(1.4))
    generator = make_generator("elbo")
    x = torch.randn(20_000, 2, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(COVARIANCE).T
    gaps = {}
    for n in (50, 200):
        gap = gaussian_nll(x) + elbo(model, x, torch.linspace(0, 6, n + 1), generator)
        gaps[n] = gap.mean().item()
        assert gaps[n] < 3 * gap.std().item() / math.sqrt(len(x)), "a lower bound"
    assert gaps[50] / gaps[200] == pytest.approx(4, rel=0.3)


def test_every_lambda_has_the_same_marginal():
    """Eq. 3.16 samples N(0, C) for lambda 0, 1/2 and 1, up to the step and the sampling error."""
    model, times = gaussian_model(COVARIANCE, -0.7, math.sqrt(1.4)), torch.linspace(0, 6, 301)
    for lam in (0.0, 0.5, 1.0):
        generator = make_generator("lambda", lam)
        x = model.sample(torch.randn(10_000, 2, generator=generator, dtype=torch.float64), times, generator, lam, "noise")
        assert (x.T.cov() - COVARIANCE).abs().max() < 0.08


def test_last_step_is_tweedie():
    """f = 0 and one step: E[x_0 | x_1] = x_1 + g^2 dt s(x_1), without noise."""
    g, dt, variance = 0.5, 0.4, 2.0
    model = NeuralSDE(Function(lambda x, t: torch.zeros_like(x)), Function(lambda x, t: -x / (variance + g**2 * t)), g)
    x = torch.randn(7, 2, generator=make_generator("tweedie"), dtype=torch.float64)
    mean = model.sample(x, torch.tensor([0.0, dt]), make_generator("unused"))
    assert torch.allclose(mean, x * variance / (variance + g**2 * dt), atol=1e-15)
    noisy = model.sample(x, torch.tensor([0.0, dt]), make_generator("used"), last="noise")
    assert 0.1 < (noisy - mean).std() / (g * math.sqrt(dt)) < 2


def test_network_sizes_of_the_released_code():
    """d = 2, 128 features: 99,714 parameters with 3 layers, 83,202 with 2; a trajectory in one call is its parts."""
    assert [sum(p.numel() for p in FourierMLP(2, 128, layers).parameters()) for layers in (3, 2)] == [99714, 83202]
    network, generator = FourierMLP(2, 8).double(), make_generator("network")
    x, t = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64), torch.tensor([0.1, 0.2, 0.3]).double()
    together = network(x, t)
    assert torch.allclose(together, torch.stack([network(*pair) for pair in zip(x, t, strict=True)]), atol=1e-14)
    assert (together[0] - network(x[0], t[1])).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": torch.tensor([0.0, 0.1, 0.1, 0.2])}, r"time 0\.1 is repeated \(entries 1 and 2\)"),
        ({"times": torch.tensor([0.0, 0.2, 0.1])}, r"entry 2 \(0\.1\) is below entry 1"),
        ({"g": 0.0}, r"g is 0 at t = 0: the loss divides by it"),
        ({"g": lambda t: t}, r"g is 0 at t = 0: the loss divides by it"),
        ({"drift": lambda x, t: 1e200 * x}, r"leaves the floating range at t = 0\.2 \(step 2 of 3\): 4 of 4"),
    ],
)
@pytest.mark.parametrize("loss", [path_loss, adjoint_loss])
def test_bad_input_of_the_loss(loss, change, message):
    times = change.get("times", torch.tensor([0.0, 0.1, 0.2, 0.3]))
    drift = Function(change.get("drift", lambda x, t: x))
    model = NeuralSDE(drift, Function(lambda x, t: -x), change.get("g", 0.1))
    if loss is path_loss and "drift" in change:
        message = "forward trajectory leaves the floating range"
    x = torch.ones(4, 2, dtype=torch.float64)
    with pytest.raises(RescoreError, match=message):
        loss(model, x, times, torch.zeros(len(times) - 1, 4, 2, dtype=torch.float64))


def test_a_trajectory_that_diverges_says_where():
    model = NeuralSDE(Function(lambda x, t: 1e200 * x), Function(lambda x, t: -x), 0.1)
    x, times = torch.ones(4, 2, dtype=torch.float64), torch.tensor([0.0, 0.1, 0.2, 0.3])
    with pytest.raises(Diverged, match=r"the forward trajectory leaves the floating range at t = 0\.2 \(step 2 of 3\): 4 of 4"):
        model.trajectory(x, times, torch.zeros(3, 4, 2, dtype=torch.float64))
    with pytest.raises(Diverged, match=r"the backward trajectory leaves the floating range: 4 of 4"):
        model.sample(x, times, lam=0.0)


def test_bad_input_elsewhere():
    from rescore.neural_sde import DiffFlowTraining, Progressive

    x, times = torch.zeros(3, 2), l_beta(4)
    model = NeuralSDE(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), Function(lambda x, t: x), 1.0)
    with pytest.raises(RescoreError, match=r"drift\.1 \(Dropout\) does not replay exactly"):
        adjoint_loss(model, x, times, torch.zeros(4, 3, 2))
    model = linear_model(1.0, 1.0)
    for call, message in (
        (lambda: model.sample(x, times), "needs a torch.Generator"),
        (lambda: model.sample(x, times, lam=0, last="mean"), "allowed: tweedie, noise"),
        (lambda: ode_log_prob(model, x, 0, 1, trace="some"), "allowed: auto, exact, hutchinson"),
        (lambda: ode_log_prob(model, torch.zeros(3, 4), 0, 1), "needs a torch.Generator"),
        (lambda: ode_log_prob(model, x[:0], 0, 1), "a batch of 0 states; allowed are 1 or more"),
        (lambda: ode_log_prob(linear_model(math.nan, 1.0), x, 0, 1), "stopped at t = .*: the rate of change is not finite"),
        (lambda: l_beta(0), "steps = 0; allowed are integers from 1 on"),
        (lambda: l_beta(3, 1.0, 0.5), r"t0 = 1.0; allowed are numbers in \[0, 0.5\)"),
        (lambda: l_beta(3, 0.0, math.inf), r"T = inf; allowed are numbers in \(0, inf\)"),
        (lambda: l_beta(3, beta=math.nan), r"beta = nan; allowed are numbers in \(0, inf\)"),
        (lambda: hat_l_beta(1, make_generator("x")), "steps = 1; allowed are integers from 2 on"),
        (lambda: Progressive((10, 5), (0.5, 0.5)), "increasing N"),
        (lambda: Progressive((5, 10), (0.5, 0.6)), "sum to 1"),
        (lambda: DiffFlowTraining(Adam(1, 0.1), Progressive((5,), (1.0,)), 4, grid="some"), "allowed: L_beta, hat L_beta"),
    ):
        with pytest.raises(RescoreError, match=message):
            call()


def test_grids():
    """Ends fixed; steps grow towards x_N for beta < 1 (the description); hat L_beta has one inner time per cell of t^beta."""
    times = l_beta(30)
    assert (times[0], times[-1], len(times)) == (0.001, 0.05, 31)
    assert (times.diff().diff() > 0).all()
    assert torch.allclose(times**0.9, torch.linspace(0.001**0.9, 0.05**0.9, 31, dtype=torch.float64))
    cells = (l_beta(9) ** 0.9).diff()[0]
    for seed in range(5):
        random = hat_l_beta(10, make_generator("grid", seed))
        assert (random[0], random[-1]) == (0.001, 0.05)
        place = (random[1:-1] ** 0.9 - 0.001**0.9) / cells
        assert (place.floor() == torch.arange(9)).all()


def test_progressive_schedule_and_training(tmp_path):
    """N follows the shares; a short training lowers the loss and resumes to the same weights."""
    from rescore.neural_sde import DiffFlowTraining, Progressive, train_diffflow

    schedule = Progressive((3, 6), (0.75, 0.25))
    assert [schedule.at(i, 8) for i in range(8)] == [3] * 6 + [6] * 2
    rounded = Progressive((5, 10, 20), (0.1, 0.7, 0.2))  # whose first two shares add up to less than 0.8
    assert [rounded.at(i, 10) for i in range(10)] == [5] + [10] * 7 + [20] * 2
    data = 0.3 * torch.randn(400, 2, generator=make_generator("data")) + 1
    settings = DiffFlowTraining(Adam(40, 1e-2, clip=1.0), schedule, 64)

    def run(folder):
        model = NeuralSDE(*(seeded(lambda: FourierMLP(2, 16, 1), seed) for seed in (3, 4)), 0.2)
        return train_diffflow(model, data, settings, make_generator("train"), tmp_path / folder, checkpoint_every=20)

    first = run("a")
    assert first.losses[-10:].mean() < first.losses[:10].mean() - 0.5
    for path in (tmp_path / "a").glob("step-00000040*"):
        path.unlink()
    again = run("a")
    assert torch.equal(again.losses, first.losses)
    for a, b in zip(again.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(a, b)
