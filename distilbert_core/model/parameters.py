"""The parameter table: every parameter of a model by its canonical name, which is its name on the Hub.

The contents of a checkpoint, the names and layouts in each framework, the axes that a mesh splits, and the names in
older files all follow from this table. Shapes are those of the checkpoint: a dense kernel is [out, in].
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from distilbert_core.model.config import DistilBertConfig

BASE_MODEL = "distilbert"  # attribute, and prefix of the names, of the base model inside a model with a head

# The logical axes of parameters. "heads" holds all attention heads side by side, "mlp" is the feed-forward size, and
# "hidden" the size between the layers of a task head.
LOGICAL_AXES = ("vocab", "position", "embed", "heads", "mlp", "hidden", "labels")


class Kind(Enum):
    """The kind of a parameter. It decides the layout in each framework and the initial values."""

    KERNEL = "kernel"
    BIAS = "bias"
    EMBEDDING = "embedding"
    NORM_SCALE = "norm_scale"
    NORM_BIAS = "norm_bias"
    OTHER = "other"  # a parameter that a user added to a model; it has no row in the table


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        name: Canonical name, such as 'distilbert.transformer.layer.0.attention.q_lin.weight'.
        shape: Shape in a checkpoint.
        kind: Its kind.
        axes: Logical axis of each axis of the shape, such as ('mlp', 'embed'); see `LOGICAL_AXES`.
        layer: Index of the transformer layer that it belongs to; None outside the layers.
        of_head: True for a parameter of the task head, False for one of the base model.
        tied_to: Name of the parameter whose array it shares. A tied parameter is not stored.
        computed: True for the sinusoidal position table, which is computed by a formula and never trained.
        pad_row: Row that is initialised to zero and receives no gradient from the look-up.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    axes: tuple[str, ...] = ()
    layer: int | None = None
    of_head: bool = False
    tied_to: str | None = None
    computed: bool = False
    pad_row: int | None = None


def dense(name: str, *, layer: int | None = None, of_head: bool = False, **sizes: int) -> Iterator[Parameter]:
    """Yield the kernel and the bias of a dense layer.

    Args:
        name: Canonical name of the layer.
        layer: Index of the transformer layer.
        of_head: Whether the layer belongs to the task head.
        **sizes: Size of the output axis, then of the input axis, by the names of the axes.

    Example:
        >>> from distilbert_core.model.parameters import dense
        >>> [(p.name, p.shape, p.axes) for p in dense("classifier", of_head=True, labels=2, embed=768)]
        [('classifier.weight', (2, 768), ('labels', 'embed')), ('classifier.bias', (2,), ('labels',))]
    """
    shape, axes = tuple(sizes.values()), tuple(sizes)
    yield Parameter(f"{name}.weight", shape, Kind.KERNEL, axes, layer, of_head)
    yield Parameter(f"{name}.bias", shape[:1], Kind.BIAS, axes[:1], layer, of_head)


def layer_norm(name: str, size: int, *, layer: int | None = None, of_head: bool = False) -> Iterator[Parameter]:
    """Yield the scale and the bias of a layer norm over the model size.

    Args:
        name: Canonical name of the layer.
        size: Model size D.
        layer: Index of the transformer layer.
        of_head: Whether the layer belongs to the task head.
    """
    yield Parameter(f"{name}.weight", (size,), Kind.NORM_SCALE, ("embed",), layer, of_head)
    yield Parameter(f"{name}.bias", (size,), Kind.NORM_BIAS, ("embed",), layer, of_head)


def base_model_parameters(config: DistilBertConfig, prefix: str = "") -> Iterator[Parameter]:
    """Yield the parameters of the base model in the order of the data flow.

    Args:
        config: Sizes of the model.
        prefix: Start of each name: 'distilbert.' inside a model with a head, else ''.
    """
    dim = config.dim
    embeddings = f"{prefix}embeddings"
    yield Parameter(
        f"{embeddings}.word_embeddings.weight",
        (config.vocab_size, dim),
        Kind.EMBEDDING,
        ("vocab", "embed"),
        pad_row=config.pad_token_id,
    )
    yield Parameter(
        f"{embeddings}.position_embeddings.weight",
        (config.max_position_embeddings, dim),
        Kind.EMBEDDING,
        ("position", "embed"),
        computed=config.sinusoidal_pos_embds,
    )
    yield from layer_norm(f"{embeddings}.LayerNorm", dim)
    for layer in range(config.n_layers):
        block = f"{prefix}transformer.layer.{layer}"
        heads = len(config.kept_heads(layer)) * config.head_size
        for projection in ("q_lin", "k_lin", "v_lin"):
            yield from dense(f"{block}.attention.{projection}", layer=layer, heads=heads, embed=dim)
        yield from dense(f"{block}.attention.out_lin", layer=layer, embed=dim, heads=heads)
        yield from layer_norm(f"{block}.sa_layer_norm", dim, layer=layer)
        yield from dense(f"{block}.ffn.lin1", layer=layer, mlp=config.hidden_dim, embed=dim)
        yield from dense(f"{block}.ffn.lin2", layer=layer, embed=dim, mlp=config.hidden_dim)
        yield from layer_norm(f"{block}.output_layer_norm", dim, layer=layer)


def sinusoidal_table(positions: int, dim: int) -> np.ndarray:
    """Return the fixed position table: sines in the even columns, cosines in the odd ones.

    Column pair j of position p holds the sine and cosine of p / 10000^(2j / dim) (Vaswani et al. 2017, section 3.5).
    The table is computed in float64 and rounded to float32, the dtype that checkpoints store.

    Args:
        positions: Number of rows.
        dim: Number of columns, even.

    Returns:
        [positions, dim] float32.
    """
    angles = np.arange(positions)[:, None] / 10000.0 ** (np.arange(0, dim, 2) / dim)  # [positions, dim/2]
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(positions, dim).astype(np.float32)


def initial_array(parameter: Parameter, config: DistilBertConfig, seed: int = 0) -> np.ndarray:
    """Return initial values that are the same in every framework: float64, in the shape of a checkpoint.

    Kernels and embeddings are drawn from N(0, initializer_range), each with its own generator. Scales are one. Biases
    and the padding row are zero.

    Args:
        parameter: The parameter.
        config: Gives `initializer_range`.
        seed: Seed of the generators.
    """
    rng = np.random.default_rng([zlib.crc32(parameter.name.encode()), seed])
    return initial_values(parameter, config, rng.standard_normal)


def initial_values(
    parameter: Parameter, config: DistilBertConfig, draw: Callable[[tuple[int, ...]], np.ndarray]
) -> np.ndarray:
    """Return initial values: kernels and embeddings from N(0, initializer_range), scales one, the rest zero.

    Args:
        parameter: The parameter. Its padding row is zero.
        config: Gives `initializer_range`.
        draw: Returns numbers of a shape from the standard normal distribution.
    """
    match parameter.kind:
        case Kind.KERNEL | Kind.EMBEDDING:
            array = config.initializer_range * draw(parameter.shape)
            if parameter.pad_row is not None:
                array[parameter.pad_row] = 0
            return array
        case Kind.NORM_SCALE:
            return np.ones(parameter.shape)
        case _:
            return np.zeros(parameter.shape)
