"""openvino_model.xml and .bin: a model in OpenVINO's own format, in static int8. It is written, but not read."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from distilbert_core.model.runtimes import ONNX_FILE as FILE
from distilbert_core.model.runtimes import OPENVINO_FILES, RUNTIMES
from weight_conversion.formats.base import Arrays, Files, Graph, Tensors, require
from weight_conversion.formats.graphs import exported_format, written_together
from weight_conversion.formats.onnx import graph_writer
from weight_conversion.weights import Weights

MODEL, WEIGHTS = OPENVINO_FILES


def layout_files(files: Files, weights: Weights, tensors: Tensors, calibration: list[Arrays] | None = None) -> Files:
    """Return the files with the model, with dense kernels and their inputs in int8, for packed rows.

    NNCF quantizes with the ranges of the calibration rows, and moves large activations into the kernels before
    (SmoothQuant).

    Args:
        files: Files so far.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        calibration: Inputs of the graph for some texts.
    """
    write_whole = graph_writer(weights, tensors, "float32")

    def write(folder: Path) -> None:
        runtime = require("openvino", "openvino-int8", MODEL)
        nncf = require("nncf", "openvino-int8", MODEL)
        logging.getLogger("nncf").setLevel(logging.ERROR)  # it logs each of its steps
        rows = calibration or []
        with tempfile.TemporaryDirectory() as temporary:
            write_whole(Path(temporary) / FILE)
            model = nncf.quantize(
                runtime.Core().read_model(Path(temporary) / FILE),
                nncf.Dataset(rows),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(rows),
            )
            runtime.save_model(model, folder / MODEL, compress_to_fp16=False)

    return {**files, **written_together((WEIGHTS, MODEL), write)}


STATIC_INT8 = exported_format(
    "openvino-int8",
    "OpenVINO, static int8",
    layout_files,
    (Graph(MODEL, RUNTIMES["openvino"], "static int8"),),
    "float32",
    optional_files=(WEIGHTS,),
    is_calibrated=True,
)
