"""The runtimes of exported models: how each loads a file, and the files, dtypes and library that it has."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.external_data import refuse_external_data
from distilbert_core.libraries import require_library

ONNX_FILE = "model.onnx"
TRANSFORMERS_JS_FILE = "onnx/model.onnx"  # the file in float32 of a folder for Transformers.js
OPENVINO_FILES = ("openvino_model.xml", "openvino_model.bin")  # of a model in OpenVINO's own format
LITERT_FILE = "model.tflite"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Program:
    """A graph that a runtime has loaded.

    Attributes:
        inputs: Names of its inputs.
        run: Returns the outputs by name, given the inputs.
    """

    inputs: tuple[str, ...]
    run: Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Runtime:
    """A runtime of exported models.

    Attributes:
        name: Its name: the value of `--backend`.
        title: Its name for people.
        module: The module to import.
        extra: The extra of this project that installs it.
        files: Groups of files that it loads, in the order of the search. All files of a group must exist; the first one
            is given to `load`.
        dtypes: Dtypes of the computation; the first one is the default.
        load: Loads a file, given the library, the path, the device (None: the CPU) and the dtype.
    """

    name: str
    title: str
    module: str
    extra: str
    files: tuple[tuple[str, ...], ...]
    dtypes: tuple[str, ...]
    load: Callable[[Any, Path, Any, str], Program]

    def library(self) -> Any:
        """Import the library.

        Raises:
            BackendNotInstalledError: It is not installed.
        """
        return require_library(self.module, self.title, self.extra)

    def open(self, path: Path, device: Any = None, dtype: str | None = None) -> Program:
        """Load a file.

        Args:
            path: The file.
            device: A device as the runtime names it; None: the CPU.
            dtype: Dtype of the computation; None: the first one of `dtypes`.

        Raises:
            BackendNotInstalledError: The library is not installed.
            InputError: The runtime does not have this device or dtype.
        """
        library, dtype = self.library(), dtype or self.dtypes[0]
        if dtype not in self.dtypes:
            advice = "" if len(self.dtypes) > 1 else ": convert the model instead"
            known = "one of " if len(self.dtypes) > 1 else ""
            raise InputError(
                f"dtype must be {known}{', '.join(map(repr, self.dtypes))} for {self.title}, got {dtype!r}{advice}."
            )
        return self.load(library, path, device, dtype)


def _onnx_runtime(library: Any, path: Path, device: Any, dtype: str) -> Program:
    """Load model.onnx. ONNX Runtime computes in the dtypes of the file; a device is the name of a provider: 'CUDA'."""
    refuse_external_data(path)
    provider = f"{device or 'CPU'}ExecutionProvider"
    if provider not in library.get_available_providers():
        known = ", ".join(name.removesuffix("ExecutionProvider") for name in library.get_available_providers())
        raise InputError(f"device must be one of {known} here, got {device!r}.")
    session = library.InferenceSession(path, providers=[provider])
    names = [output.name for output in session.get_outputs()]
    inputs = tuple(entry.name for entry in session.get_inputs())
    return Program(inputs, lambda arrays: dict(zip(names, session.run(None, arrays), strict=True)))


PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # dtype -> its name in OpenVINO


def _openvino(library: Any, path: Path, device: Any, dtype: str) -> Program:
    """Load model.onnx or openvino_model.xml."""
    if path.suffix == ".onnx":
        refuse_external_data(path)
    # By default OpenVINO computes in bfloat16 if the processor can.
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISIONS[dtype]}
    model = library.Core().compile_model(path, device or "CPU", options)
    chosen = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if chosen != PRECISIONS[dtype]:  # OpenVINO does not raise
        raise InputError(f"OpenVINO cannot compute in dtype={dtype!r} on this processor: it chose {chosen}.")
    names = [output.get_any_name() for output in model.outputs]
    # An output shares its memory with the runtime until the next call.
    call = partial(model, share_inputs=True, share_outputs=True)
    return Program(
        tuple(entry.get_any_name() for entry in model.inputs),
        lambda arrays: {name: np.array(value) for name, value in zip(names, call(arrays).values(), strict=True)},
    )


def _litert(library: Any, path: Path, device: Any, dtype: str) -> Program:
    """Load model.tflite. LiteRT computes in the dtypes of the file, here on the CPU."""
    if device is not None:
        raise InputError(f"device must be None or 'cpu' for LiteRT, got {device!r}.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    interpreter = library.Interpreter(model_path=str(path), num_threads=cores)
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        raise CheckpointError(f"{path} must have one signature, it has {len(signatures)}.")
    runner = interpreter.get_signature_runner()
    dtypes = {name: entry["dtype"] for name, entry in runner.get_input_details().items()}
    turn = threading.Lock()  # an interpreter has one set of buffers

    def run(arrays: Arrays) -> Arrays:
        with turn:
            return dict(runner(**{name: array.astype(dtypes[name]) for name, array in arrays.items()}))

    return Program(tuple(dtypes), run)


RUNTIMES = {
    row.name: row
    for row in (
        Runtime(
            "onnx",
            "ONNX Runtime",
            "onnxruntime",
            "onnxruntime",
            ((ONNX_FILE,), (TRANSFORMERS_JS_FILE,)),
            ("float32",),
            _onnx_runtime,
        ),
        Runtime(
            "openvino",
            "OpenVINO",
            "openvino",
            "openvino",
            (OPENVINO_FILES, (ONNX_FILE,), (TRANSFORMERS_JS_FILE,)),
            tuple(PRECISIONS),
            _openvino,
        ),
        Runtime("litert", "LiteRT", "ai_edge_litert.interpreter", "litert", ((LITERT_FILE,),), ("float32",), _litert),
    )
}
