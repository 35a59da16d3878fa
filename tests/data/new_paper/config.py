"""The settings of a run."""

from pydantic import PositiveInt
from rescore.config import JobConfig, PaperConfig, SectionSettings
from rescore.settings import Seeds


class Euler(SectionSettings):
    """Numbers of steps, and the shares of the score that the method keeps."""

    steps: tuple[PositiveInt, ...]
    shares: tuple[float, ...]


class Config(PaperConfig):
    """One scale of the paper."""

    seeds: Seeds = (0, 1, 2)
    samples: PositiveInt
    euler: Euler
    jobs: dict[str, JobConfig]
