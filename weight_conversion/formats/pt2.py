"""model.pt2: a program of torch.export, for PyTorch without this package. It is written, but not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.runtimes import Arrays, Program, Runtime
from weight_conversion.formats.base import Files, Graph, Tensors
from weight_conversion.formats.graphs import PADDED_INPUTS, exported_format
from weight_conversion.formats.onnx import graph_writer
from weight_conversion.formats.padded import padded_examples, padded_module
from weight_conversion.sentences import Pooling
from weight_conversion.weights import Weights

FILE = "model.pt2"


def layout_files(files: Files, weights: Weights, tensors: Tensors, pooling: Pooling | None = None) -> Files:
    """Return the files with the program. Its inputs input_ids and attention_mask are int64 [B, T] of any size.

    It returns a dict of plain tensors, so that `torch.export.load` needs no class of this package.

    Args:
        files: Files so far.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
    """

    def export(torch: Any, model: Any, head: Head, path: Path) -> None:
        examples, sizes = padded_examples(torch, model)
        arguments, axes = (dict(zip(PADDED_INPUTS, values, strict=True)) for values in (examples, sizes))
        module = padded_module(torch, model, pooling)
        torch.export.save(torch.export.export(module, (), arguments, dynamic_shapes=axes), path)

    return {**files, FILE: graph_writer(weights, tensors, "auto", export)}


def _load(torch: Any, path: Path, device: Any, dtype: str) -> Program:
    if device is not None:
        raise InputError(f"device must be None or 'cpu' for a program of torch.export, got {device!r}.")
    module = torch.export.load(path).module()

    def run(arrays: Arrays) -> Arrays:
        with torch.no_grad():
            outputs = module(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()})
        return {name: _to_array(torch, value) for name, value in outputs.items()}

    return Program(PADDED_INPUTS, run)


def _to_array(torch: Any, tensor: Any) -> np.ndarray:
    array: np.ndarray = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return array


# It is not a runtime of `pipeline`: torch.export.load may run a pickle of the file.
RUNTIME = Runtime("pt2", "torch.export", "torch", "pt", ((FILE,),), ("float32",), _load)
FORMAT = exported_format("pt2", "PyTorch, torch.export", layout_files, (Graph(FILE, RUNTIME),), pools=True)
