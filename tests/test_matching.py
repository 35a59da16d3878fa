"""Contents against their descriptions: exact values of the metrics, the loader of HumanML3D and its published evaluator."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rescore.data import humanml as data
from rescore.data.planar import Rings
from rescore.errors import MissingData, RescoreError
from rescore.metrics import rmse, sliced_wasserstein
from rescore.metrics import text_motion as judge
from rescore.metrics.matching import diversity, multimodal_distance, r_precision, top1
from rescore.metrics.points import nearest
from rescore.metrics.series import SeriesJudge
from rescore.montecarlo.pyro_chains import mode_coverage


def test_far_from_the_origin_a_pair_of_equals_is_still_the_nearest():
    """Distances by products of the features would be off by far more than the features differ."""
    x = 1e6 + 1e-2 * torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert r_precision(x, x, 1, 32) == 1.0


def test_precision_counts_who_is_nearer_in_the_pool():
    """On a line, motion i at i: a description shifted by s has 2 s - 1 or s nearer motions than its own, but at the end."""
    motion = torch.arange(8.0)[:, None]
    assert r_precision(motion, motion, 1, 4) == 1.0
    shifted = motion + 1.1  # nearer than i are i + 1 and i + 2, where the pool has them
    assert [r_precision(shifted, motion, top, 4) for top in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert r_precision(shifted, motion, 1, 8) == 1 / 8, "one pool of all"
    more = torch.cat((shifted, -9 + motion[:3])), torch.cat((motion, motion[:3]))
    assert r_precision(*more, 1, 4) == 0.25, "what fills no pool is not used"
    with pytest.raises(RescoreError, match="3 pairs, top 1 of pools of 4"):
        r_precision(motion[:3], motion[:3], 1, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [0.0, 1e3])
def test_contents_that_are_all_alike_match_no_description(dtype, far):
    """Ties count against; so do distances that differ only by rounding, as two batches of one network make them."""
    generator = torch.Generator().manual_seed(0)
    text, motion = torch.randn(64, 512, generator=generator).to(dtype), torch.randn(512, generator=generator).to(dtype) + far
    alike = motion.expand(64, -1)
    assert r_precision(text, alike) == 0 and r_precision(text[:1].expand(64, -1), alike) == 0
    rounded = alike * (1 + 2 * torch.finfo(dtype).eps * torch.randint(-1, 2, (64, 1), generator=generator))
    assert r_precision(text, rounded.to(dtype)) == 0
    assert r_precision(text, text) == 1
    pairs = text.clone()
    pairs[1] = pairs[0]
    expected = [1 - 2 / 64, 1.0]
    assert [r_precision(pairs, pairs, top) for top in (1, 2)] == expected, "two that are alike share two places"


def test_a_label_has_the_largest_logit_alone():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    assert top1(logits, torch.tensor([0, 0, 0])).tolist() == [True, False, False]
    assert not top1(torch.zeros(9, 4), torch.arange(9) % 4).any(), "no class where all are alike"
    with pytest.raises(RescoreError, match=r"top1: logits \(9, 4\), labels \(8,\); allowed: \(n, classes\) and \(n,\)"):
        top1(torch.zeros(9, 4), torch.arange(8))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda x: r_precision(torch.zeros(32, 2), x), "features of pairs: a feature is not finite"),
        (lambda x: r_precision(x, torch.zeros(32, 2)), "features of pairs: a feature is not finite"),
        (lambda x: multimodal_distance(torch.zeros(32, 2), x), "features of pairs: a feature is not finite"),
        (lambda x: diversity(x, 3, torch.Generator()), "diversity: a feature is not finite"),
        (lambda x: top1(x, torch.zeros(32, dtype=torch.int64)), "top1: a logit is not finite"),
        (lambda x: sliced_wasserstein(x, x), "sliced_wasserstein: a point is not finite"),
        (lambda x: rmse(x, x), "rmse: a point is not finite"),
        (lambda x: mode_coverage(x, torch.zeros(1, 2), 1.0), "mode_coverage: a sample is not finite"),
        (lambda x: Rings().off_support(x), "off_support: a point is not finite"),
        (lambda x: nearest(x, torch.zeros(3, 2)), "nearest: a point is not finite"),
    ],
)
def test_no_metric_of_neighbours_counts_a_point_that_is_not_finite(metric, message, bad):
    """NaN > radius is false: it would be on every mode."""
    x = torch.zeros(32, 2)
    x[5, 1] = bad
    with pytest.raises(RescoreError) as error:
        metric(x)
    assert str(error.value) == message


def test_chance_of_a_precision():
    generator = torch.Generator().manual_seed(0)
    text, motion = torch.randn(2, 32 * 200, 16, generator=generator)
    assert r_precision(text, motion) == pytest.approx(3 / 32, abs=0.015)


def test_distances_and_diversity():
    text, motion = torch.zeros(4, 2), torch.tensor([[3.0, 4.0]]).repeat(4, 1)
    assert multimodal_distance(text, motion) == 5.0
    corners = torch.tensor([[0.0], [1.0]])
    # all rows drawn twice without repetition: the pairs are a permutation, of mean distance 0 or 1
    found = {diversity(corners, 2, torch.Generator().manual_seed(seed)) for seed in range(20)}
    assert found == {0.0, 1.0}
    x = torch.randn(5000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # |a - b| of N(0, I_3) is sqrt(2) times a chi variable of 3 degrees, of mean sqrt(8 / pi)
    assert diversity(x, 5000, torch.Generator().manual_seed(2)) == pytest.approx((16 / np.pi) ** 0.5, abs=0.04)
    with pytest.raises(RescoreError, match="300 pairs of 2 features"):
        diversity(corners, 300, torch.Generator())
    with pytest.raises(RescoreError, match="features of pairs"):
        multimodal_distance(text, corners)


def test_a_judge_of_series_by_hand():
    """Windows whose first sample is (label, place among the windows of its series), which are their features."""

    def classifier(x):
        values = x[:, :, 0, 0]
        return values, -(values[:, :1] - torch.arange(2.0)).square()

    data = torch.zeros(4, 3, 2, 1, 5)
    labels = torch.tensor([0, 1, 0, 1])
    data[..., 0, :, :], data[..., 1, :, :] = labels[:, None, None, None], torch.arange(3.0)[:, None, None]
    judge_of = SeriesJudge(data, labels, 2, 1, Path(), "by hand")
    judge_of.__dict__["classifier"] = classifier
    x = torch.zeros(3, 2, 1, 5)
    x[:, 0], x[:, 1] = 1.0, torch.tensor([1.0, 1.0, 4.0])[:, None, None]
    found = judge_of(x, torch.tensor([1, 1, 0]), torch.Generator().manual_seed(0))
    assert found["r_precision_top1"] == pytest.approx(2 / 3)
    assert found["multimodal_distance"] == pytest.approx(10**0.5 / 3), "from (0, 1) and (1, 1), the centres of the labels"
    real = judge_of.of_real(200, data, labels, torch.Generator().manual_seed(0))
    assert real["r_precision_top1"] == 1.0, "windows have the labels of their series"
    assert real["multimodal_distance"] == pytest.approx(2 / 3, abs=0.1), "all places are drawn"


CAPTIONS = "a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0\nhe turns#he/PRON turn/VERB#1.0#3.5\nstill#still/ADV#nan#nan\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A tiny HumanML3D: motions of 100, 30 and 250 frames, and one that is not there."""
    home = tmp_path / "HumanML3D"
    (home / "new_joint_vecs").mkdir(parents=True)
    (home / "texts").mkdir()
    for name, frames in {"000": 100, "001": 30, "M02": 250}.items():
        values = np.arange(frames, dtype=np.float64)[:, None].repeat(263, 1)
        np.save(home / "new_joint_vecs" / f"{name}.npy", values)
        (home / "texts" / f"{name}.txt").write_text(CAPTIONS)
    np.save(home / "Mean.npy", np.zeros(263))
    np.save(home / "Std.npy", np.ones(263))
    (home / "train.txt").write_text("000\n001\nM02\nM99\n")
    (home / "test.txt").write_text("000\n")
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    return home


