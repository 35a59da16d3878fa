"""The command `rescore`, and `python -m rescore`: the command line."""

import atexit
import os
import sys
from collections.abc import Sequence


def run() -> None:
    """Run one command and leave at once: to take the modules of torch apart takes long.

    What others have registered for the end of the process is done before: what came first is called last. A command that
    raises, such as one with a wrong option, leaves as any Python does, and so does one that is interrupted while its code is
    imported, with the status of one that is interrupted later.
    """
    ended: list[int] = []
    atexit.register(_leave, ended)
    try:
        from rescore.cli import main

        ended.append(main())
    except KeyboardInterrupt:
        print("rescore: interrupted", file=sys.stderr)
        sys.exit(130)  # `rescore.cli.INTERRUPTED`
    sys.exit(ended[0])


def _leave(ended: Sequence[int]) -> None:
    if ended:
        for stream in (sys.stdout, sys.stderr):
            if stream:  # None where it is closed
                stream.flush()
        os._exit(ended[0])


if __name__ == "__main__":
    run()
