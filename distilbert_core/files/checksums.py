"""Checksums of the files of a checkpoint: checksums.sha256, which `sha256sum -c` reads too, and the names of the Hub.

A save with checksums lists its files. Each later save into the folder renews the list, so it is never stale.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from distilbert_core.errors import CheckpointError, listed, shortened
from distilbert_core.files.json_files import read_content
from distilbert_core.files.limits import check_limit
from distilbert_core.files.links import HUB_FILE, refuse_link

CHECKSUMS = "checksums.sha256"
LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\0\\]+)")
LEVELS = 4  # folders above a file that may have its list: Orbax has the files of an array below three
CHUNK = 1 << 20  # bytes read at a time
ADVICE = "Fetch or copy it again; if you changed it yourself, save the checkpoint with checksum=True (--checksum)."


def sums_below(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its name with '/'."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CHECKSUMS)
    return {path.relative_to(folder).as_posix(): file_sum(path) for path in files}


def file_sum(path: Path, kind: str = "sha256", start: bytes = b"") -> str:
    """Return the hash of a file, as a text of hexadecimal digits.

    Args:
        path: The file.
        kind: Name of the hash.
        start: Bytes to hash before the content.
    """
    digest = hashlib.new(kind, start, usedforsecurity=False)
    with path.open("rb") as file:
        while content := file.read(CHUNK):
            digest.update(content)
    return digest.hexdigest()


def render(sums: Mapping[str, str]) -> bytes:
    """Return the content of checksums.sha256."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()


def renewed(folder: Path, new: Path, names: Collection[str], removed: Iterable[str], checksum: bool) -> bytes | None:
    """Return the list of a folder after a save; None if it needs none.

    Args:
        folder: The folder, as it is before the save.
        new: Folder with the new files.
        names: Names of the new files and folders.
        removed: Names of the files and folders that the save removes.
        checksum: Whether the new files must be listed. If not, they are listed if the folder lists one of those that
            the save replaces or removes.
    """
    try:
        old = read_list(folder / CHECKSUMS) if (folder / CHECKSUMS).is_file() else {}
    except CheckpointError:
        old = {}  # a damaged list, or the list of something else
    gone = (*names, *removed)
    kept = {
        name: digest
        for name, digest in old.items()
        if not any(name == other or name.startswith(f"{other}/") for other in gone)
    }
    if not checksum and len(kept) == len(old):
        return None
    return render(kept | sums_below(new))


def read_list(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a checksums.sha256 lists.

    Raises:
        CheckpointError: The list is damaged, or names a file outside its folder.
    """
    refuse_link(path, path.parent)
    try:
        lines = read_content(path, "a list of checksums").decode().splitlines()
    except UnicodeDecodeError:
        lines = ["not UTF-8"]
    check_limit("checkpoint_files", len(lines), str(path))
    sums = {}
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None or PurePosixPath(match[2]).is_absolute() or ".." in match[2].split("/"):
            raise CheckpointError(f"{path} must have lines of a SHA-256 and the name of a file, got {shortened(line)}.")
        sums[match[2]] = match[1]
    return sums


def verify_files(source: str | Path, paths: Iterable[Path]) -> None:
    """Check the files of a checkpoint: each against the list in its folder, or against its name in the Hub's cache.

    In the cache, a file is named after its content: by its SHA-256 if it is large, or by its SHA-1 in Git.

    Args:
        source: The checkpoint, for messages.
        paths: All files and folders of the checkpoint that are read. Other files in a list are checked as well, and in
            the Hub's cache the files of JSON and text beside them: configuration, index of shards, tokenizer.

    Raises:
        CheckpointError: A file differs from its checksum, is missing, or has no checksum.
    """
    lists: dict[Path, dict[str, str]] = {}
    files = dict.fromkeys(_files(paths))
    cached = dict.fromkeys(path.parent for path in files if _is_of_hub(path))
    files |= dict.fromkeys(file for folder in cached for file in _texts_of_hub(folder))
    for path in files:
        if _is_of_hub(path):
            _verify_hub_file(path)
            continue
        folder = next((parent for parent in list(path.parents)[:LEVELS] if (parent / CHECKSUMS).is_file()), None)
        if folder is None:
            raise CheckpointError(
                f"{source} has no {CHECKSUMS}, with which its files could be verified. Save it with checksum=True "
                "(--checksum), or leave out verify."
            )
        if folder not in lists:
            lists[folder] = read_list(folder / CHECKSUMS)
            _verify_list(folder, lists[folder])
        if path.name != CHECKSUMS and path.relative_to(folder).as_posix() not in lists[folder]:
            raise CheckpointError(f"{path} is not in {CHECKSUMS}: it was added later. {ADVICE}")


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from (inner for inner in sorted(path.rglob("*")) if inner.is_file()) if path.is_dir() else [path]


def _is_of_hub(path: Path) -> bool:
    return HUB_FILE.fullmatch(path.resolve().as_posix()) is not None


def _texts_of_hub(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.suffix in (".json", ".txt") and _is_of_hub(file)]


def _verify_list(folder: Path, sums: Mapping[str, str]) -> None:
    missing = [name for name in sums if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder} lacks files that its {CHECKSUMS} lists: {listed(missing)}.")
    for name, digest in sums.items():
        refuse_link(folder / name, folder)
        if file_sum(folder / name) != digest:
            raise CheckpointError(f"{folder / name} differs from its SHA-256 in {CHECKSUMS}. {ADVICE}")


def _verify_hub_file(path: Path) -> None:
    real = path.resolve()
    size = real.stat().st_size
    known = {64: lambda: file_sum(real), 40: lambda: file_sum(real, "sha1", f"blob {size}\0".encode())}
    compute = known.get(len(real.name))
    if compute is None:
        raise CheckpointError(f"{path} has the name {real.name} in the Hub's cache, which is not a checksum.")
    if compute() != real.name:
        raise CheckpointError(f"{path} differs from its checksum on the Hub. Fetch it again: force_download=True.")
