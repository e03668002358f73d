"""`save_pretrained(checksum=True)` and `from_pretrained(verify=True)`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distilbert_core import Head
from distilbert_core.errors import CheckpointError
from distilbert_core.files.checksums import CHECKSUMS
from support.checkpoints import save_random, small_config
from support.integrity import flip_one_bit

HEAD = Head.TOKEN_CLASSIFICATION


def test_a_model_is_verified(framework, tmp_path: Path) -> None:
    save_random(tmp_path / "source", small_config(), HEAD, dtype="float32")
    cls = framework.cls(HEAD)
    with pytest.raises(CheckpointError, match=r"source has no checksums\.sha256"):
        cls.from_pretrained(tmp_path / "source", verify=True)
    model = cls.from_pretrained(tmp_path / "source")
    for options, file in (({}, "model.safetensors"), ({"safe_serialization": False}, None)):
        folder = tmp_path / f"saved-{file}"
        model.save_pretrained(folder, checksum=True, **options)
        cls.from_pretrained(folder, verify=True)
        weights = next(path for path in folder.iterdir() if path.name not in ("config.json", CHECKSUMS))
        flip_one_bit(weights, np.random.default_rng(9))
        with pytest.raises(CheckpointError, match=weights.name):
            cls.from_pretrained(folder, verify=True)
    model.save_pretrained(tmp_path / "saved-model.safetensors")  # over the damaged file: the list is renewed
    cls.from_pretrained(tmp_path / "saved-model.safetensors", verify=True)
