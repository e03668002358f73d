"""Fine-tuning from files: what is asked for is checked, read and encoded, and then it is a `Run`."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from distilbert_core.backends import default_backend
from distilbert_core.checkpoint import replace_files
from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import CheckpointError, InputError, InputWarning
from distilbert_core.hub import split_hub_options
from distilbert_core.inference import load_inference
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training.labels import check_known, label_names
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.reporting import require_plots
from distilbert_core.training.run import RUN_FOLDER, Progress, Run
from distilbert_core.training.tasks import TASKS, Feature, Row, Task
from distilbert_core.training.tasks.base import WEIGHT_COLUMN
from distilbert_core.training.trainer import NOTHING, Trainer, load_trainer

SETTINGS_FILE = "settings.json"  # in a run's folder


def finetune(
    task: str,
    train: str | Path,
    *,
    model: str | Path,
    output: str | Path,
    eval: str | Path | None = None,
    backend: str | None = None,
    recipe: Recipe | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    new_head: bool = False,
    resume: bool = False,
    progress: bool | None = None,
    **where: Any,
) -> Progress:
    r"""Fine-tune a checkpoint on a file.

    `output` becomes a folder with the best model so far and its tokenizer, which `from_pretrained` and the pipelines
    of every backend take. Its folder 'training' has metrics.jsonl (a line per 10 steps and per evaluation),
    curve.png, the settings, and the state from which `resume` goes on: on the same machine to the same bits.

    Args:
        task: 'sequence-classification', 'regression', 'multi-label', 'token-classification', 'question-answering',
            'multiple-choice' or 'masked-lm'. The columns of each are in docs/finetuning.md.
        train: File to learn from.
        model: Folder, embedded model or Hub id of the checkpoint to begin with. A head that it lacks is drawn anew, the
            same in all backends; a tokenizer comes with it.
        output: Folder to make, or with `resume` to go on with.
        eval: File to measure the model on; without it the last model counts as the best.
        backend: 'pt', 'tf' or 'flax'; the first that is installed if left out.
        recipe: The numbers of the run; those of `Recipe()` if left out.
        columns: Names of the files' columns, where they are not the task's own: {'text': 'sentence'}.
        labels: Names of the labels, in order; those of the checkpoint's head, else those in `train` if left out.
        new_head: Draw the head anew though the checkpoint has one for this task.
        resume: Go on with a run that was stopped; all else must be as it was.
        progress: True or False: always or never show a progress bar; None: in a terminal.
        **where: Where to look for the model (`revision`, `cache_dir`, `token`, `local_files_only`, ...).

    Returns:
        How far the run came, and the metrics of the best model.

    Raises:
        BackendNotInstalledError: The framework, or a library of the extra 'finetune', is not installed.
        CheckpointError: There is no such checkpoint, it is damaged, or there is nothing to go on with.
        InputError: A file, a column, a label or an argument is impossible. Nothing has been written then.
        TrainingError: The loss is no number any more. The best model and the last state stay.
        OSError: The disk is full. The best model and the last state stay.

    Warns:
        InputWarning: Rows are longer than the recipe's `max_length`, so that a part of them has no effect.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from distilbert_core.training import Recipe, finetune
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "train.tsv")
        ...     _ = file.write_text("text\tlabel\nWhat a lovely film.\tNEGATIVE\nA waste of time.\tPOSITIVE\n")
        ...     recipe = Recipe(max_steps=20, learning_rate=5e-4)  # learn the opposite
        ...     done = finetune(
        ...         "sequence-classification",
        ...         file,
        ...         eval=file,
        ...         model="sst2-tiny",
        ...         output=Path(folder, "new"),
        ...         backend="pt",
        ...         recipe=recipe,
        ...     )
        >>> done.metrics["accuracy"]
        1.0
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got {task!r}.")
    if labels is not None and len(set(labels)) < len(labels):
        raise InputError(f"labels must be different names, got {', '.join(labels)}.")
    return run_from_files(
        TASKS[task],
        [train],
        load_trainer,
        recipe or Recipe(),
        model=model,
        output=output,
        eval=eval,
        backend=backend,
        columns=columns,
        labels=labels,
        new_head=new_head,
        resume=resume,
        progress=progress,
        **where,
    )


