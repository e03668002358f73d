"""NumPy in, NumPy out: what the command line calls, the same in every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from distilbert_core.config import DistilBertConfig
from distilbert_core.parameters import Head
from distilbert_tf import heads, model


class Inference:
    """A model for inference, loaded from a checkpoint; traced once for all shapes of its inputs.

    Args:
        head: What the model predicts.
        source: Folder, embedded model or Hub id.
        **kwargs: Keywords of `from_pretrained`.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_tf.inference import Inference
        >>> classify = Inference(Head.SEQUENCE_CLASSIFICATION, "sst2-tiny")
        >>> classify(input_ids=np.array([[101, 2307, 102]]))["logits"].argmax()  # "great"
        np.int64(1)
    """

    def __init__(self, head: Head, source: str | Path, **kwargs: Any):
        module = model if head is Head.NONE else heads
        self.model = getattr(module, f"TF{head.architecture}").from_pretrained(source, **kwargs)
        self._run = tf.function(lambda arrays: dict(self.model(arrays, training=False)), reduce_retracing=True)

    @property
    def config(self) -> DistilBertConfig:
        """The model's configuration."""
        return self.model.config

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name."""
        tensors = {name: tf.convert_to_tensor(array) for name, array in arrays.items()}
        return {name: value.numpy() for name, value in self._run(tensors).items()}
