"""Files that are damaged, by accident or on purpose, give a clear error or the same values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distilbert_core.errors import DistilBertError
from support.damage import ATTACKS, check_outcome, damaged_copies, make_source
from support.paths import TESTS
from weight_conversion import FORMATS, convert

WITHOUT_FRAMEWORK = ("pt", "tf", "flax", "h5", "msgpack", "keras", "keras-weights")


def check_damaged_copies(to: str, tmp_path: Path, count: int, seed: int) -> None:
    arrays = make_source(tmp_path, to)
    file = tmp_path / "source" / FORMATS[to].file
    (tmp_path / "empty").mkdir()
    outcomes = set()
    for content, changed in damaged_copies(file.read_bytes(), count, seed):
        file.write_bytes(content)
        outcomes.add(check_outcome(tmp_path / "source", tmp_path / "empty", arrays, changed, file.suffix == ".h5"))
    assert outcomes == {"error", "load"}  # else the damage was none, or the source cannot be read at all


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
def test_a_damaged_file_is_an_error_or_loads(to: str, tmp_path: Path) -> None:
    check_damaged_copies(to, tmp_path, count=40, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
def test_many_damaged_files_are_errors_or_load(to: str, tmp_path: Path) -> None:
    check_damaged_copies(to, tmp_path, count=1000, seed=2)


@pytest.mark.parametrize(
    ("to", "attack", "message"),
    [(to, attack, message) for to, _, attack, message in ATTACKS],
    ids=[f"{to}: {name}" for to, name, _, _ in ATTACKS],
)
def test_a_hostile_file_is_a_clear_error(to: str, attack: Any, message: str, tmp_path: Path) -> None:
    make_source(tmp_path, to)
    attack(tmp_path / "source")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DistilBertError, match=message):
        convert(tmp_path / "source", tmp_path / "empty/new")
    assert list((tmp_path / "empty").iterdir()) == []


def test_hostile_files_need_little_memory(tmp_path: Path) -> None:
    """All of them in one process that may have 200 MB more than it has after the imports."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(TESTS)!r})
from pathlib import Path
import h5py, msgpack
from safetensors import safe_open
from support.damage import ATTACKS, make_source
from distilbert_core.errors import DistilBertError
from weight_conversion import convert
folder = Path({str(tmp_path)!r})
for number, (to, _, attack, _) in enumerate(ATTACKS):
    make_source(folder / str(number), to)
    attack(folder / str(number) / "source")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000,) * 2)
refused = 0
for number in range(len(ATTACKS)):
    try:
        convert(folder / str(number) / "source", folder / str(number) / "new")
    except DistilBertError as error:
        refused += "MemoryError" not in str(error) and "allocate" not in str(error)
print(refused)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{len(ATTACKS)}\n"), done.stderr
