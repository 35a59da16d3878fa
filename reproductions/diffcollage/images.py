"""What the sections on one texture or scene share: scores of its pieces, the judge of its images, cells with their protocol."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any

import torch
from rescore.collage import FactorGraph, Made, Maker, chain
from rescore.data.crops import random_squares
from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import to_unit
from rescore.data.textures import TEXTURES, strips
from rescore.errors import RescoreError
from rescore.experiments.book import Book, Cell
from rescore.metrics.features import ClassifierSettings
from rescore.models.build import load_model
from rescore.models.evaluate import repeats
from rescore.models.judge import Judge, make_judge
from rescore.processes import VP, LinearSDE, grids
from rescore.random import make_generator
from rescore.samplers import Sampler, ddim
from rescore.scores import EmpiricalData
from rescore.workflow.paths import node_folder
from torch import Tensor

from reproductions.diffcollage.config import HALF, QUARTER, Config

SHOWN = 3  # contents of each method in the figures


def make_sampler(config: Config, process: LinearSDE, start: float = 1.0) -> Sampler:
    """The times of all contents' steps that are below `start`, a share of the whole time, and `start` before them."""
    times, first = grids.quadratic(process, config.steps, config.t0), start * process.T
    later = times[times < first]
    return ddim(process, torch.cat((later.new_tensor([first]), later)), eta=config.eta, denoise="tweedie")


def joined(method: str) -> str:
    """What a protocol says of how the pieces of a long content come together."""
    return "squares side by side" if method in ("Baseline", "Split") else "chain"


def sampling(config: Config, bound: float = 1.0) -> dict[str, object]:
    """What a protocol says of `make_sampler` on a VP process."""
    return {
        "process": "vp",
        "sampler": f"ddim, eta {config.eta:g}",
        "steps": config.steps,
        "t0": config.t0,
        "x0": f"clipped to [-{bound:g}, {bound:g}]",
    }


