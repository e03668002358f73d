"""How NNX models are made from arrays and give them out: what `PretrainedModel` needs, and the usual accessors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from jax.nn.initializers import normal
from jax.typing import ArrayLike

from distilbert_core.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.errors import InputError
from distilbert_core.parameters import Parameter
from distilbert_core.pretrained import PretrainedModel
from distilbert_flax.sharding import logical_axes
from weight_conversion import LAYOUTS

LAYOUT = LAYOUTS["flax"]


class FixedTable(nnx.Variable):
    """A table that is stored and used but not trained: it is no `nnx.Param`."""


def to_tensor(array: np.ndarray) -> Array:
    """Return a JAX array of a NumPy array."""
    return jnp.asarray(array)


def shape_of(array: ArrayLike | None) -> tuple[int, ...] | None:
    """Return the shape of an array; None if there is no array."""
    return None if array is None else jnp.shape(array)


def values_known(array: Any) -> bool:
    """Whether an array's values can be looked at: not under jit, grad of them, or vmap."""
    return not isinstance(array, jax.core.Tracer)


@dataclass(frozen=True)
class Numerics:
    """Makes the layers of a model, all with the same numbers: initial values, dtypes, epsilon."""

    config: DistilBertConfig
    rngs: nnx.Rngs
    dtype: Any
    param_dtype: Any

    @classmethod
    def of(cls, config: DistilBertConfig, rngs: nnx.Rngs | None, dtype: Any, param_dtype: Any) -> Numerics:
        """Settle what was left out; see the model's class for the defaults."""
        param_dtype = jnp.dtype(param_dtype or dtype or jnp.float32)
        if param_dtype == jnp.float64 and not jax.config.read("jax_enable_x64"):
            raise InputError('dtype float64 needs jax.config.update("jax_enable_x64", True) first.')
        return cls(config, rngs or nnx.Rngs(0), jnp.dtype(dtype or param_dtype), param_dtype)

    @property
    def dtypes(self) -> dict[str, Any]:
        """Computation and parameter dtype, as NNX layers take them."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def dense(self, in_size: int, out_size: int) -> nnx.Linear:
        """Make a dense layer."""
        initial = normal(self.config.initializer_range)
        return nnx.Linear(in_size, out_size, kernel_init=initial, rngs=self.rngs, **self.dtypes)

    def embedding(self, rows: int, size: int, pad_row: int | None = None) -> nnx.Embed:
        """Make an embedding table."""
        initial = partial(initial_embedding, std=self.config.initializer_range, pad_row=pad_row)
        return nnx.Embed(rows, size, embedding_init=initial, rngs=self.rngs, **self.dtypes)

    def layer_norm(self, size: int) -> nnx.LayerNorm:
        """Make a LayerNorm with two-pass variance."""
        return nnx.LayerNorm(size, epsilon=NORM_EPSILON, use_fast_variance=False, rngs=self.rngs, **self.dtypes)

    def stored_rngs(self) -> nnx.Rngs:
        """Return generators for a model to keep, apart from the caller's."""
        return nnx.Rngs(params=self.rngs.params(), dropout=self.rngs.dropout())


def initial_embedding(key: Array, shape: tuple[int, ...], dtype: Any, *, std: float, pad_row: int | None) -> Array:
    """Draw a table [rows, size] from N(0, std); the padding row is zero."""
    table = normal(std)(key, shape, dtype)
    return table if pad_row is None else table.at[pad_row].set(0)


