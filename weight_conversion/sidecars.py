"""The files beside the weights: the ones that are copied into every format, and the ones that are left behind."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from distilbert_core.errors import CheckpointError, DistilBertError, listed, shortened
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import found
from distilbert_core.files.checksums import CHECKSUMS
from distilbert_core.files.hub import CARD_FILE, find_file, local_folder
from distilbert_core.files.json_files import parse_json, read_content
from distilbert_core.files.limits import check_limit
from distilbert_core.files.links import refuse_link
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.model.config import CONFIG_FILE
from weight_conversion.weights import Weights

if TYPE_CHECKING:
    from distilbert_core.tokenization.base import BaseTokenizer

    Tokenizer = TypeVar("Tokenizer", bound=BaseTokenizer)

SIDECARS = (*TOKENIZER_FILES, CARD_FILE, "LICENSE")

# Files of sentence-transformers: the list of modules, each of which except the first has its own folder, and the
# settings of the model and of the first module.
MODULES_FILE = "modules.json"
SETTINGS_FILES = (
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "sentence_distilbert_config.json",
)
SUSPICIOUS = re.compile(r"[\\:\0]")  # characters that can make a path lead elsewhere, or make it invalid
# Files that sentence-transformers writes for a module. On the Hub, where folders are not listed, only these are found.
MODULE_FILES = ("config.json", "cnn_config.json", "lstm_config.json", "model.safetensors", "pytorch_model.bin")


def read_sidecars(source: str | Path, hub_options: Mapping[str, Any], names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of the named files that exist, by name."""
    files = {name: file for name in names if (file := find_file(source, name, **hub_options)) is not None}
    return {name: read_content(file) for name, file in files.items()}


def load_tokenizer(tokenizer_class: type[Tokenizer], files: Mapping[str, bytes], **options: Any) -> Tokenizer:
    """Return a tokenizer from the content of its files.

    Args:
        tokenizer_class: Its class.
        files: Content of the files by name.
        **options: Arguments of the class that replace the stored ones.

    Raises:
        CheckpointError: The files hold no tokenizer, or a file is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        replace_files(folder, files)
        try:
            return tokenizer_class.from_pretrained(folder, **options)
        except DistilBertError as error:  # its message has paths in the temporary folder
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from error


# -- modules of sentence-transformers ---------------------------------------------------------------------------


def find_modules(source: str | Path, hub_options: Mapping[str, Any]) -> dict[str, Path]:
    """Return the further files of a sentence-transformers model by name; empty for other checkpoints.

    On the Hub only the files are found that sentence-transformers itself writes.

    Raises:
        CheckpointError: modules.json is damaged, or names a folder outside its own folder.
    """
    listing = find_file(source, MODULES_FILE, **hub_options)
    if listing is None:
        return {}
    names = [MODULES_FILE, *SETTINGS_FILES]
    is_local = local_folder(source) is not None
    for module in _module_folders(listing):
        folder = listing.parent / module
        if is_local:
            refuse_link(folder, listing.parent)
            names += [file.relative_to(listing.parent).as_posix() for file in _files_below(folder)]
        else:
            names += [f"{module}/{name}" for name in MODULE_FILES]
    return {name: file for name in names if (file := find_file(source, name, **hub_options)) is not None}


def _module_folders(listing: Path) -> list[str]:
    """Return the folders below its own that modules.json names."""
    modules = parse_json(listing, read_content(listing))
    try:
        check_limit("modules", len(modules), str(listing))
        folders = [str(PurePosixPath(module["path"])) for module in modules]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{listing} is not a valid list of modules ({found(error)}).") from error
    for folder in folders:
        if PurePosixPath(folder).is_absolute() or ".." in folder.split("/") or SUSPICIOUS.search(folder):
            raise CheckpointError(f"{listing} must name folders below its own, got {shortened(folder)}.")
    return [folder for folder in folders if folder != "."]  # the folder of the weights


# -- files that are left behind ---------------------------------------------------------------------------------


def unused_files(
    weights: Weights, destination: Path, modules: Collection[str] = (), copied: Collection[str] = ()
) -> list[str]:
    """Return the names of the files and folders of a checkpoint that are neither converted nor copied.

    Hidden files and empty folders are not listed. For a checkpoint on the Hub, or for a single weight file, only the
    files of its modules are known.

    Args:
        weights: The checkpoint.
        destination: Folder of the result, which is not listed. Nothing is listed if it is the folder of the checkpoint.
        modules: Files of the modules of the checkpoint.
        copied: The files among them that are copied.
    """
    folder = weights.folder
    if folder is None:
        return [name for name in modules if name not in copied]
    used = {folder / name for name in (CONFIG_FILE, *weights.sidecars, *copied)} | set(weights.paths)
    used |= {folder / os.path.relpath(destination, folder), folder / CHECKSUMS}
    return list(_unused_below(folder, used))


def file_notes(unused: Sequence[str], destination: Path, removed: Sequence[str]) -> list[str]:
    """Return a note on the files that are left behind, and one on the files removed from the destination."""
    texts = {"Left behind": unused, f"Removed from {destination}": removed}
    return [f"{text}: {listed(names)}." for text, names in texts.items() if names]


def _unused_below(folder: Path, used: Collection[Path]) -> Iterator[str]:
    """Yield the content of a folder without the used files; a folder without any used file is one name."""
    for path in sorted(folder.iterdir()) if folder not in used else ():
        if path in used or path.name.startswith("."):
            continue
        if path.is_symlink() or not path.is_dir():
            yield path.name
        elif any(path in other.parents for other in used):
            yield from (f"{path.name}/{name}" for name in _unused_below(path, used))
        elif any(True for _ in _files_below(path)):
            yield f"{path.name}/"


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
