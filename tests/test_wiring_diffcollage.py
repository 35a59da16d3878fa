"""A tiny run of all sections of DiffCollage, every number of which is kept."""

from pathlib import Path

from measuring import configured, measured
from pinned import check_pinned
from rescore.papers import load_config, load_paper
from trained_case import trained_models

PAPER = load_paper("diffcollage")
TINY = {"samples": 70, "exact": {"samples": 66}, "steps": 2, "lengths": {"ratios": [2, 3]}}
LAWS = {"samplers": {"evaluations": [10], "limit": 12, "samples": 8}}


def test_numbers_are_what_they_were(tmp_path: Path):
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | TINY)
    result = measured(PAPER, config, "all", tmp_path, trained_models(config, "all", tmp_path / "models"))
    check_pinned("diffcollage_all", result.measurements, result)


def test_numbers_of_known_laws_are_what_they_were(tmp_path: Path):
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | LAWS)
    result = measured(PAPER, config, "laws", tmp_path)
    check_pinned("diffcollage_laws", result.measurements, result)
