"""Peak memory of the image metrics on 50,000 samples, each in a process of its own, which starts from nothing."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.benchmark_suite

LIMIT_MB = 2000

FROM_IMAGES = """
from rescore.metrics.features import ClassifierSettings, SmallClassifier, extract
model = SmallClassifier("small", (3, 32, 32), 10, ClassifierSettings(width=8))
real, generated = (
    extract(model, torch.randint(256, (N, 3, 32, 32), generator=g, dtype=torch.uint8), name) for name in ("real", "generated")
)
value = evaluate(generated, real, ["fid", "is", "kid"], ImageSettings(subsets=10))["fid"]
"""
FROM_FEATURES = """
real, generated = (Features("inception", name, torch.randn(N, 2048, generator=g)) for name in ("real", "generated"))
value = evaluate(generated, real, ["fid", "kid"], ImageSettings(subsets=2))["fid"]
"""
PROGRAM = """
import json, resource, torch
from rescore.metrics.features import Features
from rescore.metrics.images import ImageSettings, evaluate
torch.set_num_threads(1)
N, g = 50_000, torch.Generator().manual_seed(0)
{work}
print(json.dumps([value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


@pytest.mark.parametrize("work", [FROM_IMAGES, FROM_FEATURES], ids=["small features", "Inception's features"])
def test_50000_samples_take_less_than_2_gb(benchmark, work):
    """The whole process, libraries included; images of two sets one after the other, features of both together."""

    def run() -> tuple[float, float]:
        program, environment = [sys.executable, "-c", PROGRAM.format(work=work)], {**os.environ, "OMP_NUM_THREADS": "1"}
        return json.loads(subprocess.run(program, env=environment, check=True, stdout=subprocess.PIPE).stdout)

    value, peak_mb = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info |= {"value": value, "peak_mb": peak_mb}
    print(f"value {value:.3g}, peak {peak_mb:.0f} MB")
    assert value >= 0 and peak_mb < LIMIT_MB
