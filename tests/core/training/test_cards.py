"""The model card of a run says what the run did, and not where the files of its user are."""

from __future__ import annotations

from huggingface_hub import ModelCard

from distilbert_core import DistilBertConfig, Head
from distilbert_core.training import Recipe
from distilbert_core.training.cards import training_card
from distilbert_core.training.distillation import DistillationRecipe

HEAD = Head.SEQUENCE_CLASSIFICATION
CONFIG = DistilBertConfig(n_layers=2)
CHECKSUMS = ["ab" * 32, "cd" * 32]
SETTINGS = {
    "task": "sequence-classification",
    "backend": "tf",
    "model": "/home/me/base",
    "train": CHECKSUMS,
    "eval": "ef" * 32,
}
RUN = {
    "data": ["/home/me/train.tsv", "you/sst2/part:train"],
    "metrics": {"accuracy": 0.75},
    "step": 1200,
    "steps": 1500,
}


def test_a_fine_tuned_model() -> None:
    recipe = Recipe(learning_rate=1e-3)
    text = training_card("mine", HEAD, CONFIG, recipe, settings=SETTINGS, eval_data="/home/me/dev.tsv", **RUN)
    data = ModelCard(text).data
    assert (data.base_model, data.datasets) == (None, ["you/sst2"])
    assert [(result.dataset_name, result.metric_value) for result in data.eval_results] == [("dev.tsv", 0.75)]
    assert "Fine-tuned from `base`, for sequence-classification, with the backend `tf`: the model after" in text
    assert "step 1,200 of 1,500." in text
    assert "| train.tsv | abababababababab |\n| you/sst2/part:train | cdcdcdcdcdcdcdcd |" in text
    assert text.count("learning_rate") == 1
    assert "| `learning_rate` | `0.001` |" in text
    assert "weight_decay" not in text
    assert "/home" not in text


def test_evaluated_on_training_data() -> None:
    settings = {**SETTINGS, "eval": CHECKSUMS[0]}
    text = training_card("mine", HEAD, CONFIG, Recipe(), settings=settings, eval_data="train.tsv", **RUN)
    assert "On train.tsv, which is training data too:" in text


def test_a_distilled_model() -> None:
    settings = {**SETTINGS, "teacher": "me/teacher"}
    recipe = DistillationRecipe()
    text = training_card("mine", HEAD, CONFIG, recipe, settings=settings, eval_data=None, **RUN)
    assert ModelCard(text).data.base_model == "me/teacher"
    assert "Distilled from `me/teacher`, from `base`, for" in text
    assert "Numbers" not in text
    assert "## Evaluation" not in text
