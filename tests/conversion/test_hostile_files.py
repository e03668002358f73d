"""Files made to do harm: each loads or is one short error, within limits of time and memory, and touches nothing else.

What a reader opens, writes and runs is watched: `support.watched` has an audit hook for the interpreter, and
a watch of the kernel for the libraries in C.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from support.mutators import archives, hdf5, kerashub, safetensors
from support.mutators.base import Mutator
from support.watched import Outcome, outcomes

READER = "support.readers:convert_and_load"
MUTATORS = [mutator for module in (safetensors, hdf5, archives, kerashub) for mutator in module.MUTATORS]
QUICK = (  # known faults of earlier versions, which the ordinary run repeats
    *("10^9 layers", "lattice of groups", "encrypted weights", "deflated", "a bomb as configuration", "gzip bomb"),
    *("a deep configuration", "a shard above", "a long name of a shard", "a link to all files", "10^6 layers"),
    *("lists of names that repeat", "a Lambda", "model.safetensors is a link out of the folder", "30,000 links"),
)
STRIDE = 9  # the ordinary run takes every ninth of the other mutations with a name
ORDINARY, LONG = 8, 1250  # random files of each mutator


def quick(mutator: Mutator) -> Mutator:
    """Return a mutator with a part of the named mutations."""
    named = [name for index, name in enumerate(mutator.named) if name in QUICK or index % STRIDE == 0]
    return replace(mutator, named={name: mutator.named[name] for name in named})


def check(mutator: Mutator, folder: Path, count: int, reader: str = READER, seed: int = 1) -> None:
    """Read the named and some random mutations."""
    cases = islice(mutator.mutations(np.random.default_rng(seed), folder), 1 + len(mutator.named) + count)
    seen = list(outcomes(cases, reader))
    faults = [f"{outcome.name}: {', '.join(outcome.faults)}: {outcome.message}" for outcome in seen if outcome.faults]
    print(f"{mutator.name}: {len(seen)} files, {dict(Counter(outcome.kind for outcome in seen))}")
    assert not faults, "\n".join(faults)
    assert seen[0].kind == "loads", seen[0]  # the one that is unchanged
    assert "error" in {outcome.kind for outcome in seen[1:]}


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.name)
def test_a_hostile_file_is_one_error_or_loads(mutator: Mutator, tmp_path: Path) -> None:
    check(quick(mutator), tmp_path, ORDINARY)


@pytest.mark.long
@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.name)
def test_many_hostile_files_are_errors_or_load(mutator: Mutator, tmp_path: Path) -> None:
    check(mutator, tmp_path, LONG, seed=2)


# -- the watch itself -------------------------------------------------------------------------------------------

HARMFUL = {
    "reads": "reads",
    "opens by a library": "opens decoy.h5 outside",
    "writes": "changes",
    "removes": "changes",
    "runs a program": "subprocess.Popen",
    "runs a pickle": "pickle.find_class",
    "connects": "socket.",
    "takes long": "killed",
    "takes memory": "bytes for a file",
    "raises": "raw error: KeyError",
    "crashes": "crash",
    "talks": "characters",
}


def test_the_watch_sees_harm(tmp_path: Path) -> None:
    """Each reader does one forbidden thing; the watch that judges the library names it."""

    def cases() -> list[tuple[str, Path]]:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/decoy.h5").write_bytes(b"secret")
        paths = []
        for name in HARMFUL:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "file").write_text("x")
            paths.append((name, folder))
        return paths

    seen: dict[str, Outcome] = {outcome.name: outcome for outcome in outcomes(cases(), "support.harm:harm", seconds=1)}
    for name, fault in HARMFUL.items():
        assert any(fault in text for text in seen[name].faults), (name, seen[name])
