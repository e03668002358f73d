"""Presets of KerasHub's DistilBERT, a folder: the backbone, the text classifier, or the masked LM.

The classifier's head is computed as here; the layer norm of the masked LM's has another epsilon, which is said.
Fields of the configuration that KerasHub has no place for (label names, the kind of problem, ...) are kept in
metadata.json, which KerasHub does not mind. Parts of a tokenizer that it has no place for are lost, and so are settings
of a preset that have no place here; both are said.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert_core.errors import CheckpointError, DistilBertError
from distilbert_core.model.config import ACTIVATIONS, CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import BASE_MODEL, Kind, Parameter
from weight_conversion.companions import TOKENIZER_FILES, load_tokenizer
from weight_conversion.formats.base import Files, Format, Tensors, damaged
from weight_conversion.formats.hdf5 import VARIABLES, open_datasets, write_datasets
from weight_conversion.formats.keras_files import KERAS_VERSION, WEIGHTS, keras_name, policy_name
from weight_conversion.weights import DTYPES, Tensor, Weights

if TYPE_CHECKING:
    from distilbert_core.tokenization import DistilBertTokenizer

TASK, TASK_WEIGHTS = "task.json", "task.weights.h5"
TOKENIZER, VOCABULARY = "tokenizer.json", "assets/tokenizer/vocabulary.txt"
PREPROCESSOR = "preprocessor.json"
METADATA = "metadata.json"
VOCABULARY_FILE, TOKENIZER_CONFIG = "vocab.txt", "tokenizer_config.json"  # the Hub's
OURS = "distilbert_config"  # the entry of metadata.json that holds what KerasHub has no place for
KERASHUB_VERSION = "0.32.0"  # whose presets these are like
ACTIVATION = "gelu"  # the only one it has

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
}
TASK_MODULES = {  # the same of the layers in the task's file
    "pre_classifier": ("dense", "pooled_dense"),
    "classifier": ("dense_1", "logits"),
    "vocab_transform": ("masked_lm_head/_intermediate_dense", "intermediate_dense"),
    "vocab_layer_norm": ("masked_lm_head/_intermediate_layer_norm", "intermediate_layer_norm"),
    "vocab_projector": ("masked_lm_head", "mlm_head"),
}
FIRST = "vocab_projector.bias"  # the first variable of its layer, whose kernel is the word embeddings
FIELDS = {  # of the backbone -> of DistilBERT
    "vocabulary_size": "vocab_size",
    "max_sequence_length": "max_position_embeddings",
    "num_layers": "n_layers",
    "num_heads": "n_heads",
    "hidden_dim": "dim",
    "intermediate_dim": "hidden_dim",
    "dropout": "dropout",
}
TOKENIZER_CLASSES = ("DistilBert", "Bert", "PreTrained", "Tokenizers")  # beginnings of the names of classes like ours
SPECIAL_TOKENS = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}  # of all


@dataclass(frozen=True)
class Task:
    """What KerasHub calls a model with a head.

    Attributes:
        name: Name of its class and module.
        fields: Fields of the task -> of DistilBERT.
        masking: Settings of its preprocessor that others do not have, at their usual values.
    """

    name: str
    fields: Mapping[str, str] = field(default_factory=dict)
    masking: Mapping[str, Any] = field(default_factory=dict)


TASKS = {
    Head.SEQUENCE_CLASSIFICATION: Task(
        "distil_bert_text_classifier", {"num_classes": "num_labels", "dropout": "seq_classif_dropout"}
    ),
    Head.MASKED_LM: Task(
        "distil_bert_masked_lm",
        masking={
            "mask_selection_rate": 0.15,
            "mask_selection_length": 96,
            "mask_token_rate": 0.8,
            "random_token_rate": 0.1,
        },
    ),
}
TASK_FIELDS = TASKS[Head.SEQUENCE_CLASSIFICATION].fields
EPSILON = (
    "The layer norm of KerasHub's masked-LM head has the epsilon 1e-5, DistilBERT's 1e-12: the weights are the same, "
    "the logits differ slightly."
)
# File -> settings in it that have no place here, with the value that says nothing. All others must be in `READ`.
SETTINGS: dict[str, dict[str, Any]] = {
    CONFIG_FILE: {"trainable": True},
    TASK: {"trainable": True},
    PREPROCESSOR: {"trainable": True, "truncate": "round_robin", **TASKS[Head.MASKED_LM].masking},
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


def layer_of(parameter: Parameter) -> tuple[str, str]:
    """Return the group of a parameter's layer below 'layers', and the layer's name."""
    module = _module(parameter)
    if module in TASK_MODULES:
        return TASK_MODULES[module]
    layer = parameter.layer
    if layer is None:
        return MODULES[module]
    group, name = MODULES[module.replace(f".{layer}.", ".{}.")]
    return group.format(f"transformer_encoder_{layer}" if layer else "transformer_encoder"), name


def _module(parameter: Parameter) -> str:
    return parameter.name.removeprefix(f"{BASE_MODEL}.").rpartition(".")[0]


def place(parameter: Parameter) -> str:
    """Return where a parameter is in its file; a layer's bias comes after its kernel or scale."""
    index = int(parameter.kind in (Kind.BIAS, Kind.NORM_BIAS) and parameter.name != FIRST)
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
    head = _head(path)
    if head in TASKS:
        fields |= _fields(path.with_name(TASK), _kind(TASKS[head].name), TASKS[head].fields)
    if head is Head.MASKED_LM:
        fields["tie_word_embeddings"] = True
    if head is Head.SEQUENCE_CLASSIFICATION and _has_stale_labels(fields):
        fields = {name: value for name, value in fields.items() if name not in ("id2label", "label2id")}
    return DistilBertConfig.from_dict({**fields, "architectures": [head.architecture]})


