"""The models of an image's patches, the five ways to make a wide image of them, and how images are judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reproductions.diffcollage.config import HALF, QUARTER, Config
from rescore.collage import FactorGraph, averaged_score, chain, clipped_score, composed_score, outpaint, side_by_side
from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import to_unit
from rescore.data.textures import TEXTURES, load_texture, windows
from rescore.errors import RescoreError
from rescore.experiments.run import Notebook, Run
from rescore.ledger.records import Over
from rescore.machine.locks import waiting_lock
from rescore.metrics.features import ClassifierSettings, reference_features, train_classifier
from rescore.models.build import load_model
from rescore.models.evaluate import repeats
from rescore.models.judge import Judge
from rescore.models.judge import make_judge as judge_of
from rescore.processes import LinearSDE, grids
from rescore.samplers import Sampler, ddim
from rescore.scores import Score

METHODS = ("Baseline", "Replacement", "Reconstruction", "DiffCollage")
ALL = (*METHODS[:3], "Averaging", METHODS[3])  # with the one that the paper does not tabulate
AUTOREGRESSIVE = {"Replacement": "replacement", "Reconstruction": "reconstruction"}


@dataclass(frozen=True)
class Context:
    """What every part of a job is told, and where it writes."""

    config: Config
    run: Run
    book: Notebook

    def counted(self, score: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The score; the points it is evaluated at are added to the notebook's function evaluations."""

        def counted(u: Tensor, t: float, *given: Tensor, **settings: bool) -> Tensor:
            self.book.function_evaluations += len(u)
            return score(u, t, *given, **settings)

        return counted


def make_sampler(config: Config, process: LinearSDE) -> Sampler:
    return ddim(process, grids.quadratic(process, config.steps, config.t0), eta=config.eta, denoise="tweedie")


def sampling(config: Config) -> dict[str, object]:
    """What a protocol says of `make_sampler` on a VP process."""
    return {"process": "vp", "sampler": f"ddim, eta {config.eta:g}", "steps": config.steps, "t0": config.t0,
            "x0": "clipped to [-1, 1]"}  # fmt: skip


