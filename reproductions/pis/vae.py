"""Table 5.3: log p(x) of a VAE's decoder, the normaliser of its posterior given an image, by the methods of Table 5.1."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from rescore.config import config_hash
from rescore.data.damage import reading
from rescore.data.fetch import check, data_folder
from rescore.data.images import load_images
from rescore.errors import MissingData, RescoreError
from rescore.experiments.book import Book
from rescore.experiments.repeat import repeat_runs
from rescore.ledger.records import Over
from rescore.machine.locks import folder_lock
from rescore.montecarlo import smc
from rescore.montecarlo.logz import averaged_over_targets
from rescore.networks.vae import VAE, bernoulli_log_likelihood, make_decoder
from rescore.random import make_generator, seeded, small_seed
from rescore.targets import LatentPosterior, from_laplace
from rescore.training import Adam, fit
from safetensors.torch import load_file
from torch import Tensor, nn

from reproductions.pis.config import Dataset, VAEPosteriors
from reproductions.pis.study import TRAINING_VERSION, Arrays, Runs, Study

TABLE = "5.3"
LONG = "long-from-laplace"
Measure = Callable[[Study, str], None]


@dataclass
class Posteriors:
    """A decoder, and the test images whose posteriors are sampled."""

    book: Book
    dataset: str

    @property
    def settings(self) -> Dataset:
        return self.book.config.datasets[self.dataset]

    @property
    def vae(self) -> VAEPosteriors:
        return self.settings.vae

    @cached_property
    def decoder_key(self) -> str:
        """What the decoder's weights depend on."""
        of = self.vae
        needs = {"file": of.decoder.sha256} if of.decoder else {"training": of.training.model_dump()}
        return config_hash(needs | {"data": of.data, "shape": [of.network, of.latent, of.hidden]})

    @property
    def protocol(self) -> dict[str, object]:
        of = self.vae
        trained = {f"vae_{name}": value for name, value in of.training.protocol.items()}
        decoder = {"decoder": f"file {of.decoder.sha256[:8]}"} if of.decoder else {"decoder": "trained here"} | trained
        units = {"decoder_hidden": of.hidden} if of.network == "mlp" else {}
        return {"images": of.images, "latent": of.latent, "decoder_network": of.network} | decoder | units

    def binary(self, split: str) -> Tensor:
        """All images of a split, (n, pixels) in {0, 1}: each pixel drawn once, with its grey level as probability."""
        images = load_images(self.vae.data, split).images.flatten(1)
        drawn = torch.rand(images.shape, generator=make_generator(self.dataset, "binary", split))
        return (drawn * 255 < images).float()

    @cached_property
    def chosen(self) -> Tensor:
        """The images whose posteriors are sampled, (images, pixels): more of them begin with the same ones."""
        test = self.binary("test")
        if self.vae.images > len(test):
            raise RescoreError(f"datasets.{self.dataset}.vae.images: {self.vae.images}; allowed: at most {len(test)}")
        return test[torch.randperm(len(test), generator=make_generator(self.dataset, "images"))[: self.vae.images]]

    @cached_property
    def decoder(self) -> nn.Module:
        """Of the config's file, or trained here, once for all jobs; frozen."""
        of, pixels = self.vae, self.chosen.shape[1]
        decoder = seeded(lambda: make_decoder(of.network, of.latent, pixels, of.hidden), small_seed(self.dataset, "decoder"))
        if of.decoder:
            load_decoder(find_decoder(of.decoder.file, of.decoder.sha256), decoder)
        else:
            self._train(decoder)
        return decoder.requires_grad_(False).to(self.book.run.device)

    def _train(self, decoder: nn.Module) -> None:
        of, images = self.vae, self.binary("train")
        vae = seeded(lambda: VAE(decoder, of.latent, images.shape[1], of.hidden), small_seed(self.dataset, "encoder"))

        def loss(generator: torch.Generator) -> Tensor:
            which = torch.randint(len(images), (of.training.batch,), generator=generator)
            return vae.negative_elbo(images[which], torch.randn(of.training.batch, of.latent, generator=generator))

        folder, label = self.folder("vae"), f"{self.dataset}: training of the VAE"
        with folder_lock(folder, label):
            fit(vae, loss, Adam.of(of.training), make_generator(self.dataset, "train"), folder, 500, label)

    def folder(self, what: str) -> Path:
        """Shared by all jobs with the same decoder."""
        version = str(TRAINING_VERSION)
        return self.book.run.folder.parent / f"{self.dataset}-{what}-{config_hash({'decoder': self.decoder_key}, version)}"

    def target(self, image: int) -> LatentPosterior:
        observation = self.chosen[image].to(self.book.run.device)
        return LatentPosterior(
            self.decoder, self.vae.latent, observation, bernoulli_log_likelihood, name=f"{self.dataset}-{image}"
        )

    @cached_property
    def truths(self) -> np.ndarray:
        """log Z by long SMC of every image, (images, runs); kept for all jobs, image by image."""
        folder, label = self.folder("truth"), f"{self.dataset}: long SMC"

        def of_images(which: range) -> dict[str, np.ndarray]:
            return {"log_z": np.stack([self._truth(image) for image in which])}

        with folder_lock(folder, label):
            return repeat_runs(of_images, self.vae.images, 1, folder / f"{config_hash(self.vae.truth)}.npz", label)["log_z"]

    def _truth(self, image: int) -> np.ndarray:
        of = self.vae.truth
        generators = [make_generator(self.dataset, "truth", image, run, device=self.book.run.device) for run in range(of.runs)]
        schedule = smc.Annealing(of.temperatures, of.hmc_steps, of.leapfrogs, (of.step_size,) * 4)
        return smc.anneal(from_laplace(self.target(image)), schedule, of.particles, generators).log_z.numpy()


