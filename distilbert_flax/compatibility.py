"""Members of Flax models that scripts for Transformers use.

`TransformersMembers` is a base of all models. In Transformers, parameters are a nested dict outside the model; here the
model holds them, and `params` is the same dict. The table `REFUSED` has the members without a meaning here: calling one
is an error that says what to do instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Self

import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from distilbert_core.compatibility import refuse_methods
from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig

_READ = "from_pretrained reads flax_model.msgpack, and every other format."

# Methods of Transformers 4.53's Flax models that are missing here, and what to do instead.
REFUSED: dict[str, str] = {
    "load_flax_weights": _READ,
    "load_flax_sharded_weights": _READ,
    "register_for_auto_class": "FlaxAutoModel of Transformers loads what save_pretrained writes with its own classes.",
}


class TransformersMembers:
    """Accessors that scripts for Transformers use."""

    config: DistilBertConfig
    base_model: Any
    dtype: Any
    param_dtype: Any

    config_class = DistilBertConfig
    main_input_name = "input_ids"
    framework = "flax"
    generation_config = None
    module_class = None

    @property
    def params(self) -> dict[str, Any]:
        """The trained parameters as a nested dict, with the names of Transformers' Flax models.

        Setting it replaces the values, which must have the same names and shapes. A model without values
        (`_do_init=False`) has shapes in their place.

        Example:
            >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
            >>> model = FlaxDistilBertModel(DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48))
            >>> model.params["transformer"]["layer"]["0"]["ffn"]["lin1"]["kernel"].shape
            (24, 48)
        """
        own = nnx.to_flat_state(nnx.state(self, nnx.Param))
        return unflatten_dict({tuple(map(str, path)): param.get_value() for path, param in own})

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "params":  # NNX does not allow setting a property
            nnx.update(self, self._params_state(value))
        else:
            super().__setattr__(name, value)

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """Return a model like this one with other parameters; this one does not change.

        Args:
            params: A nested dict like `params`, of arrays or JAX tracers.

        Raises:
            InputError: A parameter is missing, unknown, or has another shape.
        """
        graph, _, rest = nnx.split(self, nnx.Param, ...)
        return nnx.merge(graph, self._params_state(params), rest)

    def _params_state(self, params: Mapping[str, Any]) -> nnx.State:
        """Return the values of a nested dict as the state of this model."""
        own = {"/".join(map(str, path)): (path, param) for path, param in nnx.to_flat_state(nnx.state(self, nnx.Param))}
        if isinstance(params, nnx.State):
            params = nnx.to_pure_dict(params)
        given = {"/".join(map(str, path)): array for path, array in flatten_dict(params).items()}
        faults = [
            f"{fault} {', '.join(sorted(names)[:4])}{' ...' if len(names) > 4 else ''}"
            for fault, names in (("missing", own.keys() - given.keys()), ("unknown", given.keys() - own.keys()))
            if names
        ]
        if faults:
            remedy = " Give params['params']." if set(params) == {"params"} else ""
            raise InputError(f"params must hold the names that model.params has: {'; '.join(faults)}.{remedy}")
        for name, (_, param) in own.items():
            if jnp.shape(given[name]) != param.shape:
                raise InputError(f"params: {name} must have shape {param.shape}, got {jnp.shape(given[name])}.")
        return nnx.from_flat_state(
            (path, param.replace(jnp.asarray(given[name]))) for name, (path, param) in own.items()
        )

    @property
    def params_shape_tree(self) -> dict[str, Any]:
        """`params` with a `jax.ShapeDtypeStruct` in place of each array."""
        return jax.eval_shape(lambda: self.params)

    @property
    def required_params(self) -> set[tuple[str, ...]]:
        """The paths of all parameters in `params`."""
        return set(flatten_dict(self.params))

    def init_weights(
        self, rng: Array, input_shape: tuple[int, ...] = (1, 1), params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return new initial values of `params`; the model does not change.

        Args:
            rng: The key of the initial values.
            input_shape: Ignored, because no parameter depends on the input.
            params: Values to keep; all others are drawn.

        Example:
            >>> import jax
            >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
            >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
            >>> model = FlaxDistilBertModel(config, _do_init=False)
            >>> params = model.init_weights(jax.random.key(0))
            >>> model([[101, 7592, 102]], params=params).last_hidden_state.shape
            (1, 3, 24)
        """
        cls: Any = type(self)
        model: Self = cls(self.config, rngs=nnx.Rngs(rng), dtype=self.dtype, param_dtype=self.param_dtype)
        return unflatten_dict({**flatten_dict(model.params), **flatten_dict(params or {})})

    def without_values(self) -> tuple[Self, dict[str, Any]]:
        """Remove the values of the trained parameters, and return (model, params).

        `from_pretrained(..., _do_init=False)` returns the same.
        """
        params = self.params
        shapes = jax.eval_shape(lambda: nnx.state(self, nnx.Param))
        nnx.update(self, shapes)
        return self, params

    def to_bf16(self, params: Mapping[str, Any], mask: Any = None) -> Any:
        """Return `params` with floating arrays in bfloat16, all or those where a tree of booleans is true."""
        return _cast(params, jnp.bfloat16, mask)

    def to_fp16(self, params: Mapping[str, Any], mask: Any = None) -> Any:
        """Return `params` with floating arrays in float16, all or those where a tree of booleans is true."""
        return _cast(params, jnp.float16, mask)

    def to_fp32(self, params: Mapping[str, Any], mask: Any = None) -> Any:
        """Return `params` with floating arrays in float32, all or those where a tree of booleans is true."""
        return _cast(params, jnp.float32, mask)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the backward pass computes blocks again to save memory."""
        return bool(self.base_model.transformer.gradient_checkpointing)

    def enable_gradient_checkpointing(self) -> None:
        """Make the backward pass compute each block again from its input, to save memory."""
        self.base_model.transformer.gradient_checkpointing = True

    gradient_checkpointing_enable = enable_gradient_checkpointing  # its name in the other frameworks

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`."""
        self.base_model.transformer.gradient_checkpointing = False

    @property
    def module(self) -> NoReturn:
        """Raise AttributeError: the model is the module."""
        raise AttributeError(
            f"{type(self).__name__} has no Linen module: the model is an nnx.Module itself. In place of "
            "model.module.apply({'params': params}, ...) write model(..., params=params)."
        )

    @property
    def key(self) -> Array:
        """The key of the model's own generator."""
        return self.base_model.rngs.params.key[...]

    @classmethod
    def can_generate(cls) -> bool:
        """Return False: an encoder does not generate."""
        return False

    @classmethod
    def _from_config(cls, config: DistilBertConfig, **options: Any) -> Self:
        return cls(config, **options)  # type: ignore[call-arg]


refuse_methods(TransformersMembers, REFUSED)


def _cast(params: Any, dtype: Any, mask: Any) -> Any:
    def cast(value: Any, selected: bool) -> Any:
        return value.astype(dtype) if selected and jnp.issubdtype(value.dtype, jnp.floating) else value

    return jax.tree.map(cast, params, jax.tree.map(lambda _: True, params) if mask is None else mask)