def run_from_files(
    kind: type[Task],
    train: Sequence[str | Path],
    load: Callable[..., Trainer],
    recipe: Recipe,
    *,
    model: str | Path,
    output: str | Path,
    eval: str | Path | None,
    backend: str | None,
    columns: Mapping[str, str] | None,
    labels: Sequence[str] | None,
    new_head: bool,
    resume: bool,
    progress: bool | None,
    more_settings: Mapping[str, Any] = NOTHING,
    **where: Any,
) -> Progress:
    """Read and check all that a run needs, then run it: what `finetune` and `distill` share.

    Args:
        kind: The task.
        train: Files to learn from.
        load: Makes the trainer, called as `load_trainer`.
        recipe: The numbers of the run.
        model: See `finetune`, as are all arguments that follow.
        output: See `model`.
        eval: See `model`.
        backend: See `model`.
        columns: See `model`.
        labels: See `model`.
        new_head: See `model`.
        resume: See `model`.
        progress: See `model`.
        more_settings: What else must be as it was when a run goes on.
        **where: See `model`.
    """
    output = Path(output).expanduser()
    backend = default_backend() if backend is None else backend
    where, unknown = split_hub_options(where)
    if unknown:
        raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
    if recipe.patience is not None and eval is None:
        raise InputError("patience counts evaluations: give eval (--eval) too, or leave it out.")
    require_plots()
    rows = [kind.read(file, columns) for file in train]
    eval_rows = kind.read_for_evaluation(eval, columns) if eval is not None else None
    labels = _labels(kind, [*chain(*rows)], train[0], model, labels, new_head, where)
    settings = {
        "task": kind.name,
        "backend": backend,
        "model": str(model),
        "train": [fingerprint(file) for file in train],
        "eval": eval and fingerprint(eval),
        "columns": dict(columns or {}),
        "labels": labels,
        "new_head": new_head,
        "recipe": recipe.to_dict(),
        **more_settings,
    }
    folder = output / RUN_FOLDER
    _check_settings(folder, settings, resume, type(recipe)().to_dict())

    tokenizer = DistilBertTokenizerFast.from_pretrained(model, **where)
    fields = kind.config_fields(labels)
    data = kind(tokenizer, DistilBertConfig.from_pretrained(model, **where).updated(**fields), recipe)
    features = [*chain(*(_encode(data, of_file, file) for of_file, file in zip(rows, train, strict=True)))]
    eval_features = _encode(data, eval_rows, eval)
    del rows  # a corpus takes much memory
    data.look_at(features)
    rates = recipe.learning_rates(recipe.steps(len(features)))
    trainer = load(backend, kind.head, model, recipe, rates, new_head=new_head, **fields, **where)
    run = Run(output, trainer, data, features, eval_rows, eval_features)
    if resume:
        run.load_state()
    elif trainer.rank == 0:
        replace_files(folder, {SETTINGS_FILE: _json(settings)})
    run.train(progress)
    return run.done


