"""The methods of Table 5.1, each a function from a data set to repeated estimates of log Z."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reproductions.pis.config import Config, Dataset, Flow, Training
from reproductions.pis.noise_scale import laplace_precision, least_path_kl
from rescore import flows
from rescore.config import config_hash
from rescore.control import ControlledSDE, MixtureControl, Paths, PISGrad, PISNN
from rescore.control.sde import Policy
from rescore.errors import RescoreError
from rescore.jobs import Run
from rescore.montecarlo import aft, importance, library, smc
from rescore.montecarlo.logz import elbo, ess, log_mean_exp
from rescore.random import derive_seed, fill_normal, make_generator
from rescore.repeat import repeat_runs
from rescore.targets import GaussianMixture, Target
from rescore.targets.lgcp import LogGaussianCox
from rescore.training import Adam, fit, train_once

SHOWN = 2000  # points kept for a figure
PRIOR_SIZES, PRIOR_RUNS = (300, 1000, 2000), 100  # not settings: they are what `one_jump_sizes` asks about
PRIOR_VARIANCES = (1, 4, 16)  # what `noise_scale` asks about: sigma^2 T, the variance of the uncontrolled end
LAST_PART = 8  # it takes the mean cost over the last eighth of a training
POLICIES = {"nn": PISNN, "grad": PISGrad}
VARIANTS = {"gt": "GT", "nn": "NN", "grad": "Grad"}

Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Context:
    """What every method gets."""

    dataset: str
    target: Target
    config: Config
    run: Run

    @property
    def settings(self) -> Dataset:
        return self.config.datasets[self.dataset]

    @property
    def runs_per_seed(self) -> int:
        return self.config.runs // len(self.config.seeds)

    def sde(self, method: str) -> ControlledSDE:
        return ControlledSDE(self.config.steps, self.config.horizon, self.settings.sigma.get(method, self.config.sigma))

    def generator(self, *names: object) -> torch.Generator:
        return make_generator(self.dataset, *names, device=self.run.device)

    def training_folder(self, method: str, seed: int, settings: Mapping[str, object]) -> Path:
        """Keyed by what the trained weights depend on alone: another number of runs or particles reuses them."""
        needs = {"dataset": self.dataset, "side": self.settings.side, "seed": seed, "settings": settings}
        key = config_hash(needs, method, str(self.config.protocol_version))
        return self.run.folder.parent / f"{self.dataset}-{method}-seed{seed}-{key}"

    def repeat(self, method: str, seed: int, n: int, one: Callable[[list[torch.Generator]], Rows], runs: int) -> Rows:
        """`one` over `runs` runs of n particles, resumable. Run r depends on (data set, method, seed, r) alone."""
        # Enough rows in a batch to keep a core busy, few enough to stay in its cache.
        together = max(1, min(10_000 // n, 1_000_000 // (n * self.target.dim)))
        label = f"{self.dataset} {method} seed {seed}: runs"
        path = self.run.folder / f"{self.dataset}-{method}-seed{seed}.npz"
        return repeat_runs(
            lambda which: one([self.generator(method, "run", seed, r) for r in which]), runs, together, path, label
        )


@dataclass(frozen=True)
class Estimates:
    """Estimates of log Z of one row of the table, (seeds, runs), and the protocol they were made under."""

    method: str
    variant: str
    nfe: int | None
    log_z: np.ndarray
    protocol: Mapping[str, object]
    n_particles: int
    ess: np.ndarray | None = None


@dataclass
class Outcome:
    """What a method measured: rows of the table, metrics of chains, computed numbers (variant, metric, value), figure data."""

    estimates: list[Estimates] = field(default_factory=list)
    chains: list[tuple[str, str, np.ndarray, Mapping[str, object]]] = field(default_factory=list)
    computed: list[tuple[str, str, float, Mapping[str, object]]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    evaluations: int = 0


def path_integral(context: Context, method: str) -> Outcome:
    """PIS with the exact (gt), the plain (nn) or the gradient-guided (grad) policy: the ELBO and the weighted estimate."""
    config, sde, settings, n = context.config, context.sde(method), context.settings.pis, context.config.particles
    exact = method == "gt"
    seeds = (0,) if exact else config.seeds
    runs = config.runs if exact else context.runs_per_seed
    rows, histories, outcome = [], [], Outcome()
    for seed in seeds:
        if exact:
            policy = exact_policy(context)
        else:
            policy, history = trained_policy(context, method, seed, sde, settings)
            histories.append(history)

        def one(generators: list[torch.Generator], policy: Policy = policy) -> Rows:
            log_w = simulate(context, sde, policy, generators).log_w
            return {"elbo": elbo(log_w).numpy(), "importance": log_mean_exp(log_w).numpy(), "ess": ess(log_w).numpy()}

        rows.append(context.repeat(method, seed, n, one, runs))
        if seed == seeds[0]:
            paths = simulate(context, sde, policy, [context.generator(method, "shown", i) for i in range(-(-SHOWN // n))])
            outcome.arrays |= {f"{method}/samples": shown(paths.x), f"{method}/log_w": paths.log_w[0].numpy()}
    protocol = {"runs": config.runs, "particles": n, "steps": sde.steps, "horizon": sde.horizon, "sigma2": round(sde.sigma**2, 12)}
    if not exact:
        outcome.arrays[f"{method}/loss"] = np.stack(histories)
        protocol |= {f"train_{key}": value for key, value in settings.model_dump(exclude={"checkpoint_every"}).items()}
    for estimator, variant in (("elbo", VARIANTS[method]), ("importance", f"RW-{VARIANTS[method]}")):
        log_z = np.stack([row[estimator] for row in rows])
        weights = np.stack([row["ess"] for row in rows]) if estimator == "importance" else None
        row_protocol = protocol | {"estimator": estimator}
        outcome.estimates.append(Estimates("PIS", variant, sde.steps, log_z, row_protocol, n, weights))
    training = 0 if exact else settings.steps * settings.batch
    outcome.evaluations = len(seeds) * (runs * n + training) * (sde.steps + 1)
    return outcome


def noise_scale(context: Context, method: str) -> Outcome:
    """What each policy's path costs at some noise scales (README.md): of the Cox process the least on its Laplace
    approximation, of other targets that of a short training with the first seed."""
    outcome, config, cox = Outcome(), context.config, isinstance(context.target, LogGaussianCox)
    precision = laplace_precision(context.target) if cox else None
    for policy in POLICIES:
        for v in PRIOR_VARIANCES:
            sde = ControlledSDE(config.steps, config.horizon, (v / config.horizon) ** 0.5)
            protocol = {"steps": sde.steps, "horizon": sde.horizon, "sigma2": round(sde.sigma**2, 12)}
            if cox:
                metric, value = "path_kl", least_path_kl(sde, precision, guided=policy == "grad")
                protocol["target"] = "laplace"
            else:
                settings = context.settings.pis.model_copy(update={"steps": config.noise_scale_steps})
                _, history = trained_policy(context, policy, config.seeds[0], sde, settings)
                last = max(1, len(history) // LAST_PART)
                metric, value = "path_cost", float(history[-last:].mean())
                protocol |= {"train_steps": settings.steps, "train_batch": settings.batch, "train_lr": settings.lr, "mean_of": last}
                outcome.evaluations += settings.steps * settings.batch * sde.steps
            outcome.computed.append((f"{VARIANTS[policy]}-variance-{v}", metric, value, protocol))
    return outcome


def exact_policy(context: Context) -> MixtureControl:
    if not isinstance(context.target, GaussianMixture):
        raise RescoreError(f"job {context.run.job}: method gt needs a mixture of Gaussians, not {context.dataset}; allowed: mg")
    return MixtureControl(context.sde("gt"), context.target)


def trained_policy(
    context: Context, method: str, seed: int, sde: ControlledSDE, settings: Training
) -> tuple[nn.Module, np.ndarray]:
    """The policy and the history of its cost in nats, trained or, where it was trained before, loaded."""
    target = context.target
    policy = POLICIES[method](target, make_generator(context.dataset, method, "init", seed)).to(context.run.device)
    noise = torch.empty(sde.steps, settings.batch, target.dim, device=context.run.device)

    def loss(generator: torch.Generator) -> Tensor:
        return sde.cost(policy, target, noise.normal_(generator=generator)) / target.dim

    needs = settings.model_dump(exclude={"checkpoint_every"}) | {"sde": [sde.steps, sde.horizon, sde.sigma]}
    history = fit(
        policy,
        loss,
        Adam(settings.steps, settings.lr, settings.weight_decay, settings.decay, settings.decay_every),
        context.generator(method, "train", seed),
        context.training_folder(method, seed, needs),
        settings.checkpoint_every,
        label=f"{context.dataset} {method} seed {seed}: training",
    )
    return policy.requires_grad_(False), history.numpy() * target.dim


def simulate(context: Context, sde: ControlledSDE, policy: Policy, generators: list[torch.Generator]) -> Paths:
    noise = torch.empty(len(generators), context.config.particles, context.target.dim, device=context.run.device)
    return sde.simulate(policy, context.target, lambda: fill_normal(noise, generators))


def shown(x: Tensor) -> np.ndarray:
    """(..., d) to at most SHOWN points of the first two dimensions, float32."""
    return x.reshape(-1, x.shape[-1])[:SHOWN, :2].float().cpu().numpy()


def one_jump(context: Context, method: str) -> Outcome:
    """Importance sampling from N(0, I): what the printed HMC and NUTS rows agree with, so it fills both (README.md)."""
    config, n = context.config, context.config.particles

    def one(generators: list[torch.Generator]) -> Rows:
        log_w = importance.prior_log_weights(context.target, n, generators)
        return {"log_z": log_mean_exp(log_w).numpy(), "ess": ess(log_w).numpy()}

    rows = context.repeat(method, 0, n, one, config.runs)
    log_z, weights = rows["log_z"][None], rows["ess"][None]
    protocol = {"runs": config.runs, "particles": n, "estimator": "one_jump_importance"}
    estimates = [Estimates(name, "", config.steps, log_z, protocol, n) for name in ("HMC", "NUTS")]
    estimates.append(Estimates("importance", "prior", 1, log_z, protocol, n, weights))
    return Outcome(estimates, evaluations=config.runs * n)


def one_jump_sizes(context: Context, method: str) -> Outcome:
    """The same estimate with other numbers of particles: which number do the printed HMC and NUTS rows agree with?"""
    outcome = Outcome()
    for n in PRIOR_SIZES:

        def one(generators: list[torch.Generator], n: int = n) -> Rows:
            return {"log_z": log_mean_exp(importance.prior_log_weights(context.target, n, generators)).numpy()}

        log_z = context.repeat(f"{method}-{n}", 0, n, one, PRIOR_RUNS)["log_z"][None]
        protocol = {"runs": PRIOR_RUNS, "particles": n, "estimator": "one_jump_importance"}
        outcome.estimates.append(Estimates("importance", f"prior-{n}", 1, log_z, protocol, n))
        outcome.evaluations += PRIOR_RUNS * n
    return outcome


def annealed(context: Context, method: str) -> Outcome:
    """SMC, or AFT: SMC with a flow before each temperature, trained once a seed and then frozen."""
    config, settings = context.config, context.settings.annealing
    n = settings.particles or config.particles
    schedule = smc.Annealing(
        settings.temperatures, settings.hmc_steps, settings.leapfrogs, settings.step_sizes, settings.resample_below
    )
    trained = method == "aft"
    seeds, runs = (config.seeds, context.runs_per_seed) if trained else ((0,), config.runs)
    rows, outcome = [], Outcome()
    for seed in seeds:
        transport = trained_transports(context, schedule, n, seed) if trained else smc.no_transport

        def one(generators: list[torch.Generator], transport: smc.TransportAt = transport) -> Rows:
            done = smc.anneal(context.target, schedule, n, generators, transport)
            count = np.full(len(generators), n * done.n_evaluations)
            final = np.stack([shown(x)[: SHOWN // 10] for x in done.x])
            return {"log_z": done.log_z.numpy(), "acceptance": done.acceptance.numpy(), "count": count, "samples": final}

        rows.append(context.repeat(method, seed, n, one, runs))
    outcome.arrays = {
        f"{method}/samples": rows[0]["samples"].reshape(-1, min(2, context.target.dim))[:SHOWN],
        f"{method}/acceptance": np.stack([row["acceptance"] for row in rows]),
    }
    outcome.evaluations = int(sum(row["count"].sum() for row in rows))
    steps = settings.hmc_steps * settings.leapfrogs
    protocol = {
        "runs": config.runs,
        "particles": n,
        "estimator": "annealed",
        "temperatures": settings.temperatures,
        "steps_per_temperature": steps,
        "leapfrogs": settings.leapfrogs,
        "step_sizes": "/".join(f"{size:g}" for size in settings.step_sizes),
        "resample_below": settings.resample_below,
    }
    if trained:
        protocol |= flow_protocol(context.settings.aft)
        batches = settings.temperatures * context.settings.aft.steps
        outcome.evaluations += len(seeds) * context.settings.aft.batch * batches
    log_z = np.stack([row["log_z"] for row in rows])
    name = f"{settings.temperatures}-temperatures"
    outcome.estimates.append(Estimates(method.upper(), name, settings.temperatures * steps, log_z, protocol, n))
    return outcome


def make_flow(settings: Flow, dim: int, seed: int) -> nn.Module:
    """A flow of the family that the config names."""
    hidden = (settings.hidden, settings.hidden)
    match settings.family:
        case "diagonal_affine":
            return flows.diagonal_affine(dim)
        case "affine_autoregressive":
            return flows.affine_autoregressive(dim, settings.layers, hidden, seed)
        case _:
            return flows.spline_autoregressive(dim, settings.layers, settings.bins, settings.bound, hidden, seed)


def flow_protocol(settings: Flow) -> dict[str, object]:
    protocol = {"flow": settings.family, "train_steps": settings.steps, "train_batch": settings.batch, "train_lr": settings.lr}
    if settings.family != "diagonal_affine":
        protocol |= {"flow_layers": settings.layers, "flow_hidden": settings.hidden}
    return protocol


def trained_transports(context: Context, schedule: smc.Annealing, n: int, seed: int) -> smc.TransportAt:
    """One flow a temperature, learned in a run of their own, or loaded."""
    settings = context.settings.aft
    names = (context.dataset, "aft", seed)
    needs = settings.model_dump() | {"annealing": context.settings.annealing.model_dump()}
    path = context.training_folder("aft", seed, needs) / "transports.safetensors"

    def make(k: int) -> nn.Module:
        return make_flow(settings, context.target.dim, derive_seed(*names, "init", k) % 2**31)

    def train() -> nn.Module:
        streams = (context.generator("aft", "train", seed), context.generator("aft", "validate", seed))
        return aft.train_transports(
            context.target, schedule, make, settings.batch, streams, settings.steps, settings.lr
        )

    blank = nn.ModuleList(make(k) for k in range(1, schedule.n_temperatures + 1))
    return aft.frozen(train_once(path, train, blank))


def variational_flow(context: Context, method: str) -> Outcome:
    """VI-NF: a flow trained by reverse KL; the printed row is read as its ELBO."""
    config, settings, target, n = context.config, context.settings.vi_nf, context.target, context.config.particles
    rows, outcome, histories = [], Outcome(), []
    for seed in config.seeds:
        flow = make_flow(settings, target.dim, derive_seed(context.dataset, method, "init", seed) % 2**31)
        flow = flow.to(context.run.device)
        noise = torch.empty(settings.batch, target.dim, device=context.run.device)

        def loss(generator: torch.Generator, flow: nn.Module = flow, noise: Tensor = noise) -> Tensor:
            return flows.reverse_kl_loss(flow, target, noise.normal_(generator=generator))

        history = fit(
            flow,
            loss,
            Adam(settings.steps, settings.lr),
            context.generator(method, "train", seed),
            context.training_folder(method, seed, settings.model_dump()),
            label=f"{context.dataset} {method} seed {seed}: training",
        )
        histories.append(history.numpy())
        flow.requires_grad_(False)

        def one(generators: list[torch.Generator], flow: nn.Module = flow) -> Rows:
            z = fill_normal(torch.empty(len(generators), n, target.dim, device=context.run.device), generators)
            with torch.inference_mode():
                log_w = flows.flow_log_weights(flow, target, z)
            return {"elbo": elbo(log_w).numpy(), "importance": log_mean_exp(log_w).numpy(), "ess": ess(log_w).numpy()}

        rows.append(context.repeat(method, seed, n, one, context.runs_per_seed))
        if seed == config.seeds[0]:
            z = torch.randn(SHOWN, target.dim, generator=context.generator(method, "shown"), device=context.run.device)
            with torch.inference_mode():
                outcome.arrays[f"{method}/samples"] = shown(flow(z)[0])
    outcome.arrays[f"{method}/loss"] = np.stack(histories)
    protocol = {"runs": config.runs, "particles": n} | flow_protocol(settings)
    for estimator, variant in (("elbo", ""), ("importance", "RW")):
        log_z = np.stack([row[estimator] for row in rows])
        weights = np.stack([row["ess"] for row in rows]) if estimator == "importance" else None
        outcome.estimates.append(
            Estimates("VI-NF", variant, None, log_z, protocol | {"estimator": estimator}, n, weights)
        )
    outcome.evaluations = len(config.seeds) * (settings.steps * settings.batch + context.runs_per_seed * n)
    return outcome


def library_chains(context: Context, method: str) -> Outcome:
    """The NUTS or HMC of a library: what such chains find in the same number of steps. They define no log Z."""
    settings, target = context.config.chains, context.target
    chains = []
    for chain in range(settings.chains):
        initial = torch.randn(target.dim, dtype=torch.float64, generator=make_generator(context.dataset, method, "start", chain))
        seed = derive_seed(context.dataset, method, "chain", chain) % 2**31
        chains.append(library.run_chain(target, method, settings.samples, settings.warmup, seed, initial))
    samples = torch.stack([chain.samples for chain in chains])
    outcome = Outcome(evaluations=sum(chain.n_evaluations for chain in chains))
    protocol = {"library": "pyro", "chains": settings.chains, "warmup": settings.warmup, "samples": settings.samples}
    for metric, values in chain_metrics(target, samples).items():
        outcome.chains.append((method.upper(), metric, values, protocol))
    outcome.arrays = {f"{method}/samples": shown(samples)}
    return outcome


def chain_metrics(target: Target, samples: Tensor) -> dict[str, np.ndarray]:
    """Per chain (chains, n, d): the mean of log muhat, and for a mixture the fraction of its modes that were visited."""
    metrics = {"mean_log_prob": target.log_prob(samples).mean(-1).numpy()}
    if isinstance(target, GaussianMixture):
        coverage = [library.mode_coverage(chain, target.means, 3 * target.std) for chain in samples]
        metrics["mode_coverage"] = np.array(coverage)
    return metrics


def exact_draws(context: Context, method: str) -> Outcome:
    """Draws from the target itself: the truth beside the chains."""
    settings, target = context.config.chains, context.target
    samples = target.sample((settings.chains, settings.samples), make_generator(context.dataset, method))
    outcome = Outcome(arrays={f"{method}/samples": shown(target.sample((SHOWN,), make_generator("shown")))})
    protocol = {"library": "exact", "chains": settings.chains, "samples": settings.samples}
    for metric, values in chain_metrics(target, samples).items():
        outcome.chains.append(("exact", metric, values, protocol))
    return outcome


METHODS: dict[str, Callable[[Context, str], Outcome]] = {
    "gt": path_integral,
    "nn": path_integral,
    "grad": path_integral,
    "noise_scale": noise_scale,
    "importance": one_jump,
    "importance_sizes": one_jump_sizes,
    "smc": annealed,
    "aft": annealed,
    "vi_nf": variational_flow,
    "nuts": library_chains,
    "hmc": library_chains,
    "exact": exact_draws,
}
