"""Pooling of sentence-transformers: read from its files, written into them, and refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from distilbert_core import CheckpointError, Head, InputError
from support.checkpoints import save_random, small_config
from weight_conversion import convert
from weight_conversion.sentences import Pooling, read_pooling
from weight_conversion.sidecars import find_modules

TRANSFORMER, POOLING, NORMALIZE = (
    {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
    for index, (path, kind) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize/", "Normalize")))
)
DENSE = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}


@pytest.fixture
def source(tmp_path: Path):
    """A function that writes a base model with modules, and returns its folder."""
    save_random(tmp_path, small_config(), Head.BASE)

    def folder(modules, settings) -> Path:
        (tmp_path / "modules.json").write_text(json.dumps(modules))
        if settings is not None:
            (tmp_path / "1_Pooling").mkdir()
            (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
        return tmp_path

    return folder


@pytest.mark.parametrize(
    ("modules", "settings", "expected"),
    [
        ([TRANSFORMER, POOLING], {"pooling_mode_mean_tokens": True}, Pooling("mean", False)),
        ([TRANSFORMER, POOLING, NORMALIZE], {"pooling_mode_cls_token": True}, Pooling("cls", True)),
        ([TRANSFORMER, POOLING, NORMALIZE], {"pooling_mode": "mean"}, Pooling("mean", True)),  # of version 6
        ([TRANSFORMER, POOLING, DENSE], {"pooling_mode": "mean"}, "modules Transformer, Pooling, Dense are not"),
        ([TRANSFORMER, POOLING], {"pooling_mode": ["mean", "max"]}, "the pooling mean, max is not supported"),
        ([TRANSFORMER, POOLING], {"pooling_mode": "mean", "include_prompt": False}, "mean without the prompt is not"),
    ],
)
def test_modules_are_read(source, modules, settings, expected):
    pooling, notes = read_pooling(find_modules(source(modules, settings), {}))
    assert pooling == (expected if isinstance(expected, Pooling) else None)
    assert notes == [] if pooling else expected in notes[0]


@pytest.mark.parametrize(
    ("modules", "settings", "message"),
    [
        ([TRANSFORMER, POOLING], None, "modules.json names 1_Pooling, which has no config.json"),
        ([TRANSFORMER, {"path": "1_Pooling"}], {}, "modules.json"),
        ([TRANSFORMER, POOLING], {"pooling_mode": 3}, "config.json"),
    ],
)
def test_damaged_modules(source, modules, settings, message):
    with pytest.raises(CheckpointError, match=message):
        read_pooling(find_modules(source(modules, settings), {}))


@pytest.mark.parametrize("pooling", [Pooling("mean", True), Pooling("cls", False)])
def test_written_modules_are_read_again(tmp_path, pooling):
    save_random(tmp_path / "source", small_config(), Head.BASE)
    folder = tmp_path / "new"
    assert convert(tmp_path / "source", folder, pooling=pooling.mode, normalize=pooling.normalize).notes == []
    assert read_pooling(find_modules(folder, {})) == (pooling, [])
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    assert settings == {"max_seq_length": 23, "do_lower_case": False}
    assert json.loads((folder / "1_Pooling" / "config.json").read_text())["word_embedding_dimension"] == 12
    convert(folder, tmp_path / "again")  # they are copied
    assert (tmp_path / "again" / "modules.json").read_bytes() == (folder / "modules.json").read_bytes()


@pytest.mark.parametrize(
    ("head", "to", "options", "message"),
    [
        (Head.BASE, "pt", {"pooling": "max"}, "pooling must be one of mean, cls, got 'max'"),
        (Head.BASE, "pt", {"normalize": True}, r"normalize \(--normalize\) needs pooling"),
        (Head.BASE, "h5", {"pooling": "mean"}, r"pooling \(--pooling\) is for the formats pt, bin, onnx-padded, .*not"),
        (Head.MASKED_LM, "pt", {"pooling": "mean"}, "is for the base model, got a DistilBertForMaskedLM: give head="),
    ],
)
def test_a_pooling_that_does_not_fit(tmp_path, head, to, options, message):
    save_random(tmp_path / "source", small_config(), head)
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "source", tmp_path / "new", to, **options)
    assert not (tmp_path / "new").exists()


def test_a_source_has_one_pooling(source, tmp_path):
    folder = source([TRANSFORMER, POOLING], {"pooling_mode": "mean"})
    with pytest.raises(InputError, match=r"must be left out: .*modules\.json has the modules of the source"):
        convert(folder, tmp_path / "new", pooling="cls")


def test_the_mean_is_over_real_tokens_and_has_length_1():
    hidden = np.array([[[3.0, 4.0], [9.0, 12.0], [100.0, 100.0]]])
    mask = np.array([[1.0, 1.0, 0.0]])
    assert Pooling("mean", False)(np, hidden, mask).tolist() == [[6.0, 8.0]]
    assert Pooling("mean", True)(np, hidden, mask).tolist() == [[0.6, 0.8]]
    assert Pooling("cls", False)(np, hidden, mask).tolist() == [[3.0, 4.0]]
    assert Pooling("mean", True)(np, 0 * hidden, mask).tolist() == [[0.0, 0.0]]
