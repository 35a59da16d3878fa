"""Tabular sets for density estimation, prepared as Papamakarios et al. (2017) do, and three that need no download.

| set | d | what |
| --- | --- | --- |
| `power`, `gas`, `hepmass`, `miniboone`, `bsds300` | 6, 8, 21, 43, 63 | DiffFlow's Table 3.1; of the archive |
| `wine` | 13 | scikit-learn's, with uniform noise of its recording steps, as POWER |
| `breast_cancer` | 24 | scikit-learn's, less the features that repeat their smallest value, as HEPMASS and MINIBOONE |
| `patches` | 63 | 8x8 patches of scikit-image's photographs, made as those of BSDS300 |

The first five lie under RESCORE_DATA as `LAYOUT` says, or come from the official archive (Zenodo record 1161203), which has 817
MB. It is downloaded once, by the first job that asks for one of its sets.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rescore.config import check_choice
from rescore.data.damage import check_numbers, disguise, reading
from rescore.data.fetch import cache_folder, data_folder, download, read_member, writable_cache
from rescore.data.standardise import Standardiser
from rescore.errors import MissingData, RescoreError
from rescore.files import atomic_path

if TYPE_CHECKING:  # the workflow asks what is at hand, without torch
    import pandas as pd
    from torch import Tensor

URL = "https://zenodo.org/records/1161203/files/data.tar.gz"
ARCHIVE = "maf-tabular.tar.gz"
MD5 = "md5:9b9c9b0375315ad270eba4ce80c093ab"  # as other loaders of this archive state it
SEED = 42  # of the published preparation's shuffles and noise
REPEATED = 5  # a feature whose smallest value occurs more often is dropped
CORRELATED = 0.98
SIZES = {  # d, and rows of train, validation and test as published
    "power": (6, (1659917, 184435, 204928)),
    "gas": (8, (852174, 94685, 105206)),
    "hepmass": (21, (315123, 35013, 174987)),
    "miniboone": (43, (29556, 3284, 3648)),
    "bsds300": (63, (1000000, 50000, 250000)),
}
LAYOUT = {
    "power": ("power/data.npy",),
    "gas": ("gas/ethylene_CO.pickle",),
    "hepmass": ("hepmass/1000_train.csv", "hepmass/1000_test.csv"),
    "miniboone": ("miniboone/data.npy",),
    "bsds300": ("BSDS300/BSDS300.hdf5",),
}
EMBEDDED = ("wine", "breast_cancer", "patches")
WINE_STEPS = (0.01, 0.01, 0.01, 0.1, 1, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 1)
PHOTOGRAPHS = {
    "train": ("astronaut", "brick", "camera", "coffee", "coins", "grass"),
    "validation": ("rocket",),
    "test": ("chelsea",),
}
PATCHES = {"train": 3000, "validation": 500, "test": 1000}  # of each photograph
SIDE = 8


@dataclass(frozen=True)
class Tabular:
    """Rows of train, validation and test, (n, d); float64 and as the likelihood is reported, unless `standardised`."""

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor

    @property
    def dim(self) -> int:
        return self.train.shape[1]

    def standardised(self, rows: int) -> tuple[Tabular, float]:
        """In float32, with mean 0 and variance 1 of `train`, and at most so many rows to validate and to test.

        Returns:
            the rows z, and log_scale: log p(x) = log p(z) - log_scale.
        """
        scale = Standardiser.of(self.train, self.name)
        train, validation, test = (scale(part).float() for part in (self.train, self.validation, self.test))
        return Tabular(self.name, train, validation[:rows], test[:rows]), scale.log_scale


def tabular_at_hand(name: str) -> bool:
    """Whether its files are there, without reading them. Raises RescoreError for an unknown name."""
    check_choice("tabular set", name, (*LAYOUT, *EMBEDDED))
    if name in EMBEDDED:
        return True
    cache = cache_folder()
    return bool(_own(name)) or (cache / ARCHIVE).is_file() or all(path.is_file() for path in _unpacked(name, cache))


def load_tabular(name: str) -> Tabular:
    """One of the sets of the module's table.

    Raises:
        MissingData: neither under RESCORE_DATA nor to be downloaded; the message names what to put where.
        RescoreError: an unknown name, a damaged archive, a constant column, or rows that are not as many as published.
    """
    check_choice("tabular set", name, (*LAYOUT, *EMBEDDED))
    if name in EMBEDDED:
        return {"wine": _wine, "breast_cancer": _breast_cancer, "patches": _patches}[name]()
    paths = _own(name) or _official(name)
    prepare: dict[str, Callable[..., tuple[np.ndarray, ...]]] = {
        "power": _power,
        "gas": _gas,
        "hepmass": _hepmass,
        "miniboone": _miniboone,
        "bsds300": _bsds300,
    }
    parts = prepare[name](*paths)
    found = parts[0].shape[1], tuple(map(len, parts))
    if found != SIZES[name]:
        raise RescoreError(f"{name}: {paths[0].parent} gives dimension and rows {found}; published are {SIZES[name]}")
    return _tabular(name, parts)


def _own(name: str) -> list[Path]:
    """The set's files under RESCORE_DATA; none if one is missing. A csv of GAS goes before a pickle, maybe unreadable."""
    folder = data_folder()
    layouts = [("gas/ethylene_CO.csv",), LAYOUT[name]] if name == "gas" else [LAYOUT[name]]
    for paths in ([folder / part for part in layout] for layout in layouts if folder):
        if all(path.is_file() for path in paths):
            return paths
    return []


