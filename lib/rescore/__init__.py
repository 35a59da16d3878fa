"""rescore: published numbers of score-based and SDE generative models, measured again.

`import rescore` loads nothing else. The names below, and the library's modules, such as `rescore.samplers`, are imported when
they are first used (PEP 562), so that commands which need no torch start without it.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

EXPORTS = {
    "rescore.processes": ("VE", "VP", "SubVP", "CosineVP", "CLD", "Blurring", "grids"),
    "rescore.scores": ("GaussianMixture", "EmpiricalData"),
    "rescore.samplers": (
        "ancestral",
        "ddim",
        "euler_maruyama",
        "gddim",
        "gddim_stochastic",
        "ipndm",
        "predictor_corrector",
        "probability_flow",
        "rhoab_deis",
        "rhork_deis",
        "runge_kutta",
        "sscs",
        "tab_deis",
    ),
    "rescore.problems": ("ExactProblem",),
    "rescore.likelihood": ("flow_log_prob", "elbo"),
    "rescore.random": ("Streams", "make_generator"),
    "rescore.errors": ("RescoreError", "Diverged"),
}
"""By module, the names that are here too."""

_PLACES = {name: module for module, names in EXPORTS.items() for name in names}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    """An exported name or a module of the library; it is kept, so that Python asks once."""
    module = f"{__name__}.{name}"
    if name in _PLACES:
        value = getattr(import_module(_PLACES[name]), name)
    elif name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        try:
            value = import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
