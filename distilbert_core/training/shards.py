"""Token shards: the features of a corpus on disk, in records of one width, which every run reads again.

A folder has index.json; tokens-00000.npy and so on, each with an array of records; and token_counts.npy, the number of
occurrences of each token id. A record has the number of tokens, the token ids with zeros after them, and, where the
task has them, the target and the weight of the row. The files are mapped into memory while some of their records are
copied, and not longer: memory does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.boundary import reading
from distilbert_core.files.json_files import read_json
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.training.features import Feature, Features
from distilbert_core.training.labels import label_names
from distilbert_core.training.tasks.base import Task

INDEX_FILE, COUNTS_FILE, SHARD_FILE = "index.json", "token_counts.npy", "tokens-{:05d}.npy"
SHARD_NAME = re.compile(r"tokens-\d{5,}\.npy")
FORMAT, VERSION = "distilbert token shards", 1
PROBE = "Hello, WORLD! Ça coûte 5 €; it's 東京 2024 naïve un-do [MASK]."  # tokenizers that differ, differ here


def record_dtype(vocab_size: int, width: int, target: str, weighted: bool) -> np.dtype:
    """Return the dtype of a record.

    Args:
        vocab_size: Number of token ids. Below 65,536 they take two bytes each.
        width: Most tokens of a row.
        target: Dtype of the target; '' for none.
        weighted: Whether rows have weights.

    Example:
        >>> from distilbert_core.training.shards import record_dtype
        >>> record_dtype(30522, 128, "", weighted=False).itemsize
        258
    """
    fields: list[Any] = [
        ("length", "<u2" if width < 1 << 16 else "<u4"),
        ("ids", "<u2" if vocab_size <= 1 << 16 else "<u4", (width,)),
    ]
    fields += [("target", f"<{target}")] if target else []
    fields += [("weight", "<f8")] if weighted else []
    return np.dtype(fields)


def to_records(features: Sequence[Feature], dtype: np.dtype) -> np.ndarray:
    """Return features as records."""
    records = np.zeros(len(features), dtype)
    records["length"] = [feature.size for feature in features]
    for ids, feature in zip(records["ids"], features, strict=True):
        ids[: feature.size] = feature.ids
    for name, values in (("target", [f.target for f in features]), ("weight", [f.weight for f in features])):
        if name in (dtype.names or ()):
            records[name] = values
    return records


def count_tokens(records: np.ndarray, size: int) -> np.ndarray:
    """Return how often each id below `size` occurs in records, without their padding, int64 [size]."""
    real = np.arange(records["ids"].shape[1]) < records["length"][:, None]
    return np.bincount(records["ids"][real], minlength=size)


def fingerprint(tokenizer: BaseTokenizer) -> str:
    """Return a checksum of the vocabulary of a tokenizer, and of how it divides a text."""
    content = [sorted(tokenizer.get_vocab().items()), tokenizer(PROBE)["input_ids"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True)
class ShardPart:
    """The features of one file.

    Attributes:
        path: The file.
        dtype: Dtype of a record.
        offset: Bytes before the first record.
        rows: Number of records.
        tokens: Number of tokens.
    """

    path: Path
    dtype: np.dtype
    offset: int
    rows: int
    tokens: int

    def __len__(self) -> int:
        return self.rows

    def _mapped(self) -> np.ndarray:
        """Return the records; the file is mapped as long as the result is used."""
        with reading(self.path, "token shard"):
            return np.memmap(self.path, self.dtype, "r", self.offset, (self.rows,))

    def lengths_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the lengths of some features, int64."""
        return self._mapped()["length"][indices].astype(np.int64)

    def select(self, indices: Sequence[int] | np.ndarray) -> list[Feature]:
        """Return some features."""
        records = np.array(self._mapped()[indices])
        names = self.dtype.names or ()
        targets, weights = (
            records[name].tolist() if name in names else [None] * len(records) for name in ("target", "weight")
        )
        values = zip(records["ids"], records["length"].tolist(), targets, indices, weights, strict=True)
        return [Feature(ids[:length].tolist(), target, int(row), weight) for ids, length, target, row, weight in values]

    def token_counts(self, size: int) -> np.ndarray:
        """Return how often each id below `size` occurs, int64 [size]."""
        return count_tokens(self._mapped(), size)


class StoredFeatures(Features):
    """The features of a folder of token shards.

    Args:
        parts: Its files.
        counts: Number of occurrences of each token id, [V].
    """

    def __init__(self, parts: Sequence[ShardPart], counts: np.ndarray):
        super().__init__(parts)
        self._counts = counts

    def token_counts(self, size: int) -> np.ndarray:
        """Return how often each id below `size` occurs, int64 [size]."""
        return np.pad(self._counts, (0, max(0, size - len(self._counts))))[:size]


