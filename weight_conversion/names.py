"""Canonical names from the names of any framework, and back.

The canonical names are those of PyTorch files on the Hub, such as
'distilbert.transformer.layer.0.attention.q_lin.weight'.
"""

from __future__ import annotations

import re
from functools import cache

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import BASE_MODEL, Kind, Parameter

BASE_MODEL_ALIASES = {"dilbert": BASE_MODEL}  # its name for some weeks of 2019

# Modules that PyTorch puts around others. The parameters inside them belong to the model.
TORCH_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})

# Modules with training state, as Keras, Flax and training scripts name them.
OPTIMIZERS = frozenset({"optimizer", "opt_state", "optimizer_state"})

NUMBERED = re.compile(r"\blayer_(?:\._)?(\d+)")  # a layer in Keras models of Transformers and of this project
LAYER = re.compile(r"(?<=layer\.)\d+")


def _leaves() -> dict[str, tuple[str, bool]]:
    """Return for the last part of a stored name the canonical one, and whether the two axes are swapped."""
    leaves = {"weight": ("weight", False), "bias": ("bias", False)}
    for layout in LAYOUTS.values():
        for kind, leaf in layout.leaf.items():
            canonical = "bias" if kind in (Kind.BIAS, Kind.NORM_BIAS) else "weight"
            leaves[leaf] = (canonical, kind in layout.transposed)
    return leaves


LEAVES = _leaves()


@cache
def _known_names(heads: tuple[Head, ...]) -> frozenset[str]:
    """Return the canonical names of all parameters under some heads, with 0 for the layer."""
    config = DistilBertConfig(n_layers=1)
    return frozenset(parameter.name for head in heads for parameter in parameter_table(config, head))


@cache
def _top_modules(heads: tuple[Head, ...]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in _known_names(heads)) | BASE_MODEL_ALIASES.keys()


def is_top_module(module: str) -> bool:
    """Return whether a canonical name can begin with a module. Modules before it are the name of a model."""
    return module in _top_modules(tuple(Head))


def split_name(stored: str) -> tuple[str, str, bool]:
    """Split a stored name into the name of the model and the canonical name.

    Returns:
        The name of the model, which may be empty; the canonical name; whether the two axes are swapped. A name that
        does not belong to DistilBERT is returned without the wrappers of PyTorch and without the name of a model.

    Example:
        >>> from weight_conversion.names import split_name
        >>> split_name("tf_distil_bert_model_2/distilbert/transformer/layer_._0/attention/q_lin/kernel:0")
        ('tf_distil_bert_model_2', 'distilbert.transformer.layer.0.attention.q_lin.weight', True)
    """
    parts = _parts(stored)
    if parts[-1] in LEAVES:
        leaf, swapped = LEAVES[parts[-1]]
        for start, part in enumerate(parts):
            if is_top_module(part):
                name = ".".join([BASE_MODEL_ALIASES.get(part, part), *parts[start + 1 : -1], leaf])
                if LAYER.sub("0", name) in _known_names(tuple(Head)):
                    return "/".join(parts[:start]), name, swapped
    return "", stored if TORCH_WRAPPERS.isdisjoint(stored.split(".")) else ".".join(parts), False


def is_of_optimizer(stored: str) -> bool:
    """Return whether a stored name belongs to the state of an optimizer, even if it ends like a parameter's name."""
    return not OPTIMIZERS.isdisjoint(re.split(r"[./]", stored))


def _parts(stored: str) -> list[str]:
    parts = re.split(r"[./]", NUMBERED.sub(r"layer/\1", stored.removesuffix(":0")))
    return [part for part in parts if part not in TORCH_WRAPPERS]


def without_model(stored: str, model: str) -> str:
    """Return a stored name without the name of its model, or unchanged if it belongs to another model.

    Args:
        stored: A stored name.
        model: Name of a model, as `split_name` returns it.

    Example:
        >>> from weight_conversion.names import without_model
        >>> without_model("model.adapter.weight", "model"), without_model("metric.weight", "model")
        ('adapter.weight', 'metric.weight')
    """
    parts, start = _parts(stored), model.split("/")
    return ".".join(parts[len(start) :]) if parts[: len(start)] == start else stored


# -- from canonical names ---------------------------------------------------------------------------------------

WORD_MODULE = "word_embeddings"  # its leaf is 'weight' in TensorFlow models of Transformers, unlike in Keras


def canonical_name(parameter: Parameter, head: Head) -> str:
    """Return the name of a parameter on the Hub."""
    return parameter.name


def tensorflow_name(parameter: Parameter, head: Head) -> str:
    """Return the name of a parameter in TensorFlow models of Transformers, without the name of the model.

    Names of the base model begin with 'distilbert' even without a head.
    """
    modules, leaf = LAYOUTS["keras"].path(parameter)
    path = "/".join([*modules, "weight" if modules[-1] == WORD_MODULE else leaf]).replace("layer/", "layer_._")
    return f"{BASE_MODEL}/{path}:0" if head is Head.BASE else f"{path}:0"


def flax_name(parameter: Parameter, head: Head) -> str:
    """Return the path of a parameter in the tree of Transformers' Flax models, joined by '/'."""
    modules, leaf = LAYOUTS["flax"].path(parameter)
    return "/".join([*modules, leaf])
