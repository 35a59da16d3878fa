"""The classifier's and Inception's features: trained once, kept with their identity, refused where they do not fit."""

from dataclasses import replace

import pytest
import torch
from failures import failure, refused
from rescore.data.images import ImageSet, load_images
from rescore.errors import MissingData
from rescore.files import sha256
from rescore.metrics import features as feature_room
from rescore.metrics.features import (
    ClassifierSettings,
    Extractor,
    InceptionFeatures,
    accuracy,
    classifier_name,
    extract,
    find_inception,
    reference_features,
    train_classifier,
)
from rescore.metrics.images import ImageSettings, evaluate
from rescore.random import make_generator
from safetensors.torch import save_file
from torch import Tensor

# the small classifier


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_images("digits", "train")


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """The classifier of 150 short steps, and its folder."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(1)
    return train_classifier(digits, SETTINGS, folder), folder


SETTINGS = ClassifierSettings(steps=150, batch=64, lr=3e-3, width=8)


def test_the_classifier_knows_digits(trained):
    assert accuracy(trained[0], load_images("digits", "test")) > 0.9
    assert trained[0].dim == 64 and not any(p.requires_grad for p in trained[0].parameters())


def test_the_classifier_is_trained_once_and_the_same_everywhere(trained, digits, tmp_path, monkeypatch):
    model, folder = trained
    short = replace(SETTINGS, steps=3)
    torch.manual_seed(2)
    weights = [train_classifier(digits, short, tmp_path / name).state_dict() for name in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    monkeypatch.setattr(feature_room, "fit", None)
    again = train_classifier(digits, SETTINGS, folder).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items()), "read, not trained"
    (folder / f"{model.name}.safetensors").write_bytes(b"")
    assert "not the weights it should hold" in failure(train_classifier, digits, SETTINGS, folder)


def test_the_classifiers_name_tells_apart_data_and_settings(digits):
    names = {classifier_name(digits, s) for s in (SETTINGS, replace(SETTINGS, seed=1), replace(SETTINGS, steps=151))}
    fewer = ImageSet("digits", "train", digits.images[:1000], digits.labels[:1000])
    names.add(classifier_name(fewer, SETTINGS))
    assert len(names) == 4 and all(name.startswith("small-digits-") for name in names)
    assert "allowed: 64 to 128" in failure(ClassifierSettings, dim=32)
    assert "no labels" in failure(train_classifier, replace(digits, labels=None), SETTINGS, None)


def test_images_that_are_not_the_classifiers_are_refused(trained):
    model = trained[0]
    assert failure(extract, model, torch.full((2, 1, 9, 9), 9, dtype=torch.uint8), "x").endswith(
        "images of (1, 9, 9); it was trained on (1, 8, 8)"
    )
    assert "torch.float32 images; allowed: uint8" in failure(extract, model, torch.zeros(2, 1, 8, 8), "x")
    assert "the largest pixel is 1" in failure(extract, model, torch.ones(2, 1, 8, 8, dtype=torch.uint8), "x")
    assert failure(extract, model, [], "x") == "x: no images"


def test_extraction_in_parts_is_extraction_at_once(trained, digits):
    whole = extract(trained[0], digits.images[:100], "digits/train")
    parts = extract(trained[0], digits.images[:100].split(33), "digits/train", batch=7)
    torch.testing.assert_close(parts.values, whole.values, rtol=0, atol=1e-5)
    torch.testing.assert_close(parts.logits, whole.logits, rtol=0, atol=1e-5)
    assert whole.reference == "digits/train/100" and whole.values.shape == (100, 64) and whole.logits.shape == (100, 10)


def test_reference_features_are_kept_with_their_identity(trained, digits, tmp_path, monkeypatch):
    data = ImageSet("digits", "train", digits.images[:50])
    made = reference_features(trained[0], data, tmp_path)
    monkeypatch.setattr(feature_room, "extract", None)
    kept = reference_features(trained[0], data, tmp_path)
    assert torch.equal(made.values, kept.values) and torch.equal(made.logits, kept.logits)
    assert kept.reference == "digits/train/50"
    (path,) = tmp_path.iterdir()
    save_file({"values": made.values, "logits": made.logits}, path, metadata={"extractor": "other"})
    assert "features of {'extractor': 'other'}, not of" in failure(reference_features, trained[0], data, tmp_path)
    path.write_bytes(b"cut")
    assert "not the features it should hold" in failure(reference_features, trained[0], data, tmp_path)


def test_all_metrics_of_digits_are_torch_fidelitys_through_its_own_front_door(trained, digits):
    """The classifier registered as torch-fidelity's extractor, against our streamed evaluation of the same images."""
    import torch_fidelity

    model = trained[0]

    class Registered(torch_fidelity.FeatureExtractorBase):
        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)
            self.model = model

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            values = dict(zip(("features", "logits"), self.model(images), strict=True))
            return tuple(values[name].detach() for name in self.features_list)

        @staticmethod
        def get_provided_features_list():
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "features"

    class Images(torch.utils.data.Dataset):
        def __init__(self, images: Tensor):
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> Tensor:
            return self.images[i]

    torch_fidelity.register_feature_extractor("rescore-small", Registered)
    fake, real = digits.images[1000:1300].flip(-1), digits.images[:1000]
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(fake),
        input2=Images(real),
        feature_extractor="rescore-small",
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        kid_subsets=5,
        kid_subset_size=200,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
        batch_size=300,
    )
    ours = evaluate(
        extract(model, fake, "fake"), extract(model, real, "real"), settings=ImageSettings(subsets=5, subset_size=200)
    )
    names = {
        "fid": "frechet_inception_distance",
        "is": "inception_score_mean",
        "kid": "kernel_inception_distance_mean",
        "precision": "precision",
        "recall": "recall",
    }
    assert ours == pytest.approx({metric: theirs[name] for metric, name in names.items()}, rel=1e-4)


