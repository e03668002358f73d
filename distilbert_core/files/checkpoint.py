"""Checkpoint files: safetensors read lazily, other formats by the conversion; written so that they appear whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.conversion import canonical_arrays, open_checkpoint
from distilbert_core.files.hub import ADAPTER_CONFIG, find_file, resolve_file

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # as safetensors spells them
SPELLINGS = {name: spelling for spelling, name in DTYPES.items()}

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# What the Hub calls the word embeddings, with and without a head. Under another name, that of another framework or of a
# model inside another one, they and all other tensors get their names from the conversion.
WORD_EMBEDDINGS = ("distilbert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight")
GIT_LFS = b"version https://git-lfs."
WRAPPER = "_orig_mod."  # what torch.compile puts before the names of a module


@dataclass(frozen=True)
class Selection:
    """Which of several weight files of a checkpoint to read.

    Attributes:
        variant: Read model.VARIANT.safetensors in place of model.safetensors, and likewise for other names.
        use_safetensors: Read safetensors only (True), or other formats only (False).
        framework: Read the own format of the framework ('tf' or 'flax') that saved the checkpoint, where it has one.
    """

    variant: str | None = None
    use_safetensors: bool | None = None
    framework: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether model.safetensors is read wherever there is one."""
        return self.use_safetensors is not False and self.framework is None

    def file(self, name: str) -> str:
        """Return the name that a file has in this variant.

        Example:
            >>> from distilbert_core.files.checkpoint import Selection
            >>> Selection(variant="fp16").file("model.safetensors")
            'model.fp16.safetensors'
        """
        stem, dot, suffix = name.rpartition(".")
        return name if self.variant is None or not dot else f"{stem}.{self.variant}.{suffix}"


@dataclass(frozen=True)
class Entry:
    """One stored tensor: its shape, its dtype as safetensors spells it ('F32'), and the file that holds it."""

    shape: tuple[int, ...]
    dtype: str
    path: Path


