"""`DistilBertConfig`: the architecture of a model and how it is called, as the Hub's config.json holds it."""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, ConfigError

CONFIG_FILE = "config.json"
NORM_EPSILON = 1e-12  # of every LayerNorm; no field of the configuration

# Name in config.json -> the function meant. The three backends hold one function for each value.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

ALIASES = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "dtype": "torch_dtype",  # what Transformers 5 calls the same entry
}

# What every Transformers 4.53 configuration has beside DistilBERT's own fields. They are kept, written back when
# they differ from these defaults, and have no effect on the model.
COMMON_FIELDS: dict[str, Any] = {
    "name_or_path": "",
    "torch_dtype": None,
    "torchscript": False,
    "use_bfloat16": False,
    "tf_legacy_loss": False,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "cross_attention_hidden_size": None,
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "finetuning_task": None,
    "task_specific_params": None,
    "tokenizer_class": None,
    "prefix": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
}


class DistilBertConfig:
    """Architecture and call defaults of a DistilBERT model; the defaults are those of DistilBERT base.

    Field names and defaults are those of Transformers 4.53. `hidden_size`, `num_attention_heads` and
    `num_hidden_layers` may be used for `dim`, `n_heads` and `n_layers`, as arguments and as attributes. Keywords
    that are not known are kept as attributes and written back by `save_pretrained`.

    Args:
        vocab_size: Number of tokens in the vocabulary (V).
        max_position_embeddings: Longest input, in tokens.
        sinusoidal_pos_embds: Fixed sinusoidal position table instead of a learned one. The table is stored in the
            checkpoint like any other and is never trained.
        n_layers: Number of Transformer blocks (L).
        n_heads: Number of attention heads per block (N); must divide `dim`.
        dim: Width of the model (D).
        hidden_dim: Width of the feed-forward layer (F).
        dropout: Dropout probability after the embeddings and the feed-forward layer, in [0, 1].
        attention_dropout: Dropout probability of the attention weights, in [0, 1].
        activation: 'gelu' (exact), 'gelu_new' (tanh approximation), 'relu', 'silu', or a function of the backend's
            own tensors. A function cannot be written to config.json.
        initializer_range: Standard deviation of freshly initialised matrices.
        qa_dropout: Dropout probability of the question-answering head, in [0, 1].
        seq_classif_dropout: Dropout probability of the sequence-classification and multiple-choice heads.
        pad_token_id: Token whose word embedding gets no gradient from the look-up, or None.
        tie_word_embeddings: Use the word embeddings as the masked-LM projection.
        tie_weights_: Stored for the Hub's config.json; `tie_word_embeddings` decides, as in Transformers.
        output_attentions: Return attention weights where the call does not say.
        output_hidden_states: Return all hidden states where the call does not say.
        return_dict: Return an output object (True) or a tuple (False) where the call does not say.
        num_labels: Number of labels of a classification head; sets `id2label` to LABEL_0, LABEL_1, ... .
        id2label: Label names by class index, {0: 'NEGATIVE', 1: 'POSITIVE'}; keys may be strings of digits.
        label2id: The inverse of `id2label`; derived if left out.
        problem_type: 'regression', 'single_label_classification' or 'multi_label_classification'; inferred from
            `num_labels` and the labels' dtype at each call if None.
        architectures: Names of the classes this configuration was saved from.
        pruned_heads: Heads that `prune_heads` removed, {layer: [head, ...]}.
        **kwargs: Any other field; kept and written back.

    Raises:
        ConfigError: A value is impossible. The message names the field.

    Example:
        >>> from distilbert_core import DistilBertConfig
        >>> config = DistilBertConfig(n_layers=3, num_labels=5)
        >>> config.num_hidden_layers, config.id2label[4]
        (3, 'LABEL_4')
    """

    model_type = "distilbert"

    def __init__(
        self,
        vocab_size: int = 30522,
        max_position_embeddings: int = 512,
        sinusoidal_pos_embds: bool = False,
        n_layers: int = 6,
        n_heads: int = 12,
        dim: int = 768,
        hidden_dim: int = 4 * 768,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation: str | Callable = "gelu",
        initializer_range: float = 0.02,
        qa_dropout: float = 0.1,
        seq_classif_dropout: float = 0.2,
        pad_token_id: int | None = 0,
        *,
        tie_word_embeddings: bool = True,
        tie_weights_: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        num_labels: int | None = None,
        id2label: Mapping[int | str, str] | None = None,
        label2id: Mapping[str, int] | None = None,
        problem_type: str | None = None,
        architectures: list[str] | None = None,
        pruned_heads: Mapping[int | str, list[int]] | None = None,
        **kwargs: Any,
    ):
        kind = kwargs.pop("model_type", self.model_type)
        if kind != self.model_type:
            raise ConfigError(f"model_type must be {self.model_type!r}, got {kind!r}.")
        given = {"n_layers": n_layers, "n_heads": n_heads, "dim": dim}
        for alias in ALIASES.keys() & kwargs.keys():
            name, value = ALIASES[alias], kwargs.pop(alias)
            if given.get(name) not in (None, value, _OWN_FIELDS.get(name)):
                raise ConfigError(f"{alias} and {name} are one field, got {value!r} and {given[name]!r}.")
            kwargs[name] = value
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.sinusoidal_pos_embds = sinusoidal_pos_embds
        self.n_layers = kwargs.pop("n_layers", n_layers)
        self.n_heads = kwargs.pop("n_heads", n_heads)
        self.dim = kwargs.pop("dim", dim)
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation = activation
        self.initializer_range = initializer_range
        self.qa_dropout = qa_dropout
        self.seq_classif_dropout = seq_classif_dropout
        self.pad_token_id = pad_token_id
        self.tie_word_embeddings = tie_word_embeddings
        self.tie_weights_ = tie_weights_
        self.output_attentions = output_attentions
        self.output_hidden_states = output_hidden_states
        self.return_dict = kwargs.pop("use_return_dict", return_dict)
        self.id2label, self.label2id = _label_maps(num_labels, id2label, label2id)
        self.problem_type = problem_type
        self.architectures = architectures
        self.pruned_heads = _pruned_heads(pruned_heads or {})
        for name, value in {**COMMON_FIELDS, **kwargs}.items():
            if name != "model_type" and hasattr(DistilBertConfig, name):
                raise ConfigError(f"{name} cannot be a field: it is a method, or computed from other fields.")
            setattr(self, name, value)
        self.validate()

    def __getattr__(self, name: str) -> Any:
        if name in ALIASES:
            return getattr(self, ALIASES[name])
        raise AttributeError(f"DistilBertConfig has no field {name!r}.")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _LABEL_FIELDS:  # one thing under three names: they change together
            if name != "num_labels" or value != self.num_labels:
                maps = _label_maps(**{**dict.fromkeys(_LABEL_FIELDS), name: value})
                self.__dict__["id2label"], self.__dict__["label2id"] = maps
        elif name == "use_return_dict":
            self.return_dict = value
        elif name != "model_type":  # every config.json names it; it is the class's
            super().__setattr__(ALIASES.get(name, name), value)

    @property
    def num_labels(self) -> int:
        """Number of labels (the size of `id2label`)."""
        return len(self.id2label)

    @property
    def use_return_dict(self) -> bool:
        """Whether a call returns an output object where it does not say."""
        return self.return_dict

    @property
    def head_size(self) -> int:
        """Width of one attention head (H)."""
        return self.dim // self.n_heads

    def kept_heads(self, layer: int) -> list[int]:
        """Return the original indices of the heads that block `layer` still has."""
        return [head for head in range(self.n_heads) if head not in self.pruned_heads.get(layer, [])]

    def validate(self) -> None:
        """Raise ConfigError, naming the field, if a value is impossible."""
        for name in ("vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim"):
            value = getattr(self, name)
            if not _is_integer(value) or value < 1:
                raise ConfigError(f"{name} must be a positive integer, got {value!r}.")
        if self.dim % self.n_heads:
            raise ConfigError(f"n_heads must divide dim, got n_heads={self.n_heads} and dim={self.dim}.")
        if self.sinusoidal_pos_embds and self.dim % 2:
            raise ConfigError(f"dim must be even for sinusoidal_pos_embds, got {self.dim}.")
        for name in ("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= 1:
                raise ConfigError(f"{name} must be a probability in [0, 1], got {value!r}.")
        if not _is_number(self.initializer_range) or not 0 <= self.initializer_range < math.inf:
            raise ConfigError(f"initializer_range must be a number >= 0, got {self.initializer_range!r}.")
        for name in _FLAGS:
            if getattr(self, name) not in (True, False):
                raise ConfigError(f"{name} must be True or False, got {getattr(self, name)!r}.")
        if not callable(self.activation) and self.activation not in tuple(ACTIVATIONS):
            known = ", ".join(ACTIVATIONS)
            raise ConfigError(f"activation must be one of {known}, or a function, got {self.activation!r}.")
        pad = self.pad_token_id
        if pad is not None and not (_is_integer(pad) and 0 <= pad < self.vocab_size):
            raise ConfigError(f"pad_token_id must be None or lie in [0, vocab_size={self.vocab_size}), got {pad!r}.")
        if self.problem_type is not None and self.problem_type not in PROBLEM_TYPES:
            known = ", ".join(PROBLEM_TYPES)
            raise ConfigError(f"problem_type must be None or one of {known}, got {self.problem_type!r}.")
        for layer, heads in self.pruned_heads.items():
            if not 0 <= layer < self.n_layers or not all(0 <= head < self.n_heads for head in heads):
                raise ConfigError(
                    f"pruned_heads must name layers below {self.n_layers} and heads below {self.n_heads}, "
                    f"got {{{layer}: {heads}}}."
                )
            if not self.kept_heads(layer):
                raise ConfigError(f"pruned_heads must leave a head in every layer, layer {layer} has none.")

    def updated(self, **overrides: Any) -> DistilBertConfig:
        """Return a copy with some fields replaced; another `num_labels` or `id2label` renews all label maps.

        Raises:
            ConfigError: The result would be impossible.
            TypeError: A keyword is no field of this configuration.
        """
        fields = copy.deepcopy(self.__dict__)
        known = fields.keys() | ALIASES.keys() | {"num_labels", "use_return_dict"}
        unknown = sorted(overrides.keys() - known)
        if unknown:
            raise TypeError(f"Unknown keyword argument(s): {', '.join(unknown)}.")
        resized = overrides.get("num_labels", self.num_labels) != self.num_labels
        if resized or overrides.keys() & {"id2label", "label2id"}:
            del fields["id2label"], fields["label2id"]
        overrides = {ALIASES.get(name, name): value for name, value in overrides.items()}
        return DistilBertConfig(**{**fields, **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Return every field, labels by integer, as a dict of its own."""
        return copy.deepcopy({"model_type": self.model_type, **self.__dict__})

    def to_json_string(self) -> str:
        """Return the text of config.json: DistilBERT's fields, and others where they differ from their default.

        Raises:
            ConfigError: A field is something that JSON cannot hold, such as a function for `activation`.
        """
        plain = DistilBertConfig()
        always = _OWN_FIELDS.keys() | {"model_type", "tie_weights_", "architectures"}
        fields = {
            name: value
            for name, value in self.to_dict().items()
            if name in always or value != getattr(plain, name, _ABSENT)
        }
        fields.pop("name_or_path", None)  # where it was loaded from, not what it is
        for name, value in fields.items():
            try:
                json.dumps(value, sort_keys=True)
            except (TypeError, ValueError):
                raise ConfigError(f"{name} cannot be written to config.json, got {value!r}.") from None
        return json.dumps(fields, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], **overrides: Any) -> DistilBertConfig:
        """Make a configuration from the fields of a config.json, some of them replaced by `overrides`."""
        config = cls(**fields)
        return config.updated(**overrides) if overrides else config

    @classmethod
    def from_json_file(cls, path: str | Path) -> DistilBertConfig:
        """Read a config.json.

        Raises:
            CheckpointError: The file is missing, is not JSON, or describes another kind of model.
            ConfigError: A field has an impossible value.
        """
        try:
            fields = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error}); a model needs its configuration.") from error
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deep
            raise CheckpointError(f"{path} is not valid JSON ({error}).") from error
        if not isinstance(fields, dict):
            raise CheckpointError(f"{path} must hold a JSON object, got {type(fields).__name__}.")
        kind = fields.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise CheckpointError(f"{path} must have model_type {cls.model_type!r}, got {kind!r}.")
        return cls.from_dict(fields)

    @classmethod
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> DistilBertConfig:
        """Read the configuration of a local folder or Hub id.

        Args:
            source: A folder, or an id such as 'distilbert/distilbert-base-uncased'.
            **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`) and fields to replace.

        Raises:
            CheckpointError: There is no such checkpoint, or its config.json is damaged.
            ConfigError: A field has an impossible value.
        """
        from distilbert_core.hub import resolve_file, split_hub_options

        where, overrides = split_hub_options(kwargs)
        config = cls.from_json_file(resolve_file(source, CONFIG_FILE, **where))
        return config.updated(**overrides) if overrides else config

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json into `folder`, which is made if it is not there."""
        from distilbert_core.checkpoint import replace_files

        replace_files(folder, {CONFIG_FILE: self.to_json_string().encode()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DistilBertConfig) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        # By content: modules of equal configuration share what JAX compiled.
        return hash(_frozen(self.__dict__))

    def __repr__(self) -> str:
        return f"DistilBertConfig({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"


_ABSENT = object()
_OWN_FIELDS = {  # DistilBERT's own fields, which may be given by position, with their defaults
    name: parameter.default
    for name, parameter in inspect.signature(DistilBertConfig).parameters.items()
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
}
MOST_LABELS = 10_000_000
_LABEL_FIELDS = ("num_labels", "id2label", "label2id")
_FLAGS = (
    "sinusoidal_pos_embds",
    "tie_word_embeddings",
    "tie_weights_",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_integer(value)


def _frozen(value: Any) -> Hashable:
    """Return something hashable that is equal for equal values, whatever the order of a dict in them."""
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return value if isinstance(value, Hashable) else repr(value)


def _label_maps(
    num_labels: int | None, id2label: Mapping | None, label2id: Mapping | None
) -> tuple[dict[int, str], dict[str, int]]:
    """Return id2label and label2id from whichever of the three is given, or raise ConfigError."""
    if num_labels is not None and (not _is_integer(num_labels) or num_labels < 1):
        raise ConfigError(f"num_labels must be a positive integer, got {num_labels!r}.")
    if num_labels is not None and num_labels > MOST_LABELS:  # a damaged file must not fill the memory with names
        raise ConfigError(f"num_labels must be at most {MOST_LABELS}, got {num_labels}.")
    try:
        # A label is a text: JSON has made one of it where it is a key.
        ids = {str(label): int(index) for label, index in (label2id or {}).items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"label2id must be a dict of labels to integers, got {label2id!r}.") from None
    if id2label is None:
        id2label = {index: label for label, index in ids.items()} or {
            index: f"LABEL_{index}" for index in range(2 if num_labels is None else num_labels)
        }
    try:
        names = {int(index): str(label) for index, label in id2label.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"id2label must be a dict of integers to labels, got {id2label!r}.") from None
    names = dict(sorted(names.items()))
    if list(names) != list(range(len(names))) or not names:
        raise ConfigError(f"id2label must have the keys 0, 1, ... without gaps, got {list(id2label)}.")
    if num_labels is not None and num_labels != len(names):
        raise ConfigError(f"num_labels and id2label disagree: {num_labels} against {len(names)} labels.")
    inverse = {label: index for index, label in names.items()}
    if len(inverse) != len(names):
        raise ConfigError(f"id2label must not use a label twice, got {list(names.values())}.")
    if label2id and ids != inverse:
        raise ConfigError(f"label2id and id2label disagree: {ids} against {names}.")
    return names, inverse


def _pruned_heads(pruned_heads: Mapping[int | str, list[int]]) -> dict[int, list[int]]:
    """Return pruned heads by integer layer, sorted, as JSON gave them back with string keys."""
    try:
        return {int(layer): sorted({int(head) for head in heads}) for layer, heads in pruned_heads.items()}
    except (TypeError, ValueError, AttributeError):
        raise ConfigError(f"pruned_heads must be a dict of layer to a list of heads, got {pruned_heads!r}.") from None
