"""Networks with the authors' weights, and the scores made of their outputs."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from rescore.models.imported.convert import convert, fitting
from rescore.models.imported.files import Foreign, read_foreign
from rescore.networks import NoisePrediction, VelocityPrediction, make_network
from rescore.networks.refinenet import RefineNet
from rescore.networks.scoreunet import ScoreUNet
from rescore.parity.table import Compare, Sheet
from rescore.processes import CLD, VE, VP, DiscreteVP, SubVP
from rescore.processes.base import LinearSDE

SIDE = 16  # of all images here
FLOAT32 = 2e-6  # of float32 networks
FOURIER = 5e-5  # of those that see 2 pi 16 log(level) in float32
SMALL_STD = 2.5e-4  # of their scores at t = 1e-3: the standard deviation in float32
SIGMAS = [0.01, 50.0]


class Said(nn.Module):
    """A network that gives what was written down, whatever it sees."""

    def __init__(self, output: Tensor):
        super().__init__()
        self.output = output

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.output


def unet(foreign: Foreign, **settings: object) -> ScoreUNet:
    """The U-Net that a file's tensors ask for, with other `settings` that weights do not show."""
    fit = fitting(foreign, SIDE)
    assert fit is not None, f"no U-Net has the tensors of {foreign.path}"
    network = cast(ScoreUNet, make_network(fit.name, {**fit.settings, **settings}, fit.channels, SIDE, 0, fit.out_channels))
    network.load_state_dict(convert(foreign, network))
    return network.eval().requires_grad_(False)


def of_sheet(sheet: Sheet, source: str, prefix: str = "param/") -> Foreign:
    """The weights in a sheet as those of a published file, float32."""
    tensors = {name.removeprefix(prefix): value.float() for name, value in sheet.tensors.items() if name.startswith(prefix)}
    return Foreign(Path(sheet.name), source, {name: value for name, value in tensors.items() if name != "sigmas"}, None)


def scores(make: type, process: LinearSDE, said: Tensor, u: Tensor, t: Tensor, **options: object) -> Tensor:
    """The score at one time for each state, from the network's outputs."""
    rows = [make(Said(said[i : i + 1]), process, **options).score()(u[i : i + 1], time) for i, time in enumerate(t.tolist())]
    return torch.cat(rows)


