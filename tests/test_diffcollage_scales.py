"""The gpu and paper scales of DiffCollage: valid configs, and every kind of job run in tiny on a CPU with made-up data."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from measuring import book_of, configured, measured
from PIL import Image
from pinned import check_pinned
from rescore.config import step_hash
from rescore.data.images import SPLITS
from rescore.errors import RescoreError
from rescore.ledger.diff import diff
from rescore.ledger.published import read_published
from rescore.metrics.features import Extractor
from rescore.models.judge import Judge, extract
from rescore.networks import make_network
from rescore.papers import load_config, load_paper
from torch.nn import functional as F
from trained_case import records_of

PAPER = load_paper("diffcollage", ROOT)
METHODS = {"Baseline", "Replacement", "Reconstruction", "DiffCollage", "Averaging"}
LARGE = ("gpu", "paper")


@pytest.mark.parametrize("scale", LARGE)
def test_the_config_is_valid_and_its_networks_can_be_made(scale):
    config = load_config(PAPER, scale)
    for name, spec in config.models.items():
        side = int(spec.data.removesuffix("-half").removesuffix("-quarter")[-2:])
        shape = (3, side // 2 if "quarter" in name else side, side // 2 if name != name.partition("_")[0] else side)
        assert spec.data in SPLITS
        with torch.device("meta"):
            network = make_network(spec.network.name, spec.network.settings, 3, shape[1:], 0)
        assert sum(p.numel() for p in network.parameters()) > 2e7
    humanml = config.humanml
    assert humanml.pieces * (humanml.width - humanml.overlap) + humanml.overlap == 480, "24 s"
    assert config.ratio == 6 and humanml.series == 1000 and config.evaluation.features == "inception"
    assert config.samples * config.crops > 2048 and config.samples > 2048, "more images than features"
    if scale == "paper":
        assert (config.samples, config.crops) == (50000, 1) and all("64" in spec.data for spec in config.models.values())


class Means(Extractor):
    """Eight features of an image: means of its halves in three colours, and two products."""

    name, dim, classes = "means/8", 8, 2

    def forward(self, images):
        x = images.float() / 255
        halves = torch.stack([x[..., : x.shape[-1] // 2].mean((2, 3)), x[..., x.shape[-1] // 2 :].mean((2, 3))], 1).flatten(1)
        values = torch.cat((halves, halves[:, :2] * halves[:, 2:4]), 1)
        return values, values[:, :2]


def judge_of(features, reference, held_out, settings, folder, device):
    assert features == "inception"
    real, floor = (extract(Means(), data.images, data.source) for data in (reference, held_out))
    return Judge(Means(), real, floor)


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    """200 pictures of 64 pixels in place of LHQ, and of 70x66 in that of Tower."""
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    for place, size in (("lhq_256", (64, 64)), ("tower", (70, 66))):
        (tmp_path / place).mkdir()
        for i in range(200):
            coarse = draw.integers(0, 256, (4, 4, 3), np.uint8)
            Image.fromarray(coarse).resize(size).save(tmp_path / place / f"{i:07}.png")


def tiny(scale, **settings):
    """The config of a scale with networks of few channels, trained for two steps, and few contents."""
    config = load_config(PAPER, scale)
    settings |= {"samples": 9, "crops": 1, "batch": 5, "steps": 2, "ratio": 2, "lengths": {"ratios": [2, 3]}, "seeds": [0, 1]}
    content = config.model_dump(mode="json") | settings
    for spec in content["models"].values():
        spec["network"]["settings"] |= {"width": 8, "blocks": 1, "attention": [], "multipliers": [1, 1, 1, 1]}
        spec |= {"steps": 2, "batch": 4, "parts": 1, "warmup": 1, "gpu": 0, "split": "train"}
    return configured(PAPER, content)


@pytest.mark.parametrize(("scale", "job"), [("gpu", "lhq"), ("paper", "tower")])
def test_a_job_on_scenes_in_tiny(scale, job, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(PAPER.module("images"), "make_judge", judge_of)
    monkeypatch.setattr(PAPER.module("panoramas"), "TIMED", 2)
    monkeypatch.setattr(PAPER.module("shapes"), "GRID", 2)
    config = tiny(scale)
    records = records_of(PAPER, config, {job: config.jobs[job]}, tmp_path)
    check_pinned(f"diffcollage_{job}", records)
    found = {(r.table, r.metric): {s.method for s in records if (s.table, s.metric) == (r.table, r.metric)} for r in records}
    assert found["4.2", "fid_plus"] == found["4.2", "sequential passes"] == METHODS and {r.dataset for r in records} == {job}
    assert found["4.2", "fid"] == METHODS - {"Averaging"} | {"real images"}
    if job == "lhq":
        assert found["grid", "seam"] == found["fig4.5", "sequential passes"] == METHODS
        assert found["fig4.6", "seam"] == METHODS - {"Averaging"} and found["loop", "wrap_seam"] == {"DiffCollage"}
    assert len({record.key for record in records}) == len(records) and all(np.isfinite(record.value) for record in records)
    rows = diff(records, read_published(PAPER.folder / "published.csv", PAPER.name), {PAPER.name: PAPER})
    name = {"lhq": "LHQ 256^2", "tower": "LSUN Tower 256^2"}[job]
    shown = rows[(rows.dataset == name) & rows.method.isin(METHODS)]
    assert set(shown.status) == {"indicative"} and shown.note.str.contains(f"dataset={job}").all() and len(shown) == 6
    assert set(rows.status) == {"indicative", "not-run"} and not (rows.note == "no record").any()


def test_parts_that_do_not_fit_are_named(scenes, tmp_path):
    config = tiny("gpu")
    wrong = config.model_copy(update={"models": config.models | {"lhq_half": config.models["lhq_quarter"]}})
    images = PAPER.module("images").Images(book_of(PAPER, wrong, "lhq", tmp_path), "lhq")
    message = r"models.lhq_half: patches \(3, 16, 16\) beside squares \(3, 32, 32\); allowed: \(3, 32, fewer than 32\)"
    with pytest.raises(RescoreError, match=message):
        images.chain(2)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("models", ["lhq"], "jobs.lhq.models: lhq_half is missing; needed: lhq, lhq_half, lhq_quarter"),
        ("measure", {"lhq": ["inpaint"]}, "measure.lhq: inpaint; allowed: panoramas, lengths, loop, grid, cubemap, connect"),
        ("measure", {"bricks": ["loop"]}, r"input should be 'brick', 'grass', .* or 'sky and ground', not 'bricks'$"),
        ("measure", {"HumanML3D": ["loop"]}, "measure.HumanML3D: loop; allowed: humanml"),
        ("measure", {"BasicMotions": ["humanml"]}, "measure.BasicMotions: humanml; allowed: motion"),
    ],
)
def test_sections_that_do_not_fit_their_subject_are_refused(key, value, message):
    content = load_config(PAPER, "gpu").model_dump(mode="json")
    content["jobs"]["lhq"][key] = value
    with pytest.raises(RescoreError, match=message):
        configured(PAPER, content)


def test_a_change_of_a_sections_settings_runs_no_other_section():
    config = load_config(PAPER, "gpu")
    changed = configured(PAPER, config.model_dump(mode="json") | {"lengths": {"ratios": [2, 3]}})

    def hashes(config, job):
        return {str(step): step_hash(config, PAPER.name, job, step) for step in config.jobs[job].steps}

    before, after = (hashes(each, "lhq") for each in (config, changed))
    assert {step for step in before if before[step] != after[step]} == {"lhq lengths"}
    assert all(hashes(config, job) == hashes(changed, job) for job in ("tower", "humanml"))


class Evaluator:
    """Four features of a motion, and of a caption its number among the captions of the data."""

    def captions(self, captions):
        return torch.tensor([[float(len(c.text)), float(len(c.tokens)), 1.0, 0.0] for c in captions])

    def motions(self, motions):
        assert {tuple(m.shape[1:]) for m in motions} == {(263,)} and all(24 <= len(m) <= 196 for m in motions)
        return torch.stack([F.adaptive_avg_pool1d(m[:, :1].mT.float(), 4)[0] for m in motions])


@pytest.mark.parametrize("scale", LARGE)
def test_humanml_in_tiny(scale, tmp_path, monkeypatch):
    home = tmp_path / "HumanML3D"
    (home / "new_joint_vecs").mkdir(parents=True)
    (home / "texts").mkdir()
    draw = np.random.default_rng(0)
    for i in range(40):
        np.save(home / "new_joint_vecs" / f"{i}.npy", draw.normal(3, 2, (int(draw.integers(40, 199)), 263)))
        (home / "texts" / f"{i}.txt").write_text(f"{'run' * i}#run/VERB{' fast/ADV' * (i % 3)}#0.0#0.0\n")
    np.save(home / "Mean.npy", np.full(263, 3.0))
    np.save(home / "Std.npy", np.full(263, 2.0))
    for split in ("train", "test"):
        (home / f"{split}.txt").write_text("\n".join(map(str, range(40))))
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    module = PAPER.module("humanml")
    small = {"width": 24, "overlap": 12, "pieces": 3, "series": 34, "steps": 2, "crop": 44}
    small |= {"hidden": 8, "layers": 1, "heads": 2, "batch": 4}
    config = tiny(scale, humanml=load_config(PAPER, scale).humanml.model_dump() | small)
    job = config.jobs["humanml"]
    skipped = measured(PAPER, config, "humanml", tmp_path / "without").skipped
    assert [row["dataset"] for row in skipped] == ["HumanML3D"] and "the evaluator of HumanML3D: no " in skipped[0]["reason"]
    monkeypatch.setattr(module, "load_evaluator", lambda device: Evaluator())
    monkeypatch.setattr(module, "PAIRS", 20)
    records = records_of(PAPER, config, {"humanml": job}, tmp_path)
    rows = diff(records, read_published(PAPER.folder / "published.csv", PAPER.name), {PAPER.name: PAPER})
    shown = rows[rows.table == "4.3"]
    assert len(shown) == 24 and set(shown.status) == {"indicative"} and shown.measured.map(np.isfinite).all()
    assert shown[~shown.method.isin(("Real data", "MDM"))].note.str.contains("differs: .*score").all()
    check_pinned(f"humanml_{scale}", records)
    values = {(r.method, r.metric): r.value for r in records}
    # two steps of DDIM: three evaluations a run, three runs of outpainting, two of them with a way back
    assert {m: values[m, "sequential passes"] for m in METHODS} == {
        "Baseline": 3,
        "Averaging": 3,
        "DiffCollage": 3,
        "Replacement": 9,
        "Reconstruction": 15,
    }