def find_decoder(name: str, digest: str) -> Path:
    """A user's file of weights. Raises MissingData if it is not there, RescoreError if it has another digest."""
    path = (data_folder() or Path()) / Path(name).expanduser()
    if not path.is_file():
        raise MissingData(f"{path}: no such file; a decoder's weights (datasets.<name>.vae.decoder.file)")
    return check(path, digest)


def load_decoder(path: Path, decoder: nn.Module) -> None:
    """The weights of a safetensors file, into the decoder. Raises RescoreError, naming what is needed, for any other file."""
    with reading(path, "a safetensors file of plain weights"):
        found = load_file(path)
    needed = decoder.state_dict()
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    if shapes != (wanted := {name: tuple(value.shape) for name, value in needed.items()}):
        raise RescoreError(f"{path}: not the weights of this decoder: it has {shapes}; needed: {wanted}")
    decoder.load_state_dict(found)


@dataclass
class Row:
    """What all images have given for a row of the table."""

    method: str
    variant: str
    nfe: int | None
    protocol: Mapping[str, object]
    over: Over
    n: int
    log_z: list[np.ndarray] = field(default_factory=list)
    ess: list[np.ndarray] = field(default_factory=list)


class ImageStudy(Study):
    """One posterior as a target of Table 5.1's methods, trained on its own; its rows are kept until all images have theirs."""

    def __init__(self, of: Posteriors, image: int, rows: dict[tuple[str, str], Row]):
        self.book, self.settings, self.rows = of.book, of.settings, rows
        self.config = of.book.config.model_copy(update={"seeds": (0,), "runs": of.vae.runs})
        self.dataset, self.target, self._decoder_key = f"{of.dataset}-{image}", of.target(image), of.decoder_key

    def training_folder(self, method: str, seed: int, settings: Mapping[str, object]) -> Path:
        return super().training_folder(method, seed, {"settings": settings, "decoder": self._decoder_key})

    def row(
        self,
        method: str,
        variant: str,
        nfe: int | None,
        protocol: Mapping[str, object],
        runs: Runs,
        estimate: str,
        weights: bool = False,
        arrays: Callable[[], Arrays] = dict,
        also: Mapping[str, Callable[[int], float]] = MappingProxyType({}),
    ) -> None:
        """`also` of `Study.row` is left out: Table 5.3 is of all images together."""
        over: Over = "trainings" if runs.trained else "runs"
        protocol = {"runs": runs.total, "particles": runs.n} | protocol
        row = self.rows.setdefault((method, variant), Row(method, variant, nfe, protocol, over, runs.n * runs.total))
        row.log_z.append(runs.results[estimate][0])
        if weights:
            row.ess.append(runs.results["ess"][0])


def measure(measure_one: Measure, book: Book, dataset: str, method: str) -> None:
    """The rows of one method: B and S over its runs on each image, averaged over the images.

    Raises MissingData where the images, or the config's decoder, are not at hand.
    """
    of, began = Posteriors(book, dataset), time.perf_counter()
    truths, rows = of.truths.mean(1), {}
    for image in range(of.vae.images):
        measure_one(ImageStudy(of, image, rows), method)
    for row in rows.values():
        protocol = of.protocol | dict(row.protocol)
        with book.cell(TABLE, dataset, row.method, row.variant, row.nfe, protocol, n=row.n, over=row.over, began=began) as cell:
            if cell.todo:
                log_z = np.stack(row.log_z)
                for metric, (value, stderr) in averaged_over_targets(log_z, truths).items():
                    cell.estimate(metric, value, stderr, of.vae.images)
                if row.ess:
                    cell.add("ess", [each.mean() for each in row.ess])
                cell.arrays[f"{dataset}/{method}/{row.variant or 'errors'}"] = log_z - truths[:, None]


def truth(book: Book, dataset: str) -> None:
    """What is taken for log p(x), its own error, and the test images' mean of it."""
    of = Posteriors(book, dataset)
    settings = of.vae.truth
    steps = settings.temperatures * settings.hmc_steps * settings.leapfrogs
    protocol = of.protocol | settings.model_dump() | {"estimator": "annealed", "start": "laplace"}
    n = settings.particles * settings.runs
    with book.cell(TABLE, dataset, "SMC", LONG, steps, protocol, n=n) as cell:
        if cell.todo:
            log_z = of.truths
            spread = log_z.std(1, ddof=1)
            cell.add("logz", log_z.mean(1))
            cell.add("logz_std", spread)
            cell.add("truth_error", spread / np.sqrt(settings.runs))
            cell.arrays[f"{dataset}/truth/log_z"] = log_z
            cell.arrays[f"{dataset}/truth/images"] = of.chosen.numpy().astype(np.uint8)
