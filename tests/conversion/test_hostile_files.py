"""Files made to do harm: each loads or is one short error, within limits of time and memory, and touches nothing else.

What a reader opens, writes and runs is watched: `support.watched` has an audit hook for the interpreter, and
a watch of the kernel for the libraries in C.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.hostile import LONG, ORDINARY, check, quick
from support.mutators import adapters, archives, hdf5, kerashub, msgpack, safetensors
from support.mutators.base import Mutator
from support.watched import Outcome, outcomes

MUTATORS = [
    mutator for module in (safetensors, hdf5, archives, kerashub, msgpack, adapters) for mutator in module.MUTATORS
]


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
