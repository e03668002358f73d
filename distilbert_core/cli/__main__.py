"""`python -m distilbert_core.cli`: the `distilbert` command."""

import sys

from distilbert_core.cli import main

sys.exit(main())
