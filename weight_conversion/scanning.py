"""Finding checkpoints that only exist in formats which other libraries no longer read."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distilbert_core.errors import CheckpointError
from distilbert_core.files.json_files import read_json
from distilbert_core.model.config import CONFIG_FILE
from weight_conversion.refusals import REFUSED

READ = ("distilbert", "bert")  # types of models that are converted
# Patterns of the file names of weights -> the format; None: they cannot be read. Other .bin and .pt files, such as
# training_args.bin, are not weights.
PATTERNS: dict[str, str | None] = {
    "pytorch_model*.bin": "bin",
    "*.h5": "h5",
    "*.msgpack": "msgpack",
    "*.ckpt*.index": None,
    "*.ckpt*.data-?????-of-?????": None,
}
KEPT = ("*.safetensors", "*.keras")  # a folder with one of these is up to date


@dataclass(frozen=True)
class LegacyCheckpoint:
    """A folder whose weights are in old formats only.

    Attributes:
        folder: The folder.
        files: Names of the weight files.
        formats: The formats: names of `FORMATS`, or 'ckpt'.
        size: Bytes of the files.
        model_type: Type of the model in config.json; None if there is none.
        command: The command that converts it; None if it cannot be converted.
        reason: Why it cannot be converted, and what to do; '' if it can be.
    """

    folder: Path
    files: tuple[str, ...]
    formats: tuple[str, ...]
    size: int
    model_type: str | None
    command: str | None
    reason: str


def scan(path: str | Path) -> Iterator[LegacyCheckpoint]:
    """Yield the checkpoints below a folder that only exist as .bin, .h5, .msgpack or TensorFlow checkpoint.

    Nothing is loaded: folders are listed, and config.json is read. Links to folders are not followed; the links to
    files in the Hub's cache are.

    Args:
        path: The folder.

    Raises:
        CheckpointError: It is not a folder.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from weight_conversion.scanning import scan
        >>> with TemporaryDirectory() as folder:
        ...     model = Path(folder, "model")
        ...     model.mkdir()
        ...     _ = Path(model, "config.json").write_text('{"model_type": "distilbert"}')
        ...     _ = Path(model, "tf_model.h5").write_bytes(b"weights")
        ...     [(found.files, found.size, found.command is not None) for found in scan(folder)]
        [(('tf_model.h5',), 7, True)]
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise CheckpointError(f"{path} must be a folder to scan.")
    for folder, folders, _ in os.walk(root):
        folders.sort()
        found = _checkpoint(Path(folder))
        if found is not None:
            yield found


def _checkpoint(folder: Path) -> LegacyCheckpoint | None:
    """Return the checkpoint of a folder, or None if it has none, or one in a format that is read everywhere."""
    if any(next(folder.glob(pattern), None) for pattern in KEPT):
        return None
    weights = {
        file: format
        for pattern, format in PATTERNS.items()
        for file in sorted(folder.glob(pattern))
        if file.is_file() and not file.name.endswith(".index.json")
    }
    if not weights:
        return None
    model_type, reason = _model_type(folder)
    formats = tuple(dict.fromkeys(format or "ckpt" for format in weights.values()))
    if not reason and formats == ("ckpt",):
        kind, remedy = REFUSED["*.index"]
        reason = f"It is {kind}. {remedy}"
    command = None if reason else f"distilbert convert {_word(str(folder))} {_word(_destination(folder))} --to pt"
    return LegacyCheckpoint(
        folder=folder,
        files=tuple(file.name for file in weights),
        formats=formats,
        size=sum(file.stat().st_size for file in weights),
        model_type=model_type,
        command=command,
        reason=reason,
    )


def _destination(folder: Path) -> str:
    """Return where a converted checkpoint goes: beside the folder, but outside the Hub's cache."""
    whole = folder.resolve()
    if whole.parent.name == "snapshots":  # models--OWNER--NAME/snapshots/REVISION
        return f"{whole.parents[1].name.rpartition('--')[2]}-{whole.name[:7]}-pt"
    return f"{folder if folder.name.strip('.') else whole}-pt"


def _word(path: str) -> str:
    """Return a path as a word of a command line, which is not taken for an option."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def _model_type(folder: Path) -> tuple[str | None, str]:
    """Return the type of the model in config.json, and why it cannot be converted; '' if it can be."""
    if not (folder / CONFIG_FILE).is_file():
        return None, f"It has no {CONFIG_FILE}: add that of the model, and scan again."
    try:
        model_type = read_json(folder / CONFIG_FILE, "a configuration", "config").get("model_type")
    except CheckpointError as error:
        return None, str(error)
    if model_type in READ:
        return model_type, ""
    return str(model_type), f"Its architecture is {model_type}; only {' and '.join(READ)} are converted."
