"""The three backends against each other: values, losses and gradients of every head and option."""

from __future__ import annotations

import importlib.util
import itertools
import json

import numpy as np
import pytest

from distilbert_cli import main
from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast, Head
from distilbert_core.files.checkpoint import WEIGHTS_FILE
from support.checkpoints import CASE_IDS, CASES, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

PAIRS = list(itertools.combinations(FRAMEWORKS, 2))
# Measured: at most 6.1e-13 for outputs (in ForMaskedLM-one-layer; see test_values.py), 6.7e-14 for gradients.
FLOAT64_TOLERANCE = 1e-9

REAL_TEXTS = [
    "I love using DistilBERT!",
    "it 's a charming and often affecting journey .",
    "unflinchingly bleak and desperate",
    "The quick brown fox jumps over the lazy dog.",
    "a gorgeous , high-spirited musical from india that exquisitely blends music , dance , song , and high drama .",
    "No.",
    "Whoever wrote this plot must have been asleep; I certainly was, twenty minutes in — and yet the ending, "
    "with its quiet shot of the empty harbour, almost made the evening worth the price of admission.",
    "¿Qué? Über-naïve 東京 \U0001f600",
    "",
]


@pytest.fixture(scope="module", params=CASES, ids=CASE_IDS)
def results(request, tmp_path_factory):
    """What each backend makes of one case: outputs and gradients in float64."""
    _, head, changes = request.param
    config = small_config(**changes)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_random(folder, config, head)
    inputs = random_inputs(config, head)
    cotangent = np.random.default_rng(2).normal(size=(5, 11, config.dim)) if head is Head.BASE else None
    found = {}
    for name, framework in FRAMEWORKS.items():
        model = framework.load(head, folder, dtype="auto")
        outputs = framework.call(model, **inputs, output_attentions=True, output_hidden_states=True)
        found[name] = outputs, framework.gradients(model, cotangent=cotangent, **inputs)
    return found


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_outputs_and_losses(results, pair):
    first, second = (results[name][0] for name in pair)
    assert list(first) == list(second)
    assert_close(first, second, FLOAT64_TOLERANCE)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_gradients(results, pair):
    first, second = (results[name][1] for name in pair)
    assert len(first) >= 20
    assert_close(first, second, FLOAT64_TOLERANCE)


@pytest.mark.parametrize("side", ["right", "left"])
def test_embedded_model_on_real_text_in_float32(side):
    """Measured: at most 3.1e-6."""
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL, padding_side=side)
    inputs = dict(tokenizer(REAL_TEXTS, padding=True, return_tensors="np"))
    logits = {}
    for name, framework in FRAMEWORKS.items():
        logits[name] = framework.call(framework.load(Head.SEQUENCE_CLASSIFICATION, DEFAULT_MODEL), **inputs).logits
        assert logits[name].dtype == np.float32
    for first, second in PAIRS:
        assert_close(logits[first], logits[second], 2e-5)


@pytest.mark.parametrize(("writer", "reader"), itertools.permutations(FRAMEWORKS, 2))
@pytest.mark.parametrize("head", Head)
def test_what_one_saves_the_others_load_bit_for_bit(tmp_path, head, writer, reader):
    model = FRAMEWORKS[writer].new(head, small_config(sinusoidal_pos_embds=head is Head.MASKED_LM))
    model.save_pretrained(tmp_path / writer, max_shard_size="6KB")
    loaded = FRAMEWORKS[reader].load(head, tmp_path / writer)
    assert_close(FRAMEWORKS[reader].parameters(loaded), FRAMEWORKS[writer].parameters(model), 0.0)
    model.save_pretrained(tmp_path / "single" / writer)
    loaded.save_pretrained(tmp_path / "single" / reader)
    files = [(tmp_path / "single" / name / WEIGHTS_FILE).read_bytes() for name in (writer, reader)]
    assert files[0] == files[1]
    configs = [(tmp_path / "single" / name / "config.json").read_text() for name in (writer, reader)]
    assert configs[0] == configs[1]


def test_command_line_on_all_three(capsys):
    assert main(["predict", REAL_TEXTS[0], REAL_TEXTS[2], "--backend", "all", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        assert list(line["backends"]) == ["pt", "tf", "flax"]
        assert len({answer["label"] for answer in line["backends"].values()}) == 1
        assert 0 < line["largest_logit_difference"] < 2e-5


def test_all_installed_backends(capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax" else find_spec(name))
    assert main(["predict", REAL_TEXTS[0], "--backend", "all", "--json"]) == 0
    captured = capsys.readouterr()
    assert list(json.loads(captured.out)["backends"]) == ["pt", "tf"]
    assert 'pip install "distilbert[flax]"' in captured.err


def test_table_of_all_three(capsys):
    assert main(["predict", REAL_TEXTS[0], "--backend", "all"]) == 0
    printed = capsys.readouterr().out
    assert all(title in printed for title in ("PyTorch", "Keras 3", "JAX / Flax NNX", "POSITIVE"))
    difference = float(printed.rsplit(":", 1)[1])
    assert 0 < difference < 2e-5


def test_a_difference_would_be_seen():
    values = {name: {"logits": np.zeros((2, 3))} for name in FRAMEWORKS}
    values["flax"]["logits"][1, 2] = 2e-9
    with pytest.raises(AssertionError, match="logits"):
        assert_close(values["flax"], values["pt"], FLOAT64_TOLERANCE)
