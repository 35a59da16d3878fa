"""The command `rescore`, and `python -m rescore`: the command line."""

import sys


def main() -> int:
    """Run one command; returns the exit status, of one that is interrupted while its code is imported too."""
    try:
        from rescore.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("rescore: interrupted", file=sys.stderr)
        return 130  # `rescore.cli.INTERRUPTED`


if __name__ == "__main__":
    sys.exit(main())
