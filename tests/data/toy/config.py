"""The mean of draws whose mean is zero."""

import os
from typing import Literal

from rescore.config import JobConfig, PaperConfig


class Job(JobConfig):
    measure: dict[Literal["normal", "uniform"], tuple[Literal["mean"], ...]]
    draws: int = 1000


class Config(PaperConfig):
    seed: int = 0
    jobs: dict[str, Job]

    def data_fingerprint(self, job: str) -> str:
        return os.environ.get("TOY_DATA", "")
