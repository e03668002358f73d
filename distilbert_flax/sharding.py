"""Models on many devices: the axes of parameters have names, and a rule table says which of them a mesh splits.

A parameter carries the names as NNX's own metadata, `out_sharding`, which `nnx.get_partition_spec` reads.

A rule table maps names of axes to axes of a `jax.sharding.Mesh`; an axis without a rule is whole on every device. The
names are 'batch' (of inputs), 'vocab', 'position', 'embed' (the model size), 'heads' (all heads side by side), 'mlp'
(the feed-forward size), 'hidden' (inside a task head) and 'labels'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distilbert_core.errors import InputError
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import LOGICAL_AXES, Parameter

Rules = Mapping[str, str | tuple[str, ...] | None]
Node = TypeVar("Node")

# The ready-made tables, for a mesh with the axes 'data' and 'model'.
DATA_PARALLEL: Rules = {"batch": "data"}
FULLY_SHARDED: Rules = {"batch": "data", "embed": "data"}  # each device keeps a part of the parameters too
TENSOR_PARALLEL: Rules = {"batch": "data", "heads": "model", "mlp": "model"}

ROWS = ("input_ids", "position_ids", "segment_ids", "output_tokens")  # arrays of packed rows, [R, ...]
AXES = frozenset({"batch", *LOGICAL_AXES})


def logical_axes(parameter: Parameter) -> tuple[str, ...]:
    """Return the logical axes of a parameter in the order of Flax, whose kernels are [in, out].

    Its variable carries them as `logical_axes`, and as NNX's `out_sharding`.

    Example:
        >>> from distilbert_core import DistilBertConfig, Head, parameter_table
        >>> from distilbert_flax.sharding import logical_axes
        >>> table = {p.name: p for p in parameter_table(DistilBertConfig(), Head.BASE)}
        >>> logical_axes(table["transformer.layer.0.ffn.lin1.weight"])
        ('embed', 'mlp')
        >>> logical_axes(table["transformer.layer.0.ffn.lin1.bias"])
        ('mlp',)
    """
    return parameter.axes[:: -1 if parameter.kind in LAYOUTS["flax"].transposed else 1]


def name_axes(variable: nnx.Variable, axes: tuple[str, ...]) -> None:
    """Give the axes of a parameter their names.

    NNX then splits it on request, not at each assignment, which would need a mesh.
    """
    variable.set_metadata(logical_axes=axes, out_sharding=axes, eager_sharding=False)


def axis_rules(rules: Rules) -> tuple[tuple[str, str | tuple[str, ...] | None], ...]:
    """Return a rule table for `nnx.logical_axis_rules`: a rule for every axis, None for an axis that is not split.

    Example:
        >>> import jax
        >>> from flax import nnx
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
        >>> from distilbert_flax.sharding import TENSOR_PARALLEL, axis_rules
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = nnx.eval_shape(lambda: FlaxDistilBertModel(config))
        >>> with nnx.logical_axis_rules(axis_rules(TENSOR_PARALLEL)):
        ...     specs = nnx.get_partition_spec(nnx.state(model))
        >>> tuple(specs.transformer.layer[0].ffn.lin1.kernel.get_value())
        (None, 'model')
    """
    return tuple((axis, rules.get(axis)) for axis in sorted(AXES))


def create(make: Callable[[], Node], mesh: Mesh, rules: Rules) -> Node:
    """Make a model, or a model and its optimizer, with each array created on its own devices.

    The values are the same as without a mesh, up to rounding. A device never holds more than its part.

    Args:
        make: Makes the model, without arguments. It is traced.
        mesh: The devices.
        rules: Name of an axis -> axis or axes of the mesh.

    Raises:
        InputError: The rules do not fit the parameters or the mesh, as in `shard`.

    Example:
        >>> import jax
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
        >>> from distilbert_flax.sharding import FULLY_SHARDED, create
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = create(lambda: FlaxDistilBertModel(config), jax.make_mesh((1,), ("data",)), FULLY_SHARDED)
        >>> tuple(model.transformer.layer[0].ffn.lin1.kernel.sharding.spec)
        ('data', None)
    """
    node = nnx.eval_shape(make)
    shard(node, mesh, rules)
    graph, state = nnx.split(node)
    shapes, structure = jax.tree.flatten(state)
    arrays = jax.jit(lambda: jax.tree.leaves(nnx.state(make())), out_shardings=[x.sharding for x in shapes])()
    return nnx.merge(graph, jax.tree.unflatten(structure, arrays))


def shard(node: Any, mesh: Mesh, rules: Rules) -> None:
    """Lay the variables of a model, an optimizer, or a tuple of them out over the devices of a mesh, in place.

    Each parameter, and the optimizer's arrays for it, are split by the names of its axes; everything else is copied to
    every device. Under `nnx.jit` the compiler divides computations among the devices. Afterwards NNX's own functions
    (`nnx.get_partition_spec`, `nnx.get_named_sharding`) return the placement of each array.

    Args:
        node: A model, an `nnx.Optimizer`, or any tree of NNX objects. Made under `nnx.eval_shape` it gets shapes that
            know their shardings, into which Orbax restores a checkpoint.
        mesh: The devices. They may be of many processes, which must all hold the same values before.
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
        # Some arrays of an optimizer have another shape than their parameter, or [1] as a placeholder.
        other = len(axes) != value.ndim or (isinstance(variable, nnx.OptState) and 1 in value.shape)
        spec = PartitionSpec() if other else _spec(name, value.shape, axes, mesh, rules)
        variable = variable.replace(place(value, NamedSharding(mesh, spec)))
        if axes:
            variable.set_metadata(sharding_rules=axis_rules(rules))
        placed.append((path, variable))
    nnx.update(node, nnx.from_flat_state(placed))


