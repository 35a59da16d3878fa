"""How the methods of PIS are wired, with stubs whose answers are known: which estimator, which seed, which schedule."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measuring import book_of, configured
from rescore.control import ControlledSDE, Paths
from rescore.montecarlo.logz import elbo, ess, log_mean_exp, logz_statistics
from rescore.papers import load_paper
from rescore.random import derive_seed, make_generator, small_seed
from rescore.targets.lgcp import synthetic

F64 = torch.float64
PAPER = load_paper("pis")
study_module, policies, variational, annealed, chains, sweeps = (
    PAPER.module(name) for name in ("study", "policies", "variational", "annealed", "chains", "sweeps")
)
ANNEALING = {"temperatures": 2, "hmc_steps": 3, "leapfrogs": 4, "step_sizes": [0.4, 0.3, 0.2, 0.1], "resample_below": 0.6}
PIS = {
    "seeds": [4, 6],
    "runs": 4,
    "particles": 5,
    "steps": 3,
    "horizon": 2.0,
    "sigma": 0.5,
    "chains": {"chains": 2, "warmup": 3, "samples": 4},
    "datasets": {
        "mg": {
            "pis": {"steps": 7, "batch": 2, "lr": 0.01},
            "annealing": ANNEALING,
            "aft": {"family": "diagonal_affine", "steps": 2, "batch": 6},
            "vi_nf": {"family": "diagonal_affine", "steps": 2},
        }
    },
    "jobs": {"job": {"measure": {"mg": ["nn"]}}},
}


@pytest.fixture
def study(tmp_path):
    return study_module.Study(book_of(PAPER, configured(PAPER, PIS), "job", tmp_path), "mg")


def weights_of(generators) -> torch.Tensor:
    """Log weights (runs, 5) that depend on each run's seed."""
    return torch.stack(
        [torch.randn(5, generator=torch.Generator().manual_seed(g.initial_seed()), dtype=F64) * 3 for g in generators]
    )


def expected_weights(method: str, seed: int, runs: int) -> torch.Tensor:
    return weights_of([make_generator("mg", method, "run", seed, r) for r in range(runs)])


