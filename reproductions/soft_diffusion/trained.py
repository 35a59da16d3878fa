"""Networks for the corruptions: their training, and what their samples are worth."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from reproductions.soft_diffusion.config import VariantName
from reproductions.soft_diffusion.problems import METHOD, SAMPLERS, VARIANTS, Corruptions, Variant, unit_interval
from rescore.corruptions import Corruption
from rescore.corruptions.process import Clean
from rescore.data.images import ImageSet
from rescore.data.pixels import random_flip, to_unit
from rescore.errors import Diverged
from rescore.experiments.run import Run
from rescore.metrics.features import ClassifierSettings
from rescore.metrics.points import check_finite
from rescore.models.judge import HELD_OUT, Judge, draw, make_judge
from rescore.networks import autocast, make_network, place
from rescore.networks.ensemble import Ensemble
from rescore.networks.parametrise import LEVELS
from rescore.objectives import CleanPrediction, SoftScoreMatching, clean_of
from rescore.random import derive_seed, make_generator
from rescore.samplers import MomentumSampler, Sampler, uniform_times
from rescore.training import Adam, Training, train_network

if TYPE_CHECKING:
    from reproductions.soft_diffusion.jobs import Book

LOSSES = {"soft": SoftScoreMatching(), "clean": CleanPrediction()}
UNSEEN = 500  # held-out images for the losses, at most
PARTS = 4  # of the held-out images, for an error of their distance to the training images
SHOWN = 16  # samples kept for the figures
STRIP_TIMES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
STRIP_STEPS = 100  # so that the times of the strips are on the grid


def measure(book: "Book", corruptions: Corruptions, names: Sequence[VariantName], data: ImageSet, held_out: ImageSet,
            run: Run) -> None:  # fmt: skip
    """Train the named variants, one network a seed each, and record the metrics of their samples."""
    config = corruptions.config
    processes = {name: corruptions(VARIANTS[name]) for name in names}
    networks = train(corruptions, processes, data, run)
    classifier = ClassifierSettings(config.classifier_steps)
    judge = make_judge(config.features, data, held_out, classifier, run.folder.parent / "judges", run.device)
    real = to_unit(data.images).flatten(1)
    unseen = unit_interval(held_out, UNSEEN).float().to(run.device)
    if "main" in names:
        real_images(book, config.data, judge, held_out, real, config.samples)
    for name in names:
        variant, process = VARIANTS[name], processes[name]
        clean = [cleaner(corruptions, network, process, run.device) for network in networks[name]]
        held_out_losses(book, corruptions, variant, process, clean, unseen)
        for label, kind in samplers(name, variant).items():
            for nfe in config.nfes[name]:
                sampler = kind(process, uniform_times(nfe))
                sample(book, corruptions, variant, label, sampler, clean, judge, real, run.device)
        if name in ("main", "masking"):
            strips(book, name, process, clean[0], unseen)
    book.arrays["real"] = to_unit(held_out.images[:SHOWN]).numpy()


def samplers(name: VariantName, variant: Variant) -> dict[str, type]:
    """Which samplers a variant runs, by the names of their records: all three for the main one."""
    if name != "main":
        return {variant.label: MomentumSampler}
    return {f"{variant.label}; {label}": kind for label, kind in SAMPLERS.items()}


def real_images(book: "Book", data: str, judge: Judge, held_out: ImageSet, real: Tensor, samples: int) -> None:
    """What real images get in the place of `samples` samples; the distance to the training images is of held-out ones."""
    began, key = time.perf_counter(), ("real", data, "real images")
    for one in judge.of_real(("fid", "is"), samples):
        book.record_each((*key, one.variant), None, {one.metric: [one.value]}, one.n, one.protocol, began, "runs")
    parts = to_unit(held_out.images).chunk(PARTS)
    book.record_each((*key, HELD_OUT), None, {"nearest": [nearest(part, real)[0] for part in parts]}, len(held_out),
                     {"parts": PARTS}, began, "runs")  # fmt: skip


def train(corruptions: Corruptions, processes: dict[VariantName, Corruption], data: ImageSet, run: Run
          ) -> dict[VariantName, list[nn.Module]]:  # fmt: skip
    """One network for each variant and seed; together as an ensemble, or one after another."""
    config = corruptions.config
    settings = config.training
    pairs = [(name, seed) for name in processes for seed in config.seeds]
    made = {pair: make_network(settings.network, settings.settings, *data.shape[:2], derive_seed("soft", *pair) % 2**31)
            for pair in pairs}  # fmt: skip
    groups = [pairs] if settings.together else [[pair] for pair in pairs]
    for group in groups:
        network = Ensemble([made[pair] for pair in group]) if settings.together else made[group[0]]
        label = "networks" if settings.together else "{} {}".format(*group[0])
        adam = Adam(settings.steps, settings.lr, warmup=settings.warmup, clip=settings.clip)
        plan = Training(adam, len(data), settings.batch, derive_seed("soft", label), settings.ema)
        losses = group_losses(corruptions, processes, group, data, run.device)
        folder = run.folder / label.replace(" ", "-")
        found = train_network(network, losses, plan, folder, run.device, settings.checkpoint_every, label).network
        for i, pair in enumerate(group):
            made[pair] = found.member(i).eval() if settings.together else found
    return {name: [made[name, seed] for seed in config.seeds] for name in processes}


def group_losses(corruptions: Corruptions, processes: dict[VariantName, Corruption], group: Sequence[tuple[VariantName, int]],
                 data: ImageSet, device: str):  # fmt: skip
    """The sum of the losses of all networks of a group, each with its own times and noise, on the same images: (n,)."""
    settings = corruptions.config.training
    images = data.images.to(device)
    names = list(dict.fromkeys(name for name, _ in group))
    share = len(group) // len(names)  # networks of each variant, next to each other

    def losses(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[rows.to(device)]
        batch = random_flip(batch, generator) if settings.flip else batch
        x0 = ((to_unit(batch) + 1) / 2).repeat(share, 1, 1, 1)
        drawn = {name: LOSSES[VARIANTS[name].loss].pairs(processes[name], x0, generator) for name in names}
        x = torch.cat([x for _, x in drawn.values()])
        level = torch.cat([LEVELS[settings.level](None, t) for t, _ in drawn.values()]).to(x)
        phi = network(x, level).reshape(len(names), *x0.shape)
        parts = [LOSSES[VARIANTS[name].loss].losses(processes[name], phi[i], x0, xt, t)
                 for i, (name, (t, xt)) in enumerate(drawn.items())]  # fmt: skip
        return torch.cat(parts).reshape(len(group), len(rows)).sum(0)

    return losses


def cleaner(corruptions: Corruptions, network: nn.Module, process: Corruption, device: str) -> Clean:
    """The clean prediction of a network, without gradients."""
    level = LEVELS[corruptions.config.training.level]
    network = place(network, device)
    clean = clean_of(lambda x, t: network(x, level(process, t)).to(x.dtype))

    @torch.inference_mode()
    def evaluate(x: Tensor, t: float) -> Tensor:
        with autocast(device):
            return clean(x, t)

    return evaluate


def held_out_losses(book: "Book", corruptions: Corruptions, variant: Variant, process: Corruption, clean: Sequence[Clean],
                    images: Tensor) -> None:  # fmt: skip
    """Both losses on images that no network saw, at 20 times, per pixel; the same noise for every network."""
    config, began = corruptions.config, time.perf_counter()
    values = {"soft_loss": [], "clean_loss": []}
    for h in clean:
        generator, found = make_generator("held out", device=images.device), {key: [] for key in values}
        for t in torch.linspace(0.025, 0.975, 20, dtype=torch.float64):
            x, _ = process.perturb(images, t, generator)
            phi = h(x, t.item()) - x
            for key, loss in zip(values, LOSSES.values(), strict=True):
                found[key].append(loss.losses(process, phi, images, x, t).mean().item() / images[0].numel())
        for key, losses in found.items():
            values[key].append(sum(losses) / len(losses))
    protocol = training_protocol(corruptions, variant)
    key, n = ("held out", config.data, METHOD, variant.label), len(images) * len(clean)
    book.record_each(key, None, values, n, protocol, began, "trainings")
    book.function_evaluations += 20 * len(images) * len(clean)


def training_protocol(corruptions: Corruptions, variant: Variant) -> dict[str, object]:
    """What the ledger says about a network."""
    config = corruptions.config
    settings = config.training
    return {
        "network": settings.network, "train_steps": settings.steps, "train_batch": settings.batch, "train_lr": settings.lr,
        "ema": settings.ema, "loss": variant.loss, "level": variant.level, "weighting": "1/sigma^2",
        "sigma_max": variant.sigma_max or config.sigma_max, "until": variant.until or config.until,
    }  # fmt: skip


def sample(book: "Book", corruptions: Corruptions, variant: Variant, label: str, sampler: Sampler, clean: Sequence[Clean],
           judge: Judge, real: Tensor, device: str) -> None:  # fmt: skip
    """Samples of every network of a variant: FID, IS, total variance over the data's, distance to the training images."""
    config, began = corruptions.config, time.perf_counter()
    shape = tuple(corruptions.images.shape[1:])
    values: dict[str, list[float]] = {"fid": [], "is": [], "variance_ratio": [], "nearest": []}
    for i, (seed, h) in enumerate(zip(config.seeds, clean, strict=True)):
        generator = make_generator("soft_diffusion", config.data, seed, device=device)
        try:
            x = 2 * draw(sampler, h, shape, config.samples, generator) - 1
        except Diverged as error:
            reason = Diverged(f"seed {seed}: {error}")
            cell = {"table": variant.table, "dataset": config.data, "method": METHOD, "variant": label, "nfe": sampler.nfe}
            book.skipped.append(reason.cell(**cell))
            return
        distance, rows = nearest(x, real)
        found = judge(x, ("fid", "is")) | {"variance_ratio": (x.var(0).sum() / real.var(0).sum()).item(), "nearest": distance}
        for metric, value in found.items():
            values[metric].append(value)
        if i == 0:
            book.arrays[f"samples/{label}/{sampler.nfe}"] = x[:SHOWN].numpy()
            book.arrays[f"neighbours/{label}/{sampler.nfe}"] = real[rows[:SHOWN]].reshape(-1, *shape).numpy()
        book.function_evaluations += sampler.nfe * len(x)
    common = training_protocol(corruptions, variant)
    common |= {"clean": "trained", "grid": "uniform", "start": "Gaussian", "start_modes": config.start_modes}
    for metric, by_seed in values.items():
        protocol = common | (judge.protocol(metric, x) if metric in ("fid", "is") else {"n_samples": config.samples})
        key = (variant.table, config.data, METHOD, label)
        book.record_each(key, sampler.nfe, {metric: by_seed}, config.samples * len(clean), protocol, began, "trainings")


