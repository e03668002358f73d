"""Records on a terminal, in a pipe, and in files."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest

from distilbert_cli.writers import Columns, write
from distilbert_core import InputError

COLUMNS = Columns(("number", "text", "word", "score"), "words")
RECORDS = [
    {"text": "a\tb\nc, d", "words": [{"word": "[MASK]", "score": 0.25}, {"word": "Füße", "score": 2 / 3}]},
    {"text": "none", "words": []},
    {"text": "x", "words": [{"word": "y", "score": 1.0}]},
]
ROWS_OF_RECORDS = [[1, "a\tb\nc, d", "[MASK]", 0.25], [1, "a\tb\nc, d", "Füße", 2 / 3], [3, "x", "y", 1.0]]


def test_rows_of_records():
    assert list(COLUMNS.rows(RECORDS)) == ROWS_OF_RECORDS
    assert list(Columns(("text",), "words").rows([{"text": "no list: one row"}])) == [["no list: one row"]]


def test_lines_in_a_pipe(capsys):
    write(RECORDS, COLUMNS, None, as_json=False)
    assert capsys.readouterr().out == "1\ta b c, d\t[MASK]\t0.2500\n1\ta b c, d\tFüße\t0.6667\n3\tx\ty\t1.0000\n"


def test_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")  # no colours
    write(RECORDS, COLUMNS, None, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["number", "text", "word", "score"] in lines
    assert ["3", "x", "y", "1.0000"] in lines
    assert any("[MASK]" in line for line in lines)  # which is not taken for markup


def test_json_lines(capsys):
    write(RECORDS, COLUMNS, None, as_json=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == RECORDS


def test_files_that_are_written(tmp_path):
    write(iter(RECORDS), COLUMNS, tmp_path / "a.jsonl", as_json=False)
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    write(iter(RECORDS), COLUMNS, tmp_path / "a.csv", as_json=False)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [[*COLUMNS.names], *([str(cell) for cell in row] for row in ROWS_OF_RECORDS)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 12])
def test_vectors(tmp_path, count, dtype):
    vectors = np.random.default_rng(0).normal(size=(count, 7)).astype(dtype)
    write(({"embedding": row} for row in vectors), Columns(("embedding",)), tmp_path / "a.npy", as_json=False)
    read = np.load(tmp_path / "a.npy")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, vectors)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.npy"])
def test_a_file_appears_whole_or_not_at_all(tmp_path, name):
    def broken():
        yield {**RECORDS[0], "embedding": np.zeros(3)}
        raise InputError("the second line is bad")

    for before in (None, b"what was there"):
        if before:
            (tmp_path / name).write_bytes(before)
        with pytest.raises(InputError, match="the second line is bad"):
            write(broken(), COLUMNS, tmp_path / name, as_json=False)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])
