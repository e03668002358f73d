"""Files of records as training reads them; tests/cli/test_readers.py reads them as the commands do."""

from __future__ import annotations

import pytest

from distilbert_core import InputError
from distilbert_core.files.records import column_names, file_kind, parse_records
from support.record_files import write_file


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", '\ufeffn,"a, b",Füße\r\n1,2,3\r\n', ["n", "a, b", "Füße"]),
        ("a.csv.gz", "text\n", ["text"]),
        ("a.csv", "", []),
        ("a.csv", "a\rb,c\n", []),  # which is an error when it is read
        ("a.tsv", 'n\t"a, b"\n1\t2\n', ["n", '"a, b"']),
        ("a.csv", '"two\nlines",b\n1,2\n', ["two\nlines", "b"]),
        ("a.jsonl", '\n \n{"b": 1, "a": [2]}\n{"c": 3, "b": 2}\n', ["b", "a", "c"]),
        ("a.ndjson", '{"b": 1}\n{', ["b"]),
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
    [
        ("a.tsv", ".tsv"),
        ("b.v2.tsv.gz", ".tsv"),
        ("a.CSV", ".csv"),
        ("a.Tsv.GZ", ".tsv"),
        ("a.json", ".json"),
        ("a.gz", ""),
        ("a.d/b", ""),
        ("b", ""),
    ],
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


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        # An empty line is an empty text where it can be one, but at the end of the file.
        ("a.csv", "text\n\none\n\n\ntwo\n\n", ["", "one", "", "", "two"]),
        ("a.tsv", "text\n\none\r\n\r\ntwo", ["", "one", "", "two"]),
        ("a.csv", 'text\n""\none\n', ["", "one"]),
        ("a.csv", "text,n\none,1\n\ntwo,2\n", ["one", "two"]),
        # Other names of the same kinds.
        ("A.CSV", 'text\n"one, two"\n', ["one, two"]),
        ("a.TSV.GZ", "text\none\n", ["one"]),
        ("a.ndjson", '{"text": "one"}\n', ["one"]),
    ],
)
def test_texts_of_a_file(tmp_path, name, content, expected):
    path = write_file(tmp_path / name, content)
    assert list(parse_records(path, ["text"])) == [(text,) for text in expected]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,n,text\na,1,b\n", r"a\.csv has several columns 'text'; its columns are 'text', 'n', 'text'\."),
        ("a.tsv", "text\ttext\na\tb\n", r"a\.tsv has several columns 'text'; its columns are 'text', 'text'\."),
        ("a.csv", 'text\n"one\ntwo\nthree\n', r"a\.csv line 4 cannot be read \(unexpected end of data\)\."),
        ("a.csv", 'text\n"one" two\n', r"a\.csv line 2 cannot be read \(',' expected after '\"'\)\."),
        ("a.json", '[{"text": "a"}]', r"a\.json cannot be read as records: give a \.jsonl file, with one JSON object"),
    ],
)
def test_files_that_would_be_read_as_something_else(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        list(parse_records(write_file(tmp_path / name, content), ["text"]))


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t")])
def test_a_carriage_return_within_a_line(tmp_path, name, separator):
    content = f"a{separator}b\n1{separator}2\nx\ry{separator}z\n"
    with pytest.raises(InputError, match=rf"{name} line 3 cannot be read \(new-line character"):
        list(parse_records(write_file(tmp_path / name, content), ["a", "b"]))
    with pytest.raises(InputError, match=rf"{name} line 1 cannot be read \(new-line character"):
        parse_records(write_file(tmp_path / name, "a\rb\n"), ["a"])
