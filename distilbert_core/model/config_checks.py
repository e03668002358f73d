"""Checks of the values of a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from distilbert_core.errors import ConfigError, shortened
from distilbert_core.files.limits import LIMITS

# Name in config.json -> the function. Each backend has a function for each value.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",  # its constant is rounded to ten digits: 4e-12 off
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
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
CONFIG_SIZES = ("vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim")
_PROBABILITIES = ("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout")
_FLAGS = (
    "sinusoidal_pos_embds",
    "tie_word_embeddings",
    "tie_weights_",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
)


class ConfigFields(Protocol):
    """The fields of a configuration that depend on each other."""

    vocab_size: int
    n_layers: int
    n_heads: int
    dim: int
    sinusoidal_pos_embds: bool
    initializer_range: float
    activation: Any
    pad_token_id: int | None
    problem_type: str | None
    architectures: list[str] | None
    pruned_heads: dict[int, list[int]]

    def kept_heads(self, layer: int) -> list[int]:
        """Return the heads of a layer that are not pruned."""


def check_config(config: ConfigFields) -> None:
    """Raise ConfigError, naming the field, if a value is impossible."""
    for name in CONFIG_SIZES:
        value = getattr(config, name)
        if not is_integer(value) or value < 1:
            raise ConfigError(f"{name} must be a positive integer, got {shortened(value)}.")
        if value > LIMITS[name].most:
            raise ConfigError(f"{name} must be at most {LIMITS[name].most}, got {shortened(value)}.")
    if config.dim % config.n_heads:
        raise ConfigError(f"n_heads must divide dim, got n_heads={config.n_heads} and dim={config.dim}.")
    if config.sinusoidal_pos_embds and config.dim % 2:
        raise ConfigError(f"dim must be even for sinusoidal_pos_embds, got {config.dim}.")
    for name in _PROBABILITIES:
        value = getattr(config, name)
        if not _is_number(value) or not 0 <= value <= 1:
            raise ConfigError(f"{name} must be a probability in [0, 1], got {shortened(value)}.")
    if not _is_number(config.initializer_range) or not 0 <= config.initializer_range < math.inf:
        raise ConfigError(f"initializer_range must be a number >= 0, got {shortened(config.initializer_range)}.")
    for name in _FLAGS:
        if getattr(config, name) not in (True, False):
            raise ConfigError(f"{name} must be True or False, got {shortened(getattr(config, name))}.")
    if not callable(config.activation) and config.activation not in tuple(ACTIVATIONS):
        known = ", ".join(ACTIVATIONS)
        raise ConfigError(f"activation must be one of {known}, or a function, got {shortened(config.activation)}.")
    pad = config.pad_token_id
    if pad is not None and not (is_integer(pad) and 0 <= pad < config.vocab_size):
        raise ConfigError(
            f"pad_token_id must be None or lie in [0, vocab_size={config.vocab_size}), got {shortened(pad)}."
        )
    if config.problem_type is not None and config.problem_type not in PROBLEM_TYPES:
        known = ", ".join(PROBLEM_TYPES)
        raise ConfigError(f"problem_type must be None or one of {known}, got {shortened(config.problem_type)}.")
    names = config.architectures
    if names is not None and not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        raise ConfigError(f"architectures must be None or a list of names of classes, got {shortened(names)}.")
    for layer, heads in config.pruned_heads.items():
        if not 0 <= layer < config.n_layers or not all(0 <= head < config.n_heads for head in heads):
            raise ConfigError(
                f"pruned_heads must name layers below {config.n_layers} and heads below {config.n_heads}, "
                f"got {shortened({layer: heads})}."
            )
        if not config.kept_heads(layer):
            raise ConfigError(f"pruned_heads must leave a head in every layer, layer {layer} has none.")


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or is_integer(value)


def pruned_heads_by_layer(pruned_heads: Mapping[int | str, list[int]], n_layers: int) -> dict[int, list[int]]:
    """Return pruned heads by layer, sorted.

    Args:
        pruned_heads: {layer: [head, ...]}. Negative layers count from the last; in JSON, layers are texts.
        n_layers: Number of layers.

    Raises:
        ConfigError: It is not a dict of layers and heads.
    """
    heads_of: dict[int, set[int]] = {}
    try:
        for layer, heads in pruned_heads.items():
            index = int(layer)
            heads_of.setdefault(index + n_layers if -n_layers <= index < 0 else index, set()).update(map(int, heads))
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise ConfigError(
            f"pruned_heads must be a dict of layer to a list of heads, got {shortened(pruned_heads)}."
        ) from None
    return {layer: sorted(heads) for layer, heads in heads_of.items()}
