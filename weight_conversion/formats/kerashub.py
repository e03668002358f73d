"""Presets of KerasHub's DistilBERT, a folder: the backbone, or the text classifier, whose head is computed as here.

What KerasHub has no place for (label names, the kind of problem, ...) is kept in metadata.json, which KerasHub does not
mind. A classifier that was made with another output activation than none has the same weights: here it gives logits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distilbert_core.config import ACTIVATIONS, CONFIG_FILE, DistilBertConfig
from distilbert_core.errors import CheckpointError
from distilbert_core.parameters import BODY, Head, Kind, Parameter, parameter_table
from weight_conversion.formats.base import Files, Format, Tensors, damaged
from weight_conversion.formats.hdf5 import VARIABLES, open_datasets, write_datasets
from weight_conversion.formats.keras_files import KERAS_VERSION, WEIGHTS, keras_name
from weight_conversion.weights import Tensor, Weights

TASK, TASK_WEIGHTS = "task.json", "task.weights.h5"
TOKENIZER, VOCABULARY = "tokenizer.json", "assets/tokenizer/vocabulary.txt"
PREPROCESSOR = "preprocessor.json"
METADATA = "metadata.json"
VOCABULARY_FILE, TOKENIZER_CONFIG = "vocab.txt", "tokenizer_config.json"  # the Hub's
OURS = "distilbert_config"  # the entry of metadata.json that holds what KerasHub has no place for
KERASHUB_VERSION = "0.32.0"  # whose presets these are like
ACTIVATION = "gelu"  # the only one it has
HEADS = (Head.NONE, Head.SEQUENCE_CLASSIFICATION)

MODULES = {  # canonical module -> group of its layer, and KerasHub's name of it
    "embeddings.word_embeddings": ("token_and_position_embedding/token_embedding", "token_embedding"),
    "embeddings.position_embeddings": ("token_and_position_embedding/position_embedding", "position_embedding"),
    "embeddings.LayerNorm": ("layer_normalization", "embeddings_layer_norm"),
    "transformer.layer.{}.attention.q_lin": ("{}/_self_attention_layer/query_dense", "query"),
    "transformer.layer.{}.attention.k_lin": ("{}/_self_attention_layer/key_dense", "key"),
    "transformer.layer.{}.attention.v_lin": ("{}/_self_attention_layer/value_dense", "value"),
    "transformer.layer.{}.attention.out_lin": ("{}/_self_attention_layer/output_dense", "attention_output"),
    "transformer.layer.{}.sa_layer_norm": ("{}/_self_attention_layer_norm", "self_attention_layer_norm"),
    "transformer.layer.{}.ffn.lin1": ("{}/_feedforward_intermediate_dense", "feedforward_intermediate_dense"),
    "transformer.layer.{}.ffn.lin2": ("{}/_feedforward_output_dense", "feedforward_output_dense"),
    "transformer.layer.{}.output_layer_norm": ("{}/_feedforward_layer_norm", "feedforward_layer_norm"),
    "pre_classifier": ("dense", "pooled_dense"),  # these two are in the task's file
    "classifier": ("dense_1", "logits"),
}
FIELDS = {  # of the backbone -> of DistilBERT
    "vocabulary_size": "vocab_size",
    "max_sequence_length": "max_position_embeddings",
    "num_layers": "n_layers",
    "num_heads": "n_heads",
    "hidden_dim": "dim",
    "intermediate_dim": "hidden_dim",
    "dropout": "dropout",
}
TASK_FIELDS = {"num_classes": "num_labels", "dropout": "seq_classif_dropout"}  # of the classifier


def layer_of(parameter: Parameter) -> tuple[str, str]:
    """Return the group of a parameter's layer below 'layers', and the layer's name."""
    module = parameter.name.removeprefix(f"{BODY}.").rpartition(".")[0]
    number = next((part for part in module.split(".") if part.isdigit()), None)
    if number is None:
        return MODULES[module]
    group, name = MODULES[module.replace(f".{number}.", ".{}.")]
    return group.format("transformer_encoder" if number == "0" else f"transformer_encoder_{number}"), name


def place(parameter: Parameter) -> str:
    """Return where a parameter is in its file; a layer's bias comes after its kernel or scale."""
    index = int(parameter.kind in (Kind.BIAS, Kind.NORM_BIAS))
    return f"layers/{layer_of(parameter)[0]}/{VARIABLES}/{index}"


def dense_shape(parameter: Parameter) -> tuple[int, ...]:
    """Return the shape that a parameter has in Keras' dense layers, whose kernels are [in, out]."""
    return parameter.shape[::-1] if parameter.kind is Kind.KERNEL else parameter.shape


