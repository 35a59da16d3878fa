"""The published evaluator of HumanML3D (Guo et al. 2022): captions and motions as features of one space.

Its files, from the archives `t2m.zip` and `glove.zip` of the authors' release, lie under RESCORE_DATA; see `FILES`. The names
of layers are those of the stored weights.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rescore.data.damage import check_numbers, reading
from rescore.data.fetch import data_folder
from rescore.data.humanml import CROPPED, FEATURES, Caption
from rescore.errors import MissingData
from rescore.metrics.features import Features
from rescore.metrics.images import frechet_distance
from rescore.metrics.matching import diversity, multimodal_distance, r_precision

FILES = {
    "weights": "t2m/text_mot_match/model/finest.tar",
    "mean": "t2m/Comp_v6_KLD01/meta/mean.npy",
    "deviation": "t2m/Comp_v6_KLD01/meta/std.npy",
    "vectors": "glove/our_vab_data.npy",
    "index": "glove/our_vab_idx.pkl",
}
NAME = "t2m-match/512"  # in protocols
POOL, TOP = 32, 3  # of R precision, as published
CONTACTS = 4  # the last features, of the feet, which the evaluator does not see
STRIDE = 4  # frames for one step of the motion encoder
BATCH = 256  # captions or motions at a time
WORDS = 20  # of a caption at most; two more mark its ends
TAGS = (
    "VERB",
    "NOUN",
    "DET",
    "ADP",
    "NUM",
    "AUX",
    "PRON",
    "ADJ",
    "ADV",
    "Loc_VIP",
    "Body_VIP",
    "Obj_VIP",
    "Act_VIP",
    "Desc_VIP",
    "OTHER",
)
TAGGED = {  # words with a tag of their own, whatever their part of speech
    "Loc_VIP": "left right clockwise counterclockwise anticlockwise forward back backward up down straight curve",
    "Body_VIP": "arm chin foot feet face hand mouth leg waist eye knee shoulder thigh",
    "Obj_VIP": "stair dumbbell chair window floor car ball handrail baseball basketball",
    "Act_VIP": "walk run swing pick bring kick put squat throw hop dance jump turn stumble stop sit lift lower raise wash "
    "stand kneel stroll rub bend balance flap jog shuffle lean rotate spin spread climb",
    "Desc_VIP": "slowly carefully fast careful slow quickly happy angry sad happily angrily sadly",
}
TAG_OF = {word: tag for tag, words in TAGGED.items() for word in words.split()}


class Encoder(nn.Module):
    """A bidirectional GRU over linear embeddings (n, length, inputs); its two last states give the feature (n, 512)."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.input_emb = nn.Linear(inputs, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.hidden = nn.Parameter(torch.randn(2, 1, hidden))
        self.output_net = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 512)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.input_emb(x), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed, self.hidden.expand(-1, len(x), -1).contiguous())
        return self.output_net(torch.cat((last[0], last[1]), -1))


class TextEncoder(Encoder):
    """Of word vectors (n, length, 300), to which a linear embedding of their tags (n, length, 15) is added."""

    def __init__(self):
        super().__init__(300, 512)
        self.pos_emb = nn.Linear(len(TAGS), 300)

    def forward(self, words: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]  # words have tags
        return super().forward(words + self.pos_emb(tags), lengths)