def nearest(x: Tensor, real: Tensor) -> tuple[float, Tensor]:
    """The median over x of the RMS distance a pixel, in [-1, 1], to the nearest of `real` (n, d); and which it is."""
    check_finite(x, "nearest")
    found = [torch.cdist(part, real).min(1) for part in x.flatten(1).split(1000)]
    distances, rows = (torch.cat(parts) for parts in zip(*found, strict=True))
    return (distances.median() / real.shape[1] ** 0.5).item(), rows


def strips(book: "Book", name: str, process: Corruption, clean: Clean, images: Tensor) -> None:
    """A test image corrupted, what the network makes of it, and one path of the Momentum Sampler, at the same times."""
    generator = make_generator("strip", device=images.device)
    sampler = MomentumSampler(process, uniform_times(STRIP_STEPS))

    def draw_noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=like.device)

    forward, means = [], []
    for t in STRIP_TIMES:
        x = process.perturb(images[:4], t, generator)[0]
        forward.append(x)
        means.append(clean(x, t) if t else x)
    reverse, x = {}, process.prior_sample((4, *images.shape[1:]), generator, device=images.device)
    for i, t in enumerate(sampler.times):
        reverse[round(t * STRIP_STEPS)] = x
        if i < STRIP_STEPS:
            h = clean(x, t)
            x = h if i == STRIP_STEPS - 1 else sampler.step(i, h, x, draw_noise)
    book.arrays[f"strip/{name}/forward"] = torch.stack(forward).cpu().numpy()
    book.arrays[f"strip/{name}/means"] = torch.stack(means).cpu().numpy()
    book.arrays[f"strip/{name}/reverse"] = torch.stack([reverse[round(t * STRIP_STEPS)] for t in STRIP_TIMES]).cpu().numpy()
