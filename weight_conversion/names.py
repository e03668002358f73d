"""The canonical name of a parameter from any framework's name for it, and each framework's name from the canonical one.

The canonical names are those of the Hub's PyTorch files, e.g. 'distilbert.transformer.layer.0.attention.q_lin.weight'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import BASE_MODEL, Parameter

# What a leaf is called somewhere -> what it is called on the Hub, and whether its two axes are swapped.
LEAVES: Mapping[str, tuple[str, bool]] = {
    "weight": ("weight", False),
    "bias": ("bias", False),
    "kernel": ("weight", True),  # Keras and Flax
    "embeddings": ("weight", False),  # Keras
    "embedding": ("weight", False),  # Flax
    "gamma": ("weight", False),  # Keras, and the TensorFlow that BERT was made with
    "beta": ("bias", False),
    "scale": ("weight", False),  # Flax
}

# Other names of the base model.
ALIASES = {"dilbert": BASE_MODEL}  # its name for some weeks of 2019

# Modules that PyTorch puts around others: the parameters in them are those of the model.
TORCH_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})

# Modules that hold the state of training, as Keras, Flax and those who save their states call them.
OPTIMIZERS = frozenset({"optimizer", "opt_state", "optimizer_state"})

NUMBERED = re.compile(r"\blayer_(?:\._)?(\d+)")  # a block, as Transformers' and this project's Keras models call it
LAYER = re.compile(r"(?<=layer\.)\d+")


@cache
def _known_names(heads: tuple[Head, ...]) -> frozenset[str]:
    """Return the canonical names of all parameters under some heads, with 0 for the layer."""
    config = DistilBertConfig(n_layers=1)
    return frozenset(parameter.name for head in heads for parameter in parameter_table(config, head))


@cache
def _top_modules(heads: tuple[Head, ...]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in _known_names(heads)) | ALIASES.keys()


def is_top_module(module: str) -> bool:
    """Return whether a canonical name can begin with a module. Modules before it are the name of a model."""
    return module in _top_modules(tuple(Head))


def split_name(stored: str) -> tuple[str, str, bool]:
    """Return the name of the model before a stored name, the canonical name, and whether the kernel's axes are swapped.

    A name that is none of DistilBERT's comes back as it is, without PyTorch's wrappers, with nothing before it.

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
                name = ".".join([ALIASES.get(part, part), *parts[start + 1 : -1], leaf])
                if LAYER.sub("0", name) in _known_names(tuple(Head)):
                    return "/".join(parts[:start]), name, swapped
    return "", stored if TORCH_WRAPPERS.isdisjoint(stored.split(".")) else ".".join(parts), False


def is_of_optimizer(stored: str) -> bool:
    """Return whether a stored name is that of an optimizer's state, which may end in a parameter's name."""
    return not OPTIMIZERS.isdisjoint(re.split(r"[./]", stored))


def _parts(stored: str) -> list[str]:
    parts = re.split(r"[./]", NUMBERED.sub(r"layer/\1", stored.removesuffix(":0")))
    return [part for part in parts if part not in TORCH_WRAPPERS]


def without_model(stored: str, model: str) -> str:
    """Return a stored name without the name of its model, as `split_name` returns that, or as it is if it has another.

    Example:
        >>> from weight_conversion.names import without_model
        >>> without_model("model.adapter.weight", "model"), without_model("metric.weight", "model")
        ('adapter.weight', 'metric.weight')
    """
    parts, start = _parts(stored), model.split("/")
    return ".".join(parts[len(start) :]) if parts[: len(start)] == start else stored


# -- from canonical names ---------------------------------------------------------------------------------------

WORDS = "word_embeddings"  # whose leaf Transformers' TensorFlow model calls 'weight', unlike Keras


def tensorflow_name(parameter: Parameter, head: Head) -> str:
    """Return what Transformers' TensorFlow model calls a parameter, without the name of the model before it.

    Its body has the prefix 'distilbert' also where it stands alone.
    """
    modules, leaf = LAYOUTS["keras"].path(parameter)
    path = "/".join([*modules, "weight" if modules[-1] == WORDS else leaf]).replace("layer/", "layer_._")
    return f"{BASE_MODEL}/{path}:0" if head is Head.BASE else f"{path}:0"


def flax_name(parameter: Parameter, head: Head) -> str:
    """Return where a parameter is in the tree of Transformers' Flax model, joined by '/'."""
    modules, leaf = LAYOUTS["flax"].path(parameter)
    return "/".join([*modules, leaf])


def canonical_name(parameter: Parameter, head: Head) -> str:
    """Return the name of a parameter on the Hub."""
    return parameter.name