class Checkpoint:
    """The tensors of a checkpoint by name, memory-mapped: nothing is read before `read` asks for it.

    PyTorch tensors share the file's memory. Writing to them changes a copy. Removing the file, or renaming another one
    over it as all savers here do, does not change them; overwriting the file in place does.

    What is not safetensors with the Hub's names is read by the conversion, one tensor at a time; see
    `weight_conversion.reading.open_checkpoint`.

    Args:
        source: A folder, a weight file, an embedded model, or a Hub id.
        framework: What `read` returns: 'np' for NumPy arrays, 'map' for NumPy arrays that are read-only and share the
            file's memory, so that only what is indexed is read, 'pt' for PyTorch tensors that share the file's memory
            (of other formats, arrays that are contiguous and writable).
        selection: Which of several weight files to read.
        **where: As in `distilbert_core.files.hub.find_file`.

    Attributes:
        folder: The folder or the Hub id that the files beside the weights are in.
        entries: The tensors by name.
        metadata: What safetensors files say beside that.
        paths: The files that it is read from.
        dropped: What else there is, of which nothing can be loaded into a model, in words.

    Raises:
        CheckpointError: There are no weights, a file is damaged, or a shard is missing.
    """

    def __init__(
        self, source: str | Path, framework: str = "np", selection: Selection | None = None, **where: Any
    ) -> None:
        self.folder: str | Path = Path(source).parent if Path(source).is_file() else source
        self.entries: dict[str, Entry] = {}
        self.metadata: dict[str, str] = {}
        self._own_config: Callable[[], Any] = lambda: None
        self.paths: list[Path] = []
        self.dropped: list[str] = []
        self._readers: dict[str, Callable[[], Any]] = {}
        selection = selection or Selection()
        if Path(source).is_file():
            _check_file(Path(source), selection, where)
        for path, names in _weight_files(source, selection, where).items():
            self._open(path, names, framework)
        if not self.entries or not _are_own_names(self.entries):
            self._convert(source, framework, selection, where)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return arrays by name, of any framework on the CPU, as if they were stored; each is copied when it is read.

        Other names than the Hub's, such as those of torch.compile or of another framework, are understood as in files.

        Raises:
            CheckpointError: One of them is not an array.
        """
        found = cls.__new__(cls)
        found.folder, found.metadata, found.paths, found.dropped = "", {}, [], []
        found.entries, found._readers, found._own_config = {}, {}, lambda: None
        for name, array in arrays.items():
            if not hasattr(array, "shape") or not hasattr(array, "dtype"):
                raise CheckpointError(f"state_dict must hold arrays by name, got a {type(array).__name__} as {name!r}.")
        if not _are_own_names(arrays):
            arrays = canonical_arrays(arrays)
        for name, array in arrays.items():
            dtype = str(getattr(array.dtype, "name", array.dtype)).removeprefix("torch.")
            found.entries[name] = Entry(tuple(array.shape), SPELLINGS.get(dtype, dtype), Path("state_dict"))
            found._readers[name] = partial(_copy, array)
        return found

    def _open(self, path: Path, names: set[str] | None, framework: str) -> None:
        from safetensors import SafetensorError, safe_open

        refuse_pointer(path)
        try:
            file = safe_open(path, framework="np" if framework == "map" else framework)
            stored = set(file.keys())
            if names is not None and names - stored:
                lacking = ", ".join(sorted(names - stored))
                raise CheckpointError(f"{path} lacks entries that the index names: {lacking}.")
            for name in stored if names is None else names:
                tensor = file.get_slice(name)
                self.entries[name] = Entry(tuple(tensor.get_shape()), tensor.get_dtype(), path)
                self._readers[name] = partial(file.get_tensor, name)
        except (SafetensorError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged or not a safetensors file ({error}).") from error
        if framework == "map":
            self._readers.update(_maps(path, self.entries))
        self.metadata |= file.metadata() or {}
        self.paths.append(path)

    def _convert(self, source: str | Path, framework: str, selection: Selection, where: Mapping[str, Any]) -> None:
        """Open a checkpoint of another format, or with other names."""
        opened = open_checkpoint(source, selection, **where)
        self.folder, self._own_config = opened.folder, opened.config
        self.entries, self._readers, self.dropped = {}, {}, opened.dropped()
        folders = [path for path in opened.paths if path.is_dir()]
        self.paths = [path for path in opened.paths if path not in folders]
        self.paths += [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        for name, tensor in opened.tensors().items():
            dtype = SPELLINGS.get(tensor.dtype, tensor.dtype)
            self.entries[name] = Entry(tensor.shape, dtype, Path(tensor.where.rpartition(": ")[0]))
            self._readers[name] = partial(_writable, tensor.read) if framework == "pt" else tensor.read

    def config(self) -> Any:
        """Return the configuration, where it is not that of config.json."""
        return self._own_config()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by name."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def read(self, name: str) -> Any:
        """Return the tensor called `name`."""
        return self._readers[name]()


def _check_file(path: Path, selection: Selection, where: Mapping[str, Any]) -> None:
    """Raise CheckpointError for arguments that choose among files, where one file is given."""
    if selection.variant or where.get("subfolder"):
        raise CheckpointError(
            f"{path} is a file: leave out variant and subfolder, which choose among files of a folder."
        )
    if selection.use_safetensors not in (None, path.suffix == ".safetensors"):
        raise CheckpointError(f"{path} is a file that use_safetensors={selection.use_safetensors} leaves out.")


def refuse_pointer(path: Path) -> None:
    """Raise CheckpointError if a file is what Git leaves in place of a large file until that is fetched."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(GIT_LFS)) == GIT_LFS:
                raise CheckpointError(
                    f"{path} is a pointer of Git LFS in place of the weights: run `git lfs pull` in its folder, or "
                    "fetch it with `hf download`."
                )


def _are_own_names(names: Collection[str]) -> bool:
    """Return whether names are the Hub's, as far as they are of a DistilBERT."""
    if any(name in names for name in WORD_EMBEDDINGS):
        return not any(WRAPPER in name for name in names)
    return not any("word_embeddings" in name for name in names)


