"""The command `bench`, with stand-ins for the models, and the choice among results."""

from __future__ import annotations

import json
import os
import shlex
import sys

import pytest

from distilbert_cli import contest, main
from distilbert_cli.bench import Export, commands_of, sentence_of
from distilbert_cli.commands import COMMANDS
from distilbert_cli.contest import Choice, Contestant, Result, choose, list_contestants
from distilbert_cli.turns import Spread, Worker
from distilbert_core import Head
from distilbert_core.pipelines.measuring import Job
from support.paths import TESTS
from support.record_files import write_file

# A process that measures a stand-in: its speed and its rounding depend on backend and dtype.
WORKER = f"""
import sys, time
sys.path.insert(0, {str(TESTS)!r})
import distilbert_core.pipelines
from distilbert_core.errors import InputError
from distilbert_core.pipelines.measuring import main
from support.commands import WordCounter

MILLISECONDS = {{"pt": 30, "tf bfloat16": 1}}

class Slow(WordCounter):
    def __init__(self, name, off):
        self.name, self.off = name, off
    def run(self, **arrays):
        time.sleep(MILLISECONDS.get(self.name, 30) / 1000)
        return {{name: array + self.off for name, array in super().run(**arrays).items()}}

def load(framework, head, source, dtype, **keywords):
    if framework == "flax":
        raise InputError("no such device")
    if (framework, dtype) == ("pt", "bfloat16"):
        sys.exit("ValueError: out of memory")
    return Slow(f"{{framework}} {{dtype}}", 0.5 if dtype == "bfloat16" else 0.0)

distilbert_core.pipelines.load_inference = load
main()
"""
TEXTS = ["good film", "bad film", "good good film", "film"]


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    """Workers that compute the stand-in, with all three backends 'installed'; the folder of files to write."""
    monkeypatch.setattr(contest, "WORKER", (sys.executable, str(write_file(tmp_path / "worker.py", WORKER))))
    for module in ("distilbert_cli.contest", "distilbert_cli.bench"):
        installed = lambda name: "not installed: pip" if name in ("onnx", "openvino", "litert") else None  # noqa: E731
        monkeypatch.setattr(f"{module}.missing_library", installed)
    return tmp_path


def test_contestants_are_compared_and_failures_are_said(stand_ins, capsys):
    file = write_file(stand_ins / "texts.txt", "\n".join([*TEXTS, "a text too many"]) + "\n")
    words = ["bench", "--file", str(file), "--texts", "4", "--rounds", "2", "--seconds", "0"]
    assert main([*words, "--json", str(stand_ins / "out.json")]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "distilbert: note: onnx: not installed: pip",
        "distilbert: note: openvino: not installed: pip",
        "distilbert: note: litert: not installed: pip",
        "distilbert: note: pt bfloat16: failed: ValueError: out of memory",
        "distilbert: note: flax float32: no such device",
        "distilbert: note: flax bfloat16: no such device",
    ]
    first, *rows = out.splitlines()
    assert first.startswith("sst2-tiny, predict, 4 texts; ")
    assert first.endswith("; reference: pt float64")
    assert [row.split("\t")[0] for row in rows[:3]] == ["pt float32", "tf float32", "tf bfloat16"]
    assert [row.split("\t")[-2:] for row in rows[:3]] == [["0.0e+00", "0"], ["0.0e+00", "0"], ["5.0e-01", "0"]]
    results = {one["name"]: one for one in json.loads((stand_ins / "out.json").read_text())["results"]}
    assert results["flax float32"]["problem"] == "no such device"
    fast = results["tf bfloat16"]
    assert fast["turns"] == 2
    assert fast["milliseconds_per_text"]["measured"] == 2 * len(TEXTS)
    assert fast["times_as_fast"]["single"]["smallest"] > 2  # 30 ms and 1 ms, and what the pipeline adds
    assert fast["peak_bytes"] > 1e6
    assert results["pt float32"]["times_as_fast"]["batches"] == {"median": 1.0, "smallest": 1.0, "largest": 1.0}
    commands = [shlex.split(row) for row in rows if row.startswith("  ")]
    assert commands[1] == [
        *shlex.split("distilbert predict --model sst2-tiny --backend tf --dtype bfloat16 --file"),
        str(file),
    ]
    for _, name, *options in commands:
        COMMANDS[name].make_context(name, options)  # raises for an unknown option
    advised = json.loads((stand_ins / "out.json").read_text())["advice"]
    assert [line for one in advised for line in one["commands"]] == [shlex.join(words) for words in commands]


