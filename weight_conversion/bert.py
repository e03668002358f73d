"""BERT's tensors under DistilBERT's names.

DistilBERT is BERT without token types and without a pooler: the embedding of token type 0, which BERT adds to every
token of a text that is not the second of a pair, moves into the position embeddings, and the pooler is dropped. The
head that predicts masked tokens is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distilbert_core.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.errors import CheckpointError, ConfigError
from distilbert_core.parameters import BODY, Head, parameter_table
from weight_conversion.weights import check_sizes

PREFIX = "bert."  # of the body inside a BERT with a head
POSITIONS = "embeddings.position_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"

MODULES = {  # DistilBERT's name -> BERT's; {} is the layer
    "embeddings.word_embeddings": "embeddings.word_embeddings",
    "embeddings.position_embeddings": "embeddings.position_embeddings",
    "embeddings.LayerNorm": "embeddings.LayerNorm",
    "transformer.layer.{}.attention.q_lin": "encoder.layer.{}.attention.self.query",
    "transformer.layer.{}.attention.k_lin": "encoder.layer.{}.attention.self.key",
    "transformer.layer.{}.attention.v_lin": "encoder.layer.{}.attention.self.value",
    "transformer.layer.{}.attention.out_lin": "encoder.layer.{}.attention.output.dense",
    "transformer.layer.{}.sa_layer_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "transformer.layer.{}.ffn.lin1": "encoder.layer.{}.intermediate.dense",
    "transformer.layer.{}.ffn.lin2": "encoder.layer.{}.output.dense",
    "transformer.layer.{}.output_layer_norm": "encoder.layer.{}.output.LayerNorm",
}
MASKED_LM = {  # the same for the parameters of the masked-LM head
    "vocab_transform.weight": "cls.predictions.transform.dense.weight",
    "vocab_transform.bias": "cls.predictions.transform.dense.bias",
    "vocab_layer_norm.weight": "cls.predictions.transform.LayerNorm.weight",
    "vocab_layer_norm.bias": "cls.predictions.transform.LayerNorm.bias",
    "vocab_projector.weight": "cls.predictions.decoder.weight",
    "vocab_projector.bias": "cls.predictions.bias",
}
SECOND_BIAS = "cls.predictions.decoder.bias"  # the same array as cls.predictions.bias; a file may have either or both
OLD_LEAVES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # of TensorFlow's BERT
DROPPED = ("pooler.", "embeddings.position_ids", "cls.")  # beginnings of names without a place in DistilBERT's body

FIELDS = {  # BERT's field of config.json -> DistilBERT's
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "initializer_range": "initializer_range",
    "pad_token_id": "pad_token_id",
    "tie_word_embeddings": "tie_word_embeddings",
}
FIXED = {  # what DistilBERT cannot have otherwise; BERT's own defaults
    "model_type": "bert",
    "layer_norm_eps": NORM_EPSILON,
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}


def bert_to_distilbert(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> tuple[DistilBertConfig, dict[str, np.ndarray], list[str]]:
    """Return a BERT checkpoint as a DistilBERT that computes the same: the body, and the masked-LM head if it has one.

    The same, that is, where every token has type 0: a second text of a pair is token type 1 in BERT, and DistilBERT
    knows no such thing.

    Args:
        config: The fields of BERT's config.json.
        tensors: BERT's arrays by name, with or without the prefix 'bert.'.

    Returns:
        The configuration; the arrays by the names of `DistilBertModel`, or of `DistilBertForMaskedLM` if every tensor
        of that head is there, those of `tensors` themselves but for the position embeddings, which are summed in
        float64 and rounded to their own dtype; the names that were dropped.

    Raises:
        ConfigError: A field is impossible, or DistilBERT has nothing like it.
        CheckpointError: A tensor is missing, unknown, there twice, or has another shape than the configuration says.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import DistilBertConfig, Head, parameter_table
        >>> from weight_conversion import bert_names, bert_to_distilbert
        >>> sizes = {"vocab_size": 7, "max_position_embeddings": 3, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> sizes |= {"hidden_size": 2, "intermediate_size": 5}
        >>> small = DistilBertConfig(7, 3, n_layers=1, n_heads=1, dim=2, hidden_dim=5)
        >>> shapes = {parameter.name: parameter.shape for parameter in parameter_table(small, Head.NONE)}
        >>> tensors = {theirs: np.ones(shapes[ours]) for ours, theirs in bert_names(small).items()}
        >>> tensors["embeddings.token_type_embeddings.weight"] = np.array([[0.5, 0.25], [8.0, 8.0]])
        >>> tensors["pooler.dense.bias"] = np.ones(2)
        >>> config, arrays, dropped = bert_to_distilbert(sizes, tensors)
        >>> arrays["embeddings.position_embeddings.weight"][0].tolist(), dropped
        ([1.5, 1.25], ['pooler.dense.bias'])
    """
    new_config = _convert_config(config)
    check_sizes(new_config, {name: array.shape for name, array in tensors.items()}, "The BERT checkpoint")
    stored = _plain_names(tensors)
    head = Head.MASKED_LM if stored.keys() >= set(bert_names(new_config, Head.MASKED_LM).values()) else Head.NONE
    names = bert_names(new_config, head)
    shared = {MASKED_LM["vocab_projector.weight"], SECOND_BIAS} if head is Head.MASKED_LM else set()
    extra = {name for name in stored.keys() - names.values() if name.startswith(DROPPED)}
    _check_names({*names.values(), TOKEN_TYPES}, stored.keys() - extra)

    arrays = {ours: tensors[stored[theirs]] for ours, theirs in names.items()}
    token_types = tensors[stored[TOKEN_TYPES]]
    _check_shapes(new_config, head, arrays, token_types)
    table = POSITIONS if head is Head.NONE else f"{BODY}.{POSITIONS}"
    positions = arrays[table]
    arrays[table] = (positions.astype(np.float64) + token_types[0].astype(np.float64)).astype(positions.dtype)
    return new_config, arrays, sorted({stored[name] for name in extra - shared})


def bert_names(config: DistilBertConfig, head: Head = Head.NONE) -> dict[str, str]:
    """Return BERT's name, without prefix, of each parameter of a `DistilBertModel` or `DistilBertForMaskedLM`.

    The matrix of the head has no entry where it is the table of word embeddings.
    """
    modules = {
        ours.format(layer): theirs.format(layer) for layer in range(config.n_layers) for ours, theirs in MODULES.items()
    }
    names = {}
    for parameter in parameter_table(config, head):
        if parameter.tied_to is None:
            module, _, leaf = parameter.name.removeprefix(f"{BODY}.").rpartition(".")
            names[parameter.name] = MASKED_LM.get(parameter.name) or f"{modules[module]}.{leaf}"
    return names


def _convert_config(fields: Mapping[str, Any]) -> DistilBertConfig:
    for name, value in FIXED.items():
        if fields.get(name, value) != value:
            raise ConfigError(f"{name} must be {value!r} in a BERT that becomes a DistilBERT, got {fields[name]!r}.")
    fields = {"num_hidden_layers": 12, **fields}  # the one default of BERT's that is not DistilBERT's
    return DistilBertConfig(**{ours: fields[theirs] for theirs, ours in FIELDS.items() if theirs in fields})


def _plain_names(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return the stored name of each tensor by its name in today's BertModel."""
    stored: dict[str, str] = {}
    for name in tensors:
        plain = name.removeprefix(PREFIX)
        for old, new in OLD_LEAVES.items():
            plain = plain.removesuffix(old) + new if plain.endswith(old) else plain
        if plain in stored:
            raise CheckpointError(f"The BERT checkpoint holds {plain} twice, as {stored[plain]} and as {name}.")
        stored[plain] = name
    if SECOND_BIAS in stored:
        stored.setdefault(MASKED_LM["vocab_projector.bias"], stored[SECOND_BIAS])
    return stored


def _check_names(expected: set[str], found: set[str]) -> None:
    problems = {"lacks": expected - found, "holds unknown entries": found - expected}
    text = "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in problems.items() if names)
    if text:
        raise CheckpointError(f"The BERT checkpoint {text}. Expected the tensors of a BertModel.")


def _check_shapes(
    config: DistilBertConfig, head: Head, arrays: Mapping[str, np.ndarray], token_types: np.ndarray
) -> None:
    theirs = bert_names(config, head)
    wrong = [
        f"{theirs[parameter.name]} must have shape {parameter.shape}, got {arrays[parameter.name].shape}"
        for parameter in parameter_table(config, head)
        if parameter.name in arrays and arrays[parameter.name].shape != parameter.shape
    ]
    if token_types.ndim != 2 or token_types.shape[0] < 1 or token_types.shape[1] != config.dim:
        wrong.append(f"{TOKEN_TYPES} must have shape (types, {config.dim}), got {token_types.shape}")
    if wrong:
        raise CheckpointError(f"The BERT checkpoint does not fit its configuration: {'; '.join(wrong)}.")
