"""Benchmarks run only when asked for: `pytest tests/benchmarks --benchmark-only`."""

import pytest


def pytest_collection_modifyitems(config, items):
    if config.getoption("--benchmark-only", default=False):
        return
    skip = pytest.mark.skip(reason="a speed measurement: add --benchmark-only")
    for item in items:
        if item.get_closest_marker("benchmark_suite"):
            item.add_marker(skip)
