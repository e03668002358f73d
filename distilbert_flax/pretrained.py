"""The base of the Flax models: the hooks of `PretrainedModel`, and the usual accessors."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from distilbert_core.errors import InputError
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import DistilBertConfig, validated
from distilbert_core.model.heads import parameter_table
from distilbert_core.model.parameters import Kind, Parameter
from distilbert_core.model.pretrained import PretrainedModel
from distilbert_flax.compatibility import TransformersMembers
from distilbert_flax.layers import FixedTable, LayerFactory, dropout_rngs, known_value
from distilbert_flax.sharding import Rules, logical_axes, name_axes, place, shard
from distilbert_flax.tensors import at_least_float32

LAYOUT = BACKENDS["flax"].layout

TRANSIENT = (nnx.RngState, nnx.Intermediate, nnx.Perturbation)  # variables that are not in checkpoints


class FlaxDistilBertPreTrainedModel(TransformersMembers, PretrainedModel, nnx.Module):
    """Base of the six models; paths of attributes are the canonical names, with NNX's names for the last part."""

    _reader = "map"
    _options = frozenset(  # arguments of the constructor, and where to put the parameters
        {"rngs", "seed", "input_shape", "_do_init", "param_dtype", "scan_layers", "gradient_checkpointing"}
        | {"mesh", "rules"}
    )
    _framework = "flax"
    _adapter_advice = "Where nnx.LoRA wrapped it, or it is an nnx.LoRALinear, call merge_lora() first."

    def __init__(
        self, config: DistilBertConfig, layers: LayerFactory | None = None, input_shape: tuple[int, ...] = (1, 1)
    ):
        validated(config)
        layers = layers or LayerFactory.from_config(config)
        self.config = copy.deepcopy(config)
        self.input_shape = tuple(input_shape)
        self.dtype = layers.dtype
        self.param_dtype = layers.param_dtype

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Return the number of parameters."""
        kinds = (nnx.Param,) if only_trainable else (nnx.Param, FixedTable)
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self, nnx.Any(*kinds))))

    def _for_call(
        self,
        params: Mapping[str, Any] | None,
        train: bool | None,
        deterministic: bool | None,
        rngs: nnx.Rngs | Array | None,
        dropout_rng: Array | None,
    ) -> tuple[Self, dict[str, Any]]:
        """Return the model that a call runs, with `params` if they are given, and the arguments of each dropout."""
        if train is not None and deterministic is not None and train == deterministic:
            raise InputError(f"train and deterministic contradict each other: both are {train}.")
        if train is not None:
            deterministic = not train
        if rngs is not None and dropout_rng is not None:
            raise InputError("Give rngs or dropout_rng, not both.")
        rngs = dropout_rng if rngs is None else rngs
        rngs = None if rngs is None else dropout_rngs(rngs)
        if params is None:
            return self, {"deterministic": deterministic, "rngs": self.base_model.rngs if rngs is None else rngs}
        if deterministic is False and rngs is None:
            raise InputError("train=True with params needs dropout_rng: such a call changes no state of the model.")
        return self.with_params(params), {"deterministic": deterministic is not False, "rngs": rngs}

    def _finish_init(self) -> None:
        # The axes of parameters get names, and the model begins in inference mode.
        for parameter in self.parameter_table:
            if parameter.tied_to is None:
                layer, leaf = LAYOUT.find(self, parameter)
                name_axes(getattr(layer, leaf), logical_axes(parameter))
        self.eval()

    def merge_lora(self) -> None:
        """Add the low-rank updates of `nnx.LoRA` and `nnx.LoRALinear` layers to the kernels, in place.

        Plain `nnx.Linear` layers replace the updated ones, and compute the same.

        Raises:
            InputError: An `nnx.LoRA` does not wrap an `nnx.Linear`, or shares a parameter with another layer.

        Example:
            >>> from flax import nnx
            >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
            >>> model = FlaxDistilBertModel(DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48))
            >>> attention = model.transformer.layer[0].attention
            >>> attention.q_lin = nnx.LoRA(24, 2, 24, base_module=attention.q_lin, rngs=nnx.Rngs(0))
            >>> model.merge_lora()
            >>> type(attention.q_lin) is nnx.Linear
            True
        """
        updated = [path for path, x in nnx.iter_modules(self) if isinstance(x, nnx.LoRA | nnx.LoRALinear)]
        for shared in nnx.find_duplicates(self):
            if any(path[: len(start)] == start for path in shared for start in updated):
                raise InputError(f"{' and '.join(map(_name, shared))} are one layer, which cannot have two updates.")
        for path, module in list(nnx.iter_modules(self)):  # inner layers first
            if isinstance(module, nnx.LoRALinear):
                layer, update = _plain(module), module.lora
            elif isinstance(module, nnx.LoRA) and path[-1] != "lora":  # not the update of an nnx.LoRALinear
                layer, update = module.base_module, module
                if not isinstance(layer, nnx.Linear):
                    raise InputError(f"{_name(path)} wraps a {type(layer).__name__}; only nnx.Linear can be merged.")
            else:
                continue
            kernel, a, b = layer.kernel[...], update.lora_a[...], update.lora_b[...]
            change = jnp.matmul(a, b, precision="highest").astype(at_least_float32(kernel.dtype))
            layer.kernel.set_value((kernel + change).astype(kernel.dtype))
            _put(self, path, layer)

    @classmethod
    def _blank(
        cls,
        config: DistilBertConfig,
        dtype: str | None,
        device: Any,
        *,
        mesh: Mesh | None = None,
        rules: Rules | None = None,
        **options: Any,
    ) -> Self:
        if (mesh is None) != (rules is None) or (mesh is not None and device is not None):
            raise InputError("Give both mesh and rules, and no device; or neither of them.")
        found = find_device(device)
        with jax.default_device(found) if isinstance(found, jax.Device) else nullcontext():
            model = cls._made(config, dtype, **options)
        if mesh is not None and rules is not None:
            shard(model, mesh, rules)
        return model

    @classmethod
    def _made(cls, config: DistilBertConfig, dtype: str | None, **options: Any) -> Self:
        """Make a model: without values if its class is of this package, else as its constructor does."""
        if cls._is_derived():
            if "rngs" in inspect.signature(cls.__init__).parameters:  # NNX's own constructors require it
                options.setdefault("rngs", nnx.Rngs(options.pop("seed", 0)))
            model = cls(config, **({} if dtype is None else {"dtype": dtype}), **options)  # type: ignore[arg-type]
            model.eval()  # the user's layers too
            return model
        return cls(config, dtype=dtype, _do_init=False, **options)  # type: ignore[call-arg]

    def _variables(self) -> dict[str, Any]:
        leaves = {_name(path): leaf for path, leaf in nnx.iter_graph(self)}
        kinds = nnx.Variable | jax.Array
        return {name: x for name, x in leaves.items() if isinstance(x, kinds) and not isinstance(x, TRANSIENT)}

    def _place(self, parameter: Parameter) -> tuple[str, tuple[int, ...]]:
        return LAYOUT.place(parameter)

    def _stored_parameters(self) -> list[Parameter]:
        updated = [_name(path) for path, module in nnx.iter_modules(self) if isinstance(module, nnx.LoRALinear)]
        if updated and not self._is_derived():
            raise InputError(
                f"A {type(self).__name__} does not have low-rank updates, and would be loaded without them: "
                f"{', '.join(updated)}. {self._adapter_advice}"
            )
        self._check_not_quantized(self.parameter_table)
        return super()._stored_parameters()

    def _reshaped_parameters(self, config: DistilBertConfig) -> list[tuple[Parameter, Parameter]]:
        pairs = zip(self.parameter_table, parameter_table(config, self.head), strict=True)
        self._check_not_quantized([old for old, new in pairs if old.shape != new.shape])
        return super()._reshaped_parameters(config)

    def _check_not_quantized(self, parameters: Iterable[Parameter]) -> None:
        """Raise InputError if a layer has other arrays, such as integers and scales, in place of a parameter."""
        variables = self._variables()
        for path in (self._place(parameter)[0] for parameter in parameters):
            parts = [name.removeprefix(f"{path}.") for name in variables if name.startswith(f"{path}.")]
            if parts:
                raise InputError(
                    f"{path} is quantized (it consists of {', '.join(parts)}), and cannot be resized or pruned, nor "
                    "written to a checkpoint, which holds floating numbers. Do that before quantizing. Save the "
                    "quantized model's nnx.state with Orbax."
                )

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        if parameter.kind is Kind.OTHER:
            return np.asarray(self._variables()[parameter.name][...])
        layer, leaf = LAYOUT.find(self, parameter)
        return LAYOUT.convert(parameter, np.asarray(known_value(getattr(layer, leaf))))

    def _set_array(self, parameter: Parameter, array: np.ndarray, device: Any = None) -> None:
        if parameter.kind is Kind.OTHER:
            old = self._variables()[parameter.name]
            new = _in_place_of(old, parameter.name, array, device)
            if isinstance(old, nnx.Variable):
                old.set_value(new)  # other layers may share the variable
            else:
                _put(self, parameter.name.split("."), new)
            return
        layer, leaf = LAYOUT.find(self, parameter)
        variable = getattr(layer, leaf)
        variable.set_value(_in_place_of(variable, parameter.name, LAYOUT.convert(parameter, array), device))
        if isinstance(layer, nnx.Linear):
            layer.in_features, layer.out_features = layer.kernel.shape
        elif isinstance(layer, nnx.Embed):
            layer.num_embeddings = layer.embedding.shape[0]

    def _change_config(self, **fields: Any) -> None:
        if self._inside is None:  # NNX's clones share all that is not an array: they keep the present one
            self.config = copy.deepcopy(self.config)
        super()._change_config(**fields)

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.array(jax.random.normal(self.base_model.rngs.params(), shape, jnp.float32))


def _name(path: Iterable[Any]) -> str:
    return ".".join(map(str, path))


def _put(model: nnx.Module, path: Iterable[Any], value: Any) -> None:
    """Set the value at a path of attributes, of indices in lists, and of keys in dicts."""
    *way, last = path
    node: Any = model
    for step in way:
        node = _child(node, step)
    if isinstance(node, list | nnx.List):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        setattr(node, last, value)


def _child(node: Any, step: Any) -> Any:
    if isinstance(node, list | nnx.List):
        return node[int(step)]
    return node[step] if isinstance(node, dict) else getattr(node, step)


def _plain(module: nnx.LoRALinear) -> nnx.Linear:
    """Return a dense layer with the kernel and the bias of a layer with low-rank updates."""
    layer: nnx.Linear = nnx.eval_shape(
        lambda: nnx.Linear(
            module.in_features,
            module.out_features,
            use_bias=module.bias is not None,
            dtype=module.dtype,
            param_dtype=module.param_dtype,
            precision=module.precision,
            rngs=nnx.Rngs(0),
        )
    )
    layer.kernel, layer.bias = module.kernel, module.bias
    return layer


def _in_place_of(old: Any, name: str, array: np.ndarray, device: Any) -> Array:
    """Return an array with the dtype and the mesh of an old one, or raise InputError if the mesh does not divide it."""
    sharding = getattr(old.get_value() if isinstance(old, nnx.Variable) else old, "sharding", None)
    # Shapes made under jax.set_mesh have an abstract mesh, without devices.
    if device is not None or not isinstance(sharding, NamedSharding) or isinstance(sharding.mesh, AbstractMesh):
        # A copy: the array may be memory-mapped.
        return jnp.array(np.asarray(array, old.dtype), device=find_device(device))
    try:
        sharding.shard_shape(array.shape)
    except ValueError as error:
        raise InputError(
            f"{name} with shape {array.shape} does not fit its mesh, {sharding.spec}: {error}. Give "
            "pad_to_multiple_of, or another size."
        ) from error
    return place(array, sharding, old.dtype)


def find_device(device: Any) -> Any:
    """Return the JAX device that 'cpu', 'gpu' or 'gpu:1' names; return a device, a sharding or None unchanged."""
    if not isinstance(device, str):
        return device
    platform, _, index = device.partition(":")
    return jax.devices(platform)[int(index or 0)]
