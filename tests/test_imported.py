"""Published weights: files in the authors' formats give the authors' outputs; anything else gives one clear error."""

import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from imported_case import GOLDEN, as_the_authors_name, checkpoint, edm_state, flax_tree, golden, write_flax
from rescore.cli import main
from rescore.data.weights import find_weights, imported_path
from rescore.errors import MissingData, RescoreError
from rescore.files import sha256
from rescore.models.imported.convert import Fit, convert, fitting
from rescore.models.imported.files import Foreign, read_foreign
from rescore.models.imported.load import import_file, published_network
from rescore.models.imported.published import PUBLISHED
from rescore.networks import NETWORKS, NoisePrediction, make_network
from rescore.processes import CLD
from rescore.specs.model import Weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file

TINY = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [8]}
CLD_TINY = TINY | {"scale_by_sigma": False, "unit_input": False}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))


def network_of(fit: Fit, tensors: dict) -> torch.nn.Module:
    network = make_network(fit.name, fit.settings, fit.channels, 16, 0, fit.out_channels).eval().requires_grad_(False)
    network.load_state_dict(tensors)
    return network


def difference(found, expected) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(("source", "settings", "channels"), [("score_sde", TINY, 3), ("cld", CLD_TINY, 6)])
def test_a_checkpoint_of_the_authors_gives_the_averaged_networks_output(source, settings, channels):
    path = GOLDEN / f"{source}_checkpoint_tiny.pth"
    kept, weights, fit, step = import_file(source, path, side=16)
    assert fit == Fit("ncsnpp", settings, channels, 3)
    assert step == 3
    assert kept == imported_path(source, sha256(path)) and weights == Weights(
        source=source, name=path.name, sha256=sha256(path)
    )
    expected = golden(f"{source}_checkpoint_tiny_expected")
    x, level = (expected["x"], expected["sigma"]) if source == "score_sde" else (expected["u"], expected["t"])
    out = network_of(fit, load_file(kept))(x, level)
    assert difference(out, expected["raw_ema"]) < 2e-6
    assert difference(out, expected["raw"]) > 0.05, "these would be the weights without averaging"
    with safe_open(kept, "pt") as file:
        assert file.metadata()["step"] == "3"


@pytest.mark.parametrize("pieces", [False, True])
def test_flax_msgpack_gives_the_authors_noise(tmp_path, pieces):
    path = write_flax(tmp_path / "checkpoint_15", flax_tree(pieces))
    kept, _, fit, step = import_file("gddim", path, side=16)
    assert step == 750000
    assert fit == Fit(
        "ncsnpp",
        {"width": 8, "multipliers": [1, 2, 2], "blocks": 1, "attention": [8], "scale_by_sigma": False, "unit_input": False},
        6,
        6,
    )
    model = NoisePrediction(network_of(fit, load_file(kept)), CLD(), "steps")
    found = golden("gddim_network")
    u = found["u"].permute(0, 4, 3, 1, 2)  # (batch, x and v, channels, height, width)
    assert difference(model(u, found["t"]).permute(0, 3, 4, 2, 1), found["eps"]) < 5e-5


def test_of_a_folder_of_flax_the_newest_checkpoint_is_taken(tmp_path):
    for number in (9, 15):
        write_flax(tmp_path / f"checkpoint_{number}", flax_tree() | {"step": np.int32(number)})
    assert import_file("gddim", tmp_path, side=16)[3] == 15
    with pytest.raises(MissingData, match="no file checkpoint_<number>"):
        import_file("gddim", tmp_path / "data", side=16)


@pytest.mark.parametrize(("kind", "name", "tolerance"), [("ddpmpp", "ddpmpp", 2e-6), ("ncsnpp", "ncsnpp", 1e-5)])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_exported_state_dict_of_edm(tmp_path, kind, name, tolerance, suffix):
    path, state = tmp_path / f"edm.{suffix}", edm_state(kind)
    (torch.save if suffix == "pth" else save_file)(state, path)
    kept, _, fit, step = import_file("edm", path, side=16)
    assert fit.name == name and step is None
    found = golden("edm_network")
    level = found[f"{kind}/noise_labels"]
    out = network_of(fit, load_file(kept))(
        found[f"{kind}/x"], level if kind == "ddpmpp" else level.exp()
    )  # log of the level inside
    assert difference(out, found[f"{kind}/raw"]) < tolerance


