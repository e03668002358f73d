"""Models on many devices: the axes of parameters have names, and a rule table says which of them a mesh splits.

A rule table maps names of axes to axes of a `jax.sharding.Mesh`; an axis without a rule is whole on every device. The
names are 'batch' (of inputs), 'vocab', 'position', 'embed' (the model size), 'heads' (all heads side by side), 'mlp'
(the feed-forward size), 'hidden' (inside a task head) and 'labels'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distilbert_core.errors import InputError
from distilbert_core.parameters import Kind, Parameter

Rules = Mapping[str, str | tuple[str, ...] | None]

# The ready-made tables, for a mesh with the axes 'data' and 'model'.
DATA_PARALLEL: Rules = {"batch": "data"}
FULLY_SHARDED: Rules = {"batch": "data", "embed": "data"}  # each device keeps a part of the parameters too
TENSOR_PARALLEL: Rules = {"batch": "data", "heads": "model", "mlp": "model"}

# Layer -> names of the axes of its kernel or table, as Flax has them: [in, out] or [rows, D]. A norm has [D].
KERNEL_AXES: Mapping[str, tuple[str, str]] = {
    "word_embeddings": ("vocab", "embed"),
    "position_embeddings": ("position", "embed"),
    **dict.fromkeys(("q_lin", "k_lin", "v_lin"), ("embed", "heads")),
    "out_lin": ("heads", "embed"),
    "lin1": ("embed", "mlp"),
    "lin2": ("mlp", "embed"),
    **dict.fromkeys(("vocab_transform", "pre_classifier"), ("embed", "hidden")),
    "vocab_projector": ("embed", "vocab"),
    **dict.fromkeys(("classifier", "qa_outputs"), ("embed", "labels")),
}
AXES = frozenset({"batch"}.union(*KERNEL_AXES.values()))


def logical_axes(parameter: Parameter) -> tuple[str, ...]:
    """Return the names of the axes of a parameter as Flax has it; its variable carries them as `logical_axes`.

    Example:
        >>> from distilbert_core import DistilBertConfig, Head, parameter_table
        >>> from distilbert_flax.sharding import logical_axes
        >>> table = {p.name: p for p in parameter_table(DistilBertConfig(), Head.NONE)}
        >>> logical_axes(table["transformer.layer.0.ffn.lin1.weight"])
        ('embed', 'mlp')
        >>> logical_axes(table["transformer.layer.0.ffn.lin1.bias"])
        ('mlp',)
    """
    if parameter.kind in (Kind.NORM_SCALE, Kind.NORM_BIAS):
        return ("embed",)
    axes = KERNEL_AXES[parameter.name.split(".")[-2]]
    return axes[-1:] if parameter.kind is Kind.BIAS else axes


def shard(node: Any, mesh: Mesh, rules: Rules) -> None:
    """Lay the variables of a model, an optimizer, or a tuple of them out over the devices of a mesh, in place.

    Each parameter, and what an optimizer keeps for it, is split by the names of its axes; everything else is copied to
    every device. What is computed from them under `nnx.jit` is divided among the devices by the compiler.

    Args:
        node: A model, an `nnx.Optimizer`, or any tree of NNX objects.
        mesh: The devices. Also in many processes, where each must hold the same values beforehand.
        rules: Name of an axis -> axis or axes of the mesh; see the ready-made tables.

    Raises:
        InputError: The rules name an axis that neither parameters nor the mesh have, split one array twice over the
            same axis of the mesh, or split an axis whose size the mesh's does not divide.

    Example:
        >>> import jax
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
        >>> from distilbert_flax.sharding import TENSOR_PARALLEL, shard
        >>> model = FlaxDistilBertModel(DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48))
        >>> shard(model, jax.make_mesh((1, 1), ("data", "model")), TENSOR_PARALLEL)
        >>> tuple(model.transformer.layer[0].ffn.lin1.kernel.sharding.spec)
        (None, 'model')
    """
    mesh = _check_rules(mesh, rules)
    placed = []
    for path, variable in nnx.to_flat_state(nnx.state(node)):
        name = ".".join(map(str, path))
        value = variable.get_value()
        axes = variable.get_metadata().get("logical_axes", ())
        # Some of what an optimizer keeps for a parameter is of another shape than the parameter.
        spec = _spec(name, value.shape, axes, mesh, rules) if len(axes) == value.ndim else PartitionSpec()
        placed.append((path, variable.replace(place(value, NamedSharding(mesh, spec)))))
    nnx.update(node, nnx.from_flat_state(placed))


def shard_batch(batch: Any, mesh: Mesh, rules: Rules) -> Any:
    """Divide a batch among the devices of a mesh along its first axis, as the rule for 'batch' says.

    Args:
        batch: A tree of arrays [B, ...]: in many processes, the rows of this process only.
        mesh: The devices.
        rules: As for `shard`.

    Returns:
        The same tree of JAX arrays [B of all processes, ...].

    Raises:
        InputError: As for `shard`.

    Example:
        >>> import jax, numpy as np
        >>> from distilbert_flax.sharding import DATA_PARALLEL, shard_batch
        >>> tuple(shard_batch(np.ones((4, 3)), jax.make_mesh((1,), ("data",)), DATA_PARALLEL).sharding.spec)
        ('data',)
    """
    mesh = _check_rules(mesh, rules)

    def place(path: Any, array: Any) -> jax.Array:
        array = np.asarray(array)
        rows = (array.shape[0] * jax.process_count(), *array.shape[1:])
        spec = _spec(f"batch{jax.tree_util.keystr(path)}", rows, ("batch",), mesh, rules)
        return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), array)

    return jax.tree_util.tree_map_with_path(place, batch)


def place(value: jax.Array | np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Return an array that every process has, laid out anew; the devices may be those of all processes."""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(place(jax.random.key_data(value), sharding), impl=jax.random.key_impl(value))
    whole = np.asarray(value)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])


def _check_rules(mesh: Mesh, rules: Rules) -> Mesh:
    """Return the mesh with axes that the compiler divides work over, or raise InputError if the rules do not fit."""
    for name, target in rules.items():
        if name not in AXES:
            raise InputError(f"rules must name axes out of {', '.join(sorted(AXES))}, got {name!r}.")
        for axis in _names(target):
            if axis not in mesh.axis_names:
                raise InputError(f"rules[{name!r}] must be an axis of the mesh {mesh.axis_names}, got {axis!r}.")
    return Mesh(mesh.devices, mesh.axis_names)  # `jax.make_mesh` makes Explicit axes, which would bind every operation


def _spec(name: str, shape: tuple[int, ...], axes: Iterable[str], mesh: Mesh, rules: Rules) -> PartitionSpec:
    """Return how an array is split, or raise InputError, naming it, if it cannot be."""
    spec = PartitionSpec(*(rules.get(axis) for axis in axes))
    used = [axis for target in spec for axis in _names(target)]
    if len(set(used)) < len(used):
        raise InputError(f"{name} has the axes {tuple(axes)}, and rules split two of them over the same axis: {spec}.")
    for size, axis, target in zip(shape, axes, spec, strict=False):
        parts = math.prod(mesh.shape[part] for part in _names(target))
        if size % parts:
            raise InputError(
                f"{name} must be divisible along {axis!r} by {parts}, the mesh's size of {target!r}; got {size}. "
                f"Take {axis!r} out of the rules, or change the size."
            )
    return spec


def _names(target: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the axes of a mesh that a rule names."""
    if target is None:
        return ()
    return (target,) if isinstance(target, str) else tuple(target)
