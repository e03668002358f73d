"""`push_to_hub` by huggingface_hub's own client, to a stand-in of the Hub on this machine; and what comes back."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import DistilBertTokenizerFast, Head
from support.checkpoints import save_random, small_config
from support.hub_server import in_place_of_the_hub
from support.vocabularies import SMALL

HEAD = Head.SEQUENCE_CLASSIFICATION


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with in_place_of_the_hub(monkeypatch, tmp_path) as server:
        yield server


def test_a_model_with_its_card(framework, hub, tmp_path):
    save_random(tmp_path / "mine", small_config(), HEAD)
    model = framework.load(HEAD, tmp_path / "mine")
    model.push_to_hub("me/model", token="secret")
    files = hub.repositories["me/model"].revisions["main"]
    assert files.keys() == {"README.md", "config.json", "model.safetensors"}
    assert b"# me/model\n\nA `DistilBertForSequenceClassification`: 2 layers" in files["README.md"]
    assert {token for method, _, token in hub.requests if method == "POST"} == {"secret"}
    again = framework.parameters(framework.load(HEAD, "me/model"))
    assert all(np.array_equal(again[name], array) for name, array in framework.parameters(model).items())

    files["README.md"] = b"# Written by hand"
    model.push_to_hub("me/model", token="secret")
    assert files["README.md"] == b"# Written by hand"
    (tmp_path / "mine/README.md").write_text("# Of a run")
    model.push_to_hub("me/model", token="secret", card=tmp_path / "mine", revision="next")
    assert hub.repositories["me/model"].revisions["next"]["README.md"] == b"# Of a run"
    assert files["README.md"] == b"# Written by hand"


def test_a_token_is_needed(framework, hub, tmp_path):
    save_random(tmp_path, small_config(n_layers=1), HEAD)
    with pytest.raises(OSError, match="401"):
        framework.load(HEAD, tmp_path).push_to_hub("me/model")
    assert not hub.repositories


def test_a_tokenizer_has_no_card(hub, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(SMALL))
    tokenizer = DistilBertTokenizerFast.from_pretrained(tmp_path)
    tokenizer.push_to_hub("me/model", token="secret")
    assert "README.md" not in hub.repositories["me/model"].revisions["main"]
    with pytest.raises(TypeError, match=r"card is the README.md of a model: push the model with it"):
        tokenizer.push_to_hub("me/model", token="secret", card="# a\n# card")
