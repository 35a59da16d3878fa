"""The network of MNIST that papers share: one node, one place for its records, several samplings of one training.

No test reads MNIST: the digits of scikit-learn, enlarged to 28x28, stand under its name.
"""

import hashlib
import math

import numpy as np
import pytest
import torch
from ledger_case import record
from rescore.cli import main
from rescore.data import idx
from rescore.data.digits import digits_and_labels
from rescore.data.pixels import dequantise
from rescore.figures import PaperResults
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.ledger.records import read_records, read_skipped
from rescore.likelihood import bits_per_dim, flow_log_prob
from rescore.models.build import make_model, make_process
from rescore.papers import find_papers, load_config
from rescore.processes.base import gaussian_log_prob
from rescore.random import make_generator
from rescore.samplers import tab_deis
from rescore.specs.config import role
from test_images import write_idx
from trained_case import records_of

MODEL = "vp@mnist"
PAPERS = {
    name: paper
    for name, paper in find_papers().items()
    if "laptop" in paper.scales and MODEL in getattr(load_config(paper, "laptop"), "models", {})
}
SMALLER = {  # the cells that claims ask for
    "deis": {"table": {"rows": [5, 10, 20]}},
    "gddim": {"grid": {"nfes": [10, 20], "long_nfe": None}},
    "smld_sde": {},
}


@pytest.fixture
def enlarged(tmp_path, monkeypatch):
    """80 images as `train` and 70 as `test` under MNIST's name."""
    images, labels = digits_and_labels()
    large = np.pad(np.rint(images * 255 / 16).astype(np.uint8).repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "data"))
    for split, rows in {"train": slice(80), "test": slice(80, 150)}.items():
        for part, array in {"images": large[rows], "labels": labels[rows].astype(np.uint8)}.items():
            name = f"{idx.PREFIX[split]}-{idx.PARTS[part]}"
            content = write_idx(tmp_path / "data" / "MNIST" / "raw" / name, array)
            monkeypatch.setitem(idx.MNIST.content, name, hashlib.sha256(content).hexdigest())


def tiny(name: str):
    """The smoke job on MNIST, with the cells of the laptop's claims and few samples."""
    config = load_config(PAPERS[name], "smoke")
    job = config.jobs["mnist"]
    instead = job.instead | SMALLER[name] | {"evaluation": job.instead["evaluation"] | {"samples": 66, "samplings": 2}}
    return config, {"mnist": job.model_copy(update={"instead": instead})}


def test_papers_share_one_training():
    assert set(PAPERS) == {*SMALLER, "diffflow"}  # which has no FID of it: test_diffflow_bits
    for scale in ("smoke", "laptop"):
        keys = {of.key for paper in PAPERS.values() for of in load_config(paper, scale).job_trainings("mnist").values()}
        assert len(keys) == 1, scale
    assert role(MODEL) == "vp"


@pytest.mark.parametrize("name", sorted(SMALLER))
def test_its_records_stand_beside_the_digits_and_claims_find_them(name, enlarged, tmp_path):
    paper = PAPERS[name]
    config, jobs = tiny(name)
    records = records_of(paper, config, jobs, tmp_path)
    assert {record.dataset for record in records} == {"mnist"} and len({record.key for record in records}) == len(records)
    assert not any(MODEL in record.variant for record in records), "the same variants as on the digits"
    fids = [record for record in records if record.metric == "fid" and record.method != "real images"]
    assert {(record.over, record.df, record.n_seeds, record.n_samples) for record in fids} == {("samplings", 1, 1, 132)}
    assert all(record.stderr > 0 and "features=small-mnist-" in record.protocol for record in fids)
    floors = [record for record in records if record.method == "real images"]
    assert {record.variant for record in floors} == {"held out", "training images"}
    claims = paper.module("claims")
    lines = {line["claim"]: line for line in evaluate(name, claims.CLAIMS, records)}
    ours = {claim.name for claim in (claims.IMAGES if name == "deis" else claims.MNIST)}
    assert {claim for claim, line in lines.items() if line["status"] in ("holds", "fails", "inconclusive")} == ours
    assert all("over 2 samplings" in lines[claim]["evidence"] for claim in ours), (
        "of one network: its samplings are the repeats"
    )
    rows = diff(records, read_published(paper.folder / "published.csv", name), {name: paper})
    assert not rows["protocol"].str.contains("small-mnist").any(), "the printed numbers keep the digits as stand-ins"


