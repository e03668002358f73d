"""The command as a whole: errors, exit codes, tokens, help, and completion."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from functools import partial

import pytest

from distilbert_cli import main
from distilbert_cli.commands import COMMANDS
from distilbert_core import DEFAULT_MODEL
from support.commands import COMMAND, stand_in_stdin
from support.fences import Block, all_blocks, blocks_of, command_lines
from support.processes import fresh_python
from support.record_files import write_file

# -- errors and ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "A text", "--file", "texts.txt"], "Give texts or --file, not both."),
        (["predict"], "Nothing to read: give a text"),
        (["predict", "--file", "no-such.csv"], "no-such.csv cannot be read"),
        (["predict", "x", "--model", "./nothing/here"], "The folder ./nothing/here does not exist"),
        (["fill-mask", "x [MASK]", "--model", DEFAULT_MODEL], "fill-mask cannot use"),
        (["tag", "x", "--model", DEFAULT_MODEL], "token-classification cannot use"),
        (["answer", "x", "--context", "y", "--model", DEFAULT_MODEL], "question-answering cannot use"),
        (["answer", "x", "--context-file", "no-such.txt", "--model", DEFAULT_MODEL], "no-such.txt cannot be read"),
        (["choose", "x", "y", "z", "--model", DEFAULT_MODEL], "multiple-choice cannot use"),
        (["tokenize", "x", "--model", "./nothing/here"], "The folder ./nothing/here does not exist"),
        (["tokenize", "x", "--output", "folder.csv/out.csv"], "folder.csv"),
        (["info", "./nothing/here"], "The folder ./nothing/here does not exist"),
    ],
)
def test_an_error_is_one_line(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").write_text("a file")
    stand_in_stdin(monkeypatch, b"", terminal=True)
    backend = ["--backend", "pt"] if "--model" in arguments and arguments[0] != "tokenize" else []
    assert main([*arguments, *backend]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("distilbert: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "No such command 'train'"),
        ([], "Missing command"),
        (
            ["predict", "x", "--backend", "mxnet"],
            "'mxnet' is not one of 'pt', 'tf', 'flax', 'onnx', 'openvino', 'lit",
        ),
        (["predict", "x", "--output", "x.npy"], "x.npy must end in .jsonl or .csv"),
        (["predict", "x", "--top-k", "0"], "0 is not in the range x>=1"),
        (["predict", "x", "--backend", "all", "--output", "x.csv"], "--backend all cannot be combined with --top-k"),
        (["predict", "x", "--pair-column", "second"], "--pair-column needs --file"),
        (["predict", "x", "--top-k", "1", "--all-scores"], "--top-k cannot be combined with --all-scores"),
        (["predict", "x", "--backend", "all", "--column", "text"], "--column needs --file"),
        *(
            ([name, "x", "--column", "review", *model], "--column needs --file")
            for name, model in [
                ("predict", []),
                ("fill-mask", ["--model", "m"]),
                ("tag", ["--model", "m"]),
                ("embed", []),
                ("tokenize", []),
            ]
        ),
        (["predict", "x", "--json", "--output", "x.csv"], "--json cannot be combined with --output x.csv; write"),
        (["embed", "x", "--output", "x.npy", "--json"], "--json cannot be combined with --output x.npy; write"),
        (["answer", "x", "--model", "m"], "Give either --context or --context-file"),
        (
            ["answer", "x", "--model", "m", "--context", "c", "--context-file", "f"],
            "Give either --context or --context-file",
        ),
        *(
            (["answer", "--file", "f.csv", "--model", "m", option, "x"], f"{option} needs a QUESTION; a file has a col")
            for option in ("--context", "--context-file")
        ),
        (["answer", "x", "--context", "c", "--model", "m", "--context-column", "c"], "--context-column needs --file"),
        (["choose", "x", "y", "--model", "m"], "Give a prompt and at least two choices"),
        (["choose", "x", "y", "z", "--model", "m", "--choice-column", "c"], "--choice-column needs --file"),
        (["embed", "x", "--pooling", "none", "--no-normalize"], "--no-normalize needs --pooling mean or cls"),
        (["embed", "x", "--output", "x.csv"], "x.csv must end in .npy or .jsonl"),
        (["embed", "x", "--pooling", "none", "--output", "x.npy"], "--pooling none returns a matrix"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("Usage: distilbert")
    assert message in " ".join(error.split())


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("distilbert 0.")


def test_a_closed_pipe_is_not_an_error(tmp_path):
    file = write_file(tmp_path / "a.txt", "a line\n" * 20_000)  # far more than a pipe holds
    arguments = ["tokenize", "--json", "--file", str(file)]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["text"] == "a line"
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == b""


def test_an_interrupt_ends_quietly():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell ignores it
    with subprocess.Popen([*COMMAND, "tokenize", "--json"], **pipes, preexec_fn=heed) as process:
        process.stdin.write(b"x\n" * 3)  # and no end: it waits for more
        process.stdin.flush()
        assert [json.loads(process.stdout.readline())["text"] for _ in range(3)] == ["x"] * 3
        for _ in range(12):  # a signal between Python's check and its wait for input is heeded at the next one only
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
                break
        assert process.returncode == 130
        assert process.stderr.read() == b""


# -- tokenize, help, completion ------------------------------------------------------------------------------


def examples(name: str) -> list[list[str]]:
    """Return the words of each example at the end of the printed help of a command."""
    lines = subprocess.run([*COMMAND, name, "--help"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [shlex.split(line) for line in lines[lines.index("  Example:") + 1 :]]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_examples(name):
    assert examples(name)
    for words in examples(name):
        assert words[:2] == ["distilbert", name]
        COMMANDS[name].make_context(name, words[2:])  # raises for an unknown option


def test_the_commands_are_imported_when_they_are_called():
    code = "import sys; from distilbert_cli import main; main(['--help']); print(*sys.modules)"
    *shown, modules = fresh_python(code).splitlines()
    for name, command in COMMANDS.items():
        assert f"  {name:9}  {command.short_help}" in shown
    imported = set(modules.split())
    assert not imported & {"weight_conversion", *(f"distilbert_cli.{command.module}" for command in COMMANDS.values())}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_is_that_of_the_command(name):
    assert COMMANDS[name].get_short_help_str() == COMMANDS[name].load().get_short_help_str()


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in ("scan", "migrate")]
)  # the others load a checkpoint
def test_every_command_takes_a_revision(name):
    assert "revision" in [parameter.name for parameter in COMMANDS[name].load().params]


@pytest.mark.parametrize("name", ["tokenize", "info"])
def test_examples_without_a_backend(name, capsys):
    for words in examples(name):
        assert main(words[1:]) == 0
        assert capsys.readouterr().out


DOCUMENTED = [line for _, block in all_blocks() for line in command_lines(block) if not line.endswith("--help")]


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_command_lines_are_understood(line):
    _, name, *words = shlex.split(line, comments=True)
    COMMANDS[name].make_context(name, words)  # raises for an unknown option


def test_the_lines_of_a_block():
    text = """
