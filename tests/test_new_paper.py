"""A new paper is a new folder: a sampler of its own, a table, a claim and a figure in 120 lines, found by itself."""

import shlex
import shutil
import subprocess

import pytest
from conftest import ROOT
from rescore.cli import main
from rescore.ledger.claims import read_claims
from rescore.ledger.records import read_records
from rescore.machine import hardware
from rescore.papers import find_papers, load_paper

SOURCE = ROOT / "tests" / "data" / "new_paper"


def repository(root):
    """This paper alone in a folder."""
    shutil.copytree(SOURCE, root / "reproductions" / "half_score", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def run_it():
    """The commands of the tutorial, without their comments."""
    text = (ROOT / "docs" / "add-a-paper.md").read_text().partition("## Run it\n\n")[2].partition("\n\n")[0]
    return [line.partition("   #")[0].strip() for line in text.splitlines()]


def rescore(command, root):
    return main([*command, "--root", str(root), "--results", str(root / "results")])


def measure(root):
    """What the DAG of this paper does, but for figures: of one job it is quicker by hand."""
    job = str(root / "results" / "smoke" / "half_score" / "all")
    for command in (["run", "half_score", "measure", "--job", "all"], ["collect", job], ["tables"]):
        assert not rescore([*command, "--scale", "smoke"], root)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A checkout in which this paper is new, after the tutorial: its numbers are measured, and accepted."""
    root = repository(tmp_path_factory.mktemp("checkout"))
    shutil.copy(ROOT / ".gitignore", root)
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (["init", "--quiet"], ["add", ".gitignore"], [*who, "commit", "--quiet", "-m", "Before"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardware, "ROOT", root)  # which is that of the library
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "A")
            patch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
        for line in run_it():
            program, *arguments = shlex.split(line)
            if program == "git":
                subprocess.run(line, shell=True, cwd=root, check=True)
            elif program == "snakemake":
                measure(root)
                assert not rescore(["figures", "half_score", "--scale", "smoke"], root)
            else:
                assert not rescore(arguments, root)
    return root


def test_it_is_short():
    lines = [
        line
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        for line in path.read_text().splitlines()
    ]
    assert len(lines) <= 120


def test_it_is_found(root):
    assert list(find_papers(root)) == ["half_score"]


def test_its_numbers_are_judged_against_its_table(root):
    records = {(one.variant, one.nfe): one for one in read_records(root / "results/smoke/records.csv")}
    assert sorted(records) == [("share=0.5", 10), ("share=0.5", 40), ("share=1", 10), ("share=1", 40)]
    assert all((one.n_seeds, one.n_samples, one.over, one.df) == (3, 600, "runs", 2) for one in records.values())
    # Euler's error falls by about four with four times the steps, half a score's does not fall
    assert (
        records["share=1", 10].value / records["share=1", 40].value
        > 3
        > 1.5
        > (records["share=0.5", 10].value / records["share=0.5", 40].value)
    )
    (claim,) = read_claims(root / "results/smoke/claims.csv")
    assert claim["status"] == "holds"
    text = (root / "results/smoke/diff.csv").read_text()
    assert text.count("half_score") == 2


def test_its_sampler_is_a_method(root):
    half_score = load_paper("half_score", root).module("jobs").half_score
    assert (half_score.order, half_score.where(share=0.5).order, half_score.evaluations_per_step) == (1, 0, 1)


def test_its_figure_is_drawn(root):
    figure = root / "results/smoke/figures/half_score/errors.png"
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and figure.with_suffix(".rst").read_text().startswith(
        "The error of the"
    )


def test_the_tutorial_ends_with_a_reference(root):
    assert [line.split()[0] for line in run_it()] == ["git", "snakemake", "rescore", "rescore", "rescore"]
    assert len(read_records(root / "results/reference/smoke/records/half_score.csv")) == 4


def test_papers_outside_git_are_not_accepted(tmp_path, capsys):
    """Whatever commit the library's checkout is at."""
    root = repository(tmp_path)
    measure(root)
    assert rescore(["accept", "--scale", "smoke"], root) == 2
    assert "records of half_score name no commit: they were measured outside a git checkout" in capsys.readouterr().err
