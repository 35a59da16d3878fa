"""The command `rescore`, and `python -m rescore`: the command line."""

import sys


def run() -> None:
    """Run one command and exit with its status, also of one that is interrupted while its code is imported."""
    try:
        from rescore.cli import main

        status = main()
    except KeyboardInterrupt:
        print("rescore: interrupted", file=sys.stderr)
        status = 130  # `rescore.cli.INTERRUPTED`
    sys.exit(status)


if __name__ == "__main__":
    run()