@dataclass(frozen=True)
class Pieces:
    """A texture's or scene's patches and the models of them.

    Args:
        square: the score of square patches; half: of the overlaps of two in a row; quarter: of those of four, or None.
        differentiable, half_with_gradients: the first two, letting gradients pass.
        overlap: columns that two neighbours share.
        batch: contents at a time; None: all.
        variant: of the records.
    """

    name: str
    train: ImageSet
    test: ImageSet
    process: LinearSDE
    square: Score
    half: Score
    differentiable: Score
    half_with_gradients: Score
    quarter: Score | None
    sampler: Sampler
    protocol: dict[str, object]
    overlap: int
    batch: int | None = None
    variant: str = ""

    @classmethod
    def load(cls, name: str, context: Context, seed: int) -> "Pieces":
        """Those of one training seed. Raises RescoreError for a model of patches that cannot be the squares' overlaps."""
        config, run = context.config, context.run
        spec = config.models[name]
        train, test = (load_images(spec.data, split) for split in (spec.split, "test"))
        scores: dict[tuple[str, bool], Score] = {}
        for part in ("", HALF, QUARTER):
            if (model := name + part) in config.jobs[run.job].models:
                its = config.models[model].model_copy(update={"seed": seed})
                shape = load_images(its.data, limit=1).shape
                _check_part(model, part, shape, train.shape)
                loaded = load_model(its, run.models[f"{model}/{seed}"], shape, run.device)
                if part == HALF:
                    overlap = shape[2]
                if not part:
                    process = loaded.process
                scores[part, False], scores[part, True] = (context.counted(s) for s in (loaded.score, loaded.network.score()))
        protocol = spec.protocol | sampling(config) | {"score": "trained"}
        return cls(
            name, train, test, process, scores["", False], scores[HALF, False], scores["", True], scores[HALF, True],
            scores.get((QUARTER, False)), make_sampler(config, process), protocol, overlap, config.batch,
        )  # fmt: skip

    @property
    def side(self) -> int:
        """Of a square."""
        return self.train.shape[1]

    @property
    def channels(self) -> int:
        return self.train.shape[0]

    def shape(self, n: int, size: Sequence[int]) -> tuple[int, ...]:
        """Of n contents (n, channels, *size)."""
        return (n, self.channels, *size)

    def sample(self, score: Score, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """One run on contents of this shape, x0 clipped, `batch` contents at a time."""
        score, parts = clipped_score(self.process, score), []
        for n in self._batches(shape[0]):
            start = self.process.prior_sample((n, *shape[1:]), generator, device=generator.device)
            parts.append(self.sampler(score, start, generator).clamp(-1, 1).cpu())
        return torch.cat(parts)

    def sample_given(self, condition: Callable[..., Score], score: Score, x: Tensor, mask: Tensor,
                     generator: torch.Generator) -> Tensor:  # fmt: skip
        """Contents like x (n, C, *size) under the pixels of x that the mask knows; `condition` as `replaced_score`."""
        parts, mask = x.to(generator.device).split(self.batch or len(x)), mask.to(generator.device)
        return torch.cat([
            self.sample(condition(self.process, score, part, mask), part.shape, generator) for part in parts
        ])  # fmt: skip

    def _batches(self, n: int) -> list[int]:
        """How many contents are made at a time until n are."""
        batch = self.batch or n
        return [min(batch, n - start) for start in range(0, n, batch)]

    def factor(self, method: str) -> Score:
        """The squares' score; reconstruction needs gradients."""
        return self.differentiable if method == "Reconstruction" else self.square

    def wide(self, method: str, n: int, ratio: int, generator: torch.Generator) -> tuple[Tensor, int]:
        """n panoramas (n, C, side, side ratio) in [-1, 1] by a method of `ALL`, and the network passes that follow each other.

        A pass is a batched evaluation, or the way back through one. The two models of a composed score need not wait for
        each other and count as one.
        """
        graph = self.chain(ratio)
        match method:
            case "Baseline":
                score = averaged_score(graph.size, side_by_side(*graph.size, self.side), self.square)
            case "Averaging":
                score = averaged_score(graph.size, graph.factors, self.square)
            case "DiffCollage":
                score = composed_score(graph, self.square, self.half)
            case _:
                return self.outpaint(method, graph.size, graph.factors, n, generator)
        return self.sample(score, self.shape(n, graph.size), generator), self.sampler.nfe

    def chain(self, ratio: int) -> FactorGraph:
        """Of panoramas `ratio` times as wide as high."""
        return chain(self.side, self.side * ratio, self.side, self.overlap)

    def outpaint(self, method: str, size: Sequence[int], patches: Tensor, n: int, generator: torch.Generator,
                 order: Sequence[Sequence[int]] | None = None, given: tuple[Tensor, Tensor] | None = None,
                 ) -> tuple[Tensor, int]:  # fmt: skip
        """n contents (n, C, *size) square by square, and the passes; a run has no way back where nothing is there before."""
        parts = []
        for start, count in zip(range(0, n, self.batch or n), self._batches(n), strict=True):
            known = None if given is None else (given[0][start : start + count], given[1])
            x, runs = outpaint(
                size, patches, self.sampler, self.factor(method), (count, self.channels), generator,
                AUTOREGRESSIVE.get(method, "replacement"), order, known, clip=1.0,
            )  # fmt: skip
            parts.append(x.clamp(-1, 1).cpu())
        back = (runs - (given is None)) if method == "Reconstruction" else 0
        return torch.cat(parts), self.sampler.nfe * (runs + back)

    def strips(self, ratio: int) -> Tensor | None:
        """All real strips (n, 1, side, side ratio) of the photograph in [-1, 1]; a scene has none."""
        if self.name not in TEXTURES:
            return None
        image = load_texture(self.name)
        return to_unit(torch.from_numpy(windows(image, self.side, self.side * ratio, [(0, image.shape[1])])))


@dataclass(frozen=True)
class Repeats:
    """The pieces of one texture or scene, once for each value of a record.

    Args:
        each: (seed of the samples, pieces).
        over: what is repeated: trainings of the models, samplings of a single training, or runs of pieces that are not trained.
    """

    each: tuple[tuple[int, Pieces], ...]
    over: Over

    @classmethod
    def load(cls, name: str, context: Context) -> "Repeats":
        over, seeds = repeats(context.config.training_seeds, context.config.seeds)
        loaded = {training: Pieces.load(name, context, training) for training in dict.fromkeys(one for one, _ in seeds)}
        return cls(tuple((seed, loaded[training]) for training, seed in seeds), over)

    @property
    def first(self) -> Pieces:
        """For what is the same in all of them."""
        return self.each[0][1]

    def __len__(self) -> int:
        return len(self.each)


def _check_part(model: str, part: str, shape: tuple[int, ...], square: tuple[int, ...]) -> None:
    channels, side, width = square
    fits = {
        "": side == width,
        HALF: shape[:2] == (channels, side) and 0 < shape[2] < side,
        QUARTER: shape == (channels, side // 2, side // 2),
    }
    if not fits[part]:
        allowed = {"": "squares", HALF: f"({channels}, {side}, fewer than {side})",
                   QUARTER: f"({channels}, {side // 2}, {side // 2})"}  # fmt: skip
        raise RescoreError(f"models.{model}: patches {shape} beside squares {square}; allowed: {allowed[part]}")


def make_judge(context: Context, pieces: Pieces) -> Judge:
    """Patches in the features of a network; the reference are the texture's or scene's training patches.

    For textures it is a classifier of the three of them, for scenes what `evaluation.features` names.
    """
    config, run = context.config, context.run
    folder = run.folder.parent / "judges"
    if pieces.name not in TEXTURES:
        settings = ClassifierSettings(config.evaluation.classifier_steps)
        judge = judge_of(config.evaluation.features, pieces.train, pieces.test, settings, folder, run.device)
        return judge if pieces.train.split != "all" else replace(judge, held_out=None)  # that split holds the test images
    folder.mkdir(parents=True, exist_ok=True)
    textures = load_images("textures-8x8")
    with waiting_lock(folder / "lock", "another process that judges textures"):
        extractor = train_classifier(textures, ClassifierSettings(config.classifier_steps), folder)
        real, held_out = (reference_features(extractor, data, folder) for data in (pieces.train, pieces.test))
    return Judge(extractor, real, held_out, rounding="nearest")


def crops(x: Tensor, side: int, generator: torch.Generator, each: int = 1) -> Tensor:
    """`each` random square crops of every image (n, C, H, W)."""
    x = x.repeat_interleave(each, 0)
    rows = torch.randint(x.shape[2] - side + 1, (len(x),), generator=generator)
    columns = torch.randint(x.shape[3] - side + 1, (len(x),), generator=generator)
    return torch.stack([image[:, a : a + side, b : b + side] for image, a, b in zip(x, rows, columns, strict=True)])


def seam(x: Tensor, borders: Sequence[int]) -> float:
    """Mean square of the steps from column b - 1 to b over the borders b, by that over all other columns; 1 is no seam."""
    jumps = x.diff(dim=-1).square().flatten(0, -2).mean(0)
    at = torch.zeros(len(jumps), dtype=torch.bool)
    at[[b - 1 for b in borders]] = True
    return (jumps[at].mean() / jumps[~at].mean()).item()


def wrap_seam(x: Tensor) -> float:
    """`seam` between the last column and the first, if the image is closed to a ring."""
    inside = x.diff(dim=-1).square().mean()
    return ((x[..., 0] - x[..., -1]).square().mean() / inside).item()