def test_every_tensor_is_used_once_and_the_network_that_would_fit_is_named():
    foreign = read_foreign("score_sde", GOLDEN / "score_sde_checkpoint_tiny.pth")
    would = r"would fit: \{name: ncsnpp, settings: \{width: 8, multipliers: \[1, 2\], blocks: 1, attention: \[8\]\}\}"
    other = make_network("ncsnpp", TINY | {"width": 16}, 3, 16, 0)
    with pytest.raises(
        RescoreError, match=rf"all_modules.1.weight is \(32, 16\), which makes .* \(64, 32\) is needed.*and .* more.*{would}"
    ):
        convert(foreign, other)
    deeper = make_network("ncsnpp", TINY | {"blocks": 2}, 3, 16, 0)
    with pytest.raises(RescoreError, match=rf"missing \(all_modules.*left over \(all_modules.*{would}"):
        convert(foreign, deeper)
    right = make_network("ncsnpp", TINY, 3, 16, 0)
    more = replace(foreign, tensors={**foreign.tensors, "all_modules.99.weight": torch.ones(3)})
    with pytest.raises(RescoreError, match=r"1 left over \(all_modules.99.weight\); no U-Net of ours would fit"):
        convert(more, right)
    fewer = replace(
        foreign, tensors={name: value for name, value in foreign.tensors.items() if name != "all_modules.8.NIN_1.b"}
    )
    with pytest.raises(RescoreError, match=r"1 missing \(all_modules.8.NIN_1.b\)"):
        convert(fewer, right)


NAMED = [(name, spelling) for name in ("ddpmpp", "ncsnpp") for spelling in ("score_sde", "gddim", "edm")]


@pytest.mark.parametrize(("name", "spelling"), [*NAMED, ("ddpm", "score_sde"), ("ncsnpp_deep", "score_sde")])
def test_the_network_of_a_file_is_found_from_names_and_shapes(name, spelling):
    """Of every kind of network at its published depth: names and shapes as the mapping has them, back to the config."""
    settings = {"width": 8, "scale_by_sigma": False, "unit_input": False}
    if name.startswith("ncsnpp") and spelling == "score_sde":
        settings = {"width": 8}
    network = make_network(name, settings, 3, 32, 0)
    foreign = Foreign(GOLDEN, spelling, {}, None)
    foreign = replace(foreign, tensors=as_the_authors_name(network, foreign.spelling))
    fit = fitting(foreign, 32)
    assert (fit.name, fit.channels, fit.out_channels) == (name, 3, 3)
    assert fit.settings == ({} if name.startswith("ddpm") else {k: v for k, v in settings.items() if k != "width"}) | {
        "width": 8
    }


# bad input


def raises(source: str, path, message: str) -> None:
    with pytest.raises(RescoreError, match=message) as caught:
        import_file(source, path, side=16)
    assert str(path) in str(caught.value)


def test_a_truncated_file(tmp_path):
    for source in ("score_sde", "cld"):
        path = tmp_path / f"{source}.pth"
        path.write_bytes((GOLDEN / f"{source}_checkpoint_tiny.pth").read_bytes()[:-5000])
        raises(source, path, "not a checkpoint of")
    whole = write_flax(tmp_path / "checkpoint_15", flax_tree()).read_bytes()
    (tmp_path / "checkpoint_15").write_bytes(whole[:-5000])
    raises("gddim", tmp_path / "checkpoint_15", "not a checkpoint of gDDIM")
    (tmp_path / "empty.pth").touch()
    raises("score_sde", tmp_path / "empty.pth", "the file is empty")


def test_another_architecture(tmp_path):
    path = tmp_path / "resnet.pth"
    weights = {"module.conv1.weight": torch.ones(4, 3, 3, 3), "module.fc.bias": torch.ones(4)}
    torch.save({"model": weights, "ema": {"shadow_params": list(weights.values())}, "step": 1}, path)
    raises("score_sde", path, "its 2 tensors are of no U-Net of ours for images of side 16; allowed: a checkpoint of Score-SDE")
    with pytest.raises(RescoreError, match="not the weights of this network: .* missing .* left over .*another architecture"):
        import_file("score_sde", path, "vp/cifar10_ddpmpp_continuous")


