"""model.tflite: a model for LiteRT (TensorFlow Lite), in float32, float16 or int8. It is written, but not read."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from distilbert_core.model.runtimes import LITERT_FILE as FILE
from distilbert_core.model.runtimes import RUNTIMES
from weight_conversion.formats.base import Files, Graph, Tensors, require
from weight_conversion.formats.graphs import PADDED_INPUTS, exported_format, load_model
from weight_conversion.sentences import SENTENCE_EMBEDDING, Pooling
from weight_conversion.weights import Weights


def layout_files(
    files: Files, weights: Weights, tensors: Tensors, precision: str = "float32", pooling: Pooling | None = None
) -> Files:
    """Return the files with the model. Its inputs input_ids and attention_mask are int32 [B, T] of any size.

    Args:
        files: Files so far.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        precision: 'float32'; 'float16': the weights are stored in float16; 'int8': dense kernels and embeddings are in
            int8, with a scale for each output, and activations are quantized at run time.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
    """

    def write(path: Path) -> None:
        tensorflow = require("tensorflow", "tf", FILE)
        options: dict[str, Any] = {}
        if precision != "float32":
            options["optimizations"] = [tensorflow.lite.Optimize.DEFAULT]
        if precision == "float16":
            options["target_spec"] = {"supported_types": [tensorflow.float16]}
        export_keras(weights, tensors, "float32", path, "litert", pooling, **options)

    return {**files, FILE: write}


def export_keras(
    weights: Weights, tensors: Tensors, dtype: str, path: Path, format: str, pooling: Pooling | None, **options: Any
) -> None:
    """Export a model by Keras.

    Args:
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        dtype: Dtype of the computation; 'auto' is the dtype of the weights.
        path: Where to write.
        format: A format of `keras.Model.export`.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
        **options: Further arguments of `keras.Model.export`.
    """
    keras = require("keras", "tf", path.name)
    model = load_model("tf", weights, tensors, dtype)
    with quiet("absl", "tensorflow"):
        if pooling is None:
            model.export(path, format=format, verbose=False, **options)
            return
        ids = "int32" if format == "litert" else "int64"
        inputs = {name: keras.Input((None,), dtype=ids, name=name) for name in PADDED_INPUTS}
        hidden = model(inputs).last_hidden_state  # [B, T, D]
        exact = keras.ops.cast(hidden, keras.backend.result_type(hidden.dtype, "float32"))
        mask = keras.ops.cast(inputs["attention_mask"], exact.dtype)
        outputs = {"last_hidden_state": hidden, SENTENCE_EMBEDDING: pooling(keras.ops, exact, mask)}
        sizes = [{name: keras.InputSpec(shape=(None, None), dtype=ids, name=name) for name in PADDED_INPUTS}]
        keras.Model(inputs, outputs).export(path, format=format, verbose=False, input_signature=sizes, **options)


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Context manager: an exporter neither warns about itself nor logs its steps."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


FLOAT32, FLOAT16, INT8 = (
    exported_format(
        name,
        title,
        partial(layout_files, precision=precision),
        (Graph(FILE, RUNTIMES["litert"], precision),),
        "float32",
        pools=True,
    )
    for name, title, precision in (
        ("litert", "LiteRT", "float32"),
        ("litert-float16", "LiteRT, float16", "float16"),
        ("litert-int8", "LiteRT, int8", "int8"),
    )
)
