"""Files of records for tests."""

from __future__ import annotations

import gzip
from pathlib import Path


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a text or bytes, gzipped if the name ends in .gz, into a folder that may be new, and return the path."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix.lower() == ".gz" else data)
    return path
