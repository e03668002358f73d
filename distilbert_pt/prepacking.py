"""Prepacked weights: how dense layers compute inference on x86 processors.

A product is fastest where the weight lies in memory in the order in which the processor reads it. `torch.nn.Linear`
keeps rows, which each call reads as they are or lays out anew; here oneDNN lays them out once, and computes the exact
GELU while the numbers of the product before it are still in the processor's registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilbert_pt.model import FeedForward

SAMPLED = 16  # numbers of a weight that are compared before each use


class PrepackedLinear:
    """A dense layer's product, with a copy of its weight that is made anew when the weight has changed.

    PyTorch counts changes in place. Those that it does not see, made through `.data` or shared memory, are noticed by
    some numbers that are spread over the weight.
    """

    def __init__(self, layer: nn.Linear):
        self.layer = layer
        self.weight: Tensor | None = None  # what was copied

    def __call__(self, x: Tensor, function: str = "none") -> Tensor | None:
        """[..., in] -> [..., out], with oneDNN's function of that name applied to it.

        None if oneDNN has no such product, or there is something about it or the layer that it would leave out.
        """
        layer = self.layer
        if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks:
            return None
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not x.numel():
            return None
        weight = layer.weight
        if weight is not self.weight or self.state(weight) != self.copied:
            if not is_plain(weight):
                return None
            self.copy(weight)
        if x.dtype != self.packed.dtype:
            return None
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, layer.bias, function, [], "none")
        return y

    def copy(self, weight: Tensor) -> None:
        """Lay out the weight."""
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        numbers = weight.detach().view(-1).view(torch.int16).numpy()  # shares the weight's memory
        self.sample = numbers[:: len(numbers) // SAMPLED | 1]  # an odd step meets all columns
        self.weight, self.copied = weight, self.state(weight)

    def state(self, weight: Tensor) -> tuple[int, int, bytes]:
        """Return where the weight is, how often it was changed, and the sample."""
        return weight.data_ptr(), 0 if weight.is_inference() else weight._version, self.sample.tobytes()


class Prepacking:
    """Lets the dense layers of a model multiply by prepacked weights while inference runs.

    Args:
        model: Its layers are looked for now; one that comes later computes as PyTorch does.

    Example:
        >>> import torch
        >>> from distilbert_pt.prepacking import Prepacking
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(3, 2)), torch.ones(1, 3)
        >>> prepacking = Prepacking(model)
        >>> with torch.inference_mode(), prepacking.in_use(torch.device("cpu")):
        ...     y = model(x)
        >>> torch.allclose(y, model(x))
        True
    """

    def __init__(self, model: nn.Module):
        self.methods: list[tuple[nn.Module, str, Callable[[Tensor], Tensor]]] = []
        for module in model.modules():
            if type(module) is nn.Linear:
                self.methods.append((module, "forward", partial(forward, PrepackedLinear(module))))
            elif type(module) is FeedForward:
                self.methods.append((module, "expand", partial(expand, PrepackedLinear(module.lin1), module)))
        self.users, self.lock = 0, Lock()

    @contextmanager
    def in_use(self, device: torch.device) -> Iterator[None]:
        """Within this, prepacked weights are used on this device if they are faster; then modules are as before."""
        if not is_available(device):
            yield
            return
        with self.lock:
            self.users += 1
            if self.users == 1:
                for module, name, method in self.methods:
                    module.__dict__.setdefault(name, method)
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    for module, name, method in self.methods:
                        if module.__dict__.get(name) is method:
                            del module.__dict__[name]


def forward(product: PrepackedLinear, x: Tensor) -> Tensor:
    """`forward` of a dense layer."""
    y = product(x)
    return nn.Linear.forward(product.layer, x) if y is None else y


def expand(product: PrepackedLinear, feed_forward: FeedForward, x: Tensor) -> Tensor:
    """`FeedForward.expand` with the exact GELU as a part of the product, where `lin1` has our `forward`."""
    ours = getattr(vars(feed_forward.lin1).get("forward"), "func", None) is forward
    exact = ours and feed_forward.activation is F.gelu and feed_forward.lin1 is product.layer
    y = product(x, "gelu") if exact else None
    return FeedForward.expand(feed_forward, x) if y is None else y


def is_available(device: torch.device) -> bool:
    """Whether products with prepacked weights are faster on this device, and nothing else says how to compute them."""
    return bool(
        device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and not torch.is_autocast_enabled("cpu")
    )


def is_plain(weight: Tensor) -> bool:
    """Whether this is a whole parameter on the CPU, row by row, of a dtype that oneDNN has here."""
    dtypes = {torch.float32: True, torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported()}
    plain = type(weight) is nn.Parameter and weight.device.type == "cpu" and weight.is_contiguous()
    return bool(plain and weight.numel() and dtypes.get(weight.dtype))
