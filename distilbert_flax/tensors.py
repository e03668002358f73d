"""JAX and NumPy arrays, and checks of the arguments of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from distilbert_core.errors import InputError
from distilbert_core.model.inputs import check_range
from distilbert_core.tokenization.columns import as_array

INTEGERS = ("input_ids", "position_ids", "segment_ids", "output_tokens")  # indices and numbers


def at_least_float32(dtype: Any) -> np.dtype:
    """Return float32, or a dtype of numbers with a fraction that is more precise: float64."""
    return np.promote_types(jnp.dtype(dtype), np.float32)  # jnp's own promotes nothing in its strict mode


def to_tensor(array: np.ndarray) -> Array:
    """Return a JAX array of a NumPy array, of at most 32 bits unless JAX runs with 64-bit numbers.

    Raises:
        InputError: An integer needs more than 32 bits, and would become another number.
    """
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if dtype != array.dtype and array.dtype.kind in "iu" and (array != array.astype(dtype)).any():
        raise InputError(
            f"An integer does not fit {dtype}, the largest that JAX has now; "
            "allow larger ones with jax.config.update('jax_enable_x64', True)."
        )
    return jnp.asarray(array)


def shape_of(array: ArrayLike | None) -> tuple[int | None, ...] | None:
    """Return the shape of an array, None for a size that is a symbol (`jax.export`); None if there is no array."""
    return None if array is None else tuple(size if isinstance(size, int) else None for size in jnp.shape(array))


def as_input(name: str, value: Any) -> Array | None:
    """Return an input of a model as a JAX array, None for None.

    Raises:
        InputError: The value is not an array of numbers, ids are not integers, or the array is divided over Explicit
            axes of a mesh; the message names the argument.

    Example:
        >>> from distilbert_flax.tensors import as_input
        >>> as_input("input_ids", [[101, 102]]).shape
        (1, 2)
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        kind = type(value).__name__
        raise InputError(f"{name} must be an array, got a {kind}: give its items by name, model(**inputs).")
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        if isinstance(value, list | tuple | str | np.ndarray):
            as_array(value, name)  # raises an error with the reason
        raise
    if name in INTEGERS and not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError(f"{name} must be integers, got {array.dtype}: give {name}.astype(int).")
    divided_over = jax.typeof(array).sharding.spec  # the type has Explicit axes, not Auto ones
    if any(divided_over):
        raise InputError(
            f"{name} is divided over a mesh with Explicit axes, {divided_over}. Put inputs on it with "
            "distilbert_flax.sharding.shard_batch, or make it with jax.make_mesh(sizes, names, "
            "axis_types=(jax.sharding.AxisType.Auto,) * len(names))."
        )
    return array


def is_nonzero(array: Array) -> Array:
    """Return True for the elements that are not 0 or -0.0, as booleans.

    Floating-point numbers are compared by their bits: XLA takes denormal numbers for 0 on a CPU.
    """
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array != 0
    bits = jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * array.dtype.itemsize}"))
    return bits << 1 != 0  # without the sign


def values_known(array: Any) -> bool:
    """Return whether the values of an array can be read: not under jit or vmap, nor in their own gradient."""
    return not isinstance(array, jax.core.Tracer)


def check_values(name: str, ids: ArrayLike | None, size: int, meaning: str) -> None:
    """Raise InputError if ids do not lie in [0, size); does nothing while values are not known.

    Args:
        name: The argument.
        ids: Its value.
        size: The limit.
        meaning: The name of the limit, such as 'vocab_size'.
    """
    if ids is None or not values_known(ids):
        return
    values = np.asarray(ids)  # in NumPy: under jit, jnp would trace known values too
    if values.size:
        check_range(name, int(values.min()), int(values.max()), size, meaning)
