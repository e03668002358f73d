"""Writing token shards: the rows of a corpus are encoded unit by unit, perhaps in several processes, and in order."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.files.atomic import Writer, replace_files
from distilbert_core.files.journal import is_vacant, settled
from distilbert_core.files.locks import OWNER_FILE, owned
from distilbert_core.pipelines.progress import bar_delay, progress_bar
from distilbert_core.training.labels import label_names
from distilbert_core.training.shards import (
    COUNTS_FILE,
    FORMAT,
    INDEX_FILE,
    SHARD_FILE,
    VERSION,
    TokenShards,
    count_tokens,
    fingerprint,
    read_index,
    to_records,
)
from distilbert_core.training.sources import Source
from distilbert_core.training.tasks.base import WEIGHT_COLUMN, Row, Task

UNIT = 2048  # rows that a process encodes at a time
SHARD_BYTES = 16 << 20
AHEAD = 4  # units of each process that are read before they are needed
DAY = 86_400.0  # seconds to wait for another process, which prepares the same corpus

Unit = list[Row]
Encoded = tuple[np.ndarray, int, int]  # records, number of cut rows, number of rows


def write_shards(
    task: Task,
    sources: Sequence[Source],
    output: Path,
    *,
    checksums: Sequence[str],
    columns: Mapping[str, str] | None,
    processes: int = 1,
    rows_per_shard: int | None = None,
    progress: bool | None = None,
) -> TokenShards:
    """Encode the rows of sources into a folder of token shards; go on where a stopped call has ended.

    Args:
        task: Encodes the rows, with the tokenizer of a model and its labels.
        sources: The sources, one after another.
        output: The folder: new, empty, or of an earlier call with the same arguments.
        checksums: The checksum of each source.
        columns: Names of the sources' columns, where they differ from the task's.
        processes: Number of processes that encode. The result does not depend on it.
        rows_per_shard: Least number of rows of a file, except the last one; None: those of 16 MB.
        progress: True or False: always or never show a progress bar; None: in a terminal, on long work.

    Raises:
        InputError: A row is impossible, the folder was made of other rows or settings, or has other files.
        CheckpointError: The folder is damaged.

    Warns:
        InputWarning: A part of some rows has no effect.
    """
    kind = type(task)
    first = next(kind.stream(sources[0], columns))
    settings = {
        "task": task.name,
        "tokenizer": fingerprint(task.tokenizer),
        "vocab_size": len(task.tokenizer),
        "max_length": task.max_length,
        "target": kind.stored_target,
        "weighted": WEIGHT_COLUMN in first,
        "labels": label_names(task.config) if kind.named else None,
        "encoding": kind.__name__,
        "columns": dict(columns or {}),
        "sources": list(checksums),
        "rows_per_shard": rows_per_shard,
    }
    with owned(output, patience=DAY):
        writer = _Writer(output, settings)
        if not writer.index["complete"]:
            stream = chain.from_iterable(kind.stream(source, columns) for source in sources)
            rows = islice(stream, writer.index["records"], None)
            with (
                encoder(task, writer.dtype, processes) as encode,
                progress_bar(None, bar_delay(progress, streaming=False)) as advance,
            ):
                for records, cut, read in encode(units(rows)):
                    writer.add(records, cut, read)
                    advance(read)
            writer.finish()
    index = writer.index
    task.warn_of_cut(output, index["cut"], index["records"], stacklevel=3)
    if not index["shards"]:
        raise InputError(f"{sources[0].name} has no row with a token for {task.name}. Correct the rows.")
    return TokenShards.open(output)


class _Writer:
    """A folder of token shards that is written. After each file, the index counts the rows of the sources in it."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.folder = folder
        settled(folder)
        if (folder / INDEX_FILE).exists():
            self.index = read_index(folder)
            theirs = self.index["settings"]
            other = [name for name, value in settings.items() if theirs.get(name) != value]
            if other:
                raise InputError(
                    f"{folder} was prepared with another {', '.join(other)}; give another output, or remove the folder."
                )
        elif is_vacant(folder, {OWNER_FILE}):
            empty = {"records": 0, "cut": 0, "complete": False, "shards": []}
            self.index = {"format": FORMAT, "version": VERSION, "settings": settings, **empty}
        else:
            raise InputError(f"{folder} has other files; give another output.")
        shards = TokenShards(folder, self.index)
        self.dtype = shards.dtype
        self._counts = shards.counts() if self.index["shards"] else np.zeros(settings["vocab_size"], np.int64)
        self._waiting: list[np.ndarray] = []
        self._cut, self._read = 0, 0  # of the records that wait

    def add(self, records: np.ndarray, cut: int, read: int) -> None:
        """Add the records of a unit; write a file if there are enough."""
        self._waiting.append(records)
        self._cut += cut
        self._read += read
        rows = self.index["settings"]["rows_per_shard"] or SHARD_BYTES // self.dtype.itemsize
        if sum(map(len, self._waiting)) >= rows:
            self._write(complete=False)

    def finish(self) -> None:
        """Write the records that are left."""
        self._write(complete=True)

    def _write(self, complete: bool) -> None:
        records = np.concatenate(self._waiting) if self._waiting else np.zeros(0, self.dtype)
        shards = self.index["shards"]
        files: dict[str, Writer] = {}
        if len(records):
            self._counts = self._counts + count_tokens(records, len(self._counts))
            file = SHARD_FILE.format(len(shards))
            content = _npy(records)
            sha256 = hashlib.sha256(content).hexdigest()
            tokens = int(records["length"].sum())
            shards = [*shards, {"file": file, "rows": len(records), "tokens": tokens, "sha256": sha256}]
            files = {file: content, COUNTS_FILE: _npy(self._counts)}
        read, cut = self.index["records"] + self._read, self.index["cut"] + self._cut
        self.index = {**self.index, "records": read, "cut": cut, "complete": complete, "shards": shards}
        replace_files(self.folder, {**files, INDEX_FILE: (json.dumps(self.index, indent=1) + "\n").encode()})
        self._waiting, self._cut, self._read = [], 0, 0


