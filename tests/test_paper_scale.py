"""Scale paper samples networks that their authors published: the printed numbers that it reaches, and what is left to say."""

import dataclasses
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from measuring import configured
from recorded_models import RecordedModels
from rescore import samplers
from rescore.data.weights import newest
from rescore.errors import MissingData, RescoreError
from rescore.experiments.book import Run
from rescore.experiments.listing import Listing
from rescore.ledger.claims import evaluate as evaluate_claims
from rescore.ledger.diff import diff
from rescore.ledger.protocol import declared_protocol, differences, format_protocol, format_value
from rescore.ledger.published import read_published
from rescore.ledger.records import Record
from rescore.metrics.features import INCEPTION_FILE, INCEPTION_SHA256
from rescore.models import evaluate
from rescore.models.evaluate import TrainedModels
from rescore.models.listing import JobCells, listable, listed
from rescore.models.parts import Parts
from rescore.networks import NoisePrediction
from rescore.papers import load_config, load_paper
from rescore.processes import VE, VP, DiscreteVP, SubVP
from rescore.scores import on_process
from rescore.specs.config import TRAINED_HERE, role
from rescore.workflow.suite import load_suite

PAPERS = ("deis", "gddim", "cld", "smld_sde")
OTHERS = {  # rows of the tables that no published network of the paper made, or whose nfe is a solver's choice
    "deis": {},
    "gddim": {"7.3": "Prob.Flow RK45"},
    "cld": {"1": "LSGM-100M|ODE-RK45 fid", "3": "VESDE-deep", "9": "VPSDE-deep|VESDE-deep"},
    "smld_sde": {
        "score-sde-2": "RealNVP|iResNet|Glow|MintNet|Residual Flow|FFJORD|Flow|DDPM L",
        "score-sde-3": "BigGAN|StyleGAN2|NCSN unconditional|NCSNv2|DDPM VP",
    },
}
TABLES = {
    "deis": ("6.2",),
    "gddim": ("7.1", "7.2", "7.3"),
    "cld": ("1", "3", "9"),
    "smld_sde": ("fig17", "score-sde-1", "score-sde-2", "score-sde-3"),
}


def by_quick_processes(monkeypatch, paper):
    """gDDIM's samplers on VP, whose coefficients are fast: they have the evaluations and times of those on other processes."""
    if paper.name == "gddim":
        tables = paper.module("tables")
        monkeypatch.setattr(
            tables,
            "within_budget",
            lambda make, process, *rest, **options: samplers.within_budget(make, VP(eps=process.eps), *rest, **options),
        )


@pytest.fixture(scope="module")
def protocols():
    """By the keys of `wanted`'s records the protocols of samplers and models; filled by it."""
    return {}


@pytest.fixture(scope="module")
def wanted(protocols):
    """By paper the cells of its jobs of a run of everything at scale paper."""
    found, cell_of = {}, TrainedModels._cell

    def cell(models, table, method, variant, model, nfe, protocol, *rest, metrics=(), **options):
        for metric in metrics:
            protocols[models.run.paper, table, models.data, method, variant, metric, nfe] = protocol
        return cell_of(models, table, method, variant, model, nfe, protocol, *rest, metrics=metrics, **options)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(TrainedModels, "_cell", cell)
        for name in PAPERS:
            paper = load_paper(name)
            by_quick_processes(monkeypatch, paper)
            config = load_config(paper, "paper")
            jobs = [job for job in config.jobs if listable(config, job) and not config.jobs[job].on_request]
            found[name] = listed(paper, config, "paper", jobs)
    return found


@pytest.mark.parametrize("name", PAPERS)
def test_printed_rows_have_a_record_of_their_key(wanted, name):
    keys = Counter(key for one in wanted[name] for key in one.keys(name))
    assert not [key for key, count in keys.items() if count > 1], "no two jobs measure one number"
    rows = [row for row in read_published(load_paper(name).folder / "published.csv", name) if row.table in TABLES[name]]
    missing = [row for row in rows if row.key not in keys]
    for row in missing:
        pattern = OTHERS[name].get(row.table, "(?!)")
        assert re.match(pattern, f"{row.method} {row.variant}") or re.search(pattern, f"{row.variant} {row.metric}"), row
    reached = {"deis": 50, "gddim": 55, "cld": 9, "smld_sde": 56}
    assert len(rows) - len(missing) == reached[name]


