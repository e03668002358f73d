"""JAX without 64-bit integers: an integer that does not fit is refused, where JAX alone would change it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distilbert_core import DistilBertTokenizerFast, InputError
from distilbert_core.tokenization.columns import to_tensor as column_to_tensor
from distilbert_flax import to_tensor

TOO_LARGE = r"An integer does not fit int32, the largest that JAX has now; allow .*jax_enable_x64', True\)\.$"


def test_integers_that_fit_become_int32() -> None:
    values = np.array([2**31 - 1, -(2**31), 0])
    with jax.enable_x64(False):
        tensor = to_tensor(values)
        empty = to_tensor(np.zeros((2, 0), np.int64))
    assert tensor.dtype == empty.dtype == jnp.int32
    assert tensor.tolist() == values.tolist()
    assert to_tensor(values).dtype == jnp.int64


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40])
def test_larger_ones_are_refused(value: int) -> None:
    with jax.enable_x64(False):
        assert int(jnp.asarray(np.array([value]))[0]) != value
        with pytest.raises(InputError, match="^" + TOO_LARGE):
            to_tensor(np.array([value]))
        with pytest.raises(InputError, match="^labels cannot be a tensor: " + TOO_LARGE):
            column_to_tensor([value], "labels", "jax")
    assert to_tensor(np.array([value])).tolist() == [value]


def test_unsigned_integers_that_do_not_fit() -> None:
    with jax.enable_x64(False):
        assert to_tensor(np.array([2**32 - 1], np.uint64)).tolist() == [2**32 - 1]
        with pytest.raises(InputError, match=r"^An integer does not fit uint32, "):
            to_tensor(np.array([2**32], np.uint64))


def test_other_kinds_stay() -> None:
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    with jax.enable_x64(False):
        padded = tokenizer.pad([{"input_ids": [101], "labels": 0.75, "seen": True}], return_tensors="jax")
    assert {name: str(array.dtype) for name, array in padded.items()} == {
        "input_ids": "int32",
        "labels": "float32",
        "seen": "bool",
        "attention_mask": "int32",
    }
    assert padded["labels"].tolist() == [0.75]