@pytest.mark.parametrize("source", ["score_sde", "gddim", "edm"])
def test_an_html_page(tmp_path, source):
    path = tmp_path / "checkpoint_8.pth"
    path.write_text("<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>")
    raises(source, path, "an HTML page, such as a login or an error leaves")


@pytest.mark.parametrize("module", ["numpy._core.multiarray", "numpy.core.multiarray"])
def test_a_learning_rate_that_is_a_numpy_scalar(tmp_path, module):
    """Warm-up by `np.minimum` leaves one in the optimizer's part; numpy 1 spells its module without the underscore."""
    content = checkpoint("score_sde")
    content["optimizer"]["param_groups"][0]["lr"] = np.float64(2e-4)
    path = tmp_path / "numpy.pth"
    torch.save(content, tmp_path / "here.pth")
    with zipfile.ZipFile(tmp_path / "here.pth") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"numpy._core.multiarray\n", module.encode() + b"\n"))
    assert module.encode() + b"\n" in path.read_bytes()
    kept = import_file("score_sde", path, side=16)[0]
    plain = import_file("score_sde", GOLDEN / "score_sde_checkpoint_tiny.pth", side=16)[0]
    assert all(torch.equal(value, load_file(plain)[name]) for name, value in load_file(kept).items())


def test_the_prefix_of_dataparallel_makes_no_difference(tmp_path):
    content = checkpoint("cld")
    assert all(name.startswith("module.") for name in content["model"])
    content["model"] = {name.removeprefix("module."): value for name, value in content["model"].items()}
    torch.save(content, tmp_path / "plain.pth")
    kept = import_file("cld", tmp_path / "plain.pth", side=16)[0]
    wrapped = import_file("cld", GOLDEN / "cld_checkpoint_tiny.pth", side=16)[0]
    assert kept != wrapped and all(torch.equal(value, load_file(wrapped)[name]) for name, value in load_file(kept).items())


def test_a_raw_list_of_averaged_weights_has_no_names(tmp_path):
    ema = checkpoint("score_sde")["ema"]
    for content, said in (
        (ema["shadow_params"], "it is of a list"),
        (ema, "it is of decay, num_updates, shadow_params"),
        ({"ema": ema}, "it is of ema"),
    ):
        torch.save(content, tmp_path / "ema.pth")
        raises("score_sde", tmp_path / "ema.pth", f"no part 'model', which has the names of the tensors; {said}")


def test_averaged_weights_that_do_not_go_with_the_model(tmp_path):
    path, content = tmp_path / "ema.pth", checkpoint("score_sde")
    shadow = content["ema"]["shadow_params"]
    content["ema"]["shadow_params"] = shadow[:-1]
    torch.save(content, path)
    raises("score_sde", path, "shadow_params has 155 tensors for the model's 156 that are trained")
    content["ema"]["shadow_params"] = [shadow[1], shadow[0], *shadow[2:]]
    torch.save(content, path)
    raises("score_sde", path, r"shadow_params: \(32,\) where all_modules.1.weight is \(32, 16\)")
    content["ema"] = {}
    torch.save(content, path)
    raises("score_sde", path, "no list ema.shadow_params, the averaged weights that the published results are of")


def test_weights_that_are_not_finite(tmp_path):
    content = checkpoint("score_sde")
    content["ema"]["shadow_params"][4][0] = float("nan")
    torch.save(content, tmp_path / "nan.pth")
    raises("score_sde", tmp_path / "nan.pth", "all_modules.3.weight is torch.float32, or not finite")


class Run:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_file_is_never_run(tmp_path):
    marker = tmp_path / "was-run"
    torch.save({"model": {}, "optimizer": Run(marker)}, tmp_path / "evil.pth")
    raises("score_sde", tmp_path / "evil.pth", "more than tensors and numbers")
    (tmp_path / "edm.pkl").write_bytes(pickle.dumps({"ema": Run(marker)}))
    raises("edm", tmp_path / "edm.pkl", "EDM's pickles carry code, which is not run here.*torch.save")
    torch.save({"ema": Run(marker)}, tmp_path / "edm.pth")
    raises("edm", tmp_path / "edm.pth", "more than tensors and numbers")
    assert not marker.exists()