# Inception


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    monkeypatch.delenv("RESCORE_INCEPTION", raising=False)
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("requests.get", refused)


def test_inception_without_weights_says_what_to_set(no_weights, tmp_path, monkeypatch):
    message = failure(find_inception, kind=MissingData)
    why = f"{feature_room.INCEPTION_URL} could not be downloaded (connection refused)"
    assert message.endswith(f"{why}; set RESCORE_INCEPTION to the path of {feature_room.INCEPTION_FILE}")
    monkeypatch.setenv("RESCORE_INCEPTION", str(tmp_path / "nowhere"))
    assert f"{tmp_path / 'nowhere'}: no such file" in failure(find_inception, kind=MissingData)
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RESCORE_INCEPTION", "~/other.pth")
    assert failure(find_inception).startswith(f"{other}: wrong checksum")


def test_inception_reads_its_weights_and_takes_grey_images(no_weights, tmp_path, monkeypatch):
    """Random weights in its place: the shapes, the layers and the three channels."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path / "weights.pth"
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: None)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path="none")
    torch.save(network.state_dict(), path)
    monkeypatch.setattr(feature_room, "INCEPTION_SHA256", sha256(path))
    monkeypatch.setenv("RESCORE_INCEPTION", str(path))
    extractor = InceptionFeatures()
    assert isinstance(extractor, Extractor) and extractor.name == "inception-v3-compat/2048"
    grey = torch.randint(256, (2, 1, 8, 8), generator=make_generator("grey"), dtype=torch.uint8)
    a, b = (extract(extractor, images, "x") for images in (grey, grey.repeat(1, 3, 1, 1)))
    assert a.values.shape == (2, extractor.dim) and a.logits.shape == (2, extractor.classes)
    assert torch.equal(a.values, b.values)
    with torch.no_grad():
        expected = network(grey.repeat(1, 3, 1, 1))[0]
    assert torch.equal(a.values, expected) and torch.equal(a.logits, a.values @ network.fc.weight.T)