@pytest.mark.parametrize("name", PAPERS)
def test_claims_on_a_network_of_images_find_its_records(wanted, name):
    """Of one network the samplings decide, between networks they do not: then a wide difference is inconclusive."""
    cells = sorted({key for one in wanted[name] for key in one.keys(name)}, key=str)
    rows = [
        Record(*key, float(place), 1e-3, 2, "samplings", 1, 9, "", "paper", "cpu", 1.0, "0", "0" * 8)
        for place, key in enumerate(cells)
    ]
    found = evaluate_claims(name, load_paper(name).value("claims", "CLAIMS"), rows)
    status = Counter(row["status"] if row["status"] in ("inconclusive", "not-run") else "decided" for row in found)
    assert (
        status
        == {
            "deis": {"decided": 8, "not-run": 56},
            "gddim": {"decided": 14, "inconclusive": 1, "not-run": 45},
            "cld": {"decided": 2, "inconclusive": 1, "not-run": 56},
            "smld_sde": {"decided": 6, "inconclusive": 3, "not-run": 53},
        }[name]
    )


@pytest.mark.parametrize("name", PAPERS)
def test_declared_weights_are_those_of_the_configs_but_for_the_digest(wanted, name):
    """So that the digest, in both places, is all that a verdict waits for."""
    paper, config = load_paper(name), load_config(load_paper(name), "paper")
    model_of = {key: cell.model for one in wanted[name] for cell in one.cells for key in JobCells((), (cell,)).keys(name)}
    checked = 0
    for row in read_published(paper.folder / "published.csv", name):
        if row.key not in model_of:
            continue
        spec = config.models[model_of[row.key]]
        stated, assumed = declared_protocol(paper.meta.protocols, row)
        declared = stated | assumed
        assert not {"ema", "train_steps"} & set(declared), "no training of ours is claimed"
        if declared.get("weights") == "not published":
            assert (row.variant[:2], spec.network.name) == ("VE", "ncsnpp")
            continue
        if row.metric in ("fid", "bpd") and declared:
            assert declared["weights"].replace("????????", "unpinned") == spec.protocol["weights"], row
            assert declared["network"] == spec.network.name
            checked += 1
    assert checked >= {"deis": 50, "gddim": 55, "cld": 7, "smld_sde": 35}[name]


KINDS = {"vp": "VP", "subvp": "subVP", "ve": "VE"}
SAMPLER = {"grid", "levels", "scores", "t0", "denoise", "order", "factor", "snr", "corrector_steps", "tolerance"}


@pytest.mark.parametrize("name", PAPERS)
def test_rows_of_samplers_declare_them_as_their_records_have_them(wanted, protocols, name):
    """Grid (of a chain its levels), t0 and denoise: else a row would be judged under any. What is declared is what is run, but
    for the DDPM rows of gDDIM's Table 7.3, whose t0 the paper says is smaller than ours."""
    paper, checked = load_paper(name), 0
    for row in read_published(paper.folder / "published.csv", name):
        if row.key not in protocols or row.metric not in ("fid", "is"):
            continue
        stated, assumed = declared_protocol(paper.meta.protocols, row)
        declared, measured = stated | assumed, {key: format_value(value) for key, value in protocols[row.key].items()}
        assert {"t0", "denoise"} < set(declared) and {"grid", "levels"} & set(declared), row
        differing = differences({key: value for key, value in declared.items() if key in SAMPLER}, measured)
        other = (name, row.table, row.variant) == ("gddim", "7.3", "DDPM")
        assert differing == (["t0=0.001 (published below 0.001)"] if other else []), row
        assert declared.keys() >= measured.keys() & {"order", "factor", "snr", "tolerance"}, row
        checked += 1
    assert checked == {"deis": 50, "gddim": 55, "cld": 8, "smld_sde": 49}[name]


