"""Write the checkpoints of Transformers 5: the same models as those of 4.53.3, with another config.json.

    python tests/oracle/checkpoints_of_5.py [--out folder]

Needs transformers 5.23.0 and torch 2.13.0, in an environment of their own.
"""

import argparse
from pathlib import Path

import transformers
from checkpoint_cases import FIXTURES, Checkpoint, write_checkpoint, write_pytorch

VERSION = "5.23.0"
CHECKPOINTS = (
    Checkpoint("pt5_masked_lm", "masked_lm", write_pytorch),
    Checkpoint("pt5_sequence_classification", "sequence_classification", write_pytorch),
)


def write_all(root: Path) -> None:
    """Write every checkpoint below `root`."""
    for checkpoint in CHECKPOINTS:
        write_checkpoint(checkpoint, root)


def main() -> None:
    """Read the command line and write the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FIXTURES, help="where to write (default: %(default)s)")
    arguments = parser.parse_args()
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, found {transformers.__version__}")
    write_all(arguments.out)


if __name__ == "__main__":
    main()
