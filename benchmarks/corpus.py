"""Measures the memory of `prepare`, `distill` and masked-LM `finetune` on corpora of several sizes.

    python benchmarks/corpus.py [--sizes 1 10] [--repeat 1] [--steps 100] [--backends pt]
        [--folder FOLDER] [--json FILE]

For each size in GB (10**9 bytes) a text file of random words is made, tokenized by `distilbert prepare`, read by some
steps of `distilbert distill` and `distilbert finetune` with small models, and deleted. Each command is a process of its
own. Steps see rows of the whole corpus, in a random order. With `--repeat N` they also see its token shards N times: as
many rows and files as a corpus N times as large has, without the hours in which that would be tokenized.

The table has the peak of the resident memory of each process, and of `prepare` also that of the largest of its own
processes. The last column compares a peak with that for the smallest corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from contests import SIZES
from rich.console import Console
from rich.table import Table

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast

BLOCK = 50_000_000  # bytes of different text; it is repeated, each time under a heading of its own
LINE, DOCUMENT = 20, 40  # words of a line, lines of a document
# The kernel's own peak: that of `resource` begins with the memory of the process that started this one.
PEAKS = (
    "import re, resource, sys; from distilbert_cli import main; code = main(sys.argv[1:]); "
    "own = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]; "
    "print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)


def write_corpus(path: Path, size: int) -> None:
    """Write a text of random words in documents, about `size` bytes."""
    rng = np.random.default_rng(0)
    tokens = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL).get_vocab()
    words = np.array([token for token in tokens if token.isalpha()])
    frequency = 1 / (10 + np.arange(len(words)))  # Zipf's law
    drawn = rng.permutation(words)[rng.choice(len(words), BLOCK // 7, p=frequency / frequency.sum())].tolist()
    lines = [" ".join(drawn[start : start + LINE]) for start in range(0, len(drawn), LINE)]
    documents = ["\n".join(lines[start : start + DOCUMENT]) for start in range(0, len(lines), DOCUMENT)]
    block = "\n\n".join(documents) + "\n\n"
    with path.open("w") as file:
        for number in range(max(1, round(size / len(block)))):
            file.write(f"volume {number}\n\n{block}")


def write_language_model(folder: Path) -> None:
    """Write a small masked language model with random weights, and its tokenizer."""
    from distilbert_pt import DistilBertForMaskedLM

    DistilBertForMaskedLM(DistilBertConfig(**SIZES["tiny"])).save_pretrained(folder)
    DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL).save_pretrained(folder)


def run(words: list[str]) -> dict[str, float]:
    """Run a command; return its seconds, and the peak memory in MB of its process and of the largest of its own."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", PEAKS, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stderr[-2000:]}")
    own, child = (int(number) / 1024 for number in done.stderr.split()[-2:])
    return {"seconds": time.monotonic() - start, "MB": own, "MB of a process": child}


def commands(folder: Path, steps: int, backend: str, repeat: int) -> dict[str, list[str]]:
    """Return the commands that learn from the token shards, given `repeat` times, by name."""
    numbers = ["--max-steps", str(steps), "--eval-every", str(steps), "--batch-size", "8", "--max-length", "128"]
    numbers += ["--backend", backend]
    shared = ["--task", "masked-lm", *numbers]
    teacher, student = (str(folder / name) for name in ("teacher", "student"))
    for number in range(repeat):
        (folder / f"part-{number}").unlink(missing_ok=True)
        (folder / f"part-{number}").symlink_to(folder / "tokens")
    tokens = str(folder / "part-*")
    label = backend if repeat == 1 else f"{backend}, {repeat} times the shards"
    return {
        f"distill, {label}": ["distill", *shared, "--teacher", teacher, "--student", student, "--data", tokens],
        f"finetune, {label}": ["finetune", *shared, "--model", student, "--train", tokens],
    }


def measure(size: float, steps: int, backends: list[str], repeat: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return the peaks of all commands on a corpus of `size` GB."""
    corpus = folder / "corpus.txt"
    write_corpus(corpus, round(size * 1e9))
    for name in ("teacher", "student"):
        write_language_model(folder / name)
    prepare = ["prepare", "--task", "masked-lm", "--for", "distill", "--model", str(folder / "student")]
    measured = {
        "prepare": run([*prepare, "--max-length", "128", "--output", str(folder / "tokens"), str(corpus)])
        | {"bytes": corpus.stat().st_size}
    }
    corpus.unlink()
    for backend in backends:
        for times in sorted({1, repeat}):
            for name, words in commands(folder, steps, backend, times).items():
                measured[name] = run([*words, "--output", str(folder / "output")])
                shutil.rmtree(folder / "output")
    shutil.rmtree(folder / "tokens")
    return measured


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 10], help="sizes of the corpora in GB")
    parser.add_argument("--repeat", type=int, default=1, help="also give the shards of each corpus this often")
    parser.add_argument("--steps", type=int, default=100, help="steps of distill and finetune")
    parser.add_argument("--backends", nargs="+", default=["pt"], help="backends of distill and finetune")
    parser.add_argument("--folder", type=Path, help="where to make the corpora, with space for twice the largest one")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    results = {}
    for size in sorted(args.sizes):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            results[size] = measure(size, args.steps, args.backends, args.repeat, Path(folder))
    table = Table("GB", "command", "seconds", "MB", "MB of a process", "to the smallest")
    smallest = results[min(results)]
    for size, measured in results.items():
        for name, numbers in measured.items():
            once = ", ".join(name.split(", ")[:2])  # without the number of times
            ratio = numbers["MB"] / smallest[once]["MB"]
            columns = (numbers["seconds"], numbers["MB"], numbers["MB of a process"])
            table.add_row(f"{size:g}", name, *(f"{number:,.0f}" for number in columns), f"{100 * (ratio - 1):+.1f} %")
    Console(width=110).print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
