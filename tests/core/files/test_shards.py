"""Shards: sizes, the split of arrays, and the index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert_core import CheckpointError
from distilbert_core.files.shards import parse_size, read_index, render_index, shard_name, split_by_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1, 1),
        (5_000_000_000, 5_000_000_000),
        (5e9, 5_000_000_000),
        ("123", 123),
        ("7B", 7),
        ("10KB", 10_000),
        ("300MB", 300_000_000),
        ("5GB", 5_000_000_000),
        ("1KiB", 1024),
        ("2MiB", 2 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("5 gb", 5_000_000_000),
        (" 5gb", 5_000_000_000),
    ],
)
def test_sizes(text: int | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "B", "5TB", "5GG", "1BB", "five", "-5GB", "0", "0.5B", "inf", "nan", 0, -1, None, True]
)
def test_impossible_sizes(text: Any) -> None:
    with pytest.raises(ValueError, match=f"^A size must be a number of bytes or a text such as '5GB', got {text!r}"):
        parse_size(text)


@pytest.mark.parametrize(
    ("limit", "shards"),
    [
        (15, [["a", "b", "c"]]),
        (14, [["a", "b"], ["c"]]),
        (5, [["a"], ["b"], ["c"]]),
        (1, [["a"], ["b"], ["c"]]),
    ],
)
def test_arrays_are_split_in_order(limit: int, shards: list[list[str]]) -> None:
    arrays = {"a": np.zeros(3, np.int8), "b": np.zeros(5, np.int8), "c": np.zeros(7, np.int8)}
    assert list(split_by_size(arrays, limit)) == shards


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = [shard_name("model.fp16.safetensors", number, 2) for number in (1, 2)]
    assert files == ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"]
    shards = dict(zip(files, ({"a", "b"}, {"c"}), strict=True))
    path = tmp_path / "index.json"
    path.write_bytes(render_index(shards, 15))
    assert read_index(path) == shards
    assert json.loads(path.read_text())["metadata"] == {"total_size": 15}


@pytest.mark.parametrize(
    ("weight_map", "reason"),
    [
        ({}, "it lists no shards"),
        ([], "AttributeError"),
        ({"a": None}, "None is not the name of a file beside it"),
        ({"a": "../x"}, "'../x' is not the name of a file beside it"),
        ({"a": "/x"}, "'/x' is not the name of a file beside it"),
    ],
)
def test_an_impossible_index(weight_map: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=rf"index\.json is not a valid index of shards \(.*{reason}"):
        read_index(path)
