"""Coverage-guided fuzzing of the readers in plain Python, with atheris: `tox run -e fuzz`.

    python tests/fuzz/fuzz_readers.py READER FOLDER [SECONDS]

READER is one of `READERS`. FOLDER keeps the inputs that reached new lines of code; it begins with a valid file. An
error that is not of this package, or whose message is long or does not name the file, ends the run; atheris prints the
input and writes it to a file crash-*.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["distilbert_core"]):
    from distilbert_core.errors import DistilBertError
    from distilbert_core.files.records import parse_records
    from distilbert_core.files.shards import read_index
    from distilbert_core.model.config import DistilBertConfig
    from distilbert_core.tokenization import DistilBertTokenizer

    # Imported by its first call otherwise, which would not be instrumented.
    from distilbert_core.tokenization import wordpiece  # noqa: F401  isort: skip

LONGEST = 1000  # characters of a message


def _records(path: Path) -> None:
    for _ in parse_records(path, ["text"]):
        pass


def _tokenizer(path: Path) -> None:
    tokenizer = DistilBertTokenizer.from_pretrained(path.parent)
    tokenizer("a b [MASK]")


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {  # name -> the file, and the function that reads it
    "config": ("config.json", DistilBertConfig.from_json_file),
    "index": ("model.safetensors.index.json", read_index),
    "tokenizer": ("tokenizer.json", _tokenizer),
    "vocabulary": ("vocab.txt", _tokenizer),
    "options": ("tokenizer_config.json", _tokenizer),
    "csv": ("a.csv", _records),
    "jsonl": ("a.jsonl", _records),
}
VOCABULARY = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n"
SEEDS = {
    "config": DistilBertConfig(num_labels=2, pruned_heads={0: [1]}).to_json_string().encode(),
    "index": b'{"metadata": {"total_size": 8}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}',
    "vocabulary": VOCABULARY,
    "options": b'{"do_lower_case": true, "model_max_length": 512, "added_tokens_decoder": {"0": {"content": "[PAD]"}}}',
    "csv": b'text,label\n"a, ""b""",1\n',
    "jsonl": b'{"text": "a", "label": [1.5, null, "\\ud83d\\ude00"]}\n',
}


def seed(name: str, folder: Path) -> bytes:
    """Return a valid file of a reader."""
    if name in SEEDS:
        return SEEDS[name]
    (folder / "vocab.txt").write_bytes(VOCABULARY)
    tokenizer = DistilBertTokenizer(folder / "vocab.txt")
    (folder / "vocab.txt").unlink()
    return tokenizer.files()["tokenizer.json"]


def read_one(name: str, folder: Path, content: bytes) -> None:
    """Read a file with some content.

    Raises:
        AssertionError: The message of the error is long, or does not name the file.
        Exception: The reader raises an error that is not of this package.
    """
    file, read = READERS[name]
    (folder / file).write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(folder / file)
    except DistilBertError as error:
        message = str(error)
        if len(message) > LONGEST or str(folder) not in message:
            raise AssertionError(f"a message of {len(message)} characters: {message[:LONGEST]}") from error


def main() -> None:
    """Run atheris on one reader."""
    name, corpus, seconds = (*sys.argv[1:], "60")[:3]
    Path(corpus).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (Path(corpus) / "valid").write_bytes(seed(name, folder))
        if name == "options":
            (folder / "vocab.txt").write_bytes(VOCABULARY)
        arguments = [sys.argv[0], corpus, f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=1000"]
        atheris.Setup(arguments, lambda content: read_one(name, folder, content))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