def rows_of(study, medians: bool = False) -> dict[tuple[str, str], dict[str, object]]:
    """The measurements by method and variant, then by metric; each row has one of medians beside it."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for one in study.book.measurements:
        if one.variant.endswith("@median") and not medians:
            continue
        rows.setdefault((one.method, one.variant), {})[one.metric] = one
    return rows


def assert_row(row, log_z: torch.Tensor, weights: torch.Tensor | None = None) -> None:
    """A row of the statistics of these estimates (trainings, runs) of a target of log Z 0."""
    expected = logz_statistics(log_z.numpy(), 0.0, None if weights is None else weights.numpy())
    assert {metric: (one.value, one.stderr) for metric, one in row.items()} == {
        metric: pytest.approx(found, rel=1e-9) for metric, found in expected.items()
    }


@pytest.mark.parametrize("method", ["nn", "grad", "gt"])
def test_pis_rows_are_the_elbo_and_the_weighted_estimate(study, monkeypatch, method):
    used = []

    def simulate(study, sde, policy, generators):
        used.append((sde, policy))
        return Paths(torch.zeros(len(generators), 5, 2), weights_of(generators))

    monkeypatch.setattr(policies, "simulate", simulate)
    monkeypatch.setattr(policies, "trained_policy", lambda study, method, seed, *_: (f"{method}{seed}", np.full(7, seed)))
    monkeypatch.setattr(policies, "exact_policy", lambda study: "exact")
    policies.path_integral(study, method)
    name, exact = {"nn": "NN", "grad": "Grad", "gt": "GT"}[method], method == "gt"
    seeds, runs = ((0,), 4) if exact else ((4, 6), 2)
    log_w = torch.stack([expected_weights(method, seed, runs) for seed in seeds])
    rows = rows_of(study)
    assert list(rows) == [("PIS", name), ("PIS", f"RW-{name}")]
    assert_row(rows["PIS", name], elbo(log_w))
    assert_row(rows["PIS", f"RW-{name}"], log_mean_exp(log_w), ess(log_w))
    assert {policy for _, policy in used} == ({"exact"} if exact else {f"{method}4", f"{method}6"})
    assert {sde for sde, _ in used} == {ControlledSDE(3, 2.0, 0.5)}
    wanted = {"runs": 4, "particles": 5, "steps": 3, "horizon": 2.0, "sigma2": 0.25}
    for variant, estimator in ((name, "elbo"), (f"RW-{name}", "importance")):
        row = rows["PIS", variant]["logz_bias"]
        assert (row.nfe, row.n_samples, row.over, row.n_seeds) == (3, 20, "runs" if exact else "trainings", len(seeds))
        assert wanted | {"estimator": estimator} == {key: row.protocol[key] for key in (*wanted, "estimator")}
        assert row.protocol.get("train_steps") == (None if exact else 7)
        log_z = elbo(log_w) if estimator == "elbo" else log_mean_exp(log_w)
        each = [] if exact else pytest.approx(log_z.mean(1).tolist(), rel=1e-9)
        assert [float(value) for value in row.values.split()] == each
        assert row.matched == rows["PIS", name]["logz_bias"].matched and row.matched.startswith(
            "" if exact else f"mg/{method}, "
        )
    losses = study.book.arrays.get(f"mg/{method}/loss")
    assert losses is None if exact else losses.tolist() == [[4] * 7, [6] * 7]


def test_rows_are_matched_that_differ_in_the_estimator_alone(study):
    runs = study_module.Runs(study, "x", 5, lambda seed, generators: {}, trained=True)
    labels = [runs.matched(of) for of in ({"steps": 3}, {"steps": 3, "estimator": "elbo"}, {"steps": 4}, {"particles": 3})]
    assert labels[0] == labels[1] and len(set(labels)) == 3 and all(label.startswith("mg/x, ") for label in labels)


def test_with_one_training_its_runs_are_samplings(study):
    runs = study_module.Runs(study, "x", 5, lambda seed, generators: {"log_z": np.arange(float(len(generators)))}, trained=True)
    study.config = study.config.model_copy(update={"seeds": (4,)})
    study.row("X", "", None, {}, runs, "log_z")
    assert {(one.over, one.n_seeds, one.df, one.n_samples) for one in study.book.measurements} == {("samplings", 1, 3, 20)}


def test_vi_nf_rows_are_the_elbo_and_the_weighted_estimate(study, monkeypatch):
    scale = torch.tensor([2.0, 0.5])
    monkeypatch.setattr(study_module, "fit", lambda *_, **__: torch.zeros(2))
    monkeypatch.setattr(variational.flows, "flow_log_weights", lambda flow, target, z: (z.double() * scale).sum(-1))
    variational.variational_flow(study, "vi_nf")
    z = [[torch.randn(5, 2, generator=make_generator("mg", "vi_nf", "run", seed, r)) for r in range(2)] for seed in (4, 6)]
    log_w = torch.stack([torch.stack([(one.double() * scale).sum(-1) for one in of]) for of in z])
    rows = rows_of(study)
    assert_row(rows["VI-NF", ""], elbo(log_w))
    assert_row(rows["VI-NF", "RW"], log_mean_exp(log_w), ess(log_w))
    assert {(row["logz_bias"].nfe, row["logz_bias"].protocol["estimator"]) for row in rows.values()} == {
        (None, "elbo"),
        (None, "importance"),
    }


def test_one_jump_fills_the_printed_chains(study, monkeypatch):
    monkeypatch.setattr(annealed.importance, "prior_log_weights", lambda target, n, generators: weights_of(generators))
    annealed.one_jump(study, "importance")
    rows, log_w = rows_of(study), expected_weights("importance", 0, 4)[None]
    assert_row(rows["HMC", ""], log_mean_exp(log_w))
    assert_row(rows["NUTS", ""], log_mean_exp(log_w))
    assert_row(rows["importance", "prior"], log_mean_exp(log_w), ess(log_w))
    assert [row["logz_bias"].nfe for row in rows.values()] == [3, 3, 1]


def test_annealed_rows_are_made_under_their_schedule(study, monkeypatch):
    seen = []

    def anneal(target, schedule, n, generators, transport):
        seen.append((schedule, n, transport, [g.initial_seed() for g in generators]))
        runs = len(generators)
        log_z = torch.arange(runs, dtype=F64) + len(seen)
        return SimpleNamespace(x=torch.zeros(runs, n, 2), log_z=log_z, acceptance=torch.full((runs, 2), 0.5))

    monkeypatch.setattr(annealed.smc, "anneal", anneal)
    monkeypatch.setattr(annealed, "trained_transports", lambda study, schedule, seed: f"transport {seed}")
    monkeypatch.setattr(annealed.aft, "frozen", lambda transports: transports)
    monkeypatch.setattr(annealed, "share_learned", lambda study, transports, seed: float(transports.split()[1]) / 10)
    annealed.annealed(study, "smc")
    schedule = annealed.smc.Annealing(2, 3, 4, (0.4, 0.3, 0.2, 0.1), 0.6)
    assert seen == [(schedule, 5, annealed.smc.no_transport, [derive_seed("mg", "smc", "run", 0, r) for r in range(4)])]
    seen.clear()
    annealed.annealed(study, "aft")
    assert [(transport, seeds) for _, _, transport, seeds in seen] == [
        (f"transport {seed}", [derive_seed("mg", "aft", "run", seed, r) for r in range(2)]) for seed in (4, 6)
    ]
    rows = rows_of(study)
    assert_row(rows["SMC", "2-temperatures"], torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    learned = rows["AFT", "2-temperatures"].pop("maps_learned")
    assert (learned.value, learned.stderr, learned.df) == (pytest.approx(0.5), pytest.approx(0.1), 1)
    assert_row(rows["AFT", "2-temperatures"], torch.tensor([[1.0, 2.0], [2.0, 3.0]]))
    assert {(row["logz_bias"].nfe, row["logz_bias"].n_samples) for row in rows.values()} == {(24, 20)}
    assert study.book.arrays["mg/aft/acceptance"].shape == (2, 2, 2)
    seen.clear()
    few = study.settings.annealing.model_copy(update={"particles": 3})
    study.settings = study.settings.model_copy(update={"annealing": few})
    study.table = "another"
    annealed.annealed(study, "smc")
    assert [n for _, n, *_ in seen] == [3] and study.book.measurements[-1].protocol["particles"] == 3


def test_maps_that_have_left_the_identity_are_learned(study):
    """A map whose validation loss only rises keeps its first parameters: there AFT is SMC."""
    maps = torch.nn.ModuleList(annealed.new_map(study, 4, k) for k in (1, 2))
    assert annealed.share_learned(study, maps, 4) == 0.0
    with torch.no_grad():
        next(maps[1].parameters()).add_(1e-3)
    assert annealed.share_learned(study, maps, 4) == 0.5


def test_chains_start_from_named_draws(study, monkeypatch):
    seen = []

    def run_chain(target, kernel, n, warmup, seed, initial):
        seen.append((kernel, n, warmup, seed))
        return SimpleNamespace(samples=initial.expand(n, 2))

    monkeypatch.setattr(chains, "run_chain", run_chain)
    chains.library_chains(study, "nuts")
    assert seen == [("nuts", 4, 3, small_seed("mg", "nuts", "chain", chain)) for chain in range(2)]
    generators = [make_generator("mg", "nuts", "start", chain) for chain in range(2)]
    starts = torch.stack([torch.randn(2, dtype=F64, generator=generator) for generator in generators])
    row = rows_of(study)["NUTS", "library"]
    assert row["mean_log_prob"].value == pytest.approx(study.target.log_prob(starts).mean().item())
    assert {(one.n_seeds, one.n_samples) for one in row.values()} == {(2, 8)}
    np.testing.assert_array_equal(study.book.arrays["mg/nuts/samples"], starts.repeat_interleave(4, 0).float())


def test_a_policy_is_trained_on_its_cost(study, monkeypatch):
    asked = []

    def fit(model, loss, adam, generator, folder, every, label):
        asked.append((adam, generator.initial_seed(), folder, every, loss(make_generator("loss")).item()))
        return torch.arange(7.0)

    monkeypatch.setattr(study_module, "fit", fit)
    sde = study.sde("nn")
    policy, history = policies.trained_policy(study, "nn", 4, sde, study.settings.pis)
    ((adam, seed, folder, every, loss),) = asked
    assert (adam.steps, adam.lr, every) == (7, 0.01, 50) and seed == derive_seed("mg", "nn", "train", 4)
    assert folder.parent == study.book.run.folder.parent
    noise = torch.empty(3, 2, 2).normal_(generator=make_generator("loss"))
    assert loss == pytest.approx(sde.cost(policy, study.target, noise).item() / 2, rel=1e-6), "nats per dimension"
    assert history.tolist() == [2.0 * k for k in range(7)], "and the history is in nats"
    assert not any(p.requires_grad for p in policy.parameters())


def test_a_policy_is_as_wide_as_it_is_told(study, monkeypatch):
    monkeypatch.setattr(study_module, "fit", lambda *_, **__: torch.zeros(7))
    for channels in (64, 8):
        settings = study.settings.pis.model_copy(update={"channels": channels})
        for method in ("nn", "grad"):
            policy, _ = policies.trained_policy(study, method, 4, study.sde(method), settings)
            assert policy.state_network.state.out_features == channels
        assert policy.time_network.body[-1].in_features == channels
    assert "channels" not in study.settings.pis.model_dump(), "the weights of before it was a setting keep their folder"
    assert settings.model_dump()["channels"] == 8


@pytest.mark.parametrize("method", ["nn", "grad"])
def test_policies_trained_together_are_those_trained_alone(study, method, monkeypatch):
    """Seeds 4 to 7 are a block of four, whatever seeds a config has; noise is the block's, (policies, N, batch, d)."""
    settings = study.settings.pis.model_copy(update={"together": 4})
    sde, target = study.sde(method), study.target
    draws, noise = study.generator(method, "train", "4-7"), torch.empty(4, 3, 2, 2)
    noises = [noise.normal_(generator=draws).clone() for _ in range(settings.steps)]
    loads, train = [], study.train
    monkeypatch.setattr(study, "train", lambda *args: loads.append(args[:2]) or train(*args))
    found = {seed: policies.trained_policy(study, method, seed, sde, settings) for seed in (6, 4)}
    assert loads == [(method, "4-7")], "once for the block"
    for seed, (policy, history) in found.items():
        alone = policies.POLICIES[method](target, make_generator("mg", method, "init", seed))
        optimizer, costs = torch.optim.Adam(alone.parameters(), lr=0.01, weight_decay=1e-7), []
        for blocks in noises:
            optimizer.zero_grad()
            cost = sde.cost(alone, target, blocks[seed - 4])
            (cost / target.dim).backward()
            optimizer.step()
            costs.append(cost.item())
        np.testing.assert_allclose(history, costs, rtol=1e-4)
        assert not any(p.requires_grad for p in policy.parameters())
        for ours, theirs in zip(policy.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.requires_grad_(False), rtol=0, atol=2e-4)
    (folder,) = study.book.run.folder.parent.glob(f"mg-{method}-seed4-7-*")
    assert list(folder.glob("*.safetensors")), "one training for all of the block"


