"""Lists and numbers of every config: entries differ, seeds are seeds, integers are those that torch and numpy hold."""

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import ROOT
from pydantic import PositiveInt
from rescore.config import JobConfig, PaperConfig, validated
from rescore.errors import RescoreError
from rescore.papers import find_papers, load_config, load_paper
from rescore.settings import Free, Seed, Seeds, Settings
from rescore.specs.config import ModelConfig
from rescore.specs.montecarlo import FlowTraining

MOST = 2**63 - 1
HUGE = 10**30


class Sweep(Settings):
    may_repeat = ("widths",)

    steps: tuple[PositiveInt, ...] = (5, 10)
    by_name: dict[str, tuple[float, ...]] = {}
    extra: tuple[float, ...] = ()
    pair: tuple[float, float] = (0.3, 0.3)
    pairs: dict[str, tuple[float, float]] = {}
    widths: tuple[int, ...] = (64, 64)
    shares: dict[PositiveInt, float] = {}
    free: dict[str, Free] = {}


class Config(PaperConfig):
    seeds: Seeds = (0, 1, 2)
    seed: Seed = 0
    samples: int = 100
    sweep: Sweep = Sweep()
    jobs: dict[str, JobConfig] = {}


def message(content: object, model: type[Settings] = Config) -> str:
    """What is told of bad settings, in one line; what is not refused fails."""
    with pytest.raises(RescoreError) as error:
        validated(model, content, "c.yaml")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"seeds": [0, 0, 1, 1]}, "seeds: listed twice: 0; allowed: entries that differ, not [0, 0, 1, 1]"),
        ({"seeds": [0, 1, "1"]}, "seeds: listed twice: 1; allowed: entries that differ, not [0, 1, 1]"),
        ({"sweep": {"steps": [5, 10, 10]}}, "sweep.steps: listed twice: 10; allowed: entries that differ, not [5, 10, 10]"),
        (
            {"sweep": {"extra": [0, 1, -0.0]}},
            "sweep.extra: listed twice: -0.0; allowed: entries that differ, not [0.0, 1.0, -0.0]",
        ),
        (
            {"sweep": {"by_name": {"a": [1], "b": [2, 2.0]}}},
            "sweep.by_name.b: listed twice: 2.0; allowed: entries that differ, not [2.0, 2.0]",
        ),
        (
            {"jobs": {"a": {"measure": ["one", "two", "one"]}}},
            "jobs.a.measure: listed twice: one; allowed: entries that differ, not ['one', 'two', 'one']",
        ),
        (
            {"jobs": {"a": {"measure": {"mg": ["one"], "rings": ["one", "one"]}}}},
            "jobs.a.measure.rings: listed twice: one; allowed: entries that differ, not ['one', 'one']",
        ),
        (
            {"jobs": {"a": {"instead": {"seeds": [3, 3]}}}},
            "(top level): jobs.a.instead: seeds: listed twice: 3; allowed: entries that differ, not [3, 3]",
        ),
    ],
)
def test_an_entry_that_is_listed_twice_is_named(content, told):
    assert message(content) == f"c.yaml: {told}"


def test_some_lists_may_repeat():
    """Widths of layers, and what has a fixed number of entries."""
    sweep = validated(
        Sweep, {"widths": [8, 8], "pair": [1, 1], "pairs": {"a": [2, 2]}, "free": {"multipliers": [1, 2, 2]}}, "c.yaml"
    )
    assert (sweep.widths, sweep.pair, sweep.pairs) == ((8, 8), (1.0, 1.0), {"a": (2.0, 2.0)})
    assert sweep.free == {"multipliers": [1, 2, 2]}
    assert validated(Config, {"jobs": {"a": {"measure": {"mg": ["one"], "rings": ["one"]}}}}, "c.yaml").jobs["a"].steps


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"seeds": []}, "seeds: no entry; allowed: one or more, not []"),
        ({"sweep": {"steps": []}}, "sweep.steps: no entry; allowed: one or more, not []"),
        ({"sweep": {"by_name": {"a": []}}}, "sweep.by_name.a: no entry; allowed: one or more, not []"),
        ({"sweep": {"widths": []}}, "sweep.widths: no entry; allowed: one or more, not []"),
        ({"jobs": {"a": {"measure": {"mg": []}}}}, "jobs.a.measure.mg: no entry; allowed: one or more, not []"),
    ],
)
def test_a_list_is_empty_only_where_that_is_its_default(content, told):
    assert message(content) == f"c.yaml: {told}"
    assert validated(Config, {"sweep": {"extra": []}}, "c.yaml").sweep.extra == ()


