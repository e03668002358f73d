"""model.onnx: a model for ONNX Runtime and similar runtimes, in float32 or int8. It is written, but not read."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.model.backends import load_backend
from distilbert_core.model.config import CONFIG_FILE
from distilbert_core.model.heads import Head
from weight_conversion.formats.base import Files, Format, Tensors, require
from weight_conversion.formats.safetensors import PT, write_file
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights

FILE = "model.onnx"
INPUTS = ("input_ids", "attention_mask")


def layout_files(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files with the model. Its inputs `input_ids` and `attention_mask` are int64 [B, T] of any size."""
    return {**files, FILE: _writer(weights, tensors, "auto")}


def _writer(weights: Weights, tensors: Tensors, dtype: str) -> Callable[[Path], None]:
    """Return a function that writes the model. It computes in `dtype`; 'auto' is the dtype of the weights."""

    def write(path: Path) -> None:
        torch = require("torch", "pt", FILE)
        require("onnxscript", "onnx", FILE)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / CONFIG_FILE).write_bytes(weights.config.to_json_string().encode())
            write_file(Path(folder) / PT.file, tensors, weights.head, PT.name)
            model_class = getattr(load_backend("pt"), weights.head.architecture)
            model = model_class.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
        _export(torch, model, weights.head, path)

    return write


def _export(torch: Any, model: Any, head: Head, path: Path) -> None:
    class Outputs(torch.nn.Module):
        """The model with its outputs as a tuple, as a graph needs them."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> tuple[Any, ...]:
            outputs = self.model(input_ids=input_ids, attention_mask=attention_mask)
            return tuple(outputs[name] for name in head.outputs)

    shape: tuple[int, ...] = (2, 5)
    sizes = {0: "batch", 1: "tokens"}
    if head.has_choices:
        shape, sizes = (2, 3, 5), {0: "batch", 1: "choices", 2: "tokens"}
    longest = model.config.max_position_embeddings
    dims = {axis: torch.export.Dim(name, max=longest if name == "tokens" else None) for axis, name in sizes.items()}
    # Two tensors: one tensor for both inputs would become one input of the graph.
    examples = tuple(torch.ones(shape, dtype=torch.int64) for _ in INPUTS)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it logs every library that is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the exporter about itself
        torch.onnx.export(
            Outputs().eval(),
            examples,
            path,
            input_names=list(INPUTS),
            output_names=list(head.outputs),
            dynamic_shapes=(dims, dims),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _not_read(path: Path) -> dict[str, LazyTensor]:
    raise CheckpointError(
        f"{path} cannot be read: ONNX files are only written. Convert the checkpoint it was made from."
    )


def layout_files_int8(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files with the model, with dense kernels in int8.

    ONNX Runtime quantizes each column of a kernel separately, and activations at run time. The rest is float32.
    """
    write_whole = _writer(weights, tensors, "float32")

    def write(path: Path) -> None:
        quantization = require("onnxruntime.quantization", "onnx", FILE)
        with tempfile.TemporaryDirectory() as folder:
            write_whole(Path(folder) / FILE)
            whole = require("onnx", "onnx", FILE).load(Path(folder) / FILE)
            del whole.graph.value_info[:]  # shapes from the exporter, some of which the quantizer misreads
            # Seven bits: without VNNI, the sum of two products of eight bits can overflow 16 bits.
            quantization.quantize_dynamic(
                whole, path, weight_type=quantization.QuantType.QInt8, per_channel=True, reduce_range=True
            )

    return {**files, FILE: write}


def unwritten(files: Mapping[str, bytes], weights: Weights, dtype: str | None = None) -> list[str]:
    """Return a note on tensors that lose precision: a graph has one dtype, by default that of the first tensor."""
    dtype = dtype or next(iter(weights.tensors.values())).dtype
    wider = [name for name in weights.dtypes if not np.can_cast(NUMPY_DTYPES[name], NUMPY_DTYPES[dtype])]
    return [f"The graph is {dtype}: tensors of {', '.join(wider)} were rounded to it."] if wider else []


def _format(
    name: str, title: str, layout_files: Callable[[Files, Weights, Tensors], Files], dtype: str | None = None
) -> Format:
    return Format(
        name=name,
        title=title,
        file=FILE,
        stored_name=PT.stored_name,
        open=_not_read,
        split=False,
        layout_files=layout_files,
        unwritten=partial(unwritten, dtype=dtype),
    )


FLOAT32 = _format("onnx", "ONNX", layout_files)
INT8 = _format("onnx-int8", "ONNX, int8", layout_files_int8, "float32")