def _unpacked(name: str, cache: Path) -> list[Path]:
    return [cache / ARCHIVE.removesuffix(".tar.gz") / part for part in LAYOUT[name]]


def _official(name: str) -> list[Path]:
    """The set's files out of the official archive, unpacked beside it."""
    paths = _unpacked(name, cache_folder())
    if not all(path.is_file() for path in paths):
        paths = _unpacked(name, writable_cache())
    if not all(path.is_file() for path in paths):
        try:
            archive = download(URL, MD5, ARCHIVE)
        except MissingData as error:
            files = " and ".join(LAYOUT[name])
            raise MissingData(f"{name}: {error}; set RESCORE_DATA to a folder that holds {files}") from None
        with tarfile.open(archive) as stream:
            for path, part in zip(paths, LAYOUT[name], strict=True):
                with atomic_path(path) as temporary:
                    temporary.write_bytes(read_member(stream, f"data/{part}"))
    return paths


def _array(path: Path, columns: int) -> np.ndarray:
    with reading(path, "an array of numbers"):
        data = np.load(path)
    return check_numbers(data, columns, path)


def _tabular(name: str, parts: tuple[np.ndarray, ...]) -> Tabular:
    import torch

    return Tabular(name, *(torch.from_numpy(np.ascontiguousarray(part, dtype=np.float64)) for part in parts))