def test_motions_and_parts_of_them(folder):
    assert data.humanml_at_hand()
    train = data.load_humanml("train")
    assert [(m.name, len(m.features)) for m in train] == [("000", 100), ("000:1-3.5", 50), ("M02:1-3.5", 50)]
    assert [caption.text for caption in train[0].captions] == ["a man walks.", "still"], "nan is all of it"
    assert train[1].captions[0].tokens == ("he/PRON", "turn/VERB") and train[1].features[0, 0] == 20
    assert [len(data.load_humanml(split, limit=1)) for split in data.SPLITS] == [2, 2]
    assert all(scale.shape == (263,) for scale in data.load_scales())


def test_bad_motions_are_named(folder, monkeypatch):
    with pytest.raises(RescoreError, match="split 'val'; allowed: train, test"):
        data.load_humanml("val")
    with pytest.raises(RescoreError, match=r"texts/000.txt, line 1: allowed: caption#tokens#from#to"):
        data.parse_captions("a man walks", "HumanML3D/texts/000.txt")
    np.save(folder / "new_joint_vecs" / "000.npy", np.zeros((100, 251)))
    with pytest.raises(RescoreError, match=r"000.npy: an array float64 \(100, 251\); allowed: numbers, \(T, 263\)"):
        data.load_humanml("test")
    (folder / "new_joint_vecs" / "000.npy").write_bytes(b"")
    with pytest.raises(RescoreError, match=r"000.npy: not an array \(the file is empty\); replace it"):
        data.load_humanml("test")
    (folder / "Std.npy").unlink()
    assert not data.humanml_at_hand()
    with pytest.raises(MissingData, match="HumanML3D: no HumanML3D/ with Mean.npy, Std.npy"):
        data.load_scales()


