"""Candidate protocols: how a config declares them, what their jobs leave, and which of them explain a printed number."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from ledger_case import paper, printed, record
from rescore.cli import main
from rescore.config import JobConfig, PaperConfig, SectionSettings, job_hash, step_hash, validated
from rescore.errors import RescoreError
from rescore.experiments.book import Book, Run
from rescore.ledger.diff import candidate_verdicts, diff, is_explained, read_diff, write_diff
from rescore.ledger.explain import GROUPS, explain
from rescore.ledger.records import read_records, write_records
from rescore.ledger.reference import accept
from rescore.ledger.statistics import repeats_needed
from rescore.ledger.tables import readme_block
from rescore.papers import Candidate, Paper, find_papers, load_config
from rescore.settings import Settings
from rescore.specs.config import ModelConfig, ModelJob
from test_gate import save

PROTOCOL = {"stated": {"runs": 100}, "assumed": {"steps": 100}}


def papers(*candidates: dict) -> dict[str, Paper]:
    found = paper((PROTOCOL,))
    meta = found["toy"].meta.model_copy(update={"candidates": [Candidate(**{"source": "ours"} | one) for one in candidates]})
    return {"toy": Paper("toy", found["toy"].folder, meta)}


def explained(*candidates: dict, records=(), **changes) -> str:
    (row,) = diff([record(value=-2.0), *records], [printed(**changes)], papers(*candidates)).to_dict("records")
    assert row["status"] == "off", "the verdict is the main protocol's"
    return row["explained_by"]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("", None), ("2 not decided", None), ("none of 3, 1 not decided", None), ("none of 3", False), ("1000-runs, b", True)],
)
def test_a_row_is_explained_by_names_alone(said, verdict):
    assert is_explained(said) is verdict


LONG = {"name": "long", "protocol": {"steps": 200}}
MANY = {"name": "many", "protocol": {"runs": 1000}}


def under(name: str, protocol: str, **changes):
    return record(variant=f"NN@{name}", protocol=protocol, **changes)


def test_the_candidate_that_reproduces_a_number_explains_it():
    long, many = under("long", "runs=100; steps=200"), under("many", "runs=1000; steps=100")
    assert explained(LONG, MANY, records=[long, many]) == "long, many"
    far = under("long", "runs=100; steps=200", value=-3.0)
    assert explained(LONG, MANY, records=[far, many]) == "many"
    assert explained(LONG, MANY, records=[far, under("many", "runs=1000; steps=100", value=-3.0)]) == "none of 2"


@pytest.mark.parametrize(
    ("protocol", "changes"),
    [("runs=100; steps=100", {}), ("runs=1000; steps=200", {}), ("runs=100; steps=200", {"stderr": 0.06})],
    ids=["the main protocol's steps", "not the stated runs", "an error that decides nothing"],
)
def test_a_candidate_is_judged_as_every_row_is(protocol, changes):
    assert explained(LONG, records=[under("long", protocol, **changes)]) == "1 not decided"


def test_what_is_not_decided_is_not_counted_as_none():
    assert explained(LONG, MANY) == "2 not decided"
    assert explained(LONG, MANY, records=[under("long", "runs=100; steps=200", value=-3.0)]) == "none of 1, 1 not decided"


def test_explain_says_how_many_repeats_would_decide():
    long, many = under("long", "runs=100; steps=200", stderr=0.06, df=3), under("many", "runs=1000; steps=100")
    lines, _ = explain([record(), long, many], [printed()], papers(LONG, MANY))
    assert [line["note"] for line in lines] == ["", "about 9 trainings would decide, 4 were made", ""]  # t(8) 0.12 / 3 < 0.1


def test_rows_without_candidates_are_left_empty():
    assert explained() == ""
    assert explained({**LONG, "match": {"dataset": "other"}}, records=[under("long", "runs=100; steps=200")]) == ""


def test_a_record_of_another_place_may_be_named():
    elsewhere = record(dataset="mg2", variant="NN", protocol="runs=100; steps=100; estimator=weights")
    weights = {"name": "weights", "protocol": {"estimator": "weights"}, "use": {"dataset": "{dataset}2"}}
    assert explained(weights, records=[elsewhere]) == "weights"
    (one,) = candidate_verdicts(printed(), papers(weights)["toy"], {elsewhere.key: elsewhere})
    assert (one.key, one.status, one.error) == (elsewhere.key, "reproduced", pytest.approx(0.02, rel=1e-3))


@pytest.mark.parametrize(
    ("candidates", "problem"),
    [
        ([LONG, LONG], "candidate long of toy/1/mg/PIS/NN/.*: two have this name"),
        ([{**LONG, "name": "main"}], "candidate main of toy/1/mg/PIS/NN/.*: two have this name, or it is main"),
        (
            [LONG, {**MANY, "repeats": "lonk"}],
            "candidate many of toy/1/mg/PIS/NN/.*: repeats: lonk; allowed: main, long, those",
        ),
        ([{**MANY, "repeats": "long"}, LONG], "repeats: long; allowed: main, those before it"),
        ([{**LONG, "match": {"datset": "mg"}}], "paper.yaml: candidate.*long.*: match: unknown key datset; allowed"),
        ([{**LONG, "use": {"variant": "{varient}"}}], "'{varient}' has an unknown part in braces; allowed: name, paper"),
        ([{**LONG, "use": {"steps": 1}}], "paper.yaml: candidate.*long.*: use: unknown key steps; allowed"),
    ],
)
def test_a_bad_candidate_is_one_clear_error(candidates, problem):
    with pytest.raises(RescoreError, match=problem.replace("{", r"\{").replace("}", r"\}")):
        diff([], [printed()], papers(*candidates))


def test_an_older_diff_has_no_explanations(tmp_path):
    frame = diff([record()], [printed()], papers(LONG))
    assert list(frame["explained_by"]) == ["1 not decided"]
    frame.drop(columns="explained_by").to_csv(tmp_path / "diff.csv", index=False)
    assert list(read_diff(tmp_path / "diff.csv")["explained_by"]) == [""]


def test_a_run_is_accepted_into_an_older_reference(tmp_path):
    run, reference = save(tmp_path / "laptop", record(), record(paper="other")), tmp_path / "reference" / "laptop"
    accept(run, reference)
    head, *rows = (reference / "diff.csv").read_text().splitlines()
    (reference / "diff.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in (head, *rows)))
    assert head.endswith(",explained_by") and "explained_by" not in (reference / "diff.csv").read_text()
    accept(run, reference, paper="toy")
    assert list(read_diff(reference / "diff.csv")["explained_by"]) == ["", ""]


def test_the_readme_says_how_many_numbers_that_are_off_are_explained(tmp_path):
    names = ("a", "b", "c", "open")
    records = [record(value=-2.0, dataset=name) for name in names]
    records += [under("long", "runs=100; steps=200", dataset=name, value=-3.0 if name == "c" else -1.0) for name in names[:3]]
    records.append(record(value=-2.0, dataset="no candidates"))
    published = [printed(dataset=name) for name in (*names, "no candidates")]
    write_diff(tmp_path / "laptop" / "diff.csv", diff(records, published, papers({**LONG, "match": {"dataset": list(names)}})))
    said = " ".join(readme_block(tmp_path, ("laptop",)).split())
    assert (
        "Of the 5 off, 2 come out under a candidate protocol" in said
        and "or with more repeats, and 1 under none; for 1 that is not decided, and 1 have no candidate." in said
    )
    write_diff(tmp_path / "laptop" / "diff.csv", diff(records[:4], published, papers(LONG)))
    assert "Of the" not in readme_block(tmp_path, ("laptop",)), "no candidate has been run"


def test_rows_are_told_apart_by_what_reproduces_them():
    published = [printed(dataset=name) for name in ("main", "long", "none", "open", "no candidates")]
    records = [
        record(dataset="main"),
        *(record(dataset=name, value=-2.0) for name in ("long", "none", "open")),
        *(
            under("long", "runs=100; steps=200", dataset=name, value=value)
            for name, value in (("main", -3), ("long", -1), ("none", -3))
        ),
    ]
    lines, groups = explain(records, published, papers({**LONG, "match": {"dataset": ["main", "long", "none", "open"]}}))
    assert groups == dict.fromkeys(GROUPS, 1)
    assert [(line["protocol"], line["measured"], line["status"]) for line in lines[2:4]] == [
        ("(main)", -2.0, "off"),
        ("long", -1.0, "reproduced"),
    ]
    assert lines[2]["row"] == "toy/1/long/PIS/NN/logz_bias/100" and lines[3]["source"] == "ours"


# --- configs


class Section(SectionSettings):
    steps: int = 1
    sizes: tuple[int, ...] = (1, 2)


class Subject(Settings):
    first: Section = Section()
    second: Section = Section()


class Config(PaperConfig):
    runs: int = 10
    datasets: dict[str, Subject] = {"mg": Subject()}
    jobs: dict[str, JobConfig]


class Models(ModelConfig):
    jobs: dict[str, ModelJob]


MAIN = {"measure": {"mg": ["first", "second"]}}
CHANGES = {"runs": 20, "datasets": {"mg": {"first": {"steps": 5}}}}


def configured(changes: dict | None = None, **jobs: dict) -> Config:
    return validated(Config, {"jobs": {"main": MAIN} | jobs, "candidates": {"long": changes or CHANGES}}, "c.yaml")


def test_a_candidate_is_the_config_with_its_changes():
    config = configured(other=MAIN | {"candidate": "long"})
    changed = config.under("other")
    assert (changed.runs, changed.datasets["mg"].first, changed.datasets["mg"].second) == (20, Section(steps=5), Section())
    assert changed.jobs == config.jobs and config.under("main") is config and config.runs == 10


def test_a_candidate_is_what_only_its_own_jobs_depend_on():
    alone = validated(Config, {"jobs": {"main": MAIN}}, "c.yaml")
    config, moved = (configured(changes, other=MAIN | {"candidate": "long"}) for changes in (CHANGES, {"runs": 30}))
    assert "candidate" not in alone.job_dependencies("main")["job"], "jobs of before there were candidates keep their hash"
    assert job_hash(alone, "toy", "main") == job_hash(config, "toy", "main") == job_hash(moved, "toy", "main")
    assert job_hash(config, "toy", "other") != job_hash(moved, "toy", "other")
    only_first = configured({"datasets": {"mg": {"first": {"steps": 5}}}}, other=MAIN | {"candidate": "long"})
    changed = configured({"datasets": {"mg": {"first": {"steps": 6}}}}, other=MAIN | {"candidate": "long"})
    first, second = only_first.jobs["other"].steps
    hashes = [[step_hash(config, "toy", "other", step) for step in (first, second)] for config in (only_first, changed)]
    assert hashes[0][0] != hashes[1][0] and hashes[0][1] == hashes[1][1]
    content = {"jobs": {"main": MAIN, "other": MAIN | {"candidate": "long"}}, "candidates": {"long": {"runs": 20}}}
    few, many = (validated(Config, content | {"runs": runs}, "c.yaml") for runs in (10, 30))
    assert job_hash(few, "toy", "other") == job_hash(many, "toy", "other"), "what the candidate sets in its own way"
    same = configured({"runs": 10}, other=MAIN | {"candidate": "long"})
    assert step_hash(same, "toy", "other", first) != step_hash(same, "toy", "main", first), "its records have another name"


def test_a_candidates_models_are_those_of_its_settings():
    model = {"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 3}
    jobs = {"main": {"models": ["vp"]}, "more": {"models": ["vp"], "candidate": "trainings"}}
    content = {"models": {"vp": model}, "jobs": jobs, "candidates": {"trainings": {"training_seeds": [0, 1]}}}
    config = validated(Models, content, "c.yaml")
    assert [config.job_trainings(job)["vp"].seeds for job in jobs] == [(0,), (0, 1)]


def test_a_job_has_settings_of_its_own():
    """They are hashed as the settings that they change, and so are a candidate's on top of them."""
    own = {"runs": 20, "datasets": {"mg": {"first": {"steps": 5}}}}
    config = configured({"runs": 30}, own=MAIN | {"instead": own}, both=MAIN | {"instead": own, "candidate": "long"})
    changed, both = config.under("own"), config.under("both")
    assert (changed.runs, changed.datasets["mg"].first, changed.datasets["mg"].second) == (20, Section(steps=5), Section())
    assert (both.runs, both.datasets["mg"].first) == (30, Section(steps=5)) and changed.under("own") == changed
    assert config.under("main") is config and config.runs == 10
    assert "instead" not in config.job_dependencies("main")["job"], "jobs of before keep their hash"
    first, second = config.jobs["own"].steps
    fewer = configured(own=MAIN | {"instead": {"datasets": {"mg": {"first": {"steps": 5}}}}})
    assert step_hash(fewer, "toy", "own", second) == step_hash(config, "toy", "main", second)
    assert step_hash(fewer, "toy", "own", first) != step_hash(config, "toy", "main", first)
    assert step_hash(config, "toy", "own", second) != step_hash(config, "toy", "main", second)
    spelled = validated(Config, {"jobs": {"own": MAIN}} | own, "c.yaml")
    assert job_hash(spelled, "toy", "own") == job_hash(config, "toy", "own"), "wherever they are spelled"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"jobs": {"main": MAIN | {"instead": {"run": 5}}}}, "jobs.main.instead: run: unknown key; allowed: runs"),
        ({"jobs": {"main": MAIN | {"instead": {"jobs": {}}}}}, "jobs.main.instead: jobs is no setting of a single job"),
        (
            {"candidates": {"long": {"datasets": {"mg": {"first": {"step": 5}}}}}},
            "candidates.long: datasets.mg.first.step: unknown key; allowed: steps",
        ),
        ({"candidates": {"long": {"jobs": {}}}}, "candidates.long: jobs is no setting of a candidate"),
        (
            {"jobs": {"main": MAIN | {"candidate": "lonk"}}, "candidates": {"long": CHANGES}},
            "jobs.main.candidate: lonk is unknown; allowed: long",
        ),
    ],
)
def test_a_bad_candidate_of_a_config_names_file_and_key(content, problem):
    with pytest.raises(RescoreError, match=f"c.yaml.*: {problem}"):
        validated(Config, {"jobs": {"main": MAIN}} | content, "c.yaml")


