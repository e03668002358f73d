"""Preparing a corpus: its texts are tokenized once, into token shards that every run on every backend reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.checks import check_choice, positive_integer
from distilbert_core.errors import InputError
from distilbert_core.files.hub import split_hub_options
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training.data import LargeData, task_labels
from distilbert_core.training.distillation.distilling import DISTILLATION_TASKS
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.experiment import find_task
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.shard_writing import write_shards
from distilbert_core.training.shards import TokenShards
from distilbert_core.training.sources import open_sources
from distilbert_core.training.tasks import TASKS, Task

PURPOSES: dict[str, tuple[Mapping[str, type[Task]], type[Recipe]]] = {
    "finetune": (TASKS, Recipe),
    "distill": (DISTILLATION_TASKS, DistillationRecipe),
}


def prepare(
    task: str,
    data: Any,
    *,
    model: str | Path,
    output: str | Path,
    purpose: str = "finetune",
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    new_head: bool = False,
    max_length: int | None = None,
    processes: int = 1,
    rows_per_shard: int | None = None,
    progress: bool | None = None,
    **hub_options: Any,
) -> TokenShards:
    r"""Tokenize a corpus once, into token shards that `finetune`, `distill` and `evaluate` read in place of its files.

    A run on shards gives the same bits as a run on the files. It keeps only the rows of a few steps in memory, and so
    its memory does not grow with the corpus. All backends read the same shards, in the same order. A call that was
    stopped goes on when it is repeated, and the result does not depend on the number of processes.

    Args:
        task: 'masked-lm', 'sequence-classification' or 'regression'.
        data: The corpus, in any form that `finetune` takes for `train`, or a list of several. A
            `datasets.IterableDataset` is read row by row.
        model: Folder, embedded model or Hub id of the model to train, for its tokenizer and its labels.
        output: Folder to make, or to complete.
        purpose: 'finetune' or 'distill'. For 'distill', the lines of a document are joined into full rows (masked-LM),
            and labels may be missing (classification).
        columns: Names of the columns, if they differ from the task's: {'text': 'sentence'}.
        labels: Names of the labels, in order. If left out, those of the model's head, or those of the rows.
        new_head: Use the labels of the rows, even if the model has a head for this task.
        max_length: Maximum length of a row in tokens; 128 if left out.
        processes: Number of processes that tokenize. With more than one, the calling script needs the usual
            `if __name__ == "__main__":`.
        rows_per_shard: Least number of rows of a file; those of 16 MB if left out.
        progress: True or False: always or never show a progress bar; None: in a terminal, on long work.
        **hub_options: Where to look for the model (`revision`, `cache_dir`, `token`, `local_files_only`, ...).

    Raises:
        CheckpointError: The model is missing or damaged, or the folder is damaged.
        InputError: A file, a row, a column, a label or an argument is impossible, or the folder was made of other data.
        OSError: The disk is full. Finished files stay.

    Warns:
        InputWarning: Rows are longer than `max_length`, so a part of them has no effect.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from distilbert_core.training import prepare
        >>> rows = [{"text": "What a lovely film.", "label": "POSITIVE"}, {"text": "Bad.", "label": "NEGATIVE"}]
        >>> with TemporaryDirectory() as folder:
        ...     output = Path(folder, "tokens")
        ...     shards = prepare("sequence-classification", rows, model="sst2-tiny", output=output, max_length=16)
        ...     shards.rows, shards.tokens, shards.features()[1].ids
        (2, 11, [101, 2919, 1012, 102])
    """
    check_choice("purpose", purpose, tuple(PURPOSES))
    tasks, recipe = PURPOSES[purpose]
    kind = find_task(task, tasks)
    hub_options, unknown = split_hub_options(hub_options)
    if unknown:
        raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
    if kind.stored_target is None:
        storable = ", ".join(name for name, other in tasks.items() if other.stored_target is not None)
        raise InputError(f"task must be one of {storable} to be prepared, got {task}: give its files to the run.")
    positive_integer("processes", processes)
    if rows_per_shard is not None:
        positive_integer("rows_per_shard", rows_per_shard)
    sources = open_sources("data", data)
    config = DistilBertConfig.from_pretrained(model, **hub_options)
    corpora = [LargeData(kind, source, columns, Path(output)) for source in sources]
    names = task_labels(kind, config, corpora, labels, model, new_head)
    tokenizer = DistilBertTokenizerFast.from_pretrained(model, **hub_options)
    return write_shards(
        kind(tokenizer, config.updated(**kind.config_fields(names)), recipe(max_length=max_length)),
        sources,
        Path(output).expanduser(),
        checksums=[corpus.checksum for corpus in corpora],
        columns=columns,
        processes=processes,
        rows_per_shard=rows_per_shard,
        progress=progress,
    )
