"""Inference in JAX: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain
from operator import is_
from types import FunctionType
from typing import Any

import jax
import numpy as np
from flax import nnx

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.inference import CHUNK_TOKENS, PackedInference
from distilbert_core.model.packing import Packing
from distilbert_flax.pretrained import find_device
from distilbert_flax.tensors import check_values

SHORT, LONG = (16, 32, 64), (128, 256, 512)  # lengths of packed rows; a longer text gets the next power of two
FEW = 256  # tokens of a batch, at most, to choose from the short rows too
BETWEEN = (24, 48, 96)  # further lengths for one text at a time


class BackendInference(PackedInference):
    """Inference in JAX. JAX compiles a program for each shape, so batches of all shapes are brought into few shapes.

    Packed rows have one of a few lengths, and are computed in groups of 1, 2, 4, 8 ... rows.
    """

    backend = "flax"

    def __init__(self, model: Any):
        super().__init__(model)
        self._arrays: ArraysOf | None = None

    @property
    def device(self) -> Any:
        """Device of the model, or all devices of its mesh."""
        devices = jax.tree.leaves(self.model)[0].devices()
        return next(iter(devices)) if len(devices) == 1 else devices

    def _is_on(self, device: Any) -> bool:
        return bool(find_device(device) == self.device)

    @classmethod
    def accelerators(cls) -> list[Any]:
        """Return the devices of JAX other than the CPU."""
        return [] if jax.default_backend() == "cpu" else jax.devices()

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return a packing into rows of one of a few lengths."""
        return Packing.of_cheapest_length(lengths, config.dim, row_lengths)

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called with these arguments."""
        return {name: np.array(value) for name, value in _run(self.model, arrays).items()}

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows, the arguments of the model's `packed_outputs`."""
        ids = rows["input_ids"]
        check_values("input_ids", ids, self.config.vocab_size, "vocab_size")
        count = ids.shape[1]
        if "output_tokens" in rows:
            count = rows["output_tokens"].shape[1]
            more = min(output_count(count), ids.shape[1]) - count
            rows = {**rows, "output_tokens": np.pad(rows["output_tokens"], [(0, 0), (0, more)], mode="edge")}
        most = max(CHUNK_TOKENS // ids.shape[1], 1) if jax.default_backend() == "cpu" else len(ids)
        if self._arrays is None or self._arrays.model is not self.model or self._arrays.changed():
            self._arrays = ArraysOf(self.model)
        structure, arrays = self._arrays.structure, self._arrays.now()
        run = _run_packed if ids.size > FEW else _run_few()
        # Start all groups before waiting for the first.
        outputs = [
            run(structure, arrays, {name: array[group] for name, array in rows.items()})
            for group in groups(len(ids), most)
        ]
        return np.concatenate([np.asarray(output) for output in outputs])[:, :count]


# The model is a pytree argument, so jit sees its current state, in a fifth of the time of `nnx.jit`, which would also
# write changes back.
@jax.jit
def _run(model: Any, arrays: dict[str, jax.Array]) -> Any:
    return model(**arrays)


def _packed_outputs(structure: Structure, arrays: list[Any], rows: dict[str, jax.Array]) -> Any:
    return structure.model(arrays).packed_outputs(**rows, train=False)


_run_packed = jax.jit(_packed_outputs, static_argnums=0)


# For few tokens XLA's own product of matrices is faster on a CPU than the library that XLA chooses by default
# (YNNPACK), which copies the matrix of weights into its own memory order in each call.
@cache
def _run_few() -> Any:
    """Return `_run_packed` for few tokens, compiled with XLA's own products if this version can choose them."""
    if jax.default_backend() != "cpu":
        return _run_packed
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # the option has another name in this version
        return _run_packed
    return jax.jit(_packed_outputs, static_argnums=0, compiler_options=options)


class Structure:
    """All of a model but its arrays; a static argument of jit, so its hash is computed once.

    Args:
        tree: The model's structure, as `jax.tree.flatten` returns it.
    """

    def __init__(self, tree: Any):
        self.tree = tree
        self._hash = hash(tree)

    def model(self, arrays: list[Any]) -> Any:
        """Return the model with these arrays."""
        return jax.tree.unflatten(self.tree, arrays)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Structure) and self.tree == other.tree)


