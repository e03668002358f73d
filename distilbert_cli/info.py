"""The command `info`: describes a checkpoint from its configuration and the headers of its files, without a backend."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from distilbert_cli.options import EMBEDDED, JSON, REVISION, checkpoint_argument, command
from distilbert_core.errors import CheckpointError
from distilbert_core.files.checkpoint import INDEX_FILE, SAFETENSORS_DTYPES, WEIGHTS_FILE, Checkpoint
from distilbert_core.files.hub import find_file, resolve_file
from distilbert_core.files.json_files import to_json
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.report import LoadingReport, find_head
from weight_conversion.weight_files import weight_file_names


@command("info", "distilbert info sst2-tiny")
@checkpoint_argument("model", **EMBEDDED)
@REVISION
@JSON
def info(model, revision, as_json):
    """Describe a checkpoint.

    Shows its head, parameters, dtypes, files and configuration, and the backends that can load it. MODEL is a folder,
    an embedded model or a Hub id. No backend needs to be installed.
    """
    description = describe(model, revision=revision)
    if as_json:
        click.echo(to_json(description))
    else:
        print_description(description)


def describe(source: str | Path, **hub_options: Any) -> dict[str, Any]:
    """Describe a checkpoint without loading it.

    Args:
        source: Folder, embedded model or Hub id.
        **hub_options: Keywords for the Hub (`revision`, `cache_dir`, `token`, `local_files_only`, ...).

    Returns:
        A dict with these entries:

        * 'model', 'folder', 'head', 'config';
        * 'parameters': their number, where tied parameters count once;
        * 'dtypes': number of stored values by dtype;
        * 'files': sizes in bytes by name, and 'size', their sum. For a model of the Hub, only files in the cache count;
        * 'weights': 'safetensors', the file of another format, or the reason why the weights cannot be loaded;
        * 'unused': names of stored tensors for which the model has no parameter;
        * 'backends': for each backend, whether it is 'installed' and whether it 'loads' the checkpoint.

    Raises:
        CheckpointError: The checkpoint does not exist or is damaged.
        ConfigError: The configuration has an invalid value.

    Example:
        >>> from distilbert_cli.info import describe
        >>> description = describe("sst2-tiny")
        >>> description["head"], description["weights"]
        ('ForSequenceClassification', 'safetensors')
    """
    config = DistilBertConfig.from_pretrained(source, **hub_options)
    folder = resolve_file(source, CONFIG_FILE, **hub_options).parent
    is_safetensors = any(find_file(source, name, **hub_options) for name in (WEIGHTS_FILE, INDEX_FILE))
    checkpoint = Checkpoint(source, **hub_options) if is_safetensors else None
    others: list[str] = []
    if checkpoint is None:
        with suppress(CheckpointError):
            others = weight_file_names(source, **hub_options)
            checkpoint = Checkpoint(source, **hub_options)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    head = find_head(config, checkpoint.shapes if checkpoint else {})
    report = LoadingReport.of(parameter_table(config, head), checkpoint.shapes if checkpoint else {})
    fault = _fault(config, head, checkpoint, report, others)
    return {
        "model": str(source),
        "folder": str(folder),
        "head": head.value,
        "parameters": sum(math.prod(p.shape) for p in parameter_table(config, head) if p.tied_to is None),
        "dtypes": _dtypes(checkpoint),
        "size": sum(files.values()),
        "files": files,
        "weights": fault or (*others, "safetensors")[0],
        "unused": report.unexpected,
        "backends": {
            name: {
                "installed": not backend.missing,
                "loads": not backend.missing and fault is None,
            }
            for name, backend in BACKENDS.items()
        },
        "config": json.loads(config.to_json_string()),
    }


def _fault(
    config: DistilBertConfig, head: Head, checkpoint: Checkpoint | None, report: LoadingReport, others: list[str]
) -> str | None:
    """Return the reason why no backend can load the weights, or None. `others` are the files of other formats."""
    if checkpoint is None:
        return f"{', '.join(others)}: cannot be opened; distilbert convert shows the reason" if others else "none"
    computed = {parameter.name for parameter in parameter_table(config, head) if parameter.computed}
    missing = [name for name in report.missing if name not in computed]
    if missing:
        return f"incomplete: {', '.join(missing)}"
    if report.mismatched:
        return f"shapes differ from the configuration: {', '.join(name for name, _, _ in report.mismatched)}"
    foreign = {entry.dtype for entry in checkpoint.entries.values()} - SAFETENSORS_DTYPES.keys()
    return f"unsupported dtype: {', '.join(sorted(foreign))}" if foreign else None


def _dtypes(checkpoint: Checkpoint | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in checkpoint.entries.values() if checkpoint else ():
        name = SAFETENSORS_DTYPES.get(entry.dtype, entry.dtype)
        counts[name] = counts.get(name, 0) + math.prod(entry.shape)
    return counts


def print_description(description: dict[str, Any]) -> None:
    """Print a description, one name and value per line."""
    rows = [
        ("model", description["model"]),
        ("folder", description["folder"]),
        ("head", description["head"]),
        ("parameters", f"{description['parameters']:,}"),
        ("dtypes", ", ".join(f"{name} ({count:,})" for name, count in description["dtypes"].items()) or "none"),
        ("weights", description["weights"]),
        *([("unused entries", ", ".join(description["unused"]))] if description["unused"] else []),
        ("size", _megabytes(description["size"])),
        *((f"  {name}", _megabytes(size)) for name, size in description["files"].items()),
        ("backends", ""),
        *((f"  {BACKENDS[name].title}", _loads(name, state)) for name, state in description["backends"].items()),
        ("config", ""),
        *((f"  {name}", json.dumps(value, ensure_ascii=False)) for name, value in description["config"].items()),
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
