"""The formats of weight files. Each is one module with a `FORMAT`; this table is all that knows them."""

from __future__ import annotations

from weight_conversion.formats.base import Format
from weight_conversion.formats.flax_msgpack import FORMAT as MSGPACK
from weight_conversion.formats.keras_files import MODEL as KERAS
from weight_conversion.formats.keras_files import WEIGHTS_ONLY as KERAS_WEIGHTS
from weight_conversion.formats.kerashub import FORMAT as KERASHUB
from weight_conversion.formats.onnx import FLOAT32 as ONNX
from weight_conversion.formats.onnx import INT8 as ONNX_INT8
from weight_conversion.formats.orbax import FORMAT as ORBAX
from weight_conversion.formats.safetensors import FLAX, PT, TF
from weight_conversion.formats.tensorflow_h5 import FORMAT as H5
from weight_conversion.formats.torch_bin import FORMAT as BIN

_ALL = (PT, TF, FLAX, BIN, H5, MSGPACK, KERAS, KERASHUB, KERAS_WEIGHTS, ORBAX, ONNX, ONNX_INT8)

# In the order in which a folder is searched; of those with one file name, the file itself says which it is.
FORMATS: dict[str, Format] = {format.name: format for format in _ALL}

__all__ = ["FORMATS", "Format"]
