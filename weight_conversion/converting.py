"""From one format to another, so that the destination appears whole or not at all."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, CheckpointWarning, InputError, listed
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.files.selection import Selection
from distilbert_core.files.shards import parse_size, render_index, shard_name, split_by_size
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from weight_conversion.formats import FORMATS, Format
from weight_conversion.formats.base import Files, contiguous
from weight_conversion.reading import open_weights
from weight_conversion.sidecars import file_notes, find_modules, unused_files
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights, cast, file_state, read_ahead

READERS = 2  # threads that read and transpose what is written next

Progress = Callable[[int], None]  # is told how many bytes have been done


def convert(
    source: str | Path,
    destination: str | Path,
    to: str = "pt",
    *,
    dtype: str | None = None,
    head: Head | None = None,
    max_shard_size: int | str = "5GB",
    force: bool = False,
    progress: Progress | None = None,
    **where: Any,
) -> Weights:
    """Convert a checkpoint to another format.

    Every value keeps its bits, unless `dtype` asks for another dtype. The configuration, the files of the tokenizer and
    the model card travel along; to formats that sentence-transformers reads, the modules of such a model too. Whatever
    else a local folder holds is left behind and named.

    Args:
        source: A folder, a weight file with config.json beside it, an embedded model, or a Hub id.
        destination: Folder to write.
        to: Name of a format: see `weight_conversion.FORMATS`.
        dtype: Dtype of the result; the source's if left out.
        head: What is to stand on the body; what the source has if left out.
        max_shard_size: Split weights that are larger than this, in bytes or as a text ('5GB').
        force: Write into a folder that has files. Those of the same names are replaced; weights of other formats, and
            older files of a tokenizer if the source has one, are removed, as they would be read in place of the new.
        progress: Called with the number of bytes of each tensor that has been written.
        **where: Where to look for the source (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
            `subfolder`).

    Returns:
        What was converted; its `notes` say what was dropped, made, left behind or removed on the way.

    Raises:
        CheckpointError: The source is not there, is damaged, is no DistilBERT, or was changed meanwhile; or the
            destination has files and `force` is not given.
        InputError: There is no such format or dtype.
        OSError: The destination cannot be written.
        TypeError: A keyword is unknown.

    Warns:
        CheckpointWarning: A tensor holds NaN or infinite values, or values that are too large for `dtype`.

    Example:
        >>> import tempfile
        >>> from weight_conversion import convert, open_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     weights = convert("sst2-tiny", f"{folder}/flax", to="msgpack")
        ...     open_weights(f"{folder}/flax").format
        'msgpack'
    """
    if to not in FORMATS:
        raise InputError(f"to must be one of {', '.join(FORMATS)}, got {to!r}.")
    if dtype is not None and dtype not in NUMPY_DTYPES:
        raise InputError(f"dtype must be one of {', '.join(NUMPY_DTYPES)}, got {dtype!r}.")
    folder = Path(destination).expanduser()
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} is there already; give force=True (--force) to replace files in it.")
    limit = parse_size(max_shard_size)

    weights = open_weights(source, head, **where)
    format = FORMATS[to]
    vanished: dict[str, int] = {}
    tensors = {
        name: _cast(name, _watched(name, tensor), dtype or tensor.dtype, vanished)
        for name, tensor in weights.tensors.items()
    }
    config = weights.config.updated(architectures=[weights.head.architecture], torch_dtype=_common_dtype(tensors))
    files: Files = {CONFIG_FILE: config.to_json_string().encode()}
    files |= weights.sidecars
    modules = find_modules(weights.source, where)
    copied = modules if format.modules else {}
    files |= {name: partial(shutil.copyfile, path) for name, path in copied.items()}
    rest = unused_files(weights, folder, modules, copied)
    read = [*weights.paths, *modules.values()]
    state = [*weights.state, *file_state(list(modules.values()))]

    def check_source() -> None:
        if file_state(read) != state:
            raise CheckpointError(f"{source} was changed while it was read; nothing was written. Run it again.")

    with ThreadPoolExecutor(READERS) as pool:
        stored = read_ahead(_place(format, replace(weights, tensors=tensors)), pool, contiguous)
        if progress is not None:
            stored = {name: _counted(tensor, progress) for name, tensor in stored.items()}
        size = sum(tensor.nbytes for tensor in stored.values())
        files = add_weights(files, format, replace(weights, config=config), stored, limit)
        old = obsolete_files(folder, files)
        replace_files(folder, files, obsolete=old, before=check_source)

    notes = [] if format.unwritten is None else format.unwritten(weights.sidecars, replace(weights, tensors=tensors))
    if size > limit and not format.split:
        notes.append(f"max_shard_size={max_shard_size} was not applied: {format.title} is not split.")
    if any(vanished.values()):
        names = listed([name for name, count in vanished.items() if count])
        notes.append(f"{sum(vanished.values())} values were too small for {dtype} and became 0, in {names}.")
    return replace(weights, notes=[*weights.notes, *notes, *file_notes(rest, folder, old)])


def _place(format: Format, weights: Weights) -> dict[str, LazyTensor]:
    """Return the tensors as a format has them: by its names, and with their axes swapped where it swaps them."""
    stored = {}
    for parameter in parameter_table(weights.config, weights.head):
        if parameter.name in weights.tensors:
            tensor = weights.tensors[parameter.name]
            name = format.stored_name(parameter, weights.head)
            stored[name] = tensor.T if format.is_transposed(parameter) else tensor
    return stored


def add_weights(files: Files, format: Format, weights: Weights, stored: Mapping[str, LazyTensor], limit: int) -> Files:
    """Return files by name with those of the weights, each of these as the function that writes it."""
    if format.layout_files is not None:
        return format.layout_files(files, weights, stored)
    assert format.write is not None
    shards = list(split_by_size(stored, limit if format.split else sys.maxsize))
    if len(shards) == 1:
        return files | {format.file: _writer(format.write, stored, weights.head)}
    names = [shard_name(format.file, number, len(shards)) for number in range(1, len(shards) + 1)]
    write_shard = format.write_shard or format.write
    files |= {
        file: _writer(write_shard, {name: stored[name] for name in shard}, weights.head)
        for file, shard in zip(names, shards, strict=True)
    }
    index = render_index(dict(zip(names, shards, strict=True)), sum(tensor.nbytes for tensor in stored.values()))
    return files | {format.index: index}


NATIVE = {"torch": "bin", "keras": "h5", "flax": "msgpack"}  # framework -> what Transformers 4 saved of it


def save_native(
    folder: str | Path,
    framework: str,
    config: DistilBertConfig,
    head: Head,
    arrays: Mapping[str, np.ndarray],
    max_shard_size: int | str,
    variant: str | None = None,
) -> None:
    """Write a model in the format that Transformers 4 had for a framework; the core asks for this function by name.

    Args:
        folder: Destination; made if it is not there. Older weight files in it are removed.
        framework: 'torch', 'keras' or 'flax'.
        config: Configuration.
        head: What stands on the body.
        arrays: By canonical name.
        max_shard_size: Split weights that are larger than this, in bytes or as a text ('5GB').
        variant: As in `Selection`.

    Raises:
        CheckpointError: The format cannot hold the arrays' dtype, or a library is missing.
    """
    named = FORMATS[NATIVE[framework]]
    is_split = variant is None  # an index has no variant here
    format = replace(named, file=Selection(variant).file(named.file), split=is_split)
    tensors = {
        name: LazyTensor(array.shape, array.dtype.name, partial(np.asarray, array), name)
        for name, array in arrays.items()
    }
    weights = Weights(config, head, tensors)
    files: Files = {CONFIG_FILE: config.to_json_string().encode()}
    files = add_weights(files, format, weights, _place(format, weights), parse_size(max_shard_size))
    kept = [*files, *TOKENIZER_FILES]
    replace_files(folder, files, obsolete=obsolete_files(Path(folder).expanduser(), kept))


def _writer(write: Callable[..., None], tensors: Mapping[str, LazyTensor], head: Head) -> Callable[[Path], None]:
    return lambda path: write(path, tensors, head)


def _counted(tensor: LazyTensor, progress: Progress) -> LazyTensor:
    """Return the same tensor, which tells when it is read."""

    def read() -> np.ndarray:
        array = tensor.read()
        progress(tensor.nbytes)
        return array

    return replace(tensor, read=read)


def _watched(name: str, tensor: LazyTensor) -> LazyTensor:
    """Return the same tensor, which warns of what is no number when it is read."""

    def read() -> np.ndarray:
        array = tensor.read()
        with np.errstate(all="ignore"):  # a sum is quick, and finite unless a value is not or it overflows
            finite = np.isfinite(array.sum(dtype=np.result_type(array.dtype, np.float32))) or np.isfinite(array).all()
        if not finite:
            warnings.warn(f"{tensor.where}: {name} holds NaN or infinite values.", CheckpointWarning, stacklevel=2)
        return array

    return replace(tensor, read=read)


def _cast(name: str, tensor: LazyTensor, dtype: str, vanished: dict[str, int]) -> LazyTensor:
    """Return a tensor in another dtype, which warns of values that become infinite and counts those that become 0."""
    if tensor.dtype == dtype:
        return tensor

    def read() -> np.ndarray:
        array = tensor.read()
        new = cast(array, dtype)
        vanished[name] = int(np.count_nonzero(array) - np.count_nonzero(new))
        large = np.count_nonzero(np.isfinite(array)) - np.count_nonzero(np.isfinite(new))
        if large:
            message = f"{tensor.where}: {large} values are too large for {dtype} and became infinite."
            warnings.warn(message, CheckpointWarning, stacklevel=2)
        return new

    return replace(tensor, dtype=dtype, read=read)


def _common_dtype(tensors: Mapping[str, LazyTensor]) -> str:
    return next(iter(tensors.values())).dtype


def obsolete_files(folder: Path, files: Iterable[str]) -> list[str]:
    """Return the files of older checkpoints in a folder that would be read in place of, or together with, new ones.

    Args:
        folder: The folder; need not be there.
        files: Names of the new files, which replace those of the same names.
    """
    if not folder.is_dir():
        return []
    new = set(files)
    names = {name for format in FORMATS.values() for name in (format.file, format.index)}
    for format in FORMATS.values():
        with suppress(CheckpointError):  # it may be damaged: it need not be read any more
            if format.optional_files and (folder / format.file).is_file() and format.matches(folder / format.file):
                names |= set(format.optional_files)
    if new & set(TOKENIZER_FILES):
        names |= set(TOKENIZER_FILES)
    stems = tuple(f"{format.file.rpartition('.')[0]}-" for format in FORMATS.values() if format.split)
    found = {name for name in names if (folder / name).exists()}
    found |= {path.name for path in folder.iterdir() if path.name.startswith(stems)}
    return sorted(found - new)