def split(data: np.ndarray, with_test: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last tenth is the test set, the last tenth of the rest is for validation; `with_test` False: none is cut."""
    cut = len(data) - (int(0.1 * len(data)) if with_test else 0)
    data, test = data[:cut], data[cut:]
    validation = int(0.1 * len(data))
    return data[: len(data) - validation], data[len(data) - validation :], test


def standardise(name: str, parts: tuple[np.ndarray, ...], by: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every part less the mean of `by` over its standard deviation. Raises RescoreError for a constant column."""
    import torch

    scale = Standardiser.of(torch.from_numpy(np.array(by, dtype=np.float64)), name)
    return tuple((part - scale.mean.numpy()) / scale.std.numpy() for part in parts)


def drop_repeated(data: np.ndarray) -> np.ndarray:
    """Which columns stay, (d,) bool: those whose smallest value occurs at most `REPEATED` times."""
    return (data == data.min(0)).sum(0) <= REPEATED


def drop_correlated(data: np.ndarray) -> np.ndarray:
    """`data` without its first column that has a correlation above 0.98 with another one, repeated until none is left."""
    while (counts := (np.corrcoef(data.T) > CORRELATED).sum(1)).max(initial=0) > 1:
        data = np.delete(data, int(np.flatnonzero(counts > 1)[0]), 1)
    return data


def _csv(path: Path, **options: object) -> pd.DataFrame:
    import pandas as pd

    with reading(path, "a csv"):
        if why := disguise(path):  # lines of text are a table too
            raise ValueError(why)
        return pd.read_csv(path, **options)


def _numbers(table: pd.DataFrame, columns: int, path: Path) -> np.ndarray:
    """A table of `columns` or more, float64. Raises RescoreError for fewer, as other separators give, for text or for NaN."""
    if table.shape[1] < columns:
        raise RescoreError(f"{path}: {table.shape[1]} column(s) separated by commas; allowed: {columns} or more")
    if text := [name for name, kind in table.dtypes.items() if kind.kind not in "iufb"]:
        raise RescoreError(f"{path}: column {text[0]} holds text, such as {table[text[0]].iloc[0]!r}; allowed: numbers")
    return check_numbers(table.to_numpy(np.float64), None, path)


def _power(path: Path) -> tuple[np.ndarray, ...]:
    data, generator = _array(path, 8), np.random.RandomState(SEED)
    generator.shuffle(data)
    return dequantised_power(data, generator)


def dequantised_power(data: np.ndarray, generator: np.random.RandomState) -> tuple[np.ndarray, ...]:
    """POWER after its shuffle: columns 3 and 1 out, uniform noise of the recording steps in, split, standardised."""
    data = np.delete(np.delete(data, 3, 1), 1, 1)
    voltage, gap = 0.01 * generator.rand(len(data), 1), 0.001 * generator.rand(len(data), 1)
    noise = np.hstack((gap, voltage, generator.rand(len(data), 3), np.zeros((len(data), 1))))
    parts = split(data + noise)
    return standardise("power", parts, np.vstack(parts[:2]))


def _gas(path: Path) -> tuple[np.ndarray, ...]:
    import pandas as pd

    if path.suffix == ".csv":
        table = _csv(path)
    else:
        try:
            table = pd.read_pickle(path)
        except Exception as error:  # a pickle of an old pandas fails in many ways
            raise RescoreError(
                f"{path}: pandas {pd.__version__} cannot read it ({disguise(path) or error}); write it with an "
                "older one as gas/ethylene_CO.csv under RESCORE_DATA"
            ) from None
        if not isinstance(table, pd.DataFrame):
            raise RescoreError(f"{path}: a pickle of a {type(table).__name__}; allowed: a DataFrame of pandas")
    table = table.drop(columns=[name for name in ("Unnamed: 0", "Meth", "Eth", "Time") if name in table])
    data = drop_correlated(_numbers(table, 2, path))
    return split(standardise("gas", (data,), data)[0])


def _hepmass(train_path: Path, test_path: Path) -> tuple[np.ndarray, ...]:
    def signal(path: Path) -> np.ndarray:
        table = _csv(path, header=None, skiprows=1)
        table = _numbers(table.iloc[:, :28], 28, path)  # the rows of the test file have one column more than its header
        if not np.isin(table[:, 0], (0, 1)).all():
            raise RescoreError(f"{path}: labels {np.unique(table[:, 0])[:5].tolist()}; allowed: 0 and 1 in the first column")
        return table[table[:, 0] == 1, 1:]

    train, test = (signal(path) for path in (train_path, test_path))
    train, test = standardise("hepmass", (train, test), train)
    kept = drop_repeated(train)
    train, validation, _ = split(train[:, kept], with_test=False)
    return train, validation, test[:, kept]


def _miniboone(path: Path) -> tuple[np.ndarray, ...]:
    parts = split(_array(path, SIZES["miniboone"][0]))
    return standardise("miniboone", parts, np.vstack(parts[:2]))


def _bsds300(path: Path) -> tuple[np.ndarray, ...]:
    try:
        import h5py
    except ImportError:
        raise MissingData(f"{path}: reading it needs the package h5py: pip install -e '.[tabular]'") from None
    parts = "train", "validation", "test"
    with reading(path, f"an HDF5 file of {', '.join(parts)}"), h5py.File(path) as file:
        found = [file[part][:] for part in parts]
    return tuple(check_numbers(array, SIZES["bsds300"][0], f"{path}, {part}") for part, array in zip(parts, found, strict=True))


def _wine() -> Tabular:
    from sklearn.datasets import load_wine  # slow to import

    data, generator = load_wine().data, np.random.RandomState(SEED)
    generator.shuffle(data)
    parts = split(data + generator.rand(*data.shape) * WINE_STEPS)
    return _tabular("wine", standardise("wine", parts, np.vstack(parts[:2])))


def _breast_cancer() -> Tabular:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer().data
    np.random.RandomState(SEED).shuffle(data)
    parts = split(data[:, drop_repeated(data)])
    return _tabular("breast_cancer", standardise("breast_cancer", parts, np.vstack(parts[:2])))


def _patches() -> Tabular:
    from skimage import color, data
    from skimage.util import img_as_ubyte

    generator = np.random.RandomState(SEED)
    parts = []
    for part, names in PHOTOGRAPHS.items():
        images = (getattr(data, name)() for name in names)
        grey = (img_as_ubyte(color.rgb2gray(image)) if image.ndim == 3 else image for image in images)
        parts.append(np.vstack([patches(image, PATCHES[part], generator) for image in grey]))
    return _tabular("patches", tuple(parts))


def patches(image: np.ndarray, n: int, generator: np.random.RandomState) -> np.ndarray:
    """n patches of 8x8 of a grey image (H, W) uint8, as BSDS300's: (k + u) / 256 less its mean, no last pixel; (n, 63)."""
    if image.ndim != 2 or min(image.shape) < SIDE:
        raise RescoreError(f"patches of an image of shape {image.shape}: allowed are grey ones of {SIDE}x{SIDE} and more")
    windows = np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE)).reshape(-1, SIDE, SIDE)
    chosen = windows[generator.randint(len(windows), size=n)].reshape(n, SIDE * SIDE)
    pixels = (chosen + generator.rand(n, SIDE * SIDE)) / 256
    return (pixels - pixels.mean(1, keepdims=True))[:, :-1]
