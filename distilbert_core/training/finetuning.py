"""Fine-tuning from files: one recipe, executed by any backend's trainer, that can be killed and goes on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.backends import default_backend
from distilbert_core.checkpoint import replace_files
from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import CheckpointError, InputError, TrainingError
from distilbert_core.hub import split_hub_options
from distilbert_core.inference import load_inference
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training.batches import training_order
from distilbert_core.training.labels import check_known
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.reporting import Log, draw_curve, require_plots, training_bar
from distilbert_core.training.tasks import LOWER_IS_BETTER, TASKS, Feature, Row, Task
from distilbert_core.training.trainer import Trainer, load_trainer

# What is in a run's folder beside the best checkpoint.
RUN_FOLDER = "training"
SETTINGS_FILE, LOG_FILE, CURVE_FILE, STATE_FILE = "settings.json", "metrics.jsonl", "curve.png", "state.safetensors"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: Steps done.
        best: The best value of the metric so far; None before the first evaluation.
        best_step: After how many steps that was.
        worse: Evaluations since then.
        metrics: Metrics of the best model.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    metrics: Metrics = field(default_factory=dict)


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
    kind, recipe, output = TASKS[task], recipe or Recipe(), Path(output).expanduser()
    backend = default_backend() if backend is None else backend
    where, unknown = split_hub_options(where)
    if unknown:
        raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
    require_plots()
    rows = kind.read(train, columns)
    eval_rows = kind.read(eval, columns) if eval is not None else None
    labels = _labels(kind, rows, train, model, labels, new_head, where)
    settings = {
        "task": task,
        "backend": backend,
        "model": str(model),
        "train": _fingerprint(train),
        "eval": eval and _fingerprint(eval),
        "columns": dict(columns or {}),
        "labels": labels,
        "new_head": new_head,
        "recipe": recipe.to_dict(),
    }
    run = output / RUN_FOLDER
    _check_settings(run, settings, resume)

    tokenizer = DistilBertTokenizerFast.from_pretrained(model, **where)
    fields = kind.config_fields(labels)
    data = kind(tokenizer, DistilBertConfig.from_pretrained(model, **where).updated(**fields), recipe)
    features, eval_features = _encode(data, rows, train), _encode(data, eval_rows, eval)
    steps = recipe.steps(len(features))
    rates = recipe.learning_rates(steps)
    trainer = load_trainer(backend, kind.head, model, recipe, rates, new_head, **fields, **where)
    done = _load_state(run, trainer) if resume else Progress()
    if not resume:
        replace_files(run, {SETTINGS_FILE: _json(settings)})

    every = recipe.steps_between_evaluations(len(features))
    order = islice(
        training_order([feature.size for feature in features], recipe.batch_size, recipe.seed), done.step, None
    )
    with Log(run / LOG_FILE, done.step) as log, training_bar(steps, done.step, progress) as bar:
        while done.step < steps and not (recipe.patience and done.worse >= recipe.patience):
            batch = data.batch([features[i] for i in next(order)], trainer.padded_length, [recipe.seed, 1 + done.step])
            loss = trainer.step(batch, done.step)
            done.step += 1
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss of step {done.step} is {loss}; {_what_is_kept(output, done)} Try a lower learning_rate, "
                    "and look for impossible values among the labels."
                )
            tokens = int(batch["attention_mask"].sum())
            bar(loss, tokens)
            pause = done.step % every == 0 or done.step == steps
            log.step(done.step, loss, float(trainer.rates[done.step - 1]), tokens, flush=pause)
            if pause:
                _evaluate_and_save(output, trainer, data, eval_rows, eval_features, done, log)
                draw_curve(run / LOG_FILE, run / CURVE_FILE, kind.metric)
    return done


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
        backend: 'pt', 'tf' or 'flax'; the first that is installed if left out.
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
    present = list(config.id2label.values())
    if labels is not None and list(labels) != present:
        raise InputError(f"labels are {', '.join(labels)}, but {model} predicts {', '.join(present)}. {advice}")
    check_known(found, present, f"{train} has labels that are not among what {model} predicts", advice)
    return present


def _check_head(kind: type[Task], config: DistilBertConfig, model: str | Path, advice: str) -> None:
    """Raise InputError if one number is asked of a model that predicts labels, or the other way round."""
    if kind.problem_type == "regression" and config.num_labels != 1:
        raise InputError(f"{model} predicts {', '.join(config.id2label.values())}, not one number. {advice}")


def _encode(data: Task, rows: Sequence[Row] | None, path: str | Path | None) -> list[Feature]:
    if rows is None:
        return []
    try:
        features = data.encode(rows)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not features:
        raise InputError(f"{path} holds no token to learn from.")
    return features


def _fingerprint(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _check_settings(run: Path, settings: dict[str, Any], resume: bool) -> None:
    """Raise an error if there is nothing to go on with, or something else, or something that would be lost."""
    if not resume:
        if run.parent.exists() and (not run.parent.is_dir() or any(run.parent.iterdir())):
            raise InputError(
                f"{run.parent} is there already; give another output, or resume=True (--resume) to go on with a run."
            )
        return
    try:
        before = json.loads((run / SETTINGS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run.parent} has no run to go on with: {error}") from error
    changed = sorted(name for name in settings if settings[name] != before.get(name))
    if changed:
        raise InputError(f"{run.parent} was begun with another {', '.join(changed)}; give the same to go on with it.")


def _evaluate_and_save(
    output: Path,
    trainer: Trainer,
    data: Task,
    rows: Sequence[Row] | None,
    features: Sequence[Feature],
    done: Progress,
    log: Log,
) -> None:
    """Measure the model, keep it if it is the best, and save the state of the run."""
    state = trainer.state()
    broken = next((name for name, array in state.items() if not np.isfinite(array).all()), None)
    if broken is not None:
        raise TrainingError(
            f"After step {done.step} {broken} is not finite; {_what_is_kept(output, done)} Try a lower learning_rate."
        )
    if rows is None:
        better = True
    else:
        metrics = data.evaluate(trainer.inference, rows, features)
        log.evaluation(done.step, metrics)
        value = -metrics[data.metric] if data.metric in LOWER_IS_BETTER else metrics[data.metric]
        better = done.best is None or value > done.best
        done.worse = 0 if better else done.worse + 1
        if better:
            done.best, done.metrics = value, metrics
    if better:
        done.best_step = done.step
        trainer.model.save_pretrained(output)
        data.tokenizer.save_pretrained(output)
    _save_state(output / RUN_FOLDER, state, done)


def _what_is_kept(output: Path, done: Progress) -> str:
    if done.best_step == 0:
        return "no model has been kept yet."
    return f"{output} keeps the model of step {done.best_step}."


def _save_state(run: Path, state: Mapping[str, np.ndarray], done: Progress) -> None:
    from safetensors.numpy import save_file

    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    metadata = {"progress": json.dumps(asdict(done))}
    replace_files(run, {STATE_FILE: lambda path: save_file(arrays, path, metadata=metadata)})


def _load_state(run: Path, trainer: Trainer) -> Progress:
    from safetensors import SafetensorError, safe_open

    if not (run / STATE_FILE).exists():  # killed before anything was saved: begin anew
        return Progress()
    try:
        with safe_open(run / STATE_FILE, "np") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            trainer.load_state({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{run / STATE_FILE} is damaged, or of another version: {error!r}.") from error
    return progress