def test_flax_without_averaged_weights(tmp_path):
    tree = {name: value for name, value in flax_tree().items() if name != "params_ema"}
    raises("gddim", write_flax(tmp_path / "checkpoint_1", tree), "no part 'params_ema'")


def test_a_file_that_is_not_there_and_a_source_that_is_unknown(tmp_path):
    with pytest.raises(MissingData, match="no such file"):
        import_file("score_sde", tmp_path / "none.pth")
    with pytest.raises(RescoreError, match="source of weights 'song'; allowed: score_sde, "):
        import_file("song", tmp_path / "none.pth")
    with pytest.raises(RescoreError, match="model of cld 'celeba'; allowed: cifar10"):
        import_file("cld", GOLDEN / "cld_checkpoint_tiny.pth", "celeba")


def test_the_published_models_are_networks_that_can_be_made():
    for models in PUBLISHED.values():
        for model in models.values():
            network = NETWORKS[model.name](model.channels, model.side, model.out_channels, **model.settings | {"width": 4})
            assert network.shape == (model.channels, 32, 32)


# the command, and where files are found


def test_the_command_prints_what_a_spec_needs(capsys):
    path = GOLDEN / "score_sde_checkpoint_tiny.pth"
    assert main(["import", "score_sde", str(path), "--side", "16"]) == 0
    said = capsys.readouterr().out
    assert f"weights: {{source: score_sde, name: score_sde_checkpoint_tiny.pth, sha256: {sha256(path)}}}" in said
    assert "network: {name: ncsnpp, settings: {width: 8, multipliers: [1, 2], blocks: 1, attention: [8]}}" in said
    assert "steps: 3" in said
    assert main(["import", "score_sde", str(path), "--model", "vp/cifar10_ddpmpp_continuous"]) == 2
    assert "not the weights of this network" in capsys.readouterr().err


def test_weights_are_found_by_name_or_by_digest(tmp_path, capsys):
    content = (GOLDEN / "cld_checkpoint_tiny.pth").read_bytes()
    digest = sha256(GOLDEN / "cld_checkpoint_tiny.pth")
    pinned, loose = (("cld", "cifar10/checkpoint_800000.pth", one) for one in (digest, None))
    with pytest.raises(
        MissingData, match=r"cld, cifar10/checkpoint_800000.pth: not at hand; get them from https://github.com/nv-tlabs"
    ):
        find_weights(*pinned)
    place = tmp_path / "data" / "weights" / "cld" / "cifar10" / "checkpoint_800000.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    assert find_weights(*pinned) == (place, digest)
    assert find_weights(*loose) == (place, digest)
    assert f"not pinned; once you are sure that they are the published ones, write sha256: {digest}" in capsys.readouterr().err
    place.write_bytes(content + b"more")
    with pytest.raises(RescoreError, match="wrong checksum"):
        find_weights(*pinned)
    place.unlink()
    import_file("cld", GOLDEN / "cld_checkpoint_tiny.pth", side=16)
    assert find_weights(*pinned)[0] == imported_path("cld", digest)
    with pytest.raises(MissingData):
        find_weights(*loose)


def test_the_steps_of_a_pinned_file_are_checked():
    import_file("cld", GOLDEN / "cld_checkpoint_tiny.pth", side=16)
    weights = Weights(source="cld", name="x.pth", sha256=sha256(GOLDEN / "cld_checkpoint_tiny.pth"))
    network = make_network("ncsnpp", CLD_TINY, 6, 16, 0, 3)
    about = published_network(weights, network, 3)
    assert about["step"] == 3 and about["sha256"] == weights.sha256
    with pytest.raises(RescoreError, match="after 3 steps, the spec says steps: 800000; write steps: 3"):
        published_network(weights, network, 800000)
    with pytest.raises(RescoreError, match="not the weights of this network; the network that would fit: {name: ncsnpp"):
        published_network(weights, make_network("ncsnpp", CLD_TINY | {"width": 16}, 6, 16, 0, 3), 3)
    with pytest.raises(RescoreError, match="are not for a MLP"):
        published_network(weights, make_network("mlp", {}, 6, 16, 0, 3), 3)
