"""Label or embed the texts of many files, on all cores of a machine or on a cluster, with Ray Data.

    pip install "distilbert[pt]" "ray[data]"
    python examples/ray_inference.py text-classification OUT reviews/*.txt --workers 4
    python examples/ray_inference.py feature-extraction OUT reviews.jsonl --column review --model ./my-model

Ray reads the files in blocks, passes batches to worker processes with one model each, and writes Parquet files as
results arrive. Rows keep their columns and get the columns of the task. Sorted by name, the output files contain the
rows in their original order. The inputs are lines of text, or .jsonl, .csv or .parquet files with a column of texts.
Empty lines are skipped. Paths may be on any storage that Ray reads, such as s3://.

A worker uses `--cpus` cores, with one thread per core, and optionally a GPU. Leave at least one core of the cluster for
reading and writing; otherwise Ray reports that it will hang, and waits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray.data

from distilbert_core.pipelines import pipeline

Batch = dict[str, np.ndarray]  # column -> values [B, ...]

READERS: dict[str, Callable[..., ray.data.Dataset]] = {  # by suffix; other files are read as lines
    ".jsonl": ray.data.read_json,
    ".csv": ray.data.read_csv,
    ".parquet": ray.data.read_parquet,
}
OPTIONS: dict[str, dict[str, Any]] = {"text-classification": {}, "feature-extraction": {"pooling": "mean"}}
COLUMNS: dict[str, Callable[[list[Any]], Batch]] = {  # from results of the pipeline to new columns
    "text-classification": lambda answers: {
        "label": np.array([answer["label"] for answer in answers]),
        "score": np.array([answer["score"] for answer in answers]),
    },
    "feature-extraction": lambda vectors: {"embedding": np.stack(vectors)},  # [B, D]
}


class Predictor:
    """A pipeline in a worker process. It loads the model once, and then receives batch after batch.

    Args:
        task: A task of `COLUMNS`.
        column: Name of the column of texts.
        **options: Keywords of `pipeline`, such as model and framework.
    """

    def __init__(self, task: str, column: str = "text", **options: Any):
        self.column = column
        self.columns = COLUMNS[task]
        self.pipeline = pipeline(task, progress=False, **OPTIONS[task], **options)

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with the columns of the task added."""
        return {**batch, **self.columns(self.pipeline(batch[self.column].tolist()))}


def read(paths: Sequence[str]) -> ray.data.Dataset:
    """Return the rows of files of one format, with a column `path`; lines of text are the column `text`."""
    return READERS.get(Path(paths[0]).suffix, ray.data.read_text)(list(paths), include_paths=True)


def predict(
    dataset: ray.data.Dataset,
    task: str,
    *,
    workers: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    rows: int = 1024,
    **options: Any,
) -> ray.data.Dataset:
    """Return a data set with the columns of a task, in the same order. It is computed when it is read.

    Args:
        dataset: Rows with a column of texts.
        task: 'text-classification' (columns label and score) or 'feature-extraction' (embedding).
        workers: Number of workers, with one model each.
        cpus: Cores per worker.
        gpus: GPUs per worker; with 0.5, two workers share a GPU.
        rows: Rows that a worker receives at a time. The pipeline makes batches of similar length from them.
        **options: Keywords of `Predictor`.
    """
    dataset.context.execution_options.preserve_order = True
    return dataset.map_batches(
        Predictor,
        fn_constructor_kwargs={"task": task, **options},
        batch_size=rows,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cpus,
        num_gpus=gpus,
        udf_modifying_row_count=False,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read files, predict, and write Parquet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("task", choices=COLUMNS)
    parser.add_argument("out", metavar="OUT", help="folder to write; it must be new")
    parser.add_argument("paths", nargs="+", metavar="FILE", help="files of one format, or a folder of text files")
    parser.add_argument("--column", default="text")
    parser.add_argument("--model", help="folder, embedded model or Hub id")
    parser.add_argument("--framework", choices=("pt", "tf", "flax"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cpus", type=float, default=1)
    parser.add_argument("--gpus", type=float, default=0)
    options = vars(parser.parse_args(arguments))
    task, out, paths = (options.pop(name) for name in ("task", "out", "paths"))
    predict(read(paths), task, **options).write_parquet(out, mode="error")


if __name__ == "__main__":
    main()
