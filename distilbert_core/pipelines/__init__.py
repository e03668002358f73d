"""Texts in, answers out: one implementation of each task for the three backends.

A pipeline sees a model only through `distilbert_core.inference`: NumPy in, NumPy out. Results have the fields, and
the numbers, of Transformers' pipelines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distilbert_core.backends import RUNNABLE, default_backend
from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.hub import DEFAULT_MODEL, split_hub_options
from distilbert_core.inference import load_inference
from distilbert_core.parameters import Head
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.feature_extraction import FeatureExtractionPipeline
from distilbert_core.pipelines.fill_mask import FillMaskPipeline
from distilbert_core.pipelines.multiple_choice import MultipleChoicePipeline
from distilbert_core.pipelines.question_answering import QuestionAnsweringPipeline
from distilbert_core.pipelines.text_classification import TextClassificationPipeline
from distilbert_core.pipelines.token_classification import TokenClassificationPipeline
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.tokenization.base import BaseTokenizer

__all__ = [
    "ALIASES",
    "TASKS",
    "FeatureExtractionPipeline",
    "FillMaskPipeline",
    "MultipleChoicePipeline",
    "Pipeline",
    "QuestionAnsweringPipeline",
    "TextClassificationPipeline",
    "TokenClassificationPipeline",
    "pipeline",
]

TASKS: dict[str, type[Pipeline]] = {
    cls.task: cls
    for cls in (
        TextClassificationPipeline,
        FillMaskPipeline,
        TokenClassificationPipeline,
        QuestionAnsweringPipeline,
        FeatureExtractionPipeline,
        MultipleChoicePipeline,
    )
}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


def pipeline(
    task: str,
    model: str | Path | None = None,
    *,
    tokenizer: BaseTokenizer | str | Path | None = None,
    framework: str | None = None,
    device: Any = None,
    dtype: Any = None,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    progress: bool | None = None,
    **kwargs: Any,
) -> Pipeline:
    """Load a model and its tokenizer for a task.

    Args:
        task: 'text-classification' (or 'sentiment-analysis'), 'fill-mask', 'token-classification' (or 'ner'),
            'question-answering', 'feature-extraction' or 'multiple-choice'.
        model: Folder, embedded model or Hub id; the embedded sentiment model if left out.
        tokenizer: A tokenizer, fast or slow, or where to find one; the model's if left out. `revision` and `subfolder`
            are the model's, and do not hold for another place.
        framework: 'pt', 'tf' or 'flax', the first that is installed if left out; or 'onnx' or 'openvino', for a model
            that `distilbert convert --to onnx` wrote.
        device: Where to run, as the framework names it.
        dtype: Dtype of the parameters: 'float32' (default), 'float64', 'bfloat16', 'float16', or 'auto' for the
            checkpoint's.
        batch_size: Most rows of a batch; None: as many as `batch_tokens` allows.
        batch_tokens: Most tokens of a batch, padding included; None: what suits the task.
        progress: True or False: always or never show a progress bar; None: on long work in a terminal.
        **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`), and options of the task to use in every call.

    Returns:
        The pipeline: call it with an input, with a list of them, or with any iterable.

    Raises:
        BackendNotInstalledError: The framework, or any at all, is not installed.
        CheckpointError: There is no such checkpoint, it is damaged, or it is none for this task.
        InputError: There is no such task or framework, or an option is impossible.
        TypeError: A keyword is unknown.

    Example:
        >>> from distilbert_core.pipelines import pipeline
        >>> classify = pipeline("text-classification", framework="pt")
        >>> [answer["label"] for answer in classify(["What a lovely film.", "A waste of time."])]
        ['POSITIVE', 'NEGATIVE']
    """
    task = ALIASES.get(task, task)
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join([*TASKS, *ALIASES])}, got {task!r}.")
    cls, source = TASKS[task], DEFAULT_MODEL if model is None else model
    where, options = split_hub_options(kwargs)
    cls.check_option_names(options)
    framework = _framework(framework)
    config = DistilBertConfig.from_pretrained(source, **where)
    _check_head(task, cls.head, source, config)
    if tokenizer is None:
        tokenizer = DistilBertTokenizerFast.from_pretrained(source, **where)
    elif isinstance(tokenizer, str | Path):
        elsewhere = {name: value for name, value in where.items() if name not in ("revision", "subfolder")}
        tokenizer = DistilBertTokenizerFast.from_pretrained(tokenizer, **elsewhere)
    return cls(
        load_inference(framework, cls.head, source, config=config, device=device, dtype=dtype, **where),
        tokenizer,
        batch_size=batch_size,
        batch_tokens=batch_tokens,
        progress=progress,
        **options,
    )


def _framework(name: str | None) -> str:
    if name is None:
        return default_backend()
    if name not in RUNNABLE:
        raise InputError(f"framework must be one of {', '.join(RUNNABLE)}, got {name!r}.")
    return name


def _check_head(task: str, head: Head, source: str | Path, config: DistilBertConfig) -> None:
    """Raise CheckpointError if a checkpoint was made for another task; some heads have the same parameters."""
    stored = {head for head in Head if head.architecture in (config.architectures or ())} - {Head.NONE}
    if head is not Head.NONE and stored and head not in stored:
        tasks = ", ".join(name for name, cls in TASKS.items() if cls.head in stored | {Head.NONE})
        names = ", ".join(sorted(head.architecture for head in stored))
        raise CheckpointError(
            f"{source} is a {names}, which {task} cannot use: it needs a {head.architecture}. Give a checkpoint with "
            f"that head, or use this one for {tasks}."
        )
