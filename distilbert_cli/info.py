"""What `distilbert info` says of a checkpoint, from its configuration and the headers of its files, by no backend."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from distilbert_core.errors import CheckpointError
from distilbert_core.files.checkpoint import DTYPES, INDEX_FILE, WEIGHTS_FILE, Checkpoint
from distilbert_core.files.hub import find_file, resolve_file
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.parameters import Head, parameter_table
from distilbert_core.model.report import LoadingReport, find_head

OTHER_FORMATS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")


def describe(source: str | Path) -> dict[str, Any]:
    """Return what is known of a checkpoint without loading it.

    Args:
        source: Folder, embedded model or Hub id.

    Returns:
        'model', 'folder', 'head', 'parameters' (their count, tied ones once), 'dtypes' (count by dtype), 'size' (bytes
        of all files), 'files' (bytes by name), 'weights' ('safetensors', the file of another format, or what is the
        matter), 'unused' (names of the entries that the model has no parameter for), 'backends' (by name, whether it is
        'installed', and 'loads' this), and 'config'. Of a model of the Hub, 'files' are those that the cache holds.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
        ConfigError: Its configuration has an impossible value.

    Example:
        >>> from distilbert_cli.info import describe
        >>> found = describe("sst2-tiny")
        >>> found["head"], found["weights"]
        ('ForSequenceClassification', 'safetensors')
    """
    config = DistilBertConfig.from_pretrained(source)
    folder = resolve_file(source, CONFIG_FILE).parent
    checkpoint = Checkpoint(source) if find_file(source, WEIGHTS_FILE) or find_file(source, INDEX_FILE) else None
    others = [] if checkpoint else [name for name in OTHER_FORMATS if find_file(source, name)]
    if others:
        with suppress(CheckpointError):
            checkpoint = Checkpoint(source)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    head = find_head(config, checkpoint.shapes if checkpoint else {})
    report = LoadingReport.of(parameter_table(config, head), checkpoint.shapes if checkpoint else {})
    weights = _weights(config, head, checkpoint, report, others)
    return {
        "model": str(source),
        "folder": str(folder),
        "head": head.value,
        "parameters": sum(math.prod(p.shape) for p in parameter_table(config, head) if p.tied_to is None),
        "dtypes": _dtypes(checkpoint),
        "size": sum(files.values()),
        "files": files,
        "weights": weights,
        "unused": report.unexpected,
        "backends": {
            name: {
                "installed": not backend.missing,
                "loads": not backend.missing and weights in ("safetensors", *others),
            }
            for name, backend in BACKENDS.items()
        },
        "config": json.loads(config.to_json_string()),
    }


def _weights(
    config: DistilBertConfig, head: Head, checkpoint: Checkpoint | None, report: LoadingReport, others: list[str]
) -> str:
    """Return what every backend can load, 'safetensors' or one of `others`, the files of other formats; or why not."""
    if checkpoint is None:
        return f"{', '.join(others)}: cannot be opened, distilbert convert says why" if others else "none"
    computed = {parameter.name for parameter in parameter_table(config, head) if parameter.computed}
    missing = [name for name in report.missing if name not in computed]
    if missing:
        return f"incomplete: {', '.join(missing)}"
    if report.mismatched:
        return f"not of the configuration's sizes: {', '.join(name for name, _, _ in report.mismatched)}"
    foreign = {entry.dtype for entry in checkpoint.entries.values()} - DTYPES.keys()
    return f"of a dtype that no backend loads: {', '.join(sorted(foreign))}" if foreign else (*others, "safetensors")[0]


def _dtypes(checkpoint: Checkpoint | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in checkpoint.entries.values() if checkpoint else ():
        name = DTYPES.get(entry.dtype, entry.dtype)
        counts[name] = counts.get(name, 0) + math.prod(entry.shape)
    return counts


def print_description(found: dict[str, Any]) -> None:
    """Print a description as lines of a name and a value."""
    rows = [
        ("model", found["model"]),
        ("folder", found["folder"]),
        ("head", found["head"]),
        ("parameters", f"{found['parameters']:,}"),
        ("dtypes", ", ".join(f"{name} ({count:,})" for name, count in found["dtypes"].items()) or "none"),
        ("weights", found["weights"]),
        *([("unused entries", ", ".join(found["unused"]))] if found["unused"] else []),
        ("size", _megabytes(found["size"])),
        *((f"  {name}", _megabytes(size)) for name, size in found["files"].items()),
        ("backends", ""),
        *((f"  {BACKENDS[name].title}", _loads(name, state)) for name, state in found["backends"].items()),
        ("config", ""),
        *((f"  {name}", json.dumps(value, ensure_ascii=False)) for name, value in found["config"].items()),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:{width}}  {value}".rstrip())


def _loads(name: str, state: dict[str, bool]) -> str:
    if not state["installed"]:
        return f"not installed: {BACKENDS[name].install_command}"
    return "loads it" if state["loads"] else "installed, cannot load these weights"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size:,} bytes"
