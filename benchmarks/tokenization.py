"""Compares the speed of our tokenizers with the `tokenizers` library (fast) and with Transformers (slow).

    python benchmarks/tokenization.py [--texts FILE] [--transformers-4 PYTHON] [--rounds 9] [--json FILE]

In each round our tokenizer and its peer run one after the other. The output shows texts per second, and the ratio of
our speed to the peer's as median (smallest to largest). Transformers 5 does not have a slow tokenizer, so
`--transformers-4` names a Python with version 4.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from distilbert_core import DEFAULT_MODEL, DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.files.hub import EMBEDDED_MODELS

VOCAB = EMBEDDED_MODELS / DEFAULT_MODEL / "vocab.txt"
COUNT = 10_000
PEER = """
import json, sys, time
from transformers import DistilBertTokenizer
tokenizer, texts = DistilBertTokenizer(sys.argv[1]), json.load(sys.stdin)
for _ in range(2):
    start = time.perf_counter()
    tokenizer(texts)
    seconds = time.perf_counter() - start
print("seconds", seconds)
"""

Timed = Callable[[], float]  # does the work, and returns the seconds it took


def read_texts(path: Path | None) -> list[str]:
    """Return the first column of a tab-separated file, or texts of random words if there is no file."""
    if path is None:
        return list(made_up_texts())
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as lines:
        texts = [row[0] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if row][1:]
    random.Random(0).shuffle(texts)
    return texts[:COUNT]


def made_up_texts() -> Iterator[str]:
    """Yield texts of random words with the length of short sentences."""
    chance = random.Random(0)
    words = [token for token in VOCAB.read_text(encoding="utf-8").split() if token.isalpha()]
    for _ in range(COUNT):
        yield " ".join(chance.choices(words, k=1 + int(chance.lognormvariate(2.2, 0.7))))


def timed(work: Callable[[], object]) -> Timed:
    """Return a function that does the work and says how long it took."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def pairs(texts: list[str], transformers_4: str | None) -> dict[str, tuple[Timed, Timed]]:
    """Return ours and the peer of each comparison."""
    fast, slow = DistilBertTokenizerFast(VOCAB), DistilBertTokenizer(VOCAB)
    bare = DistilBertTokenizerFast(VOCAB).backend_tokenizer
    padding_bare = DistilBertTokenizerFast(VOCAB).backend_tokenizer
    padding_bare.enable_padding()

    def arrays_of_bare() -> list[np.ndarray]:
        encodings = padding_bare.encode_batch(texts)
        return [np.array([getattr(one, name) for one in encodings]) for name in ("ids", "attention_mask")]

    def transformers_slow() -> float:
        command = [str(transformers_4), "-c", PEER, str(VOCAB)]
        done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
        return float(done.stdout.split("seconds")[-1])

    arrays = timed(lambda: fast(texts, padding=True, return_tensors="np"))
    compared = {
        "fast, padded arrays / tokenizers, padded arrays": (arrays, timed(arrays_of_bare)),
        "fast, padded arrays / tokenizers, encode_batch alone": (arrays, timed(lambda: bare.encode_batch(texts))),
    }
    if transformers_4:
        compared["slow / Transformers 4's slow"] = (timed(lambda: slow(texts)), transformers_slow)
    return compared


def main() -> None:
    """Measure all pairs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="tab-separated file with a header and texts in its first column")
    parser.add_argument("--transformers-4", metavar="PYTHON", help="a Python with Transformers 4")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    texts = read_texts(args.texts)
    table = Table("ours / peer", "ours [texts/s]", "peer [texts/s]", "ratio of speeds")
    results = []
    for name, (ours, peer) in pairs(texts, args.transformers_4).items():
        ours(), peer()  # the first calls include the set-up
        runs = [(ours(), peer()) for _ in track(range(args.rounds), name, transient=True)]
        speeds = [len(texts) / statistics.median(column) for column in zip(*runs, strict=True)]
        ratios = sorted(theirs / own for own, theirs in runs)
        middle = statistics.median(ratios)
        table.add_row(
            name, *(f"{speed:,.0f}" for speed in speeds), f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
        results.append({"name": name, "ours": speeds[0], "peer": speeds[1], "ratios": ratios})
    if not args.transformers_4:
        table.add_row("slow / Transformers 4's slow", "", "", "no --transformers-4")
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
