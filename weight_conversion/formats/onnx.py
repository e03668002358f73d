"""model.onnx: a model for ONNX Runtime and similar runtimes, in float32 or int8. It is written, but not read.

Shapes: R packed rows, C slots of a packed row, S outputs of a packed row, N heads, H head size, D model size.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from distilbert_core.model.exported import PACKED_INPUTS
from distilbert_core.model.heads import Head
from distilbert_core.model.runtimes import ONNX_FILE as FILE
from distilbert_core.model.runtimes import RUNTIMES
from weight_conversion.formats.base import Arrays, Files, Graph, Tensors, require
from weight_conversion.formats.graphs import PADDED_INPUTS, exported_format, load_model
from weight_conversion.formats.padded import padded_examples, padded_module, padded_outputs
from weight_conversion.sentences import Pooling
from weight_conversion.weights import Weights

RUNTIME = RUNTIMES["onnx"]
Write = Callable[[Path], None]


def layout_files(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files with the model for packed rows. Its inputs `PACKED_INPUTS` are int64, of any size.

    input_ids, position_ids and segment_ids are [R, C], output_tokens [R, S]: the columns whose outputs are computed. A
    token attends to the tokens of its row that have the same segment id. The outputs are [R, S, ...].
    """
    return {**files, FILE: graph_writer(weights, tensors, "auto", _export_packed)}


def layout_files_padded(files: Files, weights: Weights, tensors: Tensors, pooling: Pooling | None = None) -> Files:
    """Return the files with the model. Its inputs `input_ids` and `attention_mask` are int64 [B, T] of any size.

    Args:
        files: Files so far.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
    """
    return {**files, FILE: graph_writer(weights, tensors, "auto", partial(export_padded, pooling=pooling))}


def graph_writer(
    weights: Weights, tensors: Tensors, dtype: str, export: Callable[[Any, Any, Head, Path], None] | None = None
) -> Write:
    """Return a function that writes the model as a graph.

    Args:
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        dtype: Dtype of the computation; 'auto' is the dtype of the weights.
        export: Writes the graph; one that takes packed rows if left out.
    """

    def write(path: Path) -> None:
        torch = require("torch", "pt", path.name)
        if path.suffix == ".onnx":
            require("onnxscript", "onnx", path.name)
        model = load_model("pt", weights, tensors, dtype, attn_implementation="eager")
        (export or _export_packed)(torch, model, weights.head, path)

    return write


