"""Hostile config.json and files of tokenizers: an error of ours or a result, in little time and memory."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from support.mutators.base import Mutator
from support.mutators.texts import CONFIGS, LARGE, TOKENIZERS, VOCABULARIES
from support.watched import Outcome, outcomes

READERS = {
    "config": "text_readers:read_config",
    "tokenizer.json": "text_readers:read_tokenizers",
    "vocab.txt": "text_readers:read_tokenizers",
}
IDS = {"argvalues": (CONFIGS, TOKENIZERS, VOCABULARIES), "ids": lambda mutator: mutator.name}
RANDOM, RANDOM_LONG = 8, 3300  # random files of each mutator


def read_all(mutator: Mutator, count: int, folder: Path, reader: str, seed: int = 0) -> list[Outcome]:
    cases = islice(mutator.mutations(np.random.default_rng(seed), folder), 1, 1 + count)  # without the unchanged one
    return list(outcomes(cases, f"support.{reader}"))


def faults(found: list[Outcome]) -> list[str]:
    return [f"{o.name}: {', '.join(o.faults)}; {o.message[:300]}" for o in found if o.faults]


@pytest.mark.parametrize("mutator", **IDS)
def test_hostile_files(mutator: Mutator, tmp_path: Path) -> None:
    found = read_all(mutator, len(mutator.named) + RANDOM, tmp_path, READERS[mutator.name])
    assert faults(found) == []
    assert {o.kind for o in found} == {"error", "loads"}  # else the files are not hostile, or none can be read
    loads = {o.name.split(": ")[1].rpartition(" (")[0] for o in found if o.kind == "loads"}
    inert = {name for name in mutator.named if name.startswith("the key ") and "self" not in name and "__" not in name}
    assert inert <= loads  # keys by which other libraries run code have no effect


@pytest.mark.long
@pytest.mark.parametrize("mutator", **IDS)
def test_many_hostile_files(mutator: Mutator, tmp_path: Path) -> None:
    count = len(mutator.named) + RANDOM_LONG
    found = read_all(mutator, count, tmp_path, READERS[mutator.name], seed=int(os.environ.get("SEED", "1")))
    assert faults(found) == []
    assert len(found) == count


@pytest.mark.long
@pytest.mark.parametrize("mutator", LARGE, ids=lambda mutator: mutator.name)
def test_large_files(mutator: Mutator, tmp_path: Path) -> None:
    for reader in ("read_config",) if mutator.name == "config" else ("read_fast", "read_slow"):
        found = read_all(mutator, len(mutator.named), tmp_path / reader, f"text_readers:{reader}")
        assert faults(found) == []


def test_a_fault_is_found(tmp_path: Path) -> None:
    """The watch sees each thing that a reader must not do."""
    mutator = Mutator("config", CONFIGS.write, {"nothing": lambda rng, folder: None}, {})
    for reader, fault in {
        "open_elsewhere": "reads",
        "write_elsewhere": "changes",
        "run": "subprocess.Popen",
        "connect": "socket.",
        "raise_raw": "raw error: KeyError",
        "raise_long": "a message of 5000 characters",
        "raise_unnamed": "an error that does not name the file",
    }.items():
        (outcome,) = read_all(mutator, 1, tmp_path / reader, f"bad_readers:{reader}")
        assert any(fault in text for text in outcome.faults), reader
