"""`verify` on each backend: equal checkpoints pass, and a wrong weight or configuration is located."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distilbert_cli import main
from distilbert_core import BackendNotInstalledError, CheckpointWarning, Head, InputError
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import HEADS, random_arrays, save_random, small_config
from weight_conversion import convert
from weight_conversion.verification.computing import compute
from weight_conversion.verification.inputs import make_inputs
from weight_conversion.verification.verifying import BOUNDS, verify

LAYERS = ["hidden_states.0", "hidden_states.1", "hidden_states.2"]
OUTPUTS = {Head.BASE: ["last_hidden_state"], Head.QUESTION_ANSWERING: ["start_logits", "end_logits"]}


def write(folder, head=Head.TOKEN_CLASSIFICATION, change=None, dtype="float64", **fields):
    """Write a random checkpoint after `change` has been done to its arrays, and return its folder."""
    config = small_config(architectures=[head.architecture], **fields)
    arrays = random_arrays(config, head, dtype=dtype)
    if change is not None:
        change(arrays)
    save_checkpoint(folder, arrays, {"config.json": config.to_json_string().encode()})
    return folder


def errors(run):
    return {difference.name: difference.relative for difference in run.differences}


@pytest.mark.parametrize("head", HEADS)
def test_a_checkpoint_in_another_format_computes_the_same(framework, tmp_path, head):
    source = write(tmp_path / "a", head)
    convert(source, tmp_path / "b", to="tf")
    found = verify([source, tmp_path / "b"], [framework.name], attentions=True)
    assert (found.head, found.notes, found.passed) == (head, (), True)
    assert [(run.source, run.dtype) for run in found.runs] == [
        (str(folder), dtype) for dtype in ("float64", "float32") for folder in (source, tmp_path / "b")
    ]
    names = [*LAYERS, "attentions.0", "attentions.1", *OUTPUTS.get(head, ["logits"])]
    in64, other64, in32, other32 = map(errors, found.runs)
    assert in64 == other64 == dict.fromkeys(names, 0.0)  # the same bits computed in the same way
    assert in32 == other32
    assert all(0 < error <= BOUNDS["float32"] for error in in32.values())


@pytest.mark.parametrize("head", HEADS)
def test_the_compared_values_are_the_outputs_of_the_model(framework, tmp_path, head):
    folder = write(tmp_path / "a", head)
    config = small_config()
    inputs, _ = make_inputs([folder], config, head)
    got = compute(framework.name, head, folder, "float64", inputs, attentions=True)
    model = framework.load(head, folder, dtype="float64")
    expected = framework.call(model, output_hidden_states=True, output_attentions=True, **inputs)
    mask = inputs["attention_mask"].reshape(-1, inputs["attention_mask"].shape[-1]) == 1
    for layer, states in enumerate(expected.hidden_states):
        np.testing.assert_array_equal(got[f"hidden_states.{layer}"], states[mask])
    for layer, attentions in enumerate(expected.attentions):
        rows, tokens = np.nonzero(mask)
        np.testing.assert_array_equal(got[f"attentions.{layer}"], attentions[rows, :, tokens])
    for name in OUTPUTS.get(head, ["logits"]):
        np.testing.assert_array_equal(got[name], expected[name][mask] if head.reads_tokens else expected[name])


def test_a_changed_weight_is_found_where_it_is(framework, tmp_path):
    def change(arrays):
        arrays["distilbert.transformer.layer.1.ffn.lin1.bias"][3] += 1e-6

    found = verify([write(tmp_path / "a"), write(tmp_path / "b", change=change)], [framework.name])
    assert [run.passed for run in found.runs] == [True, False, True, True]  # float32 does not tell it from rounding
    in64 = errors(found.runs[1])
    assert (in64["hidden_states.0"], in64["hidden_states.1"]) == (0.0, 0.0)
    assert min(in64["hidden_states.2"], in64["logits"]) > 1e-8


@pytest.mark.parametrize("changes", [{"activation": "gelu_new"}, {"sinusoidal_pos_embds": True}])
def test_another_configuration_is_found(framework, tmp_path, changes):
    found = verify([write(tmp_path / "a"), write(tmp_path / "b", **changes)], [framework.name])
    assert [run.passed for run in found.runs] == [True, False, True, False]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_checkpoint_in_another_dtype_has_the_bound_of_that(framework, tmp_path, dtype):
    source = write(tmp_path / "a")
    convert(source, tmp_path / "b", dtype=dtype)
    for pair in ([source, tmp_path / "b"], [tmp_path / "b", source]):
        found = verify(pair, [framework.name])
        assert [run.bound for run in found.runs] == [1e-9, BOUNDS[dtype], BOUNDS["float32"], BOUNDS[dtype]]
        assert found.passed
        assert found.runs[1].worst.relative > BOUNDS[dtype] / 1000  # the bound is needed


def test_checkpoints_with_different_heads_are_compared_as_base_models(framework, tmp_path):
    source = write(tmp_path / "a")
    convert(source, tmp_path / "b", head=Head.BASE)
    found = verify([source, tmp_path / "b"], [framework.name])
    assert (found.head, found.passed) == (Head.BASE, True)
    assert list(errors(found.runs[0])) == [*LAYERS, "last_hidden_state"]
    only, dropped = found.notes
    assert only.endswith("different classes: DistilBertForTokenClassification, DistilBertModel.")
    assert "classifier.bias, classifier.weight" in dropped


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_labels": 3}, r"two of classifier\.weight: \(7, 12\) and \(3, 12\)"),
        ({"n_layers": 1}, r"two of distilbert\.transformer\.layer\.1\..*: \(12, 12\) and None"),
        ({"n_heads": 2}, "two of their attention heads"),
    ],
)
def test_sizes_that_differ(framework, tmp_path, fields, message):
    with pytest.raises(InputError, match=f"a and .*b must have the same sizes to be compared, got {message}"):
        verify([write(tmp_path / "a"), write(tmp_path / "b", **fields)], [framework.name])


def test_nan_weights_fail(framework, tmp_path):
    def change(arrays):
        arrays["distilbert.transformer.layer.1.ffn.lin2.bias"][0] = np.nan

    broken = write(tmp_path / "b", change=change)
    with pytest.warns(CheckpointWarning, match=r"lin2\.bias holds NaN"):
        found = verify([write(tmp_path / "a"), broken], [framework.name])
    assert [run.passed for run in found.runs] == [True, False, True, False]
    assert np.isnan(found.runs[1].worst.relative)
    with pytest.warns(CheckpointWarning, match=r"lin2\.bias holds NaN"):
        assert not verify([broken], [framework.name]).passed  # also where it is the reference


def test_a_backend_that_is_not_installed(framework, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendNotInstalledError, match="backend needs "):
        verify([write(tmp_path / "a")], [framework.name])


def test_the_command(framework, tmp_path, capsys):
    source, report = write(tmp_path / "a"), tmp_path / "report.html"
    words = ["verify", str(source), "--backend", framework.name, "--json", "--report", str(report)]
    assert main(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["equal"], record["class"]) == (True, "DistilBertForTokenClassification")
    found = verify([source], [framework.name])
    expected = [
        (run.dtype, difference.name, difference.absolute) for run in found.runs for difference in run.differences
    ]
    assert [(row["dtype"], row["output"], row["absolute"]) for row in record["differences"]] == expected
    assert f"{expected[-1][2]:.1e}" in report.read_text(encoding="utf-8")


def test_the_command_tells_checkpoints_apart(framework, tmp_path, capsys):
    other = tmp_path / "b"
    save_random(other, small_config(), Head.TOKEN_CLASSIFICATION, seed=1)
    assert main(["verify", str(write(tmp_path / "a")), str(other), "--backend", framework.name]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "DIFFERENT"


@pytest.mark.parametrize("options", [[], ["--dtype", "float16"], ["--head", "DistilBertModel"]], ids=" ".join)
def test_convert_and_verify(framework, tmp_path, capsys, monkeypatch, options):
    monkeypatch.setattr("weight_conversion.verification.verifying.available_backends", lambda: [framework.name])
    words = ["convert", str(write(tmp_path / "a")), str(tmp_path / "b"), "--to", "flax", "--verify"]
    assert main([*words, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "bit for bit" in lines[1]
    assert ("rounded to float16" in lines[1]) == ("float16" in options)
    assert lines[-1] == "equal up to rounding"