def test_records_carry_the_candidates_name_and_figures_do_not_see_it(tmp_path):
    runs = [Run("toy", "smoke", "job", tmp_path / str(name), "cpu", 1, candidate=name) for name in (None, "long")]
    books = [Book(configured(), run) for run in runs]
    for book in books:
        with book.cell("1", "mg", "PIS", "NN") as cell:
            cell.add("logz_bias", [1.0, 2.0])
            cell.arrays["samples"] = np.zeros(2)
    assert [one.variant for book in books for one in book.result.measurements] == ["NN", "NN@long"]
    assert [list(book.result.arrays) for book in books] == [["samples"], []]


# --- a paper

CANDIDATE = """
candidates:
  - match: {nfe: 10}
    name: more-samples
    source: an assumption
    protocol: {samples: 300}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A repository of one paper with a candidate, both its jobs run and their numbers collected."""
    root = tmp_path_factory.mktemp("repository")
    folder = root / "reproductions" / "half_score"
    shutil.copytree(ROOT / "tests" / "data" / "new_paper", folder, ignore=shutil.ignore_patterns("__pycache__"))
    with open(folder / "paper.yaml", "a") as stream:
        stream.write(CANDIDATE)
    with open(folder / "published.csv", "a") as stream:
        stream.write("half_score,2,mixture,Half-score Euler,share=1,solver_rmse,10,0.3,,lower,Table 2,\n")
    config = folder / "configs" / "smoke.yaml"
    config.write_text(
        config.read_text() + "  more: {measure: [euler], candidate: more-samples}\n"
        "candidates:\n  more-samples: {samples: 300, euler: {steps: [10]}}\n"
    )
    options = ["--scale", "smoke", "--root", str(root), "--results", str(root / "results")]
    for job in ("all", "more"):
        assert not main(["run", "half_score", "measure", "--job", job, *options])
    assert not main(["collect", *(str(root / "results/smoke/half_score" / job) for job in ("all", "more")), *options])
    assert not main(["tables", *options])
    return root