def test_a_digest_in_both_places_makes_a_row_judged():
    paper = load_paper("deis")
    row = next(row for row in read_published(paper.folder / "published.csv", "deis") if (row.variant, row.nfe) == ("tAB3", 10))
    stated, assumed = declared_protocol(paper.meta.protocols, row)

    def verdict(digits: str, declared: str) -> str:
        protocol = stated | assumed | {"weights": f"score_sde {digits} 400000"}
        record = Record(
            *row.key,
            value=float(row.value),
            stderr=0.01,
            df=2,
            over="runs",
            n_seeds=3,
            n_samples=150000,
            protocol=format_protocol(protocol),
            scale="paper",
            device="x",
            seconds=1.0,
            version="0",
            config_hash="0" * 12,
        )
        text = paper.meta.model_dump_json().replace("score_sde ????????", f"score_sde {declared}")
        meta = type(paper.meta).model_validate_json(text)
        (found,) = diff([record], [row], {"deis": dataclasses.replace(paper, meta=meta)}).to_dict("records")
        return f"{found['status']}: {found['note']}"

    assert verdict("1a2b3c4d", "1a2b3c4d").startswith("reproduced")
    found = verdict("unpinned", "1a2b3c4d")
    assert found.startswith("indicative: differs: weights=score_sde unpinned 400000 (published score_sde 1a2b3c4d")
    assert verdict("1a2b3c4d", "????????").startswith("indicative: differs: weights=score_sde 1a2b3c4d")


@pytest.mark.parametrize("scale", ["gpu", "paper"])
@pytest.mark.parametrize("name", PAPERS)
def test_one_job_judges_real_images_and_each_names_its_models(name, scale):
    config = load_config(load_paper(name), scale)
    jobs = [job for job in config.jobs.values() if job.models and not job.on_request]
    assert sum(job.floors and (job.part or "1/1").startswith("1/") and job.measure != ("trained_cld",) for job in jobs) == 1
    assert all(len(job.models) == 1 for job in jobs), "one model a job: several GPUs share the paper"
    parts = Counter((job.models, job.measure, job.part.split("/")[1]) for job in jobs if job.part)
    assert all(count == int(n) for (*_, n), count in parts.items()), "no part is missing"


@pytest.mark.parametrize("name", PAPERS)
def test_training_here_is_on_request_and_says_so(name):
    suite = load_suite({"scale": "paper", "papers": name})
    rules, config = suite.papers[name], suite.papers[name].config
    here = [job for job in config.jobs if any(model.endswith(TRAINED_HERE) for model in config.jobs[job].models)]
    assert here and not set(here) & set(rules.wanted) and set(rules.wanted) < set(config.jobs)
    assert not [path for path in rules.job_files if any(f"/{job}/" in path for job in here)]
    for job in here:
        (model,) = config.jobs[job].models
        assert config.models[role(model)].weights and config.models[model].weights is None
        assert suite.model_key(f"{name}/{model}") in suite.models, "rescore train knows it"


def test_score_sdes_networks_trained_here_fill_table_3_by_their_best_snapshot_and_table_2_by_their_last():
    paper, config = load_paper("smld_sde"), load_config(load_paper("smld_sde"), "paper")
    for model, tables in (
        ("vp", {"score-sde-2", "score-sde-3"}),
        ("subvp", {"score-sde-2", "score-sde-3"}),
        ("ve", {"score-sde-3"}),
    ):
        (job,) = (job for job, one in config.jobs.items() if one.models == (model + TRAINED_HERE,))
        spec = config.models[model + TRAINED_HERE]
        assert (config.under(job).evaluation.checkpoint, spec.snapshots) == ("best", 50000), "as the authors chose"
        (cells,) = listed(paper, config, "paper", [job])
        here = {(key[1], key[5]): key for key in cells.keys("smld_sde")}
        assert {table for table, _ in here} == tables and {key[3] for key in here.values()} == {config.trained.table3[model]}
        assert {key[4] for key in here.values()} == {f"{KINDS[model]}, trained here"}
        assert ("score-sde-2", "bpd") in here or model == "ve"
        (published,) = listed(paper, config, "paper", [model])
        assert {cell.table for cell in published.cells} == {"score-sde-3"}, "Table 2 is of other published weights"


def test_jobs_on_request_are_collected_once_they_have_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[1]
    rules = load_suite({"scale": "paper", "papers": "deis"}, root).papers["deis"]
    before = rules.job_files
    place = tmp_path / "results" / "paper" / "deis" / "trained-here"
    place.mkdir(parents=True)
    (place / "records.csv").write_text("")
    assert [path for path in rules.job_files if path not in before] == [
        "results/paper/deis/trained-here/records.csv",
        "results/paper/deis/trained-here/skipped.csv",
    ]


DEIS = load_paper("deis")
VP_SPEC = {"data": "digits", "process": {"name": "VP"}, "network": {"name": "ddpmpp"}, "steps": 10}
PUBLISHED = VP_SPEC | {"weights": {"source": "score_sde", "name": "vp.pth"}}


