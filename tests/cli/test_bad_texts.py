"""Texts and places that are not as a command expects: one line of error, no file, no lost row."""

from __future__ import annotations

import gzip
import io
import json
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from distilbert_cli import main
from support.commands import COMMAND, stand_in_stdin

FAULTS: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.txt", b"", "is empty: it holds no input"),
    "surrogates": ("a.txt", b"good\n\xed\xa0\x80\n", "must be UTF-8, but line 2 has the byte 0xed at position 1"),
    "invalid at line 5,001": (
        "a.txt",
        b"good film\n" * 5000 + b"a\xff\n" + b"x\n" * 10,
        "must be UTF-8, but line 5001 has the byte 0xff at position 2",
    ),
    "UTF-16": ("a.txt", "good\n".encode("utf-16"), "must be UTF-8, but line 1 has the byte 0xff"),
    "mixed columns": ("a.csv", b"text,label\ngood,1\nbad\n", "line 3 must have 2 columns, got 1"),
    "an open quotation mark": ("a.csv", b'text\n"good\nbad\n', "line 3 cannot be read"),
    "nested": ("a.jsonl", b'{"text": "a"}\n{"text": ' + b"[" * 100 + b"]" * 100 + b"}\n", "line 2 has more than 64"),
    "nested deeply": (
        "a.jsonl",
        b'{"text": "a"}\n' + b"[" * 100_000,
        "line 2 is not valid JSON (it is nested too deeply)",
    ),
    "half of a pair": ("a.jsonl", rb'{"text": "\ud800"}', "line 1 is not valid JSON (it has half of a surrogate pair"),
    "many digits": ("a.jsonl", b'{"text": ' + b"1" * 5000 + b"}", "line 1 is not valid JSON"),
    "a list as text": ("a.jsonl", b'{"text": ["a"]}', "column 'text' of record 1 must be a text, got list"),
    "many other columns": (
        "a.jsonl",
        json.dumps({f"column {n}" * 99: 1 for n in range(500)}).encode(),
        "line 1 has no column 'text'; it has 'column 0",
    ),
    "a bomb": ("a.txt.gz", gzip.compress(bytes(70 << 20), 9), "line 1 has 67108865 bytes in a line, at most 67108864"),
    "half of a gzip": ("a.txt.gz", gzip.compress(b"good\n" * 1000)[:-20], "cannot be read: "),
}


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit status and standard error of a command."""
    status = main(arguments)
    return status, capsys.readouterr().err


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_file_is_one_line_of_error(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, content, message = FAULTS[name]
    (tmp_path / file).write_bytes(content)
    output = tmp_path / "new" / "out.jsonl"
    status, error = run(["tokenize", "--file", str(tmp_path / file), "--output", str(output)], capsys)
    assert status == 1
    assert error.startswith("distilbert: error: ")
    assert error.count("\n") == 1
    assert len(error) < 1000
    assert message in error
    assert str(tmp_path / file) in error
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [file]  # no part of the output


@pytest.mark.parametrize(
    ("file", "content", "texts"),
    [
        ("a.txt", b"a\0b\n\0\n", ["a\0b", "\0"]),
        ("a.txt", b"\xef\xbb\xbfa\r\nb\r\n\r\nc", ["a", "b", "", "c"]),
        ("a.csv", b'\xef\xbb\xbftext,n\r\n"a ""b""\r\nc",1\r\nd,2\r\n', ['a "b"\r\nc', "d"]),
        ("a.tsv", b'text\tn\n"a\t1\nb"\t2\n', ['"a', 'b"']),
        ("a.jsonl", b'\xef\xbb\xbf{"text": "a\\nb"}\n\n{"n": 1, "text": "\\ud83d\\ude00"}', ["a\nb", "\U0001f600"]),
        ("a.txt", b"x" * 200_000, ["x" * 200_000]),
        ("a.txt", b"".join(b"%d\n" % n for n in range(3000)), [str(n) for n in range(3000)]),
    ],
)
def test_every_row_in_its_order(file: str, content: bytes, texts: list[str], tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    assert main(["tokenize", "--file", str(tmp_path / file), "--output", str(tmp_path / "out.jsonl")]) == 0
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["text"] for line in lines if line] == texts


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    for arguments in (["tokenize"], ["answer", "Who?", "--context-file", "-"]):
        status, error = run(arguments, capsys)
        assert (status, error) == (1, "distilbert: error: standard input is closed: give a text, or a file.\n")


def test_closed_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    status, error = run(["tokenize", "good"], capsys)
    assert (status, error) == (1, "distilbert: error: standard output is closed: give --output.\n")


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_standard_output(
    more: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in_stdin(monkeypatch, b"good film\n" * 3000)
    full = io.TextIOWrapper(Path("/dev/full").open("wb"), encoding="utf-8")  # noqa: SIM115 - closing it fails
    monkeypatch.setattr(sys, "stdout", full)
    status, error = run(["tokenize", *more], capsys)
    with suppress(OSError):
        full.close()
    assert (status, error) == (
        1,
        "distilbert: error: standard output cannot be written: No space left on device.\n",
    )


@contextmanager
def largest_file(size: int):
    """Context manager: no file may have more than `size` bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_full_disk_keeps_what_was_there(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(b"good film\n" * 3000)
    output = tmp_path / name
    output.write_text("before")
    with largest_file(10_000):
        status, error = run(["tokenize", "--file", str(tmp_path / "a.txt"), "--output", str(output)], capsys)
    assert (status, error) == (1, f"distilbert: error: {output} cannot be written: File too large.\n")
    assert output.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == sorted(["a.txt", name])


def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    status, error = run(["tokenize", "good", "--output", "/proc/out.jsonl"], capsys)  # not even root may
    assert status == 1
    assert error.startswith("distilbert: error: /proc/out.jsonl cannot be written: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["tokenize", "--file", "a\0.txt"], 2, r"'a\x00.txt' has a NUL, which no path can have."),
        (["tokenize", "x", "--output", "a\0.jsonl"], 2, r"'a\x00.jsonl' has a NUL"),
        (["convert", "sst2-tiny", "a\0"], 2, r"'a\x00' has a NUL"),
        (["tokenize", "x", "--model", "a\0b"], 1, r"'a\x00b' is neither a local folder nor a repository"),
        (["tokenize", "--file", "a\udcff.txt"], 1, r"a\udcff.txt cannot be read: "),
        (["tokenize", "x", "--model", "./a\udcff"], 1, r"The folder ./a\udcff does not exist."),
        (["tokenize", "a\udcff"], 1, "A text holds lone surrogates"),
    ],
)
def test_odd_names(arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    actual, error = run(arguments, capsys)
    assert actual == status
    assert message in " ".join(error.split())


def test_a_name_that_is_not_utf8_is_written(tmp_path: Path) -> None:
    output = tmp_path / "a\udcff.jsonl"
    assert main(["tokenize", "x", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["text"] == "x"


def test_sigterm_removes_what_was_begun(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("before")
    arguments = ["tokenize", "--output", str(output)]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, *arguments], **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(b"x\n" * 20_000)
        process.stdin.flush()  # and no end: the command waits for more
        while not list(tmp_path.glob(".*/**/out.jsonl")):
            assert process.poll() is None
        for _ in range(12):  # a signal between Python's check and its wait for input is heeded at the next one only
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
                break
        assert process.returncode in (143, -signal.SIGTERM)
        if process.returncode == 143:
            assert process.stderr.read() == b"distilbert: terminated.\n"
            assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["out.jsonl"]
    assert output.read_text() == "before"
