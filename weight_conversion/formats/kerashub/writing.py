"""Presets of KerasHub's DistilBERT, a folder: the backbone, the text classifier, or the masked LM.

The classifier's head is computed as here; the layer norm of the masked LM's has another epsilon, which is said.
Fields of the configuration that KerasHub has no place for (label names, the kind of problem, ...) are kept in
metadata.json, which KerasHub does not mind. Parts of a tokenizer that it has no place for are lost, and so are settings
of a preset that have no place here; both are said.
"""

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

KERASHUB_VERSION = "0.32.0"  # whose presets these are like


# -- writing ----------------------------------------------------------------------------------------------------


def layout_files(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files of a preset.

    Raises:
        CheckpointError: KerasHub has no such head or architecture.
    """
    config, head = weights.config, weights.head
    _check(config, head)
    dtype = next(iter(tensors.values())).dtype
    table = stored_parameters(config, head)
    body = [parameter for parameter in table if is_of_backbone(parameter)]
    sizes = {theirs: getattr(config, ours) for theirs, ours in FIELDS.items()}
    backbone = keras_object("distil_bert_backbone", dtype, sizes)
    tokenizer, _ = preset_tokenizer({name: content for name, content in files.items() if isinstance(content, bytes)})
    preprocessor = None if tokenizer is None else preset_preprocessor(tokenizer, config, head)
    count = sum(math.prod(parameter.shape) for parameter in body)
    preset: Files = {name: content for name, content in files.items() if name in ("README.md", "LICENSE")}
    preset |= {
        CONFIG_FILE: json_bytes(backbone),
        METADATA: json_bytes(_metadata(config, count)),
        WEIGHTS: _writer("distil_bert_backbone", body, config, head, tensors),
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
    activation = config.activation if callable(config.activation) else ACTIVATIONS[config.activation]
    problems = {
        f"no {head.architecture}, only the bare body, a sequence classifier and a masked LM; say which with head": (
            head not in (Head.BASE, *TASK_MODELS)
        ),
        "no projector that is not tied to the word embeddings (tie_word_embeddings=False)": (
            head is Head.MASKED_LM and not config.tie_word_embeddings
        ),
        "no sinusoidal positions (sinusoidal_pos_embds)": config.sinusoidal_pos_embds,
        f"no activation {activation!r}, only {ACTIVATION!r}": activation != ACTIVATION,
        "no layers that lack heads (pruned_heads)": any(config.pruned_heads.values()),
    }
    found = [problem for problem, there in problems.items() if there]
    if found:
        raise CheckpointError(f"KerasHub's DistilBERT has {'; '.join(found)}.")


def _writer(name: str, table: list[Parameter], config: DistilBertConfig, head: Head, tensors: Tensors) -> Any:
    """Return what writes the arrays of some parameters to a path."""
    names = {"": name} | {f"layers/{group}": layer for group, layer in map(layer_of, table)}
    arrays = {
        place(parameter): reshaped(tensors[keras_name(parameter, head)], stored_shape(parameter, config.n_heads))
        for parameter in table
    }
    return lambda path: write_datasets(path, arrays, names)


def _metadata(config: DistilBertConfig, count: int) -> dict[str, Any]:
    return {
        "keras_version": KERAS_VERSION,
        "keras_hub_version": KERASHUB_VERSION,
        "parameter_count": count,
        "date_saved": "",
        "tasks": ["MaskedLM", "TextClassifier"],
        OURS: json.loads(config.to_json_string()),
    }


def unwritten(files: Mapping[str, bytes], weights: Weights) -> list[str]:
    """Return what of a checkpoint a preset has no place for, a sentence each."""
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
