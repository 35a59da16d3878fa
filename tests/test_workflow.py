"""The DAG: dry runs of every profile, and a paper dropped into a copy of the repository, run, broken, mended and resumed.

One Snakemake start costs seconds, so the tests of the run share one sequence of commands, made by the fixture `story`.
"""

import csv
import importlib.util
import io
import json
import os
import re
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT, Run, Workspace
from rescore import progress
from rescore.config import SCALES, step_hash
from rescore.errors import RescoreError
from rescore.ledger.records import write_records, write_skipped
from rescore.papers import RESERVED, find_papers
from rescore.report.cards import make_cards
from rescore.report.source import read_results
from rescore.specs.model import ModelSpec
from rescore.workflow.paths import MODEL_FILES, model_folder, node_folder
from rescore.workflow.rule_text import in_rule, in_shell
from rescore.workflow.suite import failures, load_suite

PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml"))
TOY = ("--profile", "profiles/smoke", "--config", "scale=smoke", "bundle=false", "papers=toy")
TOY_FIRST = (*TOY[:-1], "papers=toy,pis")  # a rule that took the last paper's command would run PIS
OWN_RULES = """
rule toy_lines:
    input:
        SUITE.papers["toy"].job_files,
        SUITE.papers["toy"].figures.values(),
    output:
        f"{SUITE.folder}/toy-lines.txt",
    shell:
        "wc -l {input:q} > {output:q}"
"""
VAGUE = """
from rescore.ledger.claims import above, row
CLAIMS.append(Claim("vague", "All are positive.", "Section 1", above(row(method="mean"), 0.0)))
"""
ODD = "it's {here} $HOME <x> [1]"  # what a shell, globs, and wildcards and variables of Snakemake would misread
CHANGED = "jobs:\n  normal: {measure: {normal: [mean]}, threads: 2}\n  uniform: {measure: {uniform: [mean]}, draws: 10}\n"


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def profile_options(profile: str) -> list[str]:
    settings = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())
    can_run = settings.get("executor") != "slurm" or importlib.util.find_spec("snakemake_executor_plugin_slurm")
    return (["--profile", f"profiles/{profile}"] if profile != "default" else []) + ([] if can_run else ["--executor", "local"])


@pytest.fixture(scope="session")
def story(workspace: Workspace) -> SimpleNamespace:
    """What Snakemake printed: the toy with one job failing, the same again whole, what changes would do, all profiles dry."""
    locks = workspace.root / ".snakemake" / "locks"  # as a killed Snakemake leaves it
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/smoke/toy/normal/records.csv")
    log = workspace.root / "results" / "smoke" / "logs" / "toy-gone.log"  # of an earlier run
    log.parent.mkdir(parents=True)
    log.write_text("failed: toy gone\n")
    os.utime(log, (1e9, 1e9))
    models = load_suite({}, workspace.root).models.items()
    missing = Path("results/laptop/models", next(key for key, of in models if of.spec.data == "digits"))  # always there
    (workspace.root / missing).mkdir(parents=True)
    (workspace.root / missing / "missing.json").write_text('{"missing": "there were no digits"}')
    kept = model_folder("results", "gpu", next(iter(load_suite({"scale": "gpu"}, workspace.root).models)))
    (workspace.root / kept / "0").mkdir(parents=True)  # without its weights
    config = {"reproductions/toy/configs/smoke.yaml": CHANGED}
    vague = {"reproductions/toy/claims.py": (workspace.root / "reproductions" / "toy" / "claims.py").read_text() + VAGUE}
    elsewhere = workspace.root.parent / "else where"
    elsewhere.mkdir()
    (elsewhere / "it's").write_text("precious")
    of_root = ("--snakefile", str(workspace.root / "Snakefile"), "--profile", str(workspace.root / "profiles" / "smoke"))
    names = ("broken", "mended", "own", "changed", "appeared", "report", "vague", "odd", "scale", "rules")
    printed = workspace.snakemake(
        Run(("toy", *TOY_FIRST), {"TOY_FAIL": "uniform"}),
        Run(("toy", *TOY_FIRST)),
        Run(("results/smoke/toy-lines.txt", *TOY), files={"reproductions/toy/rules.smk": OWN_RULES}),
        Run(("toy", "--dry-run", *TOY), files=config),
        Run(("toy", "--dry-run", *TOY), {"TOY_DATA": "here"}),
        Run(("report", *TOY, "--logger", "rescore")),
        Run(("claims", *TOY), files=vague),
        Run((*of_root, "--config", "papers=toy", f"results={json.dumps(ODD)}"), folder=str(elsewhere)),
        Run(("--dry-run", "--profile", "profiles/gpu", "--config", "papers=deis")),
        Run(("--list-rules",)),
        *(Run(("--dry-run", *profile_options(profile))) for profile in PROFILES),
    )
    printed = dict(zip((*names, *PROFILES), printed, strict=True))
    places = {"results": workspace.root / "results" / "smoke", "elsewhere": elsewhere, "missing": missing, "kept": kept}
    return SimpleNamespace(printed=printed, **places)


