"""The outputs of a teacher for each step, on disk: computed once, and read by every student.

A folder has shards, which are safetensors files of several steps, and index.json with their names and checksums.

Shapes: M attended tokens, K masked tokens, D model size, V vocabulary, k stored logits.
"""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from distilbert_core.checks import check_choice, positive_integer
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import found, reads
from distilbert_core.files.journal import remove_litter, settled
from distilbert_core.files.json_files import read_json
from distilbert_core.files.locks import owned

CACHE_INDEX_FILE = "index.json"
SHARD_FILE = "steps-from-{:08d}.safetensors"
STORED_DTYPES = ("float16", "float32", "float64")
PATIENCE = 60.0  # seconds to wait for another process, which writes a shard

Arrays = dict[str, np.ndarray]


class TeacherCache:
    """The teacher's outputs by step; made by `open`.

    Steps are collected until they fill a shard, which is then written whole. A process that is killed loses the steps
    since the last shard; they are computed again. Memory holds at most the shard that is being filled and the one that
    was read last. Reading in the order of writing reads each file once.

    Processes may use a folder at the same time: each reads the shards of the others from when it writes one of its own.

    Args:
        folder: The folder, which exists.
        index: Content of its index.json.
    """

    def __init__(self, folder: Path, index: dict[str, Any]):
        self.folder = folder
        self._index = index
        self._shards = _shards(index)
        self._filling: dict[int, Arrays] = {}
        self._file = ""  # name of the shard that was read last
        self._read: dict[int, Arrays] = {}  # its steps

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
        """Open a cache, or make a new one.

        Args:
            folder: A folder made by this method, an empty folder, or a new one. Steps of a shard that was removed are
                computed again.
            settings: Everything that the outputs depend on, as JSON values: the teacher, the texts, the seed, ...
            steps_per_shard: Number of steps of a file.
            top_k: Number of logits to keep of each token, the largest, with the sum of all others; None: all.
            temperature: Temperature of that sum, which should be the one of the loss: see `expand`.
            dtype: Dtype in which hidden states and logits are stored: 'float16', 'float32' or 'float64'.

        Raises:
            InputError: An argument is impossible, or the folder was made with other arguments; the message names them.
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
            ...     cached = TeacherCache.open(Path(folder, "teacher"), settings, top_k=2).get(0)
            >>> cached["indices"].tolist(), cached["values"].tolist()
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
        check_choice("dtype", dtype, STORED_DTYPES)
        try:
            requested = {"settings": json.loads(json.dumps(dict(settings))), "storage": storage}
        except (TypeError, ValueError) as error:
            raise InputError(f"settings must be JSON values: {error}.") from error
        settled(folder)
        if not (folder / CACHE_INDEX_FILE).exists():
            with owned(folder, patience=PATIENCE):
                if not (folder / CACHE_INDEX_FILE).exists():
                    replace_files(folder, {CACHE_INDEX_FILE: _json({**requested, "shards": []})})
        remove_litter(folder)
        return cls(folder, _open_index(folder, requested))

    def get(self, step: int) -> Arrays | None:
        """Return the arrays of a step, or None if the cache lacks it.

        Returns:
            The arrays by name, in the cache's dtype. With top_k, 'values', 'indices' and 'rest' take the place of
            'logits': see `compress` and `expand`.

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
        """Store the teacher's outputs for a new step.

        Args:
            step: Index of the step.
            arrays: 'hidden' [M, D], 'logits' [K, V], or any others by name. Floats are stored in the cache's dtype,
                integers in their own.

        Raises:
            InputError: The cache has the step already, there are no arrays, or a value is not finite in the cache's
                dtype.
            OSError: The disk is full. Complete shards stay.
        """
        if step in self._filling or step in self._shards:
            raise InputError(f"{self.folder} has step {step} already.")
        if not arrays:
            raise InputError(f"arrays must have at least one array; step {step} has none.")
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
        """Write the steps that are not yet in a shard. The cache can be used afterwards.

        Raises:
            InputError: The folder was made again with other arguments, or another process has been writing to it for a
                minute.
            OSError: The disk is full.
        """
        from safetensors.numpy import save

        if not self._filling:
            return
        index = self._index
        with owned(self.folder, patience=PATIENCE):
            if (self.folder / CACHE_INDEX_FILE).exists():
                index = _open_index(self.folder, self._index)
            stored = {step for shard in index["shards"] for step in shard["steps"]}
            new = {step: arrays for step, arrays in self._filling.items() if step not in stored}
            if new:
                content = save({f"{step}/{name}": a for step, arrays in new.items() for name, a in arrays.items()})
                file = SHARD_FILE.format(min(new))  # no step is in two shards, so no other has this name
                shard = {"file": file, "steps": list(new), "sha256": hashlib.sha256(content).hexdigest()}
                index = {**index, "shards": [*index["shards"], shard]}
                replace_files(self.folder, {file: content, CACHE_INDEX_FILE: _json(index)})
        self._index = index
        self._shards = _shards(index)
        self._filling = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compress(logits: np.ndarray, k: int, temperature: float = 1.0) -> Arrays:
    """Keep the largest logits of each token, and the sum of all others.

    Args:
        logits: [K, V].
        k: Number of logits to keep of each row, fewer than V.
        temperature: Divisor of the others before they are summed.

    Returns:
        'values' [K, k], the largest first; their 'indices' [K, k], int32; and 'rest' [K], the logarithm of the sum of
        the exponentials of all others, divided by the temperature.

    Raises:
        InputError: A row has at most `k` logits.

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
    """Return the logits that `compress` stored; all others have one value, which gives the same `rest`.

    At the temperature of `rest`, the softmax gives the stored logits their exact probabilities, up to the rounding of
    the cache's dtype. At a higher temperature the others together get too much, since an even distribution has the
    largest entropy, and at a lower one too little. The error is large for long tails: use the temperature of the loss.

    Args:
        values: [K, k].
        indices: [K, k], integers below `vocab_size`.
        rest: [K].
        vocab_size: V.
        temperature: Temperature of `rest`.

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


