"""Texts in, answers out: one implementation of each task for the three backends.

A pipeline sees a model only through `distilbert_core.model.inference`: NumPy in, NumPy out. Results have the fields
and the numbers of Transformers' pipelines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.hub import default_model, split_hub_options
from distilbert_core.model.backends import BACKENDS, RUNNABLE, default_backend
from distilbert_core.model.checkpoint_loading import find_config
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference, unwrapped
from distilbert_core.model.loading import load_inference
from distilbert_core.pipelines.base import ALIASES, Pipeline, find_tokenizer
from distilbert_core.pipelines.datasets import KeyDataset, KeyPairDataset
from distilbert_core.pipelines.feature_extraction import FeatureExtractionPipeline
from distilbert_core.pipelines.fill_mask import FillMaskPipeline
from distilbert_core.pipelines.multiple_choice import MultipleChoicePipeline
from distilbert_core.pipelines.question_answering import QuestionAnsweringPipeline
from distilbert_core.pipelines.text_classification import TextClassificationPipeline
from distilbert_core.pipelines.token_classification import AggregationStrategy, TokenClassificationPipeline
from distilbert_core.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from distilbert_core.tokenization.base import BaseTokenizer

__all__ = [
    "ALIASES",
    "TASKS",
    "AggregationStrategy",
    "FeatureExtractionPipeline",
    "FillMaskPipeline",
    "KeyDataset",
    "KeyPairDataset",
    "MultipleChoicePipeline",
    "NerPipeline",
    "Pipeline",
    "PipelineException",
    "QuestionAnsweringPipeline",
    "TextClassificationPipeline",
    "TokenClassificationPipeline",
    "ZeroShotClassificationPipeline",
    "pipeline",
]

NerPipeline = TokenClassificationPipeline
PipelineException = InputError  # what scripts for Transformers catch

# Of two tasks with one head, a model without a task is for the first.
TASKS: dict[str, type[Pipeline]] = {
    cls.task: cls
    for cls in (
        TextClassificationPipeline,
        FillMaskPipeline,
        TokenClassificationPipeline,
        QuestionAnsweringPipeline,
        FeatureExtractionPipeline,
        MultipleChoicePipeline,
        ZeroShotClassificationPipeline,
    )
}
Place = str | os.PathLike[str]


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: DistilBertConfig | Place | None = None,
    tokenizer: BaseTokenizer | Place | tuple[Place, Mapping[str, Any]] | None = None,
    *,
    framework: str | None = None,
    use_fast: bool = True,
    device: Any = None,
    device_map: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    model_kwargs: Mapping[str, Any] | None = None,
    pipeline_class: type[Pipeline] | None = None,
    **kwargs: Any,
) -> Pipeline:
    """Make the pipeline of a task from a model, or load a model and its tokenizer for it.

    Args:
        task: 'text-classification' (or 'sentiment-analysis'), 'fill-mask', 'token-classification' (or 'ner'),
            'question-answering', 'feature-extraction', 'multiple-choice' or 'zero-shot-classification'; what the model
            was made for if left out.
        model: Folder, weight file, embedded model or Hub id, of any format that `from_pretrained` opens; or a model of
            any backend, which is used as it is. If left out: the task's model in
            `distilbert_core.files.hub.DEFAULT_MODELS`, embedded or of the Hub.
        config: Configuration to use in place of the checkpoint's, or where to find one.
        tokenizer: A tokenizer, fast or slow, or where to find one, perhaps as (place, {'use_fast': False}); the model's
            if left out. `revision` and `subfolder` are the model's, and do not hold for another place.
        framework: 'pt', 'tf' or 'flax', the first that is installed if left out; or 'onnx' or 'openvino', for a model
            that `distilbert convert --to onnx` wrote. A model object says it itself.
        use_fast: Load a `DistilBertTokenizerFast`, else a `DistilBertTokenizer`.
        device: Where to run, as the framework names it; or a number: -1 the CPU, 0 the first accelerator. A model that
            is there stays where it is with -1.
        device_map: As in the framework's `from_pretrained`, in place of device.
        dtype: Dtype of the parameters: 'float32' (default), 'float64', 'bfloat16', 'float16', or 'auto' for the
            checkpoint's.
        torch_dtype: The same, under its older name.
        model_kwargs: Further keywords of the model's `from_pretrained`.
        pipeline_class: Class to use in place of the task's, derived from it.
        **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`), and options of the task to use in every call.

    Returns:
        The pipeline: call it with an input, with a list of them, or with any iterable.

    Raises:
        BackendNotInstalledError: The framework, or any at all, is not installed.
        CheckpointError: There is no such checkpoint, it is damaged, or it is none for this task.
        InputError: There is no such task or framework, the model is of another one, or an option is impossible.
        TypeError: A keyword is unknown.

    Warns:
        InputWarning: No model is given, and that of the task is one of the Hub.

    Example:
        >>> from distilbert_core.pipelines import pipeline
        >>> classify = pipeline("text-classification", framework="pt")
        >>> [answer["label"] for answer in classify(["What a lovely film.", "A waste of time."])]
        ['POSITIVE', 'NEGATIVE']
    """
    if isinstance(config, BaseTokenizer):
        raise InputError("config must be a configuration, or where to find one, got a tokenizer; give tokenizer=.")
    if task is None and model is None and pipeline_class is None:
        raise InputError("Give task or model; got neither.")
    cls = pipeline_class or (None if task is None else _class_of(task))
    where, options = split_hub_options(_with_token(kwargs))
    elsewhere, loading = split_hub_options(_with_token(model_kwargs or {}))
    where = {**elsewhere, **where}
    dtype = _one("dtype", dtype, torch_dtype, loading.pop("dtype", None), loading.pop("torch_dtype", None))
    device_map = _one("device_map", device_map, loading.pop("device_map", None))
    if device_map is not None:
        if device is not None:
            raise InputError(f"Give device or device_map, not both; got {device!r} and {device_map!r}.")
        loading["device_map"] = device_map
    if isinstance(tokenizer, tuple):
        tokenizer, of_tokenizer = tokenizer
        use_fast = of_tokenizer.get("use_fast", use_fast)

    if model is not None and not isinstance(model, str | os.PathLike):
        if isinstance(config, str | os.PathLike):
            tokenizer = config if tokenizer is None else tokenizer
        elif config is not None and config != model.config:
            loading["config"] = config
        if loading:
            raise InputError(f"Leave out {', '.join(loading)}: the model is loaded already, and would not change.")
        cls = cls or _class_for(model.head if isinstance(model, Inference) else getattr(unwrapped(model), "head", None))
        if tokenizer is not None:
            tokenizer = find_tokenizer(tokenizer, None, use_fast, **where)
        return cls(model, tokenizer, framework=framework, device=device, dtype=dtype, **options)

    framework = _framework(framework)
    if cls is not None:
        options = cls.present_options(options)  # what is unknown is said before anything is read
    source: Any = default_model(cls.task if cls else "") if model is None else model
    if not isinstance(config, DistilBertConfig):
        if config is None and framework in BACKENDS:
            config = find_config(source, **where)
        else:
            place: Any = source if config is None else config
            config = cast(DistilBertConfig, DistilBertConfig.from_pretrained(place, **where))
    cls = cls or _class_for(*_heads(config))
    _check_head(cls.task, cls.head, source, config)
    tokenizer = find_tokenizer(tokenizer, source, use_fast, **where)
    inference = load_inference(
        framework, cls.head, source, config=config, device=device, dtype=dtype, **loading, **where
    )
    return cls(inference, tokenizer, **options)


def _class_of(task: str) -> type[Pipeline]:
    task = ALIASES.get(task, task)
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join([*TASKS, *ALIASES])}, got {task!r}.")
    return TASKS[task]


def _class_for(*heads: Head | None) -> type[Pipeline]:
    """Return the class of the first task that a model with one of these heads is for."""
    cls = next((cls for cls in TASKS.values() if cls.head in heads), None)
    if cls is None:
        raise InputError(f"Give task, one of {', '.join(TASKS)}: nothing says what the model was made for.")
    return cls


def _with_token(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords with `token` under its present name."""
    return {"token" if name == "use_auth_token" else name: value for name, value in kwargs.items()}


def _one(name: str, *values: Any) -> Any:
    """Return the value of an argument that may be given in several ways, or None; if they differ, raise InputError."""
    given = [value for value in values if value is not None]
    if any(value != given[0] for value in given):
        raise InputError(f"{name} is given in several ways: {', '.join(map(repr, given))}; give it once.")
    return given[0] if given else None


def _framework(name: str | None) -> str:
    if name is None:
        return default_backend()
    if name not in RUNNABLE:
        raise InputError(f"framework must be one of {', '.join(RUNNABLE)}, got {name!r}.")
    return name


def _heads(config: DistilBertConfig) -> set[Head]:
    """Return the heads that a checkpoint was made with, as far as its configuration says."""
    return {head for head in Head if head.architecture in (config.architectures or ())}


def _check_head(task: str, head: Head, source: str | os.PathLike[str], config: DistilBertConfig) -> None:
    """Raise CheckpointError if a checkpoint was made for another task; some heads have the same parameters."""
    stored = _heads(config) - {Head.BASE}
    if head is not Head.BASE and stored and head not in stored:
        tasks = ", ".join(name for name, cls in TASKS.items() if cls.head in stored | {Head.BASE})
        names = ", ".join(sorted(head.architecture for head in stored))
        raise CheckpointError(
            f"{source} is a {names}, which {task} cannot use: it needs a {head.architecture}. Give a checkpoint with "
            f"that head, or use this one for {tasks}."
        )
