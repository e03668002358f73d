"""Fine-tuning and evaluation of a checkpoint, on a file or on rows in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.hub import split_hub_options
from distilbert_core.model.backends import default_backend
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.inference import Inference
from distilbert_core.model.loading import load_inference
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training.data import Data, check_regression, head_labels
from distilbert_core.training.experiment import Experiment, find_task, other_head
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.objectives import FineTuning
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.run import SAVE_EVERY, Progress
from distilbert_core.training.tasks import GLUE_TASKS, TASKS
from distilbert_core.training.tasks.base import WEIGHT_COLUMN


def finetune(
    task: str,
    train: Any,
    *,
    model: str | Path,
    output: str | Path,
    eval: Any = None,
    backend: str | None = None,
    recipe: Recipe | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    new_head: bool = False,
    resume: bool = False,
    save_every: int = SAVE_EVERY,
    keep_states: int = 1,
    progress: bool | None = None,
    **hub_options: Any,
) -> Progress:
    r"""Fine-tune a checkpoint on a file, or on rows in memory.

    The folder `output` gets the best model so far and its tokenizer; `from_pretrained` and the pipelines of every
    backend read it. Its folder 'training' has metrics.jsonl (a line per 10 steps and per evaluation), curve.png, the
    settings, and the state from which `resume` continues. On the same machine, a run that was stopped and resumed gives
    the same bits as one that was not.

    Args:
        task: 'sequence-classification', 'regression', 'multi-label', 'token-classification', 'question-answering',
            'multiple-choice' or 'masked-lm'. The columns of each are in docs/finetuning.md. Or a task of GLUE:
            'glue/cola', 'glue/sst2', 'glue/mrpc', 'glue/stsb', 'glue/qqp', 'glue/mnli', 'glue/qnli', 'glue/rte' or
            'glue/wnli', whose columns, labels and metrics are GLUE's.
        train: The training data. The path of a file, a pattern for several ('train-*.jsonl') or a list of them; a data
            set of the Hub and its split ('stanfordnlp/sst2:train'), with the extra 'datasets'; or rows: a list of
            dicts, a dict of columns, a DataFrame of pandas or polars, an Arrow table, or a `datasets.Dataset`, whose
            ClassLabel names the labels. For a task of GLUE also its folder, which holds train.tsv.
        model: Folder, embedded model or Hub id of the checkpoint to begin with, and of its tokenizer. A head that the
            checkpoint lacks is drawn, the same one in all backends.
        output: Folder to make, or with `resume` the folder of the run to continue.
        eval: The evaluation data, in the same forms; without it the last model counts as the best. With a folder of
            GLUE in `train`, that folder's own evaluation data if left out.
        backend: 'pt', 'tf' or 'flax'; the first that is installed if left out.
        recipe: The numbers of the run; those of `Recipe()` if left out.
        columns: Names of the columns in `train` and `eval`, if they differ from the task's: {'text': 'sentence'}.
        labels: Names of the labels, in order. If left out, those of the checkpoint's head, or those in `train`.
        new_head: Draw a new head, even if the checkpoint has one for this task.
        resume: Continue a run that was stopped. All other arguments must be the same as before.
        save_every: Steps between two states from which a stopped run continues, beside those after evaluations.
        keep_states: Number of states to keep; earlier ones are state-STEP.safetensors in the folder 'training'.
        progress: True or False: always or never show a progress bar; None: in a terminal.
        **hub_options: Where to look for the model (`revision`, `cache_dir`, `token`, `local_files_only`, ...).

    Returns:
        The progress at the end of the run, with the metrics of the best model.

    Raises:
        BackendNotInstalledError: The framework, or a library of the extra 'finetune', is not installed.
        CheckpointError: The checkpoint is missing or damaged, or there is no run to continue.
        InputError: A file, a row, a column, a label or an argument is impossible; the message names it. Nothing has
            been written.
        TrainingError: The loss is not a number any more. The best model and the last state stay.
        OSError: The disk is full. The best model and the last state stay.

    Warns:
        InputWarning: Rows are longer than the recipe's `max_length`, so a part of them has no effect.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from distilbert_core.training import Recipe, finetune
        >>> with TemporaryDirectory() as folder:
        ...     rows = [  # learn the opposite
        ...         {"text": "What a lovely film.", "label": "NEGATIVE"},
        ...         {"text": "A waste of time.", "label": "POSITIVE"},
        ...     ]
        ...     recipe = Recipe(max_steps=20, learning_rate=5e-4)
        ...     done = finetune(
        ...         "sequence-classification",
        ...         rows,
        ...         eval=rows,
        ...         model="sst2-tiny",
        ...         output=Path(folder, "new"),
        ...         backend="pt",
        ...         recipe=recipe,
        ...     )
        >>> done.metrics["accuracy"]
        1.0
    """
    kind = find_task(task, {**TASKS, **GLUE_TASKS})
    experiment = Experiment.prepare(
        kind,
        Recipe() if recipe is None else recipe,
        [kind.source_of("train", train, training=True)],
        eval=kind.evaluation_of(train) if eval is None else eval,
        model=model,
        output=output,
        backend=backend,
        columns=columns,
        labels=labels,
        new_head=new_head,
        resume=resume,
        hub_options=hub_options,
    )
    return experiment.run(lambda model, engine: FineTuning(), progress, save_every, keep_states)


def evaluate(
    task: str,
    file: Any,
    *,
    model: str | Path,
    backend: str | None = None,
    inference: Inference | None = None,
    recipe: Recipe | None = None,
    columns: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Metrics:
    r"""Return the metrics of a checkpoint on a file, or on rows in memory: those that `finetune` logs.

    Args:
        task: Name of the task, one of those of `finetune`.
        file: The evaluation data: the path of a file, or rows, in any form that `finetune` takes for `train`.
        model: Folder, embedded model or Hub id of a checkpoint with the task's head.
        backend: 'pt', 'tf' or 'flax', the first that is installed if left out; or 'onnx', 'openvino' or 'litert', for a
            model that was exported.
        inference: The model itself, if it is loaded already. Only its configuration and tokenizer are read from
            `model`. `backend` and `device` must be left out.
        recipe: Only its `max_length`, `doc_stride`, `mask_probability` and `dtype` have an effect.
        columns: Names of the file's columns, if they differ from the task's.
        **kwargs: Where to look for the model (`revision`, `cache_dir`, ...), and `device`.

    Raises:
        BackendNotInstalledError: The framework, or a library of the extra 'finetune', is not installed.
        CheckpointError: The checkpoint is missing or damaged, or lacks the head.
        InputError: The file, a row, a column or a label is impossible.

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
    kind, recipe = find_task(task, {**TASKS, **GLUE_TASKS}), Recipe() if recipe is None else recipe
    if WEIGHT_COLUMN in (columns or {}):
        raise InputError(f"columns must not name {WEIGHT_COLUMN}: metrics count all rows alike.")
    hub_options, options = split_hub_options(kwargs)
    data = Data.read(kind, kind.source_of("file", file), columns)
    if inference is not None and (backend is not None or options):
        given = ["backend"] * (backend is not None) + [*options]
        raise InputError(f"inference is a loaded model: {', '.join(given)} must be left out.")
    other = other_head(kind, DistilBertConfig.from_pretrained(model, **hub_options))
    if other is not None:
        raise CheckpointError(
            f"{model} is a {other.architecture}, and {task} needs a {kind.head.architecture}: give a checkpoint with "
            "that head, or train one with finetune."
        )
    if inference is None:
        backend = default_backend() if backend is None else backend
        inference = load_inference(backend, kind.head, model, dtype=recipe.dtype, **options, **hub_options)
    config = inference.config
    check_regression(kind, config, model, "Give a model that was trained for regression.")
    if data.class_names is not None:
        config = config.updated(**kind.config_fields(head_labels(config, data.class_names)))
    prepared = kind(DistilBertTokenizerFast.from_pretrained(model, **hub_options), config, recipe)
    return prepared.evaluate(inference, data.rows, data.features(prepared, stacklevel=3))
