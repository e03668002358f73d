"""The one table: every parameter of a model, by its canonical name (the Hub's), with its shape and its kind.

What a checkpoint must hold, how a name and an array look in each framework, and how older files map all follow from
this table. Shapes are those of the checkpoint: a dense kernel is [out, in].
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum

import numpy as np

from distilbert_core.model.config import DistilBertConfig

BODY = "distilbert"  # the attribute, and so the name prefix, of the body inside a model with a head


class Kind(Enum):
    """What a parameter is. It decides its layout in each framework and how it is initialised."""

    KERNEL = "kernel"
    BIAS = "bias"
    EMBEDDING = "embedding"
    NORM_SCALE = "norm_scale"
    NORM_BIAS = "norm_bias"
    OTHER = "other"  # a user's own, which the table does not have: as its framework has it


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        name: Canonical name, e.g. 'distilbert.transformer.layer.0.attention.q_lin.weight'.
        shape: Shape in a checkpoint.
        kind: What it is.
        tied_to: Name of the parameter whose array this one shares. It has none of its own, and is not stored.
        computed: True for the sinusoidal position table: stored and used, filled by formula, never trained.
        pad_row: Row that is zero when freshly initialised and gets no gradient from the look-up.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    tied_to: str | None = None
    computed: bool = False
    pad_row: int | None = None


class Head(StrEnum):
    """What stands on the body; the value is the end of the class name in all three backends."""

    NONE = "Model"
    MASKED_LM = "ForMaskedLM"
    SEQUENCE_CLASSIFICATION = "ForSequenceClassification"
    MULTIPLE_CHOICE = "ForMultipleChoice"
    TOKEN_CLASSIFICATION = "ForTokenClassification"
    QUESTION_ANSWERING = "ForQuestionAnswering"

    @property
    def architecture(self) -> str:
        """The class name that config.json lists under `architectures`."""
        return f"DistilBert{self.value}"


def _dense(name: str, out_size: int, in_size: int) -> Iterator[Parameter]:
    yield Parameter(f"{name}.weight", (out_size, in_size), Kind.KERNEL)
    yield Parameter(f"{name}.bias", (out_size,), Kind.BIAS)


def _norm(name: str, size: int) -> Iterator[Parameter]:
    yield Parameter(f"{name}.weight", (size,), Kind.NORM_SCALE)
    yield Parameter(f"{name}.bias", (size,), Kind.NORM_BIAS)


def _body(config: DistilBertConfig, prefix: str) -> Iterator[Parameter]:
    dim = config.dim
    embeddings = f"{prefix}embeddings"
    yield Parameter(
        f"{embeddings}.word_embeddings.weight",
        (config.vocab_size, dim),
        Kind.EMBEDDING,
        pad_row=config.pad_token_id,
    )
    yield Parameter(
        f"{embeddings}.position_embeddings.weight",
        (config.max_position_embeddings, dim),
        Kind.EMBEDDING,
        computed=config.sinusoidal_pos_embds,
    )
    yield from _norm(f"{embeddings}.LayerNorm", dim)
    for layer in range(config.n_layers):
        block = f"{prefix}transformer.layer.{layer}"
        attention_size = len(config.kept_heads(layer)) * config.head_size
        for projection in ("q_lin", "k_lin", "v_lin"):
            yield from _dense(f"{block}.attention.{projection}", attention_size, dim)
        yield from _dense(f"{block}.attention.out_lin", dim, attention_size)
        yield from _norm(f"{block}.sa_layer_norm", dim)
        yield from _dense(f"{block}.ffn.lin1", config.hidden_dim, dim)
        yield from _dense(f"{block}.ffn.lin2", dim, config.hidden_dim)
        yield from _norm(f"{block}.output_layer_norm", dim)


def _masked_lm(config: DistilBertConfig) -> Iterator[Parameter]:
    yield from _dense("vocab_transform", config.dim, config.dim)
    yield from _norm("vocab_layer_norm", config.dim)
    yield Parameter(
        "vocab_projector.weight",
        (config.vocab_size, config.dim),
        Kind.KERNEL,
        tied_to=f"{BODY}.embeddings.word_embeddings.weight" if config.tie_word_embeddings else None,
    )
    yield Parameter("vocab_projector.bias", (config.vocab_size,), Kind.BIAS)


def _head(config: DistilBertConfig, head: Head | None) -> Iterator[Parameter]:
    match head:
        case Head.MASKED_LM:
            yield from _masked_lm(config)
        case Head.SEQUENCE_CLASSIFICATION:
            yield from _dense("pre_classifier", config.dim, config.dim)
            yield from _dense("classifier", config.num_labels, config.dim)
        case Head.MULTIPLE_CHOICE:
            yield from _dense("pre_classifier", config.dim, config.dim)
            yield from _dense("classifier", 1, config.dim)
        case Head.TOKEN_CLASSIFICATION:
            yield from _dense("classifier", config.num_labels, config.dim)
        case Head.QUESTION_ANSWERING:
            yield from _dense("qa_outputs", 2, config.dim)


def parameter_table(config: DistilBertConfig, head: Head | None) -> tuple[Parameter, ...]:
    """Return every parameter of the body under `head`, in the order of the data flow.

    The names of the bare body (`Head.NONE`) have no prefix; under a head they begin with 'distilbert.'. Without a head
    (None) they do too: it is a user's own.

    Example:
        >>> from distilbert_core import DistilBertConfig, Head, parameter_table
        >>> table = parameter_table(DistilBertConfig(), Head.SEQUENCE_CLASSIFICATION)
        >>> table[-1].name, table[-1].shape
        ('classifier.bias', (2,))
        >>> sum(p.shape[0] * (p.shape[1] if len(p.shape) > 1 else 1) for p in table)
        66955010
    """
    prefix = "" if head is Head.NONE else f"{BODY}."
    return (*_body(config, prefix), *_head(config, head))


def sinusoidal_table(positions: int, dim: int) -> np.ndarray:
    """Return the fixed position table: sine in even, cosine in odd columns.

    Column pair j of position p holds the sine and cosine of p / 10000^(2j / dim) (Vaswani et al. 2017, section 3.5).
    It is computed in float64 and rounded to float32, since that is what checkpoints store.

    Args:
        positions: Number of rows.
        dim: Number of columns, even.

    Returns:
        [positions, dim] float32.
    """
    angles = np.arange(positions)[:, None] / 10000.0 ** (np.arange(0, dim, 2) / dim)  # [positions, dim/2]
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(positions, dim).astype(np.float32)


def initial_array(parameter: Parameter, config: DistilBertConfig, seed: int = 0) -> np.ndarray:
    """Return initial values that do not depend on the framework: float64 in the shape of a checkpoint.

    Matrices come from N(0, initializer_range), each from a generator of its own; scales are one, the rest and the pad
    row zero.

    Args:
        parameter: Which parameter.
        config: Gives `initializer_range`.
        seed: Another one gives other values.
    """
    match parameter.kind:
        case Kind.KERNEL | Kind.EMBEDDING:
            rng = np.random.default_rng([zlib.crc32(parameter.name.encode()), seed])
            array = config.initializer_range * rng.standard_normal(parameter.shape)
            if parameter.pad_row is not None:
                array[parameter.pad_row] = 0
            return array
        case Kind.NORM_SCALE:
            return np.ones(parameter.shape)
        case _:
            return np.zeros(parameter.shape)
