"""The committed checkpoints of Transformers 5 are what it writes: make them again and compare.

Runs in the tox environment `sentence-vectors`, which has that version; without it the module is skipped.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("transformers") is None or importlib.metadata.version("transformers") != "5.23.0":
    pytest.skip("needs transformers 5.23.0", allow_module_level=True)

from checkpoint_cases import FIXTURES, OUTPUTS, Checkpoint, write_checkpoint
from checkpoints_of_5 import CHECKPOINTS
from safetensors.numpy import load_file


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)
def test_checkpoint_is_reproduced(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_checkpoint(checkpoint, tmp_path)
    made, committed = tmp_path / checkpoint.name, FIXTURES / checkpoint.name
    assert sorted(path.name for path in made.iterdir()) == sorted(path.name for path in committed.iterdir())
    for name in ("config.json", "model.safetensors"):
        assert (made / name).read_bytes() == (committed / name).read_bytes()
    actual, expected = load_file(made / OUTPUTS), load_file(committed / OUTPUTS)
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        # Equal to the last bit on one machine; for other CPUs as in test_oracle.py.
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=5e-6, err_msg=name)
