"""The commands `convert`, `verify` and `diff` without any backend: what they read, print and write, and their errors.

What backends compute is stood in for by numbers that are made here.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import ml_dtypes
import numpy as np
import pytest

from distilbert_cli import main
from distilbert_cli.commands import COMMANDS
from distilbert_core import DEFAULT_MODEL, CheckpointError, Head, InputError
from distilbert_core.files.checkpoint import Checkpoint, save_checkpoint
from support.checkpoints import random_arrays, save_random, small_config
from support.paths import ROOT
from weight_conversion import FORMATS, open_weights
from weight_conversion.verification.charts import BAR_HEIGHT, BOTTOM, HEIGHT, TOP, error_chart, histogram
from weight_conversion.verification.comparing import BLOCK, diff
from weight_conversion.verification.inputs import CHOICES, TEXTS, make_inputs
from weight_conversion.verification.report import render, write_report
from weight_conversion.verification.verifying import Difference, ModelRun, Verification, verify
from weight_conversion.weights import LazyTensor

HEAD = Head.TOKEN_CLASSIFICATION
NAME = "distilbert.transformer.layer.1.ffn.lin1.bias"  # [20]


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a random checkpoint in float32."""
    save_random(tmp_path / "a", small_config(), HEAD, dtype="float32")
    return tmp_path / "a"


def write_changed(folder: Path, change, config=None, dtype="float32") -> Path:
    """Write the same checkpoint after `change` has been done to its arrays."""
    config = config or small_config()
    arrays = random_arrays(config, HEAD, dtype=dtype)
    change(arrays)
    save_checkpoint(folder, arrays, {"config.json": config.to_json_string().encode()})
    return folder


DOCUMENTED = re.findall(
    r"^(distilbert .*)$",
    (ROOT / "docs" / "conversion.md").read_text(encoding="utf-8"),
    re.M,
)


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_command_lines_are_understood(line):
    _, name, *words = shlex.split(line)
    COMMANDS[name].make_context(name, words)  # raises for an unknown option


# -- convert --------------------------------------------------------------------------------------------------------


def test_convert(checkpoint, tmp_path, capsys):
    assert main(["convert", str(checkpoint), str(tmp_path / "b"), "--to", "flax"]) == 0
    captured = capsys.readouterr()
    count = sum(array.size for array in random_arrays(small_config(), HEAD).values())
    title = FORMATS["flax"].title
    line = f"{tmp_path / 'b'}: {title}, DistilBertForTokenClassification, {count:,} parameters in float32.\n"
    assert captured.out == line
    assert captured.err == ""
    assert open_weights(tmp_path / "b").format == "flax"


