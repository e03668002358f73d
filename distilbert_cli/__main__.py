"""`python -m distilbert_cli`: the `distilbert` command."""

import sys

from distilbert_cli import main

sys.exit(main())
