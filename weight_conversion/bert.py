"""BERT checkpoints as DistilBERT checkpoints.

DistilBERT is BERT without token types and without a pooler. BERT adds the embedding of token type 0 to every token,
except in the second text of a pair: here it is added to the position embeddings. The pooler is dropped. The heads for
masked LM, token classification and question answering are the same in both. The heads that read the pooler of BERT
differ: it has a tanh where DistilBERT's `pre_classifier` has a ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, ConfigError, InputError
from distilbert_core.model.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import BASE_MODEL
from distilbert_core.model.report import OLD_NORM_NAMES
from weight_conversion.weights import check_sizes

PREFIX = "bert."  # of the base model inside a BERT with a head
POSITIONS = "embeddings.position_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
WORDS = "embeddings.word_embeddings.weight"  # the same in both
POOLER = "pooler."
CLASSIFIER = "classifier."
BASE_MODULES = ("embeddings.", "encoder.")  # an unknown name that starts with one of them is always an error

MODULES = {  # name in DistilBERT -> name in BERT; {} is the layer
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
HEADS = {  # the same for the parameters of the heads that both have
    Head.BASE: {},
    Head.MASKED_LM: {
        "vocab_transform.weight": "cls.predictions.transform.dense.weight",
        "vocab_transform.bias": "cls.predictions.transform.dense.bias",
        "vocab_layer_norm.weight": "cls.predictions.transform.LayerNorm.weight",
        "vocab_layer_norm.bias": "cls.predictions.transform.LayerNorm.bias",
        "vocab_projector.weight": "cls.predictions.decoder.weight",
        "vocab_projector.bias": "cls.predictions.bias",
    },
    Head.TOKEN_CLASSIFICATION: {"classifier.weight": "classifier.weight", "classifier.bias": "classifier.bias"},
    Head.QUESTION_ANSWERING: {"qa_outputs.weight": "qa_outputs.weight", "qa_outputs.bias": "qa_outputs.bias"},
}
# The classifiers of these classes have the same name. The first reads the tokens, the others read the pooler.
TOKEN_CLASSIFIER = "BertForTokenClassification"
POOLED_CLASSIFIERS = {"BertForSequenceClassification", "BertForMultipleChoice"}
SECOND_BIAS = "cls.predictions.decoder.bias"  # the same array as cls.predictions.bias; a file has one or both
SHARED = {  # second copies that BERT may store -> the original
    "cls.predictions.decoder.weight": WORDS,
    SECOND_BIAS: "cls.predictions.bias",
}
DROPPED = (POOLER, "embeddings.position_ids", "cls.")  # tensors that start with these are dropped

FIELDS = {  # field of BERT -> field of DistilBERT; all other fields are kept
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "classifier_dropout": "seq_classif_dropout",
}
FIXED = {  # fields of BERT that must have their default value
    "model_type": "bert",
    "layer_norm_eps": NORM_EPSILON,
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
# Prefixes of fields on the class, the pooler and the token types, which are dropped.
MEANINGLESS = ("architectures", "type_vocab_size", "pooler_")


def bert_to_distilbert(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray], head: Head | None = None
) -> tuple[DistilBertConfig, dict[str, np.ndarray], list[str]]:
    """Return a BERT checkpoint as a DistilBERT with the same outputs: the base model, and the head if both have it.

    The outputs are the same if every token has type 0. The second text of a pair has token type 1 in BERT, which
    DistilBERT lacks.

    Args:
        config: The fields of BERT's config.json.
        tensors: BERT's arrays by name, with or without the prefix 'bert.'.
        head: Head of the result. Only the base model is returned if the BERT has another head. None: the head of the
            BERT, which must be one that DistilBERT has.

    Returns:
        The configuration, with the labels of BERT. The arrays by canonical name: the same objects as in `tensors`,
        except the position embeddings, which are summed in float64 and rounded to their dtype. Notes on everything that
        was dropped or changed.

    Raises:
        ConfigError: A field has an impossible value, or one that DistilBERT does not support.
        CheckpointError: A tensor is missing, unknown, stored twice, or does not have the shape that follows from the
            configuration; or no `head` is given and DistilBERT does not have the head of the BERT.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import DistilBertConfig, Head, parameter_table
        >>> from weight_conversion import bert_names, bert_to_distilbert
        >>> sizes = {"vocab_size": 7, "max_position_embeddings": 3, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> sizes |= {"hidden_size": 2, "intermediate_size": 5}
        >>> small = DistilBertConfig(7, 3, n_layers=1, n_heads=1, dim=2, hidden_dim=5)
        >>> shapes = {parameter.name: parameter.shape for parameter in parameter_table(small, Head.BASE)}
        >>> tensors = {theirs: np.ones(shapes[ours]) for ours, theirs in bert_names(small).items()}
        >>> tensors["embeddings.token_type_embeddings.weight"] = np.array([[0.5, 0.25]])
        >>> tensors["pooler.dense.bias"] = np.ones(2)
        >>> config, arrays, notes = bert_to_distilbert(sizes, tensors)
        >>> arrays["embeddings.position_embeddings.weight"][0].tolist()
        [1.5, 1.25]
        >>> notes[-1]
        'Dropped, as DistilBertModel has no such parameters: pooler.dense.bias.'
    """
    new_config = _convert_config(config)
    check_sizes(new_config, {name: array.shape for name, array in tensors.items()}, "The BERT checkpoint")
    stored = _plain_names(tensors)
    architectures = set(config.get("architectures") or ())
    common = _common_head(new_config, architectures, stored.keys(), head)
    names = bert_names(new_config, common)
    expected = {*names.values(), TOKEN_TYPES}
    dropped = {name for name in stored.keys() - expected if _is_droppable(name, head)}
    _check_names(expected, stored.keys() - dropped, architectures)

    arrays = {ours: tensors[stored[theirs]] for ours, theirs in names.items()}
    token_types = tensors[stored[TOKEN_TYPES]]
    _check_shapes(new_config, common, arrays, token_types)
    table = POSITIONS if common is Head.BASE else f"{BASE_MODEL}.{POSITIONS}"
    positions = arrays[table]
    arrays[table] = (positions.astype(np.float64) + token_types[0].astype(np.float64)).astype(positions.dtype)

    notes = [_token_types_note(len(token_types)), *_dropout_notes(config, new_config, common)]
    if common is Head.QUESTION_ANSWERING:
        new_config.qa_dropout = 0.0  # BERT has no dropout there
    if common is Head.MASKED_LM:
        for copy in sorted(dropped & SHARED.keys()):
            if not np.array_equal(tensors[stored[copy]], tensors[stored[SHARED[copy]]]):
                notes.append(f"Dropped, as BERT has {SHARED[copy]} in its place: {stored[copy]}, which differs.")
        dropped -= SHARED.keys()
    if dropped:
        listed = ", ".join(sorted({stored[name] for name in dropped}))
        notes.append(f"Dropped, as {common.architecture} has no such parameters: {listed}.")
    return new_config, arrays, notes


def bert_names(config: DistilBertConfig, head: Head = Head.BASE) -> dict[str, str]:
    """Return the name in BERT, without prefix, of each parameter of a DistilBERT model.

    The kernel of the masked-LM head has no entry if it is tied to the word embeddings.

    Args:
        config: The configuration.
        head: One of the heads that BERT has too: none, masked LM, token classification, question answering.

    Raises:
        InputError: BERT does not have this head.
    """
    if head not in HEADS:
        known = ", ".join(str(known) for known in HEADS)
        raise InputError(f"head must be one that BERT has too ({known}), got {str(head)!r}.")
    modules = {
        ours.format(layer): theirs.format(layer) for layer in range(config.n_layers) for ours, theirs in MODULES.items()
    }
    names = {}
    for parameter in parameter_table(config, head):
        if parameter.tied_to is None:
            module, _, leaf = parameter.name.removeprefix(f"{BASE_MODEL}.").rpartition(".")
            names[parameter.name] = HEADS[head].get(parameter.name) or f"{modules[module]}.{leaf}"
    return names


def _convert_config(fields: Mapping[str, Any]) -> DistilBertConfig:
    for name, value in FIXED.items():
        if fields.get(name, value) != value:
            raise ConfigError(f"{name} must be {value!r} in a BERT that becomes a DistilBERT, got {fields[name]!r}.")
    fields = {"num_hidden_layers": 12, **fields}  # the only default that differs between BERT and DistilBERT
    if fields.get("classifier_dropout") is None:  # then BERT uses the dropout of its layers
        fields.pop("classifier_dropout", None)
    gone = FIELDS.keys() | FIXED.keys()
    kept = {name: value for name, value in fields.items() if name not in gone and not name.startswith(MEANINGLESS)}
    renamed = {ours: fields[theirs] for theirs, ours in FIELDS.items() if theirs in fields}
    return DistilBertConfig.from_dict(kept | renamed)


def _plain_names(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return the stored name of each tensor by its name in the current BertModel."""
    stored: dict[str, str] = {}
    for name in tensors:
        plain = name.removeprefix(PREFIX)
        for new, old in OLD_NORM_NAMES.items():
            plain = plain.removesuffix(old) + new if plain.endswith(old) else plain
        if plain in stored:
            raise CheckpointError(f"The BERT checkpoint holds {plain} twice, as {stored[plain]} and as {name}.")
        stored[plain] = name
    if SECOND_BIAS in stored:
        stored.setdefault(SHARED[SECOND_BIAS], stored[SECOND_BIAS])
    return stored


def _common_head(config: DistilBertConfig, architectures: Set[str], names: Set[str], requested: Head | None) -> Head:
    """Return the head of a BERT if DistilBERT has it too, and if it is the requested one; else `Head.BASE`."""
    common = []
    for head, parameters in HEADS.items():
        tied = {parameter.name for parameter in parameter_table(config, head) if parameter.tied_to is not None}
        if names >= {theirs for ours, theirs in parameters.items() if ours not in tied}:
            common.append(head)
    if Head.TOKEN_CLASSIFICATION in common and TOKEN_CLASSIFIER not in architectures:
        unnamed = not architectures and not any(name.startswith(POOLER) for name in names)
        if architectures & POOLED_CLASSIFIERS or not (unnamed or requested is Head.TOKEN_CLASSIFICATION):
            common.remove(Head.TOKEN_CLASSIFICATION)
    if requested is None:
        return common[-1]
    return requested if requested in common else Head.BASE


def _is_droppable(name: str, requested: Head | None) -> bool:
    """Return whether a tensor may be dropped: if a head is requested, any tensor outside the base model may."""
    return name.startswith(DROPPED) or (requested is not None and not name.startswith(BASE_MODULES))


def _check_names(expected: set[str], stored: set[str], architectures: Set[str]) -> None:
    unknown = stored - expected
    problems = {"lacks": expected - stored, "holds unknown entries": unknown}
    text = "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in problems.items() if names)
    if not text:
        return
    advice = "Expected the tensors of a BertModel, or of one for masked LM, token classification or question answering."
    if all(name.startswith(BASE_MODULES) for name in unknown):
        raise CheckpointError(f"The BERT checkpoint {text}. {advice}")
    if any(name.startswith(CLASSIFIER) for name in unknown):
        advice = (
            "A classifier that reads BERT's pooler, which has a tanh where DistilBERT's pre_classifier has a ReLU, "
            "cannot become DistilBERT's."
        )
        if not architectures & POOLED_CLASSIFIERS:
            advice += " If it classifies tokens, give head=Head.TOKEN_CLASSIFICATION."
    raise CheckpointError(
        f"The BERT checkpoint {text}. {advice} Give head=Head.BASE (--head DistilBertModel) for the base model "
        "alone, or another head for the base model with a new head, which must be trained."
    )


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


def _dropout_notes(fields: Mapping[str, Any], config: DistilBertConfig, head: Head) -> list[str]:
    rate = fields.get("classifier_dropout")
    if head is not Head.TOKEN_CLASSIFICATION or rate in (None, config.dropout):
        return []
    return [
        f"classifier_dropout={rate} was dropped: DistilBERT's token classifier has the dropout of its layers, "
        f"{config.dropout}."
    ]


def _token_types_note(count: int) -> str:
    note = "The embedding of token type 0 was added to the position embeddings"
    if count == 1:
        return f"{note}."
    others = "that of type 1 was dropped" if count == 2 else f"those of types 1 to {count - 1} were dropped"
    return f"{note}; {others}, so the second text of a pair is computed like the first."