def vp(sheet: Sheet) -> None:
    """DDPM++ on VP: what the network says, and the score that is made of it."""
    if sheet.weights:
        network = unet(of_sheet(sheet, "score_sde"))
        sheet.compare("network", network(sheet["x"], 999 * sheet["t"]), "raw", FLOAT32)
        if "labels" in sheet:
            sheet.compare("network, whole labels", network(sheet["x"], sheet["labels"].float()), "raw_integer_labels", FLOAT32)
    if "raw_ve_discrete" in sheet:
        network = unet(of_sheet(sheet, "score_sde"), unit_input=True, scale_by_sigma=True, sigmas=SIGMAS)
        sheet.compare(
            "network divided by the sigma of its label",
            network(sheet["x"], sheet["labels"].float()),
            "raw_ve_discrete",
            FLOAT32,
        )
    x, t, raw = sheet["x"].double(), sheet["t"].double(), sheet["raw"].double()
    place = len(sheet.about["functions"]) - 1
    sheet.compare("score under VP", scores(NoisePrediction, VP(), raw, x, t), "score_vp_continuous", SMALL_STD, place)
    if "score_subvp" in sheet:
        sheet.compare("score under sub-VP", scores(NoisePrediction, SubVP(), raw, x, t), "score_subvp", SMALL_STD, place)
    if "score_vp_discrete" in sheet:
        chain = DiscreteVP(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
        steps = ((999 * t).floor() + 1) / 1000
        sheet.compare(
            "score under the chain of VP", scores(NoisePrediction, chain, raw, x, steps), "score_vp_discrete", SMALL_STD, place
        )


def ve(sheet: Sheet, discrete: bool) -> None:
    """NCSN++ on VE, for continuous noise levels or for the labels of a chain."""
    t = sheet["t"]
    if sheet.weights:
        settings = {"embedding": "positional", "sigmas": SIGMAS} if discrete else {}
        network = unet(of_sheet(sheet, "score_sde"), scale_by_sigma=True, unit_input=True, **settings)
        model = NoisePrediction(network, VE(), "labels" if discrete else "sigma", "score")
        found = torch.cat([model.evaluate(sheet["x"][i : i + 1], t[i : i + 1].double()) for i in range(len(t))])
        sheet.compare("network at the level of t", found, "raw", FLOAT32 if discrete else FOURIER)
    last = len(sheet.about["functions"]) - 1
    found = scores(
        NoisePrediction,
        VE(),
        sheet["raw"].double(),
        sheet["x"].double(),
        t.double(),
        level="labels" if discrete else "sigma",
        output="score",
    )
    sheet.compare("score under VE", found, "score_ve_discrete" if discrete else "score_ve_continuous", FLOAT32, last)


def checkpoint(sheet: Sheet, source: str) -> None:
    """A tiny checkpoint in the authors' own format, read by the importer."""
    network = unet(read_foreign(source, sheet.folder / f"{source}_checkpoint_tiny.pth"))
    level = sheet["sigma"] if source == "score_sde" else sheet["t"].float()
    sheet.compare(
        "network with the averaged weights of a checkpoint",
        network(sheet["x" if source == "score_sde" else "u"], level),
        "raw_ema",
        FLOAT32,
        0,
    )


def signed_ve(sheet: Sheet) -> None:
    """The same network for data in [-1, 1], as ours are: x and sigma twice as large, the score half."""
    checkpoint(sheet, "score_sde")
    network = unet(
        read_foreign("score_sde", sheet.folder / "score_sde_checkpoint_tiny.pth"), unit_input=False, level_factor=0.5
    )
    found = 2 * network(2 * sheet["x"] - 1, 2 * sheet["sigma"])
    sheet.compare("network with data in [-1, 1]", found, "raw_ema", FLOAT32, 3)


def cld_states(u: Tensor) -> Tensor:
    """(n, 6, ...) with x channels first as (n, 2, 3, ...)."""
    return u.unflatten(1, (2, -1))


def cld(sheet: Sheet) -> None:
    """The U-Net on CLD, and the score of v that is made of it, mixed and plain."""
    u, t = cld_states(sheet["u"]).double(), sheet["t"]
    if sheet.weights:
        sheet.compare("network", unet(of_sheet(sheet, "cld"))(sheet["u"], t.float()), "raw", FOURIER)
    hybrid = CLD(eps0=0.0, eps_num=1e-9)
    for objective, mixed in ((one, two) for one in ("hsm", "dsm") for two in (True, False)):
        process = hybrid if objective == "hsm" else replace(hybrid, gamma=0.0)
        found = scores(VelocityPrediction, process, sheet["raw"].double(), u, t, mixed=mixed, hybrid=hybrid)[:, 1]
        sheet.compare(
            f"score of v, {objective}, {'mixed' if mixed else 'plain'}",
            found,
            f"score_{objective}_{'mixed' if mixed else 'plain'}",
            1e-5,
            2,
        )


def gddim(sheet: Sheet) -> None:
    """The U-Net that predicts the noise of x and v on CLD, and the score that is made of it."""
    u, t = sheet["u"].permute(0, 4, 3, 1, 2), sheet["t"].double()
    process = CLD()
    if sheet.weights:
        model = NoisePrediction(unet(of_sheet(sheet, "gddim")), process, "steps")
        eps = torch.cat([model(u[i : i + 1], t[i : i + 1]) for i in range(len(t))])
        sheet.compare("noise of x and v", eps.permute(0, 3, 4, 2, 1), "eps", FOURIER)
    said = sheet["eps"].permute(0, 4, 3, 1, 2).double().flatten(1, 2)
    found = scores(NoisePrediction, process, said, u.double(), t).permute(0, 3, 4, 2, 1)
    sheet.compare("score from the noise under R", found, "score", 5e-5, 1)


def edm(sheet: Sheet) -> None:
    """DDPM++ and NCSN++ in EDM's implementation: what the networks say."""
    for kind in ("ddpmpp", "ncsnpp"):
        network, level = unet(of_sheet(sheet, "edm", f"{kind}/param/")), sheet[f"{kind}/noise_labels"]
        found = network(sheet[f"{kind}/x"], level if kind == "ddpmpp" else level.exp())  # the Fourier features take the log
        sheet.compare(f"network, {kind}", found, f"{kind}/raw", FLOAT32 if kind == "ddpmpp" else FOURIER)


def refinenet(sheet: Sheet, name: str) -> None:
    """NCSN or NCSNv2 of width 4, at the sigma of its label."""
    network = cast(RefineNet, make_network(name, {"width": 4}, 3, SIDE, 0)).eval().requires_grad_(False)
    network.load_state_dict(refinenet_weights(sheet.weights, network))
    found = network(sheet["x"], sheet["sigma"].float())
    sheet.compare("network at the sigma of its label", found, "raw", FLOAT32)


RULES = (
    (r"begin_conv", "first"),
    (r"end_conv", "last"),
    (r"^normalizer", "norm"),
    (r"res(\d)\.(\d)\.normalize(\d)", lambda m: f"stages.{int(m[1]) - 1}.{m[2]}.norm{m[3]}"),
    (r"res(\d)\.(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.{m[2]}."),
    (r"(conv2|shortcut)\.conv\.", r"\1."),
    (r"refine(\d)\.", lambda m: f"refine.{int(m[1]) - 1}."),
    (r"adapt_convs\.", "adapt."),
    (r"output_convs\.", "output."),
    (r"msf\.convs", "fuse"),
    (r"msf\.norms", "norms"),
    (r"crp\.", "pool."),
    (r"(\d)_(\d)_(conv|norm)", lambda m: f"{m[3]}s.{2 * int(m[1]) + int(m[2]) - 3}"),
    (r"\.embed\.weight$", ".table"),
)


def refinenet_weights(theirs: dict[str, Tensor], network: RefineNet) -> dict[str, Tensor]:
    """NCSN's and NCSNv2's tensors by our names; the three vectors of a norm of NCSNv2 become one row."""
    found: dict[str, Tensor] = {}
    for name, value in theirs.items():
        if name == "sigmas":
            continue
        for pattern, ours in RULES:
            name = re.sub(pattern, ours, name)
        found[name] = value
    for name in [name for name in found if name.endswith(".gamma")]:
        stem = name.removesuffix("gamma")
        found[f"{stem}table"] = torch.cat([found.pop(f"{stem}{part}") for part in ("gamma", "alpha", "beta")])[None]
    return found


COMPARISONS: dict[str, Compare] = {
    "score_sde_ddpm": vp,
    "score_sde_ddpmpp_vp": vp,
    "score_sde_ncsnpp_vp": vp,
    "score_sde_ncsnpp_ve_continuous": partial(ve, discrete=False),
    "score_sde_ncsnpp_ve_discrete": partial(ve, discrete=True),
    "score_sde_checkpoint_tiny_expected": signed_ve,
    "cld_network": cld,
    "cld_checkpoint_tiny_expected": partial(checkpoint, source="cld"),
    "gddim_network": gddim,
    "edm_network": edm,
    "ncsn_network": partial(refinenet, name="ncsn"),
    "ncsnv2_network": partial(refinenet, name="ncsnv2"),
}