class Images:
    """A texture or scene in a section. Models and judges are loaded when a cell first asks for them.

    Attributes:
        variant, dataset: of the records.
        n: contents of each repeat.
        seeds: of each repeat that of the training and that of the contents.
        over: what is repeated: trainings of the models, samplings of a single training, or runs of pieces that are not trained.
    """

    variant = ""

    def __init__(self, book: Book, name: str):
        self.book, self.config, self.run, self.name, self.dataset = book, book.config, book.run, name, name
        self.over, self.seeds = repeats(self.config.training_seeds, self.config.seeds)
        self.n, self.pieces = self.config.samples, cache(self._load)

    @property
    def each(self) -> Iterator[tuple[int, Maker]]:
        """The seed of the contents, and the pieces, of each repeat."""
        return ((seed, self.pieces(training)) for training, seed in self.seeds)

    @cached_property
    def train(self) -> ImageSet:
        spec = self.config.models[self.name]
        return load_images(spec.data, spec.split)

    @cached_property
    def test(self) -> ImageSet:
        return load_images(self.train.name, "test")

    @property
    def side(self) -> int:
        """Of a square."""
        return self.train.shape[1]

    @cached_property
    def overlap(self) -> int:
        """Columns that two neighbours share."""
        return self._part(HALF)[2]

    @cached_property
    def protocol(self) -> dict[str, object]:
        pieces, shared = (self.config.models[name].protocol for name in (self.name, self.name + HALF))
        of_overlaps = {f"overlap_{name}": value for name, value in shared.items() if value != pieces.get(name)}
        return pieces | of_overlaps | sampling(self.config) | {"score": "trained"}

    def chain(self, ratio: int) -> FactorGraph:
        """Of panoramas `ratio` times as wide as high."""
        return chain(self.side, self.side * ratio, self.side, self.overlap)

    def strips(self, ratio: int) -> Tensor | None:
        """All real strips (n, 1, side, side ratio) of the photograph in [-1, 1]; a scene has none."""
        if self.name not in TEXTURES:
            return None
        return to_unit(torch.from_numpy(strips(self.name, self.side, self.side * ratio)))

    def generator(self, *names: object) -> torch.Generator:
        """Of noise, where the networks are."""
        return make_generator("diffcollage", *names, device=self.run.device)

    @cached_property
    def judge(self) -> Judge:
        """Patches in the features of a network; the reference are the training patches.

        For textures it is a classifier of the three of them, for scenes what `evaluation.features` names.
        """
        config, folder, device = self.config, self.run.folder.parent / "judges", self.run.device
        if self.name in TEXTURES:
            settings = ClassifierSettings(config.classifier_steps)
            return make_judge(
                "classifier", self.train, self.test, settings, folder, taught=load_images("textures-8x8"), rounding="nearest"
            )
        held_out = None if self.train.split == "all" else self.test  # which that split holds
        settings = ClassifierSettings(config.evaluation.classifier_steps)
        return make_judge(config.evaluation.features, self.train, held_out, settings, folder, device)

    def fid(self, x: Tensor) -> float:
        return self.judge(x, ["fid"])["fid"]

    def fid_plus(self, x: Tensor, *names: object) -> float:
        """FID of random squares of images (n, C, H, W); `names` are of their places."""
        return self.fid(random_squares(x, self.side, make_generator("diffcollage", *names, "crops"), self.config.crops))

    def cell(self, table: str, method: str, variant: str | None = None, n: int | None = None, **protocol: object) -> Cell:
        """A cell of this data set; n: contents of each repeat."""
        networks = ", ".join(filter(None, (self.dataset, self.variant))) if self.over == "trainings" else ""
        variant = self.variant if variant is None else variant
        place = table, self.dataset, method, variant, None, self.protocol | protocol
        return self.book.cell(*place, n=n or self.n, over=self.over, matched=networks)

    def fill(
        self,
        cell: Cell,
        make: Callable[[Maker, int], Made],
        judge: Callable[[Tensor, int], Mapping[str, float]],
        protocols: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Made:
        """Add what is found in the contents of every repeat; the last ones are returned.

        Args:
            make, judge: of a repeat's pieces and seed the contents, and of these and the seed the metrics.
            protocols: of metrics that depend on more than the cell does.
        """
        found = []
        for seed, pieces in self.each:
            made = make(pieces, seed)
            found.append(judge(made.x, seed))
        cell.add_each(found, protocols)
        return made

    def measure(
        self,
        table: str,
        method: str,
        make: Callable[[Maker, int], Made],
        judge: Callable[[Tensor, int], Mapping[str, float]],
        array: str,
        shown: Callable[[Tensor], Tensor] = lambda x: x[:SHOWN],
        passes: bool = False,
        **of_cell: Any,
    ) -> None:
        """A cell of what `fill` finds, with the passes if asked for; the array is what is `shown` of the contents."""
        with self.cell(table, method, **of_cell) as cell:
            if cell.todo:
                crops = self.config.crops
                squares = dict(self.judge.protocol("fid", torch.arange(cell.n * crops)))
                faces = {name: value for name, value in squares.items() if name != "n_samples"}
                made = self.fill(cell, make, judge, {"fid_plus": squares | {"crops": crops}, "fid": faces})
                if passes:
                    cell.exact("sequential passes", made.passes, n=1)
                cell.arrays[array] = shown(made.x).numpy()

    def _part(self, part: str) -> tuple[int, int, int]:
        """The shape of the pieces that a model is of. Raises RescoreError where they cannot be the squares' overlaps."""
        model = self.name + part
        spec = self.config.models[model]
        shape = load_images(spec.data, spec.split, limit=1).shape
        channels, side, width = self.train.shape
        fits, allowed = {
            "": (side == width, "squares"),
            HALF: (shape[:2] == (channels, side) and 0 < shape[2] < side, f"({channels}, {side}, fewer than {side})"),
            QUARTER: (shape == (channels, side // 2, side // 2), f"({channels}, {side // 2}, {side // 2})"),
        }[part]
        if not fits:
            raise RescoreError(f"models.{model}: patches {shape} beside squares {self.train.shape}; allowed: {allowed}")
        return shape

    def _load(self, seed: int) -> Maker:
        """The pieces of one training seed."""
        models = {}
        for part in ("", HALF, QUARTER):
            if (name := self.name + part) in self.book.job.models:
                spec = self.config.models[name].model_copy(update={"seed": seed})
                weights = self.run.models[f"{name}/{seed}"]
                models[part] = load_model(spec, weights, self._part(part), self.run.device, node_folder(weights))
        whole, half, quarter = (models.get(part) for part in ("", HALF, QUARTER))
        return Maker(
            make_sampler(self.config, whole.process),
            self.train.shape[0],
            whole.score,
            half.score,
            whole.network.score(),
            batch=self.config.batch,
            differentiable_part=half.network.score(),
            quarter=quarter.score if quarter else None,
        )


class ExactImages(Images):
    """A texture whose pieces have the scores of the empirical distribution of its patches in place of networks.

    They tell what networks do from what the rule does. A clean 8x4 overlap is found once in the photograph: at t = 0 the
    composed density is that of the photograph's own strips.
    """

    variant = "exact pieces"

    def __init__(self, book: Book, name: str):
        super().__init__(book, name)
        self.over, self.seeds = "runs", [(0, seed) for seed in self.config.seeds]
        self.train, self.halves = (load_images(f"{name}-{size}") for size in ("8x8", "8x4"))
        self.n, self.overlap = self.config.exact.samples, self.halves.shape[2]
        self.protocol = sampling(self.config) | {"score": f"exact, of {len(self.train)} and {len(self.halves)} patches"}

    def _load(self, seed: int) -> Maker:
        """The same for every seed."""
        process = VP()
        squares, halves = (EmpiricalData(process, to_unit(data.images)) for data in (self.train, self.halves))
        return Maker(
            make_sampler(self.config, process),
            1,
            squares,
            halves,
            squares.with_gradients(),
            batch=self.config.batch,
            differentiable_part=halves.with_gradients(),
        )
