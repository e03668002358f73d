"""The formats of weight files. Each format is one module with a row, a `Format`; `SEARCH_ORDER` lists the rows."""

from __future__ import annotations

from collections.abc import Iterable

from weight_conversion.formats.base import Format
from weight_conversion.formats.flax_msgpack import FORMAT as MSGPACK
from weight_conversion.formats.keras_files import MODEL as KERAS
from weight_conversion.formats.keras_files import WEIGHTS_ONLY as KERAS_WEIGHTS
from weight_conversion.formats.kerashub import FORMAT as KERASHUB
from weight_conversion.formats.litert import FLOAT16 as LITERT_FLOAT16
from weight_conversion.formats.litert import FLOAT32 as LITERT
from weight_conversion.formats.litert import INT8 as LITERT_INT8
from weight_conversion.formats.onnx import FLOAT32 as ONNX
from weight_conversion.formats.onnx import INT8 as ONNX_INT8
from weight_conversion.formats.onnx import PADDED as ONNX_PADDED
from weight_conversion.formats.onnx import STATIC_INT8 as ONNX_STATIC_INT8
from weight_conversion.formats.openvino import STATIC_INT8 as OPENVINO_INT8
from weight_conversion.formats.orbax import FORMAT as ORBAX
from weight_conversion.formats.pt2 import FORMAT as PT2
from weight_conversion.formats.safetensors import FLAX, PT, TF
from weight_conversion.formats.saved_model import FORMAT as SAVED_MODEL
from weight_conversion.formats.tensorflow_h5 import FORMAT as H5
from weight_conversion.formats.torch_bin import FORMAT as BIN
from weight_conversion.formats.transformersjs import FORMAT as TRANSFORMERS_JS

# A folder with files of several formats is read in the first of them that is listed here.
CHECKPOINTS = (PT, TF, FLAX, BIN, H5, MSGPACK, KERAS, KERASHUB, KERAS_WEIGHTS, ORBAX)
PACKED_GRAPHS = (ONNX, ONNX_INT8, ONNX_STATIC_INT8, OPENVINO_INT8)
PADDED_GRAPHS = (ONNX_PADDED, LITERT, LITERT_FLOAT16, LITERT_INT8, SAVED_MODEL, PT2, TRANSFORMERS_JS)
SEARCH_ORDER = (*CHECKPOINTS, *PACKED_GRAPHS, *PADDED_GRAPHS)  # graphs are only written


def format_table(rows: Iterable[Format]) -> dict[str, Format]:
    """Return formats by name, in the order of the search.

    Raises:
        TypeError: Two formats have one name, or a format comes after one that it must come before.
    """
    table: dict[str, Format] = {}
    for row in rows:
        if row.name in table:
            raise TypeError(f"Two formats are called {row.name!r}.")
        table[row.name] = row
    order = list(table)
    for row in table.values():
        late = [name for name in row.before if order.index(name) < order.index(row.name)]
        if late:
            raise TypeError(f"The format {row.name!r} must come before {', '.join(late)} in SEARCH_ORDER.")
    return table


FORMATS = format_table(SEARCH_ORDER)

__all__ = ["FORMATS", "SEARCH_ORDER", "Format", "format_table"]
