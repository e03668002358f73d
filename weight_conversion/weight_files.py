"""The weight files of a source, and their format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, listed
from distilbert_core.files.hub import WEIGHT_SUFFIXES, find_file, local_folder, offline_note, resolve_file
from distilbert_core.files.selection import Selection
from distilbert_core.files.shards import read_index
from weight_conversion.formats import FORMATS, Format
from weight_conversion.refusals import refuse

FRAMEWORK_FORMATS = {"tf": "h5", "flax": "msgpack"}  # framework that a caller names -> the format it saved


@dataclass(frozen=True)
class WeightFiles:
    """The files with the weights of a checkpoint.

    Attributes:
        source: Folder or Hub id of the other files of the checkpoint.
        format: Format of the weight files.
        files: The weight files.
        index: The index of shards; empty if there is one file only.
    """

    source: str | Path
    format: Format
    files: list[Path]
    index: list[Path]

    @property
    def name(self) -> str:
        """The file that stands for all of them, below its folder: the index, or the weight file."""
        file = (self.index or self.files)[0]
        folder = local_folder(self.source)
        if folder is None or not file.is_relative_to(folder):
            return file.name
        return file.relative_to(folder).as_posix()


def weight_file_names(source: str | Path, **hub_options: Any) -> list[str]:
    """Return the names of the weight files of a checkpoint, in the order of the search; an index stands for its shards.

    Args:
        source: A folder, an embedded model, or a Hub id.
        **hub_options: Options for the Hub.

    Raises:
        CheckpointError: There is no weight file, there are several with unusual names, or the format cannot be read.

    Example:
        >>> from weight_conversion.weight_files import weight_file_names
        >>> weight_file_names("sst2-tiny")
        ['model.safetensors']
    """
    usual = [name for format in FORMATS.values() for name in (format.file, format.index, *format.aliases)]
    present = [name for name in dict.fromkeys(usual) if find_file(source, name, **hub_options)]
    return present or [find_other(source, Selection(), hub_options).name]


def find_named(source: str | Path, selection: Selection, hub_options: Mapping[str, Any]) -> WeightFiles | None:
    """Return the weight files of a folder or Hub id that have the usual name of their format, None without any."""
    if Path(f"{source}.index").is_file():
        refuse(Path(f"{source}.index"))
    for format in _search_order(selection):
        for name in (format.file, *format.aliases):
            file = find_file(source, selection.file(name), **hub_options)
            if file is not None:
                for optional in format.optional_files:  # fetched from the Hub, as `matches` may read them
                    find_file(source, optional, **hub_options)
                return WeightFiles(source, _exact_format(format, file), [file], [])
        index = find_file(source, selection.file(format.index), **hub_options)
        if index is not None:
            shards = [resolve_file(source, name, **hub_options) for name in sorted(read_index(index))]
            return WeightFiles(source, _exact_format(format, shards[0]), shards, [index])
    return None


def find_other(source: str | Path, selection: Selection, hub_options: Mapping[str, Any]) -> WeightFiles:
    """Return the weight file that is the source, the only one in a folder, or the one that a format finds below it.

    Raises:
        CheckpointError: There is no weight file, there are several, or its format cannot be read.
    """
    path = Path(source)
    if path.is_file():
        refuse(path)
        return WeightFiles(path.parent, _format_of(path), [path], [])
    folder = local_folder(source)
    if folder is not None and selection == Selection():
        folder = folder / hub_options.get("subfolder", "")
        for format in FORMATS.values():
            below = None if format.find is None else format.find(folder)
            if below is not None:
                return WeightFiles(source, format, [below], [])
        files = sorted(path for path in folder.glob("*.*") if path.is_file() and _formats_of(path))
        variants = sorted({path.name.rsplit(".", 2)[1] for path in folder.glob("*.index.*.json")})
        if variants:
            raise CheckpointError(
                f"{source} has shards of a variant only: give variant={' or '.join(map(repr, variants))}."
            )
        if len(files) > 1:
            names = listed([path.name for path in files])
            raise CheckpointError(f"{source} has several weight files: {names}. Give the path of one of them.")
        if files:
            return WeightFiles(source, _format_of(files[0]), files, [])
        refuse(folder)
    names = ", ".join(dict.fromkeys(selection.file(format.file) for format in _search_order(selection)))
    raise CheckpointError(f"{source} has no weights: none of {names}{offline_note(source, hub_options)}.")


def _search_order(selection: Selection) -> list[Format]:
    """Return the formats that a selection allows, the format of its framework first."""
    formats = list(FORMATS.values())
    if selection.use_safetensors is not None:
        formats = [format for format in formats if (format.suffix == ".safetensors") is selection.use_safetensors]
    first = FRAMEWORK_FORMATS.get(selection.framework or "")
    return sorted(formats, key=lambda format: format.name != first)


def _formats_of(path: Path) -> list[Format]:
    """Return the formats of files with this name, or else of files with this suffix."""
    named = [format for format in FORMATS.values() if path.name in (format.file, *format.aliases)]
    suffixes = {format.name: {format.suffix, *format.suffixes} - {""} for format in FORMATS.values()}
    return named or [format for format in FORMATS.values() if path.suffix in suffixes[format.name]]


def _format_of(path: Path) -> Format:
    """Return the format of a weight file."""
    formats = _formats_of(path)
    if not formats:
        raise CheckpointError(f"{path} is not a weight file: its name must end in one of {', '.join(WEIGHT_SUFFIXES)}.")
    return _exact_format(formats[0], path)


def _exact_format(format: Format, path: Path) -> Format:
    """Return the first format with the same suffix that matches the content of a file."""
    same = (other for other in FORMATS.values() if other.suffix == format.suffix)
    return next((other for other in same if other.matches(path)), format)
