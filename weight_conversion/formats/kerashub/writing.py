"""Writing a preset."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from distilbert_core.errors import CheckpointError
from distilbert_core.model.config import ACTIVATIONS, CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.parameters import Parameter
from weight_conversion.formats.base import Files, Tensors
from weight_conversion.formats.hdf5 import write_datasets
from weight_conversion.formats.keras_files import KERAS_VERSION, WEIGHTS, keras_name
from weight_conversion.formats.kerashub.layout import (
    is_of_backbone,
    layer_of,
    place,
    reshaped,
    stored_parameters,
    stored_shape,
)
from weight_conversion.formats.kerashub.preset import (
    ACTIVATION,
    EPSILON,
    FIELDS,
    METADATA,
    OURS,
    PREPROCESSOR,
    TASK,
    TASK_MODELS,
    TASK_WEIGHTS,
    TOKENIZER,
    VOCABULARY,
    json_bytes,
    keras_object,
)
from weight_conversion.formats.kerashub.tokenizer import preset_preprocessor, preset_tokenizer, tokens_in_order
from weight_conversion.weights import Weights

KERASHUB_VERSION = "0.32.0"  # the version whose presets are imitated


def layout_files(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files of a preset.

    Raises:
        CheckpointError: KerasHub does not have the head, or an option of the architecture.
    """
    config, head = weights.config, weights.head
    _check(config, head)
    dtype = next(iter(tensors.values())).dtype
    table = stored_parameters(config, head)
    base = [parameter for parameter in table if is_of_backbone(parameter)]
    sizes = {theirs: getattr(config, ours) for theirs, ours in FIELDS.items()}
    backbone = keras_object("distil_bert_backbone", dtype, sizes)
    tokenizer, _ = preset_tokenizer({name: content for name, content in files.items() if isinstance(content, bytes)})
    preprocessor = None if tokenizer is None else preset_preprocessor(tokenizer, config, head)
    count = sum(math.prod(parameter.shape) for parameter in base)
    preset: Files = {name: content for name, content in files.items() if name in ("README.md", "LICENSE")}
    preset |= {
        CONFIG_FILE: json_bytes(backbone),
        METADATA: json_bytes(_metadata(config, count)),
        WEIGHTS: _writer("distil_bert_backbone", base, config, head, tensors),
    }
    if head in TASK_MODELS:
        task = {theirs: getattr(config, ours) for theirs, ours in TASK_MODELS[head].fields.items()}
        task |= {"backbone": backbone, "preprocessor": preprocessor}
        if head is Head.SEQUENCE_CLASSIFICATION:
            task |= {"activation": "linear", "hidden_dim": config.dim}
        preset[TASK] = json_bytes(keras_object(TASK_MODELS[head].name, None, task))
        top = [parameter for parameter in table if not is_of_backbone(parameter)]
        preset[TASK_WEIGHTS] = _writer(TASK_MODELS[head].name, top, config, head, tensors)
    if tokenizer is not None and preprocessor is not None:
        preset[PREPROCESSOR] = json_bytes(preprocessor)
        preset[TOKENIZER] = json_bytes(preprocessor["config"]["tokenizer"])
        preset[VOCABULARY] = "".join(f"{token}\n" for token in tokens_in_order(tokenizer)).encode()
    return preset


def _check(config: DistilBertConfig, head: Head) -> None:
    """Raise CheckpointError if KerasHub lacks a head or an option."""
    activation = config.activation if callable(config.activation) else ACTIVATIONS[config.activation]
    problems = {
        f"no {head.architecture}, only the base model, a sequence classifier and a masked LM; select one with head": (
            head not in (Head.BASE, *TASK_MODELS)
        ),
        "no projector that is not tied to the word embeddings (tie_word_embeddings=False)": (
            head is Head.MASKED_LM and not config.tie_word_embeddings
        ),
        "no sinusoidal positions (sinusoidal_pos_embds)": config.sinusoidal_pos_embds,
        f"no activation {activation!r}, only {ACTIVATION!r}": activation != ACTIVATION,
        "no layers with pruned heads (pruned_heads)": any(config.pruned_heads.values()),
    }
    lacking = [problem for problem, occurs in problems.items() if occurs]
    if lacking:
        raise CheckpointError(f"KerasHub's DistilBERT has {'; '.join(lacking)}.")


def _writer(name: str, table: list[Parameter], config: DistilBertConfig, head: Head, tensors: Tensors) -> Any:
    """Return a function that writes the arrays of some parameters to a path."""
    names = {"": name} | {f"layers/{group}": layer for group, layer in map(layer_of, table)}
    arrays = {
        place(parameter): reshaped(tensors[keras_name(parameter, head)], stored_shape(parameter, config.n_heads))
        for parameter in table
    }
    return lambda path: write_datasets(path, arrays, names)


def _metadata(config: DistilBertConfig, count: int) -> dict[str, Any]:
    """Return the content of metadata.json; `count` is the number of parameters of the backbone."""
    return {
        "keras_version": KERAS_VERSION,
        "keras_hub_version": KERASHUB_VERSION,
        "parameter_count": count,
        "date_saved": "",
        "tasks": ["MaskedLM", "TextClassifier"],
        OURS: json.loads(config.to_json_string()),
    }


def unwritten(files: Mapping[str, bytes], weights: Weights) -> list[str]:
    """Return notes on the parts of a checkpoint that a preset cannot hold."""
    notes = preset_tokenizer(files)[1]
    config = weights.config
    if weights.head is Head.MASKED_LM:
        notes.append(EPSILON)
    if config.attention_dropout != config.dropout:
        notes.append(
            f"KerasHub has one dropout, {config.dropout}: attention_dropout={config.attention_dropout} is only kept in "
            f"{METADATA}."
        )
    return notes
