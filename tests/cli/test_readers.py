"""Files and standard input as rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilbert_cli.readers import read_records, read_texts, read_whole
from distilbert_core import InputError
from support.commands import stand_in_stdin
from support.record_files import write_file

ROWS = [("Füße", "one, two"), ('say "so"', "")]
FILES = {
    "lines.txt": ("first\n\n third \r\nlast", ["text"], [("first",), ("",), (" third ",), ("last",)]),
    "no-suffix": ("only", ["text"], [("only",)]),
    "unusual.log.gz": ("packed\n", ["text"], [("packed",)]),
    "table.csv": ('n,a,b\n1,Füße,"one, two"\n\n2,"say ""so""",\n', ["a", "b"], ROWS),
    "mark.csv": ('\ufeffb,a\r\n"one, two",Füße\r\n,"say ""so"""\r\n', ["a", "b"], ROWS),
    "lines-in-cells.csv": ('text\n"two\nlines"\n', ["text"], [("two\nlines",)]),
    "long.csv": ("text\n" + "x" * 200_000 + "\n", ["text"], [("x" * 200_000,)]),
    "table.tsv": ('a\tb\nFüße\tone, two\nsay "so"\t\n', ["a", "b"], ROWS),
    "table.tsv.gz": ('b\ta\none, two\tFüße\n\tsay "so"\n', ["a", "b"], ROWS),
    "table.jsonl": (
        '{"a": "F\\u00fc\\u00dfe", "n": 1, "b": "one, two"}\n\n{"b": "", "a": "say \\"so\\""}',
        ["a", "b"],
        ROWS,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path, name):
    content, columns, expected = FILES[name]
    assert list(read_records([], write_file(tmp_path / name, content), columns)) == expected


def test_lists_in_a_file_are_read_on_request(tmp_path):
    file = write_file(tmp_path / "a.jsonl", '{"prompt": "p", "choices": ["a", "b"]}')
    assert list(read_records([], file, ["prompt", "choices"], lists=True)) == [("p", ["a", "b"])]
    with pytest.raises(InputError, match=r"a\.jsonl: column 'choices' of record 1 must be a text, got list"):
        read_records([], file, ["prompt", "choices"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "a.txt is empty: it holds no input"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "text,label\n", "a.csv is empty"),
        ("a.jsonl", "\n \n", "a.jsonl is empty"),
        ("a.csv", "review,label\nx,1\n", "a.csv has no column 'text'; its columns are 'review', 'label'"),
        ("a.tsv", "text,label\nx,1\n", "a.tsv has no column 'text'; its columns are 'text,label'"),
        ("a.csv", "text,label\nx\n", "a.csv line 2 must have 2 columns, got 1"),
        ("a.jsonl", '{"review": "x"}', "a.jsonl line 1 has no column 'text'; it has 'review'"),
        ("a.jsonl", '{"text": ', "a.jsonl line 1 is not valid JSON"),
        ("a.jsonl", '["text"]', "a.jsonl line 1 must be a JSON object, got list"),
        ("a.jsonl", '{"text": 5}', "a.jsonl: column 'text' of record 1 must be a text, got int"),
        ("a.txt", b"na\xefve", "a.txt must be UTF-8, but line 1 has the byte 0xef at position 3"),
        ("a.csv", "text\nx\n".encode("utf-16"), "a.csv must be UTF-8, but line 1 has the byte 0xff at position 1"),
        ("a.txt.gz", None, "a.txt.gz cannot be read: Not a gzipped file"),
        ("a-folder/", None, "cannot be read: "),
        ("missing.txt", None, r"missing\.txt cannot be read: .*No such file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    elif content is not None:
        write_file(path, content)
    elif name.endswith(".gz"):
        path.write_bytes(b"plain")
    with pytest.raises(InputError, match=message):
        read_texts([], path)


def test_a_file_of_lines_has_one_column(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt has lines and no columns, so no 'review'; give a \.csv"):
        read_texts([], write_file(tmp_path / "a.txt", "x"), "review")


def test_a_file_is_read_lazily(tmp_path):
    texts = read_texts([], write_file(tmp_path / "a.txt", b"one\ntwo\n\xff\n"))
    assert [next(texts), next(texts)] == ["one", "two"]
    with pytest.raises(InputError, match="line 3 has the byte 0xff at position 1"):
        next(texts)


def test_standard_input(monkeypatch):
    stand_in_stdin(monkeypatch, "Grüße\nzwei".encode())
    assert list(read_texts([], None)) == ["Grüße", "zwei"]
    for content, message in ((b"", "standard input is empty"), (b"\xff", "standard input must be UTF-8, but line 1")):
        stand_in_stdin(monkeypatch, content)
        with pytest.raises(InputError, match=message):
            read_texts([], None)


def test_a_whole_file(tmp_path, monkeypatch):
    assert read_whole(write_file(tmp_path / "a.txt", "one\ntwo\n")) == "one\ntwo\n"
    stand_in_stdin(monkeypatch, b"from elsewhere")
    assert read_whole(Path("-")) == "from elsewhere"
    with pytest.raises(InputError, match=r"a\.txt is empty"):
        read_whole(write_file(tmp_path / "a.txt", " \n"))
