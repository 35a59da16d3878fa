"""What tests of errors share: the message of a call that fails, a network that refuses and a full disk."""

import resource
from contextlib import contextmanager

import pytest
from rescore.errors import RescoreError


def failure(function, *arguments, kind: type[RescoreError] = RescoreError, **options) -> str:
    """What the call says as it fails: an error of just this kind, in one line."""
    with pytest.raises(kind) as error:
        function(*arguments, **options)
    assert type(error.value) is kind and "\n" not in str(error.value)
    return str(error.value)


def refused(*_, **__):
    """In place of `requests.get`."""
    raise OSError("connection refused")


@contextmanager
def full_disk():
    """No file may grow beyond 2 MB: what a full disk does, by the system itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
