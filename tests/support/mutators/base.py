"""`Mutator`: hostile copies of a small checkpoint, by edits with a name and then by random ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core import Head
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import random_arrays, small_config
from weight_conversion import convert

Rng = np.random.Generator
Edit = Callable[[Rng, Path], Path | None]  # changes a checkpoint; returns the path to open if it is not the folder
HEAD = Head.SEQUENCE_CLASSIFICATION
OUTSIDE = "outside"  # the folder beside the checkpoints, which nobody may open
DECOYS = ("decoy.h5", "decoy.raw", "decoy.json", "decoy.txt", "model.safetensors")
UNCHANGED = "unchanged"  # the first mutation: the checkpoint itself
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_source(folder: Path, to: str, **options: Any) -> None:
    """Write a small checkpoint with a tokenizer in a format."""
    config = small_config(architectures=[HEAD.architecture])
    vocabulary = [*SPECIAL, *(f"w{index}" for index in range(config.vocab_size - len(SPECIAL)))]
    files = {
        "config.json": config.to_json_string().encode(),
        "vocab.txt": "".join(f"{token}\n" for token in vocabulary).encode(),
        "tokenizer_config.json": b'{"do_lower_case": true}',
    }
    plain = folder.with_name(f"{folder.name}-pt")
    save_checkpoint(plain, random_arrays(config, HEAD, dtype="float32"), files)
    convert(plain, folder, to, **options)
    shutil.rmtree(plain)


def write_decoys(folder: Path) -> Path:
    """Make the folder that nobody may open."""
    outside = folder / OUTSIDE
    outside.mkdir(parents=True, exist_ok=True)
    for name in DECOYS:
        (outside / name).write_bytes(b"secret" * 64)
    return outside


@dataclass(frozen=True)
class Mutator:
    """Mutations of a checkpoint.

    Attributes:
        name: Name of the mutator, for the names of its mutations.
        write: Writes the undamaged checkpoint into a folder.
        named: Edits that each run once, by name.
        random: Edits that depend on the random numbers.
    """

    name: str
    write: Callable[[Path], None]
    named: Mapping[str, Edit]
    random: Mapping[str, Edit]

    def mutations(self, rng: Rng, folder: Path) -> Iterator[tuple[str, Path]]:
        """Yield names and checkpoints without end: the unchanged one, the named ones, then random ones.

        A checkpoint exists until the next one is asked for.
        """
        base = folder / "base"
        self.write(base)
        write_decoys(folder)
        for number, name in zip(count(), self._names(rng), strict=False):
            copy = folder / f"case-{number}"
            shutil.copytree(base, copy, symlinks=True)
            edit = self.named.get(name) or self.random.get(name)
            opened = edit(rng, copy) if edit else None
            yield f"{self.name}: {name} ({number})", opened or copy
            shutil.rmtree(copy)

    def _names(self, rng: Rng) -> Iterator[str]:
        yield UNCHANGED
        yield from (name for name in self.named if name != UNCHANGED)
        names = sorted(self.random)
        while names:
            yield names[rng.integers(len(names))]


# -- values and bytes -------------------------------------------------------------------------------------------


def nested(levels: int, kind: type = list) -> Any:
    """Return a list or a dict that is nested in itself."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**62, 2**63, 10**9, 10**30, 0.5, 1e308, float("nan"), float("inf")),
    *("", "..", "../outside/decoy.json", "/etc/passwd", "\ud800", "\0", "self", "__class__", "a" * 5000, "F32"),
    *([], {}, [2**62] * 4, [-1], [0], ["a"], {"a": 1}, [[]], nested(300), nested(300, dict)),
)


def hostile(rng: Rng) -> Any:
    """Return a value that a reader does not expect."""
    return HOSTILE[rng.integers(len(HOSTILE))]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def mutated(rng: Rng, value: Any) -> Any:
    """Return a JSON value in which one part is replaced, removed, renamed or repeated."""
    value = json.loads(json.dumps(value))
    paths = list(_paths(value))
    *parents, key = paths[rng.integers(1, len(paths))] if len(paths) > 1 else (None,)
    if key is None:
        return hostile(rng)
    node = value
    for parent in parents:
        node = node[parent]
    match rng.integers(4):
        case 0 if isinstance(node, dict):
            del node[key]
        case 1 if isinstance(node, dict):
            node[str(hostile(rng))[:5000]] = node.pop(key)
        case 2 if isinstance(node, list):
            node.extend([node[key]] * 50)
        case _:
            node[key] = hostile(rng)
    return value


