"""`DistilBertConfig`: the architecture of a model and how it is called, as the Hub's config.json holds it."""

from __future__ import annotations

import copy
import inspect
import json
import math
import reprlib
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from distilbert_core.compatibility import CONFIG_SAVING, CONFIGURING, accept, renames
from distilbert_core.errors import CheckpointError, ConfigError, ConfigWarning, InputError
from distilbert_core.files.hub import PUSHING, PushToHub, resolve_file, split_hub_options

CONFIG_FILE = "config.json"
NORM_EPSILON = 1e-12  # of every LayerNorm; no field of the configuration

# Name in config.json -> the function meant. The three backends hold one function for each value.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",  # whose constant is rounded to ten digits: 4e-12 off
    "gelu_10": "gelu_10",
    "quick_gelu": "quick_gelu",
    "laplace": "laplace",
    "leaky_relu": "leaky_relu",
    "linear": "linear",
    "mish": "mish",
    "relu": "relu",
    "relu2": "relu2",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
LAPLACE = (0.707107, 0.282095)  # mean and deviation (Ma et al. 2022, Mega), as Transformers has them
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

ALIASES = {  # another name of a field -> the field
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "dtype": "torch_dtype",  # what Transformers 5 calls the same entry
    "_name_or_path": "name_or_path",
    "_attn_implementation": "attn_implementation",
}
_ORIGIN = ("name_or_path", "_commit_hash")
UNSAVED = (*_ORIGIN, "attn_implementation")  # of a run, and not of a model