def of_jobs(**jobs):
    config = configured(
        DEIS,
        {
            "models": {"vp": PUBLISHED, "vp-trained-here": VP_SPEC},
            "datasets": {},
            "table": {"rows": [5, 6]},
            "evaluation": {"runs": 3},
            "jobs": jobs,
        },
    )
    found = {}
    for job in jobs:
        book = Listing(config, Run("deis", "smoke", job, Path(), "cpu", 1))
        DEIS.module("jobs").trained(book)
        found[job] = book.listed
    return found


def test_parts_hold_each_cell_once_and_a_training_here_has_variants_of_its_own():
    found = of_jobs(
        all={"models": ["vp"], "measure": ["trained"]},
        here={"models": ["vp-trained-here"], "measure": ["trained"], "floors": False},
        **{f"p{k}": {"models": ["vp"], "measure": ["trained"], "part": f"{k}/3"} for k in (1, 2, 3)},
    )
    parts = [cell for k in (1, 2, 3) for cell in found[f"p{k}"]]
    assert len(parts) == len(found["all"]) == 20 and set(parts) == set(found["all"])
    sums = [sum(cell.nfe for cell in found[f"p{k}"]) for k in (1, 2, 3)]
    assert max(sums) - min(sums) <= 8, "alike in evaluations, to one cell"
    assert {(cell.method, cell.variant) for cell in found["here"]} == {
        (cell.method, f"{cell.variant}, trained here" if cell.variant else "trained here") for cell in found["all"]
    }
    assert {cell.model for cell in found["here"]} == {"vp-trained-here"}


def test_single_cells_go_round_the_parts():
    parts = [Parts(k, 3) for k in (1, 2, 3)]
    assert [[part.next() for _ in range(4)] for part in parts] == [
        [False, False, True, False],
        [False, True, False, False],
        [True, False, False, True],
    ]
    assert Parts().next() and Parts().mine([3, 1], float) == [3, 1]


def test_published_weights_are_sampled_several_times():
    models = {}
    for job, spec in (("a", PUBLISHED), ("b", VP_SPEC)):
        config = configured(
            DEIS,
            {
                "models": {"vp": spec},
                "datasets": {},
                "evaluation": {"runs": 3},
                "jobs": {job: {"models": ["vp"], "measure": ["trained"]}},
            },
        )
        models[job] = TrainedModels(Listing(config, Run("deis", "smoke", job, Path(), "cpu", 1)))
    assert models["a"].repeats_of("vp") == [(0, 0), (0, 1), (0, 2)] and models["b"].repeats_of("vp") == [(0, 0)]


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"part": "3/2"}, "part: 3/2: allowed: k/n with 1 <= k <= n"),
        ({"part": "half"}, "part: half: allowed: k/n"),
        ({"models": ["vp", "vp-trained-here"]}, "vp and vp-trained-here are of one place"),
    ],
)
def test_wrong_jobs(job, said):
    with pytest.raises(RescoreError, match=said):
        of_jobs(a={"models": ["vp"], "measure": ["trained"]} | job)


def test_published_weights_are_not_called_trained_here():
    with pytest.raises(
        RescoreError, match="models.vp-trained-here: weights are published ones; allowed: a training, or the name vp"
    ):
        configured(DEIS, {"models": {"vp-trained-here": PUBLISHED}, "datasets": {}, "jobs": {}})


def test_a_model_on_other_data_names_them():
    spec = VP_SPEC | {"data": "digits"}
    with pytest.raises(RescoreError, match="models.vp@mnist: its data are digits; allowed: the name vp@digits"):
        configured(DEIS, {"models": {"vp@mnist": spec}, "datasets": {}, "jobs": {}})
    both = {"models": {"vp": spec, "vp@digits": spec}, "datasets": {}, "jobs": {"a": {"models": ["vp", "vp@digits"]}}}
    with pytest.raises(RescoreError, match="vp and vp@digits are of one place; allowed: one of them"):
        configured(DEIS, both)


# networks trained on DDPM's chain


