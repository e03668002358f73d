"""A SavedModel of TensorFlow, for `tf.saved_model.load` and TensorFlow Serving. It is written, but not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.runtimes import Arrays, Program, Runtime
from weight_conversion.formats.base import Files, Graph, Tensors
from weight_conversion.formats.graphs import exported_format, written_together
from weight_conversion.formats.litert import export_keras
from weight_conversion.sentences import Pooling
from weight_conversion.weights import Weights

FILE = "saved_model.pb"
FILES = (FILE, "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
SIGNATURE = "serving_default"  # the signature that TensorFlow Serving calls


def layout_files(files: Files, weights: Weights, tensors: Tensors, pooling: Pooling | None = None) -> Files:
    """Return the files with the model. Its inputs input_ids and attention_mask are int64 [B, T] of any size.

    Args:
        files: Files so far.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
    """

    def write(folder: Path) -> None:
        export_keras(weights, tensors, "auto", folder, "tf_saved_model", pooling)
        if (folder / "assets").is_dir():
            (folder / "assets").rmdir()  # it is empty

    return {**files, **written_together(FILES, write)}


def _load(tensorflow: Any, path: Path, device: Any, dtype: str) -> Program:
    if device is not None:
        raise InputError(f"device must be None or 'cpu' for a SavedModel, got {device!r}.")
    with tensorflow.device("CPU"):
        model = tensorflow.saved_model.load(path.parent)
    _, specs = model.signatures[SIGNATURE].structured_input_signature

    def run(arrays: Arrays) -> Arrays:
        with tensorflow.device("CPU"):
            inputs = {name: tensorflow.constant(array, tensorflow.int64) for name, array in arrays.items()}
            outputs = model.signatures[SIGNATURE](**inputs)  # `model` keeps the variables
        return {name: np.asarray(value) for name, value in outputs.items()}

    return Program(tuple(specs), run)


# It is not a runtime of `pipeline`: a SavedModel is a program that can read and write files.
RUNTIME = Runtime("saved-model", "TensorFlow", "tensorflow", "tf", ((FILE,),), ("float32",), _load)
FORMAT = exported_format(
    "saved-model", "SavedModel", layout_files, (Graph(FILE, RUNTIME),), optional_files=FILES[1:], pools=True
)
