"""The part of an export that needs a task: its texts for calibration, and its metric before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training import evaluate
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.sources import Source, open_source
from distilbert_core.training.tasks import LOWER_IS_BETTER, TASKS, Task
from weight_conversion.exports import load_graph
from weight_conversion.formats.base import Graph

MOST_TOKENS = 128  # tokens of a text, if no task says how long its texts are


def task_of(config: DistilBertConfig, head: Head) -> type[Task] | None:
    """Return the task of a checkpoint: that of its head and its `problem_type`; None for the base model.

    Example:
        >>> from distilbert_core import DistilBertConfig, Head
        >>> from distilbert_cli.quantizing import task_of
        >>> task_of(DistilBertConfig(num_labels=1), Head.SEQUENCE_CLASSIFICATION).name
        'regression'
    """
    kinds = [kind for kind in TASKS.values() if kind.head is head]
    if len(kinds) < 2:
        return kinds[0] if kinds else None
    default = "regression" if config.num_labels == 1 else "single_label_classification"
    problem_type = getattr(config, "problem_type", None) or default
    return next(kind for kind in kinds if kind.problem_type == problem_type)


def encode(
    file: Any, tokenizer: DistilBertTokenizerFast, config: DistilBertConfig, head: Head, columns: Mapping[str, str]
) -> list[list[int]]:
    """Return the token ids of the texts of a file, for calibration.

    Args:
        file: A file, or rows in memory, in any form that `finetune` takes; labels are not needed for a task whose rows
            are texts.
        tokenizer: The model's tokenizer.
        config: The configuration of the model.
        head: Its head.
        columns: Names of the columns, if they differ from the task's.

    Raises:
        InputError: The file cannot be read, or a name of a column is unknown.
    """
    kind = task_of(config, head)
    opened = open_source("calibrate", file)
    readers = {} if kind is None else kind.readers
    of_texts = kind is None or "text" in kind.columns
    if opened.suffix not in readers and (of_texts or not opened.has_columns):
        known = {"text", "text_pair"} if kind is None else {"text", "text_pair", *kind.columns, *kind.optional}
        unknown = sorted(columns.keys() - known)
        if unknown:
            raise InputError(f"columns must name text or text_pair; unknown: {', '.join(unknown)}.")
        texts, pairs = _texts(opened, columns)
        length = min(MOST_TOKENS, tokenizer.model_max_length, config.max_position_embeddings)
        windows = tokenizer(texts, pairs, truncation=True, max_length=length).encodings
        return [window.ids for window in windows]
    assert kind is not None
    task = kind(tokenizer, config, Recipe())
    rows = kind.read_for_evaluation(opened, columns)
    features = task.features(rows)
    ragged = [task.texts([feature]) for feature in features]
    return [ids.tolist() for texts in ragged for ids in texts.split(texts.ids)]


def _texts(source: Source, columns: Mapping[str, str]) -> tuple[list[str], list[str] | None]:
    """Return the texts of a source, and their second texts if it has a column of them."""
    text, pair = columns.get("text", "text"), columns.get("text_pair", "text_pair")
    wanted = [text, pair] if "text_pair" in columns or pair in source.column_names() else [text]
    records = list(source.records(wanted))
    for record, values in enumerate(records, 1):
        if not all(isinstance(value, str) for value in values):
            raise InputError(f"{source.place(record)}: {' and '.join(wanted)} must be texts, got {values!r}.")
    return [values[0] for values in records], [values[1] for values in records] if len(wanted) == 2 else None


@dataclass(frozen=True)
class Measurement:
    """The metric of a task before and after a conversion.

    Attributes:
        name: Name of the metric.
        file: Name of the data.
        graph: Name of the exported file.
        before: Metric of the checkpoint, on a backend in float32.
        after: Metric of the exported file, in its runtime.
    """

    name: str
    file: str
    graph: str
    before: float
    after: float

    @property
    def drop(self) -> float:
        """What was lost: in points, of 100; of a loss, in percent of the loss before. Negative if it was gained."""
        if self.name in LOWER_IS_BETTER:
            return 100 * (self.after - self.before) / self.before
        return 100 * (self.before - self.after)

    def __str__(self) -> str:
        unit = "%" if self.name in LOWER_IS_BETTER else " points"
        change = f"{self.before:.4f} before, {self.after:.4f} in {self.graph} ({-self.drop:+.2f}{unit})"
        return f"{self.name} on {self.file}: {change}"


def measure(
    file: Path,
    source: str,
    folder: Path,
    graphs: Sequence[Graph],
    kind: type[Task],
    columns: Mapping[str, str],
    **hub_options: Any,
) -> list[Measurement]:
    """Return the metric of a task before and after a conversion, for each graph.

    Args:
        file: The evaluation data.
        source: The checkpoint.
        folder: Folder of the converted model.
        graphs: The graphs in the folder.
        kind: The task.
        columns: Names of the columns, if they differ from the task's.
        **hub_options: Options of the Hub for the checkpoint.
    """
    before = evaluate(kind.name, file, model=source, columns=columns, **hub_options)[kind.metric]
    config, found = DistilBertConfig.from_pretrained(folder), []
    for graph in graphs:
        inference = load_graph(graph, folder, kind.head, config)
        after = evaluate(kind.name, file, model=folder, inference=inference, columns=columns)[kind.metric]
        found.append(Measurement(kind.metric, str(file), graph.file, before, after))
    return found


def check_drop(measured: Sequence[Measurement], max_drop: float | None) -> str:
    """Return a note on measurements, or raise CheckpointError if more was lost than `max_drop`."""
    for one in measured:
        if max_drop is not None and not one.drop <= max_drop:
            raise CheckpointError(f"{one}. More than --max-drop {max_drop:g} is lost, so nothing was written.")
    return "; ".join(map(str, measured)) + "."