def names(split: str = "train") -> list[str]:
    return [motion.name for motion in data.load_humanml(split)]


def test_a_motion_that_cannot_be_used_is_left_out_with_a_warning(folder, capsys):
    """The standard build has two that are not finite."""
    for i in range(8):
        values = np.zeros((100, 263))
        values[7, 5] = (np.nan, np.inf)[i % 2]
        np.save(folder / "new_joint_vecs" / f"bad{i}.npy", values)
    (folder / "texts" / "M02.txt").unlink()
    (folder / "train.txt").write_text("\n".join([f"bad{i}" for i in range(8)] + ["000", "001", "M02", "M99"]))
    assert names() == ["000", "000:1-3.5"]
    assert capsys.readouterr().err.splitlines() == [
        "warning: HumanML3D/train: 8 of 12 motions left out, not finite: bad0, bad1, bad2, bad3, bad4 and 3 more",
        "warning: HumanML3D/train: 1 of 12 motions left out, no file of captions: M02",
    ]
    assert names("test") == ["000", "000:1-3.5"] and not capsys.readouterr().err, "nothing to warn of"


def test_a_split_without_a_motion_is_an_error(folder):
    (folder / "texts" / "000.txt").unlink()
    expected = (
        f"{folder / 'test.txt'}: none of its 1 motions, such as 000, is in {folder / 'new_joint_vecs'} with a text and "
        "40 to 199 frames"
    )
    with pytest.raises(RescoreError) as error:
        data.load_humanml("test")
    assert str(error.value) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lists_and_captions_of_any_editor(folder, encoding, ending):
    """A byte order mark is no part of the first name; nothing depends on the machine's own encoding."""
    (folder / "train.txt").write_bytes(ending.join(["000", "001", "M02", "M99"]).encode(encoding))
    (folder / "texts" / "000.txt").write_bytes(CAPTIONS.replace("walks", "w\u00e4lks").replace("\n", ending).encode(encoding))
    train = data.load_humanml("train")
    assert [(m.name, len(m.features)) for m in train] == [("000", 100), ("000:1-3.5", 50), ("M02:1-3.5", 50)]
    assert train[0].captions[0] == data.Caption("a man w\u00e4lks.", ("a/DET", "man/NOUN", "walk/VERB"))


def test_another_encoding_is_named(folder):
    path = folder / "texts" / "000.txt"
    path.write_bytes("un caf\u00e9#un/DET caf\u00e9/NOUN#0.0#0.0\n".encode("latin-1"))
    with pytest.raises(RescoreError) as error:
        data.load_humanml("test")
    why = "'utf-8' codec can't decode byte 0xe9 in position 6: invalid continuation byte"
    assert str(error.value) == f"{path}: not captions ({why}); replace it"


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("nan", "nan", (0, 0)),
        ("NaN", "NAN", (0, 0)),
        ("-nan", " nan ", (0, 0)),
        ("nan", "2.5", (0, 2.5)),
        ("1", "2.5", (1, 2.5)),
        ("3", "nan", (3, 0)),
    ],
)
def test_times_of_captions(start, end, seconds):
    ((caption, *found),) = data.parse_captions(f"a#a/DET#{start}#{end}\n", "x")
    assert tuple(found) == seconds and caption.text == "a"


@pytest.mark.parametrize("times", ["inf#inf", "0#inf", "-1#3", "#", "0.0", "a#b", "0#0#0"])
def test_times_that_are_none_are_named(times):
    line = f"a#a/DET#{times}"
    with pytest.raises(RescoreError) as error:
        data.parse_captions(f"\n{line}\n", "x")
    assert str(error.value) == f"x, line 2: allowed: caption#tokens#from#to, not {line!r}"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The evaluator's files, with random weights and four words."""
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    torch.manual_seed(0)
    paths = {key: tmp_path / name for key, name in judge.FILES.items()}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    networks = {"text": judge.TextEncoder(), "movement": judge.MovementEncoder(), "motion": judge.Encoder(512, 1024)}
    torch.save({f"{name}_encoder": network.state_dict() for name, network in networks.items()} | {"epoch": 1}, paths["weights"])
    np.save(paths["vectors"], np.random.default_rng(0).normal(size=(4, 300)))
    paths["index"].write_bytes(pickle.dumps({"unk": 0, "sos": 1, "eos": 2, "walk": 3}))
    np.save(paths["mean"], np.ones(263))
    np.save(paths["deviation"], np.full(263, 2.0))
    return paths


