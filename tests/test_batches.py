"""Rows in batches: of a GPU whose memory does not hold as many, half as many, and the same numbers."""

from itertools import chain

import pytest
import torch
from rescore.machine.batches import in_batches
from rescore.models.judge import draw
from rescore.processes import VP
from rescore.random import make_generator
from rescore.samplers import ddim


def only(most: int, seen: list[range]):
    """Rows as they are; a memory that holds `most` of them."""

    def make(rows: range) -> list[int]:
        seen.append(rows)
        if len(rows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(rows)

    return make


def test_a_batch_that_the_memory_does_not_hold_is_halved_and_stays_so(capsys):
    seen: list[range] = []
    assert list(chain(*in_batches(11, 7, only(3, seen)))) == list(range(11))
    assert seen == [range(7), range(4), range(2), range(2, 4), range(4, 6), range(6, 8), range(8, 10), range(10, 11)]
    assert [line.split(": ")[-1] for line in capsys.readouterr().err.splitlines()] == ["going on with 4", "going on with 2"]


def test_batches_are_whole_where_they_fit():
    seen: list[range] = []
    assert list(chain(*in_batches(5, 2, only(2, seen)))) == list(range(5)) and seen == [range(2), range(2, 4), range(4, 5)]
    assert list(in_batches(0, 2, only(2, []))) == []


def test_a_single_row_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(3, 3, only(0, [])))


def test_samples_do_not_depend_on_what_the_memory_holds():
    """Sampler and score of N(0, I), with noise in every step."""
    process = VP()
    sampler = ddim(process, [1.0, 0.6, 0.3, 0.1], eta=1.0)

    def score(u: torch.Tensor, t: float) -> torch.Tensor:
        if len(u) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return -u

    small = draw(sampler, score, (1, 2, 2), 7, make_generator("batches"))
    whole = draw(sampler, lambda u, t: -u, (1, 2, 2), 7, make_generator("batches"))
    assert torch.equal(small.x, whole.x) and small.nfe == whole.nfe == 3
