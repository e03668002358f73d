"""The canonical name of a parameter from any framework's name for it, and each framework's name from the canonical one.

The canonical names are those of the Hub's PyTorch files, e.g. 'distilbert.transformer.layer.0.attention.q_lin.weight'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from distilbert_core.parameters import BODY, Head, Parameter
from weight_conversion.layouts import LAYOUTS

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

# First modules of a path. What stands before them is the name of a model, which may be anything.
TOP_MODULES = {
    BODY: BODY,
    "dilbert": BODY,  # its name for some weeks of 2019
    "embeddings": "embeddings",
    "transformer": "transformer",
    **dict.fromkeys(("pre_classifier", "classifier", "qa_outputs")),
    **dict.fromkeys(("vocab_transform", "vocab_layer_norm", "vocab_projector")),
}


def canonical_name(stored: str) -> tuple[str, bool]:
    """Return the canonical name of a stored one, and whether its kernel is stored with its axes swapped.

    A name that is none of DistilBERT's comes back as it is.

    Example:
        >>> from weight_conversion.names import canonical_name
        >>> canonical_name("tf_distil_bert_model_2/distilbert/transformer/layer_._0/attention/q_lin/kernel:0")
        ('distilbert.transformer.layer.0.attention.q_lin.weight', True)
    """
    path = stored.removesuffix(":0").replace("layer_._", "layer/")
    parts = re.split(r"[./]", path)
    start = next((index for index, part in enumerate(parts) if part in TOP_MODULES), None)
    if start is None or parts[-1] not in LEAVES:
        return stored, False
    leaf, swapped = LEAVES[parts[-1]]
    return ".".join([TOP_MODULES[parts[start]] or parts[start], *parts[start + 1 : -1], leaf]), swapped


# -- from canonical names ---------------------------------------------------------------------------------------

WORDS = "word_embeddings"  # whose leaf Transformers' TensorFlow model calls 'weight', unlike Keras


def tensorflow_name(parameter: Parameter, head: Head) -> str:
    """Return what Transformers' TensorFlow model calls a parameter, without the name of the model before it.

    Its body has the prefix 'distilbert' also where it stands alone.
    """
    modules, leaf = LAYOUTS["keras"].path(parameter)
    path = "/".join([*modules, "weight" if modules[-1] == WORDS else leaf]).replace("layer/", "layer_._")
    return f"{BODY}/{path}:0" if head is Head.NONE else f"{path}:0"


def flax_name(parameter: Parameter, head: Head) -> str:
    """Return where a parameter is in the tree of Transformers' Flax model, joined by '/'."""
    modules, leaf = LAYOUTS["flax"].path(parameter)
    return "/".join([*modules, leaf])
