"""Two checkpoints that differ, and a verification of them with chosen errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distilbert_core import Head
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import random_arrays, small_config
from weight_conversion.verification.verifying import Difference, ModelRun, Verification

HEAD = Head.TOKEN_CLASSIFICATION
NAME = "distilbert.transformer.layer.1.ffn.lin1.bias"  # [20]


def write_changed(folder: Path, change, config=None, dtype="float32") -> Path:
    """Write the same checkpoint after `change` has been done to its arrays."""
    config = config or small_config()
    arrays = random_arrays(config, HEAD, dtype=dtype)
    change(arrays)
    save_checkpoint(folder, arrays, {"config.json": config.to_json_string().encode()})
    return folder


def largest(arrays) -> float:
    return float(np.abs(arrays[NAME]).max())


def add_a_half(arrays):
    arrays[NAME][2:5] += np.float32(0.5)


ORIGINAL = random_arrays(small_config(), HEAD, dtype="float32")
STEP = float(np.nextafter(ORIGINAL[NAME][3], np.float32(9))) - float(ORIGINAL[NAME][3])
HALVES = (ORIGINAL[NAME][2:5] + np.float32(0.5)).astype(float) - ORIGINAL[NAME][2:5].astype(float)
LAYERS = ("hidden_states.0", "hidden_states.1", "logits")
ERRORS = {  # (dtype, backend) -> relative difference of each layer; the absolute one is twice that
    ("float64", "pt"): (0.0, 0.0, 0.0),
    ("float64", "tf"): (0.0, 1e-15, 1e-14),
    ("float32", "pt"): (1e-7, 2e-7, 3e-7),
    ("float32", "tf"): (1e-7, 2e-7, 1e-6),
}
SOURCE = 'one <b>&"two"'  # a folder may be called that


def verification(**changes: tuple[float, ...]) -> Verification:
    """What a verification finds, with other errors for some backends in float64."""
    runs = []
    for (dtype, backend), errors in ERRORS.items():
        errors = changes.get(backend, errors) if dtype == "float64" else errors
        found = tuple(Difference(name, 2 * error, error) for name, error in zip(LAYERS, errors, strict=True))
        runs.append(ModelRun(SOURCE, backend, dtype, found, {"float64": 1e-9, "float32": 1e-5}[dtype]))
    return Verification((SOURCE,), HEAD, "12 texts of 3 to 5 tokens", tuple(runs), ("<i>dropped</i>",))
