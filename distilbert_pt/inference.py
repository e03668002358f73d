"""NumPy in, NumPy out: what the command line calls, the same in every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from distilbert_core.config import DistilBertConfig
from distilbert_core.parameters import Head
from distilbert_pt import heads, model
from distilbert_pt.pretrained import to_array, to_tensor


class Inference:
    """A model for inference, loaded from a checkpoint.

    Args:
        head: What the model predicts.
        source: Folder, embedded model or Hub id.
        **kwargs: Keywords of `from_pretrained`.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_pt.inference import Inference
        >>> classify = Inference(Head.SEQUENCE_CLASSIFICATION, "sst2-tiny")
        >>> classify(input_ids=np.array([[101, 2307, 102]]))["logits"].argmax()  # "great"
        np.int64(1)
    """

    def __init__(self, head: Head, source: str | Path, **kwargs: Any):
        module = model if head is Head.NONE else heads
        self.model = getattr(module, head.architecture).from_pretrained(source, **kwargs)

    @property
    def config(self) -> DistilBertConfig:
        """The model's configuration."""
        return self.model.config

    @torch.inference_mode()
    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name."""
        tensors = {name: to_tensor(array).to(self.model.device) for name, array in arrays.items()}
        return {name: to_array(value) for name, value in self.model(**tensors).items()}
