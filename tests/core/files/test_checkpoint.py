"""Checkpoint files: read lazily and bit for bit, written completely or not at all; an error names the damage."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from distilbert_core import CheckpointError, Head
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.checkpoint import INDEX_FILE, WEIGHTS_FILE, Checkpoint, Entry, save_checkpoint
from support.checkpoints import random_arrays, small_config

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
CONFIG = {"config.json": b'{"new": true}'}

# Three arrays of 40, 24 and 96 bytes.
ARRAYS = {
    "a.weight": np.arange(10, dtype=np.float32).reshape(2, 5),
    "a.bias": np.array([0.5, -0.0, np.inf], dtype=np.float64),
    "b.weight": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4),
}


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def random_bits(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Every kind of value: denormal, infinite, and not-a-numbers of every payload."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(7).bytes(size), dtype=dtype).reshape(shape)


def assert_bits_equal(array: np.ndarray, expected: np.ndarray) -> None:
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    assert array.tobytes() == expected.tobytes()


def assert_holds(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    checkpoint = Checkpoint(folder)
    assert checkpoint.entries.keys() == arrays.keys()
    for name, array in arrays.items():
        assert_bits_equal(checkpoint.read(name), array)


# -- reading and writing -----------------------------------------------------------------------------------

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda array: array,
    "transposed": lambda array: array.T,
    "fortran": np.asfortranarray,
    "every-other": lambda array: array[::2, ::3],
    "reversed": lambda array: array[::-1, ::-1],
    "broadcast": lambda array: np.broadcast_to(array[0], (3, *array[0].shape)),
    "scalar": lambda array: array[0, 0].reshape(()),
    "empty": lambda array: array[:0],
    "read-only": lambda array: (array.setflags(write=False), array)[1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", DTYPES)
def test_arrays_come_back_bit_for_bit(name: str, layout: str, tmp_path: Path) -> None:
    array = LAYOUTS[layout](random_bits((7, 11), DTYPES[name]))
    bits, strides = array.tobytes(), array.strides
    save_checkpoint(tmp_path, {"x": array}, {})
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.entries == {"x": Entry(array.shape, name, tmp_path / WEIGHTS_FILE)}
    assert checkpoint.metadata == {"format": "pt"}  # Transformers refuses a file without it
    assert_bits_equal(checkpoint.read("x"), array)
    assert (array.tobytes(), array.strides) == (bits, strides)


@pytest.mark.parametrize("head", Head)
def test_a_whole_model_comes_back(head: Head, tmp_path: Path) -> None:
    arrays = random_arrays(small_config(), head, dtype=np.float32)
    save_checkpoint(tmp_path / "new" / "folder", arrays, CONFIG)
    assert_holds(tmp_path / "new" / "folder", arrays)
    assert (tmp_path / "new" / "folder" / "config.json").read_bytes() == CONFIG["config.json"]


def test_a_returned_array_belongs_to_the_caller(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, ARRAYS, {})
    checkpoint = Checkpoint(tmp_path)
    checkpoint.read("a.weight")[:] = 0
    assert_bits_equal(checkpoint.read("a.weight"), ARRAYS["a.weight"])


@pytest.mark.parametrize("sharded", [False, True])
def test_nothing_is_read_before_it_is_requested(sharded: bool, tmp_path: Path) -> None:
    """What is put into the file after it was opened is what `read` returns."""
    arrays = {name: np.full(1000, fill, np.float32) for name, fill in (("x", 1), ("y", 2))}
    save_checkpoint(tmp_path, arrays, {}, max_shard_size=4000 if sharded else "1GB")
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.entries["x"].shape == (1000,)
    for path in {entry.path for entry in checkpoint.entries.values()}:
        raw = path.read_bytes()
        with path.open("r+b") as file:  # in place: a new file would not be the one that is open
            file.write(raw.replace(np.float32(1).tobytes(), np.float32(5).tobytes()))
    assert_bits_equal(checkpoint.read("x"), np.full(1000, 5, np.float32))
    assert_bits_equal(checkpoint.read("y"), arrays["y"])


def test_a_huge_file_is_opened_without_memory(tmp_path: Path) -> None:
    """8 GiB that are a hole in the file: to read them would take seconds and more memory than allowed."""
    size = 2**33
    header = json.dumps({"x": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with (tmp_path / WEIGHTS_FILE).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(file.tell() + size)
    assert Checkpoint(tmp_path).entries["x"].shape == (size // 4,)


# -- shards ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "shards"),
    [
        (160, [["a.weight", "a.bias", "b.weight"]]),
        ("1KB", [["a.weight", "a.bias", "b.weight"]]),
        (159, [["a.weight", "a.bias"], ["b.weight"]]),
        (64, [["a.weight", "a.bias"], ["b.weight"]]),  # the last is larger than the limit, and alone
        (63, [["a.weight"], ["a.bias"], ["b.weight"]]),
        (1, [["a.weight"], ["a.bias"], ["b.weight"]]),
    ],
)
def test_shards(limit: int | str, shards: list[list[str]], tmp_path: Path) -> None:
    save_checkpoint(tmp_path, ARRAYS, CONFIG, max_shard_size=limit)
    count = len(shards)
    files = [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
    if count == 1:
        files = [WEIGHTS_FILE]
    else:
        index = json.loads((tmp_path / INDEX_FILE).read_text())
        weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        assert index == {"metadata": {"total_size": 160}, "weight_map": weight_map}
    assert content(tmp_path).keys() == {*files, "config.json"} | ({INDEX_FILE} if count > 1 else set())
    entries = Checkpoint(tmp_path).entries
    assert [{n for n in entries if entries[n].path.name == file} for file in files] == list(map(set, shards))
    assert_holds(tmp_path, ARRAYS)


@pytest.mark.parametrize("before", ["1GB", 64, 1])
@pytest.mark.parametrize("after", ["1GB", 64, 1])
def test_no_weights_of_before_are_left(before: int | str, after: int | str, tmp_path: Path) -> None:
    """One file, two shards and three, each in place of each; other files stay."""
    folder, expected = tmp_path / "folder", tmp_path / "expected"
    save_checkpoint(folder, {name: array + 1 for name, array in ARRAYS.items()}, {}, before)
    (folder / "notes.txt").write_text("mine")
    (folder / "inner").mkdir()
    (folder / "inner" / WEIGHTS_FILE).write_text("mine too")
    save_checkpoint(folder, ARRAYS, CONFIG, after)
    save_checkpoint(expected, ARRAYS, CONFIG, after)
    mine = {"notes.txt": b"mine", f"inner{os.sep}{WEIGHTS_FILE}": b"mine too"}
    assert content(folder) == content(expected) | mine
    assert_holds(folder, ARRAYS)


def test_saving_over_the_checkpoint_that_is_being_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, ARRAYS, {})
    checkpoint = Checkpoint(tmp_path)
    save_checkpoint(tmp_path, {name: checkpoint.read(name) * 2 for name in ARRAYS}, {})
    assert_bits_equal(checkpoint.read("b.weight"), ARRAYS["b.weight"])
    assert_bits_equal(Checkpoint(tmp_path).read("b.weight"), ARRAYS["b.weight"] * 2)


def test_subfolder(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "inner", ARRAYS, {}, 1)
    assert Checkpoint(tmp_path, subfolder="inner").entries.keys() == ARRAYS.keys()
    with pytest.raises(CheckpointError, match=r"has no weights: none of model\.safetensors, "):
        Checkpoint(tmp_path)


# -- a failure leaves what was there -----------------------------------------------------------------------


def half_written(path: Path) -> None:
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


FAILURES: dict[str, Callable[[Path], None]] = {
    "first-file": lambda folder: replace_files(folder, {WEIGHTS_FILE: half_written, **CONFIG}),
    "last-file": lambda folder: replace_files(folder, {**CONFIG, WEIGHTS_FILE: half_written}, [INDEX_FILE]),
    "array": lambda folder: save_checkpoint(folder, {**ARRAYS, "o": np.array([None])}, CONFIG, 1),
    "size": lambda folder: save_checkpoint(folder, ARRAYS, CONFIG, "much"),
}
# Errors of the system and of safetensors go through as they are.
MESSAGES = {"array": "dtype", "size": "A size must be"}


@pytest.fixture(params=["new", "single", "sharded"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that is not there, or that holds a checkpoint."""
    path = tmp_path / "folder"
    if request.param != "new":
        save_checkpoint(path, ARRAYS, {"config.json": b"{}"}, "1GB" if request.param == "single" else 1)
    return path


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_keeps_the_old_files(failure: str, folder: Path) -> None:
    before = content(folder.parent)
    with pytest.raises(Exception, match=MESSAGES.get(failure, "No space left on device")):
        FAILURES[failure](folder)
    assert content(folder.parent) == before
    assert folder.exists() == bool(before)
    assert not list(folder.parent.rglob(".saving*"))


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from distilbert_core.files.atomic import replace_files