class FlaxDistilBertPreTrainedModel(PretrainedModel, nnx.Module):
    """Base of the six models; attribute paths are the canonical names, with NNX's own leaf names."""

    _options = frozenset({"rngs", "param_dtype", "scan_layers", "gradient_checkpointing"})

    def __init__(self, config: DistilBertConfig, make: Numerics):
        config.validate()
        self.config = config
        self.dtype = make.dtype
        self.param_dtype = make.param_dtype

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Return the number of parameters."""
        kinds = (nnx.Param,) if only_trainable else (nnx.Param, FixedTable)
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self, nnx.Any(*kinds))))

    @property
    def params(self) -> dict[str, Any]:
        """The trained parameters as a nested dict, with the names that Transformers' Flax models gave them.

        Setting it replaces the values; they must have the same names and shapes.

        Example:
            >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
            >>> model = FlaxDistilBertModel(DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48))
            >>> model.params["transformer"]["layer"]["0"]["ffn"]["lin1"]["kernel"].shape
            (24, 48)
        """
        own = nnx.to_flat_state(nnx.state(self, nnx.Param))
        return unflatten_dict({tuple(map(str, path)): param.get_value() for path, param in own})

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "params":  # NNX does not let a property be set
            nnx.update(self, self._params_state(value))
        else:
            super().__setattr__(name, value)

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """Return a model like this one over other parameters; this one stays as it is.

        Args:
            params: A nested dict like `params`, of arrays or of what JAX traces.

        Raises:
            InputError: A parameter is missing, unknown, or has another shape.
        """
        graph, _, rest = nnx.split(self, nnx.Param, ...)
        return nnx.merge(graph, self._params_state(params), rest)

    def _params_state(self, params: Mapping[str, Any]) -> nnx.State:
        """Return the values of a nested dict in the place of this model's own."""
        own = {"/".join(map(str, path)): (path, param) for path, param in nnx.to_flat_state(nnx.state(self, nnx.Param))}
        given = {"/".join(map(str, path)): array for path, array in flatten_dict(params).items()}
        differing = sorted(given.keys() ^ own.keys())
        if differing:
            raise InputError(
                "params must hold the names that model.params has; missing or unknown: "
                f"{', '.join(differing[:8])}{' ...' if len(differing) > 8 else ''}."
            )
        for name, (_, param) in own.items():
            if jnp.shape(given[name]) != param.shape:
                raise InputError(f"params: {name} must have shape {param.shape}, got {jnp.shape(given[name])}.")
        return nnx.from_flat_state(
            (path, param.replace(jnp.asarray(given[name]))) for name, (path, param) in own.items()
        )

    def for_call(
        self,
        params: Mapping[str, Any] | None,
        train: bool | None,
        deterministic: bool | None,
        rngs: nnx.Rngs | Array | None,
        dropout_rng: Array | None,
    ) -> tuple[Self, dict[str, Any]]:
        """Return the model that a call runs, over `params` if they are given, and what each dropout is called with."""
        if train is not None and deterministic is not None and train == deterministic:
            raise InputError(f"train and deterministic contradict each other: both are {train}.")
        if train is not None:
            deterministic = not train
        if rngs is not None and dropout_rng is not None:
            raise InputError("Give rngs or dropout_rng, not both.")
        rngs = dropout_rng if rngs is None else rngs
        if rngs is not None and not isinstance(rngs, nnx.Rngs):  # one key for all would drop the same places everywhere
            rngs = nnx.Rngs(dropout=rngs)
        if params is None:
            return self, {"deterministic": deterministic, "rngs": self.base_model.rngs if rngs is None else rngs}
        if deterministic is False and rngs is None:
            raise InputError("train=True with params needs dropout_rng: such a call changes no state of the model.")
        return self.with_params(params), {"deterministic": deterministic is not False, "rngs": rngs}

    def _finish(self) -> None:
        """End a constructor: name the axes of all parameters, and begin in inference mode."""
        for parameter in self.parameter_table:
            if parameter.tied_to is None:
                layer, leaf = LAYOUT.find(self, parameter)
                getattr(layer, leaf).set_metadata(logical_axes=logical_axes(parameter))
        self.eval()

    @classmethod
    def _blank(cls, config: DistilBertConfig, dtype: str | None, device: Any, **options: Any) -> Self:
        make = Numerics.of(config, options.pop("rngs", None), dtype, options.pop("param_dtype", None))
        model = nnx.eval_shape(lambda: cls(config, **make.dtypes, **options))
        with jax.default_device(_device(device)):
            model.base_model.rngs = make.stored_rngs()  # those made above have no values either
        return model

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        layer, leaf = LAYOUT.find(self, parameter)
        return LAYOUT.convert(parameter, np.asarray(getattr(layer, leaf)[...]))

    def _set_array(self, parameter: Parameter, array: np.ndarray, device: Any = None) -> None:
        layer, leaf = LAYOUT.find(self, parameter)
        array = np.asarray(LAYOUT.convert(parameter, array), dtype=self.param_dtype)
        getattr(layer, leaf).set_value(jnp.asarray(array, device=_device(device)))
        if isinstance(layer, nnx.Linear):
            layer.in_features, layer.out_features = layer.kernel.shape
        elif isinstance(layer, nnx.Embed):
            layer.num_embeddings = layer.embedding.shape[0]

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.array(jax.random.normal(self.base_model.rngs.params(), shape, jnp.float32))


def _device(device: Any) -> Any:
    """Return a JAX device given as one, or as 'cpu', 'gpu' or 'gpu:1'."""
    if not isinstance(device, str):
        return device
    platform, _, index = device.partition(":")
    return jax.devices(platform)[int(index or 0)]
