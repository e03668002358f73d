"""Files of a conversion."""

from __future__ import annotations

from pathlib import Path

WITHOUT_FRAMEWORK = ("pt", "tf", "flax", "h5", "msgpack", "keras", "keras-weights")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
