"""`DistilBertConfig`: the architecture of a model and the defaults of its calls, with the fields of config.json."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from distilbert_core.compatibility import renames
from distilbert_core.errors import ConfigError, InputError, shortened
from distilbert_core.model.config_checks import ACTIVATIONS, PROBLEM_TYPES, check_config, pruned_heads_by_layer
from distilbert_core.model.config_files import ALIASES, COMMON_FIELDS, CONFIG_FILE, ORIGIN, ConfigFiles, check_aliases
from distilbert_core.model.label_maps import LABEL_FIELDS, consistent_maps, label_maps

__all__ = [
    "ACTIVATIONS",
    "CONFIG_FILE",
    "LAPLACE",
    "NORM_EPSILON",
    "PROBLEM_TYPES",
    "DistilBertConfig",
    "as_config",
    "validated",
]

NORM_EPSILON = 1e-12  # of every LayerNorm
LAPLACE = (0.707107, 0.282095)  # mean and deviation (Ma et al. 2022, Mega), with the digits of Transformers


class DistilBertConfig(ConfigFiles):
    """Architecture and call defaults of a DistilBERT model; the defaults describe DistilBERT base.

    Field names and defaults are those of Transformers 4.53. `hidden_size`, `num_attention_heads` and
    `num_hidden_layers` may be used for `dim`, `n_heads` and `n_layers`, as arguments and as attributes. Unknown
    keywords are kept as attributes and written back by `save_pretrained`.

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
        output_attentions: Return attention weights, unless the call says otherwise.
        output_hidden_states: Return all hidden states, unless the call says otherwise.
        return_dict: Return an output object (True) or a tuple (False), unless the call says otherwise.
        num_labels: Number of labels of a classification head; sets `id2label` to LABEL_0, LABEL_1, ... .
        id2label: Label names by class index, {0: 'NEGATIVE', 1: 'POSITIVE'}; keys may be strings of digits. Several
            classes may have one name. Maps that contradict each other are an error here, and a warning if they are
            read from a file by `from_dict`.
        label2id: The inverse of `id2label`; derived if left out. Without `id2label` it gives the names. If several
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

    # Attributes that code for Transformers reads of the configuration of any model.
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
        activation: str | Callable[..., Any] = "gelu",
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
            raise ConfigError(f"model_type must be {self.model_type!r}, got {shortened(kind)}.")
        given = {"n_layers": n_layers, "n_heads": n_heads, "dim": dim}
        for alias in ALIASES.keys() & kwargs.keys():
            name, value = ALIASES[alias], kwargs.pop(alias)
            if given.get(name) not in (None, value, self._own_defaults().get(name)):
                values = f"{shortened(value)} and {shortened(given[name])}"
                raise ConfigError(f"{alias} and {name} are one field, got {values}.")
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
        self._set_labels(*consistent_maps(num_labels, id2label, label2id))
        self.problem_type = problem_type
        self.architectures = architectures
        self.pruned_heads = pruned_heads or {}  # type: ignore[assignment]
        for name, value in {**COMMON_FIELDS, **kwargs}.items():
            taken = name.startswith("__") or hasattr(DistilBertConfig, name)
            if taken and name not in ("model_type", *ORIGIN):
                short = shortened(name)[1:-1]  # without the quotation marks
                raise ConfigError(f"{short} cannot be a field: it is a method, or computed from other fields.")
            setattr(self, name, value)
        self.validate()

    @staticmethod
    def _own_defaults() -> Mapping[str, Any]:
        parameters = inspect.signature(DistilBertConfig).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}

    @staticmethod
    def _plain() -> DistilBertConfig:
        return DistilBertConfig()

    def __getattr__(self, name: str) -> Any:
        if name in ALIASES:
            return getattr(self, ALIASES[name])
        raise AttributeError(f"DistilBertConfig has no field {name!r}.")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in LABEL_FIELDS:  # they change together
            if name != "num_labels" or value != self.num_labels:
                given = {**dict.fromkeys(LABEL_FIELDS), name: value}
                if name == "label2id" and not label_maps(None, self.id2label, value)[2]:
                    given["id2label"] = self.id2label  # it may hold any of several classes with one name
                self._set_labels(*consistent_maps(**given))
        elif name == "use_return_dict":
            self.return_dict = value
        elif name == "pruned_heads":
            super().__setattr__(name, pruned_heads_by_layer(value, self.n_layers))
        elif name != "model_type":  # every config.json has it; it belongs to the class
            super().__setattr__(ALIASES.get(name, name), value)

    def _set_labels(self, id2label: dict[int, str], label2id: dict[str, int]) -> None:
        self.__dict__.update(id2label=id2label, label2id=label2id)

    @property
    def num_labels(self) -> int:
        """Number of labels (the size of `id2label`)."""
        return len(self.id2label)

    def label_name(self, index: int) -> str:
        """Return the name of a class by its index: from `id2label`, or LABEL_ and the index if it is not there.

        Raises:
            InputError: There is no class with this index.

        Example:
            >>> from distilbert_core import DistilBertConfig
            >>> DistilBertConfig(id2label={0: "NEGATIVE", 1: "POSITIVE"}).label_name(1)
            'POSITIVE'
        """
        if not 0 <= index < self.num_labels:
            raise InputError(f"index must be from 0 to {self.num_labels - 1}, got {index}.")
        return self.id2label.get(index, f"LABEL_{index}")

    def label_index(self, name: str) -> int | None:
        """Return the index of the class with a name, or None if no class has it.

        `id2label` decides. If it gives the name to several classes, the index is the one in `label2id` if this is one
        of them, else the first.

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
        """Whether a call returns an output object, unless it says otherwise."""
        return self.return_dict

    @property
    def head_size(self) -> int:
        """Width of one attention head (H)."""
        return self.dim // self.n_heads

    def kept_heads(self, layer: int) -> list[int]:
        """Return the original indices of the heads that block `layer` still has."""
        return sorted(set(range(self.n_heads)) - set(self.pruned_heads.get(layer, ())))

    def validate(self) -> None:
        """Raise ConfigError, naming the field, if a value is impossible."""
        check_config(self)

    def updated(self, **overrides: Any) -> DistilBertConfig:
        """Return a copy with some fields replaced; another `num_labels` or `id2label` replaces all label maps.

        Raises:
            ConfigError: The result would be impossible.
            TypeError: A keyword is not a field of this configuration.
        """
        fields = copy.deepcopy(self.__dict__)
        known = fields.keys() | ALIASES.keys() | {"num_labels", "use_return_dict"}
        labels = fields.pop("id2label"), fields.pop("label2id")
        unknown = sorted(overrides.keys() - known)
        if unknown:
            raise TypeError(f"Unknown keyword argument(s): {', '.join(unknown)}.")
        resized = overrides.get("num_labels", self.num_labels) != self.num_labels
        renewed = resized or overrides.keys() & {"id2label", "label2id"}
        check_aliases(overrides)
        overrides = {ALIASES.get(name, name): value for name, value in overrides.items()}
        config = DistilBertConfig(**{**fields, **overrides})
        if not renewed:
            config._set_labels(*labels)
        return config

    @renames(config_dict="fields")
    def update(self, fields: Mapping[str, Any]) -> None:
        """Set fields, known or new, in place.

        Raises:
            ConfigError: The result would be impossible; nothing is changed.
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
            ConfigError: A field is unknown, or the text does not have the type of its value.
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

    def __iter__(self) -> Iterator[str]:
        yield from self.__dict__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DistilBertConfig) and self._content() == other._content()

    def __hash__(self) -> int:
        # By content: modules of equal configuration share what JAX compiled.
        return hash(_frozen(self._content()))

    def _content(self) -> dict[str, Any]:
        """Return all fields except its origin."""
        return {name: value for name, value in self.__dict__.items() if name not in ORIGIN}

    def __repr__(self) -> str:
        return f"DistilBertConfig({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"


