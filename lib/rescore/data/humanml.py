"""HumanML3D (Guo et al. 2022): captioned human motion, 263 features a frame at 20 frames a second."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.fetch import data_folder
from rescore.errors import MissingData, RescoreError

if TYPE_CHECKING:
    import numpy as np

FEATURES, FRAMES_PER_SECOND = 263, 20
SHORTEST, LONGEST = 40, 199  # frames of a motion that the published protocol uses
CROPPED = 196  # frames of it that are used at most
SPLITS = ("train", "test")
FOLDER = "HumanML3D"
NEEDED = ("Mean.npy", "Std.npy", "train.txt", "test.txt", "new_joint_vecs", "texts")


@dataclass(frozen=True)
class Caption:
    """A description; `tokens` are its words with their parts of speech, such as `walk/VERB`."""

    text: str
    tokens: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion (T, 263) float32, in the units of the files, and what is said of all of it."""

    name: str
    features: "np.ndarray"
    captions: tuple[Caption, ...]


def find_humanml() -> Path | None:
    """RESCORE_DATA/HumanML3D, or None unless all of it is there."""
    folder = data_folder()
    if folder is None or not all((folder / FOLDER / name).exists() for name in NEEDED):
        return None
    return folder / FOLDER


def humanml_at_hand() -> str:
    """`present` or `absent`."""
    return "present" if find_humanml() else "absent"


def load_humanml(split: str, limit: int | None = None) -> list[Motion]:
    """The motions of a split; a caption of a part of one makes a motion of its own, as published.

    Args:
        limit: only the first so many files of the split.

    Raises:
        MissingData: not, or not all of it, under RESCORE_DATA.
        RescoreError: an unknown split, or a damaged file.
    """
    if split not in SPLITS:
        raise RescoreError(f"HumanML3D: split {split!r}; allowed: {', '.join(SPLITS)}")
    folder = _folder()
    names = (folder / f"{split}.txt").read_text().split()[:limit]
    return [motion for name in names for motion in _read(folder, name)]


def load_scales() -> tuple["np.ndarray", "np.ndarray"]:
    """Mean and standard deviation (263,) float32 of each feature, as published with the data. Errors as `load_humanml`."""
    mean, deviation = (_array(_folder() / name, (FEATURES,)) for name in ("Mean.npy", "Std.npy"))
    return mean, deviation


def _folder() -> Path:
    folder = find_humanml()
    if folder is None:
        raise MissingData(
            f"HumanML3D: no {FOLDER}/ with {', '.join(NEEDED)} under RESCORE_DATA ({data_folder() or 'unset'}); its licence "
            "asks to build it from AMASS with the authors' scripts"
        )
    return folder


def _read(folder: Path, name: str) -> list[Motion]:
    """One file's motions; none if it is not there (the lists name some that AMASS has withdrawn) or too short."""
    path = folder / "new_joint_vecs" / f"{name}.npy"
    if not path.is_file():
        return []
    features = _array(path, (None, FEATURES))
    whole, parts = [], []
    for caption, start, end in parse_captions((folder / "texts" / f"{name}.txt").read_text(), f"{FOLDER}/texts/{name}.txt"):
        if start == end == 0:
            whole.append(caption)
            continue
        part = features[int(start * FRAMES_PER_SECOND) : int(end * FRAMES_PER_SECOND)]
        if SHORTEST <= len(part) <= LONGEST:
            parts.append(Motion(f"{name}:{start:g}-{end:g}", part, (caption,)))
    if whole and SHORTEST <= len(features) <= LONGEST:
        parts.insert(0, Motion(name, features, tuple(whole)))
    return parts


def parse_captions(text: str, source: str) -> list[tuple[Caption, float, float]]:
    """Captions with the seconds they are of, 0 and 0 for all of the motion; a line is `caption#tokens#from#to`.

    Raises RescoreError, naming the line, for another form.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = line.strip().split("#")
        try:
            caption, tokens, start, end = fields
            seconds = [0.0 if value == "nan" else float(value) for value in (start, end)]
        except ValueError:
            raise RescoreError(f"{source}, line {number}: allowed: caption#tokens#from#to, not {line.strip()!r}") from None
        found.append((Caption(caption, tuple(tokens.split())), *seconds))
    return found


def _array(path: Path, shape: tuple[int | None, ...]) -> "np.ndarray":
    import numpy as np

    try:
        array = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise RescoreError(f"{path}: cannot be read ({error})") from None
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or not np.isfinite(array).all():
        allowed = ", ".join("T" if n is None else str(n) for n in shape)
        raise RescoreError(f"{path}: an array {array.shape}; allowed: ({allowed}), all finite")
    return array.astype(np.float32)
