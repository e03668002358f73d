"""NumPy in, NumPy out: models as the command line sees them, whatever the framework."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distilbert_core.backends import BACKENDS, load_backend
from distilbert_core.config import DistilBertConfig
from distilbert_core.parameters import Head


class Inference:
    """A model for inference, loaded from a checkpoint. Each backend has its own, in its module `inference`.

    Args:
        head: What the model predicts.
        source: Folder, embedded model or Hub id.
        **kwargs: Keywords of `from_pretrained`.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
    """

    backend: ClassVar[str]

    def __init__(self, head: Head, source: str | Path, **kwargs: Any):
        model_class = getattr(load_backend(self.backend), BACKENDS[self.backend].class_prefix + head.value)
        self.model = model_class.from_pretrained(source, **kwargs)

    @property
    def config(self) -> DistilBertConfig:
        """The model's configuration."""
        return self.model.config

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name."""
        raise NotImplementedError


def load_inference(backend: str, head: Head, source: str | Path, **kwargs: Any) -> Inference:
    """Load a checkpoint for inference on a backend.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        head: What the model predicts.
        source: Folder, embedded model or Hub id.
        **kwargs: Keywords of `from_pretrained`.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: There is no such checkpoint, or it is damaged.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_core.inference import load_inference
        >>> classify = load_inference("pt", Head.SEQUENCE_CLASSIFICATION, "sst2-tiny")
        >>> int(classify(input_ids=np.array([[101, 2307, 102]]))["logits"].argmax())  # "great"
        1
    """
    module = importlib.import_module(f"{load_backend(backend).__name__}.inference")
    return module.BackendInference(head, source, **kwargs)
