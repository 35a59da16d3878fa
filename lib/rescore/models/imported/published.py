"""The networks whose weights their authors publish, by source and by the folder or file that the page names. No torch."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """A network whose weights its authors publish.

    Args:
        name, settings: of the network, as in a spec.
        channels, out_channels: of the images that it takes and gives: 6 are x and v of CLD.
        side: of the images.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    channels: int = 3
    out_channels: int = 3
    side: int = 32


_DISCRETE_VE = {"embedding": "positional", "sigmas": [0.01, 50.0]}
_CLD = {"blocks": 8, "scale_by_sigma": False, "unit_input": False}
PUBLISHED: dict[str, dict[str, Published]] = {
    "score_sde": {
        "ve/cifar10_ncsnpp": Published("ncsnpp", _DISCRETE_VE),
        "ve/cifar10_ncsnpp_continuous": Published("ncsnpp"),
        "ve/cifar10_ncsnpp_deep_continuous": Published("ncsnpp_deep"),
        "vp/cifar10_ddpm": Published("ddpm"),
        "vp/cifar10_ddpm_continuous": Published("ddpm"),
        "vp/cifar10_ddpmpp": Published("ddpmpp"),
        "vp/cifar10_ddpmpp_continuous": Published("ddpmpp"),
        "vp/cifar10_ddpmpp_deep_continuous": Published("ddpmpp_deep"),
        "subvp/cifar10_ddpm_continuous": Published("ddpm"),
        "subvp/cifar10_ddpmpp_continuous": Published("ddpmpp"),
        "subvp/cifar10_ddpmpp_deep_continuous": Published("ddpmpp_deep"),
    },
    "cld": {"cifar10": Published("ncsnpp", _CLD, channels=6)},
    "gddim": {"cld_cifar10": Published("ncsnpp", _CLD, channels=6, out_channels=6), "blur_cifar10": Published("ncsnpp", _CLD)},
    "edm": {"baseline-cifar10-32x32-uncond-vp": Published("ddpmpp")},
}
