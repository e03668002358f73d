"""Inference on an exported model, model.onnx, without any of the three frameworks: ONNX Runtime or OpenVINO run it.

Shapes: B batch, C choices, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, DistilBertError, InputError
from distilbert_core.files.hub import resolve_file, split_hub_options
from distilbert_core.libraries import require_library
from distilbert_core.model.batching import token_batches
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.model.inputs import check_range, check_shapes
from distilbert_core.model.packing import first_tokens

FILE = "model.onnx"
GROUP_TOKENS = 512  # rows of like length are run together, up to so many tokens: fewer would not keep the cores busy
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ExportedModel:
    """A model in the hands of an engine.

    Attributes:
        head: What it predicts.
        config: Its configuration.
        run: From input_ids and attention_mask to the outputs, by name.
    """

    head: Head
    config: DistilBertConfig
    run: Callable[[Arrays], Arrays]


def onnx_runtime(path: Path, device: Any, dtype: str) -> Callable[[Arrays], Arrays]:
    """Load a model into ONNX Runtime.

    Args:
        path: model.onnx.
        device: Its execution provider, such as 'CUDA'; None: the CPU.
        dtype: 'float32'; it computes in what the file holds.
    """
    library = require_library("onnxruntime", "ONNX Runtime", "onnxruntime")
    provider = f"{device or 'CPU'}ExecutionProvider"
    if provider not in library.get_available_providers():
        known = ", ".join(name.removesuffix("ExecutionProvider") for name in library.get_available_providers())
        raise InputError(f"device must be one of {known} here, got {device!r}.")
    if dtype != "float32":
        raise InputError(f"dtype must be 'float32' for ONNX Runtime, got {dtype!r}: convert the model instead.")
    session = library.InferenceSession(path, providers=[provider])
    names = [output.name for output in session.get_outputs()]
    return lambda arrays: dict(zip(names, session.run(None, arrays), strict=True))


def openvino(path: Path, device: Any, dtype: str) -> Callable[[Arrays], Arrays]:
    """Load a model into OpenVINO.

    Args:
        path: model.onnx.
        device: As it names devices; None: the CPU.
        dtype: What to compute in: 'float32', 'bfloat16' or 'float16'.
    """
    library = require_library("openvino", "OpenVINO", "openvino")
    precisions = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    if dtype not in precisions:
        raise InputError(f"dtype must be one of {', '.join(precisions)} for OpenVINO, got {dtype!r}.")
    # Left to itself it computes in bfloat16 where the hardware can.
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precisions[dtype]}
    model = library.Core().compile_model(path, device or "CPU", options)
    taken = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if taken != precisions[dtype]:  # it says nothing itself
        raise InputError(f"dtype={dtype!r} is nothing that OpenVINO computes in on this processor: it takes {taken}.")
    names = [output.get_any_name() for output in model.outputs]
    return lambda arrays: {name: np.array(value) for name, value in zip(names, model(arrays).values(), strict=True)}


ENGINES: dict[str, Callable[[Path, Any, str], Callable[[Arrays], Arrays]]] = {
    "onnx": onnx_runtime,
    "openvino": openvino,
}


class ExportedInference(Inference):
    """Inference on an exported model. Rows of like length are run together, so that little is padding."""

    model: ExportedModel
    origin: tuple[str, Head, str | Path, dict[str, Any]]  # what `load` was given

    def __reduce__(self) -> Any:
        *arguments, keywords = self.origin
        return partial(type(self).load, **keywords), tuple(arguments)

    @classmethod
    def load(cls, engine: str, head: Head, source: str | Path, **kwargs: Any) -> ExportedInference:
        """Load a folder that `distilbert convert --to onnx` or `--to onnx-int8` wrote; see `load_inference`.

        Args:
            engine: 'onnx' or 'openvino'.
            head: What the model predicts.
            source: The folder, or a Hub id.
            **kwargs: `device`, `dtype`, `config` in place of the folder's, and where to look on the Hub.

        Raises:
            BackendNotInstalledError: The engine is not installed.
            CheckpointError: There is no such file, it is damaged, or it was made with another head.
            InputError: The engine has no such device or dtype.
        """
        given = dict(kwargs)
        device, dtype = cls.find_device(kwargs.pop("device", None)), kwargs.pop("dtype", None) or "float32"
        device = None if device == "cpu" else device
        config, (where, unknown) = kwargs.pop("config", None), split_hub_options(kwargs)
        if unknown:  # fields of a configuration, which the graph would not follow
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
        config = config or DistilBertConfig.from_pretrained(source, **where)
        stored = {head.architecture for head in Head} & set(config.architectures or ())
        if stored and head.architecture not in stored:
            raise CheckpointError(f"{source} was exported as {', '.join(stored)}, which has no {head.architecture}.")
        path = resolve_file(source, FILE, **where)
        try:
            run = ENGINES[engine](path, device, dtype)
        except DistilBertError:
            raise
        except Exception as error:  # the engines have errors of their own, with no base in common
            raise CheckpointError(f"{path} cannot be loaded ({type(error).__name__}: {error}).") from error
        loaded = cls(ExportedModel(head, config, run))
        loaded.backend, loaded.origin = engine, (engine, head, source, {**given, "config": config})
        return loaded

    def __call__(self, *, tokens: np.ndarray | None = None, **arrays: np.ndarray) -> Arrays:
        """Return the model's outputs for input_ids and attention_mask; see `Inference`. What stands at padding is 0."""
        unknown = sorted(arrays.keys() - {"input_ids", "attention_mask"})
        if unknown or "input_ids" not in arrays:
            raise InputError(f"An exported model takes input_ids and attention_mask, got {', '.join(arrays)}.")
        ids = np.asarray(arrays["input_ids"])
        if ids.dtype.kind not in "iu":
            raise InputError(f"input_ids must be integers, got {ids.dtype}.")
        ids = ids.astype(np.int64)
        mask = np.asarray(arrays.get("attention_mask", np.ones_like(ids))) != 0
        self._check(ids, mask)
        if tokens is not None:
            tokens = self._real(tokens, arrays)
        real = mask.any(axis=1) if self.head.has_choices else mask  # [B, T]
        lengths = ids.shape[-1] - real[:, ::-1].argmax(axis=1)
        kept: dict[str, list[Any]] = {}  # of each row
        for group in token_batches(lengths.tolist(), GROUP_TOKENS):
            length = int(lengths[group[0]])
            part = {"input_ids": ids[group][..., :length], "attention_mask": mask[group][..., :length].astype(np.int64)}
            for name, values in self.model.run(part).items():
                of_rows = kept.setdefault(name, [None] * len(ids))
                for row, value in zip(group, values, strict=True):
                    of_rows[row] = value if tokens is None else value[tokens[row, :length]]
        if tokens is not None:
            return {name: np.concatenate(of_rows) for name, of_rows in kept.items()}
        if not self.head.reads_tokens:
            return {name: np.stack(of_rows) for name, of_rows in kept.items()}
        return {name: self._padded(of_rows, mask) for name, of_rows in kept.items()}

    @staticmethod
    def _padded(rows: list[np.ndarray], mask: np.ndarray) -> np.ndarray:
        """Return values [of each row, ...] as [B, T, ...], 0 at padding."""
        padded = np.zeros((*mask.shape, *rows[0].shape[1:]), rows[0].dtype)
        for row, values in enumerate(rows):
            padded[row, : len(values)] = values
        padded[~mask] = 0
        return padded

    def _check(self, ids: np.ndarray, mask: np.ndarray) -> None:
        """Raise InputError for what the engines would refuse with words of their own, or not at all."""
        flat = [x.reshape(-1, x.shape[-1]).shape if self.head.has_choices else x.shape for x in (ids, mask)]
        shapes = dict.fromkeys(("inputs_embeds", "position_ids", "head_mask", "segment_ids", "output_tokens"))
        check_shapes(self.config, {**shapes, "input_ids": flat[0], "attention_mask": flat[1]})
        if not ids.size:
            raise InputError(f"input_ids must hold at least one token, got the shape {ids.shape}.")
        check_range("input_ids", int(ids.min()), int(ids.max()), self.config.vocab_size, "vocab_size")
        if not self.head.reads_tokens and not first_tokens(mask)[..., 0].all():
            raise InputError("attention_mask must not begin with padding: an exported model reads the first token.")