def _has_stale_labels(fields: Mapping[str, Any]) -> bool:
    """Return whether the label names that were kept are not those of as many classes as the classifier has."""
    labels = fields.get("id2label")
    return isinstance(labels, dict) and len(labels) != fields["num_labels"]


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


def _head(path: Path) -> Head:
    file = path.with_name(TASK)
    kind = _json(file).get("class_name") if file.is_file() else None
    return next((head for head, task in TASKS.items() if _kind(task.name) == kind), Head.BASE)


def open_preset(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a preset whose backbone is at `path`, in the shapes of plain dense layers."""
    config, head = read_config(path), _head(path)
    backbone = _arrays(path)
    task_weights = path.with_name(TASK_WEIGHTS)
    if head is not Head.BASE and not task_weights.is_file():
        raise CheckpointError(f"{task_weights} is not there; remove {TASK} too if it is the backbone that you want.")
    task = _arrays(task_weights) if task_weights.is_file() else {}
    found = {}
    for parameter in _stored(config, head):
        tensor = (backbone if _is_backbone(parameter) else task).pop(place(parameter), None)
        if tensor is not None:
            if tensor.shape == stored_shape(parameter, config.n_heads):
                tensor = _reshaped(tensor, dense_shape(parameter))
            found[keras_name(parameter, head)] = tensor
    return found | backbone | task  # the rest is what this project has nothing like


def _stored(config: DistilBertConfig, head: Head) -> list[Parameter]:
    return [parameter for parameter in parameter_table(config, head) if parameter.tied_to is None]


def _is_backbone(parameter: Parameter) -> bool:
    return _module(parameter) not in TASK_MODULES


def _arrays(path: Path) -> dict[str, Tensor]:
    datasets, _ = open_datasets(path)
    return {where.replace("_layer_checkpoint_dependencies", "layers"): array for where, array in datasets.items()}


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return replace(tensor, shape=shape, read=lambda: tensor.read().reshape(shape))


def companions(path: Path) -> dict[str, bytes]:
    """Return the vocabulary and the settings of a preset's tokenizer in the Hub's form."""
    vocabulary, config = path.parent / VOCABULARY, _config(path.with_name(TOKENIZER))
    if not vocabulary.is_file() or not config:
        return {}
    settings = {
        "do_lower_case": bool(config.get("lowercase")),
        "strip_accents": bool(config.get("strip_accents")),
        "tokenize_chinese_chars": bool(config.get("split_on_cjk", True)),
        "unk_token": config.get("oov_token", "[UNK]"),
        "model_max_length": _config(path.with_name(PREPROCESSOR)).get("sequence_length"),
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    return {VOCABULARY_FILE: vocabulary.read_bytes(), TOKENIZER_CONFIG: json.dumps(settings, indent=2).encode()}


def _config(path: Path) -> dict[str, Any]:
    """Return the settings of an object that Keras wrote into a file; none if there is no such file."""
    config = _json(path).get("config") if path.is_file() else None
    return config if isinstance(config, dict) else {}


def unread(path: Path) -> list[str]:
    """Return what of a preset has no place here, a sentence each."""
    notes = []
    backbone, task = _config(path.with_name(CONFIG_FILE)), _config(path.with_name(TASK))
    policy = policy_name(backbone.get("dtype"))
    if policy is not None and policy not in DTYPES:
        notes.append(f"The dtype policy {policy!r} of {CONFIG_FILE} was dropped.")
    head = _head(path)
    if head is Head.MASKED_LM:
        notes.append(EPSILON)
    elif head is Head.BASE and task:
        kind = _json(path.with_name(TASK)).get("class_name")
        notes.append(f"{TASK} describes a {kind}, of which only the backbone is read.")
    elif task:
        if task.get("activation") not in (None, "linear"):
            notes.append(f"The activation {task['activation']!r} of {TASK} was dropped: the classifier gives logits.")
        if _has_stale_labels(_our_fields(path) | {"num_labels": task["num_classes"]}):
            notes.append(f"The label names of {METADATA} were dropped: {TASK} has {task['num_classes']} classes.")
    if path.with_name(TOKENIZER).is_file() and not (path.parent / VOCABULARY).is_file():
        notes.append(f"{TOKENIZER} was dropped: its vocabulary {VOCABULARY} is not there.")
    for file, usual in SETTINGS.items():
        unusual = [
            f"{name}={reprlib.repr(value)}"
            for name, value in _config(path.with_name(file)).items()
            if (value not in (usual[name], None) if name in usual else name not in READ)
        ]
        if unusual:
            notes.append(f"Settings of {file} that have no place here: {', '.join(unusual)}.")
    return notes


# -- writing ----------------------------------------------------------------------------------------------------


def arrange(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files of a preset.

    Raises:
        CheckpointError: KerasHub has no such head or architecture.
    """
    config, head = weights.config, weights.head
    _check(config, head)
    dtype = next(iter(tensors.values())).dtype
    table = _stored(config, head)
    body = [parameter for parameter in table if _is_backbone(parameter)]
    sizes = {theirs: getattr(config, ours) for theirs, ours in FIELDS.items()}
    backbone = _object("distil_bert_backbone", dtype, sizes)
    tokenizer, _ = _tokenizer({name: content for name, content in files.items() if isinstance(content, bytes)})
    preprocessor = None if tokenizer is None else _preprocessor(tokenizer, config, head)
    count = sum(math.prod(parameter.shape) for parameter in body)
    preset: Files = {name: content for name, content in files.items() if name in ("README.md", "LICENSE")}
    preset |= {
        CONFIG_FILE: _text(backbone),
        METADATA: _text(_metadata(config, count)),
        WEIGHTS: _writer("distil_bert_backbone", body, config, head, tensors),
    }
    if head in TASKS:
        task = {theirs: getattr(config, ours) for theirs, ours in TASKS[head].fields.items()}
        task |= {"backbone": backbone, "preprocessor": preprocessor}
        if head is Head.SEQUENCE_CLASSIFICATION:
            task |= {"activation": "linear", "hidden_dim": config.dim}
        preset[TASK] = _text(_object(TASKS[head].name, None, task))
        top = [parameter for parameter in table if not _is_backbone(parameter)]
        preset[TASK_WEIGHTS] = _writer(TASKS[head].name, top, config, head, tensors)
    if tokenizer is not None and preprocessor is not None:
        preset[PREPROCESSOR] = _text(preprocessor)
        preset[TOKENIZER] = _text(preprocessor["config"]["tokenizer"])
        preset[VOCABULARY] = "".join(f"{token}\n" for token in _tokens(tokenizer)).encode()
    return preset


def _check(config: DistilBertConfig, head: Head) -> None:
    activation = config.activation if callable(config.activation) else ACTIVATIONS[config.activation]
    problems = {
        f"no {head.architecture}, only the bare body, a sequence classifier and a masked LM; say which with head": (
            head not in (Head.BASE, *TASKS)
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


def _tokenizer(files: Mapping[str, bytes]) -> tuple[DistilBertTokenizer | None, list[str]]:
    """Return the tokenizer of a preset, None if there can be none, and what of the files is lost, a sentence each."""
    from distilbert_core.tokenization import DistilBertTokenizer

    present = {name: files[name] for name in TOKENIZER_FILES if name in files}
    if not present.keys() & {VOCABULARY_FILE, TOKENIZER}:
        return None, [f"Left out, as KerasHub's tokenizer needs a vocabulary: {', '.join(present)}."] if present else []
    try:
        tokenizer = load_tokenizer(DistilBertTokenizer, present)
    except DistilBertError as error:
        return None, [f"The tokenizer was left out, as it could not be read: {error}"]
    vocabulary = tokenizer.specification().vocabulary
    named = {name: getattr(tokenizer, name) for name in SPECIAL_TOKENS}
    if named != SPECIAL_TOKENS or not vocabulary.keys() >= {*SPECIAL_TOKENS.values(), tokenizer.unk_token}:
        got = ", ".join(f"{name}={token!r}" for name, token in named.items())
        wanted = ", ".join(SPECIAL_TOKENS.values())
        return None, [f"The tokenizer was left out: KerasHub's has {wanted} in its vocabulary, this one {got}."]
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        return None, ["The tokenizer was left out: KerasHub's has a token for each id, this one has gaps."]
    return tokenizer, _lost(tokenizer, present)


def _lost(tokenizer: DistilBertTokenizer, files: Mapping[str, bytes]) -> list[str]:
    """Return what a preset cannot hold of a tokenizer, a sentence each."""
    ordinary = {*SPECIAL_TOKENS.values(), tokenizer.unk_token}
    added = [
        f"{token.content} ({index})"
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.content not in ordinary
    ]
    basic, normalizer = tokenizer.specification().basic, _normalizer(tokenizer)
    kind = json.loads(files.get(TOKENIZER_CONFIG, b"{}")).get("tokenizer_class")
    settings = {
        "do_basic_tokenize=False": not basic,
        "clean_text=False": not normalizer["clean_text"],
        f"never_split={list(tokenizer.never_split)}": tokenizer.never_split,
        f"padding_side={tokenizer.padding_side!r}": tokenizer.padding_side != "right",
        f"truncation_side={tokenizer.truncation_side!r}": tokenizer.truncation_side != "right",
        f"tokenizer_class={kind!r}": kind is not None and not str(kind).startswith(TOKENIZER_CLASSES),
    }
    notes = []
    if added:
        notes.append(f"Dropped, as KerasHub's tokenizer has no added tokens: {', '.join(added)}.")
    if any(settings.values()):
        unusual = ", ".join(name for name, there in settings.items() if there)
        notes.append(f"Settings of the tokenizer that KerasHub's does not have: {unusual}.")
    return notes


def _normalizer(tokenizer: DistilBertTokenizer) -> dict[str, bool | None]:
    """Return the options of its normalizer, named as in tokenizer.json."""
    from distilbert_core.tokenization.files import NORMALIZER_DEFAULTS

    return NORMALIZER_DEFAULTS | dict(tokenizer.specification().normalizer)


def _tokens(tokenizer: DistilBertTokenizer) -> list[str]:
    vocabulary = tokenizer.specification().vocabulary
    return sorted(vocabulary, key=vocabulary.__getitem__)


def unwritten(files: Mapping[str, bytes], weights: Weights) -> list[str]:
    """Return what of a checkpoint a preset has no place for, a sentence each."""
    notes = _tokenizer(files)[1]
    config = weights.config
    if weights.head is Head.MASKED_LM:
        notes.append(EPSILON)
    if config.attention_dropout != config.dropout:
        notes.append(
            f"KerasHub has one dropout, {config.dropout}: attention_dropout={config.attention_dropout} is only kept in "
            f"{METADATA}."
        )
    return notes


def _preprocessor(tokenizer: DistilBertTokenizer, config: DistilBertConfig, head: Head) -> dict[str, Any]:
    """Return what makes texts into inputs; that of a text classifier serves the bare body too."""
    task = TASKS.get(head, TASKS[Head.SEQUENCE_CLASSIFICATION])
    specification, normalizer = tokenizer.specification(), _normalizer(tokenizer)
    lowercase, strip_accents = (specification.basic and normalizer[name] for name in ("lowercase", "strip_accents"))
    settings = {
        "config_file": TOKENIZER,
        "vocabulary": None,  # it is in a file of its own
        "sequence_length": None,
        "lowercase": lowercase,
        "strip_accents": lowercase if strip_accents is None else strip_accents,
        "split": True,
        "suffix_indicator": specification.prefix,
        "oov_token": specification.unk_token,
        "special_tokens": None,
        "special_tokens_in_strings": False,
    }
    if not (specification.basic and normalizer["handle_chinese_chars"]):
        settings["split_on_cjk"] = False  # KerasHub takes it, though it does not write it
    fields = {
        "tokenizer": _object("distil_bert_tokenizer", "int32", settings),
        "config_file": PREPROCESSOR,
        "sequence_length": min(config.max_position_embeddings, tokenizer.model_max_length),
        "truncate": "round_robin",
        **task.masking,
    }
    return _object(f"{task.name}_preprocessor", "float32", fields)


def _object(name: str, dtype: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Keras makes an object of KerasHub from, whose class and module have the same name."""
    kind = _kind(name)
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}
    return {
        "module": f"keras_hub.src.models.distil_bert.{name}",
        "class_name": kind,
        "config": {"name": name} | ({"trainable": True, "dtype": policy} if dtype else {}) | dict(config),
        "registered_name": f"keras_hub>{kind}",
    }


def _kind(name: str) -> str:
    """Return the name of a class of KerasHub by that of its module."""
    return name.title().replace("_", "").replace("Lm", "LM")


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
    unread=unread,
    unwritten=unwritten,
    arrange=arrange,
)
