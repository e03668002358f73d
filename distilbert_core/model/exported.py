"""Inference on an exported model, model.onnx, by ONNX Runtime or OpenVINO, without any of the three frameworks.

Shapes: B texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from distilbert_core.model.packing import Ragged, first_tokens

FILE = "model.onnx"
GROUP_TOKENS = 512  # tokens of a group of texts of like length, at most; smaller groups would not keep the cores busy
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ExportedModel:
    """A model that a runtime has loaded.

    Attributes:
        head: The head of the model.
        config: Its configuration.
        run: Returns the outputs by name, given input_ids and attention_mask.
    """

    head: Head
    config: DistilBertConfig
    run: Callable[[Arrays], Arrays]


def onnx_runtime(path: Path, device: Any, dtype: str) -> Callable[[Arrays], Arrays]:
    """Load a model into ONNX Runtime.

    Args:
        path: model.onnx.
        device: Its execution provider, such as 'CUDA'; None: the CPU.
        dtype: 'float32'; ONNX Runtime computes in the dtypes of the file.
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
        device: A device as OpenVINO names it; None: the CPU.
        dtype: Dtype of the computation: 'float32', 'bfloat16' or 'float16'.
    """
    library = require_library("openvino", "OpenVINO", "openvino")
    precisions = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    if dtype not in precisions:
        raise InputError(f"dtype must be one of {', '.join(precisions)} for OpenVINO, got {dtype!r}.")
    # By default OpenVINO computes in bfloat16 if the processor can.
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precisions[dtype]}
    model = library.Core().compile_model(path, device or "CPU", options)
    chosen = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if chosen != precisions[dtype]:  # OpenVINO does not raise
        raise InputError(f"OpenVINO cannot compute in dtype={dtype!r} on this processor: it chose {chosen}.")
    names = [output.get_any_name() for output in model.outputs]
    return lambda arrays: {name: np.array(value) for name, value in zip(names, model(arrays).values(), strict=True)}


RUNTIMES: dict[str, Callable[[Path, Any, str], Callable[[Arrays], Arrays]]] = {
    "onnx": onnx_runtime,
    "openvino": openvino,
}


class ExportedInference(Inference):
    """Inference on an exported model. Texts of like length are padded together, so there is little padding.

    Args:
        model: The model.
        backend: 'onnx' or 'openvino'.
        origin: The arguments of `load`, by which a pickle of the object is loaded again.
    """

    model: ExportedModel

    def __init__(self, model: ExportedModel, backend: str, origin: tuple[str, Head, str | Path, dict[str, Any]]):
        super().__init__(model)
        self.backend = backend
        self.origin = origin

    def __reduce__(self) -> Any:
        *arguments, keywords = self.origin
        return partial(type(self).load, **keywords), tuple(arguments)

    @classmethod
    def load(cls, backend: str, head: Head, source: str | Path, **kwargs: Any) -> ExportedInference:
        """Load a folder that `distilbert convert --to onnx` or `--to onnx-int8` wrote.

        Args:
            backend: 'onnx' or 'openvino'.
            head: The head of the model.
            source: The folder, or a Hub id.
            **kwargs: `device`, `dtype`, `config` in place of the folder's, and options of the Hub.

        Raises:
            BackendNotInstalledError: The runtime is not installed.
            CheckpointError: The file does not exist, is damaged, or was exported with another head.
            InputError: The runtime does not have this device or dtype.
        """
        keywords = dict(kwargs)
        device, dtype = cls.find_device(kwargs.pop("device", None)), kwargs.pop("dtype", None) or "float32"
        device = None if device == "cpu" else device
        config, (hub_options, unknown) = kwargs.pop("config", None), split_hub_options(kwargs)
        if unknown:  # such as fields of a configuration, which do not change the graph
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
        config = config or DistilBertConfig.from_pretrained(source, **hub_options)
        stored = {head.architecture for head in Head} & set(config.architectures or ())
        if stored and head.architecture not in stored:
            raise CheckpointError(f"{source} was exported as {', '.join(stored)}, which has no {head.architecture}.")
        path = resolve_file(source, FILE, **hub_options)
        try:
            run = RUNTIMES[backend](path, device, dtype)
        except DistilBertError:
            raise
        except Exception as error:  # the runtimes have their own errors, without a common base class
            raise CheckpointError(f"{path} cannot be loaded ({type(error).__name__}: {error}).") from error
        return cls(ExportedModel(head, config, run), backend, (backend, head, source, {**keywords, "config": config}))

    def _are_texts(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Return True, or raise InputError for arguments that the runtimes would reject with an error of their own."""
        if not {"input_ids"} <= arrays.keys() <= {"input_ids", "attention_mask"}:
            raise InputError(f"An exported model takes input_ids and attention_mask, got {', '.join(arrays)}.")
        ids = np.asarray(arrays["input_ids"])
        if ids.dtype.kind not in "iu":
            raise InputError(f"input_ids must be integers, got {ids.dtype}.")
        mask = np.asarray(arrays.get("attention_mask", np.ones_like(ids))) != 0
        flat = [x.reshape(-1, x.shape[-1]).shape if self.head.has_choices else x.shape for x in (ids, mask)]
        shapes = dict.fromkeys(("inputs_embeds", "position_ids", "head_mask", "segment_ids", "output_tokens"))
        check_shapes(self.config, {**shapes, "input_ids": flat[0], "attention_mask": flat[1]})
        if not ids.size:
            raise InputError(f"input_ids must hold at least one token, got the shape {ids.shape}.")
        check_range("input_ids", int(ids.min()), int(ids.max()), self.config.vocab_size, "vocab_size")
        if not self.head.reads_tokens and not first_tokens(mask)[..., 0].all():
            raise InputError("attention_mask must not begin with padding: an exported model reads the first token.")
        return True

    def run(self, **arrays: np.ndarray) -> Arrays:
        """Return the outputs of the model, called with input_ids and attention_mask."""
        return self.model.run(arrays)

    def run_ragged(self, texts: Ragged, selected: np.ndarray | None = None) -> Arrays:
        """Return the model's outputs for texts, padded in groups of like length; see `Inference.run_ragged`."""
        self._check_length(texts)
        padded = {name: array.astype(np.int64) for name, array in texts.padded(pad_id=0).items()}
        columns = padded["attention_mask"].shape[1]
        lengths = np.maximum(columns - padded["attention_mask"][:, ::-1].argmax(axis=1), 1)  # [B], up to the last token
        values: dict[str, list[Any]] = {}  # the outputs of each text
        for group in token_batches(lengths.tolist(), GROUP_TOKENS):
            arrays = {name: array[group, : lengths[group[0]]] for name, array in padded.items()}
            if self.head.has_choices:
                arrays = {name: array[:, None] for name, array in arrays.items()}
            for name, outputs in self.run(**arrays).items():
                of_texts = values.setdefault(name, [None] * len(lengths))
                for text, output in zip(group, outputs, strict=True):
                    of_texts[text] = output
        if not self.head.reads_tokens:
            return {name: np.stack(of_texts) for name, of_texts in values.items()}
        columns_of = texts.split(texts.position_ids)
        joined = {
            name: np.concatenate([output[real] for output, real in zip(of_texts, columns_of, strict=True)])
            for name, of_texts in values.items()
        }
        return joined if selected is None else {name: array[selected] for name, array in joined.items()}
