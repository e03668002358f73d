"""JSON files: within limits, in UTF-8, without half characters; every fault names the file."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from distilbert_core.errors import CheckpointError, CheckpointWarning, InputError
from distilbert_core.files.json_files import parse_json, read_content, read_json
from distilbert_core.files.limits import LIMITS

FAULTS = {
    "empty": (b"", "is not valid JSON"),
    "cut": (b'{"a": 1', "is not valid JSON"),
    "BOM": (b"\xef\xbb\xbf{}", r"is not valid JSON \(.*BOM"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), r"is not valid JSON \(it is not UTF-8: byte 0xff at position 1\)"),
    "not UTF-8": (b'{"a": "\xe9"}', r"it is not UTF-8: byte 0xe9 at position 8"),
    "NUL": (b'{"a": "\0"}', "is not valid JSON"),
    "half of a pair": (rb'{"a": "\ud83d"}', r"it has half of a surrogate pair, '\\ud83d'"),
    "half of a pair in a key": (rb'{"\uDC00": 1}', "it has half of a surrogate pair"),
    "long number": (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON"),
    "nested": (b'{"a":' * 70 + b"1" + b"}" * 70, "has more than 64 levels of JSON"),
    "nested deeply": (b"[" * 200_000, "it is nested too deeply"),
    "list": (b"[]", "must hold a JSON object, got list"),
    "many values": (b'{"a": [' + b"[]," * 700_000 + b"[]]}", "values in JSON, at most 700000 are allowed"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_error_that_names_the_file(name: str, tmp_path: Path) -> None:
    content, message = FAULTS[name]
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_characters_of_two_halves_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": "\U0001f600"}))
    assert rb"\ud83d\ude00" in path.read_bytes()
    assert read_json(path) == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"dim": 8, "n": {"dim": 1}, "dim": 9}', "'dim': the last"),
        ('{"a": [{"b": 1, "b": true}, {"c": "", "c": null}]}', "'b', 'c': the last"),
        ("{" + ", ".join(f'"{n % 5}": {n}' for n in range(10)) + "}", "'0', '1', '2' and 2 more: the last"),
        ('{"' + "k" * 5000 + '": 1, "' + "k" * 5000 + '": 2}', r"'k+ \.\.\. k+'"),
    ],
)
def test_a_key_with_several_values_is_a_warning(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.warns(CheckpointWarning, match=rf"a\.json has several values for {message}") as caught:
        assert read_json(path) == json.loads(content)
    assert len(caught) == 1
    assert len(str(caught[0].message)) < 500


def test_a_value_twice_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, {"b": 0.5}], "c": null, "a": [1, {"b": 0.5}], "c": null}')
    assert read_json(path) == {"a": [1, {"b": 0.5}], "c": None}
    assert parse_json("a.jsonl", '{"a": 1, "a": 2}', InputError, "line") == {"a": 2}


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(LIMITS["json_bytes"].most + 1)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"a\.json has 67108865 bytes of JSON, at most 67108864 are allowed"):
            read_content(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "message"), [("missing", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"cannot be read as a JSON object: {message}") as caught:
        read_json(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


def test_the_type_of_the_error_can_be_chosen() -> None:
    with pytest.raises(InputError, match=r"^a\.jsonl line 1 is not valid JSON"):
        parse_json("a.jsonl line 1", "{", InputError)
    with pytest.raises(InputError, match="half of a surrogate pair"):
        parse_json("a.jsonl line 1", '"\ud800"', InputError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "the key 'a' is repeated"),
        ('[{"a": NaN}]', "NaN is not a number of JSON"),
        ("-Infinity", "-Infinity is not a number of JSON"),
    ],
)
def test_strict_json_refuses_what_the_standard_leaves_open(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_json("The body", text, InputError, strict=True)
    parse_json("a file", text)
