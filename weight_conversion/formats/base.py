"""`Format`, the row of a format, and functions that several formats share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from types import ModuleType

import numpy as np

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.boundary import found, reading, reads
from distilbert_core.files.limits import check_limit
from distilbert_core.libraries import require_library
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import Layout
from distilbert_core.model.parameters import Parameter
from distilbert_core.model.runtimes import Runtime
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights

LIBRARIES = {  # module -> name, where they differ
    "torch": "PyTorch",
    "onnxruntime.quantization": "ONNX Runtime",
    "openvino": "OpenVINO",
    "nncf": "NNCF",
}
READERS = ("matches", "read_config", "sidecars", "unread", "find")  # functions of a `Format` that read files
COLUMNS_AT_ONCE = 32  # columns that are transposed at a time
Tensors = Mapping[str, LazyTensor]  # by stored name
Arrays = dict[str, np.ndarray]  # the inputs of a graph by name
Writer = bytes | Callable[[Path], None]  # the content of a file, or a function that writes the file
Files = dict[str, Writer]  # by name


@dataclass(frozen=True)
class Graph:
    """A graph that a format writes.

    Attributes:
        file: Name of its file.
        runtime: The runtime that runs it.
        precision: Its precision: a dtype, 'int8' or 'static int8'; None: the dtype of the weights.
    """

    file: str
    runtime: Runtime
    precision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of weight files.

    Its functions that read a file are behind the boundary: whatever they raise becomes a CheckpointError that names the
    file. So are the functions that read the arrays later.

    Attributes:
        name: Name of the format for `--to`.
        title: Description for people.
        file: Name of its file. The index of shards has the same name with '.index.json' added.
        stored_name: Returns the stored name of a parameter: (parameter, head of the model) -> name.
        open: Returns the tensors in the file at a path, by stored name.
        write: Writes tensors (path, tensors by stored name, head), reading one after the other. A format has this, or
            `layout_files`.
        write_shard: The same for one of several files, where that differs.
        layout: Layout of the framework whose arrays it holds; None: the Hub's own layout.
        split: Whether large weights are split into several files.
        optional_files: Names of files that belong to the format but may be absent.
        aliases: Further file names by which a folder is recognised.
        suffixes: Further suffixes of a file whose path is given.
        before: Formats that also match the files of this one, so that this one must come first in `SEARCH_ORDER`.
        find: Finds the file below a folder, where its name is not fixed.
        matches: Whether a file is of this format, where the name alone does not tell.
        read_config: Returns the configuration stored with a file; None: config.json beside it holds the configuration.
        sidecars: Returns the tokenizer files and other copied files by their usual names, if they have other names.
        unread: Returns notes on the content of a file that has no counterpart here.
        unwritten: Returns notes on the parts of a checkpoint that the format cannot hold: (sidecars, checkpoint).
        modules: Whether sentence-transformers reads such a folder, so that its modules are copied.
        whole_folder: Whether everything in the folder of its file belongs to it.
        layout_files: Returns all files of a checkpoint, where a weight file and the sidecars are not enough: (config
            and sidecars, checkpoint, tensors by stored name) -> files. If the format is calibrated, it has a fourth
            argument, `calibration`: the inputs of the graph for some texts.
        graphs: The graphs among its files, if it is an exported model, which is not read.
        is_calibrated: Whether writing it needs texts for calibration.
        pools: Whether its graphs can have the embedding of a sentence as an output; then `layout_files` has a further
            argument, `pooling`.
    """

    name: str
    title: str
    file: str
    stored_name: Callable[[Parameter, Head], str]
    open: Callable[[Path], dict[str, LazyTensor]]
    write: Callable[[Path, Tensors, Head], None] | None = None
    write_shard: Callable[[Path, Tensors, Head], None] | None = None
    layout: Layout | None = None
    split: bool = True
    optional_files: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    find: Callable[[Path], Path | None] | None = None
    matches: Callable[[Path], bool] = lambda path: True
    read_config: Callable[[Path], DistilBertConfig | None] = lambda path: None
    sidecars: Callable[[Path], dict[str, bytes]] | None = None
    unread: Callable[[Path], list[str]] | None = None
    unwritten: Callable[[Mapping[str, bytes], Weights], list[str]] | None = None
    modules: bool = False
    whole_folder: bool = False
    layout_files: Callable[..., Files] | None = None
    graphs: tuple[Graph, ...] = ()
    is_calibrated: bool = False
    pools: bool = False

    def __post_init__(self) -> None:
        lacking = [name for name in ("name", "title", "file") if not getattr(self, name)]
        if self.write is None and self.layout_files is None:
            lacking.append("write or layout_files")
        if lacking:
            raise TypeError(f"The format {self.name or self.title!r} lacks {', '.join(lacking)}.")
        if self.split and self.write is None:
            raise TypeError(f"The format {self.name!r} has no write, so it must have split=False.")
        object.__setattr__(self, "open", _lazily(self.open, self.title))
        for name in READERS:
            if (function := getattr(self, name)) is not None:
                object.__setattr__(self, name, reads(f"a part of {self.title}")(function))

    def is_transposed(self, parameter: Parameter) -> bool:
        """Return whether the two axes of a parameter are swapped in this format."""
        return self.layout is not None and parameter.kind in self.layout.transposed

    @property
    def suffix(self) -> str:
        """Suffix of its file's name."""
        return Path(self.file).suffix

    @property
    def index(self) -> str:
        """Name of the index of shards."""
        return f"{self.file}.index.json"