def test_policies_trained_together_share_no_clip():
    for together, clip in ((1, 1.0), (8, None)):
        PAPER.module("config").Training(steps=1, together=together, clip=clip)
    with pytest.raises(ValueError, match="cannot share one gradient clip: set clip: null, or together: 1"):
        PAPER.module("config").Training(steps=1, together=8, clip=1.0)


def test_a_record_tells_every_setting_of_a_policys_training():
    kind = PAPER.module("config").Training
    told, changes = kind(steps=9).protocol, {"clip": 1.0}
    assert told["train_decay"] == 1 and told["train_channels"] == 64, "also where they are off: printed rows assume them"
    for field in kind.model_fields.keys() - {"checkpoint_every"}:
        value = changes[field] if field in changes else 2 * getattr(kind(steps=9), field) or 2
        assert kind(**{"steps": 9, field: value}).protocol != told, field


def test_a_flow_says_where_its_spline_ends(study):
    spline = study.settings.vi_nf.model_copy(update={"family": "spline_autoregressive"})
    said = [variational.flow_protocol(spline.model_copy(update={"bound": bound})).get("flow_bound") for bound in (10.0, 4.0)]
    assert said == [10.0, 4.0]


def test_three_trainings_also_give_the_spread_of_retrained_runs(study, monkeypatch):
    study.config = study.config.model_copy(update={"seeds": (4, 5, 6), "runs": 6})
    log_z = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 4.0]])
    runs = study_module.Runs(study, "x", 5, lambda seed, generators: {"log_z": log_z[seed - 4].numpy()}, trained=True)
    study.row("X", "a", None, {}, runs, "log_z")
    rows = rows_of(study, medians=True)
    assert list(rows) == [("X", "a"), ("X", "a@median"), ("X", "a@retrained-runs")]
    assert_row(rows["X", "a"], log_z)
    median, truth = rows["X", "a@median"], study.target.log_z
    # with two runs a training the median is the mean, 1.5, 4, 2, and the absolute deviations are 0.5, 1, 2
    assert median["logz_bias"].value == pytest.approx(2.5 - truth)
    assert median["logz_std"].value == pytest.approx(1.482602218505602 * (5.25 / 3) ** 0.5)
    assert (median["logz_std"].df, median["logz_std"].n_seeds, median["logz_std"].n_samples) == (2, 3, 30)
    assert median["logz_std"].protocol["statistic"] == "median"
    row = rows["X", "a@retrained-runs"]
    # the means 1.5, 4, 2 have variance 1.75; within a training it is 0.5, 2, 8, of which half counts
    assert row["logz_std"].value == pytest.approx((1.75 + 3.5 / 2) ** 0.5)
    assert (row["logz_std"].df, row["logz_std"].n_seeds, row["logz_std"].n_samples) == (2, 3, 30)
    assert row["logz_std"].protocol["spread"] == "trainings"