def test_the_records_of_a_candidate_stand_beside_the_main_ones(root):
    found = {(one.variant, one.nfe): one for one in read_records(root / "results/smoke/records.csv")}
    main_ones = [(f"share={share}", nfe) for share in ("0.5", "1") for nfe in (10, 40)]
    assert set(found) == {*main_ones, ("share=0.5@more-samples", 10), ("share=1@more-samples", 10)}
    assert {key[0].partition("@")[2]: one.n_samples for key, one in found.items()} == {"": 600, "more-samples": 900}
    assert "samples=300" in found["share=1@more-samples", 10].protocol


def test_explain_prints_each_row_with_its_candidates(root, capsys):
    capsys.readouterr()
    options = ["--scale", "smoke", "--root", str(root), "--results", str(root / "results")]
    assert main(["explain", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if "(main)" in line or line.strip().startswith("more-samples")]
    frame = read_diff(root / "results/smoke/diff.csv")
    names = frame["explained_by"].tolist()
    assert len(rows) == 2 * sum(bool(name) for name in names) > 0
    assert lines[-1].endswith(f"{sum(bool(name) for name in names)} numbers with candidates")
    assert main(["explain", "--table", "2", *options]) == 0
    assert capsys.readouterr().out.endswith("; 1 numbers with candidates\n")
    assert main(["explain", "--table", "9", *options]) == 2


def test_a_numbers_card_and_its_papers_page_show_its_candidates(root, capsys):
    found = {(one.variant, one.nfe): one for one in read_records(root / "results/smoke/records.csv")}
    more = f"{found['share=1@more-samples', 10].value:.4f}"
    options = ["--root", str(root), "--results", str(root / "results")]
    capsys.readouterr()
    assert main(["show", "half_score/1/mixture/Half-score Euler/share=1/solver_rmse/10", "--scale", "smoke", *options]) == 0
    card = capsys.readouterr().out
    assert f"candidate protocols:\n  more-samples: {more}" in card and "(an assumption)" in card
    assert main(["report", "--scale", "smoke", *options]) == 0
    page = (root / "results/smoke/report/paper-half_score.html").read_text()
    assert page.count('<th scope="row">more-samples</th>') == 3 and more in page
    assert 'class="explained"' not in page, "none of 1"


def test_a_cell_names_the_candidate_that_reproduces_its_number(root, tmp_path):
    """The candidate's record is given the printed value."""
    shutil.copytree(root / "results", tmp_path / "results")
    path = tmp_path / "results" / "smoke" / "records.csv"
    found = [
        replace(one, value=0.22, stderr=1e-4) if one.variant == "share=1@more-samples" else one for one in read_records(path)
    ]
    write_records(path, found)
    options = ["--scale", "smoke", "--root", str(root), "--results", str(tmp_path / "results")]
    assert not main(["tables", *options]) and not main(["report", *options])
    page = (path.parent / "report" / "paper-half_score.html").read_text()
    cells = [cell for cell in page.split("<td ") if 'title="reproduced under more-samples"' in cell]
    assert len(cells) == 1 and cells[0].startswith('class="cell off"') and "printed</span> 0.22" in cells[0]


def test_a_candidate_too_imprecise_says_how_many_repeats_would_decide(root, tmp_path, capsys):
    shutil.copytree(root / "results", tmp_path / "results")
    path = tmp_path / "results" / "smoke" / "records.csv"
    found = [
        replace(one, value=0.22, stderr=0.1, df=3) if one.variant == "share=1@more-samples" else one
        for one in read_records(path)
    ]
    write_records(path, found)
    options = ["--scale", "smoke", "--root", str(root), "--results", str(tmp_path / "results")]
    assert not main(["tables", *options]) and not main(["report", *options])
    needed = repeats_needed(0.1, 3, allowed=2 * 0.05)
    note = f"about {needed} {found[-1].over} would decide, 4 were made"
    assert note in (path.parent / "report" / "paper-half_score.html").read_text()
    capsys.readouterr()
    assert main(["show", "half_score/1/mixture/Half-score Euler/share=1/solver_rmse/10", *options]) == 0
    assert f"more-samples: 0.22 ± 0.10, imprecise: {note} (an assumption)" in capsys.readouterr().out


def test_a_candidate_is_declared_before_it_is_run(root, tmp_path):
    shutil.copytree(root / "reproductions", tmp_path / "reproductions")
    path = tmp_path / "reproductions" / "half_score" / "paper.yaml"
    path.write_text(path.read_text().replace("name: more-samples", "name: some-samples"))
    problem = "unknown candidate of .*smoke.yaml, which paper.yaml must declare, 'more-samples'; allowed: some-samples"
    with pytest.raises(RescoreError, match=problem):
        load_config(find_papers(tmp_path)["half_score"], "smoke")