```bash
# distilbert with more devices
pip install "distilbert[pt]" && .venv/bin/distilbert info x    # a comment
cat a.txt | distilbert tokenize --json > b.jsonl
CUDA_VISIBLE_DEVICES= distilbert convert \\
    a b
```
"""
    (block,) = blocks_of(text)
    assert list(command_lines(block)) == [
        "distilbert info x",
        "distilbert tokenize --json",
        "distilbert convert      a b",
    ]
    assert not list(command_lines(Block("python", block.code)))


def complete(line: str) -> list[str]:
    """Return what a shell is told that the last word of a line may become."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    asked = {"_DISTILBERT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    shell = {**os.environ, **asked}
    return subprocess.run(COMMAND, env=shell, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("distilbert to", ["plain,tokenize"]),
        (
            "distilbert predict --backend ",
            [f"plain,{name}" for name in ("pt", "tf", "flax", "onnx", "openvino", "litert", "all")],
        ),
        ("distilbert embed --model ss", ["dir,ss", f"plain,{DEFAULT_MODEL}"]),
        ("distilbert info x", ["dir,x"]),
        ("distilbert tag --aggregation a", ["plain,average"]),
    ],
)
def test_completion(line, expected):
    assert complete(line) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    asked = {**os.environ, "_DISTILBERT_COMPLETE": f"{shell}_source"}
    script = subprocess.run(COMMAND, env=asked, capture_output=True, text=True, check=True).stdout
    assert f"_DISTILBERT_COMPLETE={shell}_complete" in script


def test_completion_in_bash(tmp_path):
    program = tmp_path / "distilbert"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(_DISTILBERT_COMPLETE=bash_source distilbert)"
        complete_words() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _distilbert_completion distilbert
            echo "${COMPREPLY[@]}"
        }
        complete_words distilbert embed --model ss
        complete_words distilbert fill-mask --backend f
    """
    path = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    shell = subprocess.run(["bash", "-c", script], env=path, capture_output=True, text=True)
    assert shell.stdout.split() == [DEFAULT_MODEL, "flax"]


def test_help_imports_nothing_heavy():
    code = "import sys; from distilbert_cli import main; main(['predict', '--help']); print(*sys.modules)"
    loaded = set(fresh_python(code).splitlines()[-1].split())
    assert "distilbert_cli.predict" in loaded
    assert not loaded & {"rich", "huggingface_hub", "safetensors", "distilbert_core.pipelines", "torch", "keras", "jax"}
