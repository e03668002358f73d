"""From the arguments of `finetune` and `distill` to a `Run`: rows are read, labels named, and settings compared."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from distilbert_core.checks import check_choice
from distilbert_core.errors import CheckpointError, InputError, did_you_mean
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import CARD_FILE, split_hub_options
from distilbert_core.files.journal import is_vacant
from distilbert_core.files.json_files import read_json
from distilbert_core.files.locks import OWNER_FILE, owned
from distilbert_core.model.backends import BACKENDS, default_backend
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.training.cards import training_card
from distilbert_core.training.data import Data, task_labels
from distilbert_core.training.engine import Engine, load_engine
from distilbert_core.training.features import Features
from distilbert_core.training.objectives import Objective
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.reporting import require_plots
from distilbert_core.training.run import RUN_FOLDER, SAVE_EVERY, Progress, Run
from distilbert_core.training.sources import Source
from distilbert_core.training.tasks import Feature, Row, Task

SETTINGS_FILE = "settings.json"  # in the folder of a run
PIPELINE_NAMES = {  # the name of a task in pipelines -> its name here
    "text-classification": "sequence-classification",
    "sentiment-analysis": "sequence-classification",
    "ner": "token-classification",
    "fill-mask": "masked-lm",
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a training run needs, read and checked. Nothing has been written, and no model has been loaded.

    Attributes:
        task: The task, with the model's tokenizer and configuration.
        features: The features to learn from.
        eval_rows: The rows to evaluate on; None: there is no evaluation.
        eval_features: Their features.
        source: Folder, embedded model or Hub id of the model to train.
        output: Folder of the best model.
        backend: 'pt', 'tf' or 'flax'.
        new_head: Whether a new head is drawn.
        resume: Whether a stopped run continues.
        settings: The settings that must be the same when a run continues, as JSON has them.
        data: Names of the sources to learn from.
        eval_data: Name of the source to evaluate on; None: there is no evaluation.
        checksums: The checksums of the sources to learn from.
        hub_options: Options that say where on the Hub to look for the model.
    """

    task: Task
    features: Features
    eval_rows: Sequence[Row] | None
    eval_features: Sequence[Feature]
    source: str | Path
    output: Path
    backend: str
    new_head: bool
    resume: bool
    settings: Mapping[str, Any]
    data: Sequence[str]
    eval_data: str | None
    checksums: Sequence[str]
    hub_options: Mapping[str, Any]

    @classmethod
    def prepare(
        cls,
        kind: type[Task],
        recipe: Recipe,
        train: Sequence[Source],
        *,
        eval: Any,
        model: str | Path,
        output: str | Path,
        backend: str | None,
        columns: Mapping[str, str] | None,
        labels: Sequence[str] | None,
        new_head: bool,
        resume: bool,
        hub_options: Mapping[str, Any],
        tokenizer: BaseTokenizer | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> Self:
        """Read the rows, and check all arguments.

        Args:
            kind: The task.
            recipe: The numbers of the run.
            train: The sources to learn from.
            eval: A file or rows to evaluate on; None for no evaluation.
            model: Folder, embedded model or Hub id of the model to train.
            output: Folder of the best model.
            backend: 'pt', 'tf' or 'flax'; the first that is installed if None.
            columns: Names of the sources' columns, where they differ from the task's.
            labels: Names of the labels; None: those of the head, or of the rows.
            new_head: Draw a new head, even if the model has one for the task.
            resume: Continue a run that was stopped.
            hub_options: Keyword arguments that say where on the Hub to look for the model.
            tokenizer: The model's tokenizer, if it has been loaded.
            settings: Further settings, which must be the same when a run continues.

        Raises:
            InputError: A source, a column, a row or an argument is impossible.
            CheckpointError: There is no run to continue.
            TypeError: A keyword argument is unknown.
        """
        hub_options, unknown = split_hub_options(hub_options)
        _check_arguments(recipe, eval, labels, unknown)
        backend = default_backend() if backend is None else backend
        check_choice("backend", backend, BACKENDS)
        require_plots()
        output = Path(output).expanduser()
        beside = [output.with_name(f"{output.name}-tokens-{number}") for number in range(len(train))]
        data = [Data.read(kind, source, columns, shards=its) for source, its in zip(train, beside, strict=True)]
        eval_data = None if eval is None else Data.read(kind, kind.source_of("eval", eval), columns, evaluation=True)

        config = DistilBertConfig.from_pretrained(model, **hub_options)
        names = task_labels(kind, config, data, labels, model, new_head)
        checksums = [of_source.checksum for of_source in data]
        settings = {
            "task": kind.name,
            "backend": backend,
            "model": str(model),
            "train": checksums,
            "eval": eval_data and eval_data.checksum,
            "columns": dict(columns or {}),
            "labels": names,
            "new_head": new_head,
            "recipe": recipe.to_dict(),
            **settings,
        }
        _check_settings(output / RUN_FOLDER, settings, resume, type(recipe)().to_dict())

        if tokenizer is None:
            tokenizer = DistilBertTokenizerFast.from_pretrained(model, **hub_options)
        task = kind(tokenizer, config.updated(**kind.config_fields(names)), recipe)
        parts = []
        for of_source in data:  # in Python 3.11 a comprehension is a frame of its own, which stacklevel would count
            parts.append(of_source.features(task, stacklevel=4))
        features = Features(parts)
        task.fit(features)
        if recipe.max_tokens is not None and recipe.max_tokens < task.max_length:
            raise InputError(f"max_tokens must be at least max_length={task.max_length}, got {recipe.max_tokens}.")
        return cls(
            task=task,
            features=features,
            eval_rows=None if eval_data is None else eval_data.rows,
            eval_features=[] if eval_data is None else eval_data.features(task, stacklevel=4),
            source=model,
            output=output,
            backend=backend,
            new_head=new_head or other_head(kind, config) is not None,
            resume=resume,
            settings=settings,
            data=[of_source.name for of_source in data],
            eval_data=None if eval_data is None else eval_data.name,
            checksums=checksums,
            hub_options=hub_options,
        )

    def run(
        self,
        objective: Callable[[Any, type[Engine]], Objective],
        progress: bool | None,
        save_every: int = SAVE_EVERY,
        keep_states: int = 1,
    ) -> Progress:
        """Train the model.

        Args:
            objective: Makes the objective, given the model and the class of the engine.
            progress: True or False: always or never show a progress bar; None: in a terminal.
            save_every: Steps between two states, beside those after evaluations.
            keep_states: Number of states to keep.

        Returns:
            The progress at the end of the run.

        Raises:
            InputError: Another process uses the output, or has made it since.
        """
        recipe = self.task.recipe
        engine = load_engine(
            self.backend,
            self.task.head,
            self.source,
            recipe,
            recipe.learning_rates(recipe.steps(len(self.features), self.features.tokens)),
            objective,
            new_head=self.new_head,
            stacklevel=4,
            config=self.task.config,
            **self.hub_options,
        )
        data = self.features, self.eval_rows, self.eval_features
        run = Run(self.output, engine, self.task, *data, save_every, keep_states)
        with owned(run.folder, run.folder.parent) if engine.division.rank == 0 else nullcontext():
            if self.resume:
                run.load_state()
            elif engine.division.rank == 0:
                _check_unused(self.output)
                replace_files(run.folder, {SETTINGS_FILE: _json(self.settings)})
            run.train(progress)
            if engine.division.rank == 0:
                replace_files(self.output, {CARD_FILE: self._card(run.progress).encode()})
        return run.progress

    def _card(self, done: Progress) -> str:
        """Return the model card of the best model."""
        return training_card(
            self.output.absolute().name,
            self.task.head,
            self.task.config,
            self.task.recipe,
            settings=self.settings,
            data=self.data,
            eval_data=self.eval_data,
            metrics=done.metrics,
            step=done.best_step,
            steps=done.step,
        )


def find_task(name: str, tasks: Mapping[str, type[Task]]) -> type[Task]:
    """Return the task of a name, or raise InputError."""
    if name not in tasks:
        hint = did_you_mean(PIPELINE_NAMES.get(name, name), tasks)
        raise InputError(f"task must be one of {', '.join(tasks)}, got {name!r}.{hint}")
    return tasks[name]


def other_head(kind: type[Task], config: DistilBertConfig) -> Head | None:
    """Return the head that a checkpoint has for another task, or None. Its parameters may have the same names."""
    heads = [head for head in Head if head.architecture in (config.architectures or ())]
    return next((head for head in heads if head is not Head.BASE and kind.head not in heads), None)


def _check_arguments(recipe: Any, eval: Any, labels: Any, unknown: Mapping[str, Any]) -> None:
    """Raise an error if arguments are unknown, have another type, or contradict each other."""
    if unknown:
        numbers = sorted(unknown.keys() & {field.name for field in fields(Recipe)})
        hint = f" In recipe=Recipe(...) give {', '.join(numbers)}." if numbers else ""
        raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.{hint}")
    if not isinstance(recipe, Recipe):
        raise InputError(f"recipe must be a Recipe, such as Recipe(epochs=3), got {reprlib.repr(recipe)}.")
    if isinstance(labels, str):
        raise InputError(f"labels must be a list of names, got {labels!r}.")
    if labels is not None and len(set(labels)) < len(labels):
        raise InputError(f"labels must be different names, got {', '.join(labels)}.")
    if recipe.patience is not None and eval is None:
        raise InputError("patience counts evaluations: give eval (--eval) too, or leave it out.")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _check_settings(folder: Path, settings: Mapping[str, Any], resume: bool, defaults: Mapping[str, Any]) -> None:
    """Raise an error if files would be lost, or if the run to continue is missing or had other settings.

    Args:
        folder: Folder of the run.
        settings: The settings of the run.
        resume: Whether a run continues.
        defaults: The numbers of a default recipe. A run that began before a field existed has its default.
    """
    if not resume:
        _check_unused(folder.parent)
        return
    try:
        before = read_json(folder / SETTINGS_FILE, "the settings of a run")
    except CheckpointError as error:
        raise CheckpointError(f"{folder.parent} has no run to continue: {error}") from error
    before["recipe"] = {**defaults, **before.get("recipe", {})}
    changed = sorted(name for name in settings if settings[name] != before.get(name))
    if changed:
        numbers = [name for name, value in settings["recipe"].items() if before["recipe"].get(name) != value]
        which = f" ({', '.join(numbers)})" if numbers else ""
        raise InputError(
            f"{folder.parent} was begun with another {', '.join(changed)}{which}; give the same to continue."
        )


def _check_unused(output: Path) -> None:
    """Raise InputError if an output has files, other than the lock of a run that was killed at its start."""
    if not is_vacant(output, {RUN_FOLDER}) or not is_vacant(output / RUN_FOLDER, {OWNER_FILE}):
        raise InputError(
            f"{output} exists already; give another output, or resume=True (--resume) to continue its run."
        )
