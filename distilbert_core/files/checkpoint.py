"""Checkpoints: safetensors files are read lazily, other formats by the conversion."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from distilbert_core.errors import CheckpointError, listed
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import reading
from distilbert_core.files.checksums import verify_files
from distilbert_core.files.conversion import StoredConfig, load_conversion
from distilbert_core.files.hub import ADAPTER_CONFIG, find_file, resolve_file
from distilbert_core.files.journal import settled_source
from distilbert_core.files.limits import check_limit
from distilbert_core.files.selection import Selection
from distilbert_core.files.shards import parse_size, read_index, render_index, shard_name, split_by_size

SAFETENSORS_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # code -> name
SAFETENSORS_CODES = {name: code for code, name in SAFETENSORS_DTYPES.items()}

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# Name of the word embeddings in a model without a head; with a head, 'distilbert.' stands before it. If they have
# another name, such as that of another framework, the conversion renames all tensors.
WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
GIT_LFS = b"version https://git-lfs."
COMPILED_PREFIX = "_orig_mod."  # torch.compile adds it to the names of a module


@dataclass(frozen=True)
class Entry:
    """A stored tensor.

    Attributes:
        shape: Its shape.
        dtype: Its dtype, as a code of safetensors such as 'F32'.
        path: The file that holds it.
    """

    shape: tuple[int, ...]
    dtype: str
    path: Path


class Checkpoint:
    """The tensors of a checkpoint by name, read lazily.

    PyTorch tensors are memory-mapped copy-on-write: writing to one does not change the file. Removing or replacing the
    file, as all functions here do, does not change the tensors; overwriting the file in place does.

    The conversion reads other formats and other names than the Hub's, one tensor at a time.

    Args:
        source: A folder, a weight file, an embedded model, or a Hub id.
        tensor_type: Type of the tensors that `read` returns: 'np' for NumPy arrays; 'map' for read-only NumPy arrays
            that are memory-mapped, so that indexing reads only a part; 'pt' for memory-mapped PyTorch tensors (for
            other formats, contiguous and writable arrays).
        selection: Which of several weight files to read.
        **hub_options: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download` and `subfolder`.

    Attributes:
        folder: The folder or the Hub id of the files beside the weights.
        entries: The tensors by name.
        metadata: Metadata of safetensors files.
        paths: The weight files.
        dropped: Descriptions of the contents that no model can load.
        is_held: Whether the tensors stay the same if a save replaces the files.

    Raises:
        CheckpointError: The checkpoint has no weights, a file is damaged, or a shard is missing.
    """

    def __init__(
        self, source: str | Path, tensor_type: str = "np", selection: Selection | None = None, **hub_options: Any
    ) -> None:
        source = settled_source(source)
        self._clear(Path(source).parent if Path(source).is_file() else source)
        selection = selection or Selection()
        if Path(source).is_file():
            _check_file(Path(source), selection, hub_options)
        with reading(source, "a checkpoint"):
            self._open_all(source, tensor_type, selection, hub_options)

    def _open_all(
        self, source: str | Path, tensor_type: str, selection: Selection, hub_options: Mapping[str, Any]
    ) -> None:
        for path, names in _weight_files(source, selection, hub_options).items():
            self._open(path, names, tensor_type)
        if not self.entries or not _are_own_names(self.entries):
            self._convert(source, tensor_type, selection, hub_options)

    def _clear(self, folder: str | Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.metadata: dict[str, str] = {}
        self.paths: list[Path] = []
        self.dropped: list[str] = []
        self.is_held = True
        self._readers: dict[str, Callable[[], Any]] = {}
        self._read_config: Callable[[], StoredConfig | None] = lambda: None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return a checkpoint of arrays in memory; `read` copies them.

        Args:
            arrays: Arrays of any framework, on the CPU, by name. Names of torch.compile or of another framework are
                renamed like names in files.

        Raises:
            CheckpointError: A value is not an array.
        """
        checkpoint = cls.__new__(cls)
        checkpoint._clear("")
        for name, array in arrays.items():
            if not hasattr(array, "shape") or not hasattr(array, "dtype"):
                raise CheckpointError(f"state_dict must hold arrays by name, got a {type(array).__name__} as {name!r}.")
        if not _are_own_names(arrays):
            arrays = load_conversion().canonical_arrays(arrays)
        for name, array in arrays.items():
            dtype = str(getattr(array.dtype, "name", array.dtype)).removeprefix("torch.")
            code = SAFETENSORS_CODES.get(dtype, dtype)
            checkpoint.entries[name] = Entry(tuple(array.shape), code, Path("state_dict"))
            checkpoint._readers[name] = partial(_copy, array)
        return checkpoint

    def _open(self, path: Path, names: set[str] | None, tensor_type: str) -> None:
        from safetensors import SafetensorError, safe_open

        refuse_pointer(path)
        check_header(path)
        try:
            file = safe_open(path, framework="np" if tensor_type == "map" else tensor_type)
            stored = set(file.keys())
            check_limit("tensors", len(stored), str(path))
            if names is not None and names - stored:
                lacking = listed(sorted(names - stored))
                raise CheckpointError(f"{path} lacks entries that the index names: {lacking}.")
            for name in stored if names is None else names:
                tensor = file.get_slice(name)
                self.entries[name] = Entry(tuple(tensor.get_shape()), tensor.get_dtype(), path)
                self._readers[name] = partial(file.get_tensor, name)
        except (SafetensorError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged or not a safetensors file ({error}).") from error
        if tensor_type == "map":
            self._readers.update(_maps(path, self.entries))
        self.metadata |= file.metadata() or {}
        self.paths.append(path)

    def _convert(
        self, source: str | Path, tensor_type: str, selection: Selection, hub_options: Mapping[str, Any]
    ) -> None:
        """Open a checkpoint of another format, or with other names."""
        opened = load_conversion().open_checkpoint(source, selection, **hub_options)
        self.folder, self._read_config = opened.folder, opened.config
        self.entries, self._readers, self.dropped = {}, {}, opened.dropped()
        self.is_held = False
        folders = [path for path in opened.paths if path.is_dir()]
        self.paths = [path for path in opened.paths if path not in folders]
        self.paths += [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        for name, tensor in opened.tensors().items():
            code = SAFETENSORS_CODES.get(tensor.dtype, tensor.dtype)
            self.entries[name] = Entry(tensor.shape, code, Path(tensor.where.rpartition(": ")[0]))
            self._readers[name] = partial(_writable, tensor.read) if tensor_type == "pt" else tensor.read

    def config_fields(self) -> dict[str, Any] | None:
        """Return the fields of the configuration in the weight files; None if config.json holds it."""
        config = self._read_config()
        return None if config is None else config.to_dict()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by name."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def verify(self, source: str | Path) -> None:
        """Compare the files with checksums.sha256, or with their checksums on the Hub.

        Raises:
            CheckpointError: A file differs, is missing, or has no checksum.
        """
        beside = {path.with_name("config.json") for path in self.paths}
        verify_files(source, [*self.paths, *(path for path in sorted(beside) if path.is_file())])

    def read(self, name: str) -> Any:
        """Return the tensor called `name`."""
        with reading(self.entries[name].path, "a weight file"):
            return self._readers[name]()


def _check_file(path: Path, selection: Selection, hub_options: Mapping[str, Any]) -> None:
    """Raise CheckpointError for arguments that choose among files if the source is a file."""
    if selection.variant or hub_options.get("subfolder"):
        raise CheckpointError(
            f"{path} is a file: leave out variant and subfolder, which choose among files of a folder."
        )
    if selection.use_safetensors not in (None, path.suffix == ".safetensors"):
        raise CheckpointError(f"{path} is a file that use_safetensors={selection.use_safetensors} leaves out.")


def refuse_pointer(path: Path) -> None:
    """Raise CheckpointError if a file is a pointer of Git LFS, in place of a large file that was not fetched."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(GIT_LFS)) == GIT_LFS:
                raise CheckpointError(
                    f"{path} is a pointer of Git LFS in place of the weights: run `git lfs pull` in its folder, or "
                    "fetch it with `hf download`."
                )


def check_header(path: Path) -> int:
    """Return the bytes of the header of a safetensors file.

    Raises:
        CheckpointError: It is longer than any header.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    check_limit("header_bytes", size, f"{path} is damaged or not a safetensors file: its header")
    return size


def _are_own_names(names: Collection[str]) -> bool:
    """Return whether the names of a DistilBERT's tensors are the Hub's."""
    if WORD_EMBEDDINGS in names or f"distilbert.{WORD_EMBEDDINGS}" in names:
        return not any(COMPILED_PREFIX in name for name in names)
    return not any("word_embeddings" in name for name in names)


def _maps(path: Path, entries: Mapping[str, Entry]) -> dict[str, Callable[[], np.ndarray]]:
    """Return functions that return the floating tensors of a safetensors file, memory-mapped."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        data = np.memmap(file, np.uint8, "r")  # of this file, even if another one gets its name
    return {
        name: partial(_part, data, SAFETENSORS_DTYPES[entry.dtype], start, header[name]["data_offsets"], entry.shape)
        for name, entry in entries.items()
        if entry.path == path and entry.dtype in SAFETENSORS_DTYPES and 0 not in entry.shape
    }


def _part(data: np.memmap, dtype: str, start: int, offsets: list[int], shape: tuple[int, ...]) -> np.ndarray:
    return data[start + offsets[0] : start + offsets[1]].view(dtype).reshape(shape)


def _copy(array: Any) -> Any:
    """Return a copy of an array; a tensor of PyTorch stays a tensor."""
    return array.detach().clone() if hasattr(array, "detach") else np.array(array)


def _writable(read: Callable[[], np.ndarray]) -> np.ndarray:
    return np.require(read(), requirements=["C", "W"])


def _weight_files(
    source: str | Path, selection: Selection, hub_options: Mapping[str, Any]
) -> dict[Path, set[str] | None]:
    """Return the safetensors files of a checkpoint, each with the names to read from it (None: all).

    The result is empty if another format is to be read.
    """
    path = Path(source)
    if path.is_file():
        of_adapter = path.with_name(ADAPTER_CONFIG).is_file() and path.name.startswith("adapter_model.")
        return {path: None} if path.suffix == ".safetensors" and not of_adapter else {}
    if not selection.is_plain or Path(f"{source}.index").is_file():  # a prefix of TensorFlow's files
        return {}
    single = find_file(source, selection.file(WEIGHTS_FILE), **hub_options)
    if single is not None:
        return {single: None}
    index = find_file(source, selection.file(INDEX_FILE), **hub_options)
    if index is None:
        return {}
    return {resolve_file(source, file, **hub_options): names for file, names in read_index(index).items()}


def save_checkpoint(
    folder: str | Path,
    arrays: Mapping[str, np.ndarray],
    files: Mapping[str, bytes],
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
    checksum: bool = False,
) -> None:
    """Write arrays as safetensors, one file or several, together with other files, in the Hub's layout.

    Args:
        folder: Destination; it is created if needed. Older weight files in it are replaced.
        arrays: NumPy arrays by canonical name.
        files: Content of other files by name, e.g. config.json.
        max_shard_size: Largest size of one weight file, in bytes or as a text ('5GB'). Larger weights are split
            into shards with an index.
        variant: Write model.VARIANT.safetensors in place of model.safetensors.
        checksum: List the SHA-256 of the files in checksums.sha256.

    Raises:
        OSError: The disk is full, or the folder is not writable. The previous files are then unchanged.
    """
    shards = list(split_by_size(arrays, parse_size(max_shard_size)))
    file = Selection(variant).file
    names = [file(WEIGHTS_FILE)]
    if len(shards) > 1:
        names = [shard_name(names[0], number, len(shards)) for number in range(1, len(shards) + 1)]
    writers: dict[str, bytes | Callable[[Path], None]] = {
        name: _weights_writer({entry: arrays[entry] for entry in shard})
        for name, shard in zip(names, shards, strict=True)
    }
    if len(shards) > 1:
        total_size = sum(array.nbytes for array in arrays.values())
        writers[file(INDEX_FILE)] = render_index(dict(zip(names, shards, strict=True)), total_size)

    def old_weights() -> list[str]:
        stem = file(WEIGHTS_FILE).rpartition(".")[0]
        shards = Path(folder).expanduser().glob(f"{stem}-*-of-*.safetensors")
        return [file(WEIGHTS_FILE), file(INDEX_FILE), *(path.name for path in shards)]

    replace_files(folder, {**writers, **files}, obsolete=old_weights, checksum=checksum)


def _weights_writer(arrays: dict[str, np.ndarray]) -> Callable[[Path], None]:
    from safetensors.numpy import save_file

    # safetensors writes an array's memory without regard to strides: a transposed view must be copied first.
    return lambda path: save_file(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}, path, metadata={"format": "pt"}
    )