@pytest.mark.parametrize(
    ("candidate", "table", "variants"),
    [
        (None, "5.1", ["a", "a@median"]),
        ("more-runs", "5.1", ["a@more-runs", "a@median@more-runs"]),
        ("few-particles", "5.1", ["a@few-particles"]),
        (None, "steps", ["a"]),
    ],
)
def test_medians_are_of_the_table_and_its_main_protocol_only(tmp_path, candidate, table, variants):
    config = configured(PAPER, PIS | {"candidates": {"more-runs": {"runs": 8}, "few-particles": {"particles": 3}}})
    book = book_of(PAPER, config, "job", tmp_path)
    book.run = replace(book.run, candidate=candidate)
    study = study_module.Study(book, "mg")
    study.table = table
    runs = study_module.Runs(study, "x", 5, lambda seed, generators: {"log_z": np.arange(float(len(generators)))})
    study.row("X", "a", None, {}, runs, "log_z")
    assert list(dict.fromkeys(one.variant for one in book.measurements)) == variants


def test_the_noise_scale_takes_the_last_part_of_a_short_training(study, monkeypatch):
    seen = []

    def trained(study, policy, seed, sde, settings):
        seen.append((policy, seed, round(sde.prior_variance, 9), settings.steps))
        return None, np.arange(400.0)

    monkeypatch.setattr(policies, "trained_policy", trained)
    policies.noise_scale(study, "noise_scale")
    assert seen == [(policy, 4, variance, 400) for policy in ("nn", "grad") for variance in (1, 4, 16)]
    rows = rows_of(study)
    assert list(rows) == [("PIS", f"{policy}-variance-{v}") for policy in ("NN", "Grad") for v in (1, 4, 16)]
    assert {row["path_cost"].value for row in rows.values()} == {np.arange(350, 400).mean()}


