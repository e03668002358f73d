"""The model card of a training run: the checkpoint that it began with, its data, its numbers and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.model_cards import Evaluation, model_card, shown_name, table
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.sources import DATASET

CHECKSUM_DIGITS = 16  # of a SHA-256: enough to recognise a file


def training_card(
    name: str,
    head: Head,
    config: DistilBertConfig,
    recipe: Recipe,
    *,
    settings: Mapping[str, Any],
    data: Sequence[str],
    eval_data: str | None,
    metrics: Metrics,
    step: int,
    steps: int,
) -> str:
    """Return the card of the best model of a run.

    Args:
        name: Name of the model.
        head: Its head.
        config: Its configuration.
        recipe: The numbers of the run; the card has those that differ from their defaults.
        settings: The settings of the run: task, backend, model, and the checksums `train`; of a distillation `teacher`.
        data: Names of the sources of the training data.
        eval_data: Name of the evaluation data; None if there was none.
        metrics: The metrics of the model.
        step: Number of steps after which it was saved.
        steps: Number of steps of the run.
    """
    teacher = settings.get("teacher")
    begun = f"from `{shown_name(settings['model'])}`"
    way = f"Fine-tuned {begun}" if teacher is None else f"Distilled from `{shown_name(teacher)}`, {begun}"
    defaults = type(recipe)().to_dict()
    numbers = [(f"`{key}`", f"`{value}`") for key, value in recipe.to_dict().items() if value != defaults[key]]
    sources = zip(data, settings["train"], strict=True)
    content = [(source_name(source), checksum[:CHECKSUM_DIGITS]) for source, checksum in sources]
    sections = {
        "Training": f"{way}, for {settings['task']}, with the backend `{settings['backend']}`: the model "
        f"after step {step:,} of {steps:,}.\n\n"
        + table(("data", "SHA-256"), content)
        + (f"\n\nNumbers that differ from the defaults:\n\n{table(('number', 'value'), numbers)}" if numbers else "")
    }
    hub_datasets = [found[1] for source in data if (found := DATASET.fullmatch(source_name(source)))]
    return model_card(
        name,
        head,
        config,
        base_model=settings["model"] if teacher is None else teacher,
        datasets=list(dict.fromkeys(hub_datasets)),
        evaluation=None if eval_data is None else Evaluation(_seen(eval_data, settings), metrics),
        sections=sections,
    )


def _seen(name: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the evaluation data, which may be training data too."""
    return source_name(name) + (", which is training data too" if settings["eval"] in settings["train"] else "")


def source_name(name: str) -> str:
    """Return the name of a source as a card has it: the id of a data set, or the last part of a path.

    Example:
        >>> from distilbert_core.training.cards import source_name
        >>> source_name("stanfordnlp/sst2:train"), source_name("data/sst2/train.tsv")
        ('stanfordnlp/sst2:train', 'train.tsv')
    """
    return name if DATASET.fullmatch(name) and not Path(name).exists() else Path(name).name
