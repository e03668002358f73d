"""Training in PyTorch's own ways: compiled, in mixed precision, with gradient checkpointing, on each kernel."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from distilbert_core import Head
from distilbert_pt.tensors import to_array
from support.checkpoints import HEADS_WITH_LOSS
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]


def model_and_inputs(folder, head, dtype="float64", **changes):
    """A model in training mode, so with dropout, and tensors for it."""
    model, inputs = PT.random_model(head, folder, dtype, **changes)
    return model.train(), inputs


def loss_and_gradients(model, inputs):
    """Both in one dict, with the same dropout at every call."""
    model.zero_grad()
    torch.manual_seed(0)
    loss = model(**inputs).loss
    loss.backward()
    gradients = {name: to_array(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": to_array(loss), **gradients}


def train(model, call, batches):
    """Steps of AdamW on `call`, which computes `model`; return the losses and the weights after them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = call(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(to_array(loss))
    return {"losses": tuple(losses), **PT.parameters(model)}


def test_compiled_training_is_eager_training(tmp_path):
    """With gradient checkpointing, and dropout: this backend draws what eager PyTorch draws, in the same order."""
    model, inputs = model_and_inputs(tmp_path, Head.TOKEN_CLASSIFICATION, n_layers=1)
    batches = [inputs, {name: value.flip(0) for name, value in inputs.items()}, inputs]
    expected = train(model, model, batches)
    model, _ = model_and_inputs(tmp_path, Head.TOKEN_CLASSIFICATION, n_layers=1)
    model.gradient_checkpointing_enable()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(train(model, compiled, batches), expected, 1e-13)  # measured: 0


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_autocast_trains_float32_weights(tmp_path, head):
    model, inputs = model_and_inputs(tmp_path, head, "float32")
    model.eval()
    expected = loss_and_gradients(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        got = loss_and_gradients(model, inputs)
        assert model(**inputs)[1].dtype == torch.bfloat16
    assert {array.dtype.name for array in got.values()} == {"float32"}
    assert 0 < largest_difference(got, expected) < 0.01  # measured: 4.0e-3


def count_blocks(model):
    """Count the calls of each block from now on."""
    calls = Counter()
    for i, block in enumerate(model.base_model.transformer.layer):
        block.register_forward_pre_hook(lambda module, args, i=i: calls.update([i]))
    return calls


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_gradient_checkpointing_leaves_gradients_as_they_are(tmp_path, head, use_reentrant):
    model, inputs = model_and_inputs(tmp_path, head)
    calls = count_blocks(model)
    expected = loss_and_gradients(model, inputs)
    assert calls == {0: 1, 1: 1}
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    calls.clear()
    assert_close(loss_and_gradients(model, inputs), expected, 0.0)
    assert calls == {0: 2, 1: 2}


def test_gradient_checkpointing_is_switched(tmp_path):
    model, inputs = model_and_inputs(tmp_path, Head.MASKED_LM)
    calls = count_blocks(model)
    states = []
    for switch in (model.eval, model.train, model.gradient_checkpointing_enable, model.eval, model.train):
        switch()
        calls.clear()
        loss_and_gradients(model, inputs)
        states.append((model.is_gradient_checkpointing, calls[0]))
    assert states == [(False, 1), (False, 1), (True, 2), (True, 1), (True, 2)]
    model.gradient_checkpointing_disable()
    calls.clear()
    loss_and_gradients(model, inputs)
    assert (model.is_gradient_checkpointing, calls[0]) == (False, 1)


def test_gradient_checkpointing_passes_its_keywords_on(tmp_path):
    model, inputs = model_and_inputs(tmp_path, Head.MASKED_LM)
    expected = loss_and_gradients(model, inputs)
    model.gradient_checkpointing_enable({"preserve_rng_state": False})  # so other dropout when computed again
    assert largest_difference(loss_and_gradients(model, inputs), expected) > 1e-3
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"every": 2})
    with pytest.raises(TypeError, match="unexpected keyword argument 'every'"):
        model(**inputs)


def test_gradient_checkpointing_gives_hidden_states_and_attentions(tmp_path):
    model, inputs = model_and_inputs(tmp_path, Head.BASE)
    outputs = []
    for switch in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        switch()
        torch.manual_seed(0)
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
        outputs.append({name: tuple(map(to_array, output[name])) for name in ("hidden_states", "attentions")})
    assert_close(*outputs, 0.0)


class Kernels(TorchDispatchMode):
    """The attention kernels that are called within this."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "scaled_dot_product" in func.name():
            self.names.add(func.name().removeprefix("aten::_scaled_dot_product_"))
        return func(*args, **(kwargs or {}))


KERNELS = {
    SDPBackend.MATH: set(),  # this one consists of ordinary operations
    SDPBackend.FLASH_ATTENTION: {"flash_attention_for_cpu", "flash_attention_for_cpu_backward"},
}


@pytest.mark.parametrize("backend", KERNELS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("masked", [True, False])
def test_attention_kernels_agree(tmp_path, backend, masked):
    """`sdpa_kernel` chooses between PyTorch's kernels, and with a mask too each of them gives the eager numbers."""
    model, inputs = model_and_inputs(tmp_path, Head.MASKED_LM)
    model.eval()  # the fused kernel of the CPU has no dropout
    if not masked:
        del inputs["attention_mask"]
    model.attn_implementation = "eager"
    expected = loss_and_gradients(model, inputs)
    model.attn_implementation = "sdpa"
    with sdpa_kernel(backend), Kernels() as kernels:
        got = loss_and_gradients(model, inputs)
    assert kernels.names == KERNELS[backend]
    assert_close(got, expected, 1e-13)  # measured: 8.9e-16
