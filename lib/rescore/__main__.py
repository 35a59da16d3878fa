"""`python -m rescore`: the command line."""

import sys

from rescore.cli import main

sys.exit(main())
