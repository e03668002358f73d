"""The layers of a model: activations, how layers are made without values, and how their parameters are set.

Dense layers, embeddings and layer norms are PyTorch's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from distilbert_core.model.config import ACTIVATIONS, LAPLACE, DistilBertConfig
from distilbert_core.model.parameters import Kind, Parameter, sinusoidal_table

ACTIVATION_FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_10": lambda x: F.gelu(x).clip(-10, 10),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "laplace": lambda x: 0.5 * (1 + torch.erf((x - LAPLACE[0]) / (LAPLACE[1] * math.sqrt(2)))),
    "leaky_relu": F.leaky_relu,
    "linear": lambda x: x,
    "mish": F.mish,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}


_GLOBAL_HOOKS = (
    nn.modules.module._global_forward_hooks,
    nn.modules.module._global_forward_pre_hooks,
    nn.modules.module._global_backward_hooks,
    nn.modules.module._global_backward_pre_hooks,
)


def activation_function(config: DistilBertConfig) -> Callable[[Tensor], Tensor]:
    """Return the function that `config.activation` names or is."""
    if callable(config.activation):
        return config.activation
    return ACTIVATION_FUNCTIONS[ACTIVATIONS[config.activation]]


def has_hooks(module: nn.Module) -> bool:
    """Return whether a call of a module runs hooks, its own or those of all modules, and cannot be skipped."""
    own = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(map(len, (*own, *_GLOBAL_HOOKS)))


class _Blank(TorchFunctionMode):
    # The meta device has nothing to draw, yet drawing on it imports all of torch.compile, which takes seconds. So
    # functions that draw are skipped.
    filling = frozenset(
        {nn.init.normal_, nn.init.kaiming_uniform_, nn.init.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_}
    )

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.options = {"device": "meta", "dtype": dtype}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            return func(*args, **{**kwargs, **self.options})
        if func in self.filling:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def blank_parameters(dtype: torch.dtype) -> TorchFunctionMode:
    """Context manager: layers get parameters of one dtype without values or memory, which will be loaded."""
    return _Blank(dtype)


def set_parameter(layer: nn.Module, leaf: str, tensor: nn.Parameter) -> None:
    """Set a parameter of a layer, and the sizes that the layer shows."""
    setattr(layer, leaf, tensor)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.Embedding):
        layer.num_embeddings = layer.weight.shape[0]


@torch.no_grad()
def initialise_(tensor: Tensor, parameter: Parameter, config: DistilBertConfig) -> Tensor:
    """Initialise a tensor in place: matrices from N(0, initializer_range), scales one, the rest zero."""
    if parameter.computed:
        return tensor.copy_(torch.from_numpy(sinusoidal_table(*parameter.shape)))
    match parameter.kind:
        case Kind.KERNEL | Kind.EMBEDDING:
            tensor.normal_(0.0, config.initializer_range)
            if parameter.pad_row is not None:
                tensor[parameter.pad_row].zero_()
        case Kind.NORM_SCALE:
            tensor.fill_(1.0)
        case Kind.BIAS | Kind.NORM_BIAS:
            tensor.zero_()
    return tensor
