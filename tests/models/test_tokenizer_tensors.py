"""Tensors of the tokenizers in each framework: values keep their kind."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from distilbert_core import DistilBertTokenizer, DistilBertTokenizerFast, InputError
from distilbert_core.tokenization import BaseTokenizer, BatchEncoding
from support.frameworks import Framework

KINDS = {"pt": "pt", "tf": "tf", "flax": "jax"}  # backend -> return_tensors

VALUES = [  # the labels of two rows, and their dtype as a tensor
    ([1, 0], "int64"),
    ([0.75, 0.25], "float32"),
    ([[1.0, 0.5], [0, 0.25]], "float32"),
    ([True, False], "bool"),
    ([np.float64(0.75), np.float64(0.25)], "float64"),
    ([np.array([0.75, 1], np.float16), np.array([0.5, 1], np.float16)], "float16"),
    ([np.array(3, np.int32), np.array(4, np.int32)], "int32"),
]


@pytest.fixture(scope="module", params=[DistilBertTokenizerFast, DistilBertTokenizer], ids=["fast", "slow"])
def tokenizer(request: pytest.FixtureRequest) -> BaseTokenizer:
    return request.param.from_pretrained("sst2-tiny")


def tensor_type(framework: Framework) -> type:
    module, name = {"pt": ("torch", "Tensor"), "tf": ("tensorflow", "Tensor"), "flax": ("jax", "Array")}[framework.name]
    return getattr(importlib.import_module(module), name)


def check(framework: Framework, tensor: Any, values: Any, dtype: str) -> None:
    assert isinstance(tensor, tensor_type(framework))
    array = np.asarray(tensor)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array(values, dtype))


@pytest.mark.parametrize(("labels", "dtype"), VALUES, ids=str)
def test_labels_keep_their_kind(framework: Framework, tokenizer: BaseTokenizer, labels: list, dtype: str) -> None:
    rows = [{"input_ids": ids, "labels": label} for ids, label in zip([[101, 7, 102], [101, 102]], labels, strict=True)]
    kind = KINDS[framework.name]
    padded = tokenizer.pad(rows, return_tensors=kind)
    check(framework, padded["input_ids"], [[101, 7, 102], [101, 102, 0]], "int64")
    check(framework, padded["attention_mask"], [[1, 1, 1], [1, 1, 0]], "int64")
    check(framework, padded["labels"], labels, dtype)
    check(framework, BatchEncoding({"labels": labels}).convert_to_tensors(kind)["labels"], labels, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "bool"])
def test_rows_of_tensors_keep_their_dtype(framework: Framework, tokenizer: BaseTokenizer, dtype: str) -> None:
    make = framework.package.to_tensor
    masks = [[1, 1, 1], [1, 0]]
    rows = [
        {
            "input_ids": make(np.array(ids)),
            "attention_mask": make(np.array(mask, dtype)),
            "labels": make(np.array(label, dtype)),
        }
        for ids, mask, label in zip([[101, 7, 102], [101, 102]], masks, [1, 0], strict=True)
    ]
    kind = KINDS[framework.name]
    padded = tokenizer.pad(rows, return_tensors=kind)
    check(framework, padded["input_ids"], [[101, 7, 102], [101, 102, 0]], "int64")
    check(framework, padded["attention_mask"], [[1, 1, 1], [1, 0, 0]], dtype)
    check(framework, padded["labels"], [1, 0], dtype)
    check(framework, tokenizer.pad(padded, return_tensors=kind)["labels"], [1, 0], dtype)  # columns of tensors
    lists = tokenizer.pad(rows)
    assert (lists["input_ids"], lists["labels"]) == ([[101, 7, 102], [101, 102, 0]], [1, 0])


def test_what_cannot_be_a_tensor(framework: Framework, tokenizer: BaseTokenizer) -> None:
    for labels, message in (
        (["a", "b"], r"^labels must hold only numbers to become an array, got 'a'\.$"),
        ([[0.5, 1], [0.5]], r"^labels must have rows of one shape to become an array, got \(2,\) and \(1,\); "),
    ):
        rows = [{"input_ids": [101], "labels": label} for label in labels]
        with pytest.raises(InputError, match=message):
            tokenizer.pad(rows, return_tensors=KINDS[framework.name])


def test_ids_of_tensors_are_decoded(framework: Framework, tokenizer: BaseTokenizer) -> None:
    encoding = tokenizer(["A film.", "Fine"], padding=True, return_tensors=KINDS[framework.name])
    assert tokenizer.batch_decode(encoding["input_ids"], skip_special_tokens=True) == ["a film.", "fine"]
    with pytest.raises(InputError, match=r"^token_ids must be integers, got "):
        tokenizer.decode(framework.package.to_tensor(np.array([1.5])))


def test_texts_in_tensors(framework: Framework, tokenizer: BaseTokenizer) -> None:
    with pytest.raises(InputError, match=r"^text\[0\] must be a text or a pair of them, got 101"):
        tokenizer(framework.package.to_tensor(np.array([101, 102])))
    if framework.name == "tf":  # the only one with tensors of texts
        import tensorflow as tf

        texts = ["a fine film", "naïve 你"]
        assert tokenizer(tf.constant(texts)) == tokenizer(list(tf.constant(texts))) == tokenizer(texts)
        assert tokenizer(tf.constant("naïve"), tf.constant("film")) == tokenizer("naïve", "film")
        words = [["fine", "film"], ["dull"]]
        ragged = tf.ragged.constant(words)
        assert tokenizer(ragged, is_split_into_words=True) == tokenizer(words, is_split_into_words=True)


def test_only_pytorch_has_devices_to_move_to(framework: Framework, tokenizer: BaseTokenizer) -> None:
    encoding = tokenizer("A film.", return_tensors=KINDS[framework.name])
    if framework.name == "pt":
        import torch

        moved = encoding.to(torch.device("cpu"), non_blocking=True)
        assert moved is encoding
        assert encoding["input_ids"].tolist() == [[101, 1037, 2143, 1012, 102]]
        with pytest.raises(InputError, match=r"^device must be a name, .* got torch\.float16; ids stay integers\.$"):
            encoding.to(torch.float16)
        assert encoding["input_ids"].dtype == torch.int64
    else:
        with pytest.raises(InputError, match=r"^This encoding has no PyTorch tensors to move"):
            encoding.to("cpu")
