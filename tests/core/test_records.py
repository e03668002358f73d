"""What training asks of files of records, beside what the commands ask (test_cli.py)."""

from __future__ import annotations

import pytest
from record_files import write_file

from distilbert_core import InputError
from distilbert_core.records import column_names, file_kind, parse_records


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", '\ufeffn,"a, b",Füße\r\n1,2,3\r\n', ["n", "a, b", "Füße"]),
        ("a.csv.gz", "text\n", ["text"]),
        ("a.csv", "", []),
        ("a.csv", "a\rb,c\n", []),  # which is an error when it is read
        ("a.tsv", 'n\t"a, b"\n1\t2\n', ["n", '"a, b"']),
        ("a.jsonl", '\n \n{"b": 1, "a": [2]}\n{"c": 3}\n', ["b", "a"]),
        ("a.jsonl.gz", '{"a": 1}', ["a"]),
        ("a.jsonl", "", []),
        ("a.jsonl", "{", []),
        ("a.jsonl", "5", []),
        ("a.txt", "anything\n", ["text"]),
        ("a", "", ["text"]),
    ],
)
def test_column_names(tmp_path, name, content, expected):
    assert column_names(write_file(tmp_path / name, content)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.tsv", ".tsv"), ("b.v2.tsv.gz", ".tsv"), ("a.json", ".json"), ("a.gz", ""), ("a.d/b", ""), ("b", "")],
)
def test_the_kind_of_a_file_is_in_its_name(tmp_path, name, expected):
    assert file_kind(tmp_path / name) == expected


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_columns_of_a_file_that_cannot_be_read(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} cannot be read: .*No such file"):
        column_names(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} must be UTF-8, but line 1 has the byte 0xef at position 2"):
        column_names(write_file(tmp_path / name, b"a\xefb"))


def test_values_of_any_type(tmp_path):
    path = write_file(tmp_path / "a.jsonl", '{"a": ["x"], "b": 0.5}\n\n{"b": null, "a": {"c": true}}')
    assert list(parse_records(path, ["b", "a"])) == [(0.5, ["x"]), (None, {"c": True})]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t")])
def test_a_carriage_return_within_a_line(tmp_path, name, separator):
    content = f"a{separator}b\n1{separator}2\nx\ry{separator}z\n"
    with pytest.raises(InputError, match=rf"{name} line 3 cannot be read \(new-line character"):
        list(parse_records(write_file(tmp_path / name, content), ["a", "b"]))
    with pytest.raises(InputError, match=rf"{name} line 1 cannot be read \(new-line character"):
        parse_records(write_file(tmp_path / name, "a\rb\n"), ["a"])
