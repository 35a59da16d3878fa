"""Commands that are shown find the results and papers of who reads them, wherever these lie."""

import codecs
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from reports import hostile_suite, no_assets
from rescore.cli import main
from rescore.config import run_command
from rescore.estimates import NETWORKS, networks_path

NUMBER = "toy/1/mg/HMC/logz_bias/100"
NOT_RUN = "toy/1/mg/NUTS/logz_bias/100"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A repository and its results, seen from another working directory: the options that name them."""
    root, here = tmp_path / "repository", tmp_path / "here"
    hostile_suite(root)
    here.mkdir()
    shutil.move(root / "results", here / "my results")
    monkeypatch.chdir(here)
    monkeypatch.setattr("rescore.report.pages.write_assets", no_assets)
    return ["--root", str(root), "--results", "my results"]


def failure(capsys, *words):
    assert main(list(words)) == 2
    return capsys.readouterr().err


def repeat(capsys, number, options):
    assert main(["show", number, *options]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("repeat")]
    return line.removeprefix("repeat").strip()


def test_a_card_s_command_names_the_places(elsewhere, capsys):
    root = elsewhere[1]
    measured = "python -m rescore run toy measure --scale laptop --job mg"
    assert repeat(capsys, NUMBER, elsewhere) == f"{measured} --results 'my results' --root {root}"
    # the paper before --config, which would take it for a setting
    assert repeat(capsys, NOT_RUN, elsewhere) == f"snakemake --snakefile {root}/Snakefile toy --config 'results=my results'"


def test_the_report_s_do_so_too(elsewhere, capsys):
    assert main(["report", *elsewhere]) == 0
    data = Path("my results/laptop/report/data/toy.js").read_text()
    assert f"--job mg --results 'my results' --root {elsewhere[1]}" in data


def test_in_the_usual_places_no_option_is_needed(tmp_path, monkeypatch, capsys):
    hostile_suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert repeat(capsys, NUMBER, []) == "python -m rescore run toy measure --scale laptop --job mg"
    assert repeat(capsys, NOT_RUN, []) == "snakemake toy"


def test_what_is_missing_is_made_in_the_places_asked_for(elsewhere, capsys):
    root = elsewhere[1]
    command = f"`snakemake --snakefile {root}/Snakefile --profile {root}/profiles/gpu --config 'results=my results'`"
    for words in (["claims"], ["cost"], ["gate"], ["accept", "--allow-dirty"]):
        assert command in failure(capsys, *words, "--scale", "gpu", *elsewhere), words
    said = failure(capsys, "diff", "--reference", "--scale", "gpu", *elsewhere)
    assert "make it with `rescore accept --scale gpu --results 'my results'`" in said


def test_the_usual_commands_are_as_one_types_them():
    assert run_command("laptop") == "snakemake" and run_command("gpu", target="pis") == "snakemake --profile profiles/gpu pis"


EMPTY = [
    ["diff", "--results", ""],
    ["diff", "--root", ""],
    ["diff", "--out", ""],
    ["parity", "--golden", ""],
    ["collect", ""],
    ["import", "edm", ""],
    ["report", "--against", ""],
    ["report", "--out", ""],
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_an_empty_name_is_no_working_directory(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(words)
    name = words[-2] if words[-2].startswith("--") else {"collect": "PATH", "edm": "file"}[words[-2]]
    assert capsys.readouterr().err.endswith(f"argument {name}: '' is no name; allowed: that of a file or folder, such as '.'\n")
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder_of_results(tmp_path, capsys):
    """The committed reference was read in its place."""
    file = tmp_path / "records.csv"
    file.touch()
    told = f"results: there is a file {file}; allowed: a folder, or the name of one to make"
    for words in (["diff"], ["claims"], ["collect"], ["report"], ["plan"]):
        assert told in failure(capsys, *words, "--scale", "smoke", "--results", str(file)), words


def test_an_empty_name_is_no_paper(capsys):
    """Of which all were planned."""
    for words in (["plan", "--scale", "smoke"], ["fetch", "--scale", "smoke"], ["diff"]):
        assert "unknown paper ''; allowed: " in failure(capsys, *words, "--paper", "")


def test_a_plan_keeps_the_networks_where_the_report_reads_them(tmp_path, monkeypatch, capsys):
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "tests" / "data" / "new_paper", root / "reproductions" / "half_score")
    assert main(["plan", "--write", "--scale", "smoke", "--root", str(root), "--results", str(tmp_path / "elsewhere")]) == 0
    path = root / "results" / "reference" / NETWORKS
    assert networks_path(root) == path and path.is_file() and f"{path}: 0 networks" in capsys.readouterr().out
    monkeypatch.chdir(root)
    assert str(networks_path(root)) == "results/reference/networks.csv"


def test_printed_numbers_of_a_spreadsheet_are_read(tmp_path, monkeypatch, capsys):
    """Excel's "CSV UTF-8" begins with a byte order mark."""
    hostile_suite(tmp_path)
    path = tmp_path / "reproductions" / "toy" / "published.csv"
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["diff"]) == 0 and "4 in all" in capsys.readouterr().out