LARGE = f"input should be from -{MOST} to {MOST}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"samples": HUGE}, f"samples: {LARGE}, not {HUGE}"),
        ({"samples": 2**63}, f"samples: {LARGE}, not {2**63}"),
        ({"samples": -(2**63)}, f"samples: {LARGE}, not {-(2**63)}"),
        ({"samples": str(HUGE)}, f"samples: {LARGE}, not {HUGE}"),
        ({"sweep": {"steps": [1, 2**70]}}, f"sweep.steps.1: {LARGE}, not {2**70}"),
        ({"sweep": {"shares": {HUGE: 1.0}}}, f"sweep.shares.[key]: {LARGE}, not {HUGE}"),
        ({"sweep": {"free": {"width": HUGE}}}, f"sweep.free.width: {LARGE}, not {HUGE}"),
        ({"sweep": {"free": {"multipliers": [1, HUGE]}}}, f"sweep.free.multipliers.1: {LARGE}, not {HUGE}"),
        ({"sweep": {"free": {"of": {"width": HUGE}}}}, f"sweep.free.of.width: {LARGE}, not {HUGE}"),
        ({"sweep": {"free": {"sigmas": [float("inf")]}}}, "sweep.free.sigmas.0: input should be a finite number, not inf"),
        ({"jobs": {"a": {"threads": HUGE}}}, f"jobs.a.threads: {LARGE}, not {HUGE}"),
        ({"jobs": {"a": {"instead": {"samples": HUGE}}}}, f"jobs.a.instead.samples: {LARGE}, not {HUGE}"),
        ({"candidates": {"many": {"sweep": {"extra": [HUGE]}}}}, f"candidates.many.sweep.extra.0: {LARGE}, not {HUGE}"),
    ],
)
def test_an_integer_beyond_64_bits_is_refused(content, told):
    """Torch and numpy end in an OverflowError at it."""
    assert message(content) == f"c.yaml: {told}"


def test_the_largest_integers_are_taken():
    assert validated(Config, {"samples": MOST, "seeds": [MOST, 0]}, "c.yaml").seeds == (MOST, 0)
    assert validated(Config, {"samples": -MOST}, "c.yaml").samples == -MOST


def test_a_count_of_seeds_is_the_first_ones():
    assert validated(Config, {"seeds": 3}, "c.yaml") == validated(Config, {"seeds": [0, 1, 2]}, "c.yaml")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"seeds": [0, -1]}, "seeds.1: input should be greater than or equal to 0, not -1"),
        ({"seeds": [HUGE]}, f"seeds.0: input should be less than or equal to {MOST}, not {HUGE}"),
        ({"seeds": [0.5]}, "seeds.0: input should be a valid integer, got a number with a fractional part, not 0.5"),
        ({"seeds": 0}, "seeds: input should be a list of seeds, or a count of them from 1 to 10000, not 0"),
        ({"seeds": 10_001}, "seeds: input should be a list of seeds, or a count of them from 1 to 10000, not 10001"),
        ({"seeds": True}, "seeds: input should be a valid tuple, not True"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, not -1"),
        ({"seed": 2**63}, f"seed: input should be less than or equal to {MOST}, not {2**63}"),
    ],
)
def test_a_seed_is_one_that_torch_takes(content, told):
    assert message(content) == f"c.yaml: {told}"
    assert torch.Generator().manual_seed(MOST).initial_seed() == MOST


