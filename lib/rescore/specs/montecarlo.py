"""What papers on log Z set alike: trainings with several estimates each, flows as transports and annealed particles."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from rescore.config import PaperConfig
from rescore.settings import Seeds, Settings
from rescore.specs.training import TrainingConfig

Family = Literal["diagonal_affine", "affine_autoregressive", "spline_autoregressive"]
"""Of flows, `rescore.flows.transport`."""


class FlowTraining(TrainingConfig):
    """A flow of some family and its training.

    Args:
        layers: of an autoregressive flow, each with a masked network of two hidden layers of `hidden` units.
        bins, bound: of a spline, `bins` pieces on [-bound, bound].
    """

    layers: PositiveInt = 1
    hidden: PositiveInt = 64
    bins: PositiveInt = 10
    bound: PositiveFloat = 10.0

    def protocol_of(self, family: Family) -> dict[str, object]:
        """What the ledger says about a flow of this family."""
        networks = {} if family == "diagonal_affine" else {"flow_layers": self.layers, "flow_hidden": self.hidden}
        spline = {"flow_bins": self.bins, "flow_bound": self.bound} if family == "spline_autoregressive" else {}
        return self.protocol | {"flow": family} | networks | spline


class AnnealingSettings(Settings):
    """A geometric path from N(0, I), with HMC moves at each temperature; see `rescore.montecarlo.smc.Annealing`."""

    temperatures: PositiveInt = 10
    hmc_steps: PositiveInt = 10
    leapfrogs: PositiveInt = 10
    resample_below: float = Field(0.3, ge=0, le=1)


class RunsConfig(PaperConfig):
    """One scale of a paper whose numbers are of `runs` estimates, runs / seeds of each training and at least 2."""

    seeds: Seeds
    runs: PositiveInt

    @model_validator(mode="after")
    def _runs_are_shared_out(self) -> Self:
        if self.runs % len(self.seeds) or self.runs < 2 * len(self.seeds):
            raise ValueError(f"runs: {self.runs} is not a multiple of the {len(self.seeds)} seeds, at least 2 for each")
        return self
