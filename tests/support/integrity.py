"""Flips bits of checkpoints that have checksums."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from distilbert_core.errors import DistilBertError
from support.mutators.base import write_source
from weight_conversion import convert


def flip_one_bit(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))


def check_bits(to: str, folder: Path) -> None:
    """Flip a bit in each file of a checkpoint in turn; `verify` finds each one, and none without a flip."""
    rng = np.random.default_rng(3)
    write_source(folder / "source", to, checksum=True)
    convert(folder / "source", folder / "same", to, verify=True)
    names = [path.relative_to(folder / "source") for path in (folder / "source").rglob("*") if path.is_file()]
    assert len(names) > 2
    for name in names:
        shutil.copytree(folder / "source", folder / "copy")
        if (folder / "copy" / name).stat().st_size:
            flip_one_bit(folder / "copy" / name, rng)
            with pytest.raises(DistilBertError, match="copy"):
                convert(folder / "copy", folder / "new", verify=True)
            assert not (folder / "new").exists()
        shutil.rmtree(folder / "copy")