def mutated_text(rng: Rng, text: bytes) -> bytes:
    """Return a JSON text that is damaged as a text, or has a mutated value."""
    match rng.integers(12):
        case 0:
            return text[: rng.integers(len(text))]
        case 1:
            return b"[" * 200_000
        case 2:
            return b'{"a":' * 100_000 + b"1" + b"}" * 100_000
        case 3:
            return b"\xef\xbb\xbf" + text
        case 4:
            return text.decode().encode("utf-16")
        case 5:
            return text.replace(b"1", b"9" * 5000, 1)
        case 6:
            return text + b" " * 2_000_000
        case 7:
            return text.replace(b"e", b"\xff", 1)
        case _:
            return json.dumps(mutated(rng, json.loads(text))).encode()


def edit_json(name: str) -> Edit:
    """Return an edit that mutates a JSON file of the checkpoint."""

    def edit(rng: Rng, folder: Path) -> None:
        file = folder / name
        file.write_bytes(mutated_text(rng, file.read_bytes()))

    return edit


def set_json(name: str, **fields: Any) -> Edit:
    """Return an edit that sets fields of a JSON file."""

    def edit(rng: Rng, folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))

    return edit


def write_bytes(name: str, content: bytes) -> Edit:
    """Return an edit that replaces a file."""

    def edit(rng: Rng, folder: Path) -> None:
        (folder / name).write_bytes(content)

    return edit


def truncate(name: str) -> Edit:
    """Return an edit that cuts a file at a random byte."""

    def edit(rng: Rng, folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: rng.integers(len(content))])

    return edit


def flip_bytes(name: str, region: int = 4096) -> Edit:
    """Return an edit that changes some bytes at the start or the end of a file, where its structure is."""

    def edit(rng: Rng, folder: Path) -> None:
        content = np.frombuffer((folder / name).read_bytes(), np.uint8).copy()
        part = (content, content[:region], content[-region:])[rng.integers(3)]
        for _ in range(rng.integers(1, 6)):
            start = rng.integers(len(part))
            part[start : start + rng.integers(1, 9)] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        (folder / name).write_bytes(content.tobytes())

    return edit


def overwrite_integer(name: str) -> Edit:
    """Return an edit that replaces 1, 2, 4 or 8 bytes by an extreme integer."""

    def edit(rng: Rng, folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        size = int(rng.choice([1, 2, 4, 8]))
        value = (
            int(rng.choice([0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1]).item())
            if (size < 8)
            else [0, 1, 2**31, 2**62, 2**63, 2**64 - 1][rng.integers(6)]
        )
        start = int(rng.integers(max(1, min(len(content), 20_000) - size)))
        content[start : start + size] = value.to_bytes(size, ["little", "big"][rng.integers(2)])
        (folder / name).write_bytes(bytes(content))

    return edit


def link(name: str, target: str) -> Edit:
    """Return an edit that replaces a file by a symbolic link."""

    def edit(rng: Rng, folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return edit


def file_links(name: str) -> dict[str, Edit]:
    """Return the edits that replace a file by a link or by something that is not a file."""

    def as_folder(rng: Rng, folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    def as_pipe(rng: Rng, folder: Path) -> None:
        import os

        (folder / name).unlink()
        os.mkfifo(folder / name)

    return {
        f"{name} is a link out of the folder": link(name, f"../{OUTSIDE}/model.safetensors"),
        f"{name} is an absolute link": link(name, "/etc/passwd"),
        f"{name} is a link to itself": link(name, name),
        f"{name} is a link to a device": link(name, "/dev/zero"),
        f"{name} is a folder": as_folder,
        f"{name} is a pipe": as_pipe,
        f"{name} is empty": write_bytes(name, b""),
    }