class TokenShards:
    """A folder of token shards; made by `prepare`, and opened by `open`.

    Args:
        folder: The folder.
        index: Content of its index.json.
    """

    def __init__(self, folder: Path, index: Mapping[str, Any]):
        self.folder = folder
        self.index = index

    @staticmethod
    def is_at(path: Path) -> bool:
        """Return whether a folder has token shards."""
        return path.is_dir() and (path / INDEX_FILE).is_file() and not (path / "config.json").exists()

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder that `prepare` has finished, and check every file against its checksum.

        Raises:
            CheckpointError: The folder is missing, damaged or not finished.
        """
        shards = cls(Path(folder).expanduser(), read_index(Path(folder).expanduser()))
        if not shards.index["complete"]:
            raise CheckpointError(
                f"{folder} is not finished: run the same distilbert prepare again, which goes on where it stopped."
            )
        for entry in shards.index["shards"]:
            path = shards.folder / entry["file"]
            with reading(path, "token shard"), path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                    raise CheckpointError(
                        f"{path} is damaged: its checksum is not that of index.json. Prepare it again."
                    )
        return shards

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of `prepare`, on which the tokens depend."""
        settings: Mapping[str, Any] = self.index["settings"]
        return settings

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(entry["rows"] for entry in self.index["shards"])

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return sum(entry["tokens"] for entry in self.index["shards"])

    @property
    def dtype(self) -> np.dtype:
        """Dtype of a record."""
        settings = self.settings
        return record_dtype(settings["vocab_size"], settings["max_length"], settings["target"], settings["weighted"])

    def checksum(self) -> str:
        """Return a checksum of the whole content."""
        content = [self.settings, [entry["sha256"] for entry in self.index["shards"]]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def counts(self) -> np.ndarray:
        """Return the number of occurrences of each token id, int64 [V]."""
        path = self.folder / COUNTS_FILE
        with reading(path, "array of token counts"):
            counts = np.load(path, allow_pickle=False)
            if counts.dtype != np.int64 or counts.shape != (self.settings["vocab_size"],):
                raise CheckpointError(f"{path} must be int64 [{self.settings['vocab_size']}], got {counts.shape}.")
            return counts

    def part(self, entry: Mapping[str, Any]) -> ShardPart:
        """Return the features of a file.

        Args:
            entry: Its entry in the index.

        Raises:
            CheckpointError: The file has other records than the index says.
        """
        path = self.folder / entry["file"]
        with reading(path, "token shard"):
            records = np.load(path, mmap_mode="r", allow_pickle=False)
            if records.dtype != self.dtype or records.shape != (entry["rows"],):
                raise CheckpointError(f"{path} must have {entry['rows']} records of {self.dtype.itemsize} bytes.")
            return ShardPart(path, self.dtype, records.offset, entry["rows"], entry["tokens"])

    def features(self) -> StoredFeatures:
        """Return the features of all files.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        return StoredFeatures([self.part(entry) for entry in self.index["shards"]], self.counts())

    def check(self, task: Task) -> None:
        """Raise InputError if the shards were not prepared for a task, its tokenizer, its labels and its length."""
        settings = self.settings
        length = task.recipe.max_length or settings["max_length"]
        requested = {
            "task": task.name,
            "tokenizer": fingerprint(task.tokenizer),
            "labels": settings["labels"] and label_names(task.config),
            "max_length": min(length, task.config.max_position_embeddings),
        }
        for name, value in requested.items():
            if settings[name] != value:
                found, expected = ("another one", "its own") if name == "tokenizer" else (settings[name], value)
                raise InputError(
                    f"{self.folder} was prepared with {name}: {found}; the run needs {expected}. Prepare the corpus "
                    "for this model and these settings, or change them."
                )
        # A task reads its own records, and those of the task that it extends.
        if settings["target"] and settings["encoding"] not in {kind.__name__ for kind in type(task).__mro__}:
            raise InputError(f"{self.folder} was prepared for distill, where labels may be missing; prepare it again.")


def read_index(folder: Path) -> dict[str, Any]:
    """Return index.json of a folder of token shards.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    path = folder / INDEX_FILE
    index = read_json(path, "the index of token shards")
    with reading(path, "the index of token shards"):
        if (index["format"], index["version"]) != (FORMAT, VERSION):
            raise CheckpointError(f"{path} must have the format {FORMAT!r} in version {VERSION}.")
        for name in ("task", "tokenizer", "vocab_size", "max_length", "target", "weighted", "labels"):
            index["settings"][name]
        for entry in index["shards"]:
            if not SHARD_NAME.fullmatch(entry["file"]) or not entry["rows"] >= 0 or not entry["tokens"] >= 0:
                raise CheckpointError(f"{path} has an impossible entry: {entry}.")
    return index