def write(path):
    path.write_bytes(b"half")
    print("half-way", flush=True)
    {death}

files = {{"config.json": b"new", "model.safetensors": write, "other": b""}}
replace_files(Path(sys.argv[1]), files, obsolete=["model.safetensors.index.json"])
"""
DEATHS = {"exit": "os._exit(3)", "kill": "os.kill(os.getpid(), signal.SIGKILL)"}


@pytest.mark.parametrize("death", [name for name in DEATHS if name == "exit" or hasattr(signal, "SIGKILL")])
def test_a_killed_process_keeps_the_old_files(death: str, folder: Path) -> None:
    before = content(folder.parent)
    script = KILLED.format(death=DEATHS[death])
    process = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True)
    assert (process.stdout, process.returncode != 0) == ("half-way\n", True), process.stderr
    # What was half written lies in a folder of its own, which no reader looks into.
    after = {name: data for name, data in content(folder.parent).items() if ".saving-" not in name}
    assert after == before
    assert folder.exists() == bool(before)
    if before:
        assert_holds(folder, ARRAYS)
    save_checkpoint(folder, {"x": np.ones(3)}, CONFIG)
    assert_holds(folder, {"x": np.ones(3)})


@pytest.mark.parametrize("target", ["file", "file/below"])
def test_a_file_cannot_be_the_folder(target: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"file must be a folder, it is a file|Not a directory|File exists"):
        save_checkpoint(tmp_path / target, ARRAYS, CONFIG)
    assert content(tmp_path) == {"file": b"mine"}


def test_a_path_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save_checkpoint("~/folder", ARRAYS, CONFIG, 1)
    save_checkpoint("~/folder", ARRAYS, CONFIG)
    assert content(tmp_path / "folder").keys() == {WEIGHTS_FILE, "config.json"}
    assert Checkpoint("~/folder").entries.keys() == ARRAYS.keys()


# -- damage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 50, -160, -100, -1])
def test_truncated_weights(kept: int, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, ARRAYS, {})
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS_FILE} is damaged or not a safetensors file \("):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage, and long enough to hold a header",
        b"\0" * 100,
        b"PK\x03\x04" + b"\0" * 100,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"x": 1} ',
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 4) + b"\xff\xff\xff\xff",
    ],
)
@pytest.mark.parametrize("sharded", [False, True])
def test_garbage_in_place_of_weights(sharded: bool, raw: bytes, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, ARRAYS, {}, 1 if sharded else "1GB")
    path = sorted(tmp_path.glob("*.safetensors"))[-1]
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=f"{path.name} is damaged or not a safetensors file"):
        Checkpoint(tmp_path)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 400), byte=st.integers(0, 255))
def test_any_wrong_byte_is_detected_or_harmless(position: int, byte: int, tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / WEIGHTS_FILE, metadata={"format": "pt"})
    raw = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    raw[position % len(raw)] = byte
    (tmp_path / WEIGHTS_FILE).write_bytes(raw)
    try:
        checkpoint = Checkpoint(tmp_path)
    except CheckpointError as error:
        assert WEIGHTS_FILE in str(error)  # noqa: PT017  either outcome is right
    else:
        for name, entry in checkpoint.entries.items():
            assert checkpoint.read(name).shape == entry.shape


SHARD = "model-00001-of-00003.safetensors"


def indexes() -> Iterator[tuple[str, str]]:
    """Contents of a damaged index, and the expected messages."""
    invalid = rf"{INDEX_FILE} is not a valid index of shards"
    for text in ("", "not JSON", "[]", "3", "{}", '{"weight_map": []}', '{"weight_map": "x"}'):
        yield text, invalid
    for file in (None, 5, ["x"], ".", f"../{SHARD}", f"/{SHARD}", f"inner/{SHARD}"):
        yield json.dumps({"weight_map": {"a.weight": file}}), invalid
    for file in ("", ".."):
        yield json.dumps({"weight_map": {"a.weight": file}}), rf"has no file {re.escape(file)}\.$"
    missing = "model-00009-of-00009.safetensors"
    yield json.dumps({"weight_map": {"a.weight": SHARD, "a.bias": missing}}), rf"has no file {missing}\.$"
    lacking = rf"{SHARD} lacks entries that the index names: another, x\.$"
    yield json.dumps({"weight_map": {"x": SHARD, "a.weight": SHARD, "another": SHARD}}), lacking


@pytest.mark.parametrize(("text", "message"), indexes())
def test_damaged_index(text: str, message: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "folder", ARRAYS, {}, 1)
    for elsewhere in (tmp_path, tmp_path / "folder" / "inner"):  # paths out of the folder lead to real files
        save_checkpoint(elsewhere, ARRAYS, {}, 1)
    (tmp_path / "folder" / INDEX_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(tmp_path / "folder")


def test_index_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_bytes(b"\xff\xfe{\0}\0")
    with pytest.raises(CheckpointError, match=f"{INDEX_FILE} is not a valid index of shards"):
        Checkpoint(tmp_path)


def test_only_files_of_the_index_are_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, ARRAYS, {}, 64)
    shard = "model-00001-of-00002.safetensors"
    (tmp_path / INDEX_FILE).write_text(json.dumps({"weight_map": {"a.bias": shard}}))
    assert_holds(tmp_path, {"a.bias": ARRAYS["a.bias"]})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "empty",
            r"empty has no weights: none of model.safetensors, pytorch_model.bin, .*\.$",
        ),
        ("missing", "The folder .*missing does not exist"),
        ("folder/config.json", "config.json is not a weight file: its name must end in one of .safetensors, .bin, "),
    ],
)
def test_no_checkpoint_there(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save_checkpoint(tmp_path / "folder", ARRAYS, {"config.json": b"{}"})
    for path in (tmp_path / source, str(tmp_path / source)):
        with pytest.raises(CheckpointError, match=message):
            Checkpoint(path)
