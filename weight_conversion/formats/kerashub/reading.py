"""Reading a preset."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.boundary import reading
from distilbert_core.files.links import refuse_link
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head
from weight_conversion.formats.hdf5 import open_datasets
from weight_conversion.formats.keras_files import keras_name, policy_name
from weight_conversion.formats.kerashub.layout import (
    dense_shape,
    is_of_backbone,
    place,
    reshaped,
    stored_parameters,
    stored_shape,
)
from weight_conversion.formats.kerashub.preset import (
    EPSILON,
    FIELDS,
    METADATA,
    OURS,
    PREPROCESSOR,
    TASK,
    TASK_FIELDS,
    TASK_MODELS,
    TASK_WEIGHTS,
    TOKENIZER,
    VOCABULARY,
    class_name,
    read_json,
    settings_of,
)
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, check_sizes

# File -> settings without a counterpart here, with their usual value. All other settings must be in `READ`.
SETTINGS: dict[str, dict[str, Any]] = {
    CONFIG_FILE: {"trainable": True},
    TASK: {"trainable": True},
    PREPROCESSOR: {"trainable": True, "truncate": "round_robin", **TASK_MODELS[Head.MASKED_LM].masking},
    TOKENIZER: {
        "trainable": True,
        "sequence_length": None,
        "split": True,
        "suffix_indicator": "##",
        "special_tokens": None,
        "special_tokens_in_strings": False,
    },
}
OBJECTS = {"name", "dtype", "config_file", "vocabulary", "backbone", "preprocessor", "tokenizer"}  # read elsewhere
READ = OBJECTS | {*FIELDS, *TASK_FIELDS, "activation", "sequence_length", "lowercase", "strip_accents", "split_on_cjk"}
READ |= {"oov_token"}


def is_preset(path: Path) -> bool:
    """Return whether a weight file belongs to a preset of KerasHub."""
    config = path.with_name(CONFIG_FILE)
    return config.is_file() and str(read_json(config).get("module")).startswith(("keras_hub.", "keras_nlp."))


def read_config(path: Path) -> DistilBertConfig:
    """Return the configuration of the preset to which a weight file belongs.

    Raises:
        CheckpointError: A file of the preset is damaged, or the preset is not a DistilBERT.
        ConfigError: A field has an impossible value.
    """
    file = path.with_name(CONFIG_FILE)
    fields = _fields(file, "DistilBertBackbone", FIELDS)
    fields = {"attention_dropout": fields["dropout"]} | kept_fields(path) | fields  # KerasHub has one dropout for both
    head = read_head(path)
    if head in TASK_MODELS:
        fields |= _fields(path.with_name(TASK), class_name(TASK_MODELS[head].name), TASK_MODELS[head].fields)
    if head is Head.MASKED_LM:
        fields["tie_word_embeddings"] = True
    if head is Head.SEQUENCE_CLASSIFICATION and _has_stale_labels(fields):
        fields = {name: value for name, value in fields.items() if name not in ("id2label", "label2id")}
    with reading(file, "a preset of KerasHub"):
        return DistilBertConfig.from_dict({**fields, "architectures": [head.architecture]})


def _has_stale_labels(fields: Mapping[str, Any]) -> bool:
    """Return whether the number of label names in metadata.json is not the number of classes of the classifier."""
    labels = fields.get("id2label")
    return isinstance(labels, dict) and len(labels) != fields["num_labels"]


def kept_fields(path: Path) -> dict[str, Any]:
    """Return the fields of the configuration that metadata.json keeps."""
    metadata = path.with_name(METADATA)
    fields = read_json(metadata).get(OURS) if metadata.is_file() else None
    return fields if isinstance(fields, dict) else {}


def _fields(path: Path, expected: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Return fields of an object that Keras described in a file, by their names in DistilBERT."""
    content = read_json(path)
    if content.get("class_name") != expected:
        raise CheckpointError(f"{path} must describe a {expected}, got {shortened(content.get('class_name'))}.")
    config = content.get("config")
    if not isinstance(config, dict) or not names.keys() <= config.keys():
        raise CheckpointError(f"{path} lacks some of the fields {', '.join(names)} of a {expected}.")
    return {ours: config[theirs] for theirs, ours in names.items()}


def read_head(path: Path) -> Head:
    """Return the head that task.json describes; the base model alone if it describes none."""
    file = path.with_name(TASK)
    kind = read_json(file).get("class_name") if file.is_file() else None
    return next((head for head, task in TASK_MODELS.items() if class_name(task.name) == kind), Head.BASE)


def open_preset(path: Path) -> dict[str, LazyTensor]:
    """Return the arrays of a preset whose backbone is at `path`, in the shapes of plain dense layers."""
    config, head = read_config(path), read_head(path)
    backbone = _arrays(path)
    check_sizes(config, {where: tensor.shape for where, tensor in backbone.items()}, str(path))
    task_weights = path.with_name(TASK_WEIGHTS)
    if head is not Head.BASE and not task_weights.is_file():
        raise CheckpointError(f"{task_weights} does not exist; remove {TASK} too if you want the backbone only.")
    task = _arrays(task_weights) if task_weights.is_file() else {}
    tensors = {}
    for parameter in stored_parameters(config, head):
        tensor = (backbone if is_of_backbone(parameter) else task).pop(place(parameter), None)
        if tensor is not None:
            if tensor.shape == stored_shape(parameter, config.n_heads):
                tensor = reshaped(tensor, dense_shape(parameter))
            tensors[keras_name(parameter, head)] = tensor
    return tensors | backbone | task  # the remaining arrays have no counterpart here


def _arrays(path: Path) -> dict[str, LazyTensor]:
    refuse_link(path, path.parent)
    datasets, _ = open_datasets(path)
    return {where.replace("_layer_checkpoint_dependencies", "layers"): array for where, array in datasets.items()}


def unread(path: Path) -> list[str]:
    """Return notes on the settings of a preset that are dropped."""
    notes = []
    backbone, task = settings_of(path.with_name(CONFIG_FILE)), settings_of(path.with_name(TASK))
    policy = policy_name(backbone.get("dtype"))
    if policy is not None and policy not in NUMPY_DTYPES:
        notes.append(f"The dtype policy {policy!r} of {CONFIG_FILE} was dropped.")
    head = read_head(path)
    if head is Head.MASKED_LM:
        notes.append(EPSILON)
    elif head is Head.BASE and task:
        kind = read_json(path.with_name(TASK)).get("class_name")
        notes.append(f"{TASK} describes a {kind}, of which only the backbone is read.")
    elif task:
        if task.get("activation") not in (None, "linear"):
            notes.append(f"The activation {task['activation']!r} of {TASK} was dropped: the classifier gives logits.")
        if _has_stale_labels(kept_fields(path) | {"num_labels": task["num_classes"]}):
            notes.append(f"The label names of {METADATA} were dropped: {TASK} has {task['num_classes']} classes.")
    if path.with_name(TOKENIZER).is_file() and not (path.parent / VOCABULARY).is_file():
        notes.append(f"{TOKENIZER} was dropped: its vocabulary {VOCABULARY} is not there.")
    for file, usual in SETTINGS.items():
        unusual = [
            f"{name}={reprlib.repr(value)}"
            for name, value in settings_of(path.with_name(file)).items()
            if (value not in (usual[name], None) if name in usual else name not in READ)
        ]
        if unusual:
            notes.append(f"Settings of {file} that were dropped: {', '.join(unusual)}.")
    return notes
