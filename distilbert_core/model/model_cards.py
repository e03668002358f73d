"""Model cards: the README.md beside a checkpoint, with the metadata that the Hub reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from distilbert_core.errors import InputError, listed
from distilbert_core.files.boundary import reading
from distilbert_core.files.hub import CARD_FILE
from distilbert_core.files.json_files import read_content
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head

CONVERSIONS = "Conversions"  # heading of the history in a card
FEW_LABELS = 20

# The Hub's name of the task of a head.
PIPELINE_TAGS: Mapping[Head, str] = {
    Head.BASE: "feature-extraction",
    Head.MASKED_LM: "fill-mask",
    Head.SEQUENCE_CLASSIFICATION: "text-classification",
    Head.TOKEN_CLASSIFICATION: "token-classification",
    Head.QUESTION_ANSWERING: "question-answering",
    Head.MULTIPLE_CHOICE: "multiple-choice",
}


class Evaluation(NamedTuple):
    """The metrics of a checkpoint.

    Attributes:
        data: Name of the evaluation data.
        metrics: The metrics by name.
    """

    data: str
    metrics: Mapping[str, float]


def model_card(
    name: str,
    head: Head | None,
    config: DistilBertConfig,
    *,
    base_model: str | Path | None = None,
    datasets: Sequence[str] = (),
    evaluation: Evaluation | None = None,
    sections: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a model card.

    Args:
        name: Name of the model.
        head: Its head; None for a class of the user's own.
        config: Its configuration.
        base_model: The checkpoint that it was made from; the card names it if it is one of the Hub.
        datasets: Hub ids of the data sets that it learned from.
        evaluation: Its metrics, which the Hub shows beside the model.
        sections: Further sections: their headings and texts.

    Example:
        >>> from distilbert_core import DistilBertConfig, Head
        >>> from distilbert_core.model.model_cards import model_card
        >>> card = model_card("tiny", Head.MASKED_LM, DistilBertConfig(n_layers=2), base_model="me/large")
        >>> [line for line in card.splitlines() if ": " in line][:3]
        ['base_model: me/large', 'library_name: transformers', 'pipeline_tag: fill-mask']
    """
    from huggingface_hub import EvalResult, ModelCardData

    task = None if head is None else PIPELINE_TAGS.get(head)
    results = []
    if evaluation is not None and evaluation.metrics and task is not None:
        place = (task, evaluation.data, evaluation.data)
        results = [EvalResult(*place, metric_type=key, metric_value=value) for key, value in evaluation.metrics.items()]
    data = ModelCardData(
        model_name=name if results else None,
        library_name="transformers",  # the layout of the files, and so how the Hub shows and counts them
        pipeline_tag=task,
        tags=["distilbert"],
        base_model=None if base_model is None else hub_id(base_model),
        datasets=list(datasets) or None,
        eval_results=results or None,
    )
    parts = {
        "Use": _use(name, task),
        "Evaluation": "" if evaluation is None else _metrics(evaluation),
        **(sections or {}),
        "Limits": "Not described yet: for whom and for which texts this model is made, and where it fails.",
    }
    text = f"# {name}\n\n{_description(head, config)}\n"
    text += "".join(f"\n## {heading}\n\n{content}\n" for heading, content in parts.items() if content)
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _description(head: Head | None, config: DistilBertConfig) -> str:
    kind = "A DistilBERT with layers of its own" if head is None else f"A `{head.architecture}`"
    text = (
        f"{kind}: {config.n_layers} layers of width {config.dim}, {config.n_heads} heads, feed-forward width "
        f"{config.hidden_dim}, {config.vocab_size:,} tokens."
    )
    if head in (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION):
        labels = [str(label) for label in config.id2label.values()]
        text += f"\n\nIts labels are {listed(labels, most=FEW_LABELS)}."
    return text


def _use(name: str, task: str | None) -> str:
    if task is None:
        return ""
    source = name if "/" in name else f"./{name}"
    return (
        "```python\nfrom distilbert_core.pipelines import pipeline\n\n"
        f'run = pipeline("{task}", "{source}")  # in PyTorch, Keras or JAX\n```'
    )


def _metrics(evaluation: Evaluation) -> str:
    rows = [(key, f"{value:.4f}") for key, value in evaluation.metrics.items()]
    return f"On {evaluation.data}:\n\n{table(('metric', 'value'), rows)}"


def add_conversion(card: str, line: str) -> str:
    """Return a card with a line added to its history of conversions, which is made if the card has none."""
    heading = f"## {CONVERSIONS}\n"
    before, found, after = card.partition(f"\n{heading}")
    if not found:
        return f"{card.rstrip()}\n\n{heading}\n* {line}\n"
    section, following, rest = after.partition("\n## ")
    return f"{before}\n{heading}{section.rstrip()}\n* {line}\n{following}{rest}"


def card_to_push(card: str | Path | None, repo_id: str, head: Head | None, config: DistilBertConfig) -> str:
    """Return the model card for an upload.

    Args:
        card: The card: a file, a folder that has one, or its text (of more than one line); None for a new one.
        repo_id: The repository.
        head: The head of the model.
        config: The configuration of the model.

    Raises:
        InputError: `card` is one line, and not a file or a folder that has a card.
        CheckpointError: The card is not text, or is too large.
    """
    if isinstance(card, str) and "\n" in card:
        return card
    if card is None:
        return model_card(repo_id, head, config, base_model=config.name_or_path)
    path = Path(card).expanduser()
    path = path / CARD_FILE if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"card must be a file, a folder with {CARD_FILE}, or a text of several lines, got {card!r}.")
    return _read_card(path)


def _read_card(path: Path) -> str:
    with reading(path, "a model card"):
        return read_content(path).decode()


def hub_id(source: str | Path) -> str | None:
    """Return the Hub id that a source is, or None for a local folder or an embedded model.

    Example:
        >>> from distilbert_core.model.model_cards import hub_id
        >>> hub_id("distilbert/distilbert-base-cased"), hub_id("sst2-tiny"), hub_id("../model")
        ('distilbert/distilbert-base-cased', None, None)
    """
    text = str(source)
    named = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*|distilbert-base-[\w-]+|bert-base-[\w-]+", text)
    return text if named and not Path(text).exists() else None


def shown_name(source: str | Path) -> str:
    """Return the name of a checkpoint as a card has it: a Hub id, or the last part of a path.

    Example:
        >>> from distilbert_core.model.model_cards import shown_name
        >>> shown_name("me/model"), shown_name("../models/mine")
        ('me/model', 'mine')
    """
    return hub_id(source) or Path(source).name
