"""HumanML3D (Guo et al. 2022): captioned human motion, 263 features a frame at 20 frames a second."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.damage import read_text, reading
from rescore.data.fetch import data_folder
from rescore.domain import check_one_of
from rescore.errors import MissingData, RescoreError
from rescore.progress import warn

if TYPE_CHECKING:
    import numpy as np

FEATURES, FRAMES_PER_SECOND = 263, 20
SHORTEST, LONGEST = 40, 199  # frames of a motion that the published protocol uses
CROPPED = 196  # frames of it that are used at most
SPLITS = ("train", "test")
FOLDER = "HumanML3D"
NOT_FINITE, NO_TEXT = "not finite", "no file of captions"
NAMED = 5  # in a warning
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


def humanml_at_hand() -> bool:
    """Whether `find_humanml` finds it."""
    return find_humanml() is not None


def load_humanml(split: str, limit: int | None = None) -> list[Motion]:
    """The motions of a split; a caption of a part of one makes a motion of its own, as published.

    A motion that is not finite (the official build makes two such) or whose text is missing is left out, with a warning.

    Args:
        limit: only the first so many files of the split.

    Raises:
        MissingData: not, or not all of it, under RESCORE_DATA.
        RescoreError: an unknown split, a damaged file, or no motion that can be used.
    """
    check_one_of("HumanML3D: split", split, SPLITS)
    folder = _folder()
    listed = folder / f"{split}.txt"
    names = read_text(listed, "a list of motions").split()[:limit]
    motions: list[Motion] = []
    left_out: dict[str, list[str]] = {NOT_FINITE: [], NO_TEXT: []}
    for name in names:
        found = _read(folder, name)
        if isinstance(found, str):
            left_out[found].append(name)
        else:
            motions += found
    for why, some in left_out.items():
        if some:
            more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
            warn(f"HumanML3D/{split}: {len(some)} of {len(names)} motions left out, {why}: {', '.join(some[:NAMED])}{more}")
    if not motions:
        raise RescoreError(
            f"{listed}: none of its {len(names)} motions, such as {', '.join(names[:NAMED])}, is in "
            f"{folder / 'new_joint_vecs'} with a text and {SHORTEST} to {LONGEST} frames"
        )
    return motions


def load_scales() -> tuple["np.ndarray", "np.ndarray"]:
    """Mean and standard deviation (263,) float32 of each feature, as published with the data.

    Raises MissingData as `load_humanml`; RescoreError for a damaged file, a value not finite, or a deviation not above 0.
    """
    import numpy as np

    folder = _folder()
    mean, deviation = (_array(folder / name, (FEATURES,)) for name in ("Mean.npy", "Std.npy"))
    for name, usable in (("Mean.npy", np.isfinite(mean)), ("Std.npy", np.isfinite(deviation) & (deviation > 0))):
        if not usable.all():
            which = np.flatnonzero(~usable)[0]
            raise RescoreError(f"{folder / name}: value {which} of {FEATURES} is not finite or not above 0")
    return mean, deviation


def _folder() -> Path:
    folder = find_humanml()
    if folder is None:
        raise MissingData(
            f"HumanML3D: no {FOLDER}/ with {', '.join(NEEDED)} under RESCORE_DATA ({data_folder() or 'unset'}); its licence "
            "asks to build it from AMASS with the authors' scripts"
        )
    return folder


def _read(folder: Path, name: str) -> list[Motion] | str:
    """One file's motions, or why it has none to be told of: `NOT_FINITE` or `NO_TEXT`.

    None without a word if it is not there (the lists name some that AMASS has withdrawn) or too short,
    as is a part that ends before it begins.
    """
    import numpy as np

    path, text = folder / "new_joint_vecs" / f"{name}.npy", folder / "texts" / f"{name}.txt"
    if not path.is_file():
        return []
    features = _array(path, (None, FEATURES))
    if not np.isfinite(features).all():
        return NOT_FINITE
    if not text.is_file():
        return NO_TEXT
    whole, parts = [], []
    for caption, start, end in parse_captions(read_text(text, "captions"), str(text)):
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

    Some files have `nan` for 0. Raises RescoreError, naming the line, for another form.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = line.strip().split("#")
        try:
            caption, tokens, start, end = fields
            first, last = (0.0 if math.isnan(value) else value for value in map(float, (start, end)))
            if not 0 <= min(first, last) <= max(first, last) < math.inf:
                raise ValueError("seconds")
        except ValueError:
            raise RescoreError(f"{source}, line {number}: allowed: caption#tokens#from#to, not {line.strip()!r}") from None
        found.append((Caption(caption, tuple(tokens.split())), first, last))
    return found


def _array(path: Path, shape: tuple[int | None, ...]) -> "np.ndarray":
    import numpy as np

    with reading(path, "an array"):
        array = np.load(path)
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "fiu":
        allowed = ", ".join("T" if n is None else str(n) for n in shape)
        raise RescoreError(f"{path}: an array {array.dtype} {array.shape}; allowed: numbers, ({allowed})")
    return array.astype(np.float32)
