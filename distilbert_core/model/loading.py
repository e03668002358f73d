"""Inference objects, from checkpoints or from models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from distilbert_core.errors import InputError
from distilbert_core.model.backends import BACKENDS, EXPORTED, get_backend
from distilbert_core.model.exported import ExportedInference
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference, backend_of, unwrapped


def load_inference(backend: str, head: Head, source: str | Path, **kwargs: Any) -> Inference:
    """Load a checkpoint for inference on a backend.

    Args:
        backend: 'pt', 'tf' or 'flax'; or 'onnx', 'openvino' or 'litert', for an exported model.
        head: The head of the model.
        source: Folder, embedded model or Hub id.
        **kwargs: Keywords of `from_pretrained`.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: The checkpoint does not exist, is damaged, or lacks the head, as the outputs of a random head
            would be noise.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_core.model.loading import load_inference
        >>> classify = load_inference("pt", Head.SEQUENCE_CLASSIFICATION, "sst2-tiny")
        >>> int(classify(input_ids=np.array([[101, 2307, 102]]))["logits"].argmax())  # "great"
        1
    """
    if backend in EXPORTED:
        return ExportedInference.load(backend, head, source, **kwargs)
    return cast(Inference, get_backend(backend).runner.load(head, source, **kwargs))


def inference_of(model: Any, head: Head, task: str) -> Inference:
    """Return the inference object of a model of any backend.

    Args:
        model: The model, perhaps in a wrapper that `unwrapped` removes; or its inference object.
        head: The head that the model must have. With `Head.BASE` its base model is taken.
        task: Name of the task, for the error.

    Raises:
        InputError: The object is not a model of this package, or it has another head.

    Example:
        >>> from distilbert_core import Head, backend_class
        >>> from distilbert_core.model.loading import inference_of
        >>> model = backend_class("pt", Head.SEQUENCE_CLASSIFICATION).from_pretrained("sst2-tiny")
        >>> inference_of(model, Head.SEQUENCE_CLASSIFICATION, "text-classification").backend
        'pt'
    """
    if isinstance(model, Inference):
        return model
    model = unwrapped(model)
    backend = BACKENDS[backend_of(model) or ""]
    if head is Head.BASE:
        model = model.base_model
    elif getattr(model, "head", None) is not head:
        raise InputError(f"{task} needs a {backend.class_prefix}{head.value}, got a {type(model).__name__}.")
    return cast(Inference, get_backend(backend.name).runner(model))
