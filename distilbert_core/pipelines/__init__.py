"""Texts in, answers out: one implementation of each task for the three backends.

A pipeline uses a model through `distilbert_core.model.inference` only, with NumPy arrays. Results have the fields and
the numbers of Transformers' pipelines.
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
from distilbert_core.pipelines.base import ALIASES, Pipeline
from distilbert_core.pipelines.datasets import KeyDataset, KeyPairDataset
from distilbert_core.pipelines.feature_extraction import FeatureExtractionPipeline
from distilbert_core.pipelines.fill_mask import FillMaskPipeline
from distilbert_core.pipelines.multiple_choice import MultipleChoicePipeline
from distilbert_core.pipelines.question_answering import QuestionAnsweringPipeline
from distilbert_core.pipelines.text_classification import TextClassificationPipeline
from distilbert_core.pipelines.token_classification import AggregationStrategy, TokenClassificationPipeline
from distilbert_core.pipelines.tokenized_model import find_tokenizer
from distilbert_core.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from distilbert_core.tokenization.base import BaseTokenizer

__all__ = [
    "ALIASES",
    "PIPELINE_CLASSES",
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
PipelineException = InputError  # scripts for Transformers catch this name

# Without a task, a model gets the first pipeline for its head.
PIPELINE_CLASSES: dict[str, type[Pipeline]] = {
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
    """Return the pipeline of a task with a given model, or load a model and its tokenizer.

    Args:
        task: 'text-classification' (or 'sentiment-analysis'), 'fill-mask', 'token-classification' (or 'ner'),
            'question-answering', 'feature-extraction', 'multiple-choice' or 'zero-shot-classification'; the task of the
            model's head if left out.
        model: Folder, weight file, embedded model or Hub id, of any format that `from_pretrained` opens; or a model of
            any backend, which is not copied. If left out: the task's model in
            `distilbert_core.files.hub.DEFAULT_MODELS`, embedded or from the Hub.
        config: Configuration to use in place of the checkpoint's, or where to find one.
        tokenizer: A tokenizer, fast or slow, or where to find one, perhaps as (place, {'use_fast': False}); the model's
            if left out. `revision` and `subfolder` do not apply to a tokenizer from another place than the model.
        framework: 'pt', 'tf' or 'flax', the first installed backend if left out; or 'onnx', 'openvino' or 'litert',
            for a model that `distilbert convert` exported. A model object has a framework already.
        use_fast: Load a `DistilBertTokenizerFast`, else a `DistilBertTokenizer`.
        device: A device as the framework names it; or a number: -1 the CPU, 0 the first accelerator. A model object
            stays where it is with -1.
        device_map: As in the framework's `from_pretrained`, in place of device.
        dtype: Dtype of the parameters: 'float32' (default), 'float64', 'bfloat16', 'float16', or 'auto' for the
            checkpoint's.
        torch_dtype: Older name of dtype.
        model_kwargs: Further keywords of the model's `from_pretrained`.
        pipeline_class: Class to use in place of the task's, derived from it.
        **kwargs: Options of the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`), and options of the task to use in every call.

    Returns:
        The pipeline: call it with an input, a list of inputs, or any other iterable.

    Raises:
        BackendNotInstalledError: The framework is not installed, or no framework is.
        CheckpointError: The checkpoint does not exist, is damaged, or was made for another task.
        InputError: The task or framework is unknown, the model does not fit it, or an option is impossible.
        TypeError: A keyword is unknown.

    Warns:
        InputWarning: No model is given, and the task's default model is downloaded from the Hub.

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
    hub_options, options = split_hub_options(_with_token(kwargs))
    more_hub_options, loading = split_hub_options(_with_token(model_kwargs or {}))
    hub_options = {**more_hub_options, **hub_options}
    dtype = _one("dtype", dtype, torch_dtype, loading.pop("dtype", None), loading.pop("torch_dtype", None))
    device_map = _one("device_map", device_map, loading.pop("device_map", None))
    if device_map is not None:
        if device is not None:
            raise InputError(f"Give device or device_map, not both; got {device!r} and {device_map!r}.")
        loading["device_map"] = device_map
    if isinstance(tokenizer, tuple):
        tokenizer, tokenizer_options = tokenizer
        use_fast = tokenizer_options.get("use_fast", use_fast)

    if model is not None and not isinstance(model, str | os.PathLike):
        if isinstance(config, str | os.PathLike):
            tokenizer = config if tokenizer is None else tokenizer
        elif config is not None and config != model.config:
            loading["config"] = config
        if loading:
            raise InputError(f"Leave out {', '.join(loading)}: the model is loaded already, and would not change.")
        cls = cls or _class_for(model.head if isinstance(model, Inference) else getattr(unwrapped(model), "head", None))
        if tokenizer is not None:
            tokenizer = find_tokenizer(tokenizer, None, use_fast, **hub_options)
        return cls(model, tokenizer, framework=framework, device=device, dtype=dtype, **options)

    framework = _framework(framework)
    if cls is not None:
        options = cls.present_options(options)  # raises before anything is loaded
    source: Any = default_model(cls.task if cls else "", **hub_options) if model is None else model
    if not isinstance(config, DistilBertConfig):
        if config is None and framework in BACKENDS:
            config = find_config(source, **hub_options)
        else:
            place: Any = source if config is None else config
            config = cast(DistilBertConfig, DistilBertConfig.from_pretrained(place, **hub_options))
    cls = cls or _class_for(*_heads(config))
    _check_head(cls.task, cls.head, source, config)
    tokenizer = find_tokenizer(tokenizer, source, use_fast, **hub_options)
    inference = load_inference(
        framework, cls.head, source, config=config, device=device, dtype=dtype, **loading, **hub_options
    )
    return cls(inference, tokenizer, **options)


def _class_of(task: str) -> type[Pipeline]:
    task = ALIASES.get(task, task)
    if task not in PIPELINE_CLASSES:
        raise InputError(f"task must be one of {', '.join([*PIPELINE_CLASSES, *ALIASES])}, got {task!r}.")
    return PIPELINE_CLASSES[task]


def _class_for(*heads: Head | None) -> type[Pipeline]:
    """Return the first pipeline for one of these heads."""
    cls = next((cls for cls in PIPELINE_CLASSES.values() if cls.head in heads), None)
    if cls is None:
        raise InputError(
            f"Give task, one of {', '.join(PIPELINE_CLASSES)}: the model does not say which task it was made for."
        )
    return cls


def _with_token(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords with `use_auth_token` renamed to `token`."""
    return {"token" if name == "use_auth_token" else name: value for name, value in kwargs.items()}


def _one(name: str, *values: Any) -> Any:
    """Return the value of an argument that may be given in several ways, or None; raise InputError if they differ."""
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
    """Return the heads of a checkpoint according to its configuration."""
    return {head for head in Head if head.architecture in (config.architectures or ())}


def _check_head(task: str, head: Head, source: str | os.PathLike[str], config: DistilBertConfig) -> None:
    """Raise CheckpointError if a checkpoint was made for another task; parameters do not tell all heads apart."""
    stored = _heads(config) - {Head.BASE}
    if head is not Head.BASE and stored and head not in stored:
        tasks = ", ".join(name for name, cls in PIPELINE_CLASSES.items() if cls.head in stored | {Head.BASE})
        names = ", ".join(sorted(head.architecture for head in stored))
        raise CheckpointError(
            f"{source} is a {names}, which {task} cannot use: it needs a {head.architecture}. Give a checkpoint with "
            f"that head, or use this one for {tasks}."
        )
