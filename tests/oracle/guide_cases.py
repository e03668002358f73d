"""Write what the old sides of the guides in docs/moving compute, each with its library.

    python tests/oracle/guide_cases.py PAGE [--out folder]

PAGE is the name of a guide without its ending. It needs the tox environment that `ENVIRONMENTS` names. This project
is found from this file: it writes the checkpoints that the blocks open.
"""

import argparse
import importlib.metadata
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.guides import RESULTS, TOLERANCES, write_results  # noqa: E402  it is not installed there

# Page -> the tox environment, and the library with its version.
ENVIRONMENTS = {
    "from-tf-transformers": ("oracle", "transformers", "4.53.3"),
    "from-flax-transformers": ("oracle", "transformers", "4.53.3"),
    "from-transformers-5": ("sentence-vectors", "transformers", "5.23.0"),
    "from-sentence-transformers": ("sentence-vectors", "sentence-transformers", "6.2.0"),
    "kerashub": ("kerashub", "keras-hub", "0.32.0"),
}


def is_here(page: str) -> bool:
    """Whether the library of a page is installed, in its version."""
    _, library, version = ENVIRONMENTS[page]
    try:
        return importlib.metadata.version(library) == version
    except importlib.metadata.PackageNotFoundError:
        return False


def main() -> None:
    """Read the command line and write the results of a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", choices=list(TOLERANCES))
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write (default: %(default)s)")
    arguments = parser.parse_args()
    if not is_here(arguments.page):
        raise SystemExit("{1} {2} is not installed: use the tox environment {0}".format(*ENVIRONMENTS[arguments.page]))
    with tempfile.TemporaryDirectory() as folder:
        write_results(arguments.page, arguments.out, Path(folder))


if __name__ == "__main__":
    main()
