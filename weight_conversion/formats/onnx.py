"""model.onnx: a whole model for ONNX Runtime and its like, in float32 or int8. Written only, by PyTorch's exporter."""

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
    """Return the files with the model, whose inputs `input_ids` and `attention_mask` are int64 [B, T] of any size."""
    return {**files, FILE: _writer(weights, tensors, "auto")}


def _writer(weights: Weights, tensors: Tensors, dtype: str) -> Callable[[Path], None]:
    """Return what writes the model, computing in a dtype, or in that of its weights: 'auto'."""

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
        """The model with its outputs as a tuple, which is what a graph has."""

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
    # Two tensors: one for both inputs would make them one input of the graph.
    examples = tuple(torch.ones(shape, dtype=torch.int64) for _ in INPUTS)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names every library that is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
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
    """Return the files with the model, its dense kernels in int8.

    ONNX Runtime quantizes them, each column by itself; activations are quantized while it runs. The rest is float32.
    """
    write_whole = _writer(weights, tensors, "float32")

    def write(path: Path) -> None:
        quantization = require("onnxruntime.quantization", "onnx", FILE)
        with tempfile.TemporaryDirectory() as folder:
            write_whole(Path(folder) / FILE)
            whole = require("onnx", "onnx", FILE).load(Path(folder) / FILE)
            del whole.graph.value_info[:]  # shapes as noted by the exporter: the quantizer takes some for others
            # Seven bits: on processors without VNNI the sum of two products of eight would not fit into 16 bits.
            quantization.quantize_dynamic(
                whole, path, weight_type=quantization.QuantType.QInt8, per_channel=True, reduce_range=True
            )

    return {**files, FILE: write}


def unwritten(files: Mapping[str, bytes], weights: Weights, dtype: str | None = None) -> list[str]:
    """Return which tensors lose precision, as a graph computes in one dtype: that of the first if None."""
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