def shard_batch(batch: Any, mesh: Mesh, rules: Rules) -> Any:
    """Divide a batch among the devices of a mesh along its first axis, as the rule for 'batch' says.

    Args:
        batch: A tree of arrays [B, ...]: in many processes, the rows of this process only.
        mesh: The devices.
        rules: Name of an axis -> axis or axes of the mesh.

    Returns:
        The same tree of JAX arrays [B of all processes, ...].

    Raises:
        InputError: The rules do not fit the batch or the mesh, as in `shard`.

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


def shard_packed(batch: Mapping[str, Any], mesh: Mesh, rules: Rules) -> dict[str, jax.Array]:
    """Divide packed rows among the devices of a mesh, as the rule for 'batch' says; every device has all other arrays.

    Args:
        batch: The arguments of a model's call, as `PackedBatches` makes them: all rows, the same in every process.
        mesh: The devices.
        rules: Name of an axis -> axis or axes of the mesh.

    Raises:
        InputError: The rules do not fit the batch or the mesh, as in `shard`.
    """
    mesh = _check_rules(mesh, rules)

    def of(name: str, array: Any) -> PartitionSpec:
        return _spec(name, array.shape, ("batch",), mesh, rules) if name in ROWS else PartitionSpec()

    return {name: place(array, NamedSharding(mesh, of(name, array))) for name, array in batch.items()}


def place(value: Any, sharding: NamedSharding, dtype: Any = None) -> Any:
    """Lay out an array that every process has, on the devices of one or of all processes.

    Args:
        value: The array, or a `jax.ShapeDtypeStruct`, which then knows its place. Of a NumPy array that is mapped from
            a file, this process reads the parts of its own devices only.
        sharding: Which part each device gets.
        dtype: Dtype of the result, that of the array if left out.
    """
    if isinstance(value, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(value.shape, dtype or value.dtype, sharding=sharding)
    if getattr(value, "sharding", None) == sharding:
        return value
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(place(jax.random.key_data(value), sharding), impl=jax.random.key_impl(value))
    whole = np.asarray(value)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: np.array(whole[part], dtype))


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
        count = parts(mesh, target)
        if size % count:
            raise InputError(
                f"{name} must be divisible along {axis!r} by {count}, the mesh's size of {target!r}; got {size}. "
                f"Take {axis!r} out of the rules, or change the size."
            )
    return spec


def parts(mesh: Mesh, target: str | tuple[str, ...] | None) -> int:
    """Return into how many parts a rule divides an axis."""
    return math.prod(mesh.shape[name] for name in _names(target))


def _names(target: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the axes of a mesh that a rule names."""
    if target is None:
        return ()
    return (target,) if isinstance(target, str) else tuple(target)
