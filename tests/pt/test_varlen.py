"""Attention by the kernel of a GPU: its index arithmetic, and the model around it, with a kernel in plain PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from distilbert_core import Head, InputError
from distilbert_core.model.packing import Ragged, pack
from distilbert_pt import varlen
from distilbert_pt.attention import segment_sizes
from distilbert_pt.tensors import to_array
from distilbert_pt.varlen import autocast_dtype, cumulative_lengths, drops, kernel_problem, unpadded_keys
from support.checkpoints import HEADS, HEADS_WITH_LOSS, ragged_mask
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

PT, CPU = FRAMEWORKS["pt"], torch.device("cpu")
HALF = torch.bfloat16

# Padding on the left, in the middle, on the right; none; a row of padding.
MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])


def plain_kernel(query, key, value, lengths):
    """The kernel in plain PyTorch."""
    of_queries, of_keys = (
        torch.bucketize(torch.arange(len(x)), ends[1:], right=True)
        for x, ends in ((query, lengths.queries), (key, lengths.keys))
    )
    mask = of_queries[:, None] == of_keys[None]
    q, k, v = (x.transpose(0, 1) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(0, 1)


class Calls(list):
    def __call__(self, *arguments):
        self.append(arguments)
        query, _, _, lengths = arguments
        assert lengths.queries.dtype == lengths.keys.dtype == torch.int32
        assert lengths.queries.diff().max() <= lengths.most_queries
        assert lengths.keys.diff().max() <= lengths.most_keys
        assert int(lengths.queries[-1]) == len(query)  # the kernel leaves other rows of its output without values
        return plain_kernel(*arguments)


@pytest.fixture
def calls(monkeypatch):
    """Let models on the CPU use the plain kernel, and return its calls."""
    calls = Calls()
    monkeypatch.setattr(varlen, "kernel", calls)
    monkeypatch.setattr(varlen, "kernel_problem", lambda device, dtype, head_size: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return calls


@pytest.mark.parametrize(
    ("segment_ids", "tokens", "queries", "keys"),
    [
        ([[1, 1, 1, 2, 2, 3]], None, [3, 2, 1], [3, 2, 1]),
        ([[1, 1, 2, 0, 0], [1, 2, 2, 2, 2]], None, [2, 1, 2, 1, 4], [2, 1, 2, 1, 4]),  # empty slots are a segment
        ([[1, 1, 1], [1, 1, 1], [0, 0, 0]], None, [3, 3, 3], [3, 3, 3]),  # a row begins a segment
        ([[1, 1, 2, 0, 0], [1, 2, 2, 2, 2]], [[0, 2], [3, 4]], [1, 1, 0, 0, 2], [2, 1, 2, 1, 4]),
        ([[7, 7, 7, 7]], [[3]], [1], [4]),
    ],
)
def test_cumulative_lengths_of_packed_rows(segment_ids, tokens, queries, keys):
    sizes = segment_sizes(torch.tensor(segment_ids), None if tokens is None else torch.tensor(tokens))
    assert sizes == (queries, keys)
    lengths = cumulative_lengths(*sizes, CPU)
    for ends, expected in ((lengths.queries, queries), (lengths.keys, keys)):
        assert ends.dtype == torch.int32
        assert ends.diff()[: len(keys)].tolist() == expected
        assert ends[0] == 0
        assert not ends.diff()[len(keys) :].any()  # the segments to a round number are empty
    assert (lengths.most_queries, lengths.most_keys) == (128, 128)


def test_numbers_of_segments_and_maximum_lengths_take_few_values():
    rng = np.random.default_rng(0)
    shapes = set()
    for count in range(100, 200):
        sizes = rng.integers(1, 250, count).tolist()
        lengths = cumulative_lengths(sizes, sizes, CPU)
        assert int(lengths.keys[-1]) == sum(sizes)
        shapes.add((len(lengths.keys), lengths.most_keys))
    assert shapes == {(112 + 1, 256), (128 + 1, 256), (160 + 1, 256), (192 + 1, 256), (224 + 1, 256)}
    assert cumulative_lengths([129, 0], [300, 1], CPU)[2:] == (256, 384)


def test_keys_of_a_padded_batch():
    keys = unpadded_keys(MASK != 0, queries=2)
    used = [2, 3, 4, 5, 7, 9, 10, 11, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]  # all of the row of padding
    assert keys.order.tolist() == [*used, *(x for x in range(25) if x not in used)]
    assert keys.unused.flatten().tolist() == [False] * 18 + [True] * 7
    assert keys.no_key.flatten().tolist() == [False] * 4 + [True]
    assert keys.lengths.keys.tolist() == [0, 3, 6, 8, 13, 18]
    assert keys.lengths.queries.tolist() == [0, 2, 4, 6, 8, 10]
    assert (keys.lengths.keys.dtype, keys.lengths[2:]) == (torch.int32, (2, 5))


def packed_inputs(*, select):
    """Rows of texts with the lengths 1 to 11, with empty slots at their ends."""
    rng = np.random.default_rng(1)
    texts = Ragged.from_rows([rng.integers(1, 40, n).tolist() for n in (5, 11, 1, 4, 9)])
    packing = pack(texts.padded(0)["attention_mask"], row_length=14).packing
    rows = packing.rows(texts)
    if select:
        rows["output_tokens"], _ = packing.select(texts.first_tokens)
    real = torch.from_numpy(packing.segment_ids != 0)
    return {name: torch.from_numpy(array) for name, array in rows.items()}, real


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_packed_rows_give_the_outputs_of_eager_attention(tmp_path, calls, head, select):
    model, _ = PT.random_model(head, tmp_path)
    rows, _ = packed_inputs(select=select)
    got = to_array(model.packed_outputs(**rows))
    assert len(calls) == model.config.n_layers
    assert all(call[3] is calls[0][3] for call in calls[:-1])  # one set of lengths for all blocks
    model.attn_implementation = "eager"
    assert_close(got, to_array(model.packed_outputs(**rows)), 1e-13)


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_padded_batches_give_the_outputs_and_gradients_of_eager_attention(tmp_path, calls, head):
    model, inputs = PT.random_model(head, tmp_path)
    shape = inputs["attention_mask"].shape
    mask = torch.from_numpy(ragged_mask(int(np.prod(shape[:-1])), shape[-1])).flip(0)
    mask[0], mask[1, :3], mask[2, 1:4] = 0, 0, 0  # a row of padding; on the left; in the middle
    inputs["attention_mask"] = mask.reshape(shape).to(inputs["attention_mask"].dtype)
    inputs["head_mask"] = torch.tensor([[0.5, 1, 0], [1, 0.25, 2]])
    results = []
    for name in ("flash_attention_2", "eager"):
        model.attn_implementation = name
        model.zero_grad()
        output = model(**inputs)
        output.loss.backward()
        gradients = [to_array(x.grad) for x in model.parameters() if x.grad is not None]
        results.append((*PT.numbers(output), *gradients))
    assert len(calls) == model.config.n_layers
    assert_close(*results, 1e-13)


def test_unused_keys_get_no_gradient():
    """The kernel leaves the gradients of keys that it does not read undefined: they must not reach the weights."""

    class Undefined(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, used):
            ctx.used = used
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            gradient = gradient.clone()
            gradient[ctx.used :] = torch.nan
            return gradient, None

    def kernel(query, key, value, lengths):
        used = int(lengths.keys[-1])
        return plain_kernel(query, Undefined.apply(key, used), Undefined.apply(value, used), lengths)

    keys = unpadded_keys(MASK != 0, queries=5)
    query, key, value = torch.randn(3, 5, 2, 5, 8, dtype=torch.float64)
    key.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "kernel", kernel)
        context, _ = varlen.unpadded_attention(query, key, value, keys, None, torch.nn.Dropout(0.0))
    context.sum().backward()
    padding = (MASK == 0) & (MASK.sum(1, keepdim=True) > 0)
    assert key.grad.isfinite().all()
    assert not key.grad.transpose(1, 2)[padding].any()


def test_a_batch_without_padding_and_requested_weights_need_no_kernel(tmp_path, calls):
    model, inputs = PT.random_model(Head.BASE, tmp_path)
    model.attn_implementation = "flash_attention_2"
    expected = model(**inputs).last_hidden_state
    calls.clear()
    with_weights = model(**inputs, output_attentions=True)
    assert_close(to_array(with_weights.last_hidden_state), to_array(expected), 1e-13)
    assert len(with_weights.attentions) == model.config.n_layers
    model(inputs["input_ids"])
    assert calls == []


def test_output_tokens_of_a_padded_batch(tmp_path, calls):
    model, inputs = PT.random_model(Head.BASE, tmp_path)
    tokens = torch.tensor([[1, 3]], dtype=torch.int32).expand(len(inputs["input_ids"]), -1)
    model.attn_implementation = "flash_attention_2"
    got = model(**inputs, output_tokens=tokens).last_hidden_state
    assert calls[-1][3].most_queries == 2
    model.attn_implementation = "eager"
    assert_close(to_array(got), to_array(model(**inputs).last_hidden_state[:, [1, 3]]), 1e-13)


def test_dropout_of_attention_weights_is_not_left_out(tmp_path, calls):
    model, inputs = PT.random_model(Head.BASE, tmp_path, attention_dropout=0.5, dropout=0.0)
    rows, real = packed_inputs(select=False)
    model.train()
    for flash in (False, True):
        if flash:
            model.attn_implementation = "flash_attention_2"
        first, second = (model.packed_outputs(**rows)[real] for _ in range(2))
        assert not torch.equal(first, second)
        assert not torch.equal(*(model(**inputs).last_hidden_state for _ in range(2)))
    assert calls == []
    model.transformer.layer[0].attention.dropout.eval()
    model.transformer.layer[1].attention.dropout.p = 0.0
    model.packed_outputs(**rows)
    assert len(calls) == 2


def test_modules_of_dropout_that_need_the_weights():
    plain, hooked, other = torch.nn.Dropout(0.5).eval(), torch.nn.Dropout(0.0), torch.nn.Identity()
    hooked.register_forward_hook(lambda module, args, output: None)
    assert not drops([plain, torch.nn.Dropout(0.0)])
    assert all(drops([plain, module]) for module in (hooked, other, torch.nn.Dropout(0.5), None))


@torch.inference_mode()
def test_blocks_compile_into_one_graph_for_rows_of_different_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(varlen, "kernel", plain_kernel)
    monkeypatch.setattr(varlen, "kernel_problem", lambda device, dtype, head_size: None)
    model, _ = PT.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    rows, _ = packed_inputs(select=True)
    shorter = {name: array[:1] for name, array in rows.items()}
    expected = [to_array(model.packed_outputs(**each)) for each in (rows, shorter)]
    for block in model.base_model.transformer.layer:
        block.compile(backend="eager", fullgraph=True)
    for each, values in zip((rows, shorter), expected, strict=True):
        assert_close(to_array(model.packed_outputs(**each)), values, 1e-13)


@pytest.mark.parametrize(
    ("device", "dtype", "head_size", "message"),
    [
        ("cpu", HALF, 64, "needs a CUDA GPU, and the model is on cpu"),
        (
            "cuda",
            torch.float32,
            64,
            "float16 or bfloat16, and the model computes in float32; load it with dtype='bfloat1",
        ),
        ("cuda", torch.float64, 64, "the model computes in float64"),
        ("cuda", HALF, 12, "size is a multiple of 8 up to 256, got 12"),
        ("cuda", HALF, 264, "size is a multiple of 8 up to 256, got 264"),
        ("cuda", HALF, 64, "compute capability 8.0 or higher, got 7.5"),
    ],
)
def test_reasons_against_the_kernel(monkeypatch, device, dtype, head_size, message):
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    problem = kernel_problem.__wrapped__(torch.device(device), dtype, head_size)
    assert message in problem
    assert "'sdpa'" in problem


def test_no_reason_against_the_kernel(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert kernel_problem.__wrapped__(torch.device("cuda"), torch.float16, 64) is None
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
    assert "lacks" in kernel_problem.__wrapped__(torch.device("cuda"), torch.float16, 64)


def test_autocast_names_the_dtype_of_products(monkeypatch):
    cuda = torch.device("cuda")
    assert autocast_dtype(cuda, torch.float32) == torch.float32
    with torch.autocast("cpu", HALF):
        assert autocast_dtype(CPU, torch.float32) == torch.float32
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device_type: True)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device_type: torch.float16)
    assert autocast_dtype(cuda, torch.float32) == torch.float16
    assert autocast_dtype(cuda, torch.float64) == torch.float64


def test_flash_attention_is_refused_without_a_gpu(tmp_path, monkeypatch):
    model, _ = PT.random_model(Head.MASKED_LM, tmp_path)
    message = "attn_implementation='flash_attention_2' needs a CUDA GPU, and PyTorch finds none; use 'sdpa'"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=message):
        model.attn_implementation = "flash_attention_2"
    with pytest.raises(InputError, match=message):
        type(model).from_pretrained(tmp_path, attn_implementation="flash_attention_2", torch_dtype="bfloat16")
    model.config.attn_implementation = "flash_attention_2"
    with pytest.raises(InputError, match=message):
        type(model)(model.config)


def test_flash_attention_is_refused_on_the_cpu_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    _, inputs = PT.random_model(Head.MASKED_LM, tmp_path)
    model = PT.cls(Head.MASKED_LM).from_pretrained(tmp_path, attn_implementation="flash_attention_2")
    assert model.attn_implementation == model.distilbert.attn_implementation == "flash_attention_2"
    model.distilbert.embeddings.register_forward_hook(lambda *_: pytest.fail("computed"))
    with pytest.raises(
        InputError, match="attn_implementation='flash_attention_2' needs a CUDA GPU, and the model is on c"
    ):
        model(**inputs)


def test_the_kernel_of_pytorch_takes_our_arguments():
    query, key = (torch.empty(length, 2, 8, dtype=HALF, device="meta") for length in (2, 7))
    lengths = cumulative_lengths([1, 0, 1], [3, 2, 2], CPU)
    meta = lengths._replace(queries=lengths.queries.to("meta"), keys=lengths.keys.to("meta"))
    context = varlen.kernel(query, key, key, meta)
    assert (context.shape, context.dtype) == (query.shape, HALF)