@pytest.mark.parametrize("name", sorted(SMALLER))
def test_the_digits_do_not_see_it(name):
    """Settings of the job on MNIST are its own; the others of a paper have theirs, and their hashes."""
    config = load_config(PAPERS[name], "laptop")
    own, others = config.under("mnist"), [config.under(job) for job in config.jobs if job != "mnist"]
    assert own.training_seeds == (0,) and own.evaluation.samplings > 2
    assert {(of.training_seeds, of.evaluation.samplings) for of in others} == {((0, 1, 2), 1)}
    without = config.model_copy(update={"jobs": {job: of for job, of in config.jobs.items() if job != "mnist"}})
    assert all(config.job_dependencies(job) == without.job_dependencies(job) for job in without.jobs)


def test_without_mnist_the_rows_are_not_run_with_the_reason(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("requests.get", refuse)
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    options = ["--scale", "laptop", "--results", str(tmp_path / "results")]
    assert not main(["train", f"deis/{MODEL}", *options])
    assert not main(["run", "deis", "measure", "--job", "mnist", *options])
    job = tmp_path / "results" / "laptop" / "deis" / "mnist"
    (row,) = read_skipped(job / "skipped.csv")
    assert row["dataset"] == "mnist" and "no network" in row["reason"] and read_records(job / "records.csv") == []
    claims = PAPERS["deis"].module("claims")
    found = {line["claim"]: line["status"] for line in evaluate("deis", claims.CLAIMS, [])}
    assert {found[claim.name] for claim in claims.IMAGES} == {"not-run"}


def test_figures_of_the_trained_networks_stay_those_of_the_digits(tmp_path):
    """Wherever the records of MNIST stand; without the digits' there is no other data set."""
    paper = PAPERS["deis"]
    floors = [record(paper="deis", method="real images", dataset=name) for name in ("mnist", "digits")]
    for records, data in ((floors, "digits"), (floors[:1], "mnist"), ([], None)):
        found = PaperResults.open(tmp_path / "laptop", paper)
        vars(found).update(records=records)
        assert found.trained_data == data


def untrained():
    """Zero at initialisation: v = 0, so that eps = R_t u, whose law at all times is N(0, I)."""
    spec = load_config(PAPERS["deis"], "laptop").models[MODEL]
    process = make_process(spec.process, (1, 28, 28))
    return process, make_model(spec, process, (1, 28, 28)).double().eval().requires_grad_(False)


def test_the_untrained_network_is_the_score_of_a_standard_normal_law():
    process, model = untrained()
    u = torch.randn(2, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (1e-3, 0.3, 1.0):
        assert torch.allclose(model.score()(u, t), -u, rtol=0, atol=1e-12)
    # its flow stands still: tAB3 keeps u up to the error of its polynomials, which falls with the steps
    coarse, fine = (tab_deis(process, torch.linspace(1, 1e-3, n + 1, dtype=torch.float64) ** 2, 3) for n in (20, 40))
    errors = [(sampler(model.score(), u) / u - 1).abs().max() for sampler in (coarse, fine)]
    assert errors[1] < errors[0] / 4 and errors[1] < 0.02


def test_bits_of_the_untrained_network_are_those_of_a_standard_normal_law():
    process, model = untrained()
    images = (torch.arange(2 * 784).reshape(2, 1, 28, 28) % 256).to(torch.uint8)
    x, per_unit = dequantise(images, make_generator("bits"), 256)
    x = x.double()
    found = flow_log_prob(model.score(), process, x, make_generator("bits"), "rademacher", 1e-5, 1e-7)
    exact = gaussian_log_prob(x, process.prior_covariance)
    assert torch.allclose(found.log_prob, exact, rtol=1e-6)
    bits = bits_per_dim(found.log_prob, 784, per_unit)
    assert torch.allclose(bits, -exact / (784 * math.log(2)) + 7, rtol=1e-6), "bins of 2 / 256"
