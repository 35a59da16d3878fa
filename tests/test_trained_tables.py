"""Tables on trained networks: the cells that papers print find stand-ins, claims find their records, likelihoods are exact."""

import math
from functools import partial

import pytest
import torch
from pinned import check_pinned
from rescore.data.images import images_at_hand, load_images
from rescore.data.pixels import dequantise
from rescore.ledger.claims import evaluate
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.likelihood import bits_per_dim, flow_log_prob
from rescore.models import build
from rescore.models.build import load_model, make_model, make_process, train_model
from rescore.models.judge import draw
from rescore.papers import load_config, load_paper
from rescore.processes import grids
from rescore.processes.base import gaussian_log_prob
from rescore.random import make_generator
from rescore.samplers import euler_maruyama
from rescore.specs.model import ModelSpec, Network, Part
from rescore.training import save_weights
from trained_case import records_of

# The cells that claims and stand-ins ask for, and no long ones.
SMALLER = {
    "gddim": {
        "factors": {"nfes": (20, 30, 40, 50)},
        "lambdas": {"values": (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)},
        "grid": {"nfes": (10, 20, 50), "long_nfe": 1000},
    },
    "cld": {
        "trained": {
            "cld": {"EM-QS": (50, 150, 500, 1000), "EM-US": (50,), "SSCS-QS": (50, 150, 500), "SSCS-US": (50,)},
            "vp_em": (1000,),
            "vp_ddim": (150,),
            "ablation_nfe": 150,
        }
    },
    "smld_sde": {
        "trained": {"levels": 100, "steps": 500, "tolerance": 0.1},
        "losses": {"levels": 100},
        "ncsn": {"steps_per_level": 100, "samples": 70, "ratios": 20},
        "encoding": {"images": 4, "tolerance": 1e-3},
    },
}
# Claims on models that smoke does not train.
NOT_TRAINED = {
    "gddim": set(),
    "cld": {"trained-mass-optimal", "trained-small-gamma-better", "trained-hsm-beats-dsm"},
    "smld_sde": {
        "trained-subvp-best-likelihood",
        "trained-ve-best-samples",
        "bound-is-a-bound",
        "encoding-is-unique",  # of three networks, where smoke trains one
        "encodings-correlate",
    },
}
SECTIONS = {"trained", "losses", "ncsn", "encoding", "jacobians"}  # on trained networks, where a paper has several
SHOWN = {"gddim": 58, "cld": 19, "smld_sde": 46}  # printed rows with a stand-in on the trained networks


@pytest.fixture(scope="module", params=sorted(SMALLER))
def paper(request, tmp_path_factory):
    """A paper, and the records of its tables on the smoke models, with 70 samples a cell."""
    found = load_paper(request.param)
    smoke = load_config(found, "smoke")
    settings = smoke.model_dump(mode="json") | SMALLER[request.param]
    settings["evaluation"] |= {"samples": 70}
    config = type(smoke).model_validate(settings)
    measured = {
        name: tuple(sorted(SECTIONS & set(job.measure)))
        for name, job in config.jobs.items()
        if job.models and not job.on_request
    }
    jobs = {name: config.jobs[name].model_copy(update={"measure": of}) for name, of in measured.items() if of}
    return found, records_of(found, config, jobs, tmp_path_factory.mktemp(request.param))


def test_numbers_are_what_they_were(paper):
    found, records = paper
    check_pinned(f"{found.name}_trained", records)


def test_claims_on_trained_networks_find_their_records(paper):
    found, records = paper
    lines = evaluate(found.name, found.module("claims").TRAINED, records)
    assert {line["claim"] for line in lines if line["status"] in ("not-run", "broken")} == NOT_TRAINED[found.name]


def test_printed_cells_find_stand_ins_that_are_never_judged(paper):
    found, records = paper
    rows = diff(records, read_published(found.folder / "published.csv", found.name), {found.name: found})
    assert (rows["status"] == "indicative").sum() == SHOWN[found.name]
    assert set(rows["status"]) <= {"indicative", "not-run"}
    assert not (rows["note"] == "no record").any()


def test_keys_differ_and_numbers_are_finite(paper):
    _, records = paper
    assert len({record.key for record in records}) == len(records)
    assert all(math.isfinite(record.value) for record in records)
    floors = [record for record in records if record.method == "real images"]
    assert {(r.metric, r.variant) for r in floors} == {(m, v) for m in ("fid", "is") for v in ("held out", "training images")}
    assert {(r.over, r.stderr, r.n_seeds, r.n_samples) for r in floors} == {("runs", None, 1, 70)}
    training = {record.metric for record in records if record.table == "training"}
    assert training == {"train_memory_mb"}, "without a GPU there is no memory of one"


def test_bits_of_a_network_that_predicts_nothing():
    """An untrained network gives the score 0: the flow is linear, and x has the density of the prior under u = Psi(T, t0) x."""
    spec = ModelSpec(data="digits", process=Part(name="VP"), network=Network(name="mlp"), steps=1)
    process = make_process(spec.process, (1, 8, 8))
    model = make_model(spec, process, (1, 8, 8)).double().requires_grad_(False)
    images = (torch.arange(3 * 64).reshape(3, 1, 8, 8) % 17 * 255 / 16).round().to(torch.uint8)
    x, per_unit = dequantise(images, make_generator("bits"), 17)
    x, t0 = x.double(), 1e-5
    found = flow_log_prob(model.score(), process, x, make_generator("bits"), "rademacher", t0, 1e-8)
    psi = process.Psi(process.T, t0)
    exact = gaussian_log_prob(psi(x), process.prior_covariance) + 64 * psi.values.log().item()
    assert torch.allclose(found.log_prob, exact, rtol=1e-6)
    expected = -exact / (64 * math.log(2)) + 3  # bins an eighth wide
    assert torch.allclose(bits_per_dim(found.log_prob, 64, per_unit), expected, rtol=1e-6)


def test_the_gpu_scale_runs_on_a_cpu_with_a_tiny_budget(tmp_path, monkeypatch):
    """CIFAR-10, U-Nets of VP, VE and CLD as the gpu configs name them, but two steps, few channels: trained, loaded, drawn."""
    if not images_at_hand("cifar10", "train"):
        pytest.skip("cifar10/train is not under RESCORE_DATA")
    monkeypatch.setattr(build, "load_images", partial(load_images, limit=8))
    config = {
        name: load_config(load_paper(paper), "gpu").models[name]
        for name, paper in {"vp": "deis", "ve": "smld_sde", "cld": "cld"}.items()
    }
    for name, spec in config.items():
        settings = spec.network.settings | {"width": 8, "blocks": 1, "attention": ()}
        tiny = spec.model_copy(
            update={
                "network": spec.network.model_copy(update={"settings": settings}),
                "steps": 2,
                "batch": 2,
                "warmup": 1,
                "gpu": 0,
            }
        )
        trained = train_model(tiny, tmp_path / name, "cpu", name)
        save_weights(tmp_path / f"{name}.safetensors", trained.network)
        model = load_model(tiny, tmp_path / f"{name}.safetensors", (3, 32, 32), "cpu")
        sampler = euler_maruyama(model.process, grids.uniform(model.process, 2), denoise="mean")
        x = draw(sampler, model.score, (3, 32, 32), 2, make_generator(name)).x
        assert x.shape == (2, 3, 32, 32) and x.isfinite().all()