def units(rows: Iterable[Row]) -> Iterator[Unit]:
    """Divide rows into units, which are encoded one by one. The lines of a document stay together."""
    unit: Unit = []
    for _, document in groupby(enumerate(rows), key=lambda item: item[1].get("document", item[0])):
        unit += (row for _, row in document)
        if len(unit) >= UNIT:
            yield unit
            unit = []
    if unit:
        yield unit


def encode_unit(task: Task, dtype: np.dtype, unit: Unit) -> Encoded:
    """Return the records of a unit, the number of rows of which a part has no effect, and the number of rows."""
    features = task.features(unit)
    return to_records(features, dtype), sum(feature.cut for feature in features), len(unit)


@contextmanager
def encoder(task: Task, dtype: np.dtype, processes: int) -> Iterator[Callable[[Iterable[Unit]], Iterator[Encoded]]]:
    """Context manager: a function that encodes units in their order, in this process or in several others."""
    encode = partial(encode_unit, task, dtype)
    if processes == 1:
        yield partial(map, encode)
        return
    spawned = multiprocessing.get_context("spawn")  # a fork would copy the threads of a framework
    with ProcessPoolExecutor(processes, spawned, initializer=_encode_by, initargs=(encode,)) as pool:
        yield partial(_in_order, pool, AHEAD * processes)


def _in_order(pool: ProcessPoolExecutor, ahead: int, units: Iterable[Unit]) -> Iterator[Encoded]:
    """Yield the results of units in their order. At most `ahead` are read before they are needed."""
    running: deque[Future[Encoded]] = deque()
    for unit in units:
        running.append(pool.submit(_encode, unit))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


_here: list[Callable[[Unit], Encoded]] = []  # of a process of the pool


def _encode_by(encode: Callable[[Unit], Encoded]) -> None:
    _here[:] = [encode]


def _encode(unit: Unit) -> Encoded:
    return _here[0](unit)


def _npy(array: np.ndarray) -> bytes:
    """Return the content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