def test_nothing_that_can_be_measured_is_an_error(stand_ins, capsys):
    assert main(["bench", "--backends", "flax", "--rounds", "1"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[0] == "distilbert: note: flax float32: no such device"
    assert err[-1].startswith("distilbert: error: None of 2 contestants could be measured")
    assert main(["bench", "--backends", "onnx", "--dtypes", "float64"]) == 1
    assert "nothing to compare" in capsys.readouterr().err


def test_a_plot_without_matplotlib_is_refused_before_the_measurements(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(contest, "WORKER", ())
    assert main(["bench", "--png", "bench.png"]) == 1
    assert 'pip install "distilbert[finetune]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--column", "x"], "--column needs --file"),
        (["--texts", "3"], "--texts needs --file"),
        (["--backends", "pt,mxnet"], "write some of pt, tf, flax, onnx, openvino, litert, separated by commas"),
        (["--dtypes", "int8"], "write some of float32, bfloat16, float16, float64"),
        (["--json", "x.txt"], "x.txt must end in .json"),
        (["--png", "x.pdf"], "x.pdf must end in .png"),
    ],
)
def test_wrong_usage(words, message, capsys):
    assert main(["bench", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


# -- the choice -------------------------------------------------------------------------------------------------------


def result(name, speeds, milliseconds, relative=0.0, model="m"):
    backend, dtype = name.split()
    latencies = [[value / 1000] for value in milliseconds]
    return Result(Contestant(backend, dtype, model), speeds=speeds, latencies=latencies, relative=relative)


def test_rounded_numbers_are_advised_only_if_they_were_faster_in_every_turn():
    exact = result("pt float32", [100, 100], [10, 10])
    faster, sometimes = (
        result("pt bfloat16", [150, 120], [12, 12], 0.01),
        result("tf bfloat16", [90, 160], [5, 20], 0.01),
    )
    choices = choose([exact, faster, sometimes])
    assert [(choice.goal, choice.result.name) for choice in choices] == [
        ("batches", "pt float32"),
        ("batches", "pt bfloat16"),
        ("single", "pt float32"),
    ]
    assert choices[1].gain == Spread(1.35, 1.2, 1.5)
    assert [choice.result.name for choice in choose([exact, sometimes])] == ["pt float32", "pt float32"]
    assert [choice.result.name for choice in choose([faster])] == ["pt bfloat16", "pt bfloat16"]


def test_the_best_and_those_that_were_as_fast_in_a_turn():
    slow, best = result("pt float32", [9, 9], [9, 9]), result("tf float32", [30, 20], [3, 2])
    near = result("flax float32", [20, 21], [4, 3])
    batches, single = choose([slow, best, near])
    assert (batches.result, batches.equal) == (best, (near,))
    assert (single.result, single.equal) == (best, ())
    assert (
        sentence_of(batches, 4, "logits")
        == "Most texts per second: tf float32, 25 (in some turns as fast: flax float32):"
    )
    assert sentence_of(single, 4, "logits") == "Shortest time of one text: tf float32, 2.5 ms:"


def test_the_sentence_of_rounded_numbers():
    rounded = result("pt bfloat16", [200, 200], [9, 9], 0.01)
    rounded.difference, rounded.changed = 0.02, 1
    line = sentence_of(Choice("batches", rounded, gain=Spread(2, 1.5, 2.5)), 78, "logits")
    assert line.endswith(
        "pt bfloat16, 200, 2.00 (1.50 to 2.50) times as fast, but logits off by 2.0e-02, 1 of 78 answers changed:"
    )


def test_differences_to_the_reference():
    one = Result(Contestant("pt", "float32", "m"))
    one.compare([[0.0, 1.0], [2.0, 1.0]], [[0.0, 1.0], [1.0, 2.0]], labels=True)
    assert (one.difference, one.relative, one.changed) == (1.0, 0.5, 1)
    assert one.rounds_off
    one.compare([[0.0, 1.00001]], [[0.0, 1.0]], labels=False)
    assert not one.rounds_off
    one.compare([[0.0, 1.0, 2.0]], [[0.0, 1.0]], labels=True)
    assert one.problem.startswith("its outputs have other shapes")


def test_a_folder_of_an_exported_model_is_not_exported_again():
    found = list_contestants(["pt", "onnx", "openvino"], ["float32", "bfloat16"], "m", True, ["./int8"])
    assert [(one.name, one.model) for one in found] == [
        ("pt float32", "m"),
        ("pt bfloat16", "m"),
        ("onnx float32", "m"),
        ("openvino float32", "m"),
        ("openvino bfloat16", "m"),
        ("onnx float32 ./int8", "./int8"),
        ("openvino float32 ./int8", "./int8"),
        ("openvino bfloat16 ./int8", "./int8"),
    ]


def test_a_runtime_competes_where_a_folder_has_its_files(tmp_path):
    write_file(tmp_path / "model.tflite", "")
    found = list_contestants(["onnx", "litert"], ["float32"], "m", False, [str(tmp_path)])
    assert [(one.name, one.model) for one in found] == [
        ("onnx float32", None),
        (f"litert float32 {tmp_path}", str(tmp_path)),
    ]


def test_the_advice_exports_the_model_first():
    job = Job("text-classification", "me/my model", "", "", ["x"], revision="v1", batch_tokens=64)
    export = Export("me/my model", "v1", Head.SEQUENCE_CLASSIFICATION)
    lines = commands_of(Choice("single", result("onnx float32", [1], [1], model=None)), job, export, None, "text")
    assert lines == [
        "distilbert convert --to onnx --dtype float32 --head DistilBertForSequenceClassification --revision v1 "
        "'me/my model' './my model-onnx'",
        "distilbert predict --model './my model-onnx' --backend onnx --batch-tokens 64",
    ]
    for line in lines:
        _, name, *options = shlex.split(line)
        COMMANDS[name].make_context(name, options)


# -- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise ValueError('no such model')", "failed: ValueError: no such model"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed: signal 9"),
        ("raise SystemExit(3)", "failed: exit status 3"),
    ],
)
def test_the_reason_why_a_process_ended(code, problem):
    with Worker([sys.executable, "-c", code], job={"a": 1}) as worker:
        assert worker.started == {"problem": problem}


def test_a_process_that_does_not_start_is_ended():
    with Worker([sys.executable, "-c", "import time; time.sleep(600)"], patience=1) as worker:
        assert worker.started == {"problem": "it took longer than 1 s to start"}
    assert worker.process.poll() is not None


def test_a_process_is_stopped_between_its_turns():
    code = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"
    with Worker([sys.executable, "-c", code], job={"turn": 1}) as worker:
        assert worker.started == {"turn": 1}
        _, status = os.waitpid(worker.process.pid, os.WUNTRACED)  # waits until it is stopped
        assert os.WIFSTOPPED(status)
        assert worker.turn({"turn": 2}) == {"turn": 2}
    assert worker.process.poll() is not None
