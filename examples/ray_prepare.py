"""Tokenize a corpus of many files on all machines of a cluster, with Ray Data.

    pip install "distilbert" "ray[data]"
    python examples/ray_prepare.py masked-lm OUT 'corpus/*.txt.gz' --model ./student --for distill --max-length 512
    distilbert distill --task masked-lm --data 'OUT/part-*' ...

Each file becomes a folder of token shards in OUT, which all machines must see: part-00000, part-00001 and so on, in
the order of the names of the files. `finetune` and `distill` take all of them together. A task that Ray repeats because
its machine was lost goes on after the last finished file of its folder; so does the whole command when it is repeated.

A task uses one core. Files of similar size, at least as many as there are cores, keep all of them busy.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray.data

from distilbert_core.training import prepare
from distilbert_core.training.preparing import PURPOSES


def prepare_file(row: dict[str, Any], task: str, **options: Any) -> dict[str, Any]:
    """Prepare a file, in a process of Ray.

    Args:
        row: The `path` of the file, and the `output`.
        task: Task of the model.
        **options: Keywords of `prepare`.
    """
    shards = prepare(task, row["path"], output=row["output"], progress=False, **options)
    return {**row, "rows": shards.rows, "tokens": shards.tokens}


def prepare_files(task: str, files: Sequence[Path], output: Path, **options: Any) -> list[dict[str, Any]]:
    """Prepare files on all cores of the cluster; return path, output, rows and tokens of each.

    Args:
        task: Task of the model.
        files: The files of the corpus.
        output: Folder of the folders of token shards.
        **options: Keywords of `prepare`.
    """
    rows = [
        {"path": str(file.absolute()), "output": str(output.absolute() / f"part-{number:05d}")}
        for number, file in enumerate(files)
    ]
    parts = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        prepare_file, fn_args=(task,), fn_kwargs=options
    )
    return sorted(parts.take_all(), key=lambda row: row["output"])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="task of the model")
    parser.add_argument("output", type=Path, help="folder for the folders of token shards")
    parser.add_argument("files", help="the files of the corpus, as a pattern in quotes")
    parser.add_argument("--model", required=True, help="checkpoint to train, for its tokenizer and its labels")
    parser.add_argument("--for", dest="purpose", choices=list(PURPOSES), default="finetune", help="what will read them")
    parser.add_argument("--max-length", type=int, help="maximum length of a row in tokens")
    args = parser.parse_args()
    pattern = Path(args.files)
    files = sorted(pattern.parent.glob(pattern.name))
    if not files:
        parser.error(f"no file matches {pattern}.")
    options = {"model": args.model, "purpose": args.purpose, "max_length": args.max_length}
    parts = prepare_files(args.task, files, args.output, **options)
    for part in parts:
        print(f"{part['output']}: {part['rows']:,} rows, {part['tokens']:,} tokens of {part['path']}")
    print(f"{args.output}: {sum(part['tokens'] for part in parts):,} tokens")


if __name__ == "__main__":
    main()
