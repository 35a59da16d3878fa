"""How many claims a false discovery rate lets us call decided."""

import random

import pytest
from rescore.ledger.statistics import decided
from scipy.stats import false_discovery_control


@pytest.mark.parametrize("seed", range(20))
def test_decided_at_a_false_discovery_rate_is_scipys(seed):
    generator = random.Random(seed)
    p_values = [generator.random() ** generator.choice([1, 2, 6]) for _ in range(generator.randint(1, 60))] + [0.05, 0.0]
    assert decided(p_values) == (false_discovery_control(p_values) <= 0.05).sum()
    assert decided(p_values, 0.3) == (false_discovery_control(p_values) <= 0.3).sum() > 0


def test_decided_counts_all_up_to_the_last_below_its_line():
    assert decided([0.03, 0.03, 0.03]) == 3, "above the line of rank 1, below that of rank 3"
    assert decided([0.05]) == 1 and decided([0.051]) == 0 and decided([]) == 0