def _lazily(open_file: Callable[[Path], dict[str, LazyTensor]], title: str) -> Callable[[Path], dict[str, LazyTensor]]:
    """Return the function that opens a file, with everything that it reads, now or later, behind the boundary."""

    @wraps(open_file)
    def open_checked(path: Path) -> dict[str, LazyTensor]:
        with reading(path, title):
            tensors = open_file(path)
            check_limit("tensors", len(tensors), str(path))
            for name, tensor in tensors.items():
                check_limit("axes", len(tensor.shape), f"{path}: {shortened(name)}")
            return {
                name: replace(tensor, read=partial(_read_checked, tensor.read, path, title))
                for name, tensor in tensors.items()
            }

    return open_checked


def _read_checked(read: Callable[[], np.ndarray], path: Path, title: str) -> np.ndarray:
    with reading(path, f"arrays of {title}"):
        return read()


def read_array(path: Path, dtype: str, shape: tuple[int, ...], offset: int) -> np.ndarray:
    """Return the array at an offset of a file.

    The array is read, not memory-mapped: if a mapped file is truncated, the process is killed.

    Raises:
        CheckpointError: The file is gone or too short.
    """
    count = math.prod(shape)
    try:
        array = np.fromfile(path, NUMPY_DTYPES[dtype], count, offset=offset)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error
    if array.size != count:
        raise CheckpointError(f"{path} ends before byte {offset + count * NUMPY_DTYPES[dtype].itemsize}.")
    return array.reshape(shape)


def require(module: str, extra: str, needed_by: str) -> ModuleType:
    """Import a module of a library that a format needs.

    Raises:
        CheckpointError: The library is not installed.
    """
    return require_library(module, LIBRARIES.get(module, module), extra, needed_by, CheckpointError)


def contiguous(array: np.ndarray) -> np.ndarray:
    """Return an array in C order, copied only if necessary.

    A transposed array is copied in blocks of columns: NumPy takes three times as long to copy it as a whole.
    """
    if array.flags.c_contiguous or array.ndim != 2:
        return np.ascontiguousarray(array)
    copy = np.empty(array.shape, array.dtype)
    for start in range(0, array.shape[1], COLUMNS_AT_ONCE):
        copy[:, start : start + COLUMNS_AT_ONCE] = array[:, start : start + COLUMNS_AT_ONCE]
    return copy


def damaged(path: Path, kind: str, error: BaseException) -> CheckpointError:
    """Return the error for a file that cannot be read."""
    return CheckpointError(f"{path} is damaged or not {kind} ({found(error)}).")
