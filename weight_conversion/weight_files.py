"""The weight files of a source, and their format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, listed
from distilbert_core.files.hub import (
    WEIGHT_SUFFIXES,
    find_file,
    local_folder,
    offline_note,
    resolve_file,
)
from distilbert_core.files.selection import Selection
from distilbert_core.files.shards import read_index
from weight_conversion.formats import FORMATS, Format
from weight_conversion.refusals import refuse

FIRST = {"tf": "h5", "flax": "msgpack"}  # format of the framework that Transformers is told a checkpoint is from
Files = tuple[str | Path, Format, list[Path], list[Path]]  # folder or Hub id, format, weight files, their index


def _searched(selection: Selection) -> list[Format]:
    """Return the formats whose files a selection takes, in the order in which they are looked for."""
    formats = list(FORMATS.values())
    if selection.use_safetensors is not None:
        formats = [format for format in formats if (format.suffix == ".safetensors") is selection.use_safetensors]
    first = FIRST.get(selection.framework or "")
    return sorted(formats, key=lambda format: format.name != first)


def find_named(source: str | Path, selection: Selection, where: Mapping[str, Any]) -> Files | None:
    """Return the weight files that have the name that their format gives them."""
    if Path(f"{source}.index").is_file():
        refuse(Path(f"{source}.index"))
    for format in _searched(selection):
        for name in (format.file, *format.aliases):
            single = find_file(source, selection.file(name), **where)
            if single is not None:
                for (
                    beside
                ) in format.optional_files:  # which may say more about it, and must first be fetched from the Hub
                    find_file(source, beside, **where)
                return source, _of_kind(format, single), [single], []
        index = find_file(source, selection.file(format.index), **where)
        if index is not None:
            shards = [resolve_file(source, name, **where) for name in sorted(read_index(index))]
            return source, _of_kind(format, shards[0]), shards, [index]
    return None


def find_other(source: str | Path, selection: Selection, where: Mapping[str, Any]) -> Files:
    """Return the weight file that a source is, the one that a local folder has, or what a format finds below that.

    Raises:
        CheckpointError: There is none, there are several, or it is of a kind that is not read.
    """
    path = Path(source)
    if path.is_file():
        refuse(path)
        return path.parent, _format_of(path), [path], []
    folder = local_folder(source)
    if folder is not None and selection == Selection():
        folder = folder / where.get("subfolder", "")
        for format in FORMATS.values():
            below = None if format.find is None else format.find(folder)
            if below is not None:
                return source, format, [below], []
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
            return source, _format_of(files[0]), files, []
        refuse(folder)
    names = ", ".join(dict.fromkeys(selection.file(format.file) for format in _searched(selection)))
    raise CheckpointError(f"{source} has no weights: none of {names}{offline_note(source, where)}.")


def _formats_of(path: Path) -> list[Format]:
    """Return the formats that read a file of this name."""
    named = [format for format in FORMATS.values() if path.name in (format.file, *format.aliases)]
    return named or [format for format in FORMATS.values() if path.suffix in (format.suffix, *format.suffixes)]


def _format_of(path: Path) -> Format:
    """Return the format of a weight file."""
    formats = _formats_of(path)
    if not formats:
        raise CheckpointError(f"{path} is not a weight file: its name must end in one of {', '.join(WEIGHT_SUFFIXES)}.")
    return _of_kind(formats[0], path)


def _of_kind(format: Format, path: Path) -> Format:
    """Return the format that a file says it is of, where several have one file name."""
    same = (other for other in FORMATS.values() if other.suffix == format.suffix)
    return next((other for other in same if other.matches(path)), format)
