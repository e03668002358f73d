"""The files beside the weights: which travel along, and which are left behind."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from distilbert_core.errors import CheckpointError, DistilBertError, listed
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import find_file, local_folder
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.model.config import CONFIG_FILE
from weight_conversion.weights import Weights

if TYPE_CHECKING:
    from distilbert_core.tokenization.base import BaseTokenizer

    Tokenizer = TypeVar("Tokenizer", bound=BaseTokenizer)

SIDECARS = (*TOKENIZER_FILES, "README.md", "LICENSE")

# Of sentence-transformers: the list of a model's modules, each of which but the first has a folder of its own, and the
# settings of the whole and of the first.
MODULES_FILE = "modules.json"
SETTINGS_FILES = (
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "sentence_distilbert_config.json",
)
NO_PLAIN_PATH = re.compile(r"[\\:\0]")  # characters by which a path may go elsewhere, or nowhere
# What sentence-transformers writes of its modules. Only these are looked for on the Hub, where no folder is listed.
MODULE_FILES = ("config.json", "cnn_config.json", "lstm_config.json", "model.safetensors", "pytorch_model.bin")


def read_sidecars(source: str | Path, where: Mapping[str, Any], names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of those of some files that are there, by name."""
    files = {name: file for name in names if (file := find_file(source, name, **where)) is not None}
    return {name: file.read_bytes() for name, file in files.items()}


def load_tokenizer(tokenizer_class: type[Tokenizer], files: Mapping[str, bytes], **options: Any) -> Tokenizer:
    """Return the tokenizer of some files; `options` take the place of what they say.

    Raises:
        CheckpointError: There is none, or a file is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        replace_files(folder, files)
        try:
            return tokenizer_class.from_pretrained(folder, **options)
        except DistilBertError as error:  # its text names files by where they are for now
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from error


# -- modules of sentence-transformers ---------------------------------------------------------------------------


def find_modules(source: str | Path, where: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files that make a sentence-transformers model of a checkpoint, by name; none if it is not one.

    Those of a module on the Hub are the ones that sentence-transformers itself writes.

    Raises:
        CheckpointError: modules.json is damaged, or names a folder outside its own.
    """
    listing = find_file(source, MODULES_FILE, **where)
    if listing is None:
        return {}
    names = [MODULES_FILE, *SETTINGS_FILES]
    is_local = local_folder(source) is not None
    for module in _module_folders(listing):
        folder = listing.parent / module
        if is_local:
            names += [file.relative_to(listing.parent).as_posix() for file in _files_below(folder)]
        else:
            names += [f"{module}/{name}" for name in MODULE_FILES]
    return {name: file for name in names if (file := find_file(source, name, **where)) is not None}


def _module_folders(listing: Path) -> list[str]:
    """Return the folders that modules.json names, which are below its own."""
    try:
        folders = [str(PurePosixPath(module["path"])) for module in json.loads(listing.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{listing} is no valid list of modules ({error!r}).") from error
    for folder in folders:
        if PurePosixPath(folder).is_absolute() or ".." in folder.split("/") or NO_PLAIN_PATH.search(folder):
            raise CheckpointError(f"{listing} must name folders below its own, got {folder!r}.")
    return [folder for folder in folders if folder != "."]  # the weights' own


# -- what is left behind ----------------------------------------------------------------------------------------


def unused_files(
    weights: Weights, destination: Path, modules: Collection[str] = (), copied: Collection[str] = ()
) -> list[str]:
    """Return the names of the files and folders of a checkpoint of which nothing is converted or copied.

    Not those of hidden files and of empty folders. Of a checkpoint on the Hub, or of a weight file that was chosen,
    only its modules are known.

    Args:
        weights: The checkpoint.
        destination: The folder that is written. Its content is not named, nor anything if it is that of the checkpoint.
        modules: The files of its modules.
        copied: Those of them that are copied.
    """
    folder = weights.folder
    if folder is None:
        return [name for name in modules if name not in copied]
    used = {folder / name for name in (CONFIG_FILE, *weights.sidecars, *copied)} | set(weights.paths)
    used.add(folder / os.path.relpath(destination, folder))
    return list(_beside(folder, used))


def file_notes(unused: Sequence[str], destination: Path, removed: Sequence[str]) -> list[str]:
    """Return a sentence on the files that are left behind, and one on those that are removed from the destination."""
    texts = {"Left behind": unused, f"Removed from {destination}": removed}
    return [f"{text}: {listed(names)}." for text, names in texts.items() if names]


def _beside(folder: Path, used: Collection[Path]) -> Iterator[str]:
    """Yield what a folder holds beside files and folders that are used; what is not used at all as one name."""
    for path in sorted(folder.iterdir()) if folder not in used else ():
        if path in used or path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path.name
        elif any(path in other.parents for other in used):
            yield from (f"{path.name}/{name}" for name in _beside(path, used))
        elif any(True for _ in _files_below(path)):
            yield f"{path.name}/"


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