def as_config(config: Any) -> DistilBertConfig:
    """Return a configuration that is given as an object, a dict of its fields, a folder, a file or a Hub id.

    Raises:
        TypeError: It is of another type.
    """
    if isinstance(config, DistilBertConfig):
        return config
    if isinstance(config, str | Path):
        return DistilBertConfig.from_pretrained(config)
    fields = config.to_dict() if hasattr(config, "to_dict") else config
    if not isinstance(fields, Mapping):
        raise TypeError(f"config must be a DistilBertConfig, a dict, or a path, got a {type(config).__name__}.")
    return DistilBertConfig.from_dict(fields)


def validated(config: Any) -> DistilBertConfig:
    """Return the configuration of a model, checked.

    Raises:
        ConfigError: A field is invalid, or `config` is of another class, such as a configuration of Transformers.
    """
    if not isinstance(config, DistilBertConfig):
        raise ConfigError(
            f"config must be a DistilBertConfig of this package, got {type(config).__module__}."
            f"{type(config).__name__}. For a DistilBERT: DistilBertConfig.from_dict(config.to_dict())."
        )
    config.validate()
    return config


def _frozen(value: Any) -> Hashable:
    """Return something hashable that is equal for equal values, whatever the order of their dicts."""
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return value if isinstance(value, Hashable) else repr(value)