@pytest.mark.parametrize("kind", ["VE", "VP"])
def test_a_doubled_chain_of_table_1_has_labels_of_halves(kind):
    """Score-SDE's P2000: with `linear` the network is given i / 2 for i = 0, ..., 1999, VE's from the largest sigma; with
    `rounding`, and on its own chain, whole labels."""
    paper, seen = load_paper("smld_sde"), []
    chains, trained = paper.module("chains"), paper.module("trained")

    class Network(torch.nn.Module):
        def forward(self, x, level):
            seen.append(level[0].item())
            return torch.ones_like(x)

    process = VE(0.02, 100.0) if kind == "VE" else VP(T=1.01)
    level = "labels" if kind == "VE" else "chain"
    network = NoisePrediction(Network(), process, level, "score" if kind == "VE" else "noise")
    models, u = RecordedModels({"model": process}, levels={"model": level}), torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    expected = {"linear": [i / 2 for i in range(2000)], "rounding": [i // 2 for i in range(2000)], "own": list(range(1000))}
    checked = set()
    for one in chains.chain_samplers(1000, [kind]):
        sampling = trained.on_chain(models, "model", one, one.table, one.method, one.variant, 1000)
        used = network.on_doubled_chain() if sampling.doubled else network
        seen.clear()
        score = sampling.adapt(used.score())
        for t in one.sampler.times[:-1:9]:
            score(u, t)
        assert seen == expected[one.scores][:: 1 if kind == "VE" else -1][::9]
        checked.add(one.scores)
    assert checked == set(expected)


def test_only_networks_of_a_chain_have_halves_of_its_labels():
    model = NoisePrediction(torch.nn.Identity(), VP(), "steps")
    with pytest.raises(RescoreError, match="level on a doubled chain 'steps'; allowed: labels, chain"):
        model.on_doubled_chain()


@pytest.mark.parametrize("doubled", [False, True])
def test_samples_are_of_the_network_that_a_sampling_asks_for(monkeypatch, doubled):
    monkeypatch.setattr(evaluate, "draw", lambda sampler, score, shape, n, generator: score)
    model = SimpleNamespace(score="own", on_doubled_chain=lambda: SimpleNamespace(score="of halves"))
    models = SimpleNamespace(
        load=lambda name, seed: model,
        data="digits",
        run=SimpleNamespace(device="cpu"),
        train=SimpleNamespace(shape=(1, 8, 8)),
        config=SimpleNamespace(evaluation=SimpleNamespace(samples=1)),
    )
    one = evaluate.Sampling("1", "", "", "model", samplers.ancestral(VP(), [1.0, 0.5]), doubled=doubled)
    assert TrainedModels.draw(models, one, 0, 0) == ("of halves" if doubled else "own")


def test_level_chain_is_the_index_of_the_chain():
    """At the chain's own ratios of noise to signal the network sees its index, and the score is -output / std."""
    chain, seen = DiscreteVP(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)), []

    class Network(torch.nn.Module):
        def forward(self, x, level):
            seen.append(level[0].item())
            return torch.ones_like(x)

    process = VP(T=1.01)  # the chain ends in a little more noise than VP at time 1
    model = NoisePrediction(Network(), process, "chain")
    score = on_process(model.score(), process, chain)
    u = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    for index in (0, 1, 17, 500, 999):
        t = (index + 1) / 1000
        assert score(u, t)[0, 0, 0, 0].item() == pytest.approx(-1 / chain.R(t).values.item(), rel=1e-9)
    assert seen == [0, 1, 17, 500, 999]
    with pytest.raises(RescoreError, match="level for SubVP"):
        NoisePrediction(Network(), SubVP(), "chain")


# files


def test_a_folder_of_checkpoints_stands_for_the_last(tmp_path):
    for name in ("checkpoint_8.pth", "checkpoint_26.pth", "checkpoint_9", "notes.txt", "checkpoint_best.pth"):
        (tmp_path / name).write_text("")
    assert newest(tmp_path).name == "checkpoint_26.pth"
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingData, match="no file checkpoint_<number>"):
        newest(tmp_path / "empty")


def test_inceptions_digest_is_that_of_its_name():
    """torch-fidelity's release names the file by the first digits of its SHA-256."""
    assert f"weights-inception-2015-12-05-{INCEPTION_SHA256[:8]}.pth" == INCEPTION_FILE and len(INCEPTION_SHA256) == 64


def test_models_spelled_the_same_are_one_node():
    keys = {name: load_config(load_paper(name), "paper").models["vp"].key for name in PAPERS}
    assert len(set(keys.values())) == 1
