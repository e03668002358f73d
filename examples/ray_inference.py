"""Label or embed the texts of many files, on all cores of a machine or on a cluster, with Ray Data.

    pip install "distilbert[pt]" "ray[data]"
    python examples/ray_inference.py text-classification OUT reviews/*.txt --workers 4
    python examples/ray_inference.py feature-extraction OUT reviews.jsonl --column review --model ./my-model

Ray reads the files in blocks, hands batches to worker processes that each hold one model, and writes Parquet files as
results come. Rows keep their columns and get those of the task; in the order of their names, the written files have the
rows in the order in which they were read. Files are lines of text, or .jsonl, .csv or .parquet with a column of texts;
empty lines are left out. Paths may be of any storage that Ray reads, such as s3://.

A worker takes `--cpus` cores, which also is the number of its threads, and perhaps a GPU. Leave at least one core of
the cluster to reading and writing: where the workers take all, Ray says that it will hang, and waits.
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

READERS: dict[str, Callable[..., ray.data.Dataset]] = {  # by the files' suffix; any other file has lines
    ".jsonl": ray.data.read_json,
    ".csv": ray.data.read_csv,
    ".parquet": ray.data.read_parquet,
}
OPTIONS: dict[str, dict[str, Any]] = {"text-classification": {}, "feature-extraction": {"pooling": "mean"}}
COLUMNS: dict[str, Callable[[list[Any]], Batch]] = {  # from a batch of the pipeline's results to new columns
    "text-classification": lambda answers: {
        "label": np.array([answer["label"] for answer in answers]),
        "score": np.array([answer["score"] for answer in answers]),
    },
    "feature-extraction": lambda vectors: {"embedding": np.stack(vectors)},  # [B, D]
}


class Predictor:
    """A pipeline in a worker process: it loads the model once and then takes batch after batch.

    Args:
        task: A task of `COLUMNS`.
        column: The column of texts.
        **options: Keywords of `pipeline`, such as model and framework.
    """

    def __init__(self, task: str, column: str = "text", **options: Any):
        self.column = column
        self.columns = COLUMNS[task]
        self.pipeline = pipeline(task, progress=False, **OPTIONS[task], **options)

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch with the task's columns beside its own."""
        return {**batch, **self.columns(self.pipeline(batch[self.column].tolist()))}


def read(paths: Sequence[str]) -> ray.data.Dataset:
    """Return the rows of files of one kind, with the column `path`; lines of text are the column `text`."""
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
    """Return a data set with the columns of a task, in the order of its rows. Nothing runs before it is read.

    Args:
        dataset: Rows with a column of texts.
        task: 'text-classification' (columns label and score) or 'feature-extraction' (embedding).
        workers: How many models work side by side.
        cpus: Cores of each.
        gpus: GPUs of each; 0.5 lets two share one.
        rows: Rows that a worker takes at a time; among them, the pipeline batches texts of like length.
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
    parser.add_argument("paths", nargs="+", metavar="FILE", help="files of one kind, or a folder of lines of text")
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
