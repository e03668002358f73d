"""Model cards: metadata that the Hub's own library reads, the history of conversions, and the card of an upload."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

from distilbert_core import CheckpointError, DistilBertConfig, Head, InputError
from distilbert_core.model.model_cards import Evaluation, add_conversion, card_to_push, model_card

HEAD = Head.SEQUENCE_CLASSIFICATION
CONFIG = DistilBertConfig(n_layers=2, id2label={0: "bad", 1: "good"})


def test_metadata_as_the_hub_reads_it() -> None:
    evaluation = Evaluation("dev.tsv", {"accuracy": 0.875, "loss": 0.5})
    text = model_card("mine", HEAD, CONFIG, base_model="me/large", datasets=["you/sst2"], evaluation=evaluation)
    data = ModelCard(text).data
    assert (data.pipeline_tag, data.base_model, data.datasets) == ("text-classification", "me/large", ["you/sst2"])
    assert [(result.metric_type, result.metric_value) for result in data.eval_results] == [
        ("accuracy", 0.875),
        ("loss", 0.5),
    ]
    assert {result.dataset_name for result in data.eval_results} == {"dev.tsv"}
    assert "| accuracy | 0.8750 |" in text
    assert "`DistilBertForSequenceClassification`: 2 layers of width 768" in text
    assert "Its labels are bad, good." in text


@pytest.mark.parametrize("head", [*Head, None])
def test_every_head(head: Head | None) -> None:
    """A class of the user's own has no task."""
    data = ModelCard(model_card("mine", head, CONFIG)).data
    assert (data.pipeline_tag is None) == (head is None)
    assert data.to_dict().keys() == {"library_name", "tags"} | ({"pipeline_tag"} if head else set())


def test_history_of_conversions() -> None:
    """Lines go to the end of their section; the rest of a card keeps its characters."""
    first = add_conversion("---\nlicense: mit\n---\n\n# mine\n\ntext\n", "a -> b")
    assert first == "---\nlicense: mit\n---\n\n# mine\n\ntext\n\n## Conversions\n\n* a -> b\n"
    assert add_conversion(first, "b -> c") == f"{first}* b -> c\n"
    followed = add_conversion(f"{first}\n## Licence\n\nMIT\n", "b -> c")
    assert followed == f"{first}* b -> c\n\n## Licence\n\nMIT\n"


def test_card_of_an_upload(tmp_path) -> None:
    (tmp_path / "README.md").write_text("# mine")
    for given in (tmp_path, tmp_path / "README.md", str(tmp_path)):
        assert card_to_push(given, "me/model", HEAD, CONFIG) == "# mine"
    assert card_to_push("# of\nlines", "me/model", HEAD, CONFIG) == "# of\nlines"
    new = card_to_push(None, "me/model", HEAD, CONFIG.updated(name_or_path="me/base"))
    assert new == model_card("me/model", HEAD, CONFIG, base_model="me/base")
    with pytest.raises(InputError, match=r"card must be a file, a folder with README.md, or a text of several lines"):
        card_to_push("missing.md", "me/model", HEAD, CONFIG)
    (tmp_path / "README.md").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"README.md cannot be read as a model card"):
        card_to_push(tmp_path, "me/model", HEAD, CONFIG)
