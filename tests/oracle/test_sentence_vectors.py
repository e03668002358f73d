"""The committed sentence vectors are what sentence-transformers computes: make them again and compare.

Runs in the tox environment `sentence-vectors`; without sentence-transformers the module is skipped.
"""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from minilm_cases import FILE_NAME, FIXTURES, TEXTS, write_vectors
from safetensors.numpy import load_file


def test_vectors_are_reproduced(tmp_path: Path) -> None:
    write_vectors(tmp_path)
    made, committed = (load_file(folder / FILE_NAME)["vectors"] for folder in (tmp_path, FIXTURES))
    assert made.shape == committed.shape == (len(TEXTS), 384)
    # Equal to the last bit on one machine; 2.0e-7 with one thread and no instructions beyond SSE4.2.
    np.testing.assert_allclose(made, committed, rtol=0, atol=1e-6)
