"""Writing a checkpoint: its destination, its files, and the older files that they replace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from distilbert_core.errors import CheckpointError
from distilbert_core.files.journal import is_vacant
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.files.shards import render_index, shard_name, split_by_size
from distilbert_core.model.heads import Head, parameter_table
from weight_conversion.formats import FORMATS, Format
from weight_conversion.formats.base import Files, Tensors
from weight_conversion.weights import LazyTensor, Weights, file_state

Write = Callable[[Path, Tensors, Head], None]


def check_destination(folder: Path, force: bool) -> None:
    """Raise CheckpointError if a destination is a file, or a folder with files, unless `force` is given."""
    if not force and not is_vacant(folder):
        raise CheckpointError(f"{folder} exists already; give force=True (--force) to replace files in it.")


def unchanged_check(weights: Weights, further_files: Sequence[Path] = ()) -> Callable[[], None]:
    """Return a function that raises CheckpointError if a file of a source has changed since it was opened.

    Args:
        weights: The source.
        further_files: Further files that are copied; they must not change from now on.
    """
    paths = [*weights.paths, *further_files]
    state = [*weights.state, *file_state([*further_files])]

    def check() -> None:
        if file_state(paths) != state:
            raise CheckpointError(f"{weights.name} was changed while it was read; nothing was written. Run it again.")

    return check


def stored_tensors(format: Format, weights: Weights) -> dict[str, LazyTensor]:
    """Return the tensors of a checkpoint by the names of a format, transposed where the format transposes them."""
    stored = {}
    for parameter in parameter_table(weights.config, weights.head):
        if parameter.name in weights.tensors:
            tensor = weights.tensors[parameter.name]
            name = format.stored_name(parameter, weights.head)
            stored[name] = tensor.T if format.is_transposed(parameter) else tensor
    return stored


def add_weights(
    files: Files, format: Format, weights: Weights, stored: Mapping[str, LazyTensor], limit: int = sys.maxsize
) -> Files:
    """Return files with the weight files added, each as a function that writes it.

    Args:
        files: Configuration and sidecars by name.
        format: Format of the weight files.
        weights: The checkpoint.
        stored: Its tensors by stored name; see `stored_tensors`.
        limit: Largest size of a weight file in bytes, if the format can be split.
    """
    if format.layout_files is not None:
        return format.layout_files(files, weights, stored)
    assert format.write is not None  # a format has one of the two
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


def _writer(write: Write, tensors: Tensors, head: Head) -> Callable[[Path], None]:
    return lambda path: write(path, tensors, head)


def obsolete_files(folder: Path, files: Iterable[str]) -> list[str]:
    """Return the files of older checkpoints in a folder that would be read instead of, or together with, new ones.

    Args:
        folder: The folder, which need not exist.
        files: Names of the new files. Files with the same names are replaced, so they are not listed.
    """
    if not folder.is_dir():
        return []
    new = set(files)
    names = {name for format in FORMATS.values() for name in (format.file, format.index)}
    for format in FORMATS.values():
        with suppress(CheckpointError):  # a damaged file need not be read any more
            if format.optional_files and (folder / format.file).is_file() and format.matches(folder / format.file):
                names |= set(format.optional_files)
    if new & set(TOKENIZER_FILES):
        names |= set(TOKENIZER_FILES)
    stems = tuple(f"{format.file.rpartition('.')[0]}-" for format in FORMATS.values() if format.split)
    present = {name for name in names if (folder / name).exists()}
    present |= {path.name for path in folder.iterdir() if path.name.startswith(stems)}
    return sorted(present - new)
