"""BasicMotions: 80 recordings of a smart watch, 6 channels, 100 samples at 10 Hz, four activities (UEA archive)."""

import importlib.util
import io
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.damage import disguise, reading
from rescore.data.fetch import alone, cache_folder, check_content, data_folder, reason, transfer, writable_cache
from rescore.domain import check_one_of
from rescore.errors import MissingData, RescoreError
from rescore.files import atomic_write

if TYPE_CHECKING:
    import numpy as np

ACTIVITIES = ("Standing", "Running", "Walking", "Badminton")
URL = "https://timeseriesclassification.com/aeon-toolkit/BasicMotions.zip"
SHA256 = {  # of the files that aeon carries
    "train": "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6",
    "test": "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc",
}
SPLITS = tuple(SHA256)
SHAPE = (6, 100)


def _file(split: str) -> str:
    return f"BasicMotions_{split.upper()}.ts"


def find_motions() -> Path | None:
    """The folder that holds the files: RESCORE_DATA/BasicMotions, the cache, or an installed `aeon`; None if there is none.

    The package is looked for, not imported: it carries the data whether or not its own requirements are met.
    """
    places = [cache_folder() / "BasicMotions"]
    if (folder := data_folder()) is not None:
        places.insert(0, folder / "BasicMotions")
    if (package := importlib.util.find_spec("aeon")) is not None:
        places += [Path(place) / "datasets" / "data" / "BasicMotions" for place in package.submodule_search_locations or ()]
    return next((place for place in places if all((place / _file(split)).is_file() for split in SPLITS)), None)


def motions_at_hand() -> bool:
    """Looked up without a download or a digest."""
    return find_motions() is not None


def load_motions(split: str = "train") -> tuple["np.ndarray", "np.ndarray"]:
    """Series (40, 6, 100) float64, acceleration before rotation rate, and labels (40,) into `ACTIVITIES`.

    Raises:
        MissingData: neither at hand nor to be downloaded.
        RescoreError: an unknown split, or a file whose checksum is wrong.
    """
    check_one_of("BasicMotions: split", split, SPLITS)
    path = (find_motions() or _download()) / _file(split)
    with reading(path, "a file that can be read"):
        content = path.read_bytes()
    return parse(check_content(content, SHA256[split], path).decode(), str(path))


def _download() -> Path:
    """The files of the official archive, unpacked into the cache once their checksums are right."""
    folder = writable_cache() / "BasicMotions"
    with alone(folder / "BasicMotions.zip"):
        if not all((folder / _file(split)).is_file() for split in SPLITS):  # they may have come while we waited
            contents = _contents()
            for split, content in contents.items():
                check_content(content, SHA256[split], Path(f"{URL}: {_file(split)}"))
            for split, content in contents.items():
                atomic_write(folder / _file(split), content)
    return folder


def _contents() -> dict[str, bytes]:
    """The two files of the official archive, whose own checksum nobody has published."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "BasicMotions.zip"
        try:
            transfer(URL, path)
            with zipfile.ZipFile(path) as archive:
                return {split: archive.read(_file(split)) for split in SPLITS}
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError) as error:
            raise MissingData(
                f"BasicMotions: no {_file('train')} and {_file('test')} under RESCORE_DATA/BasicMotions or in an "
                f"installed aeon, and {URL} could not be downloaded ({disguise(path) or reason(error)})"
            ) from None


def parse(text: str, source: str) -> tuple["np.ndarray", "np.ndarray"]:
    """Series and labels of a .ts file of `SHAPE`: a line a case, channels apart by colons, the label last.

    Raises RescoreError, naming the line, for another form.
    """
    import numpy as np

    series, labels, lines = [], [], enumerate(io.StringIO(text), 1)
    for _, line in lines:
        if line.strip().lower() == "@data":
            break
    for number, line in lines:
        if not line.strip():
            continue
        *channels, label = line.strip().split(":")
        try:
            values = np.array([[float(value) for value in channel.split(",")] for channel in channels])
        except ValueError:
            raise RescoreError(f"{source}, line {number}: not a series of numbers") from None
        if values.shape != SHAPE or label not in ACTIVITIES:
            raise RescoreError(
                f"{source}, line {number}: a series {values.shape} labelled {label!r}; allowed: {SHAPE} and "
                f"{', '.join(ACTIVITIES)}"
            )
        series.append(values)
        labels.append(ACTIVITIES.index(label))
    if not series:
        raise RescoreError(f"{source}: no series after @data")
    return np.stack(series), np.array(labels)