def test_the_cox_process_has_its_noise_scales_without_a_training(study, monkeypatch):
    study.target = synthetic(4)
    monkeypatch.setattr(policies, "trained_policy", None)
    monkeypatch.setattr(
        policies, "least_path_kl", lambda sde, precision, guided: sde.prior_variance + 100 * guided + len(precision)
    )
    policies.noise_scale(study, "noise_scale")
    found = {variant: row["path_kl"].value for (_, variant), row in rows_of(study).items()}
    expected = {f"{name}-variance-{v}": 16 + v + more for name, more in (("NN", 0), ("Grad", 100)) for v in (1, 4, 16)}
    assert found == pytest.approx(expected) and {one.over for one in study.book.measurements} == {"exact"}


def test_convergence_is_the_cost_above_minus_log_z(study, monkeypatch):
    """Costs of 16 steps, of which the last two are the end; log Z is 1.5."""
    study.target.log_z = 1.5
    study.settings = study.settings.model_copy(update={"pis": study.settings.pis.model_copy(update={"steps": 16})})
    history = {("nn", 4): np.arange(16.0), ("nn", 6): np.full(16, 3.0), ("grad", 4): -np.arange(16.0), ("grad", 6): np.ones(16)}
    monkeypatch.setattr(sweeps, "trained_policy", lambda study, name, seed, *_: (None, history[name, seed]))
    sweeps.convergence(study, "convergence")
    rows = rows_of(study)
    assert {variant: (row["path_kl"].value, row["path_kl_of_training"].value) for (_, variant), row in rows.items()} == {
        "NN": ((14.5 + 3) / 2 + 1.5, (7.5 + 3) / 2 + 1.5),
        "Grad": ((-14.5 + 1) / 2 + 1.5, (-7.5 + 1) / 2 + 1.5),
    }


