"""Measures speed and memory of a pipeline on a long stream of sentences, compared with the bare model.

    python benchmarks/streaming.py [--stream 100000] [--backends pt tf flax] [--models base sst2-tiny]
        [--texts FILE] [--json FILE] [--png FILE]

In each round the pipeline tokenizes and classifies the next 1,024 sentences, and then the bare inference object runs
row (b) of inference.py: 32 rows with the lengths of English sentences, padded to 128. The output shows real tokens and
sentences per second, the ratio of tokens per second as median (smallest to largest) over the rounds, and the growth of
the pipeline process's memory after the first tenth of the stream.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contests import (
    SIZES,
    TABLE_WIDTH,
    Contest,
    Measured,
    Spread,
    add_output_arguments,
    draw,
    english_lengths,
    made_up_texts,
    write,
    write_model,
)
from inference import OURS, ROWS, arrays_of, ours
from rich.console import Console
from rich.table import Table
from worker import Contestant, Repetition

from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast

TURN_SENTENCES = 1024  # sentences of a turn; the pipeline reads as many ahead


def forever(texts: Path) -> Iterator[str]:
    """Yield the lines of a file in an endless loop."""
    while True:
        with texts.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\n") for line in lines)


def streaming(job: dict[str, Any], backend: str) -> Repetition:
    """Our pipeline on an endless stream. A repetition reads the next block, and returns its number of tokens."""
    from distilbert_core.pipelines import pipeline

    classify = pipeline("text-classification", job["folder"], framework=backend, progress=False, truncation=True)
    answers = classify.stream(forever(Path(job["texts"], "texts.txt")))
    lengths = itertools.cycle(np.load(Path(job["texts"], "lengths.npy")).tolist())

    def run() -> int:
        count = sum(1 for _ in itertools.islice(answers, TURN_SENTENCES))
        return sum(itertools.islice(lengths, count))

    return run


def bare(job: dict[str, Any], backend: str) -> Repetition:
    """Our inference object on row (b)."""
    run, tokens = ours(job, backend), int(arrays_of(ROWS["b"])["attention_mask"].sum())

    def count() -> int:
        run()
        return tokens

    return count


CONTESTANTS = {
    **{f"ours {backend} stream": Contestant(partial(streaming, backend=backend), OURS[backend]) for backend in OURS},
    **{f"ours {backend} batch": Contestant(partial(bare, backend=backend), OURS[backend]) for backend in OURS},
}


def tokens_per_second(measured: Measured) -> list[float]:
    """Return the tokens per second of each round."""
    return [tokens / seconds for tokens, seconds in zip(measured.values, measured.seconds, strict=True)]


def summary(stream: Measured, batch: Measured) -> dict[str, Any]:
    """Return speeds, their ratio, and memory; the first tenth of the rounds does not count for the memory."""
    speeds = tokens_per_second(stream), tokens_per_second(batch)
    warm = stream.memory[len(stream.memory) // 10]
    return {
        "stream_tokens_per_second": Spread.of(speeds[0]),
        "batch_tokens_per_second": Spread.of(speeds[1]),
        "ratio": Spread.of([ours / theirs for ours, theirs in zip(*speeds, strict=True)]),
        "sentences_per_second": Spread.of([TURN_SENTENCES / seconds for seconds in stream.seconds]),
        "memory_bytes": stream.memory,
        "memory_growth_bytes": max(stream.memory[len(stream.memory) // 10 :]) - warm,
        "versions": stream.versions,
    }


def write_texts(folder: Path, texts: Path | None) -> None:
    """Write the texts to stream, and the number of tokens of each."""
    if texts is None:
        rng = np.random.default_rng(0)
        lines = made_up_texts(rng, english_lengths(rng, 10 * TURN_SENTENCES, 128))
    else:
        lines = texts.read_text(encoding="utf-8").splitlines()
    (folder / "texts.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    encoding = tokenizer(lines, truncation=True, max_length=512)
    np.save(folder / "lengths.npy", [len(ids) for ids in encoding["input_ids"]])


def main(words: Sequence[str] | None = None) -> None:
    """Run the selected models and backends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", type=int, default=100_000, help="sentences (default: %(default)s)")
    parser.add_argument("--backends", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument(
        "--models", nargs="+", default=["base", DEFAULT_MODEL], help="base or tiny (random weights), or checkpoints"
    )
    parser.add_argument("--texts", type=Path, help="texts to stream, one per line (default: random words)")
    add_output_arguments(parser)
    arguments = parser.parse_args(words)
    rounds = math.ceil(arguments.stream / TURN_SENTENCES)
    # A turn has one repetition, because a block of the stream is long enough.
    contest = Contest(__file__, CONTESTANTS, {}, arguments.threads, rounds, seconds=0)
    table = Table("model, backend", "sentences/s", "tokens/s", "row (b)", "ratio", "memory", "growth")
    results: list[dict[str, Any]] = []
    panels: dict[str, dict[str, Spread]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder, arguments.texts)
        np.savez(folder / "b.npz", **arrays_of(ROWS["b"]))
        for model, backend in itertools.product(arguments.models, arguments.backends):
            source = model
            if model in SIZES:
                source = str(folder / model)
                write_model(Path(source), model)
            job = {"folder": source, "texts": name, "inputs": str(folder / "b.npz")}
            stream, batch = contest.run([f"ours {backend} stream", f"ours {backend} batch"], job)
            if stream.problem or batch.problem:
                table.add_row(f"{model}, {backend}", stream.problem or batch.problem)
                continue
            result = summary(stream, batch)
            table.add_row(
                f"{model}, {backend}",
                f"{result['sentences_per_second'].median:.4g}",
                *(f"{result[f'{way}_tokens_per_second'].median:,.0f}" for way in ("stream", "batch")),
                str(result["ratio"]),
                f"{stream.memory[-1] / 1e6:,.0f} MB",
                f"{result['memory_growth_bytes'] / 1e6:+.1f} MB",
            )
            results.append({"model": model, "backend": backend, **result})
            panels[f"{model}, {backend}"] = {
                "ours, streaming": result["stream_tokens_per_second"],
                "bare model": result["batch_tokens_per_second"],
            }
            write(arguments, results)
            draw(arguments.png, panels, "real tokens")
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table)


if __name__ == "__main__":
    main()
