"""Vectors of tokens and pooled vectors."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import InputError
from support.fake_inference import TOKENIZER, make


def test_pooling():
    extract = make("feature-extraction")
    (vectors,) = extract("naïve 東京")  # [T, 4]
    vectors, ids = np.array(vectors), TOKENIZER("naïve 東京")["input_ids"]
    np.testing.assert_array_equal(vectors, np.sin(np.array(ids)[:, None] * [1, 2, 3, 4]))
    mean = vectors.mean(axis=0)
    for pooling, expected in {"mean": mean, "cls": vectors[0]}.items():
        np.testing.assert_allclose(extract("naïve 東京", pooling=pooling, normalize=False), expected, rtol=1e-15)
        unit = expected / np.sqrt(np.sum(expected**2))
        np.testing.assert_allclose(extract("naïve 東京", pooling=pooling), unit, rtol=1e-15)  # measured: 1.1e-16


@pytest.mark.parametrize("options", [{"normalize": True}, {"normalize": True, "pooling": None}])
def test_only_a_pooled_vector_can_have_length_1(options):
    with pytest.raises(InputError, match=r"^normalize needs pooling, which must be one of mean, cls, got None\.$"):
        make("feature-extraction")("a", **options)
