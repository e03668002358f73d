"""The command `scan`."""

from __future__ import annotations

from typing import Any

import click

from distilbert_cli.options import JSON, PATH, command
from distilbert_cli.writers import Columns, write
from weight_conversion.scanning import LegacyCheckpoint
from weight_conversion.scanning import scan as find_legacy


@command("scan", "distilbert scan ~/.cache/huggingface/hub")
@click.argument("path", type=PATH)
@JSON
def scan(path, as_json):
    """Find checkpoints in old formats.

    Lists the folders below PATH whose weights only exist as pytorch_model.bin, tf_model.h5, flax_model.msgpack or a
    TensorFlow checkpoint, with their size, and the command that converts each, or why it cannot be converted. Nothing
    is loaded or changed.
    """
    columns = Columns(("size", "format", "folder", "what to do"))
    write(map(_record, find_legacy(path)), columns, None, as_json)


def _record(found: LegacyCheckpoint) -> dict[str, Any]:
    megabytes = f"{found.size / 1e6:,.1f} MB"
    record = {"size": megabytes, "format": ", ".join(found.formats), "folder": str(found.folder)}
    return {**record, "what to do": found.command or found.reason, "bytes": found.size, "files": list(found.files)}