def test_profiles_exist() -> None:
    assert {"default", "smoke", "gpu", "paper", "slurm"} <= set(PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
def test_dry_run(workspace: Workspace, story: SimpleNamespace, profile: str) -> None:
    printed = story.printed[profile]
    assert "exit status 0" in printed, printed
    scale = profile if profile in SCALES else "laptop"
    assert f"input: results/{scale}/report/index.html" in printed
    counts = dict(re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE))
    jobs = {name: len(paper.wanted) for name, paper in load_suite({"scale": scale}, workspace.root).papers.items()}
    for name in jobs.keys() - {"toy"}:
        bundled = scale == "smoke"
        assert int(counts.get(f"{name}_measure", 0)) == (0 if bundled else jobs[name])
        assert int(counts.get(f"{name}_bundle", 0)) == int(bundled)
    assert counts["report"] == counts["figures"] == "1"
    assert counts.get("short_models") == ("1" if scale == "smoke" else None)


def test_a_dry_run_changes_nothing(workspace: Workspace, story: SimpleNamespace) -> None:
    """Not even where the data that a model lacked are there now: it is said."""
    assert [path.name for path in (workspace.root / story.missing).iterdir()] == ["missing.json"]
    said = f"model {story.missing.name} was not trained for lack of data that are there now; a run that is not dry trains it"
    assert said in story.printed["default"] and said not in story.printed["rules"]


def test_short_trainings_share_a_process(workspace: Workspace, story: SimpleNamespace) -> None:
    suite, printed = load_suite({"scale": "smoke"}, workspace.root), story.printed["smoke"]
    trainings = {key: of for key, of in suite.models.items() if key in suite.wanted_models}
    assert set(suite.short_models) == {key for key, of in trainings.items() if of.spec.steps * len(of.seeds) <= 100}
    alone = set(suite.wanted_models) - set(suite.short_models)
    assert set(re.findall(r"wildcards: key=(\w+)", printed)) == alone and len(suite.short_models) > 5
    made = re.search(r"rule short_models:\n +output: (.*)\n", printed)[1].split(", ")
    assert made == [f"results/smoke/models/{key}" for key in suite.short_models]
    assert not load_suite({"scale": "gpu"}, workspace.root).short_models


def test_a_model_is_trained_again_where_its_folder_is_gone(workspace: Workspace, story: SimpleNamespace) -> None:
    """Which the error of damaged weights says to remove (test_damaged_results); a file in it that is gone is not missed."""
    suite = load_suite({"scale": "gpu"}, workspace.root)
    trained = set(re.findall(r"wildcards: key=(\w+)", story.printed["gpu"]))
    assert trained == set(suite.wanted_models) - {story.kept.name} and story.kept.name in suite.wanted_models
    weights = story.kept / "0" / MODEL_FILES["weights"]
    assert str(node_folder(weights)) == suite.model_output.format(key=story.kept.name)


def test_printed_numbers_come_first() -> None:
    """At laptop: the jobs that the reference has printed numbers of, and their models; MNIST's waits for a long training."""
    suite = load_suite({"scale": "laptop"}, ROOT)
    papers = find_papers(ROOT)
    cards = make_cards(read_results(ROOT / "results" / "reference" / "laptop", papers, ROOT), papers).cards.values()
    printed = {(card.key[0], card.job) for card in cards if card.published and card.record}
    assert len(printed) > 30
    configs = {name: rules.known for name, rules in suite.papers.items() if rules.jobs}
    first = {(name, job) for name, config in configs.items() for job in config.jobs if config.jobs[job].priority >= 10}
    assert first == printed - {("diffflow", "mnist")}
    needed = {of.key for name, job in first for of in configs[name].job_trainings(job).values()}
    early = {key for key in suite.models if suite.model_priority(SimpleNamespace(key=key)) >= 10}
    assert early == needed and suite.models.keys() - early
    at_once = [(configs[name], job) for name, job in first if configs[name].jobs[job].priority >= 20]
    assert len(at_once) > 10 and not any(config.job_trainings(job) for config, job in at_once)


