"""From the arguments of `finetune` and `distill` to a `Run`: rows are read, labels named, and settings compared."""

from __future__ import annotations

import json
import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from distilbert_core.checks import check_choice
from distilbert_core.errors import CheckpointError, InputError, InputWarning, did_you_mean
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import split_hub_options
from distilbert_core.files.journal import is_vacant
from distilbert_core.files.json_files import read_json
from distilbert_core.files.locks import OWNER_FILE, owned
from distilbert_core.model.backends import BACKENDS, default_backend
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.training.engine import Engine, load_engine
from distilbert_core.training.labels import check_known, label_names
from distilbert_core.training.objectives import Objective
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.reporting import require_plots
from distilbert_core.training.run import RUN_FOLDER, Progress, Run
from distilbert_core.training.sources import Source
from distilbert_core.training.tasks import Feature, Row, Task

SETTINGS_FILE = "settings.json"  # in the folder of a run
PIPELINE_NAMES = {  # the name of a task in pipelines -> its name here
    "text-classification": "sequence-classification",
    "sentiment-analysis": "sequence-classification",
    "ner": "token-classification",
    "fill-mask": "masked-lm",
}
ADVICE = "Correct the rows, or give new_head=True (--new-head) to replace the head."


@dataclass(frozen=True)
class Data:
    """The rows of a source.

    Attributes:
        name: Name of the source in messages.
        rows: The rows.
        checksum: Checksum of the source's content.
        class_names: The names of the labels, if the source knows them.
    """

    name: str
    rows: list[Row]
    checksum: str
    class_names: list[str] | None

    @classmethod
    def read(
        cls, kind: type[Task], source: Source, columns: Mapping[str, str] | None, evaluation: bool = False
    ) -> Self:
        """Read a source for a task, to learn from it or to evaluate on it."""
        rows = (kind.read_for_evaluation if evaluation else kind.read)(source, columns)
        return cls(source.name, rows, source.checksum(rows), kind.class_names(source, columns))

    def features(self, task: Task, stacklevel: int) -> list[Feature]:
        """Return the features of the rows.

        Args:
            task: Makes the features.
            stacklevel: Of the warning, counted from here.

        Raises:
            InputError: A row cannot be encoded, or no row has a token.

        Warns:
            InputWarning: A part of some rows has no effect.
        """
        try:
            features = task.features(self.rows)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        if not features:
            raise InputError(f"{self.name} holds no token to learn from.")
        cut = len({feature.row for feature in features if feature.cut})
        if cut:
            problem = task.cut_rows.format(task.max_length)
            message = f"{self.name}: {cut} of {len(self.rows)} rows {problem}. Give a larger max_length."
            warnings.warn(message, InputWarning, stacklevel=stacklevel)
        return features


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
        checksums: The checksums of the sources to learn from.
        hub_options: Options that say where on the Hub to look for the model.
    """

    task: Task
    features: Sequence[Feature]
    eval_rows: Sequence[Row] | None
    eval_features: Sequence[Feature]
    source: str | Path
    output: Path
    backend: str
    new_head: bool
    resume: bool
    settings: Mapping[str, Any]
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
        data = [Data.read(kind, source, columns) for source in train]
        eval_data = None if eval is None else Data.read(kind, kind.source_of("eval", eval), columns, evaluation=True)

        config = DistilBertConfig.from_pretrained(model, **hub_options)
        names = _label_names(kind, config, data, labels, model, new_head)
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
        output = Path(output).expanduser()
        _check_settings(output / RUN_FOLDER, settings, resume, type(recipe)().to_dict())

        if tokenizer is None:
            tokenizer = DistilBertTokenizerFast.from_pretrained(model, **hub_options)
        task = kind(tokenizer, config.updated(**kind.config_fields(names)), recipe)
        features: list[Feature] = []
        for of_source in data:
            features += of_source.features(task, stacklevel=4)
        task.fit(features)
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
            checksums=checksums,
            hub_options=hub_options,
        )

    def run(self, objective: Callable[[Any, type[Engine]], Objective], progress: bool | None) -> Progress:
        """Train the model.

        Args:
            objective: Makes the objective, given the model and the class of the engine.
            progress: True or False: always or never show a progress bar; None: in a terminal.

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
            recipe.learning_rates(recipe.steps(len(self.features))),
            objective,
            new_head=self.new_head,
            stacklevel=4,
            config=self.task.config,
            **self.hub_options,
        )
        run = Run(self.output, engine, self.task, self.features, self.eval_rows, self.eval_features)
        with owned(run.folder, run.folder.parent) if engine.division.rank == 0 else nullcontext():
            if self.resume:
                run.load_state()
            elif engine.division.rank == 0:
                _check_unused(self.output)
                replace_files(run.folder, {SETTINGS_FILE: _json(self.settings)})
            run.train(progress)
        return run.progress


def find_task(name: str, tasks: Mapping[str, type[Task]]) -> type[Task]:
    """Return the task of a name, or raise InputError."""
    if name not in tasks:
        hint = did_you_mean(PIPELINE_NAMES.get(name, name), tasks)
        raise InputError(f"task must be one of {', '.join(tasks)}, got {name!r}.{hint}")
    return tasks[name]


def head_labels(config: DistilBertConfig, class_names: Sequence[str] | None) -> list[str]:
    """Return the names of a head's labels; those of a source if the head has only numbers: LABEL_0 and so on."""
    names = label_names(config)
    numbered = names == [f"LABEL_{index}" for index in range(len(names))]
    return list(class_names) if class_names is not None and numbered and len(class_names) == len(names) else names


def other_head(kind: type[Task], config: DistilBertConfig) -> Head | None:
    """Return the head that a checkpoint has for another task, or None. Its parameters may have the same names."""
    heads = [head for head in Head if head.architecture in (config.architectures or ())]
    return next((head for head in heads if head is not Head.BASE and kind.head not in heads), None)


def check_regression(kind: type[Task], config: DistilBertConfig, model: str | Path, advice: str) -> None:
    """Raise InputError if the task is regression and the model predicts labels."""
    if kind.problem_type == "regression" and config.num_labels != 1:
        raise InputError(f"{model} predicts {', '.join(label_names(config))}, not one number. {advice}")


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


def _label_names(
    kind: type[Task],
    config: DistilBertConfig,
    data: Sequence[Data],
    labels: Sequence[str] | None,
    model: str | Path,
    new_head: bool,
) -> list[str] | None:
    """Return the names of the model's labels, or None if the task has none; raise InputError if they do not fit."""
    name, class_names = data[0].name, data[0].class_names
    has_head = kind.head.architecture in (config.architectures or ()) and not new_head
    if has_head:
        check_regression(kind, config, model, ADVICE)
    in_rows = kind.label_names([*chain(*(of_source.rows for of_source in data))])
    if in_rows is None:
        if labels is not None:
            raise InputError(f"labels must be left out: {kind.name} has no names of labels.")
        return None
    if not has_head:
        names = list(labels if labels is not None else class_names or in_rows)
        if not names:
            raise InputError(f"{name} has no label in any row; give labels (--labels).")
        check_known(in_rows, names, f"{name} has labels that are not among the given", "Correct the rows or labels.")
        return names
    of_head = head_labels(config, class_names)
    if labels is not None and list(labels) != of_head:
        raise InputError(f"labels are {', '.join(labels)}, but {model} predicts {', '.join(of_head)}. {ADVICE}")
    check_known(in_rows, of_head, f"{name} has labels that {model} does not predict", ADVICE)
    return of_head


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