def _shards(index: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the shard of each step."""
    return {step: shard for shard in index["shards"] for step in shard["steps"]}


def _open_index(folder: Path, requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the index of a cache, without shards that were removed.

    Raises:
        InputError: It has other 'settings' or 'storage' than `requested`.
        CheckpointError: It is damaged.
    """
    index = _read_index(folder / CACHE_INDEX_FILE)
    differing = [
        f"{name} (stored {reprlib.repr(stored.get(name))}, given {reprlib.repr(given.get(name))})"
        for stored, given in ((index[part], requested[part]) for part in ("settings", "storage"))
        for name in sorted(stored.keys() | given.keys())
        if stored.get(name) != given.get(name)
    ]
    if differing:
        raise InputError(f"{folder} was made with another {', '.join(differing)}; give the same, or another folder.")
    index["shards"] = [shard for shard in index["shards"] if (folder / shard["file"]).exists()]
    return index


@reads("the index of a cache")
def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = read_json(path, "the index of a cache")
        kinds = {name: type(index[name]) for name in ("settings", "storage", "shards")}
        if kinds != {"settings": dict, "storage": dict, "shards": list}:
            raise ValueError("settings and storage must be objects, shards a list")
        for shard in index["shards"]:
            if Path(shard["file"]).name != shard["file"]:
                raise ValueError(f"{shard['file']!r} is not a file name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a valid index of a cache ({found(error)}); remove its folder.") from error
    return index


@reads("arrays of a teacher")
def _read_shard(path: Path, checksum: str) -> dict[int, Arrays]:
    """Return the arrays of each step of a shard."""
    from safetensors.numpy import load_file

    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); open the cache again to compute its steps again."
        ) from error
    if actual != checksum:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 differs from the index. Delete it; its steps are computed again."
        )
    steps: dict[int, Arrays] = {}
    for name, array in load_file(path).items():
        step, _, name = name.partition("/")
        steps.setdefault(int(step), {})[name] = array
    return steps