def test_a_bundle_s_inputs_are_the_folders_of_its_models(workspace: Workspace, story: SimpleNamespace) -> None:
    printed, papers = story.printed["smoke"], load_suite({"scale": "smoke"}, workspace.root).papers
    inputs = {}
    for name in papers.keys() - {"toy"}:
        block = re.search(rf"^rule {name}_bundle:\n(    .*\n)*?    jobid: ", printed, re.MULTILINE)[0]
        inputs[name] = re.findall(r"^    input: (.*)$", block, re.MULTILINE)
        used = [of.key for job in papers[name].wanted for of in papers[name].config.job_trainings(job).values()]
        folders = [f"results/smoke/models/{key}" for key in dict.fromkeys(used)]
        assert inputs[name] == ([", ".join(folders)] if folders else [])
    assert inputs["cld"] and not inputs["pis"]


def test_every_paper_has_its_two_rules_without_a_file_of_its_own(workspace: Workspace, story: SimpleNamespace) -> None:
    papers = load_suite({}, workspace.root).papers
    assert not (workspace.root / "reproductions" / "toy" / "rules.smk").exists()
    listed = set(re.findall(r"^[a-z_]+$", story.printed["rules"], re.MULTILINE))
    of_papers = {rule for name in papers for rule in (name, f"{name}_measure")}
    assert of_papers <= listed
    suite = {"all", "claims", "collect", "everything", "figures", "model", "report", "tables"}
    assert {rule for rule in listed - of_papers if not rule.startswith(tuple(f"{name}_" for name in papers))} == suite
    assert suite <= set(RESERVED)


def test_a_paper_s_own_rules_join_the_common_ones(story: SimpleNamespace) -> None:
    printed = story.printed["own"]
    assert "exit status 0" in printed, printed
    assert re.findall(r"^(?:local)?rule (\w+):", printed, re.MULTILINE) == ["toy_lines"], "nothing finished runs again"
    lines = (story.results / "toy-lines.txt").read_text()
    assert "results/smoke/toy/normal/records.csv\n" in lines and "results/smoke/figures/toy/histogram.png\n" in lines


def test_the_scale_of_a_profile_survives_other_options(story: SimpleNamespace) -> None:
    printed = story.printed["scale"]
    assert "exit status 0" in printed, printed
    assert "input: results/gpu/report/index.html" in printed and "results/gpu/deis/" in printed
    assert "results/laptop" not in printed and "pis_measure" not in printed


def test_another_folder_s_results_may_have_any_name(workspace: Workspace, story: SimpleNamespace) -> None:
    """The whole DAG of the toy with the Snakefile of another folder: every rule's shell command runs."""
    printed = story.printed["odd"]
    assert "exit status 0" in printed, printed
    assert f"report: {ODD}/smoke/report/index.html" in printed
    results = story.elsewhere / ODD / "smoke"
    assert [row["status"] for row in rows(results / "diff.csv") if row["paper"] == "toy"].count("reproduced") == 2
    assert (results / "logs" / "toy-normal.log").is_file() and (results / "figures" / "toy" / "histogram.png").is_file()
    assert "histogram.png" in (results / "report" / "workflow.html").read_text()
    assert (results / "report" / "figures" / "toy-histogram.png").is_file()
    assert sorted(path.name for path in story.elsewhere.iterdir()) == [".snakemake", "it's", ODD]
    assert (story.elsewhere / "it's").read_text() == "precious"
    assert not (workspace.root / ODD).exists()


@pytest.mark.parametrize(("given", "folder"), [(2024, "2024"), ("./out/", "out"), ("../data/John Smith", "../data/John Smith")])
def test_the_results_folder_is_text_in_one_spelling(given: object, folder: str) -> None:
    suite = load_suite({"results": given, "papers": "pis"}, ROOT)
    assert suite.options.results == folder and suite.folder == f"{folder}/laptop"
    assert suite.papers["pis"].outputs["cost"] == f"{folder}/laptop/pis/{{job}}/cost.json"


