"""What a teacher said about each step, on disk: computed once, and read by each student that learns from it.

A folder has shards, safetensors files of some steps each, and index.json, which names them with their checksums.

Shapes: M attended tokens, K hidden tokens, D model size, V vocabulary, k logits that are kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from distilbert_core.checks import positive_integer
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.atomic import replace_files

INDEX_FILE = "index.json"
SHARD_FILE = "steps-from-{:08d}.safetensors"
DTYPES = ("float16", "float32", "float64")

Arrays = dict[str, np.ndarray]


class TeacherCache:
    """The teacher's outputs by step; made by `open`.

    Steps are kept until there are enough for a shard, which is then written whole: a process that is killed loses the
    steps since the last one, and they are made anew. In memory are at most the shard that is being filled and the one
    that was read last, so reading in the order of writing reads each file once.

    One process at a time may use a folder.

    Args:
        folder: The folder, which is there.
        index: Content of its index.json.
    """

    def __init__(self, folder: Path, index: dict[str, Any]):
        self.folder = folder
        self._index = index
        self._shards = {step: shard for shard in index["shards"] for step in shard["steps"]}
        self._filling: dict[int, Arrays] = {}
        self._file = ""  # of the shard that was read last
        self._read: dict[int, Arrays] = {}  # what is in it

    @classmethod
    def open(
        cls,
        folder: str | Path,
        settings: Mapping[str, Any],
        *,
        steps_per_shard: int = 32,
        top_k: int | None = None,
        temperature: float = 1.0,
        dtype: str = "float16",
    ) -> Self:
        """Open a cache, or begin one.

        Args:
            folder: A folder made by this method, an empty one, or one that is not there yet. A shard that was removed
                from it is made anew.
            settings: All that the outputs depend on, as JSON has it: the teacher, the texts, the seed, ...
            steps_per_shard: Steps of a file.
            top_k: Keep of the logits of each token only so many, the largest, and the sum of all others; None: all.
            temperature: The one at which the sum is taken, for top_k: that of the loss; see `expand`.
            dtype: 'float16', 'float32' or 'float64': what hidden states and logits are stored as.

        Raises:
            InputError: An argument is impossible, or the folder was made with others; the message names them.
            CheckpointError: The index is damaged, or `folder` is a file.

        Example:
            >>> from pathlib import Path
            >>> from tempfile import TemporaryDirectory
            >>> import numpy as np
            >>> from distilbert_core.training.distillation.cache import TeacherCache
            >>> settings = {"teacher": "bert-base-uncased", "seed": 42}
            >>> with TemporaryDirectory() as folder:
            ...     with TeacherCache.open(Path(folder, "teacher"), settings, top_k=2) as cache:
            ...         cache.put(0, {"logits": np.array([[1.0, 7.0, 2.0, 5.0]])})
            ...     found = TeacherCache.open(Path(folder, "teacher"), settings, top_k=2).get(0)
            >>> found["indices"].tolist(), found["values"].tolist()
            ([[1, 3]], [[7.0, 5.0]])
        """
        folder = Path(folder).expanduser()
        storage = {
            "steps_per_shard": positive_integer("steps_per_shard", steps_per_shard),
            "top_k": top_k if top_k is None else positive_integer("top_k", top_k),
            "temperature": float(temperature),
            "dtype": dtype,
        }
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature must be a number above 0, got {temperature!r}.")
        if dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
        try:
            wanted = {"settings": json.loads(json.dumps(dict(settings))), "storage": storage}
        except (TypeError, ValueError) as error:
            raise InputError(f"settings must be what JSON can hold: {error}.") from error
        if not (folder / INDEX_FILE).exists():
            replace_files(folder, {INDEX_FILE: _json({**wanted, "shards": []})})
        for unfinished in folder.glob(".saving-*"):  # of a process that was killed
            shutil.rmtree(unfinished, ignore_errors=True)
        index = _read_index(folder / INDEX_FILE)
        differing = [
            f"{name} (stored {reprlib.repr(stored.get(name))}, asked for {reprlib.repr(asked.get(name))})"
            for stored, asked in ((index[part], wanted[part]) for part in wanted)
            for name in sorted(stored.keys() | asked.keys())
            if stored.get(name) != asked.get(name)
        ]
        if differing:
            raise InputError(
                f"{folder} was made with another {', '.join(differing)}; give the same, or another folder."
            )
        index["shards"] = [shard for shard in index["shards"] if (folder / shard["file"]).exists()]
        return cls(folder, index)

    def get(self, step: int) -> Arrays | None:
        """Return what was stored for a step, None if nothing was.

        Returns:
            The arrays by name, as stored: in the cache's dtype, and for top_k 'values', 'indices' and 'rest' in place
            of 'logits'; see `compress` and `expand`.

        Raises:
            CheckpointError: The shard is damaged, or was removed since the cache was opened.
        """
        if step in self._filling:
            return dict(self._filling[step])
        if step not in self._shards:
            return None
        shard = self._shards[step]
        if shard["file"] != self._file:
            self._file, self._read = "", {}  # frees the memory before the next needs it
            self._read = _read_shard(self.folder / shard["file"], shard["sha256"])
            self._file = shard["file"]
        return dict(self._read[step])

    def put(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Store the teacher's outputs for a step that has none yet.

        Args:
            step: Number of the step.
            arrays: 'hidden' [M, D], 'logits' [K, V], or any others by name. Floats are stored in the cache's dtype,
                integers as they are.

        Raises:
            InputError: The step is stored already, there are no arrays, or a value is not finite in the cache's dtype.
            OSError: The disk is full. The shards that were finished stay.
        """
        if step in self._filling or step in self._shards:
            raise InputError(f"step {step} is in {self.folder} already.")
        if not arrays:
            raise InputError(f"arrays must have one at least; there are none for step {step}.")
        arrays, storage = dict(arrays), self._index["storage"]
        if storage["top_k"] is not None and "logits" in arrays:
            arrays |= compress(arrays.pop("logits"), storage["top_k"], storage["temperature"])
        self._filling[step] = {name: self._stored(f"{name} of step {step}", a) for name, a in arrays.items()}
        if len(self._filling) >= storage["steps_per_shard"]:
            self.close()

    def _stored(self, name: str, array: np.ndarray) -> np.ndarray:
        dtype = array.dtype if array.dtype.kind in "iub" else self._index["storage"]["dtype"]
        with np.errstate(over="ignore"):
            stored = np.array(array, dtype, order="C")
        if not np.isfinite(stored).all():
            raise InputError(
                f"{name} has values that are not finite as {dtype}; look at the teacher, or give another dtype."
            )
        return stored

    def close(self) -> None:
        """Write the steps that are not in a shard yet. The cache can still be used.

        Raises:
            OSError: The disk is full.
        """
        from safetensors.numpy import save

        if not self._filling:
            return
        content = save({f"{step}/{name}": a for step, arrays in self._filling.items() for name, a in arrays.items()})
        file = SHARD_FILE.format(min(self._filling))  # no step is in two shards, so no other has this name
        shard = {"file": file, "steps": list(self._filling), "sha256": hashlib.sha256(content).hexdigest()}
        index = {**self._index, "shards": [*self._index["shards"], shard]}
        replace_files(self.folder, {file: content, INDEX_FILE: _json(index)})
        self._index = index
        self._shards |= dict.fromkeys(self._filling, shard)
        self._filling = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compress(logits: np.ndarray, k: int, temperature: float = 1.0) -> Arrays:
    """Keep the largest logits of each token, and the sum of all others.

    Args:
        logits: [K, V].
        k: How many to keep of each row, fewer than V.
        temperature: What the others are divided by before they are summed.

    Returns:
        'values' [K, k], the largest first; their 'indices' [K, k], int32; and 'rest' [K], the logarithm of the sum of
        the exponentials of all others, each divided by the temperature before.

    Raises:
        InputError: There are not more than `k` logits.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.distillation.cache import compress
        >>> {name: array.round(2).tolist() for name, array in compress(np.array([[1.0, 7.0, 2.0, 5.0]]), 2).items()}
        {'values': [[7.0, 5.0]], 'indices': [[1, 3]], 'rest': [2.31]}
    """
    if not 0 < k < logits.shape[1]:
        raise InputError(f"top_k must be from 1 to {logits.shape[1] - 1}, one less than the vocabulary; got {k}.")
    others = np.array(logits, np.result_type(logits, np.float32))
    indices = np.argpartition(others, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(others, indices, axis=1), axis=1, kind="stable")
    indices = np.take_along_axis(indices, order, axis=1)
    values = np.take_along_axis(others, indices, axis=1)
    np.put_along_axis(others, indices, -np.inf, axis=1)
    highest = others.max(axis=1)
    rest = np.log(np.exp((others - highest[:, None]) / temperature).sum(axis=1)) + highest / temperature
    return {"values": values, "indices": indices.astype(np.int32), "rest": rest}


