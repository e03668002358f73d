"""A folder for Transformers.js: ONNX graphs in three precisions, and a tokenizer. It is written, but not read."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from distilbert_core.files.names import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, VOCAB_FILE
from distilbert_core.model.runtimes import RUNTIMES
from distilbert_core.model.runtimes import TRANSFORMERS_JS_FILE as FILE
from distilbert_core.tokenization import DistilBertTokenizerFast
from weight_conversion.formats.base import Files, Graph, Tensors
from weight_conversion.formats.graphs import exported_format, unwritten
from weight_conversion.formats.onnx import export_padded, graph_writer, quantize_file
from weight_conversion.sentences import Pooling
from weight_conversion.sidecars import load_tokenizer
from weight_conversion.weights import Weights

FLOAT16_FILE, INT8_FILE = "onnx/model_fp16.onnx", "onnx/model_quantized.onnx"
NEEDED = (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)  # Transformers.js does not read vocab.txt


def layout_files(files: Files, weights: Weights, tensors: Tensors, pooling: Pooling | None = None) -> Files:
    """Return the files with graphs whose inputs input_ids and attention_mask are int64 [B, T] of any size.

    Args:
        files: Files so far.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
    """
    # The outputs are float32 in each graph: JavaScript has no numbers of 16 bits in older browsers.
    export = partial(export_padded, pooling=pooling, dtype="float32")

    def write_int8(path: Path) -> None:
        quantize_file(path.with_name(Path(FILE).name), path)

    return {
        **files,
        **tokenizer_files({name: content for name, content in files.items() if isinstance(content, bytes)}),
        FILE: graph_writer(weights, tensors, "float32", export),
        FLOAT16_FILE: graph_writer(weights, tensors, "float16", export),
        INT8_FILE: write_int8,
    }


def tokenizer_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that Transformers.js needs and a checkpoint with vocab.txt or tokenizer.json lacks."""
    missing = [name for name in NEEDED if name not in files]
    if len(missing) == 0 or not {VOCAB_FILE, TOKENIZER_FILE} & files.keys():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        load_tokenizer(DistilBertTokenizerFast, files).save_pretrained(folder)
        return {name: (Path(folder) / name).read_bytes() for name in missing}


def _unwritten(files: Mapping[str, bytes], weights: Weights) -> list[str]:
    notes = unwritten(files, weights, "float32")
    if not {VOCAB_FILE, TOKENIZER_FILE} & files.keys():
        notes.append(f"The source has no tokenizer: Transformers.js needs {' and '.join(NEEDED)}.")
    return notes


FORMAT = exported_format(
    "transformersjs",
    "Transformers.js",
    layout_files,
    tuple(
        Graph(file, RUNTIMES["onnx"], precision)
        for file, precision in ((FILE, "float32"), (FLOAT16_FILE, "float16"), (INT8_FILE, "int8"))
    ),
    unwritten=_unwritten,
    optional_files=(FLOAT16_FILE, INT8_FILE),
    pools=True,
)