def test_the_evaluator_sees_each_pair_by_itself(files):
    evaluator = judge.load_evaluator()
    texts = ("walk/VERB",), ("walk/VERB", "now/ADV", "walk/NOUN"), ("walk/VERB",) * 30
    captions = [data.Caption("", tokens) for tokens in texts]
    together = evaluator.captions(captions)
    assert together.shape == (3, 512)
    assert all(torch.allclose(together[i], evaluator.captions([captions[i]])[0], atol=1e-5) for i in range(3))
    motions = [torch.randn(frames, 263) for frames in (40, 64, 196)]
    seen = evaluator.motions(motions)
    assert all(torch.allclose(seen[i], evaluator.motions([motions[i]])[0], atol=1e-5) for i in range(3))
    changed = motions[0].clone()
    changed[:, -judge.CONTACTS :] += 1
    assert torch.equal(evaluator.motions([changed]), evaluator.motions([motions[0]])), "contacts are not seen"
    assert torch.allclose(evaluator.motions([torch.cat((motions[0], motions[1][:3]))]), seen[:1], atol=1e-6), "43 frames are 40"


def test_the_evaluator_has_a_scale_of_its_own_for_motions_and_sees_the_tags_of_words(files):
    evaluator, motion = judge.load_evaluator(), torch.randn(40, 263)
    plain = replace(evaluator, mean=torch.zeros(263), deviation=torch.ones(263))
    assert torch.allclose(evaluator.motions([motion]), plain.motions([(motion - 1) / 2]), atol=1e-6)
    verb, noun = evaluator.captions([data.Caption("", (f"unk/{tag}",)) for tag in ("VERB", "NOUN")])
    assert not torch.allclose(verb, noun, atol=1e-4)


def test_words_and_their_tags(files):
    words, tags, length = judge.load_evaluator()._words(data.Caption("", ("walk/NOUN", "never/ADV", "walk/")))
    assert length == 5 and words.shape == (22, 300) and tags.sum(1).tolist() == [1] * 22
    names = [judge.TAGS[k] for k in tags.argmax(1).tolist()]
    # sos, walk, an unknown word, walk, eos, padding
    assert names[:6] == ["OTHER", "Act_VIP", "OTHER", "Act_VIP", "OTHER", "OTHER"]
    assert torch.equal(words[2], words[10]) and not torch.equal(words[1], words[2])


class Harmful:
    def __reduce__(self):
        return print, ("harm",)


def test_evaluator_files_missing_or_damaged(files, capsys):
    files["index"].write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(RescoreError, match=r"our_vab_idx.pkl: not the evaluator's file \(builtins.print"):
        judge.load_evaluator()
    assert "harm" not in capsys.readouterr().out
    files["index"].write_bytes(pickle.dumps({"unk": 0, "walk": 4}))
    with pytest.raises(RescoreError, match=r"our_vab_idx.pkl: not the evaluator's file \(rows outside the 4 of "):
        judge.load_evaluator()
    files["index"].write_bytes(pickle.dumps({"walk": 3}))
    with pytest.raises(RescoreError, match=r"our_vab_idx.pkl: not the evaluator's file \('unk'\)"):
        judge.load_evaluator()
    finite = "std.npy: not the evaluator's file .a value is not finite."
    for key, message in (("deviation", finite), ("vectors", "our_vab_data.npy: nan in row 0")):
        whole = files[key].read_bytes()
        np.save(files[key], np.full((4, 300) if key == "vectors" else 263, np.nan))
        files["index"].write_bytes(pickle.dumps({"unk": 0}))
        with pytest.raises(RescoreError, match=message):
            judge.load_evaluator()
        files[key].write_bytes(whole)
    files["weights"].write_bytes(b"no weights")
    with pytest.raises(RescoreError, match="finest.tar: not the evaluator's file"):
        judge.load_evaluator()
    files["mean"].unlink()
    with pytest.raises(MissingData, match="mean.npy; unpack the authors' t2m.zip and glove.zip"):
        judge.load_evaluator()