def test_an_arc_is_covered_by_a_tenth_of_what_exact_draws_have_there(tmp_path, monkeypatch):
    """Of 3,240 draws 10, 30 and 50 are in an arc of the three rings: 1, 3 and 5 cover it, within 5 widths, 0.354."""
    settings = PIS | {"particles": 1620, "datasets": {"rings": PIS["datasets"]["mg"]}}
    settings["jobs"] = {"job": {"measure": {"rings": ["coverage"]}}}
    study = study_module.Study(book_of(PAPER, configured(PAPER, settings), "job", tmp_path), "rings")

    def at(radius: float, arcs: range, times: int) -> torch.Tensor:
        angle = (torch.tensor(list(arcs)) + 0.5) * (2 * np.pi / 36)
        return (radius * torch.stack((angle.cos(), angle.sin()), 1)).repeat(times, 1)

    few = torch.cat((at(1.35, range(9), 1), at(1.36, range(9, 36), 1), at(3, range(18), 3), at(3, range(18, 36), 2)))
    few = torch.cat((few, at(5, range(27), 5), at(5, range(27, 36), 4)))
    x = torch.cat((few, torch.zeros(3240 - len(few), 2)))
    monkeypatch.setattr(sweeps, "trained_policy", lambda *_: (None, None))
    monkeypatch.setattr(sweeps, "trained_flow", lambda *_: (lambda z: (x[: len(z)], None), None))
    monkeypatch.setattr(sweeps, "simulate", lambda study, sde, policy, runs: Paths(x.reshape(len(runs), 1620, 2), None))
    sweeps.coverage(study, "coverage")
    found = {method: [row[f"ring_{k}_covered"].value for k in (1, 2, 3)] for (method, _), row in rows_of(study).items()}
    shares = [0.25, 0.5, 0.75]
    assert found == {"PIS-NN": shares, "PIS-Grad": shares, "VI-NF": shares, "exact": [1.0, 1.0, 1.0]}
    assert {one.n_samples for one in study.book.measurements} == {2 * 3240}


def test_weights_are_of_what_they_were_trained_on(study, monkeypatch):
    """A policy of another noise scale, and maps of other temperatures, are not taken up."""
    folders = []
    monkeypatch.setattr(
        study_module, "fit", lambda model, loss, adam, generator, folder, *_, **__: folders.append(folder) or torch.zeros(7)
    )
    for sde in (ControlledSDE(3, 2.0, 0.5), ControlledSDE(4, 2.0, 0.5), ControlledSDE(3, 1.0, 0.5), ControlledSDE(3, 2.0, 0.6)):
        policies.trained_policy(study, "nn", 4, sde, study.settings.pis)
    monkeypatch.setattr(annealed, "train_once", lambda path, train, blank: folders.append(path.parent))
    schedule = annealed.smc.Annealing(2)
    for sizes in (0.1, 0.2):
        its = study.settings.annealing.model_copy(update={"step_sizes": (sizes,) * 4})
        study.settings = study.settings.model_copy(update={"annealing": its})
        annealed.trained_transports(study, schedule, 4)
    assert len(set(folders)) == len(folders) == 6


def test_each_seed_and_setting_has_its_own_training_folder(study):
    names = [
        study.training_folder(*key)
        for key in (("nn", 4, {"a": 1}), ("nn", 6, {"a": 1}), ("nn", 4, {"a": 2}), ("grad", 4, {"a": 1}))
    ]
    assert len(set(names)) == 4 and all(path.parent == study.book.run.folder.parent for path in names)
