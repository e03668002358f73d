"""A model for inference with its tokenizer: the part of a pipeline that is loaded, moved and saved."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.dtypes import dtype_name
from distilbert_core.model.heads import Head
from distilbert_core.model.loading import inference_of
from distilbert_core.pipelines.options import warn
from distilbert_core.tokenization import DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.tokenization.base import BaseTokenizer


def find_tokenizer(
    tokenizer: BaseTokenizer | str | os.PathLike[str] | None, source: Any, use_fast: bool = True, **hub_options: Any
) -> BaseTokenizer:
    """Return the given tokenizer, or load one.

    Args:
        tokenizer: A tokenizer of this package, or where to find one; None: with the model.
        source: Where the model was loaded from; empty if it was not.
        use_fast: Load a `DistilBertTokenizerFast`, else a `DistilBertTokenizer`.
        **hub_options: Options of the Hub; `revision` and `subfolder` are the model's, and hold for its source only.

    Raises:
        CheckpointError: No tokenizer was found.
        InputError: The object is not a tokenizer of this package.
    """
    if isinstance(tokenizer, BaseTokenizer):
        return tokenizer
    cls = DistilBertTokenizerFast if use_fast else DistilBertTokenizer
    if isinstance(tokenizer, str | os.PathLike):
        elsewhere = {name: value for name, value in hub_options.items() if name not in ("revision", "subfolder")}
        return cls.from_pretrained(tokenizer, **elsewhere)
    if tokenizer is not None:
        raise InputError(
            "tokenizer must be a DistilBertTokenizerFast or DistilBertTokenizer of this package, or where to find one; "
            f"got {type(tokenizer).__module__}.{type(tokenizer).__qualname__}: save it, and give its folder."
        )
    return cls.from_pretrained(source, **hub_options)


class TokenizedModel:
    """A model and its tokenizer, checked against each other.

    Args:
        model: A model of any backend with the class's `head`, or its inference object.
        tokenizer: A tokenizer of this package, or where to find one; None: where the model was loaded from.
        framework: The backend that the model should have; None: any.
        device: Where to move the model; None or -1: it stays.
        dtype: The dtype that the model should have; another one is an InputWarning.

    Raises:
        InputError: The model does not fit the head or the framework; no tokenizer was found, or it has more tokens than
            the model.
    """

    task: ClassVar[str]
    head: ClassVar[Head]

    def __init__(
        self,
        model: Any,
        tokenizer: BaseTokenizer | str | os.PathLike[str] | None,
        *,
        framework: str | None,
        device: Any,
        dtype: Any,
    ):
        self.inference = inference_of(model, self.head, self.task)
        if framework is not None and framework != self.framework:
            raise InputError(
                f"framework must be {self.framework!r}, the backend of {type(self.model).__name__}, got {framework!r}."
            )
        try:
            self.tokenizer = find_tokenizer(tokenizer, self.config.name_or_path)
        except CheckpointError as error:
            if tokenizer is not None:
                raise
            raise InputError(
                f"Give tokenizer: none was found at config.name_or_path={self.config.name_or_path!r}, where the model "
                f"was loaded from. {error}"
            ) from error
        if device is not None and device != -1:
            self.inference.move(device)
        if dtype not in (None, "auto") and dtype_name(dtype) != dtype_name(self.torch_dtype):
            warn(
                f"torch_dtype={dtype!r} has no effect on a loaded model, which has "
                f"{dtype_name(self.torch_dtype)}. Load it with that dtype."
            )
        if len(self.tokenizer) > self.config.vocab_size:
            raise InputError(
                f"tokenizer has {len(self.tokenizer)} tokens, more than the model's vocab_size="
                f"{self.config.vocab_size}; give the tokenizer of this model, or enlarge the model with "
                "resize_token_embeddings."
            )

    @property
    def model(self) -> Any:
        """The model, of its framework's class; it can be replaced by another model for the task."""
        return self.inference.model

    @model.setter
    def model(self, model: Any) -> None:
        self.inference = inference_of(model, self.head, self.task)

    @property
    def config(self) -> DistilBertConfig:
        """The model's configuration."""
        return self.inference.config

    @property
    def framework(self) -> str:
        """The backend or runtime of the model: 'pt', 'tf', 'flax', 'onnx', 'openvino' or 'litert'."""
        return self.inference.backend

    @property
    def device(self) -> Any:
        """Device of the model, as its framework names it."""
        return self.inference.device

    @property
    def torch_dtype(self) -> Any:
        """Dtype of the model, as its framework names it."""
        return self.inference.dtype

    dtype = torch_dtype

    @property
    def max_length(self) -> int:
        """Maximum tokens of a text, including special tokens."""
        return min(self.tokenizer.model_max_length, self.config.max_position_embeddings)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write model and tokenizer into a folder.

        Args:
            save_directory: The folder; it is created if it does not exist.
            **kwargs: Keywords of the model's `save_pretrained`.

        Raises:
            InputError: The model is an exported one, which cannot be written.
        """
        if not hasattr(self.model, "save_pretrained"):
            raise InputError(f"A model that {self.framework} runs cannot be saved; copy its folder.")
        self.model.save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory)