def _maps(path: Path, entries: Mapping[str, Entry]) -> dict[str, Callable[[], np.ndarray]]:
    """Return functions that map the tensors of a safetensors file, those with numbers with a fraction."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
    return {
        name: partial(np.memmap, path, DTYPES[entry.dtype], "r", start + header[name]["data_offsets"][0], entry.shape)
        for name, entry in entries.items()
        if entry.path == path and entry.dtype in DTYPES and 0 not in entry.shape
    }


def _copy(array: Any) -> Any:
    """Return a copy of an array: a tensor of PyTorch stays one."""
    return array.detach().clone() if hasattr(array, "detach") else np.array(array)


def _writable(read: Callable[[], np.ndarray]) -> np.ndarray:
    return np.require(read(), requirements=["C", "W"])


def _weight_files(source: str | Path, selection: Selection, where: Mapping[str, Any]) -> dict[Path, set[str] | None]:
    """Return the safetensors files of a checkpoint, each with the names to take from it (None: all).

    There are none where another format is to be read.
    """
    path = Path(source)
    if path.is_file():
        of_adapter = path.with_name(ADAPTER_CONFIG).is_file() and path.name.startswith("adapter_model.")
        return {path: None} if path.suffix == ".safetensors" and not of_adapter else {}
    if not selection.is_plain or Path(f"{source}.index").is_file():  # TensorFlow's, of which this is no file's name
        return {}
    single = find_file(source, selection.file(WEIGHTS_FILE), **where)
    if single is not None:
        return {single: None}
    index = find_file(source, selection.file(INDEX_FILE), **where)
    if index is None:
        return {}
    try:
        weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards: dict[str, set[str]] = {}
        for name, file in weight_map.items():
            if Path(file).name != file:
                raise ValueError(f"{file!r} is no name of a file beside it")
            shards.setdefault(file, set()).add(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no valid index of shards ({error!r}).") from error
    return {resolve_file(source, file, **where): names for file, names in shards.items()}


def parse_size(size: int | str) -> int:
    """Return a size in bytes from an int or a text such as '5GB', '300MB' or '2GiB'.

    Example:
        >>> from distilbert_core.files.checkpoint import parse_size
        >>> parse_size("300MB"), parse_size("1KiB")
        (300000000, 1024)
    """
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
    number = str(size).upper().rstrip("BGIKM")
    unit = str(size).upper()[len(number) :]
    try:
        count = int(float(number) * units[unit])
    except (ValueError, KeyError, OverflowError):
        count = 0
    if count < 1:
        raise ValueError(f"A size must be a number of bytes or a text such as '5GB', got {size!r}.")
    return count


def save_checkpoint(
    folder: str | Path,
    arrays: Mapping[str, np.ndarray],
    files: Mapping[str, bytes],
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
) -> None:
    """Write arrays as safetensors, one file or several, together with other files, in the Hub's layout.

    Args:
        folder: Destination; made if it is not there. Older weight files in it are replaced.
        arrays: NumPy arrays by canonical name.
        files: Content of other files by name, e.g. config.json.
        max_shard_size: Largest size of one weight file, in bytes or as a text ('5GB'). A larger checkpoint is split
            and gets an index.
        variant: Write model.VARIANT.safetensors in place of model.safetensors.

    Raises:
        OSError: The disk is full, or the folder may not be written to. What was there is then unchanged.
    """
    shards = list(split_by_size(arrays, parse_size(max_shard_size)))
    file = Selection(variant).file
    names = [file(WEIGHTS_FILE)]
    if len(shards) > 1:
        stem, _, suffix = file(WEIGHTS_FILE).rpartition(".")
        names = [f"{stem}-{number:05d}-of-{len(shards):05d}.{suffix}" for number in range(1, len(shards) + 1)]
    writers: dict[str, bytes | Callable[[Path], None]] = {
        name: _weights_writer({entry: arrays[entry] for entry in shard})
        for name, shard in zip(names, shards, strict=True)
    }
    if len(shards) > 1:
        total_size = sum(array.nbytes for array in arrays.values())
        writers[file(INDEX_FILE)] = render_index(dict(zip(names, shards, strict=True)), total_size)
    old = [file(WEIGHTS_FILE), file(INDEX_FILE)]
    stem = file(WEIGHTS_FILE).rpartition(".")[0]
    old += [path.name for path in Path(folder).expanduser().glob(f"{stem}-*-of-*.safetensors")]
    replace_files(folder, {**writers, **files}, obsolete=old)


def _weights_writer(arrays: dict[str, np.ndarray]) -> Callable[[Path], None]:
    from safetensors.numpy import save_file

    # safetensors writes an array's memory as it lies: one that is a transposed view must be copied first.
    return lambda path: save_file(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}, path, metadata={"format": "pt"}
    )


class Sized(Protocol):
    """Anything that says how many bytes it has, such as an array."""

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""


def split_by_size(arrays: Mapping[str, Sized], limit: int) -> Iterator[list[str]]:
    """Split names, in order, into runs whose arrays fit into `limit` bytes (a larger array is alone in its run)."""
    shard: list[str] = []
    size = 0
    for name, array in arrays.items():
        if shard and size + array.nbytes > limit:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += array.nbytes
    yield shard


def render_index(shards: Mapping[str, Iterable[str]], total_size: int) -> bytes:
    """Return the index of shards: the names that each file holds, the other way round."""
    weight_map = {name: file for file, names in shards.items() for name in names}
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