def evaluate(
    task: str,
    file: str | Path,
    *,
    model: str | Path,
    backend: str | None = None,
    recipe: Recipe | None = None,
    columns: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Metrics:
    r"""Return the metrics of a checkpoint on a file: those that `finetune` logs.

    Args:
        task: As of `finetune`.
        file: File to measure on.
        model: Folder, embedded model or Hub id of a checkpoint with the task's head.
        backend: 'pt', 'tf' or 'flax', the first that is installed if left out; or 'onnx' or 'openvino', for one that
            was exported.
        recipe: Its `max_length`, `doc_stride`, `mask_probability` and `dtype` count.
        columns: Names of the file's columns, where they are not the task's own.
        **kwargs: Where to look for the model, and `device`.

    Raises:
        BackendNotInstalledError: The framework, or a library of the extra 'finetune', is not installed.
        CheckpointError: There is no such checkpoint, it is damaged, or it lacks the head.
        InputError: The file, a column or a label is impossible.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from distilbert_core.training import evaluate
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "dev.tsv")
        ...     _ = file.write_text("text\tlabel\nWhat a lovely film.\tPOSITIVE\nA waste of time.\tNEGATIVE\n")
        ...     metrics = evaluate("sequence-classification", file, model="sst2-tiny", backend="pt")
        >>> metrics["accuracy"]
        1.0
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got {task!r}.")
    if WEIGHT_COLUMN in (columns or {}):
        raise InputError(f"columns must not name {WEIGHT_COLUMN}: metrics count all rows alike.")
    kind, recipe = TASKS[task], recipe or Recipe()
    where, options = split_hub_options(kwargs)
    rows = kind.read(file, columns)
    backend = default_backend() if backend is None else backend
    inference = load_inference(backend, kind.head, model, dtype=recipe.dtype, **options, **where)
    _check_head(kind, inference.config, model, "Give a model that was trained for regression.")
    data = kind(DistilBertTokenizerFast.from_pretrained(model, **where), inference.config, recipe)
    return data.evaluate(inference, rows, _encode(data, rows, file))


def _labels(
    kind: type[Task],
    rows: Sequence[Row],
    train: str | Path,
    model: str | Path,
    labels: Sequence[str] | None,
    new_head: bool,
    where: Mapping[str, Any],
) -> list[str] | None:
    """Return the names of the model's labels, or None if the task has none; raise InputError if they do not fit."""
    config = DistilBertConfig.from_pretrained(model, **where)
    has_head = kind.head.architecture in (config.architectures or ()) and not new_head
    advice = "Correct the file, or give new_head=True (--new-head) to replace the head."
    if has_head:
        _check_head(kind, config, model, advice)
    found = kind.label_names(rows)
    if found is None:
        if labels is not None:
            raise InputError(f"labels must be left out: {kind.name} has no names of labels.")
        return None
    if not has_head:
        if not found and labels is None:
            raise InputError(f"{train} has no label in any row; give labels (--labels).")
        wanted = list(labels) if labels is not None else found
        check_known(found, wanted, f"{train} has labels that are not among the given", "Correct the file or labels.")
        return wanted
    present = label_names(config)
    if labels is not None and list(labels) != present:
        raise InputError(f"labels are {', '.join(labels)}, but {model} predicts {', '.join(present)}. {advice}")
    check_known(found, present, f"{train} has labels that are not among what {model} predicts", advice)
    return present


def _check_head(kind: type[Task], config: DistilBertConfig, model: str | Path, advice: str) -> None:
    """Raise InputError if one number is asked of a model that predicts labels."""
    if kind.problem_type == "regression" and config.num_labels != 1:
        raise InputError(f"{model} predicts {', '.join(label_names(config))}, not one number. {advice}")


def _encode(data: Task, rows: Sequence[Row] | None, path: str | Path | None) -> list[Feature]:
    if rows is None:
        return []
    try:
        features = data.features(rows)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not features:
        raise InputError(f"{path} holds no token to learn from.")
    cut = len({feature.row for feature in features if feature.cut})
    if cut:
        what = data.cut_rows.format(data.max_length)
        warnings.warn(
            f"{path}: {cut} of {len(rows)} rows {what}. Give a larger max_length.", InputWarning, stacklevel=4
        )
    return features


def fingerprint(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _check_settings(folder: Path, settings: dict[str, Any], resume: bool, defaults: dict[str, Any]) -> None:
    """Raise an error if there is nothing to go on with, or something else, or something that would be lost.

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
        raise InputError(
            f"{folder.parent} was begun with another {', '.join(changed)}; give the same to go on with it."
        )
