"""Tensors and NumPy arrays, and checks of the arguments of a call."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from distilbert_core.model.inputs import check_range

# Arguments for packed rows that the model reads on the CPU, so that nothing waits for a GPU.
ON_HOST = ("segment_ids", "output_tokens")


def to_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of a NumPy array, bfloat16 included."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_array(tensor: Tensor) -> np.ndarray:
    """Return a NumPy array of a tensor; it shares the memory of a tensor on the CPU."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device. A copy to a GPU does not wait for the work that the GPU has to do before."""
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu" and values_known(tensor):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def is_quantized(tensor: Tensor) -> bool:
    """Return whether a tensor is made of several others, such as integers and their scales in torchao.

    A DTensor, a part of a tensor, is not meant.
    """
    return hasattr(tensor, "__tensor_flatten__") and not hasattr(tensor, "full_tensor")


def stored_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor's numbers; of a quantized one, those of its integers and scales."""
    if is_quantized(tensor):
        names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
        return sum(stored_bytes(getattr(tensor, name)) for name in names)
    return tensor.nelement() * tensor.element_size()


def shape_of(tensor: Tensor | None) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor, with None for sizes that a trace leaves open; None if there is no tensor."""
    if tensor is not None and torch.jit.is_tracing():
        return (None,) * tensor.ndim
    return None if tensor is None else tuple(tensor.shape)


def values_known(tensor: Tensor) -> bool:
    """Return whether the values of a tensor can be read: not while compiling, exporting or tracing, nor under vmap."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and tensor.device.type != "meta"
    )


def check_values(name: str, ids: Tensor | None, size: int, meaning: str) -> None:
    """Raise InputError if ids do not lie in [0, size).

    Does nothing while values are not known, and on a GPU, where reading them would wait for all work before: CUDA's own
    look-up stops the program at an id out of range.

    Args:
        name: The argument.
        ids: Its value.
        size: The limit.
        meaning: The name of the limit, such as 'vocab_size'.
    """
    if ids is not None and not ids.is_cuda and values_known(ids) and ids.numel():
        lowest, highest = torch.aminmax(ids)
        check_range(name, int(lowest), int(highest), size, meaning)


def upcast(x: Tensor) -> Tensor:
    """Return a tensor in at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
