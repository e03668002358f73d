"""Differences of two checkpoints: values, dtypes, shapes, heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distilbert_core import Head
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import save_random, small_config
from support.verifications import HALVES, HEAD, NAME, ORIGINAL, STEP, add_a_half, largest, write_changed
from weight_conversion import open_weights
from weight_conversion.verification.comparing import BLOCK_ELEMENTS, diff
from weight_conversion.weights import LazyTensor


def one_step(arrays):
    arrays[NAME][3] = np.nextafter(arrays[NAME][3], np.float32(9))


def put_nan(arrays):
    arrays[NAME][0] = np.nan


@pytest.mark.parametrize(
    ("change", "differing", "absolute"),
    [(one_step, 1, STEP), (add_a_half, 3, HALVES.max()), (put_nan, 1, np.nan)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_values_that_differ(checkpoint, tmp_path, change, differing, absolute):
    other = open_weights(write_changed(tmp_path / "b", change))
    found = {difference.name: difference for difference in diff(open_weights(checkpoint), other)}
    assert list(found) == list(other.tensors)
    one = found.pop(NAME)
    assert (one.kind, one.differing) == ("values", differing)
    np.testing.assert_equal(one.absolute, absolute)
    np.testing.assert_equal(one.relative, absolute / largest(ORIGINAL))
    assert {(rest.kind, rest.differing, rest.absolute, rest.relative) for rest in found.values()} == {
        ("equal", 0, 0, 0)
    }


def test_a_sign_of_zero_is_a_difference_of_nothing(tmp_path):
    a = open_weights(write_changed(tmp_path / "a", lambda arrays: arrays[NAME].fill(0)))
    b = open_weights(write_changed(tmp_path / "b", lambda arrays: arrays[NAME].fill(-0.0)))
    found = next(difference for difference in diff(a, b) if difference.name == NAME)
    assert (found.kind, found.differing, found.absolute, found.relative) == ("values", 20, 0.0, 0.0)


def test_equal_nan_values_are_equal(tmp_path):
    a, b = (open_weights(write_changed(tmp_path / name, put_nan)) for name in "ab")
    assert {difference.kind for difference in diff(a, b)} == {"equal"}


def test_dtypes_that_differ(checkpoint, tmp_path):
    def half(arrays):
        arrays[NAME] = arrays[NAME].astype(np.float16)

    found = {d.name: d for d in diff(open_weights(checkpoint), open_weights(write_changed(tmp_path / "b", half)))}
    gaps = np.abs(ORIGINAL[NAME].astype(float) - ORIGINAL[NAME].astype(np.float16).astype(float))
    one = found.pop(NAME)
    assert (one.kind, one.dtypes, one.differing) == ("dtype", ("float32", "float16"), np.count_nonzero(gaps))
    assert one.absolute == gaps.max()
    assert {difference.kind for difference in found.values()} == {"equal"}


def test_shapes_that_differ(checkpoint, tmp_path):
    other = save_random(tmp_path / "b", small_config(num_labels=3), HEAD, dtype="float32")
    weights = open_weights(checkpoint), open_weights(tmp_path / "b")
    found = {difference.name: difference for difference in diff(*weights)}
    shapes = {name: d.shapes for name, d in found.items() if d.kind == "shape"}
    assert shapes == {
        name: (ORIGINAL[name].shape, other[name].shape) for name in ("classifier.weight", "classifier.bias")
    }
    assert found["classifier.bias"].absolute is None


def test_heads_that_differ(checkpoint, tmp_path):
    arrays = {name.removeprefix("distilbert."): array for name, array in ORIGINAL.items() if "classifier" not in name}
    save_checkpoint(tmp_path / "b", arrays, {"config.json": small_config().to_json_string().encode()})
    model, base = open_weights(checkpoint), open_weights(tmp_path / "b")
    assert base.head is Head.BASE
    for pair, kind in (((model, base), "only in A"), ((base, model), "only in B")):
        kinds = {difference.name: difference.kind for difference in diff(*pair)}
        assert {name for name, found in kinds.items() if found == kind} == {"classifier.weight", "classifier.bias"}
        assert set(kinds.values()) == {"equal", kind}


def test_large_tensors_are_compared_in_blocks(checkpoint):
    values = np.zeros(2 * BLOCK_ELEMENTS + 5, np.float32)
    other = values.copy()
    other[[3, BLOCK_ELEMENTS - 1, BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS + 4]] = 1, 2, 3, 4
    values[-1] = 8
    weights = open_weights(checkpoint)
    a, b = (
        replace(weights, tensors={"x": LazyTensor(v.shape, "float32", lambda v=v: v, "memory")})
        for v in (values, other)
    )
    sizes = []
    [found] = diff(a, b, sizes.append)
    assert (found.differing, found.absolute, found.relative) == (4, 4.0, 0.5)
    assert sizes == [values.nbytes]