class ArraysOf:
    """The arrays of a model, read in each call, from variables that are found once.

    To flatten a model, JAX walks over all of its attributes and sorts them: 1 to 2 ms. Here a call reads the present
    array of each variable, and compares all attributes of all modules with what they were, by identity: any change is
    seen.

    Args:
        model: The model.

    Attributes:
        structure: All of the model but its arrays.
    """

    def __init__(self, model: nnx.Module):
        self.model = model
        arrays, tree = jax.tree.flatten(model)
        self.structure = Structure(tree)
        self._attributes: list[dict[str, Any]] = []  # of each module
        self._fields: dict[int, tuple[Any, int]] = {}  # values that may change in place, such as the configuration
        self._variables = jax.tree.leaves(model, is_leaf=_is_variable)
        known = all(map(_is_variable, self._variables)) and self._visit(model)
        values = [variable.get_raw_value() for variable in self._variables] if known else []
        self._known = len(values) == len(arrays) and all(map(is_, values, arrays))
        self._metadata = [variable.get_metadata() for variable in self._variables] if self._known else []
        self._sizes = list(map(len, self._attributes))
        self._items = [part for attributes in self._attributes for item in attributes.items() for part in item]

    def _visit(self, node: Any) -> bool:
        """Note the attributes of a module and those below it; return whether all are of a known kind."""
        self._attributes.append(vars(node))
        for name, value in vars(node).items():
            if isinstance(value, nnx.Pytree):
                if not self._visit(value):
                    return False
            elif not (name.startswith("_pytree__") or isinstance(value, PLAIN) or _is_variable(value)):
                found = _hash(value)
                if found is None:
                    return False
                self._fields[id(value)] = value, found
        return True

    def changed(self) -> bool:
        """Return whether a module or an attribute that is not an array has changed, or may have."""
        return not (
            self._known
            and list(map(len, self._attributes)) == self._sizes
            and all(map(is_, chain.from_iterable(chain.from_iterable(map(dict.items, self._attributes))), self._items))
            and all(_hash(value) == before for value, before in self._fields.values())
            and all(v.get_metadata() == before for v, before in zip(self._variables, self._metadata, strict=True))
        )

    def now(self) -> list[Any]:
        """Return the present arrays."""
        if self._known:
            return [variable.get_raw_value() for variable in self._variables]
        return jax.tree.leaves(self.model)


PLAIN = (str, int, float, type(None), type, np.dtype, FunctionType)  # attributes that cannot change in place


def _hash(value: Any) -> int | None:
    """Return the hash of a value; None if it has none, such as a tuple of lists."""
    try:
        return hash(value)
    except TypeError:
        return None


def _is_variable(value: Any) -> bool:
    return isinstance(value, nnx.Variable)


def row_lengths(lengths: list[int]) -> list[int]:
    """Return the lengths of packed rows C to choose from.

    Args:
        lengths: Number of tokens of each text.

    Example:
        >>> from distilbert_flax.inference import row_lengths
        >>> row_lengths([20] * 32), row_lengths([30] * 3), row_lengths([600])
        ([128, 256, 512], [32, 64, 128, 256, 512], [1024])
    """
    longest = max(lengths)
    known: tuple[int, ...] = (*SHORT, *LONG) if sum(lengths) <= FEW else LONG
    if len(lengths) == 1:
        known = tuple(sorted((*known, *BETWEEN)))
    return [columns for columns in known if columns >= longest] or [next_power(longest)]


def output_count(count: int) -> int:
    """Round the number of outputs of a row up to 1, 8, 16, 32, ...

    Example:
        >>> from distilbert_flax.inference import output_count
        >>> [output_count(count) for count in (1, 2, 9, 33)]
        [1, 8, 16, 64]
    """
    return 1 if count == 1 else max(next_power(count), 8)


def next_power(count: int) -> int:
    """Return the smallest power of two that is at least `count`, which is at least 1."""
    return 1 << (count - 1).bit_length()


def groups(rows: int, most: int) -> Iterator[slice]:
    """Split rows into as few powers of two as possible, the largest first, none above `most`.

    Example:
        >>> from distilbert_flax.inference import groups
        >>> [(group.start, group.stop) for group in groups(13, most=8)]
        [(0, 8), (8, 12), (12, 13)]
    """
    start = 0
    while start < rows:
        stop = start + (1 << min(rows - start, most).bit_length() - 1)
        yield slice(start, stop)
        start = stop
