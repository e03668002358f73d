"""The files of a preset and their fields; reading and writing the JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distilbert_core.files.json_files import parse_json, read_content
from distilbert_core.files.links import refuse_link
from distilbert_core.model.heads import Head

TASK, TASK_WEIGHTS = "task.json", "task.weights.h5"
TOKENIZER, VOCABULARY = "tokenizer.json", "assets/tokenizer/vocabulary.txt"
PREPROCESSOR = "preprocessor.json"
METADATA = "metadata.json"
OURS = "distilbert_config"  # the entry of metadata.json with our configuration, as KerasHub lacks some fields
ACTIVATION = "gelu"  # the only activation of KerasHub's DistilBERT
FIELDS = {  # field of the backbone -> field of DistilBERT
    "vocabulary_size": "vocab_size",
    "max_sequence_length": "max_position_embeddings",
    "num_layers": "n_layers",
    "num_heads": "n_heads",
    "hidden_dim": "dim",
    "intermediate_dim": "hidden_dim",
    "dropout": "dropout",
}


@dataclass(frozen=True)
class TaskModel:
    """A model with a head in KerasHub.

    Attributes:
        name: Name of its module.
        fields: Field of the task -> field of DistilBERT.
        masking: Further settings of its preprocessor, with their usual values.
    """

    name: str
    fields: Mapping[str, str] = field(default_factory=dict)
    masking: Mapping[str, Any] = field(default_factory=dict)


TASK_MODELS = {
    Head.SEQUENCE_CLASSIFICATION: TaskModel(
        "distil_bert_text_classifier", {"num_classes": "num_labels", "dropout": "seq_classif_dropout"}
    ),
    Head.MASKED_LM: TaskModel(
        "distil_bert_masked_lm",
        masking={
            "mask_selection_rate": 0.15,
            "mask_selection_length": 96,
            "mask_token_rate": 0.8,
            "random_token_rate": 0.1,
        },
    ),
}
TASK_FIELDS = TASK_MODELS[Head.SEQUENCE_CLASSIFICATION].fields
EPSILON = (
    "The layer norm of KerasHub's masked-LM head has the epsilon 1e-5, DistilBERT's 1e-12: the weights are the same, "
    "the logits differ slightly."
)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if the file holds another value."""
    refuse_link(path, path.parent)
    content = parse_json(path, read_content(path))
    return content if isinstance(content, dict) else {}


def settings_of(path: Path) -> dict[str, Any]:
    """Return the settings of an object that Keras described in a file; empty if the file does not exist."""
    config = read_json(path).get("config") if path.is_file() else None
    return config if isinstance(config, dict) else {}


def keras_object(name: str, dtype: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of an object of KerasHub for Keras.

    Args:
        name: Name of its module, from which the name of its class follows.
        dtype: Name of its dtype policy, if it has one.
        config: Its settings.
    """
    kind = class_name(name)
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}
    return {
        "module": f"keras_hub.src.models.distil_bert.{name}",
        "class_name": kind,
        "config": {"name": name} | ({"trainable": True, "dtype": policy} if dtype else {}) | dict(config),
        "registered_name": f"keras_hub>{kind}",
    }


def class_name(name: str) -> str:
    """Return the name of a class of KerasHub from the name of its module."""
    return name.title().replace("_", "").replace("Lm", "LM")


def json_bytes(content: Any) -> bytes:
    """Return an object as the content of a JSON file."""
    return (json.dumps(content, indent=4) + "\n").encode()