@pytest.mark.parametrize("given", [None, "", True, 2.5, ["a"]])
def test_no_other_value_is_a_results_folder(given: object) -> None:
    with pytest.raises(RescoreError, match="--config: results: "):
        load_suite({"results": given}, ROOT)


def test_paths_and_commands_as_text_of_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert in_rule("a b/it's $x") == "a b/it's $x" and not list(tmp_path.iterdir())
    reached = Path(in_rule("a/{b}/<c>/d/e"))
    assert not set(str(reached)) & set("{}<>") and reached == Path(in_rule(tmp_path / "a/{b}/<c>/d/e"))
    assert reached.resolve() == tmp_path / "a/{b}/<c>/d/e" and not (tmp_path / "a/{b}/<c>/d").exists()
    assert in_rule("a/{c}") != in_rule("a/{b}")
    assert in_shell("x {a}").format() == "x {a}"


def test_a_run_of_one_paper_keeps_what_others_have_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of jobs that their configs still name: else the ledger, and a report, would say that the others were not run."""
    monkeypatch.chdir(tmp_path)
    for job in ("all", "renamed"):
        folder = Path("results", "smoke", "sampler_matrix", job)
        write_records(folder / "records.csv", [])
        write_skipped(folder / "skipped.csv", [])
    suite = load_suite({"scale": "smoke", "papers": "pis"}, ROOT)
    job = "results/smoke/sampler_matrix/all"
    assert suite.finished_elsewhere(None, suite.job_files) == [f"{job}/records.csv", f"{job}/skipped.csv"]


def test_a_failed_run_names_the_report_of_its_own_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    suites = (load_suite({"papers": "pis", "results": folder}, ROOT) for folder in ("results", "my runs"))
    command = "rescore report --so-far --scale laptop"
    assert [suite.report_so_far for suite in suites] == [command, f"{command} --results 'my runs'"]


def test_a_failing_job_names_itself_its_log_and_the_command_that_repeats_it(story: SimpleNamespace) -> None:
    broken = story.printed["broken"]
    assert "ValueError: the toy is broken" in broken and "exit status 1" in broken
    last_words = broken.split("Exiting because a job execution failed")[1]
    assert "failed: toy uniform\n  log: results/smoke/logs/toy-uniform.log\n" in last_words
    assert "repeat it alone: python -m rescore run toy measure --scale smoke --job uniform\n" in last_words
    assert "toy gone" not in broken, "an old log is no failure of this run"


def test_finished_jobs_survive_a_failure_beside_them(story: SimpleNamespace) -> None:
    assert sorted(re.findall(r"wildcards: job=(\w+)", story.printed["broken"])) == ["normal", "uniform"]
    assert re.findall(r"wildcards: job=(\w+)", story.printed["mended"]) == ["uniform"]
    assert "exit status 0" in story.printed["mended"], story.printed["mended"]


def test_a_new_paper_has_its_rows_in_the_diff(story: SimpleNamespace) -> None:
    verdicts = {row["dataset"]: row for row in rows(story.results / "diff.csv") if row["paper"] == "toy"}
    assert {name: row["status"] for name, row in verdicts.items()} == {
        "normal": "reproduced",
        "uniform": "reproduced",
        "elsewhere": "not-run",
    }
    assert "no toy data" in verdicts["elsewhere"]["note"]
    claims = [row for row in rows(story.results / "claims.csv") if row["paper"] == "toy"]
    assert claims[0]["status"] == "holds"
    assert (story.results / "figures" / "toy" / "histogram.png").read_bytes().startswith(b"\x89PNG")
    assert "### toy, Table 1" in story.printed["mended"], "the paper's target ends with its tables"


def test_a_broken_claim_fails_the_run_and_keeps_the_tables(story: SimpleNamespace) -> None:
    printed = story.printed["vague"]
    last_words = printed.split("Exiting because a job execution failed")[1]
    assert "exit status 1" in printed
    assert "rescore: error: 1 broken claim: paper toy, claim 'vague': mean selects 2 records: " in last_words
    assert [row["status"] for row in rows(story.results / "claims.csv") if row["paper"] == "toy"] == ["holds", "broken"]
    assert (story.results / "diff.csv").is_file() and (story.results / "tables" / "summary.md").is_file()
    assert not (story.results / "claims.sound").exists()


def test_records_and_costs_name_code_machine_and_config(workspace: Workspace, story: SimpleNamespace) -> None:
    suite = load_suite({"scale": "smoke"}, workspace.root)
    digest = suite.papers["toy"].hash(SimpleNamespace(job="normal"))
    record = next(row for row in rows(story.results / "records.csv") if row["dataset"] == "normal")
    assert record["config_hash"] == digest
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.lib\+g[0-9a-f]{7}(\.dirty)?)?\.torch\d.*", record["version"]), "no papers' commit"
    assert record["device"].startswith("cpu ")
    cost = json.loads((story.results / "toy" / "normal" / "cost.json").read_text())
    assert cost["function_evaluations"] == 1000 and cost["config_hash"] == digest
    assert cost["version"] == record["version"] and cost["peak_memory_mb"] > 50
    suite = suite.papers["toy"].config
    section = step_hash(suite, "toy", "normal", suite.jobs["normal"].steps[0])
    assert (story.results / "runs" / section / "state").read_text() == "kept"
    (cell,) = map(json.loads, (story.results / "runs" / section / "cells" / "cells.jsonl").read_text().splitlines())
    assert cell["evaluations"] == 1000 and cell["measurements"][0]["value"] == float(record["value"])


def test_what_triggers_a_job_again(story: SimpleNamespace) -> None:
    def again(what: str) -> list[str]:
        return sorted(re.findall(r"wildcards: job=(\w+)", story.printed[what]))

    assert again("changed") == ["uniform"], "another number of draws; threads alter no number"
    assert again("appeared") == ["normal", "uniform"], "a job runs again when data appear"


def test_the_report_is_offline_and_holds_the_paper(story: SimpleNamespace) -> None:
    printed = story.printed["report"]
    assert "exit status 0" in printed and re.search(r"^\[(\d+)/\1\] report, \d+ s$", printed, re.MULTILINE), printed
    folder = story.results / "report"
    workflow, overview, paper = ((folder / name).read_text() for name in ("workflow.html", "index.html", "paper-toy.html"))
    assert "histogram.png" in workflow and 'href="workflow.html"' in overview and "toy-histogram.png" in paper
    for page in folder.glob("*.html"):
        assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']?https?:", page.read_text())


def test_unknown_key_in_a_config_is_one_clear_error(workspace: Workspace) -> None:
    config = workspace.root / "reproductions" / "toy" / "configs" / "laptop.yaml"
    config.write_text("jobs:\n  a: {measure: {normal: [mean]}, drawz: 3}\n")
    try:
        done = workspace.run("rescore", "run", "toy", "measure", "--scale", "laptop", "--job", "a")
    finally:
        config.unlink()
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 1
    assert f"{config.relative_to(workspace.root)}: jobs.a.drawz: unknown key; allowed: draws, " in done.stdout


def test_failures_are_those_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x\nfailed: toy a\n  log: l\nfailed: toy a\n  log: m\n")
    (tmp_path / "b.log").write_text("fine\n")
    (tmp_path / "old.log").write_text("failed: toy old\n")
    os.utime(tmp_path / "old.log", (1e9, 1e9))
    assert list(failures(tmp_path, since=1e9 + 1)) == ["failed: toy a\n  log: m"]
    assert len(list(failures(tmp_path, since=1e9))) == 2


def test_bars_become_lines_with_their_job_s_name() -> None:
    out = io.StringIO()
    with redirect_stderr(progress.BarLines(out, "pis mg | ")):
        for _ in progress.progress(range(2), desc="train"):
            pass
        progress.warn("odd")
    first, *_, last = out.getvalue().splitlines()
    assert first.startswith("pis mg | train:   0%|") and last == "pis mg | warning: odd"
    assert "pis mg | train: 100%|" in out.getvalue() and "\r" not in out.getvalue()


def test_gpus_share_the_parts_of_a_batch(monkeypatch):
    spec = {"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 1}
    assert ModelSpec(**spec, gpu=4, parts=8).key == ModelSpec(**spec, parts=8).key  # resources are not part of the identity
    key = ModelSpec(**spec).key
    monkeypatch.setattr("rescore.specs.model.TRAINING_VERSION", 99)
    assert ModelSpec(**spec).key != key  # weights of other code are not taken for these
    with pytest.raises(ValueError, match="parts: 2 cannot be shared by 4 GPUs"):
        ModelSpec(**spec, gpu=4, parts=2)