def test_training_seeds_differ():
    """Two trainings with one seed would be one folder, counted as two."""
    assert message({"training_seeds": [0, 0]}, ModelConfig).startswith("c.yaml: training_seeds: listed twice: 0; ")
    assert message({"training_seeds": []}, ModelConfig).startswith("c.yaml: training_seeds: ")


# all papers


MAY_REPEAT = {"hidden", "monotonic"}  # widths of layers
OF_A_JOB = (".measure", ".models", ".train")  # a job without a section is refused where its file is read
MAY_BE_EMPTY = (*OF_A_JOB, ".vp_em", ".vp_ddim", "trained.tolerances", "quality.steps", "variants.gammas")
NO_LISTS = {"step_sizes", "stride"}  # but one number for each of a fixed number of things
FREE = {"settings", "network_settings", "instead", "candidates"}

Path = tuple[str, ...]


def numbers_and_lists(content: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The integers and lists in a dumped config, but for lists whose meaning it does not know."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from numbers_and_lists(value, (*path, key))
        elif type(value) is int or (isinstance(value, list) and key not in NO_LISTS and not FREE & {*path}):
            yield (*path, key), value


def changed(content: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A config with another value at a place."""
    content = copy.deepcopy(content)
    here = content
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return content


@pytest.mark.parametrize("name", sorted(find_papers(ROOT)))
def test_every_paper_checks_its_lists_and_integers(name):
    """Also its defaults, which pydantic takes as they are."""
    config = load_config(load_paper(name, ROOT), "smoke")
    content, kind = config.model_dump(mode="json"), type(config)
    validated(kind, content, "c.yaml")
    lists = 0
    for path, value in numbers_and_lists(content):
        key, name = ".".join(map(str, path)), path[-1]
        if isinstance(value, int):
            assert message(changed(content, path, HUGE), kind).startswith(f"c.yaml: {key}: input should be "), key
            if name == "seed":
                assert message(changed(content, path, -1), kind).startswith(f"c.yaml: {key}: input should be greater than or ")
            continue
        if name.endswith("seeds"):
            told = message(changed(content, path, [*value, -1]), kind)
            assert told == f"c.yaml: {key}.{len(value)}: input should be greater than or equal to 0, not -1"
        if name not in MAY_REPEAT and value:
            told = message(changed(content, path, [*value, value[0]]), kind)
            assert told.startswith(f"c.yaml: {key}: listed twice: {value[0]}; allowed: ")
        if not key.endswith(MAY_BE_EMPTY):
            assert message(changed(content, path, []), kind).startswith(f"c.yaml: {key}: ")
        lists += 1
    assert lists > 2


def test_a_flows_protocol_tells_its_networks_and_its_spline():
    flow = FlowTraining(steps=5, lr=0.1, layers=2, hidden=8)
    assert flow.protocol_of("diagonal_affine") == flow.protocol | {"flow": "diagonal_affine"}
    layers = {"flow_layers": 2, "flow_hidden": 8}
    assert flow.protocol_of("affine_autoregressive") == flow.protocol | {"flow": "affine_autoregressive"} | layers
    told = flow.protocol | {"flow": "spline_autoregressive", "flow_bins": 10, "flow_bound": 5.0} | layers
    assert flow.model_copy(update={"bound": 5.0}).protocol_of("spline_autoregressive") == told


def test_a_job_has_a_section(tmp_path):
    for measure in ("[]", "{}"):
        paper = tmp_path / measure / "reproductions" / "half_score"
        shutil.copytree(ROOT / "tests/data/new_paper", paper)
        path = paper / "configs" / "smoke.yaml"
        path.write_text(path.read_text().replace("measure: [euler]", f"measure: {measure}"))
        with pytest.raises(RescoreError, match="smoke.yaml: jobs.all.measure: no section; allowed: one or more$"):
            load_config(load_paper("half_score", tmp_path / measure), "smoke")