def expand(
    values: np.ndarray, indices: np.ndarray, rest: np.ndarray, vocab_size: int, temperature: float = 1.0
) -> np.ndarray:
    """Return logits for what `compress` kept: the kept ones, and for all others one number, so that `rest` is the same.

    At the temperature of `rest` their softmax has the right probabilities for the kept ones, up to the rounding of a
    cache's dtype. At a higher one the others together get more than they should, as an even spread has the most
    entropy, and at a lower one less. Where words have a long tail that is much: keep `rest` at the loss's temperature.

    Args:
        values: [K, k].
        indices: [K, k], integers below `vocab_size`.
        rest: [K].
        vocab_size: V.
        temperature: That of `rest`.

    Returns:
        [K, V], float32; float64 if the values are.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.distillation.cache import compress, expand
        >>> expand(**compress(np.array([[1.0, 7.0, 2.0, 5.0]]), 2), vocab_size=4).round(2).tolist()
        [[1.62, 7.0, 1.62, 5.0]]
    """
    dtype = np.result_type(values, np.float32)
    even = temperature * (rest.astype(dtype) - np.log(vocab_size - indices.shape[1]))
    logits = np.repeat(even.astype(dtype)[:, None], vocab_size, axis=1)
    np.put_along_axis(logits, indices, values.astype(dtype), axis=1)
    return logits


def _json(index: Mapping[str, Any]) -> bytes:
    return (json.dumps(index) + "\n").encode()


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_bytes())
        kinds = {name: type(index[name]) for name in ("settings", "storage", "shards")}
        if kinds != {"settings": dict, "storage": dict, "shards": list}:
            raise ValueError("settings and storage must be objects, shards a list")
        for shard in index["shards"]:
            if Path(shard["file"]).name != shard["file"]:
                raise ValueError(f"{shard['file']!r} is no name of a file beside it")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no valid index of a cache ({error!r}); remove its folder.") from error
    return index


def _read_shard(path: Path, checksum: str) -> dict[int, Arrays]:
    """Return the arrays of each step of a shard."""
    from safetensors.numpy import load_file

    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}); open the cache again to make it anew.") from error
    if found != checksum:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not that of the index. Delete it; it is made anew.")
    steps: dict[int, Arrays] = {}
    for name, array in load_file(path).items():
        step, _, name = name.partition("/")
        steps.setdefault(int(step), {})[name] = array
    return steps
