"""`verify` and JAX's switch for float64."""

from __future__ import annotations

from support.processes import fresh_python

CODE = """
import jax
from weight_conversion.verification.verifying import verify
found = verify(["sst2-tiny"], ["flax"])
print(found.passed, found.runs[1].worst.relative > 0, jax.numpy.arange(2.0).dtype)
"""


def test_float64_is_off_again_afterwards():
    assert fresh_python(CODE) == "True True float32\n"
