"""The paper's own code: corruptions and their schedules, the networks' joint loss, configs and claims."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from measuring import book_of, configured

from rescore.corruptions import Masking
from rescore.cost.evaluations import CountEvaluations
from rescore.data.images import load_images
from rescore.errors import RescoreError
from rescore.ledger.claims import evaluate
from rescore.ledger.records import Record
from rescore.papers import load_config, load_paper

PAPER = load_paper("soft_diffusion", Path(__file__).parents[1])
config, problems, trained = (PAPER.module(name) for name in ("config", "problems", "trained"))
VARIANTS, SAMPLERS = problems.VARIANTS, problems.SAMPLERS


@pytest.fixture(scope="module")
def smoke():
    return load_config(PAPER, "smoke")


@pytest.fixture(scope="module")
def problem(smoke, tmp_path_factory):
    return problems.Problem(book_of(PAPER, smoke, "all", tmp_path_factory.mktemp("soft")), "digits")


def test_every_scale_has_a_valid_config():
    assert PAPER.scales == ["smoke", "laptop", "gpu", "paper"]
    for scale in PAPER.scales:
        assert set(load_config(PAPER, scale).networks.nfes) <= set(VARIANTS)
    assert set(load_config(PAPER, "smoke").jobs["all"].train) == set(VARIANTS)


GOOD = {
    "datasets": {"digits": {}},
    "networks": {"training": {"steps": 1, "clip": None}, "nfes": {"main": [5]}},
    "jobs": {"a": {"measure": {"digits": ["networks"]}, "train": ["main"]}},
}


@pytest.mark.parametrize(("change", "message"), [
    ({"jobs": {"a": {"measure": {"digits": ["networks"]}, "train": ["clean"]}}}, "jobs.a.train: clean has no nfes; allowed: main"),
    ({"networks": GOOD["networks"] | {"training": {"steps": 1}}}, "set clip: null"),
    ({"jobs": {"a": {"measure": {"digits": ["networks"]}, "train": ["blur"]}}}, "jobs.a.train.0"),
    ({"jobs": {"a": {"measure": {"digits": ["gaussian"]}, "train": ["main"]}}}, "allowed: both or none"),
    ({"jobs": {"a": {"measure": {"digits": ["networks"]}}}}, "allowed: both or none"),
    ({"jobs": {"a": {"measure": {"cifar10": ["gaussian"]}}}}, "cifar10 has no settings; allowed: digits"),
    ({"jobs": {"a": {"measure": {"digits": ["blurs"]}}}}, "jobs.a.measure.digits.0: input should be 'schedules'"),
])  # fmt: skip
def test_a_bad_config_is_named(change, message):
    assert configured(PAPER, GOOD).jobs["a"].train == ("main",)
    with pytest.raises(RescoreError, match=message):
        configured(PAPER, GOOD | change)


def test_masked_start_is_noise_alone(problem):
    process = problem.corruption("masking")
    assert isinstance(process.family, Masking)
    x = process.prior_sample((2000, 1, 8, 8), torch.Generator().manual_seed(0), torch.float64)
    assert x.std().item() == pytest.approx(0.1, rel=0.01)


def test_schedule_is_kept_and_read_back(problem, smoke):
    first, folder = problem.corruption("main").level, problem.book.run.folder.parent / "schedules"
    kept = list(folder.glob("*.npz"))
    assert len(kept) == 1
    assert problem.corruption("clean").level == first
    again = problems.Problem(problem.book, "digits")
    level, path, distances = again.shortest("digits", again.images)
    assert level == first and len(path.nodes) == smoke.datasets["digits"].schedule.nodes and distances.shape == (48, 48)
    assert list(folder.glob("*.npz")) == kept


def test_the_blur_of_other_images_is_in_proportion(problem):
    assert (problem.blur(8).size, problem.blur(8).highest) == ((8, 8), 4.5)
    assert (problem.blur(16).size, problem.blur(16).highest) == ((16, 16), 9.0)


def test_joint_loss_is_the_sum_over_networks(problem, smoke):
    names, data = ("main", "clean", "masking"), load_images("digits", "train")
    group = [(name, seed) for name in names for seed in smoke.networks.seeds]
    rows = torch.arange(5)
    levels = []

    def network(x, level):
        levels.append(level)
        return torch.zeros_like(x)

    with CountEvaluations() as counted:
        found = trained.group_losses(problem, group, "cpu")(network, rows, torch.Generator().manual_seed(0))
    generator, x0, expected = torch.Generator().manual_seed(0), problems.unit_interval(data)[:5].float().repeat(2, 1, 1, 1), 0
    for name in names:
        loss, process = trained.LOSSES[VARIANTS[name].loss], problem.corruption(name)
        t, x = loss.pairs(process, x0, generator)
        expected = expected + loss.losses(process, torch.zeros_like(x), x0, x, t).reshape(2, 5).sum(0)
    torch.testing.assert_close(found, expected)
    assert levels[0].shape == (30,) and levels[0].max() <= 999 and counted.total == 30


def test_networks_trained_one_by_one_have_their_own_folders_and_clip(smoke, tmp_path):
    content = smoke.model_dump(mode="json")
    content["networks"]["training"] |= {"together": False, "clip": 1.0, "steps": 3}
    book = book_of(PAPER, configured(PAPER, content), "all", tmp_path)
    here = trained.Networks(book, "digits")
    weights = [here.network("main", seed).last.weight for seed in (0, 1)]
    assert sorted(path.name for path in book.run.folder.iterdir()) == ["main-0", "main-1"]
    assert all(weight.abs().max() > 0 for weight in weights)  # zero before the first step
    assert not torch.equal(*weights)


def test_nearest_is_the_median_distance_to_the_neighbour():
    here = SimpleNamespace(real=torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    distance = trained.Networks.nearest(here, torch.tensor([[0.1, 0.1], [0.7, 0.7], [1.0, 0.8]]))
    assert distance == pytest.approx(0.2 / 2**0.5)


def test_claims_select_the_records_of_the_laptop_config():
    """Every claim finds its records in what the laptop config measures, given here with made-up values."""
    laptop = load_config(PAPER, "laptop")
    keys = {("real", "digits", "real images", "held out", "nearest", None)}
    for name, budgets in laptop.networks.nfes.items():
        variant = VARIANTS[name]
        keys.add(("held out", "digits", "Soft Diffusion", variant.label, "soft_loss", None))
        for label in problems.samplers(name):
            for metric in ("fid", "variance_ratio", "nearest"):
                keys |= {(variant.table, "digits", "Soft Diffusion", label, metric, nfe) for nfe in budgets}
    exact = [("Soft Diffusion", f"blur; {name}") for name in SAMPLERS]
    exact += [("Soft Diffusion", VARIANTS["mse"].label), ("VE SDE", "reverse diffusion")]
    for method, variant in exact:
        keys |= {("exact", "digits_gaussian", method, variant, metric, nfe)
                 for metric in ("frechet", "variance_ratio") for nfe in laptop.gaussian.nfes}  # fmt: skip
    for schedule in ("Wasserstein schedule", "MSE-matched blur schedule"):
        keys.add(("fig6", "digits", "Soft Diffusion", f"blur; {schedule}", "largest_hop", None))
    rest = (1.0, 0.1, 2, "trainings", 3, 1, "", "laptop", "cpu", 0.0, "v", "h")
    records = [Record("soft_diffusion", *key, *rest) for key in keys]
    rows = evaluate("soft_diffusion", PAPER.module("claims").CLAIMS, records)
    assert len(rows) >= 10
    assert {row["status"] for row in rows} == {"inconclusive"}
