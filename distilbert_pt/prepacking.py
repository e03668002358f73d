"""Fast dense layers for inference on x86 processors.

Products are computed by oneDNN, which also computes the exact GELU while the product is still in the processor's
registers. A product is fastest if the weight lies in memory in the order in which the processor reads it, but
`torch.nn.Linear` stores the weight by rows. What is faster depends on the processor and the number of tokens:

* With AVX512 and many tokens, oneDNN reorders the weights once. A reordered (prepacked) copy is compared with the
  weight in each call, because PyTorch counts in-place changes, except changes through `.data` or shared memory.
* Otherwise the weights are read as they are. One short text is computed by `distilbert_pt.few_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilbert_pt import few_tokens
from distilbert_pt.few_tokens import OwnMethod
from distilbert_pt.layers import has_hooks
from distilbert_pt.model import FeedForward, Transformer

MOST_ROWS_PLAIN = 256  # with more, comparing weights with their copies takes less time than the copies save


class PrepackedLinear:
    """A dense layer's product by its weight, or by a prepacked copy, made again when the weight has changed."""

    def __init__(self, layer: nn.Linear):
        self.layer = layer
        self.prepared: tuple[Tensor, Tensor] | None = None  # a copy of the weight, plain and prepacked

    def __call__(self, x: Tensor, function: str = "none") -> Tensor | None:
        """[..., in] -> [..., out], with oneDNN's function of that name applied to it.

        None if oneDNN does not have this product, or the layer has hooks, which it would leave out.
        """
        layer, weight = self.layer, self.layer.weight
        if type(layer) is not nn.Linear or has_hooks(layer):
            return None
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not x.numel():
            return None
        if not is_plain(weight) or x.dtype != weight.dtype:
            return None
        factor = self.prepacked(weight) if pays_off(x.numel() // x.shape[-1], weight.dtype) else weight
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, factor, layer.bias, function, [], "none")
        return y

    def prepacked(self, weight: Tensor) -> Tensor:
        """Return a prepacked copy of the weight's current values."""
        prepared = self.prepared
        if prepared is None or not is_same(weight, prepared[0]):
            copied = weight.detach().clone()
            # One assignment for both, as threads may share this object.
            self.prepared = prepared = copied, torch.ops.mkldnn._reorder_linear_weight(copied)
        return prepared[1]


class Prepacking:
    """Makes a model use the products of this module and of `few_tokens` while inference runs.

    Args:
        model: The model. Layers that are added to it later compute as usual.

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
                self.methods.append((module, "forward", OwnMethod(forward, PrepackedLinear(module))))
            elif type(module) is FeedForward:
                self.methods.append((module, "expand", OwnMethod(expand, PrepackedLinear(module.lin1), module)))
            elif type(module) is Transformer:
                self.methods.append((module, "forward", OwnMethod(few_tokens.forward, module)))
        self.users, self.lock = 0, Lock()

    @contextmanager
    def in_use(self, device: torch.device) -> Iterator[None]:
        """Context manager: use these products if they are faster on this device; restore the modules on exit."""
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
    """`FeedForward.expand` with the exact GELU fused into the product, if `lin1` computes by `forward` above."""
    ours = getattr(vars(feed_forward.lin1).get("forward"), "func", None) is forward
    exact = ours and feed_forward.activation is F.gelu and feed_forward.lin1 is product.layer
    y = product(x, "gelu") if exact else None
    return FeedForward.expand(feed_forward, x) if y is None else y


def is_available(device: torch.device) -> bool:
    """Whether these products are faster on this device, and autocast is off."""
    return bool(
        device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and not torch.is_autocast_enabled("cpu")
    )


def pays_off(rows: int, dtype: torch.dtype) -> bool:
    """Whether a product of this many rows is faster with a prepacked copy of the weight, compared in each call."""
    return torch.backends.cpu.get_cpu_capability() != "AVX2" and (rows > MOST_ROWS_PLAIN or dtype != torch.float32)


def is_plain(weight: Tensor) -> bool:
    """Whether this is a contiguous parameter on the CPU, in a dtype that oneDNN supports here."""
    plain = type(weight) is nn.Parameter and weight.device.type == "cpu" and weight.is_contiguous()
    return plain and weight.numel() > 0 and weight.dtype in dtypes()


@cache
def dtypes() -> tuple[torch.dtype, ...]:
    """Return the dtypes that oneDNN multiplies in on this processor."""
    return (torch.float32, *([torch.bfloat16] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else []))


def is_same(weight: Tensor, copied: Tensor) -> bool:
    """Whether two matrices have the same bits."""
    if weight.shape != copied.shape or weight.dtype != copied.dtype:
        return False
    pair = [matrix.detach().view(-1).view(torch.int16) for matrix in (weight, copied)]
    if any(bits.storage_offset() % 4 for bits in pair):  # not aligned for a view as 64-bit words
        return torch.equal(*pair)
    whole = weight.numel() * weight.element_size() // 8 * 4
    words = [bits[:whole].view(torch.int64) for bits in pair]  # 64-bit words compare fastest
    return torch.equal(*words) and torch.equal(*(bits[whole:] for bits in pair))
