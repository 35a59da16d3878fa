"""The models of a texture's patches, the five ways to make a wide image of them, and how images are judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reproductions.diffcollage.config import HALF, QUARTER, Config
from rescore.collage import averaged_score, chain, clipped_score, composed_score, outpaint, side_by_side
from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import to_unit
from rescore.data.textures import load_texture, windows
from rescore.jobs import Notebook, Run
from rescore.locks import waiting_lock
from rescore.metrics.features import ClassifierSettings, reference_features, train_classifier
from rescore.models.build import load_model
from rescore.models.judge import Judge
from rescore.processes import LinearSDE, grids
from rescore.samplers import Sampler, ddim
from rescore.scores import Score

SIDE, OVERLAP = 8, 4
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


@dataclass(frozen=True)
class Pieces:
    """A texture's patches and the models of them.

    Args:
        square: the score of 8x8 patches; half: of 8x4 patches; quarter: of 4x4 patches, or None.
        differentiable, half_with_gradients: the first two, letting gradients pass.
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

    @classmethod
    def load(cls, name: str, context: Context) -> "Pieces":
        config, run = context.config, context.run
        scores: dict[tuple[str, bool], Score] = {}
        for part in ("", HALF, QUARTER):
            if (model := name + part) in config.jobs[run.job].models:
                spec = config.models[model]
                loaded = load_model(spec, run.models[f"{model}/{spec.seed}"], load_images(spec.data).shape, run.device)
                process = loaded.process
                scores[part, False], scores[part, True] = (context.counted(s) for s in (loaded.score, loaded.network.score()))
        spec = config.models[name]
        train, test = (load_images(spec.data, split) for split in ("train", "test"))
        sampler = ddim(process, grids.quadratic(process, config.steps, config.t0), eta=config.eta, denoise="tweedie")
        protocol = spec.protocol | {"process": "vp", "score": "trained", "sampler": f"ddim, eta {config.eta:g}",
                                    "steps": config.steps, "t0": config.t0, "x0": "clipped to [-1, 1]"}  # fmt: skip
        return cls(
            name, train, test, process, scores["", False], scores[HALF, False], scores["", True], scores[HALF, True],
            scores.get((QUARTER, False)), sampler, protocol,
        )  # fmt: skip

    def sample(self, score: Score, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """One run on contents of this shape, x0 clipped."""
        start = self.process.prior_sample(shape, generator, device=generator.device)
        return self.sampler(clipped_score(self.process, score), start, generator).clamp(-1, 1).cpu()

    def factor(self, method: str) -> Score:
        """The squares' score; reconstruction needs gradients."""
        return self.differentiable if method == "Reconstruction" else self.square

    def wide(self, method: str, n: int, ratio: int, generator: torch.Generator) -> tuple[Tensor, int]:
        """n panoramas (n, 1, 8, 8 ratio) in [-1, 1] by a method of `ALL`, and the network passes that follow each other.

        A pass is a batched evaluation, or the way back through one. The two models of a composed score need not wait for
        each other and count as one.
        """
        graph, nfe = chain(SIDE, SIDE * ratio, SIDE, OVERLAP), self.sampler.nfe
        shape = (n, 1, *graph.size)
        match method:
            case "Baseline":
                score = averaged_score(graph.size, side_by_side(*graph.size, SIDE), self.square)
            case "Averaging":
                score = averaged_score(graph.size, graph.factors, self.square)
            case "DiffCollage":
                score = composed_score(graph, self.square, self.half)
            case _:
                return self.outpaint(method, graph.size, graph.factors, n, generator)
        return self.sample(score, shape, generator), nfe

    def outpaint(self, method: str, size: Sequence[int], patches: Tensor, n: int, generator: torch.Generator,
                 order: Sequence[Sequence[int]] | None = None) -> tuple[Tensor, int]:  # fmt: skip
        """n contents (n, 1, *size) square by square, and the passes; the first run of the order has no way back."""
        nfe = self.sampler.nfe
        x, runs = outpaint(size, patches, self.sampler, self.factor(method), (n, 1), generator, AUTOREGRESSIVE[method], order,
                           clip=1.0)  # fmt: skip
        back = nfe * (runs - 1) if method == "Reconstruction" else 0
        return x.clamp(-1, 1).cpu(), nfe * runs + back

    def strips(self, ratio: int) -> Tensor:
        """All real strips (n, 1, 8, 8 ratio) of the photograph in [-1, 1]."""
        image = load_texture(self.name)
        return to_unit(torch.from_numpy(windows(image, SIDE, SIDE * ratio, [(0, image.shape[1])])))


def make_judge(context: Context, pieces: Pieces) -> Judge:
    """Patches in the features of a classifier of the three textures; the reference is the texture's training patches."""
    config, run = context.config, context.run
    folder = run.folder.parent / "judges"
    folder.mkdir(parents=True, exist_ok=True)
    textures = load_images("textures-8x8")
    with waiting_lock(folder / "lock", "another process that judges textures"):
        extractor = train_classifier(textures, ClassifierSettings(config.classifier_steps), folder)
        real, floor = (reference_features(extractor, data, folder) for data in (pieces.train, pieces.test))
    return Judge(extractor, real, floor, rounding="nearest")


def crops(x: Tensor, generator: torch.Generator, each: int = 1) -> Tensor:
    """`each` random 8x8 crops of every image (n, C, H, W)."""
    x = x.repeat_interleave(each, 0)
    rows = torch.randint(x.shape[2] - SIDE + 1, (len(x),), generator=generator)
    columns = torch.randint(x.shape[3] - SIDE + 1, (len(x),), generator=generator)
    return torch.stack([image[:, a : a + SIDE, b : b + SIDE] for image, a, b in zip(x, rows, columns, strict=True)])


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