def _export_packed(torch: Any, model: Any, head: Head, path: Path) -> None:
    """Write a graph that takes packed rows."""

    def attend(query: Any, key: Any, value: Any, bias: Any, head_mask: None, dropout: Any) -> tuple[Any, None]:
        """Attend with a bias [R, 1, Q, C] that is computed once for all blocks; the weights are `eager_attention`'s."""
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [R, N, Q, C]
        weights = (scores.to(torch.promote_types(scores.dtype, torch.float32)) + bias).softmax(dim=-1)
        return weights.to(value.dtype) @ value, None  # [R, N, Q, H]

    class Outputs(torch.nn.Module):
        """The model on packed rows: `packed_outputs`, without the checks of shapes, which would fix the sizes."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, position_ids: Any, segment_ids: Any, output_tokens: Any) -> tuple[Any, ...]:
            lowest = torch.finfo(torch.float32).min
            keys, queries = segment_ids[:, None, None], segment_ids.gather(1, output_tokens)
            # [R, 1, C, C] and [R, 1, S, C]
            bias, last_bias = (torch.where(x[:, None, :, None] == keys, 0.0, lowest) for x in (segment_ids, queries))
            base = model.base_model
            x = base.embeddings(input_ids, position_ids=position_ids)  # [R, C, D]
            *blocks, last = base.transformer.layer
            for block in blocks:
                (x,) = block(x, bias, attend=attend)
            # The last block. Its own way to select tokens would fix the sizes, too.
            selected = x.gather(1, output_tokens[..., None].expand(-1, -1, x.shape[-1]))  # [R, S, D]
            (attended,) = last.attention(selected, x, x, last_bias, attend=attend)
            hidden = last.sa_layer_norm(attended + selected)
            hidden = last.output_layer_norm(last.ffn(hidden) + hidden)  # [R, S, D]
            if head is not Head.BASE:
                logits = model.head_logits(hidden.flatten(0, 1)[:, None])
                hidden = logits.reshape(hidden.shape[0], hidden.shape[1], logits.shape[-1])
            return tuple(head.named(hidden).values())

    rows, columns, outputs = map(torch.export.Dim, ("rows", "columns", "outputs"))
    texts = {0: rows, 1: columns}
    examples = [torch.ones((3, 7), dtype=torch.int64) for _ in range(3)] + [torch.ones((3, 2), dtype=torch.int64)]
    sizes = (texts, texts, texts, {0: rows, 1: outputs})
    _write_graph(torch, Outputs().eval(), examples, sizes, PACKED_INPUTS, head.outputs, path)


def export_padded(
    torch: Any, model: Any, head: Head, path: Path, pooling: Pooling | None = None, dtype: str | None = None
) -> None:
    """Write a graph that takes a padded batch.

    Args:
        torch: PyTorch.
        model: The model.
        head: Its head.
        path: File to write.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
        dtype: Dtype of the outputs; None: as computed.
    """
    examples, sizes = padded_examples(torch, model)
    outputs = padded_outputs(head, pooling)
    module = padded_module(torch, model, pooling, dtype)
    _write_graph(torch, module, examples, sizes, PADDED_INPUTS, outputs, path)


def _write_graph(
    torch: Any,
    model: Any,
    examples: Sequence[Any],
    sizes: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """Write a module as a graph.

    Args:
        torch: PyTorch.
        model: The module; it returns its outputs in the order of their names.
        examples: A tensor for each input.
        sizes: For each input, the names of its axes of any size.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        path: File to write.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it logs every library that is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the exporter about itself
        torch.onnx.export(
            model,
            tuple(examples),
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=sizes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def layout_files_int8(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files with the model, with dense kernels in int8.

    ONNX Runtime quantizes each column of a kernel separately, and activations at run time. The rest is float32.
    """
    return {**files, FILE: _quantized(weights, tensors, _quantize_dynamic)}


def _graph_of(path: Path) -> Any:
    model = require("onnx", "onnx", FILE).load(path)
    del model.graph.value_info[:]  # shapes from the exporter, some of which the quantizer misreads
    return model


def _quantize_dynamic(quantization: Any, whole: Path, path: Path, **nodes: Any) -> None:
    # Seven bits: without VNNI, the sum of two products of eight bits can overflow 16 bits.
    quantization.quantize_dynamic(
        _graph_of(whole), path, weight_type=quantization.QuantType.QInt8, per_channel=True, reduce_range=True, **nodes
    )


def layout_files_static(
    files: Files, weights: Weights, tensors: Tensors, calibration: list[Arrays] | None = None
) -> Files:
    """Return the files with the model, with dense kernels and their inputs in int8.

    The range of each input is that of the calibration rows, for ever; ONNX Runtime quantizes each column of a kernel
    separately. The inputs of lin2 are quantized at run time: a few of their values are much larger than the others, and
    one range for all texts lost 2.7 points of Spearman correlation on STS-B. The graph has standard operators only.

    Args:
        files: Files so far.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        calibration: Inputs of the graph for some texts.
    """
    shape_of_lin2 = [weights.config.hidden_dim, weights.config.dim]

    def quantize(quantization: Any, whole: Path, path: Path) -> None:
        model, dynamic = _graph_of(whole), whole.with_name("dynamic.onnx")
        kernels = {tensor.name for tensor in model.graph.initializer if list(tensor.dims) == shape_of_lin2}
        lin2 = [node.name for node in model.graph.node if kernels & set(node.input)]
        _quantize_dynamic(quantization, whole, dynamic, nodes_to_quantize=lin2)

        class Rows(quantization.CalibrationDataReader):
            """The calibration rows, as ONNX Runtime reads them."""

            def __init__(self) -> None:
                self.rows = iter(calibration or ())

            def get_next(self) -> Arrays | None:
                return next(self.rows, None)

        quantization.quantize_static(
            dynamic,
            path,
            Rows(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"],
            extra_options={"MatMulConstBOnly": True},  # not the products of attention
        )

    return {**files, FILE: _quantized(weights, tensors, quantize)}


def _quantized(weights: Weights, tensors: Tensors, quantize: Callable[[Any, Path, Path], None]) -> Write:
    """Return a function that writes the graph in float32 to a temporary file, and quantizes it."""
    write_whole = graph_writer(weights, tensors, "float32")

    def write(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_whole(Path(folder) / FILE)
            quantize_file(Path(folder) / FILE, path, quantize)

    return write


def quantize_file(whole: Path, path: Path, quantize: Callable[[Any, Path, Path], None] = _quantize_dynamic) -> None:
    """Write a quantized graph.

    Args:
        whole: The graph in float32.
        path: File to write.
        quantize: Quantizes, given the module of ONNX Runtime and both paths; by default, dense kernels are int8.
    """
    quantization = require("onnxruntime.quantization", "onnx", path.name)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer advises a step that it does not need here
    try:
        quantize(quantization, whole, path)
    finally:
        root.setLevel(level)


FLOAT32 = exported_format("onnx", "ONNX", layout_files, (Graph(FILE, RUNTIME),))
PADDED = exported_format(
    "onnx-padded", "ONNX for padded batches", layout_files_padded, (Graph(FILE, RUNTIME),), pools=True
)
INT8 = exported_format("onnx-int8", "ONNX, int8", layout_files_int8, (Graph(FILE, RUNTIME, "int8"),), "float32")
STATIC_INT8 = exported_format(
    "onnx-int8-static",
    "ONNX, static int8",
    layout_files_static,
    (Graph(FILE, RUNTIME, "static int8"),),
    "float32",
    is_calibrated=True,
)
