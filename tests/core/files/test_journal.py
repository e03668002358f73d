"""Saves that are killed: a reader finds all old files or all new ones."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilbert_core.errors import CheckpointError
from distilbert_core.files import journal, locks
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import find_file, local_folder
from distilbert_core.files.journal import COMPLETE, JOURNAL, NEW, is_vacant, settled
from distilbert_core.files.locks import Lock
from support.crashes import Killed, results

if not hasattr(os, "fork"):
    pytest.skip("kills need fork", allow_module_level=True)


def assert_whole(found: list[Killed]) -> None:
    for killed in found:
        assert killed.found in ("old", "new"), killed
        assert killed.found_read_only == killed.found, killed
        assert killed.mine, killed
        assert (killed.litter, killed.repaired) == ([], "new"), killed


# -- kills ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["save", "into-shards", "tokenizer"])
def test_a_kill_at_any_call_leaves_the_old_files_or_the_new_ones(operation: str) -> None:
    found = results(operation)
    assert_whole(found)
    assert len(found) > 25
    states = [killed.found for killed in found]
    assert states == sorted(states, reverse=True)  # there is one moment at which the new files replace the old ones
    assert {"old", "new"} == set(states)


@pytest.mark.parametrize("operation", ["save", "tokenizer"])
def test_kills_at_random_moments(operation: str) -> None:
    assert_whole(results(operation, 6, 1))


def test_renaming_one_file_after_another_mixes_them() -> None:
    """The kills above find the mixtures of a save without a journal."""
    found = [killed.found for killed in results("renames:save")]
    assert {"old", "new", "a mixture"} <= set(found)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("operation", ["save", "save-shards", "into-shards", "tokenizer"])
def test_many_kills_at_random_moments(operation: str, seed: int) -> None:
    assert_whole(results(operation, 20, seed))


# -- the journal ------------------------------------------------------------------------------------------------


def pending(folder: Path, names: object, obsolete: object = (), files: dict[str, str] | None = None) -> Path:
    """Make a folder with a committed save of which nothing has been renamed."""
    for name, text in {"a": "old a", "b": "old b", "c": "mine", **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / COMPLETE / NEW).mkdir(parents=True, exist_ok=True)
    (folder / COMPLETE / JOURNAL).write_text(json.dumps({"files": names, "obsolete": obsolete}))
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


NEW_FILES = {f"{COMPLETE}/{NEW}/{name}": f"new {name}" for name in ("a", "d", "e/f")}
FINISHED = {"a": "new a", "d": "new d", "e/f": "new e/f", "c": "mine"}


def test_a_reader_finishes_the_save(tmp_path: Path) -> None:
    folder = pending(tmp_path / "folder", ["a", "d", "e/f"], ["b", "missing"], NEW_FILES)
    assert find_file(folder, "d") == folder / "d"
    assert find_file(folder, "b") is None
    assert content(folder) == FINISHED
    assert settled(folder) == folder


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    new = {f"{COMPLETE}/{NEW}/a/x": "new", f"{COMPLETE}/{NEW}/g": "new"}
    folder = pending(tmp_path / "folder", ["a", "g"], ["b"], {**new, "g/y": "old"})
    settled(folder)
    assert content(folder) == {"a/x": "new", "g": "new", "c": "mine"}


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that a user without rights can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_reader_without_the_right_to_write(public: Path) -> None:
    folder = pending(public / "folder", ["a", "d", "e/f", "g"], ["b"], {**NEW_FILES, "g/y": "done"})
    before = content(folder)
    folder.chmod(0o555)
    (folder / COMPLETE).chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        seen = settled(folder)
        assert seen != folder
        assert seen.name == folder.name
        assert content(seen) == {**FINISHED, "g/y": "done"}
        assert settled(folder) == seen  # made once
        path = find_file(folder, "d")
        assert path is not None
        assert path.read_text() == "new d"
        assert find_file(folder, "b") is None
        assert local_folder(folder) == seen
        with pytest.raises(PermissionError):
            replace_files(folder, {"a": b"newer"})
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        (folder / COMPLETE).chmod(0o755)
    assert content(folder) == before


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a/../../x", "", ".", "x\0", "C:x", "..\\x", f"{COMPLETE}/{JOURNAL}", "link/x", 3, None, ["a"]],
)
@pytest.mark.parametrize("place", ["files", "obsolete"])
def test_a_journal_that_leads_out_of_its_folder_changes_nothing(tmp_path: Path, name: object, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("not yours")
    (tmp_path / "x").write_text("not yours")
    folder = pending(tmp_path / "folder", ["a", name] if place == "files" else ["a"], ["b", name], NEW_FILES)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match=r"folder/.saving-complete/journal.json must name files below .*folder"):
        find_file(folder, "a")
    with pytest.raises(CheckpointError, match="must name files below"):
        replace_files(folder, {"a": b"newer", "z": b""})
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": {}, "obsolete": []}', "[" * 100_000, '{"files": []}', "\ud800", "NaN"]
)
def test_a_damaged_journal(tmp_path: Path, text: str) -> None:
    folder = pending(tmp_path / "folder", [])
    (folder / COMPLETE / JOURNAL).write_text(text, errors="surrogatepass")
    with pytest.raises(CheckpointError, match=r"journal.json .*It is the journal of a save: remove its folder; then"):
        find_file(folder, "a")


def test_a_journal_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    folder = pending(tmp_path / "folder", [])
    os.truncate(folder / COMPLETE / JOURNAL, 1 << 30)
    with pytest.raises(CheckpointError, match=r"journal.json has .* bytes"):
        find_file(folder, "a")


def test_names_of_a_save_may_not_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"must name files below .*folder, got 'link/x'"):
        replace_files(tmp_path / "folder", {"link/x": b"", "y": b""})
    assert content(tmp_path) == {}


# -- litter and locks -------------------------------------------------------------------------------------------


def test_litter_is_removed_and_living_saves_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("dead0", "a11fe", "mine"):
        (folder / f".saving-{name}").mkdir(parents=True)
        (folder / f".saving-{name}" / "half").write_text("written")
    with Lock(folder / ".saving-a11fe"):
        assert not is_vacant(folder)
        replace_files(folder, {"a": b""})
        assert sorted(path.name for path in folder.iterdir()) == [".saving-a11fe", ".saving-mine", "a"]
    replace_files(tmp_path / "another", {"a": b""})
    assert (folder / ".saving-a11fe").exists()  # not where this save writes
    replace_files(folder, {"a": b""})
    assert not (folder / ".saving-a11fe").exists()


def test_litter_beside_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / ".saving-0").mkdir()
    (tmp_path / ".saving-1").symlink_to(tmp_path / "link")
    assert is_vacant(tmp_path)
    assert is_vacant(tmp_path / "missing")
    replace_files(tmp_path / "folder", {"a": b""})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".saving-1", "folder"]
    assert not is_vacant(tmp_path / "folder")
    assert not is_vacant(tmp_path / "folder" / "a")


def test_without_locks_only_old_litter_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    for name in (".saving-0", ".saving-1"):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / ".saving-0", (0, 0))
    pending(tmp_path, ["a"], [], NEW_FILES)
    replace_files(tmp_path, {"a": b"newer", "z": b""})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".saving-1", "a", "b", "c", "z"]
    assert (tmp_path / "a").read_text() == "newer"


def test_a_folder_that_another_process_keeps_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0.02)
    folder = pending(tmp_path / "folder", ["a"], [], NEW_FILES)
    with Lock(folder):
        for use in (lambda: find_file(folder, "a"), lambda: replace_files(folder, {"a": b""})):
            with pytest.raises(CheckpointError, match=r"Another process has been writing to .*folder for"):
                use()
    assert find_file(folder, "a") == folder / "a"


def test_a_folder_of_the_same_name_that_is_not_of_a_save(tmp_path: Path) -> None:
    (tmp_path / COMPLETE / "something").mkdir(parents=True)
    (tmp_path / "a").write_text("old")
    assert find_file(tmp_path, "a") == tmp_path / "a"
    with pytest.raises(CheckpointError, match=r"\.saving-complete is not of a save that can be finished .*: move it"):
        replace_files(tmp_path, {"a": b"", "z": b""})
    assert (tmp_path / "a").read_text() == "old"
    shutil.rmtree(tmp_path / COMPLETE)
    replace_files(tmp_path, {"a": b"", "z": b""})
    assert content(tmp_path) == {"a": "", "z": ""}
