"""A configuration of a stranger: a model that its files cannot hold is refused, and keys for code have no effect."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert_core import DistilBertError, Head
from support.checkpoints import save_random, small_config
from support.mutators.texts import CODE
from support.paths import ROOT

HEAD = Head.SEQUENCE_CLASSIFICATION
IDS = np.arange(6).reshape(1, 6)


def write(folder: Path, **fields: Any) -> Path:
    """Write a checkpoint, with some fields of its config.json replaced."""
    save_random(folder, small_config(), HEAD)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_layers": 10**9}, r"config\.json: n_layers must be at most 1000, got 1000000000"),
        ({"n_layers": 1000}, "n_layers is 1000, but the weight files hold"),
        ({"max_position_embeddings": 2**20, "sinusoidal_pos_embds": True}, "parameters, but the weight files have"),
        ({"vocab_size": 2**24}, "parameters, but the weight files have"),
    ],
)
def test_a_model_that_the_files_cannot_hold(fields: dict[str, Any], message: str, framework, tmp_path: Path) -> None:
    folder = write(tmp_path, **fields)
    start = time.process_time()
    with pytest.raises(DistilBertError, match=message) as caught:
        framework.load(HEAD, folder, ignore_mismatched_sizes=True)
    assert str(folder) in str(caught.value)
    assert time.process_time() - start < 5


def test_keys_that_run_code_elsewhere_have_no_effect(framework, tmp_path: Path) -> None:
    plain = framework.call(framework.load(HEAD, write(tmp_path / "plain")), input_ids=IDS)
    keys = {name: value for name, value in CODE.items() if not name.startswith("__")}
    model = framework.load(HEAD, write(tmp_path / "code", **keys))
    np.testing.assert_array_equal(framework.call(model, input_ids=IDS)["logits"], plain["logits"])


def test_attributes_of_python_are_refused(framework, tmp_path: Path) -> None:
    with pytest.raises(DistilBertError, match="__class__ cannot be a field"):
        framework.load(HEAD, write(tmp_path, __class__="os.system"))


def test_the_page_names_the_keys() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert [key for key in CODE if f"`{key}`" not in page] == []
