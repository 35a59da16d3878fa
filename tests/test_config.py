"""Papers are found, configs are checked, and a job's hash follows what its numbers depend on and nothing else."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import jsonschema
import pytest
from conftest import ROOT, TOY
from pydantic import Field
from rescore.config import (
    JobConfig,
    PaperConfig,
    Resources,
    check_choice,
    config_hash,
    job_hash,
    read_yaml,
    step_hash,
    validated,
)
from rescore.errors import RescoreError
from rescore.files import ConfigLoader
from rescore.models.build import make_process
from rescore.papers import PaperMeta, find_papers, load_config, load_paper
from rescore.processes import VE
from rescore.settings import Settings
from rescore.specs.config import ModelConfig
from rescore.specs.model import Part
from rescore.workflow.suite import load_suite


class Adam(Settings):
    kind: Literal["adam"]
    lr: float = 1e-3


class Sgd(Settings):
    kind: Literal["sgd"]
    momentum: float = 0.9


class Job(JobConfig):
    samples: int
    optimiser: Annotated[Adam | Sgd, Field(discriminator="kind")] = Adam(kind="adam")


class Config(PaperConfig):
    particles: int = 100
    jobs: dict[str, Job] = {}


JOB = {"samples": 10}


def message(content: object) -> str:
    with pytest.raises(RescoreError) as error:
        validated(Config, content, "c.yaml")
    return str(error.value)


def test_unknown_key_names_file_key_and_allowed_nearest_first() -> None:
    text = message({"jobs": {"mg": JOB | {"sampels": 3}}})
    assert text.startswith("c.yaml: jobs.mg.sampels: unknown key; allowed: samples, ")
    assert all(key in text for key in ("threads", "gpu", "optimiser"))
    assert message({"particels": 3}).startswith("c.yaml: particels: unknown key; allowed: particles, ")


def test_a_name_that_several_declare_is_allowed_once() -> None:
    with pytest.raises(RescoreError, match="^unknown candidate 'lagre'; allowed: large, small$"):
        check_choice("candidate", "lagre", ["small", "large", "small"])


def test_unknown_key_inside_a_tagged_union_is_named_without_the_tag() -> None:
    text = message({"jobs": {"mg": JOB | {"optimiser": {"kind": "sgd", "momentun": 1}}}})
    assert text == "c.yaml: jobs.mg.optimiser.momentun: unknown key; allowed: momentum, kind"


def test_every_problem_has_its_line() -> None:
    lines = message({"particles": "many", "jobs": {"a": {}, "b": JOB | {"threads": 0}}}).splitlines()
    problems = {key: problem for _, key, problem in (line.split(": ", 2) for line in lines)}
    assert set(problems) == {"particles", "jobs.a.samples", "jobs.b.threads"} and len(lines) == 3
    assert problems["particles"].endswith("not 'many'") and problems["jobs.a.samples"] == "field required"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", r"x.yaml, line 3: key 'a' appears twice"),
        ("a: 1\nb:\n- [{c: 1,\n    c: 2}]\n", r"x.yaml, line 4: key 'c' appears twice"),
        ("a: [1\n", r"x.yaml, line 2: "),
        ("a: 1\nb: 2026-02-30\n", r"x.yaml, line 2: '2026-02-30' is no timestamp"),
        ("a: {b: [0b_]}\n", r"x.yaml, line 1: '0b_' is no int"),
        ("a: 0x_\n", r"x.yaml, line 1: '0x_' is no int"),
        ("a: !!int foo\n", r"x.yaml, line 1: 'foo' is no int"),
        ("a: !!float foo\n", r"x.yaml, line 1: 'foo' is no float"),
        ("a: !!bool foo\n", r"x.yaml, line 1: 'foo' is no bool"),
        ("a: !!timestamp foo\n", r"x.yaml, line 1: 'foo' is no timestamp"),
        ("- 1\n", r"x.yaml: \(top level\): "),
    ],
)
def test_bad_yaml_names_file_and_line(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(RescoreError, match=expected):
        read_yaml(tmp_path / "x.yaml", Config)


def test_merge_keys_are_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("jobs:\n  a: &a {samples: 1}\n  b: {<<: *a, samples: 2}\n  c: {<<: *a, threads: 2}\n")
    jobs = read_yaml(tmp_path / "x.yaml", Config).jobs
    assert (jobs["b"].samples, jobs["c"].samples, jobs["c"].threads) == (2, 1, 2)


def test_hash_ignores_resources_and_follows_everything_else() -> None:
    def digest(name: str = "a", job: dict | None = None, **shared: object) -> str:
        return job_hash(Config(jobs={name: Job(**(JOB | (job or {})))}, **shared), "pis", name)

    base = digest()
    assert base == digest() and len(base) == 12 and int(base, 16) >= 0
    resources = {"threads": 2, "gpu": 1, "mem_mb": 9, "runtime": 7, "priority": 5}
    assert digest(job=resources) == base
    changed = [
        digest(job={"samples": 11}),
        digest(particles=101),
        digest(protocol_version=99),
        digest(name="b"),
        digest(job={"optimiser": {"kind": "adam", "lr": 0.1}}),
    ]
    assert len({base, *changed}) == 6
    other_job = Config(jobs={"a": Job(**JOB), "z": Job(samples=99)})
    assert job_hash(other_job, "pis", "a") == base, "another job must not matter"
    assert job_hash(Config(jobs={"a": Job(**JOB)}), "other", "a") != base


def test_a_version_of_a_section_is_in_the_hashes_of_its_steps_alone() -> None:
    class Raised(Config):
        section_versions = {"b": 2}

    jobs = {"one": Job(**JOB, measure=("a",)), "both": Job(**JOB, measure=("a", "b"))}
    old, new = Config(jobs=jobs), Raised(jobs=jobs)
    assert job_hash(old, "pis", "one") == job_hash(new, "pis", "one")
    assert job_hash(old, "pis", "both") != job_hash(new, "pis", "both")
    first, second = jobs["both"].steps
    assert step_hash(old, "pis", "both", first) == step_hash(new, "pis", "both", first)
    assert step_hash(old, "pis", "both", second) != step_hash(new, "pis", "both", second)


def test_hash_does_not_depend_on_the_order_of_keys_or_the_platform() -> None:
    assert config_hash({"a": 1, "b": [2.5, "x"]}) == config_hash({"b": [2.5, "x"], "a": 1}) == "03c06acc42d5"
    assert config_hash({"a": 1}, "x") != config_hash({"a": 1})


def test_papers_are_found_and_unknown_ones_answered_with_the_known() -> None:
    assert "pis" in find_papers(ROOT)
    with pytest.raises(RescoreError, match="unknown paper 'psi'; allowed: pis"):
        load_paper("psi", ROOT)


@pytest.mark.parametrize("paper", sorted(find_papers(ROOT)))
def test_every_committed_config_is_valid_and_matches_its_json_schema(paper: str) -> None:
    folder = find_papers(ROOT)[paper]
    assert folder.scales
    described = folder.value("config", "Config").model_json_schema()
    jsonschema.Draft202012Validator.check_schema(described)
    for scale in folder.scales:
        config = load_config(folder, scale)
        jsonschema.validate(config.model_dump(mode="json"), described)
        assert config.jobs


def test_bad_names_of_scale_paper_and_option_are_one_clear_error(tmp_path: Path) -> None:
    for config, expected in (
        ({"scale": "larg"}, "unknown scale 'larg'; allowed: .*smoke"),
        ({"papers": "pis,psi"}, "unknown paper 'psi'; allowed: pis"),
        ({"scal": "smoke"}, "--config: scal: unknown key; allowed: scale, results, bundle, papers"),
        ({"papers": "pis,pis"}, "--config: papers: listed twice: pis; allowed: entries that differ"),
        ({"papers": ","}, "--config: papers: no name; allowed: names of papers, with commas, or no such option for all"),
        ({"results": "{file}"}, "--config: results: there is a file {file}; allowed: a folder, or the name of one to make"),
        ({"results": "{file}/deeper"}, "--config: results: there is a file {file}; allowed: a folder, or the name of one to"),
    ):
        file = tmp_path / "a file"
        file.touch()
        given = {key: value.format(file=file) for key, value in config.items()}
        with pytest.raises(RescoreError, match=f"^{expected.format(file=file)}") as error:
            load_suite(given, ROOT)
        assert "\n" not in str(error.value)
    assert list(load_suite({"papers": "pis"}, ROOT).papers) == ["pis"]


@pytest.mark.parametrize("empty", ["", None])
@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("scale", "unknown scale ''; allowed: gpu, laptop, paper, smoke"),
        ("papers", "--config: papers: no name; allowed: names of papers, with commas, or no such option for all, not ''"),
        ("results", "--config: results: no name; allowed: a folder, or the name of one to make, not ''"),
        ("bundle", "--config: bundle: input should be a valid boolean, unable to interpret input, not ''"),
        ("max_runtime", "--config: max_runtime: input should be a valid integer, unable to parse string as an integer, not ''"),
    ],
)
def test_an_option_without_a_value_is_one_clear_error(option: str, expected: str, empty: str | None) -> None:
    """Snakemake reads `--config papers=` as None; all papers would run."""
    with pytest.raises(RescoreError, match=f"^{re.escape(expected)}$"):
        load_suite({option: empty}, ROOT)


def test_a_paper_without_a_scale_has_no_jobs_there(tmp_path: Path) -> None:
    shutil.copytree(TOY, tmp_path / "reproductions" / "toy")
    assert load_suite({"scale": "smoke"}, tmp_path).papers["toy"].jobs == ["normal", "uniform"]
    rules = load_suite({"scale": "paper"}, tmp_path).papers["toy"]
    assert rules.jobs == rules.job_files == [] and rules.figures == {}
    with pytest.raises(RescoreError, match="unknown scale for paper toy 'paper'; allowed: smoke"):
        load_config(rules.paper, "paper")


def test_modules_come_from_the_paper_s_own_root(tmp_path: Path) -> None:
    for root, seed in ((tmp_path / "a", 1), (tmp_path / "b", 2)):
        folder = shutil.copytree(TOY, root / "reproductions" / "toy")
        (folder / "config.py").write_text((folder / "config.py").read_text().replace("seed: int = 0", f"seed: int = {seed}"))
    papers = [load_paper("toy", tmp_path / name) for name in "aba"]
    assert [load_config(paper, "smoke").seed for paper in papers] == [1, 2, 1]
    first, other, again = (paper.module("config") for paper in papers)
    assert first is again is not other, "a root that was left finds its own modules again, with what a caller has changed there"


def test_a_paper_is_read_alone(tmp_path: Path) -> None:
    for name in ("sound", "other"):
        shutil.copytree(TOY, tmp_path / "reproductions" / name)
    (tmp_path / "reproductions" / "other" / "paper.yaml").write_text("figure: {}\n")
    assert load_paper("sound", tmp_path).meta == read_yaml(TOY / "paper.yaml", PaperMeta)
    for read in (find_papers, lambda root: load_paper("other", root)):
        with pytest.raises(RescoreError, match="other/paper.yaml: figure: unknown key"):
            read(tmp_path)


def test_paper_yaml_refuses_unknown_keys() -> None:
    with pytest.raises(RescoreError, match=r"p.yaml: figure: unknown key; allowed: figures, "):
        validated(PaperMeta, {"title": "t", "citation": "c", "figure": {}}, "p.yaml")


@pytest.mark.parametrize("name", ["..", ".", "-x", "_x", "", "a/b", "A", "a\n"])
def test_a_job_s_name_is_a_folder_s_and_no_option(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "tests/data/new_paper", tmp_path / "reproductions" / "half_score")
    path = tmp_path / "reproductions" / "half_score" / "configs" / "smoke.yaml"
    path.write_text(path.read_text().replace("all:", f"{json.dumps(name)}:"))
    with pytest.raises(RescoreError, match="(?s)smoke.yaml: jobs.*: a job's name is a part of a path"):
        load_config(load_paper("half_score", tmp_path), "smoke")


@pytest.mark.parametrize("name", ["../../x", "a/b", "-x", "a.png", "_draw", ""])
def test_a_figure_s_name_is_a_function_s(name: str) -> None:
    with pytest.raises(
        RescoreError, match=f"^p.yaml: figures: {re.escape(repr(name))}: a figure's name is that of its function"
    ):
        validated(PaperMeta, {"title": "t", "citation": "c", "figures": {name: "caption"}}, "p.yaml")


def test_a_number_without_a_point_is_a_number(tmp_path):
    """YAML 1.1 reads 1e-3 as text, which a free setting would hand to the mathematics."""
    paper = tmp_path / "reproductions" / "exponents"
    (paper / "configs").mkdir(parents=True)
    (paper / "paper.yaml").write_text("title: A toy\ncitation: none\nprotocols: [{match: {variant: 1e-3}}]\n")
    (paper / "config.py").write_text("from rescore.specs.config import ModelConfig as Config\n")
    (paper / "configs" / "smoke.yaml").write_text("""
