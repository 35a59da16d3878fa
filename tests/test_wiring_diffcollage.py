"""A tiny run of all sections of DiffCollage, every number of which is kept."""

from pathlib import Path

import pytest
from measuring import configured, measured
from pinned import check_pinned
from rescore.data.motion import motions_at_hand
from rescore.papers import load_config, load_paper
from trained_case import trained_models

PAPER = load_paper("diffcollage")
TINY = {"samples": 70, "exact": {"samples": 66}, "steps": 2, "lengths": {"ratios": [2, 3]}}
LAWS = {
    "samplers": {"evaluations": [10], "limit": 12, "samples": 8},
    "pictures": {"seeds": [0, 1], "contents": 2, "ratio": 3, "stride": [48, 56], "followers": 2},
    "change": {"pieces": 4},
    "steps": 2,
}

needs_motions = pytest.mark.skipif(
    not motions_at_hand(), reason="BasicMotions is neither under RESCORE_DATA nor in an installed aeon"
)


@needs_motions
def test_numbers_are_what_they_were(tmp_path: Path):
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | TINY)
    result = measured(PAPER, config, "all", tmp_path, trained_models(config, "all", tmp_path / "models"))
    check_pinned("diffcollage_all", result.measurements, result)


def test_numbers_of_known_laws_are_what_they_were(tmp_path: Path):
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | LAWS)
    for job in ("laws", "pictures"):
        result = measured(PAPER, config, job, tmp_path)
        check_pinned(f"diffcollage_{job}", result.measurements, result)


def test_numbers_of_networks_of_photographs_are_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PAPER.module("trained"), "COMPARED", 4)
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | LAWS)
    result = measured(PAPER, config, "trained", tmp_path, trained_models(config, "trained", tmp_path / "models"))
    check_pinned("diffcollage_trained", result.measurements, result)


@needs_motions
def test_numbers_of_one_transformer_are_what_they_were(tmp_path: Path):
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | {"steps": 2})
    result = measured(PAPER, config, "naive", tmp_path)
    check_pinned("diffcollage_naive", result.measurements, result)
