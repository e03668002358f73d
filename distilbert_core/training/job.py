"""From what `finetune` and `distill` are asked for to a `Run`: rows are read, labels named, settings compared."""

from __future__ import annotations

import json
import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, InputError, InputWarning, did_you_mean
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import split_hub_options
from distilbert_core.model.backends import BACKENDS, default_backend
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training.labels import check_known, label_names
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.reporting import require_plots
from distilbert_core.training.run import RUN_FOLDER, Progress, Run
from distilbert_core.training.sources import Source, open_source
from distilbert_core.training.tasks import Feature, Row, Task
from distilbert_core.training.trainer import NOTHING, Trainer

SETTINGS_FILE = "settings.json"  # in a run's folder
# What pipelines call a task.
NAMES_OF_PIPELINES = {
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
        name: What messages call the source.
        rows: The rows.
        checksum: That of the source's content.
        class_names: The names of labels, where the source knows them.
    """

    name: str
    rows: list[Row]
    checksum: str
    class_names: list[str] | None

    @classmethod
    def of(cls, kind: type[Task], source: Source, columns: Mapping[str, str] | None, evaluation: bool = False) -> Data:
        """Read a source, to learn from or for an evaluation."""
        rows = (kind.read_for_evaluation if evaluation else kind.read)(source, columns)
        return cls(source.name, rows, source.checksum(rows), kind.class_names(source, columns))

    def features(self, task: Task, stacklevel: int) -> list[Feature]:
        """Return what a model is given for the rows; `stacklevel` is that of warnings.

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
            what = task.cut_rows.format(task.max_length)
            message = f"{self.name}: {cut} of {len(self.rows)} rows {what}. Give a larger max_length."
            warnings.warn(message, InputWarning, stacklevel=stacklevel)
        return features


@dataclass(kw_only=True)
class Job:
    """A run that `finetune` or `distill` is asked for; their arguments are its fields.

    Making one checks these and reads the rows. Nothing is written before `run` has a model.

    Raises:
        InputError: A source, a column, a row or an argument is impossible.
    """

    kind: type[Task]
    recipe: Recipe
    train: Sequence[Source]
    eval: Any
    model: str | Path
    output: str | Path
    backend: str | None
    columns: Mapping[str, str] | None
    labels: Sequence[str] | None
    new_head: bool
    resume: bool
    where: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.where, unknown = split_hub_options(self.where)
        if unknown:
            numbers = sorted(unknown.keys() & {field.name for field in fields(Recipe)})
            hint = f" In recipe=Recipe(...) give {', '.join(numbers)}." if numbers else ""
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.{hint}")
        if not isinstance(self.recipe, Recipe):
            raise InputError(f"recipe must be a Recipe, such as Recipe(epochs=3), got {reprlib.repr(self.recipe)}.")
        if isinstance(self.labels, str):
            raise InputError(f"labels must be a list of names, got {self.labels!r}.")
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise InputError(f"labels must be different names, got {', '.join(self.labels)}.")
        self.output = Path(self.output).expanduser()
        self.backend = default_backend() if self.backend is None else self.backend
        if self.backend not in BACKENDS:
            raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {self.backend!r}.")
        if self.recipe.patience is not None and self.eval is None:
            raise InputError("patience counts evaluations: give eval (--eval) too, or leave it out.")
        require_plots()
        self.data = [Data.of(self.kind, source, self.columns) for source in self.train]
        self.eval_data = None
        if self.eval is not None:
            self.eval_data = Data.of(self.kind, open_source("eval", self.eval), self.columns, evaluation=True)

    @property
    def checksums(self) -> list[str]:
        """The checksums of the sources to learn from."""
        return [data.checksum for data in self.data]

    def run(
        self, load: Callable[..., Trainer], progress: bool | None, more_settings: Mapping[str, Any] = NOTHING
    ) -> Progress:
        """Train the model and return how far the run came.

        Args:
            load: Makes the trainer, called as `load_trainer`.
            progress: True or False: always or never show a progress bar; None: in a terminal.
            more_settings: Further settings, which must be the same when a run goes on.
        """
        kind, recipe, model, output = self.kind, self.recipe, self.model, Path(self.output)
        config = DistilBertConfig.from_pretrained(model, **self.where)
        labels = self._label_names(config)
        settings = {
            "task": kind.name,
            "backend": self.backend,
            "model": str(model),
            "train": self.checksums,
            "eval": self.eval_data and self.eval_data.checksum,
            "columns": dict(self.columns or {}),
            "labels": labels,
            "new_head": self.new_head,
            "recipe": recipe.to_dict(),
            **more_settings,
        }
        folder = output / RUN_FOLDER
        _check_settings(folder, settings, self.resume, type(recipe)().to_dict())

        of_head = kind.config_fields(labels)
        tokenizer = DistilBertTokenizerFast.from_pretrained(model, **self.where)
        task = kind(tokenizer, config.updated(**of_head), recipe)
        features: list[Feature] = []
        for data in self.data:
            features += data.features(task, stacklevel=4)
        eval_features = [] if self.eval_data is None else self.eval_data.features(task, stacklevel=4)
        self.data.clear()  # a corpus takes much memory
        task.look_at(features)
        rates = recipe.learning_rates(recipe.steps(len(features)))
        new_head = self.new_head or other_head(kind, config) is not None
        trainer = load(self.backend, kind.head, model, recipe, rates, new_head=new_head, **of_head, **self.where)
        eval_rows = None if self.eval_data is None else self.eval_data.rows
        run = Run(output, trainer, task, features, eval_rows, eval_features)
        if self.resume:
            run.load_state()
        elif trainer.rank == 0:
            replace_files(folder, {SETTINGS_FILE: _json(settings)})
        run.train(progress)
        return run.done

    def _label_names(self, config: DistilBertConfig) -> list[str] | None:
        """Return the names of the model's labels, or None if the task has none; raise InputError if they do not fit."""
        kind, given, name = self.kind, self.labels, self.data[0].name
        has_head = kind.head.architecture in (config.architectures or ()) and not self.new_head
        if has_head:
            check_number(kind, config, self.model, ADVICE)
        found = kind.label_names([*chain(*(data.rows for data in self.data))])
        if found is None:
            if given is not None:
                raise InputError(f"labels must be left out: {kind.name} has no names of labels.")
            return None
        if not has_head:
            wanted = list(given if given is not None else self.data[0].class_names or found)
            if not wanted:
                raise InputError(f"{name} has no label in any row; give labels (--labels).")
            check_known(found, wanted, f"{name} has labels that are not among the given", "Correct the rows or labels.")
            return wanted
        present = head_labels(config, self.data[0].class_names)
        if given is not None and list(given) != present:
            raise InputError(f"labels are {', '.join(given)}, but {self.model} predicts {', '.join(present)}. {ADVICE}")
        check_known(found, present, f"{name} has labels that are not among what {self.model} predicts", ADVICE)
        return present


def find_task(name: str, tasks: Mapping[str, type[Task]]) -> type[Task]:
    """Return the task of a name, or raise InputError."""
    if name not in tasks:
        ours = NAMES_OF_PIPELINES.get(name, name)
        raise InputError(f"task must be one of {', '.join(tasks)}, got {name!r}.{did_you_mean(ours, tasks)}")
    return tasks[name]


def head_labels(config: DistilBertConfig, class_names: Sequence[str] | None) -> list[str]:
    """Return the names of a head's labels; those of a source if the head only numbers its own, LABEL_0 and so on."""
    names = label_names(config)
    numbered = names == [f"LABEL_{number}" for number in range(len(names))]
    return list(class_names) if class_names is not None and numbered and len(class_names) == len(names) else names


def other_head(kind: type[Task], config: DistilBertConfig) -> Head | None:
    """Return the head that a checkpoint has for another task, which may have parameters of the same names, or None."""
    heads = [head for head in Head if head.architecture in (config.architectures or ())]
    return next((head for head in heads if head is not Head.BASE and kind.head not in heads), None)


def check_number(kind: type[Task], config: DistilBertConfig, model: str | Path, advice: str) -> None:
    """Raise InputError if one number is asked of a model that predicts labels."""
    if kind.problem_type == "regression" and config.num_labels != 1:
        raise InputError(f"{model} predicts {', '.join(label_names(config))}, not one number. {advice}")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _check_settings(folder: Path, settings: dict[str, Any], resume: bool, defaults: dict[str, Any]) -> None:
    """Raise an error if there is no run to go on with, or another one, or something that would be lost.

    `defaults` are those of a recipe: a run that was begun before a field existed has its default.
    """
    if not resume:
        if folder.parent.exists() and (not folder.parent.is_dir() or any(folder.parent.iterdir())):
            raise InputError(
                f"{folder.parent} is there already; give another output, or resume=True (--resume) to go on."
            )
        return
    try:
        before = json.loads((folder / SETTINGS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder.parent} has no run to go on with: {error}") from error
    before["recipe"] = {**defaults, **before.get("recipe", {})}
    changed = sorted(name for name in settings if settings[name] != before.get(name))
    if changed:
        numbers = [name for name, value in settings["recipe"].items() if before["recipe"].get(name) != value]
        which = f" ({', '.join(numbers)})" if numbers else ""
        raise InputError(
            f"{folder.parent} was begun with another {', '.join(changed)}{which}; give the same to go on with it."
        )
