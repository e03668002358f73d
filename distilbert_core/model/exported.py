"""Inference on an exported model by ONNX Runtime or OpenVINO, without any of the three frameworks.

A graph takes packed rows, or, in the format 'onnx-padded', a padded batch.

Shapes: B texts, T tokens, M tokens of all texts, R packed rows, C slots of a packed row, S outputs of a packed row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, DistilBertError, InputError
from distilbert_core.files.external_data import refuse_external_data
from distilbert_core.files.hub import find_file, resolve_file, split_hub_options
from distilbert_core.libraries import require_library
from distilbert_core.model.batching import token_batches
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import CHUNK_TOKENS, PackedInference
from distilbert_core.model.inputs import check_range, check_shapes
from distilbert_core.model.packing import Packing, Ragged, first_tokens

FILE = "model.onnx"
OPENVINO_FILES = ("openvino_model.xml", "openvino_model.bin")  # of a model in OpenVINO's own format
PACKED_INPUTS = ("input_ids", "position_ids", "segment_ids", "output_tokens")  # inputs of a graph for packed rows
GROUP_TOKENS = 512  # tokens of a group of texts of like length, at most; smaller groups would not keep the cores busy
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Program:
    """A graph that a runtime has loaded.

    Attributes:
        inputs: Names of its inputs.
        run: Returns the outputs by name, given the inputs.
    """

    inputs: tuple[str, ...]
    run: Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class ExportedModel:
    """A model that a runtime has loaded.

    Attributes:
        head: The head of the model.
        config: Its configuration.
        program: Its graph.
    """

    head: Head
    config: DistilBertConfig
    program: Program

    @property
    def is_packed(self) -> bool:
        """Whether the graph takes packed rows."""
        return set(self.program.inputs) == set(PACKED_INPUTS)


def onnx_runtime(path: Path, device: Any, dtype: str) -> Program:
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
    inputs = tuple(entry.name for entry in session.get_inputs())
    return Program(inputs, lambda arrays: dict(zip(names, session.run(None, arrays), strict=True)))


def openvino(path: Path, device: Any, dtype: str) -> Program:
    """Load a model into OpenVINO.

    Args:
        path: model.onnx, or openvino_model.xml.
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
    # An output shares its memory with the runtime until the next call.
    call = partial(model, share_inputs=True, share_outputs=True)
    return Program(
        tuple(entry.get_any_name() for entry in model.inputs),
        lambda arrays: {name: np.array(value) for name, value in zip(names, call(arrays).values(), strict=True)},
    )


RUNTIMES: dict[str, Callable[[Path, Any, str], Program]] = {
    "onnx": onnx_runtime,
    "openvino": openvino,
}


class ExportedInference(PackedInference):
    """Inference on an exported model: on packed rows, which have no padding.

    A graph that takes a padded batch gets groups of texts of like length, which have little padding.

    Args:
        model: The model.
        backend: 'onnx' or 'openvino'.
        origin: The arguments of `load`, by which a pickle of the object is loaded again.
    """

    model: ExportedModel

    def __init__(self, model: ExportedModel, backend: str, origin: tuple[str, Head, str | Path, dict[str, Any]]):
        self.backend = backend
        super().__init__(model)
        self.origin = origin

    def __reduce__(self) -> Any:
        *arguments, keywords = self.origin
        return partial(type(self).load, **keywords), tuple(arguments)

    @classmethod
    # One class serves all runtimes, so the runtime is an argument.
    def load(  # type: ignore[override]
        cls, backend: str, head: Head, source: str | Path, **kwargs: Any
    ) -> ExportedInference:
        """Load a folder that `distilbert convert --to onnx`, or to another format for these runtimes, wrote.

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
        path = _find_model(backend, source, hub_options)
        if path.suffix == ".onnx":
            refuse_external_data(path)
        try:
            program = RUNTIMES[backend](path, device, dtype)
        except DistilBertError:
            raise
        except Exception as error:  # the runtimes have their own errors, without a common base class
            raise CheckpointError(f"{path} cannot be loaded ({type(error).__name__}: {error}).") from error
        if not {"input_ids"} <= set(program.inputs) <= {*PACKED_INPUTS, "attention_mask"}:
            raise CheckpointError(
                f"{path} takes {', '.join(program.inputs)}; a model of this package takes input_ids and "
                f"attention_mask, or {', '.join(PACKED_INPUTS)}. Export it with distilbert convert."
            )
        model = ExportedModel(head, config, program)
        return cls(model, backend, (backend, head, source, {**keywords, "config": config}))

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
        if not self.head.reads_tokens and not first_tokens(mask)[..., 0].all() and not self.model.is_packed:
            raise InputError("attention_mask must not begin with padding: this graph reads the first token.")
        return True

    def run(self, **arrays: np.ndarray) -> Arrays:
        """Return the outputs of the model, called with input_ids and attention_mask.

        A graph that takes packed rows computes no padding, so outputs at padding are 0.
        """
        return self(**arrays) if self.model.is_packed else self.model.program.run(arrays)

    def run_ragged(self, texts: Ragged, selected: np.ndarray | None = None) -> Arrays:
        """Return the model's outputs for texts without padding; see `Inference.run_ragged`."""
        return (super().run_ragged if self.model.is_packed else self._run_groups)(texts, selected)

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return a packing into rows of the cheapest length."""
        return Packing.of_cheapest_length(lengths, config.dim)

    def run_packed(self, rows: Arrays) -> np.ndarray:
        """Return the outputs of packed rows, computed in chunks of about `CHUNK_TOKENS` tokens."""
        ids = rows["input_ids"]
        check_range("input_ids", int(ids.min()), int(ids.max()), self.config.vocab_size, "vocab_size")
        all_tokens = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)  # the graph selects the tokens in any case
        arrays = {name: array.astype(np.int64) for name, array in {"output_tokens": all_tokens, **rows}.items()}
        outputs = []
        for some in np.array_split(np.arange(len(ids)), min(max(round(ids.size / CHUNK_TOKENS), 1), len(ids))):
            named = self.model.program.run({name: array[some] for name, array in arrays.items()})
            values = [named[name] for name in self.head.outputs]
            outputs.append(values[0] if len(values) == 1 else np.stack(values, axis=-1))
        return np.concatenate(outputs)

    def _run_groups(self, texts: Ragged, selected: np.ndarray | None = None) -> Arrays:
        """Return the outputs of a graph that takes a padded batch, for texts padded in groups of like length."""
        self._check_length(texts)
        padded = {name: array.astype(np.int64) for name, array in texts.padded(pad_id=0).items()}
        columns = padded["attention_mask"].shape[1]
        lengths = np.maximum(columns - padded["attention_mask"][:, ::-1].argmax(axis=1), 1)  # [B], up to the last token
        values: dict[str, list[Any]] = {}  # the outputs of each text
        for group in token_batches(lengths.tolist(), GROUP_TOKENS):
            arrays = {name: array[group, : lengths[group[0]]] for name, array in padded.items()}
            if self.head.has_choices:
                arrays = {name: array[:, None] for name, array in arrays.items()}
            for name, outputs in self.model.program.run(arrays).items():
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


def _find_model(backend: str, source: str | Path, hub_options: dict[str, Any]) -> Path:
    """Return the path of the file that a runtime loads."""
    if backend == "openvino":
        found = [find_file(source, name, **hub_options) for name in OPENVINO_FILES]
        if found[0] is not None and found[1] is not None:
            return found[0]
    return resolve_file(source, FILE, **hub_options)