# What every Transformers 4.53 configuration has beside DistilBERT's own fields. They are kept, written back when
# they differ from these defaults, and have no effect on the model.
COMMON_FIELDS: dict[str, Any] = {
    "name_or_path": "",
    "attn_implementation": None,
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


class DistilBertConfig(PushToHub):
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
        activation: 'gelu' (exact), 'gelu_new' (tanh approximation), 'relu', 'silu', another name of `ACTIVATIONS`, or a
            function of the backend's own tensors. A function cannot be written to config.json.
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
        id2label: Label names by class index, {0: 'NEGATIVE', 1: 'POSITIVE'}; keys may be strings of digits. Several
            classes may have one name. Maps that do not fit together are an error here; from a file they are a warning,
            see `from_dict`.
        label2id: The inverse of `id2label`; derived if left out. Without `id2label` it gives the names. Where several
            classes have one name, it holds the index of one of them, the first if it is derived.
        problem_type: 'regression', 'single_label_classification' or 'multi_label_classification'; inferred from
            `num_labels` and the labels' dtype at each call if None.
        architectures: Names of the classes this configuration was saved from.
        pruned_heads: Heads that `prune_heads` removed, {layer: [head, ...]}; -1 is the last layer.
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
    # What code for Transformers asks the configuration of any model.
    attribute_map: ClassVar[dict[str, str]] = {
        name: ALIASES[name] for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = []
    sub_configs: ClassVar[dict[str, Any]] = {}
    base_config_key = ""
    base_model_tp_plan = base_model_pp_plan = None
    has_no_defaults_at_init = is_composition = False
    _commit_hash: str | None = None
    _auto_class = None
    id2label: dict[int, str]
    label2id: dict[str, int]
    pruned_heads: dict[int, list[int]]

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
        self._set_labels(*_consistent_maps(num_labels, id2label, label2id))
        self.problem_type = problem_type
        self.architectures = architectures
        self.pruned_heads = pruned_heads or {}  # type: ignore[assignment]
        for name, value in {**COMMON_FIELDS, **kwargs}.items():
            if name not in ("model_type", *_ORIGIN) and hasattr(DistilBertConfig, name):
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
                given = {**dict.fromkeys(_LABEL_FIELDS), name: value}
                if name == "label2id" and not _label_maps(None, self.id2label, value)[2]:
                    given["id2label"] = self.id2label  # of several classes of one name it may hold another
                self._set_labels(*_consistent_maps(**given))
        elif name == "use_return_dict":
            self.return_dict = value
        elif name == "pruned_heads":
            super().__setattr__(name, _pruned_heads(value, self.n_layers))
        elif name != "model_type":  # every config.json names it; it is the class's
            super().__setattr__(ALIASES.get(name, name), value)

    def _set_labels(self, id2label: dict[int, str], label2id: dict[str, int]) -> None:
        self.__dict__.update(id2label=id2label, label2id=label2id)

    @property
    def num_labels(self) -> int:
        """Number of labels (the size of `id2label`)."""
        return len(self.id2label)

    def label_name(self, index: int) -> str:
        """Return the name of a class by its index: that of `id2label`, or LABEL_ and the index if it has none.

        Raises:
            InputError: The index is not that of a class.

        Example:
            >>> from distilbert_core import DistilBertConfig
            >>> DistilBertConfig(id2label={0: "NEGATIVE", 1: "POSITIVE"}).label_name(1)
            'POSITIVE'
        """
        if not 0 <= index < self.num_labels:
            raise InputError(f"index must be that of a class, from 0 to {self.num_labels - 1}, got {index}.")
        return self.id2label.get(index, f"LABEL_{index}")

    def label_index(self, name: str) -> int | None:
        """Return the index of the class with a name, or None if no class has it.

        `id2label` decides. Where it has the name for several classes, the index is that of `label2id` if this is one of
        them, else the first.

        Example:
            >>> from distilbert_core import DistilBertConfig
            >>> config = DistilBertConfig(id2label={0: "poor", 1: "poor", 2: "good"})
            >>> config.label_index("poor"), config.label_index("good"), config.label_index("fair")
            (0, 2, None)
        """
        index = self.label2id.get(name, -1)
        if 0 <= index < self.num_labels and self.label_name(index) == name:
            return index
        return next((index for index in range(self.num_labels) if self.label_name(index) == name), None)

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
        labels = fields.pop("id2label"), fields.pop("label2id")
        unknown = sorted(overrides.keys() - known)
        if unknown:
            raise TypeError(f"Unknown keyword argument(s): {', '.join(unknown)}.")
        resized = overrides.get("num_labels", self.num_labels) != self.num_labels
        renewed = resized or overrides.keys() & {"id2label", "label2id"}
        _check_aliases(overrides)
        overrides = {ALIASES.get(name, name): value for name, value in overrides.items()}
        config = DistilBertConfig(**{**fields, **overrides})
        if not renewed:
            config._set_labels(*labels)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Return every field, labels by integer, as a dict of its own."""
        return copy.deepcopy({"model_type": self.model_type, **self.__dict__})

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what config.json holds: DistilBERT's fields, and others where they differ from their default."""
        plain = DistilBertConfig()
        always = _OWN_FIELDS.keys() | {"model_type", "tie_weights_", "architectures"}
        if (self.id2label, self.label2id) != (plain.id2label, plain.label2id):  # one would be derived from the other
            always |= {"id2label", "label2id"}
        return {
            name: value
            for name, value in self.to_dict().items()
            if name not in UNSAVED and (name in always or value != getattr(plain, name, _ABSENT))
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the text of config.json; with `use_diff=False` all fields, as `to_dict` has them.

        Raises:
            ConfigError: A field is something that JSON cannot hold, such as a function for `activation`.
        """
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        for name, value in fields.items():
            try:
                json.dumps(value, sort_keys=True)
            except (TypeError, ValueError):
                raise ConfigError(f"{name} cannot be written to config.json, got {value!r}.") from None
        return json.dumps(fields, indent=2, sort_keys=True) + "\n"

    @renames(json_file_path="path")
    def to_json_file(self, path: str | Path, use_diff: bool = True) -> None:
        """Write what `to_json_string` returns to a file; see `save_pretrained`, which a failure leaves no part of."""
        Path(path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    @renames(config_dict="fields")
    def update(self, fields: Mapping[str, Any]) -> None:
        """Set fields, known or new, in place.

        Raises:
            ConfigError: The result would be impossible; nothing is changed then.
        """
        before = dict(self.__dict__)
        try:
            for name, value in fields.items():
                setattr(self, name, value)
            self.validate()
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    @renames(update_str="text")
    def update_from_string(self, text: str) -> None:
        """Set numbers, flags and texts in place by a text such as 'dropout=0.2,n_layers=3,return_dict=false'.

        Raises:
            ConfigError: A field is not there, or its value is not of the kind that it has.
        """
        flags = dict.fromkeys(("true", "1", "y", "yes"), True) | dict.fromkeys(("false", "0", "n", "no"), False)
        read: dict[type, Callable[[str], Any]] = {int: int, float: float, str: str, bool: lambda x: flags[x.lower()]}
        fields: dict[str, Any] = {}
        for item in text.split(","):
            name, _, value = item.partition("=")
            try:
                fields[name] = read[type(getattr(self, name, None))](value)
            except (KeyError, ValueError):
                raise ConfigError(f"{name} must be a field that is a number, a flag or a text, got {item!r}.") from None
        self.update(fields)

    def get_text_config(self, decoder: bool = False) -> DistilBertConfig:
        """Return this configuration: DistilBERT reads texts only."""
        return self

    @classmethod
    @renames(config_dict="fields")
    def from_dict(cls, fields: Mapping[str, Any], return_unused_kwargs: bool = False, **overrides: Any) -> Any:
        """Make a configuration from the fields of a config.json, some of them replaced by `overrides`.

        Label maps that do not fit together are kept as they are stored. `id2label` decides, as in Transformers 4.53:
        it may have gaps or use a name for several classes, and `num_labels` is its size. Use `label_name` and
        `label_index`, which also work for such maps.

        Args:
            fields: The fields.
            return_unused_kwargs: Return (configuration, those overrides that are not its fields), where these would be
                an error.
            **overrides: Fields to replace.

        Raises:
            ConfigError: A field has an impossible value.
            TypeError: An override is not a field.

        Warns:
            ConfigWarning: Label maps do not fit together, and `overrides` do not replace them.

        Example:
            >>> from distilbert_core import DistilBertConfig
            >>> DistilBertConfig.from_dict({"dim": 48, "n_heads": 4, "n_layers": 3}, n_layers=2).n_layers
            2
        """
        return cls._read_with(fields, "The configuration", overrides, return_unused_kwargs)

    @classmethod
    def _read_with(cls, fields: Mapping[str, Any], source: str, overrides: Mapping[str, Any], split: bool) -> Any:
        """Do what `_read` does; with `split` return the overrides that are not fields too."""
        overrides = accept(overrides, CONFIGURING)
        if not split:
            return cls._read(fields, source, overrides, stacklevel=5)
        known = {*COMMON_FIELDS, *_OWN_FIELDS, *_LABEL_FIELDS, *ALIASES, *fields, "use_return_dict"}
        known |= inspect.signature(cls).parameters.keys()
        used = {name: value for name, value in overrides.items() if name in known}
        unused = {name: value for name, value in overrides.items() if name not in known}
        return cls._read(fields, source, used, stacklevel=5), unused

    @classmethod
    def _read(
        cls, fields: Mapping[str, Any], source: str, overrides: Mapping[str, Any], stacklevel: int
    ) -> DistilBertConfig:
        """Make a configuration from fields that a file holds; `source` is what the warning calls it."""
        _check_aliases(fields)
        names, ids, problems = _label_maps(*(fields.get(name) for name in _LABEL_FIELDS))
        config = cls(**{name: value for name, value in fields.items() if name not in _LABEL_FIELDS})
        config._set_labels(names, ids)
        repeated = [label for label, count in Counter(names.values()).items() if count > 1]
        if repeated:
            problems.append(f"id2label uses a label for several classes: {reprlib.repr(repeated)}")
        if overrides:
            config = config.updated(**overrides)
        if problems and (config.id2label, config.label2id) == (names, ids):
            believed = "num_labels" if fields.get("id2label") is None else "id2label"
            classes = reprlib.repr([config.label_name(index) for index in range(config.num_labels)])
            warnings.warn(
                f"{source}: {'; '.join(problems)}. {believed} is believed: the classes are {classes}. Correct the "
                "maps, or ignore ConfigWarning if they are meant.",
                ConfigWarning,
                stacklevel=stacklevel,
            )
        return config

    @classmethod
    @renames(json_file="path")
    def from_json_file(cls, path: str | Path, return_unused_kwargs: bool = False, **overrides: Any) -> Any:
        """Read a config.json, some of its fields replaced by `overrides`; see `from_dict`.

        Raises:
            CheckpointError: The file is missing, is not JSON, or describes another kind of model.
            ConfigError: A field has an impossible value.

        Warns:
            ConfigWarning: Label maps do not fit together; the message names the file.
        """
        return cls._read_with(cls._fields_of(path), str(path), overrides, return_unused_kwargs)

    @classmethod
    def _fields_of(cls, path: str | Path) -> dict[str, Any]:
        """Return the fields that a config.json of a DistilBERT holds."""
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
            advice = " Convert it first: distilbert convert SOURCE FOLDER." if kind == "bert" else ""
            raise CheckpointError(f"{path} must have model_type {cls.model_type!r}, got {kind!r}.{advice}")
        return fields

    @classmethod
    @renames(pretrained_model_name_or_path="source", use_auth_token="token")
    def from_pretrained(cls, source: str | Path, *, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Read the configuration of a local folder or Hub id.

        Args:
            source: A folder, the path of a config.json or of a file beside it, or an id such as
                'distilbert/distilbert-base-uncased'.
            return_unused_kwargs: Return (configuration, those keywords that are not its fields), where these would be
                an error.
            **kwargs: Where to look (`revision`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `subfolder`) and fields to replace. What else Transformers takes is in
                `distilbert_core.compatibility.CONFIGURING`.

        Raises:
            CheckpointError: There is no such checkpoint, or its config.json is damaged.
            ConfigError: A field has an impossible value.
            TypeError: A keyword is not a field.

        Warns:
            ConfigWarning: Label maps do not fit together; the message names the file. See `from_dict`.
        """
        where, overrides = split_hub_options(kwargs)
        path = _find_config(source, where)
        found = cls._read_with(cls._fields_of(path), str(path), overrides, return_unused_kwargs)
        config = found[0] if return_unused_kwargs else found
        config.name_or_path = str(source)
        return found

    @classmethod
    @renames(pretrained_model_name_or_path="source", use_auth_token="token")
    def get_config_dict(cls, source: str | Path, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields that the config.json of a folder, a file or a Hub id holds, and keywords that are not used.

        Raises:
            CheckpointError: There is no such checkpoint, or its config.json is damaged.
        """
        where, rest = split_hub_options(kwargs)
        return cls._fields_of(_find_config(source, where)), accept(rest, CONFIGURING)

    @renames(save_directory="folder", use_auth_token="token")
    def save_pretrained(self, folder: str | Path, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write config.json into `folder`, which is made if it is not there.

        Args:
            folder: Destination.
            push_to_hub: Also upload it; see the method of this name. The repository is `repo_id`, or what the folder
                is called.
            **kwargs: Of `push_to_hub`. What else Transformers takes is in `distilbert_core.compatibility.SAVING`.

        Raises:
            ConfigError: A field is something that JSON cannot hold.
            OSError: The folder may not be written to.
            TypeError: A keyword is unknown.
        """
        from distilbert_core.files.atomic import replace_files

        hub = {name: kwargs.pop(name) for name in PUSHING & kwargs.keys()}
        unknown = accept(kwargs, CONFIG_SAVING)
        if unknown:
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(unknown))}.")
        replace_files(folder, {CONFIG_FILE: self.to_json_string().encode()})
        if push_to_hub:
            self.push_to_hub(**{"repo_id": Path(folder).expanduser().absolute().name, **hub})

    def __iter__(self) -> Iterator[str]:
        yield from self.__dict__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DistilBertConfig) and self._content() == other._content()

    def __hash__(self) -> int:
        # By content: modules of equal configuration share what JAX compiled.
        return hash(_frozen(self._content()))

    def _content(self) -> dict[str, Any]:
        """Return all fields but those that say where it is from."""
        return {name: value for name, value in self.__dict__.items() if name not in _ORIGIN}

    def __repr__(self) -> str:
        return f"DistilBertConfig({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"


def _find_config(source: str | Path, where: Mapping[str, Any]) -> Path:
    """Return the config.json of a checkpoint: of a folder or Hub id, a file of this kind, or the one beside a file."""
    path = Path(source)
    if not path.is_file():
        return resolve_file(source, CONFIG_FILE, **where)
    return path if path.suffix == ".json" else resolve_file(path.parent, CONFIG_FILE)


def as_config(config: Any) -> DistilBertConfig:
    """Return a configuration that is given as one, as a dict of its fields, or as a folder, a file or a Hub id.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(config, DistilBertConfig):
        return config
    if isinstance(config, str | Path):
        return DistilBertConfig.from_pretrained(config)
    fields = config.to_dict() if hasattr(config, "to_dict") else config
    if not isinstance(fields, Mapping):
        raise TypeError(f"config must be a DistilBertConfig, a dict, or a path, got a {type(config).__name__}.")
    return DistilBertConfig.from_dict(fields)


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


def _check_aliases(fields: Mapping[str, Any]) -> None:
    """Raise ConfigError if a field is given under both of its names, with two values."""
    for alias, name in ALIASES.items():
        if {alias, name} <= fields.keys() and fields[alias] != fields[name]:
            raise ConfigError(f"{alias} and {name} are one field, got {fields[alias]!r} and {fields[name]!r}.")


def _frozen(value: Any) -> Hashable:
    """Return something hashable that is equal for equal values, whatever the order of a dict in them."""
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return value if isinstance(value, Hashable) else repr(value)


def _consistent_maps(
    num_labels: int | None, id2label: Mapping | None, label2id: Mapping | None
) -> tuple[dict[int, str], dict[str, int]]:
    """Return id2label and label2id from whichever of the three is given, or raise ConfigError if they do not fit."""
    names, ids, problems = _label_maps(num_labels, id2label, label2id)
    if problems:
        raise ConfigError(f"{problems[0]}.")
    return names, ids


def _label_maps(
    num_labels: int | None, id2label: Mapping | None, label2id: Mapping | None
) -> tuple[dict[int, str], dict[str, int], list[str]]:
    """Return id2label and label2id from whichever of the three is given, and a sentence for each contradiction.

    The names are those of id2label; without it, those of label2id if it has one for each class, else LABEL_0, ....
    """
    if num_labels is not None and (not _is_integer(num_labels) or num_labels < 1):
        raise ConfigError(f"num_labels must be a positive integer, got {num_labels!r}.")
    if num_labels is not None and num_labels > MOST_LABELS:  # a damaged file must not fill the memory with names
        raise ConfigError(f"num_labels must be at most {MOST_LABELS}, got {num_labels}.")
    ids = {label: index for index, label in _label_pairs(label2id or {}, "label2id", "labels to integers")}
    if id2label is not None:
        given, pairs = "id2label", _label_pairs(id2label, "id2label", "integers to labels")
    elif ids:
        given, pairs = "label2id", [(index, label) for label, index in ids.items()]
    else:
        given, pairs = "num_labels", _unnamed_labels(num_labels)
    names = dict(sorted(dict(pairs).items()))
    problems = []
    if not names or list(names) != list(range(len(pairs))):
        problem = f"{given} must have each index 0, 1, ... once, got {reprlib.repr([index for index, _ in pairs])}"
        if not names or min(names) < 0:
            raise ConfigError(f"{problem}.")
        problems.append(problem)
    if num_labels not in (None, len(names)):
        problems.append(f"num_labels and {given} disagree: {num_labels} against {len(names)} labels")
    if problems and given == "label2id":
        names = dict(_unnamed_labels(num_labels))
    elif ids and not _fits(ids, names):
        problems.append(f"label2id and id2label disagree: {reprlib.repr(ids)} against {reprlib.repr(names)}")
    if not ids:
        for index, label in names.items():
            ids.setdefault(label, index)
    return names, ids, problems


def _label_pairs(labels: Mapping, name: str, meaning: str) -> list[tuple[int, str]]:
    """Return the indices and labels of a map in either direction, or raise ConfigError if it is not one."""
    try:
        pairs = list(labels.items()) if name == "id2label" else [(index, label) for label, index in labels.items()]
        # A label is a text: JSON has made one of it where it is a key.
        return [(_label_index(index), str(label)) for index, label in pairs]
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ConfigError(f"{name} must be a dict of {meaning}, got {labels!r}.") from None


def _label_index(value: Any) -> int:
    index = int(value)
    if not isinstance(value, str) and index != value:
        raise ValueError(f"{value!r} is not an integer")
    return index


def _unnamed_labels(num_labels: int | None) -> list[tuple[int, str]]:
    return [(index, f"LABEL_{index}") for index in range(2 if num_labels is None else num_labels)]


def _fits(label2id: Mapping[str, int], id2label: Mapping[int, str]) -> bool:
    """Return whether label2id is an inverse of id2label: it has each name, and for each an index of that name."""
    names = set(id2label.values())
    return names == label2id.keys() and all(id2label.get(index) == name for name, index in label2id.items())


def _pruned_heads(pruned_heads: Mapping[int | str, list[int]], n_layers: int) -> dict[int, list[int]]:
    """Return pruned heads by layer, sorted; layers are counted from the last if negative, and are strings in JSON."""
    found: dict[int, set[int]] = {}
    try:
        for layer, heads in pruned_heads.items():
            index = int(layer)
            found.setdefault(index + n_layers if -n_layers <= index < 0 else index, set()).update(map(int, heads))
    except (TypeError, ValueError, AttributeError):
        raise ConfigError(f"pruned_heads must be a dict of layer to a list of heads, got {pruned_heads!r}.") from None
    return {layer: sorted(heads) for layer, heads in found.items()}
