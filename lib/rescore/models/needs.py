"""What a scale needs from outside: data sets, Inception's weights and published networks.

They are looked for without being read, and fetched where they can be downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rescore.config import PaperConfig
from rescore.data.fetch import cache_folder
from rescore.data.humanml import humanml_at_hand
from rescore.data.images import LAYOUT, OWN, SPLITS, images_at_hand, load_images
from rescore.data.motion import load_motions, motions_at_hand
from rescore.data.pines import find_pines, pines_at_hand
from rescore.data.tabular import LAYOUT as TABULAR
from rescore.data.tabular import load_tabular, tabular_at_hand
from rescore.data.weights import PAGES, weights_at_hand
from rescore.metrics.features import INCEPTION_FILE, chosen_inception, find_inception
from rescore.specs.config import ModelConfig

DATA_KEYS = ("data", "dataset", "datasets")
"""Settings whose values name data sets of `rescore.data`."""

DOWNLOADS_MB = {
    "cifar10": 162,
    "mnist": 12,
    "mnist14": 12,
    "fashion_mnist": 31,
    "inception": 91,
    "tabular": 817,
    "pines": 1,
    "BasicMotions": 1,
}
"""About how much is downloaded; what is not named here has to be put under RESCORE_DATA.

Stated by the pages of the data sets, the release of torch-fidelity and Zenodo (817.1 MB of tabular sets).
"""


@dataclass(frozen=True)
class Need:
    """One data set's split, or one file.

    Args:
        at_hand: whether it is there, by a look and no reading.
        get: read it, which downloads it if need be and checks its digest; None: it cannot be downloaded.
        place: what to put where.
    """

    name: str
    at_hand: bool
    get: Callable[[], object] | None
    place: str = ""

    @property
    def megabytes(self) -> int | None:
        """Of its download, roughly; None if there is none."""
        return DOWNLOADS_MB.get(self.name.split("/")[0])


def needs(config: PaperConfig, jobs: Iterable[str] | None = None) -> list[Need]:
    """Of some jobs of a paper, or of all; each once."""
    found = {need.name: need for name in names(config, jobs) for need in _of(name)}
    chosen = [*config.jobs] if jobs is None else [*jobs]
    for training in (of for job in chosen for of in config.job_trainings(job).values()):
        if weights := training.spec.weights:
            there = weights_at_hand(weights.source, weights.name, weights.sha256)
            place = f"weights/{weights.source}/{weights.name}"
            found[place] = Need(place, there, None, f"{place}, from {PAGES[weights.source]}")
    return list(found.values())


def names(config: PaperConfig, jobs: Iterable[str] | None = None) -> Iterator[str]:
    """Names of what those jobs read, as their settings and those of their models spell them."""
    chosen = [*config.jobs] if jobs is None else [*jobs]
    content = config.model_dump(mode="json", exclude={"jobs", "models", "evaluation"})
    yield from _named(content)
    for job in chosen:
        settings = config.jobs[job].model_dump(mode="json")
        yield from _named(settings)
        yield from sorted({"lgcp", "HumanML3D", "BasicMotions"} & _texts(settings))
        trainings = config.job_trainings(job).values()
        for training in trainings:
            yield f"{training.spec.data}/{training.spec.split}"
            if "test" in SPLITS.get(training.spec.data, ()):
                yield f"{training.spec.data}/test"
        if trainings and isinstance(config, ModelConfig) and "evaluation" in config.model_fields_set:
            yield from _named(config.evaluation.model_dump(mode="json"))


def _named(content: Any) -> Iterator[str]:
    """Data sets under `DATA_KEYS`, and `inception` under `features`, wherever they stand."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key == "features" and value == "inception":
                yield "inception"
            elif key in DATA_KEYS:
                yield from sorted(_texts(value))
            else:
                yield from _named(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _named(value)


def _texts(content: Any) -> set[str]:
    """All texts in settings, keys included."""
    if isinstance(content, Mapping):
        return {str(key) for key in content} | {text for value in content.values() for text in _texts(value)}
    if isinstance(content, list | tuple):
        return {text for value in content for text in _texts(value)}
    return {content} if isinstance(content, str) else set()


def _of(name: str) -> list[Need]:
    """What a name stands for; nothing for one that is no data set, such as a planar density."""
    data, _, split = name.partition("/")
    if data in SPLITS and data not in OWN:
        both: list[str] = [one for one in ("train", "test") if one in SPLITS[data]]
        splits = [split] if split else both or [*SPLITS[data][:1]]
        fetched = data in DOWNLOADS_MB
        return [
            Need(
                f"{data}/{one}",
                images_at_hand(data, one),
                partial(load_images, data, one) if fetched else None,
                LAYOUT.get(data, ""),
            )
            for one in splits
        ]
    if name in TABULAR:
        return [Need(f"tabular/{name}", tabular_at_hand(name), lambda: load_tabular(name), " and ".join(TABULAR[name]))]
    match name:
        case "inception":
            there = (chosen_inception() or cache_folder() / INCEPTION_FILE).is_file()
            return [Need("inception", there, find_inception, INCEPTION_FILE)]
        case "lgcp":
            return [Need("pines", pines_at_hand(), find_pines, "finpines/finpines.txt")]
        case "BasicMotions":
            return [Need("BasicMotions", motions_at_hand(), load_motions, "BasicMotions/")]
        case "HumanML3D":
            return [Need("HumanML3D", humanml_at_hand(), None, "HumanML3D/, as its official build makes it")]
    return []