def test_convert_with_options(checkpoint, tmp_path, capsys):
    options = ["--dtype", "bfloat16", "--head", "DistilBertModel", "--shard-size", "2KB"]
    assert main(["convert", str(checkpoint), str(tmp_path / "b"), "--to", "pt", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("distilbert: note: Dropped, as DistilBertModel has no such parameters: classifier.")
    assert "DistilBertModel, 3,232 parameters in bfloat16" in captured.out
    written = Checkpoint(tmp_path / "b")
    assert len({entry.path for entry in written.entries.values()}) > 1
    expected = random_arrays(small_config(), HEAD, dtype="float32")
    for name in written.entries:
        np.testing.assert_array_equal(written.read(name), expected[f"distilbert.{name}"].astype(ml_dtypes.bfloat16))


def test_what_is_left_behind_and_removed_is_printed(checkpoint, tmp_path, capsys):
    (checkpoint / "optimizer.pt").write_bytes(b"")
    destination = tmp_path / "b"
    assert main(["convert", str(checkpoint), str(destination), "--to", "h5"]) == 0
    assert capsys.readouterr().err == "distilbert: note: Left behind: optimizer.pt.\n"
    assert main(["convert", str(checkpoint), str(destination), "--force"]) == 0
    assert capsys.readouterr().err == (
        f"distilbert: note: Left behind: optimizer.pt.\ndistilbert: note: Removed from {destination}: tf_model.h5.\n"
    )


def test_nothing_is_overwritten_without_force(checkpoint, tmp_path, capsys):
    destination = tmp_path / "b"
    destination.mkdir()
    (destination / "precious.txt").write_text("mine")
    words = ["convert", str(checkpoint), str(destination), "--to", "pt"]
    assert main(words) == 1
    assert "is there already; give force=True (--force)" in capsys.readouterr().err
    assert [path.name for path in destination.iterdir()] == ["precious.txt"]
    assert main([*words, "--force"]) == 0
    assert (destination / "precious.txt").read_text() == "mine"
    assert (destination / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "a"], "Missing argument 'DESTINATION'"),
        (["convert", "a", "b", "--to", "gguf"], "'gguf' is not one of 'pt'"),
        (["convert", "a", "b", "--to", "pt", "--dtype", "int8"], "'int8' is not one of 'float64'"),
        (["convert", "a", "b", "--to", "pt", "--head", "BertModel"], "'BertModel' is not one of 'DistilBertModel'"),
        (["verify"], "Missing argument 'CHECKPOINT...'"),
        (["verify", "a", "--backend", "mxnet"], "'mxnet' is not one of 'pt', 'tf', 'flax'"),
        (["diff", "a"], "Missing argument 'B'"),
    ],
)
def test_wrong_usage(words, message, capsys):
    assert main(words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "words", [["convert", "./none", "b", "--to", "pt"], ["verify", "./none"], ["diff", "./none", "b"]]
)
def test_a_checkpoint_that_is_not_there(words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("weight_conversion.verification.verifying._backends", lambda names: ["pt"])
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.err == "distilbert: error: The folder ./none does not exist.\n"
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_a_wrong_value_in_the_result_is_found(checkpoint, tmp_path, monkeypatch, capsys):
    """A conversion that wrote another value, which one that works cannot be made to do."""
    changed = write_changed(tmp_path / "b", lambda arrays: np.negative(arrays[NAME], out=arrays[NAME]))
    monkeypatch.setattr("weight_conversion.converting.convert", lambda source, *args, **kwargs: open_weights(source))
    assert main(["convert", str(checkpoint), str(changed), "--to", "pt", "--verify"]) == 1
    assert capsys.readouterr().err.endswith(f"b differs from {checkpoint} in {NAME}; convert it again.\n")


# -- diff -----------------------------------------------------------------------------------------------------------


def largest(arrays) -> float:
    return float(np.abs(arrays[NAME]).max())


def one_step(arrays):
    arrays[NAME][3] = np.nextafter(arrays[NAME][3], np.float32(9))


def add_a_half(arrays):
    arrays[NAME][2:5] += np.float32(0.5)


def put_nan(arrays):
    arrays[NAME][0] = np.nan


def negate_nothing(arrays):
    arrays[NAME][0] = -0.0


ORIGINAL = random_arrays(small_config(), HEAD, dtype="float32")
STEP = float(np.nextafter(ORIGINAL[NAME][3], np.float32(9))) - float(ORIGINAL[NAME][3])
HALVES = (ORIGINAL[NAME][2:5] + np.float32(0.5)).astype(float) - ORIGINAL[NAME][2:5].astype(float)


@pytest.mark.parametrize(
    ("change", "differing", "absolute"),
    [(one_step, 1, STEP), (add_a_half, 3, HALVES.max()), (put_nan, 1, np.nan)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_values_that_differ(checkpoint, tmp_path, change, differing, absolute):
    other = open_weights(write_changed(tmp_path / "b", change))
    found = {difference.name: difference for difference in diff(open_weights(checkpoint), other)}
    assert list(found) == list(other.tensors)
    one = found.pop(NAME)
    assert (one.kind, one.differing) == ("values", differing)
    np.testing.assert_equal(one.absolute, absolute)
    np.testing.assert_equal(one.relative, absolute / largest(ORIGINAL))
    assert {(rest.kind, rest.differing, rest.absolute, rest.relative) for rest in found.values()} == {
        ("equal", 0, 0, 0)
    }


def test_a_sign_of_zero_is_a_difference_of_nothing(tmp_path):
    a = open_weights(write_changed(tmp_path / "a", lambda arrays: arrays[NAME].fill(0)))
    b = open_weights(write_changed(tmp_path / "b", lambda arrays: arrays[NAME].fill(-0.0)))
    found = next(difference for difference in diff(a, b) if difference.name == NAME)
    assert (found.kind, found.differing, found.absolute, found.relative) == ("values", 20, 0.0, 0.0)


def test_equal_values_that_are_no_numbers_are_equal(tmp_path):
    a, b = (open_weights(write_changed(tmp_path / name, put_nan)) for name in "ab")
    assert {difference.kind for difference in diff(a, b)} == {"equal"}


def test_dtypes_that_differ(checkpoint, tmp_path):
    def half(arrays):
        arrays[NAME] = arrays[NAME].astype(np.float16)

    found = {d.name: d for d in diff(open_weights(checkpoint), open_weights(write_changed(tmp_path / "b", half)))}
    gaps = np.abs(ORIGINAL[NAME].astype(float) - ORIGINAL[NAME].astype(np.float16).astype(float))
    one = found.pop(NAME)
    assert (one.kind, one.dtypes, one.differing) == ("dtype", ("float32", "float16"), np.count_nonzero(gaps))
    assert one.absolute == gaps.max()
    assert {difference.kind for difference in found.values()} == {"equal"}


def test_shapes_that_differ(checkpoint, tmp_path):
    other = save_random(tmp_path / "b", small_config(num_labels=3), HEAD, dtype="float32")
    weights = open_weights(checkpoint), open_weights(tmp_path / "b")
    found = {difference.name: difference for difference in diff(*weights)}
    shapes = {name: d.shapes for name, d in found.items() if d.kind == "shape"}
    assert shapes == {
        name: (ORIGINAL[name].shape, other[name].shape) for name in ("classifier.weight", "classifier.bias")
    }
    assert found["classifier.bias"].absolute is None


def test_heads_that_differ(checkpoint, tmp_path):
    arrays = {name.removeprefix("distilbert."): array for name, array in ORIGINAL.items() if "classifier" not in name}
    save_checkpoint(tmp_path / "b", arrays, {"config.json": small_config().to_json_string().encode()})
    model, body = open_weights(checkpoint), open_weights(tmp_path / "b")
    assert body.head is Head.BASE
    for pair, kind in (((model, body), "only in A"), ((body, model), "only in B")):
        kinds = {difference.name: difference.kind for difference in diff(*pair)}
        assert {name for name, found in kinds.items() if found == kind} == {"classifier.weight", "classifier.bias"}
        assert set(kinds.values()) == {"equal", kind}


def test_large_tensors_are_compared_in_blocks(checkpoint):
    values = np.zeros(2 * BLOCK + 5, np.float32)
    other = values.copy()
    other[[3, BLOCK - 1, BLOCK, 2 * BLOCK + 4]] = 1, 2, 3, 4
    values[-1] = 8
    weights = open_weights(checkpoint)
    a, b = (
        replace(weights, tensors={"x": LazyTensor(v.shape, "float32", lambda v=v: v, "memory")})
        for v in (values, other)
    )
    sizes = []
    [found] = diff(a, b, sizes.append)
    assert (found.differing, found.absolute, found.relative) == (4, 4.0, 0.5)
    assert sizes == [values.nbytes]


def test_the_command_says_what_differs(checkpoint, tmp_path, capsys):
    other = write_changed(tmp_path / "b", add_a_half)
    assert main(["diff", str(checkpoint), str(checkpoint)]) == 0
    assert capsys.readouterr().out == f"{len(ORIGINAL)} tensors are equal: {checkpoint} and {checkpoint}\n"

    assert main(["diff", str(checkpoint), str(other)]) == 1
    row, summary = capsys.readouterr().out.splitlines()
    ratio = HALVES.max() / largest(ORIGINAL)
    assert row.split("\t") == [NAME, "values", "(20,)", "float32", "3", f"{HALVES.max():.1e}", f"{ratio:.1e}"]
    assert summary == f"1 of {len(ORIGINAL)} tensors differ: {checkpoint} and {other}"

    assert main(["diff", str(checkpoint), str(other), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    [tensor] = record.pop("tensors")
    assert record == {"equal": False, "compared": len(ORIGINAL)}
    assert tensor == {
        "tensor": NAME,
        "kind": "values",
        "shapes": [[20], [20]],
        "dtypes": ["float32", "float32"],
        "differing": 3,
        "absolute": HALVES.max(),
        "relative": ratio,
    }


def test_json_of_what_is_no_number(checkpoint, tmp_path, capsys):
    assert main(["diff", str(checkpoint), str(write_changed(tmp_path / "b", put_nan)), "--json"]) == 1
    [tensor] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["tensors"]
    assert (tensor["absolute"], tensor["relative"]) == ("nan", "nan")


# -- verify ---------------------------------------------------------------------------------------------------------


def test_no_backend(monkeypatch, capsys):
    monkeypatch.setattr("weight_conversion.verification.verifying.available_backends", list)
    assert main(["verify", DEFAULT_MODEL]) == 1
    error = capsys.readouterr().err
    assert error.startswith("distilbert: error: No backend is installed: ")
    assert 'pip install "distilbert[flax]"' in error


def test_no_checkpoint():
    with pytest.raises(InputError, match="sources must name at least one checkpoint, got none"):
        verify([])


def test_texts_are_what_goes_in():
    from distilbert_core import DistilBertTokenizerFast

    weights = open_weights(DEFAULT_MODEL)
    folder = weights.paths[0].parent
    inputs, kind = make_inputs([folder], weights.config, Head.BASE)
    assert kind == "12 texts of 4 to 63 tokens"
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    for text, ids, mask in zip(TEXTS, inputs["input_ids"], inputs["attention_mask"], strict=True):
        assert ids[mask == 1].tolist() == tokenizer(text)["input_ids"]

    choices, _ = make_inputs([folder], weights.config, Head.MULTIPLE_CHOICE)
    assert choices["input_ids"].shape == (len(TEXTS) // CHOICES, CHOICES, 63)
    np.testing.assert_array_equal(choices["input_ids"].reshape(-1, 63), inputs["input_ids"])


def test_texts_are_cut_to_what_the_model_takes():
    weights = open_weights(DEFAULT_MODEL)
    config = weights.config.updated(max_position_embeddings=10)
    inputs, kind = make_inputs([weights.paths[0].parent], config, Head.BASE)
    assert inputs["input_ids"].shape == (len(TEXTS), 10)
    assert kind == "12 texts of 4 to 10 tokens"


def test_random_ids_without_a_tokenizer(tmp_path):
    config = small_config()
    inputs, kind = make_inputs([tmp_path], config, Head.BASE)
    again, _ = make_inputs([tmp_path], config, Head.BASE)
    np.testing.assert_array_equal(inputs["input_ids"], again["input_ids"])
    assert inputs["input_ids"].shape == (len(TEXTS), config.max_position_embeddings)
    assert len(np.unique(inputs["input_ids"])) > config.vocab_size // 2
    assert inputs["input_ids"].max() < config.vocab_size
    assert kind == "12 rows of random ids, for want of a tokenizer, of 1 to 23 tokens"


LAYERS = ("hidden_states.0", "hidden_states.1", "logits")
ERRORS = {  # (dtype, backend) -> relative difference of each layer; the absolute one is twice that
    ("float64", "pt"): (0.0, 0.0, 0.0),
    ("float64", "tf"): (0.0, 1e-15, 1e-14),
    ("float32", "pt"): (1e-7, 2e-7, 3e-7),
    ("float32", "tf"): (1e-7, 2e-7, 1e-6),
}
SOURCE = 'one <b>&"two"'  # a folder may be called that


def verification(**changes: tuple[float, ...]) -> Verification:
    """What a verification finds, with other errors for some backends in float64."""
    runs = []
    for (dtype, backend), errors in ERRORS.items():
        errors = changes.get(backend, errors) if dtype == "float64" else errors
        found = tuple(Difference(name, 2 * error, error) for name, error in zip(LAYERS, errors, strict=True))
        runs.append(ModelRun(SOURCE, backend, dtype, found, {"float64": 1e-9, "float32": 1e-5}[dtype]))
    return Verification((SOURCE,), HEAD, "12 texts of 3 to 5 tokens", tuple(runs), ("<i>dropped</i>",))


@pytest.mark.parametrize(
    ("errors", "worst", "passed"),
    [
        ((0.0, 1e-9, 1e-10), "hidden_states.1", True),
        ((0.0, 1e-10, 1.1e-9), "logits", False),
        ((np.nan, 1.0, 2.0), "hidden_states.0", False),
        ((0.0, np.inf, 2.0), "hidden_states.1", False),
    ],
)
def test_verdicts(errors, worst, passed):
    found = verification(tf=errors)
    assert found.runs[1].worst.name == worst
    assert [run.passed for run in found.runs] == [True, passed, True, True]
    assert found.passed is passed
    assert found.reference == f"{SOURCE} on PyTorch in float64"


def test_what_the_command_prints(monkeypatch, capsys):
    monkeypatch.setattr("weight_conversion.verification.verifying.verify", lambda *args, **kwargs: verification())
    assert main(["verify", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "distilbert: note: <i>dropped</i>\n"
    head, *rows = captured.out.splitlines()
    assert head.startswith(f"{HEAD.architecture}, 12 texts of 3 to 5 tokens; reference: {SOURCE} on PyTorch in float64")
    assert rows[5] == "\t".join([SOURCE, "tf", "float64", "logits", "2.0e-14", "1.0e-14"])
    assert rows[len(ERRORS) * len(LAYERS) :] == [
        f"ok  {SOURCE} pt float64: 0.0e+00 <= 1e-09 relative, at hidden_states.0",
        f"ok  {SOURCE} tf float64: 1.0e-14 <= 1e-09 relative, at logits",
        f"ok  {SOURCE} pt float32: 3.0e-07 <= 1e-05 relative, at logits",
        f"ok  {SOURCE} tf float32: 1.0e-06 <= 1e-05 relative, at logits",
        "equal up to rounding",
    ]


def test_the_command_exits_with_1_if_something_differs(monkeypatch, capsys):
    found = verification(tf=(0.0, 0.25, np.nan))
    monkeypatch.setattr("weight_conversion.verification.verifying.verify", lambda *args, **kwargs: found)
    assert main(["verify", "x"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "DIFFERENT"
    assert lines[-4] == f"BAD {SOURCE} tf float64: nan > 1e-09 relative, at logits"

    assert main(["verify", "x", "--json"]) == 1
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert record["equal"] is False
    assert [run["equal"] for run in record["runs"]] == [True, False, True, True]
    row = {"checkpoint": SOURCE, "backend": "tf", "dtype": "float64"}
    assert record["differences"][4:6] == [
        {**row, "output": "hidden_states.1", "absolute": 0.5, "relative": 0.25},
        {**row, "output": "logits", "absolute": "nan", "relative": "nan"},
    ]


# -- the report -----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What is on a page: its tags with their attributes, and the text of each cell."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def test_the_page_needs_nothing_else(checkpoint):
    text = render(verification(), [open_weights(checkpoint)])
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "b", "i"}
    assert not {name for _, attributes in page.tags for name in attributes} & {"src", "href", "srcset"}
    assert not re.search(r"url\(|@import|https?:", text)
    assert "prefers-color-scheme: dark" in text


def test_the_page_has_every_number(checkpoint):
    page = Page(render(verification(tf=(0.0, 1e-15, 3e-2)), [open_weights(checkpoint)]))
    for row in (
        [SOURCE, "Keras 3 / TensorFlow", "float64", "3.0e-02", "1e-09", "logits", "different"],
        [SOURCE, "PyTorch", "float32", "3.0e-07", "1e-05", "logits", "ok"],
        ["logits", "0.0e+00 (0.0e+00)", "6.0e-02 (3.0e-02)"],
        ["hidden_states.1", "4.0e-07 (2.0e-07)", "4.0e-07 (2.0e-07)"],
    ):
        starts = [index for index, cell in enumerate(page.cells) if cell.strip() == row[0]]
        assert any([cell.strip() for cell in page.cells[index : index + len(row)]] == row for index in starts), row
    assert set(ORIGINAL) <= {cell.strip() for cell in page.cells}


def test_histograms_side_by_side(checkpoint, tmp_path):
    """Of one tensor with the values 0 (four times) and 10, and of the same where one is infinite and one is 20."""
    weights = open_weights(checkpoint)
    arrays = np.array([0, 0, 0, 0, 10], np.float32), np.array([0, 0, np.inf, 10, 20], np.float16)
    both = [replace(weights, tensors={"x": LazyTensor(a.shape, a.dtype.name, lambda a=a: a, "memory")}) for a in arrays]
    text = render(replace(verification(), sources=("one", "two")), both)
    first, second = re.findall(r'<svg class="bars.*?</svg>', text)
    bars = [[bar.attrib for bar in ElementTree.fromstring(svg).iter("rect")] for svg in (first, second)]
    # 40 bars from 0 to 20, each 4 wide: 0 is in the first, 10 in the 21st and 20 in the last.
    assert [(bar["x"], bar["height"]) for bar in bars[0]] == [("0", "40.0"), ("80", "10.0")]
    assert [(bar["x"], bar["height"]) for bar in bars[1]] == [("0", "40.0"), ("80", "20.0"), ("156", "20.0")]
    assert "float32, 0 to 20<" in text
    assert 'float16, 0 to 20, <span class="bad">1 not finite</span>' in text


def test_errors_are_plotted_on_a_logarithmic_scale():
    svg = ElementTree.fromstring(error_chart("<t>", ["a", "b", "c"], [("s", [0.0, 1e-3, np.nan])], [1e-4, 1e-2]))
    assert svg.attrib["aria-label"] == "<t>"
    heights = [float(dot.attrib["cy"]) for dot in svg.iter("circle")]
    # From the decade below the smallest number, 1e-5, to that above the largest, 1e-1.
    bottom = HEIGHT - BOTTOM
    assert heights == [bottom, TOP + (bottom - TOP) / 2, TOP]
    bounds = [float(line.attrib["y1"]) for line in svg.iter("line") if line.attrib["class"] == "bound"]
    assert bounds == [TOP + (bottom - TOP) * 3 / 4, TOP + (bottom - TOP) / 4]


def test_a_histogram_of_nothing():
    assert "rect" not in histogram("t", np.zeros(5), 0)
    [bar] = ElementTree.fromstring(histogram("t", np.array([0, 3]), 0)).iter("rect")
    assert float(bar.attrib["height"]) == BAR_HEIGHT


def test_the_report_appears_whole_or_not_at_all(checkpoint, tmp_path):
    weights = open_weights(checkpoint)

    def fail():
        raise CheckpointError("damaged")

    broken = replace(weights, tensors={**weights.tensors, NAME: LazyTensor((20,), "float32", fail, "memory")})
    report = tmp_path / "report.html"
    with pytest.raises(CheckpointError, match="damaged"):
        write_report(report, verification(), [broken])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write_report(report, verification(), [weights])
    assert report.read_text(encoding="utf-8") == render(verification(), [weights])


def test_a_report_is_not_overwritten_without_force(checkpoint, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(
        "weight_conversion.verification.verifying.verify", lambda *args, **kwargs: calls.append(args) or verification()
    )
    report = tmp_path / "report.html"
    report.write_text("mine")
    words = ["verify", str(checkpoint), "--report", str(report)]
    assert main(words) == 1
    assert "report.html exists already; give --force to replace it." in capsys.readouterr().err
    assert (report.read_text(), calls) == ("mine", [])  # and it is said before the work, not after
    assert main([*words, "--force"]) == 0
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
