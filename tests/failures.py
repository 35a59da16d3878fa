"""What tests of errors share: the message of a call that fails, and a network that refuses."""

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