models:
  ve:
    data: digits
    process: {name: VE, settings: {sigma_min: 2e-2, sigma_max: 1E+2, T: 1e0, eps: -.5e-3}}
    network: {name: mlp, settings: {width: 0x10, embedding: "1e-3"}}
    steps: 1e1
    lr: 1e-3
jobs: {}
""")
    found = load_paper("exponents", tmp_path)
    spec = load_config(found, "smoke").models["ve"]
    assert spec.process.settings == {"sigma_min": 0.02, "sigma_max": 100.0, "T": 1.0, "eps": -0.0005}
    assert all(type(value) is float for value in spec.process.settings.values())
    assert spec.network.settings == {"width": 16, "embedding": "1e-3"}
    assert (spec.steps, spec.lr) == (10, 0.001)
    assert found.meta.protocols[0].match == {"variant": "1e-3"}, "names of published rows stay text"


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999"])
def test_a_number_that_is_not_finite_names_file_and_key(tmp_path: Path, value: str) -> None:
    """Whose hash could not be told, nor its number computed."""
    path = tmp_path / "x.yaml"
    for text, key in (
        (f"jobs: {{a: {{samples: 1, optimiser: {{kind: adam, lr: {value}}}}}}}\n", "jobs.a.optimiser.lr"),
        (f"models: {{a: {{process: {{settings: {{T: {value}}}}}}}}}\n", r"models.a.process.settings.T"),
    ):
        path.write_text(text)
        with pytest.raises(RescoreError, match=rf"x.yaml: {key}: input should be a finite number, not -?(inf|nan)"):
            read_yaml(path, Config if "jobs" in text else ModelConfig, ConfigLoader)


def test_settings_of_a_process_are_numbers():
    shape = (1, 8, 8)
    assert make_process(Part(name="VE", settings={"sigma_min": "1e-2", "sigma_max": "50"}), shape) == VE(0.01, 50.0)
    with pytest.raises(RescoreError, match="^process VE: setting sigma_max: input should be a valid number, .*, not 'fifty'$"):
        make_process(Part(name="VE", settings={"sigma_max": "fifty"}), shape)
    with pytest.raises(RescoreError, match="^process VE: .*unexpected keyword argument 'sigma'"):
        make_process(Part(name="VE", settings={"sigma": 1.0}), shape)


def test_no_runtime_is_above_what_a_scheduler_gives():
    """The longest job of soft diffusion asks for four weeks, which a partition of a day refuses to begin."""
    options = {"scale": "paper", "papers": "soft_diffusion"}
    for longest, expected in ((None, {40320, 20160, 600}), (1440, {1440, 600})):
        suite = load_suite(options | ({} if longest is None else {"max_runtime": longest}), ROOT)
        paper = suite.papers["soft_diffusion"]
        runtimes = {suite.within(paper.runtime)(SimpleNamespace(job=job)) for job in paper.jobs}
        assert runtimes == expected
        assert suite.within(7) == 7 and suite.within(10**6) == (longest or 10**6)
    with pytest.raises(RescoreError, match="max_runtime"):
        load_suite(options | {"max_runtime": 0}, ROOT)


def test_a_job_on_gpus_has_memory_for_each():
    """2,000 MiB, of which a process of torch and CUDA takes more, was for a CPU."""
    given = ({}, {"gpu": 1}, {"gpu": 2}, {"gpu": 1, "mem_mb": 9}, {"gpu": 0})
    assert [Resources(**one).mem_mb for one in given] == [2000, 8000, 16000, 9, 2000]


def test_a_job_on_gpus_has_threads_for_each():
    """A job without `threads` fed its GPU from one thread."""
    assert [Resources(**given).threads for given in ({}, {"gpu": 1}, {"gpu": 2}, {"gpu": 1, "threads": 2}, {"gpu": 0})] == [
        1,
        4,
        8,
        2,
        1,
    ]
    assert config_hash(JobConfig(gpu=1)) == config_hash(JobConfig()), "resources are no part of a number's identity"


def test_tables_follow_every_module_that_claims_are_made_of(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    followed = set(load_suite({"scale": "smoke"}).sources("*claims.py"))
    assert 'SUITE.sources("*claims.py")' in (ROOT / "Snakefile").read_text()
    imported = {
        f"reproductions/{paper}/{module}.py"
        for paper in find_papers()
        for text in [path.read_text() for path in (ROOT / "reproductions" / paper).glob("claims.py")]
        for module in ["claims", *re.findall(rf"^from reproductions\.{paper}\.(\w+) import", text, re.MULTILINE)]
    }
    assert "reproductions/deis/table_claims.py" in imported and followed == imported