def stored_shape(parameter: Parameter, heads: int) -> tuple[int, ...]:
    """Return the shape that a parameter has in a preset, which splits the projections of the attention into heads."""
    shape = dense_shape(parameter)
    if parameter.name.split(".")[-2] in ("q_lin", "k_lin", "v_lin"):
        return (*shape[:-1], heads, shape[-1] // heads)
    if parameter.name.endswith("out_lin.weight"):
        return (heads, shape[0] // heads, shape[1])
    return shape


# -- reading ----------------------------------------------------------------------------------------------------


def is_preset(path: Path) -> bool:
    """Whether a file of weights belongs to a preset of KerasHub."""
    config = path.with_name(CONFIG_FILE)
    return config.is_file() and str(_json(config).get("module")).startswith(("keras_hub.", "keras_nlp."))


def read_config(path: Path) -> DistilBertConfig:
    """Return the configuration of the preset that a file of weights belongs to.

    Raises:
        CheckpointError: A file of the preset is damaged, or it is no DistilBERT.
        ConfigError: A field has an impossible value.
    """
    fields = _fields(path.with_name(CONFIG_FILE), "DistilBertBackbone", FIELDS)
    fields = {"attention_dropout": fields["dropout"]} | _our_fields(path) | fields  # KerasHub has one dropout for both
    if _has_classifier(path):
        fields |= _fields(path.with_name(TASK), "DistilBertTextClassifier", TASK_FIELDS)
        labels = fields.get("id2label")
        if isinstance(labels, dict) and len(labels) != fields["num_labels"]:
            del fields["id2label"], fields["label2id"]
    return DistilBertConfig.from_dict({**fields, "architectures": [_head(path).architecture]})


def _our_fields(path: Path) -> dict[str, Any]:
    metadata = path.with_name(METADATA)
    fields = _json(metadata).get(OURS) if metadata.is_file() else None
    return fields if isinstance(fields, dict) else {}


def _fields(path: Path, wanted: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Return fields of an object that Keras wrote into a file, by their names here."""
    content = _json(path)
    if content.get("class_name") != wanted:
        raise CheckpointError(f"{path} must describe a {wanted}, got {content.get('class_name')!r}.")
    config = content.get("config")
    if not isinstance(config, dict) or not names.keys() <= config.keys():
        raise CheckpointError(f"{path} lacks some of the fields {', '.join(names)} of a {wanted}.")
    return {ours: config[theirs] for theirs, ours in names.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, "JSON", error) from error
    return content if isinstance(content, dict) else {}


def _has_classifier(path: Path) -> bool:
    task = path.with_name(TASK)
    return task.is_file() and _json(task).get("class_name") == "DistilBertTextClassifier"


def _head(path: Path) -> Head:
    return Head.SEQUENCE_CLASSIFICATION if _has_classifier(path) else Head.NONE


def open_preset(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a preset whose backbone is at `path`, in the shapes of plain dense layers."""
    config, head = read_config(path), _head(path)
    backbone = _arrays(path)
    task_weights = path.with_name(TASK_WEIGHTS)
    if head is not Head.NONE and not task_weights.is_file():
        raise CheckpointError(f"{task_weights} is not there; remove {TASK} too if it is the backbone that you want.")
    task = _arrays(task_weights) if task_weights.is_file() else {}
    found = {}
    for parameter in parameter_table(config, head):
        tensor = (backbone if _is_backbone(parameter) else task).pop(place(parameter), None)
        if tensor is not None:
            if tensor.shape == stored_shape(parameter, config.n_heads):
                tensor = _reshaped(tensor, dense_shape(parameter))
            found[keras_name(parameter, head)] = tensor
    rest = backbone | task  # what this project has nothing like
    return found | {where: rest[where] for where in rest if not where.startswith("optimizer/")}


def _is_backbone(parameter: Parameter) -> bool:
    return "layers/dense" not in place(parameter)


def _arrays(path: Path) -> dict[str, Tensor]:
    datasets, _ = open_datasets(path)
    return {where.replace("_layer_checkpoint_dependencies", "layers"): array for where, array in datasets.items()}


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return replace(tensor, shape=shape, read=lambda: tensor.read().reshape(shape))


def companions(path: Path) -> dict[str, bytes]:
    """Return the vocabulary and the settings of a preset's tokenizer in the Hub's form."""
    vocabulary, tokenizer = path.parent / VOCABULARY, path.with_name(TOKENIZER)
    if not vocabulary.is_file() or not tokenizer.is_file():
        return {}
    config = _json(tokenizer).get("config")
    config = config if isinstance(config, dict) else {}
    settings = {"do_lower_case": bool(config.get("lowercase")), "strip_accents": bool(config.get("strip_accents"))}
    return {VOCABULARY_FILE: vocabulary.read_bytes(), TOKENIZER_CONFIG: json.dumps(settings, indent=2).encode()}


# -- writing ----------------------------------------------------------------------------------------------------


def arrange(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files of a preset.

    Raises:
        CheckpointError: KerasHub has no such head or architecture.
    """
    config, head = weights.config, weights.head
    _check(config, head)
    dtype = next(iter(tensors.values())).dtype
    table = parameter_table(config, head)
    body = [parameter for parameter in table if _is_backbone(parameter)]
    sizes = {theirs: getattr(config, ours) for theirs, ours in FIELDS.items()}
    backbone = _object("distil_bert_backbone", dtype, sizes)
    preprocessor = _preprocessor(files, config)
    count = sum(math.prod(parameter.shape) for parameter in body)
    preset: Files = {name: content for name, content in files.items() if name in ("README.md", "LICENSE")}
    preset |= {
        CONFIG_FILE: _text(backbone),
        METADATA: _text(_metadata(config, count)),
        WEIGHTS: _writer("distil_bert_backbone", body, config, head, tensors),
    }
    if head is Head.SEQUENCE_CLASSIFICATION:
        task = {theirs: getattr(config, ours) for theirs, ours in TASK_FIELDS.items()}
        task |= {"backbone": backbone, "preprocessor": preprocessor, "activation": "linear", "hidden_dim": config.dim}
        preset[TASK] = _text(_object("distil_bert_text_classifier", None, task))
        top = [parameter for parameter in table if not _is_backbone(parameter)]
        preset[TASK_WEIGHTS] = _writer("distil_bert_text_classifier", top, config, head, tensors)
    if preprocessor is not None:
        preset[PREPROCESSOR] = _text(preprocessor)
        preset[TOKENIZER] = _text(preprocessor["config"]["tokenizer"])
        preset[VOCABULARY] = _vocabulary(files) or b""
    return preset


def _check(config: DistilBertConfig, head: Head) -> None:
    activation = config.activation if callable(config.activation) else ACTIVATIONS[config.activation]
    problems = {
        f"no {head.architecture}, only the bare body and a sequence classifier; say which with head": head not in HEADS,
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
        place(parameter): _reshaped(tensors[keras_name(parameter, head)], stored_shape(parameter, config.n_heads))
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


def _preprocessor(files: Files, config: DistilBertConfig) -> dict[str, Any] | None:
    """Return what makes texts into inputs, or None if there is no vocabulary."""
    if _vocabulary(files) is None:
        return None
    settings = json.loads(_content(files, TOKENIZER_CONFIG) or b"{}")
    lowercase = settings.get("do_lower_case", True)
    strip_accents = settings.get("strip_accents")
    tokenizer = {
        "config_file": TOKENIZER,
        "vocabulary": None,  # it is in a file of its own
        "sequence_length": None,
        "lowercase": lowercase,
        "strip_accents": lowercase if strip_accents is None else strip_accents,
        "split": True,
        "suffix_indicator": "##",
        "oov_token": "[UNK]",
        "special_tokens": None,
        "special_tokens_in_strings": False,
    }
    fields = {
        "tokenizer": _object("distil_bert_tokenizer", "int32", tokenizer),
        "config_file": PREPROCESSOR,
        "sequence_length": config.max_position_embeddings,
        "truncate": "round_robin",
    }
    return _object("distil_bert_text_classifier_preprocessor", "float32", fields)


def _vocabulary(files: Files) -> bytes | None:
    """Return the tokens, one on each line, from whichever file holds them."""
    if VOCABULARY_FILE in files:
        return _content(files, VOCABULARY_FILE)
    vocabulary = json.loads(_content(files, TOKENIZER) or b"{}").get("model", {}).get("vocab", {})
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if not tokens or [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        return None
    return "".join(f"{token}\n" for token in tokens).encode()


def _content(files: Files, name: str) -> bytes | None:
    content = files.get(name)
    return content if isinstance(content, bytes) else None


def _object(name: str, dtype: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Keras makes an object of KerasHub from, whose class and module have the same name."""
    kind = name.title().replace("_", "")
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}
    return {
        "module": f"keras_hub.src.models.distil_bert.{name}",
        "class_name": kind,
        "config": {"name": name} | ({"trainable": True, "dtype": policy} if dtype else {}) | dict(config),
        "registered_name": f"keras_hub>{kind}",
    }


def _text(content: Any) -> bytes:
    return (json.dumps(content, indent=4) + "\n").encode()


FORMAT = Format(
    "kerashub",
    "preset of KerasHub",
    WEIGHTS,
    keras_name,
    open_preset,
    lambda path, tensors, head: None,
    split=False,
    beside=(CONFIG_FILE, METADATA, TASK, TASK_WEIGHTS, PREPROCESSOR, TOKENIZER, VOCABULARY),
    recognise=is_preset,
    read_config=read_config,
    companions=companions,
    arrange=arrange,
)
