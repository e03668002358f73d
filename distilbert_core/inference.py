"""NumPy in, NumPy out: models as the pipelines see them, whatever the framework."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from distilbert_core.backends import backend_class, load_backend
from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import CheckpointError, CheckpointWarning
from distilbert_core.parameters import BODY, Head

# Heads whose outputs have an axis of tokens after that of the batch.
TOKEN_HEADS = frozenset({Head.NONE, Head.MASKED_LM, Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING})
# A call returns only what the head predicts, by name, whatever the checkpoint's configuration says.
PLAIN_OUTPUTS = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}


class Inference:
    """A model for inference. Each backend has its own, in its module `inference`.

    Args:
        model: A model of the backend; what is done to it later, such as training, is seen here.
    """

    backend: ClassVar[str]

    def __init__(self, model: Any):
        self.model = model
        self.head: Head = model.head

    @classmethod
    def load(cls, head: Head, source: str | Path, **kwargs: Any) -> Self:
        """Load a checkpoint; see `load_inference`."""
        model_class = backend_class(cls.backend, head)
        with warnings.catch_warnings():
            # What is missing is an error below; what is not used was not asked for.
            warnings.simplefilter("ignore", CheckpointWarning)
            model, info = model_class.from_pretrained(source, output_loading_info=True, **PLAIN_OUTPUTS, **kwargs)
        fresh = [*info["missing_keys"], *(name for name, _, _ in info["mismatched_keys"])]
        fresh = [name for name in fresh if head is not Head.NONE and not name.startswith(f"{BODY}.")]
        if fresh:
            raise CheckpointError(
                f"{source} has no weights for {model_class.__name__}: it lacks {', '.join(fresh)}. Give a checkpoint "
                "with this head, or train one."
            )
        return cls(model)

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
        CheckpointError: There is no such checkpoint, it is damaged, or it lacks the head: what a head of random
            numbers predicts is noise.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_core.inference import load_inference
        >>> classify = load_inference("pt", Head.SEQUENCE_CLASSIFICATION, "sst2-tiny")
        >>> int(classify(input_ids=np.array([[101, 2307, 102]]))["logits"].argmax())  # "great"
        1
    """
    module = importlib.import_module(f"{load_backend(backend).__name__}.inference")
    return module.BackendInference.load(head, source, **kwargs)