class MovementEncoder(nn.Module):
    """Frames (n, T, 259) to steps (n, T / 4, 512)."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv1d(FEATURES - CONTACTS, 512, 4, 2, 1), nn.Dropout(0.2), nn.LeakyReLU(0.2)]
        layers += [nn.Conv1d(512, 512, 4, 2, 1), nn.Dropout(0.2), nn.LeakyReLU(0.2)]
        self.main, self.out_net = nn.Sequential(*layers), nn.Linear(512, 512)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_net(self.main(x.mT).mT)


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Features (n, 512) of captions and of motions.

    Args:
        vectors: of words, (words, 300); index: the row of each word, `unk` among them.
        mean, deviation: (263,), of the evaluator's own scale.
    """

    text: TextEncoder
    movement: MovementEncoder
    motion: Encoder
    vectors: np.ndarray
    index: dict[str, int]
    mean: Tensor
    deviation: Tensor
    device: str = "cpu"

    @torch.no_grad()
    def captions(self, captions: Sequence[Caption]) -> Tensor:
        parts = []
        for start in range(0, len(captions), BATCH):
            some = map(self._words, captions[start : start + BATCH])
            words, tags, lengths = (torch.stack(each) for each in zip(*some, strict=True))
            parts.append(self.text(words.to(self.device), tags.to(self.device), lengths).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def motions(self, motions: Sequence[Tensor]) -> Tensor:
        """Of motions (T, 263) in the units of the files, T from 4 to 196; what exceeds a multiple of 4 is cut off."""
        parts = []
        for start in range(0, len(motions), BATCH):
            some = motions[start : start + BATCH]
            steps = torch.tensor([len(motion) // STRIDE for motion in some])
            padded = torch.zeros(len(some), CROPPED, FEATURES)
            for row, motion, n in zip(padded, some, steps.tolist(), strict=True):
                row[: n * STRIDE] = ((motion - self.mean) / self.deviation)[: n * STRIDE]
            moved = self.movement(padded[..., :-CONTACTS].to(self.device))
            parts.append(self.motion(moved, steps).cpu())
        return torch.cat(parts)

    def _words(self, caption: Caption) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (22, 300), tags one-hot (22, 15) and the number of words, the two marks at the ends counted."""
        tokens = ["sos/OTHER", *caption.tokens[:WORDS], "eos/OTHER"]
        length = len(tokens)
        rows, tags = [], []
        for token in tokens + ["unk/OTHER"] * (WORDS + 2 - length):
            word, _, tag = token.rpartition("/")
            known = word in self.index
            rows.append(self.index[word if known else "unk"])
            tag = TAG_OF.get(word, tag) if known else "OTHER"
            tags.append(TAGS.index(tag) if tag in TAGS else TAGS.index("OTHER"))
        words = torch.from_numpy(self.vectors[rows]).float()
        return words, torch.eye(len(TAGS))[tags], torch.tensor(length)


def load_evaluator(device: str = "cpu") -> Evaluator:
    """The published one. Raises MissingData naming the files that are not there, RescoreError for damaged ones."""
    paths = {key: (data_folder() or Path("RESCORE_DATA")) / name for key, name in FILES.items()}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        raise MissingData(
            f"the evaluator of HumanML3D: no {', '.join(missing)}; unpack the authors' t2m.zip and glove.zip there"
        )
    text, movement, motion = TextEncoder(), MovementEncoder(), Encoder(512, 1024)
    networks: dict[str, nn.Module] = {"text_encoder": text, "movement_encoder": movement, "motion_encoder": motion}
    what = "the evaluator's file"
    with reading(paths["weights"], what):
        stored = torch.load(paths["weights"], map_location="cpu", weights_only=True)
        for name, network in networks.items():
            network.load_state_dict(stored[name])
            network.to(device).eval().requires_grad_(False)
    with reading(paths["vectors"], what):
        vectors = np.load(paths["vectors"])
    check_numbers(vectors, 300, paths["vectors"])
    with reading(paths["index"], what), open(paths["index"], "rb") as stream:
        index = _Plain(stream).load()
        if not all(0 <= index[word] < len(vectors) for word in {*index, "unk"}):
            raise ValueError(f"rows outside the {len(vectors)} of {paths['vectors']}")
    scales: list[Tensor] = []
    for key in ("mean", "deviation"):
        with reading(paths[key], what):
            scales.append(torch.from_numpy(np.load(paths[key])).float().reshape(FEATURES))
            if not scales[-1].isfinite().all():
                raise ValueError("a value is not finite")
    mean, deviation = scales
    return Evaluator(text, movement, motion, vectors, index, mean, deviation, device)


def match_scores(text: Tensor, motions: Tensor, real: Features, pairs: int, generator: torch.Generator) -> dict[str, float]:
    """The published columns for features of captions and of the motions made for them, (n, 512) each.

    Args:
        real: of the motions that `fid` is the Frechet distance to.
        pairs: of which diversity is the mean distance.
    """
    return {
        f"r_precision_top{TOP}": r_precision(text, motions, TOP, POOL),
        "fid": frechet_distance(Features(NAME, "samples", motions), real),
        "multimodal_distance": multimodal_distance(text, motions),
        "diversity": diversity(motions, pairs, generator),
    }


class _Plain(pickle.Unpickler):
    """Reads containers of strings and numbers, and no classes: a pickle could run anything."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} in a file of words")
